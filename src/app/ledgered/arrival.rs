//! The questions before lines are sent: which of their spans have arrived in an earlier attempt.

use std::collections::HashSet;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::time::Instant;

use super::{LedgeredDelivery, Shipment};
use crate::delivery::Outcome;
use crate::delivery::client::Arrival;
use crate::delivery::payload::Payload;
use crate::delivery::sent_key::SentKey;
use crate::failure::Failure;
use crate::langfuse::{Api, ApiError, readback};

/// How many traces Langfuse is asked for at once.
const QUESTIONS: usize = 8;

impl LedgeredDelivery<'_> {
    /// The shipments without what has arrived in an earlier attempt. Where that is not known, they are not sent.
    pub(super) async fn missing(&mut self, group: Vec<Shipment>) -> Result<Vec<Shipment>, Failure> {
        let (doubtful, fresh): (Vec<_>, Vec<_>) = group
            .into_iter()
            .partition(|shipment| shipment.earlier.is_some());
        let mut missing = if self.asks_first {
            self.absent(fresh).await?
        } else {
            fresh
        };
        let mut unproven = Vec::new();
        for mut shipment in doubtful {
            let Some(earlier) = shipment.earlier else {
                continue;
            };
            let deadline = Instant::now() + self.to.budget;
            let client = self.to.client;
            match client
                .find_missing(&shipment.payload, deadline, earlier)
                .await
            {
                Arrival::Complete => self.count_present(shipment.key)?,
                Arrival::Missing(rest) => {
                    shipment.payload = rest;
                    missing.push(shipment);
                }
                Arrival::Unknown(rest) if self.to.again => {
                    self.to.console.warn(&format!(
                        "{}, line {} is sent again, and a copy of it may exist: its cost is then counted twice",
                        self.name, shipment.line
                    ));
                    shipment.payload = rest;
                    missing.push(shipment);
                }
                Arrival::Unknown(_) => {
                    self.note(|ledger| ledger.unsent(&[shipment.key], Some(earlier)))?;
                    unproven.push(shipment.line);
                }
            }
        }
        if !unproven.is_empty() {
            self.counts.kept += unproven.len() as u64;
            self.counts.unproven += unproven.len() as u64;
            self.refused(&unproven, &Outcome::Unproven);
        }
        Ok(missing)
    }

    /// The shipments of which Langfuse has no span, or not all. Without an answer, none is sent from then on.
    async fn absent(&mut self, group: Vec<Shipment>) -> Result<Vec<Shipment>, Failure> {
        let Some(api) = &self.to.client.api else {
            return Ok(group);
        };
        let asked = group.into_iter().map(async |shipment| {
            let known = ask(api, &shipment.payload).await;
            (shipment, known)
        });
        let answers: Vec<_> = stream::iter(asked).buffered(QUESTIONS).collect().await;
        let (mut absent, mut unasked, mut why) = (Vec::new(), Vec::new(), None);
        for (mut shipment, known) in answers {
            match known.map(|known| shipment.payload.without(&known)) {
                Ok(Some(rest)) => {
                    shipment.payload = rest;
                    absent.push(shipment);
                }
                Ok(None) => self.count_present(shipment.key)?,
                Err(error) => {
                    unasked.push(shipment.line);
                    why.get_or_insert(error);
                }
            }
        }
        if let Some(error) = why {
            self.is_stopped = true;
            self.counts.kept += unasked.len() as u64;
            self.refused(&unasked, &Outcome::Unasked(error));
        }
        Ok(absent)
    }

    fn count_present(&mut self, key: SentKey) -> Result<(), Failure> {
        self.counts.present += 1;
        self.note(|ledger| ledger.sent(&[key]))
    }
}

/// The ids of the spans that Langfuse has. Asked again while that may help: each minute has a limit.
async fn ask(api: &Api, payload: &Payload) -> Result<HashSet<String>, ApiError> {
    let mut known = HashSet::new();
    for wanted in payload.traces() {
        known.extend(readback::known_patiently(api, &wanted).await?);
    }
    Ok(known)
}
