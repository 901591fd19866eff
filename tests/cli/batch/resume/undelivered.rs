//! Answered lines whose traces may not have arrived.

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde_json::{Value, json};

use super::{ACKS, OUT, RESUME, again, begun, cut_to_lines, resume, unacknowledged};
use crate::support::batch::output::trace_ids_in;
use crate::support::batch::servers::{answer, asked, assert_once, langfuse, line_of, model, once};
use crate::support::batch::{batch, prompts};
use crate::support::harness::{
    Langspan, OBSERVATIONS, Reply, Request, Scripted, TRACES, completion, wait_until,
};
use crate::support::memory::Memory;
use crate::support::otlp::{attributes, hex};
use crate::support::untouched::Untouched;

/// A span as it arrived, in a form that can be compared.
#[derive(Clone, Debug, PartialEq)]
struct Arrived {
    name: String,
    parent: String,
    kind: i32,
    times: (u64, u64),
    status: Option<(i32, String)>,
    attributes: BTreeMap<String, String>,
    resource: BTreeMap<String, String>,
    scope: String,
}

/// Every span that a server got, by trace id and span id; none may have come twice.
#[track_caller]
fn arrived(server: &Scripted) -> BTreeMap<(String, String), Arrived> {
    let mut found = BTreeMap::new();
    for request in server.exports() {
        let export = ExportTraceServiceRequest::decode(request.body.as_slice()).unwrap();
        for group in export.resource_spans {
            let resource = attributes(&group.resource.unwrap().attributes);
            for scoped in group.scope_spans {
                let scope = scoped.scope.unwrap();
                for span in scoped.spans {
                    let id = (hex(&span.trace_id), hex(&span.span_id));
                    let span = Arrived {
                        attributes: attributes(&span.attributes),
                        name: span.name,
                        parent: hex(&span.parent_span_id),
                        kind: span.kind,
                        times: (span.start_time_unix_nano, span.end_time_unix_nano),
                        status: span.status.map(|status| (status.code, status.message)),
                        resource: resource.clone(),
                        scope: format!("{} {}", scope.name, scope.version),
                    };
                    let earlier = found.insert(id, span);
                    assert!(earlier.is_none(), "a span came twice: {earlier:?}");
                }
            }
        }
    }
    found
}

/// What a model of many moods answers to a line; the second argument counts the earlier requests for it.
fn mood(line: u64, count: usize) -> Reply {
    let chunk = |delta: Value, finish: Option<&str>| {
        json!({
            "id": "chatcmpl-2", "object": "chat.completion.chunk", "created": 1, "model": "m-2",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        })
        .to_string()
    };
    let hel = chunk(json!({"role": "assistant", "content": "Hel"}), None);
    let lo = chunk(json!({"content": "lo"}), Some("stop"));
    match (line, count) {
        (2, _) => Reply::json(
            400,
            &json!({"error": {"message": "no such thing", "code": "bad"}}),
        ),
        (3, _) | (15, 0) => Reply::Close,
        (4, _) => {
            let usage = json!({"id": "chatcmpl-2", "object": "chat.completion.chunk", "created": 1,
                "model": "m-2", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}});
            Reply::events(&[&hel, &lo, &usage.to_string(), "[DONE]"])
        }
        (5, _) => {
            let mut body = completion("");
            body["choices"][0]["message"] = json!({
                "role": "assistant", "content": null,
                "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}],
            });
            body["choices"][0]["finish_reason"] = json!("tool_calls");
            body["service_tier"] = json!("flex");
            Reply::json(200, &body)
        }
        // The stream breaks off.
        (6, _) => Reply::events(&[&hel]),
        (7, 0) => Reply::json(500, &json!({"error": {"message": "try again"}})),
        (8, _) => Reply::Answer(502, "text/html", "<html>\n<b>Bad</b>\n</html>".to_owned()),
        (9, _) => Reply::json(200, &json!({"error": {"message": "not today"}})),
        // A gateway says what the call cost.
        (10, _) => Reply::With(
            200,
            vec![
                ("content-type", "application/json".to_owned()),
                ("x-litellm-response-cost", "0.0125".to_owned()),
            ],
            completion("dear").to_string(),
        ),
        // Over several lines, and in an order of its own.
        (11, _) => {
            let body = serde_json::to_string_pretty(&completion("two\nlines")).unwrap();
            Reply::Answer(200, "application/json", body)
        }
        (12, _) => Reply::Answer(400, "text/plain", "\"quoted\" and plain\n".to_owned()),
        (13, _) => Reply::Answer(200, "text/plain", "hello".to_owned()),
        (14, _) => Reply::Answer(429, "text/plain", String::new()),
        (15, _) => Reply::json(400, &json!({"error": {"message": "still no"}})),
        _ => answer(line),
    }
}

const MOODS: u64 = 16;

