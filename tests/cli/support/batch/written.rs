//! A batch over a few lines, and what it wrote.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::support::harness::{Ended, Langspan, Reply, Scripted, completion};
use crate::support::otlp::{Servers, hex};

/// The run's name in most tests.
pub const RUN: &str = "r1";

/// A batch over `input` under the name [`RUN`].
pub fn batch(servers: &Servers, input: impl AsRef<[u8]>, options: &[&str]) -> Ended {
    prepared(servers, input, options).run()
}

/// The same, not yet run.
pub fn prepared(servers: &Servers, input: impl AsRef<[u8]>, options: &[&str]) -> Langspan {
    let call = servers.call(&[&["batch", "in.jsonl", "--run", RUN], options].concat());
    call.file("in.jsonl", input);
    call
}

/// A line that asks this.
pub fn prompt(text: &str) -> String {
    format!("{{\"prompt\":\"{text}\"}}\n")
}

/// A model that answers with what it was asked last.
pub fn echo() -> Servers {
    Servers::with(Scripted::start(|request, _| {
        let asked = &request.json()["messages"];
        let last = asked.as_array().unwrap().last().cloned();
        let text = last.unwrap_or_default()["content"].take();
        Reply::json(200, &completion(text.as_str().unwrap_or_default()))
    }))
}

/// The output lines as they were written.
#[track_caller]
pub fn written(text: &str) -> Vec<Value> {
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The output lines by the number of the input line; none stands there twice.
#[track_caller]
pub fn by_number(text: &str) -> BTreeMap<u64, Value> {
    let mut found = BTreeMap::new();
    for line in written(text) {
        let number = line["langspan"]["line"].as_u64().unwrap();
        assert!(found.insert(number, line).is_none(), "{number} twice");
    }
    found
}

/// The only output line.
#[track_caller]
pub fn only(text: &str) -> Value {
    let mut lines = written(text);
    assert_eq!(lines.len(), 1, "{text}");
    lines.remove(0)
}

/// The answer's text in an output line.
pub fn answer(line: &Value) -> &str {
    line["response"]["body"]["choices"][0]["message"]["content"]
        .as_str()
        .unwrap_or_default()
}

/// The first sixteen bytes of a text's SHA-256.
pub fn id_of(seed: &str) -> String {
    hex(&Sha256::digest(seed)[..16])
}
