//! Delivers entries of the outbox to the destination of the present settings, asking first where one may have
//! arrived before.

use std::io;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::cli;
use crate::commands::means;
use crate::console::Console;
use crate::delivery::outbox::Entry;
use crate::delivery::{Outcome, Payload, Settled, Wire};
use crate::failure::Failure;
use crate::http::Proxies;
use crate::settings::{self, Destination, Notes, Sources, destination};

/// The destination of the present settings.
pub struct Sender {
    pub wire: Wire,
    pub destination: Destination,
    pub budget: Duration,
}

impl Sender {
    pub fn open(
        options: &cli::Resend,
        sources: &Sources,
        console: &Console,
    ) -> Result<Self, Failure> {
        if let Some(switch) = settings::off_switch(sources) {
            return Err(Failure::config(format!("tracing is off: {switch}"))
                .hint("unset it to deliver what waits"));
        }
        let mut notes = Notes::default();
        let destination = destination::resolve(&options.destination, sources, None, &mut notes)?;
        console.hide(notes.secrets);
        for warning in &notes.warnings {
            console.warn(warning);
        }
        let tls = destination::tls_files(&options.destination, sources);
        let http = means::client(
            &tls,
            Proxies::FromEnvironment,
            Duration::from_secs_f64(options.export_timeout),
        )?;
        let api = means::api(&destination, &http, console);
        Ok(Self {
            wire: Wire {
                http,
                target: destination.target.clone(),
                api,
                is_collector: destination.is_collector,
                console: console.clone(),
            },
            destination,
            budget: Duration::from_secs_f64(options.export_timeout),
        })
    }

    pub fn public_key(&self) -> Option<&str> {
        self.destination
            .langfuse
            .as_ref()
            .map(|langfuse| langfuse.keys.public.as_str())
    }

    /// Delivers one entry: every request of it, in order.
    pub async fn deliver(&self, entry: &mut Entry) -> anyhow::Result<Settled> {
        let deadline = Instant::now() + self.budget;
        let payloads = entry.payloads()?;
        let count = |payloads: &[Payload]| payloads.iter().map(Payload::span_count).sum::<usize>();
        let whole = count(&payloads);
        let since = entry.ambiguous_since();
        let mut settled: Option<Settled> = None;
        for payload in payloads {
            let next = self.deliver_once(entry, payload, since, deadline).await?;
            settled = Some(match settled {
                Some(settled) => settled.add(next),
                None => next,
            });
        }
        let settled = settled.ok_or_else(|| anyhow::anyhow!("the entry is empty"))?;
        if (1..whole).contains(&count(&settled.remaining)) {
            entry.keep_only(&settled.remaining)?;
        }
        Ok(settled)
    }

    /// Delivers a request, without what the server has since an earlier delivery that may have arrived at `since`.
    async fn deliver_once(
        &self,
        entry: &mut Entry,
        payload: Payload,
        since: Option<Timestamp>,
        deadline: Instant,
    ) -> io::Result<Settled> {
        let missing = match (since, &self.wire.api) {
            (Some(since), Some(_)) => self.wire.missing(&payload, deadline, since).await,
            _ => Some(Some(payload.clone())),
        };
        Ok(match missing {
            Some(Some(missing)) => {
                // Noted before anything leaves: a process that is killed cannot say any more what it had sent.
                entry.note("a delivery was under way", Some(Timestamp::now()))?;
                self.wire.deliver(&missing, deadline).await
            }
            Some(None) => Settled::of(Outcome::Confirmed, payload),
            None => {
                let why = "it may have arrived before, and the server did not say whether it has";
                Settled {
                    is_ambiguous: true,
                    ..Settled::of(Outcome::Unsent(why.to_owned()), payload)
                }
            }
        })
    }
}
