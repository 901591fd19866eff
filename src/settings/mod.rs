//! Options, environment and settings file, resolved to plain values, each with its origin.
//!
//! [`sources`] has the order in which they override each other. Nothing is read, sent or printed here: warnings and
//! secrets travel in [`Notes`].

mod body_changes;
mod bound;
pub mod ci;
pub mod defaults;
pub mod destination;
pub mod endpoint;
mod exec;
pub mod file;
pub mod header;
pub mod keys;
pub mod listing;
pub mod model;
pub mod origin;
pub mod otel;
pub mod shard;
pub mod shown;
pub mod sources;
pub mod trace;
pub mod variables;

use std::path::PathBuf;
use std::time::Duration;

use crate::cli;
use crate::console::OutputFormat;
use crate::delivery::outbox;
use crate::failure::Failure;
use crate::http::{TlsFiles, proxy};
use crate::trace::Privacy;
use crate::trace::privacy::Capture;
use crate::trace::spans::Dialect;

pub use defaults::CommandDefaults;
pub use destination::Destination;
pub use exec::exec;
pub use keys::Unresolved;
pub use model::{ModelSettings, RequestFiles};
pub use shard::Shard;
pub use shown::{Notes, Shown};
pub use sources::{Origin, Rank, Sourced, Sources};
pub use trace::TraceSettings;

/// The settings of a run of `chat` or `replay`.
#[derive(Debug)]
pub struct Settings {
    pub model: ModelSettings,
    pub trace: TraceSettings,
    pub tracing: Tracing,
    pub delivery: DeliverySettings,
    pub privacy: Privacy,
    /// Whether images and files are uploaded so that the trace shows them. Otherwise it holds their types and sizes.
    pub uploads_media: bool,
    pub tls: TlsFiles,
    pub form: OutputFormat,
    pub record: Option<PathBuf>,
    pub notes: Notes,
}

/// Whether and where traces go.
#[derive(Debug)]
pub enum Tracing {
    /// A variable of the environment turned it off.
    Off(Origin),
    On(Box<Destination>),
    /// `--best-effort` without the keys for it: the spans wait in the outbox.
    Unreachable(Failure),
}

impl Tracing {
    /// Where traces go; none when they go nowhere.
    pub fn destination(&self) -> Option<&Destination> {
        match self {
            Self::On(destination) => Some(destination),
            Self::Off(_) | Self::Unreachable(_) => None,
        }
    }

    /// The attributes that the destination reads: Langfuse's, unless it is known to be another.
    pub fn dialect(&self) -> Dialect {
        self.destination()
            .map_or(Dialect::Langfuse, |destination| destination.dialect)
    }
}

/// How delivery is done.
#[derive(Clone, Debug)]
pub struct DeliverySettings {
    /// How long `--verify` waits until the trace can be read; none without it.
    pub verify: Option<Duration>,
    pub best_effort: bool,
    pub export_timeout: Duration,
    pub outbox: Option<OutboxPlace>,
    /// The share of calls that is traced.
    pub sample: f64,
}

/// Where the outbox lies and how much it may hold; an error when no place for it can be named.
#[derive(Clone, Debug)]
pub struct OutboxPlace {
    pub dir: Result<PathBuf, String>,
    pub max_bytes: u64,
}

/// How long `--verify` and `check` wait by default.
pub const DEFAULT_WAIT: Duration = Duration::from_mins(1);
/// Time for the export of the canary, with its retries.
const CHECK_EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Resolves the settings of a run; `sandbox` is the port of the embedded one.
///
/// # Errors
/// If a setting is missing or malformed.
pub fn resolve(
    options: &cli::RunArgs,
    files: RequestFiles,
    defaults: &CommandDefaults,
    sources: &Sources,
    sandbox: Option<u16>,
) -> Result<Settings, Failure> {
    let mut notes = Notes::default();
    let delivery = delivery(&options.delivery, defaults, sources, &mut notes)?;
    let groups = Groups {
        trace: &options.trace,
        endpoint: &options.model.endpoint,
        destination: &options.destination,
        output: &options.output,
    };
    let mut settings = groups.resolve(delivery, notes, sources, sandbox)?;
    settings.model = settings
        .model
        .with(&options.model, files, defaults, sources)?;
    settings.privacy = privacy(&options.privacy, sources, &mut settings.notes)?;
    settings.uploads_media = uploads_media(&options.privacy, sources, &mut settings.notes)?;
    settings.record.clone_from(&options.record);
    Ok(settings)
}

