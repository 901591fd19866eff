//! A model that knows how often it was asked for each line, a Langfuse that knows how often it took each span, and
//! what a run wrote.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::harness::{Langspan, Reply, Request, Scripted, completion};
use crate::support::memory::Memory;
use crate::support::otlp::hex;

/// Input lines 1 to `count`, each with a prompt that names it.
pub fn prompts(count: usize) -> String {
    (1..=count).map(prompt).collect()
}

/// One of them.
pub fn prompt(line: usize) -> String {
    format!("{}\n", json!({"prompt": format!("line {line}")}))
}

/// Which line a model is asked for.
#[track_caller]
pub fn line_of(request: &Request) -> u64 {
    let body = request.json();
    let prompt = body["messages"].as_array().unwrap().last().unwrap()["content"].clone();
    let prompt = prompt.as_str().unwrap();
    let number = prompt.strip_prefix("line ").unwrap();
    number.parse().unwrap()
}

/// The answer to a line.
pub fn answer(line: u64) -> Reply {
    Reply::json(200, &completion(&format!("answer {line}")))
}

/// A model that answers every line.
pub fn model() -> Scripted {
    Scripted::start(|request, _| answer(line_of(request)))
}

/// A Langfuse that takes everything and forgets nothing.
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

/// Each of some lines once.
pub fn once(lines: impl IntoIterator<Item = u64>) -> BTreeMap<u64, usize> {
    lines.into_iter().map(|line| (line, 1)).collect()
}

/// The trace id of a seed: the rule of the Langfuse SDKs.
pub fn id_of(seed: &str) -> String {
    hex(&Sha256::digest(seed)[..16])
}

/// A call of `batch` on `in.jsonl` of its home, which is written.
pub fn batch(input: &str, model: &Scripted, langfuse: &Scripted, arguments: &[&str]) -> Langspan {
    let arguments = [&["batch", "in.jsonl"], arguments].concat();
    let call = Langspan::new(&arguments)
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    call.file("in.jsonl", input);
    call
}

/// The text of an output file, unpacked as its name says.
#[track_caller]
pub fn text(path: &Path) -> String {
    let mut text = Vec::new();
    unpack(path, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// The numbers of the whole lines of an output file that may end anywhere.
pub fn answered(path: &Path) -> Vec<u64> {
    let mut text = Vec::new();
    let _ = unpack(path, &mut text);
    let whole = text.iter().rposition(|byte| *byte == b'\n');
    let lines = text[..whole.unwrap_or(0)].split(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let line: Value = serde_json::from_slice(line).unwrap();
            line["langspan"]["line"].as_u64().unwrap()
        })
        .collect()
}

/// Unpacks as much of a file as there is.
fn unpack(path: &Path, text: &mut Vec<u8>) -> io::Result<()> {
    let bytes = fs::read(path)?;
    match path.extension().and_then(|suffix| suffix.to_str()) {
        Some("gz") => {
            MultiGzDecoder::new(bytes.as_slice()).read_to_end(text)?;
        }
        Some("zst") => {
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let frame = StreamingDecoder::new(&mut rest).map_err(io::Error::other);
                frame?.read_to_end(text)?;
            }
        }
        _ => text.extend(bytes),
    }
    Ok(())
}

/// The lines of an output file.
#[track_caller]
pub fn output(path: &Path) -> Vec<Value> {
    let text = text(path);
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    let lines = text.lines();
    lines
        .map(|line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"))
        })
        .collect()
}

/// The lines of an output file by the number of their input line; one that stands there twice is an error.
#[track_caller]
pub fn answers(path: &Path) -> BTreeMap<u64, Value> {
    let mut answers = BTreeMap::new();
    for line in output(path) {
        let number = line["langspan"]["line"].as_u64().unwrap();
        let earlier = answers.insert(number, line);
        assert!(earlier.is_none(), "line {number} stands there twice");
    }
    answers
}

/// The trace id of each line of an output.
#[track_caller]
pub fn trace_ids(path: &Path) -> BTreeMap<u64, String> {
    let answers = answers(path).into_iter();
    answers
        .map(|(line, answer)| {
            let id = answer["langspan"]["trace_id"].as_str().unwrap();
            (line, id.to_owned())
        })
        .collect()
}

/// Asserts that a Langfuse has each of these traces once, and no other.
#[track_caller]
pub fn assert_once<'a>(memory: &Memory, ids: impl IntoIterator<Item = &'a String>) {
    let expected: BTreeMap<String, Vec<usize>> =
        ids.into_iter().map(|id| (id.clone(), vec![1, 1])).collect();
    let found: BTreeMap<String, Vec<usize>> = memory.all_counts().into_iter().collect();
    assert_eq!(found, expected);
}
