//! The rate limiters of a pool that calls the endpoints of several vendors.

use std::time::Duration;

use super::dialect::Vendor;
use super::rate_limiter::RateLimiter;

/// The rate limiters of a pool: one for each vendor, since one endpoint's pauses are no reason to spare another.
#[derive(Debug)]
pub struct RateLimiters {
    openai: RateLimiter,
    anthropic: RateLimiter,
}

impl RateLimiters {
    pub fn new(openai: RateLimiter, anthropic: RateLimiter) -> Self {
        Self { openai, anthropic }
    }

    pub fn of(&self, vendor: Vendor) -> &RateLimiter {
        match vendor {
            Vendor::OpenAi => &self.openai,
            Vendor::Anthropic => &self.anthropic,
        }
    }

    fn both(&self) -> [&RateLimiter; 2] {
        [&self.openai, &self.anthropic]
    }

    /// Refuses all further requests, including those that wait.
    pub fn close(&self) {
        for limiter in self.both() {
            limiter.close();
        }
    }

    /// The rest of the longest current pause.
    pub fn pause_left(&self) -> Option<Duration> {
        let pauses = self.both().map(RateLimiter::pause_left);
        pauses.into_iter().flatten().max()
    }

    /// Whether one of the endpoints is down.
    pub fn is_down(&self) -> bool {
        self.both().into_iter().any(RateLimiter::is_down)
    }

    /// Whether the last attempt at one of the endpoints met an outage.
    pub fn is_outage_suspected(&self) -> bool {
        let mut both = self.both().into_iter();
        both.any(RateLimiter::is_outage_suspected)
    }
}
