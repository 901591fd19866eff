//! `--verify`: the traces and spans of the whole run are counted once; and traces that wait elsewhere are named.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::Cluster;
use crate::support::batch::prompts;
use crate::support::batch::servers::{answer, line_of};
use crate::support::harness::{Ended, Langspan, Reply, Scripted, TRACES, forward};
use crate::support::memory::Memory;
use crate::support::stand_in::Sandbox;

const PARTS: [&str; 4] = ["out-1.jsonl", "out-2.jsonl", "--out", "all.jsonl"];

/// A sandbox as the Langfuse of a cluster.
fn cluster(input: &str) -> (Cluster, Arc<Sandbox>) {
    let sandbox = Arc::new(Sandbox::start());
    let behind = Arc::clone(&sandbox);
    let langfuse = Scripted::start(move |request, _| forward(&behind, request));
    (Cluster::with(input, langfuse), sandbox)
}

#[track_caller]
fn merge(cluster: &Cluster, options: &[&str]) -> Ended {
    let options = [&PARTS[..], &["--overwrite", "--verify"], options].concat();
    cluster.merge(&options)
}

#[test]
fn the_traces_and_spans_of_the_run_are_counted_once() {
    // Two lines share a trace, one has a session of its own, and one is not a request.
    let own = json!({"prompt": "line 9", "trace": {"session": "other"}});
    let twin = json!({"custom_id": "t", "prompt": "line 10"});
    let input = format!("{}{own}\n{twin}\n{twin}\n{{}}\n", prompts(8));
    let (cluster, _sandbox) = cluster(&input);
    for index in 1..=2 {
        let out = format!("out-{index}.jsonl");
        cluster.shard(&out, index, 2, &["--allow-errors", "1"]);
    }
    let exports = cluster.langfuse.exports().len();
    let asked = cluster.langfuse.count();
    merge(&cluster, &["--summary", "all.json"])
        .code(0)
        .stderr_has("11 accepted, 10 readable")
        .stderr_has("/project/sandbox/sessions/r");
    assert_eq!(cluster.json("all.json")["traces"]["verified"], 10);
    assert_eq!(cluster.json("all.json")["ok"], true);
    // Nothing is sent; one question for each of the two sessions, and one for the project.
    assert_eq!(cluster.langfuse.exports().len(), exports);
    assert_eq!(cluster.langfuse.count() - asked, 3);
}

#[test]
fn a_redone_line_is_counted_by_its_last_trace() {
    let (mut cluster, _sandbox) = cluster(&prompts(4));
    let is_down = Arc::new(AtomicBool::new(true));
    let down = Arc::clone(&is_down);
    cluster.model = Scripted::start(move |request, _| {
        if down.load(Ordering::SeqCst) && request.body.windows(6).any(|part| part == b"line 3") {
            return Reply::json(400, &json!({"error": {"message": "no"}}));
        }
        answer(line_of(request))
    });
    cluster.shard("out-1.jsonl", 1, 2, &["--allow-errors", "1"]);
    cluster.shard("out-2.jsonl", 2, 2, &[]);
    merge(&cluster, &[])
        .code(0)
        .stderr_has("4 lines: 3 answered, 1 failed (HTTP 400: 1)")
        .stderr_has("4 readable");
    is_down.store(false, Ordering::SeqCst);
    cluster.shard("out-1.jsonl", 1, 2, &["--resume", "--retry-errors"]);
    merge(&cluster, &[])
        .code(0)
        .stderr_has("4 lines: 4 answered, 0 failed")
        .stderr_has("4 readable");
}

