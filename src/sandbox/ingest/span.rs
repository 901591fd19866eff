//! A span as the mapping reads it: ids as text, attribute values as plain JSON, times in milliseconds.

use std::sync::Arc;

use serde_json::{Map, Number, Value};

use crate::sandbox::time::Millis;

/// Attribute values by key, in the order in which they were sent.
pub type Attributes = Map<String, Value>;

#[derive(Debug)]
pub struct Span {
    pub trace_id: String,
    pub id: String,
    pub parent_id: Option<String>,
    pub name: String,
    pub start: Option<Millis>,
    pub end: Option<Millis>,
    pub is_error: bool,
    pub status_message: String,
    pub attributes: Attributes,
    pub events: Vec<SpanEvent>,
    pub resource: Arc<Attributes>,
    pub scope: Arc<SpanScope>,
}

#[derive(Debug, Default)]
pub struct SpanScope {
    pub name: String,
    pub version: String,
    pub attributes: Attributes,
}

#[derive(Debug)]
pub struct SpanEvent {
    pub name: String,
    pub attributes: Attributes,
}

/// A double as JavaScript writes it: `5`, not `5.0`.
pub fn double(value: f64) -> Value {
    let text = value.to_string();
    text.parse::<Number>()
        .map_or(Value::String(text), Value::Number)
}

/// Milliseconds, truncated as Langfuse does; `None` for zero, which in protobuf means a missing time.
pub fn millis(nanos: u64) -> Option<Millis> {
    if nanos == 0 {
        None
    } else {
        Millis::try_from(nanos / 1_000_000).ok()
    }
}
