//! One run of `exec`: the command is started among its changed endpoints, waited for, and what came of it delivered.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::process::Child;

use crate::app::clients::Clients;
use crate::app::embedded_sandbox;
use crate::app::project_lookup::ProjectLookup;
use crate::cli::ExecArgs;
use crate::console::Console;
use crate::delivery::OutboxError;
use crate::delivery::outbox::{Entry, EntryMeta};
use crate::exec::busy::Busy;
use crate::exec::conclude::{Conclusion, Outcomes};
use crate::exec::environment::{self, Changes, ChildSettings};
use crate::exec::journal::{EndRecord, Journal, JournalRecord, RunRecord};
use crate::exec::listener::{self, Service, Serving};
use crate::exec::pass_through::{ApiTarget, PassThrough};
use crate::exec::process::{self, ChildSignals, Ended};
use crate::exec::proxy::{ModelProxy, Upstream};
use crate::exec::recorder::{Recorder, hex};
use crate::exec::report::ReportFile;
use crate::exec::run_record::record;
use crate::failure::{Failure, Kind, Verdict};
use crate::http::Proxies;
use crate::sandbox;
use crate::settings::{self, Settings, Sources};

/// A run that is ready to begin.
#[derive(Debug)]
pub struct ExecRun<'a> {
    options: &'a ExecArgs,
    console: &'a Console,
    settings: Settings,
    clients: Clients,
    record: RunRecord,
    /// The port of the sandbox inside this process.
    sandbox: Option<u16>,
    lookup: ProjectLookup,
    failures: Vec<Failure>,
}

/// Runs the command, and delivers what came of it.
///
/// # Errors
/// If something is wrong before the command is started.
pub async fn run(
    options: &ExecArgs,
    sources: &Sources,
    console: &Console,
) -> Result<Verdict, Failure> {
    let mut run = ExecRun::open(options, sources, console).await?;
    if options.dry_run {
        return run.show();
    }
    let report = options
        .report
        .as_deref()
        .map(ReportFile::open)
        .transpose()?;
    let listener = listener::bind().await.map_err(|error| {
        Failure::new(
            Kind::Internal,
            format!("cannot listen on 127.0.0.1: {error}"),
        )
        .hint("another program may hold all ports")
    })?;
    let mut signals = ChildSignals::listen()?;
    let outcomes = run.execute(listener, &mut signals).await?;
    let conclusion = Conclusion {
        options: run.options,
        console: run.console,
        is_sandbox: run.sandbox.is_some(),
        settings: run.settings,
        clients: run.clients,
        lookup: run.lookup,
        failures: run.failures,
    };
    // Boxed: the future is large.
    Ok(Box::pin(conclusion.conclude(outcomes, &mut signals.signals, report)).await)
}

impl<'a> ExecRun<'a> {
    async fn open(
        options: &'a ExecArgs,
        sources: &Sources,
        console: &'a Console,
    ) -> Result<Self, Failure> {
        let sandbox = match (options.sandbox, options.dry_run) {
            (false, _) => None,
            (true, true) => Some(sandbox::PORT),
            (true, false) => Some(embedded_sandbox::start(sources).await?),
        };
        let mut settings = settings::exec(options, sources, sandbox)?;
        console.hide(&std::mem::take(&mut settings.notes.secrets));
        let proxies = if options.sandbox {
            // `resend` would deliver its entries to the user's own Langfuse.
            settings.delivery.outbox = None;
            Proxies::Ignored
        } else {
            Proxies::FromEnvironment
        };
        Ok(Self {
            clients: Clients::new(&settings, proxies, console)?,
            record: record(options, &settings),
            options,
            console,
            settings,
            sandbox,
            lookup: ProjectLookup::default(),
            failures: Vec::new(),
        })
    }

    /// Shows the variables that the command would get.
    fn show(&self) -> Result<Verdict, Failure> {
        let changes = self.changes("http://127.0.0.1:PORT/TOKEN", "TOKEN")?;
        let mut printer = crate::output::Printer::new(crate::console::OutputFormat::Text);
        printer.text(&changes.shown());
        Ok(Verdict::default())
    }

