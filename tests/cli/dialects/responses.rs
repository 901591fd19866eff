//! OpenAI's Responses API: requests, answers, streams, failures.

use serde_json::json;

use super::{asked, call, response, response_events, stream};
use crate::support::harness::Reply;
use crate::support::otlp::{Servers, attribute, attribute_json};

const INPUT: &str = "langfuse.observation.input";
const OUTPUT: &str = "langfuse.observation.output";

#[test]
fn a_prompt_is_asked_and_traced() {
    let servers = Servers::replying(Reply::json(200, &response("Hello")));
    let ended = call(
        &servers,
        &[
            "chat",
            "--api",
            "responses",
            "-m",
            "gpt-5",
            "-s",
            "be brief",
            "--max-tokens",
            "9",
            "--json",
            "Hi",
        ],
    )
    .run();
    ended.code(0);
    let request = asked(&servers);
    assert_eq!(request.path, "/v1/responses");
    assert_eq!(
        String::from_utf8(request.body).unwrap(),
        r#"{"model":"gpt-5","input":"Hi","store":false,"instructions":"be brief","max_output_tokens":9}"#
    );
    let answer = &ended.json()["response"];
    assert_eq!(answer["text"], "Hello");
    assert_eq!(answer["finish_reason"], "completed");
    assert_eq!(
        answer["usage"],
        json!({"input": 20, "input_cached_tokens": 3, "output": 30, "output_reasoning_tokens": 5, "total": 58})
    );
    let trace = servers.trace();
    assert_eq!(trace.generation.name, "chat gpt-5");
    assert_eq!(attribute(&trace.parent, "input.value").unwrap(), "Hi");
    assert_eq!(attribute(&trace.parent, "output.value").unwrap(), "Hello");
    assert_eq!(
        attribute_json(&trace.generation, INPUT),
        json!([{"role": "system", "content": "be brief"}, {"role": "user", "content": "Hi"}])
    );
    assert_eq!(
        attribute_json(&trace.generation, OUTPUT),
        response("Hello")["output"]
    );
    assert_eq!(
        attribute_json(&trace.generation, "langfuse.observation.model.parameters"),
        json!({"store": false, "max_output_tokens": 9, "service_tier": "default"})
    );
}

#[test]
fn a_stream_gives_the_same_spans() {
    let spans = |reply: Reply, option: &str| {
        let servers = Servers::replying(reply);
        let ended = call(
            &servers,
            &["chat", "--api", "responses", "-m", "m", option, "Hi"],
        )
        .run();
        ended.code(0).stdout("Hello there\n");
        let generation = servers.trace().generation;
        [
            INPUT,
            OUTPUT,
            "langfuse.observation.usage_details",
            "langfuse.observation.metadata.finish_reason",
        ]
        .map(|key| attribute(&generation, key))
    };
    let whole = spans(Reply::json(200, &response("Hello there")), "--no-stream");
    let streamed = spans(stream(&response_events("Hello there")), "--stream");
    assert_eq!(whole, streamed);
}

#[test]
fn a_body_with_input_is_sent_as_it_is() {
    let body = r#"{"top_p":1.0,"input":[{"role":"user","content":[{"type":"input_text","text":"Hi","x":1e0}]}],"model":"m"}"#;
    let servers = Servers::replying(Reply::json(200, &response("Hello")));
    call(&servers, &["replay", "-"])
        .stdin(body)
        .run()
        .code(0)
        .stdout("Hello\n");
    let request = asked(&servers);
    assert_eq!(request.path, "/v1/responses");
    assert_eq!(request.body, body.as_bytes());
}

#[test]
fn raw_bytes_are_those_of_the_server() {
    let Reply::Answer(status, kind, body) = stream(&response_events("Hello")) else {
        unreachable!()
    };
    let servers = Servers::replying(Reply::Answer(status, kind, body.clone()));
    call(
        &servers,
        &["chat", "--api", "responses", "--stream", "-o", "raw", "Hi"],
    )
    .run()
    .code(0)
    .stdout(&body);
}

#[test]
fn an_incomplete_answer_is_a_warning() {
    let mut body = response("Hel");
    body["status"] = "incomplete".into();
    body["incomplete_details"] = json!({"reason": "max_output_tokens"});
    let mut events = response_events("Hel");
    events.pop();
    events.push(json!({"type": "response.incomplete", "response": body}));
    for reply in [Reply::json(200, &body), stream(&events)] {
        let servers = Servers::replying(reply);
        let ended = call(&servers, &["chat", "--api", "responses", "Hi"]).run();
        ended
            .code(0)
            .stdout("Hel\n")
            .stderr_has("cut off at the token limit (finish_reason max_output_tokens)");
    }
}

#[test]
fn a_failed_answer_is_a_failure_in_the_providers_words() {
    let mut body = response("");
    body["status"] = "failed".into();
    body["output"] = json!([]);
    body["error"] = json!({"code": "server_error", "message": "the model stumbled"});
    let mut events = response_events("Hello");
    events.pop();
    events.push(json!({"type": "response.failed", "response": body}));
    for reply in [Reply::json(200, &body), stream(&events)] {
        let servers = Servers::replying(reply);
        let ended = call(&servers, &["chat", "--api", "responses", "Hi"]).run();
        ended.code(4).stderr_has("the model stumbled");
        assert!(
            servers
                .trace()
                .generation
                .status
                .unwrap()
                .message
                .contains("stumbled")
        );
    }
}

