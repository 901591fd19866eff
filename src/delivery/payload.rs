//! One OTLP export request: as protobuf, as a line of OTLP/JSON, and cut into smaller pieces. Nothing is sent here.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue as Any, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::langfuse::Wanted;

/// How much is written to a file at once, in bytes.
const PIECE: usize = 64 << 10;
/// The most spans of one request.
pub const MAX_REQUEST_SPANS: usize = 512;
/// The most bytes of a request that holds several traces.
pub const MAX_REQUEST_BYTES: usize = 2 << 20;
/// Shorter texts are not truncated, in bytes.
const SHORT_TEXT: usize = 1024;
/// The end of a text that was truncated.
const TRUNCATION_MARK: &str = "… [truncated by langspan: the server refuses requests of this size]";
/// Marks a span with truncated content in Langfuse's metadata.
const TRUNCATION_KEY: &str = "langfuse.observation.metadata.truncated";

/// An `ExportTraceServiceRequest`.
#[derive(Clone, Debug)]
pub struct Payload {
    form: Form,
    spans: usize,
    traces: usize,
}

/// What a payload was made from.
#[derive(Clone, Debug)]
enum Form {
    /// Spans of this process, encoded already. They are decoded each time that their messages are needed, which is rare:
    /// large content would otherwise stay in memory twice.
    Encoded(Bytes),
    /// Messages: read from the outbox, or a piece of another payload.
    Messages(Arc<ExportTraceServiceRequest>),
}

impl Payload {
    /// The request that was encoded as `body`, and the numbers of its spans and traces.
    pub fn encoded(body: Bytes, spans: usize, traces: usize) -> Self {
        Self {
            form: Form::Encoded(body),
            spans,
            traces,
        }
    }

    /// The request that these messages are.
    pub fn of_messages(request: ExportTraceServiceRequest) -> Self {
        let ids: Vec<&[u8]> = spans_of(&request)
            .map(|span| span.trace_id.as_slice())
            .collect();
        let count = ids.len();
        let traces = ids.into_iter().collect::<HashSet<_>>().len();
        Self {
            form: Form::Messages(Arc::new(request)),
            spans: count,
            traces,
        }
    }

