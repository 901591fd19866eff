//! Traces of this program.

use serde_json::{Value, json};

use super::{Place, VERSIONS, question};
use crate::support::batch::output::{content, lines};
use crate::support::harness::Request;

/// A body of each dialect, with the path where it is asked.
fn bodies() -> [(&'static str, &'static str, Value); 4] {
    let schema = json!({"type": "object", "properties": {"x": {"type": "number"}}});
    [
        (
            "chat",
            "/v1/chat/completions",
            json!({
                "model": "m-9",
                "messages": [
                    {"role": "system", "content": "be brief"},
                    {"role": "user", "content": [{"type": "text", "text": "q"}, {"type": "image_url", "image_url": {"url": "http://x/i.png"}}]},
                    {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}]},
                    {"role": "tool", "tool_call_id": "c", "content": "1"},
                ],
                "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
                "temperature": 0.3, "max_tokens": 50, "seed": 7, "stop": ["a", "b"], "logprobs": true, "user": "12",
                "response_format": {"type": "json_object"}, "tool_choice": "auto", "logit_bias": {"1": 2}, "own": {"x": [1]},
            }),
        ),
        (
            "responses",
            "/v1/responses",
            json!({
                "model": "gpt-5", "instructions": "be brief",
                "input": [
                    {"role": "user", "content": [{"type": "input_text", "text": "q"}]},
                    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "c", "output": "1"},
                ],
                "tools": [{"type": "function", "name": "f", "parameters": schema, "strict": false}],
                "max_output_tokens": 50, "reasoning": {"effort": "low"}, "store": false,
            }),
        ),
        (
            "messages",
            "/v1/messages",
            json!({
                "model": "claude-1", "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
                "messages": [
                    {"role": "user", "content": "q"},
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}}]},
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "1"}]},
                ],
                "tools": [{"name": "f", "description": "d", "input_schema": schema}],
                "max_tokens": 50, "thinking": {"type": "disabled"},
            }),
        ),
        (
            "embeddings",
            "/v1/embeddings",
            json!({"model": "text-embedding-3-small", "input": ["a", "b"], "dimensions": 8}),
        ),
    ]
}

/// Replays a body from a file; returns the id of the trace.
fn trace_of_body(place: &Place, api: &str, body: &Value, options: &[&str]) -> String {
    let replay = [
        "replay",
        "body.json",
        "--api",
        api,
        "-o",
        "json",
        "--verify",
    ];
    let call = place.call(&[&replay[..], options].concat());
    call.file("body.json", body.to_string());
    let ended = call.run();
    ended.code(0);
    ended.trace_id()
}

#[test]
fn a_request_of_every_dialect_is_asked_again_as_it_was() {
    for version in VERSIONS {
        let place = Place::start(version);
        for (api, path, body) in bodies() {
            let old = trace_of_body(&place, api, &body, &[]);
            let ended = place.replay(&old, &["-o", "json", "--verify"]);
            ended.code(0);
            assert_eq!(place.last(), (path.to_owned(), body), "{version}");
            let rows = place.rows(&ended.trace_id());
            assert_eq!(rows.len(), 2, "{version}: {rows:#?}");
            for row in rows {
                assert_eq!(row["metadata"]["replayed_from"], old, "{row:#}");
            }
        }
    }
}

#[test]
fn a_text_alone_is_asked_again_in_its_dialect() {
    let place = Place::start("v4");
    for (api, path) in [
        ("chat", "/v1/chat/completions"),
        ("responses", "/v1/responses"),
        ("messages", "/v1/messages"),
    ] {
        let chat = ["chat", "--no-stdin", "--api", api, "-m", "m-1", "q"];
        let old = place.traced(&chat);
        let asked = place.last();
        assert_eq!(asked.0, path);
        place.replay(&old, &[]).code(0);
        let (again, mut body) = place.last();
        assert_eq!(again, path);
        if api == "responses" {
            // A text is the same as a message of the user.
            assert_eq!(body["input"], question("q"));
            body["input"] = "q".into();
        }
        assert_eq!(body, asked.1);
    }
}

