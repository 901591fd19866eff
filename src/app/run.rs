//! What `chat` and `replay` share: one exchange after the other, each asked or emitted again, stored, printed,
//! recorded, delivered and reported.
//!
//! While the model works, the project look-up runs: it checks the keys early and opens the connection that the export
//! uses, so that one round trip remains after the last token.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use jiff::Timestamp;
use opentelemetry_sdk::trace::SpanData;
use serde_json::Value;

use crate::app::deliver::DeliverySteps;
use crate::app::delivery_report::{self, Subject};
use crate::app::judge::{self, Judge};
use crate::app::managed_prompt::RunPrompt;
use crate::app::model_call::{self, Caller};
use crate::app::price_lookup::PriceLookup;
use crate::app::project_lookup::ProjectLookup;
use crate::app::score_sender::PendingScores;
use crate::app::setup::Setup;
use crate::app::signals::Signals;
use crate::app::span_maker::SpanMaker;
use crate::app::thread::Thread;
use crate::app::trace_link;
use crate::app::uploads::{self, Upload};
use crate::app::verify;
use crate::cli;
use crate::console::{self, Console, OutputFormat, counted};
use crate::delivery::{Exporter, OutboxError, StoredExport};
use crate::expect::{self, Finding};
use crate::failure::{Failure, Kind, Verdict};
use crate::http::url::shown;
use crate::langfuse::scores::ScoredSpan;
use crate::langfuse::{Row, Score};
use crate::model::completion::is_cut_off;
use crate::model::{Progress, Request};
use crate::output::dry_run::DryRun;
use crate::output::tree::{self, Canvas, Texts};
use crate::output::{DeliveryState, Printer, Report, TraceReport, dollars};
use crate::settings::{self, CommandDefaults, Settings, Sources, Tracing};
use crate::trace::ids::SpanIds;
use crate::trace::privacy::Filtered;
use crate::trace::spans::Dialect;
use crate::trace::{Exchange, Recording, Trace, TraceContext, ids};

/// A run of `chat` or `replay`.
#[derive(Debug)]
pub struct Run {
    command: &'static str,
    setup: Setup,
    console: Console,
    printer: Printer,
    signals: Signals,
    lookup: ProjectLookup,
    prices: PriceLookup,
    /// Whether costs are printed.
    shows_costs: bool,
    /// When the command began, for the parent span. `None` with several exchanges: each then has a parent that starts
    /// 1 ms before its generation.
    pub command_start: Option<Timestamp>,
    /// The conversation that the next exchange is part of.
    pub thread: Option<Thread>,
    /// What is expected of each answer.
    pub judge: Judge,
    verdict: Verdict,
}

/// An exchange of a run, and the trace that it belongs to.
#[derive(Clone, Copy, Debug)]
struct Traced<'a> {
    exchange: &'a Exchange,
    trace: &'a Trace,
    context: &'a TraceContext,
    copies: Copies,
}

/// What becomes of spans that an earlier run may have sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copies {
    /// Langfuse is asked for them, and those that it has are not sent.
    LeftOut,
    /// They are sent, whether they are there or not.
    Sent,
}

/// A trace that is stored, and not sent yet.
#[derive(Debug)]
struct PendingTrace {
    spans: [SpanData; 2],
    export: StoredExport,
    scores: Option<PendingScores>,
    redactions: usize,
}

impl Run {
    /// Resolves the settings, opens the files that will be written, and makes the clients.
    ///
    /// # Errors
    /// If a setting is missing or malformed, or a file cannot be opened. Nothing has been sent then.
    pub async fn open(
        options: &cli::RunArgs,
        command: &'static str,
        sources: &Sources,
        console: &Console,
    ) -> Result<Self, Failure> {
        let command_start = Some(Timestamp::now());
        let setup = Setup::open(options, &CommandDefaults::CALL, sources, console).await?;
        Ok(Self {
            command,
            console: console.clone(),
            printer: Printer::new(setup.settings.form),
            signals: Signals::default(),
            lookup: ProjectLookup::default(),
            prices: PriceLookup::default(),
            shows_costs: false,
            command_start,
            thread: None,
            judge: Judge::default(),
            verdict: Verdict::default(),
            setup,
        })
    }

