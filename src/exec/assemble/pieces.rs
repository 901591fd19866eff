//! The requests that a run is sent in: of a size that servers commonly take.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

use crate::delivery::{MAX_REQUEST_BYTES, MAX_REQUEST_SPANS};

/// Requests in the making.
pub struct Pieces<'a> {
    write: &'a mut dyn FnMut(ExportTraceServiceRequest) -> anyhow::Result<()>,
    request: ExportTraceServiceRequest,
    spans: usize,
    bytes: usize,
}

impl<'a> Pieces<'a> {
    pub fn new(write: &'a mut dyn FnMut(ExportTraceServiceRequest) -> anyhow::Result<()>) -> Self {
        Self {
            write,
            request: ExportTraceServiceRequest::default(),
            spans: 0,
            bytes: 0,
        }
    }

    /// Adds spans of one scope of one resource.
    pub fn add(
        &mut self,
        resource_spans: &ResourceSpans,
        resource: &Resource,
        scope_spans: &ScopeSpans,
        spans: Vec<Span>,
    ) -> anyhow::Result<()> {
        let mut group = Vec::new();
        let put = |pieces: &mut Self, group: &mut Vec<Span>| {
            if !group.is_empty() {
                pieces.request.resource_spans.push(ResourceSpans {
                    resource: Some(resource.clone()),
                    scope_spans: vec![ScopeSpans {
                        spans: std::mem::take(group),
                        ..scope_spans.clone()
                    }],
                    ..resource_spans.clone()
                });
            }
        };
        for span in spans {
            let bytes = span.encoded_len();
            let is_full = self.spans == MAX_REQUEST_SPANS
                || (self.spans > 0 && self.bytes + bytes > MAX_REQUEST_BYTES);
            if is_full {
                put(self, &mut group);
                self.flush()?;
            }
            self.spans += 1;
            self.bytes += bytes;
            group.push(span);
        }
        put(self, &mut group);
        Ok(())
    }

    /// Writes what there is.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        let request = std::mem::take(&mut self.request);
        (self.spans, self.bytes) = (0, 0);
        if request.resource_spans.is_empty() {
            return Ok(());
        }
        (self.write)(request)
    }
}
