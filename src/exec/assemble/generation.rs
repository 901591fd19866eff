//! The generation that a model call is by itself, when no span of the child reports it.

use opentelemetry_proto::tonic::trace::v1::Span;

use crate::exec::attributes::{has, set_text, text};
use crate::exec::call::CallRecord;
use crate::trace::attributes::langfuse;
use crate::trace::spans::{self, Dialect};
use crate::trace::{Exchange, Trace, TraceContext};

/// The generation that a call is by itself, without its place in the trace.
pub fn generation(
    record: &CallRecord,
    exchange: &Exchange,
    context: &TraceContext,
    dialect: Dialect,
) -> Span {
    let [_, data] = spans::spans(exchange, &Trace::default(), context, dialect);
    let mut span = Span::from(data);
    let attributes = &mut span.attributes;
    let has_usage = has(attributes, langfuse::USAGE_DETAILS);
    if !has_usage && text(attributes, langfuse::OBSERVATION_OUTPUT).is_some() {
        // The server counts tokens by the text that it stores, JSON included.
        set_text(
            attributes,
            langfuse::OBSERVATION_OUTPUT,
            exchange.completion.answer(),
        );
    }
    if record.is_cancelled {
        let key = "langfuse.observation.status_message";
        set_text(attributes, key, "cancelled by the client");
    }
    if let Some(agent) = &record.user_agent {
        set_text(attributes, &metadata("user_agent"), agent.as_str());
    }
    span
}

/// The key of a metadatum of an observation.
pub fn metadata(name: &str) -> String {
    format!("langfuse.observation.metadata.{name}")
}
