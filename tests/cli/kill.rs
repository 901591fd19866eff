//! SIGKILL at any time during a delivery: every span is accepted or in the outbox, and after `resend` every span is
//! stored once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use serde_json::json;

use crate::support::dice::Dice;
use crate::support::harness::{Ended, Langspan, Reply, Scripted, TRACES, completion, files_below};
use crate::support::memory::Memory;

const RECORDINGS: usize = 40;
const KILLS: usize = 30;

/// Where the server is with a request when the process is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// It has the request and does nothing with it.
    Untaken,
    /// It has received the spans and not answered.
    Unanswered,
    /// It has taken the spans, and the answer is on its way.
    Answered,
}

fn trace_id(recording: usize) -> String {
    format!("{:032x}", recording + 1)
}

fn recordings() -> String {
    let line = |index: usize| {
        let recording = json!({
            "request": {"model": "m", "messages": [{"role": "user", "content": "Hello"}]},
            "response": completion("hi"),
            "start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:01Z",
            "trace": {"id": trace_id(index)},
        });
        format!("{recording}\n")
    };
    (0..RECORDINGS).map(line).collect()
}

/// A Langfuse that says when the export `at` has come to a moment.
fn reaching(memory: &Memory, at: usize, moment: Moment, reached: Sender<()>) -> Scripted {
    let (memory, reached) = (memory.clone(), Mutex::new(reached));
    Scripted::start(move |request, count| {
        let is_it = request.path == TRACES && count == at;
        let stay = is_it && matches!(moment, Moment::Untaken);
        let reply = if stay {
            Reply::Hang
        } else {
            memory.answer(request)
        };
        if is_it {
            reached.lock().unwrap().send(()).unwrap();
        }
        match moment {
            Moment::Unanswered if is_it => Reply::Hang,
            _ => reply,
        }
    })
}

/// A replay that is killed when its export `at` has come to a moment.
fn killed(memory: &Memory, at: usize, moment: Moment) -> Ended {
    let (reached, has_reached) = channel();
    let langfuse = reaching(memory, at, moment, reached);
    let call = Langspan::new(&["replay", "--export-timeout", "60", "recordings.jsonl"])
        .langfuse_at(langfuse.url());
    call.file("recordings.jsonl", recordings());
    let mut child = call.spawn();
    has_reached.recv().unwrap();
    child.kill().unwrap();
    call.ended(&child.wait_with_output().unwrap())
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

/// Whether a trace waits in the outbox.
fn waits(outbox: &Path, trace_id: &str) -> bool {
    let mut files = entries(outbox).into_iter();
    files.any(|file| fs::read_to_string(file).is_ok_and(|text| text.contains(trace_id)))
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

/// One kill, and what follows.
fn a_kill_loses_nothing(at: usize, moment: Moment, seed: u64) {
    let memory = Memory::default();
    let ended = killed(&memory, at, moment);
    let is_safe = |recording: usize| {
        let id = trace_id(recording);
        memory.counts(&id) == [1, 1] || waits(&ended.outbox(), &id)
    };
    for recording in 0..=at {
        assert!(
            is_safe(recording),
            "trace {recording} of {at}, {moment:?}: {ended:#?}"
        );
    }
    // Those that were said to be delivered, and those whose answer was printed. Between the last answer and its
    // entry in the outbox the kill may have come.
    let said = ended
        .stderr
        .lines()
        .filter(|line| line.starts_with("trace: "));
    let printed = ended.stdout.lines().count();
    let finished = said.count().max(printed.saturating_sub(1));
    assert!(
        (0..finished).all(is_safe),
        "{finished} finished, {moment:?}: {ended:#?}"
    );

    let known: Vec<usize> = (0..RECORDINGS)
        .filter(|recording| is_safe(*recording))
        .collect();
    mend(&ended, &faulty(&memory, seed));
    for recording in known {
        let counts = memory.counts(&trace_id(recording));
        assert_eq!(
            counts,
            [1, 1],
            "trace {recording} after a kill at {at}, {moment:?}"
        );
    }
    let counts = memory.all_counts();
    assert!(counts.values().all(|spans| spans == &[1, 1]), "{counts:?}");
}

#[test]
fn a_kill_at_any_time_loses_and_duplicates_nothing() {
    let dice = Dice::new(7);
    let failed = thread::scope(|scope| {
        let kills: Vec<_> = (0..KILLS)
            .map(|kill| {
                let at = usize::try_from(dice.roll(RECORDINGS as u64)).unwrap();
                let moment = [Moment::Untaken, Moment::Unanswered, Moment::Answered][kill % 3];
                let seed = dice.roll(u64::MAX);
                scope.spawn(move || a_kill_loses_nothing(at, moment, seed))
            })
            .collect();
        kills
            .into_iter()
            .filter_map(|kill| kill.join().err())
            .count()
    });
    assert_eq!(failed, 0, "of {KILLS} kills");
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
