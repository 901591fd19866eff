//! The first reading of a journal: a few numbers of each record, which call is which span, and where images and files
//! are shown.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use crate::exec::attributes::for_each_text;
use crate::exec::call::CallRecord;
use crate::exec::identity::{Identities, Identity, Occurring};
use crate::exec::journal::{
    EndRecord, Journal, JournalRecord, KeptMedia, Reported, RunRecord, SpansRecord,
};
use crate::exec::kind;
use crate::exec::matching::{CallKey, Chain, SpanKey, chains};
use crate::exec::media::ids_in;
use crate::exec::tree::{Tree, TreePosition};
use crate::langfuse::media::Field;
use crate::trace::TraceContext;

/// A few numbers of each record.
#[derive(Debug, Default)]
pub struct Index {
    pub run: Option<RunRecord>,
    pub end: Option<EndRecord>,
    pub tree: Tree,
    pub identities: Identities,
    pub occurring: Occurring,
    /// The spans that report model calls: what is compared, and their places in the tree.
    pub model_calls: Vec<(SpanKey, usize)>,
    pub calls: Vec<IndexedCall>,
    pub received_spans: u64,
    pub last: i64,
    /// The images and files, by their ids.
    pub media: HashMap<String, IndexedMedia>,
}

/// An image or a file: where its record is, the texts for it, and who shows it.
#[derive(Debug)]
pub struct IndexedMedia {
    pub at: u64,
    pub reference: String,
    pub placeholder: String,
    pub shown: Vec<(Shower, Field)>,
}

/// A record that refers to an image or a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shower {
    /// The place of a call.
    Call(usize),
    /// The place of a span in the tree.
    Span(usize),
}

/// A call: what is compared, and where its record is.
#[derive(Debug)]
pub struct IndexedCall {
    pub number: usize,
    pub at: u64,
    pub key: CallKey,
    traceparent: Option<String>,
}

