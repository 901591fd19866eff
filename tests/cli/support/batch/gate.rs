//! What the tests of `batch` share: lines to ask, servers that hold their answers until they may go, and clocks and
//! counters that stand at the server's door.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::harness::{Ended, Scripted};

/// Nobody waits for longer, so that a test fails instead of hanging.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Lines that ask `say 1`, `say 2` …, with the custom ids `c1`, `c2` ….
pub fn prompts(count: usize) -> String {
    (1..=count).fold(String::new(), |mut text, number| {
        let _ = writeln!(
            text,
            r#"{{"custom_id":"c{number}","prompt":"say {number}"}}"#
        );
        text
    })
}

/// The output lines of a text.
#[track_caller]
pub fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The output lines of a file.
#[track_caller]
pub fn lines_in(path: &Path) -> Vec<Value> {
    lines(&fs::read_to_string(path).unwrap())
}

/// The trace ids of output lines, in their order.
pub fn trace_ids(lines: &[Value]) -> Vec<String> {
    let ids = lines.iter().map(|line| &line["langspan"]["trace_id"]);
    ids.filter_map(|id| id.as_str().map(str::to_owned))
        .collect()
}

/// The numbers of output lines, sorted.
pub fn numbers(lines: &[Value]) -> Vec<u64> {
    let mut numbers: Vec<u64> = lines
        .iter()
        .map(|line| line["langspan"]["line"].as_u64().unwrap())
        .collect();
    numbers.sort_unstable();
    numbers
}

/// The summary that a run wrote with `--summary summary.json`.
#[track_caller]
pub fn summary(ended: &Ended) -> Value {
    let text = fs::read_to_string(ended.home().join("summary.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Sends a signal to a process.
pub fn send(signal: &str, child: &Child) {
    let status = Command::new("kill")
        .args(["-s", signal, &child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
}

/// How many requests a server has got once no more come: what can still come has had a second to do so.
pub fn settled(server: &Scripted) -> usize {
    let mut known = (server.count(), Instant::now());
    let start = Instant::now();
    while known.1.elapsed() < Duration::from_secs(1) {
        assert!(start.elapsed() < 5 * LONGEST_WAIT, "requests never end");
        thread::sleep(Duration::from_millis(20));
        let count = server.count();
        if count != known.0 {
            known = (count, Instant::now());
        }
    }
    known.0
}

/// Holds whoever waits until it is opened.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub fn wait(&self) {
        let is_open = self.0.0.lock().unwrap();
        let waited = self
            .0
            .1
            .wait_timeout_while(is_open, LONGEST_WAIT, |is_open| !*is_open);
        drop(waited);
    }
}

/// Counts who is inside at once.
#[derive(Clone, Debug, Default)]
pub struct Crowd(Arc<(Mutex<Inside>, Condvar)>);

#[derive(Debug, Default)]
struct Inside {
    now: usize,
    most: usize,
}

impl Crowd {
    /// Comes in, and stays until so many have been inside at once.
    pub fn enter(&self, wanted: usize) {
        let (inside, changed) = &*self.0;
        let mut inside = inside.lock().unwrap();
        inside.now += 1;
        inside.most = inside.most.max(inside.now);
        changed.notify_all();
        let (mut inside, _) = changed
            .wait_timeout_while(inside, LONGEST_WAIT, |inside| inside.most < wanted)
            .unwrap();
        inside.now -= 1;
    }

    /// How many have been inside at once.
    pub fn most(&self) -> usize {
        self.0.0.lock().unwrap().most
    }
}

/// When requests came.
#[derive(Clone, Debug, Default)]
pub struct Arrivals(Arc<Mutex<Vec<Instant>>>);

impl Arrivals {
    /// One more, now; returns how many came before.
    pub fn add(&self) -> usize {
        let mut times = self.0.lock().unwrap();
        times.push(Instant::now());
        times.len() - 1
    }

    /// The times since `start`, of those that came later, in order.
    pub fn since(&self, start: Instant) -> Vec<Duration> {
        let times = self.0.lock().unwrap();
        times
            .iter()
            .filter_map(|time| time.checked_duration_since(start))
            .collect()
    }
}
