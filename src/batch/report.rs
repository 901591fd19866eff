//! The end of a batch: verifies the traces, prints failures and summary, decides the exit code.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::app::delivery_report::{self, Subject};
use crate::app::score_sender::{self, not_accepted};
use crate::app::signals::SignalListener;
use crate::batch::experiment::scores::ScoreTarget;
use crate::batch::experiment::verify;
use crate::batch::output::line::INVALID;
use crate::batch::output::target::OutputTarget;
use crate::batch::plan::Plan;
use crate::batch::pool::{RunResult, StopReason};
use crate::batch::resume_command;
use crate::batch::summary::{RunOutcome, RunSummary};
use crate::batch::verify::ExpectedTraces;
use crate::cli::Allowance;
use crate::console::{self, Console, OutputFormat, counted};
use crate::delivery::Exporter;
use crate::failure::{Failure, Kind, Verdict};
use crate::langfuse::Api;
use crate::output::report::dollars;
use crate::output::{ErrorReport, Printer};
use crate::settings::Settings;

/// The report of a run that has done its work.
pub struct RunReport<'a> {
    pub plan: &'a Plan,
    pub settings: &'a Settings,
    pub api: Option<&'a Api>,
    pub exporter: Option<&'a Exporter>,
    pub console: &'a Console,
    /// The file of `--summary`.
    pub summary: Option<File>,
    pub result: RunResult,
}

/// Opens the file of `--summary` before anything is sent. Its content stays until there is a summary, since the run
/// may still be refused.
///
/// # Errors
/// When it cannot be written.
pub fn open_summary(path: &Path) -> Result<File, Failure> {
    let mut options = File::options();
    let opened = options.write(true).create(true).truncate(false).open(path);
    opened.map_err(|error| Failure::unwritable(path.display(), &error))
}

