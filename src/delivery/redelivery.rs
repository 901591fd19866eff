//! Delivers an entry of the outbox. If its spans may have arrived before, Langfuse is asked first. What stays unproven
//! is sent only on request.

use std::fmt;
use std::io;

use tokio::time::Instant;

use crate::delivery::ambiguity::Ambiguity;
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
/// With `again`, spans are also sent if it stays unproven whether they have arrived.
///
/// # Errors
/// If the entry cannot be read or written.
pub async fn redeliver(
    client: &OtlpClient,
    entry: &mut Entry,
    again: bool,
    deadline: Instant,
) -> Result<DeliveryResult, EntryError> {
    let payloads = entry.payloads().map_err(EntryError::Unreadable)?;
    let all = span_count(&payloads);
    let ambiguity = entry.ambiguity();
    let mut results = Vec::new();
    for payload in payloads {
        results.push(deliver_request(client, entry, payload, ambiguity, again, deadline).await?);
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
    // If nothing was sent now, an earlier attempt is as ambiguous as before.
    let is_unsent = matches!(result.outcome, Outcome::Unsent(_));
    let earlier = is_unsent.then(|| entry.ambiguity()).flatten();
    entry.note(cause, result.ambiguity.or(earlier))
}

fn span_count(payloads: &[Payload]) -> usize {
    payloads.iter().map(Payload::span_count).sum()
}

/// Delivers one request, without the spans that have arrived in an earlier attempt, if there may have been one.
async fn deliver_request(
    client: &OtlpClient,
    entry: &mut Entry,
    payload: Payload,
    earlier: Option<Ambiguity>,
    again: bool,
    deadline: Instant,
) -> io::Result<DeliveryResult> {
    let arrival = match earlier {
        Some(earlier) => client.find_missing(&payload, deadline, earlier).await,
        None => Arrival::Missing(payload.clone()),
    };
    let missing = match arrival {
        Arrival::Complete => {
            return Ok(DeliveryResult::with(Outcome::Confirmed, payload, None));
        }
        Arrival::Unknown(rest) if !again => {
            return Ok(DeliveryResult::with(Outcome::Unproven, rest, earlier));
        }
        Arrival::Unknown(rest) => {
            client.console.warn(&format!(
                "{} is sent again, and a copy of it may exist: its cost is then counted twice",
                entry.id
            ));
            rest
        }
        Arrival::Missing(missing) => missing,
    };
    // Noted before anything is sent: a process that is killed cannot note it any more.
    entry.note_under_way()?;
    Ok(client.deliver(&missing, deadline).await)
}
