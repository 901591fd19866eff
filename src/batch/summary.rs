//! The summary of a batch: text for people on stderr, JSON for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::batch::experiment::summary::ExperimentSummary;
use crate::batch::stats::{
    AnswerStats, ExpectationStats, ScoreStats, Stats, TimeHistogram, TraceStats,
};
use crate::console::counted;
use crate::model::completion::is_cut_off;
use crate::output::report::{ErrorReport, SCHEMA_VERSION, dollars};

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
    #[serde(skip)]
    is_resumable: bool,
}

/// Everything that the summary shows beside the counts of calls.
#[derive(Debug, Default)]
pub struct RunOutcome {
    pub duration: Duration,
    pub run: String,
    pub session_url: Option<String>,
    pub verified: Option<u64>,
    pub traces: TraceStats,
    /// Whether a resumed run rebuilds the traces that are nowhere now.
    pub is_resumable: bool,
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
                is_resumable: outcome.is_resumable,
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

    /// The summary for people, in lines of at most `width` columns where words allow.
    pub fn to_text(&self, width: usize) -> String {
        let mut text = wrapped(&self.lines_text(), width);
        text.extend(
            self.answers_text()
                .iter()
                .flat_map(|line| wrapped(line, width)),
        );
        if let Some(expectations) = &self.expectations {
            text.extend(wrapped(&expectations_text(expectations), width));
        }
        if let Some(times) = &self.latency_ms {
            text.extend(wrapped(&format!("latency: {}", times.to_text()), width));
            text.extend(histogram(&self.latency, width));
        }
        if let Some(times) = &self.time_to_first_token_ms {
            text.extend(wrapped(&format!("first token: {}", times.to_text()), width));
        }
        let cost = self
            .cost
            .map_or_else(String::new, |cost| format!(", {}", dollars(cost)));
        let Tokens { input, output } = self.tokens;
        let tokens = format!("tokens: {input} in, {output} out{cost}");
        text.extend(wrapped(&tokens, width));
        if let Some(rate) = self.requests_per_second {
            text.push(format!("{rate} requests/s over {:.1} s", self.seconds));
        }
        text.extend(wrapped(&self.traces.to_text(), width));
        if let Some(scores) = &self.scores {
            text.extend(wrapped(&scores_text(*scores), width));
        }
        if self.redactions > 0 {
            text.push(format!("redacted: {}", counted(self.redactions, "passage")));
        }
        text.extend(self.experiment.iter().flat_map(ExperimentSummary::to_text));
        text.extend(
            self.session_url
                .as_ref()
                .map(|url| format!("session: {url}")),
        );
        text.join("\n")
    }

    /// The answers that may need a second look; `None` if there are none.
    fn answers_text(&self) -> Option<String> {
        let AnswerStats {
            finish_reasons,
            empty,
            refused,
        } = &self.answers;
        let reason = |name: &str| finish_reasons.get(name).copied().unwrap_or_default();
        let cut_off = finish_reasons.iter().filter(|(name, _)| is_cut_off(name));
        let cut_off = cut_off.map(|(_, count)| count).sum();
        let counts = [
            (cut_off, "cut off (length)"),
            (reason("content_filter"), "filtered (content_filter)"),
            (*empty, "empty"),
            (*refused + reason("refusal"), "refused by the model"),
        ];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        let counts: Vec<String> = counts
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        (!counts.is_empty()).then(|| format!("answers: {}", counts.join(", ")))
    }