/// Resolves the settings of `check`: those of a run, with the canary's own identity where no option gives another.
///
/// # Errors
/// If a setting is missing or malformed, or tracing is turned off.
pub fn check(
    options: &cli::CheckArgs,
    sources: &Sources,
    sandbox: Option<u16>,
) -> Result<Settings, Failure> {
    let delivery = DeliverySettings {
        verify: None,
        best_effort: false,
        export_timeout: CHECK_EXPORT_TIMEOUT,
        outbox: None,
        sample: 1.0,
    };
    let groups = Groups {
        trace: &options.trace,
        endpoint: &options.endpoint,
        destination: &options.destination,
        output: &options.output,
    };
    let mut settings = groups.resolve(delivery, Notes::default(), sources, sandbox)?;
    if let Tracing::Off(switch) = &settings.tracing {
        return Err(Failure::config(format!("tracing is off: {switch}"))
            .hint("unset it: without tracing there is nothing to check"));
    }
    settings.trace.be_canary(sources);
    Ok(settings)
}

/// The groups of options that every command with a trace of its own takes.
struct Groups<'a> {
    trace: &'a cli::TraceArgs,
    endpoint: &'a cli::EndpointArgs,
    destination: &'a cli::DestinationArgs,
    output: &'a cli::OutputArgs,
}

impl Groups<'_> {
    /// The settings of a call without any option besides these: full content, no media, no recording.
    fn resolve(
        self,
        delivery: DeliverySettings,
        mut notes: Notes,
        sources: &Sources,
        sandbox: Option<u16>,
    ) -> Result<Settings, Failure> {
        let form = form(self.output, sources)?;
        let trace = TraceSettings::resolve(self.trace, sources, &mut notes)?;
        let tracing = tracing(self.destination, sources, sandbox, &delivery, &mut notes)?;
        let model = ModelSettings::resolve(self.endpoint, sources, sandbox, &mut notes)?;
        if sandbox.is_none() {
            notes.shown.extend(proxies(&model, &tracing));
        }
        Ok(Settings {
            privacy: Privacy::new(Capture::Full, &[], &notes.secrets)
                .map_err(|(message, hint)| Failure::config(message).hint(hint))?,
            uploads_media: false,
            tls: tls_files(self.destination, sources, sandbox),
            record: None,
            model,
            trace,
            tracing,
            delivery,
            form,
            notes,
        })
    }
}

/// The proxies that requests to the model and exports go through.
fn proxies(model: &ModelSettings, tracing: &Tracing) -> Vec<Shown> {
    let target = tracing.destination().map(|to| &to.target.url);
    let urls = [
        (
            "model proxy",
            Some(&model.endpoint_of(model.dialect()).base),
        ),
        ("proxy", target),
    ];
    let found = urls
        .into_iter()
        .filter_map(|(name, url)| Some((name, proxy::of(url?)?)));
    found
        .map(|(name, proxy)| {
            let origin = Origin::Environment(proxy.variable.to_owned());
            Shown::new(name, proxy, origin)
        })
        .collect()
}

/// What traces and recordings leave out. The known keys are part of it, so this comes after all secrets are found.
fn privacy(
    options: &cli::PrivacyArgs,
    sources: &Sources,
    notes: &mut Notes,
) -> Result<Privacy, Failure> {
    let capture = sources
        .parsed("--capture", options.capture, &[], cli::capture)?
        .unwrap_or_else(|| Sourced::new(Capture::Full, Origin::Default));
    let shown = match capture.value {
        Capture::Full => None,
        Capture::Truncate(most) => Some(format!("truncate={most}")),
        Capture::None => Some("none".to_owned()),
    };
    let shown = shown.map(|shown| Shown::new("capture", shown, capture.origin));
    notes.shown.extend(shown);
    let patterns = patterns(options, sources);
    for (pattern, origin) in &patterns {
        let shown = Shown::new("redact", pattern, origin.clone());
        notes.shown.push(shown);
    }
    let (patterns, origins): (Vec<String>, Vec<Origin>) = patterns.into_iter().unzip();
    Privacy::new(capture.value, &patterns, &notes.secrets).map_err(|(message, hint)| {
        let is_file = |origin: &&Origin| matches!(origin, Origin::SettingsFile { .. });
        match origins.iter().find(is_file) {
            Some(origin) => Failure::config(format!("redact ({origin}): {message}")),
            None => Failure::usage(format!("--redact: {message}")),
        }
        .hint(hint)
    })
}

/// The patterns of all ranks: one that is added never shows more.
fn patterns(options: &cli::PrivacyArgs, sources: &Sources) -> Vec<(String, Origin)> {
    let typed = options.redact.iter().cloned();
    let typed = typed.map(|pattern| (pattern, Origin::Flag("--redact")));
    let found = Rank::ALL
        .into_iter()
        .filter_map(|rank| sources.entry(rank, "redact"));
    let found = found.flat_map(|entry| {
        let texts = entry.value.texts.iter().cloned();
        texts.map(move |text| (text, entry.origin.clone()))
    });
    typed.chain(found).collect()
}

