//! Spans that may have arrived without an answer, and when their absence in Langfuse proves that they did not.

use std::time::Duration;

use jiff::Timestamp;

/// A trace becomes readable up to 1.4 s after it was accepted. Before this time has passed, absence proves nothing.
pub const PROOF_OF_ABSENCE: Duration = Duration::from_secs(3);
/// A server that was slow to answer is slow to make spans readable: absence proves nothing before the time that the
/// attempt had waited has passed this many times.
const SLOWNESS: u32 = 5;

/// An attempt that may have delivered its spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguity {
    /// When the attempt ended, at the latest.
    pub since: Timestamp,
    /// How long after that absence proves nothing.
    pub wait: Duration,
}

impl Ambiguity {
    /// An attempt that ended now, after it had waited this long for an answer.
    pub fn after(waited: Duration) -> Self {
        Self {
            since: Timestamp::now(),
            wait: PROOF_OF_ABSENCE.max(waited.saturating_mul(SLOWNESS)),
        }
    }

    /// An attempt that ended at `since` or before, and of which no more is known.
    pub fn at(since: Timestamp) -> Self {
        Self {
            since,
            wait: PROOF_OF_ABSENCE,
        }
    }

    /// Two attempts as one: absence must prove something for both.
    pub fn and(self, other: Self) -> Self {
        Self {
            since: self.since.max(other.since),
            wait: self.wait.max(other.wait),
        }
    }

    /// How long absence still proves nothing. A clock that was set back makes it longer, never shorter.
    pub fn remaining(&self) -> Duration {
        let passed = Timestamp::now().duration_since(self.since);
        let passed = Duration::try_from(passed).unwrap_or_default();
        self.wait.saturating_sub(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absence_counts_after_three_seconds_or_five_times_the_wait() {
        let wait = |millis| Ambiguity::after(Duration::from_millis(millis)).wait;
        assert_eq!(wait(0), Duration::from_secs(3));
        assert_eq!(wait(600), Duration::from_secs(3));
        assert_eq!(wait(10_000), Duration::from_secs(50));
    }

    #[test]
    fn a_time_in_the_future_waits_in_full() {
        let later = Timestamp::now() + jiff::SignedDuration::from_hours(1);
        assert_eq!(Ambiguity::at(later).remaining(), PROOF_OF_ABSENCE);
        let earlier = Timestamp::now() - jiff::SignedDuration::from_hours(1);
        assert_eq!(Ambiguity::at(earlier).remaining(), Duration::ZERO);
    }
}
