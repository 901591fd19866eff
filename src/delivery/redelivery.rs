//! Entries of the outbox on their way again: asked for first, where one may have arrived before.

use std::io;

use jiff::Timestamp;
use tokio::time::Instant;

use super::outbox::Entry;
use super::outcome::Outcome;
use super::payload::Payload;
use super::wire::{DeliveryResult, OtlpClient};

/// Why an entry was not delivered, beside what the server says.
#[derive(Debug)]
pub enum Trouble {
    /// Its file is no file of spans, or cannot be read.
    Unreadable(anyhow::Error),
    /// What becomes of it cannot be kept; nothing is sent before that is noted.
    Unwritable(io::Error),
}

/// Delivers one entry: every request of it, in order. What was accepted is taken out of it.
///
/// # Errors
/// When the entry cannot be read or written.
pub async fn redeliver(
    wire: &OtlpClient,
    entry: &mut Entry,
    deadline: Instant,
) -> Result<DeliveryResult, Trouble> {
    let payloads = entry.payloads().map_err(Trouble::Unreadable)?;
    let count = |payloads: &[Payload]| payloads.iter().map(Payload::span_count).sum::<usize>();
    let whole = count(&payloads);
    let since = entry.ambiguous_since();
    let mut settled: Option<DeliveryResult> = None;
    for payload in payloads {
        let next = deliver_once(wire, entry, payload, since, deadline).await;
        let next = next.map_err(Trouble::Unwritable)?;
        settled = Some(match settled {
            Some(settled) => settled.add(next),
            None => next,
        });
    }
    let nothing = || Trouble::Unreadable(anyhow::anyhow!("the entry is empty"));
    let settled = settled.ok_or_else(nothing)?;
    if (1..whole).contains(&count(&settled.remaining)) {
        let kept = entry.keep_only(&settled.remaining);
        kept.map_err(Trouble::Unwritable)?;
    }
    Ok(settled)
}

/// Notes of an entry that was not delivered why it still waits.
///
/// # Errors
/// When the metadata cannot be written.
pub fn note(entry: &mut Entry, settled: &DeliveryResult, cause: &str) -> io::Result<()> {
    // When nothing was sent, absence counts from the earlier failure on.
    let earlier = entry
        .ambiguous_since()
        .filter(|_| matches!(settled.outcome, Outcome::Unsent(_)));
    let since = settled
        .is_ambiguous
        .then(|| earlier.unwrap_or_else(Timestamp::now));
    entry.note(cause, since)
}

/// Delivers a request, without what the server has since an earlier delivery that may have arrived at `since`.
async fn deliver_once(
    wire: &OtlpClient,
    entry: &mut Entry,
    payload: Payload,
    since: Option<Timestamp>,
    deadline: Instant,
) -> io::Result<DeliveryResult> {
    let missing = match (since, &wire.api) {
        (Some(since), Some(_)) => wire.missing(&payload, deadline, since).await,
        _ => Some(Some(payload.clone())),
    };
    Ok(match missing {
        Some(Some(missing)) => {
            // Noted before anything leaves: a process that is killed cannot say any more what it had sent.
            entry.note("a delivery was under way", Some(Timestamp::now()))?;
            wire.deliver(&missing, deadline).await
        }
        Some(None) => DeliveryResult::of(Outcome::Confirmed, payload),
        None => {
            let why = "it may have arrived before, and the server did not say whether it has";
            DeliveryResult {
                is_ambiguous: true,
                ..DeliveryResult::of(Outcome::Unsent(why.to_owned()), payload)
            }
        }
    })
}
