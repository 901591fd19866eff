//! The output formats of stdout, and the messages on stderr.

// The answer as text.
mod text;
// `-o json`.
mod json;
// `-o raw`, `-o url`, and how a form is chosen.
mod forms;
// Closed, full and quiet output, and what is hidden.
mod streams;
// Printed links to the trace.
mod links;
// Both streams on one terminal.
mod terminal;

use serde_json::{Value, json};

use crate::support::harness::{Reply, Scripted};
use crate::support::otlp::Servers;

const DONE: &str = "[DONE]";

/// A chunk of a stream, for one of its choices.
fn chunk(index: usize, delta: &Value) -> String {
    json!({"id": "c1", "model": "m-1", "choices": [{"index": index, "delta": delta}]}).to_string()
}

fn piece(index: usize, text: &str) -> String {
    chunk(index, &json!({"content": text}))
}

fn stop(index: usize) -> String {
    json!({"choices": [{"index": index, "delta": {}, "finish_reason": "stop"}]}).to_string()
}

fn streamed(events: &[String]) -> Servers {
    let events: Vec<&str> = events.iter().map(String::as_str).chain([DONE]).collect();
    Servers::replying(Reply::events(&events))
}

/// A trace endpoint that does what `traces` says, with this answer to the look-up of the project.
fn langfuse(look_up: Reply, traces: Reply) -> Scripted {
    Scripted::start(move |request, _| match request.path.as_str() {
        "/api/public/projects" => look_up.clone(),
        "/api/public/otel/v1/traces" => traces.clone(),
        _ => Reply::json(404, &json!({"message": "not here"})),
    })
}

fn accepted() -> Reply {
    Reply::json(200, &json!({}))
}
