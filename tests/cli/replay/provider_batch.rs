//! `replay --batch-input IN --batch-output OUT`: the files of a provider's Batch API become one trace for each output.

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::harness::{
    Ended, Langspan, OBSERVATIONS, Reply, Scripted, TRACES, forward, wait_until,
};
use crate::support::memory::Memory;
use crate::support::otlp::{attribute, attribute_json, hex, traces_at};
use crate::support::schema::assert_described;
use crate::support::stand_in::Sandbox;
use crate::support::untouched::Untouched;

const FILES: [&str; 4] = ["--batch-input", "in.jsonl", "--batch-output", "out.jsonl"];
const BATCH: &str = r#"{"id":"batch_abc","object":"batch","endpoint":"/v1/chat/completions","status":"completed","input_file_id":"file-1","created_at":1759999000,"in_progress_at":1760000000,"expires_at":1760086400,"finalizing_at":1760003000,"completed_at":1760003600,"request_counts":{"total":3,"completed":2,"failed":1}}"#;
/// When the answers of [`answered`] were made.
const CREATED: i64 = 1_760_001_000;

/// A request of a batch.
fn asked(id: &str) -> String {
    json!({
        "custom_id": id, "method": "POST", "url": "/v1/chat/completions",
        "body": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": format!("What is {id}?")}], "max_tokens": 9},
    })
    .to_string()
}

/// Its output.
fn answered(id: &str) -> String {
    json!({
        "id": format!("batch_req_{id}"), "custom_id": id,
        "response": {"status_code": 200, "request_id": "r", "body": {
            "id": format!("chatcmpl-{id}"), "object": "chat.completion", "created": CREATED, "model": "gpt-4o-mini",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": format!("It is {id}.")}, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100,
                "prompt_tokens_details": {"cached_tokens": 400},
            },
        }},
        "error": null,
    })
    .to_string()
}

fn refused(id: &str) -> String {
    json!({
        "id": format!("batch_req_{id}"), "custom_id": id,
        "response": {"status_code": 400, "request_id": "r", "body": {
            "error": {"message": "Invalid image.", "type": "invalid_request_error", "code": null},
        }},
        "error": null,
    })
    .to_string()
}

fn expired(id: &str) -> String {
    json!({
        "id": format!("batch_req_{id}"), "custom_id": id, "response": null,
        "error": {"code": "batch_expired", "message": "It could not be executed in time."},
    })
    .to_string()
}

fn lines(lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().map(|line| line + "\n").collect()
}

fn names(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("q{number}"))
}

fn trace_id(seed: &str) -> String {
    hex(&Sha256::digest(seed)[..16])
}

/// A call with these requests and outputs in its home.
fn replay(options: &[&str], requests: &str, outputs: &str, url: &str) -> Langspan {
    let call = Langspan::new(&[&["replay"], &FILES[..], options].concat()).langfuse_at(url);
    call.file("in.jsonl", requests);
    call.file("out.jsonl", outputs);
    call
}

/// A Langfuse that counts how often each span came.
fn counting(memory: &Memory) -> Scripted {
    let memory = memory.clone();
    Scripted::start(move |request, _| memory.answer(request))
}

/// Asserts that both spans of each of these traces came once, and nothing else.
#[track_caller]
fn assert_once(memory: &Memory, ids: impl IntoIterator<Item = String>) {
    let mut all = memory.all_counts();
    for id in ids {
        let counts = all
            .remove(&trace_id(&format!("batch_req_{id}")))
            .unwrap_or_default();
        assert_eq!(counts, [1, 1], "{id}");
    }
    assert!(all.is_empty(), "{all:?}");
}

