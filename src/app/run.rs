//! What `chat` and `replay` share: one exchange after the other, each asked or emitted, printed, delivered and
//! reported.
//!
//! While the model thinks, the project look-up runs: it proves the keys early and opens the very connection that
//! the export uses, so that after the last token one round trip remains.

use jiff::Timestamp;

use crate::app::clients::Clients;
use crate::app::model_call::{self, Caller};
use crate::app::project_lookup::ProjectLookup;
use crate::app::record_file::RecordFile;
use crate::app::setup::Setup;
use crate::app::signals::SignalListener;
use crate::app::span_maker::SpanMaker;
use crate::app::uploads::Upload;
use crate::cli;
use crate::console::Console;
use crate::console::OutputFormat;
use crate::failure::{Failure, Kind, Signal, Verdict};
use crate::model::{Progress, Request};
use crate::output::Printer;
use crate::output::dry_run::DryRun;
use crate::settings::{CommandDefaults, Settings, Sources};
use crate::trace::{Exchange, Recording, Trace, TraceContext, ids};

/// A run of `chat` or `replay`.
#[derive(Debug)]
pub struct Run {
    pub settings: Settings,
    pub(super) printer: Printer,
    pub(super) command: &'static str,
    pub(super) console: Console,
    pub(super) clients: Clients,
    pub(super) lookup: ProjectLookup,
    /// The content of the present request, on its way.
    pub(super) upload: Option<Upload>,
    pub(super) record: Option<RecordFile>,
    pub(super) interrupt: Option<SignalListener>,
    pub(super) interrupted: Option<Signal>,
    pub(super) is_sandbox: bool,
    is_dry: bool,
    pub(super) verdict: Verdict,
}

impl Run {
    /// Resolves the settings, opens the files that will be written, and makes ready to send.
    ///
    /// # Errors
    /// When a setting is missing or malformed, or a file cannot be opened. Nothing was sent then.
    pub async fn open(
        options: &cli::RunArgs,
        command: &'static str,
        sources: &Sources,
        console: &Console,
    ) -> Result<Self, Failure> {
        let setup = Setup::open(options, &CommandDefaults::CALL, sources, console).await?;
        Ok(Self {
            printer: Printer::new(setup.settings.form),
            clients: setup.clients,
            command,
            console: console.clone(),
            lookup: ProjectLookup::default(),
            upload: None,
            record: setup.record,
            interrupt: None,
            interrupted: None,
            is_sandbox: options.stand_in.sandbox,
            is_dry: options.dry_run,
            verdict: Verdict::default(),
            settings: setup.settings,
        })
    }

    /// Asks the model, and traces the exchange.
    ///
    /// # Errors
    /// When signals cannot be listened to.
    pub async fn ask(&mut self, request: Request, trace: Trace) -> Result<(), Failure> {
        let context = self.context(None);
        if self.is_dry {
            let url = self
                .settings
                .model
                .endpoint
                .url(&request.model().unwrap_or_default())
                .to_string();
            let exchange = model_call::begin(&self.settings.model, request, Timestamp::now());
            self.plan(Some(url), &exchange, &trace, &context);
            return Ok(());
        }
        let mut exchange = model_call::begin(&self.settings.model, request, Timestamp::now());
        let is_sampled = self.is_sampled(&context);
        if is_sampled {
            self.start_lookup();
            self.start_upload(&exchange, &context);
        }
        let choices: u64 = exchange.request.get("n").unwrap_or(1);
        self.printer.set_live(choices == 1);
        let caller = Caller {
            http: &self.clients.http,
            model: &self.settings.model,
            console: &self.console,
            rate_limiter: None,
        };
        let interrupt = SignalListener::listen_once(&mut self.interrupt)?;
        let is_traced = is_sampled && self.clients.exporter.is_some();
        let ended = model_call::complete(
            &mut exchange,
            is_traced.then_some(&context),
            &caller,
            &mut self.printer,
            &mut Progress::default(),
            interrupt.wait(),
        )
        .await;
        let failure = ended.err();
        if let Some(Kind::Interrupted(signal)) = failure.as_ref().map(|failure| failure.kind) {
            self.interrupted = Some(signal);
        }
        self.settle(&exchange, &trace, &context, failure).await
    }

    /// Emits a recording again, with its own times and ids.
    ///
    /// # Errors
    /// When the recording cannot be emitted again.
    pub async fn emit(&mut self, recording: &Recording) -> Result<(), Failure> {
        const HINT: &str = "--send calls the model with its request";
        let exchange = recording
            .exchange()
            .map_err(|why| Failure::input(why).hint(HINT))?;
        let recorded = recording.trace_id().map_err(Failure::input)?;
        let trace = self.settings.trace.of_recording(recording);
        let context = self.context(recorded.map(TraceContext::root));
        if self.is_dry {
            self.plan(None, &exchange, &trace, &context);
            return Ok(());
        }
        self.start_lookup();
        self.start_upload(&exchange, &context);
        // A recorded failure is not a failure of this run.
        self.settle(&exchange, &trace, &context, None).await
    }

    /// Whether a signal has asked the run to end.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.is_some()
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
        let named = self.settings.trace.named.as_ref().map(|found| found.value);
        named
            .or(recorded)
            .unwrap_or_else(|| TraceContext::root(ids::random()))
    }

    /// Prints the request and the spans that would be sent.
    fn plan(
        &mut self,
        url: Option<String>,
        exchange: &Exchange,
        trace: &Trace,
        context: &TraceContext,
    ) {
        let planned = self.clients.uploads.planned(exchange);
        let maker = SpanMaker::new(&self.settings);
        let filtered = maker.filter(&planned, trace);
        let spans = maker.spans(&filtered, context);
        let destination = self.settings.tracing.destination();
        let endpoint = destination.map(|destination| destination.target.url.to_string());
        let request = url.map(|url| (url, &exchange.request));
        let plan = DryRun::new(
            self.command,
            request,
            (&spans, filtered.redactions),
            endpoint,
            &self.settings.notes.shown,
        );
        if self.printer.form() == OutputFormat::Json {
            self.printer.document(&plan);
        } else {
            let text = plan.to_text();
            self.printer.text(&text);
        }
    }
}
