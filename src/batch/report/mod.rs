//! The end of a batch: verifies the traces, prints failures and summary, decides the exit code.

mod failures;

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::app::delivery_report;
use crate::app::score_sender;
use crate::app::signals::SignalListener;
use crate::batch::experiment::scores::ScoreTarget;
use crate::batch::experiment::verify;
use crate::batch::output::target::OutputTarget;
use crate::batch::plan::Plan;
use crate::batch::pool::RunResult;
use crate::batch::summary::{RunOutcome, RunSummary};
use crate::batch::verify::ExpectedTraces;
use crate::console::{self, Console, OutputFormat};
use crate::delivery::Exporter;
use crate::failure::{Failure, Kind, Verdict};
use crate::langfuse::Api;
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
        let counted = failures.iter().filter(|failure| !self.is_forgiven(failure));
        let mut verdict: Verdict = counted.collect();
        let deciding = verdict.deciding(&failures);
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

    fn is_forgiven(&self, failure: &Failure) -> bool {
        delivery_report::is_forgiven(failure, self.settings.delivery.best_effort)
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