#[test]
fn each_output_becomes_a_trace_with_the_times_of_the_batch_and_half_the_price() {
    let sandbox = Arc::new(Sandbox::start());
    let langfuse = Scripted::before(&sandbox, |sandbox, request, _| forward(sandbox, request));
    let options = [
        "--batch-object",
        "batch.json",
        "-S",
        "s1",
        "-t",
        "night",
        "--verify",
    ];
    // The order of the outputs is another.
    let outputs = lines([answered("b"), answered("a")]);
    let call = replay(
        &options,
        &lines([asked("a"), asked("b")]),
        &outputs,
        langfuse.url(),
    );
    call.file("batch.json", BATCH);
    let ended = call.run();
    ended
        .code(0)
        .stdout("accepted  out.jsonl  2 traces, 4 spans\n");

    let traces = traces_at(&langfuse);
    let trace = traces
        .iter()
        .find(|trace| trace.id() == trace_id("batch_req_a"))
        .unwrap();
    let (parent, generation) = (&trace.parent, &trace.generation);
    assert_eq!(generation.name, "chat gpt-4o-mini");
    assert_eq!(generation.start_time_unix_nano, 1_760_000_000_000_000_000);
    assert_eq!(generation.end_time_unix_nano, 1_760_003_600_000_000_000);
    assert_eq!(parent.start_time_unix_nano, 1_759_999_999_999_000_000);
    assert_eq!(attribute(parent, "input.value").unwrap(), "What is a?");
    assert_eq!(attribute(parent, "output.value").unwrap(), "It is a.");
    for span in trace.spans() {
        let metadata = |key: &str| attribute(span, &format!("langfuse.trace.metadata.{key}"));
        assert_eq!(metadata("batch").unwrap(), "true");
        assert_eq!(metadata("batch_id").unwrap(), "batch_abc");
        assert_eq!(metadata("custom_id").unwrap(), "a");
        assert_eq!(attribute(span, "langfuse.session.id").unwrap(), "s1");
        assert_eq!(attribute(span, "langfuse.tags").unwrap(), "[night]");
    }
    // 600 × $0.15 + 400 × $0.075 + 100 × $0.60, a million tokens each, and half of it.
    assert_eq!(
        attribute_json(generation, "langfuse.observation.cost_details"),
        json!({"input": 0.000_045, "input_cached_tokens": 0.000_015, "output": 0.000_03, "total": 0.000_09})
    );
    assert_eq!(
        attribute_json(generation, "langfuse.observation.usage_details"),
        json!({"input": 600, "input_cached_tokens": 400, "output": 100, "total": 1100})
    );
    let rows = sandbox.observations(&trace_id("batch_req_a"));
    assert_eq!(rows.len(), 2);
}

#[test]
fn a_second_run_sends_nothing_and_a_lost_ledger_asks_langfuse() {
    let memory = Memory::default();
    let langfuse = counting(&memory);
    let requests = lines(names(300).map(|name| asked(&name)));
    let outputs = lines(names(300).map(|name| answered(&name)));
    let call = replay(&[], &requests, &outputs, langfuse.url());
    call.run()
        .code(0)
        .stdout("accepted  out.jsonl  300 traces, 600 spans\n");
    let asked = langfuse.requests_to(OBSERVATIONS).len();
    assert_eq!(asked, 300, "Langfuse is asked before anything is sent");
    call.run()
        .code(0)
        .stdout("accepted  out.jsonl  0 traces, 0 spans, 300 sent before\n");
    assert_eq!(langfuse.requests_to(OBSERVATIONS).len(), asked);
    fs::remove_file(call.home().join("out.jsonl.sent")).unwrap();
    call.run()
        .code(0)
        .stdout("accepted  out.jsonl  0 traces, 0 spans, 300 in Langfuse already\n");
    assert_once(&memory, names(300));
}