impl Index {
    /// Reads a journal.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(journal: &Journal) -> anyhow::Result<Self> {
        let mut index = Self::default();
        journal.for_each(|at, record| {
            match record {
                JournalRecord::Run(run) => index.run = Some(*run),
                JournalRecord::Call(call) => index.add_call(at, &call),
                JournalRecord::Spans(spans) => index.add_spans(&spans),
                JournalRecord::Media(media) => index.add_media(at, &media),
                JournalRecord::End(end) => index.end = Some(end),
            }
            Ok(())
        })?;
        index.tree.link();
        Ok(index)
    }

    fn add_media(&mut self, at: u64, record: &KeptMedia) {
        let Some(media) = record.media() else { return };
        let indexed = IndexedMedia {
            at,
            reference: media.reference(),
            placeholder: media.placeholder(),
            shown: Vec::new(),
        };
        self.media.insert(record.id.clone(), indexed);
    }

    fn note_shown(&mut self, text: &str, shower: Shower, field: Field) {
        for id in ids_in(text) {
            if let Some(media) = self.media.get_mut(id)
                && !media.shown.contains(&(shower, field))
            {
                media.shown.push((shower, field));
            }
        }
    }

    fn add_call(&mut self, at: u64, call: &CallRecord) {
        let end = nanoseconds(call.end_time);
        self.last = self.last.max(end);
        if !self.media.is_empty() {
            let shower = Shower::Call(self.calls.len());
            for (_, value) in call.request.fields() {
                self.note_shown(value.get(), shower, Field::Input);
            }
            let response = call.response.as_ref().map_or("", |response| response.get());
            self.note_shown(response, shower, Field::Output);
        }
        self.calls.push(IndexedCall {
            number: call.number,
            at,
            traceparent: call.traceparent.clone(),
            key: CallKey {
                start: nanoseconds(call.start_time),
                first_byte: nanoseconds(call.first_byte_time),
                end,
                models: call.models(),
                parent: None,
                texts: call.text_prints.clone(),
                is_failed: call.is_failed(),
                retry: call.retry,
                request: call.request_print,
            },
        });
    }

    fn add_spans(&mut self, record: &SpansRecord) {
        for (place, (span, scope)) in spans_of(&record.request).enumerate() {
            let copy = self.received_spans;
            self.received_spans += 1;
            let position = TreePosition {
                trace_id: &span.trace_id,
                span_id: &span.span_id,
                parent_id: &span.parent_span_id,
                end: signed(span.end_time_unix_nano),
            };
            self.last = self.last.max(position.end);
            let Some(node) = self.tree.add(position, copy) else {
                continue;
            };
            let identity = Identity::of(&span.attributes);
            self.occurring.note(&identity, &span.attributes);
            self.tree.nodes[node].identity = self.identities.number(identity);
            if !self.media.is_empty() {
                for_each_text(&mut span.attributes.clone(), &mut |key, text| {
                    let field = if kind::is_answer(key) {
                        Field::Output
                    } else {
                        Field::Input
                    };
                    self.note_shown(text, Shower::Span(node), field);
                });
            }
            if kind::is_model_call(span, scope) {
                let reported = record.model_calls.iter().find(|call| call.place == place);
                self.add_model_call(span, node, reported);
            }
        }
    }

    fn add_model_call(&mut self, span: &Span, node: usize, reported: Option<&Reported>) {
        let reported = reported.cloned().unwrap_or_default();
        let key = SpanKey {
            start: signed(span.start_time_unix_nano),
            end: signed(span.end_time_unix_nano),
            models: kind::models(&span.attributes),
            ids: reported.ids,
            texts: reported.texts,
            has_text: reported.has_text,
            is_error: is_error(span),
            ancestors: Vec::new(),
        };
        if let Some(known) = self.tree.nodes[node].model_call {
            self.model_calls[known].0 = key;
        } else {
            self.tree.nodes[node].model_call = Some(self.model_calls.len());
            self.model_calls.push((key, node));
        }
    }

    /// The calls with the spans that report them.
    pub fn chains(&mut self) -> Vec<Chain> {
        let places: BTreeMap<usize, usize> = self
            .calls
            .iter()
            .enumerate()
            .map(|(place, call)| (call.number, place))
            .collect();
        let nodes = &self.tree.nodes;
        for (key, node) in &mut self.model_calls {
            let ids = key.ids.iter().filter_map(|number| places.get(number));
            key.ids = ids.copied().collect();
            let above = self.tree.ancestors(*node);
            key.ancestors = above.filter_map(|place| nodes[place].model_call).collect();
        }
        for call in &mut self.calls {
            let parent = parent_of(&self.tree, call.traceparent.as_deref());
            call.key.parent = parent.and_then(|place| nodes[place].model_call);
        }
        let spans: Vec<SpanKey> = self
            .model_calls
            .iter()
            .map(|(key, _)| key.clone())
            .collect();
        let calls: Vec<CallKey> = self.calls.iter().map(|call| call.key.clone()).collect();
        chains(&spans, &calls)
    }
}

/// The span that a `traceparent` names, if it is one of the run.
pub fn parent_of(tree: &Tree, traceparent: Option<&str>) -> Option<usize> {
    let context = TraceContext::from_traceparent(traceparent?.trim()).ok()?;
    let parent = context.remote_parent?;
    tree.find(&context.trace_id.to_bytes(), &parent.to_bytes())
}

/// The spans of a request, each with the name of its scope.
fn spans_of(request: &ExportTraceServiceRequest) -> impl Iterator<Item = (&Span, &str)> {
    let scopes = request
        .resource_spans
        .iter()
        .flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope_spans| {
        let scope = scope_spans.scope.as_ref();
        let scope = scope.map_or("", |scope| scope.name.as_str());
        scope_spans.spans.iter().map(move |span| (span, scope))
    })
}

fn is_error(span: &Span) -> bool {
    let status = span.status.as_ref();
    status.is_some_and(|status| status.code == StatusCode::Error as i32)
}

fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or_default()
}

fn signed(nanoseconds: u64) -> i64 {
    i64::try_from(nanoseconds).unwrap_or(i64::MAX)
}
