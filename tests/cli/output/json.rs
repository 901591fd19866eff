//! `-o json`.

use std::process::Command;

use serde_json::{Value, json};

use super::{accepted, langfuse, piece, stop, streamed};
use crate::support::harness::{Ended, Reply, Scripted, wait_until};
use crate::support::otlp::{Servers, traces_at};

fn unauthorized() -> Reply {
    Reply::json(401, &json!({"message": "Invalid credentials."}))
}

/// The document with what differs from run to run taken out, and asserted to be of its kind.
#[track_caller]
fn fixed(mut document: Value, servers: &Servers) -> Value {
    let id = document["trace"]["id"].as_str().unwrap().to_owned();
    assert_eq!(id, servers.trace().id());
    let text = document.to_string();
    document = serde_json::from_str(
        &text
            .replace(&id, "ID")
            .replace(servers.langfuse.url(), "BASE"),
    )
    .unwrap();
    for time in ["latency_ms", "time_to_first_token_ms"] {
        if let Some(time @ Value::Number(_)) = document["response"].get_mut(time) {
            assert!(time.is_u64(), "{time}");
            *time = "A NUMBER".into();
        }
    }
    document
}

#[test]
fn json_is_one_whole_document() {
    let servers = Servers::answering("hi");
    let ended = servers.call(&["chat", "-o", "json", "Hello"]).run();
    ended.code(0);
    assert_eq!(
        fixed(ended.json(), &servers),
        json!({
            "schema_version": 1, "ok": true, "command": "chat",
            "response": {
                "text": "hi", "model": "gpt-4o-mini-2024-07-18", "id": "chatcmpl-1", "finish_reason": "stop", "tool_calls": [],
                "usage": {"input": 20, "input_cached_tokens": 3, "output": 30, "output_reasoning_tokens": 5, "total": 58},
                "latency_ms": "A NUMBER", "time_to_first_token_ms": null, "attempts": 1,
            },
            "trace": {
                "id": "ID", "url": "BASE/project/p1/traces/ID", "spans": 2, "endpoint": "BASE/api/public/otel/v1/traces",
                "delivery": "accepted", "status": 200, "verified": null, "redactions": 0,
            },
            "error": null,
        })
    );
}

#[test]
fn json_of_a_stream_has_the_time_to_the_first_token_and_no_text_before() {
    let servers = streamed(&[piece(0, "h"), piece(0, "i"), stop(0)]);
    let ended = servers.call(&["chat", "--json", "--stream", "Hello"]).run();
    let document = fixed(ended.code(0).json(), &servers);
    assert_eq!(document["response"]["time_to_first_token_ms"], "A NUMBER");
    assert_eq!(document["response"]["text"], "hi");
}

#[test]
fn json_of_several_documents_is_one_a_line() {
    let servers = Servers::answering("hi");
    let body = r#"{"model":"m","messages":[]}"#;
    let call = servers.call(&["replay", "-o", "json", "-"]);
    let ended = call.stdin(format!("{body}\n{body}\n")).run();
    ended.code(0);
    let lines: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert_eq!(
            (&line["command"], &line["ok"]),
            (&json!("replay"), &json!(true))
        );
    }
}

/// Asserts what a failure's document says; returns it.
#[track_caller]
fn assert_error(ended: &Ended, kind: &str, exit_code: i32) -> Value {
    let document = ended.code(exit_code).json();
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["ok"], false);
    let error = &document["error"];
    assert_eq!(
        (&error["kind"], &error["exit_code"]),
        (&json!(kind), &json!(exit_code)),
        "{document:#}"
    );
    assert!(error["message"].is_string(), "{error}");
    assert!(error["retryable"].is_boolean(), "{error}");
    for field in ["hint", "status"] {
        assert!(error.get(field).is_some(), "{field} lacks: {error}");
    }
    document
}

#[test]
fn json_says_that_input_settings_or_a_file_are_wrong() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["replay", "--json", "-"]).stdin("{");
    assert_error(&call.run(), "input", 2);
    let call = servers.call(&["replay", "--json", "missing.json"]);
    assert_error(&call.run(), "file", 6);
    let call = servers
        .call(&["chat", "--json", "Hello"])
        .env("LANGFUSE_SECRET_KEY", "");
    assert_error(&call.run(), "config", 3);
    assert!(servers.model.requests().is_empty());
}

