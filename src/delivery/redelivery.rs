//! Delivers an entry of the outbox. If its spans may have arrived before, Langfuse is asked first. What stays unproven
//! is sent only on request.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::time::Instant;

use crate::delivery::ambiguity::Ambiguity;
use crate::delivery::client::{Arrival, OtlpClient};
use crate::delivery::outbox::{Entry, EntryWriter};
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

/// What became of an entry.
#[derive(Debug)]
pub struct EntryResult {
    /// Of the first request that was not accepted, else of the last one.
    pub outcome: Outcome,
    /// Whether spans that remain may have arrived all the same.
    pub ambiguity: Option<Ambiguity>,
}

/// Delivers every request of an entry, in order, each within `budget`. If only some spans are accepted, these are taken
/// out of the entry. Requests are read one at a time: an entry may be large. With `again`, spans are also
/// sent if it stays unproven whether they have arrived.
///
/// # Errors
/// If the entry cannot be read or written.
pub async fn redeliver(
    client: &OtlpClient,
    entry: &mut Entry,
    again: bool,
    budget: Duration,
) -> Result<EntryResult, EntryError> {
    entry.check().map_err(EntryError::Unreadable)?;
    let ambiguity = entry.ambiguity();
    let mut rest = Rest::default();
    let mut result: Option<EntryResult> = None;
    let requests = entry.requests().map_err(EntryError::Unreadable)?;
    for request in requests {
        let request = request.map_err(EntryError::Unreadable)?;
        let failed = result
            .as_ref()
            .filter(|result| !result.outcome.is_accepted());
        if failed.is_some_and(|result| concerns_all(&result.outcome)) {
            rest.keep(entry, &request)?;
            continue;
        }
        let spans = request.span_count();
        let deadline = Instant::now() + budget;
        let next = deliver_request(client, entry, request, ambiguity, again, deadline).await?;
        rest.note(entry, spans, &next)?;
        result = Some(match result {
            Some(known) if !known.outcome.is_accepted() => EntryResult {
                ambiguity: match (known.ambiguity, next.ambiguity) {
                    (Some(one), Some(two)) => Some(one.and(two)),
                    (one, two) => one.or(two),
                },
                ..known
            },
            _ => EntryResult {
                outcome: next.outcome,
                ambiguity: next.ambiguity,
            },
        });
    }
    rest.replace(entry)?;
    let is_empty = || EntryError::Unreadable(anyhow::anyhow!("the entry is empty"));
    result.ok_or_else(is_empty)
}

/// Whether the next request would end the same way: the server does not answer, or gives every request this answer.
fn concerns_all(outcome: &Outcome) -> bool {
    !matches!(outcome.status(), Some(400 | 413 | 422))
}

/// What remains of an entry.
#[derive(Default)]
struct Rest {
    /// Made when something remains.
    writer: Option<EntryWriter>,
    has_accepted: bool,
}

impl Rest {
    fn keep(&mut self, entry: &Entry, request: &Payload) -> io::Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(entry.rewriter()?),
        };
        writer.add(request)
    }

    fn note(&mut self, entry: &Entry, spans: usize, result: &DeliveryResult) -> io::Result<()> {
        let remaining: usize = result.remaining.iter().map(Payload::span_count).sum();
        self.has_accepted |= remaining < spans;
        let mut pieces = result.remaining.iter();
        pieces.try_for_each(|piece| self.keep(entry, piece))
    }

    /// Takes what was accepted out of the entry, unless that is nothing, or everything.
    fn replace(self, entry: &mut Entry) -> io::Result<()> {
        match self.writer {
            Some(writer) if self.has_accepted => entry.replace(writer),
            _ => Ok(()),
        }
    }
}

/// Notes in an entry why it was not delivered.
///
/// # Errors
/// If the metadata cannot be written.
pub fn note_cause(entry: &mut Entry, result: &EntryResult, cause: &str) -> io::Result<()> {
    // If nothing was sent now, an earlier attempt is as ambiguous as before.
    let is_unsent = matches!(result.outcome, Outcome::Unsent(_));
    let earlier = is_unsent.then(|| entry.ambiguity()).flatten();
    entry.note(cause, result.ambiguity.or(earlier))
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
