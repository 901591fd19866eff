//! The protobuf form of an export request.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValueKind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{Span as ProtoSpan, Status, status::StatusCode};
use prost::Message as _;
use serde_json::Value;

use super::InvalidExport;
use super::span::{self, Attributes, Span, SpanEvent, SpanScope};
use crate::sandbox::hex::hex;

pub fn decode(body: &[u8]) -> Result<Option<Vec<Span>>, InvalidExport> {
    let request = ExportTraceServiceRequest::decode(body)
        .map_err(|_| InvalidExport::new("Failed to parse OTel Protobuf Trace"))?;
    if request.resource_spans.is_empty() {
        return Ok(None);
    }
    let mut spans = Vec::new();
    for of_resource in request.resource_spans {
        let resource = Arc::new(attributes(
            of_resource.resource.unwrap_or_default().attributes,
        ));
        for of_scope in of_resource.scope_spans {
            let scope = Arc::new(scope(of_scope.scope.unwrap_or_default()));
            spans.extend(
                of_scope
                    .spans
                    .into_iter()
                    .map(|proto| span(proto, &resource, &scope)),
            );
        }
    }
    Ok(Some(spans))
}

fn span(proto: ProtoSpan, resource: &Arc<Attributes>, scope: &Arc<SpanScope>) -> Span {
    let Status { message, code } = proto.status.unwrap_or_default();
    Span {
        trace_id: hex(&proto.trace_id),
        id: hex(&proto.span_id),
        parent_id: Some(hex(&proto.parent_span_id)).filter(|id| !id.is_empty()),
        name: proto.name,
        start: span::millis(proto.start_time_unix_nano),
        end: span::millis(proto.end_time_unix_nano),
        is_error: code == StatusCode::Error as i32,
        status_message: message,
        attributes: attributes(proto.attributes),
        events: proto
            .events
            .into_iter()
            .map(|event| SpanEvent {
                name: event.name,
                attributes: attributes(event.attributes),
            })
            .collect(),
        resource: Arc::clone(resource),
        scope: Arc::clone(scope),
    }
}

fn scope(proto: InstrumentationScope) -> SpanScope {
    SpanScope {
        name: proto.name,
        version: proto.version,
        attributes: attributes(proto.attributes),
    }
}

fn attributes(list: Vec<KeyValue>) -> Attributes {
    list.into_iter()
        .filter_map(|pair| Some((pair.key, plain(pair.value?)?)))
        .collect()
}

fn plain(any: AnyValue) -> Option<Value> {
    match any.value? {
        AnyValueKind::StringValue(text) => Some(Value::String(text)),
        AnyValueKind::BoolValue(flag) => Some(Value::Bool(flag)),
        AnyValueKind::IntValue(number) => Some(Value::from(number)),
        AnyValueKind::DoubleValue(number) => Some(span::double(number)),
        // Langfuse stores an empty array as the text of its wrapper; as a tag list it becomes one odd tag.
        AnyValueKind::ArrayValue(array) if array.values.is_empty() => {
            Some(r#"{"arrayValue":{}}"#.into())
        }
        AnyValueKind::ArrayValue(array) => {
            Some(array.values.into_iter().filter_map(plain).collect())
        }
        wrapped => serde_json::to_string(&AnyValue {
            value: Some(wrapped),
        })
        .ok()
        .map(Value::String),
    }
}
