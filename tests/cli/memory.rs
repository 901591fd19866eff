//! A Langfuse that holds nothing but the ids of the spans that it took, and how often it took each. Unlike a real one
//! it never forgets that a span came twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde_json::{Value, json};

use crate::harness::{OBSERVATIONS, Reply, Request, TRACES};

/// How often each span was taken, by trace id and span id.
type Taken = HashMap<String, HashMap<String, usize>>;

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
                let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
                let trace_id = pairs.find(|(name, _)| *name == "traceId");
                let rows = self.rows(trace_id.map_or("", |(_, value)| value));
                Reply::json(200, &json!({"data": rows, "meta": {}}))
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

    fn take(&self, request: &Request) -> Reply {
        match self.take_some(request, usize::MAX) {
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
            let spans = taken.entry(hex(&span.trace_id)).or_default();
            *spans.entry(hex(&span.span_id)).or_default() += 1;
        }
        Some(())
    }

    fn rows(&self, trace_id: &str) -> Vec<Value> {
        let taken = self.0.lock().unwrap();
        let ids = taken.get(trace_id).into_iter().flat_map(HashMap::keys);
        ids.map(|id| json!({"id": id, "traceId": trace_id}))
            .collect()
    }

    /// How often each span of a trace was taken, in no order; empty when the trace is not known.
    pub fn counts(&self, trace_id: &str) -> Vec<usize> {
        let taken = self.0.lock().unwrap();
        let spans = taken.get(trace_id).into_iter().flat_map(HashMap::values);
        spans.copied().collect()
    }

    /// The same of every trace.
    pub fn all_counts(&self) -> HashMap<String, Vec<usize>> {
        let taken = self.0.lock().unwrap();
        let counts = taken
            .iter()
            .map(|(id, spans)| (id.clone(), spans.values().copied().collect()));
        counts.collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}
