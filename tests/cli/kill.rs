//! SIGKILL at any time: the trace of every printed answer is accepted or in the outbox, and after `resend` every span is
//! stored once.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::dice::Dice;
use crate::support::harness::{Ended, Langspan, Reply, Scripted, TRACES, completion, files_below};
use crate::support::memory::Memory;
use crate::support::tally::Tally;

const KILLS: usize = 180;
const AT_ONCE: usize = 20;
/// The documents of a replay, and the entries of a resend.
const DOCUMENTS: usize = 6;
/// The answer of the model. It ends a line, and is part of no event of a stream.
const ANSWER: &str = "hi";

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verb {
    Chat,
    ReplayOfRequests,
    ReplayOfRecordings,
    Resend,
}

/// When it is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// The last byte of the answer appears on stdout, whose export is the faulty one.
    Answer,
    /// So long after the faulty export has come to the server, in microseconds.
    Export(u64),
    /// So long after the start, in microseconds.
    Start(u64),
}

/// One kill.
#[derive(Debug)]
struct Case {
    verb: Verb,
    moment: Moment,
    /// The options of a chat.
    form: &'static [&'static str],
    /// The export that meets a fault.
    at: usize,
    seed: u64,
}

impl Case {
    fn new(kill: usize, dice: &Dice) -> Self {
        let verbs = [
            Verb::Chat,
            Verb::ReplayOfRequests,
            Verb::ReplayOfRecordings,
            Verb::Resend,
        ];
        let forms: [&[&str]; 4] = [
            &[],
            &["--stream"],
            &["-o", "raw"],
            &["-o", "raw", "--stream"],
        ];
        // A third of the kills, none of a resend: it prints no answer.
        let (verb, moment) = match kill % 3 {
            0 => (dice.pick(&verbs[..3]), Moment::Answer),
            1 => (dice.pick(&verbs), Moment::Export(dice.roll(2000))),
            _ => (dice.pick(&verbs), Moment::Start(dice.roll(80_000))),
        };
        Self {
            verb,
            moment,
            form: dice.pick(&forms),
            at: match verb {
                Verb::Chat => 0,
                _ => dice.below(DOCUMENTS),
            },
            seed: dice.roll(u64::MAX),
        }
    }

    /// The command, which exports as many traces as it has documents or entries.
    fn call(&self, model: &Scripted, langfuse: &Scripted) -> Langspan {
        let call = match self.verb {
            Verb::Chat => Langspan::new(&[&["chat", "--no-stdin", "Hello"], self.form].concat()),
            Verb::Resend => Langspan::new(&["resend"]).after(&kept(model)),
            Verb::ReplayOfRequests | Verb::ReplayOfRecordings => {
                let call = Langspan::new(&["replay", "documents.jsonl"]);
                call.file("documents.jsonl", self.documents());
                call
            }
        };
        call.model_at(model.url())
            .langfuse_at(langfuse.url())
            .arg("--export-timeout")
            .arg("60")
    }

    fn documents(&self) -> String {
        let line = |index: usize| match self.verb {
            Verb::ReplayOfRecordings => format!("{}\n", recording(index)),
            _ => request(),
        };
        (0..DOCUMENTS).map(line).collect()
    }

    /// What stdout is when the answer of the faulty export is whole.
    fn answer(&self) -> Vec<u8> {
        match (self.verb, self.form) {
            (Verb::Chat, ["-o", "raw"]) => completion(ANSWER).to_string().into_bytes(),
            (Verb::Chat, ["-o", "raw", "--stream"]) => events().into_bytes(),
            _ => format!("{ANSWER}\n").repeat(self.at + 1).into_bytes(),
        }
    }

    /// The number of answers that are whole in `stdout`.
    fn printed(&self, stdout: &str) -> usize {
        match (self.verb, self.form) {
            // They were printed before the resend.
            (Verb::Resend, _) => DOCUMENTS,
            (Verb::Chat, ["-o", "raw", ..]) => usize::from(stdout.as_bytes() == self.answer()),
            _ => stdout.matches(&format!("{ANSWER}\n")).count(),
        }
    }