    pub fn settings(&self) -> &Settings {
        &self.setup.settings
    }

    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.setup.settings
    }

    /// Whether nothing is sent.
    pub fn is_dry(&self) -> bool {
        self.setup.is_dry
    }

    /// Reads the managed prompt that the options name, if they name one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn managed_prompt(
        &self,
        options: &cli::ManagedPromptArgs,
        sources: &Sources,
    ) -> Result<Option<RunPrompt>, Failure> {
        RunPrompt::open(options, &self.setup, sources, &self.console).await
    }

    /// Makes the run check its answers.
    pub fn judge_answers(&mut self, judge: Judge, sources: &Sources) {
        if judge.needs_cost() {
            self.look_up_costs(sources);
        }
        self.judge = judge;
    }

    /// Makes the run print what each exchange costs.
    pub fn show_costs(&mut self, sources: &Sources) {
        self.shows_costs = true;
        self.look_up_costs(sources);
    }

    fn look_up_costs(&mut self, sources: &Sources) {
        // The embedded sandbox has another port each time.
        let cache = settings::cache_dir(sources).filter(|_| !self.setup.is_sandbox);
        self.prices = PriceLookup::Wanted(cache.map(|cache| cache.join("prices")));
    }

    /// Asks the model, and traces the exchange.
    ///
    /// # Errors
    /// If signals cannot be received.
    pub async fn ask(&mut self, request: Request, trace: Trace) -> Result<(), Failure> {
        let context = self.context(None);
        let model = &self.setup.settings.model;
        let mut exchange = model_call::begin(model, request, Timestamp::now());
        exchange.command_start = self.command_start;
        if self.setup.is_dry {
            let name = exchange.request.model().unwrap_or_default();
            let dialect = exchange.request.dialect();
            let url = shown(&model.endpoint_of(dialect).url(dialect, &name));
            self.show_plan(Some(url), &exchange, &trace, &context);
            return Ok(());
        }
        if let Some(warning) = exchange.request.dialect().warning(&exchange.request) {
            self.console.warn(warning);
        }
        self.start_price_lookup();
        let is_sampled = self.is_sampled(&context);
        let mut upload = None;
        if is_sampled {
            self.start_lookup();
            upload = self.start_upload(&exchange, &context);
        }
        let failure = self.call(&mut exchange, &context, is_sampled).await?;
        let traced = Traced {
            exchange: &exchange,
            trace: &trace,
            context: &context,
            copies: Copies::Sent,
        };
        let is_complete = failure.is_none();
        self.conclude(traced, upload, failure).await?;
        if let Some(caveat) = exchange.completion.caveat().filter(|_| is_complete) {
            let mut reasons = exchange.completion.finish_reasons.iter().flatten();
            let reason = reasons.find(|reason| is_cut_off(reason));
            let reason = reason.map_or("length", String::as_str);
            self.console.warn(&caveat.message(reason));
        }
        Ok(())
    }

    /// Emits a recording again, with its own times and ids.
    ///
    /// # Errors
    /// If the recording cannot be emitted again.
    pub async fn emit(&mut self, recording: &Recording, copies: Copies) -> Result<(), Failure> {
        const HINT: &str = "--send calls the model with its request";
        let exchange = recording
            .exchange()
            .map_err(|why| Failure::input(why).hint(HINT))?;
        let recorded = recording.trace_id().map_err(Failure::input)?;
        let trace = self.setup.settings.trace.of_recording(recording);
        let context = self.context(recorded.map(TraceContext::root));
        if self.setup.is_dry {
            self.show_plan(None, &exchange, &trace, &context);
            return Ok(());
        }
        self.start_price_lookup();
        self.start_lookup();
        let upload = self.start_upload(&exchange, &context);
        // A trace with a new id cannot have been sent before.
        let is_known = recorded.is_some() || self.setup.settings.trace.named.is_some();
        let traced = Traced {
            exchange: &exchange,
            trace: &trace,
            context: &context,
            copies: if is_known { copies } else { Copies::Sent },
        };
        // A recorded failure is not a failure of this run, which only emits it again.
        self.conclude(traced, upload, None).await
    }

    /// Whether a signal has asked the run to end.
    pub fn is_interrupted(&self) -> bool {
        self.signals.received().is_some()
    }

    /// The verdict of the whole run.
    pub fn finish(mut self) -> Verdict {
        if let Some(failure) = self.printer.take_failure() {
            self.console.error(&failure);
            self.verdict.add(failure.kind);
        }
        self.verdict
    }

    /// The trace that an option names, else the recorded one, else a new one.
    fn context(&self, recorded: Option<TraceContext>) -> TraceContext {
        let named = self.setup.settings.trace.named.as_ref();
        named
            .map(|found| found.value)
            .or(recorded)
            .unwrap_or_else(|| TraceContext::root(ids::random()))
    }

    fn is_sampled(&self, context: &TraceContext) -> bool {
        ids::is_sampled(context.trace_id, self.setup.settings.delivery.sample)
    }

    /// Asks for the project, so that the answer is there when the URL is printed.
    fn start_lookup(&mut self) {
        if let Some(api) = &self.setup.clients.api {
            self.lookup.start(api);
        }
    }

    /// Asks for the price table, if costs are to be shown.
    fn start_price_lookup(&mut self) {
        if self.prices.is_waiting()
            && let Some(api) = &self.setup.clients.api
        {
            self.lookup.start(api);
            self.prices.start(api, self.lookup.answer());
        }
    }

    /// Starts to upload the base64 content of the request while the model works.
    fn start_upload(&self, exchange: &Exchange, context: &TraceContext) -> Option<Upload> {
        let clients = &self.setup.clients;
        clients.exporter.as_ref()?;
        let owner = uploads::owner(context, exchange);
        clients.uploads.begin(&exchange.request, &owner)
    }

    /// Calls the model; returns why the exchange is not complete, if it is not.
    async fn call(
        &mut self,
        exchange: &mut Exchange,
        context: &TraceContext,
        is_sampled: bool,
    ) -> Result<Option<Failure>, Failure> {
        let choices: u64 = exchange.request.get("n").unwrap_or(1);
        self.printer.set_live(choices == 1);
        self.signals.listen()?;
        let is_traced = is_sampled && self.setup.clients.exporter.is_some();
        let caller = Caller {
            http: &self.setup.clients.http,
            model: &self.setup.settings.model,
            console: &self.console,
            rate_limiter: None,
        };
        let ended = model_call::complete(
            exchange,
            is_traced.then_some(context),
            &caller,
            &mut self.printer,
            &mut Progress::default(),
            self.signals.wait(),
        )
        .await;
        Ok(match (self.thread.take(), ended) {
            (Some(mut thread), Ok(())) => {
                thread.extend(&exchange.request, &exchange.completion).err()
            }
            (_, ended) => ended.err(),
        })
    }

    /// Stores, prints, records, delivers and reports an exchange, in this order: once the last byte of an answer is on
    /// stdout, its trace survives a kill.
    async fn conclude(
        &mut self,
        traced: Traced<'_>,
        upload: Option<Upload>,
        failure: Option<Failure>,
    ) -> Result<(), Failure> {
        // Otherwise the answer is not held up for the price table.
        let early_cost = if self.judge.needs_cost() {
            self.cost(traced).await
        } else {
            None
        };
        let cost = early_cost.as_ref();
        let findings = self.judge.findings(traced.exchange, cost, None);
        let scores = self.judge.scores(&findings, &self.setup.settings.privacy);
        let trace = self.with_scores(traced.trace, &scores);
        let traced = Traced {
            trace: &trace,
            ..traced
        };
        let outlined = uploads::with_placeholders(traced.exchange);
        let has_media = matches!(outlined, Cow::Owned(_));
        let is_traced = self.is_traced(traced);
        let filtered = (is_traced || self.setup.record.is_some()).then(|| {
            self.filter(Traced {
                exchange: &outlined,
                ..traced
            })
        });
        let pending = filtered
            .as_ref()
            .filter(|_| is_traced)
            .and_then(|filtered| self.store(filtered, traced, &scores));
        self.printer.answer(traced.exchange);

        let mut failures: Vec<Failure> = failure.into_iter().collect();
        // A recording holds images and files whole.
        let recorded = filtered.filter(|_| !has_media);
        let redactions = self.record(traced, recorded, &mut failures);
        for failure in &failures {
            self.console.error(failure);
        }
        let mut report = match pending {
            Some(mut pending) => {
                if has_media {
                    self.add_media(&mut pending, traced, upload).await?;
                }
                self.deliver(traced, pending, &mut failures).await?
            }
            None => self.untraced(traced.context),
        };
        report.redactions = report.redactions.max(redactions);
        self.say_redactions(&report);
        let cost = match early_cost {
            None if self.shows_costs => self.cost(traced).await,
            cost => cost.filter(|_| self.shows_costs),
        };
        let cost = cost.map(|cost| self.say_cost(&cost));
        failures.extend(self.missed(&findings));
        self.report(traced.exchange, cost, &findings, &report, failures);
        Ok(())
    }

    /// The trace with its scores as metadata, for a backend that has no scores.
    fn with_scores<'t>(&self, trace: &'t Trace, scores: &[Score]) -> Cow<'t, Trace> {
        if scores.is_empty() || self.setup.settings.tracing.dialect() != Dialect::Plain {
            return Cow::Borrowed(trace);
        }
        let mut trace = trace.clone();
        trace.metadata.extend(judge::as_metadata(scores));
        Cow::Owned(trace)
    }

    fn say_redactions(&self, report: &TraceReport) {
        if report.redactions > 0 {
            let passages = counted(report.redactions as u64, "passage");
            self.console.note(&format!(
                "redacted {passages} in the trace or the recording"
            ));
        }
    }

    /// Prints which expectations were not met; returns the failure that this is.
    fn missed(&self, findings: &[Finding]) -> Option<Failure> {
        let failure = Failure::new(Kind::Expectation, expect::missed(findings)?)
            .hint("-o json has all findings; they are scores of the trace");
        self.console.error(&failure);
        Some(failure)
    }

    /// Whether the exchange gets a trace: a failed call does even if it is not in the sample.
    fn is_traced(&self, traced: Traced<'_>) -> bool {
        self.setup.clients.exporter.is_some()
            && (traced.exchange.error.is_some() || self.is_sampled(traced.context))
    }

    /// The parts of an exchange that may be recorded and traced.
    fn filter<'e>(&self, traced: Traced<'e>) -> Filtered<'e> {
        SpanMaker::new(&self.setup.settings).filter(traced.exchange, traced.trace)
    }

    /// Makes the spans of an exchange and puts them into the outbox. An outbox that cannot be written holds nothing up.
    fn store(
        &self,
        filtered: &Filtered<'_>,
        traced: Traced<'_>,
        scores: &[Score],
    ) -> Option<PendingTrace> {
        let exporter = self.setup.clients.exporter.as_ref()?;
        // Made twice rather than copied: large content is then never in memory as spans and as their encoding steps at once.
        let maker = SpanMaker::new(&self.setup.settings);
        let mut export = exporter.store(maker.spans(filtered, traced.context).into());
        let spans = maker.spans(filtered, traced.context);
        if traced.copies == Copies::LeftOut {
            export.ask_first(traced.exchange.end);
        }
        if let Some(error) = export.outbox_error()
            && !matches!(error, OutboxError::Disabled)
        {
            self.console.warn(&format!(
                "{error}; if this process is killed, the trace is lost"
            ));
        }
        let scores = self.store_scores(scores, traced, exporter, export.entry());
        Some(PendingTrace {
            spans,
            export,
            scores,
            redactions: filtered.redactions,
        })
    }

    /// Puts the scores of a trace into the outbox beside its spans; `None` if there are none, or no Langfuse to take them.
    fn store_scores(
        &self,
        scores: &[Score],
        traced: Traced<'_>,
        exporter: &Exporter,
        beside: Option<&str>,
    ) -> Option<PendingScores> {
        if scores.is_empty() || self.setup.settings.tracing.dialect() == Dialect::Plain {
            return None;
        }
        let trace_id = traced.context.trace_id;
        let start = traced.exchange.start.as_nanosecond();
        let subject = ScoredSpan {
            trace_id,
            span_id: Some(SpanIds::derive(trace_id, start).parent),
            environment: self.setup.settings.trace.environment.as_deref(),
        };
        let bodies = scores.iter().map(|score| score.body(subject)).collect();
        let trace_ids = vec![trace_id.to_string()];
        Some(PendingScores::store(bodies, exporter, beside, trace_ids))
    }

    /// What an exchange costs in US dollars, or why that is not known; `None` if it was not asked for, or there is no
    /// answer.
    async fn cost(&mut self, traced: Traced<'_>) -> Option<Result<f64, String>> {
        traced.exchange.response.as_ref()?;
        let grace = if self.is_interrupted() {
            Duration::ZERO
        } else {
            trace_link::LOOKUP_GRACE
        };
        self.prices.cost(traced.exchange, traced.trace, grace).await
    }

    /// Prints what an exchange costs. Returns the number, or null.
    fn say_cost(&self, cost: &Result<f64, String>) -> Value {
        match cost {
            Ok(cost) => self.console.note(&format!("cost: {}", dollars(*cost))),
            Err(why) => {
                let why = self.console.clean(why);
                self.console.note(&format!("cost: unknown ({why})"));
            }
        }
        cost.as_ref().map_or(Value::Null, |cost| Value::from(*cost))
    }

    /// Appends the recording of an exchange to the file of `--record`; returns the number of redacted passages.
    /// `filtered` are the parts that may be recorded, if they are known.
    fn record(
        &mut self,
        traced: Traced<'_>,
        filtered: Option<Filtered<'_>>,
        failures: &mut Vec<Failure>,
    ) -> usize {
        if self.setup.record.is_none() {
            return 0;
        }
        let filtered = filtered.unwrap_or_else(|| self.filter(traced));
        let recording = Recording::new(&filtered.exchange, &filtered.trace, traced.context);
        if let Some(file) = &mut self.setup.record {
            failures.extend(file.append(&recording.to_line()).err());
        }
        filtered.redactions
    }

    /// Waits for the uploads, and makes the spans again with references to them, ids and times unchanged.
    async fn add_media(
        &mut self,
        pending: &mut PendingTrace,
        traced: Traced<'_>,
        upload: Option<Upload>,
    ) -> Result<(), Failure> {
        let (exchange, context) = (traced.exchange, traced.context);
        let with_media = self.steps().with_media(exchange, context, upload).await?;
        let filtered = self.filter(Traced {
            exchange: &with_media,
            ..traced
        });
        let maker = SpanMaker::new(&self.setup.settings);
        pending.redactions = filtered.redactions;
        if let Some(exporter) = &self.setup.clients.exporter {
            let spans = maker.spans(&filtered, context).into();
            exporter.replace(&mut pending.export, spans);
        }
        pending.spans = maker.spans(&filtered, context);
        Ok(())
    }

    /// The report of an exchange without a trace; says why there is none.
    fn untraced(&self, context: &TraceContext) -> TraceReport {
        let mut report = self.empty_report(context);
        if let Tracing::Off(switch) = &self.setup.settings.tracing {
            self.console.note(&format!("tracing is off: {switch}"));
        } else {
            report.delivery = DeliveryState::SampledOut;
            self.console
                .note("the trace was left out by the sample rate");
        }
        report
    }

    /// Delivers the trace of an exchange.
    async fn deliver(
        &mut self,
        traced: Traced<'_>,
        pending: PendingTrace,
        failures: &mut Vec<Failure>,
    ) -> Result<TraceReport, Failure> {
        // A failed call is traced even if it is not in the sample, and then the look-up has not started.
        self.start_lookup();
        let PendingTrace {
            spans,
            export,
            scores,
            redactions,
        } = pending;
        let wanted = verify::wanted(&spans, traced.exchange);
        let mut report = self.empty_report(traced.context);
        report.spans = spans.len();
        report.redactions = redactions;
        let delivery = self.steps().deliver(export).await?;
        report.status = delivery.outcome.status();
        report.delivery = delivery_report::state(&delivery);
        let tracing = &self.setup.settings.tracing;
        report.url = trace_link::page(&report, tracing, &mut self.lookup, &self.console).await;
        if !report.delivery.is_delivered() {
            let failure = delivery_report::failure(Subject::Trace, &delivery, tracing, None);
            self.fail(failure, failures);
            if let Some(scores) = scores {
                scores.wait_for_trace();
            }
            return Ok(report);
        }
        let (form, is_sandbox) = (self.printer.form(), self.setup.is_sandbox);
        trace_link::print(&report, form, tracing, is_sandbox, &self.console);
        self.console.detail(1, || draw(&report.id, &spans));
        let scores = self.deliver_scores(scores, failures).await?;
        if !self.is_interrupted()
            && let Some(verified) = self.steps().verify(&wanted, &spans).await?
        {
            report.verified = Some(verified.is_ok());
            match verified {
                Ok(()) => self.console.note("verified: the trace can be read"),
                Err(failure) => self.fail(failure, failures),
            }
            self.verify_scores(&mut report, &scores, failures).await?;
        }
        Ok(report)
    }

    /// Sends the scores of a trace that was accepted; returns those that were accepted too.
    async fn deliver_scores(
        &mut self,
        scores: Option<PendingScores>,
        failures: &mut Vec<Failure>,
    ) -> Result<Vec<Value>, Failure> {
        let Some(scores) = scores else {
            return Ok(Vec::new());
        };
        let bodies = scores.bodies.clone();
        match self.steps().deliver_scores(scores).await? {
            Ok(()) => Ok(bodies),
            Err(failure) => {
                self.fail(failure, failures);
                Ok(Vec::new())
            }
        }
    }

    /// With `--verify`: waits until the scores can be read.
    async fn verify_scores(
        &mut self,
        report: &mut TraceReport,
        bodies: &[Value],
        failures: &mut Vec<Failure>,
    ) -> Result<(), Failure> {
        if bodies.is_empty() || report.verified != Some(true) {
            return Ok(());
        }
        match self.steps().verify_scores(&report.id, bodies).await? {
            Ok(()) => self.console.note("verified: the scores can be read"),
            Err(failure) => {
                report.verified = Some(false);
                self.fail(failure, failures);
            }
        }
        Ok(())
    }

    fn steps(&mut self) -> DeliverySteps<'_> {
        DeliverySteps {
            settings: &self.setup.settings,
            clients: &self.setup.clients,
            console: &self.console,
            signals: &mut self.signals,
        }
    }

    /// The report of a trace that is not delivered.
    fn empty_report(&self, context: &TraceContext) -> TraceReport {
        let destination = self.setup.settings.tracing.destination();
        TraceReport {
            id: context.trace_id.to_string(),
            url: None,
            spans: 0,
            redactions: 0,
            endpoint: destination.map(|destination| shown(&destination.target.url)),
            delivery: DeliveryState::Disabled,
            status: None,
            verified: None,
        }
    }

    /// Prints a failure of tracing, and counts it unless `--best-effort` forgives it.
    fn fail(&self, failure: Failure, failures: &mut Vec<Failure>) {
        let best_effort = self.setup.settings.delivery.best_effort;
        delivery_report::print(&failure, best_effort, &self.console);
        if !delivery_report::is_forgiven(&failure, best_effort) {
            failures.push(failure);
        }
    }

    /// Ends an exchange with its verdict and its document.
    fn report(
        &mut self,
        exchange: &Exchange,
        cost: Option<Value>,
        findings: &[Finding],
        trace: &TraceReport,
        mut failures: Vec<Failure>,
    ) {
        let is_reported = failures
            .iter()
            .any(|failure| matches!(failure.kind, Kind::Interrupted(_)));
        if let Some(signal) = self.signals.received()
            && !is_reported
        {
            let message = "interrupted while the trace was delivered";
            let failure = Failure::new(Kind::Interrupted(signal), message);
            let failure = failure.hint("see above, or -o json, for the state of the trace");
            self.fail(failure, &mut failures);
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
        )
        .with_cost(cost)
        .with_expectations(findings);
        self.printer.report(&report);
        if let Some(kind) = verdict.kind() {
            self.verdict.add(kind);
        }
    }

    /// Prints the request and the spans that would be sent.
    fn show_plan(
        &mut self,
        url: Option<String>,
        exchange: &Exchange,
        trace: &Trace,
        context: &TraceContext,
    ) {
        let Setup {
            settings, clients, ..
        } = &self.setup;
        let planned = clients.uploads.planned(exchange);
        let maker = SpanMaker::new(settings);
        let filtered = maker.filter(&planned, trace);
        let spans = maker.spans(&filtered, context);
        let destination = settings.tracing.destination();
        let endpoint = destination.map(|destination| shown(&destination.target.url));
        let request = url.map(|url| (url, &exchange.request));
        let plan = DryRun::new(
            self.command,
            request,
            (&spans, filtered.redactions),
            endpoint,
            (&settings.notes.shown, &settings.privacy),
        );
        if self.printer.form() == OutputFormat::Json {
            self.printer.document(&plan);
        } else {
            let text = plan.to_text();
            self.printer.text(&text);
        }
    }
}

/// The trace that was just sent, as `show` draws it.
fn draw(trace_id: &str, spans: &[SpanData]) -> String {
    let rows: Vec<Row> = spans.iter().map(Row::of_span).collect();
    let canvas = Canvas {
        width: console::columns(),
        colour: console::wants_colour(&io::stderr()),
        texts: Texts::None,
    };
    tree::draw(trace_id, &rows, canvas)
}
