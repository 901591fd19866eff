//! What went wrong in a run, each with its remedy.

use crate::app::delivery_report::{self, Subject};
use crate::app::score_sender::not_accepted;
use crate::batch::pool::{RunResult, StopReason};
use crate::batch::report::RunReport;
use crate::batch::resume_command;
use crate::console::counted;
use crate::failure::{Failure, Kind};
use crate::output::units::dollars;

impl RunReport<'_> {
    /// Everything that went wrong before the traces are verified.
    pub(super) fn failures(&mut self) -> Vec<Failure> {
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
        let is_allowed = self.plan.allow_errors.permits(failed, lines);
        if failed == 0 || (is_allowed && failed < lines) {
            return None;
        }
        let lines = counted(lines, "line");
        let failure = Failure::new(Kind::Lines, format!("{failed} of {lines} failed"));
        Some(match self.plan.out.resumable() {
            Some(path) => failure
                .hint(format!(
                    "see the failed lines in {}; to retry them",
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
        let stats = &self.result.stats.expectations;
        let (missed, lines) = (stats.missed_lines, stats.lines);
        if missed == 0 || self.plan.allow_misses.permits(missed, lines) {
            return None;
        }
        let message = format!(
            "{missed} of {} missed an expectation",
            counted(lines, "line")
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
}
