//! The waits between attempts, for every request that is repeated: exponential, with jitter.

use std::time::Duration;

/// A wait is shortened by up to this share, at random, so that many clients do not return at the same time.
const JITTER: f64 = 0.25;

/// Waits that double up to a limit.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            next: first,
            longest,
        }
    }

    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.longest);
        wait.mul_f64(1.0 - fastrand::f64() * JITTER)
    }
}

impl Default for Backoff {
    /// From half a second to eight seconds.
    fn default() -> Self {
        Self::new(Duration::from_millis(500), Duration::from_secs(8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        for full in [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0] {
            let wait = backoff.next_wait().as_secs_f64();
            assert!((full * 0.74..=full).contains(&wait), "{full}: {wait}");
        }
    }
}
