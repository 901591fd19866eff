//! The trace context of an exchange, and the W3C `traceparent` header.

use jiff::Timestamp;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

use super::ids::{self, SpanIds};

/// A trace id, and the remote parent span if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    pub trace_id: TraceId,
    pub remote_parent: Option<SpanId>,
    /// The ids of the two spans, once they are known.
    spans: Option<SpanIds>,
}

impl TraceContext {
    /// A trace without a remote parent.
    pub fn root(trace_id: TraceId) -> Self {
        Self {
            trace_id,
            remote_parent: None,
            spans: None,
        }
    }

    /// The context of an exchange that starts at `start`. The ids of its spans are derived only once.
    #[must_use]
    pub fn of_exchange(self, start: Timestamp) -> Self {
        Self {
            spans: Some(self.span_ids(start)),
            ..self
        }
    }

    /// The ids of the spans of an exchange that starts at `start`.
    pub fn span_ids(&self, start: Timestamp) -> SpanIds {
        let derive = || SpanIds::derive(self.trace_id, start.as_nanosecond());
        self.spans.unwrap_or_else(derive)
    }

    /// Reads a `traceparent` (W3C Trace Context, section 3.2).
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn from_traceparent(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = |what: &str| format!("`{text}` is not a traceparent: {what}");
        let parts: Vec<&str> = text.split('-').collect();
        let [version, trace_id, span_id, flags, rest @ ..] = parts.as_slice() else {
            return Err(wrong("expected VERSION-TRACE_ID-SPAN_ID-FLAGS"));
        };
        let is_hex = |text: &str, digits: usize| {
            text.len() == digits
                && text
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        if !is_hex(version, 2) || *version == "ff" {
            return Err(wrong("invalid version"));
        }
        if *version == "00" && !rest.is_empty() {
            return Err(wrong("version 00 has four parts"));
        }
        if !is_hex(trace_id, 32) {
            return Err(wrong(
                "the trace id is not 32 lower-case hexadecimal digits",
            ));
        }
        if !is_hex(span_id, 16) {
            return Err(wrong("the span id is not 16 lower-case hexadecimal digits"));
        }
        if !is_hex(flags, 2) {
            return Err(wrong("the flags are not two hexadecimal digits"));
        }
        let trace_id =
            ids::parse_trace_id(trace_id).map_err(|_| wrong("the trace id is all zeros"))?;
        match SpanId::from_hex(span_id) {
            Ok(SpanId::INVALID) | Err(_) => Err(wrong("the span id is all zeros")),
            Ok(span_id) => Ok(Self {
                trace_id,
                remote_parent: Some(span_id),
                spans: None,
            }),
        }
    }

    /// The header that makes `span` the parent of the receiver's spans.
    pub fn traceparent(&self, span: SpanId) -> String {
        format!("00-{}-{span}-01", self.trace_id)
    }

    /// The context of a span of this trace.
    pub fn span(&self, span: SpanId) -> SpanContext {
        SpanContext::new(
            self.trace_id,
            span,
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_and_written() {
        let context = TraceContext::from_traceparent(VALID).unwrap();
        assert_eq!(context.traceparent(context.remote_parent.unwrap()), VALID);
    }

    #[test]
    fn a_wrong_traceparent_says_what_is_wrong() {
        for (text, what) in [
            ("", "expected VERSION"),
            (
                "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                "version",
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
                "four parts",
            ),
            (
                "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                "trace id",
            ),
            (
                "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                "all zeros",
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
                "span id is all zeros",
            ),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b71-01", "span id"),
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
                "flags",
            ),
        ] {
            let error = TraceContext::from_traceparent(text).unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
        }
    }
}
