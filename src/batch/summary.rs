//! What is said of a batch when it has ended: to people on stderr, to programs as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::batch::stats::{Stats, Times, Traces};
use crate::console::counted;
use crate::output::report::{ErrorReport, SCHEMA_VERSION};

/// The summary of a run.
#[derive(Debug, Serialize)]
pub struct Summary {
    schema_version: u32,
    ok: bool,
    command: &'static str,
    run: String,
    session_url: Option<String>,
    lines: LineCounts,
    seconds: f64,
    requests_per_second: f64,
    latency_ms: Option<Percentiles>,
    time_to_first_token_ms: Option<Percentiles>,
    tokens: Tokens,
    /// US dollars; none when no answer stated any.
    cost: Option<f64>,
    traces: TraceCounts,
    /// What was taken out of traces and recordings.
    redactions: u64,
    error: Option<ErrorReport>,
    #[serde(skip)]
    latency: Times,
}

#[derive(Debug, Serialize)]
struct LineCounts {
    /// Answered in this run, whole or with a failure.
    done: u64,
    failed: u64,
    /// An earlier run had answered them.
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
    counts: Traces,
    /// Distinct traces that the server was found to know; none when it was not asked.
    verified: Option<u64>,
}

/// What the counts do not tell.
#[derive(Debug, Default)]
pub struct RunOutcome {
    pub lasted: Duration,
    pub run: String,
    pub session_url: Option<String>,
    pub verified: Option<u64>,
    pub error: Option<ErrorReport>,
}

impl Summary {
    pub fn new(tally: &Stats, outcome: RunOutcome) -> Self {
        let seconds = outcome.lasted.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let requests_per_second = tally.done as f64 / seconds.max(0.001);
        Self {
            schema_version: SCHEMA_VERSION,
            ok: outcome.error.is_none(),
            command: "batch",
            run: outcome.run,
            session_url: outcome.session_url,
            lines: LineCounts {
                done: tally.done,
                failed: tally.failed,
                skipped: tally.skipped,
                causes: tally.causes.clone(),
            },
            seconds: (seconds * 1000.0).round() / 1000.0,
            requests_per_second: (requests_per_second * 10.0).round() / 10.0,
            latency_ms: Percentiles::of(&tally.latency),
            time_to_first_token_ms: Percentiles::of(&tally.first_token),
            tokens: Tokens {
                input: tally.input_tokens,
                output: tally.output_tokens,
            },
            cost: tally.cost,
            traces: TraceCounts {
                counts: tally.traces,
                verified: outcome.verified,
            },
            redactions: tally.redactions,
            error: outcome.error,
            latency: tally.latency.clone(),
        }
    }

    /// The summary for people, in lines of at most `width` columns where words allow.
    pub fn to_text(&self, width: usize) -> String {
        let mut text = wrapped(&self.lines_text(), width);
        if let Some(times) = &self.latency_ms {
            text.extend(wrapped(&format!("latency: {}", times.to_text()), width));
            text.extend(histogram(&self.latency, width));
        }
        if let Some(times) = &self.time_to_first_token_ms {
            text.extend(wrapped(&format!("first token: {}", times.to_text()), width));
        }
        let cost = self
            .cost
            .map_or_else(String::new, |cost| format!(", ${cost:.4}"));
        let Tokens { input, output } = self.tokens;
        let tokens = format!("tokens: {input} in, {output} out{cost}");
        text.extend(wrapped(&tokens, width));
        text.push(format!(
            "{} requests/s over {:.1} s",
            self.requests_per_second, self.seconds
        ));
        text.extend(wrapped(&self.traces.to_text(), width));
        if self.redactions > 0 {
            text.push(format!(
                "redacted: {} times, in what was traced",
                self.redactions
            ));
        }
        text.extend(
            self.session_url
                .as_ref()
                .map(|url| format!("session: {url}")),
        );
        text.join("\n")
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
            _ => format!("; {skipped} were answered before"),
        };
        let answered = done - failed;
        let lines = counted(*done, "line");
        format!("{lines}: {answered} answered, {failed} failed{why}{before}")
    }
}

impl Percentiles {
    fn of(times: &Times) -> Option<Self> {
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
        let Traces {
            accepted,
            spooled,
            lost,
            sampled_out,
            undecided,
        } = self.counts;
        let mut parts = vec![format!("{accepted} accepted")];
        let rare = [
            (spooled, "in the outbox"),
            (lost, "LOST"),
            (undecided, "not known to have arrived"),
            (sampled_out, "left out by the sample rate"),
        ];
        let rare = rare.into_iter().filter(|(count, _)| *count > 0);
        parts.extend(rare.map(|(count, what)| format!("{count} {what}")));
        parts.extend(self.verified.map(|count| format!("{count} readable")));
        format!("traces: {}", parts.join(", "))
    }
}

/// A line cut behind commas and semicolons, into pieces of at most `width` columns where phrases allow; all but the
/// first are indented.
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
fn time(milliseconds: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "rounded to a tenth")]
    let seconds = milliseconds as f64 / 1000.0;
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        1000..100_000 => format!("{seconds:.1} s"),
        _ => format!("{seconds:.0} s"),
    }
}

/// A small drawing of where the times lie: a bar for each of up to eight ranges of the same factor.
fn histogram(times: &Times, width: usize) -> Vec<String> {
    const ROWS: i32 = 8;
    const LONGEST_BAR: usize = 40;
    let (low, high) = (times.min(), times.max());
    if times.count() < 2 || low == high {
        return Vec::new();
    }
    #[expect(clippy::cast_precision_loss, reason = "the edges are rounded anyway")]
    let (first, ratio) = (low.max(1) as f64, high as f64 / low.max(1) as f64);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an edge lies between two positive times"
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

/// A bar of `count` out of `most`, `width` columns when whole; at least a mark for any count.
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
        // Some of no time, and some that are only told apart from their neighbours in part.
        for all in [
            vec![0, 0, 5],
            vec![0, 1],
            (0..2000).collect(),
            (300..330).collect(),
        ] {
            let mut times = Times::new();
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
