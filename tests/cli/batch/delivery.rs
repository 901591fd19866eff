//! What becomes of the traces of a batch: that each arrives once or waits, that nobody waits for them, and that a
//! Langfuse that is slow or full slows the run down.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::batch::gate::{
    Gate, lines, lines_in, numbers, prompts, send, settled, summary, trace_ids,
};
use crate::support::harness::{
    Ended, Langspan, OBSERVATIONS, Reply, Request, Scripted, TRACES, completion, files_below,
    forward, wait_until,
};
use crate::support::memory::Memory;
use crate::support::otlp::{Servers, traces_at};
use crate::support::stand_in::Sandbox;

/// A batch over `count` prompts that goes to these servers.
fn batch(servers: &Servers, count: usize, arguments: &[&str]) -> Langspan {
    let call = servers.call(&[&["batch", "in.jsonl"], arguments].concat());
    call.file("in.jsonl", prompts(count));
    call
}

/// A model that answers at once, before this Langfuse.
fn before(langfuse: Scripted) -> Servers {
    Servers {
        model: Scripted::model("hi"),
        langfuse,
    }
}

/// A model with long answers before this Langfuse: few traces fill an export.
fn talkative_before(langfuse: Scripted) -> Servers {
    let text = "x".repeat(30_000);
    let model = Scripted::start(move |_, _| Reply::json(200, &completion(&text)));
    Servers { model, langfuse }
}

/// More traces of long answers do not fit into one export.
const LONG_ONES: usize = (2 << 20) / 60_000;

/// The call with time for exports that are held up for long.
fn patient(call: Langspan) -> Langspan {
    call.env("OTEL_EXPORTER_OTLP_TIMEOUT", "600000")
        .arg("--export-timeout")
        .arg("600")
}

fn refusing() -> Scripted {
    Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "Invalid credentials."})))
}

fn accepted() -> Reply {
    Reply::json(200, &json!({}))
}

/// A Langfuse with a memory; `reply` may answer an export in its place, knowing how many came before.
fn remembering(
    memory: &Memory,
    reply: impl Fn(&Request, usize) -> Option<Reply> + Send + Sync + 'static,
) -> Scripted {
    let memory = memory.clone();
    Scripted::start(move |request, count| {
        let instead = (request.path == TRACES)
            .then(|| reply(request, count))
            .flatten();
        instead.unwrap_or_else(|| memory.answer(request))
    })
}

/// Asserts that the memory holds the two spans of each of these traces once, and nothing else.
#[track_caller]
fn assert_whole(memory: &Memory, traces: &[String]) {
    let counts = memory.all_counts();
    assert_eq!(counts.len(), traces.len());
    for trace in traces {
        assert_eq!(
            counts.get(trace).map(Vec::as_slice),
            Some(&[1, 1][..]),
            "{trace}"
        );
    }
}

/// The trace ids of the spans that wait in the outbox, once for each span, sorted.
fn waiting(ended: &Ended) -> Vec<String> {
    let kept = ended.kept();
    let groups = kept
        .iter()
        .flat_map(|export| export["resourceSpans"].as_array().unwrap());
    let scopes = groups.flat_map(|group| group["scopeSpans"].as_array().unwrap());
    let spans = scopes.flat_map(|scope| scope["spans"].as_array().unwrap());
    let mut ids: Vec<String> = spans
        .map(|span| span["traceId"].as_str().unwrap().to_owned())
        .collect();
    ids.sort_unstable();
    ids
}

/// How many traces wait in the outbox or are in the memory. What is cut off by a signal may be in both.
fn kept_or_arrived(ended: &Ended, memory: &Memory) -> usize {
    let mut traces: BTreeSet<String> = waiting(ended).into_iter().collect();
    traces.extend(memory.all_counts().into_keys());
    traces.len()
}

/// Each of them twice, sorted.
fn twice(ids: &[String]) -> Vec<String> {
    let mut twice = [ids, ids].concat();
    twice.sort_unstable();
    twice
}

fn out(ended: &Ended) -> Vec<Value> {
    lines_in(&ended.home().join("out.jsonl"))
}