#[test]
fn json_of_a_failed_call_keeps_the_trace() {
    for (status, retryable) in [(401, false), (503, true)] {
        let servers =
            Servers::replying(Reply::json(status, &json!({"error": {"message": "sorry"}})));
        let call = servers.call(&["chat", "--json", "--retries", "0", "Hello"]);
        let document = assert_error(&call.run(), "model", 4);
        let error = &document["error"];
        assert_eq!(
            (&error["status"], &error["retryable"]),
            (&json!(status), &json!(retryable))
        );
        assert!(error["message"].as_str().unwrap().contains("sorry"));
        assert_eq!(document["trace"]["delivery"], "accepted");
        assert_eq!(document["trace"]["id"], servers.trace().id());
    }
}

#[test]
fn json_of_a_stream_that_broke_off_keeps_what_came() {
    let error = json!({"error": {"message": "overloaded"}}).to_string();
    let servers = streamed(&[piece(0, "par"), piece(0, "tial"), error]);
    let call = servers.call(&["chat", "--json", "--stream", "Hello"]);
    let document = assert_error(&call.run(), "model", 4);
    assert_eq!(document["response"]["text"], "partial", "{document:#}");
}

#[test]
fn json_of_an_undelivered_trace_keeps_the_answer() {
    for (arguments, delivery) in [
        (&["chat", "--json", "Hello"][..], "spooled"),
        (&["chat", "--json", "--no-outbox", "Hello"], "failed"),
    ] {
        let mut servers = Servers::answering("hi");
        servers.langfuse = langfuse(
            Reply::json(200, &json!({"data": [{"id": "p1"}]})),
            unauthorized(),
        );
        let ended = servers.call(arguments).run();
        let document = assert_error(&ended, "delivery", 5);
        assert_eq!(document["response"]["text"], "hi");
        assert_eq!(
            (&document["trace"]["delivery"], &document["trace"]["status"]),
            (&json!(delivery), &json!(401))
        );
        assert_eq!(ended.kept().len(), usize::from(delivery == "spooled"));
    }
}

#[test]
fn json_of_a_trace_that_cannot_be_read_back() {
    let mut servers = Servers::answering("hi");
    servers.langfuse = Scripted::start(|request, _| match request.path.split('?').next() {
        Some("/api/public/v2/observations") => Reply::json(200, &json!({"data": [], "meta": {}})),
        Some("/api/public/projects") => {
            Reply::json(200, &json!({"data": [{"id": "p1", "name": "P"}]}))
        }
        _ => accepted(),
    });
    let call = servers.call(&["chat", "--json", "--verify", "--wait", "1", "Hello"]);
    let document = assert_error(&call.run(), "not_readable", 7);
    assert_eq!(
        (
            &document["trace"]["delivery"],
            &document["trace"]["verified"]
        ),
        (&json!("accepted"), &json!(false))
    );
    assert_eq!(document["response"]["text"], "hi");
}

#[test]
fn json_of_an_interrupted_call() {
    let servers = Servers::replying(Reply::Hang);
    let call = servers.call(&["chat", "--json", "--no-stdin", "Hello"]);
    let child = call.spawn();
    wait_until("the model is asked", || !servers.asked().is_empty());
    let id = child.id().to_string();
    let killed = Command::new("/bin/sh")
        .args(["-c", "kill -INT \"$1\"", "sh", &id])
        .status();
    assert!(killed.unwrap().success());
    let ended = call.ended(&child.wait_with_output().unwrap());
    assert_error(&ended, "interrupted", 130);
}

#[test]
fn usage_errors_are_text_even_where_json_is_asked_for() {
    let servers = Servers::answering("hi");
    for arguments in [
        &["chat", "--json", "--nonsense", "Hello"][..],
        &["chat", "--json"],
        &["chat", "--json", "--trace-id", "xyz", "Hello"],
        &["replay", "--json"],
    ] {
        let ended = servers.call(arguments).run();
        ended.code(2).stdout("");
        assert!(
            !ended.stderr.is_empty() && !ended.stderr.starts_with('{'),
            "{ended:#?}"
        );
    }
}

#[test]
fn json_names_why_nothing_was_delivered() {
    let servers = Servers::answering("hi");
    let disabled = servers
        .call(&["chat", "--json", "Hello"])
        .env("LANGFUSE_TRACING_ENABLED", "false");
    let sampled = servers.call(&["chat", "--json", "--sample", "0", "Hello"]);
    for (call, delivery) in [(disabled, "disabled"), (sampled, "sampled_out")] {
        let document = call.run().code(0).json();
        assert_eq!(document["trace"]["delivery"], delivery);
        assert_eq!(document["ok"], true);
        assert_eq!(document["response"]["text"], "hi");
    }
    assert!(traces_at(&servers.langfuse).is_empty());
}
