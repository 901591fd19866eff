//! Files that mix dialects.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{KEY, call, polyglot};
use crate::support::batch::output::lines;
use crate::support::harness::{Reply, Scripted};
use crate::support::otlp::{Servers, attribute, traces_at};

fn mixed() -> String {
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
    let input = json!({"model": "m", "input": "Hi"});
    let all = [
        ("chat", "/v1/chat/completions", &chat),
        ("responses", "/v1/responses", &input),
        ("messages", "/v1/messages", &chat),
        ("embeddings", "/v1/embeddings", &input),
    ];
    let lines = all.map(|(id, url, body)| {
        let line = json!({"custom_id": id, "method": "POST", "url": url, "body": body});
        format!("{line}\n")
    });
    lines.concat()
}

fn by_id(text: &str) -> BTreeMap<String, Value> {
    let lines = lines(text).into_iter();
    lines
        .map(|line| (line["custom_id"].as_str().unwrap().to_owned(), line))
        .collect()
}

#[test]
fn every_line_goes_where_its_url_says() {
    let servers = Servers::with(Scripted::start(|request, _| polyglot(request)));
    let ended = call(&servers, &["batch", "--summary", "s.json", "-"])
        .stdin(mixed())
        .run();
    ended.code(0);
    let answers = by_id(&ended.stdout);
    assert_eq!(
        answers["chat"]["response"]["body"]["choices"][0]["message"]["content"],
        "from chat"
    );
    assert_eq!(
        answers["responses"]["response"]["body"]["output"][1]["content"][0]["text"],
        "from responses"
    );
    assert_eq!(
        answers["messages"]["response"]["body"]["content"][1]["text"],
        "from messages"
    );
    assert_eq!(
        answers["embeddings"]["response"]["body"]["data"][0]["embedding"],
        json!([0.125, 0.25, 0.5])
    );
    assert_eq!(answers["chat"]["langspan"]["api"], Value::Null);
    assert_eq!(answers["messages"]["langspan"]["api"], "messages");
    let mut outputs: Vec<String> = traces_at(&servers.langfuse)
        .iter()
        .map(|trace| attribute(&trace.parent, "output.value").unwrap())
        .collect();
    outputs.sort();
    assert_eq!(
        outputs,
        [
            "from chat",
            "from messages",
            "from responses",
            r#"{"dimensions":3,"count":2}"#
        ]
    );
    for request in servers.model.requests() {
        let is_anthropic = request.path == "/v1/messages";
        assert_eq!(
            request.header("x-api-key") == KEY,
            is_anthropic,
            "{request:?}"
        );
    }
}

/// A kill before the traces were sent: they are rebuilt from input and output, in their dialects.
#[test]
fn a_resumed_run_rebuilds_the_spans_of_each_dialect() {
    let servers = Servers::with(Scripted::start(|request, _| polyglot(request)));
    let refused = Scripted::langfuse(|_, _| Reply::json(503, &json!({"message": "down"})));
    let arguments = [
        "batch",
        "in.jsonl",
        "--out",
        "out.jsonl",
        "--run",
        "r",
        "--export-timeout",
        "1",
        "--no-outbox",
    ];
    let first = call(&servers, &arguments).langfuse_at(refused.url());
    first.file("in.jsonl", mixed());
    first.run().code(5);
    let resumed = call(&servers, &[&arguments[..], &["--resume"]].concat()).beside(&first);
    resumed.run().code(0);
    assert_eq!(servers.model.count(), 4, "no line is asked twice");
    let mut outputs: Vec<String> = traces_at(&servers.langfuse)
        .iter()
        .map(|trace| attribute(&trace.parent, "output.value").unwrap())
        .collect();
    outputs.sort();
    assert_eq!(
        outputs,
        [
            "from chat",
            "from messages",
            "from responses",
            r#"{"dimensions":3,"count":2}"#
        ]
    );
}

#[test]
fn a_pause_of_one_endpoint_does_not_hold_up_the_other() {
    let servers = Servers::with(Scripted::start(|request, _| {
        if request.path == "/v1/messages" {
            let headers = vec![
                ("content-type", "application/json".to_owned()),
                ("retry-after", "100".to_owned()),
            ];
            return Reply::With(
                529,
                headers,
                r#"{"error":{"type":"overloaded_error","message":"busy"}}"#.to_owned(),
            );
        }
        polyglot(request)
    }));
    let ended = call(&servers, &["batch", "--timeout", "5", "-j", "1", "-"])
        .stdin(mixed())
        .run();
    let answers = by_id(&ended.stdout);
    assert_eq!(
        answers["chat"]["response"]["status_code"], 200,
        "{ended:#?}"
    );
}

#[test]
fn a_missing_key_is_found_before_anything_is_sent() {
    let servers = Servers::with(Scripted::start(|request, _| polyglot(request)));
    let only_messages =
        json!({"url": "/v1/messages", "body": {"model": "m", "messages": []}}).to_string();
    let without = call(&servers, &["batch", "in.jsonl"])
        .without("ANTHROPIC_API_KEY")
        .without("ANTHROPIC_BASE_URL");
    without.file("in.jsonl", &only_messages);
    without.run().code(3).stderr_has("ANTHROPIC_API_KEY");
    // The other key is not needed.
    let with = call(&servers, &["batch", "in.jsonl"]).without("OPENAI_BASE_URL");
    with.file("in.jsonl", &only_messages);
    with.run().code(0);
}

#[test]
fn prompts_are_asked_in_the_chosen_dialect() {
    let servers = Servers::with(Scripted::start(|request, _| polyglot(request)));
    let ended = call(
        &servers,
        &["batch", "--api", "messages", "-m", "claude-1", "-"],
    )
    .stdin("{\"prompt\":\"Hi\",\"system\":\"be brief\"}\n")
    .run();
    ended.code(0);
    assert_eq!(
        servers.model.requests()[0].json(),
        json!({"model": "claude-1", "messages": [{"role": "user", "content": "Hi"}], "system": "be brief", "max_tokens": 4096})
    );
}

#[test]
fn an_answer_that_the_server_keeps_is_warned_of_once() {
    let servers = Servers::with(Scripted::start(|request, _| polyglot(request)));
    let line = json!({"model": "m", "input": "Hi", "previous_response_id": "resp_0"});
    let other = json!({"model": "m", "input": "Hi"});
    let input = format!("{other}\n{line}\n{line}\n");
    let ended = call(&servers, &["batch", "-", "-j", "1"])
        .stdin(input)
        .run();
    ended
        .code(0)
        .stderr_has("line 2: previous_response_id continues an answer that the server keeps");
    assert_eq!(
        ended.stderr.matches("previous_response_id").count(),
        1,
        "{ended:#?}"
    );
}
