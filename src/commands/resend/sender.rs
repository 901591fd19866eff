//! Delivers entries of the outbox to the destination of the current settings.

use std::time::Duration;

use crate::app::clients;
use crate::app::redeliver::Redelivery;
use crate::app::setup;
use crate::cli;
use crate::console::Console;
use crate::delivery::OtlpClient;
use crate::delivery::outbox::Entry;
use crate::exec;
use crate::failure::{Failure, Kind};
use crate::http::Proxies;
use crate::settings::{self, Destination, Notes, Sources, destination};

/// The destination of the current settings.
pub struct Sender {
    client: OtlpClient,
    destination: Destination,
    budget: Duration,
    again: bool,
}

impl Sender {
    pub fn open(
        options: &cli::ResendArgs,
        sources: &Sources,
        console: &Console,
    ) -> Result<Self, Failure> {
        if let Some(switch) = settings::off_switch(sources) {
            return Err(Failure::config(format!("tracing is off: {switch}"))
                .hint("unset it to deliver the entries"));
        }
        let mut notes = Notes::default();
        let destination = destination::resolve(&options.destination, sources, None, &mut notes)?;
        setup::announce(&mut notes, console);
        let tls = destination::tls_files(&options.destination, sources);
        let http = clients::client(
            &tls,
            Proxies::FromEnvironment,
            Duration::from_secs_f64(options.export_timeout),
        )?;
        Ok(Self {
            client: clients::otlp_client(&destination, &http, console),
            destination,
            budget: Duration::from_secs_f64(options.export_timeout),
            again: options.again,
        })
    }

    pub fn redelivery<'a>(&'a self, console: &'a Console) -> Redelivery<'a> {
        Redelivery {
            client: &self.client,
            destination: &self.destination,
            budget: self.budget,
            again: self.again,
            console,
        }
    }

    /// Puts the journal of an `exec` run that was killed together, so that it can be sent.
    ///
    /// # Errors
    /// If it cannot be read, or its entry cannot be written.
    pub async fn settle(&self, entry: &mut Entry) -> Result<(), Failure> {
        let dialect = self.destination.dialect;
        let settled = exec::settle(entry, &self.client, dialect, self.budget).await;
        settled.map_err(|error| {
            let path = entry.path().display();
            Failure::new(
                Kind::Delivery,
                format!("{path} cannot be put together: {error:#}"),
            )
            .hint("check the file and the free disk space; langspan resend --discard deletes all entries")
        })
    }
}
