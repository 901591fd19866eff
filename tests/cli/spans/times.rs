//! The parent starts before its generation, so that lists which sort by start show it first.

use std::fs;

use serde_json::{Value, json};

use crate::support::harness::Langspan;
use crate::support::otlp::{Servers, Trace, traces_at};

/// One millisecond in nanoseconds, the precision of Langfuse.
const MILLISECOND: u64 = 1_000_000;

/// The nanoseconds from the start of the parent to that of the generation.
fn lead(trace: &Trace) -> u64 {
    trace.generation.start_time_unix_nano - trace.parent.start_time_unix_nano
}

/// A call that has delivered its traces, and the lead of each.
fn leads(servers: &Servers, call: &Langspan) -> Vec<u64> {
    call.run().code(0);
    traces_at(&servers.langfuse).iter().map(lead).collect()
}

/// A recording of 1.5 s, with further fields.
fn recording(fields: &Value) -> String {
    let mut recording = json!({
        "request": {"model": "m", "messages": [{"role": "user", "content": "q"}]},
        "response": {"choices": [{"message": {"role": "assistant", "content": "a"}}]},
        "start_time": "2026-01-02T03:04:05.5Z",
        "end_time": "2026-01-02T03:04:07Z",
    });
    let more = fields.as_object().unwrap().clone();
    recording.as_object_mut().unwrap().extend(more);
    recording.to_string()
}

#[test]
fn the_parent_of_a_chat_starts_with_the_command() {
    let servers = Servers::answering("hi");
    let leads = leads(&servers, &servers.call(&["chat", "Hello"]));
    assert!(leads[0] >= MILLISECOND, "{leads:?}");
}

#[test]
fn the_parent_starts_exactly_1_ms_earlier_where_traces_can_be_rebuilt() {
    let line = json!({"model": "m", "messages": [{"role": "user", "content": "q"}]});
    for command in [&["replay", "in.jsonl"][..], &["batch", "in.jsonl"]] {
        let servers = Servers::answering("hi");
        let call = servers.call(command);
        call.file("in.jsonl", format!("{line}\n{line}\n"));
        assert_eq!(leads(&servers, &call), [MILLISECOND; 2], "{command:?}");
    }
}

#[test]
fn a_recording_keeps_the_start_of_its_parent() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["chat", "--record", "record.jsonl", "Hello"]);
    call.run().code(0);
    let original = servers.trace();
    let recorded = fs::read_to_string(call.home().join("record.jsonl")).unwrap();

    let servers = Servers::answering("not asked");
    let call = servers.call(&["replay", "again.jsonl"]);
    call.file("again.jsonl", recorded);
    call.run().code(0);
    let again = servers.trace();
    for (span, before) in again.spans().into_iter().zip(original.spans()) {
        assert_eq!(span.start_time_unix_nano, before.start_time_unix_nano);
        assert_eq!(span.span_id, before.span_id);
    }
}

#[test]
fn a_recorded_parent_starts_at_least_1_ms_before_its_generation() {
    for (fields, expected) in [
        (json!({}), MILLISECOND),
        (json!({"parent_start_time": null}), MILLISECOND),
        (
            json!({"parent_start_time": "2026-01-02T03:04:05.5Z"}),
            MILLISECOND,
        ),
        (
            json!({"parent_start_time": "2026-01-02T03:04:05.25Z"}),
            250 * MILLISECOND,
        ),
    ] {
        let servers = Servers::answering("not asked");
        let call = servers.call(&["replay", "one.json"]);
        call.file("one.json", recording(&fields));
        assert_eq!(leads(&servers, &call), [expected], "{fields}");
    }
}

#[test]
fn a_recorded_parent_must_not_start_after_its_generation() {
    let servers = Servers::answering("not asked");
    let call = servers.call(&["replay", "one.json"]);
    let late = json!({"parent_start_time": "2026-01-02T03:04:06Z"});
    call.file("one.json", recording(&late));
    call.run()
        .code(2)
        .stderr_has("`parent_start_time` is after its `start_time`");
}
