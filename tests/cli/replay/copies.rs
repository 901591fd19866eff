//! Recordings that were emitted before: Langfuse is asked for their spans, and gets only those that it lacks.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{TRACE, recording};
use crate::support::harness::{
    Ended, Langspan, OBSERVATIONS, Reply, Request, Scripted, TRACES, dead_url,
};
use crate::support::memory::Memory;
use crate::support::stand_in::Sandbox;

/// Replays a recording at this Langfuse.
fn replay(langfuse: &str, recording: &Value, options: &[&str]) -> Ended {
    Langspan::new(&[&["replay", "-"], options].concat())
        .langfuse_at(langfuse)
        .stdin(recording.to_string())
        .run()
}

/// A Langfuse without faults.
fn healthy(memory: &Memory) -> Scripted {
    let memory = memory.clone();
    Scripted::start(move |request, _| memory.answer(request))
}

/// Whether a request asks for a trace, through either interface.
fn asks(request: &Request) -> bool {
    request.path.starts_with(OBSERVATIONS) || request.path.starts_with("/api/public/traces/")
}

/// Part of the error, and the answer to a question that causes it.
type Case = (&'static str, fn() -> Reply);

/// A recording whose trace has no id yet.
fn without_an_id() -> Value {
    let mut recording = recording();
    recording["trace"].as_object_mut().unwrap().remove("id");
    recording
}

#[test]
fn a_recording_that_langfuse_has_is_not_sent_again() {
    let memory = Memory::default();
    let langfuse = healthy(&memory);
    replay(langfuse.url(), &recording(), &[]).code(0);
    let ended = replay(langfuse.url(), &recording(), &[]);
    ended.code(0).stdout("Recorded\n");
    ended
        .stderr_has("has this trace already; nothing was sent")
        .stderr_has("--again");
    assert_eq!(ended.trace_id(), TRACE);
    assert_eq!(memory.counts(TRACE), [1, 1]);
    assert_eq!(ended.outbox_files(), [""; 0]);
}

#[test]
fn the_window_of_the_question_follows_the_recorded_times() {
    let memory = Memory::default();
    let langfuse = healthy(&memory);
    replay(langfuse.url(), &recording(), &[]).code(0);
    let asked = langfuse.requests_to(OBSERVATIONS);
    assert_eq!(asked.len(), 1);
    for part in [
        format!("traceId={TRACE}"),
        "fromStartTime=2026-01-02T00".to_owned(),
        "toStartTime=2026-01-02T01".to_owned(),
    ] {
        assert!(asked[0].path.contains(&part), "{part}: {}", asked[0].path);
    }
}

#[test]
fn a_trace_that_is_present_is_reported_and_verified() {
    let sandbox = Arc::new(Sandbox::start());
    let langfuse = Scripted::in_front_of(&sandbox, |_, _| None);
    replay(langfuse.url(), &recording(), &[]).code(0);
    let ended = replay(langfuse.url(), &recording(), &["-o", "json", "--verify"]);
    let document = ended.code(0).json();
    assert_eq!(document["ok"], true);
    assert_eq!(document["response"]["text"], "Recorded");
    let trace = &document["trace"];
    assert_eq!(trace["delivery"], "present");
    assert_eq!(trace["status"], Value::Null);
    assert_eq!(
        (&trace["spans"], &trace["verified"]),
        (&json!(2), &json!(true))
    );
    let url = replay(langfuse.url(), &recording(), &["-o", "url"]);
    url.code(0)
        .stdout(&format!("{}\n", trace["url"].as_str().unwrap()));
    assert_eq!(langfuse.exports().len(), 1);
}

#[test]
fn only_missing_spans_are_sent() {
    let memory = Memory::default();
    let partly = Scripted::start({
        let memory = memory.clone();
        move |request, _| match request.path.as_str() {
            TRACES => {
                memory.take_one(request);
                Reply::json(200, &json!({}))
            }
            _ => memory.answer(request),
        }
    });
    replay(partly.url(), &recording(), &[]).code(0);
    assert_eq!(memory.counts(TRACE), [1]);
    let ended = replay(healthy(&memory).url(), &recording(), &["-o", "json"]);
    assert_eq!(ended.code(0).json()["trace"]["delivery"], "accepted");
    assert_eq!(memory.counts(TRACE), [1, 1]);
}

#[test]
fn again_sends_what_langfuse_has() {
    let memory = Memory::default();
    let langfuse = healthy(&memory);
    replay(langfuse.url(), &recording(), &[]).code(0);
    let ended = replay(langfuse.url(), &recording(), &["--again", "-o", "json"]);
    assert_eq!(ended.code(0).json()["trace"]["delivery"], "accepted");
    assert_eq!(memory.counts(TRACE), [2, 2]);
    assert_eq!(
        langfuse
            .requests()
            .iter()
            .filter(|request| asks(request))
            .count(),
        1
    );
}

#[test]
fn each_recording_of_a_file_is_asked_for() {
    let memory = Memory::default();
    let langfuse = healthy(&memory);
    let mut other = recording();
    other["trace"]["id"] = "22222222222222222222222222222222".into();
    replay(langfuse.url(), &recording(), &[]).code(0);
    let ended = Langspan::new(&["replay", "-", "--json"])
        .langfuse_at(langfuse.url())
        .stdin(format!("{}\n{other}\n", recording()))
        .run();
    let lines = ended.code(0).stdout.lines();
    let documents = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let states: Vec<Value> = documents
        .map(|document| document["trace"]["delivery"].clone())
        .collect();
    assert_eq!(states, ["present", "accepted"]);
}

#[test]
fn a_trace_with_a_new_id_is_not_asked_for() {
    let memory = Memory::default();
    let langfuse = healthy(&memory);
    replay(langfuse.url(), &without_an_id(), &[]).code(0);
    assert!(!langfuse.requests().iter().any(asks));
    for _ in 0..2 {
        replay(langfuse.url(), &without_an_id(), &["--trace-seed", "s"]).code(0);
    }
    assert!(memory.all_counts().values().all(|spans| spans == &[1, 1]));
}

#[test]
fn a_recording_made_just_now_is_found_once_it_can_be_read() {
    let sandbox = Arc::new(Sandbox::start_with(&["--visible-after", "1500"]));
    let langfuse = Scripted::in_front_of(&sandbox, |_, _| None);
    let model = Scripted::model("hi");
    let chat = Langspan::new(&["chat", "--no-stdin", "--record", "calls.jsonl", "Hello"]);
    let ended = chat.model_at(model.url()).langfuse_at(langfuse.url()).run();
    ended.code(0);
    let again = Langspan::new(&["replay", "calls.jsonl"]).langfuse_at(langfuse.url());
    again.after(&ended).run().code(0).stderr_has("already");
    assert_eq!(langfuse.exports().len(), 1);
}

#[test]
fn a_destination_that_cannot_be_asked_gets_everything_with_a_warning() {
    const WARNING: &str = "cannot be asked for earlier copies";
    let memory = Memory::default();
    let langfuse = healthy(&memory);
    let collector = Scripted::always(Reply::json(200, &json!({})));
    let traces = format!("{}/v1/traces", collector.url());
    let through = ["--otlp-endpoint", traces.as_str()];
    for options in [&through[..], &[]] {
        let call = |further: &[&str]| {
            let call = Langspan::new(&[&["replay", "-"], options, further].concat());
            let call = if options.is_empty() {
                call.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
            } else {
                call.langfuse_at(langfuse.url())
            };
            let two = format!("{}\n{}\n", recording(), recording());
            call.stdin(two).run()
        };
        let before = collector.count();
        let ended = call(&[]);
        ended.code(0).stderr_has(WARNING);
        assert_eq!(ended.stderr.matches(WARNING).count(), 1, "{options:?}");
        assert_eq!(collector.count(), before + 2, "{options:?}");
        call(&["--again"]).code(0).stderr_lacks(WARNING);
        call(&["--dry-run"]).code(0).stderr_lacks(WARNING);
        assert_eq!(collector.count(), before + 4, "{options:?}");
    }
    assert!(!langfuse.requests().iter().any(asks));
}

#[test]
fn a_recording_waits_in_the_outbox_while_langfuse_cannot_be_asked() {
    let replies: [Case; 5] = [
        ("No reading.", || {
            Reply::json(403, &json!({"message": "No reading."}))
        }),
        ("500", || Reply::json(500, &json!({}))),
        ("404", || {
            Reply::Answer(404, "text/html", "<html></html>".to_owned())
        }),
        ("answered without a list", || {
            Reply::json(200, &json!({"ok": true}))
        }),
        ("no answer", || Reply::Close),
    ];
    std::thread::scope(|scope| {
        for (words, reply) in replies {
            scope.spawn(move || {
                let memory = Memory::default();
                let langfuse = healthy(&memory);
                replay(langfuse.url(), &recording(), &[]).code(0);
                let mute = Scripted::start({
                    let memory = memory.clone();
                    move |request, _| {
                        if asks(request) {
                            reply()
                        } else {
                            memory.answer(request)
                        }
                    }
                });
                let options = ["--export-timeout", "2"];
                let ended = replay(mute.url(), &recording(), &options);
                ended.code(5).stdout("Recorded\n").stderr_has(words);
                ended.stderr_has("the trace was not sent: Langfuse did not say");
                assert!(mute.exports().is_empty(), "{words}");
                assert_eq!(ended.kept().len(), 1);
                let resend = Langspan::new(&["resend"]).langfuse_at(langfuse.url());
                assert_eq!(resend.after(&ended).run().code(0).outbox_files(), [""; 0]);
                assert_eq!(memory.counts(TRACE), [1, 1], "{words}");
            });
        }
    });
}

#[test]
fn a_langfuse_that_cannot_be_reached_is_named() {
    let url = dead_url();
    let options = ["--export-timeout", "2", "-o", "json"];
    let ended = replay(&url, &recording(), &options);
    let document = ended.code(5).json();
    assert_eq!(document["trace"]["delivery"], "spooled");
    assert_eq!(document["error"]["retryable"], true);
    ended.stderr_has(&format!("no answer from {url}"));
    ended.stderr_has("is the server running and reachable?");
}
