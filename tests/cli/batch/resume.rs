//! `--resume`: a run goes on after a kill, a failure or a signal. Nothing that was answered is asked again, nothing is
//! missing or twice, and every trace arrives once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde_json::{Value, json};

use crate::support::batch::runs::{
    answer, answers, asked, assert_once, batch, id_of, langfuse, line_of, model, once, output,
    prompt, prompts, text, trace_ids,
};
use crate::support::harness::{
    Ended, Langspan, OBSERVATIONS, Reply, Request, Scripted, TRACES, completion, files_below,
    wait_until,
};
use crate::support::memory::Memory;
use crate::support::otlp::{attributes, hex};
use crate::support::stand_in::Sandbox;
use crate::support::untouched::Untouched;

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

/// Cuts the end of a file off.
fn cut_by(path: &Path, bytes: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - bytes)
        .unwrap();
}

// What a kill leaves behind.

#[test]
fn half_a_last_line_of_the_output_is_repaired() {
    for name in ["out.jsonl", "out.jsonl.gz", "out.jsonl.zst"] {
        let (memory, model) = (Memory::default(), model());
        let langfuse = langfuse(&memory);
        let call = batch(
            &prompts(6),
            &model,
            &langfuse,
            &["--out", name, "--resume", "--run", "r", "-j", "1"],
        );
        call.run().code(0);
        let out = call.home().join(name);
        let whole = trace_ids(&out);
        cut_by(&out, 60);
        call.run().code(0);
        assert_eq!(trace_ids(&out), whole, "{name}");
        let asked = asked(&model);
        let again: Vec<u64> = (1..=6).filter(|line| asked[line] == 2).collect();
        // A packed file may have held several lines in the piece that was cut.
        assert_eq!(again.last(), Some(&6), "{name}: {asked:?}");
        assert!(asked.values().sum::<usize>() <= 8, "{name}: {asked:?}");
        if name == OUT {
            assert_eq!(again, [6]);
        }
    }
}

#[test]
fn half_a_last_line_of_the_acks_is_dropped() {
    let (memory, model) = (Memory::default(), model());
    let langfuse = langfuse(&memory);
    let call = batch(
        &prompts(6),
        &model,
        &langfuse,
        &[&RESUME[..], &["--run", "r"]].concat(),
    );
    call.run().code(0);
    let acks = call.home().join(ACKS);
    cut_by(&acks, 3);
    for _ in 0..2 {
        call.run().code(0);
        assert_eq!(asked(&model), once(1..=6));
        assert_once(&memory, trace_ids(&call.home().join(OUT)).values());
        let text = fs::read_to_string(&acks).unwrap();
        for line in text.lines() {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {text}"));
        }
    }
}

#[test]
fn acks_are_begun_before_the_first_request() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let home: Arc<Mutex<Option<PathBuf>>> = Arc::default();
    let model = Scripted::start({
        let (seen, home) = (Arc::clone(&seen), Arc::clone(&home));
        move |request, _| {
            let home = home.lock().unwrap().clone().unwrap();
            let acks = fs::read_to_string(home.join(ACKS)).unwrap_or_default();
            seen.lock().unwrap().push(acks);
            answer(line_of(request))
        }
    });
    let langfuse = langfuse(&Memory::default());
    let arguments = [
        "--out", OUT, "--run", "r", "-m", "m1", "--shard", "1/2", "-j", "1",
    ];
    let call = batch(&prompts(2), &model, &langfuse, &arguments);
    *home.lock().unwrap() = Some(call.home().to_owned());
    call.run().code(0);
    let first = seen.lock().unwrap()[0].clone();
    let first = first
        .lines()
        .next()
        .unwrap_or_else(|| panic!("the acks are empty"));
    let run: Value = serde_json::from_str(first).unwrap();
    assert_eq!(run["run"], "r");
    assert_eq!(run["model"], "m1");
    assert_eq!(run["shard"], "1/2");
}

#[test]
fn the_name_of_the_run_is_taken_from_the_acks() {
    let (memory, model) = (Memory::default(), model());
    let langfuse = langfuse(&memory);
    // Named by its file and the time, and named by hand.
    for further in [&[][..], &["--run", "nightly"]] {
        let call = batch(
            &prompts(4),
            &model,
            &langfuse,
            &[&["--out", OUT], further].concat(),
        );
        call.run().code(0);
        let out = call.home().join(OUT);
        let before = trace_ids(&out);
        cut_to_lines(&out, 2);
        let arguments = [&["in.jsonl"][..], &RESUME].concat();
        again(&call, model.url(), langfuse.url(), &arguments)
            .run()
            .code(0);
        assert_eq!(trace_ids(&out), before);
    }
}

/// Another call in the same home.
fn again(call: &Langspan, model: &str, langfuse: &str, arguments: &[&str]) -> Langspan {
    Langspan::new(&[&["batch"], arguments].concat())
        .model_at(model)
        .langfuse_at(langfuse)
        .beside(call)
}

