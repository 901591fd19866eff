//! Redaction of traces, recordings and the outbox; the model and stdout get everything.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

use crate::support::harness::{Ended, Langspan, Reply, Scripted, completion, dead_url};
use crate::support::otlp::{Servers, Trace, attribute, attribute_json, attributes, traces_at};
use crate::support::stand_in::Sandbox;
use crate::support::untouched::Untouched;

/// Put together here, so that a search of the repository for keys finds none.
fn github_key() -> String {
    ["gh", "p_0123456789abcdefghijklmnopqrstuvwxyz"].concat()
}

fn recorded(ended: &Ended) -> String {
    fs::read_to_string(ended.home().join("record.jsonl")).unwrap()
}

/// Everything that a trace says.
fn said(trace: &Trace) -> String {
    format!("{trace:#?}")
}

/// The attributes of content: input, output and messages.
fn content(span: &Span) -> Vec<String> {
    const CONTENT: [&str; 4] = ["input", "output", "messages", "value"];
    let keys = attributes(&span.attributes).into_keys();
    keys.filter(|key| CONTENT.contains(&key.rsplit('.').next().unwrap()))
        .collect()
}

/// A call whose trace goes to a plain OTLP backend.
fn call_to_a_plain_backend(model: &Scripted, backend: &Scripted, arguments: &[&str]) -> Langspan {
    Langspan::new(arguments)
        .model_at(&format!("{}/v1", model.url()))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url())
}

#[test]
fn keys_reach_the_model_and_stdout_and_nothing_else() {
    let key = github_key();
    let servers = Servers::answering(&format!("{key} is a key"));
    let prompt = format!("What is {key}?");
    let call = servers.call(&["chat", "--record", "record.jsonl", &prompt]);
    let ended = call.run();
    ended
        .code(0)
        .stdout(&format!("{key} is a key\n"))
        .stderr_has("redacted 2 passages")
        .stderr_lacks(&key);
    assert_eq!(servers.prompt(), prompt);
    let trace = servers.trace();
    for text in [said(&trace), recorded(&ended)] {
        assert!(
            text.contains("[redacted]") && !text.contains(&key),
            "{text}"
        );
    }
    assert_eq!(
        attribute(&trace.parent, "input.value").unwrap(),
        "What is [redacted]?"
    );
    assert_eq!(
        attribute_json(&trace.generation, "langfuse.observation.output")["content"],
        "[redacted] is a key"
    );
}

#[test]
fn a_streamed_key_is_redacted_although_it_came_in_pieces() {
    let key = github_key();
    let (first, second) = key.split_at(9);
    let piece = |text: &str| {
        json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]})
            .to_string()
    };
    let stop = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let servers = Servers::replying(Reply::events(&[
        &piece(first),
        &piece(second),
        stop,
        "[DONE]",
    ]));
    let ended = servers.call(&["chat", "--stream", "Hello"]).run();
    ended.code(0).stdout(&format!("{key}\n"));
    assert_eq!(
        attribute(&servers.trace().parent, "output.value").unwrap(),
        "[redacted]"
    );
}

#[test]
fn the_keys_of_the_run_are_redacted_whatever_their_shape() {
    let own = "0123456789abcdef0123456789abcdef";
    let servers = Servers::answering("hi");
    let call = servers.call(&["chat", &format!("Is {own} right?")]);
    call.env("OPENAI_API_KEY", own).run().code(0);
    let parent = servers.trace().parent;
    assert_eq!(
        attribute(&parent, "input.value").unwrap(),
        "Is [redacted] right?"
    );
}

#[test]
fn the_number_of_redactions_is_reported() {
    let key = github_key();
    for (prompt, redactions) in [("Hello", 0), (&format!("{key} and {key}"), 2)] {
        let servers = Servers::answering("hi");
        let ended = servers.call(&["chat", "--json", prompt]).run();
        let document = ended.code(0).json();
        assert_eq!(document["trace"]["redactions"], redactions, "{document}");
        assert_eq!(ended.stderr.contains("redacted"), redactions > 0);
    }
    let servers = Servers::answering("hi");
    let ended = servers.call(&["chat", "-q", &key]).run();
    assert_eq!(ended.code(0).stderr, "");
}

