//! How fast, how often and for how long a batch asks, as the model's server sees it; and what ends it early.

// Concurrency, request limits, pauses and retries.
mod limits;
// What ends a run early.
mod early_end;
// Failed lines, and which failure decides the exit code.
mod exit_codes;
// Input and output that break off or are full, and what is printed.
mod files;

use serde_json::{Value, json};

use crate::support::batch::gate::{lines_in, prompts};
use crate::support::harness::{Ended, Langspan, Reply, Request, Scripted, completion};
use crate::support::otlp::Servers;

/// A batch over `count` prompts that goes to these servers.
fn batch(servers: &Servers, count: usize, arguments: &[&str]) -> Langspan {
    let call = servers.call(&[&["batch", "in.jsonl"], arguments].concat());
    call.file("in.jsonl", prompts(count));
    call
}

fn servers(model: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Servers {
    Servers::with(Scripted::start(model))
}

fn answer() -> Reply {
    Reply::json(200, &completion("hi"))
}

fn refusal(status: u16, message: &str) -> Reply {
    Reply::json(status, &json!({"error": {"message": message}}))
}

/// What a request asks the model to say.
fn asked(request: &Request) -> String {
    let body = request.json();
    body["messages"][0]["content"].as_str().unwrap().to_owned()
}

/// A model that refuses these prompts.
fn refusing(prompts: &'static [&'static str]) -> Servers {
    servers(move |request, _| {
        if prompts.contains(&asked(request).as_str()) {
            refusal(400, "no")
        } else {
            answer()
        }
    })
}

/// How an endpoint asks for a pause.
type Asking = (u16, Headers);
type Headers = &'static [(&'static str, &'static str)];

/// A file of answers, and what the run says about going on.
fn out(ended: &Ended) -> Vec<Value> {
    lines_in(&ended.home().join("out.jsonl"))
}
