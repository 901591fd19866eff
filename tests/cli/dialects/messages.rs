//! Anthropic's Messages API: endpoint and key, requests, answers, streams, failures.

use serde_json::json;

use super::{KEY, asked, call, message, message_events, stream};
use crate::support::harness::{Langspan, Reply};
use crate::support::otlp::{Servers, attribute, attribute_json};

const INPUT: &str = "langfuse.observation.input";
const OUTPUT: &str = "langfuse.observation.output";

fn chat(servers: &Servers, options: &[&str]) -> Langspan {
    let arguments = [
        &["chat", "--api", "messages", "-m", "claude-1", "Hi"],
        options,
    ]
    .concat();
    call(servers, &arguments)
}

#[test]
fn a_prompt_is_asked_and_traced() {
    let servers = Servers::replying(Reply::json(200, &message("Hello")));
    let ended = chat(&servers, &["-s", "be brief", "--json"]).run();
    ended.code(0);
    let request = asked(&servers);
    assert_eq!(request.path, "/v1/messages");
    assert_eq!(request.header("x-api-key"), KEY);
    assert_eq!(request.header("anthropic-version"), "2023-06-01");
    assert_eq!(request.header("authorization"), "");
    assert_eq!(
        String::from_utf8(request.body).unwrap(),
        r#"{"model":"claude-1","messages":[{"role":"user","content":"Hi"}],"system":"be brief","max_tokens":4096}"#
    );
    let answer = &ended.json()["response"];
    assert_eq!(
        (&answer["text"], &answer["finish_reason"]),
        (&json!("Hello"), &json!("end_turn"))
    );
    assert_eq!(
        answer["usage"],
        json!({"input": 10, "input_cached_tokens": 5, "input_cache_creation": 3, "output": 17, "total": 35})
    );
    let trace = servers.trace();
    assert_eq!(trace.generation.name, "chat claude-1");
    assert_eq!(
        attribute_json(&trace.generation, INPUT),
        json!([{"role": "system", "content": "be brief"}, {"role": "user", "content": "Hi"}])
    );
    assert_eq!(
        attribute_json(&trace.generation, OUTPUT),
        json!({"role": "assistant", "content": message("Hello")["content"]})
    );
    assert_eq!(
        attribute_json(&trace.generation, "langfuse.observation.usage_details"),
        json!({"input": 10, "input_cached_tokens": 5, "input_cache_creation": 3, "output": 17, "total": 35})
    );
}

#[test]
fn a_stream_gives_the_same_spans() {
    let spans = |reply: Reply, option: &str| {
        let servers = Servers::replying(reply);
        chat(&servers, &[option])
            .run()
            .code(0)
            .stdout("Hello there\n");
        let generation = servers.trace().generation;
        [
            INPUT,
            OUTPUT,
            "langfuse.observation.usage_details",
            "langfuse.observation.metadata.finish_reason",
        ]
        .map(|key| attribute(&generation, key))
    };
    let whole = spans(Reply::json(200, &message("Hello there")), "--no-stream");
    let streamed = spans(stream(&message_events("Hello there")), "--stream");
    assert_eq!(whole, streamed);
}

#[test]
fn the_body_of_a_replay_only_gets_its_limit() {
    let servers = Servers::replying(Reply::json(200, &message("Hello")));
    let body =
        r#"{"messages":[{"role":"user","content":"Hi","x":1.0}],"model":"claude-1","top_k":5}"#;
    call(&servers, &["replay", "--api", "messages", "-"])
        .stdin(body)
        .run()
        .code(0);
    let sent = String::from_utf8(asked(&servers).body).unwrap();
    assert_eq!(
        sent,
        body.replace('}', "").replace("\"x\":1.0", "\"x\":1.0}") + ",\"max_tokens\":4096}"
    );
}

#[test]
fn there_is_no_default_model() {
    let servers = Servers::replying(Reply::json(200, &message("Hello")));
    call(&servers, &["chat", "--api", "messages", "Hi"])
        .run()
        .code(2)
        .stderr_has("no model: the Messages API has no default");
    assert_eq!(servers.model.count(), 0);
    call(&servers, &["chat", "--api", "messages", "Hi"])
        .env("LANGSPAN_MODEL", "claude-1")
        .run()
        .code(0);
}

