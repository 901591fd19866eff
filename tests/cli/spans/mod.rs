//! The two spans as an endpoint receives them: every attribute, ids, kinds, times and status.
//!
//! The tables are complete: an extra attribute fails like a missing one.

// Every attribute that Langfuse receives.
mod langfuse;
// Trace and span ids, and trace context.
mod ids;
// When the spans start.
mod times;
// What a plain OTLP backend and a collector receive.
mod backend;

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::Value;

use crate::support::harness::{Scripted, completion};
use crate::support::otlp::attributes;

const COMPLETION_START: &str = "langfuse.observation.completion_start_time";

/// Name and kind, then every attribute, sorted. Values that differ between runs are replaced.
fn table(span: &Span, model: &Scripted) -> Vec<String> {
    let server = model.url().replace("http://", "");
    let mut lines = vec![format!("{} {}", span.name, span.kind().as_str_name())];
    for (key, value) in attributes(&span.attributes) {
        let value = match key.as_str() {
            "langfuse.observation.metadata.server" if value == server => "THE MODEL'S".to_owned(),
            COMPLETION_START => "A TIME".to_owned(),
            _ => value,
        };
        lines.push(format!("{key} = {value}"));
    }
    lines
}

/// Compares line by line, so that a failure names the line.
#[track_caller]
fn assert_table(span: &Span, model: &Scripted, expected: &str) {
    let found = table(span, model);
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    let expected: Vec<&str> = expected.lines().map(str::trim_start).collect();
    let missing: Vec<_> = expected
        .iter()
        .filter(|line| !found.contains(line))
        .collect();
    let surplus: Vec<_> = found
        .iter()
        .filter(|line| !expected.contains(line))
        .collect();
    assert_eq!(
        found, expected,
        "missing: {missing:#?}, surplus: {surplus:#?}"
    );
}

/// The reply of a model whose answer is this message.
fn answer(message: &Value, finish_reason: &str) -> Value {
    let mut body = completion("");
    body["choices"][0]["message"] = message.clone();
    body["choices"][0]["finish_reason"] = finish_reason.into();
    body
}