#[test]
fn without_acks_the_name_must_be_said() {
    let (memory, model) = (Memory::default(), model());
    let langfuse = langfuse(&memory);
    let call = batch(
        &prompts(4),
        &model,
        &langfuse,
        &["--out", OUT, "--run", "r"],
    );
    call.run().code(0);
    let (out, acks) = (call.home().join(OUT), call.home().join(ACKS));
    fs::remove_file(&acks).unwrap();

    let silent = Untouched::start();
    let nameless = ["in.jsonl", "--out", OUT, "--resume"];
    again(&call, silent.url(), silent.url(), &nameless)
        .run()
        .code(2)
        .stderr_has(ACKS)
        .stderr_has("--run");
    let misnamed = [&nameless[..], &["--run", "other"]].concat();
    again(&call, silent.url(), silent.url(), &misnamed)
        .run()
        .code(2)
        .stderr_has("other");
    silent.assert_untouched();

    // That refusal must not have left a file that makes the right name look wrong.
    let named = [&nameless[..], &["--run", "r"]].concat();
    again(&call, model.url(), langfuse.url(), &named)
        .run()
        .code(0);
    assert_eq!(asked(&model), once(1..=4));
    assert_once(&memory, trace_ids(&out).values());
    assert!(acks.exists());
}

/// The share that the test below begins with.
const SAME: &[&str] = &["--shard", "1/1"];

#[test]
fn a_run_that_was_another_is_not_continued() {
    let (memory, model) = (Memory::default(), model());
    let langfuse = langfuse(&memory);
    let begun = ["--out", OUT, "--run", "r", "-m", "m1", "--shard", "1/1"];
    let call = batch(&prompts(4), &model, &langfuse, &begun);
    call.run().code(0);
    let of = |run: &'static str, model: &'static str, shard: &'static [&'static str]| {
        let given = [
            "in.jsonl", "--out", OUT, "--resume", "--run", run, "-m", model,
        ];
        [&given, shard].concat()
    };
    let silent = Untouched::start();
    let kept = || {
        let read = |name: &str| fs::read_to_string(call.home().join(name)).unwrap();
        (read(OUT), read(ACKS))
    };
    let before = kept();
    let refused = |arguments: &[&str], says: &[&str]| {
        let ended = again(&call, silent.url(), silent.url(), arguments).run();
        ended.code(2);
        for words in says {
            ended.stderr_has(words);
        }
        assert_eq!(kept(), before);
    };
    refused(&of("other", "m1", SAME), &["run", "r ", "other"]);
    refused(&of("r", "m2", SAME), &["model", "m1", "m2"]);
    refused(
        &of("r", "m1", &["--shard", "2/2"]),
        &["shard", "1/1", "2/2"],
    );
    refused(&of("r", "m1", &[]), &["shard", "1/1"]);
    let moved = &["--shard", "1/1", "-S", "B"];
    refused(&of("r", "m1", moved), &["session", "was r and is B now"]);

    let changed = prompts(4).replace("line 3", "line three");
    call.file("in.jsonl", changed);
    refused(&of("r", "m1", SAME), &["line 3"]);
    call.file("in.jsonl", format!("\n{}", prompts(4)));
    refused(&of("r", "m1", SAME), &["line"]);
    call.file("in.jsonl", prompts(3));
    refused(&of("r", "m1", SAME), &["1 line"]);
    silent.assert_untouched();

    // Appended lines are asked; so is what stands behind a last line that had no end.
    call.file("in.jsonl", prompts(6));
    again(&call, model.url(), langfuse.url(), &of("r", "m1", SAME))
        .run()
        .code(0);
    assert_eq!(asked(&model), once(1..=6));
    assert_once(&memory, trace_ids(&call.home().join(OUT)).values());
}

#[test]
fn a_foreign_file_is_not_touched() {
    let silent = Untouched::start();
    for content in [
        "a note\nwithout an end",
        "{\"a\":1}\n{\"b\":2}",
        "no line at all",
    ] {
        let call = Langspan::new(&["batch", "in.jsonl", "--out", OUT, "--resume", "--run", "r"])
            .model_at(silent.url())
            .langfuse_at(silent.url());
        call.file("in.jsonl", prompts(1));
        let out = call.file(OUT, content);
        call.run().code(2).stderr_has(OUT);
        assert_eq!(fs::read_to_string(out).unwrap(), content);
    }
    silent.assert_untouched();
}

#[test]
fn resume_needs_a_regular_file() {
    let silent = Untouched::start();
    for out in [&[][..], &["--out", "-"], &["--out", "/dev/null"]] {
        let call = Langspan::new(&[&["batch", "in.jsonl", "--resume"], out].concat())
            .model_at(silent.url())
            .langfuse_at(silent.url());
        call.file("in.jsonl", prompts(1));
        call.run().code(2).stderr_has("--out");
    }
    silent.assert_untouched();
}