/// Whether media is uploaded: unless the option or the variable of the Langfuse SDKs forbids it.
fn uploads_media(
    options: &cli::PrivacyArgs,
    sources: &Sources,
    notes: &mut Notes,
) -> Result<bool, Failure> {
    const VARIABLE: &str = "LANGFUSE_MEDIA_UPLOAD_ENABLED";
    let switch = sources.switch("--no-media", options.no_media, &[])?;
    let forbidden = match switch.filter(|switch| switch.value) {
        Some(switch) => Some(switch.origin),
        None => match sources.get(VARIABLE) {
            Some(found) if !sources.is_on(VARIABLE)? => Some(found.origin),
            _ => None,
        },
    };
    let is_forbidden = forbidden.is_some();
    notes
        .shown
        .extend(forbidden.map(|origin| Shown::new("media", "not uploaded", origin)));
    Ok(!is_forbidden)
}

/// The files of TLS; the sandbox speaks none.
fn tls_files(options: &cli::DestinationArgs, sources: &Sources, sandbox: Option<u16>) -> TlsFiles {
    if sandbox.is_some() {
        TlsFiles::default()
    } else {
        destination::tls_files(options, sources)
    }
}

/// Whether notes are suppressed, and how many `-v` count.
pub fn loudness(options: &cli::OutputArgs, sources: &Sources) -> (bool, u8) {
    // The settings file was checked when it was read.
    let quiet = sources.switch("--quiet", options.quiet, &[]);
    let quiet = quiet.is_ok_and(|quiet| quiet.is_some_and(|quiet| quiet.value));
    let verbosity = match options.verbose {
        0 => sources.setting("verbose", &[]),
        _ => None,
    };
    let verbosity = verbosity.and_then(|found| found.value.parse().ok());
    (quiet, verbosity.unwrap_or(options.verbose))
}

/// The format of a command that prints no model answer. `LANGSPAN_OUTPUT` may name a format for the other commands of a
/// script; text then takes its place.
///
/// # Errors
/// If the variable names no format.
pub fn text_or_json(options: &cli::OutputArgs, sources: &Sources) -> Result<OutputFormat, Failure> {
    Ok(match form(options, sources)? {
        OutputFormat::Json => OutputFormat::Json,
        _ => OutputFormat::Text,
    })
}

/// The output format: the option, else the variable, else text.
///
/// # Errors
/// If the variable does not name a format.
pub fn form(options: &cli::OutputArgs, sources: &Sources) -> Result<OutputFormat, Failure> {
    if options.json {
        return Ok(OutputFormat::Json);
    }
    if let Some(form) = options.output {
        return Ok(form);
    }
    sources
        .setting("output", &["LANGSPAN_OUTPUT"])
        .map_or(Ok(OutputFormat::default()), |found| {
            cli::form(found.value.trim()).map_err(|error| {
                Failure::config(format!(
                    "{}: `{}` is not an output format",
                    found.origin, found.value
                ))
                .hint(error)
            })
        })
}

/// The place of the outbox.
///
/// # Errors
/// If the limit is not a number.
pub fn outbox_place(sources: &Sources) -> Result<OutboxPlace, Failure> {
    let max_bytes = match sources.get("LANGSPAN_OUTBOX_MAX") {
        None => outbox::DEFAULT_MAX_BYTES,
        Some(found) => found.value.trim().parse().map_err(|_| {
            Failure::config(format!(
                "{}: `{}` is not a number of bytes",
                found.origin, found.value
            ))
            .hint("as in 2147483648")
        })?,
    };
    let dir = match sources.path("LANGSPAN_OUTBOX") {
        Some(dir) => Ok(dir),
        None => state_dir(sources).map(|dir| dir.join("outbox")),
    };
    Ok(OutboxPlace { dir, max_bytes })
}

/// The folder of langspan's state, by the XDG base directory specification.
///
/// # Errors
/// If neither `XDG_STATE_HOME` nor `HOME` is set.
pub fn state_dir(sources: &Sources) -> Result<PathBuf, String> {
    let home = || sources.path("HOME").map(|home| home.join(".local/state"));
    let state = sources
        .path("XDG_STATE_HOME")
        .filter(|path| path.is_absolute());
    let state = state
        .or_else(home)
        .ok_or("neither LANGSPAN_OUTBOX, XDG_STATE_HOME nor HOME is set")?;
    Ok(state.join(env!("CARGO_PKG_NAME")))
}