#[test]
fn a_slow_langfuse_slows_the_run_down_and_nothing_is_dropped() {
    const COUNT: usize = 500;
    let (gate, memory) = (Gate::default(), Memory::default());
    let servers = talkative_before(remembering(&memory, {
        let gate = gate.clone();
        move |_, _| {
            gate.wait();
            None
        }
    }));
    let call = patient(batch(&servers, COUNT, &["-O", "out.jsonl", "-j", "8"]));
    let child = call.spawn();
    wait_until("the run is at work", || servers.model.count() > 3);
    let asked = settled(&servers.model);
    // Four exports are under way and one waits; behind it calls, and answers that are being written.
    assert!(asked <= 5 * LONG_ONES + 3 * 8, "{asked}");
    gate.open();
    let ended = call.ended(&child.wait_with_output().unwrap());
    ended.code(0);
    assert_eq!(servers.model.count(), COUNT);
    assert_whole(&memory, &trace_ids(&out(&ended)));
}

#[test]
fn traces_go_together_in_requests_of_at_most_512_spans() {
    const COUNT: usize = 600;
    let (gate, memory) = (Gate::default(), Memory::default());
    let servers = before(remembering(&memory, {
        let gate = gate.clone();
        move |_, _| {
            gate.wait();
            None
        }
    }));
    let call = patient(batch(&servers, COUNT, &["-O", "out.jsonl", "-j", "64"]));
    let child = call.spawn();
    wait_until("all is asked", || servers.model.count() == COUNT);
    gate.open();
    call.ended(&child.wait_with_output().unwrap()).code(0);
    // Four may have begun before many traces were there.
    let exports = servers.langfuse.exports().len();
    assert!(exports <= 4 + (2 * COUNT).div_ceil(512), "{exports}");
    let sizes = sizes(&servers.langfuse);
    assert_eq!(sizes.iter().sum::<usize>(), 2 * COUNT);
    assert!(sizes.iter().all(|size| *size <= 512), "{sizes:?}");
}

/// The spans of each export.
fn sizes(langfuse: &Scripted) -> Vec<usize> {
    use prost::Message as _;
    type Export = opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    let exports = langfuse.exports();
    exports
        .iter()
        .map(|request| {
            let export = Export::decode(request.body.as_slice()).unwrap();
            let groups = export.resource_spans.iter();
            groups
                .flat_map(|group| &group.scope_spans)
                .map(|scope| scope.spans.len())
                .sum()
        })
        .collect()
}

#[test]
fn traces_go_together_in_requests_of_at_most_two_mebibytes() {
    const COUNT: usize = 80;
    let (gate, memory) = (Gate::default(), Memory::default());
    let servers = talkative_before(remembering(&memory, {
        let gate = gate.clone();
        move |_, _| {
            gate.wait();
            None
        }
    }));
    // Tags are on both spans of a trace.
    let tag = "t".repeat(190);
    let mut call = patient(batch(&servers, COUNT, &["-O", "out.jsonl", "-j", "100"]));
    for number in 0..30 {
        call = call.arg("-t").arg(&format!("{number}{tag}"));
    }
    let child = call.spawn();
    wait_until("all is asked", || servers.model.count() == COUNT);
    gate.open();
    let ended = call.ended(&child.wait_with_output().unwrap());
    ended.code(0);
    let exports = servers.langfuse.exports();
    let bytes: Vec<usize> = exports.iter().map(|request| request.body.len()).collect();
    assert!(bytes.iter().all(|bytes| *bytes <= 2 << 20), "{bytes:?}");
    assert!(bytes.iter().sum::<usize>() > 4 << 20, "{bytes:?}");
    assert_whole(&memory, &trace_ids(&out(&ended)));
}

#[test]
fn an_output_line_does_not_wait_for_its_trace() {
    let gate = Gate::default();
    let langfuse = Scripted::langfuse({
        let gate = gate.clone();
        move |_, _| {
            gate.wait();
            accepted()
        }
    });
    let servers = before(langfuse);
    let call = patient(batch(&servers, 20, &["-j", "4"]));
    let mut child = call.spawn();
    let printed: Vec<String> = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .take(20)
        .map(Result::unwrap)
        .collect();
    // Nothing was accepted until now.
    gate.open();
    assert_eq!(numbers(&lines(&printed.join("\n"))).len(), 20);
    call.ended(&child.wait_with_output().unwrap()).code(0);
    assert_eq!(traces_at(&servers.langfuse).len(), 20);
}

