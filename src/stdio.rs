//! Stdout and stderr that never block the program.
//!
//! An unread pager or pipe blocks a `write(2)` for any time, and with it
//! the only thread: spans would not be delivered, timeouts not noticed, signals not handled. So a stream is written
//! directly only while it has room. From the first time that it has none, a thread of its own writes the rest, and the
//! program waits for that thread at its very end, where a signal ends the wait.
//!
//! The direct way comes first because it keeps the order of stdout and stderr on a terminal, and because a thread costs
//! a short call a few percent of its time. Where both streams are one file (`2>&1`), they share one queue.
//!
//! On a terminal that both write to, a line that stdout has begun is ended before stderr writes.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, mpsc};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::Notify;

/// What a pipe or socket with room takes at once without blocking: POSIX guarantees it for pipes (`PIPE_BUF`).
const PIPE_PIECE: usize = 4096;
/// A terminal reports room when it has some, not how much.
const TERMINAL_PIECE: usize = 256;

static STDOUT: LazyLock<Stream> = LazyLock::new(|| Stream::new(Target::Stdout, Arc::default()));
static STDERR: LazyLock<Stream> = LazyLock::new(|| {
    let queue = if is_one_file() {
        Arc::clone(&STDOUT.queue)
    } else {
        Arc::default()
    };
    Stream::new(Target::Stderr, queue)
});

/// Stdout.
pub fn stdout() -> &'static Stream {
    &STDOUT
}

/// Stderr.
pub fn stderr() -> &'static Stream {
    &STDERR
}

/// Whether everything that was written has left the program.
pub fn is_drained() -> bool {
    [&STDOUT, &STDERR]
        .iter()
        .all(|stream| stream.queue.is_empty())
}

/// Waits until everything that was written has left the program, or cannot leave it any more.
pub async fn drained() {
    STDOUT.queue.drained().await;
    STDERR.queue.drained().await;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Stdout,
    Stderr,
}

impl Target {
    /// Writes as much as the stream takes; blocks while it takes nothing.
    fn write(self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self {
            Self::Stdout => rustix::io::write(io::stdout(), bytes),
            Self::Stderr => rustix::io::write(io::stderr(), bytes),
        };
        match written {
            Ok(written) => Ok(written),
            Err(rustix::io::Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn write_all(self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            bytes = &bytes[self.write(bytes)?..];
        }
        Ok(())
    }

    /// The most that one write of a stream with room may hold.
    fn piece(self) -> usize {
        let piece = |fd: BorrowedFd<'_>, is_terminal: bool| match file_type(fd) {
            Ok(found) if found.is_fifo() || found.is_socket() => PIPE_PIECE,
            _ if is_terminal => TERMINAL_PIECE,
            _ => usize::MAX,
        };
        match self {
            Self::Stdout => piece(io::stdout().as_fd(), io::stdout().is_terminal()),
            Self::Stderr => piece(io::stderr().as_fd(), io::stderr().is_terminal()),
        }
    }

    fn has_room(self) -> bool {
        match self {
            Self::Stdout => has_room(io::stdout().as_fd()),
            Self::Stderr => has_room(io::stderr().as_fd()),
        }
    }
}

/// One of the two streams.
#[derive(Debug)]
pub struct Stream {
    target: Target,
    piece: usize,
    queue: Arc<Queue>,
    /// Whether what was written last ends within a line.
    is_mid_line: AtomicBool,
    /// The kind of the first error: nothing is written after it.
    failure: Arc<Mutex<Option<io::ErrorKind>>>,
}

impl Stream {
    fn new(target: Target, queue: Arc<Queue>) -> Self {
        Self {
            target,
            piece: target.piece(),
            queue,
            is_mid_line: AtomicBool::new(false),
            failure: Arc::default(),
        }
    }

    /// Whether what was written last ends within a line.
    pub fn is_mid_line(&self) -> bool {
        self.is_mid_line.load(Ordering::SeqCst)
    }

