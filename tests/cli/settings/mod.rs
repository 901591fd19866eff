//! The source and the effect of each setting: files and variables, the kill switches, sampling, CI facts, the
//! model's endpoint, the resource, and the dry run.

// Options, environment, file and default, and which one wins.
mod sources;
// Langfuse keys.
mod keys;
// Tracing switched off, and sampling.
mod sampling;
// User, session, tags, CI facts, environment and release.
mod trace;
// Variables that choose output, verification and best effort.
mod scripts;
// The model endpoint and its keys.
mod model;
// What a dry run shows.
mod dry_run;

use serde_json::json;

use crate::support::export::Export;
use crate::support::harness::{Ended, Langspan, Reply, Request, Scripted, dead_url};

const INGEST: &str = "/api/public/otel/v1/traces";

fn accept(_: &Request, _: usize) -> Reply {
    Reply::json(200, &json!({}))
}

fn with(call: Langspan, variables: &[(&str, &str)]) -> Langspan {
    variables
        .iter()
        .fold(call, |call, (name, value)| call.env(name, value))
}

fn with_arguments(call: Langspan, arguments: &[&str]) -> Langspan {
    arguments
        .iter()
        .fold(call, |call, argument| call.arg(argument))
}

/// What a call with these arguments and variables sent.
#[track_caller]
fn sent(arguments: &[&str], variables: &[(&str, &str)]) -> Export {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    let call = Langspan::new(&["chat", "Hello"])
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    with_arguments(with(call, variables), arguments)
        .run()
        .code(0);
    Export::only(&langfuse, INGEST)
}

/// What the model was asked by a call with these arguments and variables.
#[track_caller]
fn asked(arguments: &[&str], variables: &[(&str, &str)]) -> Request {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    let call = Langspan::new(&["chat", "Hello"])
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    with_arguments(with(call, variables), arguments)
        .run()
        .code(0);
    let [request] = model.requests().try_into().unwrap();
    request
}

fn dry_run(arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let call = Langspan::new(&["chat", "--dry-run", "Hello"]).langfuse_at(&dead_url());
    with_arguments(with(call, variables), arguments).run()
}