#[test]
fn a_langfuse_that_says_nothing_at_all_holds_up_no_line() {
    let servers = before(Scripted::always(Reply::Hang));
    let ended = batch(&servers, 20, &["-j", "4", "--export-timeout", "0.5"]).run();
    ended.code(5);
    let lines = lines(&ended.stdout);
    assert_eq!(lines.len(), 20);
    // They may have arrived: whether they did is asked before they are sent again.
    assert_eq!(waiting(&ended), twice(&trace_ids(&lines)));
}

#[test]
fn exports_that_fail_now_and_then_leave_two_spans_a_line() {
    const COUNT: usize = 400;
    let memory = Memory::default();
    let servers = talkative_before(remembering(&memory, |_, count| {
        (count % 3 == 2).then(|| Reply::json(503, &json!({"message": "busy"})))
    }));
    let ended = batch(&servers, COUNT, &["-O", "out.jsonl"]).run();
    ended.code(0);
    assert!(servers.langfuse.exports().len() > COUNT / LONG_ONES);
    assert_whole(&memory, &trace_ids(&out(&ended)));
    assert!(ended.outbox_files().is_empty());
}

#[test]
fn when_langfuse_refuses_the_run_goes_on_and_every_trace_waits() {
    const COUNT: usize = 40;
    let servers = before(refusing());
    let call = batch(&servers, COUNT, &["--summary", "summary.json"]);
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
    assert_whole(&memory, &trace_ids(&answers));
}

