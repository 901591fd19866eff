//! Spans become an OTLP export request, encoded by `opentelemetry-otlp`. Nothing is sent here.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};

use crate::delivery::payload::Payload;

/// Encodes the spans of a run under its resource.
#[derive(Debug)]
pub struct Encoder {
    /// Locked while it encodes, so that bytes are never taken for those of another call.
    otlp: Mutex<CatchingExporter>,
}

/// The exporter of `opentelemetry-otlp`, and the body of the last request that it made.
#[derive(Debug)]
struct CatchingExporter {
    exporter: SpanExporter,
    caught: BodyCatcher,
}

/// An HTTP client that sends nothing and keeps the body.
#[derive(Clone, Debug, Default)]
struct BodyCatcher(Arc<Mutex<Option<Bytes>>>);

/// Why spans could not be encoded. The exporter allows for it; no spans are known that cause it.
#[derive(Clone, Debug)]
pub struct EncodeError(String);

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the spans could not be encoded: {}", self.0)
    }
}

impl std::error::Error for EncodeError {}

impl Encoder {
    /// # Errors
    /// When the OTLP exporter cannot be built.
    pub fn new(resource: &Resource) -> anyhow::Result<Self> {
        let caught = BodyCatcher::default();
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(caught.clone())
            .with_protocol(Protocol::HttpBinary)
            // Never used. Neither is what the crate reads of the environment (headers, timeout, compression).
            .with_endpoint("http://localhost/v1/traces")
            // Large requests are cut into pieces later, so the crate's own limit must not refuse them.
            .with_max_request_body_size(usize::MAX)
            .build()?;
        exporter.set_resource(resource);
        Ok(Self {
            otlp: Mutex::new(CatchingExporter { exporter, caught }),
        })
    }

    /// Encodes `spans` as one request.
    ///
    /// # Errors
    /// When the exporter makes no request of them.
    pub fn encode(&self, spans: Vec<SpanData>) -> Result<Payload, EncodeError> {
        let (count, traces) = (spans.len(), trace_count(&spans));
        let otlp = self.otlp.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Payload::encoded(otlp.encode(spans)?, count, traces))
    }
}

impl CatchingExporter {
    fn encode(&self, spans: Vec<SpanData>) -> Result<Bytes, EncodeError> {
        // With a client that answers at once, the export never waits.
        let exported = self.exporter.export(spans).now_or_never();
        let body = self.caught.take();
        match (exported, body) {
            (Some(Ok(())), Some(body)) => Ok(body),
            (Some(Err(error)), _) => Err(EncodeError(error.to_string())),
            _ => Err(EncodeError("the exporter made no request".to_owned())),
        }
    }
}

/// The number of traces that have one of the spans.
pub fn trace_count(spans: &[SpanData]) -> usize {
    let ids = spans.iter().map(|span| span.span_context.trace_id());
    ids.collect::<HashSet<_>>().len()
}

impl BodyCatcher {
    fn take(&self) -> Option<Bytes> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        body.take()
    }
}

#[async_trait]
impl HttpClient for BodyCatcher {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *body = Some(request.into_body());
        Ok(Response::new(Bytes::new()))
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::KeyValue;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message;

    use super::*;
    use crate::model::Request as ModelRequest;
    use crate::trace::spans::{Dialect, spans};
    use crate::trace::{Exchange, Trace, TraceContext, ids};

    fn encoder() -> Encoder {
        let resource = Resource::builder_empty().with_attribute(KeyValue::new("service.name", "s"));
        Encoder::new(&resource.build()).unwrap()
    }

    fn example() -> Vec<SpanData> {
        let now = jiff::Timestamp::now();
        let exchange = Exchange::new(ModelRequest::chat("m", None, "hé \"q\""), now, now);
        let context = TraceContext::root(ids::random());
        Vec::from(spans(
            &exchange,
            &Trace::default(),
            &context,
            Dialect::Langfuse,
        ))
    }

    #[test]
    fn bytes_and_messages_are_the_same_request() {
        let payload = encoder().encode(example()).unwrap();
        let decoded = ExportTraceServiceRequest::decode(payload.to_protobuf()).unwrap();
        let line = payload.to_json_line().unwrap();
        assert_eq!(serde_json::to_string(&decoded).unwrap(), line);
        assert_eq!(payload.span_count(), 2);
        let read = Payload::from_json_line(&line).unwrap();
        assert_eq!(read.to_protobuf(), payload.to_protobuf());
    }

    #[test]
    fn each_call_gets_its_own_bytes() {
        let encoder = encoder();
        let (first, second) = (example(), example());
        let body = encoder.encode(first.clone()).unwrap().to_protobuf();
        encoder.encode(second).unwrap();
        assert_eq!(encoder.encode(first).unwrap().to_protobuf(), body);
    }
}
