//! `langspan replay`: requests that are sent unchanged, and recordings that become traces without a model call.

// Request bodies and batch lines.
mod requests;
// Recordings that are replayed.
mod recordings;
// Recordings that were emitted before.
mod copies;
// Generations that are in Langfuse.
mod from_trace;
// A provider's batches.
mod provider_batch;
// The same in every dialect.
mod provider_dialects;
// What `--record` writes.
mod record;

use serde_json::{Value, json};

use crate::support::harness::{Ended, completion};
use crate::support::otlp::Servers;

/// Unknown fields, an order of its own, and numbers that no parser would print again.
const BODY: &str = r#"{"zeta":1.0,"top_p":1e0,"messages":[{"role":"user","content":"Hello","extra":0.10}],"model":"m-9","big":12345678901234567890123,"a":{"z":null,"b":-0}}"#;

/// Replays this text from a file.
fn replay(servers: &Servers, document: &str, options: &[&str]) -> Ended {
    let call = servers.call(&[&["replay", "document.json"], options].concat());
    call.file("document.json", document);
    call.run()
}

fn sent(servers: &Servers) -> Vec<String> {
    let asked = servers.asked().into_iter();
    asked
        .map(|request| String::from_utf8(request.body).unwrap())
        .collect()
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Recorded in another time zone, with nanoseconds.
fn recording() -> Value {
    json!({
        "request": {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "temperature": 0.5},
        "response": completion("Recorded"),
        "error": null,
        "start_time": "2026-01-02T03:04:05.123456789+02:00",
        "end_time": "2026-01-02T03:04:06.987654321+02:00",
        "completion_start_time": null,
        "trace": {"id": TRACE, "name": "nightly", "user": "u1", "session": "s1", "tags": ["a", "b"], "metadata": {"k": "v"}},
    })
}