#[test]
fn nothing_counts_as_redacted_without_trace_and_recording() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["chat", "--json", &github_key()]);
    let ended = call.env("OTEL_SDK_DISABLED", "true").run();
    assert_eq!(ended.code(0).json()["trace"]["redactions"], 0);
    ended.stderr_lacks("redacted");
}

#[test]
fn text_that_matches_a_pattern_is_nowhere_in_the_trace() {
    let servers = Servers::answering("Ada Lovelace, born 1815");
    let call = servers.call(&["chat", "--record", "record.jsonl"]);
    let arguments = [
        "--redact=[Ll]ovelace",
        "--redact",
        "[0-9]{4}",
        "-ulovelace@example.com",
        "-Slovelace-1815",
        "-tLovelace",
        "-tother",
        "-nAbout Lovelace",
        "--metadata",
        "Lovelace=1815",
        "--trace-version",
        "1815",
        "Who is Ada Lovelace? 7",
    ];
    let call = arguments.iter().fold(call, |call, text| call.arg(text));
    let ended = call.run();
    ended.code(0).stdout("Ada Lovelace, born 1815\n");
    assert_eq!(servers.prompt(), "Who is Ada Lovelace? 7");
    let trace = servers.trace();
    for span in trace.spans() {
        for (key, value) in attributes(&span.attributes) {
            let text = format!("{key} = {value}");
            assert!(!text.to_lowercase().contains("lovelace"), "{text}");
            // A port is not text.
            assert!(key == "server.port" || !text.contains("1815"), "{text}");
        }
        for (key, value) in [
            ("user.id", "[redacted]@example.com"),
            ("session.id", "[redacted]-[redacted]"),
            ("tags", "[[redacted], other]"),
            ("trace.metadata.[redacted]", "[redacted]"),
            ("version", "[redacted]"),
        ] {
            assert_eq!(attribute(span, &format!("langfuse.{key}")).unwrap(), value);
        }
    }
    assert_eq!(trace.parent.name, "About [redacted]");
    let recording = recorded(&ended).to_lowercase();
    for text in ["lovelace", "born 1815", "\"1815\""] {
        assert!(!recording.contains(text), "{text}: {recording}");
    }
}

#[test]
fn a_pattern_does_not_match_the_json_syntax() {
    let servers = Servers::answering("a user of model 2024");
    let call = servers.call(&[
        "chat",
        "--redact",
        "user|assistant|content|[0-9]+",
        "user 7",
    ]);
    call.run().code(0);
    let Trace {
        parent, generation, ..
    } = servers.trace();
    assert_eq!(
        attribute(&parent, "input.value").unwrap(),
        "[redacted] [redacted]"
    );
    assert_eq!(
        attribute_json(&generation, "langfuse.observation.output"),
        json!({"role": "assistant", "content": "a [redacted] of model [redacted]"})
    );
    // Else the server would not know the price.
    assert_eq!(
        attribute(&generation, "langfuse.observation.model.name").unwrap(),
        "gpt-4o-mini-2024-07-18"
    );
}

