//! The progress of a batch: a line that is redrawn on a terminal, elsewhere a plain line every half minute.
//!
//! Where the answers appear on the terminal, nothing is redrawn between them.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use unicode_width::UnicodeWidthStr;

use crate::batch::stats::Stats;
use crate::console::{self, Console};

/// The interval between plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(30);

/// The progress line of a run.
#[derive(Debug)]
pub struct ProgressLine {
    console: Console,
    /// `None` when stderr is not a terminal, or the answers appear there.
    bar: Option<ProgressBar>,
    last: Instant,
    /// When the first call began. The lines before it were skipped and took no time.
    first_call: Option<Instant>,
}

impl ProgressLine {
    /// Starts the display, if `console` shows progress; `shows_answers` says that the answers appear on a terminal.
    pub fn begin(console: &Console, shows_answers: bool) -> Self {
        let bar = (console.shows_progress() && !shows_answers).then(|| {
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

    /// Notes the start of the first call; later calls change nothing.
    pub fn start_timing(&mut self) {
        self.first_call.get_or_insert_with(Instant::now);
    }

    /// Updates the line; `total` is the number of lines of the run, once known, and `wait` what the calls wait for.
    pub fn show(&mut self, stats: &Stats, total: Option<u64>, wait: Option<Wait>) {
        let elapsed = self.first_call.map(|first| first.elapsed());
        let parts = || parts(stats, elapsed.unwrap_or_default(), total, wait);
        let is_due = self.last.elapsed() >= PLAIN_EVERY;
        match &self.bar {
            Some(bar) => {
                // The spinner and a space come before it.
                bar.set_message(fitted(&parts(), console::columns() - 2));
                bar.tick();
            }
            None if is_due => {
                self.last = Instant::now();
                self.console.note(&fitted(&parts(), usize::MAX));
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

/// What all calls of a run wait for.
#[derive(Clone, Copy, Debug)]
pub enum Wait {
    /// The rest of a pause that the endpoint asked for.
    RateLimit(Duration),
    /// The rest of a pause while the endpoint is down; `None` while it is tried.
    EndpointDown(Option<Duration>),
}

impl Wait {
    fn to_text(self) -> String {
        match self {
            Self::RateLimit(left) => format!("rate limited, resuming in {}", rounded_up(left)),
            Self::EndpointDown(Some(left)) => {
                format!("endpoint down, next try in {}", rounded_up(left))
            }
            Self::EndpointDown(None) => "endpoint down, trying".to_owned(),
        }
    }
}

/// `1,180 / 5,000 (24%) · 98/s · 12 failed · 38 s left`. `elapsed` is the time since the first call. The rate, and with
/// it the time left, counts what this run has done; the rest counts what earlier runs have done as well.
fn parts(
    stats: &Stats,
    elapsed: Duration,
    total: Option<u64>,
    wait: Option<Wait>,
) -> Vec<(Rank, String)> {
    let done = stats.done + stats.skipped;
    let total = total.filter(|total| *total >= done && *total > 0);
    let lines = match total {
        Some(total) => format!(
            "{} / {} ({}%)",
            grouped(done),
            grouped(total),
            done * 100 / total
        ),
        None => format!("{} done", grouped(done)),
    };
    let mut parts = vec![(Rank::Lines, lines)];
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = stats.done as f64 / elapsed.as_secs_f64().max(0.001);
    if stats.done > 0 {
        let decimals = usize::from(rate < 10.0);
        parts.push((Rank::Rate, format!("{rate:.decimals$}/s")));
    }
    let failed = stats.failed + stats.failed_before;
    if failed > 0 {
        parts.push((Rank::Failed, format!("{} failed", grouped(failed))));
    }
    if let Some(left) = total.and_then(|total| time_left(total - done, stats.done, elapsed)) {
        parts.push((Rank::Time, format!("{} left", rounded_up(left))));
    }
    parts.extend(wait.map(|wait| (Rank::Time, wait.to_text())));
    if let Some(cost) = stats.cost {
        parts.push((Rank::Cost, format!("${cost:.4}")));
    }
    parts
}

/// What a narrow terminal still shows: a part is left out before all parts that come before it here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Lines,
    Time,
    Failed,
    Rate,
    Cost,
}

/// The parts in one line of at most `width` columns, if the first one fits.
fn fitted(parts: &[(Rank, String)], width: usize) -> String {
    let ranks = [
        Rank::Cost,
        Rank::Rate,
        Rank::Failed,
        Rank::Time,
        Rank::Lines,
    ];
    let lines = ranks.map(|last| {
        let shown = parts.iter().filter(|(rank, _)| *rank <= last);
        let shown: Vec<&str> = shown.map(|(_, text)| text.as_str()).collect();
        shown.join(" · ")
    });
    let [.., shortest] = &lines;
    let fitting = lines.iter().find(|line| line.width() <= width);
    fitting.unwrap_or(shortest).clone()
}

/// The time for `left` lines at the rate at which `done` lines took `elapsed`; `None` before there is a rate.
fn time_left(left: u64, done: u64, elapsed: Duration) -> Option<Duration> {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    (left > 0 && done > 0).then(|| elapsed.mul_f64(left as f64 / done as f64))
}

/// A number with a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<_> = groups.map(String::from_utf8_lossy).collect();
    groups.join(",")
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

    fn line(stats: &Stats, elapsed: Duration, total: Option<u64>, wait: Option<Wait>) -> String {
        fitted(&parts(stats, elapsed, total, wait), usize::MAX)
    }

    #[test]
    fn a_narrow_terminal_shows_what_matters_most() {
        let stats = Stats {
            cost: Some(0.5),
            ..stats(1180, 0, 12)
        };
        let parts = parts(&stats, Duration::from_secs(12), Some(5000), None);
        for (width, shown) in [
            (
                78,
                "1,180 / 5,000 (23%) · 98/s · 12 failed · 39 s left · $0.5000",
            ),
            (54, "1,180 / 5,000 (23%) · 98/s · 12 failed · 39 s left"),
            (43, "1,180 / 5,000 (23%) · 12 failed · 39 s left"),
            (38, "1,180 / 5,000 (23%) · 39 s left"),
            (10, "1,180 / 5,000 (23%)"),
        ] {
            assert_eq!(fitted(&parts, width), shown, "{width}");
        }
    }

    fn stats(done: u64, skipped: u64, failed: u64) -> Stats {
        Stats {
            done,
            failed,
            skipped,
            ..Stats::begin()
        }
    }

    #[test]
    fn a_pause_is_shown_in_whole_seconds_and_never_as_zero() {
        let line = |left| {
            let wait = Some(Wait::RateLimit(left));
            line(&Stats::begin(), Duration::ZERO, None, wait)
        };
        for (milliseconds, shown) in [(1, "1 s"), (1000, "1 s"), (1001, "2 s")] {
            let line = line(Duration::from_millis(milliseconds));
            assert!(
                line.ends_with(&format!("rate limited, resuming in {shown}")),
                "{line}"
            );
        }
    }

    #[test]
    fn the_line_shows_lines_rate_failures_and_the_time_left() {
        let line =
            |stats: &Stats, seconds, total| line(stats, Duration::from_secs(seconds), total, None);
        assert_eq!(
            line(&stats(1180, 0, 12), 12, Some(5000)),
            "1,180 / 5,000 (23%) · 98/s · 12 failed · 39 s left"
        );
        // A pipe, or a file that is still being counted.
        assert_eq!(
            line(&stats(1_234_567, 0, 0), 1000, None),
            "1,234,567 done · 1235/s"
        );
        // A resumed run: its own rate, for the rest of all lines.
        assert_eq!(
            line(&stats(100, 4000, 0), 50, Some(5000)),
            "4,100 / 5,000 (82%) · 2.0/s · 7 min left"
        );
        assert_eq!(line(&stats(0, 0, 0), 0, Some(7)), "0 / 7 (0%)");
        assert_eq!(line(&stats(7, 0, 0), 1, Some(7)), "7 / 7 (100%) · 7.0/s");
        // The input has grown since it was counted.
        assert_eq!(line(&stats(8, 0, 0), 1, Some(7)), "8 done · 8.0/s");
    }

    /// 5,000 lines against a model that takes 150 ms, 16 at once.
    #[test]
    fn the_time_left_is_right_to_within_fifteen_percent_after_the_first_tenth() {
        let all: u64 = 5000;
        let at = |done: u64| Duration::from_millis(150) * u32::try_from(done / 16).unwrap();
        for done in (all / 10..all).step_by(16) {
            let left = time_left(all - done, done, at(done)).unwrap().as_secs_f64();
            let really = at(all - done).as_secs_f64();
            assert!(
                (left - really).abs() <= 0.15 * really + 0.15,
                "{done}: {left} of {really}"
            );
        }
    }
}
