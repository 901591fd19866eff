//! Puts a run together from its journal: one tree of spans, with the identity of each, every model call once, and the
//! command's span above all.
//!
//! The journal is read twice: first for a few numbers of each span, then to write the spans out. So memory does not grow
//! with their content. It does the same for a run that has just ended and for one that was killed.

mod command;
mod generation;
mod index;
mod media;
mod pieces;
mod stamp;

use std::collections::BTreeMap;

use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use opentelemetry_sdk::trace::SpanData;

use crate::exec::assemble::generation::generation;
use crate::exec::assemble::index::{Index, parent_of};
use crate::exec::assemble::pieces::Pieces;
use crate::exec::attributes::{has, remove, set_text};
use crate::exec::call::CallRecord;
use crate::exec::journal::{Journal, JournalRecord, RunRecord};
use crate::exec::kind::{self, ScopeName};
use crate::exec::matching::Chain;
use crate::exec::media_upload::{MediaTexts, ShownMedia};
use crate::exec::merge::{self, SeenCall};
use crate::exec::tree;
use crate::trace::attributes::langfuse;
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

/// What is known of a run before it is put together.
#[derive(Clone, Debug)]
pub struct Outline {
    pub trace_id: String,
    /// Whether a model call failed for good.
    pub has_failed_call: bool,
    /// Its images and files, each with the observations that show it.
    pub media: Vec<ShownMedia>,
}

/// Reads what is known of a run.
///
/// # Errors
/// If the journal cannot be read or has no first line.
pub fn outline(journal: &Journal, dialect: Dialect) -> anyhow::Result<Outline> {
    let assembly = Assembly::new(Index::read(journal)?, dialect)?;
    Ok(Outline {
        media: assembly.media(),
        trace_id: assembly.summary.trace_id,
        has_failed_call: assembly.summary.has_failed_call,
    })
}

/// Writes the requests of a run, in order, with `write`. `media` are the texts for what was not uploaded.
///
/// # Errors
/// If the journal cannot be read or has no first line, or `write` fails.
pub fn assemble(
    journal: &Journal,
    dialect: Dialect,
    media: &MediaTexts,
    write: &mut dyn FnMut(ExportTraceServiceRequest) -> anyhow::Result<()>,
) -> anyhow::Result<Summary> {
    let index = Index::read(journal)?;
    let mut assembly = Assembly::new(index, dialect)?;
    assembly.media_texts = media.clone();
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
    /// What stands for images and files that were not uploaded.
    media_texts: MediaTexts,
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
            media_texts: MediaTexts::default(),
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

    /// The id of the generation that a call is by itself, by its number.
    fn generation_id(&self, number: usize) -> [u8; 8] {
        let run = &self.run.span_id;
        ids::first_bytes(format!("{}/{run}/{number}", self.context.trace_id))
    }

    fn write_calls(&mut self, journal: &Journal, pieces: &mut Pieces<'_>) -> anyhow::Result<()> {
        for chain in self.chains.clone() {
            if chain.span.is_some() {
                continue;
            }
            let (record, exchange) = self.read_chain(journal, &chain)?;
            let mut span = generation(&record, &exchange, &self.context, self.dialect);
            span.span_id = self.generation_id(record.number).to_vec();
            let parent = parent_of(&self.index.tree, record.traceparent.as_deref());
            span.parent_span_id = self.id_of(parent);
            self.stamp(&mut span.attributes, &self.identity_below(parent));
            self.count_generation(&span.attributes);
            self.apply_media(&mut span);
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
        self.apply_media(&mut span);
        let identity = self.identity_of(place);
        self.stamp(&mut span.attributes, &identity);
        if node.model_call.is_some() {
            self.count_generation(&span.attributes);
        }
        Ok(span)
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

/// The bytes of a hexadecimal id.
fn bytes_of(hex: &str) -> Vec<u8> {
    u64::from_str_radix(hex, 16).map_or_else(|_| Vec::new(), |id| id.to_be_bytes().to_vec())
}