#[test]
fn without_a_batch_object_the_times_are_those_of_the_answers() {
    let langfuse = counting(&Memory::default());
    replay(
        &[],
        &lines([asked("a")]),
        &lines([answered("a")]),
        langfuse.url(),
    )
    .run()
    .code(0);
    let trace = &traces_at(&langfuse)[0];
    let nanos = u64::try_from(CREATED).unwrap() * 1_000_000_000;
    let span = &trace.generation;
    assert_eq!(
        (span.start_time_unix_nano, span.end_time_unix_nano),
        (nanos, nanos)
    );
    assert_eq!(trace.parent.start_time_unix_nano, nanos - 1_000_000);
    // Without a price table, no cost is stated.
    assert_eq!(attribute(span, "langfuse.observation.cost_details"), None);
}

#[test]
fn failed_lines_become_error_traces() {
    let sandbox = Arc::new(Sandbox::start());
    let langfuse = Scripted::before(&sandbox, |sandbox, request, _| forward(sandbox, request));
    let requests = lines(["a", "b", "c"].map(asked));
    let options = [
        "--batch-output",
        "errors.jsonl",
        "--batch-object",
        "batch.json",
    ];
    let call = replay(&options, &requests, &lines([answered("a")]), langfuse.url());
    call.file("errors.jsonl", lines([refused("b"), expired("c")]));
    call.file("batch.json", BATCH);
    let ended = call.run();
    ended.code(0).stdout(
        "accepted  out.jsonl  1 trace, 2 spans\naccepted  errors.jsonl  2 traces (2 failed calls), 4 spans\n",
    );
    for (id, message) in [
        (
            "b",
            "answered 400 Bad Request: invalid_request_error: Invalid image.",
        ),
        ("c", "batch_expired: It could not be executed in time."),
    ] {
        for row in sandbox.observations(&trace_id(&format!("batch_req_{id}"))) {
            assert_eq!(
                (&row["level"], &row["statusMessage"]),
                (&json!("ERROR"), &json!(message))
            );
        }
    }
    let traces = traces_at(&langfuse);
    let failed = traces
        .iter()
        .find(|trace| trace.id() == trace_id("batch_req_b"))
        .unwrap();
    assert_eq!(
        attribute_json(&failed.generation, "langfuse.observation.usage_details"),
        json!({"input": 0, "output": 0, "total": 0})
    );
    assert!(call.home().join("errors.jsonl.sent").exists());
}

#[test]
fn a_line_without_a_time_is_2_and_nothing_is_sent() {
    let untouched = Untouched::start();
    let requests = lines(["a", "b"].map(asked));
    let call = replay(
        &[],
        &requests,
        &lines([answered("a"), expired("b")]),
        untouched.url(),
    );
    call.run()
        .code(2)
        .stderr_has("out.jsonl, line 2: nothing says when")
        .stderr_has("--batch-object");
    let mut nameless: Value = serde_json::from_str(&answered("a")).unwrap();
    nameless.as_object_mut().unwrap().remove("id");
    let call = replay(&[], &requests, &nameless.to_string(), untouched.url());
    call.run().code(2).stderr_has("there is no `id`");
    assert!(!call.home().join("out.jsonl.sent").exists());
    untouched.assert_untouched();
}

#[test]
fn an_output_without_an_id_takes_that_of_the_batch_and_its_custom_id() {
    let langfuse = counting(&Memory::default());
    let mut nameless: Value = serde_json::from_str(&answered("a")).unwrap();
    nameless.as_object_mut().unwrap().remove("id");
    let options = ["--batch-object", "batch.json"];
    let call = replay(
        &options,
        &lines([asked("a")]),
        &nameless.to_string(),
        langfuse.url(),
    );
    call.file("batch.json", BATCH);
    call.run().code(0);
    assert_eq!(traces_at(&langfuse)[0].id(), trace_id("batch_abc/a"));
}

