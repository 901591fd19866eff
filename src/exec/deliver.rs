//! The requests of a run on their way: from its journal into the outbox, and from there to the destination.
//!
//! They are read one at a time, so that a long run needs no more memory than a short one. Where the outbox does not
//! take them, they are made again from the journal while they are sent.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::delivery::ambiguity::Ambiguity;
use crate::delivery::outbox::Entry;
use crate::delivery::payload::Payload;
use crate::delivery::redelivery::{self, EntryError};
use crate::delivery::result::DeliveryResult;
use crate::delivery::{Delivery, OtlpClient, OutboxError, Outcome, Stored};
use crate::exec::assemble::{Summary, assemble, outline};
use crate::exec::journal::Journal;
use crate::exec::media_upload::{MediaTexts, upload};
use crate::trace::spans::Dialect;

/// The requests of a run, ready to be sent.
#[derive(Debug)]
pub enum Requests {
    /// They are in the outbox, where they stay until they were accepted.
    Entry(Entry),
    /// They are in the journal, which stays in the outbox, if it is there, until they were accepted.
    Journal {
        source: Source,
        entry: Option<Entry>,
        /// Why they go with the process, or a part of them; `None` if the outbox holds all.
        lost: Option<OutboxError>,
    },
}

/// What requests are made from.
#[derive(Clone, Debug)]
pub struct Source {
    pub journal: Arc<Journal>,
    pub dialect: Dialect,
    /// The texts for images and files that were not uploaded.
    pub media: MediaTexts,
}

/// Puts the journal of a run that was killed together: it becomes an entry that waits. Its images and files are uploaded
/// before. If that fails for a reason that passes, the journal stays as it is.
///
/// # Errors
/// If the journal cannot be read, the entry cannot be written, or the uploads must be repeated.
pub async fn settle(
    entry: &mut Entry,
    client: &OtlpClient,
    dialect: Dialect,
    budget: Duration,
) -> anyhow::Result<()> {
    let mut source = Source {
        journal: Arc::new(Journal::of_file(entry.file()?)?),
        dialect,
        media: MediaTexts::default(),
    };
    if let Some(api) = &client.api
        && source.journal.holds_media()?
    {
        let shown = outline(&source.journal, dialect)?.media;
        let uploaded = upload(&source.journal, &shown, api, Instant::now() + budget).await;
        if uploaded.is_passing {
            let why = uploaded.failure().unwrap_or_default().to_owned();
            return Err(anyhow::Error::msg(why).context("an image or file was not uploaded"));
        }
        uploaded.warn(&client.console);
        source.media = uploaded.texts;
    }
    source.settle(entry).map(drop)
}

impl Source {
    /// Puts the journal together. It becomes an entry of the outbox, if it is in the outbox and that has room for it.
    /// `entry` is its entry, or why it has none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn assembled(
        self,
        entry: Result<Entry, OutboxError>,
    ) -> anyhow::Result<(Summary, Requests)> {
        let entry = match entry {
            Ok(mut entry) => match self.settle(&mut entry) {
                Ok(summary) => return Ok((summary, Requests::Entry(entry))),
                Err(_) => Ok(entry),
            },
            Err(why) => Err(why),
        };
        let summary = self.each(&mut |_| Ok(()))?;
        let lost = match &entry {
            Ok(entry) => self
                .journal
                .refused()
                .filter(|_| self.journal.has_overflow())
                .map(|error| unwritable(entry, error)),
            Err(why) => Some(why.clone()),
        };
        let requests = Requests::Journal {
            source: self,
            entry: entry.ok(),
            lost,
        };
        Ok((summary, requests))
    }

    fn settle(&self, entry: &mut Entry) -> anyhow::Result<Summary> {
        let mut writer = entry.rewriter()?;
        let summary = self.each(&mut |request| Ok(writer.add(&Payload::of_messages(request))?))?;
        entry.replace(writer)?;
        Ok(summary)
    }

    fn each(
        &self,
        take: &mut dyn FnMut(ExportTraceServiceRequest) -> anyhow::Result<()>,
    ) -> anyhow::Result<Summary> {
        assemble(&self.journal, self.dialect, &self.media, take)
    }

    /// Makes the requests on a thread of its own, and sends each before the next but one is made.
    async fn send(&self, client: &OtlpClient, budget: Duration) -> anyhow::Result<Sent> {
        let (sender, mut made) = mpsc::channel(1);
        let source = self.clone();
        let making = spawn_blocking(move || {
            source.each(&mut |request| Ok(sender.blocking_send(Payload::of_messages(request))?))
        });
        let mut sent = Sent {
            result: None,
            has_accepted: false,
        };
        while let Some(payload) = made.recv().await {
            let result = client.deliver(&payload, Instant::now() + budget).await;
            let is_accepted = result.outcome.is_accepted();
            sent.result = Some(result);
            if !is_accepted {
                // Nothing more is made.
                return Ok(sent);
            }
            sent.has_accepted = true;
        }
        making.await.context("the run cannot be put together")??;
        Ok(sent)
    }
}

/// What became of requests that were sent one after the other.
struct Sent {
    /// Of the last one that was sent.
    result: Option<DeliveryResult>,
    has_accepted: bool,
}

fn unwritable(entry: &Entry, error: &std::io::Error) -> OutboxError {
    let dir = entry.path().parent().unwrap_or(entry.path()).to_owned();
    let error = Arc::new(std::io::Error::new(error.kind(), error.to_string()));
    OutboxError::Unwritable { dir, error }
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
            Self::Journal { source, entry, .. } => {
                if let Some(entry) = entry {
                    // The disk may be too full for a note; the run is delivered all the same.
                    let _ = entry.note_under_way();
                }
                let sent = source.send(client, budget).await;
                let sent = sent.map_err(EntryError::Unreadable)?;
                let outcome = sent.result.as_ref().map_or_else(
                    || Outcome::Unsent("there was nothing to send".to_owned()),
                    |result| result.outcome.clone(),
                );
                if let Some(entry) = entry {
                    if outcome.is_accepted() {
                        entry.remove()?;
                    } else {
                        let cause = client.console.clean(&outcome.describe());
                        let _ = entry.note(&cause, sent.ambiguity());
                    }
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
            Self::Journal {
                lost: Some(lost), ..
            } => Stored::Lost(lost.clone()),
            Self::Entry(entry)
            | Self::Journal {
                entry: Some(entry), ..
            } => kept(entry),
            Self::Journal { .. } => Stored::Lost(OutboxError::Disabled),
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
            | Self::Journal {
                entry: Some(entry), ..
            } => entry.remove(),
            Self::Journal { .. } => Ok(()),
        }
    }
}

impl Sent {
    /// Whether the whole may have arrived, or a part of it did: `resend` then asks before it sends.
    fn ambiguity(&self) -> Option<Ambiguity> {
        let of_last = self.result.as_ref().and_then(|result| result.ambiguity);
        of_last.or_else(|| self.has_accepted.then(|| Ambiguity::at(Timestamp::now())))
    }
}