#[test]
fn a_finished_run_asks_nothing() {
    let (memory, model) = (Memory::default(), failing_once(&[2]));
    let langfuse = langfuse(&memory);
    let call = batch(&prompts(3), &model, &langfuse, &["--out", OUT, "--resume"]);
    call.run().code(8);
    let before = text(&call.home().join(OUT));
    let requests = model.requests().len();
    for (allowed, code) in [("0", 8), ("1", 0), ("40%", 0), ("30%", 8)] {
        let resumed = [
            "in.jsonl",
            "--out",
            OUT,
            "--resume",
            "--allow-errors",
            allowed,
        ];
        again(&call, model.url(), langfuse.url(), &resumed)
            .run()
            .code(code);
        assert_eq!(model.requests().len(), requests);
        assert_eq!(text(&call.home().join(OUT)), before);
    }
    assert_once(&memory, trace_ids(&call.home().join(OUT)).values());
}

#[test]
fn stdin_can_be_continued() {
    let (memory, model) = (Memory::default(), model());
    let langfuse = langfuse(&memory);
    let call = Langspan::new(&["batch", "-", "--out", OUT, "--resume", "-j", "1"])
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    call.clone().stdin(prompts(3)).run().code(0);
    let out = call.home().join(OUT);
    cut_to_lines(&out, 2);
    call.clone().stdin(prompts(5)).run().code(0);
    let mut expected = once(1..=5);
    expected.insert(3, 2);
    assert_eq!(asked(&model), expected);
    assert_eq!(answers(&out).len(), 5);
    call.stdin(prompts(5).replace("line 1", "line one"))
        .run()
        .code(2)
        .stderr_has("line 1 of stdin");
}

// Answered, but not known to have arrived.

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
fn a_rebuilt_trace_is_the_one_that_was() {
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

#[test]
fn langfuse_is_asked_once_and_gets_what_is_missing() {
    let (memory, model) = (Memory::default(), model());
    let call = unacknowledged(&memory, &model, 5);
    let ids = trace_ids(&call.home().join(OUT));
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
    let arguments = [&["in.jsonl"][..], &RESUME, &["--run", "r"]].concat();
    again(&call, model.url(), langfuse.url(), &arguments)
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
    let done = again(&call, silent.url(), langfuse.url(), &arguments).run();
    done.code(0);
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
fn a_question_that_fails_leaves_the_lines_for_later() {
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
    let arguments = [&["in.jsonl"][..], &RESUME].concat();
    again(&call, model.url(), refusing.url(), &arguments)
        .run()
        .code(5)
        .stderr_has("403")
        .stderr_has("3 traces")
        .stderr_has("--resume");
    let ids = trace_ids(&call.home().join(OUT));
    assert_once(&memory, ids.values());
    assert_eq!(asked(&model), once(1..=4));

    let langfuse = langfuse(&memory);
    again(&call, model.url(), langfuse.url(), &arguments)
        .run()
        .code(0);
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
    let call = batch(
        &prompts(3),
        &model,
        &taking,
        &[&RESUME[..], &["--run", "r"]].concat(),
    );
    let mut child = call.spawn();
    has_reached.recv().unwrap();
    child.kill().unwrap();
    child.wait_with_output().unwrap();
    let out = call.home().join(OUT);
    let ids = trace_ids(&out);
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
    let arguments = [&["in.jsonl"][..], &RESUME].concat();
    again(&call, model.url(), late.url(), &arguments)
        .run()
        .code(0);
    assert_once(&memory, ids.values());
}

// What waits in the outbox.

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

#[test]
fn a_spooled_trace_is_delivered_from_its_entry() {
    let (memory, model) = (Memory::default(), model());
    let (call, ended) = spooled(&model);
    let langfuse = langfuse(&memory);
    let arguments = [&["in.jsonl"][..], &RESUME].concat();
    for _ in 0..2 {
        again(&call, model.url(), langfuse.url(), &arguments)
            .run()
            .code(0);
        assert!(
            ended.outbox_files().is_empty(),
            "{:?}",
            ended.outbox_files()
        );
        assert_once(&memory, trace_ids(&call.home().join(OUT)).values());
        assert_eq!(asked(&model), once(1..=4));
    }
}

#[test]
fn a_spooled_trace_whose_entry_is_gone_was_delivered() {
    let (memory, model) = (Memory::default(), model());
    let (call, ended) = spooled(&model);
    let langfuse = langfuse(&memory);
    let resend = Langspan::new(&["resend"])
        .langfuse_at(langfuse.url())
        .after(&ended);
    resend.run().code(0);
    let exports = langfuse.exports().len();
    let arguments = [&["in.jsonl"][..], &RESUME].concat();
    again(&call, model.url(), langfuse.url(), &arguments)
        .run()
        .code(0);
    assert_eq!(langfuse.exports().len(), exports);
    assert_once(&memory, trace_ids(&call.home().join(OUT)).values());
}

#[test]
fn a_spooled_trace_of_another_project_stays() {
    let (memory, model) = (Memory::default(), model());
    let (call, ended) = spooled(&model);
    let waiting = ended.outbox_files();
    let langfuse = langfuse(&memory);
    let arguments = [&["in.jsonl"][..], &RESUME].concat();
    again(&call, model.url(), langfuse.url(), &arguments)
        .env("LANGFUSE_PUBLIC_KEY", "pk-lf-another")
        .run()
        .code(5)
        .stderr_has("pk-lf-sandbox");
    assert_eq!(ended.outbox_files(), waiting);
    assert!(memory.all_counts().is_empty());
}

#[test]
fn a_spooled_trace_is_not_forgotten_by_a_run_without_an_outbox() {
    let (memory, model) = (Memory::default(), model());
    let (call, ended) = spooled(&model);
    let waiting = ended.outbox_files();
    let langfuse = langfuse(&memory);
    let arguments = [&["in.jsonl"][..], &RESUME, &["--no-outbox"]].concat();
    again(&call, model.url(), langfuse.url(), &arguments)
        .run()
        .code(5)
        .stderr_has("4 traces");
    assert_eq!(ended.outbox_files(), waiting);
}

#[test]
fn traces_that_were_left_out_by_sampling_are_not_missed() {
    let (memory, model) = (Memory::default(), model());
    let langfuse = langfuse(&memory);
    let given = [&["in.jsonl"][..], &RESUME, &["--run", "r", "--sample", "0"]].concat();
    let call = batch(&prompts(3), &model, &langfuse, &given[1..]);
    call.run().code(0);
    cut_to_lines(&call.home().join(ACKS), 1);
    let mute = Scripted::always(Reply::json(403, &json!({"message": "Forbidden"})));
    again(&call, model.url(), mute.url(), &given).run().code(0);
    assert!(memory.all_counts().is_empty());
    assert_eq!(asked(&model), once(1..=3));
}

#[test]
fn a_spooled_trace_that_is_refused_again_stays() {
    let model = model();
    let (call, ended) = spooled(&model);
    let waiting = ended.outbox_files();
    let refusing = Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "Still no."})));
    let arguments = [&["in.jsonl"][..], &RESUME].concat();
    again(&call, model.url(), refusing.url(), &arguments)
        .run()
        .code(5)
        .stderr_has("Still no.");
    assert_eq!(ended.outbox_files(), waiting);
    assert_eq!(asked(&model), once(1..=4));
}

