//! Builds the two spans of an exchange: a parent and a generation.
//!
//! Pure functions: the same exchange gives the same spans, whenever it is emitted.

use std::borrow::Cow;
use std::time::SystemTime;

use jiff::Timestamp;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use serde_json::{Value as Json, json};

use super::attribute_list::AttributeList;
use super::attributes::{langfuse, openinference, otel};
use super::exchange::{Exchange, Server};
use super::{Trace, TraceContext, conventions};
use crate::model::{Usage, UsageDetails};

/// The reader of the spans, which determines their attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Langfuse, reached directly. It shows every attribute as metadata, so it gets only those that it maps.
    Langfuse,
    /// A collector in front of Langfuse. Other backends may read there too, so the GenAI conventions are added.
    Collector,
    /// Any other OTLP backend. The content follows the GenAI conventions.
    Plain,
}

/// The spans of an exchange: the parent, then the generation.
pub fn spans(
    exchange: &Exchange,
    trace: &Trace,
    context: &TraceContext,
    dialect: Dialect,
) -> [SpanData; 2] {
    let ids = context.span_ids(exchange.start);
    let mut identity = identity(trace, dialect);
    if let Some(item) = &trace.item {
        identity.extend(item.attributes(ids.parent));
    }

    let mut parent = identity.clone();
    parent.extend(parent_content(exchange));
    if context.remote_parent.is_some() {
        parent.push(KeyValue::new(langfuse::IS_APP_ROOT, true));
    }

    let mut generation = identity;
    generation.extend(langfuse_call(exchange));
    generation.extend(attempts(exchange));
    generation.extend(prompt_link(trace));
    if dialect != Dialect::Plain {
        generation.extend(langfuse_metadata(exchange));
        generation.extend(langfuse_content(exchange));
    }
    if dialect == Dialect::Collector {
        generation.extend(no_parameters(exchange));
    }
    if dialect != Dialect::Langfuse {
        generation.extend(conventions::call(exchange, trace));
    }
    if dialect == Dialect::Plain {
        generation.extend(conventions::content(exchange));
    }

    let remote = context.remote_parent.unwrap_or(SpanId::INVALID);
    [
        Span {
            context: context.span(ids.parent),
            parent: remote,
            parent_is_remote: context.remote_parent.is_some(),
            kind: SpanKind::Internal,
            name: trace.name().to_owned(),
            start: exchange.parent_start(),
            attributes: parent,
        }
        .into_data(exchange),
        Span {
            context: context.span(ids.generation),
            parent: ids.parent,
            parent_is_remote: false,
            kind: SpanKind::Client,
            name: format!(
                "{} {}",
                exchange.request.dialect().operation(),
                exchange.requested_model()
            ),
            start: exchange.start,
            attributes: generation,
        }
        .into_data(exchange),
    ]
}

/// The resource of the spans: the service, the environment and the release. The service defaults to this program, and
/// `extra` attributes may override it.
pub fn resource(
    service: Option<&str>,
    extra: &[(String, String)],
    environment: Option<&str>,
    release: Option<&str>,
) -> Resource {
    let given = [
        (otel::SERVICE_NAME, service),
        (langfuse::ENVIRONMENT, environment),
        (langfuse::RELEASE, release),
    ];
    let given = given
        .into_iter()
        .filter_map(|(key, value)| Some(KeyValue::new(key, value?.to_owned())));
    let extra = extra
        .iter()
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    // Later attributes replace earlier ones of the same key.
    Resource::builder_empty()
        .with_attribute(KeyValue::new(otel::SERVICE_NAME, env!("CARGO_PKG_NAME")))
        .with_attributes(extra)
        .with_attributes(given)
        .build()
}

/// The parts that differ between the two spans.
struct Span {
    context: SpanContext,
    parent: SpanId,
    parent_is_remote: bool,
    kind: SpanKind,
    name: String,
    start: Timestamp,
    attributes: Vec<KeyValue>,
}