#[test]
fn lines_without_a_partner_are_named_and_the_others_arrive() {
    let memory = Memory::default();
    let langfuse = counting(&memory);
    let requests = lines(["a", "b", "c"].map(asked));
    let outputs = lines(["x", "b"].map(answered));
    let call = replay(&["-o", "json"], &requests, &outputs, langfuse.url());
    let ended = call.run();
    ended
        .code(8)
        .stderr_has("2 input lines have no output: in.jsonl, line 1 (`a`), in.jsonl, line 3 (`c`)")
        .stderr_has("1 output line has no input: out.jsonl, line 1 (`x`)");
    let document = ended.json();
    assert_described(&document, "import");
    assert_eq!(document["ok"], false);
    assert_eq!(document["error"]["exit_code"], 8);
    assert_eq!(document["files"][0]["traces"], 1);
    assert_once(&memory, ["b".to_owned()]);
}

#[test]
fn a_dry_run_counts_the_spans_and_opens_no_socket() {
    let untouched = Untouched::start();
    let requests = lines(names(7).map(|name| asked(&name)));
    let outputs = lines(names(7).map(|name| answered(&name)));
    let call = replay(&["--dry-run"], &requests, &outputs, untouched.url());
    call.run()
        .code(0)
        .stdout("would send  out.jsonl  7 traces, 14 spans\n");
    assert!(!call.home().join("out.jsonl.sent").exists());
    let document = call.clone().arg("-o").arg("json").run().code(0).json();
    assert_described(&document, "import");
    assert_eq!(document["dry_run"], true);
    assert_eq!(document["files"][0]["spans"], 14);
    untouched.assert_untouched();
}

#[test]
fn wrong_files_and_options_are_2_or_6_and_nothing_is_sent() {
    let untouched = Untouched::start();
    let (request, output) = (lines([asked("a")]), lines([answered("a")]));
    let ended = |requests: &str, outputs: &str, options: &[&str]| {
        replay(options, requests, outputs, untouched.url()).run()
    };
    let twice = lines([asked("a"), asked("a")]);
    ended(&twice, &output, &[])
        .code(2)
        .stderr_has("two input lines have the custom_id `a`");
    ended("{\"messages\":[]}", &output, &[])
        .code(2)
        .stderr_has("in.jsonl, line 1: there is no `custom_id`");
    ended(&request, &request, &[])
        .code(2)
        .stderr_has("out.jsonl, line 1: expected `response`");
    ended(&request, "{", &[])
        .code(2)
        .stderr_has("out.jsonl, line 1: EOF");
    ended(&request, &output, &["--trace-seed", "x"])
        .code(2)
        .stderr_has("--trace-seed names one trace");
    ended(&request, &output, &["--send"]).code(2);
    ended(&request, &output, &["a.jsonl"]).code(2);
    ended(&request, &output, &["--batch-object", "in.jsonl"])
        .code(2)
        .stderr_has("in.jsonl: there is no time");
    ended(&request, &output, &["--batch-output", "none.jsonl"]).code(6);
    ended(&request, &output, &["--batch-output", "out.jsonl"])
        .code(2)
        .stderr_has("named twice");
    Langspan::new(&["replay"]).run().code(2);
    Langspan::new(&["replay", "--batch-input", "in.jsonl"])
        .run()
        .code(2)
        .stderr_has("--batch-output");
    let off =
        replay(&[], &request, &output, untouched.url()).env("LANGFUSE_TRACING_ENABLED", "false");
    off.run().code(3);
    untouched.assert_untouched();
}

fn refusing_once(memory: &Memory) -> Scripted {
    let memory = memory.clone();
    Scripted::start(move |request, count| match request.path.as_str() {
        TRACES if count == 0 => Reply::json(401, &json!({"message": "Invalid credentials."})),
        _ => memory.answer(request),
    })
}

