//! `--resume`: a run goes on after a kill, a failure or a signal. Nothing that was answered is asked again, nothing is
//! missing or twice, and every trace arrives once.

// Continuing after a kill.
mod kill;
// Answered lines whose traces may not have arrived.
mod undelivered;
// Traces that wait in the outbox.
mod outbox;
// Failed lines are asked again with `--retry-errors`.
mod retry_errors;
// Two runs of one output, and the commands that a run prints.
mod commands;
// What a continued run does not believe.
mod distrust;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use serde_json::json;

use crate::support::batch::output::by_number_in;
use crate::support::batch::servers::{answer, langfuse, line_of};
use crate::support::batch::{batch, prompts};
use crate::support::harness::{Ended, Langspan, Reply, Scripted};
use crate::support::memory::Memory;

const OUT: &str = "out.jsonl";
const ACKS: &str = "out.jsonl.acks";
const RESUME: [&str; 3] = ["--out", OUT, "--resume"];
const RETRY: [&str; 5] = ["in.jsonl", "--out", OUT, "--resume", "--retry-errors"];

/// Keeps the first `count` lines of a file.
fn cut_to_lines(path: &Path, count: usize) {
    let text = fs::read_to_string(path).unwrap();
    let kept: String = text.split_inclusive('\n').take(count).collect();
    fs::write(path, kept).unwrap();
}

/// Another call in the same home.
fn again(call: &Langspan, model: &str, langfuse: &str, arguments: &[&str]) -> Langspan {
    Langspan::new(&[&["batch"], arguments].concat())
        .model_at(model)
        .langfuse_at(langfuse)
        .beside(call)
}

/// A run whose acks know of no delivery.
fn unacknowledged(memory: &Memory, model: &Scripted, count: usize) -> Langspan {
    let langfuse = langfuse(memory);
    let call = batch(
        &prompts(count),
        model,
        &langfuse,
        &[&RESUME[..], &["--run", "r"]].concat(),
    );
    call.run().code(0);
    cut_to_lines(&call.home().join(ACKS), 1);
    call
}

/// A run whose traces wait in the outbox.
fn spooled(model: &Scripted) -> (Langspan, Ended) {
    let refusing = Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "No."})));
    let call = batch(
        &prompts(4),
        model,
        &refusing,
        &[&RESUME[..], &["--run", "r"]].concat(),
    );
    let ended = call.run();
    ended.code(5);
    assert!(!ended.kept().is_empty());
    (call, ended)
}

/// A model that refuses these lines the first time.
fn failing_once(lines: &'static [u64]) -> Scripted {
    failing(lines, 1)
}

/// A model that refuses these lines the first `times` times.
fn failing(lines: &'static [u64], times: usize) -> Scripted {
    let counts: Mutex<BTreeMap<u64, usize>> = Mutex::default();
    Scripted::start(move |request, _| {
        let line = line_of(request);
        let mut counts = counts.lock().unwrap();
        let count = counts.entry(line).or_default();
        *count += 1;
        if lines.contains(&line) && *count <= times {
            return Reply::json(400, &json!({"error": {"message": "not this time"}}));
        }
        answer(line)
    })
}

/// Asserts that every line of an output is answered whole.
#[track_caller]
fn assert_answered(out: &Path, count: usize) {
    let found = by_number_in(out);
    assert_eq!(found.len(), count);
    for answer in found.values() {
        assert_eq!(answer["response"]["status_code"], 200, "{answer}");
    }
}

/// The command that stderr names behind `words`.
#[track_caller]
fn named(ended: &Ended, words: &str) -> String {
    let line = ended.stderr.lines().find_map(|line| line.split_once(words));
    let (_, command) = line.unwrap_or_else(|| panic!("stderr lacks {words:?}: {ended:#?}"));
    command.trim().to_owned()
}