impl Span {
    fn into_data(self, exchange: &Exchange) -> SpanData {
        SpanData {
            span_context: self.context,
            parent_span_id: self.parent,
            parent_span_is_remote: self.parent_is_remote,
            span_kind: self.kind,
            name: Cow::Owned(self.name),
            start_time: SystemTime::from(self.start),
            end_time: SystemTime::from(exchange.end),
            attributes: self.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: exchange
                .error
                .as_ref()
                .map_or(Status::Unset, |error| Status::error(error.message.clone())),
            instrumentation_scope: InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        }
    }
}

/// The attributes of the trace. On both spans, because Langfuse v4 reads each span separately: without a trace name, the
/// cost of the generation counts for no name.
fn identity(trace: &Trace, dialect: Dialect) -> Vec<KeyValue> {
    let mut attributes = AttributeList::default();
    attributes.text(langfuse::USER_ID, trace.user.clone());
    attributes.text(langfuse::SESSION_ID, trace.session.clone());
    attributes.texts(langfuse::TAGS, &trace.tags);
    attributes.text(langfuse::TRACE_NAME, Some(trace.name().to_owned()));
    attributes.text(langfuse::VERSION, trace.version.clone());
    attributes.flag(langfuse::TRACE_PUBLIC, trace.public);
    for (key, value) in &trace.metadata {
        let key = format!("{}.{key}", langfuse::TRACE_METADATA);
        attributes.0.push(KeyValue::new(key, value.clone()));
    }
    if dialect == Dialect::Plain {
        attributes.text(otel::USER_ID, trace.user.clone());
        attributes.text(otel::SESSION_ID, trace.session.clone());
    }
    attributes.0
}

/// The parent has no model and no usage, or Langfuse would count both twice.
fn parent_content(exchange: &Exchange) -> Vec<KeyValue> {
    let mut attributes = AttributeList::default();
    attributes.text(langfuse::OBSERVATION_TYPE, Some("span"));
    attributes.text(
        openinference::INPUT_VALUE,
        exchange.request.last_user_text(),
    );
    attributes.text(
        openinference::OUTPUT_VALUE,
        Some(exchange.completion.answer()),
    );
    attributes.0
}

/// The managed prompt of the call. Langfuse links generations only.
fn prompt_link(trace: &Trace) -> Vec<KeyValue> {
    let mut attributes = AttributeList::default();
    if let Some(link) = &trace.prompt {
        attributes.text(langfuse::PROMPT_NAME, Some(link.name.clone()));
        attributes.int(langfuse::PROMPT_VERSION, i64::try_from(link.version).ok());
    }
    attributes.0
}

/// The call, as Langfuse maps it.
fn langfuse_call(exchange: &Exchange) -> Vec<KeyValue> {
    let mut attributes = AttributeList::default();
    let kind = exchange.request.dialect().observation_type();
    attributes.text(langfuse::OBSERVATION_TYPE, Some(kind));
    attributes.text(langfuse::MODEL_NAME, Some(exchange.model()));
    attributes.text(langfuse::MODEL_PARAMETERS, model_parameters(exchange));
    let usage = usage_details(exchange).and_then(|usage| serde_json::to_string(&usage).ok());
    attributes.text(langfuse::USAGE_DETAILS, usage);
    attributes.text(langfuse::COST_DETAILS, cost_details(exchange));
    attributes.text(
        langfuse::COMPLETION_START_TIME,
        exchange.completion_start.map(|time| time.to_string()),
    );
    attributes.0
}

/// What the provider states, else what was computed for the trace, as JSON.
fn cost_details(exchange: &Exchange) -> Option<String> {
    let stated = exchange.completion.cost.or(exchange.cost);
    let stated = stated.map(|cost| json!({"total": cost}));
    let computed = || Some(Json::Object(exchange.cost_details.clone()?));
    stated.or_else(computed).map(|cost| cost.to_string())
}