    /// All spans of several requests in one.
    pub fn joined<'a>(payloads: impl IntoIterator<Item = &'a Self>) -> Self {
        let requests = payloads.into_iter().map(Self::request);
        let resource_spans =
            requests.flat_map(|request| Arc::unwrap_or_clone(request).resource_spans);
        Self::of_messages(ExportTraceServiceRequest {
            resource_spans: resource_spans.collect(),
        })
    }

    fn request(&self) -> Arc<ExportTraceServiceRequest> {
        match &self.form {
            Form::Encoded(body) => {
                let decoded = ExportTraceServiceRequest::decode(body.clone());
                Arc::new(decoded.unwrap_or_else(|_| unreachable!("what was encoded decodes")))
            }
            Form::Messages(request) => Arc::clone(request),
        }
    }

    /// The size of the request as protobuf, in bytes.
    pub fn size(&self) -> usize {
        match &self.form {
            Form::Encoded(body) => body.len(),
            Form::Messages(request) => request.encoded_len(),
        }
    }

    /// Reads a line of the OTLP File Exporter format.
    ///
    /// # Errors
    /// If the line is not an export request, or has no spans.
    pub fn from_json_line(line: &str) -> anyhow::Result<Self> {
        let payload = Self::of_messages(serde_json::from_str(line)?);
        anyhow::ensure!(payload.span_count() > 0, "the line has no spans");
        Ok(payload)
    }

    pub fn to_protobuf(&self) -> Bytes {
        match &self.form {
            Form::Encoded(body) => body.clone(),
            Form::Messages(request) => request.encode_to_vec().into(),
        }
    }

    /// Writes compact OTLP/JSON on one line, with its line ending.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_json_line(&self, writer: &mut dyn Write) -> io::Result<()> {
        let mut writer = BufWriter::with_capacity(PIECE, writer);
        serde_json::to_writer(&mut writer, &*self.request())?;
        writer.write_all(b"\n")?;
        writer.flush()
    }

    /// Compact OTLP/JSON on one line.
    ///
    /// # Errors
    /// None is known; the serialiser's signature allows one.
    pub fn to_json_line(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(&*self.request())?)
    }

    pub fn span_count(&self) -> usize {
        self.spans
    }

    /// The request in pieces of a size that servers commonly take: at most [`MAX_REQUEST_SPANS`] and
    /// [`MAX_REQUEST_BYTES`], unless a single trace is larger. A trace stays whole here; only a refusal divides it (`halves`).
    pub fn cut(self) -> Vec<Self> {
        let is_small = self.span_count() <= MAX_REQUEST_SPANS && self.size() <= MAX_REQUEST_BYTES;
        if is_small || self.traces == 1 {
            return vec![self];
        }
        let mut pieces = Vec::new();
        let (mut ids, mut spans, mut bytes) = (HashSet::new(), 0, 0);
        for (id, size) in self.sizes() {
            if !ids.is_empty()
                && (spans + size.spans > MAX_REQUEST_SPANS
                    || bytes + size.bytes > MAX_REQUEST_BYTES)
            {
                pieces.push(self.only(|span| ids.contains(&span.trace_id)));
                (ids, spans, bytes) = (HashSet::new(), 0, 0);
            }
            ids.insert(id);
            spans += size.spans;
            bytes += size.bytes;
        }
        pieces.push(self.only(|span| ids.contains(&span.trace_id)));
        pieces
    }

    /// Two halves, divided between traces, or between the spans of a single trace. `None` for a single span.
    pub fn halves(&self) -> Option<[Self; 2]> {
        let request = self.request();
        let ids = spans_of(&request).map(|span| span.trace_id.as_slice());
        let mut traces: Vec<&[u8]> = ids.collect();
        traces.sort_unstable();
        traces.dedup();
        if traces.len() > 1 {
            let first: HashSet<&[u8]> = traces[..traces.len() / 2].iter().copied().collect();
            let is_first = |span: &Span| first.contains(span.trace_id.as_slice());
            return Some([self.only(is_first), self.only(|span| !is_first(span))]);
        }
        let count = self.span_count();
        if count < 2 {
            return None;
        }
        // By position: in a file that was edited, ids may occur twice.
        let half = |places: Range<usize>| {
            let mut place = 0..;
            self.only(|_| place.next().is_some_and(|place| places.contains(&place)))
        };
        Some([half(0..count / 2), half(count / 2..count)])
    }

    /// A copy with long texts cut to half and marked; `None` if no text is long.
    pub fn truncated(&self) -> Option<Self> {
        let mut request = Arc::unwrap_or_clone(self.request());
        let mut is_truncated = false;
        for span in spans_mut(&mut request) {
            let texts =
                span.attributes
                    .iter_mut()
                    .filter_map(|attribute| match &mut attribute.value {
                        Some(Any {
                            value: Some(AnyValue::StringValue(text)),
                        }) if text.len() > SHORT_TEXT => Some(text),
                        _ => None,
                    });
            let mut is_span_truncated = false;
            for text in texts {
                text.truncate(text.floor_char_boundary(text.len() / 2 - TRUNCATION_MARK.len()));
                text.push_str(TRUNCATION_MARK);
                is_span_truncated = true;
            }
            if is_span_truncated
                && span
                    .attributes
                    .iter()
                    .all(|attribute| attribute.key != TRUNCATION_KEY)
            {
                let value = Some(Any {
                    value: Some(AnyValue::BoolValue(true)),
                });
                span.attributes.push(KeyValue {
                    key: TRUNCATION_KEY.to_owned(),
                    value,
                    ..KeyValue::default()
                });
            }
            is_truncated |= is_span_truncated;
        }
        is_truncated.then(|| Self::of_messages(request))
    }

    /// The request without the spans of these ids; `None` if no spans are left.
    pub fn without(&self, known: &HashSet<String>) -> Option<Self> {
        let rest = self.only(|span| !known.contains(&hex(&span.span_id)));
        (rest.span_count() > 0).then_some(rest)
    }

    /// The number of traces in the request.
    pub fn trace_count(&self) -> usize {
        self.traces
    }

    /// The spans for which `is_wanted` is true, under their resources and scopes. It is called once for each, in order.
    fn only(&self, mut is_wanted: impl FnMut(&Span) -> bool) -> Self {
        let mut request = Arc::unwrap_or_clone(self.request());
        for resource in &mut request.resource_spans {
            for scope in &mut resource.scope_spans {
                scope.spans.retain(&mut is_wanted);
            }
            resource.scope_spans.retain(|scope| !scope.spans.is_empty());
        }
        request
            .resource_spans
            .retain(|resource| !resource.scope_spans.is_empty());
        Self::of_messages(request)
    }

    /// The size of each trace, in the order of their first spans.
    fn sizes(&self) -> Vec<(Vec<u8>, Size)> {
        let mut sizes: Vec<(Vec<u8>, Size)> = Vec::new();
        let mut places: HashMap<&[u8], usize> = HashMap::new();
        let request = self.request();
        for span in spans_of(&request) {
            let place = *places.entry(&span.trace_id).or_insert_with(|| {
                sizes.push((span.trace_id.clone(), Size::default()));
                sizes.len() - 1
            });
            sizes[place].1.spans += 1;
            sizes[place].1.bytes += span.encoded_len();
        }
        sizes
    }

    /// Each trace of the request with its spans, to be looked up in Langfuse.
    pub fn traces(&self) -> Vec<Wanted> {
        let mut traces: HashMap<String, Wanted> = HashMap::new();
        for span in spans_of(&self.request()) {
            let trace_id = hex(&span.trace_id);
            let (from, to) = (
                time(span.start_time_unix_nano),
                time(span.end_time_unix_nano),
            );
            let wanted = traces.entry(trace_id.clone()).or_insert_with(|| Wanted {
                trace_id,
                span_ids: HashSet::new(),
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

    /// The ids of all spans.
    pub fn span_ids(&self) -> HashSet<String> {
        spans_of(&self.request())
            .map(|span| hex(&span.span_id))
            .collect()
    }
}

fn spans_of(request: &ExportTraceServiceRequest) -> impl Iterator<Item = &Span> {
    let resources = request.resource_spans.iter();
    let scopes = resources.flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| &scope.spans)
}

/// The share of a trace in a request.
#[derive(Default)]
struct Size {
    spans: usize,
    bytes: usize,
}

fn spans_mut(request: &mut ExportTraceServiceRequest) -> impl Iterator<Item = &mut Span> {
    let resources = request.resource_spans.iter_mut();
    let scopes = resources.flat_map(|resource| &mut resource.scope_spans);
    scopes.flat_map(|scope| &mut scope.spans)
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
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
mod tests;
