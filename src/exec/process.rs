//! The child: started with the changed environment, waited for, and sent the signals that concern it.
//!
//! It shares streams, terminal and process group with this process, so that Ctrl-C reaches both.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::app::signals::Signals;
use crate::exec::environment::Changes;
use crate::failure::{self, Failure};

/// How the child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Exited(i32),
    Signalled(i32),
}

impl Ended {
    /// The exit code, as a shell has it.
    pub fn code(self) -> u8 {
        let code = match self {
            Self::Exited(code) => code,
            Self::Signalled(signal) => 128 + signal,
        };
        u8::try_from(code & 0xff).unwrap_or(u8::MAX)
    }

    pub fn exit_code(self) -> Option<i32> {
        match self {
            Self::Exited(code) => Some(code),
            Self::Signalled(_) => None,
        }
    }

    pub fn signal(self) -> Option<i32> {
        match self {
            Self::Exited(_) => None,
            Self::Signalled(signal) => Some(signal),
        }
    }
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, Some(signal)) => Self::Signalled(signal),
            (None, None) => Self::Exited(1),
        }
    }
}

/// Signals: those that end a run, and the one that only the child heeds.
#[derive(Debug)]
pub struct ChildSignals {
    pub signals: Signals,
    _quit: Stream,
}

impl ChildSignals {
    /// Begins to listen.
    ///
    /// # Errors
    /// If the signals cannot be received.
    pub fn listen() -> Result<Self, Failure> {
        let mut signals = Signals::default();
        signals.listen()?;
        let quit = signal(SignalKind::quit()).map_err(anyhow::Error::from)?;
        Ok(Self {
            signals,
            _quit: quit,
        })
    }
}

/// Starts the command. Handlers of signals must be set before, and are gone in the child, which has the defaults.
///
/// # Errors
/// If it is not found, or cannot be executed.
pub fn start(command: &[OsString], changes: &Changes) -> io::Result<Child> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let mut child = Command::new(program);
    child.args(arguments);
    for (name, value) in &changes.set {
        child.env(name, value);
    }
    for name in &changes.unset {
        child.env_remove(name);
    }
    child.spawn()
}

/// The exit code of a shell for a command that could not be started.
pub fn code_of(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::NotFound => 127,
        _ => 126,
    }
}

/// Waits until the child has ended. SIGINT and SIGQUIT came to the child as well; SIGTERM and SIGHUP are passed on.
///
/// # Errors
/// If the child cannot be waited for.
pub async fn wait(child: &mut Child, signals: &mut Signals) -> io::Result<Ended> {
    let id = child.id();
    loop {
        tokio::select! {
            status = child.wait() => return Ok(status?.into()),
            signal = signals.wait() => match signal {
                failure::Signal::Hangup => send(id, Signal::HUP),
                failure::Signal::Terminate => send(id, Signal::TERM),
                failure::Signal::Interrupt => {}
            },
        }
    }
}

fn send(id: Option<u32>, signal: Signal) {
    let id = id
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    if let Some(id) = id {
        // It may have ended just now.
        let _ = kill_process(id, signal);
    }
}

/// The command line as a shell would take it.
pub fn command_line(command: &[OsString]) -> String {
    let words = command.iter().map(|word| quoted(&word.to_string_lossy()));
    words.collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_pasted() {
        let words = ["python", "-c", "print('a b')", ""].map(OsString::from);
        assert_eq!(command_line(&words), r"python -c 'print('\''a b'\'')' ''");
    }

    #[test]
    fn codes_are_those_of_a_shell() {
        assert_eq!(Ended::Exited(3).code(), 3);
        assert_eq!(Ended::Signalled(9).code(), 137);
        assert_eq!(code_of(&io::ErrorKind::NotFound.into()), 127);
        assert_eq!(code_of(&io::ErrorKind::PermissionDenied.into()), 126);
    }
}
