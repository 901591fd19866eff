//! The progress of a batch: a line that is redrawn on a terminal, elsewhere a plain line every half minute.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::batch::stats::Stats;
use crate::console::Console;

/// The interval between plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(30);

/// The progress line of a run.
#[derive(Debug)]
pub struct ProgressLine {
    console: Console,
    /// `None` when stderr is not a terminal.
    bar: Option<ProgressBar>,
    last: Instant,
    first_call: Option<FirstCall>,
}

/// The state of the run when its first call began. The lines before it were skipped and took no time, so that the
/// estimate of the time left must not count them.
#[derive(Clone, Copy, Debug)]
struct FirstCall {
    at: Instant,
    share: Option<f64>,
}

impl ProgressLine {
    /// Starts the display, if `console` shows progress.
    pub fn begin(console: &Console) -> Self {
        let bar = console.shows_progress().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            // The template is a constant.
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        if let Some(bar) = &bar {
            console.draw_around(bar.clone());
        }
        Self {
            console: console.clone(),
            bar,
            last: Instant::now(),
            first_call: None,
        }
    }

    /// Notes the start of the first call; later calls change nothing. `share` is the share of the lines before it.
    pub fn start_timing(&mut self, share: impl FnOnce() -> Option<f64>) {
        self.first_call.get_or_insert_with(|| FirstCall {
            at: Instant::now(),
            share: share(),
        });
    }

    /// Updates the line; `share` is the share of lines that have begun, if known, and `pause` the time until calls
    /// resume after a rate limit.
    pub fn show(&mut self, stats: &Stats, share: Option<f64>, pause: Option<Duration>) {
        let elapsed = self.first_call.map(|first| first.at.elapsed());
        let elapsed = elapsed.unwrap_or_default();
        let from = self.first_call.and_then(|first| first.share);
        let left = from
            .zip(share)
            .and_then(|(from, to)| time_left(elapsed, from, to));
        let line = || line(stats, elapsed, left, pause);
        let is_due = self.last.elapsed() >= PLAIN_EVERY;
        match &self.bar {
            Some(bar) => {
                bar.set_message(line());
                bar.tick();
            }
            None if is_due => {
                self.last = Instant::now();
                self.console.note(&line());
            }
            None => {}
        }
    }

    /// Removes the line from the terminal.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The estimated time for the rest, given that it took `elapsed` to get from the share `from` to the share `to`;
/// `None` in the first percent.
fn time_left(elapsed: Duration, from: f64, to: f64) -> Option<Duration> {
    let share = (to - from) / (1.0 - from);
    (share > 0.01 && share < 1.0).then(|| elapsed.mul_f64((1.0 - share) / share))
}

fn line(
    stats: &Stats,
    elapsed: Duration,
    left: Option<Duration>,
    pause: Option<Duration>,
) -> String {
    let mut parts = vec![format!("{} done", stats.done)];
    if stats.failed > 0 {
        parts.push(format!("{} failed", stats.failed));
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = stats.done as f64 / elapsed.as_secs_f64().max(0.001);
    parts.push(format!("{rate:.1}/s"));
    if let Some(left) = left {
        parts.push(format!("{} left", duration(left)));
    }
    if let Some(pause) = pause {
        parts.push(format!("rate limited, resuming in {}", rounded_up(pause)));
    }
    parts.push(format!(
        "{} tokens",
        stats.input_tokens + stats.output_tokens
    ));
    if let Some(cost) = stats.cost {
        parts.push(format!("${cost:.4}"));
    }
    parts.join(", ")
}

/// A wait for people, never `0 s`.
fn rounded_up(time: Duration) -> String {
    duration(Duration::from_secs(
        time.as_secs() + u64::from(time.subsec_nanos() > 0),
    ))
}

/// A time for people: `45 s`, `3 min`, `2 h 5 min`.
fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_shown_in_whole_seconds_and_never_as_zero() {
        let line = |pause| line(&Stats::begin(), Duration::ZERO, None, Some(pause));
        for (milliseconds, shown) in [(1, "1 s"), (1000, "1 s"), (1001, "2 s")] {
            let line = line(Duration::from_millis(milliseconds));
            assert!(
                line.contains(&format!("rate limited, resuming in {shown},")),
                "{line}"
            );
        }
    }

    #[test]
    fn the_estimate_starts_at_the_first_call() {
        let minute = Duration::from_mins(1);
        let left = |from, to| time_left(minute, from, to).map(|left| left.as_secs());
        assert_eq!(left(0.0, 0.25), Some(180));
        // Half of the lines were skipped: a quarter of the others took the minute.
        assert_eq!(left(0.5, 0.625), Some(180));
        for (from, to) in [(0.0, 0.0), (0.5, 0.5), (0.0, 1.0), (1.0, 1.0)] {
            assert_eq!(left(from, to), None);
        }
    }
}
