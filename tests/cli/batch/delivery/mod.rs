//! Delivery of the traces of a batch: each arrives once or waits in the outbox, output does not wait for delivery, and
//! a slow Langfuse slows the run down.

// How traces are grouped, and back pressure.
mod exports;
// A Langfuse that refuses or loses exports.
mod refused;
// Sampling, tracing switched off, and other backends.
mod untraced;
// What `--verify` counts.
mod verify;
// What a signal leaves behind.
mod signals;

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::batch::prompts;
use crate::support::harness::{Ended, Langspan, Reply, Request, Scripted, TRACES, completion};
use crate::support::memory::Memory;
use crate::support::otlp::Servers;
use crate::support::stand_in::Sandbox;

/// The most spans and bytes of one export, and the exports that are under way at once. The documentation promises the
/// first two; of the third the tests only need that it is small.
const MOST_SPANS: usize = 512;
const MOST_BYTES: usize = 2 << 20;
const MOST_EXPORTS: usize = 4;

/// The length of an answer of [`talkative_before`]. It occurs in both spans of its trace.
const LONG_ANSWER: usize = 30_000;
/// How many traces of long answers fit into one export.
const LONG_ONES: usize = MOST_BYTES / (2 * LONG_ANSWER);

/// A model that answers at once, before this Langfuse.
fn before(langfuse: Scripted) -> Servers {
    Servers {
        model: Scripted::model("hi"),
        langfuse,
    }
}

/// A model with long answers before this Langfuse: few traces fill an export.
fn talkative_before(langfuse: Scripted) -> Servers {
    let text = "x".repeat(LONG_ANSWER);
    let model = Scripted::start(move |_, _| Reply::json(200, &completion(&text)));
    Servers { model, langfuse }
}

fn accepted() -> Reply {
    Reply::json(200, &json!({}))
}

/// A Langfuse with a memory; `reply` may answer an export in its place, knowing how many came before.
fn remembering(
    memory: &Memory,
    reply: impl Fn(&Request, usize) -> Option<Reply> + Send + Sync + 'static,
) -> Scripted {
    let memory = memory.clone();
    Scripted::start(move |request, count| {
        let instead = (request.path == TRACES)
            .then(|| reply(request, count))
            .flatten();
        instead.unwrap_or_else(|| memory.answer(request))
    })
}

/// The trace ids of the spans that wait in the outbox, once for each span, sorted.
fn waiting(ended: &Ended) -> Vec<String> {
    let kept = ended.kept();
    let groups = kept
        .iter()
        .flat_map(|export| export["resourceSpans"].as_array().unwrap());
    let scopes = groups.flat_map(|group| group["scopeSpans"].as_array().unwrap());
    let spans = scopes.flat_map(|scope| scope["spans"].as_array().unwrap());
    let mut ids: Vec<String> = spans
        .map(|span| span["traceId"].as_str().unwrap().to_owned())
        .collect();
    ids.sort_unstable();
    ids
}

/// Each trace id twice, sorted: once for each of its spans.
fn twice(ids: &BTreeMap<u64, String>) -> Vec<String> {
    let mut twice: Vec<String> = ids.values().chain(ids.values()).cloned().collect();
    twice.sort_unstable();
    twice
}

/// The spans of each export.
fn sizes(langfuse: &Scripted) -> Vec<usize> {
    use prost::Message as _;
    type Export = opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    let exports = langfuse.exports();
    exports
        .iter()
        .map(|request| {
            let export = Export::decode(request.body.as_slice()).unwrap();
            let groups = export.resource_spans.iter();
            groups
                .flat_map(|group| &group.scope_spans)
                .map(|scope| scope.spans.len())
                .sum()
        })
        .collect()
}

fn at_sandbox(sandbox: &Sandbox, langfuse: &str, count: usize, arguments: &[&str]) -> Langspan {
    let call = Langspan::new(&[&["batch", "in.jsonl"], arguments].concat())
        .at(sandbox)
        .langfuse_at(langfuse);
    call.file("in.jsonl", prompts(count));
    call
}
