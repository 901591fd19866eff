//! `langspan check`: proves, stage by stage, that settings, endpoint, keys, export and read-back work.
//!
//! A stage that fails names the cause and the remedy; stages that cannot run after it are skipped with the reason.

mod canary;
mod probes;
mod stages;

use std::fs::File;
use std::io;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout_at};

use crate::app::clients::{self, Clients};
use crate::app::model_call::{self, Caller};
use crate::app::signals::SignalListener;
use crate::app::span_maker::SpanMaker;
use crate::app::{embedded_sandbox, env_file, setup, verify};
use crate::cli;
use crate::console::Console;
use crate::failure::{Failure, Kind, Verdict};
use crate::http::Proxies;
use crate::http::url::shown;
use crate::langfuse::{Api, readback};
use crate::model::{NullSink, Progress, Request};
use crate::output::{DeliveryState, Printer, TraceReport};
use crate::settings::{self, DEFAULT_WAIT, Origin, Settings, Sources, Tracing};
use crate::trace::{Exchange, TraceContext, ids};
use probes::{StageOutcome, Target};
use stages::Stages;

/// The wait between two looks for a server that is still starting.
const STARTING_WAIT: Duration = Duration::from_millis(500);

/// # Errors
/// If the command line is wrong.
pub async fn run(
    options: &cli::CheckArgs,
    sources: Result<Sources, Failure>,
    console: &Console,
) -> Result<Verdict, Failure> {
    let (sources, unread) = match sources {
        Ok(sources) => (sources, None),
        Err(failure) => (Sources::default(), Some(failure)),
    };
    let form = settings::text_or_json(&options.output, &sources)?;
    let mut check = Check {
        options,
        sources: &sources,
        console: console.clone(),
        deadline: Instant::now() + Duration::from_secs_f64(options.timeout),
        stages: Stages {
            console: console.clone(),
            printer: Printer::new(form),
            is_quiet: options.output.quiet,
            under_way: ("settings", Instant::now()),
            ended: Vec::new(),
            verdict: Verdict::default(),
        },
        wait: settings::wait(&options.wait, DEFAULT_WAIT, &sources)?,
        trace: None,
    };
    let junit = options.junit.as_ref().map(File::create);
    let stopped = check.all(unread, junit.as_ref()).await?;
    Ok(check.stages.finish(
        &sources,
        &stopped,
        options.with_model,
        check.trace.as_ref(),
        junit.and_then(Result::ok),
    ))
}

/// A check under way.
struct Check<'a> {
    options: &'a cli::CheckArgs,
    sources: &'a Sources,
    console: Console,
    /// When the time for everything is up.
    deadline: Instant,
    stages: Stages,
    /// How long the trace is waited for.
    wait: Duration,
    trace: Option<TraceReport>,
}

/// Why the stages behind are skipped.
type Stopped = String;

