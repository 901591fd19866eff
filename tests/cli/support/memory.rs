//! A Langfuse that stores only the ids of the spans that it received, and how often it received each. Unlike a real one
//! it shows that a span came twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Value, json};

use crate::support::harness::{OBSERVATIONS, Reply, Request, TRACES};

/// Traces by their id.
type Taken = HashMap<String, Known>;

/// What is known of a trace.
#[derive(Debug, Default)]
struct Known {
    session: String,
    /// How often each span was taken, by its id.
    spans: HashMap<String, usize>,
}

/// Clones share what they hold.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Taken>>);

impl Memory {
    /// Takes an export, or answers a question.
    pub fn answer(&self, request: &Request) -> Reply {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        if let Some(trace_id) = path.strip_prefix("/api/public/traces/") {
            return self.trace(trace_id);
        }
        match path {
            TRACES => self.take(request),
            OBSERVATIONS => {
                let wanted = |name: &str| {
                    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
                    pairs.find(|(known, _)| *known == name)
                };
                let rows = match (wanted("sessionId"), wanted("traceId")) {
                    (Some((_, session)), _) => self.session(session),
                    (None, trace_id) => self.rows(trace_id.map_or("", |(_, value)| value)),
                };
                Reply::json(200, &json!({"data": rows, "meta": {}}))
            }
            "/api/public/v2/metrics" => {
                let taken = self.0.lock().unwrap();
                let of_session = taken.values().filter(|known| {
                    // The query is JSON; its only quoted session is the one that it asks for.
                    query.contains(&format!("%22value%22%3A%22{}%22", known.session))
                });
                let spans = of_session.map(|known| known.spans.values().sum());
                let spans: Vec<usize> = spans.collect();
                let count = spans.iter().sum::<usize>();
                let row = json!({"uniq_traceId": spans.len(), "count_count": count});
                Reply::json(200, &json!({"data": [row]}))
            }
            "/api/public/projects" => {
                Reply::json(200, &json!({"data": [{"id": "p1", "name": "P"}]}))
            }
            _ => Reply::json(404, &json!({"message": "Not Found"})),
        }
    }

    /// The answer of an older server, or of one whose newer interface fails.
    fn trace(&self, trace_id: &str) -> Reply {
        let rows = self.rows(trace_id);
        if rows.is_empty() {
            let message = format!("Trace {trace_id} not found within authorized project");
            let error = json!({"message": message, "error": "LangfuseNotFoundError"});
            return Reply::json(404, &error);
        }
        Reply::json(200, &json!({"id": trace_id, "observations": rows}))
    }

    /// Takes the first span of an export, and forgets the others.
    pub fn take_one(&self, request: &Request) {
        self.take_some(request, 1);
    }

    /// Takes an export whatever its path; `None` if it cannot be read.
    pub fn take_all(&self, request: &Request) -> Option<()> {
        self.take_some(request, usize::MAX)
    }

    fn take(&self, request: &Request) -> Reply {
        match self.take_all(request) {
            Some(()) => Reply::json(200, &json!({})),
            None => Reply::json(
                400,
                &json!({"error": "Failed to parse OTel Protobuf Trace"}),
            ),
        }
    }

    fn take_some(&self, request: &Request, most: usize) -> Option<()> {
        let export = ExportTraceServiceRequest::decode(request.body.as_slice()).ok()?;
        let mut taken = self.0.lock().unwrap();
        let groups = export.resource_spans.iter();
        let scopes = groups.flat_map(|group| &group.scope_spans);
        for span in scopes.flat_map(|scope| &scope.spans).take(most) {
            let known = taken.entry(hex(&span.trace_id)).or_default();
            known.session = session(span);
            *known.spans.entry(hex(&span.span_id)).or_default() += 1;
        }
        Some(())
    }

    fn rows(&self, trace_id: &str) -> Vec<Value> {
        let taken = self.0.lock().unwrap();
        let known = taken.get(trace_id).into_iter();
        known
            .flat_map(|known| known.spans.keys())
            .map(|id| row(trace_id, id))
            .collect()
    }

    fn session(&self, session: &str) -> Vec<Value> {
        let taken = self.0.lock().unwrap();
        let traces = taken.iter().filter(|(_, known)| known.session == session);
        traces
            .flat_map(|(trace, known)| known.spans.keys().map(move |id| row(trace, id)))
            .collect()
    }

    /// How many spans of a trace were received, copies included.
    pub fn total(&self, trace_id: &str) -> usize {
        let taken = self.0.lock().unwrap();
        let known = taken.get(trace_id);
        known.map_or(0, |known| known.spans.values().sum())
    }

    /// How often a span was received.
    pub fn count(&self, trace_id: &str, span_id: &str) -> usize {
        let taken = self.0.lock().unwrap();
        let known = taken.get(trace_id);
        known
            .and_then(|known| known.spans.get(span_id))
            .copied()
            .unwrap_or(0)
    }

    /// How often each span of a trace was taken, in no order; empty when the trace is not known.
    pub fn counts(&self, trace_id: &str) -> Vec<usize> {
        let taken = self.0.lock().unwrap();
        let known = taken.get(trace_id).into_iter();
        known
            .flat_map(|known| known.spans.values().copied())
            .collect()
    }

    /// The same of every trace.
    pub fn all_counts(&self) -> HashMap<String, Vec<usize>> {
        let taken = self.0.lock().unwrap();
        let counts = taken
            .iter()
            .map(|(id, known)| (id.clone(), known.spans.values().copied().collect()));
        counts.collect()
    }
}

fn session(span: &Span) -> String {
    let mut attributes = span.attributes.iter();
    let session = attributes.find(|attribute| attribute.key == "langfuse.session.id");
    match session.and_then(|session| session.value.clone()?.value) {
        Some(StringValue(session)) => session,
        _ => String::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

fn row(trace: &str, span: &str) -> Value {
    json!({"id": span, "traceId": trace})
}
