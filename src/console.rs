//! The one way to stderr: notes, warnings, errors and wire detail, scrubbed of secrets.
//!
//! Results go to stdout and are the business of `output`.

use std::io::{self, IsTerminal};
use std::sync::{Arc, OnceLock};

use anstyle::{AnsiColor, Style};
use indicatif::ProgressBar;

use crate::failure::Failure;
use crate::secret::{Redactor, Secret};
use crate::stdio;

/// Stderr, and the settings that decide whether and how a message is printed. Clones share their secrets.
#[derive(Clone, Debug)]
pub struct Console {
    quiet: bool,
    verbosity: u8,
    colour: bool,
    secrets: Arc<OnceLock<Redactor>>,
    /// The progress line, below which every other message is printed.
    drawing: Arc<OnceLock<ProgressBar>>,
}

impl Console {
    /// `quiet` silences everything but errors; `verbosity` counts the `-v`.
    pub fn new(quiet: bool, verbosity: u8) -> Self {
        Self {
            quiet,
            verbosity,
            colour: wants_colour(&io::stderr()),
            secrets: Arc::default(),
            drawing: Arc::default(),
        }
    }

    /// Adds values that must not appear in any later message.
    pub fn hide(&self, secrets: &[Secret]) {
        // A second call finds the first one's secrets in place; there is one set of settings in a process.
        let _ = self.secrets.set(Redactor::new(secrets));
    }

    /// Says everything around `drawing` from now on.
    pub fn draw_around(&self, drawing: ProgressBar) {
        // There is one in a process.
        let _ = self.drawing.set(drawing);
    }

    /// `text` without the secrets of this run.
    pub fn scrub(&self, text: &str) -> String {
        let secrets = self.secrets.get();
        secrets.map_or_else(|| text.to_owned(), |secrets| secrets.redact(text))
    }

    /// A server's own words as one line that may be shown and kept: scrubbed first, since a secret that is cut is
    /// no longer recognised, then put on one line of bounded length.
    pub fn clean(&self, text: &str) -> String {
        one_line(&self.scrub(text))
    }

    /// A line that is neither good nor bad: `trace: URL`.
    pub fn note(&self, line: &str) {
        if !self.quiet {
            self.line(line);
        }
    }

    /// Something that will probably surprise, although the run goes on.
    pub fn warn(&self, line: &str) {
        if !self.quiet {
            let label = self.label("warning:", AnsiColor::Yellow);
            self.line(&format!("{label} {}", self.clean(line)));
        }
    }

    /// A failure: its cause, even with `-q`, and its remedy.
    pub fn error(&self, failure: &Failure) {
        let label = self.label("error:", AnsiColor::Red);
        self.line(&format!("{label} {}", self.clean(&failure.message)));
        if let Some(remedy) = self.remedy(failure).filter(|_| !self.quiet) {
            self.hint(&remedy);
        }
    }

    fn hint(&self, remedy: &str) {
        let label = self.label("hint:", AnsiColor::Cyan);
        self.line(&format!("{label} {remedy}"));
    }

    /// A failure that is forgiven, as a warning, and its remedy.
    pub fn forgiven(&self, failure: &Failure) {
        self.warn(&failure.message);
        if let Some(remedy) = self.remedy(failure).filter(|_| !self.quiet) {
            self.hint(&remedy);
        }
    }

