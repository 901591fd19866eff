//! An entry of the outbox on its way to the destination of the present settings, and what is said when it fails.

use std::time::Duration;

use tokio::time::Instant;

use crate::app::hints;
use crate::console::Console;
use crate::delivery::outbox::Entry;
use crate::delivery::redelivery::{self, Trouble};
use crate::delivery::{DeliveryResult, OtlpClient};
use crate::failure::{Failure, Kind};
use crate::settings::Destination;

/// Where entries go.
#[derive(Clone, Copy, Debug)]
pub struct Redelivery<'a> {
    pub wire: &'a OtlpClient,
    pub destination: &'a Destination,
    /// Time for one entry.
    pub budget: Duration,
    pub console: &'a Console,
}

impl Redelivery<'_> {
    /// The public key that an entry was meant for, where it is that of another project.
    pub fn other_project<'e>(&self, entry: &'e Entry) -> Option<&'e str> {
        let meant_for = entry.meta.as_ref()?.public_key.as_deref()?;
        let own = &self.destination.langfuse.as_ref()?.keys.public;
        (meant_for != own.as_str()).then_some(meant_for)
    }

    /// Delivers an entry and removes it. One that was not accepted stays, and notes why.
    ///
    /// # Errors
    /// When it was not accepted, or its files cannot be read, written or removed.
    pub async fn deliver(&self, entry: &mut Entry) -> Result<(), Failure> {
        let deadline = Instant::now() + self.budget;
        let settled = redelivery::redeliver(self.wire, entry, deadline).await;
        let settled = settled.map_err(|trouble| say(entry, &trouble))?;
        if !settled.outcome.is_accepted() {
            return Err(self.refused(entry, &settled));
        }
        entry.remove().map_err(|error| {
            let place = entry.path().display();
            Failure::file(format!(
                "{place} was delivered but cannot be removed: {error}"
            ))
            .hint("remove it by hand, else it is delivered again")
        })
    }

    /// Notes why an entry stays, and says it.
    fn refused(&self, entry: &mut Entry, settled: &DeliveryResult) -> Failure {
        let outcome = &settled.outcome;
        let cause = self.console.clean(&outcome.describe());
        let unnoted = redelivery::note(entry, settled, &cause).err();
        let url = &self.wire.target.url;
        let message = format!("{} was not accepted by {url}: {cause}", entry.id);
        Failure::new(Kind::Delivery, message)
            .hints([
                hints::of_delivery(outcome, self.destination),
                Some(format!("it waits in {}", entry.path().display())),
                unnoted.map(|error| format!("the reason cannot be noted there: {error}")),
            ])
            .status(outcome.status())
            .retryable(outcome.is_retryable())
    }
}

fn say(entry: &Entry, trouble: &Trouble) -> Failure {
    let place = entry.path().display();
    match trouble {
        Trouble::Unreadable(error) => {
            Failure::new(Kind::Delivery, format!("{place} cannot be read: {error:#}"))
                .hint("look at the file; langspan resend --discard deletes all that waits")
        }
        Trouble::Unwritable(error) => {
            Failure::file(format!("{place} cannot be noted or rewritten: {error}"))
                .hint("it stays: is the disk full, or the outbox not to be written to?")
        }
    }
}
