//! The end of a run of `exec`: it is put together, delivered and reported.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::app::clients::{self, Clients};
use crate::app::deliver::DeliverySteps;
use crate::app::delivery_report::{self, Subject};
use crate::app::project_lookup::ProjectLookup;
use crate::app::signals::Signals;
use crate::app::{trace_link, verify};
use crate::cli::ExecArgs;
use crate::console::{Console, OutputFormat};
use crate::delivery::outbox::Entry;
use crate::delivery::redelivery::EntryError;
use crate::delivery::{Delivery, OutboxError, Outcome};
use crate::exec::assemble::{Summary, outline};
use crate::exec::deliver::{Requests, Source};
use crate::exec::journal::Journal;
use crate::exec::media_upload::{self, MediaTexts};
use crate::exec::process::Ended;
use crate::exec::report::{self, ExecReport, ReportFile};
use crate::failure::{Failure, Kind, Verdict};
use crate::langfuse::{Readback, Wanted};
use crate::output::{DeliveryState, TraceReport};
use crate::settings::Settings;
use crate::trace::ids;

/// What became of the child, and what it left.
#[derive(Debug)]
pub struct Outcomes {
    pub ended: Ended,
    pub journal: Journal,
    /// The entry of the journal in the outbox, or why it has none.
    pub entry: Result<Entry, OutboxError>,
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
    /// Puts the run together, delivers it, and says what became of it. Whatever fails here, the verdict is the child's
    /// if that failed too.
    pub async fn conclude(
        mut self,
        outcomes: Outcomes,
        signals: &mut Signals,
        report: Option<ReportFile>,
    ) -> Verdict {
        let ended = outcomes.ended;
        let mut summary = Summary::default();
        let mut trace = self.empty_report();
        trace.redactions = outcomes.redactions;
        let concluded = self
            .try_conclude(outcomes, signals, &mut summary, &mut trace)
            .await;
        if let Err(failure) = concluded {
            self.fail(failure);
        }
        // Of a run that cannot be put together nothing is known.
        let summary = Some(summary).filter(|summary| !summary.trace_id.is_empty());
        if let Some(summary) = &summary {
            self.comment(summary);
        }
        self.end(ended, summary.as_ref(), trace, report)
    }

    async fn try_conclude(
        &mut self,
        outcomes: Outcomes,
        signals: &mut Signals,
        summary: &mut Summary,
        trace: &mut TraceReport,
    ) -> Result<(), Failure> {
        let mut source = Source {
            journal: Arc::new(outcomes.journal),
            dialect: self.settings.tracing.dialect(),
            media: MediaTexts::default(),
        };
        source.media = self.upload(&source, outcomes.ended, signals).await?;
        let (assembled, requests) = source.assembled(outcomes.entry)?;
        *summary = assembled;
        trace.id.clone_from(&summary.trace_id);
        trace.spans = summary.span_ids.len();
        if self.is_sampled(outcomes.ended, &summary.trace_id, summary.has_failed_call) {
            return self.deliver(requests, summary, trace, signals).await;
        }
        trace.delivery = DeliveryState::SampledOut;
        self.console
            .note("the trace was left out by the sample rate");
        requests
            .discard()
            .map_err(|error| Failure::unwritable("the outbox", &error))
    }

    fn is_sampled(&self, ended: Ended, trace_id: &str, has_failed_call: bool) -> bool {
        ended != Ended::Exited(0)
            || has_failed_call
            || ids::parse_trace_id(trace_id)
                .is_ok_and(|id| ids::is_sampled(id, self.settings.delivery.sample))
    }

