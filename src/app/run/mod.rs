//! What `chat` and `replay` share: one exchange after the other, each asked or emitted again, stored, printed,
//! recorded, delivered and reported.
//!
//! While the model works, the project look-up runs: it checks the keys early and opens the connection that the export
//! uses, so that one round trip remains after the last token.

mod conclude;
mod deliver;
mod report;
mod scores;

use jiff::Timestamp;
use opentelemetry_sdk::trace::SpanData;

use crate::app::judge::Judge;
use crate::app::managed_prompt::RunPrompt;
use crate::app::model_call::{self, Caller};
use crate::app::price_lookup::PriceLookup;
use crate::app::project_lookup::ProjectLookup;
use crate::app::score_sender::PendingScores;
use crate::app::setup::Setup;
use crate::app::signals::Signals;
use crate::app::thread::Thread;
use crate::app::uploads::{self, Upload};
use crate::cli;
use crate::console::Console;
use crate::delivery::StoredExport;
use crate::failure::{Failure, Verdict};
use crate::http::url::shown;
use crate::langfuse::Api;
use crate::model::completion::is_cut_off;
use crate::model::{Progress, Request};
use crate::output::Printer;
use crate::settings::{self, CommandDefaults, Settings, Sources};
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

    /// The Langfuse that can be asked; `None` for a plain OTLP backend, and if tracing is off.
    pub fn langfuse(&self) -> Option<&Api> {
        self.setup.clients.api.as_ref()
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
}
