//! Delivers an entry of the outbox to the destination of the current settings, and reports why that failed.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::app::delivery_report::{self, Subject};
use crate::app::hints;
use crate::app::score_sender::{self, MOST_AT_ONCE, RefusedScores, not_accepted};
use crate::console::Console;
use crate::delivery::OtlpClient;
use crate::delivery::outbox::Entry;
use crate::delivery::redelivery::{self, EntryError, EntryResult};
use crate::failure::{Failure, Kind};
use crate::http::url::shown;
use crate::settings::Destination;

/// Where entries are delivered to.
#[derive(Clone, Copy, Debug)]
pub struct Redelivery<'a> {
    pub client: &'a OtlpClient,
    pub destination: &'a Destination,
    /// The time for one request of an entry.
    pub budget: Duration,
    /// Whether spans are sent even if it stays unproven whether they have arrived.
    pub again: bool,
    pub console: &'a Console,
}

impl Redelivery<'_> {
    /// The public key of an entry that belongs to another project.
    pub fn other_project<'e>(&self, entry: &'e Entry) -> Option<&'e str> {
        let meant_for = entry.meta.as_ref()?.public_key.as_deref()?;
        let own = &self.destination.langfuse.as_ref()?.keys.public;
        (meant_for != own.as_str()).then_some(meant_for)
    }

    /// Delivers an entry and removes it. An entry that is not accepted stays, with the reason in its metadata.
    ///
    /// # Errors
    /// If it is not accepted, or its files cannot be read, written or removed.
    pub async fn deliver(&self, entry: &mut Entry) -> Result<(), Failure> {
        if entry.is_scores() {
            return self.deliver_scores(entry).await;
        }
        let result = redelivery::redeliver(self.client, entry, self.again, self.budget).await;
        let result = result.map_err(|error| unworkable(entry, &error))?;
        if !result.outcome.is_accepted() {
            return Err(self.refused(entry, &result));
        }
        remove(entry)
    }

    /// Delivers the scores of an entry, many at once: each replaces an earlier copy of itself.
    async fn deliver_scores(&self, entry: &mut Entry) -> Result<(), Failure> {
        let Some(api) = &self.client.api else {
            return Err(Failure::config("a plain OTLP backend takes no scores")
                .hint("set LANGFUSE_BASE_URL and the keys"));
        };
        let bodies = score_bodies(entry)?;
        let deadline = Instant::now() + self.budget;
        let mut refused: Option<RefusedScores> = None;
        for (at, bodies_at_once) in bodies.chunks(MOST_AT_ONCE).enumerate() {
            let Err(mut next) = score_sender::at_once(api, bodies_at_once, deadline).await else {
                continue;
            };
            if next.bodies.len() == bodies_at_once.len() {
                // The server would say the same of the others.
                let rest = bodies.len().min((at + 1) * MOST_AT_ONCE);
                next.bodies.extend_from_slice(&bodies[rest..]);
                refused = Some(merged(refused, next));
                break;
            }
            refused = Some(merged(refused, next));
        }
        let Some(refused) = refused else {
            return remove(entry);
        };
        let cause = self.console.clean(&refused.cause);
        let lines: Vec<String> = refused.bodies.iter().map(Value::to_string).collect();
        let unnoted = entry.keep_scores(&lines, &cause).err();
        let place = format!("they are kept in {}", entry.path().display());
        let place = match unnoted {
            Some(error) => format!("{place}; the reason cannot be noted there: {error}"),
            None => place,
        };
        Err(not_accepted(lines.len() as u64, &refused, Some(place)))
    }

    /// Notes why an entry stays, and reports it.
    fn refused(&self, entry: &mut Entry, result: &EntryResult) -> Failure {
        let outcome = &result.outcome;
        let cause = self.console.clean(&outcome.describe());
        let unnoted = redelivery::note_cause(entry, result, &cause).err();
        let endpoint = shown(&self.client.endpoint.url);
        delivery_report::of_outcome(Subject::Entry(&entry.id), outcome, &cause, Some(&endpoint))
            .hints([
                hints::of_outcome(outcome, self.destination),
                Some(format!("it is kept in {}", entry.path().display())),
                unnoted.map(|error| format!("the reason cannot be noted there: {error}")),
            ])
    }
}

fn remove(entry: &Entry) -> Result<(), Failure> {
    entry.remove().map_err(|error| {
        let path = entry.path().display();
        Failure::file(format!(
            "{path} was delivered but cannot be removed: {error}"
        ))
        .hint("remove it by hand, else it is delivered again")
    })
}

fn score_bodies(entry: &Entry) -> Result<Vec<Value>, Failure> {
    let read = entry.score_bodies().map_err(anyhow::Error::from);
    let bodies = read.and_then(|lines| {
        let bodies = lines.iter().map(|line| serde_json::from_str(line));
        bodies
            .collect::<Result<Vec<Value>, _>>()
            .map_err(anyhow::Error::from)
    });
    bodies.map_err(|error| unworkable(entry, &EntryError::Unreadable(error)))
}

/// All scores that were refused, with the cause of the first one.
fn merged(known: Option<RefusedScores>, next: RefusedScores) -> RefusedScores {
    match known {
        Some(mut known) => {
            known.bodies.extend(next.bodies);
            known
        }
        None => next,
    }
}

fn unworkable(entry: &Entry, error: &EntryError) -> Failure {
    let message = format!("{} {error}", entry.path().display());
    match error {
        EntryError::Unreadable(_) => Failure::new(Kind::Delivery, message)
            .hint("check the file; langspan resend --discard deletes all entries"),
        EntryError::Unwritable(_) => Failure::file(message)
            .hint("the entry stays: check the free disk space and the permissions of the outbox"),
    }
}