    /// Starts the command and kills it.
    fn killed(&self, call: &Langspan, has_come: &Receiver<()>) -> (Ended, bool) {
        let mut child = call.spawn();
        let mut read = Vec::new();
        match self.moment {
            Moment::Answer => read = read_of(&mut child, self.answer().len()),
            Moment::Export(delay) => {
                // Where it never comes, the process has ended.
                let _ = has_come.recv_timeout(Duration::from_secs(20));
                thread::sleep(Duration::from_micros(delay));
            }
            Moment::Start(delay) => thread::sleep(Duration::from_micros(delay)),
        }
        child.kill().unwrap();
        let mut output = child.wait_with_output().unwrap();
        output.stdout.splice(0..0, read);
        (call.ended(&output), output.status.signal() == Some(9))
    }

    /// Kills the command, and delivers what waits. Returns what it came to, and what is wrong with it.
    fn run(&self) -> (Tally, Option<String>) {
        let (memory, (come, has_come)) = (Memory::default(), channel());
        let model = model();
        let langfuse = failing_at(self.at, &memory, &Dice::new(self.seed), come);
        let call = self.call(&model, &langfuse);
        let (ended, is_killed) = self.killed(&call, &has_come);
        let printed = self.printed(&ended.stdout);
        if let Moment::Answer = self.moment {
            assert!(printed > self.at, "{self:?}: {ended:#?}");
        }
        let known = memory.all_counts().into_keys();
        let known: HashSet<String> = known.chain(waiting(&ended.outbox())).collect();
        mend(&ended, &faulty(&memory, self.seed));
        let counts = memory.all_counts();
        let tally = Tally::of(is_killed, printed, &counts);
        // Whether it was printed or not: what is known of a trace is delivered.
        let is_whole = counts.values().all(|spans| spans == &[1, 1]) && counts.len() == known.len();
        let is_wrong = !is_whole || tally.lost > 0;
        let wrong = || format!("{self:?}: {counts:?} of {known:?}: {ended:#?}");
        (tally, is_wrong.then(wrong))
    }
}

/// Reads this many bytes of stdout, and not one more.
fn read_of(child: &mut Child, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    let stdout = child.stdout.as_mut().unwrap();
    stdout.read_exact(&mut bytes).unwrap();
    bytes
}

fn request() -> String {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "Hello"}]});
    format!("{body}\n")
}

fn recording(index: usize) -> Value {
    json!({
        "request": {"model": "m", "messages": [{"role": "user", "content": "Hello"}]},
        "response": completion(ANSWER),
        "start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:01Z",
        "trace": {"id": format!("{:032x}", index + 1)},
    })
}

/// The body of a streamed answer.
fn events() -> String {
    let chunk = |delta: Value, reason: Option<&str>| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": reason});
        format!(
            "data: {}\n\n",
            json!({"id": "c1", "model": "m-1", "choices": [choice]})
        )
    };
    let last = chunk(json!({}), Some("stop"));
    format!(
        "{}{last}data: [DONE]\n\n",
        chunk(json!({"content": ANSWER}), None)
    )
}

/// A model that answers as it is asked to: at once, or in a stream.
fn model() -> Scripted {
    Scripted::start(|request, _| {
        let is_stream = request.json()["stream"] == true;
        if is_stream {
            Reply::Answer(200, "text/event-stream", events())
        } else {
            Reply::json(200, &completion(ANSWER))
        }
    })
}

/// An outbox with an entry for each document.
fn kept(model: &Scripted) -> Ended {
    let refusing = Scripted::always(Reply::json(401, &json!({"message": "No."})));
    let replay = Langspan::new(&["replay", "-"])
        .model_at(model.url())
        .langfuse_at(refusing.url())
        .stdin(request().repeat(DOCUMENTS));
    let ended = replay.run();
    ended.code(5);
    assert_eq!(ended.kept().len(), DOCUMENTS);
    ended
}

/// A Langfuse with a fault at the export `at`, which it announces.
fn failing_at(at: usize, memory: &Memory, dice: &Dice, come: Sender<()>) -> Scripted {
    let (memory, come) = (memory.clone(), Mutex::new(come));
    let (fault, delay) = (dice.roll(8), dice.roll(3000));
    Scripted::start(move |request, count| {
        if request.path != TRACES || count != at {
            return memory.answer(request);
        }
        // No test waits for it if the kill comes from elsewhere.
        let _ = come.lock().unwrap().send(());
        match fault {
            0 | 1 => Reply::Hang,
            2 | 3 => {
                memory.answer(request);
                Reply::Hang
            }
            4 => Reply::json(503, &json!({"message": "Service Unavailable"})),
            5 => Reply::Reset,
            6 => {
                memory.answer(request);
                Reply::Close
            }
            _ => {
                thread::sleep(Duration::from_micros(delay));
                memory.answer(request)
            }
        }
    })
}