    /// Writes `bytes`, or queues them when the stream has no room.
    ///
    /// # Errors
    /// When the stream cannot be written, as known so far: a queued write fails later, and then fails the next call.
    pub fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        if let Some(kind) = *lock(&self.failure) {
            return Err(kind.into());
        }
        if self.target == Target::Stderr && STDOUT.is_mid_line() && is_one_terminal() {
            // Whether stdout can be written is the business of who writes results.
            let _ = STDOUT.write_all(b"\n");
        }
        if let Some(last) = bytes.last() {
            self.is_mid_line.store(*last != b'\n', Ordering::SeqCst);
        }
        let mut thread = lock(&self.queue.thread);
        let mut rest = bytes;
        while thread.is_none() && !rest.is_empty() && self.target.has_room() {
            let piece = &rest[..rest.len().min(self.piece)];
            let written = self.target.write(piece);
            let written = written.inspect_err(|error| *lock(&self.failure) = Some(error.kind()))?;
            rest = &rest[written..];
        }
        if rest.is_empty() {
            return Ok(());
        }
        if thread.is_none() {
            *thread = Some(self.queue.start()?);
        }
        if let Some(thread) = thread.as_ref() {
            self.queue.bytes.fetch_add(rest.len(), Ordering::SeqCst);
            let item = Item {
                target: self.target,
                bytes: rest.to_owned(),
                failure: Arc::clone(&self.failure),
            };
            // The thread lives as long as the process.
            let _ = thread.send(item);
        }
        Ok(())
    }
}

/// What a thread still has to write.
#[derive(Debug, Default)]
struct Queue {
    thread: Mutex<Option<mpsc::Sender<Item>>>,
    /// How many bytes wait.
    bytes: Arc<AtomicUsize>,
    drained: Arc<Notify>,
}

#[derive(Debug)]
struct Item {
    target: Target,
    bytes: Vec<u8>,
    failure: Arc<Mutex<Option<io::ErrorKind>>>,
}

impl Queue {
    fn start(&self) -> io::Result<mpsc::Sender<Item>> {
        let (sender, items) = mpsc::channel::<Item>();
        let (bytes, drained) = (Arc::clone(&self.bytes), Arc::clone(&self.drained));
        thread::Builder::new()
            .name("stdio".to_owned())
            .spawn(move || {
                for item in items {
                    let mut failure = lock(&item.failure);
                    if failure.is_none() {
                        drop(failure);
                        let written = item.target.write_all(&item.bytes);
                        failure = lock(&item.failure);
                        *failure = written.err().map(|error| error.kind());
                    }
                    drop(failure);
                    bytes.fetch_sub(item.bytes.len(), Ordering::SeqCst);
                    drained.notify_waiters();
                }
            })?;
        Ok(sender)
    }

    fn is_empty(&self) -> bool {
        self.bytes.load(Ordering::SeqCst) == 0
    }

    async fn drained(&self) {
        loop {
            let notified = self.drained.notified();
            if self.is_empty() {
                return;
            }
            notified.await;
        }
    }
}

/// A lock whose holder panicked guards plain data, which is still right.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn has_room(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::OUT)];
    // What cannot be polled is written directly, and tells why it cannot be written.
    poll(&mut fds, Some(&Timespec::default())) != Ok(0)
}

fn file_type(fd: BorrowedFd<'_>) -> io::Result<std::fs::FileType> {
    Ok(File::from(fd.try_clone_to_owned()?).metadata()?.file_type())
}

/// Whether stdout and stderr are the same terminal.
fn is_one_terminal() -> bool {
    io::stdout().is_terminal() && io::stderr().is_terminal() && is_one_file()
}

fn is_one_file() -> bool {
    let identity = |fd: BorrowedFd<'_>| -> io::Result<(u64, u64)> {
        let metadata = File::from(fd.try_clone_to_owned()?).metadata()?;
        Ok((metadata.dev(), metadata.ino()))
    };
    let identities = (
        identity(io::stdout().as_fd()),
        identity(io::stderr().as_fd()),
    );
    matches!(identities, (Ok(stdout), Ok(stderr)) if stdout == stderr)
}
