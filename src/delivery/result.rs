//! What became of a request that may have been sent in pieces.

use std::time::Duration;

use crate::delivery::ambiguity::Ambiguity;
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
    pub ambiguity: Option<Ambiguity>,
}

impl DeliveryResult {
    /// The result of a single piece, after an attempt that ended now and had waited this long for an answer.
    pub fn new(outcome: Outcome, piece: Payload, waited: Duration) -> Self {
        let ambiguity = outcome.is_ambiguous().then(|| Ambiguity::after(waited));
        Self::with(outcome, piece, ambiguity)
    }

    /// The result of a single piece that may have arrived as `ambiguity` says.
    pub fn with(outcome: Outcome, piece: Payload, ambiguity: Option<Ambiguity>) -> Self {
        let is_accepted = outcome.is_accepted();
        Self {
            ambiguity,
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
            ambiguity: match (self.ambiguity, next.ambiguity) {
                (Some(one), Some(two)) => Some(one.and(two)),
                (one, two) => one.or(two),
            },
        }
    }

    /// The results of all pieces as one; `None` if there were no pieces.
    pub fn sum(results: Vec<Self>) -> Option<Self> {
        results.into_iter().reduce(Self::add)
    }
}