impl RunReport<'_> {
    /// Verifies the traces, prints failures and summary, and returns the verdict.
    pub async fn publish(mut self, signals: &mut SignalListener) -> Verdict {
        let (stats, stop) = (&self.result.stats, &self.result.stop);
        if stop.is_none() && stats.done + stats.skipped == 0 {
            self.console.warn("the input has no lines");
        }
        let is_complete = stop.is_none()
            && self.result.first_failure.is_none()
            && self.result.traces.undecided == 0;
        let is_stopped = stop.is_some();
        let mut failures = self.failures();
        if !is_stopped {
            failures.extend(self.score_experiment(signals).await);
        }
        let mut verified = Verified::default();
        if is_complete && let Some(readable) = self.verify(signals).await {
            match readable {
                Ok(readable) => verified = readable,
                Err(failure) => failures.push(failure),
            }
        }
        let mut verdict = Verdict::default();
        for failure in failures.iter().filter(|failure| !self.is_forgiven(failure)) {
            verdict.add(failure.kind);
        }
        let deciding = failures
            .iter()
            .find(|failure| Some(failure.kind) == verdict.kind());
        let summary = self.summary(verified, deciding);
        self.console.note(&summary.to_text(console::columns()));
        if self.plan.is_sandbox && self.result.traces.accepted > 0 {
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

    fn summary(&self, verified: Verified, deciding: Option<&Failure>) -> RunSummary {
        let result = &self.result;
        let outcome = RunOutcome {
            duration: result.duration,
            run: self.plan.name.clone(),
            session_url: result.session_url.clone(),
            verified: verified.traces,
            traces: result.traces,
            is_resumable: self.plan.out.resumable().is_some(),
            scores: result.scores,
            experiment: self
                .plan
                .experiment
                .as_ref()
                .map(|experiment| experiment.summary(verified.items)),
            redactions: result.redactions,
            error: deciding.map(|failure| ErrorReport::new(failure, self.console)),
        };
        RunSummary::new(&result.stats, outcome)
    }

    /// Sends the scores of the experiment as a whole, now that all items have theirs.
    async fn score_experiment(&mut self, signals: &mut SignalListener) -> Option<Failure> {
        let target = ScoreTarget {
            api: self.api?,
            exporter: self.exporter?,
            settings: self.settings,
            console: self.console,
        };
        let (counts, failure) = target
            .send(self.plan, &self.result.stats, signals.wait())
            .await;
        self.result.scores.add(counts);
        failure
    }

    /// Everything that went wrong before the traces are verified.
    fn failures(&mut self) -> Vec<Failure> {
        let failures = [
            self.failed_lines(),
            self.missed_expectations(),
            self.undelivered(),
            self.undelivered_scores(),
            self.undecided(),
            self.stopped(),
        ];
        failures.into_iter().flatten().collect()
    }

    /// Writes the summary as JSON: to stdout with `-o json`, and to the file of `--summary`.
    fn write(&mut self, summary: &RunSummary) -> Option<Failure> {
        let mut failure = None;
        if self.settings.form == OutputFormat::Json && self.plan.out != OutputTarget::Stdout {
            let mut printer = Printer::new(OutputFormat::Json);
            printer.document(summary);
            failure = printer.take_failure();
        }
        let written = self
            .summary
            .as_mut()
            .map_or(Ok(()), |file| rewrite(file, summary));
        let unwritten = written.err();
        failure.or(unwritten.map(|error| Failure::unwritable("the summary", &error)))
    }

    fn is_forgiven(&self, failure: &Failure) -> bool {
        delivery_report::is_forgiven(failure, self.settings.delivery.best_effort)
    }

    /// More lines failed than `--allow-errors` permits, or all of them.
    fn failed_lines(&self) -> Option<Failure> {
        let RunResult { stats, stop, .. } = &self.result;
        let is_reason_enough = |stop: &StopReason| {
            use StopReason::{Down, MaxCost, MaxErrors, Model};
            matches!(stop, Model(_) | Down(_) | MaxErrors(_) | MaxCost(_))
        };
        if stop.as_ref().is_some_and(is_reason_enough) {
            return None;
        }
        let failed = stats.failed + stats.failed_before;
        let lines = stats.done + stats.skipped;
        let is_allowed = is_allowed(self.plan.allow_errors, failed, lines);
        if failed == 0 || (is_allowed && failed < lines) {
            return None;
        }
        let lines = counted(lines, "line");
        let first = stats.first_failed.to_text();
        let failure = Failure::new(Kind::Lines, format!("{failed} of {lines} failed{first}"));
        // The same line would be refused again.
        let remedy = if stats.causes.keys().all(|cause| cause == INVALID) {
            "correct them in the input, then"
        } else {
            "to retry them"
        };
        Some(match self.plan.out.resumable() {
            Some(path) => failure
                .hint(format!(
                    "see the failed lines in {}; {remedy}",
                    path.display()
                ))
                .command(self.resume_command()),
            None => {
                failure.hint("see the failed lines in the output; --allow-errors N permits up to N")
            }
        })
    }

    /// More lines missed an expectation than `--allow-misses` permits.
    fn missed_expectations(&self) -> Option<Failure> {
        let stats = &self.result.stats;
        let (missed, lines) = (stats.expectations.missed_lines, stats.expectations.lines);
        if missed == 0 || is_allowed(self.plan.allow_misses, missed, lines) {
            return None;
        }
        let message = format!(
            "{missed} of {} missed an expectation{}",
            counted(lines, "line"),
            stats.first_missed.to_text()
        );
        let failure = Failure::new(Kind::Expectation, message);
        Some(
            failure
                .hint("see `expectations` in the output lines; --allow-misses N permits up to N"),
        )
    }

    /// Scores that were not accepted.
    fn undelivered_scores(&self) -> Option<Failure> {
        let stats = self.result.scores;
        let place = match (stats.spooled, stats.lost) {
            (0, 0) => return None,
            (_, 0) => "they are in the outbox; to deliver them: langspan resend".to_owned(),
            (0, _) => "the scores are LOST: there is no outbox for them".to_owned(),
            (spooled, lost) => format!("{spooled} are in the outbox, {lost} are LOST"),
        };
        // Without a refusal, they wait for their traces, which are reported.
        let refused = self.result.refused_scores.as_ref()?;
        Some(not_accepted(stats.failed(), refused, Some(place)))
    }

    /// Traces that were not accepted, in this run or again from an earlier one.
    fn undelivered(&self) -> Option<Failure> {
        let traces = self.result.traces;
        let count = traces.spooled + traces.lost;
        if count == 0 {
            return None;
        }
        let Some(delivery) = &self.result.first_failure else {
            return Some(self.still_spooled());
        };
        // Only an output file tells a later run which traces are missing.
        let is_resumable = self.plan.out.resumable().is_some();
        let rerun = is_resumable.then(|| self.resume_command());
        let subject = Subject::Traces(count);
        let tracing = &self.settings.tracing;
        Some(delivery_report::failure(subject, delivery, tracing, rerun))
    }

    /// Traces of an earlier run in the outbox, if each was refused again or `--no-outbox` hides it.
    fn still_spooled(&self) -> Failure {
        let traces = self.result.traces;
        let place = self.settings.delivery.outbox.as_ref();
        let place = place.and_then(|place| place.dir.as_ref().ok());
        let place = place.map_or_else(String::new, |dir| format!(" {}", dir.display()));
        let are = if traces.spooled == 1 { "is" } else { "are" };
        let count = counted(traces.spooled, "trace");
        let message = format!("{count} of the earlier run {are} still in the outbox{place}");
        Failure::new(Kind::Delivery, message)
            .hint("to send them: langspan resend; or resume the run")
            .command(self.resume_command())
    }

    /// Traces of an earlier run, if Langfuse could not be asked whether they arrived.
    fn undecided(&self) -> Option<Failure> {
        let undecided = self.result.traces.undecided;
        if undecided == 0 {
            return None;
        }
        let are = if undecided == 1 { "is" } else { "are" };
        let count = counted(undecided, "trace");
        let message = format!("{count} of the earlier run {are} not known to have arrived");
        let failure = Failure::new(Kind::Delivery, message).hint("to try again");
        Some(failure.command(self.resume_command()))
    }

    fn stopped(&mut self) -> Option<Failure> {
        let (kind, message) = match self.result.stop.take()? {
            StopReason::Closed => {
                self.console
                    .note("stopped early: the reader of the output has closed it");
                return None;
            }
            StopReason::File(failure) => return Some(failure),
            StopReason::Output(failure) => {
                let failure = failure.hint("free some disk space, then continue with");
                return Some(failure.command(self.resume_command()));
            }
            StopReason::Signal(signal) => (Kind::Interrupted(signal), "interrupted".to_owned()),
            StopReason::Model(why) | StopReason::Down(why) => {
                (Kind::Lines, format!("stopped early: {why}"))
            }
            StopReason::MaxErrors(most) => (
                Kind::Lines,
                format!("stopped early: --max-errors {most} reached"),
            ),
            StopReason::MaxCost(most) => return Some(self.too_expensive(most)),
            StopReason::Outbox(why) => (Kind::Delivery, format!("stopped early: {why}")),
        };
        let failure = Failure::new(kind, message);
        Some(match self.plan.out.resumable() {
            Some(_) => failure.hint("continue with").command(self.resume_command()),
            None => failure.hint("with --out FILE a run can be resumed"),
        })
    }

    /// The run has cost as much as `--max-cost` allows.
    fn too_expensive(&self, most: f64) -> Failure {
        let most = dollars(most);
        let spent = self.result.stats.cost.map_or_else(String::new, dollars);
        let message =
            format!("stopped early: --max-cost {most} reached, the run has cost {spent} so far");
        let failure = Failure::new(Kind::Lines, message);
        match self.plan.out.resumable() {
            Some(_) => failure
                .hint("raise --max-cost, then continue with")
                .command(self.resume_command()),
            None => failure.hint("raise --max-cost; with --out FILE a run can be resumed"),
        }
    }

    /// The command that resumes this run, and sends the lines again that failed.
    fn resume_command(&self) -> String {
        let stats = &self.result.stats;
        let further: &[&str] = match stats.failed + stats.failed_before {
            0 => &[],
            _ => &["--retry-errors"],
        };
        // With --no-outbox, every further run would leave the spooled traces there.
        let without: &[&str] = match (&self.settings.delivery.outbox, self.result.traces.spooled) {
            (None, 1..) => &["--no-outbox"],
            _ => &[],
        };
        let given = std::env::args_os().skip(1);
        resume_command::command(given, further, without, |word| self.console.scrub(word))
    }

    /// Reads some of the scores back, those of the first traces: one request for each trace of a long run would be many.
    async fn verify_scores(&self, api: &Api, wait: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + wait;
        for (trace_id, bodies) in &self.result.scored {
            score_sender::verify(api, trace_id, bodies, deadline).await?;
        }
        Ok(())
    }

    /// With `--verify`: waits until all spans are readable, and counts them; `None` without `--verify`.
    async fn verify(&mut self, signals: &mut SignalListener) -> Option<Result<Verified, Failure>> {
        let (wait, api) = (self.settings.delivery.verify?, self.api?);
        let expected = std::mem::take(&mut self.result.expected);
        let verified = tokio::select! {
            result = self.count(api, expected, wait) => result,
            signal = signals.wait() => {
                let failure = Failure::new(
                    Kind::Interrupted(signal),
                    "interrupted while waiting for the traces to be readable",
                );
                return Some(Err(failure.hint("they were accepted")));
            }
        };
        Some(verified)
    }

    /// Counts the traces, the items of the experiment and some of the scores.
    async fn count(
        &self,
        api: &Api,
        expected: ExpectedTraces,
        wait: Duration,
    ) -> Result<Verified, Failure> {
        let experiment = self.plan.experiment.as_ref();
        let id = experiment.and_then(|experiment| experiment.context.id.as_deref());
        // Only a list of the traces can be compared with the items.
        let sent = id.map(|id| (id, expected.sent()));
        let readable = expected.count(api, wait).await.into_result()?;
        let items = match sent {
            None => None,
            Some((id, sent)) => Some(verify::count(api, id, &sent, wait).await?),
        };
        self.verify_scores(api, wait).await?;
        Ok(Verified {
            traces: Some(readable.traces),
            items,
        })
    }
}

/// What `--verify` has found; nothing without it.
#[derive(Clone, Copy, Debug, Default)]
struct Verified {
    traces: Option<u64>,
    /// Items of the experiment.
    items: Option<u64>,
}

/// Whether so many of the lines are allowed.
pub fn is_allowed(allowance: Allowance, count: u64, lines: u64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "a share of lines")]
    match allowance {
        Allowance::Lines(most) => count <= most,
        Allowance::Percent(most) => count as f64 * 100.0 <= most * lines as f64,
    }
}

/// Replaces the content of the file by the summary.
///
/// # Errors
/// When it cannot be written.
pub fn rewrite(file: &mut File, summary: &RunSummary) -> io::Result<()> {
    let text = serde_json::to_string(summary).map_err(io::Error::other)?;
    // Pipes and devices have no length.
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(format!("{text}\n").as_bytes())
}
