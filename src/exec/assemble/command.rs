//! The command's span, the root of a run.

use jiff::Timestamp;
use opentelemetry as otel;
use opentelemetry::trace::SpanId;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::{Assembly, bytes_of};
use crate::exec::assemble::generation::metadata;
use crate::exec::assemble::pieces::Pieces;
use crate::exec::attributes::{set, set_text, texts};
use crate::trace::attributes::{langfuse, openinference};

impl Assembly {
    pub(super) fn write_command(&mut self, pieces: &mut Pieces<'_>) -> anyhow::Result<()> {
        let mut attributes = Vec::new();
        set_text(&mut attributes, langfuse::OBSERVATION_TYPE, "span");
        if !self.run.command_line.is_empty() {
            let line = self.run.command_line.as_str();
            set_text(&mut attributes, openinference::INPUT_VALUE, line);
        }
        let remote = self
            .run
            .remote_parent
            .as_deref()
            .map(bytes_of)
            .unwrap_or_default();
        if !remote.is_empty() {
            set(
                &mut attributes,
                langfuse::IS_APP_ROOT,
                Value::BoolValue(true),
            );
        }
        let message = self.outcome(&mut attributes);
        let counts = [
            ("spans", self.summary.received_spans),
            ("calls", self.summary.calls),
            ("generations", self.summary.generations),
        ];
        for (name, count) in counts {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            set(&mut attributes, &metadata(name), Value::IntValue(count));
        }
        self.stamp(&mut attributes, &self.identity_below(None));
        self.summary.command = vec![self.comparable(&attributes)];
        let span = Span {
            span_id: bytes_of(&self.run.span_id),
            parent_span_id: remote,
            name: self.run.name.clone(),
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: unsigned(self.summary.start),
            end_time_unix_nano: unsigned(self.summary.end),
            attributes,
            status: message.map(|message| Status {
                message,
                code: StatusCode::Error.into(),
            }),
            ..Span::default()
        };
        self.write_own(span, pieces)
    }

    /// The command's span with what a read-back compares.
    fn comparable(&self, attributes: &[KeyValue]) -> SpanData {
        let span_id = SpanId::from_hex(&self.run.span_id).unwrap_or(SpanId::INVALID);
        let texts = attributes.iter().filter_map(|attribute| {
            let value = match attribute.value.as_ref()?.value.as_ref()? {
                Value::StringValue(text) => otel::Value::from(text.clone()),
                Value::ArrayValue(list) => {
                    let texts = texts(list).map(|text| text.to_owned().into());
                    otel::Value::Array(otel::Array::String(texts.collect()))
                }
                _ => return None,
            };
            Some(otel::KeyValue::new(attribute.key.clone(), value))
        });
        SpanData {
            span_context: self.context.span(span_id),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: otel::trace::SpanKind::Internal,
            name: self.run.name.clone().into(),
            start_time: self.summary.start.into(),
            end_time: self.summary.end.into(),
            attributes: texts.collect(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: otel::trace::Status::Unset,
            instrumentation_scope: otel::InstrumentationScope::default(),
        }
    }

    /// How the child ended, as metadata; returns the message of one that failed.
    fn outcome(&self, attributes: &mut Vec<KeyValue>) -> Option<String> {
        let mut set_number = |name: &str, value: i32| {
            set(attributes, &metadata(name), Value::IntValue(value.into()));
        };
        let Some(end) = self.index.end else {
            set_text(attributes, &metadata("exit"), "unknown");
            return None;
        };
        match (end.exit_code, end.signal) {
            (_, Some(signal)) => {
                set_number("signal", signal);
                Some(format!("the command was ended by signal {signal}"))
            }
            (Some(code), None) => {
                set_number("exit_code", code);
                let message = match code {
                    126 => "the command ended with exit code 126, or cannot be executed".to_owned(),
                    127 => "the command ended with exit code 127, or was not found".to_owned(),
                    code => format!("the command ended with exit code {code}"),
                };
                (code != 0).then_some(message)
            }
            (None, None) => None,
        }
    }
}

fn unsigned(time: Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or_default()
}
