//! `langspan check`: proves, stage by stage, that settings, endpoint, keys, export and read-back work (design 1.9).
//!
//! A stage that fails says why and what to change; those behind it that cannot run are skipped, and say why too.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::call::{self, Caller};
use super::interrupt::Interrupt;
use super::means::Means;
use super::{embedded, proof, remedy};
use crate::cli::{self, Form};
use crate::console::Console;
use crate::failure::{Failure, Kind, Verdict};
use crate::http::Proxies;
use crate::langfuse::base::REGIONS;
use crate::langfuse::{Api, Base, readback};
use crate::model::{Completion, Request, Sink};
use crate::output::stages::{CheckReport, Stage, Status, to_junit, to_markdown};
use crate::output::{DeliveryState, Printer, TraceReport};
use crate::settings::{self, Destination, Settings, Sources, Tracing};
use crate::trace::spans;
use crate::trace::{Exchange, TraceContext, ids};

/// The stages, in their order.
const STAGES: [&str; 7] = [
    "settings", "connect", "health", "auth", "model", "export", "readable",
];
/// The wait between two looks for a server that is still starting.
const STARTING_WAIT: Duration = Duration::from_millis(500);

/// # Errors
/// When the command line is wrong, or a file cannot be opened.
pub async fn run(options: &cli::Check, console: &Console) -> Result<Verdict, Failure> {
    let sources = Sources::read(options.destination.env_file.as_deref())?;
    let form = settings::form(&options.output, &sources)?;
    if matches!(form, Form::Raw | Form::Url) {
        return Err(
            Failure::usage("check prints text or json").hint("leave -o out, or say -o json")
        );
    }
    let junit = options.junit.as_ref().map(|path| {
        File::create(path).map_err(|error| {
            Failure::file(format!("{} cannot be written: {error}", path.display()))
                .hint("check the path of --junit")
        })
    });
    let junit = junit.transpose()?;
    let mut interrupt = Interrupt::listen().map_err(anyhow::Error::from)?;
    let mut check = Check {
        options,
        console: console.clone(),
        printer: Printer::new(form),
        deadline: Instant::now() + Duration::from_secs_f64(options.timeout),
        stages: Vec::new(),
        trace: None,
        verdict: Verdict::default(),
    };
    let stopped = check.all(&mut interrupt).await?;
    check.finish(&stopped, junit)
}

/// A check under way.
struct Check<'a> {
    options: &'a cli::Check,
    console: Console,
    printer: Printer,
    deadline: Instant,
    stages: Vec<Stage>,
    trace: Option<TraceReport>,
    verdict: Verdict,
}

/// Why the stages behind are skipped.
type Stopped = String;

/// How a stage ended: what was found, or why it failed.
type Ended<T> = Result<(T, String), Failure>;

/// A check has nowhere to show an answer.
struct Nowhere;

impl Sink for Nowhere {
    fn text(&mut self, _: &str) {}
    fn raw(&mut self, _: &[u8]) {}
}

