//! The tokens that the requests of a pool may use: a bucket that fills evenly.

use std::time::Duration;

use tokio::time::Instant;

/// The share of a minute's tokens that may be used at once.
const BURST: f64 = 0.05;

/// Keeps the tokens of every minute below a limit: a full bucket, and what flows in within a minute, make up the limit. A
/// request that takes more than a full bucket starts when the bucket is full, and leaves a debt.
#[derive(Debug)]
pub struct TokenBucket {
    capacity: f64,
    per_second: f64,
    /// Below zero for a debt.
    level: f64,
    /// When the level was right.
    at: Instant,
}

impl TokenBucket {
    pub fn new(per_minute: u32) -> Self {
        let limit = f64::from(per_minute);
        Self {
            capacity: limit * BURST,
            per_second: limit * (1.0 - BURST) / 60.0,
            level: limit * BURST,
            at: Instant::now(),
        }
    }

    /// When a request may start that is expected to use `tokens`.
    pub fn ready_at(&mut self, tokens: u64) -> Instant {
        self.fill();
        let missing = as_f64(tokens).min(self.capacity) - self.level;
        let wait = Duration::try_from_secs_f64(missing.max(0.0) / self.per_second);
        self.at + wait.unwrap_or_default()
    }

    /// Takes the tokens of a request that starts now.
    pub fn take(&mut self, tokens: u64) {
        self.fill();
        self.level -= as_f64(tokens);
    }

    /// Corrects what was taken for a request once it is known what it used.
    pub fn correct(&mut self, taken: u64, used: u64) {
        self.fill();
        self.level = (self.level + as_f64(taken) - as_f64(used)).min(self.capacity);
    }

    fn fill(&mut self) {
        let now = Instant::now();
        let gained = (now - self.at).as_secs_f64() * self.per_second;
        self.level = (self.level + gained).min(self.capacity);
        self.at = now;
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a number of tokens is far below 2^52"
)]
fn as_f64(tokens: u64) -> f64 {
    tokens as f64
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep_until;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    /// When requests start that are expected to use `expected` tokens and use `used`, within three minutes.
    async fn starts(per_minute: u32, expected: u64, used: u64) -> Vec<Duration> {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(per_minute);
        let mut starts = Vec::new();
        loop {
            sleep_until(bucket.ready_at(expected)).await;
            if start.elapsed() >= 3 * MINUTE {
                return starts;
            }
            bucket.take(expected);
            starts.push(start.elapsed());
            bucket.correct(expected, used);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_minute_has_more_tokens_than_the_limit() {
        for (limit, tokens) in [(60_000, 300), (60_000, 3000), (1000, 50), (100, 1)] {
            let starts = starts(limit, tokens, tokens).await;
            for (place, first) in starts.iter().enumerate() {
                let within = starts[place..].iter().filter(|at| **at < *first + MINUTE);
                let sum = within.count() as u64 * tokens;
                assert!(sum <= u64::from(limit), "{limit} {tokens}: {sum}");
            }
            let sum = starts.len() as u64 * tokens;
            assert!(sum as f64 > 3.0 * 0.94 * f64::from(limit), "{limit}: {sum}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn at_most_a_twentieth_starts_at_once_and_the_rest_is_spread_evenly() {
        let starts = starts(60_000, 300, 300).await;
        let at_once = starts.iter().filter(|at| at.is_zero()).count();
        assert_eq!(at_once, 10);
        for pair in starts[10..].windows(2) {
            let gap = (pair[1] - pair[0]).as_secs_f64();
            assert!((gap - 300.0 / 950.0).abs() < 0.002, "{gap}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_used_counts_and_not_what_was_expected() {
        let sum = |starts: &[Duration], used: u64| starts.len() as u64 * used;
        for (expected, used) in [(2000, 200), (200, 2000)] {
            let sum = sum(&starts(60_000, expected, used).await, used);
            assert!((165_000..=182_000).contains(&sum), "{expected}: {sum}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_larger_than_the_bucket_leaves_a_debt() {
        // One of 600 tokens takes 38 s of 950 a minute.
        let starts = starts(1000, 600, 600).await;
        let seconds: Vec<u64> = starts.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [0, 37, 75, 113, 151]);
    }
}
