//! What a batch counts while it runs: lines, causes of failure, tokens, times, traces.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::delivery::Stored;
use crate::trace::Exchange;

/// The counts of a run.
#[derive(Debug)]
pub struct Stats {
    pub began: Instant,
    /// Lines that were answered, whole or with a failure, in this run.
    pub done: u64,
    pub failed: u64,
    /// Failed lines by what went wrong.
    pub causes: BTreeMap<String, u64>,
    /// Lines that an earlier run had answered.
    pub skipped: u64,
    /// Those of them that had failed.
    pub failed_before: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// US dollars, of the answers that state them.
    pub cost: Option<f64>,
    pub latency: Times,
    pub first_token: Times,
    pub traces: Traces,
    /// What was taken out of traces and recordings.
    pub redactions: u64,
}

/// What became of the traces of a run.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Traces {
    pub accepted: u64,
    /// They wait in the outbox.
    pub spooled: u64,
    /// They are nowhere.
    pub lost: u64,
    pub sampled_out: u64,
    /// Of an earlier run: nobody could say whether they had arrived.
    pub undecided: u64,
}

/// Times, kept as a histogram so that their number does not matter.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

/// The longest time that is told apart, in milliseconds: a day.
const LONGEST_MS: u64 = 86_400_000;

impl Stats {
    pub fn begin() -> Self {
        Self {
            began: Instant::now(),
            done: 0,
            failed: 0,
            causes: BTreeMap::new(),
            skipped: 0,
            failed_before: 0,
            input_tokens: 0,
            output_tokens: 0,
            cost: None,
            latency: Times::new(),
            first_token: Times::new(),
            traces: Traces::default(),
            redactions: 0,
        }
    }

    /// Counts a line that was asked; `cause` says why it failed, if it did.
    pub fn add(&mut self, exchange: &Exchange, cause: Option<String>) {
        self.done += 1;
        self.latency.add(exchange.latency_ms());
        if let Some(wait) = exchange.time_to_first_token_ms() {
            self.first_token.add(wait);
        }
        if let Some(usage) = &exchange.completion.usage {
            self.input_tokens = self.input_tokens.saturating_add(usage.all_input());
            self.output_tokens = self.output_tokens.saturating_add(usage.all_output());
        }
        if let Some(cost) = exchange.completion.cost.or(exchange.cost) {
            *self.cost.get_or_insert(0.0) += cost;
        }
        if let Some(cause) = cause {
            self.fail(cause);
        }
    }

    /// Counts a line that is no request.
    pub fn add_invalid(&mut self, cause: &str) {
        self.done += 1;
        self.fail(cause.to_owned());
    }

    fn fail(&mut self, cause: String) {
        self.failed += 1;
        *self.causes.entry(cause).or_default() += 1;
    }

    /// Lines and traces that failed.
    pub fn errors(&self) -> u64 {
        self.failed + self.traces.spooled + self.traces.lost + self.traces.undecided
    }

    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Traces {
    /// Counts those of `lines` lines, of which `unaccepted` were not accepted and are kept as `spool` says.
    pub fn add(&mut self, lines: usize, unaccepted: usize, stored: &Stored) {
        let unaccepted = unaccepted.min(lines) as u64;
        self.accepted += lines as u64 - unaccepted;
        match stored {
            Stored::NotNeeded => {}
            Stored::Kept { .. } => self.spooled += unaccepted,
            Stored::Lost(_) => self.lost += unaccepted,
        }
    }
}

impl Times {
    pub fn new() -> Self {
        const DIGITS: u8 = 2;
        // The bounds are constants that the histogram takes.
        let histogram = Histogram::new_with_bounds(1, LONGEST_MS, DIGITS);
        Self(histogram.unwrap_or_else(|_| unreachable!("the bounds are sound")))
    }

    pub fn add(&mut self, milliseconds: i64) {
        let milliseconds = u64::try_from(milliseconds).unwrap_or_default();
        self.0.saturating_record(milliseconds.min(LONGEST_MS));
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time, in milliseconds, that `percent` of a hundred do not exceed.
    pub fn percentile(&self, percent: f64) -> u64 {
        self.0.value_at_percentile(percent).min(self.max())
    }

    pub fn max(&self) -> u64 {
        self.0.max()
    }

    pub fn min(&self) -> u64 {
        self.0.min()
    }

    /// The times, as far as they are told apart, in order, with how often each occurred.
    pub fn counts(&self) -> impl Iterator<Item = (u64, u64)> {
        let recorded = self.0.iter_recorded();
        recorded.map(|times| (times.value_iterated_to(), times.count_at_value()))
    }
}
