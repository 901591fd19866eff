//! Delivers an entry of the outbox to the destination of the current settings, and reports why that failed.

use std::time::Duration;

use tokio::time::Instant;

use crate::app::delivery_report::{self, Subject};
use crate::app::hints;
use crate::console::Console;
use crate::delivery::outbox::Entry;
use crate::delivery::redelivery::{self, EntryError};
use crate::delivery::{DeliveryResult, OtlpClient};
use crate::failure::{Failure, Kind};
use crate::http::url::shown;
use crate::settings::Destination;

/// Where entries are delivered to.
#[derive(Clone, Copy, Debug)]
pub struct Redelivery<'a> {
    pub client: &'a OtlpClient,
    pub destination: &'a Destination,
    /// The time for one entry.
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
        let deadline = Instant::now() + self.budget;
        let result = redelivery::redeliver(self.client, entry, self.again, deadline).await;
        let result = result.map_err(|error| unworkable(entry, &error))?;
        if !result.outcome.is_accepted() {
            return Err(self.refused(entry, &result));
        }
        entry.remove().map_err(|error| {
            let path = entry.path().display();
            Failure::file(format!(
                "{path} was delivered but cannot be removed: {error}"
            ))
            .hint("remove it by hand, else it is delivered again")
        })
    }

    /// Notes why an entry stays, and reports it.
    fn refused(&self, entry: &mut Entry, result: &DeliveryResult) -> Failure {
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

fn unworkable(entry: &Entry, error: &EntryError) -> Failure {
    let message = format!("{} {error}", entry.path().display());
    match error {
        EntryError::Unreadable(_) => Failure::new(Kind::Delivery, message)
            .hint("check the file; langspan resend --discard deletes all entries"),
        EntryError::Unwritable(_) => Failure::file(message)
            .hint("the entry stays: check the free disk space and the permissions of the outbox"),
    }
}