impl Check<'_> {
    /// Runs the stages until one fails that the others need; returns why the rest is skipped.
    async fn all(
        &mut self,
        unread: Option<Failure>,
        junit: Option<&io::Result<File>>,
    ) -> Result<Stopped, Failure> {
        let mut interrupt = SignalListener::listen().map_err(anyhow::Error::from)?;
        let env_file = self.options.destination.sources.env_file.as_deref();
        let prepared = match unread {
            Some(failure) => Err(failure),
            None => self.prepare(junit).await,
        };
        let prepared = match prepared {
            Err(failure) if failure.kind == Kind::Usage => return Err(failure),
            Err(failure) => Err(env_file::mention_unread(failure, env_file)),
            Ok((settings, clients)) => {
                let detail = describe(&settings);
                Ok(((settings, clients), detail))
            }
        };
        let Some((settings, clients)) = self.stages.land(prepared) else {
            return Ok("settings failed".to_owned());
        };
        let Tracing::On(destination) = &settings.tracing else {
            return Ok("tracing is off".to_owned());
        };
        let console = self.console.clone();
        let target = Target {
            settings: &settings,
            clients: &clients,
            destination,
            console: &console,
        };
        tokio::select! {
            // A stage has begun before a signal can end it.
            biased;
            stopped = self.server(&target) => Ok(stopped),
            signal = interrupt.wait() => {
                self.stages.interrupt(signal);
                Ok("interrupted".to_owned())
            }
        }
    }

    /// Everything that can be wrong before a connection is opened.
    async fn prepare(
        &self,
        junit: Option<&io::Result<File>>,
    ) -> Result<(Settings, Clients), Failure> {
        if let (Some(path), Some(Err(error))) = (&self.options.junit, junit) {
            return Err(
                Failure::unwritable(path.display(), error).hint("check the path of --junit")
            );
        }
        let port = if self.options.stand_in.sandbox {
            Some(embedded_sandbox::start(self.sources).await?)
        } else {
            None
        };
        let mut settings = settings::check(self.options, self.sources, port)?;
        setup::announce(&mut settings.notes, &self.console);
        if self.options.with_model {
            settings.model.check_key()?;
        }
        let proxies = if port.is_some() {
            Proxies::Ignored
        } else {
            Proxies::FromEnvironment
        };
        let clients = Clients::new(&settings, proxies, &self.console)?;
        Ok((settings, clients))
    }

    /// All that is asked of a server.
    async fn server(&mut self, target: &Target<'_>) -> Stopped {
        self.stages.begin("connect");
        if let Some(api) = &target.clients.api {
            self.wait_for_server(api).await;
        }
        let connected = self.within(probes::connect(target)).await;
        if self.stages.land(connected).is_none() {
            return "connect failed".to_owned();
        }
        let Some(api) = &target.clients.api else {
            let failure =
                Failure::config("only the connection of a plain OTLP backend can be checked")
                    .hint("set LANGFUSE_BASE_URL and the keys to check a Langfuse");
            self.stages.begin("health");
            self.stages.land::<()>(Err(failure));
            return "a plain OTLP backend".to_owned();
        };
        self.stages.begin("health");
        let health = self.within(probes::health(target, api)).await;
        let Some(version) = self.stages.land(health) else {
            return "health failed".to_owned();
        };
        let api = api.clone().for_version(&version);
        self.stages.begin("auth");
        let auth = self
            .within(probes::auth(target, &api, !self.options.no_region_probe))
            .await;
        let Some(project) = self.stages.land(auth) else {
            return "auth failed".to_owned();
        };
        let context = TraceContext::root(ids::random());
        if self.options.no_write {
            return "--no-write".to_owned();
        }
        let exchange = if self.options.with_model {
            self.model(target, &context).await
        } else {
            self.stages.skip("model", "only with --with-model");
            canary::exchange()
        };
        // A model that took all the time has failed for it; the stages behind it never begin.
        if self.stages.verdict.kind().is_some() && Instant::now() >= self.deadline {
            return self.no_time();
        }
        self.write(target, &api, &project, &exchange, &context)
            .await
    }

    /// Exports a trace and reads it back.
    async fn write(
        &mut self,
        target: &Target<'_>,
        api: &Api,
        project: &str,
        exchange: &Exchange,
        context: &TraceContext,
    ) -> Stopped {
        let Target {
            settings,
            destination,
            ..
        } = target;
        let trace = settings.trace.of_call();
        let maker = SpanMaker::new(settings);
        let filtered = maker.filter(exchange, &trace);
        let spans = maker.spans(&filtered, context);
        let id = context.trace_id.to_string();
        let langfuse = destination.langfuse.as_ref();
        let mut report = TraceReport {
            url: langfuse.map(|langfuse| langfuse.ui.trace_page(Some(project), &id)),
            id,
            spans: spans.len(),
            redactions: filtered.redactions,
            endpoint: Some(shown(&destination.target.url)),
            delivery: DeliveryState::Failed,
            status: None,
            verified: None,
        };
        // So that an interrupted export still reports the trace.
        self.trace = Some(report.clone());
        self.stages.begin("export");
        let exported = self
            .within(probes::export(target, spans.to_vec(), &mut report))
            .await;
        let is_exported = self.stages.land(exported).is_some();
        self.trace = Some(report.clone());
        if !is_exported {
            return "export failed".to_owned();
        }
        self.stages.begin("readable");
        let wait = self.wait;
        let read = self.within(async {
            let wanted = verify::wanted(&spans, exchange);
            let found = readback::wait(api, &wanted, Instant::now() + wait).await;
            verify::verdict(found, &spans, &clients::resource(&settings.trace), wait)?;
            Ok(((), report.url.clone().unwrap_or_default()))
        });
        let read = read.await.map_err(|failure| Failure {
            kind: Kind::NotReadable,
            ..failure
        });
        report.verified = Some(self.stages.land(read).is_some());
        self.trace = Some(report);
        "nothing is left".to_owned()
    }

    /// Waits until a server that is still starting is healthy. The keys are not tried meanwhile: a Langfuse
    /// remembers for minutes that it did not know a key.
    async fn wait_for_server(&self, api: &Api) {
        let Some(seconds) = self.options.wait_for_server else {
            return;
        };
        let deadline = (Instant::now() + Duration::from_secs_f64(seconds)).min(self.deadline);
        while let Ok(Err(_)) = timeout_at(deadline, api.health()).await {
            if Instant::now() + STARTING_WAIT >= deadline {
                break;
            }
            sleep(STARTING_WAIT).await;
        }
    }

    /// A real completion, traced even when it fails.
    async fn model(&mut self, target: &Target<'_>, context: &TraceContext) -> Exchange {
        self.stages.begin("model");
        let model = &target.settings.model;
        let request = match model.chat("Answer with the one word: ok", false) {
            Ok(request) => request,
            Err(why) => {
                let failure = Failure::new(Kind::Model, why);
                self.stages.land::<()>(Err(failure));
                return Exchange::new(Request::default(), Timestamp::now(), Timestamp::now());
            }
        };
        let mut exchange = model_call::begin(model, request, Timestamp::now());
        let ended = self.within(async {
            let caller = Caller {
                http: &target.clients.http,
                model,
                console: &self.console,
                rate_limiter: None,
            };
            let never = std::future::pending();
            let mut progress = Progress::default();
            let sink = &mut NullSink;
            model_call::complete(
                &mut exchange,
                Some(context),
                &caller,
                sink,
                &mut progress,
                never,
            )
            .await?;
            let usage = exchange.completion.usage.map_or(0, |usage| usage.total);
            Ok(((), format!("{} answered, {usage} tokens", exchange.model())))
        });
        let ended = ended.await.map_err(|failure| Failure {
            kind: Kind::Model,
            ..failure
        });
        self.stages.land(ended);
        exchange
    }

    fn no_time(&self) -> String {
        format!("no time left: --timeout is {} s", self.options.timeout)
    }

    /// Bounds a stage by the time for everything.
    async fn within<T>(&self, stage: impl Future<Output = StageOutcome<T>>) -> StageOutcome<T> {
        if let Ok(ended) = timeout_at(self.deadline, stage).await {
            return ended;
        }
        let failure = Failure::new(Kind::Delivery, self.no_time());
        Err(failure.hint("raise --timeout, or use -v to see what takes so long"))
    }
}

/// What the settings say, and from where: the Langfuse or other server, the collector that the spans go to instead, the
/// proxy, and the public key.
fn describe(settings: &Settings) -> String {
    let shown = settings.notes.shown.iter();
    let parts = shown.filter_map(|shown| {
        let said = format!("{} ({})", shown.value, shown.origin);
        match shown.name {
            "collector" => Some(format!("spans to {said}")),
            // The collector is all that there is.
            "destination" if shown.origin == Origin::Flag("--otlp-endpoint") => None,
            "proxy" => Some(format!("through {said}")),
            "destination" | "public key" => Some(said),
            _ => None,
        }
    });
    parts.collect::<Vec<_>>().join(", ")
}