// Failed lines again.

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
    let found = answers(out);
    assert_eq!(found.len(), count);
    for answer in found.values() {
        assert_eq!(answer["response"]["status_code"], 200, "{answer}");
    }
}

#[test]
fn only_failed_lines_are_asked_again_each_with_a_trace_of_its_own() {
    for input in [
        prompts(5),
        prompts(5).replace("\"line 4\"", "\"line 4\",\"custom_id\":\"four\""),
    ] {
        let (memory, model) = (Memory::default(), failing(&[2, 4], 2));
        let langfuse = langfuse(&memory);
        let call = batch(&input, &model, &langfuse, &["--out", OUT, "--run", "r"]);
        call.run().code(8);
        let out = call.home().join(OUT);
        let first = trace_ids(&out);
        let retry = again(&call, model.url(), langfuse.url(), &RETRY);
        retry.run().code(8);
        let second = trace_ids(&out);
        retry.run().code(0);
        let third = trace_ids(&out);
        assert_answered(&out, 5);

        let mut expected = once(1..=5);
        expected.extend([(2, 3), (4, 3)]);
        assert_eq!(asked(&model), expected);
        let four = if input.contains("four") {
            "four"
        } else {
            "line-4"
        };
        let name = |line: u64| {
            if line == 4 {
                four.to_owned()
            } else {
                format!("line-{line}")
            }
        };
        for line in 1..=5 {
            let id = |redo: usize| match (line, redo) {
                (2 | 4, 1..) => id_of(&format!("r/{}/retry-{redo}", name(line))),
                _ => id_of(&format!("r/{}", name(line))),
            };
            assert_eq!(
                [&first[&line], &second[&line], &third[&line]],
                [&id(0), &id(1), &id(2)]
            );
        }
        let all: BTreeSet<&String> = first
            .values()
            .chain(second.values())
            .chain(third.values())
            .collect();
        assert_eq!(all.len(), 9);
        assert_once(&memory, all);
        // Nothing is left to be asked again.
        retry.run().code(0);
        assert_eq!(asked(&model), expected);
    }
}

#[test]
fn a_redo_that_was_killed_keeps_its_number() {
    let (memory, model) = (Memory::default(), failing_once(&[2]));
    let langfuse = langfuse(&memory);
    let call = batch(
        &prompts(3),
        &model,
        &langfuse,
        &["--out", OUT, "--run", "r"],
    );
    call.run().code(8);
    let hanging = Scripted::always(Reply::Hang);
    let mut child = again(&call, hanging.url(), langfuse.url(), &RETRY).spawn();
    wait_until("the failed line is asked again", || {
        !hanging.requests().is_empty()
    });
    child.kill().unwrap();
    child.wait_with_output().unwrap();
    let out = call.home().join(OUT);
    assert_eq!(output(&out).len(), 2, "the failed line is taken out");
    // The line is unanswered now: it is asked with or without being told to redo the failed ones.
    let arguments = &RETRY[..4];
    again(&call, model.url(), langfuse.url(), arguments)
        .run()
        .code(0);
    assert_answered(&out, 3);
    assert_eq!(trace_ids(&out)[&2], id_of("r/line-2/retry-1"));
    let mut all: Vec<String> = trace_ids(&out).into_values().collect();
    all.push(id_of("r/line-2"));
    assert_once(&memory, &all);
}

