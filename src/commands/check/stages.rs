//! The finished stages: printed one by one, and reported to CI services at the end.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _};

use tokio::time::Instant;

use super::probes::StageOutcome;
use crate::app::step_summary;
use crate::console::{self, Console, OutputFormat};
use crate::failure::{Failure, Kind, Signal, Verdict};
use crate::output::stages::{CheckReport, Stage, Status, to_markdown, write_junit};
use crate::output::{Printer, SCHEMA_VERSION, TraceReport};
use crate::settings::Sources;

/// The stages, in their order.
const ORDER: [&str; 7] = [
    "settings", "connect", "health", "auth", "model", "export", "readable",
];

/// What has been found so far.
#[derive(Debug)]
pub struct Stages {
    pub console: Console,
    pub printer: Printer,
    pub is_quiet: bool,
    /// The current stage, and when it began.
    pub under_way: (&'static str, Instant),
    pub ended: Vec<Stage>,
    pub verdict: Verdict,
}

impl Stages {
    /// Begins a stage.
    pub fn begin(&mut self, name: &'static str) {
        self.under_way = (name, Instant::now());
    }

    /// Records the outcome of the current stage; returns its finding for the next ones.
    pub fn land<T>(&mut self, ended: StageOutcome<T>) -> Option<T> {
        let (name, start) = self.under_way;
        let ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (status, detail, hint, found) = match ended {
            Ok((found, detail)) => (Status::Ok, detail, None, Some(found)),
            Err(failure) => {
                self.verdict.add(failure.kind);
                if !self.are_shown() {
                    self.console.error(&failure);
                }
                (Status::Failed, failure.message, failure.hint, None)
            }
        };
        let detail = self.console.clean(&detail);
        let hint = hint.map(|hint| self.console.clean(&hint));
        self.push(Stage {
            name,
            status,
            ms,
            detail,
            hint,
        });
        found
    }

    /// Records that a signal ended the current stage. Stderr says so in every format: the signal is not a result of
    /// the check.
    pub fn interrupt(&mut self, signal: Signal) {
        let (name, _) = self.under_way;
        let message = format!("interrupted while the stage `{name}` was under way");
        let failure = Failure::new(Kind::Interrupted(signal), message).hint("run it again");
        self.land::<()>(Err(if self.are_shown() {
            self.console.error(&failure);
            Failure::new(failure.kind, "interrupted")
        } else {
            failure
        }));
    }

    /// Records that a stage does not run.
    pub fn skip(&mut self, name: &'static str, why: &str) {
        self.push(Stage {
            name,
            status: Status::Skipped,
            ms: 0,
            detail: why.to_owned(),
            hint: None,
        });
    }

    /// Prints a stage as soon as it has ended.
    fn push(&mut self, stage: Stage) {
        if self.are_shown() {
            let is_terminal = io::stdout().is_terminal();
            let columns = if is_terminal {
                console::columns()
            } else {
                usize::MAX
            };
            self.printer.text(&stage.to_text(columns));
        }
        self.ended.push(stage);
    }

    /// Whether stdout shows the stages one by one; otherwise stderr shows the failures.
    fn are_shown(&self) -> bool {
        self.printer.form() == OutputFormat::Text && !self.is_quiet
    }

    /// Skips the stages that have not run, because of `stopped`, and writes every report.
    pub fn finish(
        mut self,
        sources: &Sources,
        stopped: &str,
        with_model: bool,
        trace: Option<&TraceReport>,
        junit: Option<File>,
    ) -> Verdict {
        for name in ORDER {
            if self.ended.iter().all(|stage| stage.name != name) {
                let why = if name == "model" && !with_model {
                    "only with --with-model"
                } else {
                    stopped
                };
                self.skip(name, why);
            }
        }
        self.ended
            .sort_by_key(|stage| ORDER.iter().position(|name| *name == stage.name));
        for failure in [self.write_junit(junit), self.tell_github(sources)]
            .into_iter()
            .filter_map(Result::err)
        {
            self.console.error(&failure);
            self.verdict.add(failure.kind);
        }
        if self.printer.form() == OutputFormat::Json {
            let report = CheckReport {
                schema_version: SCHEMA_VERSION,
                ok: self.verdict.kind().is_none(),
                command: "check",
                stages: &self.ended,
                trace,
            };
            self.printer.document(&report);
        }
        if let Some(failure) = self.printer.take_failure() {
            self.console.error(&failure);
            self.verdict.add(failure.kind);
        }
        self.verdict
    }

    fn write_junit(&self, file: Option<File>) -> Result<(), Failure> {
        let written = file.map_or(Ok(()), |file| {
            write_junit(&self.ended, BufWriter::new(file))
        });
        written.map_err(|error| Failure::unwritable("the JUnit report", &error))
    }

    /// Annotations and the step summary of GitHub Actions.
    fn tell_github(&self, sources: &Sources) -> Result<(), Failure> {
        if sources.get("GITHUB_ACTIONS").is_some() {
            for stage in self
                .ended
                .iter()
                .filter(|stage| stage.status == Status::Failed)
            {
                self.console.annotation(&stage.to_annotation());
            }
        }
        step_summary::append(&to_markdown(&self.ended), sources)
    }
}
