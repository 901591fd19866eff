//! Models that answer what they are asked, and what they and a Langfuse got.

use std::collections::BTreeMap;

use crate::support::harness::{Reply, Request, Scripted, completion};
use crate::support::memory::Memory;
use crate::support::otlp::Servers;

/// The prompt of a request: its last message.
#[track_caller]
fn prompt_of(request: &Request) -> String {
    let body = request.json();
    let last = &body["messages"].as_array().unwrap().last().unwrap()["content"];
    last.as_str().unwrap().to_owned()
}

/// The number of the line that a model is asked for.
#[track_caller]
pub fn line_of(request: &Request) -> u64 {
    let prompt = prompt_of(request);
    prompt.strip_prefix("line ").unwrap().parse().unwrap()
}

/// The answer to a line.
pub fn answer(line: u64) -> Reply {
    Reply::json(200, &completion(&format!("answer {line}")))
}

/// A model that answers every line.
pub fn model() -> Scripted {
    Scripted::start(|request, _| answer(line_of(request)))
}

/// A model that repeats its prompt.
pub fn echo() -> Servers {
    Servers::with(Scripted::start(|request, _| {
        Reply::json(200, &completion(&prompt_of(request)))
    }))
}

/// A Langfuse that accepts everything and counts it.
pub fn langfuse(memory: &Memory) -> Scripted {
    let memory = memory.clone();
    Scripted::start(move |request, _| memory.answer(request))
}

/// How often a model was asked for each line.
pub fn asked(model: &Scripted) -> BTreeMap<u64, usize> {
    let mut asked = BTreeMap::new();
    for request in model.requests() {
        *asked.entry(line_of(&request)).or_default() += 1;
    }
    asked
}

/// Each of these lines once.
pub fn once(lines: impl IntoIterator<Item = u64>) -> BTreeMap<u64, usize> {
    lines.into_iter().map(|line| (line, 1)).collect()
}

/// Asserts that a Langfuse has both spans of each of these traces once, and nothing else.
#[track_caller]
pub fn assert_once<'a>(memory: &Memory, ids: impl IntoIterator<Item = &'a String>) {
    let expected: BTreeMap<String, Vec<usize>> =
        ids.into_iter().map(|id| (id.clone(), vec![1, 1])).collect();
    let found: BTreeMap<String, Vec<usize>> = memory.all_counts().into_iter().collect();
    assert_eq!(found, expected);
}
