//! The counts of a batch: lines, causes of failure, tokens, times; and those of its traces.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::Value;

use crate::delivery::Stored;
use crate::expect::Finding;
use crate::model::Completion;
use crate::trace::Exchange;

/// The counts of the calls of a run.
#[derive(Clone, Debug)]
pub struct Stats {
    pub began: Instant,
    /// The time that earlier stretches of the run took, without the pauses between them.
    pub before: Duration,
    /// Lines that this run completed, failed ones included.
    pub done: u64,
    pub failed: u64,
    /// Failed lines by cause.
    pub causes: BTreeMap<String, u64>,
    /// Lines that an earlier run completed.
    pub skipped: u64,
    /// The failed ones among the skipped lines.
    pub failed_before: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// Calls with a known usage.
    pub usages: u64,
    /// In US dollars, the sum over the calls with a known cost; `None` if there is none.
    pub cost: Option<f64>,
    pub answers: AnswerStats,
    pub expectations: ExpectationStats,
    pub latency: TimeHistogram,
    pub first_token: TimeHistogram,
    /// Of the lines of this stretch that failed.
    pub first_failed: FirstLine,
    /// Of the lines of this stretch that missed an expectation.
    pub first_missed: FirstLine,
}

/// Of some lines, the one that comes first in the input, with what is wrong with it; none if there are no such lines.
#[derive(Clone, Debug, Default)]
pub struct FirstLine(Option<(u64, String)>);

/// The counts of answers that may need a second look.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AnswerStats {
    /// Lines by each finish reason of their answers.
    pub finish_reasons: BTreeMap<String, u64>,
    /// Lines with neither text nor tool calls.
    pub empty: u64,
    /// Lines with a refusal of the model.
    pub refused: u64,
}

/// The counts of expectations.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ExpectationStats {
    /// Lines with an answer of which something was expected.
    pub lines: u64,
    /// Those that missed an expectation.
    pub missed_lines: u64,
    /// Expectations that were met, by name.
    pub met: BTreeMap<String, u64>,
    pub missed: BTreeMap<String, u64>,
}

/// The counts of the scores of a run, by where they are.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ScoreStats {
    pub accepted: u64,
    /// Waiting in the outbox.
    pub spooled: u64,
    /// Neither accepted nor in the outbox.
    pub lost: u64,
}

/// The counts of the traces of a run, by where they are.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct TraceStats {
    pub accepted: u64,
    /// Waiting in the outbox.
    pub spooled: u64,
    /// Neither accepted nor in the outbox.
    pub lost: u64,
    pub sampled_out: u64,
    /// From an earlier run, and Langfuse could not be asked whether they arrived.
    pub undecided: u64,
}

/// A histogram of times in milliseconds; its size does not depend on their number.
#[derive(Clone, Debug)]
pub struct TimeHistogram(Histogram<u64>);

/// Longer times count as this, in milliseconds: a day.
const LONGEST_MS: u64 = 86_400_000;

impl Stats {
    pub fn begin() -> Self {
        Self {
            began: Instant::now(),
            before: Duration::ZERO,
            done: 0,
            failed: 0,
            causes: BTreeMap::new(),
            skipped: 0,
            failed_before: 0,
            input_tokens: 0,
            output_tokens: 0,
            usages: 0,
            cost: None,
            answers: AnswerStats::default(),
            expectations: ExpectationStats::default(),
            latency: TimeHistogram::new(),
            first_token: TimeHistogram::new(),
            first_failed: FirstLine::default(),
            first_missed: FirstLine::default(),
        }
    }

    /// Counts a line with a call; `cause` is the cause of a failed one.
    pub fn add(&mut self, exchange: &Exchange, cost: Option<f64>, cause: Option<String>) {
        self.done += 1;
        self.add_call(exchange);
        self.add_cost(cost);
        if let Some(cause) = cause {
            self.fail(cause);
        }
    }

    /// Counts what a call took and gave, not the line.
    pub fn add_call(&mut self, exchange: &Exchange) {
        self.latency.add(exchange.latency_ms());
        if let Some(wait) = exchange.time_to_first_token_ms() {
            self.first_token.add(wait);
        }
        if let Some(usage) = &exchange.completion.usage {
            self.input_tokens = self.input_tokens.saturating_add(usage.all_input());
            self.output_tokens = self.output_tokens.saturating_add(usage.all_output());
            self.usages += 1;
        }
        if exchange.error.is_none() {
            self.answers.add(&exchange.completion);
        }
    }