impl Check<'_> {
    /// Runs the stages until one fails that the others need; says why the rest is skipped.
    async fn all(&mut self, interrupt: &mut Interrupt) -> Result<Stopped, Failure> {
        let start = Instant::now();
        let port = if self.options.sandbox {
            Some(embedded::start(&Sources::default()).await?)
        } else {
            None
        };
        let settings = match self.settings(port) {
            Err(failure) if failure.kind != Kind::Config => return Err(failure),
            Err(failure) => Err(super::with_env_file(failure, &self.options.destination)),
            ended => ended.map(|settings| {
                let detail = describe(&settings);
                (settings, detail)
            }),
        };
        let Some(settings) = self.land("settings", start, settings) else {
            return Ok("settings failed".to_owned());
        };
        let proxies = if port.is_some() {
            Proxies::Ignored
        } else {
            Proxies::FromEnvironment
        };
        let means = Means::new(&settings, proxies, &self.console)?;
        let Tracing::On(destination) = &settings.tracing else {
            return Ok("tracing is off".to_owned());
        };
        let Some(api) = &means.api else {
            return Ok(self.plain(&means, destination).await);
        };
        tokio::select! {
            stopped = self.server(&settings, &means, destination, api) => Ok(stopped),
            signal = interrupt.wait() => {
                self.verdict.add(Kind::Interrupted(signal));
                Ok("interrupted".to_owned())
            }
        }
    }

    fn settings(&self, port: Option<u16>) -> Result<Settings, Failure> {
        let mut settings = settings::check(self.options, port)?;
        self.console
            .hide(std::mem::take(&mut settings.notes.secrets));
        for warning in &settings.notes.warnings {
            self.console.warn(warning);
        }
        if self.options.with_model {
            settings.model.check_key()?;
        }
        Ok(settings)
    }

    /// All that is asked of a Langfuse.
    async fn server(
        &mut self,
        settings: &Settings,
        means: &Means,
        destination: &Destination,
        api: &Api,
    ) -> Stopped {
        let start = Instant::now();
        self.wait_for_server(api).await;
        let connected = self.within(connect(api, &destination.target.url)).await;
        if self.land("connect", start, connected).is_none() {
            return "connect failed".to_owned();
        }
        let start = Instant::now();
        let health = self.within(health(api)).await;
        let Some(version) = self.land("health", start, health) else {
            return "health failed".to_owned();
        };
        let api = api.clone().for_version(&version);
        let start = Instant::now();
        let auth = self
            .within(self.auth(&api, settings, means, destination))
            .await;
        let Some(project) = self.land("auth", start, auth) else {
            return "auth failed".to_owned();
        };
        let context = TraceContext::root(ids::random());
        let exchange = if self.options.with_model {
            self.model(settings, means, &context).await
        } else {
            self.skip("model", "only with --with-model");
            canary()
        };
        if self.options.no_write {
            return "--no-write".to_owned();
        }
        self.write(
            settings,
            means,
            destination,
            &api,
            &project,
            &exchange,
            &context,
        )
        .await
    }

    /// Exports the canary and reads it back.
    #[expect(
        clippy::too_many_arguments,
        reason = "what the earlier stages found is what these two need"
    )]
    async fn write(
        &mut self,
        settings: &Settings,
        means: &Means,
        destination: &Destination,
        api: &Api,
        project: &str,
        exchange: &Exchange,
        context: &TraceContext,
    ) -> Stopped {
        let trace = settings.trace.of_call();
        let spans = spans::spans(exchange, &trace, context, destination.dialect);
        let mut report = TraceReport {
            id: context.trace_id.to_string(),
            url: destination.langfuse.as_ref().map(|langfuse| {
                langfuse
                    .ui
                    .trace_page(Some(project), &context.trace_id.to_string())
            }),
            spans: spans.len(),
            endpoint: Some(destination.target.url.to_string()),
            delivery: DeliveryState::Failed,
            status: None,
            verified: None,
        };
        let start = Instant::now();
        let budget = settings.delivery.export_timeout;
        let exported = self
            .within(export(
                means,
                destination,
                spans.to_vec(),
                budget,
                &mut report,
            ))
            .await;
        let exported = self.land("export", start, exported);
        if exported.is_none() {
            self.trace = Some(report);
            return "export failed".to_owned();
        }
        let start = Instant::now();
        let wait = Duration::from_secs_f64(self.options.wait);
        let read = self.within(async {
            let wanted = proof::wanted(&spans, exchange);
            let found = readback::wait(api, &wanted, Instant::now() + wait, &self.console).await;
            let rows = proof::of(found, &spans, settings.trace.environment.as_deref(), wait)?;
            Ok((rows, report.url.clone().unwrap_or_default()))
        });
        let read = read.await.map_err(|failure| Failure {
            kind: Kind::NotReadable,
            ..failure
        });
        report.verified = Some(self.land("readable", start, read).is_some());
        self.trace = Some(report);
        "nothing is left".to_owned()
    }

    /// A plain OTLP backend can be reached, and no more.
    async fn plain(&mut self, means: &Means, destination: &Destination) -> Stopped {
        let start = Instant::now();
        let url = destination.target.url.clone();
        let connected = self.within(async {
            match means.http.get(url.clone()).send().await {
                Ok(answer) => Ok((
                    (),
                    format!("{} answers ({})", place(&url), answer.status().as_u16()),
                )),
                Err(error) => Err(unreachable(
                    &url,
                    &crate::http::TransportError::from(error).message,
                )),
            }
        });
        let connected = connected.await;
        if self.land("connect", start, connected).is_none() {
            return "connect failed".to_owned();
        }
        let failure =
            Failure::config("a plain OTLP backend cannot be asked for more than a connection")
                .hint("set LANGFUSE_BASE_URL and the keys to check a Langfuse");
        self.land::<()>("health", Instant::now(), Err(failure));
        "a plain OTLP backend".to_owned()
    }

    /// Waits until a server that is still starting is healthy. The keys are not tried meanwhile: a Langfuse
    /// remembers for minutes that it did not know a key.
    async fn wait_for_server(&self, api: &Api) {
        let Some(seconds) = self.options.wait_for_server else {
            return;
        };
        let deadline = (Instant::now() + Duration::from_secs_f64(seconds)).min(self.deadline);
        while api.health().await.is_err() && Instant::now() + STARTING_WAIT < deadline {
            sleep(STARTING_WAIT).await;
        }
    }

    async fn auth(
        &self,
        api: &Api,
        settings: &Settings,
        means: &Means,
        destination: &Destination,
    ) -> Ended<String> {
        let error = match api.project().await {
            Ok(project) => {
                let detail = format!("project {} ({})", project.name, project.id);
                return Ok((project.id, detail));
            }
            Err(error) => error,
        };
        let kind = if error.is_refusal() {
            Kind::Config
        } else {
            Kind::Delivery
        };
        let failure = Failure::new(kind, error.message).status(error.status);
        if error.status != Some(401) {
            return Err(failure.hint(
                "use a project's own key pair, not a bearer token or an organization's key",
            ));
        }
        Err(match self.region_of_keys(means, destination).await {
            Some(hint) => failure.hint(hint),
            None => failure.hint(format!(
                "check the key pair ({}); a server that has just started may not know it for five minutes",
                origins(settings)
            )),
        })
    }

    /// Which region of Langfuse Cloud knows the keys that this one refused.
    async fn region_of_keys(&self, means: &Means, destination: &Destination) -> Option<String> {
        let langfuse = destination.langfuse.as_ref()?;
        let is_region = REGIONS
            .iter()
            .any(|(_, host)| *host == langfuse.base.host());
        if !is_region || self.options.no_region_probe {
            return None;
        }
        let mut asked = Vec::new();
        for (region, host) in REGIONS
            .iter()
            .filter(|(_, host)| *host != langfuse.base.host())
        {
            let base = Base::parse(&format!("https://{host}")).ok()?;
            let api = Api::new(
                means.http.clone(),
                base.clone(),
                &langfuse.keys,
                self.console.clone(),
            );
            if api.project().await.is_ok() {
                return Some(format!(
                    "the keys are of the region {region}: set LANGFUSE_BASE_URL={base}"
                ));
            }
            asked.push(*region);
        }
        Some(format!(
            "no other region knows the keys either (asked {}): check them",
            asked.join(", ")
        ))
    }

    /// A real completion; what comes of it is traced, a failure too.
    async fn model(
        &mut self,
        settings: &Settings,
        means: &Means,
        context: &TraceContext,
    ) -> Exchange {
        let start = Instant::now();
        let request = settings.model.chat("Answer with the one word: ok", false);
        let mut exchange = call::begin(&settings.model, request, Timestamp::now());
        let ended = self.within(async {
            let caller = Caller {
                http: &means.http,
                model: &settings.model,
                console: &self.console,
            };
            let ended = call::complete(
                &mut exchange,
                Some(context),
                &caller,
                &mut Nowhere,
                std::future::pending(),
            )
            .await;
            ended.map_err(|broken| broken.failure)?;
            let usage = exchange.completion.usage.map_or(0, |usage| usage.total);
            Ok(((), format!("{} answered, {usage} tokens", exchange.model())))
        });
        let ended = ended.await.map_err(|failure| Failure {
            kind: Kind::Model,
            ..failure
        });
        self.land("model", start, ended);
        exchange
    }

    /// Bounds a stage by the time for everything.
    async fn within<T>(&self, stage: impl Future<Output = Ended<T>>) -> Ended<T> {
        match tokio::time::timeout_at(self.deadline, stage).await {
            Ok(ended) => ended,
            Err(_) => Err(Failure::new(
                Kind::Delivery,
                format!("no time left: --timeout is {} s", self.options.timeout),
            )
            .hint("raise --timeout, or look what takes so long with -v")),
        }
    }

    /// Notes how a stage ended; gives what the next ones need.
    fn land<T>(&mut self, name: &'static str, start: Instant, ended: Ended<T>) -> Option<T> {
        let ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (status, detail, hint, found) = match ended {
            Ok((found, detail)) => (Status::Ok, detail, None, Some(found)),
            Err(failure) => {
                self.verdict.add(failure.kind);
                (Status::Failed, failure.message, failure.hint, None)
            }
        };
        let detail = self.console.scrub(&detail);
        self.push(Stage {
            name,
            status,
            ms,
            detail,
            hint,
        });
        found
    }

    fn skip(&mut self, name: &'static str, why: &str) {
        self.push(Stage {
            name,
            status: Status::Skipped,
            ms: 0,
            detail: why.to_owned(),
            hint: None,
        });
    }

    /// Says a stage as soon as it has ended.
    fn push(&mut self, stage: Stage) {
        let is_quiet = self.options.output.quiet;
        if self.printer.form() == Form::Text && !is_quiet {
            self.printer.text(&stage.to_text());
        } else if stage.status == Status::Failed {
            let mut failure =
                Failure::new(Kind::Internal, format!("{}: {}", stage.name, stage.detail));
            failure.hint.clone_from(&stage.hint);
            self.console.error(&failure);
        }
        self.stages.push(stage);
    }

    fn finish(mut self, stopped: &str, junit: Option<File>) -> Result<Verdict, Failure> {
        for name in STAGES {
            if self.stages.iter().all(|stage| stage.name != name) {
                let why = if name == "model" && !self.options.with_model {
                    "only with --with-model"
                } else {
                    stopped
                };
                self.skip(name, why);
            }
        }
        self.stages
            .sort_by_key(|stage| STAGES.iter().position(|name| *name == stage.name));
        if self.printer.form() == Form::Json {
            let report = CheckReport {
                schema_version: 1,
                ok: self.verdict.kind().is_none(),
                stages: &self.stages,
                trace: self.trace.as_ref(),
            };
            self.printer.document(&report);
        }
        if let Some(mut file) = junit {
            file.write_all(to_junit(&self.stages).as_bytes())
                .map_err(|error| {
                    Failure::file(format!("the JUnit report cannot be written: {error}"))
                })?;
        }
        self.tell_github()?;
        if let Some(failure) = self.printer.take_failure() {
            self.console.error(&failure);
            self.verdict.add(failure.kind);
        }
        Ok(self.verdict)
    }

    /// Annotations and the step summary of GitHub Actions.
    fn tell_github(&self) -> Result<(), Failure> {
        let sources = Sources::default();
        if sources.get("GITHUB_ACTIONS").is_some() {
            for stage in self
                .stages
                .iter()
                .filter(|stage| stage.status == Status::Failed)
            {
                self.console.annotation(&stage.to_annotation());
            }
        }
        if let Some(path) = sources.get("GITHUB_STEP_SUMMARY") {
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .open(&path.value);
            let written =
                file.and_then(|mut file| file.write_all(to_markdown(&self.stages).as_bytes()));
            written.map_err(|error| {
                Failure::file(format!("GITHUB_STEP_SUMMARY cannot be written: {error}"))
            })?;
        }
        Ok(())
    }
}

