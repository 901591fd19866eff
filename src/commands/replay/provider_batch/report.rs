//! What an import came to, as text and as JSON.

use serde::Serialize;

use super::trace_maker::BatchTrace;
use crate::app::jsonl::JsonFile;
use crate::app::ledgered::LedgeredCounts;
use crate::console::{Console, OutputFormat, counted};
use crate::failure::{Failure, Verdict};
use crate::output::{ErrorReport, Printer, SCHEMA_VERSION};

/// What became of the outputs of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportState {
    Accepted,
    Failed,
    /// Some may have arrived.
    Unproven,
    /// Nothing was sent (`--dry-run`).
    Planned,
}

/// An output or error file.
#[derive(Debug, Serialize)]
pub struct ImportedFile {
    pub path: String,
    pub state: ImportState,
    /// Traces that were accepted, or would be sent.
    pub traces: u64,
    pub spans: u64,
    /// Traces of failed calls among those that were made.
    pub failed_calls: u64,
    /// Traces that an earlier run sent.
    pub sent_before: u64,
    /// Traces that Langfuse had.
    pub present: u64,
    /// Traces that were not accepted.
    pub kept: u64,
    /// Those of them that may have arrived all the same.
    pub unproven: u64,
    /// Left out by the sample rate.
    pub left_out: u64,
}

impl ImportedFile {
    pub fn new(file: &JsonFile, console: &Console) -> Self {
        Self {
            path: console.clean(&file.path.display().to_string()),
            state: ImportState::Planned,
            traces: 0,
            spans: 0,
            failed_calls: 0,
            sent_before: 0,
            present: 0,
            kept: 0,
            unproven: 0,
            left_out: 0,
        }
    }

    /// Counts a trace that would be sent.
    pub fn plan(&mut self, made: &BatchTrace, spans: usize) {
        self.traces += 1;
        self.spans += spans as u64;
        self.failed_calls += u64::from(made.exchange.error.is_some());
    }

    /// Takes over what was delivered.
    pub fn settle(&mut self, counts: &LedgeredCounts, has_failed: bool) {
        self.traces = counts.accepted;
        self.spans = counts.spans;
        self.failed_calls = counts.failed_calls;
        self.sent_before = counts.sent_before;
        self.present = counts.present;
        self.kept = counts.kept;
        self.unproven = counts.unproven;
        self.state = match counts.unproven {
            0 if counts.kept > 0 || has_failed => ImportState::Failed,
            0 => ImportState::Accepted,
            unproven if unproven < counts.kept => ImportState::Failed,
            _ => ImportState::Unproven,
        };
    }

    fn to_text(&self) -> String {
        let state = match self.state {
            ImportState::Accepted => "accepted",
            ImportState::Failed => "failed",
            ImportState::Unproven => "unproven",
            ImportState::Planned => "would send",
        };
        let mut traces = counted(self.traces, "trace");
        if self.failed_calls > 0 {
            traces = format!("{traces} ({})", counted(self.failed_calls, "failed call"));
        }
        let mut parts = vec![traces, counted(self.spans, "span")];
        for (count, what) in [
            (self.sent_before, "sent before"),
            (self.present, "in Langfuse already"),
            (self.kept - self.unproven, "not accepted"),
            (self.unproven, "unproven"),
            (self.left_out, "left out by the sample rate"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        format!("{state}  {}  {}\n", self.path, parts.join(", "))
    }
}

/// All files of a run, and what failed.
#[derive(Debug, Default)]
pub struct Imported {
    pub files: Vec<ImportedFile>,
    failures: Vec<Failure>,
    verdict: Verdict,
}

#[derive(Debug, Serialize)]
struct ImportDocument<'a> {
    schema_version: u32,
    ok: bool,
    command: &'static str,
    dry_run: bool,
    endpoint: Option<String>,
    files: &'a [ImportedFile],
    error: Option<ErrorReport>,
}

impl Imported {
    /// Takes a failure into account, which was printed already.
    pub fn add(&mut self, failure: Failure) {
        self.verdict.add(failure.kind);
        self.failures.push(failure);
    }

    /// Prints the result.
    pub fn report(
        mut self,
        mut printer: Printer,
        dry_run: bool,
        endpoint: Option<String>,
        console: &Console,
    ) -> Verdict {
        if printer.form() == OutputFormat::Json {
            let mut failures = self.failures.iter();
            let deciding = failures.find(|failure| Some(failure.kind) == self.verdict.kind());
            printer.document(&ImportDocument {
                schema_version: SCHEMA_VERSION,
                ok: deciding.is_none(),
                command: "replay",
                dry_run,
                endpoint,
                files: &self.files,
                error: deciding.map(|failure| ErrorReport::new(failure, console)),
            });
        } else {
            for file in &self.files {
                printer.text(&file.to_text());
            }
        }
        if let Some(failure) = printer.take_failure() {
            console.error(&failure);
            self.verdict.add(failure.kind);
        }
        self.verdict
    }
}
