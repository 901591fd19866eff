//! How traces are grouped, and back pressure.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::{
    LONG_ONES, MOST_BYTES, MOST_EXPORTS, MOST_SPANS, accepted, before, remembering, sizes,
    talkative_before, twice, waiting,
};
use crate::support::batch::gate::{Gate, settled};
use crate::support::batch::output::{lines, numbers, out, trace_ids};
use crate::support::batch::servers::assert_once;
use crate::support::batch::{batch, batch_of, prompts};
use crate::support::harness::{
    Langspan, Reply, Scripted, TRACES, completion, files_below, wait_until,
};
use crate::support::memory::Memory;
use crate::support::otlp::traces_at;

/// The call with time for exports that are held up for long.
fn patient(call: Langspan) -> Langspan {
    call.env("OTEL_EXPORTER_OTLP_TIMEOUT", "600000")
        .arg("--export-timeout")
        .arg("600")
}

#[test]
fn a_slow_langfuse_slows_the_run_down_and_nothing_is_dropped() {
    const COUNT: usize = 500;
    const CALLS: usize = 8;
    let (gate, memory) = (Gate::default(), Memory::default());
    let servers = talkative_before(remembering(&memory, {
        let gate = gate.clone();
        move |_, _| {
            gate.wait();
            None
        }
    }));
    let call = patient(batch_of(
        &servers,
        COUNT,
        &["-O", "out.jsonl", "-j", &CALLS.to_string()],
    ));
    let child = call.spawn();
    wait_until("the run is at work", || servers.model.count() > 3);
    let asked = settled(&servers.model);
    // Exports are under way and one more waits; behind it calls, and answers that are being written.
    let most = (MOST_EXPORTS + 1) * LONG_ONES + 3 * CALLS;
    assert!(asked <= most, "{asked} of at most {most}");
    gate.open();
    let ended = call.ended(&child.wait_with_output().unwrap());
    ended.code(0);
    assert_eq!(servers.model.count(), COUNT);
    assert_once(&memory, trace_ids(&out(&ended)).values());
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
    let call = patient(batch_of(&servers, COUNT, &["-O", "out.jsonl", "-j", "64"]));
    let child = call.spawn();
    wait_until("all is asked", || servers.model.count() == COUNT);
    gate.open();
    call.ended(&child.wait_with_output().unwrap()).code(0);
    // The first exports may have begun before many traces were there.
    let exports = servers.langfuse.exports().len();
    assert!(
        exports <= MOST_EXPORTS + (2 * COUNT).div_ceil(MOST_SPANS),
        "{exports}"
    );
    let sizes = sizes(&servers.langfuse);
    assert_eq!(sizes.iter().sum::<usize>(), 2 * COUNT);
    assert!(sizes.iter().all(|size| *size <= MOST_SPANS), "{sizes:?}");
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
    let mut call = patient(batch_of(&servers, COUNT, &["-O", "out.jsonl", "-j", "100"]));
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
    assert!(bytes.iter().all(|bytes| *bytes <= MOST_BYTES), "{bytes:?}");
    assert!(bytes.iter().sum::<usize>() > 2 * MOST_BYTES, "{bytes:?}");
    assert_once(&memory, trace_ids(&out(&ended)).values());
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
    let call = patient(batch_of(&servers, 20, &["-j", "4"]));
    let mut child = call.spawn();
    let printed: Vec<String> = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .take(20)
        .map(|line| line.unwrap() + "\n")
        .collect();
    // Nothing was accepted until now.
    gate.open();
    assert_eq!(numbers(&lines(&printed.concat())).len(), 20);
    call.ended(&child.wait_with_output().unwrap()).code(0);
    assert_eq!(traces_at(&servers.langfuse).len(), 20);
}

/// The text of all span files in the outbox of this home.
fn stored_in(home: &Path) -> String {
    let files = files_below(&home.join(".local/state/langspan/outbox"));
    let spans = files
        .iter()
        .filter(|path| !path.to_string_lossy().contains(".meta."));
    // A file may be renamed at any time.
    spans
        .map(|path| fs::read_to_string(path).unwrap_or_default())
        .collect()
}

/// The first lines that a run prints.
fn printed(stdout: impl Read, count: usize) -> String {
    let lines = BufReader::new(stdout).lines().take(count);
    lines.map(|line| line.unwrap() + "\n").collect()
}

/// All exports that may run at once hang, so that the traces of further lines cannot be sent.
#[test]
fn the_trace_of_a_printed_line_is_stored_although_no_export_may_start() {
    const COUNT: usize = MOST_EXPORTS + 2;
    let exports = Arc::new(AtomicUsize::new(0));
    let langfuse = Scripted::start({
        let exports = Arc::clone(&exports);
        move |request, _| {
            if request.path == TRACES {
                exports.fetch_add(1, Ordering::SeqCst);
            }
            Reply::Hang
        }
    });
    let model = Scripted::start(move |_, count| {
        wait_until("the trace of the line before is under way", || {
            exports.load(Ordering::SeqCst) >= count.min(MOST_EXPORTS)
        });
        Reply::json(200, &completion("hi"))
    });
    let input = prompts(COUNT);
    let call = patient(batch(&input, &model, &langfuse, &["-j", "1"]));
    let mut child = call.spawn();
    let printed = printed(child.stdout.take().unwrap(), COUNT);
    let ids = trace_ids(&lines(&printed));
    wait_until("each trace is stored", || {
        let stored = stored_in(call.home());
        ids.values().all(|id| stored.contains(id.as_str()))
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let stored = stored_in(call.home());
    assert!(ids.values().all(|id| stored.contains(id.as_str())));
}

#[test]
fn the_trace_of_a_printed_line_is_stored_while_its_image_is_uploaded() {
    const IMAGE: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let gate = Gate::default();
    let langfuse = Scripted::start({
        let gate = gate.clone();
        move |request, _| match request.path.as_str() {
            "/api/public/media" => {
                gate.wait();
                Reply::json(201, &json!({"mediaId": "m1", "uploadUrl": null}))
            }
            TRACES => accepted(),
            _ => Reply::json(200, &json!({"data": [{"id": "p1"}]})),
        }
    });
    let model = Scripted::model("hi");
    let input = format!(
        "{{\"messages\":[{{\"role\":\"user\",\"content\":[{{\"type\":\"image_url\",\"image_url\":{{\"url\":\"data:image/png;base64,{IMAGE}\"}}}}]}}]}}\n"
    );
    let call = patient(batch(&input, &model, &langfuse, &[]));
    let mut child = call.spawn();
    let printed = printed(child.stdout.take().unwrap(), 1);
    let ids = trace_ids(&lines(&printed));
    wait_until("the trace is stored", || {
        let stored = stored_in(call.home());
        ids.values().all(|id| stored.contains(id.as_str()))
    });
    assert!(!stored_in(call.home()).contains(IMAGE));
    gate.open();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(stored_in(call.home()), "");
    let exports = langfuse.exports();
    assert_eq!(exports.len(), 1);
    let sent = String::from_utf8_lossy(&exports[0].body);
    assert!(sent.contains("|id=m1|"), "{sent}");
}

#[test]
fn an_unresponsive_langfuse_holds_up_no_line() {
    let servers = before(Scripted::always(Reply::Hang));
    let ended = batch_of(&servers, 20, &["-j", "4", "--export-timeout", "0.5"]).run();
    ended.code(5);
    let lines = lines(&ended.stdout);
    assert_eq!(lines.len(), 20);
    // They may have arrived: whether they did is asked before they are sent again.
    assert_eq!(waiting(&ended), twice(&trace_ids(&lines)));
}
