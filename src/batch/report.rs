//! How a batch ends: what is verified, said and written, and with which exit code.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use crate::app::delivery_report::{self, Subject};
use crate::app::signals::SignalListener;
use crate::batch::plan::{Out, Plan};
use crate::batch::pool::Stop;
use crate::batch::resume_command;
use crate::batch::stats::{Stats, Traces};
use crate::batch::summary::{RunOutcome, Summary};
use crate::batch::verify::{Counted, TraceCount};
use crate::cli::{self, Allowance};
use crate::console::OutputFormat;
use crate::console::{self, Console, counted};
use crate::delivery::Delivery;
use crate::failure::{Failure, Kind, Verdict};
use crate::langfuse::Api;
use crate::output::{ErrorReport, Printer};
use crate::settings::Settings;

/// What is known of a run when its work is done.
#[derive(Debug)]
pub struct Finished {
    /// From the first line to the last trace; what is looked up afterwards takes no part in it.
    pub lasted: Duration,
    pub tally: Stats,
    pub stop: Option<Stop>,
    /// What became of the first traces that were not accepted.
    pub trouble: Option<Delivery>,
    pub trace_count: TraceCount,
    pub session_url: Option<String>,
}

/// What a run ends with.
#[derive(Debug)]
pub struct RunReport<'a> {
    pub options: &'a cli::BatchArgs,
    pub settings: &'a Settings,
    pub plan: &'a Plan,
    pub api: Option<&'a Api>,
    pub console: &'a Console,
    /// The file of `--summary`.
    pub summary: Option<File>,
}

/// Opens the file of `--summary` before anything is sent. What it holds stays until there is a summary: the run may
/// still be refused.
///
/// # Errors
/// When it cannot be written.
pub fn open_summary(path: &Path) -> Result<File, Failure> {
    let mut options = File::options();
    let opened = options.write(true).create(true).truncate(false).open(path);
    opened.map_err(|error| {
        Failure::file(format!("{} cannot be written: {error}", path.display()))
            .hint("check the path of --summary")
    })
}

