//! The end of a run of `exec`: it is put together, delivered and reported.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::app::clients::{self, Clients};
use crate::app::delivery_report::{self, Subject};
use crate::app::project_lookup::ProjectLookup;
use crate::app::{trace_link, verify};
use crate::cli::ExecArgs;
use crate::console::{Console, OutputFormat};
use crate::delivery::outbox::Entry;
use crate::delivery::redelivery::EntryError;
use crate::delivery::{Delivery, Outcome};
use crate::exec::assemble::Summary;
use crate::exec::deliver::{Requests, assembled};
use crate::exec::journal::Journal;
use crate::exec::process::{ChildSignals, Ended};
use crate::exec::report::{self, ExecReport, ReportFile};
use crate::failure::{Failure, Kind, Verdict};
use crate::langfuse::{Readback, Wanted, readback};
use crate::output::{DeliveryState, TraceReport};
use crate::settings::Settings;
use crate::trace::ids;

/// After this time, a terminal shows what is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// The time that an interrupted run may still spend on delivery.
const FAREWELL: Duration = Duration::from_secs(5);

/// What became of the child, and what it left.
#[derive(Debug)]
pub struct Outcomes {
    pub ended: Ended,
    pub journal: Journal,
    /// The entry of the journal in the outbox.
    pub entry: Option<Entry>,
    /// How many passages were redacted.
    pub redactions: usize,
}

/// A run whose child has ended.
#[derive(Debug)]
pub struct Conclusion<'a> {
    pub options: &'a ExecArgs,
    pub console: &'a Console,
    pub settings: Settings,
    pub clients: Clients,
    pub is_sandbox: bool,
    pub lookup: ProjectLookup,
    pub failures: Vec<Failure>,
}