#[test]
fn options_change_the_request_and_the_trace_is_a_new_one() {
    let place = Place::start("v4");
    let old = place.traced(&[
        "chat",
        "--no-stdin",
        "-u",
        "ada",
        "-S",
        "s1",
        "--temperature",
        "0.3",
        "q",
    ]);
    let url = format!(
        "{}/project/sandbox/traces/{old}?timestamp=2026",
        place.langfuse.url()
    );
    let options = [
        "-m",
        "m-2",
        "-p",
        "seed:=7",
        "-t",
        "again",
        "--metadata",
        "k=v",
        "-o",
        "json",
        "--verify",
    ];
    let ended = place.replay(&url, &options);
    ended.code(0);
    let (_, body) = place.last();
    assert_eq!(
        body,
        json!({"model": "m-2", "messages": question("q"), "temperature": 0.3, "seed": 7})
    );
    let rows = place.rows(&ended.trace_id());
    for row in &rows {
        assert_eq!(
            (&row["userId"], &row["sessionId"]),
            (&"".into(), &"".into())
        );
        assert_eq!(row["tags"], json!(["again"]));
        assert_eq!(row["metadata"]["k"], "v");
    }
    // The replay of a replay names the trace that it was made of.
    let second = place.replay(&ended.trace_id(), &["-o", "json", "--verify"]);
    second.code(0);
    let rows = place.rows(&second.trace_id());
    assert_eq!(rows[0]["metadata"]["replayed_from"], ended.trace_id());
}

#[test]
fn an_option_asks_in_another_dialect() {
    let place = Place::start("v4");
    let [
        (chat_api, _, chat),
        _,
        (messages_api, _, messages),
        (embeddings_api, _, embeddings),
    ] = bodies();
    let of_messages = trace_of_body(&place, messages_api, &messages, &[]);
    let ended = place.replay(&of_messages, &["--api", "chat", "-m", "gpt-4o"]);
    ended
        .code(0)
        .stdout("from chat\n")
        .stderr_has("left out, since chat completions is not known to take it: thinking");
    let (path, body) = place.last();
    assert_eq!(path, "/v1/chat/completions");
    assert_eq!(
        body["messages"][2]["tool_calls"][0]["function"],
        json!({"name": "f", "arguments": "{\"x\":1}"})
    );
    assert_eq!(body["messages"][3]["role"], "tool");
    assert_eq!(
        body["tools"][0]["function"]["parameters"],
        messages["tools"][0]["input_schema"]
    );
    assert_eq!(
        (&body["model"], &body["max_tokens"]),
        (&"gpt-4o".into(), &50.into())
    );

    let of_chat = trace_of_body(&place, chat_api, &chat, &[]);
    for (api, schema, limit) in [
        ("messages", "/tools/0/input_schema", "max_tokens"),
        ("responses", "/tools/0/parameters", "max_output_tokens"),
    ] {
        let ended = place.replay(&of_chat, &["--api", api, "-m", "m-3"]);
        ended
            .code(0)
            .stderr_has("left out")
            .stderr_has("logit_bias")
            .stderr_has("tool_choice");
        let (path, body) = place.last();
        assert_eq!(path, format!("/v1/{api}"));
        assert_eq!(
            body.pointer(schema),
            chat.pointer("/tools/0/function/parameters"),
            "{body:#}"
        );
        assert_eq!(body[limit], 50, "{body:#}");
        assert_eq!(body["temperature"], 0.3);
        assert!(body.get("logit_bias").is_none(), "{body:#}");
    }

    let of_embeddings = trace_of_body(&place, embeddings_api, &embeddings, &[]);
    let asked = place.model.count();
    place
        .replay(&of_embeddings, &["--api", "chat"])
        .code(2)
        .stderr_has("--api chat contradicts the generation, which is one for embeddings");
    assert_eq!(place.model.count(), asked);
}