fn moods() -> String {
    let line = |line: u64| {
        let mut request = json!({
            "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": format!("line {line}")}],
            "temperature": 0.5,
        });
        if matches!(line, 4 | 6) {
            request["stream"] = json!(true);
        }
        if line == 5 {
            request["tools"] = json!([{"type": "function", "function": {"name": "f"}}]);
        }
        if line == 1 {
            request["trace"] = json!({"user": "u9", "tags": ["x"], "name": "n9", "metadata": {"k": 1}, "session": "s9"});
        }
        if line == 16 {
            request["custom_id"] = json!("c16");
        }
        format!("{request}\n")
    };
    (1..=MOODS).map(line).collect()
}

fn moody() -> Scripted {
    let counts: Mutex<BTreeMap<u64, usize>> = Mutex::default();
    Scripted::start(move |request, _| {
        let line = line_of(request);
        let count = {
            let mut counts = counts.lock().unwrap();
            let count = counts.entry(line).or_default();
            *count += 1;
            *count - 1
        };
        mood(line, count)
    })
}

#[test]
fn a_rebuilt_trace_equals_the_original() {
    let (model, original) = (moody(), langfuse(&Memory::default()));
    let given = [
        "--out",
        OUT,
        "--resume",
        "--run",
        "r",
        "--retries",
        "1",
        "-u",
        "u1",
        "-t",
        "t1",
    ];
    let given = [&given[..], &["--metadata", "a=b", "--trace-version", "v1"]].concat();
    let call = batch(&moods(), &model, &original, &given);
    call.run().code(8);
    let expected = arrived(&original);
    assert_eq!(expected.len() as u64, 2 * MOODS);
    let requests = model.requests().len();

    cut_to_lines(&call.home().join(ACKS), 1);
    let rebuilt = langfuse(&Memory::default());
    let arguments = [&["in.jsonl"][..], &given].concat();
    again(&call, model.url(), rebuilt.url(), &arguments)
        .run()
        .code(8);
    assert_eq!(model.requests().len(), requests);
    let found = arrived(&rebuilt);
    let ids: Vec<_> = found.keys().collect();
    assert_eq!(ids, expected.keys().collect::<Vec<_>>());
    for (id, expected) in &expected {
        assert_eq!(found[id], *expected, "{id:?}");
    }
}

#[test]
fn langfuse_is_queried_once_and_gets_only_missing_traces() {
    let (memory, model) = (Memory::default(), model());
    let call = unacknowledged(&memory, &model, 5);
    let ids = trace_ids_in(&call.home().join(OUT));
    // Of one trace a span has arrived, of another both.
    let partial = Memory::default();
    let both = rows_of(&memory, &ids[&2]).into_iter();
    let known: Vec<Value> = both
        .chain(rows_of(&memory, &ids[&4]).into_iter().take(1))
        .collect();
    let taken = partial.clone();
    let langfuse = Scripted::start(move |request, _| {
        if request.path.starts_with(OBSERVATIONS) {
            assert!(request.path.contains("sessionId=r"), "{}", request.path);
            return Reply::json(200, &json!({"data": known, "meta": {}}));
        }
        taken.answer(request)
    });
    resume(&call, &model, &langfuse, &["--run", "r"])
        .run()
        .code(0);
    assert_eq!(langfuse.requests_to(OBSERVATIONS).len(), 1);
    let counts = partial.all_counts();
    for (line, id) in &ids {
        let expected: Option<&[usize]> = match line {
            2 => None,
            4 => Some(&[1]),
            _ => Some(&[1, 1]),
        };
        assert_eq!(counts.get(id).map(Vec::as_slice), expected, "line {line}");
    }
    assert_eq!(asked(&model), once(1..=5));

    // All is acknowledged now.
    let silent = Untouched::start();
    resume(&call, &model, &langfuse, &[])
        .model_at(silent.url())
        .run()
        .code(0);
    assert_eq!(langfuse.requests_to(OBSERVATIONS).len(), 1);
    assert_eq!(partial.all_counts(), counts);
    silent.assert_untouched();
}

