//! The report of a run: on stderr, and in the document of `--report`.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::console::{Console, counted};
use crate::exec::assemble::Summary;
use crate::exec::process::Ended;
use crate::failure::Failure;
use crate::output::{ErrorReport, SCHEMA_VERSION, TraceReport};

/// The file of `--report`, opened before the command is started.
#[derive(Debug)]
pub struct ReportFile(File);

impl ReportFile {
    /// # Errors
    /// If it cannot be written.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let file = options.open(path);
        file.map(Self).map_err(|error| {
            Failure::unwritable(path.display(), &error).hint("check the path of --report")
        })
    }

    /// # Errors
    /// If it cannot be written.
    pub fn write(mut self, document: &ExecReport) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(document).map_err(anyhow::Error::from)?;
        line.push(b'\n');
        let written = self.0.write_all(&line);
        written.map_err(|error| Failure::unwritable("the report", &error))
    }
}

/// The document of a run.
#[derive(Debug, Serialize)]
pub struct ExecReport {
    schema_version: u32,
    ok: bool,
    command: &'static str,
    child: ChildReport,
    counts: Counts,
    trace: Option<TraceReport>,
    error: Option<ErrorReport>,
}

#[derive(Debug, Serialize)]
struct ChildReport {
    exit_code: Option<i32>,
    signal: Option<i32>,
}

#[derive(Debug, Default, Serialize)]
struct Counts {
    spans: u64,
    calls: u64,
    generations: u64,
    tokens: u64,
    cost: Option<f64>,
}

impl ExecReport {
    pub fn new(
        ended: Option<Ended>,
        summary: Option<&Summary>,
        trace: Option<TraceReport>,
        failure: Option<&Failure>,
        console: &Console,
    ) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            ok: failure.is_none() && ended == Some(Ended::Exited(0)),
            command: "exec",
            child: ChildReport {
                exit_code: ended.and_then(Ended::exit_code),
                signal: ended.and_then(Ended::signal),
            },
            counts: summary.map(Counts::of).unwrap_or_default(),
            trace,
            error: failure.map(|failure| ErrorReport::new(failure, console)),
        }
    }
}

impl Counts {
    fn of(summary: &Summary) -> Self {
        Self {
            spans: summary.received_spans,
            calls: summary.calls,
            generations: summary.generations,
            tokens: summary.tokens,
            cost: summary.cost,
        }
    }
}

/// The line of counts.
pub fn counts(summary: &Summary) -> String {
    let mut parts = vec![
        format!("{} received", counted(summary.received_spans, "span")),
        format!("{} seen", counted(summary.calls, "call")),
        counted(summary.generations, "generation"),
        counted(summary.tokens, "token"),
    ];
    parts.extend(summary.cost.map(|cost| format!("${}", rounded(cost))));
    parts.join(", ")
}

/// What the child's spans lacked, and how many of them.
pub fn filled(summary: &Summary) -> String {
    let filled = summary.filled.iter();
    let filled: Vec<String> = filled
        .map(|(name, count)| format!("{name} ({count})"))
        .collect();
    format!("filled in from the model calls: {}", filled.join(", "))
}

/// A sum of dollars without the digits that only the addition made.
fn rounded(cost: f64) -> String {
    let text = format!("{cost:.9}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

/// What usually keeps a program from being seen.
pub const UNSEEN: &str = "nothing was seen: no span came, and no model call. Usual causes: the program sets base URLs in \
     its code, its sampler is off, its SDK has no keys, or it exports by gRPC; see langspan help exec";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_one_line() {
        let summary = Summary {
            received_spans: 1,
            calls: 2,
            generations: 2,
            tokens: 58,
            cost: Some(0.1 + 0.2),
            ..Summary::default()
        };
        assert_eq!(
            counts(&summary),
            "1 span received, 2 calls seen, 2 generations, 58 tokens, $0.3"
        );
    }
}
