//! The summary as text for people.

use unicode_width::UnicodeWidthStr;

use super::histogram::histogram;
use super::{LineCounts, Percentiles, RunSummary, Tokens, TraceCounts};
use crate::batch::experiment::summary::ExperimentSummary;
use crate::batch::stats::{AnswerStats, ExpectationStats, ScoreStats, TraceStats};
use crate::console::counted;
use crate::model::completion::is_cut_off;
use crate::output::units::{dollars, time};

impl RunSummary {
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
        let mut parts = vec![format!("{accepted} accepted")];
        let rare = [
            (spooled, "in the outbox"),
            (lost, "LOST"),
            (undecided, "not known to have arrived"),
            (sampled_out, "not sampled"),
        ];
        let rare = rare.into_iter().filter(|(count, _)| *count > 0);
        parts.extend(rare.map(|(count, what)| format!("{count} {what}")));
        parts.extend(self.verified.map(|count| format!("{count} readable")));
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