    /// Adds what a call cost, if that is known, in US dollars.
    pub fn add_cost(&mut self, cost: Option<f64>) {
        if let Some(cost) = cost {
            *self.cost.get_or_insert(0.0) += cost;
        }
    }

    /// Counts what became of the expectations of a line.
    pub fn judge(&mut self, findings: &[Finding]) {
        self.expectations.add(findings);
    }

    /// Counts a line that an earlier run completed; `cause` is the cause of a failed one.
    pub fn skip(&mut self, cause: Option<&str>) {
        self.skipped += 1;
        if let Some(cause) = cause {
            self.failed_before += 1;
            *self.causes.entry(cause.to_owned()).or_default() += 1;
        }
    }

    /// Counts a line that is not a valid request.
    pub fn add_invalid(&mut self, cause: &str) {
        self.done += 1;
        self.fail(cause.to_owned());
    }

    fn fail(&mut self, cause: String) {
        self.failed += 1;
        *self.causes.entry(cause).or_default() += 1;
    }

    /// The mean number of tokens of an answer; `None` before there is one.
    pub fn mean_answer(&self) -> Option<u64> {
        self.output_tokens.checked_div(self.usages)
    }

    /// The time of all stretches of the run.
    pub fn elapsed(&self) -> Duration {
        self.before + self.began.elapsed()
    }
}

impl FirstLine {
    /// Takes a line by its number; `why` says in one line what is wrong with it.
    pub fn take(&mut self, line: u64, why: impl FnOnce() -> String) {
        if self.0.as_ref().is_none_or(|(first, _)| line < *first) {
            self.0 = Some((line, why()));
        }
    }

    /// As the end of a sentence about all of the lines.
    pub fn to_text(&self) -> String {
        let first = self.0.as_ref();
        first.map_or_else(String::new, |(line, why)| format!("; line {line}: {why}"))
    }
}

impl AnswerStats {
    fn add(&mut self, completion: &Completion) {
        let reasons: BTreeSet<&String> = completion.finish_reasons.iter().flatten().collect();
        for reason in reasons {
            *self.finish_reasons.entry(reason.clone()).or_default() += 1;
        }
        let is_refused = |message: &Value| {
            message["refusal"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        };
        self.refused += u64::from(completion.messages.iter().any(is_refused));
        self.empty += u64::from(completion.is_empty());
    }
}

impl ExpectationStats {
    fn add(&mut self, findings: &[Finding]) {
        if findings.is_empty() {
            return;
        }
        self.lines += 1;
        self.missed_lines += u64::from(findings.iter().any(|finding| !finding.met));
        for finding in findings {
            let counts = if finding.met {
                &mut self.met
            } else {
                &mut self.missed
            };
            *counts.entry(finding.name.clone()).or_default() += 1;
        }
    }
}

impl ScoreStats {
    /// The scores that were not accepted.
    pub fn failed(&self) -> u64 {
        self.spooled + self.lost
    }

    pub fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.spooled += other.spooled;
        self.lost += other.lost;
    }
}

impl TraceStats {
    /// The traces that were not accepted, or not known to be.
    pub fn failed(&self) -> u64 {
        self.spooled + self.lost + self.undecided
    }

    /// Counts the traces of `lines` lines; `unaccepted` of them were not accepted and are where `stored` says.
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

impl TimeHistogram {
    pub fn new() -> Self {
        const DIGITS: u8 = 2;
        // Constant bounds that the histogram accepts.
        let histogram = Histogram::new_with_bounds(1, LONGEST_MS, DIGITS);
        Self(histogram.unwrap_or_else(|_| unreachable!("the bounds are valid")))
    }

    pub fn add(&mut self, milliseconds: i64) {
        let milliseconds = u64::try_from(milliseconds).unwrap_or_default();
        self.0.saturating_record(milliseconds.min(LONGEST_MS));
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The `percent`-th percentile, in milliseconds.
    pub fn percentile(&self, percent: f64) -> u64 {
        self.0.value_at_percentile(percent).min(self.max())
    }

    pub fn max(&self) -> u64 {
        self.0.max()
    }

    pub fn min(&self) -> u64 {
        self.0.min()
    }

    /// The distinct times in ascending order, in milliseconds, each with its count.
    pub fn counts(&self) -> impl Iterator<Item = (u64, u64)> {
        let recorded = self.0.iter_recorded();
        recorded.map(|times| (times.value_iterated_to(), times.count_at_value()))
    }
}
