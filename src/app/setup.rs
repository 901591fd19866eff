//! The start of every run that calls a model: resolves the settings, opens the files that will be written, and makes the
//! clients.

use crate::app::attachments;
use crate::app::clients::Clients;
use crate::app::embedded_sandbox;
use crate::app::record_file::RecordFile;
use crate::cli;
use crate::console::Console;
use crate::failure::Failure;
use crate::http::Proxies;
use crate::sandbox;
use crate::settings::{self, CommandDefaults, Notes, Settings, Sources};

/// A run that is ready to begin.
#[derive(Debug)]
pub struct Setup {
    pub settings: Settings,
    pub clients: Clients,
    /// The file of `--record`.
    pub record: Option<RecordFile>,
    pub is_sandbox: bool,
    /// Whether nothing is sent (`--dry-run`).
    pub is_dry: bool,
}

impl Setup {
    /// # Errors
    /// If a setting is missing or malformed, or a file cannot be opened. Nothing has been sent then.
    pub async fn open(
        options: &cli::RunArgs,
        defaults: &CommandDefaults,
        sources: &Sources,
        console: &Console,
    ) -> Result<Self, Failure> {
        let port = match (options.stand_in.sandbox, options.dry_run) {
            (false, _) => None,
            (true, true) => Some(sandbox::PORT),
            (true, false) => Some(embedded_sandbox::start(sources).await?),
        };
        let files = attachments::read(&options.model, sources)?;
        let mut settings = settings::resolve(options, files, defaults, sources, port)?;
        announce(&mut settings.notes, console);
        let record = match &settings.record {
            Some(path) if !options.dry_run => Some(RecordFile::open(path, console)?),
            _ => None,
        };
        if options.dry_run || options.stand_in.sandbox {
            // `resend` would deliver its entries to the user's own Langfuse.
            settings.delivery.outbox = None;
        }
        let proxies = if options.stand_in.sandbox {
            Proxies::Ignored
        } else {
            Proxies::FromEnvironment
        };
        Ok(Self {
            clients: Clients::new(&settings, proxies, console)?,
            record,
            is_sandbox: options.stand_in.sandbox,
            is_dry: options.dry_run,
            settings,
        })
    }
}

/// Makes the console hide the secrets of the settings, then prints the warnings about them.
pub fn announce(notes: &mut Notes, console: &Console) {
    console.hide(&std::mem::take(&mut notes.secrets));
    for warning in &notes.warnings {
        console.warn(warning);
    }
}
