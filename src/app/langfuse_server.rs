//! The Langfuse of the settings, for what reads it and sends no trace of its own.

use crate::app::trace_reader::TraceReader;
use crate::app::{clients, setup};
use crate::cli;
use crate::console::Console;
use crate::failure::Failure;
use crate::http::{CONNECT_TIMEOUT, Proxies};
use crate::langfuse::{Api, Base};
use crate::settings::{Destination, Notes, Sources, destination};

/// The Langfuse of the settings.
#[derive(Debug)]
pub struct LangfuseServer {
    pub api: Api,
    /// Where its pages are.
    pub ui: Base,
    pub destination: Destination,
    notes: Notes,
}

impl LangfuseServer {
    /// Resolves the settings, prints the warnings about them and makes the client; opens no connection. `lacking` is
    /// the failure of a plain OTLP backend.
    ///
    /// # Errors
    /// If a setting is missing or malformed, or there is no Langfuse.
    pub fn open(
        options: &cli::DestinationArgs,
        sources: &Sources,
        console: &Console,
        lacking: &str,
    ) -> Result<Self, Failure> {
        let mut notes = Notes::default();
        let destination = destination::resolve(options, sources, None, &mut notes)?;
        setup::announce(&mut notes, console);
        let tls = destination::tls_files(options, sources);
        let http = clients::client(&tls, Proxies::FromEnvironment, CONNECT_TIMEOUT * 2)?;
        let api = clients::api(&destination, &http, console);
        let (Some(api), Some(langfuse)) = (api, &destination.langfuse) else {
            return Err(Failure::config(lacking).hint("set LANGFUSE_BASE_URL and the keys"));
        };
        Ok(Self {
            api,
            ui: langfuse.ui.clone(),
            destination,
            notes,
        })
    }

    pub fn reader(&self) -> TraceReader<'_> {
        TraceReader {
            api: &self.api,
            settings: (&self.destination, &self.notes),
        }
    }
}
