//! JUnit XML, as CI services read it: one suite of test cases, written case by case.

use std::io::{self, Write};

/// A suite under way.
#[derive(Debug)]
pub struct TestSuite<W> {
    sink: W,
    /// The command whose results these are.
    command: &'static str,
}

/// The counts in the head of a suite.
#[derive(Clone, Copy, Debug, Default)]
pub struct SuiteTotals {
    pub tests: u64,
    pub failures: u64,
    pub errors: u64,
    pub skipped: u64,
    /// In milliseconds.
    pub ms: u64,
}

/// How a case ended.
#[derive(Clone, Copy, Debug)]
pub enum CaseOutcome<'a> {
    /// With what was found; it may be empty.
    Passed(&'a str),
    /// With the reason.
    Skipped(&'a str),
    Failed {
        message: &'a str,
        text: &'a str,
    },
    /// It could not be found out.
    Error {
        message: &'a str,
        text: &'a str,
    },
}

impl<W: Write> TestSuite<W> {
    /// Writes the head.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(mut sink: W, command: &'static str, totals: SuiteTotals) -> io::Result<Self> {
        let SuiteTotals {
            tests,
            failures,
            errors,
            skipped,
            ms,
        } = totals;
        let time = seconds(ms);
        writeln!(sink, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
        writeln!(
            sink,
            "<testsuite name=\"langspan {command}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" time=\"{time}\">",
        )?;
        Ok(Self { sink, command })
    }

    /// Writes a case that took `ms` milliseconds.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn case(&mut self, name: &str, ms: u64, outcome: CaseOutcome<'_>) -> io::Result<()> {
        let inner = match outcome {
            CaseOutcome::Passed("") => String::new(),
            CaseOutcome::Passed(detail) => {
                format!("<system-out>{}</system-out>", escape(detail))
            }
            CaseOutcome::Skipped(reason) => format!("<skipped message=\"{}\"/>", escape(reason)),
            CaseOutcome::Failed { message, text } => complaint("failure", message, text),
            CaseOutcome::Error { message, text } => complaint("error", message, text),
        };
        let command = self.command;
        let (name, time) = (escape(name), seconds(ms));
        writeln!(
            self.sink,
            "  <testcase classname=\"langspan.{command}\" name=\"{name}\" time=\"{time}\">{inner}</testcase>"
        )
    }

    /// Writes the end.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end(mut self) -> io::Result<()> {
        writeln!(self.sink, "</testsuite>")?;
        self.sink.flush()
    }
}

fn complaint(element: &str, message: &str, text: &str) -> String {
    let (message, text) = (escape(message), escape(text));
    format!("<{element} message=\"{message}\">{text}</{element}>")
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

/// Text escaped for XML, attributes included, without the characters that XML 1.0 forbids, even escaped.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if is_allowed_in_xml(c) => escaped.push(c),
            _ => {}
        }
    }
    escaped
}

/// Without the control characters that XML 1.0 allows but discourages.
fn is_allowed_in_xml(c: char) -> bool {
    match c {
        '\n' | '\t' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        c => !c.is_control(),
    }
}