#[test]
fn a_key_is_required_for_anthropic_only() {
    let call = |url: &str| {
        let servers = Servers::answering("hi");
        servers
            .call(&[
                "chat",
                "--api",
                "messages",
                "-m",
                "claude-1",
                "--anthropic-base-url",
                url,
                "--dry-run",
                "Hi",
            ])
            .run()
    };
    call("https://api.anthropic.com")
        .code(3)
        .stderr_has("ANTHROPIC_API_KEY");
    let ended = call("http://127.0.0.1:9/v1/");
    ended.code(0);
    assert!(
        ended.stdout.contains("POST http://127.0.0.1:9/v1/messages"),
        "{}",
        ended.stdout
    );
}

#[test]
fn an_overloaded_server_is_asked_again() {
    let overloaded = Reply::With(
        529,
        vec![
            ("content-type", "application/json".to_owned()),
            ("retry-after-ms", "1".to_owned()),
        ],
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
            .to_string(),
    );
    let servers = Servers::replying_in_turn(vec![
        overloaded.clone(),
        Reply::json(200, &message("Hello")),
    ]);
    chat(&servers, &[]).run().code(0);
    assert_eq!(servers.model.count(), 2);
    let servers = Servers::replying(overloaded);
    chat(&servers, &["--retries", "0"])
        .run()
        .code(4)
        .stderr_has("529 Overloaded: Overloaded");
}

#[test]
fn a_stream_that_breaks_off_is_traced() {
    let mut cut = message_events("Hello");
    cut.truncate(9);
    let mut failed = cut.clone();
    failed.push(json!({"type": "error", "error": {"type": "api_error", "message": "it broke"}}));
    for (events, words) in [
        (cut, "ended before the answer was complete"),
        (failed, "it broke"),
    ] {
        let servers = Servers::replying(stream(&events));
        chat(&servers, &["--stream"])
            .run()
            .code(4)
            .stderr_has(words);
        assert_eq!(
            attribute(&servers.trace().parent, "output.value").unwrap(),
            "Hello"
        );
    }
}

#[test]
fn tool_calls_are_printed_in_the_form_of_chat() {
    let mut body = message("");
    body["content"] =
        json!([{"type": "tool_use", "id": "t", "name": "clock", "input": {"zone": "UTC"}}]);
    body["stop_reason"] = "tool_use".into();
    let servers = Servers::replying(Reply::json(200, &body));
    let ended = chat(&servers, &[]).run();
    ended.code(0).stdout(
        "[{\"id\":\"t\",\"type\":\"function\",\"function\":{\"name\":\"clock\",\"arguments\":\"{\\\"zone\\\":\\\"UTC\\\"}\"}}]\n",
    );
}

#[test]
fn the_limit_and_a_refusal_are_warned_about() {
    for (reason, words) in [
        ("max_tokens", "token limit (finish_reason max_tokens)"),
        ("refusal", "the model refused to answer"),
    ] {
        let mut body = message("Hel");
        body["stop_reason"] = reason.into();
        let servers = Servers::replying(Reply::json(200, &body));
        chat(&servers, &[]).run().code(0).stderr_has(words);
    }
}

#[test]
fn what_the_dialect_lacks_is_named() {
    let servers = Servers::answering("hi");
    let schema = chat(&servers, &["--schema", "s.json"]);
    schema.file("s.json", "{}");
    schema
        .run()
        .code(2)
        .stderr_has("--schema is not possible in the dialect messages");
    chat(&servers, &["--openai-base-url", "http://h/v1"])
        .run()
        .code(2)
        .stderr_has("--openai-base-url is not the endpoint of the Messages API");
    let sound = chat(&servers, &["--file", "a.wav"]);
    sound.file("a.wav", b"RIFF\x24\0\0\0WAVEfmt ");
    sound.run().code(2).stderr_has("takes no audio");
    assert_eq!(servers.model.count(), 0);
}

#[test]
fn images_are_blocks_and_are_uploaded_as_such() {
    let servers = Servers::replying(Reply::json(200, &message("Hello")));
    let with_image = chat(&servers, &["--image", "i.png", "--no-media"]);
    with_image.file("i.png", b"\x89PNG\r\n\x1a\n0000");
    with_image.run().code(0);
    let content = &asked(&servers).json()["messages"][0]["content"];
    assert_eq!(content[0], json!({"type": "text", "text": "Hi"}));
    assert_eq!(
        content[1],
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgowMDAw"}})
    );
    let traced = attribute_json(&servers.trace().generation, INPUT);
    assert_eq!(
        traced[0]["content"][1]["source"]["data"],
        "[image/png, 12 bytes]"
    );
}
