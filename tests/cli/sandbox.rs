//! The sandbox's answers, compared with those of Langfuse 4.16 to the same requests.

mod chat_model;
mod clear;
mod datasets;
mod dialects;
mod experiment_pages;
mod experiments;
mod guard;
mod ingest;
mod media;
mod metrics;
mod pages;
mod prices;
mod prompts;
mod reading;
mod refusals;
mod scores;

use serde_json::{Value, json};

use crate::support::harness::Langspan;
use crate::support::stand_in::{Answer, Sandbox};

const TRACES: &str = "/api/public/otel/v1/traces";
const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

/// An export request around `spans`.
fn export(spans: &[Value]) -> Value {
    json!({"resourceSpans": [{
        "resource": {"attributes": [text("service.name", "test")]},
        "scopeSpans": [{"scope": {"name": "probe-cli", "version": "0.1.0"}, "spans": spans}],
    }]})
}

/// A span of one second, `second` seconds after a fixed time.
fn span(trace_id: &str, id: &str, second: u64, attributes: &[Value]) -> Value {
    let start = (1_790_000_000 + second) * 1_000_000_000;
    json!({
        "traceId": trace_id,
        "spanId": id,
        "name": format!("span {id}"),
        "kind": 1,
        "startTimeUnixNano": start.to_string(),
        "endTimeUnixNano": (start + 1_000_000_000).to_string(),
        "attributes": attributes,
    })
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn send(sandbox: &Sandbox, spans: &[Value]) {
    let answer = sandbox.post(TRACES, &[JSON], export(spans).to_string());
    assert_accepted(&answer);
}

fn assert_accepted(answer: &Answer) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.content_type, "application/json; charset=utf-8");
    assert_eq!(answer.json()["name"], "otel-ingestion-job");
}

fn ids(rows: &Value) -> Vec<&str> {
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| row["id"].as_str().unwrap())
        .collect()
}

#[test]
fn a_sandbox_without_a_writable_store_fails_at_once() {
    for arguments in [
        &["chat", "--sandbox", "hi"][..],
        &["check", "--sandbox"],
        &["sandbox", "--port", "0"],
    ] {
        let call = Langspan::new(arguments);
        let blocked = call.file("blocked", "no folder");
        let ended = call.env("XDG_STATE_HOME", blocked.to_str().unwrap()).run();
        ended.code(6);
        let said = format!("{}{}", ended.stdout, ended.stderr);
        for part in ["blocked/langspan/sandbox", "XDG_STATE_HOME"] {
            assert!(said.contains(part), "{said}");
        }
    }
}
