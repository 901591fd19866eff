//! Puts a run together from its journal: one tree of spans, with the identity of each, every model call once, and the
//! command's span above all.
//!
//! The journal is read twice: first for a few numbers of each span, then to write the spans out. So memory does not grow
//! with their content. It does the same for a run that has just ended and for one that was killed.

mod generation;
mod index;
mod pieces;

use std::collections::BTreeMap;

use jiff::Timestamp;
use opentelemetry as otel;
use opentelemetry::trace::SpanId;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::exec::assemble::generation::{generation, metadata};
use crate::exec::assemble::index::{Index, parent_of};
use crate::exec::assemble::pieces::Pieces;
use crate::exec::attributes::{has, remove, set, set_text, texts};
use crate::exec::call::CallRecord;
use crate::exec::identity::Identity;
use crate::exec::journal::{Journal, JournalRecord, RunRecord};
use crate::exec::kind::{self, ScopeName};
use crate::exec::matching::Chain;
use crate::exec::merge::{self, SeenCall};
use crate::exec::tree;
use crate::trace::attributes::{langfuse, openinference};
use crate::trace::spans::Dialect;
use crate::trace::{Exchange, Trace, TraceContext, ids};

/// What a run amounts to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub trace_id: String,
    pub start: Timestamp,
    pub end: Timestamp,
    /// What arrived at the listener.
    pub received_spans: u64,
    pub calls: u64,
    /// What is delivered.
    pub span_ids: Vec<u64>,
    pub generations: u64,
    pub tokens: u64,
    /// US dollars, as far as they were stated.
    pub cost: Option<f64>,
    /// Whether a model call failed for good.
    pub has_failed_call: bool,
    /// The command's span, as a read-back compares it.
    pub command: Vec<SpanData>,
    /// How many model calls of the child lacked what was filled in.
    pub filled: BTreeMap<&'static str, u64>,
}

/// Writes the requests of a run, in order, with `write`.
///
/// # Errors
/// If the journal cannot be read or has no first line, or `write` fails.
pub fn assemble(
    journal: &Journal,
    dialect: Dialect,
    write: &mut dyn FnMut(ExportTraceServiceRequest) -> anyhow::Result<()>,
) -> anyhow::Result<Summary> {
    let index = Index::read(journal)?;
    let mut assembly = Assembly::new(index, dialect)?;
    let mut pieces = Pieces::new(write);
    // Generations first, so that the command's span can count them.
    assembly.write_calls(journal, &mut pieces)?;
    assembly.write_spans(journal, &mut pieces)?;
    assembly.write_command(&mut pieces)?;
    pieces.flush()?;
    Ok(assembly.summary)
}

/// The second reading: spans are changed and written.
#[derive(Debug)]
struct Assembly {
    index: Index,
    run: RunRecord,
    dialect: Dialect,
    context: TraceContext,
    chains: Vec<Chain>,
    /// The chain of each span that reports one, by its place in the tree.
    reported: BTreeMap<usize, usize>,
    /// The trace's attributes that are the same on every span.
    trace: Trace,
    summary: Summary,
}

impl Assembly {
    fn new(mut index: Index, dialect: Dialect) -> anyhow::Result<Self> {
        let run = index.run.clone();
        let run = run.ok_or_else(|| anyhow::anyhow!("the journal has no first line"))?;
        let first = index.tree.first_trace().map(crate::exec::recorder::hex);
        let trace_id = run.trace_id.clone().or(first);
        let trace_id = trace_id.unwrap_or_else(|| run.own_trace_id.clone());
        let trace_id = ids::parse_trace_id(&trace_id).map_err(anyhow::Error::msg)?;
        let chains = index.chains();
        let reported = chains.iter().enumerate().filter_map(|(chain, found)| {
            let (_, node) = &index.model_calls[found.span?];
            Some((*node, chain))
        });
        let end = index.end.map_or_else(
            || {
                let last = Timestamp::from_nanosecond(index.last.into()).unwrap_or_default();
                last.max(run.start_time)
            },
            |end| end.time,
        );
        Ok(Self {
            reported: reported.collect(),
            context: TraceContext::root(trace_id),
            trace: Trace {
                name: Some(run.name.clone()),
                metadata: run.metadata.clone(),
                version: run.version.clone(),
                public: run.is_public,
                ..Trace::default()
            },
            summary: Summary {
                trace_id: trace_id.to_string(),
                start: run.start_time,
                end,
                received_spans: index.received_spans,
                calls: index.calls.len() as u64,
                has_failed_call: chains
                    .iter()
                    .any(|chain| index.calls[chain.last()].key.is_failed),
                ..Summary::default()
            },
            index,
            run,
            dialect,
            chains,
        })
    }

