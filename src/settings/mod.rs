//! Options, environment and settings file, resolved to plain values, each with its origin.
//!
//! [`sources`] has the order in which they override each other. Nothing is read, sent or printed here: warnings and
//! secrets travel in [`Notes`].

mod body_changes;
mod bound;
pub mod ci;
pub mod defaults;
mod delivery;
pub mod destination;
pub mod endpoint;
mod exec;
pub mod file;
mod folders;
mod form;
pub mod header;
pub mod keys;
pub mod listing;
pub mod model;
pub mod origin;
pub mod otel;
mod privacy;
pub mod shard;
pub mod shown;
pub mod sources;
pub mod trace;
mod tracing;
pub mod variables;

use std::path::PathBuf;
use std::time::Duration;

use crate::cli;
use crate::console::OutputFormat;
use crate::failure::Failure;
use crate::http::{TlsFiles, proxy};
use crate::trace::Privacy;
use crate::trace::privacy::Capture;

pub use defaults::CommandDefaults;
pub use delivery::{DEFAULT_WAIT, DeliverySettings, OutboxPlace, outbox_place, wait};
pub use destination::Destination;
pub use exec::exec;
pub use folders::{cache_dir, state_dir};
pub use form::{form, loudness, text_or_json};
pub use model::{ModelSettings, RequestFiles};
pub use shard::Shard;
pub use shown::{Notes, Shown};
pub use sources::{Origin, Rank, Sourced, Sources};
pub use trace::TraceSettings;
pub use tracing::{Tracing, off_switch};

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
    let delivery = delivery::resolve(&options.delivery, defaults, sources, &mut notes)?;
    let groups = Groups {
        trace: &options.trace,
        endpoint: &options.model.endpoint,
        destination: &options.destination,
        output: &options.output,
    };
    let mut settings = groups.resolve(delivery, notes, sources, sandbox)?;
    if let Some(environment) = defaults.environment {
        settings.trace.default_environment(environment);
    }
    settings.model = settings
        .model
        .with(&options.model, files, defaults, sources)?;
    settings.privacy = privacy::resolve(&options.privacy, sources, &mut settings.notes)?;
    settings.uploads_media =
        privacy::uploads_media(&options.privacy, sources, &mut settings.notes)?;
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
        let tracing = tracing::resolve(self.destination, sources, sandbox, &delivery, &mut notes)?;
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

/// The files of TLS; the sandbox speaks none.
fn tls_files(options: &cli::DestinationArgs, sources: &Sources, sandbox: Option<u16>) -> TlsFiles {
    if sandbox.is_some() {
        TlsFiles::default()
    } else {
        destination::tls_files(options, sources)
    }
}