#[test]
fn a_kill_before_the_failed_lines_are_taken_out_changes_nothing() {
    for arguments in [&RETRY[..4], &RETRY] {
        let (memory, model) = (Memory::default(), failing_once(&[2]));
        let langfuse = langfuse(&memory);
        let call = batch(
            &prompts(3),
            &model,
            &langfuse,
            &["--out", OUT, "--run", "r"],
        );
        call.run().code(8);
        let (out, acks) = (call.home().join(OUT), call.home().join(ACKS));
        let before = fs::read(&out).unwrap();
        let hanging = Scripted::always(Reply::Hang);
        let mut child = again(&call, hanging.url(), langfuse.url(), &RETRY).spawn();
        wait_until("the failed line is asked again", || {
            !hanging.requests().is_empty()
        });
        child.kill().unwrap();
        child.wait_with_output().unwrap();
        // The redo was noted, but the output is what it was.
        assert!(fs::read_to_string(&acks).unwrap().contains("redone"));
        fs::write(&out, before).unwrap();

        let ended = again(&call, model.url(), langfuse.url(), arguments).run();
        let ids = trace_ids(&out);
        if arguments.contains(&"--retry-errors") {
            ended.code(0);
            assert_answered(&out, 3);
            assert_eq!(ids[&2], id_of("r/line-2/retry-1"));
        } else {
            ended.code(8);
            assert_eq!(ids[&2], id_of("r/line-2"));
        }
        let mut all: BTreeSet<String> = ids.into_values().collect();
        all.insert(id_of("r/line-2"));
        assert_once(&memory, &all);
    }
}

#[test]
fn the_trace_of_a_failure_arrives_although_its_line_is_asked_again() {
    let (memory, model) = (Memory::default(), failing_once(&[2]));
    let nowhere = langfuse(&Memory::default());
    let call = batch(&prompts(3), &model, &nowhere, &["--out", OUT, "--run", "r"]);
    call.run().code(8);
    cut_to_lines(&call.home().join(ACKS), 1);
    let langfuse = langfuse(&memory);
    // Killed while the line is under way again.
    let hanging = Scripted::always(Reply::Hang);
    let mut child = again(&call, hanging.url(), langfuse.url(), &RETRY).spawn();
    wait_until("the failed line is asked again", || {
        !hanging.requests().is_empty()
    });
    child.kill().unwrap();
    child.wait_with_output().unwrap();
    let ended = again(&call, model.url(), langfuse.url(), &RETRY).run();
    ended.code(0);
    Langspan::new(&["resend"])
        .langfuse_at(langfuse.url())
        .after(&ended)
        .run()
        .code(0);
    let mut all: Vec<String> = trace_ids(&call.home().join(OUT)).into_values().collect();
    all.push(id_of("r/line-2"));
    assert_once(&memory, &all);
}

#[test]
fn a_failed_line_is_not_asked_again_while_its_trace_may_be_missing() {
    let (memory, model) = (Memory::default(), failing_once(&[2]));
    let nowhere = langfuse(&Memory::default());
    let call = batch(&prompts(3), &model, &nowhere, &["--out", OUT, "--run", "r"]);
    call.run().code(8);
    cut_to_lines(&call.home().join(ACKS), 1);
    let before = answers(&call.home().join(OUT));
    let mute = Scripted::start({
        let memory = memory.clone();
        move |request, _| match request.path.split('?').next() {
            Some(OBSERVATIONS) => Reply::json(403, &json!({"message": "Forbidden"})),
            _ => memory.answer(request),
        }
    });
    again(&call, model.url(), mute.url(), &RETRY).run().code(5);
    assert_eq!(answers(&call.home().join(OUT)), before);
    assert_eq!(asked(&model), once(1..=3));

    let langfuse = langfuse(&memory);
    again(&call, model.url(), langfuse.url(), &RETRY)
        .run()
        .code(0);
    let mut all: Vec<String> = trace_ids(&call.home().join(OUT)).into_values().collect();
    all.push(id_of("r/line-2"));
    assert_once(&memory, &all);
}

