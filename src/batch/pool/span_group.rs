//! Traces that go into one export request.

use opentelemetry::Value;
use opentelemetry::trace::TraceId;
use opentelemetry_sdk::trace::SpanData;
use tokio::time::Instant;

use crate::delivery::{MAX_REQUEST_BYTES, MAX_REQUEST_SPANS};

/// The size of requests while the server keeps up. Measured, a line takes a tenth less CPU time so than in requests of the
/// largest size.
const WORTHWHILE_SPANS: usize = 128;

/// The traces of the next export.
#[derive(Debug, Default)]
pub struct SpanGroup {
    pub lines: Vec<u64>,
    /// The trace of each line.
    pub ids: Vec<TraceId>,
    pub spans: Vec<SpanData>,
    pub bytes: usize,
    /// The latest time for the export to start.
    pub due: Option<Instant>,
}

impl SpanGroup {
    /// Adds the trace of a line.
    pub fn push(&mut self, line: u64, spans: Vec<SpanData>) {
        self.lines.push(line);
        let id = spans.first().map(|span| span.span_context.trace_id());
        self.ids.push(id.unwrap_or(TraceId::INVALID));
        self.bytes += spans.iter().map(size).sum::<usize>();
        self.spans.extend(spans);
    }

    /// Whether `spans` do not fit into the request that it makes now.
    pub fn is_filled_by(&self, spans: &[SpanData]) -> bool {
        let bytes = spans.iter().map(size).sum::<usize>();
        !self.lines.is_empty()
            && (self.spans.len() + spans.len() > MAX_REQUEST_SPANS
                || self.bytes + bytes > MAX_REQUEST_BYTES)
    }

    /// Whether it makes a request that is worth its cost to an idle server.
    pub fn is_worthwhile(&self) -> bool {
        self.spans.len() >= WORTHWHILE_SPANS
    }

    /// Whether it makes a request of the largest size.
    pub fn is_full(&self) -> bool {
        self.spans.len() >= MAX_REQUEST_SPANS || self.bytes >= MAX_REQUEST_BYTES
    }
}

/// The approximate size of a span in a request, in bytes.
pub fn size(span: &SpanData) -> usize {
    const IDS_AND_TIMES: usize = 100;
    const FRAME: usize = 10;
    let value = |value: &Value| match value {
        Value::String(text) => text.as_str().len(),
        Value::Array(_) => 64,
        _ => 8,
    };
    let attributes = span.attributes.iter();
    attributes
        .map(|attribute| attribute.key.as_str().len() + value(&attribute.value) + FRAME)
        .sum::<usize>()
        + IDS_AND_TIMES
}
