//! Gates that hold a server's answers back, counters and clocks at a server, and signals.

use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::harness::Scripted;

/// The longest wait, so that a test fails instead of hanging.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

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

/// Holds all that wait until it is opened.
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

/// Counts how many are inside at once.
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
