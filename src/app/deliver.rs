//! What follows an exchange: its answer is printed, it is recorded, its trace delivered and reported.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::trace::SpanData;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::app::hints;
use crate::app::run::Run;
use crate::app::signals::SignalListener;
use crate::app::uploads;
use crate::app::verify;
use crate::console;
use crate::console::OutputFormat;
use crate::delivery::{Delivery, OutboxPolicy, Outcome, Stored};
use crate::failure::{Failure, Kind, Verdict};
use crate::langfuse::{Row, Wanted, readback};
use crate::output::tree::{self, Canvas};
use crate::output::{DeliveryState, Report, TraceReport};
use crate::settings::{Destination, Tracing};
use crate::trace::privacy::Filtered;
use crate::trace::spans::{self, Dialect};
use crate::trace::{Exchange, Recording, Trace, TraceContext, ids};

/// The look-up may take this much longer than the export.
const LOOKUP_GRACE: Duration = Duration::from_secs(1);
/// After this long on a terminal, stderr says what is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// What an interrupted run may still spend on delivery.
const FAREWELL: Duration = Duration::from_secs(5);

impl Run {
    /// Prints, records, delivers and reports; `failure` says why the exchange is not whole.
    ///
    /// # Errors
    /// When signals cannot be listened to.
    pub(super) async fn settle(
        &mut self,
        exchange: &Exchange,
        trace: &Trace,
        context: &TraceContext,
        failure: Option<Failure>,
    ) -> Result<(), Failure> {
        self.printer.answer(exchange);
        let mut failures: Vec<Failure> = failure.into_iter().collect();
        let redactions = if self.record.is_some() {
            let filtered = self.settings.privacy.filter(exchange, trace);
            failures.extend(self.record(&filtered, context));
            filtered.redactions
        } else {
            0
        };
        for failure in &failures {
            self.console.error(failure);
        }
        let mut report = self.trace(exchange, trace, context, &mut failures).await?;
        report.redactions = report.redactions.max(redactions);
        if report.redactions > 0 {
            let redactions = report.redactions;
            self.console.note(&format!(
                "redacted: {redactions} passage(s) of what was traced or recorded"
            ));
        }
        self.conclude(exchange, &report, failures);
        Ok(())
    }

    /// Delivers the trace of an exchange, unless it is not to be traced.
    async fn trace(
        &mut self,
        exchange: &Exchange,
        trace: &Trace,
        context: &TraceContext,
        failures: &mut Vec<Failure>,
    ) -> Result<TraceReport, Failure> {
        let mut report = TraceReport {
            id: context.trace_id.to_string(),
            url: None,
            spans: 0,
            redactions: 0,
            endpoint: self
                .destination()
                .map(|destination| destination.target.url.to_string()),
            delivery: DeliveryState::Disabled,
            status: None,
            verified: None,
        };
        if let Tracing::Off(switch) = &self.settings.tracing {
            self.console.note(&format!("tracing is off: {switch}"));
            return Ok(report);
        }
        if exchange.error.is_none() && !self.is_sampled(context) {
            report.delivery = DeliveryState::SampledOut;
            self.console.note("trace: left out by the sample rate");
            return Ok(report);
        }
        // A failed call is traced although the sample left it out, and its project not asked for.
        self.start_lookup();
        let traced = self.with_media(exchange, context).await?;
        let filtered = self.settings.privacy.filter(&traced, trace);
        let exchange = &filtered.exchange;
        let spans = spans::spans(exchange, &filtered.trace, context, self.dialect());
        report.spans = spans.len();
        report.redactions = filtered.redactions;
        let wanted = verify::wanted(&spans, exchange);
        let delivery = self.deliver(spans.to_vec()).await?;
        report.status = delivery.outcome.status();
        report.delivery = match &delivery.spool {
            _ if delivery.outcome.is_accepted() => DeliveryState::Accepted,
            Stored::Kept(_) => DeliveryState::Spooled,
            _ => DeliveryState::Failed,
        };
        report.url = self.page(&report).await;
        if report.delivery == DeliveryState::Accepted {
            self.say_where(&report);
            self.console.detail(1, || draw(&report.id, &spans));
            if self.settings.delivery.verify.is_some() && self.interrupted.is_none() {
                let unread = self.verify(&wanted, &spans).await?;
                report.verified = Some(unread.is_none());
                self.take(unread, failures);
            }
        } else {
            let refused = self.refused(&delivery);
            self.take(Some(refused), failures);
        }
        Ok(report)
    }

    /// Whether the trace is among those that are traced.
    pub(super) fn is_sampled(&self, context: &TraceContext) -> bool {
        ids::is_sampled(context.trace_id, self.settings.delivery.sample)
    }

