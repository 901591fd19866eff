//! `langspan replay`: requests that are sent as they are, and recordings that become traces without a model call.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::dice::Dice;
use crate::support::harness::{Ended, Reply, Scripted, completion};
use crate::support::otlp::{Servers, Trace, attribute, attribute_json, attributes, hex, traces_at};

/// Unknown fields, an order of its own, and numbers that no parser would print again.
const BODY: &str = r#"{"zeta":1.0,"top_p":1e0,"messages":[{"role":"user","content":"Hello","extra":0.10}],"model":"m-9","big":12345678901234567890123,"a":{"z":null,"b":-0}}"#;

/// Past 100 MB, however they are counted.
const TOO_LARGE: u64 = 110_000_000;

/// Replays this text from a file.
fn replay(servers: &Servers, document: &str, options: &[&str]) -> Ended {
    let call = servers.call(&[&["replay", "document.json"], options].concat());
    call.file("document.json", document);
    call.run()
}

fn sent(servers: &Servers) -> Vec<String> {
    let asked = servers.asked().into_iter();
    asked
        .map(|request| String::from_utf8(request.body).unwrap())
        .collect()
}

fn batch_line(body: &str) -> String {
    format!(r#"{{"custom_id":"r1","method":"POST","url":"/v1/chat/completions","body":{body}}}"#)
}

/// A JSON value of any kind and depth, as other programs write them.
fn any_value(dice: &Dice, depth: u64) -> String {
    const LEAVES: [&str; 18] = [
        "null",
        "true",
        "0",
        "-0",
        "-0.0",
        "1.0",
        "1.10",
        "1E+2",
        "1e-7",
        "12345678901234567890123",
        "0.1000000000000000055",
        r#""""#,
        r#""é 😀""#,
        r#""\u00e9\/\u002f\n""#,
        r#""\ud83d\ude00""#,
        r#""\ud83d""#,
        r#""\u0000\u001b""#,
        r#""a \" b \\""#,
    ];
    let space = dice.pick(&["", "", " ", "\t"]);
    let items = || (0..dice.roll(4)).map(|_| any_value(dice, depth - 1));
    match dice.roll(if depth == 0 { 3 } else { 5 }) {
        3 => format!("[{space}{}]", items().collect::<Vec<_>>().join(",")),
        4 => {
            let fields = items().map(|value| format!("\"{}\":{space}{value}", dice.roll(3)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        _ => dice.pick(&LEAVES).to_owned(),
    }
}

#[test]
fn any_body_is_sent_as_it_was_written() {
    let dice = Dice::new(7);
    let bodies: Vec<String> = (0..300)
        .map(|_| {
            let fields = (0..dice.roll(8)).map(|_| {
                // Few names, so that some are repeated.
                let name = dice.pick(&["user", "x", "é", "stream_options", "tools", "seed"]);
                format!(r#""{name}":{}"#, any_value(&dice, 4))
            });
            let mut fields: Vec<String> = fields.collect();
            let message = format!(r#"{{"role":"user","content":{}}}"#, any_value(&dice, 2));
            let place = dice.below(fields.len() + 1);
            fields.insert(place, format!(r#""messages":[{message}],"model":"m""#));
            format!("{{{}}}", fields.join(","))
        })
        .collect();
    let servers = Servers::answering("hi");
    let call = servers.call(&["replay", "bodies.jsonl"]);
    call.file("bodies.jsonl", bodies.join("\n"));
    call.env("LANGFUSE_TRACING_ENABLED", "false").run().code(0);
    let sent = sent(&servers);
    assert_eq!(sent.len(), bodies.len());
    for (written, sent) in bodies.iter().zip(&sent) {
        assert_eq!(written, sent);
    }
}

#[test]
fn a_body_is_sent_as_it_is() {
    let servers = Servers::answering("hi");
    replay(&servers, BODY, &[])
        .code(0)
        .stdout("hi\n")
        .stderr_has("trace: http");
    assert_eq!(sent(&servers), [BODY]);
}

#[test]
fn a_body_is_read_from_stdin_too() {
    let servers = Servers::answering("hi");
    servers.call(&["replay", "-"]).stdin(BODY).run().code(0);
    assert_eq!(sent(&servers), [BODY]);
}

#[test]
fn of_a_batch_line_the_body_is_sent() {
    let servers = Servers::answering("hi");
    replay(&servers, &batch_line(BODY), &[]).code(0);
    assert_eq!(sent(&servers), [BODY]);
}

#[test]
fn every_line_of_jsonl_is_sent_in_order_as_a_trace_of_its_own() {
    let servers = Servers::answering("hi");
    let other = r#"{"model":"m","messages":[]}"#;
    let lines = format!("{BODY}\n\n{}\r\n{other}", batch_line(other));
    replay(&servers, &lines, &[]).code(0);
    assert_eq!(sent(&servers), [BODY, other, other]);
    let mut ids: Vec<_> = traces_at(&servers.langfuse).iter().map(Trace::id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[test]
fn one_document_may_spread_over_lines() {
    let servers = Servers::answering("hi");
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "Hello"}]});
    replay(&servers, &format!("{body:#}\n"), &[]).code(0);
    assert_eq!(servers.body(), body);
}

#[test]
fn stream_is_the_bodys_own() {
    let events = [
        r#"{"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}"#,
        "[DONE]",
    ];
    let servers = Servers::replying(Reply::events(&events));
    let body = r#"{"messages":[],"stream":true,"model":"m"}"#;
    replay(&servers, body, &[]).code(0).stdout("hi\n");
    assert_eq!(sent(&servers), [body]);
}

#[test]
fn a_missing_model_is_filled_in_last() {
    for (options, model) in [(&[][..], "gpt-4o-mini"), (&["-m", "llama"], "llama")] {
        let servers = Servers::answering("hi");
        replay(&servers, r#"{"messages":[],"seed":1.0}"#, options).code(0);
        assert_eq!(
            sent(&servers),
            [format!(r#"{{"messages":[],"seed":1.0,"model":"{model}"}}"#)]
        );
    }
}

#[test]
fn options_override_fields_only_when_given() {
    let body = r#"{"model":"m","messages":[],"temperature":0.70,"seed":7.0}"#;
    for (options, changed) in [
        (&[][..], json!({})),
        (&["-m", "llama"], json!({"model": "llama"})),
        (&["--temperature", "0.5"], json!({"temperature": 0.5})),
        (&["-p", "seed:=8"], json!({"seed": 8})),
        (&["-p", "user=u"], json!({"user": "u"})),
    ] {
        let servers = Servers::answering("hi");
        replay(&servers, body, options).code(0);
        let mut expected: Value = serde_json::from_str(body).unwrap();
        for (field, value) in changed.as_object().unwrap() {
            expected[field] = value.clone();
        }
        assert_eq!(servers.body(), expected, "{options:?}");
        if changed.get("temperature").is_none() {
            assert!(sent(&servers)[0].contains(r#""temperature":0.70"#));
        }
    }
}

#[test]
fn the_environments_model_is_no_override() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["replay", "-"]).stdin(BODY);
    call.env("LANGSPAN_MODEL", "of-the-environment")
        .run()
        .code(0);
    assert_eq!(sent(&servers), [BODY]);
}

#[test]
fn malformed_json_is_named_by_line_and_column() {
    let body = r#"{"model":"m","messages":[]}"#;
    for (document, line, column) in [
        (r#"{"messages": [}"#.to_owned(), "line 1", "column 15"),
        ("{\n  \"messages\": [}\n}".to_owned(), "line 2", "column 16"),
        (
            format!("{body}\n{body}\n{{\"messages\": [}}\n"),
            "line 3",
            "column 15",
        ),
    ] {
        let servers = Servers::answering("hi");
        let ended = replay(&servers, &document, &[]);
        ended.code(2).stdout("").stderr_has(line).stderr_has(column);
        assert!(servers.model.requests().is_empty() && servers.langfuse.requests().is_empty());
    }
}

#[test]
fn a_document_that_is_no_request_is_found_before_anything_is_sent() {
    let good = r#"{"model":"m","messages":[]}"#;
    for document in [
        r#"{"model":"m"}"#,
        r#"{"model":"m","messages":"Hello"}"#,
        r#"{"model":"m","messages":{}}"#,
        r"[1]",
        r#""Hello""#,
        "null",
        r#"{"custom_id":"a","method":"POST","url":"/v1/chat/completions"}"#,
        r#"{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{}}"#,
        r#"{"request":{"model":"m"}}"#,
    ] {
        let servers = Servers::answering("hi");
        let ended = replay(&servers, document, &[]);
        assert_eq!(ended.code, Some(2), "{document}: {ended:#?}");
        let ended = replay(&servers, &format!("{good}\n{document}\n"), &[]);
        ended.code(2).stdout("").stderr_has("line 2");
        assert!(servers.model.requests().is_empty());
        assert!(traces_at(&servers.langfuse).is_empty());
    }
}

#[test]
fn a_file_that_cannot_be_read_is_a_file_problem() {
    let servers = Servers::answering("hi");
    // Opening the memory of a process works; reading its first page does not, even for root.
    for file in ["missing.json", ".", "/proc/self/mem"] {
        let ended = servers.call(&["replay", file]).run();
        ended.code(6).stdout("").stderr_has(file);
    }
    let call = servers.call(&["replay", "secret.json"]);
    let file = call.file("secret.json", BODY);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read it all the same.
    if fs::read(&file).is_err() {
        call.run().code(6);
    }
    assert!(servers.model.requests().is_empty());
}

#[test]
fn an_empty_file_is_invalid_input() {
    let servers = Servers::answering("hi");
    for document in ["", "\n \n"] {
        replay(&servers, document, &[]).code(2).stdout("");
    }
    servers.call(&["replay", "-"]).run().code(2);
    assert!(servers.model.requests().is_empty());
}

#[test]
fn a_file_that_is_not_utf_8_is_invalid_input() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["replay", "latin1.json"]);
    call.file(
        "latin1.json",
        b"{\"model\":\"m\",\"messages\":[\"caf\xe9\"]}",
    );
    call.run().code(2).stderr_has("UTF-8");
    assert!(servers.model.requests().is_empty());
}

#[test]
fn a_file_over_100_mb_is_invalid_input() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["replay", "large.json"]);
    let large = fs::File::create(call.home().join("large.json")).unwrap();
    large.set_len(TOO_LARGE).unwrap();
    call.run().code(2).stdout("").stderr_has("100 MB");
}

/// 2026-01-02T01:04:05.123456789Z in nanoseconds.
const START: u64 = 1_767_315_845_123_456_789;
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Recorded in another time zone, with nanoseconds.
fn recording() -> Value {
    json!({
        "request": {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "temperature": 0.5},
        "response": completion("Recorded"),
        "error": null,
        "start_time": "2026-01-02T03:04:05.123456789+02:00",
        "end_time": "2026-01-02T03:04:06.987654321+02:00",
        "completion_start_time": null,
        "trace": {"id": TRACE, "name": "nightly", "user": "u1", "session": "s1", "tags": ["a", "b"], "metadata": {"k": "v"}},
    })
}

/// Without some of its fields.
fn recording_without(fields: &[&str]) -> String {
    let mut recording = recording();
    for field in fields {
        recording.as_object_mut().unwrap().remove(*field);
    }
    recording.to_string()
}

#[test]
fn a_recording_becomes_its_trace_without_a_model_call() {
    let servers = Servers::answering("not asked");
    let ended = replay(&servers, &recording().to_string(), &[]);
    ended.code(0).stdout("Recorded\n");
    assert!(servers.model.requests().is_empty());
    let trace = servers.trace();
    assert_eq!(trace.id(), TRACE);
    assert_eq!(ended.trace_id(), TRACE);
    for span in trace.spans() {
        assert_eq!(span.start_time_unix_nano, START);
        assert_eq!(span.end_time_unix_nano, 1_767_315_846_987_654_321);
        for (key, value) in [
            ("langfuse.user.id", "u1"),
            ("langfuse.session.id", "s1"),
            ("langfuse.tags", "[a, b]"),
            ("langfuse.trace.name", "nightly"),
            ("langfuse.trace.metadata.k", "v"),
        ] {
            assert_eq!(attribute(span, key).as_deref(), Some(value), "{key}");
        }
    }
    assert_eq!(trace.parent.name, "nightly");
    assert_eq!(
        attribute(&trace.parent, "output.value").unwrap(),
        "Recorded"
    );
    assert_eq!(
        attribute_json(&trace.generation, "langfuse.observation.usage_details")["total"],
        58
    );
}

/// The first 8 bytes of SHA-256.
fn span_id(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes())[..8])
}

#[test]
fn a_recording_emitted_twice_has_the_same_ids() {
    let servers = Servers::answering("not asked");
    for _ in 0..2 {
        replay(&servers, &recording().to_string(), &[]).code(0);
    }
    let traces = traces_at(&servers.langfuse);
    assert_eq!(traces.len(), 2);
    for trace in traces {
        let ids = trace.spans().map(|span| hex(&span.span_id));
        assert_eq!(
            ids,
            [
                span_id(&format!("{TRACE}/{START}/parent")),
                span_id(&format!("{TRACE}/{START}/generation"))
            ]
        );
        assert_eq!(trace.generation.parent_span_id, trace.parent.span_id);
    }
}

#[test]
fn the_first_moment_of_a_recorded_stream_is_kept() {
    let mut streamed = recording();
    streamed["completion_start_time"] = "2026-01-02T01:04:05.5Z".into();
    let servers = Servers::answering("not asked");
    replay(&servers, &streamed.to_string(), &[]).code(0);
    let text = attribute(
        &servers.trace().generation,
        "langfuse.observation.completion_start_time",
    );
    let time: jiff::Timestamp = text.unwrap().trim_matches('"').parse().unwrap();
    assert_eq!(time.as_millisecond(), 1_767_315_845_500);
}

#[test]
fn a_recorded_failure_becomes_a_trace_with_error() {
    let mut failed = recording();
    failed["response"] = Value::Null;
    failed["error"] =
        json!({"kind": "model", "message": "the engine is overloaded", "status": 503});
    let servers = Servers::answering("not asked");
    replay(&servers, &failed.to_string(), &[]);
    assert!(servers.model.requests().is_empty());
    for span in servers.trace().spans() {
        let status = span.status.as_ref().unwrap();
        assert_eq!(status.code(), StatusCode::Error);
        assert_eq!(status.message, "the engine is overloaded");
        assert_eq!(span.start_time_unix_nano, START);
    }
}

#[test]
fn a_recording_needs_times_and_an_outcome_unless_it_is_sent() {
    for fields in [
        &["start_time"][..],
        &["end_time"],
        &["start_time", "end_time"],
        &["response", "error"],
        &["response"],
        &[
            "response",
            "error",
            "start_time",
            "end_time",
            "trace",
            "completion_start_time",
        ],
    ] {
        let document = recording_without(fields);
        let servers = Servers::answering("hi");
        let ended = replay(&servers, &document, &[]);
        assert_eq!(ended.code, Some(2), "{fields:?}: {ended:#?}");
        ended.stdout("");
        assert!(servers.model.requests().is_empty() && traces_at(&servers.langfuse).is_empty());
        replay(&servers, &document, &["--send"])
            .code(0)
            .stdout("hi\n");
        assert_eq!(servers.asked().len(), 1);
    }
}

#[test]
fn times_that_are_none_are_invalid_input() {
    for (field, value) in [
        ("start_time", "yesterday"),
        ("end_time", "2026-13-40T00:00:00Z"),
        ("start_time", "2026-01-02T03:04:05"),
    ] {
        let mut wrong = recording();
        wrong[field] = value.into();
        let servers = Servers::answering("hi");
        let ended = replay(&servers, &wrong.to_string(), &[]);
        assert_eq!(ended.code, Some(2), "{value}: {ended:#?}");
        assert!(traces_at(&servers.langfuse).is_empty());
    }
}

#[test]
fn send_asks_the_model_with_the_recorded_request() {
    let servers = Servers::answering("Fresh");
    let document = format!(r#"{{"request":{BODY},"trace":{{"user":"u1"}}}}"#);
    replay(&servers, &document, &["--send"])
        .code(0)
        .stdout("Fresh\n");
    assert_eq!(sent(&servers), [BODY]);
    let trace = servers.trace();
    assert_eq!(attribute(&trace.parent, "langfuse.user.id").unwrap(), "u1");
    assert!(trace.parent.start_time_unix_nano > START);
}

#[test]
fn an_option_wins_over_the_recording_and_the_recording_over_the_environment() {
    let options = ["-u", "u2", "-S", "s2", "-t", "z", "-n", "other"];
    let own = recording().to_string();
    let bare = {
        let mut bare = recording();
        bare["trace"] = json!({"id": TRACE});
        bare.to_string()
    };
    for (document, options, expected) in [
        (&own, &options[..], ["u2", "s2", "[z]", "other"]),
        (&own, &[], ["u1", "s1", "[a, b]", "nightly"]),
        (&bare, &[], ["u3", "s3", "[x, y]", "chat-completion"]),
    ] {
        let servers = Servers::answering("not asked");
        let call = servers.call(&[&["replay", "-"], options].concat());
        let call = call
            .env("LANGSPAN_USER", "u3")
            .env("LANGSPAN_SESSION", "s3");
        let call = call.env("LANGSPAN_TAGS", "x,y").stdin(document.as_bytes());
        call.run().code(0);
        for span in servers.trace().spans() {
            let found = ["langfuse.user.id", "langfuse.session.id", "langfuse.tags"];
            let found = found.map(|key| attribute(span, key).unwrap());
            assert_eq!(found, expected[..3], "{options:?}");
        }
        assert_eq!(servers.trace().parent.name, expected[3]);
    }
}

#[test]
fn a_given_trace_id_wins_over_the_recorded_one() {
    let given = "11111111111111111111111111111111";
    for (options, id) in [
        (["--trace-id", given], given),
        // The first 16 bytes of SHA-256("my-seed").
        (
            ["--trace-seed", "my-seed"],
            "e47b450a58ba3f9ba4a36ec20b7f7c18",
        ),
    ] {
        let servers = Servers::answering("not asked");
        replay(&servers, &recording().to_string(), &options).code(0);
        let trace = servers.trace();
        assert_eq!(trace.id(), id);
        assert_eq!(
            hex(&trace.parent.span_id),
            span_id(&format!("{id}/{START}/parent"))
        );
    }
}

#[test]
fn what_names_one_trace_is_refused_for_more_than_one_document() {
    let documents = format!("{BODY}\n{BODY}\n");
    for options in [
        &["--trace-id", TRACE][..],
        &["--trace-seed", "my-seed"],
        &[
            "--traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ],
        &["--join"],
    ] {
        let servers = Servers::answering("hi");
        let call = servers
            .call(&[&["replay", "-"], options].concat())
            .stdin(documents.as_bytes());
        let ended = call
            .env(
                "TRACEPARENT",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            )
            .run();
        assert_eq!(ended.code, Some(2), "{options:?}: {ended:#?}");
        assert!(servers.model.requests().is_empty());
    }
}

#[test]
fn a_recorded_value_that_looks_like_a_langfuse_key_is_refused() {
    for (field, value) in [
        ("user", json!("sk-lf-0123456789")),
        ("session", json!("pk-lf-0123456789:sk-lf-0123456789")),
        ("tags", json!(["sk-lf-0123456789"])),
        ("metadata", json!({"k": "sk-lf-0123456789"})),
    ] {
        let mut leaking = recording();
        leaking["trace"][field] = value;
        let servers = Servers::answering("not asked");
        let ended = replay(&servers, &leaking.to_string(), &[]);
        assert_eq!(ended.code, Some(2), "{field}: {ended:#?}");
        ended.stderr_lacks("0123456789");
        assert!(traces_at(&servers.langfuse).is_empty());
    }
}

#[test]
fn a_document_that_fails_does_not_stop_the_others() {
    let failure = Reply::json(400, &json!({"error": {"message": "no such field"}}));
    let good = Reply::json(200, &completion("hi"));
    let servers = Servers::replying_in_turn(vec![good.clone(), failure, good]);
    let ended = replay(&servers, &[BODY; 3].join("\n"), &["-o", "json"]);
    ended.code(4).stderr_has("no such field");
    let outcomes: Vec<_> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["ok"].take())
        .collect();
    assert_eq!(outcomes, [true, false, true]);
    assert_eq!(traces_at(&servers.langfuse).len(), 3);
}

#[test]
fn several_recordings_are_several_traces() {
    let mut other = recording();
    other["trace"]["id"] = "22222222222222222222222222222222".into();
    let servers = Servers::answering("not asked");
    replay(&servers, &format!("{}\n{other}\n", recording()), &[]).code(0);
    let ids: Vec<_> = traces_at(&servers.langfuse).iter().map(Trace::id).collect();
    assert_eq!(ids, [TRACE, "22222222222222222222222222222222"]);
}

/// The recordings in a file.
fn recorded(home: &Path) -> Vec<Value> {
    let text = fs::read_to_string(home.join("record.jsonl")).unwrap();
    assert!(text.ends_with('\n'), "{text:?}");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn record_appends_one_line_that_only_its_owner_reads() {
    let servers = Servers::answering("hi");
    let call = servers.call(&[
        "chat",
        "--record",
        "record.jsonl",
        "-uu1",
        "-Ss1",
        "-ta",
        "-nmine",
    ]);
    let call = call.arg("--metadata").arg("k=v").arg("Hello");
    let ended = call.run();
    ended.code(0);
    let mode = fs::metadata(call.home().join("record.jsonl"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let recording = recorded(call.home()).remove(0);
    let fields: Vec<_> = recording.as_object().unwrap().keys().collect();
    for field in [
        "request",
        "response",
        "error",
        "start_time",
        "end_time",
        "completion_start_time",
        "trace",
    ] {
        assert!(
            fields.contains(&&field.to_owned()),
            "{field} lacks: {fields:?}"
        );
    }
    assert_eq!(recording["request"], servers.body());
    assert_eq!(recording["response"], completion("hi"));
    assert_eq!(
        (&recording["error"], &recording["completion_start_time"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(
        recording["trace"],
        json!({"id": ended.trace_id(), "name": "mine", "user": "u1", "session": "s1", "tags": ["a"], "metadata": {"k": "v"}})
    );
    let span = servers.trace().parent;
    for (field, nanos) in [
        ("start_time", span.start_time_unix_nano),
        ("end_time", span.end_time_unix_nano),
    ] {
        let time: jiff::Timestamp = recording[field].as_str().unwrap().parse().unwrap();
        assert_eq!(time.as_nanosecond(), i128::from(nanos), "{field}");
    }
    call.run().code(0);
    assert_eq!(recorded(call.home()).len(), 2);
}

#[test]
fn a_failed_call_is_recorded_with_its_error() {
    let servers = Servers::replying(Reply::json(
        400,
        &json!({"error": {"message": "no such field"}}),
    ));
    let call = servers.call(&["chat", "--record", "record.jsonl", "Hello"]);
    call.run().code(4);
    let recording = recorded(call.home()).remove(0);
    assert_eq!(recording["error"]["status"], 400);
    for field in ["kind", "message"] {
        assert!(recording["error"][field].is_string(), "{recording:#}");
    }
}

#[test]
fn a_call_is_recorded_even_where_its_trace_is_refused() {
    let mut servers = Servers::answering("hi");
    servers.langfuse = Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "no"})));
    let call = servers.call(&["chat", "--record", "record.jsonl", "Hello"]);
    call.run().code(5);
    assert_eq!(recorded(call.home()).len(), 1);
}

#[test]
fn a_record_that_cannot_be_written_is_found_before_the_model_is_asked() {
    let servers = Servers::answering("hi");
    for file in [".", "missing/record.jsonl"] {
        servers
            .call(&["chat", "--record", file, "Hello"])
            .run()
            .code(6)
            .stdout("");
    }
    assert!(servers.model.requests().is_empty());
}

#[test]
fn a_full_disk_under_the_record_costs_neither_answer_nor_trace() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["chat", "--record", "/dev/full", "Hello"]);
    call.run()
        .code(6)
        .stdout("hi\n")
        .stderr_has("No space left");
    assert_eq!(
        attribute(&servers.trace().parent, "output.value").unwrap(),
        "hi"
    );
}

#[test]
fn a_recording_holds_no_key() {
    let secret = "sk-a-model-key-0123456789";
    let error = json!({"error": {"message": format!("Incorrect API key provided: {secret}.")}});
    for reply in [
        Reply::json(401, &error),
        Reply::json(200, &completion("hi")),
    ] {
        let servers = Servers::replying(reply);
        let call = servers.call(&["chat", "--record", "record.jsonl", "Hello"]);
        let call = call.env("OPENAI_API_KEY", secret);
        call.run();
        let recording = recorded(call.home()).remove(0).to_string();
        assert!(
            !recording.contains(secret) && !recording.contains("sk-lf-sandbox"),
            "{recording}"
        );
    }
}

/// What a recording does not hold, so that it cannot be emitted again.
const NOT_RECORDED: [&str; 3] = [
    "langfuse.observation.metadata.attempts",
    "server.address",
    "server.port",
];

#[test]
fn what_chat_recorded_replay_emits_as_the_same_spans() {
    let usage = &completion("")["usage"];
    let events = [
        r#"{"id":"c1","model":"m-1","service_tier":"default","choices":[{"index":0,"delta":{"role":"assistant","content":"h"}}]}"#.to_owned(),
        r#"{"id":"c1","model":"m-1","choices":[{"index":0,"delta":{"content":"i"}}]}"#.to_owned(),
        r#"{"id":"c1","model":"m-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#.to_owned(),
        format!(r#"{{"id":"c1","model":"m-1","choices":[],"usage":{usage}}}"#),
        "[DONE]".to_owned(),
    ];
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let failure = Reply::json(400, &json!({"error": {"message": "no such field"}}));
    let mut tools = completion("");
    tools["choices"][0]["message"] = json!({"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    for (option, reply) in [
        ("--no-stream", Reply::json(200, &completion("hi"))),
        ("--no-stream", Reply::json(200, &tools)),
        ("--stream", Reply::events(&events)),
        ("--no-stream", failure),
    ] {
        let servers = Servers::replying(reply);
        let chat = servers
            .call(&[
                "chat",
                "--record",
                "record.jsonl",
                option,
                "-uu1",
                "-Ss1",
                "-ta",
                "--metadata",
                "k=v",
                "Hello",
            ])
            .run();
        let again = servers.call(&["replay", "record.jsonl"]).after(&chat).run();
        assert_eq!(again.stdout, chat.stdout);
        assert_eq!(servers.asked().len(), 1);
        let [first, second]: [Trace; 2] = traces_at(&servers.langfuse).try_into().unwrap();
        for (first, second) in first.spans().into_iter().zip(second.spans()) {
            let mut expected = attributes(&first.attributes);
            let mut found = attributes(&second.attributes);
            for key in NOT_RECORDED {
                expected.remove(key);
                found.remove(key);
            }
            assert_eq!(found, expected);
            let rest = |span: &Span| {
                let mut span = span.clone();
                span.attributes.clear();
                span
            };
            assert_eq!(rest(second), rest(first));
        }
    }
}

#[test]
fn a_recording_begins_a_line_of_its_own() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["chat", "--record", "record.jsonl", "Hello"]);
    let path = call.file("record.jsonl", r#"{"request":{"mess"#);
    call.run().code(0);
    call.run().code(0);
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for line in &lines[1..] {
        let recording: Value = serde_json::from_str(line).unwrap();
        assert_eq!(recording["request"]["messages"][0]["content"], "Hello");
    }
}
