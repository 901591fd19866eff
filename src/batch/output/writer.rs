//! The output: written in a thread of its own, so that a slow disk or a full pipe holds up nothing but new calls.
//!
//! Lines that end while a piece is being written go out together as the next one.

use std::io::{self, Write};
use std::sync::mpsc as sync;
use std::thread;

use tokio::sync::mpsc;

use crate::batch::compression::Packed;

/// Where output lines go.
pub type OutputSink = Packed<Box<dyn Write + Send>>;

/// The output of a run.
#[derive(Debug)]
pub struct Writer {
    /// Lines that wait for the piece before them.
    waiting: Piece,
    /// How many lines the piece holds that is being written.
    under_way: Option<usize>,
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
            under_way: None,
            to_thread: Some(to_thread),
            from_thread,
        })
    }

    /// Takes a line, without its end, to be written with others that end at the same time.
    pub fn push(&mut self, line: &str) {
        self.waiting.bytes.extend_from_slice(line.as_bytes());
        self.waiting.bytes.push(b'\n');
        self.waiting.lines += 1;
    }

    /// Whether lines are being written.
    pub fn is_busy(&self) -> bool {
        self.under_way.is_some()
    }

    /// How many bytes wait for the piece that is being written.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.bytes.len()
    }

    /// Waits until a piece is written; returns how many lines it holds.
    ///
    /// # Errors
    /// When the output takes no more.
    pub async fn written(&mut self) -> io::Result<usize> {
        self.result().await?;
        Ok(self.under_way.take().unwrap_or_default())
    }

    /// Ends the output, of which nothing waits any more.
    ///
    /// # Errors
    /// When the output cannot be ended.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.to_thread = None;
        self.result().await
    }

    async fn result(&mut self) -> io::Result<()> {
        let lost = || Err(io::Error::other("the output's thread ended"));
        self.from_thread.recv().await.unwrap_or_else(lost)
    }

    /// Hands the waiting lines over, when nothing is being written.
    pub fn write(&mut self) {
        if self.under_way.is_some() || self.waiting.lines == 0 {
            return;
        }
        let piece = std::mem::take(&mut self.waiting);
        self.under_way = Some(piece.lines);
        if let Some(thread) = &self.to_thread {
            // A thread that has ended said why.
            let _ = thread.send(piece.bytes);
        }
    }
}
