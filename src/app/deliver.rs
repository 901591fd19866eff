//! The steps that follow an answer and take time: uploads, the delivery, the read-back. A signal shortens each of them.

use std::borrow::Cow;
use std::future::Future;
use std::time::Duration;

use opentelemetry_sdk::trace::SpanData;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::app::clients::{self, Clients};
use crate::app::score_sender::{self, PendingScores};
use crate::app::signals::Signals;
use crate::app::uploads::{self, Upload};
use crate::app::verify;
use crate::console::Console;
use crate::delivery::{Delivery, StoredExport};
use crate::failure::{Failure, Kind};
use crate::langfuse::{Readback, Wanted, readback};
use crate::settings::Settings;
use crate::trace::{Exchange, TraceContext};

/// After this time, a terminal shows what is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// The time that an interrupted run may still spend on delivery.
const FAREWELL: Duration = Duration::from_secs(5);

/// What these steps need of a run.
#[derive(Debug)]
pub struct DeliverySteps<'a> {
    pub settings: &'a Settings,
    pub clients: &'a Clients,
    pub console: &'a Console,
    pub signals: &'a mut Signals,
}

impl DeliverySteps<'_> {
    /// The exchange as it is traced: with references in place of its base64 content, or type and size where there is
    /// no reference. A signal ends the wait for uploads.
    ///
    /// # Errors
    /// If signals cannot be received.
    pub async fn with_media<'e>(
        &mut self,
        exchange: &'e Exchange,
        context: &TraceContext,
        upload: Option<Upload>,
    ) -> Result<Cow<'e, Exchange>, Failure> {
        let owner = uploads::owner(context, exchange);
        let deadline = Instant::now() + self.budget();
        self.signals.listen()?;
        Ok(tokio::select! {
            biased;
            traced = self.clients.uploads.traced(exchange, upload, &owner, deadline) => traced,
            _ = self.signals.wait() => uploads::with_placeholders(exchange),
        })
    }

    /// Sends a stored export. After a signal there are a few seconds left for it, after a second one none: the spans then
    /// stay in the outbox.
    ///
    /// # Errors
    /// If signals cannot be received.
    pub async fn deliver(&mut self, export: StoredExport) -> Result<Delivery, Failure> {
        let Some(exporter) = &self.clients.exporter else {
            return Err(anyhow::anyhow!("there is no exporter").into());
        };
        let deadline = Instant::now() + self.budget();
        let cancel = Notify::new();
        self.patiently(exporter.send(export, deadline, &cancel), &cancel)
            .await
    }

    /// Waits for a delivery. After a signal there are a few seconds left for it; then, or after a second one, `cancel`
    /// is notified, and the delivery ends at once.
    ///
    /// # Errors
    /// If signals cannot be received.
    pub async fn patiently<T>(
        &mut self,
        sending: impl Future<Output = T>,
        cancel: &Notify,
    ) -> Result<T, Failure> {
        self.signals.listen()?;
        let mut sending = std::pin::pin!(sending);
        let mut is_noted = !self.console.shows_progress();
        let mut farewell = None;
        loop {
            let is_interrupted = self.signals.received().is_some();
            tokio::select! {
                delivery = &mut sending => return Ok(delivery),
                () = sleep(PATIENCE), if !is_noted => {
                    is_noted = true;
                    self.console.note("still delivering the trace …");
                }
                _ = self.signals.wait() => {
                    if is_interrupted {
                        cancel.notify_one();
                    }
                    farewell.get_or_insert(Instant::now() + FAREWELL);
                }
                () = sleep_until(farewell.unwrap_or_else(Instant::now)), if farewell.is_some() => {
                    farewell = None;
                    cancel.notify_one();
                }
            }
        }
    }

    /// Sends the scores of a trace that was accepted. Returns why they were not accepted. A signal ends it: they then stay
    /// in the outbox.
    ///
    /// # Errors
    /// If signals cannot be received.
    pub async fn deliver_scores(
        &mut self,
        scores: PendingScores,
    ) -> Result<Result<(), Failure>, Failure> {
        let Some(api) = &self.clients.api else {
            return Ok(Ok(()));
        };
        let deadline = Instant::now() + self.budget();
        self.signals.listen()?;
        Ok(tokio::select! {
            biased;
            delivered = scores.deliver(api, deadline, self.console) => delivered,
            signal = self.signals.wait() => {
                let failure = Failure::new(Kind::Interrupted(signal), "interrupted while the scores were sent");
                Err(failure.hint("they are in the outbox: langspan resend delivers them"))
            }
        })
    }

    /// Waits until the scores of a trace can be read as they were sent. Returns why they could not.
    ///
    /// # Errors
    /// If signals cannot be received.
    pub async fn verify_scores(
        &mut self,
        trace_id: &str,
        bodies: &[Value],
    ) -> Result<Result<(), Failure>, Failure> {
        let (Some(api), Some(wait)) = (&self.clients.api, self.settings.delivery.verify) else {
            return Ok(Ok(()));
        };
        self.signals.listen()?;
        Ok(tokio::select! {
            verified = score_sender::verify(api, trace_id, bodies, Instant::now() + wait) => verified,
            signal = self.signals.wait() => {
                let message = "interrupted while waiting until the scores can be read";
                Err(Failure::new(Kind::Interrupted(signal), message).hint("they were accepted"))
            }
        })
    }

    /// Waits until the trace can be read as it was sent. Returns why it could not, if that was asked for.
    ///
    /// # Errors
    /// If signals cannot be received.
    pub async fn verify(
        &mut self,
        wanted: &Wanted,
        spans: &[SpanData],
    ) -> Result<Option<Result<(), Failure>>, Failure> {
        let Some(wait) = self.settings.delivery.verify else {
            return Ok(None);
        };
        let readback = self.read_back(wanted).await?;
        Ok(readback.map(|readback| {
            let resource = clients::resource(&self.settings.trace);
            verify::verdict(readback?, spans, &resource, wait).map(drop)
        }))
    }

    /// Waits until the trace can be read, if that was asked for. A signal ends the wait.
    ///
    /// # Errors
    /// If signals cannot be received.
    pub async fn read_back(
        &mut self,
        wanted: &Wanted,
    ) -> Result<Option<Result<Readback, Failure>>, Failure> {
        let (Some(api), Some(wait)) = (&self.clients.api, self.settings.delivery.verify) else {
            return Ok(None);
        };
        self.signals.listen()?;
        let mut reading = std::pin::pin!(readback::wait(api, wanted, Instant::now() + wait));
        let mut is_noted = !self.console.shows_progress();
        loop {
            tokio::select! {
                readback = &mut reading => return Ok(Some(Ok(readback))),
                () = sleep(PATIENCE), if !is_noted => {
                    is_noted = true;
                    let seconds = wait.as_secs_f64();
                    let note = format!("waiting until the trace can be read, {seconds} s at most …");
                    self.console.note(&note);
                }
                signal = self.signals.wait() => {
                    let message = "interrupted while waiting until the trace can be read";
                    let failure = Failure::new(Kind::Interrupted(signal), message);
                    return Ok(Some(Err(failure.hint("the trace was accepted"))));
                }
            }
        }
    }

    /// The time for each step: less after a signal.
    pub fn budget(&self) -> Duration {
        let budget = self.settings.delivery.export_timeout;
        match self.signals.received() {
            Some(_) => budget.min(FAREWELL),
            None => budget,
        }
    }
}