/// What a Langfuse says of a trace.
fn rows_of(memory: &Memory, trace: &str) -> Vec<Value> {
    let question = Request {
        method: "GET".to_owned(),
        path: format!("{OBSERVATIONS}?traceId={trace}"),
        headers: BTreeMap::new(),
        body: Vec::new(),
    };
    match memory.answer(&question) {
        Reply::Answer(_, _, body) => {
            let body: Value = serde_json::from_str(&body).unwrap();
            body["data"].as_array().unwrap().clone()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failed_query_leaves_the_lines_for_later() {
    let (memory, model) = (Memory::default(), model());
    let call = unacknowledged(&memory, &model, 3);
    let refusing = Scripted::start({
        let memory = memory.clone();
        move |request, _| match request.path.split('?').next().unwrap() {
            OBSERVATIONS | "/api/public/traces" => {
                Reply::json(403, &json!({"message": "Forbidden"}))
            }
            _ => memory.answer(request),
        }
    });
    // A line more, which is asked all the same.
    call.file("in.jsonl", prompts(4));
    resume(&call, &model, &refusing, &[])
        .run()
        .code(5)
        .stderr_has("403")
        .stderr_has("3 traces")
        .stderr_has("--resume");
    let ids = trace_ids_in(&call.home().join(OUT));
    assert_once(&memory, ids.values());
    assert_eq!(asked(&model), once(1..=4));

    let langfuse = langfuse(&memory);
    resume(&call, &model, &langfuse, &[]).run().code(0);
    assert_once(&memory, ids.values());
}

#[test]
fn absence_counts_only_when_a_trace_has_had_time_to_be_seen() {
    let (memory, model) = (Memory::default(), model());
    // The last export is taken, but neither answered nor readable before the kill.
    let (reached, has_reached) = channel();
    let reached = Mutex::new(reached);
    let taking = Scripted::start({
        let memory = memory.clone();
        move |request, _| {
            let reply = memory.answer(request);
            if request.path == TRACES {
                reached.lock().unwrap().send(()).unwrap();
                return Reply::Hang;
            }
            reply
        }
    });
    let call = begun(3, &model, &taking);
    let mut child = call.spawn();
    has_reached.recv().unwrap();
    child.kill().unwrap();
    child.wait_with_output().unwrap();
    let out = call.home().join(OUT);
    let ids = trace_ids_in(&out);
    // The answers had been written long before the trace was sent.
    let long_ago = SystemTime::now() - Duration::from_mins(10);
    File::options()
        .write(true)
        .open(&out)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();

    let begun = SystemTime::now();
    let late = Scripted::start({
        let memory = memory.clone();
        move |request, _| {
            let is_readable = begun.elapsed().unwrap() > Duration::from_millis(1500);
            let is_question = request.path.starts_with(OBSERVATIONS);
            if is_question && !is_readable {
                return Reply::json(200, &json!({"data": [], "meta": {}}));
            }
            memory.answer(request)
        }
    });
    resume(&call, &model, &late, &[])
        .run()
        .code(0)
        .stderr_has("looking for the traces of the earlier run");
    assert_once(&memory, ids.values());
}

/// A plain OTLP backend, or a collector before a Langfuse that has no trace.
fn behind(call: Langspan, backend: &Scripted, langfuse: Option<&Scripted>) -> Langspan {
    match langfuse {
        None => call.env("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url()),
        Some(langfuse) => call
            .langfuse_at(langfuse.url())
            .arg("--otlp-endpoint")
            .arg(backend.url()),
    }
}

/// Where the absence of spans proves nothing, only lines without a begun export are sent by themselves.
#[test]
fn without_proof_only_traces_that_were_never_under_way_are_sent() {
    const EXPORTS: usize = 4;
    const COUNT: usize = EXPORTS + 2;
    let langfuse = langfuse(&Memory::default());
    for langfuse in [None, Some(&langfuse)] {
        let seen = Arc::new(AtomicUsize::new(0));
        let backend = Scripted::start({
            let seen = Arc::clone(&seen);
            move |_, _| {
                seen.fetch_add(1, Ordering::SeqCst);
                Reply::Hang
            }
        });
        let model = Scripted::start(move |_, count| {
            wait_until("the trace of the line before is under way", || {
                seen.load(Ordering::SeqCst) >= count.min(EXPORTS)
            });
            answer(count as u64 + 1)
        });
        let arguments = |options: &[&str]| {
            let options = [
                &["batch", "in.jsonl", "-j", "1", "--run", "r"],
                &RESUME[..],
                options,
            ];
            Langspan::new(&options.concat()).model_at(model.url())
        };
        let call = behind(arguments(&["--export-timeout", "600"]), &backend, langfuse)
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "600000");
        call.file("in.jsonl", prompts(COUNT));
        let mut child = call.spawn();
        let out = call.home().join(OUT);
        wait_until("all lines are answered", || {
            fs::read_to_string(&out).is_ok_and(|text| text.lines().count() == COUNT)
        });
        child.kill().unwrap();
        child.wait().unwrap();

        let memory = Memory::default();
        let backend = Scripted::start({
            let memory = memory.clone();
            move |request, _| match memory.take_all(request) {
                Some(()) => Reply::json(200, &json!({})),
                None => Reply::json(400, &json!({})),
            }
        });
        let ids = trace_ids_in(&out);
        let (under_way, never): (Vec<_>, Vec<_>) =
            ids.iter().partition(|(line, _)| **line <= EXPORTS as u64);
        let again = || behind(arguments(&[]).beside(&call), &backend, langfuse);
        for _ in 0..2 {
            let ended = again().run();
            ended.code(5).stderr_has("langspan resend --again");
            assert_once(&memory, never.iter().map(|(_, id)| *id));
            assert!(under_way.iter().all(|(_, id)| memory.counts(id).is_empty()));
        }
        let resend = Langspan::new(&["resend", "--again"]).beside(&call);
        behind(resend, &backend, langfuse).run().code(0);
        assert_once(&memory, ids.values());
        again().run().code(0);
        assert_once(&memory, ids.values());
    }
}
