//! The question before a recording is emitted again: which of its spans Langfuse has from an earlier run.
//!
//! Doubt about an attempt of this run is settled elsewhere (`client`).

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::delivery::ambiguity::Ambiguity;
use crate::delivery::client::OtlpClient;
use crate::delivery::outcome::Outcome;
use crate::delivery::payload::Payload;
use crate::delivery::result::DeliveryResult;
use crate::http::Backoff;
use crate::langfuse::{Api, ApiError, readback};

/// A trace becomes readable up to 1.4 s after it was accepted, so Langfuse is asked this long after a recording ended.
const READABLE_AFTER: Duration = Duration::from_secs(3);

/// Delivers a request until `deadline`. If an earlier run may have sent its spans, at `sent_before` or before, those
/// that Langfuse has are left out; nothing is sent while it does not say. Without a Langfuse to ask, all are sent.
pub async fn deliver_missing(
    client: &OtlpClient,
    payload: &Payload,
    sent_before: Option<Timestamp>,
    deadline: Instant,
) -> DeliveryResult {
    let (Some(sent), Some(api)) = (sent_before, &client.api) else {
        return client.deliver(payload, deadline).await;
    };
    let earlier = Some(Ambiguity::at(sent));
    let ended = |outcome| DeliveryResult::with(outcome, payload.clone(), earlier);
    let known = match timeout_at(deadline, ask(api, payload, sent, deadline)).await {
        Ok(Ok(known)) => known,
        Ok(Err(error)) => return ended(Outcome::Unasked(error)),
        Err(_) => {
            let error = ApiError::unanswered("there was no answer in time".to_owned());
            return ended(Outcome::Unasked(error));
        }
    };
    match payload.without(&known) {
        None => ended(Outcome::Present),
        Some(missing) => client.deliver(&missing, deadline).await,
    }
}

/// The ids of the spans that Langfuse has, asked again while that may help.
async fn ask(
    api: &Api,
    payload: &Payload,
    sent: Timestamp,
    deadline: Instant,
) -> Result<HashSet<String>, ApiError> {
    let passed = Duration::try_from(Timestamp::now().duration_since(sent)).unwrap_or_default();
    sleep_until(Instant::now() + READABLE_AFTER.saturating_sub(passed)).await;
    let mut backoff = Backoff::default();
    loop {
        let error = match present(api, payload).await {
            Ok(known) => return Ok(known),
            Err(error) => error,
        };
        let wait = error.wait.unwrap_or_default().max(backoff.next_wait());
        if !error.is_passing() || Instant::now() + wait >= deadline {
            return Err(error);
        }
        sleep(wait).await;
    }
}

async fn present(api: &Api, payload: &Payload) -> Result<HashSet<String>, ApiError> {
    let mut known = HashSet::new();
    for wanted in payload.traces() {
        known.extend(readback::known(api, &wanted).await?);
    }
    Ok(known)
}