#[test]
fn a_full_outbox_stops_the_run_which_is_continued_without_a_loss() {
    const COUNT: usize = 600;
    const MOST: u64 = 12_000_000;
    let servers = talkative_before(refusing());
    let call = batch(
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
    assert_whole(&memory, &trace_ids(&out(&ended)));
    assert!(ended.outbox_files().is_empty());
}

#[test]
fn without_an_outbox_refused_traces_are_lost_and_the_run_says_so() {
    let servers = before(refusing());
    let ended = batch(&servers, 20, &["--no-outbox", "--summary", "summary.json"]).run();
    ended.code(5).stderr_has("LOST").stderr_has("--no-outbox");
    assert_eq!(lines(&ended.stdout).len(), 20);
    assert!(!ended.outbox().exists());
    assert_eq!(summary(&ended)["traces"]["lost"], 20);
}

#[test]
fn best_effort_makes_a_delivery_that_fails_a_warning() {
    let servers = before(refusing());
    let ended = batch(&servers, 10, &["--best-effort"]).run();
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
    batch(&servers, 10, &["--best-effort"]).run().code(8);
}

#[test]
fn with_best_effort_a_full_outbox_leaves_no_line_unasked() {
    let servers = before(refusing());
    let call =
        batch(&servers, 500, &["--best-effort", "-j", "2"]).env("LANGSPAN_OUTBOX_MAX", "20000");
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

/// A model that fails every tenth prompt.
fn failing_now_and_then() -> Scripted {
    Scripted::start(|request, _| {
        let body = request.json();
        if body["messages"][0]["content"]
            .as_str()
            .unwrap()
            .ends_with('0')
        {
            Reply::json(400, &json!({"error": {"message": "no"}}))
        } else {
            Reply::json(200, &completion("hi"))
        }
    })
}

#[test]
fn of_a_sample_failures_are_always_traced() {
    const COUNT: usize = 200;
    for (rate, range) in [("0", 20..=20), ("0.5", 60..=160), ("1", 200..=200)] {
        let servers = Servers::with(failing_now_and_then());
        let call = batch(
            &servers,
            COUNT,
            &[
                "--sample",
                rate,
                "--allow-errors",
                "10%",
                "--run",
                "r",
                "--summary",
                "summary.json",
            ],
        );
        let ended = call.run();
        ended.code(0);
        let traced: BTreeSet<String> = traces_at(&servers.langfuse)
            .iter()
            .map(crate::support::otlp::Trace::id)
            .collect();
        assert!(range.contains(&traced.len()), "{rate}: {}", traced.len());
        let lines = lines(&ended.stdout);
        assert_eq!(lines.len(), COUNT);
        for line in &lines {
            let id = line["langspan"]["trace_id"].as_str().unwrap();
            let is_failed = line["response"]["status_code"] != 200;
            assert!(traced.contains(id) || !is_failed, "{line}");
            assert_eq!(
                line["langspan"]["trace_url"].is_string(),
                traced.contains(id),
                "{line}"
            );
        }
        let counts = &summary(&ended)["traces"];
        assert_eq!(counts["accepted"], traced.len());
        assert_eq!(counts["sampled_out"], COUNT - traced.len());
    }
}

#[test]
fn with_tracing_off_there_are_answers_and_no_traces() {
    for (name, value) in [
        ("LANGFUSE_TRACING_ENABLED", "false"),
        ("OTEL_SDK_DISABLED", "true"),
    ] {
        let servers = Servers::answering("hi");
        let ended = batch(&servers, 5, &["--summary", "summary.json"])
            .env(name, value)
            .run();
        ended.code(0);
        let lines = lines(&ended.stdout);
        assert_eq!(lines.len(), 5);
        for line in lines {
            assert_eq!(line["langspan"]["trace_url"], Value::Null);
        }
        assert_eq!(servers.langfuse.count(), 0);
        assert!(
            servers
                .asked()
                .iter()
                .all(|request| request.header("traceparent").is_empty())
        );
        assert_eq!(summary(&ended)["traces"]["accepted"], 0);
    }
}

#[test]
fn a_plain_otlp_backend_has_no_pages() {
    let (model, backend) = (Scripted::model("hi"), Scripted::always(accepted()));
    let call = |arguments: &[&str]| {
        let call = Langspan::new(&[&["batch", "in.jsonl"], arguments].concat())
            .model_at(model.url())
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url());
        call.file("in.jsonl", prompts(5));
        call
    };
    let ended = call(&["--summary", "summary.json"]).run();
    ended.code(0);
    for line in lines(&ended.stdout) {
        assert_eq!(line["langspan"]["trace_url"], Value::Null);
        assert_eq!(line["langspan"]["trace_id"].as_str().unwrap().len(), 32);
    }
    assert_eq!(summary(&ended)["session_url"], Value::Null);
    assert_eq!(backend.requests_to("/v1/traces").len(), backend.count());
    assert_eq!(traces_at(&backend).len(), 5);

    let before = model.count();
    call(&["--verify"]).run().code(3);
    assert_eq!(model.count(), before);
}

fn at_sandbox(sandbox: &Sandbox, langfuse: &str, count: usize, arguments: &[&str]) -> Langspan {
    let call = Langspan::new(&[&["batch", "in.jsonl"], arguments].concat())
        .at(sandbox)
        .langfuse_at(langfuse);
    call.file("in.jsonl", prompts(count));
    call
}

#[test]
fn verified_means_that_the_server_knows_every_trace() {
    for arguments in [&[][..], &["--langfuse", "v3"], &["--visible-after", "1500"]] {
        let sandbox = Sandbox::start_with(arguments);
        let call = at_sandbox(
            &sandbox,
            sandbox.url(),
            50,
            &[
                "--verify",
                "--wait",
                "30",
                "--summary",
                "summary.json",
                "-t",
                "nightly",
            ],
        );
        let ended = call.run();
        ended.code(0).stderr_has("50 accepted, 50 readable");
        assert_eq!(summary(&ended)["traces"]["verified"], 50, "{arguments:?}");
        let session = summary(&ended)["session_url"].as_str().unwrap().to_owned();
        assert!(
            session.starts_with(&format!("{}/project/sandbox/sessions/in-", sandbox.url())),
            "{session}"
        );
        ended.stderr_has(&session);
    }
}

#[test]
fn lines_of_one_custom_id_are_one_trace() {
    let sandbox = Sandbox::start();
    let call = at_sandbox(
        &sandbox,
        sandbox.url(),
        1,
        &["--verify", "--wait", "20", "--summary", "summary.json"],
    );
    call.file("in.jsonl", format!("{}{}", prompts(3), prompts(2)));
    let ended = call.run();
    ended.code(0);
    assert_eq!(summary(&ended)["traces"]["verified"], 3);
    let ids = trace_ids(&lines(&ended.stdout));
    assert_eq!(ids.len(), 5);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 3);
    let ids: BTreeSet<String> = ids.into_iter().collect();
    let spans = ids.iter().map(|id| sandbox.observations(id).len());
    assert_eq!(spans.sum::<usize>(), 10);
}