impl Conclusion<'_> {
    /// Puts the run together, delivers it, and says what became of it.
    pub async fn conclude(
        mut self,
        outcomes: Outcomes,
        signals: &mut ChildSignals,
        report: Option<ReportFile>,
    ) -> Result<Verdict, Failure> {
        let dialect = self.settings.tracing.dialect();
        let (summary, requests) = assembled(&outcomes.journal, outcomes.entry, dialect)?;
        let mut trace = self.empty_report(&summary);
        trace.redactions = outcomes.redactions;
        let is_sampled = outcomes.ended != Ended::Exited(0)
            || summary.has_failed_call
            || ids::parse_trace_id(&summary.trace_id)
                .is_ok_and(|id| ids::is_sampled(id, self.settings.delivery.sample));
        if is_sampled {
            self.deliver(requests, &summary, &mut trace, signals)
                .await?;
        } else {
            trace.delivery = DeliveryState::SampledOut;
            self.console
                .note("the trace was left out by the sample rate");
            requests
                .discard()
                .map_err(|error| Failure::unwritable("the outbox", &error))?;
        }
        self.comment(&summary);
        Ok(self.end(outcomes.ended, &summary, trace, report))
    }

    fn empty_report(&self, summary: &Summary) -> TraceReport {
        let destination = self.settings.tracing.destination();
        TraceReport {
            id: summary.trace_id.clone(),
            url: None,
            spans: summary.span_ids.len(),
            endpoint: destination.map(|destination| destination.target.url.to_string()),
            delivery: DeliveryState::Failed,
            status: None,
            verified: None,
            redactions: 0,
        }
    }

    async fn deliver(
        &mut self,
        mut requests: Requests,
        summary: &Summary,
        trace: &mut TraceReport,
        signals: &mut ChildSignals,
    ) -> Result<(), Failure> {
        let delivery = self.send(&mut requests, signals).await;
        let delivery = delivery.map_err(|error| {
            Failure::file(format!("the outbox {error}"))
                .hint("check the free disk space and the permissions of the outbox")
        })?;
        trace.status = delivery.outcome.status();
        trace.delivery = delivery_report::state(&delivery);
        let tracing = &self.settings.tracing;
        trace.url = trace_link::page(trace, tracing, &mut self.lookup, self.console).await;
        if !trace.delivery.is_delivered() {
            let failure = delivery_report::failure(Subject::Trace, &delivery, tracing, None);
            self.fail(failure);
            return Ok(());
        }
        trace_link::print(
            trace,
            OutputFormat::Text,
            tracing,
            self.is_sandbox,
            self.console,
        );
        if let Some(verified) = self.verify(summary, signals).await {
            trace.verified = Some(verified.is_ok());
            match verified {
                Ok(()) => self.console.note("verified: the trace can be read"),
                Err(failure) => self.fail(failure),
            }
        }
        Ok(())
    }

    /// Sends the requests. After a signal there are a few seconds left for it, after a second one none.
    async fn send(
        &self,
        requests: &mut Requests,
        signals: &mut ChildSignals,
    ) -> Result<Delivery, EntryError> {
        let client = match self
            .clients
            .exporter
            .as_ref()
            .map(|exporter| &exporter.client)
        {
            Some(Ok(client)) => client,
            Some(Err(outcome)) => return Ok(requests.result(outcome.clone())),
            None => return Ok(requests.result(Outcome::Unsent("tracing is off".to_owned()))),
        };
        let interrupted = {
            let mut sending =
                std::pin::pin!(requests.deliver(client, self.settings.delivery.export_timeout));
            let mut is_noted = !self.console.shows_progress();
            let mut farewell: Option<Instant> = None;
            loop {
                tokio::select! {
                    delivery = &mut sending => return delivery,
                    () = sleep(PATIENCE), if !is_noted => {
                        is_noted = true;
                        self.console.note("still delivering the trace …");
                    }
                    _ = signals.listener.wait() => {
                        if farewell.is_some() {
                            break Outcome::Interrupted;
                        }
                        farewell = Some(Instant::now() + FAREWELL);
                    }
                    () = sleep_until(farewell.unwrap_or_else(Instant::now)), if farewell.is_some() => {
                        break Outcome::Interrupted;
                    }
                }
            }
        };
        Ok(requests.result(interrupted))
    }

    /// Waits until the trace can be read, if that was asked for.
    async fn verify(
        &self,
        summary: &Summary,
        signals: &mut ChildSignals,
    ) -> Option<Result<(), Failure>> {
        let (api, wait) = (self.clients.api.as_ref()?, self.settings.delivery.verify?);
        let wanted = Wanted {
            trace_id: summary.trace_id.clone(),
            span_ids: summary
                .span_ids
                .iter()
                .map(|id| format!("{id:016x}"))
                .collect(),
            from: summary.start,
            to: summary.end,
        };
        let readback = tokio::select! {
            readback = readback::wait(api, &wanted, Instant::now() + wait) => readback,
            signal = signals.listener.wait() => {
                let message = "interrupted while waiting until the trace can be read";
                let failure = Failure::new(Kind::Interrupted(signal), message);
                return Some(Err(failure.hint("the trace was accepted")));
            }
        };
        if let Readback::Missing { found, .. } = &readback {
            let (count, seconds) = (wanted.span_ids.len(), wait.as_secs_f64());
            let message = format!(
                "the trace was accepted, but only {found} of its {count} spans could be read within {seconds} s"
            );
            let failure = Failure::new(Kind::NotReadable, message).retryable(true);
            return Some(Err(failure.hint(
                "the server may be slow: wait longer with --wait SECS; if that does not help, its worker is not running",
            )));
        }
        let resource = clients::resource(&self.settings.trace);
        let command = summary.command.as_slice();
        Some(verify::verdict(readback, command, &resource, wait).map(drop))
    }

    /// The line of counts, and what is remarkable about them.
    fn comment(&mut self, summary: &Summary) {
        let was_started = self
            .failures
            .iter()
            .all(|failure| !matches!(failure.kind, Kind::Command(_)));
        if was_started && summary.received_spans == 0 && summary.calls == 0 {
            self.console.warn(report::UNSEEN);
        }
        self.console.note(&report::counts(summary));
        if !summary.filled.is_empty() {
            self.console.detail(1, || report::filled(summary));
        }
        if self.options.expect_calls && summary.generations == 0 {
            let failure = Failure::new(Kind::Expectation, "the run had no generation");
            self.fail(failure.hint("see langspan help exec: what keeps a program from being seen"));
        }
    }

    fn fail(&mut self, failure: Failure) {
        let best_effort = self.settings.delivery.best_effort;
        delivery_report::print(&failure, best_effort, self.console);
        if !delivery_report::is_forgiven(&failure, best_effort) {
            self.failures.push(failure);
        }
    }

    /// The verdict: the child's code wins over every other.
    fn end(
        mut self,
        ended: Ended,
        summary: &Summary,
        trace: TraceReport,
        report: Option<ReportFile>,
    ) -> Verdict {
        let deciding = self.verdict(ended).kind();
        let decides = |failure: &&Failure| Some(failure.kind) == deciding;
        let deciding = self.failures.iter().find(decides);
        // Of a child that failed by itself the worst of the other failures is told.
        let deciding = deciding.or_else(|| self.failures.first());
        let document = ExecReport::new(
            Some(ended),
            Some(summary),
            Some(trace),
            deciding,
            self.console,
        );
        if let Some(Err(failure)) = report.map(|report| report.write(&document)) {
            self.console.error(&failure);
            self.failures.push(failure);
        }
        self.verdict(ended)
    }

    fn verdict(&self, ended: Ended) -> Verdict {
        let mut verdict = Verdict::default();
        for failure in &self.failures {
            verdict.add(failure.kind);
        }
        if ended.code() != 0 {
            verdict.add(Kind::Command(ended.code()));
        }
        verdict
    }
}
