//! A model endpoint that is down: for a while, or for good.

use std::io::{BufRead as _, BufReader, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::{answer, refusal, servers};
use crate::support::batch::gate::send;
use crate::support::batch::output::{lines_in, numbers, out};
use crate::support::batch::servers::{answer as answer_to, asked, langfuse, line_of, once};
use crate::support::batch::{batch, batch_of, prompts};
use crate::support::harness::{Reply, Scripted, dead_url};
use crate::support::memory::Memory;
use crate::support::otlp::traces_at;

/// A gateway without a server behind it.
fn gone(count: usize) -> Reply {
    refusal([502, 503, 504][count % 3], "nobody is here")
}

#[test]
fn a_run_at_a_dead_port_stops_and_resumes() {
    for further in [&["--retries", "0"][..], &[]] {
        let (memory, model) = (
            Memory::default(),
            Scripted::start(|request, _| answer_to(line_of(request))),
        );
        let langfuse = langfuse(&memory);
        let options = ["-j", "4", "-O", "out.jsonl", "--give-up", "1", "--run", "r"];
        let call = batch(
            &prompts(500),
            &model,
            &langfuse,
            &[&options, further].concat(),
        );
        let ended = call.clone().model_at(&dead_url()).run();
        ended
            .code(8)
            .stderr_has("the model endpoint is down, trying again in 1 s: no connection to the model endpoint")
            .stderr_has("error: stopped early: the model endpoint has been down for 1 s: no connection")
            .stderr_has("hint: continue with: langspan batch in.jsonl -j 4 ")
            .stderr_has("0 lines: 0 answered, 0 failed");
        assert!(out(&ended).is_empty());
        assert!(memory.all_counts().is_empty());

        let ended = call.arg("--resume").run();
        ended.code(0);
        assert_eq!(asked(&model), once(1..=500));
        assert_eq!(memory.all_counts().len(), 500);
    }
}

#[test]
fn after_a_pause_one_call_is_tried_and_then_all() {
    let is_back = Arc::new(AtomicBool::new(false));
    let (arrived, beside) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let servers = servers({
        let (is_back, has_tried) = (Arc::clone(&is_back), AtomicBool::new(false));
        let (arrived, beside) = (Arc::clone(&arrived), Arc::clone(&beside));
        move |_, count| {
            arrived.fetch_add(1, Ordering::SeqCst);
            if !is_back.load(Ordering::SeqCst) {
                return gone(count);
            }
            if !has_tried.swap(true, Ordering::SeqCst) {
                let before = arrived.load(Ordering::SeqCst);
                thread::sleep(Duration::from_millis(200));
                beside.store(arrived.load(Ordering::SeqCst) - before, Ordering::SeqCst);
            }
            answer()
        }
    });
    let options = ["-j", "4", "--retries", "0", "-O", "out.jsonl", "--ordered"];
    let call = batch_of(&servers, 30, &options);
    let mut child = call.spawn();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains("is down, trying again in 1 s: the model endpoint answered 50") {
        assert!(said.read_line(&mut text).unwrap() > 0, "{text}");
    }
    // What was under way has ended by now. Should the first call be tried before, a later one shows the same.
    thread::sleep(Duration::from_millis(500));
    is_back.store(true, Ordering::SeqCst);
    said.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{text}");
    assert!(
        text.contains("the model endpoint answers again\n"),
        "{text}"
    );
    assert!(text.contains("30 lines: 30 answered, 0 failed"), "{text}");
    let lines = lines_in(&call.home().join("out.jsonl"));
    assert_eq!(numbers(&lines), (1..=30).collect::<Vec<_>>());
    assert_eq!(beside.load(Ordering::SeqCst), 0);
    // Held lines leave no failed trace.
    assert_eq!(traces_at(&servers.langfuse).len(), 30);
}

#[test]
fn fifty_attempts_in_a_row_are_an_outage_later() {
    let servers = servers(|_, count| match count {
        10..60 => gone(count),
        _ => answer(),
    });
    let options = ["-j", "1", "--retries", "0", "-O", "out.jsonl"];
    let ended = batch_of(&servers, 100, &options).run();
    ended
        .code(0)
        .stderr_has("the model endpoint is down, trying again in 1 s")
        .stderr_has("100 lines: 100 answered, 0 failed");
    assert_eq!(ended.stderr.matches("is down").count(), 1);
    assert_eq!(servers.asked().len(), 50 + 100);
}

#[test]
fn a_few_failures_are_no_outage() {
    // A line that always fails, among others.
    let some = servers(|request, count| match line_of(request) {
        2 => gone(count),
        _ => answer(),
    });
    let options = ["-j", "2", "--retries", "0", "-O", "out.jsonl"];
    let ended = batch_of(&some, 6, &options).run();
    ended
        .code(8)
        .stderr_has("6 lines: 5 answered, 1 failed (HTTP 50")
        .stderr_lacks("is down");
    assert_eq!(out(&ended).len(), 6);

    // Too few attempts to tell.
    let none = servers(|_, count| gone(count));
    let ended = batch_of(&none, 3, &["--retries", "0", "-O", "out.jsonl"]).run();
    ended
        .code(8)
        .stderr_has("3 lines: 0 answered, 3 failed")
        .stderr_lacks("is down");
    assert_eq!(out(&ended).len(), 3);
    assert_eq!(traces_at(&none.langfuse).len(), 3);
}

#[test]
fn a_refusal_shows_that_the_endpoint_is_up() {
    let servers = servers(|_, count| match count % 4 {
        0 => refusal(400, "no"),
        _ => gone(count),
    });
    let options = [
        "-j",
        "1",
        "--retries",
        "0",
        "--allow-errors",
        "100%",
        "-O",
        "out.jsonl",
    ];
    let ended = batch_of(&servers, 80, &options).run();
    ended.code(8).stderr_lacks("is down");
    assert_eq!(out(&ended).len(), 80);
}

#[test]
fn a_signal_ends_a_pause() {
    let servers = servers(|_, count| gone(count));
    let options = ["-j", "2", "--retries", "0", "-O", "out.jsonl"];
    let call = batch_of(&servers, 50, &options);
    let mut child = call.spawn();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("is down, trying again in 2 s") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0);
    }
    send("INT", &child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(lines_in(&call.home().join("out.jsonl")).is_empty());
}
