//! How far a batch has come: a line on a terminal that is drawn again and again, elsewhere a plain line every half
//! minute.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::batch::stats::Stats;
use crate::console::Console;

/// How often a plain line is written.
const PLAIN_EVERY: Duration = Duration::from_secs(30);

/// The display of a run.
#[derive(Debug)]
pub struct Display {
    console: Console,
    /// None where nothing can be drawn.
    bar: Option<ProgressBar>,
    last: Instant,
    start: Option<Start>,
}

/// Where a run stood when its first call began: the lines before it, which were answered before, took no time.
#[derive(Clone, Copy, Debug)]
struct Start {
    at: Instant,
    part: Option<f64>,
}

impl Display {
    /// Begins to show progress, as far as `console` shows any.
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
            start: None,
        }
    }

    /// Measures from now on; `part` tells how far the run has come already. Only the first time counts.
    pub fn calls_begin(&mut self, part: impl FnOnce() -> Option<f64>) {
        self.start.get_or_insert_with(|| Start {
            at: Instant::now(),
            part: part(),
        });
    }

    /// Shows how far the run has come; `part` is the share of its lines that have begun, where that is known.
    pub fn show(&mut self, tally: &Stats, part: Option<f64>, pause: Option<Duration>) {
        let elapsed = self.start.map(|start| start.at.elapsed());
        let elapsed = elapsed.unwrap_or_default();
        let from = self.start.and_then(|start| start.part);
        let left = from
            .zip(part)
            .and_then(|(from, to)| time_left(elapsed, from, to));
        let line = || line(tally, elapsed, left, pause);
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

    /// Takes the drawn line away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The time that the rest will take when it goes on as it went from the share `from` to the share `to`, which took
/// `elapsed`; none while too little is known.
fn time_left(elapsed: Duration, from: f64, to: f64) -> Option<Duration> {
    let share = (to - from) / (1.0 - from);
    (share > 0.01 && share < 1.0).then(|| elapsed.mul_f64((1.0 - share) / share))
}

fn line(
    tally: &Stats,
    elapsed: Duration,
    left: Option<Duration>,
    pause: Option<Duration>,
) -> String {
    let mut parts = vec![format!("{} done", tally.done)];
    if tally.failed > 0 {
        parts.push(format!("{} failed", tally.failed));
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = tally.done as f64 / elapsed.as_secs_f64().max(0.001);
    parts.push(format!("{rate:.1}/s"));
    if let Some(left) = left {
        parts.push(format!("{} left", duration(left)));
    }
    if let Some(pause) = pause {
        parts.push(format!("the endpoint wants a pause: {}", duration(pause)));
    }
    parts.push(format!(
        "{} tokens",
        tally.input_tokens + tally.output_tokens
    ));
    if let Some(cost) = tally.cost {
        parts.push(format!("${cost:.4}"));
    }
    parts.join(", ")
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
    fn the_time_left_counts_from_the_first_call() {
        let minute = Duration::from_mins(1);
        let left = |from, to| time_left(minute, from, to).map(|left| left.as_secs());
        assert_eq!(left(0.0, 0.25), Some(180));
        // Half of the lines were answered before: a quarter of the others took the minute.
        assert_eq!(left(0.5, 0.625), Some(180));
        for (from, to) in [(0.0, 0.0), (0.5, 0.5), (0.0, 1.0), (1.0, 1.0)] {
            assert_eq!(left(from, to), None);
        }
    }
}