    fn lines_text(&self) -> String {
        let LineCounts {
            done,
            failed,
            skipped,
            causes,
        } = &self.lines;
        let causes: Vec<String> = causes
            .iter()
            .map(|(cause, count)| format!("{cause}: {count}"))
            .collect();
        let why = match causes.as_slice() {
            [] => String::new(),
            causes => format!(" ({})", causes.join(", ")),
        };
        let before = match skipped {
            0 => String::new(),
            _ => format!("; {skipped} of them completed earlier"),
        };
        let answered = done - failed;
        let lines = counted(*done, "line");
        format!("{lines}: {answered} answered, {failed} failed{why}{before}")
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

    fn to_text(&self) -> String {
        let Self { p50, p95, p99, max } = self;
        format!(
            "p50 {}, p95 {}, p99 {}, max {}",
            time(*p50),
            time(*p95),
            time(*p99),
            time(*max)
        )
    }
}

impl TraceCounts {
    fn to_text(&self) -> String {
        let TraceStats {
            accepted,
            spooled,
            lost,
            sampled_out,
            undecided,
        } = self.counts;
        let nowhere = if self.is_resumable {
            "left for --resume"
        } else {
            "LOST"
        };
        let mut parts = vec![format!("{accepted} accepted")];
        let rare = [
            (spooled, "in the outbox"),
            (lost, nowhere),
            (undecided, "not known to have arrived"),
            (sampled_out, "not sampled"),
        ];
        let rare = rare.into_iter().filter(|(count, _)| *count > 0);
        parts.extend(rare.map(|(count, what)| format!("{count} {what}")));
        parts.extend(self.verified.map(|count| {
            // All spans are readable, else there is no number: only lines that share a trace make it less.
            let shared = if count < accepted {
                " (lines of one custom_id share a trace)"
            } else {
                ""
            };
            format!("{count} readable{shared}")
        }));
        format!("traces: {}", parts.join(", "))
    }
}

/// How many lines met their expectations, and which were missed how often.
fn expectations_text(stats: &ExpectationStats) -> String {
    let missed: Vec<String> = stats
        .missed
        .iter()
        .map(|(name, count)| format!("{name}: {count}"))
        .collect();
    let which = match missed.as_slice() {
        [] => String::new(),
        missed => format!(" ({})", missed.join(", ")),
    };
    let met = stats.lines - stats.missed_lines;
    format!(
        "expectations: {met} lines met them, {} missed{which}",
        stats.missed_lines
    )
}

fn scores_text(stats: ScoreStats) -> String {
    let mut parts = vec![format!("{} accepted", stats.accepted)];
    let rare = [(stats.spooled, "in the outbox"), (stats.lost, "LOST")];
    let rare = rare.into_iter().filter(|(count, _)| *count > 0);
    parts.extend(rare.map(|(count, what)| format!("{count} {what}")));
    format!("scores: {}", parts.join(", "))
}

/// Wraps a line after commas and semicolons at `width` columns, if phrases are short enough; all lines but the first
/// are indented.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    const INDENT: &str = "  ";
    let mut pieces = vec![String::new()];
    for phrase in line.split_inclusive([',', ';']).map(str::trim_start) {
        match pieces.last_mut() {
            Some(piece) if piece.is_empty() => piece.push_str(phrase),
            Some(piece) if piece.width() + 1 + phrase.width() <= width => {
                piece.push(' ');
                piece.push_str(phrase);
            }
            _ => pieces.push(format!("{INDENT}{phrase}")),
        }
    }
    pieces
}

/// A time for people.
pub fn time(milliseconds: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "rounded to a tenth")]
    let seconds = milliseconds as f64 / 1000.0;
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        1000..100_000 => format!("{seconds:.1} s"),
        _ => format!("{seconds:.0} s"),
    }
}

/// A histogram as text: a bar for each of up to eight ranges, which grow by the same factor.
fn histogram(times: &TimeHistogram, width: usize) -> Vec<String> {
    const ROWS: i32 = 8;
    const LONGEST_BAR: usize = 40;
    const FEWEST_TIMES: u64 = 20;
    let (low, high) = (times.min(), times.max());
    if times.count() < FEWEST_TIMES || low == high {
        return Vec::new();
    }
    #[expect(clippy::cast_precision_loss, reason = "the edges are rounded anyway")]
    let (first, ratio) = (low.max(1) as f64, high as f64 / low.max(1) as f64);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an edge is between two positive times"
    )]
    let edge = |row: i32| (first * ratio.powf(f64::from(row) / f64::from(ROWS))).round() as u64;
    let mut rows = Vec::new();
    let mut start = low;
    for row in 1..=ROWS {
        let end = if row == ROWS { high } else { edge(row) };
        if end >= start {
            let within = times
                .counts()
                .filter(|(time, _)| (start..=end).contains(time));
            rows.push((end, within.map(|(_, count)| count).sum::<u64>()));
            start = end + 1;
        }
    }
    let most = rows
        .iter()
        .map(|(_, count)| *count)
        .max()
        .unwrap_or(1)
        .max(1);
    let label = |end: u64| format!("≤ {}", time(end));
    let label_width = rows
        .iter()
        .map(|(end, _)| label(*end).width())
        .max()
        .unwrap_or(0);
    let count_width = most.to_string().len();
    let bar_width = width
        .saturating_sub(label_width + count_width + 5)
        .clamp(1, LONGEST_BAR);
    rows.iter()
        .map(|(end, count)| {
            let label = label(*end);
            let pad = " ".repeat(label_width - label.width());
            let bar = bar(*count, most, bar_width);
            format!("  {pad}{label} {bar} {count}")
        })
        .collect()
}

/// A bar for `count`; `most` fills `width` columns, and any count above zero shows.
fn bar(count: u64, most: u64, width: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = u128::from(count) * 8 * width as u128;
    let eighths = usize::try_from(eighths.div_ceil(u128::from(most))).unwrap_or_default();
    format!("{}{}", "█".repeat(eighths / 8), PARTS[eighths % 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bars_add_up_to_the_calls() {
        // Zeros, and times closer than the resolution of the histogram.
        for all in [
            [0, 0, 5].repeat(10),
            [0, 1].repeat(10),
            (0..2000).collect(),
            (300..330).collect(),
        ] {
            let mut times = TimeHistogram::new();
            for time in &all {
                times.add(*time);
            }
            let bars = histogram(&times, 80);
            let counts = bars.iter().map(|bar| bar.rsplit(' ').next().unwrap());
            let sum: usize = counts.map(|count| count.parse::<usize>().unwrap()).sum();
            assert_eq!(sum, all.len(), "{bars:#?}");
        }
    }
}