    fn changes(&self, root: &str, token: &str) -> Result<Changes, Failure> {
        let trace = self.record.trace_id.as_deref();
        let trace = trace.unwrap_or(&self.record.own_trace_id);
        let langfuse = self.settings.tracing.destination();
        let langfuse = langfuse.and_then(|destination| destination.langfuse.as_ref());
        let plan = ChildSettings {
            root: root.to_owned(),
            token: token.to_owned(),
            traceparent: format!("00-{trace}-{}-01", self.record.span_id),
            identity: self.record.identity.clone(),
            receives: !self.options.no_receiver,
            proxies: !self.options.no_proxy,
            sandbox: self.sandbox.map(|port| format!("http://127.0.0.1:{port}")),
            links: langfuse.map(|langfuse| langfuse.ui.to_string()),
        };
        let inherited = |name: &str| {
            let value = std::env::var_os(name)?;
            Some(value.to_string_lossy().into_owned())
        };
        let changes = environment::plan(&plan, &inherited);
        for (name, url) in [
            ("OPENAI_BASE_URL", &changes.openai),
            ("AZURE_OPENAI_ENDPOINT", &changes.azure),
            ("ANTHROPIC_BASE_URL", &changes.anthropic),
        ] {
            if url
                .as_ref()
                .is_some_and(|url| Upstream::parse(url).is_none())
            {
                let hint = "set it to the URL of the model endpoint, or use --no-proxy";
                return Err(Failure::config(format!("{name} is not a URL")).hint(hint));
            }
        }
        Ok(changes)
    }

    /// Runs the command to its end.
    async fn execute(
        &mut self,
        listener: TcpListener,
        signals: &mut ChildSignals,
    ) -> Result<Outcomes, Failure> {
        let port = listener.local_addr().map_err(anyhow::Error::from)?.port();
        let token = token()?;
        let root = format!("http://127.0.0.1:{port}/{token}");
        let changes = self.changes(&root, &token)?;
        let (journal, entry) = self.journal();
        let recorder = Arc::new(self.recorder(journal, &changes, &root));
        keep(
            &recorder,
            &JournalRecord::Run(Box::new(self.record.clone())),
        );
        let serving = self.serve(listener, &recorder, &changes, token);
        let started = process::start(&self.options.command, &changes);
        if let Some(api) = &self.clients.api {
            self.lookup.start(api);
        }
        let ended = match started {
            Ok(child) => self.wait(child, signals).await?,
            Err(error) => self.not_started(&error),
        };
        let end = EndRecord {
            time: Timestamp::now(),
            exit_code: ended.exit_code(),
            signal: ended.signal(),
        };
        let grace = Duration::from_secs_f64(self.options.grace);
        self.finish(serving, grace, signals).await;
        keep(&recorder, &JournalRecord::End(end));
        self.warn(&recorder, &changes);
        Ok(Outcomes {
            ended,
            redactions: recorder.counts().redactions,
            journal: recorder.take_journal(),
            entry,
        })
    }

    async fn wait(&self, mut child: Child, signals: &mut ChildSignals) -> Result<Ended, Failure> {
        let ended = process::wait(&mut child, &mut signals.signals).await;
        // From now on they concern the delivery.
        signals.signals.forget();
        Ok(ended
            .map_err(|error| anyhow::Error::new(error).context("cannot wait for the command"))?)
    }

    /// Serves what is under way; a signal ends the grace.
    async fn finish(&self, serving: Serving, grace: Duration, signals: &mut ChildSignals) {
        let cut = serving.cutter();
        let mut finish = std::pin::pin!(serving.finish(grace));
        tokio::select! {
            () = &mut finish => return,
            _ = signals.signals.wait() => cut.notify_one(),
        }
        finish.await;
    }

    fn not_started(&mut self, error: &std::io::Error) -> Ended {
        let code = process::code_of(error);
        let program = self.options.command.first().cloned().unwrap_or_default();
        let program = program.to_string_lossy();
        let failure = Failure::new(
            Kind::Command(code),
            format!("cannot run `{program}`: {error}"),
        );
        let failure = failure.hint("check the name of the command, and its permissions");
        self.console.error(&failure);
        self.failures.push(failure);
        Ended::Exited(code.into())
    }

    /// The journal, and its entry: in the outbox, else in a file without a name, else in memory.
    fn journal(&self) -> (Journal, Result<Entry, OutboxError>) {
        match self.entry() {
            Ok((entry, file, room)) => (Journal::new(Some(file), room), Ok(entry)),
            Err(why) => (Journal::new(tempfile::tempfile().ok(), u64::MAX), Err(why)),
        }
    }