#[test]
fn a_langfuse_that_loses_accepted_traces_is_found_out() {
    let sandbox = Arc::new(Sandbox::start());
    let langfuse = Scripted::before(&sandbox, |sandbox, request, count| match count {
        0 => accepted(),
        _ => forward(sandbox, request),
    });
    let model = Scripted::model("hi");
    let call = at_sandbox(
        &sandbox,
        langfuse.url(),
        400,
        &[
            "--verify",
            "--wait",
            "8",
            "--summary",
            "summary.json",
            "-O",
            "out.jsonl",
        ],
    )
    .model_at(model.url());
    let ended = call.run();
    ended.code(7);
    let lost = sizes(&langfuse)[0] / 2;
    assert!((1..400).contains(&lost), "{lost}");
    ended.stderr_has(&format!("{} of 400 traces can be read", 400 - lost));
    let summary = summary(&ended);
    assert_eq!(summary["traces"]["accepted"], 400);
    assert_eq!(summary["error"]["kind"], "not_readable");
}

#[test]
fn a_langfuse_that_refuses_to_tell_is_7_with_its_words() {
    let sandbox = Arc::new(Sandbox::start());
    let langfuse = Scripted::in_front_of(&sandbox, |request, _| {
        let is_question = request.path.starts_with("/api/public/v2/metrics")
            || request.path.starts_with(OBSERVATIONS)
            || request.path.starts_with("/api/public/traces");
        is_question.then(|| Reply::json(403, &json!({"message": "Access denied."})))
    });
    let ended = at_sandbox(&sandbox, langfuse.url(), 3, &["--verify", "--wait", "20"]).run();
    ended.code(7).stderr_has("403").stderr_has("Access denied.");
    assert_eq!(lines(&ended.stdout).len(), 3);
}

#[test]
fn traces_that_cannot_be_counted_in_time_are_told() {
    for session in [&[][..], &["--session", "shared"]] {
        let memory = Memory::default();
        let known = memory.clone();
        // It counts one too few; the list that tells which has a second page, which never comes.
        let langfuse = Scripted::start(move |request, _| match known.answer(request) {
            _ if request.path.starts_with("/api/public/v2/metrics") => {
                Reply::json(200, &json!({"data": [{"uniq_traceId": 2}]}))
            }
            _ if request.path.contains("cursor=") => Reply::Hang,
            Reply::Answer(200, _, body) if request.path.starts_with(OBSERVATIONS) => {
                let mut page: Value = serde_json::from_str(&body).unwrap();
                page["data"].as_array_mut().unwrap().truncate(1);
                page["meta"] = json!({"cursor": "second"});
                Reply::json(200, &page)
            }
            reply => reply,
        });
        let call = batch(&before(langfuse), 3, &["--verify", "--wait", "0.5"]);
        let call = session.iter().fold(call, |call, word| call.arg(word));
        call.run()
            .code(7)
            .stderr_has("error: the traces could not be counted: 1 of 3 was found in time\nhint: ")
            .stderr_has("--wait");
    }
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
fn the_first_signal_lets_what_is_in_flight_end_and_delivers_it() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let (gate, memory) = (Gate::default(), Memory::default());
        let servers = Servers {
            model: answering_first(5, &gate),
            langfuse: remembering(&memory, |_, _| None),
        };
        let call = batch(
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
        assert_whole(&memory, &trace_ids(&lines_in(&path)));

        call.clone().arg("--resume").run().code(0);
        assert_eq!(servers.model.count(), 40);
        assert_eq!(numbers(&lines_in(&path)), (1..=40).collect::<Vec<_>>());
        assert_whole(&memory, &trace_ids(&lines_in(&path)));
    }
}

#[test]
fn the_second_signal_leaves_at_once_with_the_outbox_written() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let gate = Gate::default();
        let servers = Servers {
            model: answering_first(5, &gate),
            langfuse: Scripted::langfuse(|_, _| Reply::Hang),
        };
        let call = batch(&servers, 40, &["-j", "3", "-O", "out.jsonl", "--run", "r"]);
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
        assert_whole(&memory, &trace_ids(&out(&ended)));
        assert!(ended.outbox_files().is_empty());
    }
}

#[test]
fn a_signal_while_traces_are_counted_ends_the_wait() {
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
fn answers_that_wait_for_an_earlier_line_are_written_before_a_run_is_left() {
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
    let call = batch(
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
    assert_whole(&memory, &trace_ids(&out(&ended)));
}

#[test]
fn an_output_that_nobody_reads_does_not_keep_a_run_that_is_left() {
    let memory = Memory::default();
    let servers = talkative_before(remembering(&memory, |_, _| None));
    let call = batch(&servers, 600, &["-j", "4"]);
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
fn a_signal_ends_a_run_whose_input_says_nothing_more() {
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
