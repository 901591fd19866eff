//! One delivery from start to end: encode, store, send, judge, keep or release. The attempts themselves, and what
//! follows a 413, are in `client`.
//!
//! [`Exporter::store`] and [`Exporter::send`] are its two halves: between them, `chat` and `replay` print the answer.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use jiff::Timestamp;
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::delivery::ambiguity::Ambiguity;
use crate::delivery::client::OtlpClient;
use crate::delivery::encode::{EncodeError, Encoder, trace_count};
use crate::delivery::outbox::{Entry, EntryMeta, Outbox, OutboxError, PendingEntry};
use crate::delivery::outcome::Outcome;
use crate::delivery::payload::Payload;
use crate::delivery::presence::deliver_missing;
use crate::delivery::result::DeliveryResult;
use crate::http::url::shown;

/// What became of spans.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub outcome: Outcome,
    pub stored: Stored,
    /// How many traces were not accepted, whole or in part.
    pub unaccepted: usize,
}

/// Whether spans that were not accepted are in the outbox.
#[derive(Clone, Debug)]
pub enum Stored {
    /// They were accepted.
    NotNeeded,
    /// They are in this entry of the outbox.
    Kept { entry: String, path: PathBuf },
    /// They are nowhere.
    Lost(OutboxError),
}

/// How long an export may be under way before its spans are stored. With the time that they wait for others, it is less
/// than the second that a batch promises.
const STORE_AFTER: Duration = Duration::from_millis(500);

/// When spans are put into the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboxPolicy {
    /// When they are not accepted within a moment ([`STORE_AFTER`]): after a kill they could not be made again.
    Soon,
    /// When they were not accepted: after a kill they can be rebuilt from the output and its acks.
    OnFailure,
}

/// Delivers the spans of a run.
#[derive(Debug)]
pub struct Exporter {
    pub encoder: Encoder,
    /// An error is the outcome of every delivery, as when there are no keys.
    pub client: Result<OtlpClient, Outcome>,
    pub outbox: Result<Outbox, OutboxError>,
    /// The public key of the project that the spans are for.
    pub public_key: Option<String>,
}

/// Spans that are encoded, and in the outbox where that was asked for and is possible. [`Exporter::send`] sends them.
/// If it is dropped before, its entry stays in the outbox.
#[derive(Debug)]
pub struct StoredExport {
    payload: Result<Payload, EncodeError>,
    /// `None` if they are stored only when they are not accepted.
    pending: Option<Result<PendingEntry, OutboxError>>,
    /// When they are stored, if they are not accepted by then.
    store_at: Option<Instant>,
    /// When an earlier run may have sent the spans last; `None` if none has.
    sent_before: Option<Timestamp>,
    traces: usize,
}

impl StoredExport {
    /// Makes [`Exporter::send`] ask Langfuse first which of the spans it has from an earlier run, at `sent_before` or
    /// before, and send only the others. Without a Langfuse to ask, all are sent.
    pub fn ask_first(&mut self, sent_before: Timestamp) {
        self.sent_before = Some(sent_before);
    }

    /// The entry of the outbox that holds the spans, if one does.
    pub fn entry(&self) -> Option<&str> {
        Some(self.pending.as_ref()?.as_ref().ok()?.id())
    }

    /// Why the spans are not in the outbox, if they should be.
    pub fn outbox_error(&self) -> Option<&OutboxError> {
        self.pending.as_ref()?.as_ref().err()
    }
}

impl Exporter {
    /// Delivers `spans` within `budget`, attempts and waits included. If `cancel` is notified, the delivery ends at
    /// once, and the spans stay in the outbox.
    pub async fn export(
        &self,
        spans: Vec<SpanData>,
        budget: Duration,
        policy: OutboxPolicy,
        cancel: &Notify,
    ) -> Delivery {
        let now = Instant::now();
        let export = StoredExport {
            store_at: (policy == OutboxPolicy::Soon).then_some(now + STORE_AFTER),
            ..self.encode(spans)
        };
        self.send(export, now + budget, cancel).await
    }

    /// Encodes `spans` and writes them to the outbox. The entry is not synced to disk: it survives the end of the
    /// process, not of the machine.
    pub fn store(&self, spans: Vec<SpanData>) -> StoredExport {
        let mut export = self.encode(spans);
        export.pending = export
            .payload
            .as_ref()
            .ok()
            .map(|payload| self.store_payload(payload));
        export
    }

    /// Replaces the spans of an export that is not sent yet by others with the same ids and times. Where the outbox
    /// does not take them, its entry stays as it was.
    pub fn replace(&self, export: &mut StoredExport, spans: Vec<SpanData>) {
        let encoded = self.encode(spans);
        export.payload = encoded.payload;
        export.traces = encoded.traces;
        if let (Ok(payload), Some(Ok(pending))) = (&export.payload, &mut export.pending) {
            // What is stored already is enough for `resend`.
            let _ = pending.replace(payload);
        }
    }

