//! The pace of many calls to one endpoint: how often they may begin, and the pauses that the endpoint asks for.
//!
//! An endpoint that asks one call to wait means all of them, so the pool waits as one.

use std::sync::Mutex as Cell;
use std::time::Duration;

use http::header::HeaderMap;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep_until};

use crate::http::LONGEST_WAIT;

/// When the calls of a pool may go.
#[derive(Debug)]
pub struct RateLimiter {
    /// The least time between two requests.
    interval: Option<Duration>,
    /// When the last request went. Whoever waits for the next turn holds it, so that turns come in order.
    last: Mutex<Option<Instant>>,
    /// Until when no request may go.
    paused: Cell<Option<Instant>>,
    /// A pause that lasts longer is not waited for.
    patience: Duration,
    is_closed: watch::Sender<bool>,
}

/// Why a request may not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The pool ends.
    Closed,
    /// The endpoint wants to be left alone for so long.
    LongPause(Duration),
}

impl RateLimiter {
    /// At most `per_minute` requests a minute, evenly spread; none sets no limit. Pauses are waited for as long as
    /// `patience` lasts.
    pub fn new(per_minute: Option<u32>, patience: Duration) -> Self {
        Self {
            interval: per_minute.map(|count| Duration::from_mins(1) / count.max(1)),
            last: Mutex::default(),
            paused: Cell::default(),
            patience,
            is_closed: watch::Sender::default(),
        }
    }

    /// Waits until one more request may go.
    ///
    /// # Errors
    /// When it never may.
    pub async fn turn(&self) -> Result<(), Stopped> {
        if self.interval.is_none() && self.pause_end().is_none() {
            return Ok(());
        }
        let mut is_closed = self.is_closed.subscribe();
        tokio::select! {
            biased;
            _ = is_closed.wait_for(|is_closed| *is_closed) => Err(Stopped::Closed),
            turn = self.next_turn() => turn,
        }
    }

    async fn next_turn(&self) -> Result<(), Stopped> {
        let mut last = self.last.lock().await;
        loop {
            if let Some(left) = self.pause_left().filter(|left| *left > self.patience) {
                return Err(Stopped::LongPause(left));
            }
            let turn = last
                .zip(self.interval)
                .map(|(last, interval)| last + interval);
            let now = Instant::now();
            match turn.max(self.pause_end()) {
                Some(at) if at > now => sleep_until(at).await,
                _ => {
                    *last = Some(now);
                    return Ok(());
                }
            }
        }
    }

    /// Nobody waits any longer: whatever has no turn by now gets none.
    pub fn close(&self) {
        self.is_closed.send_replace(true);
    }

    /// No request goes before `wait` has passed.
    pub fn pause(&self, wait: Duration) {
        let end = Instant::now() + wait;
        if let Ok(mut paused) = self.paused.lock() {
            *paused = paused.max(Some(end));
        }
    }

    /// How much longer nothing goes.
    pub fn pause_left(&self) -> Option<Duration> {
        self.pause_end().map(|end| end - Instant::now())
    }

    fn pause_end(&self) -> Option<Instant> {
        let end = self.paused.lock().ok().and_then(|paused| *paused)?;
        (end > Instant::now()).then_some(end)
    }
}

/// How long an endpoint that counts requests and tokens, and has none left, wants to be left alone
/// (`x-ratelimit-remaining-…` and `x-ratelimit-reset-…`).
pub fn rate_limit_reset(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: String| headers.get(name)?.to_str().ok();
    let resets = ["requests", "tokens"].into_iter().filter_map(|what| {
        let remaining = text(format!("x-ratelimit-remaining-{what}"))?;
        let is_used_up = remaining.trim().parse::<f64>().ok()? < 1.0;
        is_used_up.then(|| reset(text(format!("x-ratelimit-reset-{what}"))?))?
    });
    resets.max().map(|reset| reset.min(LONGEST_WAIT))
}

/// Reads the time until a reset: `1s`, `6m0s`, `20ms`, `1h2m3.5s`, or plain seconds.
fn reset(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let letters = unit
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(unit.len());
        seconds += number
            * match &unit[..letters] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                _ => return None,
            };
        rest = &unit[letters..];
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn resets_are_read_as_providers_write_them() {
        let seconds = |text: &str| reset(text).map(|wait| wait.as_secs_f64());
        assert_eq!(seconds("1s"), Some(1.0));
        assert_eq!(seconds("6m0s"), Some(360.0));
        assert_eq!(seconds("20ms"), Some(0.02));
        assert_eq!(seconds("1h2m3.5s"), Some(3723.5));
        assert_eq!(seconds("7"), Some(7.0));
        for wrong in ["", "s", "1x", "5 minutes", "-1"] {
            assert_eq!(seconds(wrong).filter(|wait| *wait > 0.0), None, "{wrong}");
        }
    }

    #[test]
    fn only_what_is_used_up_is_waited_for() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
                .collect()
        };
        let left = [
            ("x-ratelimit-remaining-requests", "1"),
            ("x-ratelimit-reset-requests", "9s"),
        ];
        assert_eq!(rate_limit_reset(&headers(&left)), None);
        let used_up = [
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "2s"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "150ms"),
        ];
        assert_eq!(
            rate_limit_reset(&headers(&used_up)),
            Some(Duration::from_secs(2))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_spread_evenly_and_wait_for_a_pause() {
        let pace = RateLimiter::new(Some(60), Duration::from_mins(1));
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(pace.turn().await, Ok(()));
        }
        assert_eq!(start.elapsed().as_secs(), 2);
        pace.pause(Duration::from_secs(10));
        assert_eq!(pace.turn().await, Ok(()));
        assert_eq!(start.elapsed().as_secs(), 12);
        assert_eq!(pace.turn().await, Ok(()));
        assert_eq!(start.elapsed().as_secs(), 13);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let pace = RateLimiter::new(None, Duration::from_mins(1));
        pace.pause(Duration::from_mins(1));
        let closing = async {
            sleep_until(Instant::now() + Duration::from_secs(5)).await;
            pace.close();
        };
        assert_eq!(tokio::join!(pace.turn(), closing).0, Err(Stopped::Closed));

        let pace = RateLimiter::new(None, Duration::from_mins(1));
        let start = Instant::now();
        pace.pause(Duration::from_secs(30));
        let extending = async {
            sleep_until(start + Duration::from_secs(10)).await;
            pace.pause(Duration::from_mins(2));
        };
        let left = Duration::from_secs(100);
        assert_eq!(
            tokio::join!(pace.turn(), extending).0,
            Err(Stopped::LongPause(left))
        );
        assert_eq!(start.elapsed().as_secs(), 30);
    }
}
