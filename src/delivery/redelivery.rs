//! Delivers an entry of the outbox. If its spans may have arrived before, Langfuse is asked first.

use std::fmt;
use std::io;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::delivery::client::{Arrival, OtlpClient};
use crate::delivery::outbox::Entry;
use crate::delivery::outcome::Outcome;
use crate::delivery::payload::Payload;
use crate::delivery::result::DeliveryResult;

/// Why an entry could not be worked on. Nothing is sent before it is noted that a delivery began.
#[derive(Debug)]
pub enum EntryError {
    /// The file is not a file of spans, or cannot be read.
    Unreadable(anyhow::Error),
    /// The files of the entry cannot be written.
    Unwritable(io::Error),
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "cannot be read: {error:#}"),
            Self::Unwritable(error) => write!(f, "cannot be written: {error}"),
        }
    }
}

impl std::error::Error for EntryError {}

impl From<io::Error> for EntryError {
    fn from(error: io::Error) -> Self {
        Self::Unwritable(error)
    }
}

/// Delivers every request of an entry, in order. If only some spans are accepted, these are taken out of the entry.
///
/// # Errors
/// If the entry cannot be read or written.
pub async fn redeliver(
    client: &OtlpClient,
    entry: &mut Entry,
    deadline: Instant,
) -> Result<DeliveryResult, EntryError> {
    let payloads = entry.payloads().map_err(EntryError::Unreadable)?;
    let all = span_count(&payloads);
    let since = entry.ambiguous_since();
    let mut results = Vec::new();
    for payload in payloads {
        results.push(deliver_request(client, entry, payload, since, deadline).await?);
    }
    let is_empty = || EntryError::Unreadable(anyhow::anyhow!("the entry is empty"));
    let result = DeliveryResult::sum(results).ok_or_else(is_empty)?;
    if (1..all).contains(&span_count(&result.remaining)) {
        entry.keep_only(&result.remaining)?;
    }
    Ok(result)
}

/// Notes in an entry why it was not delivered.
///
/// # Errors
/// If the metadata cannot be written.
pub fn note_cause(entry: &mut Entry, result: &DeliveryResult, cause: &str) -> io::Result<()> {
    // If nothing was sent now, absence counts from the earlier attempt on.
    let was_sent = !matches!(result.outcome, Outcome::Unsent(_) | Outcome::Unproven);
    let earlier = entry.ambiguous_since().filter(|_| !was_sent);
    let since = result
        .is_ambiguous
        .then(|| earlier.unwrap_or_else(Timestamp::now));
    entry.note(cause, since)
}

fn span_count(payloads: &[Payload]) -> usize {
    payloads.iter().map(Payload::span_count).sum()
}

/// Delivers one request, without the spans that have arrived in an earlier attempt, at `since` or later.
async fn deliver_request(
    client: &OtlpClient,
    entry: &mut Entry,
    payload: Payload,
    since: Option<Timestamp>,
    deadline: Instant,
) -> io::Result<DeliveryResult> {
    let arrival = match since {
        Some(since) if client.api.is_some() => client.find_missing(&payload, deadline, since).await,
        _ => Arrival::Missing(payload.clone()),
    };
    Ok(match arrival {
        Arrival::Missing(missing) => {
            // Noted before anything is sent: a process that is killed cannot note it any more.
            entry.note("a delivery was under way", Some(Timestamp::now()))?;
            client.deliver(&missing, deadline).await
        }
        Arrival::Complete => DeliveryResult::new(Outcome::Confirmed, payload),
        Arrival::Unknown(_) => DeliveryResult::new(Outcome::Unproven, payload),
    })
}
