//! How far a batch has come: a line on a terminal that is drawn again and again, elsewhere a plain line every half
//! minute.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::tally::Tally;
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
        }
    }

    /// Shows how far the run has come; `part` is the share of the input that was read, where that is known.
    pub fn show(&mut self, tally: &Tally, part: Option<f64>, pause: Option<Duration>) {
        let is_due = self.last.elapsed() >= PLAIN_EVERY;
        match &self.bar {
            Some(bar) => {
                bar.set_message(line(tally, part, pause));
                bar.tick();
            }
            None if is_due => {
                self.last = Instant::now();
                self.console.note(&line(tally, part, pause));
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

fn line(tally: &Tally, part: Option<f64>, pause: Option<Duration>) -> String {
    let elapsed = tally.elapsed();
    let mut parts = vec![format!("{} done", tally.done)];
    if tally.failed > 0 {
        parts.push(format!("{} failed", tally.failed));
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = tally.done as f64 / elapsed.as_secs_f64().max(0.001);
    parts.push(format!("{rate:.1}/s"));
    if let Some(part) = part.filter(|part| *part > 0.01 && *part < 1.0) {
        let left = elapsed.mul_f64((1.0 - part) / part);
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