async fn connect(api: &Api, target: &reqwest::Url) -> Ended<()> {
    match api.health().await {
        Err(error) if error.status.is_none() => Err(unreachable(target, &error.message)),
        _ => Ok(((), place(target))),
    }
}

async fn health(api: &Api) -> Ended<String> {
    match api.health().await {
        Ok(version) => {
            let detail = format!("Langfuse {version}");
            Ok((version, detail))
        }
        Err(error) => Err(Failure::new(Kind::Delivery, error.message)
            .status(error.status)
            .hint("is this the URL of a Langfuse? If so, its log says what it lacks")),
    }
}

async fn export(
    means: &Means,
    destination: &Destination,
    spans: Vec<opentelemetry_sdk::trace::SpanData>,
    budget: Duration,
    report: &mut TraceReport,
) -> Ended<()> {
    let Some(exporter) = &means.exporter else {
        return Err(anyhow::anyhow!("there is no exporter").into());
    };
    let outcome = exporter.export(spans, budget).await.outcome;
    report.status = outcome.status();
    if !outcome.is_accepted() {
        return Err(Failure::new(
            Kind::Delivery,
            format!("{}: {}", destination.target.url, outcome.describe()),
        )
        .status(outcome.status())
        .hint(remedy::of_delivery(&outcome, destination)));
    }
    report.delivery = DeliveryState::Accepted;
    let by = if destination.is_collector {
        "accepted by the collector"
    } else {
        "accepted"
    };
    Ok(((), format!("{by}, {} spans", report.spans)))
}

