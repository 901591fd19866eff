//! `--resume` after a kill, a failure or a signal: no answered line is asked again, no line is missing or duplicated,
//! and every trace arrives once.

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
// State of the acks and the outbox that does not match the output.
mod distrust;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use serde_json::json;

use crate::support::batch::output::{by_number_in, trace_ids_in};
use crate::support::batch::servers::{answer, assert_once, langfuse, line_of};
use crate::support::batch::{batch, prompts};
use crate::support::harness::{Ended, Langspan, Reply, Scripted, wait_until};
use crate::support::memory::Memory;

const OUT: &str = "out.jsonl";
const ACKS: &str = "out.jsonl.acks";
const RESUME: [&str; 3] = ["--out", OUT, "--resume"];
const RETRY: &[&str] = &["--retry-errors"];

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

/// A run named `r` of `count` lines, not yet started.
fn begun(count: usize, model: &Scripted, langfuse: &Scripted) -> Langspan {
    let arguments = [&RESUME[..], &["--run", "r"]].concat();
    batch(&prompts(count), model, langfuse, &arguments)
}

/// The run of `call`, continued with further options.
fn resume(call: &Langspan, model: &Scripted, langfuse: &Scripted, options: &[&str]) -> Langspan {
    let arguments = [&["in.jsonl"], &RESUME[..], options].concat();
    again(call, model.url(), langfuse.url(), &arguments)
}

/// Kills a run while a failed line is asked again.
fn kill_while_retrying(call: &Langspan, langfuse: &Scripted) {
    let hanging = Scripted::always(Reply::Hang);
    let mut child = resume(call, &hanging, langfuse, RETRY).spawn();
    wait_until("the failed line is asked again", || {
        !hanging.requests().is_empty()
    });
    child.kill().unwrap();
    child.wait_with_output().unwrap();
}

/// A Langfuse that accepts no trace.
fn refusing() -> Scripted {
    Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "No."})))
}

/// Delivers what waits in the outbox of a run.
#[track_caller]
fn resend(ended: &Ended, langfuse: &Scripted) {
    let call = Langspan::new(&["resend"]).langfuse_at(langfuse.url());
    call.after(ended).run().code(0);
}

/// Asserts that the traces of an output have arrived once each, and one more trace with them.
#[track_caller]
fn assert_once_with(memory: &Memory, out: &Path, further: String) {
    let mut ids: Vec<String> = trace_ids_in(out).into_values().collect();
    ids.push(further);
    assert_once(memory, &ids);
}

/// A run whose acks know of no delivery.
fn unacknowledged(memory: &Memory, model: &Scripted, count: usize) -> Langspan {
    let langfuse = langfuse(memory);
    let call = begun(count, model, &langfuse);
    call.run().code(0);
    cut_to_lines(&call.home().join(ACKS), 1);
    call
}

/// A run whose traces wait in the outbox.
fn spooled(model: &Scripted) -> (Langspan, Ended) {
    let refusing = refusing();
    let call = begun(4, model, &refusing);
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
