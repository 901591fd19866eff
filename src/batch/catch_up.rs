//! The first step of a resumed run: deliver the traces that the earlier run left behind, then clear the way for
//! `--retry-errors`.
//!
//! The order matters. Entries of the outbox are found before Langfuse is asked, since a trace in the outbox needs no
//! answer. Langfuse is asked before anything is sent, since a second copy of a trace doubles its cost.

use crate::app::redeliver::Redelivery;
use crate::app::setup::Setup;
use crate::batch::input::Input;
use crate::batch::plan::Plan;
use crate::batch::pool::trace_sender::TraceSender;
use crate::batch::redeliver_failed::redeliver_failed;
use crate::batch::resume::acks::Ack;
use crate::batch::resume::compare::Comparison;
use crate::batch::stats::TraceStats;
use crate::console::Console;
use crate::delivery::Outbox;
use crate::failure::{Failure, Kind};
use crate::settings::OutboxPlace;

/// What the catch-up works on.
pub struct CatchUp<'b, 'a> {
    pub plan: &'b Plan,
    pub setup: &'b Setup,
    pub console: &'b Console,
    pub input: &'b Input,
    pub comparison: &'b Comparison,
    pub traces: &'b mut TraceSender<'a>,
}

impl<'b> CatchUp<'b, '_> {
    /// Catches up with the earlier run.
    ///
    /// # Errors
    /// When a file of the run cannot be read or written.
    pub async fn run(self) -> Result<(), Failure> {
        let state = &mut self.traces.state;
        state.forget_unwritten()?;
        let outbox = open_outbox(self.setup.settings.delivery.outbox.as_ref());
        if let Some(outbox) = &outbox {
            state.find_entries(outbox);
        }
        let api = self.setup.clients.api.as_ref();
        self.comparison.find_arrived(state, api, self.console).await;
        match (&outbox, self.redelivery()) {
            (Some(outbox), Some(redelivery)) => {
                deliver_entries(outbox, &redelivery, self.traces).await?;
            }
            // With --no-outbox they stay where they are.
            (None, Some(_)) => self.traces.stats.spooled += self.traces.state.spooled(),
            (_, None) => {}
        }
        if let (true, Some(out)) = (self.plan.retries_errors(), self.plan.out.resumable()) {
            redeliver_failed(self.input, self.plan, self.traces).await?;
            self.traces.state.redo_failed(out, self.comparison.last)?;
        }
        Ok(())
    }

    /// Where entries of the outbox go; `None` when nothing can be sent.
    fn redelivery(&self) -> Option<Redelivery<'b>> {
        Some(Redelivery {
            client: self.setup.clients.otlp.as_ref()?,
            destination: self.setup.settings.tracing.destination()?,
            budget: self.setup.settings.delivery.export_timeout,
            again: false,
            console: self.console,
        })
    }
}

fn open_outbox(place: Option<&OutboxPlace>) -> Option<Outbox> {
    let place = place?;
    let dir = place.dir.as_ref().ok()?;
    Outbox::open(dir, place.max_bytes).ok()
}

/// Delivers the outbox entries with traces of the run. An entry that is gone was delivered by someone else.
async fn deliver_entries(
    outbox: &Outbox,
    redelivery: &Redelivery<'_>,
    traces: &mut TraceSender<'_>,
) -> Result<(), Failure> {
    let mut is_refused = false;
    for (id, lines) in traces.state.entries() {
        let count = lines.len() as u64;
        let TraceStats {
            accepted, spooled, ..
        } = &mut traces.stats;
        if is_refused {
            *spooled += count;
            continue;
        }
        match deliver_entry(outbox, redelivery, &id).await {
            Ok(()) => {
                *accepted += count;
                let ack = Ack::Accepted(lines);
                traces.state.append(&ack)?;
                traces.state.apply(ack);
            }
            Err(failure) => {
                *spooled += count;
                // The others would get the same answer.
                is_refused = failure.retryable || matches!(failure.status, Some(401 | 403));
                redelivery.console.error(&failure);
            }
        }
    }
    Ok(())
}

async fn deliver_entry(
    outbox: &Outbox,
    redelivery: &Redelivery<'_>,
    id: &str,
) -> Result<(), Failure> {
    let failure = |message: String| Failure::new(Kind::Delivery, message);
    let unreadable =
        |error| failure(format!("{id} cannot be read: {error}")).hint("see the file in the outbox");
    let Some(mut entry) = outbox.entry(id).map_err(unreadable)? else {
        if outbox.contains(id) {
            let message = format!("{id} is being delivered by another process");
            return Err(failure(message).hint("run the command again when that has ended"));
        }
        return Ok(());
    };
    if let Some(other) = redelivery.other_project(&entry) {
        let message = format!("{id} belongs to the project of {other} and was not delivered");
        return Err(failure(message).hint("set the keys of that project to deliver it"));
    }
    redelivery.deliver(&mut entry).await
}
