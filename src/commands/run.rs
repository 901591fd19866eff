//! What `chat` and `replay` share: one exchange after the other, each asked or emitted, printed, delivered and
//! reported.
//!
//! While the model thinks, the project look-up runs: it proves the keys early and opens the very connection that
//! the export uses, so that after the last token one round trip remains.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;

use super::embedded;
use super::interrupt::Interrupt;
use super::lookup::Lookup;
use crate::cli::{self, Form};
use crate::console::Console;
use crate::delivery::{Courier, Exporter, Outbox, Wire};
use crate::failure::{Failure, Kind, Signal, Verdict};
use crate::http::{self, Proxies};
use crate::langfuse::Api;
use crate::model::{Client, Completion, Progress, Request};
use crate::output::Printer;
use crate::output::dry_run::DryRun;
use crate::sandbox;
use crate::settings::{self, Settings, Sources, Tracing};
use crate::trace::exchange::Server;
use crate::trace::ids::{self, SpanIds};
use crate::trace::spans;
use crate::trace::{Exchange, ExchangeError, Recording, Trace, TraceContext};

/// A run of `chat` or `replay`.
#[derive(Debug)]
pub struct Run {
    pub settings: Settings,
    pub(super) printer: Printer,
    pub(super) command: &'static str,
    pub(super) console: Console,
    http: reqwest::Client,
    pub(super) api: Option<Api>,
    /// None when tracing is off.
    pub(super) exporter: Option<Exporter>,
    pub(super) lookup: Lookup,
    pub(super) record: Option<File>,
    pub(super) interrupt: Option<Interrupt>,
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
        options: &cli::Run,
        command: &'static str,
        console: &Console,
    ) -> Result<Self, Failure> {
        let port = match (options.sandbox, options.dry_run) {
            (false, _) => None,
            (true, true) => Some(sandbox::PORT),
            (true, false) => Some(embedded::start(&Sources::default()).await?),
        };
        let mut settings = settings::resolve(options, port)?;
        console.hide(std::mem::take(&mut settings.notes.secrets));
        for warning in &settings.notes.warnings {
            console.warn(warning);
        }
        let proxies = if options.sandbox {
            Proxies::Ignored
        } else {
            Proxies::FromEnvironment
        };
        let http = http::client(&settings.tls, proxies).map_err(|error| {
            Failure::config(format!("TLS cannot be set up: {error:#}"))
                .hint("check --ca-file and the OTLP certificate variables")
        })?;
        let record = match &settings.record {
            Some(path) if !options.dry_run => Some(open_record(path)?),
            _ => None,
        };
        let mut run = Self {
            printer: Printer::new(settings.form),
            command,
            console: console.clone(),
            api: None,
            exporter: None,
            lookup: Lookup::default(),
            record,
            interrupt: None,
            interrupted: None,
            is_sandbox: options.sandbox,
            is_dry: options.dry_run,
            verdict: Verdict::default(),
            settings,
            http,
        };
        run.prepare_delivery()?;
        Ok(run)
    }

    /// Asks the model, and traces what came of it.
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
            let exchange = self.unanswered(request, Timestamp::now());
            self.plan(Some(url), &exchange, &trace, &context);
            return Ok(());
        }
        if self.is_sampled(&context) {
            self.start_lookup();
        }
        let (exchange, failure) = self.call(request, &context).await?;
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
        // A recorded failure is not one of this run: emitting it again is what was asked.
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

    /// The trace that was named, else the recorded one, else a new one.
    fn context(&self, recorded: Option<TraceContext>) -> TraceContext {
        let named = self.settings.trace.named.as_ref().map(|found| found.value);
        named
            .or(recorded)
            .unwrap_or_else(|| TraceContext::root(ids::random()))
    }

    fn prepare_delivery(&mut self) -> Result<(), Failure> {
        let (wire, public_key) = match &self.settings.tracing {
            Tracing::Off(_) => return Ok(()),
            Tracing::Unreachable(failure) => (Err(failure.message.clone()), None),
            Tracing::On(destination) => {
                let langfuse = destination.langfuse.as_ref();
                self.api = langfuse.map(|it| {
                    Api::new(
                        self.http.clone(),
                        it.base.clone(),
                        &it.keys,
                        self.console.clone(),
                    )
                });
                let wire = Wire {
                    http: self.http.clone(),
                    target: destination.target.clone(),
                    api: self.api.clone(),
                    console: self.console.clone(),
                };
                (Ok(wire), langfuse.map(|it| it.keys.public.clone()))
            }
        };
        if self.is_dry {
            return Ok(());
        }
        let outbox = self
            .settings
            .delivery
            .outbox
            .as_ref()
            .map(|place| match &place.dir {
                Ok(dir) => Outbox::open(dir, place.max_bytes),
                Err(why) => Err(std::io::Error::other(why.clone())),
            });
        let trace = &self.settings.trace;
        let resource = spans::resource(
            &trace.service,
            &trace.resource,
            trace.environment.as_deref(),
            trace.release.as_deref(),
        );
        self.exporter = Some(Exporter::new(
            Courier {
                wire,
                outbox,
                public_key,
            },
            &resource,
        )?);
        Ok(())
    }

    /// The model call, as far as it came, and why it came no further.
    async fn call(
        &mut self,
        request: Request,
        context: &TraceContext,
    ) -> Result<(Exchange, Option<Failure>), Failure> {
        let mut exchange = self.unanswered(request, Timestamp::now());
        let ids = SpanIds::derive(context.trace_id, exchange.start.as_nanosecond());
        let traceparent = self
            .exporter
            .is_some()
            .then(|| context.traceparent(ids.generation));
        let choices: u64 = exchange.request.get("n").unwrap_or(1);
        self.printer.set_live(choices == 1);
        let model = &self.settings.model;
        let client = Client {
            http: &self.http,
            endpoint: &model.endpoint,
            retries: model.retries,
            timeout: model.timeout,
            console: &self.console,
        };
        let interrupt = Interrupt::listen_once(&mut self.interrupt)?;
        let mut progress = Progress::default();
        let ended = tokio::select! {
            ended = client.complete(&exchange.request, traceparent.as_deref(), &mut self.printer, &mut progress) => Ok(ended),
            signal = interrupt.wait() => Err(signal),
        };
        exchange.end = Timestamp::now().max(exchange.start);
        exchange.attempts = Some(progress.attempts);
        exchange.completion_start = progress.first_token;
        let failure = match ended {
            Ok(Ok(answer)) => {
                exchange.set_response(&answer.body, answer.completion);
                return Ok((exchange, None));
            }
            Ok(Err(error)) => Failure::from(error),
            Err(signal) => {
                self.interrupted = Some(signal);
                Failure::new(Kind::Interrupted(signal), "interrupted")
                    .hint("what was received is in the trace")
            }
        };
        if let Some(partial) = progress.into_partial() {
            exchange.set_response(&partial.to_string(), Completion::from_body(&partial));
        }
        exchange.error = Some(ExchangeError {
            kind: failure.kind.name().to_owned(),
            message: failure.message.clone(),
            status: failure.status,
        });
        Ok((exchange, Some(failure)))
    }

    /// An exchange that has just begun.
    fn unanswered(&self, request: Request, start: Timestamp) -> Exchange {
        let endpoint = &self.settings.model.endpoint;
        Exchange {
            request,
            response: None,
            completion: Completion::default(),
            error: None,
            start,
            end: start,
            completion_start: None,
            attempts: None,
            server: Some(Server {
                provider: endpoint.provider,
                address: endpoint.base.host_str().unwrap_or_default().to_owned(),
                port: endpoint.base.port_or_known_default(),
            }),
        }
    }

    /// Shows what would be done.
    fn plan(
        &mut self,
        url: Option<String>,
        exchange: &Exchange,
        trace: &Trace,
        context: &TraceContext,
    ) {
        let spans = spans::spans(exchange, trace, context, self.dialect());
        let endpoint = match &self.settings.tracing {
            Tracing::On(destination) => Some(destination.target.url.to_string()),
            _ => None,
        };
        let request = url.map(|url| (url, &exchange.request));
        let plan = DryRun::new(
            self.command,
            request,
            &spans,
            endpoint,
            &self.settings.notes.shown,
        );
        if self.printer.form() == Form::Json {
            self.printer.document(&plan);
        } else {
            let text = plan.to_text();
            self.printer.text(&text);
        }
    }
}

/// Opens the recordings' file before anything is sent, so that nothing is paid for that cannot be kept.
fn open_record(path: &Path) -> Result<File, Failure> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| {
            Failure::file(format!("{} cannot be written: {error}", path.display()))
                .hint("check the path of --record")
        })
}
