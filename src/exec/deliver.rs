//! The requests of a run on their way: from its journal into the outbox, and from there to the destination.
//!
//! They are read one at a time, so that a long run needs no more memory than a short one.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, IntoInnerError, Seek as _, SeekFrom, Write as _};
use std::time::Duration;

use tokio::time::Instant;

use crate::delivery::outbox::Entry;
use crate::delivery::payload::Payload;
use crate::delivery::redelivery::{self, EntryError};
use crate::delivery::{Delivery, OtlpClient, OutboxError, Outcome, Stored};
use crate::exec::assemble::{Summary, assemble};
use crate::exec::journal::Journal;
use crate::trace::spans::Dialect;

/// The requests of a run, ready to be sent.
#[derive(Debug)]
pub enum Requests {
    /// They are in the outbox, where they stay until they were accepted.
    Entry(Entry),
    /// They are in a file without a name, or in memory; the journal, if there is one, stays until they were accepted.
    Passing {
        source: Passing,
        journal: Option<Entry>,
        /// Why a part of them is nowhere else; `None` if the journal holds all.
        lost: Option<OutboxError>,
    },
}

/// Requests that go with the process.
#[derive(Debug)]
pub enum Passing {
    File(File),
    Memory(Vec<Payload>),
}

/// Puts a journal of the outbox together: it becomes an entry that waits.
///
/// # Errors
/// If the journal cannot be read, or the entry cannot be written.
pub fn settle(entry: &mut Entry, dialect: Dialect) -> anyhow::Result<Summary> {
    let journal = Journal::of_file(entry.file()?)?;
    settle_from(&journal, entry, dialect)
}

fn settle_from(journal: &Journal, entry: &mut Entry, dialect: Dialect) -> anyhow::Result<Summary> {
    let mut writer = entry.rewriter()?;
    let summary = assemble(journal, dialect, &mut |request| {
        Ok(writer.add(&Payload::of_messages(request))?)
    })?;
    entry.replace(writer)?;
    Ok(summary)
}

/// Puts the journal of a run that has just ended together.
///
/// # Errors
/// If it cannot be read.
pub fn assembled(
    journal: &Journal,
    entry: Option<Entry>,
    dialect: Dialect,
) -> anyhow::Result<(Summary, Requests)> {
    let mut entry = entry;
    if let Some(known) = &mut entry
        && let Ok(summary) = settle_from(journal, known, dialect)
        && let Some(entry) = entry.take()
    {
        return Ok((summary, Requests::Entry(entry)));
    }
    let (summary, source) = match to_file(journal, dialect) {
        Ok(written) => written,
        Err(_) => to_memory(journal, dialect)?,
    };
    let lost = match &entry {
        Some(_) if !journal.has_overflow() => None,
        _ => Some(OutboxError::Disabled),
    };
    let requests = Requests::Passing {
        source,
        journal: entry,
        lost,
    };
    Ok((summary, requests))
}

fn to_file(journal: &Journal, dialect: Dialect) -> anyhow::Result<(Summary, Passing)> {
    let mut file = BufWriter::new(tempfile::tempfile()?);
    let summary = assemble(journal, dialect, &mut |request| {
        let line = Payload::of_messages(request).to_json_line()?;
        Ok(writeln!(file, "{line}")?)
    })?;
    let file = file.into_inner().map_err(IntoInnerError::into_error)?;
    Ok((summary, Passing::File(file)))
}

fn to_memory(journal: &Journal, dialect: Dialect) -> anyhow::Result<(Summary, Passing)> {
    let mut payloads = Vec::new();
    let summary = assemble(journal, dialect, &mut |request| {
        payloads.push(Payload::of_messages(request));
        Ok(())
    })?;
    Ok((summary, Passing::Memory(payloads)))
}

impl Requests {
    /// Delivers all, each within `budget`. What was accepted leaves the outbox.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub async fn deliver(
        &mut self,
        client: &OtlpClient,
        budget: Duration,
    ) -> Result<Delivery, EntryError> {
        match self {
            Self::Entry(entry) => {
                let result = redelivery::redeliver(client, entry, false, budget).await?;
                if result.outcome.is_accepted() {
                    entry.remove()?;
                } else {
                    let cause = client.console.clean(&result.outcome.describe());
                    redelivery::note_cause(entry, &result, &cause)?;
                }
                Ok(self.result(result.outcome))
            }
            Self::Passing {
                source, journal, ..
            } => {
                let outcome = source.deliver(client, budget).await?;
                if outcome.is_accepted()
                    && let Some(journal) = journal
                {
                    journal.remove()?;
                }
                Ok(self.result(outcome))
            }
        }
    }

    /// What became of the requests.
    pub fn result(&self, outcome: Outcome) -> Delivery {
        let kept = |entry: &Entry| Stored::Kept {
            entry: entry.id.clone(),
            path: entry.path().to_owned(),
        };
        let is_accepted = outcome.is_accepted();
        let stored = match self {
            _ if is_accepted => Stored::NotNeeded,
            Self::Entry(entry) => kept(entry),
            Self::Passing {
                lost: Some(lost), ..
            } => Stored::Lost(lost.clone()),
            Self::Passing {
                journal: Some(journal),
                ..
            } => kept(journal),
            Self::Passing { .. } => Stored::Lost(OutboxError::Disabled),
        };
        Delivery {
            outcome,
            stored,
            unaccepted: usize::from(!is_accepted),
        }
    }

    /// Removes them: they are not to be delivered.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn discard(self) -> std::io::Result<()> {
        match self {
            Self::Entry(entry)
            | Self::Passing {
                journal: Some(entry),
                ..
            } => entry.remove(),
            Self::Passing { .. } => Ok(()),
        }
    }
}

impl Passing {
    async fn deliver(
        &mut self,
        client: &OtlpClient,
        budget: Duration,
    ) -> Result<Outcome, EntryError> {
        let mut outcome = Outcome::Unsent("there was nothing to send".to_owned());
        match self {
            Self::Memory(payloads) => {
                for payload in payloads.iter() {
                    outcome = send(client, payload, budget).await;
                    if !outcome.is_accepted() {
                        break;
                    }
                }
            }
            Self::File(file) => {
                file.seek(SeekFrom::Start(0))?;
                for line in BufReader::new(file).lines() {
                    let payload =
                        Payload::from_json_line(&line?).map_err(EntryError::Unreadable)?;
                    outcome = send(client, &payload, budget).await;
                    if !outcome.is_accepted() {
                        break;
                    }
                }
            }
        }
        Ok(outcome)
    }
}

async fn send(client: &OtlpClient, payload: &Payload, budget: Duration) -> Outcome {
    client
        .deliver(payload, Instant::now() + budget)
        .await
        .outcome
}