#[test]
fn a_refusal_keeps_the_rest_for_the_same_command() {
    let memory = Memory::default();
    let langfuse = refusing_once(&memory);
    let requests = lines(names(400).map(|name| asked(&name)));
    let outputs = lines(names(400).map(|name| answered(&name)));
    let call = replay(&[], &requests, &outputs, langfuse.url());
    let ended = call.run();
    ended
        .code(5)
        .stdout("failed  out.jsonl  0 traces, 0 spans, 400 not accepted\n")
        .stderr_has("the spans stay in out.jsonl: run the same command again");
    assert!(ended.outbox_files().is_empty());
    call.run().code(0);
    assert_once(&memory, names(400));
    let memory = Memory::default();
    let call = replay(
        &["--best-effort"],
        &requests,
        &outputs,
        refusing_once(&memory).url(),
    );
    call.run().code(0).stderr_has("warning:");
}

#[test]
fn a_kill_in_the_middle_loses_and_doubles_nothing() {
    let memory = Memory::default();
    let known = memory.clone();
    // The second request arrives, in part, and is never answered.
    let langfuse = Scripted::start(move |request, count| {
        if request.path == TRACES && count == 1 {
            known.take_one(request);
            return Reply::Hang;
        }
        known.answer(request)
    });
    let requests = lines(names(600).map(|name| asked(&name)));
    let outputs = lines(names(600).map(|name| answered(&name)));
    let call = replay(&[], &requests, &outputs, langfuse.url());
    let mut child = call.spawn();
    wait_until("the second request is there", || {
        langfuse.exports().len() == 2
    });
    child.kill().unwrap();
    child.wait().unwrap();
    call.run().code(0);
    assert_once(&memory, names(600));
}

#[test]
fn nothing_is_sent_while_langfuse_does_not_say_what_it_has() {
    let langfuse = Scripted::start(|request, _| match request.path.split('?').next() {
        Some(TRACES) => Reply::json(200, &json!({})),
        _ => Reply::json(403, &json!({"message": "No reading."})),
    });
    let call = replay(
        &[],
        &lines([asked("a")]),
        &lines([answered("a")]),
        langfuse.url(),
    );
    call.run()
        .code(5)
        .stderr_has("out.jsonl, line 1 was not sent: Langfuse did not say");
    assert!(langfuse.exports().is_empty());
}

#[test]
fn a_backend_that_cannot_be_asked_gets_each_trace_once() {
    let backend = Scripted::always(Reply::json(200, &json!({})));
    let call = Langspan::new(&[&["replay"], &FILES[..]].concat())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url());
    call.file("in.jsonl", lines([asked("a"), asked("b")]));
    call.file("out.jsonl", lines([answered("a"), answered("b")]));
    let ended: Ended = call.run();
    ended
        .code(0)
        .stderr_has("cannot be asked for earlier copies");
    call.run()
        .code(0)
        .stdout("accepted  out.jsonl  0 traces, 0 spans, 2 sent before\n");
    assert_eq!(backend.count(), 2);
}

#[test]
fn the_trace_of_a_request_says_whose_it_is_and_secrets_are_redacted() {
    let langfuse = counting(&Memory::default());
    let mut request: Value = serde_json::from_str(&asked("a")).unwrap();
    request["trace"] =
        json!({"user": "u1", "tags": ["x"], "metadata": {"row": 7, "batch": "mine"}});
    let output = answered("a").replace("It is a.", "The number is 4711.");
    let options = ["--redact", "47\\d+", "-t", "given"];
    replay(&options, &request.to_string(), &output, langfuse.url())
        .run()
        .code(0);
    let generation = &traces_at(&langfuse)[0].generation;
    assert_eq!(attribute(generation, "langfuse.user.id").unwrap(), "u1");
    assert_eq!(attribute(generation, "langfuse.tags").unwrap(), "[given]");
    assert_eq!(
        attribute(generation, "langfuse.trace.metadata.row").unwrap(),
        "7"
    );
    assert_eq!(
        attribute(generation, "langfuse.trace.metadata.batch").unwrap(),
        "mine"
    );
    let answer = attribute(generation, "langfuse.observation.output").unwrap();
    assert!(!answer.contains("4711"), "{answer}");
}