#[test]
fn a_failed_line_is_not_asked_again_while_its_trace_waits_in_the_outbox() {
    let (memory, model) = (Memory::default(), failing_once(&[2]));
    let refusing = Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "No."})));
    let call = batch(
        &prompts(3),
        &model,
        &refusing,
        &["--out", OUT, "--run", "r"],
    );
    call.run().code(5);
    again(&call, model.url(), refusing.url(), &RETRY)
        .run()
        .code(5);
    assert_eq!(asked(&model), once(1..=3));

    let langfuse = langfuse(&memory);
    let ended = again(&call, model.url(), langfuse.url(), &RETRY).run();
    ended.code(0);
    assert_eq!(ended.outbox_files(), Vec::<String>::new());
    let mut all: Vec<String> = trace_ids(&call.home().join(OUT)).into_values().collect();
    all.push(id_of("r/line-2"));
    assert_once(&memory, &all);
}

#[test]
fn what_was_delivered_from_the_outbox_waits_there_no_more() {
    let (memory, model) = (Memory::default(), model());
    let refusing = Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "No."})));
    let call = batch(
        &prompts(3),
        &model,
        &refusing,
        &["--out", OUT, "--run", "r"],
    );
    call.run().code(5);
    let langfuse = langfuse(&memory);
    let arguments = [&["in.jsonl"], &RESUME[..]].concat();
    again(&call, model.url(), langfuse.url(), &arguments)
        .run()
        .code(0);
    let acks = fs::read_to_string(call.home().join(ACKS)).unwrap();
    let without = [&arguments[..], &["--no-outbox"]].concat();
    let ended = again(&call, model.url(), langfuse.url(), &without).run();
    ended.code(0).stderr_has("traces: 0 accepted");
    assert_eq!(fs::read_to_string(call.home().join(ACKS)).unwrap(), acks);
}

#[test]
fn retry_errors_needs_resume() {
    let call = Langspan::new(&["batch", "in.jsonl", "--out", OUT, "--retry-errors"]);
    call.file("in.jsonl", prompts(1));
    call.run().code(2).stderr_has("--resume");
}

// Two at once, and an interrupted one.

#[test]
fn two_runs_do_not_share_an_output() {
    let hanging = Scripted::always(Reply::Hang);
    let langfuse = langfuse(&Memory::default());
    let call = batch(
        &prompts(3),
        &hanging,
        &langfuse,
        &[&RESUME[..], &["--run", "r"]].concat(),
    );
    let mut first = call.spawn();
    wait_until("the first run asks", || !hanging.requests().is_empty());
    let before = fs::read(call.home().join(ACKS)).unwrap();
    let silent = Untouched::start();
    for other in ["--resume", "--overwrite", "--ordered"] {
        let arguments = ["in.jsonl", "--out", OUT, "--run", "r", other];
        again(&call, silent.url(), silent.url(), &arguments)
            .run()
            .code(6)
            .stderr_has("another run")
            .stderr_has(OUT);
        assert_eq!(fs::read(call.home().join(ACKS)).unwrap(), before);
    }
    silent.assert_untouched();
    first.kill().unwrap();
    first.wait_with_output().unwrap();
    // A killed run holds nothing.
    let model = model();
    let arguments = [&["in.jsonl"][..], &RESUME].concat();
    again(&call, model.url(), langfuse.url(), &arguments)
        .run()
        .code(0);
    assert_eq!(answers(&call.home().join(OUT)).len(), 3);
}

/// The command that stderr names behind `words`.
#[track_caller]
fn named(ended: &Ended, words: &str) -> String {
    let line = ended.stderr.lines().find_map(|line| line.split_once(words));
    let (_, command) = line.unwrap_or_else(|| panic!("stderr lacks {words:?}: {ended:#?}"));
    command.trim().to_owned()
}