/// The folder for what can be fetched again, by the XDG base directory specification; `None` if neither
/// `XDG_CACHE_HOME` nor `HOME` is set.
pub fn cache_dir(sources: &Sources) -> Option<PathBuf> {
    let home = || sources.path("HOME").map(|home| home.join(".cache"));
    let cache = sources
        .path("XDG_CACHE_HOME")
        .filter(|path| path.is_absolute());
    Some(cache.or_else(home)?.join(env!("CARGO_PKG_NAME")))
}

fn tracing(
    options: &cli::DestinationArgs,
    sources: &Sources,
    sandbox: Option<u16>,
    delivery: &DeliverySettings,
    notes: &mut Notes,
) -> Result<Tracing, Failure> {
    if let Some(switch) = off_switch(sources) {
        notes
            .shown
            .push(Shown::new("tracing", "off", switch.clone()));
        return Ok(Tracing::Off(switch));
    }
    destination_of(options, sources, sandbox, delivery, notes)
}

/// Where traces go, whatever turns tracing off.
fn destination_of(
    options: &cli::DestinationArgs,
    sources: &Sources,
    sandbox: Option<u16>,
    delivery: &DeliverySettings,
    notes: &mut Notes,
) -> Result<Tracing, Failure> {
    match destination::resolve(options, sources, sandbox, notes) {
        Ok(destination) if destination.langfuse.is_none() && delivery.verify.is_some() => {
            Err(Failure::config(
                "--verify needs a Langfuse: a plain OTLP backend cannot be asked for a trace",
            )
            .hint("omit --verify, or set LANGFUSE_BASE_URL and the keys"))
        }
        Ok(destination) => Ok(Tracing::On(Box::new(destination))),
        Err(Unresolved::NoKeys(failure)) if delivery.best_effort => {
            Ok(Tracing::Unreachable(failure))
        }
        Err(unresolved) => Err(unresolved.into()),
    }
}

/// The variable that turns tracing off, as the SDKs of Langfuse and OpenTelemetry know them.
pub fn off_switch(sources: &Sources) -> Option<Origin> {
    let is = |name: &str, wanted: &str| {
        sources
            .get(name)
            .filter(|found| found.value.trim().eq_ignore_ascii_case(wanted))
            .map(|found| found.origin)
    };
    is("LANGFUSE_TRACING_ENABLED", "false").or_else(|| is("OTEL_SDK_DISABLED", "true"))
}

/// How long a trace is waited for until it can be read.
///
/// # Errors
/// If the settings file holds no number of seconds.
pub fn wait(
    options: &cli::WaitArgs,
    default: Duration,
    sources: &Sources,
) -> Result<Duration, Failure> {
    let found = sources.parsed("--wait", options.seconds, &[], cli::seconds)?;
    Ok(found.map_or(default, |found| Duration::from_secs_f64(found.value)))
}

fn delivery(
    options: &cli::DeliveryArgs,
    defaults: &CommandDefaults,
    sources: &Sources,
    notes: &mut Notes,
) -> Result<DeliverySettings, Failure> {
    let sample = match (
        options.sample,
        sources.setting("sample", &["LANGFUSE_SAMPLE_RATE"]),
    ) {
        (Some(rate), _) => Some(Sourced::new(rate, Origin::Flag("--sample"))),
        (None, Some(found)) => Some(Sourced::new(
            cli::rate(found.value.trim()).map_err(|error| {
                Failure::config(format!("{}: `{}` is not a rate", found.origin, found.value))
                    .hint(error)
            })?,
            found.origin,
        )),
        (None, None) => None,
    };
    notes.shown.extend(
        sample
            .as_ref()
            .map(|found| Shown::new("sample", found.value, found.origin.clone())),
    );
    let is_on = |flag, given, names: &[&str]| -> Result<bool, Failure> {
        let found = sources.switch(flag, given, names)?;
        Ok(found.is_some_and(|found| found.value))
    };
    let seconds = |flag, given| -> Result<Option<Duration>, Failure> {
        let found = sources.parsed(flag, given, &[], cli::seconds)?;
        Ok(found.map(|found| Duration::from_secs_f64(found.value)))
    };
    let wait = wait(&options.wait, DEFAULT_WAIT, sources)?;
    Ok(DeliverySettings {
        verify: is_on("--verify", options.verify, &["LANGSPAN_VERIFY"])?.then_some(wait),
        best_effort: is_on(
            "--best-effort",
            options.best_effort,
            &["LANGSPAN_BEST_EFFORT"],
        )?,
        export_timeout: seconds("--export-timeout", options.export_timeout)?
            .unwrap_or(defaults.export_timeout),
        outbox: if is_on("--no-outbox", options.no_outbox, &[])? {
            None
        } else {
            Some(outbox_place(sources)?)
        },
        sample: sample.map_or(1.0, |found| found.value),
    })
}
