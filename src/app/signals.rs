//! The signals that ask a run to end.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::failure::{Failure, Signal};

/// SIGINT and SIGTERM, from the moment that it is made.
#[derive(Debug)]
pub struct SignalListener {
    interrupt: Stream,
    terminate: Stream,
}

impl SignalListener {
    /// # Errors
    /// When the signals cannot be listened to.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Begins to listen, unless that has begun: before it has, a signal ends the process by itself.
    ///
    /// # Errors
    /// When the signals cannot be listened to.
    pub fn listen_once(place: &mut Option<Self>) -> Result<&mut Self, Failure> {
        if place.is_none() {
            *place = Some(Self::listen().map_err(anyhow::Error::from)?);
        }
        place
            .as_mut()
            .ok_or_else(|| anyhow::anyhow!("signals are not listened to").into())
    }

    /// The next signal.
    pub async fn wait(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}
