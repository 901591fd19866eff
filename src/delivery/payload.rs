//! One OTLP export request, in the forms that it is sent and kept in.

use std::collections::HashMap;

use bytes::Bytes;
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::langfuse::Wanted;

/// An `ExportTraceServiceRequest`.
#[derive(Clone, Debug, PartialEq)]
pub struct Payload(ExportTraceServiceRequest);

impl Payload {
    /// Reads what the OTLP exporter encoded.
    ///
    /// # Errors
    /// When the bytes are no such request.
    pub fn from_protobuf(bytes: Bytes) -> anyhow::Result<Self> {
        Ok(Self(ExportTraceServiceRequest::decode(bytes)?))
    }

    /// Reads a line of the OTLP File Exporter format.
    ///
    /// # Errors
    /// When the line is no such request, or one without spans.
    pub fn from_json_line(line: &str) -> anyhow::Result<Self> {
        let payload = Self(serde_json::from_str(line)?);
        anyhow::ensure!(payload.span_count() > 0, "the line holds no spans");
        Ok(payload)
    }

    pub fn to_protobuf(&self) -> Bytes {
        self.0.encode_to_vec().into()
    }

    /// Compact OTLP/JSON on one line.
    ///
    /// # Errors
    /// Never for a request that was decoded; the serialiser's signature allows one.
    pub fn to_json_line(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(&self.0)?)
    }

    pub fn span_count(&self) -> usize {
        self.spans().count()
    }

    /// Each trace of the request with its spans, as a read-back looks for them.
    pub fn traces(&self) -> Vec<Wanted> {
        let mut traces: HashMap<String, Wanted> = HashMap::new();
        for span in self.spans() {
            let trace_id = hex(&span.trace_id);
            let (from, to) = (
                time(span.start_time_unix_nano),
                time(span.end_time_unix_nano),
            );
            let wanted = traces.entry(trace_id.clone()).or_insert_with(|| Wanted {
                trace_id,
                span_ids: std::collections::HashSet::new(),
                from,
                to,
            });
            wanted.span_ids.insert(hex(&span.span_id));
            wanted.from = wanted.from.min(from);
            wanted.to = wanted.to.max(to);
        }
        let mut traces: Vec<Wanted> = traces.into_values().collect();
        traces.sort_by(|a, b| a.trace_id.cmp(&b.trace_id));
        traces
    }

    fn spans(&self) -> impl Iterator<Item = &Span> {
        let scopes = self
            .0
            .resource_spans
            .iter()
            .flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| &scope.spans)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            text.extend(
                [byte >> 4, byte & 15]
                    .map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')),
            );
            text
        })
}

fn time(nanos: u64) -> Timestamp {
    Timestamp::from_nanosecond(nanos.into()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_lower_case_hex() {
        assert_eq!(hex(&[0x0a, 0xf7]), "0af7");
    }

    #[test]
    fn a_line_without_spans_is_no_payload() {
        assert!(Payload::from_json_line("{}").is_err());
        assert!(
            Payload::from_json_line(r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"na"#).is_err()
        );
    }
}