#[test]
fn a_trace_that_cannot_be_read_is_missed_after_the_lines_are_merged() {
    let memory = Memory::default();
    let cluster = Cluster::with(
        &prompts(4),
        // Of the first export, nothing is kept.
        Scripted::start({
            let memory = memory.clone();
            move |request, earlier| match request.path.as_str() {
                TRACES if earlier == 0 => Reply::json(200, &json!({})),
                _ => memory.answer(request),
            }
        }),
    );
    cluster.shard("out-1.jsonl", 1, 2, &[]);
    cluster.shard("out-2.jsonl", 2, 2, &[]);
    merge(&cluster, &["--wait", "1", "--summary", "all.json"])
        .code(7)
        .stderr_has("2 of 4 traces can be read, and 4 of 8 spans");
    assert_eq!(cluster.text("all.jsonl").lines().count(), 4);
    let summary = cluster.json("all.json");
    assert_eq!(summary["ok"], false);
    assert_eq!(summary["error"]["kind"], "not_readable");
    assert_eq!(summary["traces"]["verified"], json!(null));
}

#[test]
fn traces_that_were_not_sampled_are_not_missed() {
    let (cluster, _sandbox) = cluster(&prompts(20));
    for index in 1..=2 {
        let out = format!("out-{index}.jsonl");
        cluster.shard(&out, index, 2, &["--sample", "0.5"]);
    }
    merge(&cluster, &["--summary", "all.json"]).code(0);
    let traces = &cluster.json("all.json")["traces"];
    let count = |name: &str| traces[name].as_u64().unwrap();
    assert!((1..20).contains(&count("accepted")), "{traces}");
    assert_eq!(count("accepted") + count("sampled_out"), 20, "{traces}");
    assert_eq!(count("accepted"), count("verified"), "{traces}");
}

#[test]
fn traces_in_an_outbox_are_named() {
    let memory = Memory::default();
    let refuses = Arc::new(AtomicBool::new(true));
    let cluster = Cluster::with(
        &prompts(4),
        Scripted::start({
            let (memory, refuses) = (memory.clone(), Arc::clone(&refuses));
            move |request, _| match request.path.as_str() {
                TRACES if refuses.load(Ordering::SeqCst) => Reply::json(403, &json!({})),
                _ => memory.answer(request),
            }
        }),
    );
    cluster
        .shard_of("in.jsonl", "out-1.jsonl", 1, 2, &[])
        .code(5);
    refuses.store(false, Ordering::SeqCst);
    cluster.shard("out-2.jsonl", 2, 2, &[]);
    let arguments = [&PARTS[..], &["--overwrite", "--summary", "all.json"]].concat();
    cluster
        .merge(&arguments)
        .code(0)
        .stderr_has("warning: 2 traces are in the outbox of its machine")
        .stderr_has("traces: 2 accepted, 2 in the outbox");
    assert_eq!(cluster.json("all.json")["traces"]["spooled"], 2);
    merge(&cluster, &["--wait", "1"])
        .code(7)
        .stderr_has("2 of 4 traces");
    cluster.call(&["resend"]).run().code(0);
    merge(&cluster, &[]).code(0).stderr_has("4 readable");
}

#[test]
fn a_server_that_cannot_be_asked_is_refused_before_anything_is_written() {
    let cluster = Cluster::new(&prompts(2));
    cluster.shard("out-1.jsonl", 1, 2, &[]);
    cluster.shard("out-2.jsonl", 2, 2, &[]);
    let arguments = [&["merge"], &PARTS[..], &["--verify"]].concat();
    let call = || Langspan::new(&arguments).beside(&cluster.home);
    call().run().code(3);
    call()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", cluster.langfuse.url())
        .run()
        .code(3)
        .stderr_has("plain OTLP backend");
    assert!(!cluster.has("all.jsonl"));
    // Keys that are refused are found only by asking.
    let refusing = Scripted::always(Reply::json(401, &json!({"message": "no such key"})));
    call()
        .langfuse_at(refusing.url())
        .run()
        .code(7)
        .stderr_has("no such key");
    assert!(cluster.has("all.jsonl"));
    fs::remove_file(cluster.path("all.jsonl")).unwrap();
}
