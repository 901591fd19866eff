//! What a signal leaves behind.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::sync::Arc;

use super::{at_sandbox, remembering, talkative_before, twice, waiting};
use crate::support::batch::gate::{Gate, send, settled};
use crate::support::batch::output::{lines, lines_in, numbers, out, trace_ids};
use crate::support::batch::servers::assert_once;
use crate::support::batch::{batch_of, prompts};
use crate::support::harness::{Ended, Reply, Scripted, completion, wait_until};
use crate::support::memory::Memory;
use crate::support::otlp::{Servers, traces_at};
use crate::support::stand_in::Sandbox;

/// How many traces wait in the outbox or are in the memory. What is cut off by a signal may be in both.
fn kept_or_arrived(ended: &Ended, memory: &Memory) -> usize {
    let mut traces: BTreeSet<String> = waiting(ended).into_iter().collect();
    traces.extend(memory.all_counts().into_keys());
    traces.len()
}

/// Waits until the output of a call holds so many lines.
fn wait_for_lines(path: &Path, count: usize) {
    wait_until("so many lines are written", || {
        fs::read_to_string(path).is_ok_and(|text| text.lines().count() >= count)
    });
}

/// A model that answers so many requests, and the others once the gate is open.
fn answering_first(count: usize, gate: &Gate) -> Scripted {
    let gate = gate.clone();
    Scripted::start(move |_, earlier| {
        if earlier >= count {
            gate.wait();
        }
        Reply::json(200, &completion("hi"))
    })
}

#[test]
fn the_first_signal_finishes_and_delivers_calls_in_flight() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let (gate, memory) = (Gate::default(), Memory::default());
        let servers = Servers {
            model: answering_first(5, &gate),
            langfuse: remembering(&memory, |_, _| None),
        };
        let call = batch_of(
            &servers,
            40,
            &["-j", "3", "-O", "out file.jsonl", "--run", "r"],
        );
        let path = call.home().join("out file.jsonl");
        let mut child = call.spawn();
        wait_for_lines(&path, 5);
        wait_until("three are in flight", || servers.model.count() == 8);
        let mut said = BufReader::new(child.stderr.take().unwrap());
        send(signal, &child);
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.contains('3'), "{line}");
        gate.open();
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut said, &mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
        let command = "langspan batch in.jsonl -j 3 -O 'out file.jsonl' --run r --resume";
        assert!(rest.contains(command), "{rest}");
        assert_eq!(servers.model.count(), 8);
        assert_eq!(numbers(&lines_in(&path)).len(), 8);
        assert_once(&memory, trace_ids(&lines_in(&path)).values());

        call.clone().arg("--resume").run().code(0);
        assert_eq!(servers.model.count(), 40);
        assert_eq!(numbers(&lines_in(&path)), (1..=40).collect::<Vec<_>>());
        assert_once(&memory, trace_ids(&lines_in(&path)).values());
    }
}

#[test]
fn the_second_signal_ends_the_run_at_once_with_the_outbox_written() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let gate = Gate::default();
        let servers = Servers {
            model: answering_first(5, &gate),
            langfuse: Scripted::langfuse(|_, _| Reply::Hang),
        };
        let call = batch_of(&servers, 40, &["-j", "3", "-O", "out.jsonl", "--run", "r"]);
        let mut child = call.spawn();
        wait_for_lines(&call.home().join("out.jsonl"), 5);
        wait_until("three are in flight", || servers.model.count() == 8);
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        send(signal, &child);
        said.read_line(&mut line).unwrap();
        send(signal, &child);
        let ended = call.ended(&child.wait_with_output().unwrap());
        ended.code(code);
        let lines = out(&ended);
        assert_eq!(lines.len(), 5);
        assert_eq!(waiting(&ended), twice(&trace_ids(&lines)));

        // What was in flight is asked again, and only that; what waits is not sent twice.
        gate.open();
        let memory = Memory::default();
        let healed = remembering(&memory, |_, _| None);
        let ended = call.arg("--resume").langfuse_at(healed.url()).run();
        ended.code(0);
        assert_eq!(servers.model.count(), 40 + 3);
        assert_eq!(numbers(&out(&ended)), (1..=40).collect::<Vec<_>>());
        assert_once(&memory, trace_ids(&out(&ended)).values());
        assert!(ended.outbox_files().is_empty());
    }
}

#[test]
fn a_signal_ends_the_wait_of_verify() {
    let sandbox = Sandbox::start_with(&["--visible-after", "3600000"]);
    let sandbox = Arc::new(sandbox);
    let langfuse = Scripted::in_front_of(&sandbox, |_, _| None);
    let call = at_sandbox(&sandbox, langfuse.url(), 3, &["--verify", "--wait", "600"]);
    let child = call.spawn();
    wait_until("the traces are counted", || {
        langfuse
            .requests()
            .iter()
            .any(|request| request.path.starts_with("/api/public/v2/metrics"))
    });
    send("INT", &child);
    let ended = call.ended(&child.wait_with_output().unwrap());
    ended.code(130);
    assert_eq!(lines(&ended.stdout).len(), 3);
    assert!(ended.outbox_files().is_empty());
}

#[test]
fn ordered_answers_are_written_before_the_second_signal_ends_the_run() {
    let gate = Gate::default();
    let model = Scripted::start({
        let gate = gate.clone();
        move |_, earlier| {
            if earlier == 0 {
                gate.wait();
            }
            Reply::json(200, &completion("hi"))
        }
    });
    let memory = Memory::default();
    let servers = Servers {
        model,
        langfuse: remembering(&memory, |_, _| None),
    };
    let call = batch_of(
        &servers,
        8,
        &["-j", "3", "--ordered", "-O", "out.jsonl", "--run", "r"],
    );
    let mut child = call.spawn();
    wait_until("the others are asked", || servers.model.count() == 8);
    settled(&servers.model);
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    send("INT", &child);
    said.read_line(&mut line).unwrap();
    send("INT", &child);
    let ended = call.ended(&child.wait_with_output().unwrap());
    ended.code(130);
    assert_eq!(out(&ended).len(), 7);
    assert_eq!(kept_or_arrived(&ended, &memory), out(&ended).len());

    gate.open();
    let ended = call.arg("--resume").run();
    ended.code(0);
    assert_eq!(servers.model.count(), 9);
    assert_once(&memory, trace_ids(&out(&ended)).values());
}

#[test]
fn an_unread_stdout_does_not_block_the_second_signal() {
    let memory = Memory::default();
    let servers = talkative_before(remembering(&memory, |_, _| None));
    let call = batch_of(&servers, 600, &["-j", "4"]);
    let mut child = call.spawn();
    wait_until("the run is at work", || servers.model.count() > 3);
    let asked = settled(&servers.model);
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    send("INT", &child);
    said.read_line(&mut line).unwrap();
    send("INT", &child);
    // Stdout is not read, and still open.
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    let ended = call.ended(&child.wait_with_output().unwrap());
    // What was paid for is there or waits.
    assert_eq!(kept_or_arrived(&ended, &memory), asked);
}

#[test]
fn a_signal_ends_a_run_that_waits_for_input() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["batch", "-", "-O", "out.jsonl", "--run", "r"]);
    let mut child = call.spawn();
    let mut input = child.stdin.take().unwrap();
    input.write_all(prompts(3).as_bytes()).unwrap();
    wait_for_lines(&call.home().join("out.jsonl"), 3);
    send("INT", &child);
    let ended = call.ended(&child.wait_with_output().unwrap());
    drop(input);
    ended.code(130).stderr_has("--resume");
    assert_eq!(traces_at(&servers.langfuse).len(), 3);
}
