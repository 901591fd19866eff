//! A Langfuse that refuses or loses exports.

use serde_json::json;

use super::{LONG_ONES, before, remembering, talkative_before, twice, waiting};
use crate::support::batch::output::{lines, numbers, out, summary, trace_ids};
use crate::support::batch::servers::assert_once;
use crate::support::batch::{batch_of, prompts};
use crate::support::harness::{Langspan, Reply, Scripted, completion, files_below};
use crate::support::memory::Memory;
use crate::support::otlp::Servers;

fn refusing() -> Scripted {
    Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "Invalid credentials."})))
}

#[test]
fn exports_that_fail_now_and_then_leave_two_spans_a_line() {
    const COUNT: usize = 400;
    let memory = Memory::default();
    let servers = talkative_before(remembering(&memory, |_, count| {
        (count % 3 == 2).then(|| Reply::json(503, &json!({"message": "busy"})))
    }));
    let ended = batch_of(&servers, COUNT, &["-O", "out.jsonl"]).run();
    ended.code(0);
    assert!(servers.langfuse.exports().len() > COUNT / LONG_ONES);
    assert_once(&memory, trace_ids(&out(&ended)).values());
    assert!(ended.outbox_files().is_empty());
}

#[test]
fn when_langfuse_refuses_the_run_goes_on_and_every_trace_waits() {
    const COUNT: usize = 40;
    let servers = before(refusing());
    let call = batch_of(&servers, COUNT, &["--summary", "summary.json"]);
    let ended = call.run();
    ended
        .code(5)
        .stderr_has("40 traces were not accepted")
        .stderr_has("401")
        .stderr_has("Invalid credentials.")
        .stderr_has(&ended.outbox().display().to_string())
        .stderr_has("langspan resend");
    let answers = lines(&ended.stdout);
    assert_eq!(numbers(&answers), (1..=COUNT as u64).collect::<Vec<_>>());
    assert_eq!(waiting(&ended), twice(&trace_ids(&answers)));
    let summary = summary(&ended);
    assert_eq!(summary["traces"]["spooled"], COUNT);
    assert_eq!(summary["traces"]["accepted"], 0);
    assert_eq!(summary["error"]["status"], 401);

    let memory = Memory::default();
    let healed = remembering(&memory, |_, _| None);
    Langspan::new(&["resend"])
        .langfuse_at(healed.url())
        .after(&ended)
        .run()
        .code(0);
    assert_once(&memory, trace_ids(&answers).values());
}

#[test]
fn a_full_outbox_stops_the_run_which_is_continued_without_a_loss() {
    const COUNT: usize = 600;
    const MOST: u64 = 12_000_000;
    let servers = talkative_before(refusing());
    let call = batch_of(
        &servers,
        COUNT,
        &["-j", "2", "-O", "out.jsonl", "--run", "r"],
    );
    let ended = call
        .clone()
        .env("LANGSPAN_OUTBOX_MAX", &MOST.to_string())
        .run();
    ended
        .code(5)
        .stderr_has("LANGSPAN_OUTBOX_MAX")
        .stderr_has("--resume");
    let asked = servers.model.count();
    assert!(asked < COUNT, "{asked}");
    assert_eq!(out(&ended).len(), asked);
    let bytes: u64 = files_below(&ended.outbox())
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .sum();
    assert!((1..=MOST).contains(&bytes), "{bytes}");

    let memory = Memory::default();
    let healed = remembering(&memory, |_, _| None);
    let ended = call.arg("--resume").langfuse_at(healed.url()).run();
    ended.code(0);
    assert_eq!(servers.model.count(), COUNT);
    assert_once(&memory, trace_ids(&out(&ended)).values());
    assert!(ended.outbox_files().is_empty());
}

#[test]
fn without_an_outbox_refused_traces_are_lost_and_the_run_says_so() {
    let servers = before(refusing());
    let ended = batch_of(&servers, 20, &["--no-outbox", "--summary", "summary.json"]).run();
    ended.code(5).stderr_has("LOST").stderr_has("--no-outbox");
    assert_eq!(lines(&ended.stdout).len(), 20);
    assert!(!ended.outbox().exists());
    assert_eq!(summary(&ended)["traces"]["lost"], 20);
}

#[test]
fn best_effort_makes_a_delivery_that_fails_a_warning() {
    let servers = before(refusing());
    let ended = batch_of(&servers, 10, &["--best-effort"]).run();
    ended
        .code(0)
        .stderr_has("warning: 10 traces were not accepted")
        .stderr_lacks("error:");
    assert_eq!(waiting(&ended), twice(&trace_ids(&lines(&ended.stdout))));

    let model = Scripted::start(|_, count| match count {
        0 => Reply::json(400, &json!({"error": {"message": "no"}})),
        _ => Reply::json(200, &completion("hi")),
    });
    let servers = Servers {
        model,
        langfuse: refusing(),
    };
    batch_of(&servers, 10, &["--best-effort"]).run().code(8);
}

#[test]
fn with_best_effort_a_full_outbox_leaves_no_line_unasked() {
    let servers = before(refusing());
    let call =
        batch_of(&servers, 500, &["--best-effort", "-j", "2"]).env("LANGSPAN_OUTBOX_MAX", "20000");
    let ended = call.run();
    ended.code(0).stderr_has("warning:").stderr_has("LOST");
    assert_eq!(lines(&ended.stdout).len(), 500);
}

#[test]
fn with_best_effort_missing_keys_are_a_warning() {
    let model = Scripted::model("hi");
    let call = Langspan::new(&["batch", "in.jsonl", "--best-effort"])
        .model_at(model.url())
        .env("LANGFUSE_BASE_URL", "http://127.0.0.1:9");
    call.file("in.jsonl", prompts(3));
    let ended = call.run();
    ended.code(0).stderr_has("warning:");
    let answers = lines(&ended.stdout);
    assert_eq!(answers.len(), 3);
    assert_eq!(waiting(&ended), twice(&trace_ids(&answers)));
}

#[test]
fn every_line_of_a_shared_trace_counts_when_it_is_not_accepted() {
    let refusing = Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "No."})));
    let servers = Servers {
        langfuse: refusing,
        ..Servers::answering("hi")
    };
    let call = servers.call(&["batch", "in.jsonl"]);
    call.file(
        "in.jsonl",
        "{\"custom_id\":\"a\",\"prompt\":\"x\"}\n".repeat(10),
    );
    call.run().code(5).stderr_has("10 in the outbox");
}
