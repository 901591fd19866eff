//! How long a pool pauses when its endpoint refuses requests again and again.
//!
//! A server may ask for a wait of no time at all, so each pause is at least that of an exponential back-off. The pause
//! itself is kept by the rate limiter.

use std::time::Duration;

use tokio::time::Instant;

use crate::http::Backoff;

/// The refusals since the last accepted request.
#[derive(Debug, Default)]
pub struct Refusals {
    backoff: Backoff,
    /// When the last pause ends.
    pause_end: Option<Instant>,
}

impl Refusals {
    /// Adds the refusal of a request that started at `started`. Returns the pause: `requested`, or the back-off if that is
    /// longer. Requests that started before the last pause ended belong to the same overload, and do not make it grow.
    pub fn add(&mut self, started: Instant, requested: Duration) -> Duration {
        let now = Instant::now();
        let least = match self.pause_end {
            Some(end) if started < end => end.saturating_duration_since(now),
            _ => self.backoff.next_wait(),
        };
        let wait = least.max(requested);
        self.pause_end = self.pause_end.max(Some(now + wait));
        wait
    }

    /// Starts anew after a request that started at `started` was accepted, unless it started before the last pause ended.
    pub fn end(&mut self, started: Instant) {
        if self.pause_end.is_some_and(|end| started >= end) {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_until_a_request_is_accepted() {
        let mut refusals = Refusals::default();
        let is_about = |wait: Duration, full: f64| {
            let wait = wait.as_secs_f64();
            assert!((full * 0.74..=full).contains(&wait), "{full}: {wait}");
        };
        for full in [0.5, 1.0, 2.0] {
            let started = Instant::now();
            let wait = refusals.add(started, Duration::ZERO);
            is_about(wait, full);
            assert_eq!(
                refusals.add(started, Duration::ZERO),
                wait,
                "the same pause"
            );
            refusals.end(started);
            advance(wait).await;
        }
        refusals.end(Instant::now());
        is_about(refusals.add(Instant::now(), Duration::ZERO), 0.5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_longer_wait_of_the_endpoint_counts() {
        let wait = Duration::from_secs(20);
        assert_eq!(Refusals::default().add(Instant::now(), wait), wait);
    }
}
