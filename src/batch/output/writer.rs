//! Writes the output in a thread of its own, so that a slow disk or a full pipe delays only new calls.
//!
//! Lines that complete while a piece is being written form the next piece.

use std::io::{self, Write};
use std::sync::mpsc as sync;
use std::thread;

use tokio::sync::mpsc;

use crate::compression::CompressedWriter;

/// Where output lines go.
pub type OutputSink = CompressedWriter<Box<dyn Write + Send>>;

/// The output of a run.
#[derive(Debug)]
pub struct Writer {
    /// Lines for the next piece.
    waiting: Piece,
    /// The number of lines in the piece that is being written.
    in_flight: Option<usize>,
    to_thread: Option<sync::Sender<Vec<u8>>>,
    from_thread: mpsc::UnboundedReceiver<io::Result<()>>,
}

#[derive(Debug, Default)]
struct Piece {
    bytes: Vec<u8>,
    lines: usize,
}

impl Writer {
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(mut sink: OutputSink) -> io::Result<Self> {
        let (to_thread, pieces) = sync::channel::<Vec<u8>>();
        let (results, from_thread) = mpsc::unbounded_channel();
        thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || {
                for piece in pieces {
                    let result = sink.write_lines(&piece);
                    let is_failed = result.is_err();
                    if results.send(result).is_err() || is_failed {
                        return;
                    }
                }
                let finished = sink.finish().and_then(|mut sink| sink.flush());
                let _ = results.send(finished);
            })?;
        Ok(Self {
            waiting: Piece::default(),
            in_flight: None,
            to_thread: Some(to_thread),
            from_thread,
        })
    }

    /// Adds a line, without line ending, to the next piece.
    pub fn push(&mut self, line: &str) {
        self.waiting.bytes.extend_from_slice(line.as_bytes());
        self.waiting.bytes.push(b'\n');
        self.waiting.lines += 1;
    }

    /// Whether a piece is being written.
    pub fn is_busy(&self) -> bool {
        self.in_flight.is_some()
    }

    /// The size of the next piece, in bytes.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.bytes.len()
    }

    /// Waits until a piece is written; returns its number of lines.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub async fn written(&mut self) -> io::Result<usize> {
        self.result().await?;
        Ok(self.in_flight.take().unwrap_or_default())
    }

    /// Ends the output. Every piece must have been written.
    ///
    /// # Errors
    /// When the end of a compressed file cannot be written.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.to_thread = None;
        self.result().await
    }

    async fn result(&mut self) -> io::Result<()> {
        let lost = || Err(io::Error::other("the output's thread ended"));
        self.from_thread.recv().await.unwrap_or_else(lost)
    }

    /// Starts to write the next piece, unless one is being written.
    pub fn start_writing(&mut self) {
        if self.in_flight.is_some() || self.waiting.lines == 0 {
            return;
        }
        let piece = std::mem::take(&mut self.waiting);
        self.in_flight = Some(piece.lines);
        if let Some(thread) = &self.to_thread {
            // If the thread has ended, its result says why.
            let _ = thread.send(piece.bytes);
        }
    }
}