    /// Asks for the project, so that the answer is there when the URL is printed.
    pub(super) fn start_lookup(&mut self) {
        if let Some(api) = &self.clients.api {
            self.lookup.start(api);
        }
    }

    /// Begins with the upload of what the request holds in base64, so that it is there when the answer is.
    pub(super) fn start_upload(&mut self, exchange: &Exchange, context: &TraceContext) {
        if self.clients.exporter.is_some() {
            let owner = uploads::owner(context, exchange);
            self.upload = self.clients.uploads.begin(&exchange.request, &owner);
        }
    }

    /// The exchange as it is traced: references stand for its base64 content, or type and size. A signal ends the wait
    /// for uploads.
    async fn with_media<'a>(
        &mut self,
        exchange: &'a Exchange,
        context: &TraceContext,
    ) -> Result<Cow<'a, Exchange>, Failure> {
        let owner = uploads::owner(context, exchange);
        let deadline = Instant::now() + self.budget();
        let interrupt = SignalListener::listen_once(&mut self.interrupt)?;
        let uploads = &self.clients.uploads;
        Ok(tokio::select! {
            biased;
            traced = uploads.traced(exchange, self.upload.take(), &owner, deadline) => traced,
            signal = interrupt.wait() => {
                self.interrupted = Some(signal);
                uploads::outlined(exchange)
            }
        })
    }

    /// What each part of a delivery may take: less when the run is to end.
    fn budget(&self) -> Duration {
        match self.interrupted {
            Some(_) => self.settings.delivery.export_timeout.min(FAREWELL),
            None => self.settings.delivery.export_timeout,
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.settings.tracing.dialect()
    }

    fn destination(&self) -> Option<&Destination> {
        self.settings.tracing.destination()
    }

    /// Appends the recording of an exchange.
    fn record(&mut self, filtered: &Filtered<'_>, context: &TraceContext) -> Option<Failure> {
        let journal = self.record.as_mut()?;
        let recording = Recording::new(&filtered.exchange, &filtered.trace, context);
        journal.append(&recording.to_line()).err()
    }

    /// Exports the spans. A signal leaves a few seconds for it, a second one none; what is then under way stays in
    /// the outbox.
    async fn deliver(&mut self, spans: Vec<SpanData>) -> Result<Delivery, Failure> {
        let Some(exporter) = &self.clients.exporter else {
            return Err(anyhow::anyhow!("there is no exporter").into());
        };
        let budget = self.budget();
        let interrupt = SignalListener::listen_once(&mut self.interrupt)?;
        let cancel = Arc::new(Notify::new());
        let mut export =
            std::pin::pin!(exporter.export(spans, budget, OutboxPolicy::BeforeSend, &cancel));
        let mut is_noted = !self.console.shows_progress();
        let mut farewell = None;
        loop {
            tokio::select! {
                delivery = &mut export => return Ok(delivery),
                () = sleep(PATIENCE), if !is_noted => {
                    is_noted = true;
                    self.console.note("still delivering the trace …");
                }
                signal = interrupt.wait() => {
                    if self.interrupted.replace(signal).is_some() {
                        cancel.notify_one();
                    }
                    farewell.get_or_insert(Instant::now() + FAREWELL);
                }
                () = sleep_until(farewell.unwrap_or_else(Instant::now)), if farewell.is_some() => {
                    farewell = None;
                    cancel.notify_one();
                }
            }
        }
    }

    /// The page of the trace. Without the project's id, for an accepted trace, the page that looks it up.
    async fn page(&mut self, report: &TraceReport) -> Option<String> {
        let ui = self.destination()?.langfuse.as_ref()?.ui.clone();
        match self.lookup.project(LOOKUP_GRACE).await {
            Ok(project) => Some(ui.trace_page(Some(&project.id), &report.id)),
            Err(why) if report.delivery == DeliveryState::Accepted => {
                self.console.warn(&format!(
                    "the project is not known, the link may ask you to log in: {why}"
                ));
                Some(ui.trace_page(None, &report.id))
            }
            Err(_) => None,
        }
    }

    /// Says where an accepted trace is.
    fn say_where(&self, report: &TraceReport) {
        match (&report.url, self.printer.form()) {
            (Some(url), form) => {
                if form != OutputFormat::Url {
                    self.console.note(&format!("trace: {url}"));
                }
            }
            (None, OutputFormat::Url) => self
                .console
                .warn("a plain OTLP backend has no page for the trace: there is no URL"),
            (None, _) => self.console.note(&format!("trace: {}", report.id)),
        }
        if self.is_sandbox {
            self.console.note("open it: langspan sandbox");
        }
        if self
            .destination()
            .is_some_and(|destination| destination.is_collector)
        {
            self.console.note("accepted by the collector; Langfuse has the trace once the collector has passed it on");
        }
    }

    /// Waits until the trace can be read as it was sent; says why it could not.
    async fn verify(
        &mut self,
        wanted: &Wanted,
        spans: &[SpanData],
    ) -> Result<Option<Failure>, Failure> {
        let (Some(api), Some(wait)) = (&self.clients.api, self.settings.delivery.verify) else {
            return Ok(None);
        };
        let interrupt = SignalListener::listen_once(&mut self.interrupt)?;
        let readback = tokio::select! {
            readback = readback::wait(api, wanted, Instant::now() + wait) => readback,
            signal = interrupt.wait() => {
                self.interrupted = Some(signal);
                let failure = Failure::new(Kind::Interrupted(signal), "interrupted while waiting for the trace to be readable");
                return Ok(Some(failure.hint("it was accepted")));
            }
        };
        let environment = self.settings.trace.environment.as_deref();
        Ok(match verify::of(readback, spans, environment, wait) {
            Ok(_) => {
                self.console.note("verified: the trace can be read");
                None
            }
            Err(failure) => Some(failure),
        })
    }

    /// What to say of spans that were not accepted.
    fn refused(&self, delivery: &Delivery) -> Failure {
        let place = self.destination().map_or_else(
            || "it".to_owned(),
            |destination| destination.target.url.to_string(),
        );
        let outcome = &delivery.outcome;
        let message = match (outcome, &self.settings.tracing) {
            // The request may have left.
            (Outcome::Unsent(why), _) if self.interrupted.is_some() => {
                format!("whether the trace was accepted is not known: {why}")
            }
            (Outcome::Unsent(why), _) => format!("the trace was not sent: {why}"),
            _ => format!(
                "the trace was not accepted by {place}: {}",
                outcome.describe()
            ),
        };
        let remedy = match &self.settings.tracing {
            Tracing::Unreachable(failure) => failure.hint.clone(),
            _ => self
                .destination()
                .and_then(|destination| hints::of_delivery(outcome, destination)),
        };
        let kept = match &delivery.spool {
            Stored::NotNeeded => None,
            Stored::Kept(path) => Some(format!(
                "the spans wait in {}, then: langspan resend",
                path.display()
            )),
            Stored::Lost(why) => Some(format!("the spans are LOST: {why}")),
        };
        Failure::new(Kind::Delivery, message)
            .hints([remedy, kept])
            .status(outcome.status())
            .retryable(outcome.is_retryable())
    }

    /// Says a failure of tracing, which `--best-effort` makes a warning.
    fn take(&self, failure: Option<Failure>, failures: &mut Vec<Failure>) {
        let Some(failure) = failure else { return };
        let is_tracing = matches!(failure.kind, Kind::Delivery | Kind::NotReadable);
        if self.settings.delivery.best_effort && is_tracing {
            self.console.warn(&failure.message);
            if let Some(hint) = &failure.hint {
                self.console.note(&format!("hint: {hint}"));
            }
        } else {
            self.console.error(&failure);
            failures.push(failure);
        }
    }

    /// Ends an exchange: its verdict and its document.
    fn conclude(&mut self, exchange: &Exchange, trace: &TraceReport, mut failures: Vec<Failure>) {
        let is_said = failures
            .iter()
            .any(|failure| matches!(failure.kind, Kind::Interrupted(_)));
        if let Some(signal) = self.interrupted
            && !is_said
        {
            let failure = Failure::new(
                Kind::Interrupted(signal),
                "interrupted while the trace was delivered",
            );
            self.take(
                Some(failure.hint("what became of the trace is said above, and in -o json")),
                &mut failures,
            );
        }
        let mut verdict = Verdict::default();
        for failure in &failures {
            verdict.add(failure.kind);
        }
        let deciding = failures
            .iter()
            .find(|failure| Some(failure.kind) == verdict.kind());
        let report = Report::new(
            self.command,
            Some(exchange),
            Some(trace.clone()),
            deciding,
            &self.console,
        );
        self.printer.report(&report);
        if let Some(kind) = verdict.kind() {
            self.verdict.add(kind);
        }
    }
}

/// The trace that was just sent, as `show` draws it.
fn draw(trace_id: &str, spans: &[SpanData]) -> String {
    let rows: Vec<Row> = spans.iter().map(Row::of_span).collect();
    let canvas = Canvas {
        width: console::columns(),
        colour: console::wants_colour(&io::stderr()),
    };
    tree::draw(trace_id, &rows, canvas)
}
