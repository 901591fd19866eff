//! What every run of model calls begins with: its settings are resolved, the files that it will write opened, and
//! the means to send made.

use crate::app::clients::Clients;
use crate::app::embedded_sandbox;
use crate::app::record_file::RecordFile;
use crate::cli;
use crate::console::Console;
use crate::failure::Failure;
use crate::http::Proxies;
use crate::sandbox;
use crate::settings::{self, CommandDefaults, Settings, Sources};

/// A run that is ready to begin.
#[derive(Debug)]
pub struct Setup {
    /// The environment and the env file, read once.
    pub sources: Sources,
    pub settings: Settings,
    pub clients: Clients,
    /// The file of `--record`.
    pub record: Option<RecordFile>,
}

impl Setup {
    /// # Errors
    /// When a setting is missing or malformed, or a file cannot be opened. Nothing was sent then.
    pub async fn open(
        options: &cli::RunArgs,
        patience: &CommandDefaults,
        console: &Console,
    ) -> Result<Self, Failure> {
        let port = match (options.sandbox, options.dry_run) {
            (false, _) => None,
            (true, true) => Some(sandbox::PORT),
            (true, false) => Some(embedded_sandbox::start(&Sources::default()).await?),
        };
        let sources = Sources::read(options.destination.env_file.as_deref())?;
        let mut settings = settings::resolve(options, &sources, patience, port)?;
        console.hide(std::mem::take(&mut settings.notes.secrets));
        for warning in &settings.notes.warnings {
            console.warn(warning);
        }
        let record = match &settings.record {
            Some(path) if !options.dry_run => Some(RecordFile::open(path)?),
            _ => None,
        };
        if options.dry_run || options.sandbox {
            // Nothing of either is for the user's own Langfuse, where `resend` would deliver it.
            settings.delivery.outbox = None;
        }
        let proxies = if options.sandbox {
            Proxies::Ignored
        } else {
            Proxies::FromEnvironment
        };
        Ok(Self {
            clients: Clients::new(&settings, proxies, console)?,
            record,
            settings,
            sources,
        })
    }
}
