//! How fast, how often and for how long a batch asks, as the model's server sees it; and what ends it early.

// Concurrency, request limits, pauses and retries.
mod limits;
// An endpoint that is down.
mod outage;
// What ends a run early.
mod early_end;
// Failed lines, and which failure decides the exit code.
mod exit_codes;
// Input and output that break off or are full, and what is printed.
mod files;

use serde_json::json;

use crate::support::batch::servers::line_of;
use crate::support::harness::{Reply, Request, Scripted, completion};
use crate::support::otlp::Servers;

fn servers(model: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Servers {
    Servers::with(Scripted::start(model))
}

fn answer() -> Reply {
    Reply::json(200, &completion("hi"))
}

fn refusal(status: u16, message: &str) -> Reply {
    Reply::json(status, &json!({"error": {"message": message}}))
}

/// A model that refuses these lines.
fn refusing(lines: &'static [u64]) -> Servers {
    servers(move |request, _| {
        if lines.contains(&line_of(request)) {
            refusal(400, "no")
        } else {
            answer()
        }
    })
}

/// How an endpoint asks for a pause.
type Asking = (u16, Headers);
type Headers = &'static [(&'static str, &'static str)];
