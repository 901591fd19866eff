//! The summary of a batch: JSON for programs, and [`text`] for people on stderr.

mod histogram;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::batch::experiment::summary::ExperimentSummary;
use crate::batch::stats::{
    AnswerStats, ExpectationStats, ScoreStats, Stats, TimeHistogram, TraceStats,
};
use crate::output::report::{ErrorReport, SCHEMA_VERSION};

/// The summary of a run.
#[derive(Debug, Serialize)]
pub struct RunSummary {
    schema_version: u32,
    ok: bool,
    command: &'static str,
    run: String,
    session_url: Option<String>,
    lines: LineCounts,
    answers: AnswerStats,
    /// Of all stretches of the run, without the pauses between them.
    seconds: f64,
    /// `None` when there was no call.
    requests_per_second: Option<f64>,
    latency_ms: Option<Percentiles>,
    time_to_first_token_ms: Option<Percentiles>,
    tokens: Tokens,
    /// In US dollars; `None` when none is known.
    cost: Option<f64>,
    traces: TraceCounts,
    /// Only if anything was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    expectations: Option<ExpectationStats>,
    /// Only if there are scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<ScoreStats>,
    /// Only if the run is an experiment.
    #[serde(skip_serializing_if = "Option::is_none")]
    experiment: Option<ExperimentSummary>,
    /// Redacted passages of traces and recordings.
    redactions: u64,
    error: Option<ErrorReport>,
    #[serde(skip)]
    latency: TimeHistogram,
}

#[derive(Debug, Serialize)]
struct LineCounts {
    /// Completed by the whole run, failed ones included.
    done: u64,
    failed: u64,
    /// Those among them that an earlier stretch of the run completed.
    skipped: u64,
    causes: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
struct Percentiles {
    p50: u64,
    p95: u64,
    p99: u64,
    max: u64,
}

#[derive(Debug, Serialize)]
struct Tokens {
    input: u64,
    output: u64,
}

#[derive(Debug, Serialize)]
struct TraceCounts {
    #[serde(flatten)]
    counts: TraceStats,
    /// Distinct traces that can be read from the server; `None` without `--verify`.
    verified: Option<u64>,
}

/// Everything that the summary shows beside the counts of calls.
#[derive(Debug, Default)]
pub struct RunOutcome {
    pub duration: Duration,
    pub run: String,
    pub session_url: Option<String>,
    pub verified: Option<u64>,
    pub traces: TraceStats,
    pub scores: ScoreStats,
    pub experiment: Option<ExperimentSummary>,
    pub redactions: u64,
    pub error: Option<ErrorReport>,
}

impl RunSummary {
    pub fn new(stats: &Stats, outcome: RunOutcome) -> Self {
        let seconds = outcome.duration.as_secs_f64();
        let calls = stats.latency.count();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let requests_per_second = calls as f64 / seconds.max(0.001);
        let is_any_accepted = outcome.traces.accepted > 0;
        Self {
            schema_version: SCHEMA_VERSION,
            ok: outcome.error.is_none(),
            command: "batch",
            run: outcome.run,
            session_url: outcome.session_url.filter(|_| is_any_accepted),
            lines: LineCounts {
                done: stats.done + stats.skipped,
                failed: stats.failed + stats.failed_before,
                skipped: stats.skipped,
                causes: stats.causes.clone(),
            },
            seconds: (seconds * 1000.0).round() / 1000.0,
            requests_per_second: (calls > 0).then(|| (requests_per_second * 10.0).round() / 10.0),
            answers: stats.answers.clone(),
            latency_ms: Percentiles::of(&stats.latency),
            time_to_first_token_ms: Percentiles::of(&stats.first_token),
            tokens: Tokens {
                input: stats.input_tokens,
                output: stats.output_tokens,
            },
            cost: stats.cost,
            traces: TraceCounts {
                counts: outcome.traces,
                verified: outcome.verified,
            },
            expectations: Some(stats.expectations.clone()).filter(|stats| stats.lines > 0),
            scores: Some(outcome.scores).filter(|scores| scores.accepted + scores.failed() > 0),
            experiment: outcome.experiment.map(|experiment| ExperimentSummary {
                url: experiment.url.filter(|_| is_any_accepted),
                ..experiment
            }),
            redactions: outcome.redactions,
            error: outcome.error,
            latency: stats.latency.clone(),
        }
    }

    /// The same as the result of another command than `batch`.
    #[must_use]
    pub fn of_command(mut self, command: &'static str) -> Self {
        self.command = command;
        self
    }
}

impl Percentiles {
    fn of(times: &TimeHistogram) -> Option<Self> {
        (times.count() > 0).then(|| Self {
            p50: times.percentile(50.0),
            p95: times.percentile(95.0),
            p99: times.percentile(99.0),
            max: times.max(),
        })
    }
}