#[test]
fn the_generations_of_a_session_are_asked_in_order() {
    for version in VERSIONS {
        let place = Place::start(version);
        for text in ["one", "two", "three"] {
            place.traced(&["chat", "--no-stdin", "-S", "talk", text]);
        }
        place.traced(&["chat", "--no-stdin", "-S", "other", "four"]);
        for (limit, expected) in [
            (&[][..], &["one", "two", "three"][..]),
            (&["--limit", "2"], &["one", "two"]),
        ] {
            let before = place.model.count();
            let arguments = [&["replay", "--from-session", "talk"], limit].concat();
            let ended = place.call(&arguments).run();
            ended.code(0).stdout(&"from chat\n".repeat(expected.len()));
            let asked = place.model.requests().split_off(before);
            let asked = asked
                .iter()
                .map(|request| request.json()["messages"][0]["content"].take());
            assert_eq!(asked.collect::<Vec<_>>(), expected, "{version}");
        }
        place
            .call(&["replay", "--from-session", "nobody", "--wait", "0.5"])
            .run()
            .code(7)
            .stderr_has("no generation of the session `nobody` was found");
        place
            .call(&["replay", "--from-session", "talk", "--trace-seed", "x"])
            .run()
            .code(2)
            .stderr_has("--trace-seed names one trace, but there are 3 generations");
    }
}

/// Paths and bodies of requests to the model.
fn paths_and_bodies(requests: &[Request]) -> Vec<(String, Value)> {
    let requests = requests.iter();
    requests
        .map(|request| (request.path.clone(), request.json()))
        .collect()
}

#[test]
fn the_lines_of_every_dialect_are_accepted_by_batch() {
    let place = Place::start("v4");
    let traces = bodies().map(|(api, _, body)| trace_of_body(&place, api, &body, &["-S", "all"]));
    let asked = place.model.requests();
    let options = [
        "--from-session",
        "all",
        "-o",
        "jsonl",
        "-t",
        "nightly",
        "-u",
        "ada",
    ];
    let printed = place
        .call(&[&["replay"], &options[..]].concat())
        .without("ANTHROPIC_API_KEY")
        .run();
    printed.code(0);
    assert_eq!(place.model.count(), asked.len(), "no model is called");
    let batch = [
        "batch",
        "-",
        "--run",
        "again",
        "--ordered",
        "-j",
        "1",
        "--verify",
    ];
    let ended = place.call(&batch).stdin(printed.stdout.clone()).run();
    ended.code(0);
    let again = place.model.requests().split_off(asked.len());
    assert_eq!(paths_and_bodies(&again), paths_and_bodies(&asked));
    let answers = lines(&ended.stdout);
    assert_eq!(content(&answers[0]), "from chat");
    for (line, old) in answers.iter().zip(&traces) {
        let trace = line["langspan"]["trace_id"].as_str().unwrap();
        let rows = place.rows(trace);
        assert_eq!(rows[0]["metadata"]["replayed_from"], *old, "{rows:#?}");
        assert_eq!(rows[0]["userId"], "ada");
        assert_eq!(rows[0]["tags"], json!(["nightly"]));
    }
}

#[test]
fn a_managed_prompt_stays_linked_and_a_dated_model_is_not_asked_by_its_date() {
    let place = Place::start("v4");
    let prompt = json!({"name": "greet", "type": "text", "prompt": "Greet {{who}}", "labels": ["production"]});
    let headers = [("content-type", "application/json")];
    let made = place
        .langfuse
        .post("/api/public/v2/prompts", &headers, prompt.to_string());
    assert!(made.status < 300, "{made:?}");
    let old = place.traced(&[
        "chat",
        "--no-stdin",
        "--prompt",
        "greet",
        "--var",
        "who=Ada",
        "-m",
        "m-1",
    ]);
    let ended = place.replay(&old, &["-o", "json", "--verify"]);
    ended.code(0);
    // The answer's model is another one.
    let (_, body) = place.last();
    assert_eq!(
        body,
        json!({"model": "m-1", "messages": question("Greet Ada")})
    );
    let rows = place.rows(&ended.trace_id());
    let linked = rows.iter().find(|row| row["type"] == "GENERATION").unwrap();
    assert_eq!(
        (&linked["promptName"], &linked["promptVersion"]),
        (&"greet".into(), &1.into())
    );
}

#[test]
fn without_tracing_there_is_still_something_to_read() {
    let place = Place::start("v4");
    let old = place.traced(&["chat", "--no-stdin", "q"]);
    let ended = place
        .call(&["replay", "--from", &old])
        .env("LANGFUSE_TRACING_ENABLED", "false")
        .run();
    ended
        .code(0)
        .stdout("from chat\n")
        .stderr_has("tracing is off");
}
