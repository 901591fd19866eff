//! Which server gets the spans: the rules in their order, the forms of a URL, the keys that never reach another host,
//! and the OTLP variables.

// How the destination is chosen, and its URLs.
mod choice;
// Keys reach no other host and are not shown.
mod secrets;
// Keys in OTLP header variables, as in the Langfuse cookbook.
mod header_keys;
// A plain OTLP backend.
mod backend;
// Protocol, compression and timeout.
mod protocol;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::harness::{Langspan, Reply, Request, Scripted};

const KEYS: [(&str, &str); 2] = [
    ("LANGFUSE_PUBLIC_KEY", "pk-lf-destination"),
    ("LANGFUSE_SECRET_KEY", "sk-lf-destination"),
];

const INGEST: &str = "/api/public/otel/v1/traces";
const PROJECTS: &str = "/api/public/projects";

fn basic(public: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{public}:{secret}")))
}

/// The `Authorization` that the keys of [`KEYS`] make.
fn authorization() -> String {
    basic(KEYS[0].1, KEYS[1].1)
}

fn accept(_: &Request, _: usize) -> Reply {
    Reply::json(200, &json!({}))
}

/// A collector, or any other OTLP backend: it accepts whatever comes.
fn backend() -> Scripted {
    Scripted::start(accept)
}

/// A call of a model that answers `hi`, with these variables.
fn chat(model: &Scripted, variables: &[(&str, &str)]) -> Langspan {
    with(
        Langspan::new(&["chat", "Hello"]).model_at(model.url()),
        variables,
    )
}

fn with(call: Langspan, variables: &[(&str, &str)]) -> Langspan {
    variables
        .iter()
        .fold(call, |call, (name, value)| call.env(name, value))
}

/// An address of a server of this machine outside of 127.0.0.0/8.
fn not_loopback(server: &Scripted) -> String {
    server.url().replace("127.0.0.1", "0.0.0.0")
}