    /// Uploads the images and files of a run that is delivered.
    async fn upload(
        &self,
        source: &Source,
        ended: Ended,
        signals: &mut Signals,
    ) -> Result<MediaTexts, Failure> {
        let holds_media = source.journal.holds_media().map_err(anyhow::Error::from)?;
        let Some(api) = self.clients.uploads.api().filter(|_| holds_media) else {
            return Ok(MediaTexts::default());
        };
        let outline = outline(&source.journal, source.dialect)?;
        if !self.is_sampled(ended, &outline.trace_id, outline.has_failed_call) {
            return Ok(MediaTexts::default());
        }
        let deadline = Instant::now() + self.settings.delivery.export_timeout;
        let uploaded = tokio::select! {
            biased;
            uploaded = media_upload::upload(&source.journal, &outline.media, api, deadline) => uploaded,
            _ = signals.wait() => media_upload::not_uploaded(&outline.media, "the upload was interrupted"),
        };
        uploaded.warn(self.console);
        Ok(uploaded.texts)
    }

    fn empty_report(&self) -> TraceReport {
        let destination = self.settings.tracing.destination();
        TraceReport {
            id: String::new(),
            url: None,
            spans: 0,
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
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        let delivery = self.send(&mut requests, signals).await?;
        let delivery = delivery.map_err(|error| {
            Failure::file(format!("the outbox {error}"))
                .hint("check the free disk space and the permissions of the outbox; then: langspan resend")
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
        if let Some(verified) = self.verify(summary, signals).await? {
            trace.verified = Some(verified.is_ok());
            match verified {
                Ok(()) => self.console.note("verified: the trace can be read"),
                Err(failure) => self.fail(failure),
            }
        }
        Ok(())
    }

    /// Sends the requests.
    async fn send(
        &self,
        requests: &mut Requests,
        signals: &mut Signals,
    ) -> Result<Result<Delivery, EntryError>, Failure> {
        let exporter = self.clients.exporter.as_ref();
        let client = match exporter.map(|exporter| &exporter.client) {
            Some(Ok(client)) => client,
            Some(Err(outcome)) => return Ok(Ok(requests.result(outcome.clone()))),
            None => {
                return Ok(Ok(
                    requests.result(Outcome::Unsent("tracing is off".to_owned()))
                ));
            }
        };
        let mut steps = self.steps(signals);
        let budget = steps.budget();
        let cancel = Notify::new();
        let sending = async {
            tokio::select! {
                delivery = requests.deliver(client, budget) => Some(delivery),
                () = cancel.notified() => None,
            }
        };
        let delivery = steps.patiently(sending, &cancel).await?;
        Ok(delivery.unwrap_or_else(|| Ok(requests.result(Outcome::Interrupted))))
    }

    fn steps<'s>(&'s self, signals: &'s mut Signals) -> DeliverySteps<'s> {
        DeliverySteps {
            settings: &self.settings,
            clients: &self.clients,
            console: self.console,
            signals,
        }
    }

    /// Waits until the trace can be read, if that was asked for.
    async fn verify(
        &self,
        summary: &Summary,
        signals: &mut Signals,
    ) -> Result<Option<Result<(), Failure>>, Failure> {
        let Some(wait) = self.settings.delivery.verify else {
            return Ok(None);
        };
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
        let readback = self.steps(signals).read_back(&wanted).await?;
        Ok(readback.map(|readback| {
            let readback = readback?;
            if let Readback::Missing { found, .. } = &readback {
                let (count, seconds) = (wanted.span_ids.len(), wait.as_secs_f64());
                let message = format!(
                    "the trace was accepted, but only {found} of its {count} spans could be read within {seconds} s"
                );
                let failure = Failure::new(Kind::NotReadable, message).retryable(true);
                return Err(failure.hint(
                    "the server may be slow: wait longer with --wait SECS; if that does not help, its worker is not running",
                ));
            }
            let resource = clients::resource(&self.settings.trace);
            verify::verdict(readback, &summary.command, &resource, wait).map(drop)
        }))
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
        summary: Option<&Summary>,
        trace: TraceReport,
        report: Option<ReportFile>,
    ) -> Verdict {
        let trace = summary.is_some().then_some(trace);
        let deciding = self.verdict(ended).kind();
        let decides = |failure: &&Failure| Some(failure.kind) == deciding;
        let deciding = self.failures.iter().find(decides);
        // Of a child that failed by itself the worst of the other failures is told.
        let deciding = deciding.or_else(|| self.failures.first());
        let document = ExecReport::new(Some(ended), summary, trace, deciding, self.console);
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