    /// Puts scores into the outbox until they are delivered, beside the entry of their spans if there is one.
    ///
    /// # Errors
    /// If they cannot be stored.
    pub fn store_scores(
        &self,
        beside: Option<&str>,
        bodies: &[String],
        trace_ids: Vec<String>,
    ) -> Result<Entry, OutboxError> {
        let outbox = self.outbox.as_ref().map_err(Clone::clone)?;
        let meta = EntryMeta {
            trace_ids,
            ..self.meta()
        };
        outbox.store_scores(beside, bodies, meta)
    }

    fn meta(&self) -> EntryMeta {
        let endpoint = self.client.as_ref().map(|client| &client.endpoint.url);
        EntryMeta {
            endpoint: endpoint.map_or_else(|_| String::new(), shown),
            public_key: self.public_key.clone(),
            time: Timestamp::now(),
            ..EntryMeta::default()
        }
    }

    /// Sends an export until `deadline`; keeps or releases its entry of the outbox as the answer says.
    pub async fn send(
        &self,
        mut export: StoredExport,
        deadline: Instant,
        cancel: &Notify,
    ) -> Delivery {
        let payload = match export.payload {
            Ok(payload) => payload,
            Err(error) => {
                return Delivery {
                    outcome: Outcome::Unsent(error.to_string()),
                    stored: Stored::Lost(OutboxError::Unencodable(error)),
                    unaccepted: export.traces,
                };
            }
        };
        let attempt = self.attempt(&payload, export.sent_before, deadline, cancel);
        let mut attempt = pin!(attempt);
        let store_at = export.store_at.unwrap_or(deadline);
        let result = tokio::select! {
            result = &mut attempt => result,
            () = sleep_until(store_at), if export.store_at.is_some() => {
                export.pending = Some(self.store_payload(&payload));
                attempt.await
            }
        };
        let stored = if result.outcome.is_accepted() {
            if let Some(Ok(pending)) = export.pending {
                pending.release();
            }
            Stored::NotNeeded
        } else {
            let pending = export
                .pending
                .unwrap_or_else(|| self.store_payload(&payload));
            self.keep(pending, &result)
        };
        Delivery {
            unaccepted: result.remaining.iter().map(Payload::trace_count).sum(),
            outcome: result.outcome,
            stored,
        }
    }

    /// Puts spans into the outbox that may have been sent at `since` or before: `resend` asks for them before it sends
    /// them, and where absence proves nothing, they stay there until `resend --again` is asked for.
    pub fn keep_unproven(&self, spans: Vec<SpanData>, since: Timestamp) -> Delivery {
        let export = self.store(spans);
        let stored = match (&export.payload, export.pending) {
            (Ok(payload), Some(pending)) => {
                let result = DeliveryResult::with(
                    Outcome::Unproven,
                    payload.clone(),
                    Some(Ambiguity::at(since)),
                );
                self.keep(pending, &result)
            }
            (Ok(_), None) => Stored::Lost(OutboxError::Disabled),
            (Err(error), _) => Stored::Lost(OutboxError::Unencodable(error.clone())),
        };
        Delivery {
            outcome: Outcome::Unproven,
            stored,
            unaccepted: export.traces,
        }
    }

    fn encode(&self, spans: Vec<SpanData>) -> StoredExport {
        StoredExport {
            traces: trace_count(&spans),
            payload: self.encoder.encode(spans),
            pending: None,
            store_at: None,
            sent_before: None,
        }
    }

    /// Writes a request to the outbox, where it is marked as under way.
    fn store_payload(&self, payload: &Payload) -> Result<PendingEntry, OutboxError> {
        let outbox = self.outbox.as_ref().map_err(Clone::clone)?;
        outbox.store(payload, self.meta())
    }

    async fn attempt(
        &self,
        payload: &Payload,
        sent_before: Option<Timestamp>,
        deadline: Instant,
        cancel: &Notify,
    ) -> DeliveryResult {
        let begun = Instant::now();
        let ended = |outcome| DeliveryResult::new(outcome, payload.clone(), begun.elapsed());
        match &self.client {
            // Boxed: the future of an HTTP request is large, and callers hold several of them.
            Ok(client) => tokio::select! {
                result = Box::pin(deliver_missing(client, payload, sent_before, deadline)) => result,
                () = cancel.notified() => ended(Outcome::Interrupted),
            },
            Err(outcome) => ended(outcome.clone()),
        }
    }

    /// Keeps what was not accepted for `resend`.
    fn keep(&self, pending: Result<PendingEntry, OutboxError>, result: &DeliveryResult) -> Stored {
        let cause = result.outcome.describe();
        // A server may repeat a secret in its answer.
        let cause = match &self.client {
            Ok(client) => client.console.clean(&cause),
            Err(_) => cause,
        };
        let kept =
            pending.and_then(|pending| pending.keep(&result.remaining, &cause, result.ambiguity));
        kept.map_or_else(Stored::Lost, |(entry, path)| Stored::Kept { entry, path })
    }
}
