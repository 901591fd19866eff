//! The signals that ask a run to end.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::failure::{Failure, Signal};

/// Receives SIGINT and SIGTERM from its creation on.
#[derive(Debug)]
pub struct SignalListener {
    interrupt: Stream,
    terminate: Stream,
}

impl SignalListener {
    /// # Errors
    /// If the signals cannot be received.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next signal.
    pub async fn wait(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
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

    /// The last signal that was received.
    pub fn received(&self) -> Option<Signal> {
        self.received
    }
}
