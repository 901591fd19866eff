//! SIGKILL at any time, after which the run is continued: no answered line is asked again, no line is missing or
//! duplicated, and every trace arrives once, with the id that it has in an uninterrupted run.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::support::batch::output::{answered, by_number_in, trace_ids_in};
use crate::support::batch::servers::{answer, asked, assert_once, line_of};
use crate::support::batch::{batch, id_of_line, prompt, prompts};
use crate::support::dice::Dice;
use crate::support::harness::{Langspan, Reply, Request, Scripted, files_below};
use crate::support::memory::Memory;
use crate::support::tally::Tally;

const LINES: usize = 40;
const KILLS: usize = 50;
const AT_ONCE: usize = 10;
const CONCURRENCY: usize = 6;

/// The outputs, each with the further options of the run.
const SHAPES: [(&str, &[&str]); 4] = [
    ("out.jsonl", &[]),
    ("out.jsonl.gz", &[]),
    ("out.jsonl.zst", &[]),
    ("out.jsonl", &["--ordered"]),
];

/// A model and a Langfuse, one of which says when the kill is due.
struct Servers {
    model: Scripted,
    langfuse: Scripted,
    memory: Memory,
    due: Receiver<()>,
}

impl Servers {
    fn start(dice: &Dice) -> Self {
        let memory = Memory::default();
        let (reached, due) = channel();
        let (at_model, at_langfuse) = match dice.roll(2) {
            0 => (Some(dice.roll(LINES as u64)), None),
            _ => (None, Some(dice.roll(2))),
        };
        let (first, second) = (dice.roll(u64::MAX), dice.roll(u64::MAX));
        let model = slow(at_model, Dice::new(first), reached.clone(), |request| {
            answer(line_of(request))
        });
        let langfuse = slow(at_langfuse, Dice::new(second), reached, {
            let memory = memory.clone();
            move |request| memory.answer(request)
        });
        Self {
            model,
            langfuse,
            memory,
            due,
        }
    }
}

/// A server that takes a little time for each answer, and says when it has got the request `at`.
fn slow(
    at: Option<u64>,
    dice: Dice,
    reached: Sender<()>,
    reply: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> Scripted {
    let state = Mutex::new((0, reached));
    Scripted::start(move |request, _| {
        {
            let (count, reached) = &mut *state.lock().unwrap();
            if at == Some(*count) {
                // No later run waits for it.
                let _ = reached.send(());
            }
            *count += 1;
        }
        thread::sleep(Duration::from_micros(dice.roll(4000)));
        reply(request)
    })
}

/// One kill, and what follows.
fn a_kill_is_survived(kill: usize, seed: u64) -> Tally {
    let dice = Dice::new(seed);
    let servers = Servers::start(&dice);
    let (name, further) = SHAPES[kill % SHAPES.len()];
    let concurrency = CONCURRENCY.to_string();
    let arguments = ["--out", name, "--resume", "--run", "kill", "-j"];
    let arguments = [&arguments[..], &[concurrency.as_str()], further].concat();
    let call = batch(
        &prompts(LINES),
        &servers.model,
        &servers.langfuse,
        &arguments,
    );

    let mut child = call.spawn();
    servers.due.recv().unwrap();
    thread::sleep(Duration::from_micros(dice.roll(3000)));
    child.kill().unwrap();
    let is_killed = child.wait_with_output().unwrap().status.signal() == Some(9);
    let out = call.home().join(name);
    let kept = answered(&out);

    call.run().code(0);
    assert_whole(&out);
    // What was in flight, and what waited to be written, or for an earlier line.
    let at_most = if further.contains(&"--ordered") { 7 } else { 2 };
    assert_paid_once(&servers.model, &kept, at_most * CONCURRENCY);
    let ids = trace_ids_in(&out);
    assert_once(&servers.memory, ids.values());

    // What the killed process had begun to send is not sent again either.
    let resend = Langspan::new(&["resend"])
        .langfuse_at(servers.langfuse.url())
        .beside(&call);
    let ended = resend.run();
    ended.code(0);
    assert_once(&servers.memory, ids.values());
    // What the kill cut off before it was an entry is no loss: nothing of it had been sent.
    let waiting = files_below(&ended.outbox());
    let is_entry = |file: &PathBuf| {
        let extension = file.extension().unwrap_or_default();
        extension == "jsonl" || extension == "pending"
    };
    assert!(!waiting.iter().any(is_entry), "{waiting:?}");
    Tally::of(is_killed, ids.len(), &servers.memory.all_counts())
}

/// Asserts that every line is in an output, with its own answer and its fixed trace id.
#[track_caller]
fn assert_whole(out: &Path) {
    let expected: BTreeMap<u64, String> = (1..=LINES as u64)
        .map(|line| {
            (
                line,
                id_of_line("kill", line, &prompt(&format!("line {line}"))),
            )
        })
        .collect();
    assert_eq!(trace_ids_in(out), expected);
    for (line, found) in by_number_in(out) {
        let content = &found["response"]["body"]["choices"][0]["message"]["content"];
        assert_eq!(*content, format!("answer {line}"));
    }
}

/// Asserts that none of the lines that the output `kept` were asked twice, and at most so many others.
#[track_caller]
fn assert_paid_once(model: &Scripted, kept: &[u64], at_most: usize) {
    let asked = asked(model);
    assert!(asked.values().all(|times| *times <= 2), "{asked:?}");
    let twice = asked.into_iter().filter(|(_, times)| *times == 2);
    let twice: Vec<u64> = twice.map(|(line, _)| line).collect();
    assert!(
        !twice.iter().any(|line| kept.contains(line)),
        "{twice:?}, although there were {kept:?}"
    );
    assert!(twice.len() <= at_most, "{twice:?}");
}

#[test]
fn a_kill_at_any_time_repeats_only_calls_in_flight() {
    let dice = Dice::new(11);
    let seeds: Vec<u64> = (0..KILLS).map(|_| dice.roll(u64::MAX)).collect();
    let seeds: Vec<(usize, u64)> = seeds.into_iter().enumerate().collect();
    let (mut failed, mut tallies) = (Vec::new(), Vec::new());
    for some in seeds.chunks(AT_ONCE) {
        let kills = some.iter().map(|&(kill, seed)| {
            let thread = thread::spawn(move || a_kill_is_survived(kill, seed));
            (kill, thread)
        });
        let kills: Vec<_> = kills.collect();
        for (kill, thread) in kills {
            match thread.join() {
                Ok(tally) => tallies.push(tally),
                Err(_) => failed.push(kill),
            }
        }
    }
    let tally: Tally = tallies.into_iter().sum();
    tally.print("batch");
    assert_eq!((tally.lost, tally.doubled), (0, 0));
    assert!(failed.is_empty(), "of {KILLS} kills: {failed:?}");
}
