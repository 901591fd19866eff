//! What the calls of a run cost. The price table of the project is looked up beside the first calls.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::app::price_lookup::{PriceLookup, computed};
use crate::app::project_lookup::ProjectAnswer;
use crate::langfuse::Api;
use crate::trace::{Exchange, Trace};

/// Answers wait for the price table at most this long, counted from the first of them.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The most reasons that are named for costs that are not known.
const MOST_REASONS: usize = 10;

/// The look-up of the price table, and what is not known.
#[derive(Debug, Default)]
pub struct Costs {
    lookup: PriceLookup,
    /// Until when answers wait.
    deadline: Option<Instant>,
    /// Why some costs are not known.
    reasons: BTreeSet<String>,
}

/// The cost of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CallCost {
    /// In US dollars.
    pub amount: f64,
    /// Whether it comes from the price table, and not from the endpoint.
    pub is_computed: bool,
}

/// What is known of the cost of a call.
#[derive(Debug, PartialEq)]
pub enum KnownCost {
    Is(CallCost),
    /// Why it is not known, if that was not said before.
    Unknown(Option<String>),
}

impl Costs {
    /// Starts the look-up. `folder` keeps the tables, if there is one.
    pub fn start(api: Option<&Api>, folder: Option<PathBuf>, project: ProjectAnswer) -> Self {
        let mut lookup = PriceLookup::Wanted(folder);
        if let Some(api) = api {
            lookup.start(api, project);
        }
        Self {
            lookup,
            ..Self::default()
        }
    }

    /// Whether the table is still being looked up.
    pub fn is_pending(&self) -> bool {
        self.lookup.is_asked()
    }

    /// Waits until the table is known or an answer has waited long enough. Cancel safe.
    pub async fn wait(&mut self) {
        let longest = || Instant::now() + LONGEST_WAIT;
        let deadline = *self.deadline.get_or_insert_with(longest);
        if timeout_at(deadline, self.lookup.answered()).await.is_err() {
            self.lookup.give_up();
        }
    }

    /// Why there is no price table, if there is none.
    pub fn missing(&self) -> Option<&str> {
        self.lookup.missing()
    }

    /// The cost of a call: what the endpoint stated, else by the price table.
    pub fn of(&mut self, exchange: &Exchange, trace: &Trace) -> KnownCost {
        if let Some(amount) = exchange.completion.cost.or(exchange.cost) {
            return KnownCost::Is(CallCost {
                amount,
                is_computed: false,
            });
        }
        // A call without an answer has no usage.
        let is_answer = exchange.error.is_none() || exchange.completion.usage.is_some();
        let Some(table) = self.lookup.known().filter(|_| is_answer) else {
            return KnownCost::Unknown(None);
        };
        match computed(table, exchange, trace) {
            Ok(amount) => KnownCost::Is(CallCost {
                amount,
                is_computed: true,
            }),
            Err(why) => {
                let is_new = self.reasons.len() < MOST_REASONS && self.reasons.insert(why.clone());
                KnownCost::Unknown(is_new.then_some(why))
            }
        }
    }
}

impl KnownCost {
    /// The cost, if it is known.
    pub fn known(&self) -> Option<CallCost> {
        match self {
            Self::Is(cost) => Some(*cost),
            Self::Unknown(_) => None,
        }
    }
}