    fn write_calls(&mut self, journal: &Journal, pieces: &mut Pieces<'_>) -> anyhow::Result<()> {
        for chain in self.chains.clone() {
            if chain.span.is_some() {
                continue;
            }
            let (record, exchange) = self.read_chain(journal, &chain)?;
            let mut span = generation(&record, &exchange, &self.context, self.dialect);
            let id = format!(
                "{}/{}/{}",
                self.context.trace_id, self.run.span_id, record.number
            );
            let id: [u8; 8] = ids::first_bytes(id);
            span.span_id = id.to_vec();
            let parent = parent_of(&self.index.tree, record.traceparent.as_deref());
            span.parent_span_id = self.id_of(parent);
            self.stamp(&mut span.attributes, &self.identity_below(parent));
            self.count_generation(&span.attributes);
            self.write_own(span, pieces)?;
        }
        Ok(())
    }

    /// The deciding attempt of a chain, and the exchange that all its attempts make.
    fn read_chain(
        &self,
        journal: &Journal,
        chain: &Chain,
    ) -> anyhow::Result<(CallRecord, Exchange)> {
        let JournalRecord::Call(record) = journal.read(self.index.calls[chain.last()].at)? else {
            anyhow::bail!("the journal has changed");
        };
        let mut exchange = record.exchange();
        let first = self.index.calls[chain.attempts[0]].key.start;
        exchange.start = Timestamp::from_nanosecond(first.into()).unwrap_or(exchange.start);
        if chain.attempts.len() > 1 {
            exchange.attempts = u32::try_from(chain.attempts.len()).ok();
        }
        Ok((*record, exchange))
    }

    fn write_spans(&mut self, journal: &Journal, pieces: &mut Pieces<'_>) -> anyhow::Result<()> {
        let mut copy = 0;
        journal.for_each(|_, record| {
            let JournalRecord::Spans(spans) = record else {
                return Ok(());
            };
            for mut resource_spans in spans.request.resource_spans {
                let mut resource = resource_spans.resource.take().unwrap_or_default();
                self.stamp_resource(&mut resource);
                for mut scope_spans in std::mem::take(&mut resource_spans.scope_spans) {
                    let all = std::mem::take(&mut scope_spans.spans);
                    let mut kept = Vec::with_capacity(all.len());
                    for span in all {
                        let place = self.index.tree.find(&span.trace_id, &span.span_id);
                        let is_kept = |place: usize| self.index.tree.nodes[place].copy == copy;
                        if let Some(place) = place.filter(|&place| is_kept(place)) {
                            let scope = scope_spans.scope.as_ref();
                            let scope = scope.map_or("", |scope| scope.name.as_str());
                            kept.push(self.rewrite(span, scope, place, journal)?);
                        }
                        copy += 1;
                    }
                    pieces.add(&resource_spans, &resource, &scope_spans, kept)?;
                }
            }
            Ok(())
        })
    }

    /// A span of the child as it is delivered.
    fn rewrite(
        &mut self,
        mut span: Span,
        scope: ScopeName<'_>,
        place: usize,
        journal: &Journal,
    ) -> anyhow::Result<Span> {
        let node = self.index.tree.nodes[place].clone();
        for link in &mut span.links {
            if self.index.tree.has_trace(&link.trace_id) {
                link.trace_id = self.context.trace_id.to_bytes().to_vec();
            }
        }
        span.trace_id = self.context.trace_id.to_bytes().to_vec();
        span.span_id = node.new_id.to_be_bytes().to_vec();
        span.parent_span_id = self.id_of(node.parent);
        if node.parent.is_none() {
            // The server would list the run twice.
            remove(&mut span.attributes, langfuse::IS_APP_ROOT);
        }
        self.summary.span_ids.push(node.new_id);
        if let Some(&chain) = self.reported.get(&place) {
            let chain = self.chains[chain].clone();
            let (record, exchange) = self.read_chain(journal, &chain)?;
            let own = generation(&record, &exchange, &self.context, self.dialect);
            let call = SeenCall {
                exchange: &exchange,
                attributes: &own.attributes,
                attempts: chain.attempts.len(),
            };
            for name in merge::fill(&mut span, scope, &call, self.dialect) {
                *self.summary.filled.entry(name).or_default() += 1;
            }
        }
        let identity = self.identity_of(place);
        self.stamp(&mut span.attributes, &identity);
        if node.model_call.is_some() {
            self.count_generation(&span.attributes);
        }
        Ok(span)
    }

