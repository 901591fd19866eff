//! A note about work that takes longer than a moment.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crate::console::Console;

/// Work that takes less time needs no note.
const PATIENCE: Duration = Duration::from_millis(700);

/// Prints a note once [`PATIENCE`] has passed, unless it is dropped before. A thread waits, since the work may block.
#[derive(Debug)]
pub struct DelayedNote {
    _ended: Sender<()>,
}

impl DelayedNote {
    pub fn new(console: &Console, text: &'static str) -> Self {
        let (ended, work) = mpsc::channel();
        let console = console.clone();
        let wait = move || {
            if work.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                console.note(text);
            }
        };
        // Without a thread there is no note.
        let _ = thread::Builder::new().name("note".to_owned()).spawn(wait);
        Self { _ended: ended }
    }
}
