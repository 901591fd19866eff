//! Errors as users and scripts see them: a kind, one line of cause, one line of remedy, and the exit code. Nothing
//! is printed here; `console` does that.

use std::fmt;
use std::process::ExitCode;

/// The signal that ended a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Hangup,
    Interrupt,
    Terminate,
}

/// The kind of a failure: `error.kind` of the JSON output, and what the exit code follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line is wrong; nothing was sent.
    Usage,
    /// The input is wrong; nothing was sent.
    Input,
    /// Settings or credentials are missing or malformed, found before a socket was opened.
    Config,
    /// The model call failed; its trace was accepted.
    Model,
    /// The trace was not accepted.
    Delivery,
    /// A local file could not be read or written.
    File,
    /// The trace was accepted, but could not be read back before the deadline.
    NotReadable,
    /// More lines of a batch failed than were allowed, or it was stopped early.
    Lines,
    /// Shards do not make up one whole run.
    Incomplete,
    /// An expectation about the run was not met.
    Expectation,
    /// A signal ended the run.
    Interrupted(Signal),
    /// The command of `exec` ended with this code, or could not be started (126, 127).
    Command(u8),
    /// A bug.
    Internal,
}

impl Kind {
    /// The name of the kind in JSON output and recordings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Input | Self::Incomplete => "input",
            Self::Config => "config",
            Self::Model | Self::Lines => "model",
            Self::Delivery => "delivery",
            Self::File | Self::Command(_) => "file",
            Self::NotReadable => "not_readable",
            Self::Expectation => "expectation",
            Self::Interrupted(_) => "interrupted",
            Self::Internal => "internal",
        }
    }

    /// The exit code of a run that this kind decides.
    pub fn exit_code(self) -> u8 {
        if let Self::Command(code) = self {
            return code;
        }
        match self {
            Self::Internal | Self::Command(_) => 1,
            Self::Usage | Self::Input => 2,
            Self::Config => 3,
            Self::Model => 4,
            Self::Delivery => 5,
            Self::File => 6,
            Self::NotReadable => 7,
            Self::Lines | Self::Incomplete => 8,
            Self::Expectation => 9,
            Self::Interrupted(Signal::Hangup) => 129,
            Self::Interrupted(Signal::Interrupt) => 130,
            Self::Interrupted(Signal::Terminate) => 143,
        }
    }

    /// How much the kind weighs where several apply: the heaviest decides the exit code.
    fn weight(self) -> u8 {
        match self {
            Self::NotReadable => 1,
            Self::Expectation => 2,
            Self::Model | Self::Lines | Self::Incomplete => 3,
            Self::File => 4,
            Self::Delivery => 5,
            Self::Usage | Self::Input | Self::Config | Self::Internal => 6,
            Self::Interrupted(_) => 7,
            Self::Command(_) => 8,
        }
    }
}

/// One error: a line of cause, a line of remedy.
#[derive(Debug)]
pub struct Failure {
    pub kind: Kind,
    /// One line: what happened, with the HTTP status and the server's own words where there are any.
    pub message: String,
    /// One line: what to do about it.
    pub hint: Option<String>,
    /// A shell command that does it: printed behind the hint, with only secrets removed.
    pub command: Option<String>,
    /// The HTTP status, when a server answered.
    pub status: Option<u16>,
    /// Whether the same command may succeed later without any change.
    pub retryable: bool,
}

impl Failure {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            command: None,
            status: None,
            retryable: false,
        }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub fn input(message: impl Into<String>) -> Self {
        Self::new(Kind::Input, message)
    }

    pub fn config(message: impl Into<String>) -> Self {
        Self::new(Kind::Config, message)
    }

    pub fn file(message: impl Into<String>) -> Self {
        Self::new(Kind::File, message)
    }

    /// A file, stdin or another local source that cannot be read.
    pub fn unreadable(what: impl fmt::Display, error: &dyn fmt::Display) -> Self {
        Self::file(format!("{what} cannot be read: {error}"))
            .hint("check the path and its permissions")
    }

    /// A file or another local target that cannot be written.
    pub fn unwritable(what: impl fmt::Display, error: &dyn fmt::Display) -> Self {
        // `tempfile` adds the path of its file, which is not the one that the user named.
        let why = error.to_string();
        let why = why.split(" at path \"").next().unwrap_or_default();
        Self::file(format!("{what} cannot be written: {why}"))
            .hint("check the path, its permissions and the free disk space")
    }

    /// The remedy: what the user can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The remedy, joined from its parts.
    #[must_use]
    pub fn hints(mut self, parts: impl IntoIterator<Item = Option<String>>) -> Self {
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        self.hint = (!parts.is_empty()).then(|| parts.join("; "));
        self
    }

    /// The command with which the remedy ends.
    #[must_use]
    pub fn command(mut self, command: impl Into<Option<String>>) -> Self {
        self.command = command.into();
        self
    }

    #[must_use]
    pub fn status(mut self, status: Option<u16>) -> Self {
        self.status = status;
        self
    }

    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Kind::Internal, format!("{error:#}"))
            .hint("this is a bug: please report it with the command that caused it")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// How a run ended: the heaviest of the failures that happened in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict(Option<Kind>);

impl Verdict {
    /// Takes one more failure into account.
    pub fn add(&mut self, kind: Kind) {
        if self.0.is_none_or(|known| kind.weight() > known.weight()) {
            self.0 = Some(kind);
        }
    }

    /// The first of the failures that decides.
    pub fn deciding(self, failures: &[Failure]) -> Option<&Failure> {
        let decides = |failure: &&Failure| Some(failure.kind) == self.0;
        failures.iter().find(decides)
    }

    /// The kind of the failure that decides, if anything failed.
    pub fn kind(self) -> Option<Kind> {
        self.0
    }
}

impl<'f> FromIterator<&'f Failure> for Verdict {
    fn from_iter<T: IntoIterator<Item = &'f Failure>>(failures: T) -> Self {
        let mut verdict = Self::default();
        for failure in failures {
            verdict.add(failure.kind);
        }
        verdict
    }
}

impl From<Kind> for Verdict {
    fn from(kind: Kind) -> Self {
        Self(Some(kind))
    }
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        verdict
            .0
            .map_or(Self::SUCCESS, |kind| Self::from(kind.exit_code()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(kinds: &[Kind]) -> Option<u8> {
        let mut verdict = Verdict::default();
        for kind in kinds {
            verdict.add(*kind);
        }
        verdict.kind().map(Kind::exit_code)
    }

    #[test]
    fn only_the_file_that_was_named_is_in_the_message() {
        let error = tempfile::tempfile_in("/nonexistent").unwrap_err();
        let named = tempfile::NamedTempFile::new_in("/nonexistent").unwrap_err();
        assert!(named.to_string().contains("/nonexistent/"), "{named}");
        for error in [&error, &named] {
            let message = Failure::unwritable("out.jsonl", error).message;
            let expected = "out.jsonl cannot be written: No such file or directory (os error 2)";
            assert_eq!(message, expected);
        }
    }

    #[test]
    fn the_heaviest_failure_decides_the_exit_code() {
        assert_eq!(decided(&[]), None);
        assert_eq!(decided(&[Kind::NotReadable, Kind::Model]), Some(4));
        assert_eq!(decided(&[Kind::File, Kind::Model]), Some(6));
        assert_eq!(decided(&[Kind::Delivery, Kind::File]), Some(5));
        assert_eq!(
            decided(&[Kind::Interrupted(Signal::Terminate), Kind::Delivery]),
            Some(143)
        );
    }
}