impl RunReport<'_> {
    /// Verifies, says and writes what came of the run.
    pub async fn conclude(mut self, finished: Finished, interrupt: &mut SignalListener) -> Verdict {
        let Finished {
            lasted,
            tally,
            stop,
            trouble,
            trace_count,
            session_url,
        } = finished;
        if stop.is_none() && tally.done + tally.skipped == 0 {
            self.console.warn("there are no lines");
        }
        let is_whole = stop.is_none() && trouble.is_none() && tally.traces.undecided == 0;
        let mut failures = Vec::new();
        failures.extend(self.of_lines(&tally, stop.as_ref()));
        failures.extend(self.of_delivery(trouble.as_ref(), tally.traces));
        failures.extend(self.of_undecided(tally.traces));
        failures.extend(stop.and_then(|stop| self.of_stop(stop, tally.traces)));
        let mut verified = None;
        if is_whole && let Some(ended) = self.verify(trace_count, interrupt).await {
            verified = ended.as_ref().ok().copied();
            failures.extend(ended.err());
        }
        let mut verdict = Verdict::default();
        for failure in failures.iter().filter(|failure| !self.is_forgiven(failure)) {
            verdict.add(failure.kind);
        }
        let deciding = failures
            .iter()
            .find(|failure| Some(failure.kind) == verdict.kind());
        let outcome = RunOutcome {
            lasted,
            run: self.plan.name.clone(),
            session_url,
            verified,
            error: deciding.map(|failure| ErrorReport::new(failure, self.console)),
        };
        let summary = Summary::new(&tally, outcome);
        self.console.note(&summary.to_text(console::columns()));
        if self.options.run.stand_in.sandbox && tally.traces.accepted > 0 {
            self.console.note("open it: langspan sandbox");
        }
        for failure in &failures {
            let best_effort = self.settings.delivery.best_effort;
            delivery_report::print(failure, best_effort, self.console);
        }
        if let Some(failure) = self.write(&summary) {
            self.console.error(&failure);
            verdict.add(failure.kind);
        }
        verdict
    }

    /// Writes the summary for programs, where one is wanted.
    fn write(&mut self, summary: &Summary) -> Option<Failure> {
        let mut failure = None;
        if self.settings.form == OutputFormat::Json && self.plan.out != Out::Stdout {
            let mut printer = Printer::new(OutputFormat::Json);
            printer.document(summary);
            failure = printer.take_failure();
        }
        let written = self
            .summary
            .as_mut()
            .map_or(Ok(()), |file| rewrite(file, summary));
        let unwritten = written.err().map(|error| {
            Failure::file(format!("the summary cannot be written: {error}"))
                .hint("is the disk full?")
        });
        failure.or(unwritten)
    }

    fn is_forgiven(&self, failure: &Failure) -> bool {
        delivery_report::is_forgiven(failure, self.settings.delivery.best_effort)
    }

    /// More lines failed than may, or all of them.
    fn of_lines(&self, tally: &Stats, stop: Option<&Stop>) -> Option<Failure> {
        if matches!(stop, Some(Stop::Model(_) | Stop::MaxErrors(_))) {
            return None;
        }
        let failed = tally.failed + tally.failed_before;
        let lines = tally.done + tally.skipped;
        #[expect(clippy::cast_precision_loss, reason = "a share of lines")]
        let is_allowed = match self.options.allow_errors {
            Allowance::Lines(most) => failed <= most,
            Allowance::Percent(most) => failed as f64 * 100.0 <= most * lines as f64,
        };
        if failed == 0 || (is_allowed && failed < lines) {
            return None;
        }
        let lines = counted(lines, "line");
        let failure = Failure::new(Kind::Lines, format!("{failed} of {lines} failed"));
        Some(match self.plan.out {
            Out::Regular(_) => failure
                .hint("the output tells why; then")
                .command(self.again(&["--retry-errors"], tally.traces)),
            _ => failure.hint("the output tells why; --allow-errors N says how many may"),
        })
    }

    /// Traces that were not accepted: of this run, or of an earlier one and refused again.
    fn of_delivery(&self, trouble: Option<&Delivery>, traces: Traces) -> Option<Failure> {
        let count = traces.spooled + traces.lost;
        if count == 0 {
            return None;
        }
        let Some(delivery) = trouble else {
            return Some(self.of_waiting(traces));
        };
        // Only an output file tells a later run which traces are missing.
        let is_resumable = matches!(self.plan.out, Out::Regular(_));
        let rerun = is_resumable.then(|| self.again(&[], traces));
        let subject = Subject::Traces(count);
        let tracing = &self.settings.tracing;
        Some(delivery_report::failure(subject, delivery, tracing, rerun))
    }

    /// Traces of an earlier run still wait in the outbox, where each was refused again, or which this run was not to
    /// look at.
    fn of_waiting(&self, traces: Traces) -> Failure {
        let place = self.settings.delivery.outbox.as_ref();
        let place = place.and_then(|place| place.dir.as_ref().ok());
        let place = place.map_or_else(String::new, |dir| format!(" {}", dir.display()));
        let wait = if traces.spooled == 1 { "waits" } else { "wait" };
        let count = counted(traces.spooled, "trace");
        let message = format!("{count} of the earlier run {wait} in the outbox{place}");
        Failure::new(Kind::Delivery, message)
            .hint("langspan resend, or again")
            .command(self.again(&[], traces))
    }

    /// Traces of an earlier run of which nobody could say whether they had arrived.
    fn of_undecided(&self, traces: Traces) -> Option<Failure> {
        if traces.undecided == 0 {
            return None;
        }
        let are = if traces.undecided == 1 { "is" } else { "are" };
        let count = counted(traces.undecided, "trace");
        let message = format!("{count} of the earlier run {are} not known to have arrived");
        let failure = Failure::new(Kind::Delivery, message).hint("again");
        Some(failure.command(self.again(&[], traces)))
    }

    fn of_stop(&self, stop: Stop, traces: Traces) -> Option<Failure> {
        let (kind, message) = match stop {
            Stop::Closed => {
                self.console
                    .note("stopped early: nobody reads the output any more");
                return None;
            }
            Stop::File(failure) => return Some(failure),
            Stop::Signal(signal) => (Kind::Interrupted(signal), "interrupted".to_owned()),
            Stop::Model(why) => (Kind::Lines, format!("stopped early: {why}")),
            Stop::MaxErrors(most) => (
                Kind::Lines,
                format!("stopped early: --max-errors {most} is reached"),
            ),
            Stop::Outbox(why) => (Kind::Delivery, format!("stopped early: {why}")),
        };
        let failure = Failure::new(kind, message);
        Some(match self.plan.out {
            Out::Regular(_) => failure
                .hint("continue with")
                .command(self.again(&[], traces)),
            _ => failure.hint("with --out FILE a run can be continued"),
        })
    }

    /// The command that continues this run, with `further` options.
    fn again(&self, further: &[&str], traces: Traces) -> String {
        // Without an outbox, what waits there would be left there by every run.
        let without: &[&str] = match (&self.settings.delivery.outbox, traces.spooled) {
            (None, 1..) => &["--no-outbox"],
            _ => &[],
        };
        let given = std::env::args_os().skip(1);
        resume_command::command(given, further, without, |word| self.console.scrub(word))
    }

    /// Counts the traces that the server knows, where that is asked for.
    async fn verify(
        &self,
        trace_count: TraceCount,
        interrupt: &mut SignalListener,
    ) -> Option<Result<u64, Failure>> {
        let (wait, api) = (self.settings.delivery.verify?, self.api?);
        let Counted { sent, known, error } = tokio::select! {
            counted = trace_count.take(api, wait) => counted,
            signal = interrupt.wait() => {
                let failure = Failure::new(
                    Kind::Interrupted(signal),
                    "interrupted while waiting for the traces to be readable",
                );
                return Some(Err(failure.hint("they were accepted")));
            }
        };
        if known >= sent {
            return Some(Ok(known));
        }
        let message = match &error {
            Some(error) => format!("the traces could not be counted: {}", error.message),
            None => format!("{known} of {sent} traces can be read"),
        };
        let status = error.and_then(|error| error.status);
        let remedy = match status {
            Some(401 | 403) => "they were accepted, but these keys may not read: use keys that may",
            _ => "they were accepted: raise --wait, or look whether the server's worker runs",
        };
        let failure = Failure::new(Kind::NotReadable, message);
        Some(Err(failure.hint(remedy).status(status)))
    }
}

/// Writes the summary in the place of what the file held.
fn rewrite(file: &mut File, summary: &Summary) -> io::Result<()> {
    let text = serde_json::to_string(summary).map_err(io::Error::other)?;
    // Pipes and devices have no length.
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(format!("{text}\n").as_bytes())
}