/// Runs a command as a shell does, in the home of an earlier call.
fn shell(call: &Langspan, command: &str, model: &str, langfuse: &str) -> Ended {
    let binary = Path::new(env!("CARGO_BIN_EXE_langspan"));
    let path = format!("{}:/usr/bin:/bin", binary.parent().unwrap().display());
    let env = again(call, model, langfuse, &[]);
    let output = Command::new("sh")
        .args(["-c", command])
        .env_clear()
        .envs(
            env.command()
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .env("PATH", path)
        .current_dir(call.home())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    call.ended(&output)
}

#[test]
fn the_command_that_is_printed_after_a_signal_continues() {
    for (arguments, input) in [
        (
            &[
                "batch",
                "in put's.jsonl",
                "--out",
                OUT,
                "--overwrite",
                "-j",
                "2",
            ][..],
            "in put's.jsonl",
        ),
        (
            &["batch", "--out", OUT, "-j", "2", "--", "-in.jsonl"],
            "-in.jsonl",
        ),
    ] {
        let (memory, model) = (Memory::default(), model());
        let langfuse = langfuse(&memory);
        // Two lines are answered once the signal was sent; what follows never is.
        let gate = Arc::new(Mutex::new(()));
        let first = Scripted::start({
            let gate = Arc::clone(&gate);
            move |request, _| {
                drop(gate.lock().unwrap());
                answer(line_of(request))
            }
        });
        let held = gate.lock().unwrap();
        let call = Langspan::new(arguments)
            .model_at(first.url())
            .langfuse_at(langfuse.url());
        call.file(input, prompts(5));
        let mut child = call.spawn();
        wait_until("two lines are asked", || first.requests().len() == 2);
        let sent = Command::new("kill")
            .args(["-s", "INT", &child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        // The run says so once it has the signal.
        let mut said = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        while !said.contains("stopping") {
            assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
        }
        drop(held);
        stderr.read_to_string(&mut said).unwrap();
        let mut ended = call.ended(&child.wait_with_output().unwrap());
        ended.stderr = said;
        ended.code(130);
        assert_eq!(first.requests().len(), 2);
        let out = call.home().join(OUT);
        assert_once(&memory, trace_ids(&out).values());
        assert_eq!(answers(&out).len(), 2);

        let command = named(&ended, "continue with: ");
        shell(&call, &command, model.url(), langfuse.url()).code(0);
        assert_eq!(asked(&model), once(3..=5), "{command}");
        assert_eq!(answers(&out).len(), 5);
        assert_once(&memory, trace_ids(&out).values());
    }
}

#[test]
fn the_command_that_is_printed_after_failures_redoes_them() {
    let (memory, model) = (Memory::default(), failing_once(&[2]));
    let langfuse = langfuse(&memory);
    let call = batch(&prompts(3), &model, &langfuse, &["--out", OUT]);
    let ended = call.run();
    ended.code(8);
    let command = named(&ended, "then: ");
    shell(&call, &command, model.url(), langfuse.url()).code(0);
    assert_answered(&call.home().join(OUT), 3);
}

#[test]
fn a_run_that_is_written_over_begins_anew() {
    let (memory, model) = (Memory::default(), model());
    let langfuse = langfuse(&memory);
    let call = batch(
        &prompts(3),
        &model,
        &langfuse,
        &["--out", OUT, "--run", "r", "--overwrite"],
    );
    call.run().code(0);
    call.file("in.jsonl", prompt(1));
    call.run().code(0);
    assert_eq!(answers(&call.home().join(OUT)).len(), 1);
    let acks = fs::read_to_string(call.home().join(ACKS)).unwrap();
    assert_eq!(acks.lines().count(), 2, "{acks}");
}

#[test]
fn verify_is_not_content_with_other_traces_of_the_session() {
    let (memory, model) = (Memory::default(), failing_once(&[2]));
    let healthy = langfuse(&memory);
    let call = batch(&prompts(3), &model, &healthy, &["--out", OUT, "--run", "r"]);
    call.run().code(8);
    // The failure's trace stays; that of the redo does not arrive.
    let forgetful = Scripted::start({
        let memory = memory.clone();
        move |request, _| match request.path.as_str() {
            TRACES => Reply::json(200, &json!({})),
            _ => memory.answer(request),
        }
    });
    let verified = [&RETRY[..], &["--verify", "--wait", "1"]].concat();
    again(&call, model.url(), forgetful.url(), &verified)
        .run()
        .code(7)
        .stderr_has("3 of 4 traces");
    let arguments = [&RETRY[..4], &["--verify", "--wait", "1"]].concat();
    again(&call, model.url(), forgetful.url(), &arguments)
        .run()
        .code(7)
        .stderr_has("2 of 3 traces");

    // Nor do the traces of others who use the same session.
    let shared = ["in.jsonl", "--session", "r", "--verify", "--wait", "1"];
    again(&call, model.url(), forgetful.url(), &shared)
        .run()
        .code(7)
        .stderr_has("0 of 3 traces");
}

#[test]
fn verify_counts_the_traces_of_every_part_of_a_run() {
    let (model, sandbox) = (model(), Sandbox::start());
    let call = Langspan::new(&["batch", "in.jsonl", "--out", OUT, "--resume", "--verify"])
        .model_at(model.url())
        .langfuse_at(sandbox.url());
    call.file("in.jsonl", prompts(3));
    call.run().code(0);
    call.file("in.jsonl", prompts(5));
    let ended = call.clone().arg("-o").arg("json").run();
    ended.code(0);
    assert_eq!(ended.json()["traces"]["verified"], 5);
    for id in trace_ids(&call.home().join(OUT)).values() {
        assert_eq!(sandbox.observations(id).len(), 2);
    }
}

// What a run that is continued must not believe.

#[test]
fn failed_lines_behind_the_limit_stay_in_the_output() {
    let (memory, model) = (Memory::default(), failing(&[1, 2, 3, 4, 5], 9));
    let langfuse = langfuse(&memory);
    let call = batch(&prompts(5), &model, &langfuse, &RESUME);
    call.run().code(8);
    let limited = [&RETRY[..], &["--limit", "2"]].concat();
    again(&call, model.url(), langfuse.url(), &limited)
        .run()
        .code(8);
    assert_eq!(answers(&call.home().join(OUT)).len(), 5);
    let asked_twice: BTreeMap<u64, usize> = [(1, 2), (2, 2), (3, 1), (4, 1), (5, 1)].into();
    assert_eq!(asked(&model), asked_twice);
}

#[test]
fn acks_of_lines_that_are_not_in_the_output_are_not_believed() {
    let (memory, model) = (Memory::default(), model());
    let langfuse = langfuse(&memory);
    let call = batch(&prompts(3), &model, &langfuse, &RESUME);
    call.run().code(0);
    fs::remove_file(call.home().join(OUT)).unwrap();

    // Asked again, answered, but not delivered: nowhere, since there is no outbox either.
    let refusing = Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "No."})));
    let unkept = [&["in.jsonl"][..], &RESUME, &["--no-outbox"]].concat();
    again(&call, model.url(), refusing.url(), &unkept)
        .run()
        .code(5);
    let before = langfuse.exports().len();
    let arguments = [&["in.jsonl"][..], &RESUME].concat();
    again(&call, model.url(), langfuse.url(), &arguments)
        .run()
        .code(0);
    assert!(langfuse.exports().len() > before, "they are delivered now");
}

