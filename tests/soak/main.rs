//! Ten thousand traces to a server that fails at random in every known way: in the end each span is stored once.
//!
//! Several processes replay recordings at once, each call with little time; then `resend` until nothing waits.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "how a run went is worth reading")]
#![expect(dead_code, reason = "the harness serves the other tests as well")]

// What the tests of the binary share.
#[path = "../cli/support/mod.rs"]
mod support;

use std::fs::File;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::dice::Dice;
use crate::support::harness::{
    Langspan, OBSERVATIONS, Reply, Request, Scripted, TRACES, completion, files_below,
};
use crate::support::memory::Memory;

const TRACES_TO_SEND: usize = 10_000;
const PROCESSES: usize = 20;
/// Of a hundred requests so many meet a fault.
const FAULTS_PER_CENT: u64 = 8;
/// The seconds for an export. So few that whatever goes unanswered waits in the outbox.
const HASTE: &str = "0.5";
/// So many that a Langfuse is asked for what went unanswered.
const PATIENCE: &str = "6";
/// An entry that met a silent server is unproven for five times as long as the server was silent: `resend` says so at once,
/// and later calls deliver it. If entries wait longer than this, there is no progress.
const NO_PROGRESS: Duration = Duration::from_mins(5);
const BETWEEN_ROUNDS: Duration = Duration::from_secs(1);

/// A server that fails at random, in front of one that does not.
fn faulty(memory: &Memory) -> Scripted {
    let (memory, dice) = (memory.clone(), Dice::new(4));
    Scripted::start(move |request, _| {
        let path = request.path.split('?').next();
        if dice.roll(100) >= FAULTS_PER_CENT || ![Some(TRACES), Some(OBSERVATIONS)].contains(&path)
        {
            return memory.answer(request);
        }
        fault(dice.roll(FAULTS), request, &memory)
    })
}

const FAULTS: u64 = 20;

fn fault(kind: u64, request: &Request, memory: &Memory) -> Reply {
    let html = |status| Reply::Answer(status, "text/html", "<html></html>".to_owned());
    let busy = |status, seconds: &str| {
        Reply::With(
            status,
            vec![("retry-after", seconds.to_owned())],
            String::new(),
        )
    };
    let but = |reply| {
        memory.answer(request);
        reply
    };
    let cut = || Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{\"na".to_vec());
    match kind {
        0 => Reply::json(
            400,
            &json!({"error": "Failed to parse OTel Protobuf Trace"}),
        ),
        1 => Reply::json(401, &json!({"message": "Invalid credentials."})),
        2 => Reply::json(403, &json!({"message": "Ingestion suspended."})),
        3 => Reply::json(404, &json!({"message": "Not Found"})),
        4 => html(405),
        5 => html(408),
        6 => html(413),
        7 => busy(429, "0"),
        8 => busy(429, "60"),
        9 => html(500),
        10 => html(502),
        11 => busy(503, "60"),
        12 => html(504),
        13 => html(200),
        14 => Reply::With(
            307,
            vec![("location", "https://elsewhere.example/".to_owned())],
            String::new(),
        ),
        15 => Reply::Reset,
        16 => Reply::Hang,
        // From here on the spans were taken, and nobody says so.
        17 => but(Reply::Close),
        18 => but(Reply::Hang),
        _ => but(cut()),
    }
}

fn recordings(process: usize) -> String {
    let per_process = TRACES_TO_SEND / PROCESSES;
    let line = |index: usize| {
        let recording = json!({
            "request": {"model": "m", "messages": [{"role": "user", "content": "Hello"}]},
            "response": completion("hi"),
            "start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:01Z",
            "trace": {"id": format!("{:032x}", process * per_process + index + 1)},
        });
        format!("{recording}\n")
    };
    (0..per_process).map(line).collect()
}

/// A call that leaves nothing behind but its outbox and what it said.
fn start(call: &Langspan, said: &File) -> Child {
    let mut command = call.command();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said.try_clone().unwrap());
    command.spawn().unwrap()
}

fn resend(home: &Langspan, budget: &str) -> Langspan {
    home.clone()
        .arg("resend")
        .arg("--export-timeout")
        .arg(budget)
}

/// Waits for a call, which delivered everything or left something to wait.
fn end(mut child: Child) {
    let code = child.wait().unwrap().code();
    assert!(matches!(code, Some(0 | 5)), "{code:?}");
}

fn waiting(call: &Langspan) -> usize {
    let files = files_below(&call.home().join(".local/state/langspan/outbox"));
    let spans = files.iter().filter(|path| {
        let extension = path.extension().unwrap_or_default();
        extension == "jsonl" || extension == "pending"
    });
    spans.count()
}

#[test]
fn ten_thousand_traces_are_there_once_each() {
    let begun = Instant::now();
    let memory = Memory::default();
    let server = faulty(&memory);
    let home = Langspan::new(&[]).langfuse_at(server.url());
    let said = File::create(home.home().join("said")).unwrap();

    let mut replays: Vec<Child> = (0..PROCESSES)
        .map(|process| {
            let name = format!("{process}.jsonl");
            home.file(&name, recordings(process));
            let call = home.clone().arg("replay").arg(&name);
            start(&call.arg("--export-timeout").arg(HASTE), &said)
        })
        .collect();
    // What waits is sent again while more comes to wait: what one process holds, the others leave.
    while replays
        .iter_mut()
        .any(|replay| replay.try_wait().unwrap().is_none())
    {
        end(start(&resend(&home, HASTE), &said));
    }
    replays.into_iter().for_each(end);
    println!(
        "{} exports, {} traces wait after {:?}",
        server.exports().len(),
        waiting(&home),
        begun.elapsed()
    );

    let (mut rounds, resending) = (0, Instant::now());
    while waiting(&home) > 0 {
        rounds += 1;
        assert!(
            resending.elapsed() < NO_PROGRESS,
            "{} traces still wait",
            waiting(&home)
        );
        if rounds > 2 {
            thread::sleep(BETWEEN_ROUNDS);
        }
        let budget = if rounds == 1 { HASTE } else { PATIENCE };
        [(); 2]
            .map(|()| start(&resend(&home, budget), &said))
            .into_iter()
            .for_each(end);
        println!(
            "{} traces wait after round {rounds}, {:?}",
            waiting(&home),
            begun.elapsed()
        );
    }

    let counts = memory.all_counts();
    let twice = counts
        .values()
        .filter(|spans| spans.iter().any(|count| *count > 1));
    let halves = counts.values().filter(|spans| spans.len() != 2);
    let (twice, halves) = (twice.count(), halves.count());
    println!(
        "{} traces, {twice} with a span twice, {halves} without one",
        counts.len()
    );
    assert_eq!((counts.len(), twice, halves), (TRACES_TO_SEND, 0, 0));
}
