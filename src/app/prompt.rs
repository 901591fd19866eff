//! The prompt of `chat`: the arguments, then stdin.

use std::fs::{File, Metadata};
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::console::Console;
use crate::failure::Failure;

/// Largest prompt or file of requests that is read as a whole, in bytes.
pub const MOST_INPUT_BYTES: u64 = 100_000_000;
/// After this long without data on stdin, a note says that it is being read.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the prompt comes from.
#[derive(Debug, PartialEq, Eq)]
pub enum Prompt {
    Arguments(String),
    Stdin,
    /// The instruction, then stdin unless it is empty.
    Both(String),
}

impl Prompt {
    /// Decides what to read, before reading anything.
    ///
    /// # Errors
    /// When there is neither an argument nor anything on stdin.
    pub fn plan(arguments: &[String], no_stdin: bool) -> Result<Self, Failure> {
        let words: Vec<&str> = arguments
            .iter()
            .map(String::as_str)
            .filter(|word| *word != "-")
            .collect();
        let text = words.join(" ");
        let wants_stdin = words.len() < arguments.len();
        if wants_stdin && no_stdin {
            return Err(Failure::usage(
                "`-` reads the prompt from stdin, but --no-stdin ignores stdin",
            )
            .hint("omit one of them"));
        }
        match (arguments.is_empty(), text.trim().is_empty()) {
            (true, _) if no_stdin || io::stdin().is_terminal() => Err(no_prompt()),
            (true, _) => Ok(Self::Stdin),
            (_, true) if wants_stdin => Ok(Self::Stdin),
            (_, true) => Err(no_prompt()),
            _ if wants_stdin || (!no_stdin && may_hold_input()) => Ok(Self::Both(text)),
            _ => Ok(Self::Arguments(text)),
        }
    }

    /// The same where the messages come from elsewhere, so that there may be nothing: `None` if there is nothing to read.
    ///
    /// # Errors
    /// When `-` and `--no-stdin` contradict each other.
    pub fn plan_addition(arguments: &[String], no_stdin: bool) -> Result<Option<Self>, Failure> {
        if !arguments.is_empty() {
            return Self::plan(arguments, no_stdin).map(Some);
        }
        let is_read = !no_stdin && may_hold_input();
        Ok(is_read.then_some(Self::Stdin))
    }

    /// What was typed and piped in addition to other messages; `None` if that is empty.
    ///
    /// # Errors
    /// When stdin cannot be read.
    pub fn read_addition(self, console: &Console) -> Result<Option<String>, Failure> {
        let text = match self {
            Self::Stdin => read_stdin(console)?,
            other => other.read(console)?,
        };
        Ok((!text.trim().is_empty()).then_some(text))
    }

    /// The whole prompt.
    ///
    /// # Errors
    /// When stdin cannot be read, or the prompt is empty.
    pub fn read(self, console: &Console) -> Result<String, Failure> {
        let prompt = match self {
            Self::Arguments(text) => text,
            Self::Stdin => read_stdin(console)?,
            Self::Both(text) => match read_stdin(console)? {
                input if input.trim().is_empty() => text,
                input => format!("{text}\n\n{input}"),
            },
        };
        if prompt.trim().is_empty() {
            Err(no_prompt())
        } else {
            Ok(prompt)
        }
    }
}

fn no_prompt() -> Failure {
    Failure::usage("no prompt")
        .hint("give it as an argument or on stdin, as in: langspan chat \"Hello\"")
}

/// Whether stdin is something that a command may have been given on purpose: a pipe, a socket or a file.
fn may_hold_input() -> bool {
    let kind = stdin_metadata().map(|metadata| metadata.file_type());
    kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket() || kind.is_file())
}

fn stdin_metadata() -> io::Result<Metadata> {
    let stdin = io::stdin().as_fd().try_clone_to_owned()?;
    File::from(stdin).metadata()
}

/// Reads all of stdin, without the line end that shells add.
fn read_stdin(console: &Console) -> Result<String, Failure> {
    let (sender, receiver) = mpsc::channel();
    // On a thread of its own: a silent pipe must not delay the note.
    thread::spawn(move || {
        // The length of a file; that of a pipe is 0.
        let length = stdin_metadata().map_or(0, |metadata| metadata.len());
        let length = usize::try_from(length.min(MOST_INPUT_BYTES)).unwrap_or_default();
        let mut bytes = Vec::with_capacity(length);
        let read = io::stdin()
            .take(MOST_INPUT_BYTES + 1)
            .read_to_end(&mut bytes);
        // The receiver waits until something is sent.
        let _ = sender.send(read.map(|_| bytes));
    });
    let read = match receiver.recv_timeout(PATIENCE) {
        Err(mpsc::RecvTimeoutError::Timeout) => {
            console.note("reading stdin; --no-stdin ignores it");
            receiver
                .recv()
                .map_err(|_| mpsc::RecvTimeoutError::Disconnected)
        }
        read => read,
    };
    let bytes = match read {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => {
            return Err(Failure::unreadable("stdin", &error).hint("--no-stdin ignores it"));
        }
        Err(_) => return Err(Failure::file("stdin cannot be read").hint("--no-stdin ignores it")),
    };
    if bytes.len() as u64 > MOST_INPUT_BYTES {
        return Err(Failure::input("stdin holds more than 100 MB").hint("send less"));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| {
        Failure::input("stdin is not UTF-8 text").hint("convert it, or --no-stdin ignores it")
    })?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