#[test]
fn a_stream_without_its_last_event_is_cut_off() {
    let mut events = response_events("Hello");
    events.pop();
    let servers = Servers::replying(stream(&events));
    let ended = call(&servers, &["chat", "--api", "responses", "Hi"]).run();
    ended
        .code(4)
        .stderr_has("stream ended before the answer was complete");
    let trace = servers.trace();
    assert_eq!(attribute(&trace.parent, "output.value").unwrap(), "Hello");
}

#[test]
fn an_unknown_event_is_ignored_and_noted_once() {
    let mut events = response_events("Hello");
    for _ in 0..3 {
        events.insert(2, json!({"type": "response.surprise", "delta": "x"}));
    }
    let servers = Servers::replying(stream(&events));
    let ended = call(&servers, &["chat", "--api", "responses", "-v", "Hi"]).run();
    ended.code(0).stdout("Hello\n");
    assert_eq!(
        ended.stderr.matches("response.surprise").count(),
        1,
        "{}",
        ended.stderr
    );
    call(&servers, &["chat", "--api", "responses", "Hi"])
        .run()
        .stderr_lacks("response.surprise");
}

#[test]
fn a_previous_response_is_warned_about() {
    let servers = Servers::replying(Reply::json(200, &response("Hello")));
    let body = r#"{"model":"m","input":"Hi","previous_response_id":"resp_0"}"#;
    call(&servers, &["replay", "-"])
        .stdin(body)
        .run()
        .code(0)
        .stderr_has("cannot be replayed elsewhere");
    assert_eq!(asked(&servers).body, body.as_bytes());
}

#[test]
fn a_recording_names_its_dialect() {
    let servers = Servers::replying(stream(&response_events("Hello")));
    let recorded = call(
        &servers,
        &[
            "chat",
            "--api",
            "responses",
            "--stream",
            "--record",
            "r.jsonl",
            "Hi",
        ],
    );
    recorded.run().code(0);
    let text = std::fs::read_to_string(recorded.home().join("r.jsonl")).unwrap();
    assert!(text.contains(r#""api":"responses""#), "{text}");
    let again = call(&servers, &["replay", "--again", "r.jsonl"]).beside(&recorded);
    again.run().code(0).stdout("Hello\n");
    let sent = call(&servers, &["replay", "--send", "r.jsonl"]).beside(&recorded);
    sent.run().code(0).stdout("Hello\n");
    let paths: Vec<String> = servers
        .model
        .requests()
        .into_iter()
        .map(|request| request.path)
        .collect();
    assert_eq!(paths, ["/v1/responses", "/v1/responses"]);
    let traces = crate::support::otlp::traces_at(&servers.langfuse);
    assert_eq!(
        attribute(&traces[0].generation, OUTPUT),
        attribute(&traces[1].generation, OUTPUT)
    );
    call(&servers, &["replay", "--send", "--api", "chat", "r.jsonl"])
        .beside(&recorded)
        .run()
        .code(2)
        .stderr_has("--api chat contradicts the recording");
}

#[test]
fn a_thread_is_continued() {
    let servers = Servers::replying(Reply::json(200, &response("Hello")));
    let first = call(
        &servers,
        &[
            "chat",
            "--api",
            "responses",
            "-s",
            "be brief",
            "--thread",
            "t.json",
            "One",
        ],
    );
    first.run().code(0);
    let second = call(
        &servers,
        &["chat", "--api", "responses", "--thread", "t.json", "Two"],
    )
    .beside(&first);
    second.run().code(0);
    let body = servers.model.requests()[1].json();
    assert_eq!(body["instructions"], "be brief");
    assert_eq!(
        body["input"],
        json!([{"role": "user", "content": "One"}, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Two"}])
    );
}

#[test]
fn schema_and_attachments_have_their_own_form() {
    let servers = Servers::replying(Reply::json(200, &response("{}")));
    let schema = call(
        &servers,
        &[
            "chat",
            "--api",
            "responses",
            "--schema",
            "s.json",
            "--image",
            "http://x/i.png",
            "Hi",
        ],
    );
    schema.file(
        "s.json",
        r#"{"type":"object","additionalProperties":false}"#,
    );
    schema.run();
    let body = asked(&servers).json();
    assert_eq!(
        body["text"]["format"],
        json!({"type": "json_schema", "name": "s", "strict": true, "schema": {"type": "object", "additionalProperties": false}})
    );
    assert_eq!(
        body["input"][0]["content"],
        json!([{"type": "input_text", "text": "Hi"}, {"type": "input_image", "image_url": "http://x/i.png", "detail": "auto"}])
    );
}

#[test]
fn content_is_redacted_or_left_out() {
    let traced = |options: &[&str]| {
        let servers = Servers::replying(Reply::json(200, &response("about Ada")));
        let arguments = [
            &[
                "chat",
                "--api",
                "responses",
                "-s",
                "Ada is secret",
                "Who is Ada?",
            ],
            options,
        ]
        .concat();
        call(&servers, &arguments)
            .run()
            .code(0)
            .stdout("about Ada\n");
        servers.trace()
    };
    let trace = traced(&["--redact", "Ada"]);
    for key in [INPUT, OUTPUT] {
        let text = attribute(&trace.generation, key).unwrap();
        assert!(
            !text.contains("Ada") && text.contains("[redacted]"),
            "{text}"
        );
    }
    let trace = traced(&["--capture", "none"]);
    assert_eq!(attribute(&trace.generation, INPUT), None);
    assert_eq!(attribute(&trace.generation, OUTPUT), None);
    assert_eq!(attribute(&trace.parent, "input.value"), None);
    let reason = attribute(
        &trace.generation,
        "langfuse.observation.metadata.finish_reason",
    );
    assert_eq!(reason.as_deref(), Some("completed"));
    assert!(attribute(&trace.generation, "langfuse.observation.usage_details").is_some());
}