/// A Langfuse that fails every other time, in one way or another.
fn faulty(memory: &Memory, seed: u64) -> Scripted {
    let (memory, dice) = (memory.clone(), Dice::new(seed));
    Scripted::start(move |request, _| {
        if request.path != TRACES {
            return memory.answer(request);
        }
        match dice.roll(8) {
            0 => Reply::json(401, &json!({"message": "Invalid credentials."})),
            1 => Reply::json(503, &json!({"message": "Service Unavailable"})),
            2 => Reply::Reset,
            3 => {
                memory.answer(request);
                Reply::Close
            }
            _ => memory.answer(request),
        }
    })
}

/// The files of spans. Metadata alone is no entry: the kill may have come before its spans were there.
fn entries(outbox: &Path) -> Vec<PathBuf> {
    let mut files = files_below(outbox);
    files.retain(|file| {
        let extension = file.extension().unwrap_or_default();
        extension == "jsonl" || extension == "pending"
    });
    files
}

/// The ids of the traces that wait in an outbox.
fn waiting(outbox: &Path) -> HashSet<String> {
    let mut ids = HashSet::new();
    for entry in entries(outbox) {
        for line in BufReader::new(fs::File::open(entry).unwrap()).lines() {
            let export: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let spans = &export["resourceSpans"][0]["scopeSpans"][0]["spans"];
            let found = spans.as_array().unwrap().iter();
            ids.extend(found.map(|span| span["traceId"].as_str().unwrap().to_owned()));
        }
    }
    ids
}

/// Calls `resend` until nothing waits.
fn mend(ended: &Ended, langfuse: &Scripted) {
    let resend = Langspan::new(&["resend"])
        .langfuse_at(langfuse.url())
        .after(ended);
    for _ in 0..10 {
        let round = resend.run();
        assert!(matches!(round.code, Some(0 | 5)), "{round:#?}");
        if entries(&ended.outbox()).is_empty() {
            return;
        }
    }
    panic!("it still waits: {:?}", ended.outbox_files());
}

#[test]
fn a_kill_at_any_time_loses_and_duplicates_nothing() {
    let dice = Dice::new(7);
    let cases = Mutex::new((0..KILLS).map(|kill| Case::new(kill, &dice)));
    let next = || cases.lock().unwrap().next();
    let tallies = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = next() {
                    let ended = catch_unwind(|| case.run());
                    let wrong = || (Tally::default(), Some(format!("{case:?} panicked")));
                    tallies
                        .lock()
                        .unwrap()
                        .push(ended.unwrap_or_else(|_| wrong()));
                }
            });
        }
    });
    let (tallies, wrong): (Vec<Tally>, Vec<_>) = tallies.into_inner().unwrap().into_iter().unzip();
    let tally: Tally = tallies.into_iter().sum();
    tally.print("chat, replay and resend");
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    assert!(
        wrong.is_empty(),
        "{} of {KILLS}: {}",
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!((tally.lost, tally.doubled), (0, 0));
    assert!(tally.kills >= 150, "{tally:?}");
}

#[test]
fn a_kill_between_two_pieces_of_a_trace_duplicates_neither() {
    // The server takes one span at a time.
    let (memory, (reached, has_reached)) = (Memory::default(), channel());
    let reached = Mutex::new(reached);
    let model = Scripted::model("hi");
    let langfuse = Scripted::start({
        let memory = memory.clone();
        move |request, count| match (request.path.as_str(), count) {
            (TRACES, 0) => Reply::Answer(413, "text/html", "<html></html>".to_owned()),
            (TRACES, 2) => {
                reached.lock().unwrap().send(()).unwrap();
                Reply::Hang
            }
            _ => memory.answer(request),
        }
    });
    let call = Langspan::new(&["chat", "--no-stdin", "--export-timeout", "60", "Hello"])
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    let mut child = call.spawn();
    has_reached.recv().unwrap();
    child.kill().unwrap();
    let ended = call.ended(&child.wait_with_output().unwrap());

    let healthy = Scripted::start({
        let memory = memory.clone();
        move |request, _| memory.answer(request)
    });
    mend(&ended, &healthy);
    let counts: Vec<_> = memory.all_counts().into_values().collect();
    assert_eq!(counts, [[1, 1]]);
}