    /// What to do about a failure, as it may be shown: its hint, then its command, which would be another one if it
    /// were cut or its white space joined.
    pub fn remedy(&self, failure: &Failure) -> Option<String> {
        let hint = failure.hint.as_deref().map(|hint| self.clean(hint));
        let command = failure.command.as_deref();
        let command = command.map(|command| self.scrub(command));
        let parts: Vec<String> = [hint, command].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(": "))
    }

    /// Whether `-v` was given.
    pub fn is_verbose(&self) -> bool {
        self.verbosity > 0
    }

    /// Wire detail for `-v` (level 1) and more.
    pub fn detail(&self, level: u8, line: impl FnOnce() -> String) {
        if self.verbosity >= level {
            self.line(&line());
        }
    }

    /// Wire detail that arrives in pieces, printed line by line behind `prefix`.
    pub fn detail_in_pieces(&self, level: u8, prefix: &'static str) -> DetailInPieces<'_> {
        DetailInPieces {
            console: (self.verbosity >= level).then_some(self),
            prefix,
            held: Vec::new(),
        }
    }

    /// A question, without a line end: the answer is typed behind it.
    pub fn ask(&self, question: &str) {
        let _ = stdio::stderr().write_all(self.scrub(question).as_bytes());
    }

    /// A workflow command of a CI service, printed even with `-q`.
    pub fn annotation(&self, line: &str) {
        self.line(line);
    }

    /// Whether stderr is a terminal where progress may be shown.
    pub fn shows_progress(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    fn label(&self, text: &str, colour: AnsiColor) -> String {
        if self.colour {
            let style = Style::new().bold().fg_color(Some(colour.into()));
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    fn line(&self, line: &str) {
        let line = format!("{}\n", self.scrub(line));
        // A closed stderr cannot be reported anywhere.
        let write = || drop(stdio::stderr().write_all(line.as_bytes()));
        match self.drawing.get() {
            Some(drawing) => drawing.suspend(write),
            None => write(),
        }
    }
}

/// Wire detail that arrives in pieces. A piece may end within a secret, which would not be recognised, so only whole
/// lines are printed; the rest follows when the value is dropped.
#[derive(Debug)]
pub struct DetailInPieces<'a> {
    /// None when the detail is not asked for.
    console: Option<&'a Console>,
    prefix: &'static str,
    /// The beginning of a line.
    held: Vec<u8>,
}

impl DetailInPieces<'_> {
    /// Prints the lines that `piece` completes.
    pub fn push(&mut self, piece: &[u8]) {
        if self.console.is_none() {
            return;
        }
        let end = piece.iter().rposition(|byte| *byte == b'\n');
        let (lines, rest) = piece.split_at(end.map_or(0, |end| end + 1));
        if !lines.is_empty() {
            self.held.extend_from_slice(lines);
            self.print();
        }
        self.held.extend_from_slice(rest);
    }

    fn print(&mut self) {
        let held = std::mem::take(&mut self.held);
        let text = String::from_utf8_lossy(&held);
        if let Some(console) = self.console.filter(|_| !held.is_empty()) {
            console.line(&format!("{}{}", self.prefix, text.trim_end_matches('\n')));
        }
    }
}

impl Drop for DetailInPieces<'_> {
    fn drop(&mut self) {
        self.print();
    }
}

/// Colour: never with `NO_COLOR` or `TERM=dumb`, always with `FORCE_COLOR`, else on a terminal.
pub fn wants_colour(stream: &impl IsTerminal) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if set("NO_COLOR") {
        return false;
    }
    set("FORCE_COLOR")
        || (stream.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb"))
}

/// The width to draw in: `COLUMNS`, else the terminal's, else 80.
pub fn columns() -> usize {
    const USUAL: usize = 80;
    const NARROWEST: usize = 20;
    let said = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    let columns =
        said.or_else(|| terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)));
    columns.unwrap_or(USUAL).max(NARROWEST)
}

/// Escapes a server's text, which may span lines and hold terminal controls, into one line.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 600;
    let mut line: String = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    if let Some((cut, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(cut);
        line.push('…');
    }
    line
}

/// The output format: what stdout carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputFormat {
    /// The answer.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// The provider's bytes.
    Raw,
    /// The trace's URL.
    Url,
    /// Lines that `batch` reads, in place of calls.
    Jsonl,
}

/// A count of things that take an `s` when they are several: `1 line`, `2 lines`.
pub fn counted(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_without_controls() {
        assert_eq!(one_line("a\n b\x1b[31m\tc"), "a b[31m c");
        assert_eq!(one_line(&"x".repeat(700)).chars().count(), 601);
    }
}