    fn write_command(&mut self, pieces: &mut Pieces<'_>) -> anyhow::Result<()> {
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

    /// Writes a span that the run makes itself.
    fn write_own(&mut self, mut span: Span, pieces: &mut Pieces<'_>) -> anyhow::Result<()> {
        span.trace_id = self.context.trace_id.to_bytes().to_vec();
        let id = tree::number(&span.span_id);
        self.summary.span_ids.push(id);
        let mut resource = Resource::default();
        for (key, value) in &self.run.resource {
            set_text(&mut resource.attributes, key, value.as_str());
        }
        let scope_spans = ScopeSpans {
            scope: Some(InstrumentationScope {
                name: env!("CARGO_PKG_NAME").to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..InstrumentationScope::default()
            }),
            ..ScopeSpans::default()
        };
        pieces.add(
            &ResourceSpans::default(),
            &resource,
            &scope_spans,
            vec![span],
        )
    }

    /// The id that a span is delivered with; without one, that of the command's span.
    fn id_of(&self, place: Option<usize>) -> Vec<u8> {
        place.map_or_else(
            || bytes_of(&self.run.span_id),
            |place| self.index.tree.nodes[place].new_id.to_be_bytes().to_vec(),
        )
    }

    fn identity_of(&self, place: usize) -> Identity {
        self.own_identity(place)
            .or(&self.inherited(Some(place)))
            .or_only(&self.index.occurring)
    }

    /// The identity of a span that says nothing of itself, below another.
    fn identity_below(&self, parent: Option<usize>) -> Identity {
        let own = parent.map(|parent| self.own_identity(parent));
        own.unwrap_or_default()
            .or(&self.inherited(parent))
            .or_only(&self.index.occurring)
    }

    fn own_identity(&self, place: usize) -> Identity {
        let number = self.index.tree.nodes[place].identity;
        let identity = number.and_then(|number| self.index.identities.get(number));
        identity.cloned().unwrap_or_default()
    }

    /// What a span gets from the spans above it and the options.
    fn inherited(&self, place: Option<usize>) -> Identity {
        let above = place
            .into_iter()
            .flat_map(|place| self.index.tree.ancestors(place));
        let identity = above.fold(Identity::default(), |identity, place| {
            identity.or(&self.own_identity(place))
        });
        identity.or(&self.run.identity)
    }

    /// The attributes that every span of the run has.
    fn stamp(&self, attributes: &mut Vec<KeyValue>, identity: &Identity) {
        identity.stamp(attributes, self.dialect);
        set_text(attributes, langfuse::TRACE_NAME, self.trace.name());
        for (key, value) in &self.trace.metadata {
            let key = format!("{}.{key}", langfuse::TRACE_METADATA);
            if !has(attributes, &key) {
                set_text(attributes, &key, value.as_str());
            }
        }
        if let Some(version) = &self.trace.version
            && !has(attributes, langfuse::VERSION)
        {
            set_text(attributes, langfuse::VERSION, version.as_str());
        }
        if self.trace.public {
            set(attributes, langfuse::TRACE_PUBLIC, Value::BoolValue(true));
        }
    }

    fn stamp_resource(&self, resource: &mut Resource) {
        let given = [
            (langfuse::ENVIRONMENT, &self.run.environment),
            (langfuse::RELEASE, &self.run.release),
        ];
        for (key, value) in given {
            if let Some(value) = value
                && !has(&resource.attributes, key)
            {
                set_text(&mut resource.attributes, key, value.as_str());
            }
        }
    }

    fn count_generation(&mut self, attributes: &[KeyValue]) {
        self.summary.generations += 1;
        self.summary.tokens += kind::tokens(attributes);
        if let Some(cost) = kind::cost(attributes) {
            *self.summary.cost.get_or_insert(0.0) += cost;
        }
    }
}

fn unsigned(time: Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or_default()
}

/// The bytes of a hexadecimal id.
fn bytes_of(hex: &str) -> Vec<u8> {
    u64::from_str_radix(hex, 16).map_or_else(|_| Vec::new(), |id| id.to_be_bytes().to_vec())
}
