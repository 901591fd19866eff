//! What became of a request that may have been sent in pieces.

use crate::delivery::outcome::Outcome;
use crate::delivery::payload::Payload;

/// The outcome of a request, and what of it remains to be delivered.
#[derive(Debug)]
pub struct DeliveryResult {
    /// Of the first piece that was not accepted, else of the last piece.
    pub outcome: Outcome,
    /// The pieces that were not accepted.
    pub remaining: Vec<Payload>,
    /// Whether spans of `remaining` may have arrived all the same.
    pub is_ambiguous: bool,
}

impl DeliveryResult {
    /// The result of a single piece.
    pub fn new(outcome: Outcome, piece: Payload) -> Self {
        let is_accepted = outcome.is_accepted();
        Self {
            is_ambiguous: outcome.is_ambiguous(),
            remaining: if is_accepted { Vec::new() } else { vec![piece] },
            outcome,
        }
    }

    /// This result, followed by that of the next piece.
    pub fn add(self, next: Self) -> Self {
        let mut remaining = self.remaining;
        let outcome = if remaining.is_empty() {
            next.outcome
        } else {
            self.outcome
        };
        remaining.extend(next.remaining);
        Self {
            outcome,
            remaining,
            is_ambiguous: self.is_ambiguous || next.is_ambiguous,
        }
    }

    /// The results of all pieces as one; `None` if there were no pieces.
    pub fn sum(results: Vec<Self>) -> Option<Self> {
        results.into_iter().reduce(Self::add)
    }
}
