//! The model endpoint: requests, answers and retries.

// Streamed answers.
mod stream;
// Retries, waits and timeouts.
mod attempts;
// Costs, and answers that are not completions.
mod answers;
// What the request holds.
mod request;

use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Value, json};

use crate::support::harness::{Reply, completion};
use crate::support::otlp::{Servers, Trace, attribute, attribute_json};

/// A chunk of a stream that brings `text`.
fn piece(text: &str) -> String {
    json!({"id": "c1", "model": "m-1", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]})
        .to_string()
}

const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const DONE: &str = "[DONE]";

/// An answer that a retry may follow at once.
fn again(status: u16) -> Reply {
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("retry-after-ms", "1".to_owned()),
    ];
    let body = json!({"error": {"message": "try later", "type": "server_error", "param": null, "code": null}});
    Reply::With(status, headers, body.to_string())
}

fn good() -> Reply {
    Reply::json(200, &completion("hi"))
}

/// The trace of a failed call: on both spans the error and on the generation zeros, or the server would invent tokens.
#[track_caller]
fn assert_failed(servers: &Servers, message: &str) -> Trace {
    let trace = servers.trace();
    for span in trace.spans() {
        let status = span.status.as_ref().unwrap();
        assert_eq!(status.code(), StatusCode::Error);
        assert!(status.message.contains(message), "{status:?}");
    }
    let usage = attribute_json(&trace.generation, "langfuse.observation.usage_details");
    let usage = usage.as_object().unwrap();
    assert!(
        !usage.is_empty() && usage.values().all(|tokens| *tokens == 0),
        "{usage:?}"
    );
    trace
}

#[track_caller]
fn assert_partial(trace: &Trace) {
    assert_eq!(attribute(&trace.parent, "output.value").unwrap(), "partial");
    let output = attribute_json(&trace.generation, "langfuse.observation.output");
    assert_eq!(output["content"], "partial");
}

/// Statuses and waits of the attempts, as the generation has them.
fn attempts(servers: &Servers) -> (Option<Value>, Option<Vec<u64>>) {
    let generation = servers.trace().generation;
    let json = |name: &str| {
        let key = format!("langfuse.observation.metadata.{name}");
        attribute(&generation, &key).map(|text| serde_json::from_str(&text).unwrap())
    };
    let waits = json("attempt_waits_ms").map(|waits| serde_json::from_value(waits).unwrap());
    (json("attempt_statuses"), waits)
}
