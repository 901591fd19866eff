//! A request as a line of a batch.

use serde::Serialize;
use serde_json::{Map, Value};

use super::TracedRequest;
use crate::cli;
use crate::model::Request;

/// A line of OpenAI's Batch API, with the field `trace` of `langspan batch`.
#[derive(Debug, Serialize)]
pub struct BatchRequestLine<'a> {
    custom_id: String,
    method: &'static str,
    url: String,
    body: &'a Request,
    trace: Map<String, Value>,
}

/// The line of a request. What the options say of the trace goes into it; variables count when it is sent.
pub fn line<'a>(taken: &'a TracedRequest, options: &cli::TraceArgs) -> BatchRequestLine<'a> {
    let path = taken.request.dialect().path().join("/");
    BatchRequestLine {
        // Of a generation that is asked twice, the batch makes one trace with both calls.
        custom_id: format!("{}-{}", taken.trace_id, taken.observation_id),
        method: "POST",
        url: format!("/v1/{path}"),
        body: &taken.request,
        trace: trace(taken, options),
    }
}

fn trace(taken: &TracedRequest, options: &cli::TraceArgs) -> Map<String, Value> {
    let mut trace = Map::new();
    let texts = [
        ("name", &options.name),
        ("user", &options.user),
        ("session", &options.session),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            trace.insert(name.to_owned(), text.as_str().into());
        }
    }
    if !options.tags.is_empty() {
        trace.insert("tags".to_owned(), options.tags.clone().into());
    }
    let given = options.metadata.iter().cloned();
    let metadata = given.chain(taken.origin());
    let metadata: Map<String, Value> = metadata.map(|(key, value)| (key, value.into())).collect();
    trace.insert("metadata".to_owned(), metadata.into());
    trace
}