    /// An entry of the outbox for the journal, its file, and how many bytes it may have.
    fn entry(&self) -> Result<(Entry, File, u64), OutboxError> {
        let exporter = self.clients.exporter.as_ref();
        let Some(exporter) = exporter else {
            return Err(OutboxError::Disabled);
        };
        let outbox = exporter.outbox.as_ref().map_err(Clone::clone)?;
        let endpoint = self.settings.tracing.destination();
        let meta = EntryMeta {
            endpoint: endpoint.map_or_else(String::new, |to| to.target.url.to_string()),
            public_key: exporter.public_key.clone(),
            time: Timestamp::now(),
            cause: Some("its run did not end, or was killed".to_owned()),
            ..EntryMeta::default()
        };
        let entry = outbox.create_journal(meta)?;
        let file = entry.file().map_err(|error| OutboxError::Unwritable {
            dir: outbox.dir().to_owned(),
            error: Arc::new(error),
        })?;
        Ok((entry, file, outbox.room()))
    }

    fn recorder(&self, journal: Journal, changes: &Changes, root: &str) -> Recorder {
        let privacy = self.settings.privacy.clone();
        let keeps_media = self.clients.uploads.api().is_some();
        let mut recorder = Recorder::new(self.console.clone(), privacy, journal, keeps_media);
        let langfuse = self.settings.tracing.destination();
        let langfuse = langfuse.and_then(|destination| destination.langfuse.as_ref());
        let base = langfuse.map(|langfuse| langfuse.base.to_string());
        let urls = [
            (format!("{root}/openai/v1"), changes.openai.clone()),
            (format!("{root}/anthropic"), changes.anthropic.clone()),
            (format!("{root}/azure"), changes.azure.clone()),
            (
                root.to_owned(),
                base.or_else(|| Some("langspan".to_owned())),
            ),
        ];
        let urls = urls
            .into_iter()
            .filter_map(|(url, meant)| Some((url, meant?)));
        recorder.urls = urls.collect();
        recorder.public_key = langfuse.map(|langfuse| langfuse.keys.public.clone());
        recorder.named_trace.clone_from(&self.record.trace_id);
        recorder.keeps_environment = std::env::var("OTEL_ENVIRONMENT_NAME").is_ok()
            || std::env::var("OTEL_RESOURCE_ATTRIBUTES")
                .is_ok_and(|attributes| attributes.contains("deployment.environment"));
        recorder
    }

    fn serve(
        &self,
        listener: TcpListener,
        recorder: &Arc<Recorder>,
        changes: &Changes,
        token: String,
    ) -> Serving {
        let upstream = |url: &Option<String>| url.as_deref().and_then(Upstream::parse);
        let langfuse = self.settings.tracing.destination();
        let langfuse = langfuse.and_then(|destination| destination.langfuse.as_ref());
        let service = Service {
            token,
            recorder: Arc::clone(recorder),
            proxy: ModelProxy {
                http: self.clients.http.clone(),
                recorder: Arc::clone(recorder),
                stream_usage: self.options.stream_usage,
            },
            openai: upstream(&changes.openai),
            azure: upstream(&changes.azure),
            anthropic: upstream(&changes.anthropic),
            receives: !self.options.no_receiver,
            pass_through: PassThrough {
                http: self.clients.http.clone(),
                langfuse: langfuse.map(|langfuse| ApiTarget {
                    base: langfuse.base.clone(),
                    keys: langfuse.keys.clone(),
                    ui: langfuse.ui.clone(),
                }),
            },
            busy: Busy::default(),
        };
        listener::serve(listener, service)
    }

    /// Says what was kept back while stderr was the child's.
    fn warn(&self, recorder: &Recorder, changes: &Changes) {
        for warning in &self.settings.notes.warnings {
            self.console.warn(warning);
        }
        for switch in &changes.silenced {
            self.console.warn(&format!(
                "{switch} silences the command's own spans; its model calls are traced all the same"
            ));
        }
        recorder.speak();
    }
}

/// Keeps a record of the run itself, as far as that is possible.
fn keep(recorder: &Recorder, record: &JournalRecord) {
    if let Err(error) = recorder.keep(record) {
        recorder.warn_later(format!("the run cannot be recorded: {error}"));
    }
}

/// A random token that cannot be guessed.
fn token() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    let provider = rustls::crypto::ring::default_provider();
    provider
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| anyhow::anyhow!("the system has no random numbers"))?;
    Ok(hex(&bytes))
}
