//! The signals that ask a run to end.
//!
//! A signal that was ignored when the program started stays ignored, so that `nohup langspan …` goes on after a hangup.

use std::fs;
use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::failure::{Failure, Kind, Signal, Verdict};
use crate::stdio;

/// SIGXFSZ on Linux, for which tokio has no name.
const FILE_SIZE_EXCEEDED: i32 = 25;

/// Receives SIGHUP, SIGINT and SIGTERM from its creation on.
#[derive(Debug)]
pub struct SignalListener {
    hangup: Option<Stream>,
    interrupt: Option<Stream>,
    terminate: Option<Stream>,
    /// A handler in place of the default, which ends the process: a write beyond the limit of `ulimit -f` is then an
    /// error like any other.
    _file_size: Stream,
}

impl SignalListener {
    /// # Errors
    /// If the signals cannot be received.
    pub fn listen() -> io::Result<Self> {
        let ignored = ignored();
        let listen = |kind: SignalKind| {
            let is_ignored = ignored & (1 << (kind.as_raw_value() - 1)) != 0;
            (!is_ignored).then(|| signal(kind)).transpose()
        };
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            _file_size: signal(SignalKind::from_raw(FILE_SIZE_EXCEEDED))?,
        })
    }

    /// The next signal.
    pub async fn wait(&mut self) -> Signal {
        tokio::select! {
            () = received(&mut self.hangup) => Signal::Hangup,
            () = received(&mut self.interrupt) => Signal::Interrupt,
            () = received(&mut self.terminate) => Signal::Terminate,
        }
    }
}

/// The signals that a run has received. It listens from the first [`listen`](Self::listen) on: before that, a signal
/// ends the process.
#[derive(Debug, Default)]
pub struct Signals {
    listener: Option<SignalListener>,
    received: Option<Signal>,
}

impl Signals {
    /// Begins to listen, if it has not begun.
    ///
    /// # Errors
    /// If the signals cannot be received.
    pub fn listen(&mut self) -> Result<(), Failure> {
        if self.listener.is_none() {
            self.listener = Some(SignalListener::listen().map_err(anyhow::Error::from)?);
        }
        Ok(())
    }

    /// The next signal, which is also noted; never, if it does not listen.
    pub async fn wait(&mut self) -> Signal {
        let Some(listener) = &mut self.listener else {
            return std::future::pending().await;
        };
        let signal = listener.wait().await;
        self.received = Some(signal);
        signal
    }

    /// Forgets the signals so far: they were meant for another process.
    pub fn forget(&mut self) {
        self.received = None;
    }

    /// The last signal that was received.
    pub fn received(&self) -> Option<Signal> {
        self.received
    }
}

async fn received(stream: &mut Option<Stream>) {
    match stream {
        Some(stream) => {
            stream.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// The set of signals that are ignored, a bit for each; before the first handler is set, those of the program's start.
/// Empty where the system does not tell.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default()
}

/// Waits until the readers of stdout and stderr have taken everything; a signal ends the wait, unless one has ended the
/// run already.
pub fn wait_for_readers(mut verdict: Verdict) -> Verdict {
    if stdio::is_drained() || matches!(verdict.kind(), Some(Kind::Interrupted(_))) {
        return verdict;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = runtime.and_then(|runtime| {
        runtime.block_on(async {
            let mut signals = SignalListener::listen()?;
            Ok(tokio::select! {
                () = stdio::drained() => None,
                signal = signals.wait() => Some(signal),
            })
        })
    });
    if let Ok(Some(signal)) = ended {
        verdict.add(Kind::Interrupted(signal));
    }
    verdict
}