/// The model parameters on the span, as JSON: what was sent, and the service tier that answered.
pub fn model_parameters(exchange: &Exchange) -> Option<String> {
    let tier = exchange.completion.service_tier.as_deref();
    let tier = tier.map(|tier| ("service_tier", tier));
    exchange.request.parameters(tier.as_slice())
}

/// An empty list of model parameters for a stream without any. Langfuse would take `gen_ai.request.stream` for one.
fn no_parameters(exchange: &Exchange) -> Option<KeyValue> {
    let has_none = conventions::is_streamed(exchange) && model_parameters(exchange).is_none();
    has_none.then(|| KeyValue::new(langfuse::MODEL_PARAMETERS, "{}"))
}

/// Details without a field of their own in Langfuse, as metadata.
fn langfuse_metadata(exchange: &Exchange) -> Vec<KeyValue> {
    let completion = &exchange.completion;
    let mut attributes = AttributeList::default();
    let reasons: Vec<&String> = completion.finish_reasons.iter().flatten().collect();
    let reason = match reasons.as_slice() {
        [] => None,
        [reason] => Some((*reason).clone()),
        reasons => Some(json!(reasons).to_string()),
    };
    attributes.text(langfuse::OBSERVATION_METADATA_FINISH_REASON, reason);
    attributes.text(
        langfuse::OBSERVATION_METADATA_RESPONSE_ID,
        completion.id.clone(),
    );
    attributes.text(
        langfuse::OBSERVATION_METADATA_SERVER,
        exchange.server.as_ref().map(Server::host_and_port),
    );
    if let Some(usage) = completion.usage {
        attributes.tokens(
            langfuse::OBSERVATION_METADATA_REASONING_TOKENS,
            usage.output_reasoning,
        );
    }
    attributes.0
}

/// The number of attempts, the status of each and the waits between them, if there were several.
fn attempts(exchange: &Exchange) -> Vec<KeyValue> {
    let mut attributes = AttributeList::default();
    let count = exchange.attempts.filter(|count| *count != 1);
    attributes.int(
        langfuse::OBSERVATION_METADATA_ATTEMPTS,
        count.map(i64::from),
    );
    if exchange.retried.is_empty() {
        return attributes.0;
    }
    attributes.text(
        langfuse::OBSERVATION_METADATA_ATTEMPT_STATUSES,
        Some(json!(exchange.attempt_statuses()).to_string()),
    );
    attributes.text(
        langfuse::OBSERVATION_METADATA_ATTEMPT_WAITS,
        Some(json!(exchange.attempt_waits_ms()).to_string()),
    );
    attributes.0
}

/// The usage for Langfuse. Explicit zeros for a call that failed or used nothing, because the server otherwise counts
/// and prices the messages itself.
pub fn usage_details(exchange: &Exchange) -> Option<UsageDetails> {
    let details = match (&exchange.completion.usage, &exchange.error) {
        (Some(usage), _) => usage.priced_buckets(prices_text_tokens(exchange, usage)),
        (None, Some(_)) => UsageDetails::zeros(),
        (None, None) => return None,
    };
    Some(if details.as_slice().is_empty() {
        UsageDetails::zeros()
    } else {
        details
    })
}

/// Whether the model has prices for `input_text_tokens` and `output_text_tokens`. Audio models do; Gemini's, which also
/// take audio, have a price for `input` instead.
fn prices_text_tokens(exchange: &Exchange, usage: &Usage) -> bool {
    usage.has_audio() && !exchange.model().contains("gemini")
}

fn langfuse_content(exchange: &Exchange) -> Vec<KeyValue> {
    let mut attributes = AttributeList::default();
    let request = &exchange.request;
    let input = request.dialect().traced_input(request);
    attributes.text(langfuse::OBSERVATION_INPUT, input);
    let output = exchange.completion.traced_output();
    attributes.text(langfuse::OBSERVATION_OUTPUT, output);
    attributes.0
}