#[test]
fn json_escapes_hide_nothing_from_a_pattern() {
    let call = json!({"id": "c1", "type": "function",
        "function": {"name": "find", "arguments": r#"{"who": "M\u00fcller \"K\u00f6nig\""}"#}});
    let mut answer = completion("");
    answer["choices"][0]["message"] =
        json!({"role": "assistant", "content": null, "tool_calls": [call]});
    let body = serde_json::to_string(&answer).unwrap();
    let servers = Servers::replying(Reply::Answer(200, "application/json", body));
    let call = servers.call(&["replay", "-", "--redact", "Müller \"König\""]);
    let call = call.arg("--record").arg("record.jsonl");
    let request = r#"{"seed":1.00,"messages":[{"role":"user","content":"M\u00fcller \"K\u00f6nig\"\u003f"}]}"#;
    let ended = call.stdin(request).run();
    ended.code(0);
    assert_eq!(
        servers.asked()[0].body,
        request
            .replace("]}", r#"],"model":"gpt-4o-mini"}"#)
            .as_bytes()
    );
    let trace = servers.trace();
    assert_eq!(
        attribute(&trace.parent, "input.value").unwrap(),
        "[redacted]?"
    );
    let recording = recorded(&ended);
    for text in [said(&trace), recording.clone()] {
        assert!(!text.contains("00fc") && !text.contains('ü'), "{text}");
    }
    assert!(
        recording.starts_with(r#"{"request":{"seed":1.00,"messages""#),
        "{recording}"
    );
}

#[test]
fn error_messages_are_redacted() {
    let key = github_key();
    let error = json!({"error": {"message": format!("{key} belongs to Ada"), "type": "t", "param": null, "code": null}});
    let servers = Servers::replying(Reply::json(400, &error));
    let call = servers.call(&[
        "chat",
        "--record",
        "record.jsonl",
        "--redact",
        "Ada",
        "Hello",
    ]);
    let ended = call.run();
    ended.code(4).stderr_has("redacted 2 passages");
    let trace = servers.trace();
    for span in trace.spans() {
        let message = &span.status.as_ref().unwrap().message;
        assert!(
            message.contains("[redacted] belongs to [redacted]"),
            "{message}"
        );
    }
    assert!(recorded(&ended).contains("[redacted] belongs to [redacted]"));
}

#[test]
fn spans_in_the_outbox_are_redacted() {
    let key = github_key();
    let model = Scripted::model(&key);
    let call = Langspan::new(&["chat", "--export-timeout", "0.2", &key]);
    let ended = call.model_at(model.url()).langfuse_at(&dead_url()).run();
    ended.code(5).stdout(&format!("{key}\n"));
    let kept = Value::from(ended.kept()).to_string();
    assert!(
        kept.contains("[redacted]") && !kept.contains(&key),
        "{kept}"
    );
}

#[test]
fn redacted_traces_are_verified_as_sent() {
    let sandbox = Sandbox::start();
    for options in [
        &["--redact", "langspan|user"][..],
        &["--capture", "none"],
        &["--capture", "truncate=4"],
    ] {
        let call = Langspan::new(&["chat", "--verify", "--json", "-uuser-1", "-tlangspan"]);
        let call = options.iter().fold(call, |call, option| call.arg(option));
        let prompt = format!("Hello {}", github_key());
        let ended = call.arg(&prompt).at(&sandbox).run();
        assert_eq!(ended.code(0).json()["trace"]["verified"], true);
    }
}

#[test]
fn a_check_files_its_trace_under_no_key() {
    let sandbox = Sandbox::start();
    let call = Langspan::new(&["check", "--json", "-u", &github_key()]).at(&sandbox);
    let document = call.run().code(0).json();
    assert_eq!(document["trace"]["redactions"], 1);
    let rows = sandbox.observations(document["trace"]["id"].as_str().unwrap());
    assert!(rows.len() == 2 && rows.iter().all(|row| row["userId"] == "[redacted]"));
}

#[test]
fn a_dry_run_shows_the_request_as_it_is_and_the_spans_as_they_would_be() {
    let servers = Servers::answering("hi");
    let arguments = [
        "chat",
        "--dry-run",
        "--redact",
        "Ada",
        "--capture",
        "truncate=15",
    ];
    let call = servers.call(&arguments).arg("Is Ada Lovelace here?");
    let document = call.clone().arg("--json").run().code(0).json();
    assert_eq!(
        document["request"]["body"]["messages"][0]["content"],
        "Is Ada Lovelace here?"
    );
    assert_eq!(document["trace"]["redactions"], 1);
    assert_eq!(
        document["trace"]["spans"][0]["attributes"]["input.value"],
        "Is [redacted] L…"
    );
    call.run().code(0);
    let text = call.run().stdout;
    for line in [
        "redacted: 1 passage(s)",
        "input.value = Is [redacted] L…",
        "truncate=15  (--capture)",
        "[redacted]  (--redact)",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn without_capture_no_content_is_traced_and_the_rest_is() {
    let model = Scripted::model("The answer");
    let backend = Scripted::always(Reply::json(200, &json!({})));
    let servers = Servers::with(model);
    let tools = r#"tools:=[{"type":"function","function":{"name":"clock"}}]"#;
    let arguments = [
        "chat",
        "--capture",
        "none",
        "-uu1",
        "-p",
        tools,
        "-p",
        "seed:=7",
        "The question",
    ];
    servers
        .call(&arguments)
        .run()
        .code(0)
        .stdout("The answer\n");
    call_to_a_plain_backend(&servers.model, &backend, &arguments)
        .run()
        .code(0);
    assert_eq!(
        servers.asked()[0].json()["messages"][0]["content"],
        "The question"
    );
    for trace in [servers.trace(), traces_at(&backend).remove(0)] {
        let text = said(&trace);
        for word in ["The answer", "The question", "clock"] {
            assert!(!text.contains(word), "{word}: {text}");
        }
        for span in trace.spans() {
            assert!(content(span).is_empty(), "{:?}", content(span));
            assert_eq!(attribute(span, "langfuse.user.id").unwrap(), "u1");
        }
        let generation = &trace.generation;
        for (key, value) in [
            ("langfuse.observation.model.name", "gpt-4o-mini-2024-07-18"),
            ("langfuse.observation.model.parameters", r#"{"seed":7}"#),
            (
                "langfuse.observation.usage_details",
                r#"{"input":20,"input_cached_tokens":3,"output":35,"total":58}"#,
            ),
        ] {
            assert_eq!(attribute(generation, key).as_deref(), Some(value));
        }
        let reason = attribute(generation, "langfuse.observation.metadata.finish_reason")
            .or_else(|| attribute(generation, "gen_ai.response.finish_reasons"));
        assert!(reason.unwrap().contains("stop"));
    }
}

#[test]
fn a_recording_without_content_gives_the_same_trace_again() {
    let servers = Servers::answering("The answer");
    let options = ["--capture", "none", "--record", "record.jsonl"];
    let call = servers.call(&[&["chat"], &options[..], &["The question"]].concat());
    let ended = call.run();
    ended.code(0);
    let recording = recorded(&ended);
    assert!(
        !recording.contains("The answer") && !recording.contains("The question"),
        "{recording}"
    );
    servers
        .call(&["replay", "record.jsonl"])
        .after(&ended)
        .run()
        .code(0)
        .stdout("\n");
    let [first, again]: [_; 2] = traces_at(&servers.langfuse).try_into().unwrap();
    // A recording does not contain the server.
    let known = |span: &Span| {
        let mut known = attributes(&span.attributes);
        known.remove("langfuse.observation.metadata.server");
        known
    };
    for (first, again) in first.spans().into_iter().zip(again.spans()) {
        assert_eq!(known(first), known(again));
        assert_eq!(first.span_id, again.span_id);
    }
}

#[test]
fn each_text_keeps_its_first_characters() {
    let servers = Servers::answering("Größere Antwort");
    let backend = Scripted::always(Reply::json(200, &json!({})));
    let arguments = [
        "chat",
        "--capture",
        "truncate=5",
        "--system",
        "Be brief.",
        "Größe?",
    ];
    let call = servers.call(&arguments).arg("--record").arg("record.jsonl");
    let ended = call.run();
    ended.code(0).stdout("Größere Antwort\n");
    let trace = servers.trace();
    assert_eq!(attribute(&trace.parent, "input.value").unwrap(), "Größe…");
    assert_eq!(attribute(&trace.parent, "output.value").unwrap(), "Größe…");
    assert_eq!(
        attribute_json(&trace.generation, "langfuse.observation.input"),
        json!([{"role": "system", "content": "Be br…"}, {"role": "user", "content": "Größe…"}])
    );
    assert_eq!(
        attribute_json(&trace.generation, "langfuse.observation.output"),
        json!({"role": "assistant", "content": "Größe…"})
    );
    let recording: Value = serde_json::from_str(&recorded(&ended)).unwrap();
    assert_eq!(
        recording["response"]["choices"][0]["message"]["content"],
        "Größe…"
    );
    assert_eq!(recording["response"]["model"], "gpt-4o-mini-2024-07-18");

    call_to_a_plain_backend(&servers.model, &backend, &arguments)
        .run()
        .code(0);
    let generation = traces_at(&backend).remove(0).generation;
    assert_eq!(
        attribute_json(&generation, "gen_ai.input.messages")[1]["parts"],
        json!([{"type": "text", "content": "Größe…"}])
    );
}

#[test]
fn invalid_privacy_options_are_refused_before_anything_is_sent() {
    for (arguments, named) in [
        (["--redact", "("], "`(` is not a valid regular expression"),
        (["--redact", ""], "`` matches the empty string"),
        (["--redact", "x*"], "`x*` matches the empty string"),
        (
            ["--redact", r"\p{L}"],
            r"`\p{L}` is not a valid regular expression",
        ),
        (["--redact", "(?i)müller"], "`(?i)müller` ignores case"),
        (["--capture", "some"], "expected full, truncate=N or none"),
        (["--capture", "truncate=0"], "to keep no content, use none"),
        (["--capture", "truncate=-1"], "a number of characters"),
        (
            ["--capture", "truncate"],
            "expected full, truncate=N or none",
        ),
    ] {
        let server = Untouched::start();
        let call = Langspan::new(&[&["chat"], &arguments[..], &["Hello"]].concat());
        let ended = call.model_at(server.url()).langfuse_at(server.url()).run();
        ended.code(2).stdout("").stderr_has(named);
        assert!(ended.stderr.lines().count() <= 8, "{ended:#?}");
        server.assert_untouched();
    }
}

#[test]
fn a_broken_character_in_an_answer_changes_nothing_else() {
    let body = r#"{"id":"c","model":"exact-model","choices":[{"index":0,"message":{"role":"assistant","content":"cut \ud83d"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;
    let answer = Reply::Answer(200, "application/json", body.to_owned());
    for (options, output) in [
        (&["--capture", "none"][..], None),
        (&["--redact", "cut"], Some("[redacted] \u{fffd}")),
    ] {
        let servers = Servers::replying(answer.clone());
        let call = servers.call(&[&["chat"], options, &["Hello"]].concat());
        call.run().code(0);
        let trace = servers.trace();
        assert_eq!(attribute(&trace.parent, "output.value").as_deref(), output);
        let usage = attribute_json(&trace.generation, "langfuse.observation.usage_details");
        assert_eq!(usage, json!({"input": 3, "output": 2, "total": 5}));
        let model = attribute(&trace.generation, "langfuse.observation.model.name");
        assert_eq!(model.as_deref(), Some("exact-model"));
    }
}

#[test]
fn numbers_are_redacted_as_texts_are() {
    let servers = Servers::answering("hi");
    let body = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"card":4111111111111111,"metadata":{"n":[4111111111111111]},"tools":[{"type":"function","function":{"name":"f","parameters":{"default":-4111111111111111}}}]}"#;
    let call = servers
        .call(&[
            "replay",
            "-",
            "--redact",
            "[0-9]{16}",
            "--record",
            "record.jsonl",
        ])
        .stdin(body);
    let ended = call.run();
    ended.code(0).stderr_has("redacted 3 passages");
    assert_eq!(servers.asked()[0].body, body.as_bytes());
    for text in [said(&servers.trace()), recorded(&ended)] {
        assert!(!text.contains("41111111"), "{text}");
    }
    let usage = attribute_json(
        &servers.trace().generation,
        "langfuse.observation.usage_details",
    );
    assert!(usage["total"].is_u64(), "{usage}");
}

#[test]
fn every_own_key_is_redacted_however_many_there_are() {
    let keys: Vec<String> = (10..60)
        .map(|number| format!("own-{number}-secret-key"))
        .collect();
    let model = Scripted::model(&keys.join(" "));
    let backend = Scripted::always(Reply::json(200, &json!({})));
    let call = Langspan::new(&["chat", "--env-file", "settings", "Hello"]);
    let headers = keys.iter().enumerate();
    let headers: Vec<String> = headers.map(|(at, key)| format!("x-{at}={key}")).collect();
    call.file(
        "settings",
        format!(
            "OPENAI_BASE_URL={}/v1\nOTEL_EXPORTER_OTLP_ENDPOINT={}\nOTEL_EXPORTER_OTLP_HEADERS={}\n",
            model.url(),
            backend.url(),
            headers.join(",")
        ),
    );
    call.run().code(0).stdout(&format!("{}\n", keys.join(" ")));
    let trace = said(&traces_at(&backend)[0]);
    for key in keys {
        assert!(!trace.contains(&key), "{key}");
    }
}

#[test]
fn the_base64_of_a_key_counts_as_the_key() {
    const KEY: &str = "model-key-0123456789";
    let shown = [
        KEY,
        "pk-lf-sandbox:sk-lf-sandbox",
        &format!("user:{KEY}"),
        &format!("{KEY}\n"),
    ]
    .map(|text| STANDARD.encode(text));
    let servers = Servers::answering(&shown.join(" "));
    let call = servers
        .call(&["chat", "-vv", "Hello"])
        .env("OPENAI_API_KEY", KEY);
    let ended = call.run();
    ended.code(0).stdout(&format!("{}\n", shown.join(" ")));
    let trace = said(&servers.trace());
    for text in shown {
        assert!(!trace.contains(&text), "{text}: {trace}");
        ended.stderr_lacks(&text);
    }
}

/// The pieces of a key, long enough that they do not occur by chance.
fn parts(key: &str) -> impl Iterator<Item = &str> {
    (0..=key.len() - 8).map(|at| &key[at..at + 8])
}

#[test]
fn wire_detail_hides_a_key_that_is_cut_by_a_chunk() {
    const KEY: &str = "model-key-0123456789";
    let delta =
        json!({"choices": [{"index": 0, "delta": {"content": KEY}, "finish_reason": "stop"}]});
    let body = format!("data: {delta}\n\ndata: [DONE]\n\n");
    let mut reply =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec();
    for piece in body.as_bytes().chunks(11) {
        reply.extend(format!("{:x}\r\n", piece.len()).bytes());
        reply.extend([piece, b"\r\n"].concat());
    }
    reply.extend(b"0\r\n\r\n");
    let servers = Servers::replying(Reply::Bytes(reply));
    let call = servers.call(&["chat", "--stream", "-vvv", "-o", "url", "Hello"]);
    let ended = call.env("OPENAI_API_KEY", KEY).run();
    ended
        .code(0)
        .stderr_has("data: [DONE]")
        .stderr_has("[redacted]");
    for part in parts(KEY) {
        ended.stderr_lacks(part);
    }
}

#[test]
fn wire_detail_hides_a_key_behind_json_escapes() {
    const KEY: &str = "model-key/0123456789";
    for escaped in [
        KEY.replace('/', "\\/"),
        KEY.replace('m', "\\u006d"),
        KEY.replace('m', "\\\\u006D"),
    ] {
        let body = completion("KEY").to_string().replace("KEY", &escaped);
        for status in [200, 400] {
            let reply = Reply::Answer(status, "application/json", body.clone());
            let servers = Servers::replying(reply);
            let call = servers.call(&["chat", "-vv", "-o", "url", "Hello"]);
            let ended = call.env("OPENAI_API_KEY", KEY).run();
            ended.stderr_lacks("0123456789").stderr_has("[redacted]");
        }
    }
}

#[test]
fn a_dry_run_redacts_its_list_of_settings() {
    let servers = Servers::answering("not asked");
    let arguments = [
        "chat",
        "--dry-run",
        "--redact",
        "Ada",
        "-u",
        "Ada",
        "-S",
        &github_key(),
        "Hello",
    ];
    for form in ["text", "json"] {
        let ended = servers.call(&arguments).arg("-o").arg(form).run();
        ended.code(0);
        assert!(ended.stdout.contains("[redacted]"), "{ended:#?}");
        assert!(
            !ended.stdout.contains("Ada") && !ended.stdout.contains(&github_key()),
            "{ended:#?}"
        );
    }
}