/// A trace that costs nothing: what was asked and answered is made up, and says so.
fn canary() -> Exchange {
    const NAME: &str = "langspan-check";
    let now = Timestamp::now();
    let body = json!({
        "id": NAME,
        "model": NAME,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "It is, if this can be read."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    });
    let mut exchange = Exchange {
        request: Request::chat(
            NAME,
            None,
            "Is this trace readable? (a canary; no model was called)",
        ),
        response: None,
        completion: Completion::default(),
        error: None,
        start: now,
        end: now,
        completion_start: None,
        attempts: None,
        server: None,
    };
    exchange.set_response(&body.to_string(), Completion::from_body(&body));
    exchange
}

fn place(url: &reqwest::Url) -> String {
    url.origin().ascii_serialization()
}

fn unreachable(url: &reqwest::Url, why: &str) -> Failure {
    Failure::new(Kind::Delivery, why.to_owned()).hint(format!(
        "check that {} is right and reachable from here, and any HTTPS_PROXY",
        place(url)
    ))
}

/// What the settings say, and from where.
fn describe(settings: &Settings) -> String {
    let wanted = ["destination", "public key"];
    let shown = settings
        .notes
        .shown
        .iter()
        .filter(|shown| wanted.contains(&shown.name));
    let parts: Vec<String> = shown
        .map(|shown| format!("{} ({})", shown.value, shown.origin))
        .collect();
    parts.join(", ")
}

/// Where the keys came from.
fn origins(settings: &Settings) -> String {
    let wanted = ["public key", "secret key"];
    let shown = settings
        .notes
        .shown
        .iter()
        .filter(|shown| wanted.contains(&shown.name));
    let mut origins: Vec<String> = shown.map(|shown| shown.origin.to_string()).collect();
    origins.dedup();
    origins.join(", ")
}