#[test]
fn a_run_without_tracing_leaves_what_is_undelivered_to_one_with_it() {
    let (memory, model) = (Memory::default(), model());
    let call = unacknowledged(&Memory::default(), &model, 3);
    let langfuse = langfuse(&memory);
    let arguments = [&["in.jsonl"][..], &RESUME].concat();
    again(&call, model.url(), langfuse.url(), &arguments)
        .env("LANGFUSE_TRACING_ENABLED", "false")
        .run()
        .code(0);
    assert!(memory.all_counts().is_empty());
    again(&call, model.url(), langfuse.url(), &arguments)
        .run()
        .code(0);
    assert_once(&memory, trace_ids(&call.home().join(OUT)).values());
}

#[test]
fn an_entry_of_the_outbox_that_was_not_noted_is_not_sent_beside_what_is_rebuilt() {
    let (memory, model) = (Memory::default(), model());
    let (call, ended) = spooled(&model);
    cut_to_lines(&call.home().join(ACKS), 1);
    let langfuse = langfuse(&memory);
    let arguments = [&["in.jsonl"][..], &RESUME].concat();
    again(&call, model.url(), langfuse.url(), &arguments)
        .run()
        .code(0);
    Langspan::new(&["resend"])
        .langfuse_at(langfuse.url())
        .after(&ended)
        .run()
        .code(0);
    assert_once(&memory, trace_ids(&call.home().join(OUT)).values());
}

#[test]
fn of_lines_that_share_a_trace_each_is_delivered_from_where_its_spans_are() {
    for in_entry in [2, 1] {
        let (memory, model) = (Memory::default(), model());
        let refusing = Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "No."})));
        let input = prompts(2).replace("{\"prompt", "{\"custom_id\":\"twice\",\"prompt");
        let arguments = [&RESUME[..], &["--run", "r"]].concat();
        let call = batch(&input, &model, &refusing, &arguments);
        let ended = call.run();
        ended.code(5);
        // A kill came before the entry was noted, and before the spans of all lines were in it.
        cut_to_lines(&call.home().join(ACKS), 1);
        let mut entries = files_below(&ended.outbox());
        entries.retain(|file| file.extension().is_some_and(|suffix| suffix == "jsonl"));
        // The lines went together or each by itself: one entry is made of what there is.
        let kept = ended.kept();
        let spans = |request: &Value| {
            let spans = &request["resourceSpans"][0]["scopeSpans"][0]["spans"];
            spans.as_array().unwrap().clone()
        };
        let mut spans: Vec<Value> = kept.iter().flat_map(spans).collect();
        assert_eq!(spans.len(), 4);
        spans.truncate(2 * in_entry);
        let mut request = kept[0].clone();
        request["resourceSpans"][0]["scopeSpans"][0]["spans"] = json!(spans);
        for entry in &entries[1..] {
            fs::remove_file(entry).unwrap();
        }

        let langfuse = langfuse(&memory);
        let arguments = [&["in.jsonl"][..], &RESUME].concat();
        again(&call, model.url(), langfuse.url(), &arguments)
            .run()
            .code(0);
        Langspan::new(&["resend"])
            .langfuse_at(langfuse.url())
            .after(&ended)
            .run()
            .code(0);
        assert_eq!(memory.counts(&id_of("r/twice")), [1; 4], "{in_entry}");
    }
}

#[test]
fn an_output_behind_a_link_is_rewritten_where_it_is() {
    let (memory, model) = (Memory::default(), failing_once(&[2]));
    let langfuse = langfuse(&memory);
    let call = batch(&prompts(3), &model, &langfuse, &RESUME);
    fs::create_dir(call.home().join("real")).unwrap();
    let real = call.home().join("real/out");
    File::create(&real).unwrap();
    std::os::unix::fs::symlink(&real, call.home().join(OUT)).unwrap();
    call.run().code(8);
    again(&call, model.url(), langfuse.url(), &RETRY)
        .run()
        .code(0);
    assert!(call.home().join(OUT).is_symlink());
    assert_answered(&real, 3);
}
