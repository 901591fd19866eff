//! The rate limiter that the calls of a pool share: the rate at which requests start, the pauses that the endpoint asks
//! for, and whether it is down.
//!
//! An endpoint that asks one call to wait counts all of them, so the whole pool pauses.

use std::sync::Mutex as Cell;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep_until};

use super::error::ModelError;
use super::outage::OutageWatch;
use super::refusals::Refusals;
use super::token_bucket::TokenBucket;

/// Decides when the next request of a pool may start.
#[derive(Debug)]
pub struct RateLimiter {
    /// The time between two requests on the schedule.
    interval: Option<Duration>,
    /// The place of the next request on the schedule; `None` before the first one. The next caller holds this lock
    /// while it waits, so that callers go in order.
    next: Mutex<Option<Instant>>,
    /// The end of the current pause.
    paused: Cell<Option<Instant>>,
    /// The longest pause to wait for.
    max_pause: Duration,
    refusals: Cell<Refusals>,
    /// `None` without a limit of tokens.
    tokens: Option<Cell<TokenBucket>>,
    outage: Cell<OutageWatch>,
    gate: watch::Sender<Gate>,
}

/// Whether requests may start at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Gate {
    #[default]
    Open,
    /// The endpoint is down.
    Down,
    Closed,
}

/// A wait for tokens is checked again after this time, since calls that end give back what they did not use.
const TOKENS_CHECK: Duration = Duration::from_millis(100);

/// How far the schedule is slower than the limit. With [`LONGEST_CATCH_UP`] this keeps every minute below the limit:
/// `N` requests take 60.24 s by the schedule, and the first of them is at most 0.1 s late. The rest allows for the way to
/// the endpoint.
const SLOWER: f64 = 1.004;
/// How far requests may be behind the schedule and catch up without a gap between them. Timers are late by up to a
/// millisecond, which is more than the interval of a high rate.
const LONGEST_CATCH_UP: Duration = Duration::from_millis(100);

/// Why a request may not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The limiter was closed.
    Closed,
    /// The endpoint is down.
    Down,
    /// The pause, of which this much is left, is longer than the limiter waits.
    LongPause(Duration),
}

impl RateLimiter {
    /// At most `per_minute` requests in any minute, evenly spaced; `None` means no limit. A pause longer than `max_pause`
    /// is an error instead of a wait.
    pub fn new(per_minute: Option<u32>, max_pause: Duration) -> Self {
        Self {
            interval: per_minute.map(|count| Duration::from_mins(1).mul_f64(SLOWER) / count.max(1)),
            next: Mutex::default(),
            paused: Cell::default(),
            max_pause,
            refusals: Cell::default(),
            tokens: None,
            outage: Cell::new(OutageWatch::new(u64::MAX)),
            gate: watch::Sender::default(),
        }
    }

    /// Limits the tokens of a minute too; `None` means no limit.
    #[must_use]
    pub fn with_tokens(mut self, per_minute: Option<u32>) -> Self {
        self.tokens = per_minute.map(|count| Cell::new(TokenBucket::new(count)));
        self
    }

    /// Takes the endpoint for down if none of the first `attempts` is answered, or enough in a row later.
    #[must_use]
    pub fn with_outage_after(mut self, attempts: u64) -> Self {
        self.outage = Cell::new(OutageWatch::new(attempts));
        self
    }

    /// Waits until one more request may start.
    ///
    /// # Errors
    /// If the limiter is closed, a pause is too long or the endpoint is down.
    pub async fn acquire(&self) -> Result<(), Stopped> {
        self.acquire_with(0).await
    }

    /// Waits until a request may start that is expected to use `tokens`, and takes them.
    ///
    /// # Errors
    /// As for [`acquire`](Self::acquire).
    pub async fn acquire_with(&self, tokens: u64) -> Result<(), Stopped> {
        if self.is_down() {
            return Err(Stopped::Down);
        }
        let is_limited = self.interval.is_some() || (tokens > 0 && self.tokens.is_some());
        if !is_limited && self.pause_end().is_none() {
            return Ok(());
        }
        let mut gate = self.gate.subscribe();
        tokio::select! {
            biased;
            gate = gate.wait_for(|gate| *gate != Gate::Open) => Err(match gate.as_deref() {
                Ok(Gate::Down) => Stopped::Down,
                _ => Stopped::Closed,
            }),
            acquired = self.next_slot(tokens) => acquired,
        }
    }

    async fn next_slot(&self, tokens: u64) -> Result<(), Stopped> {
        let mut next = self.next.lock().await;
        loop {
            if let Some(left) = self.pause_left().filter(|left| *left > self.max_pause) {
                return Err(Stopped::LongPause(left));
            }
            let pause_end = self.pause_end();
            // The requests that a pause held back are not made up for.
            *next = (*next).max(pause_end);
            let has_tokens = self.tokens_at(tokens);
            let now = Instant::now();
            let has_tokens = has_tokens.map(|at| at.min(now + TOKENS_CHECK));
            match (*next).max(has_tokens) {
                Some(at) if at > now => sleep_until(at).await,
                _ => {
                    self.take_tokens(tokens);
                    let earliest = now.checked_sub(LONGEST_CATCH_UP);
                    let place = next.map_or(now, |next| earliest.map_or(next, |at| next.max(at)));
                    *next = self.interval.map(|interval| place + interval);
                    return Ok(());
                }
            }
        }
    }

    /// When a request may start that is expected to use `tokens`; `None` without a limit.
    fn tokens_at(&self, tokens: u64) -> Option<Instant> {
        let mut bucket = self.tokens.as_ref().filter(|_| tokens > 0)?.lock().ok()?;
        Some(bucket.ready_at(tokens))
    }

    fn take_tokens(&self, tokens: u64) {
        if let Some(Ok(mut bucket)) = self.tokens.as_ref().map(Cell::lock) {
            bucket.take(tokens);
        }
    }

    /// Corrects the tokens that were taken for a request by those that it used.
    pub fn correct_tokens(&self, taken: u64, used: u64) {
        if let Some(Ok(mut bucket)) = self.tokens.as_ref().map(Cell::lock) {
            bucket.correct(taken, used);
        }
    }

    /// Refuses all further requests, including those that wait.
    pub fn close(&self) {
        self.gate.send_replace(Gate::Closed);
    }

    /// Notes a failed attempt. Returns whether the endpoint is down.
    pub fn attempt_failed(&self, error: &ModelError) -> bool {
        let Ok(mut outage) = self.outage.lock() else {
            return false;
        };
        if error.is_outage() {
            outage.failed();
        } else {
            outage.answered();
        }
        let is_down = outage.is_down();
        self.gate.send_if_modified(|gate| gate.follow(is_down));
        is_down
    }

    /// Whether the last attempt met an outage.
    pub fn is_outage_suspected(&self) -> bool {
        self.outage.lock().is_ok_and(|outage| outage.is_suspected())
    }

    pub fn is_down(&self) -> bool {
        self.outage.lock().is_ok_and(|outage| outage.is_down())
    }

    /// Starts no request before `wait` has passed. A longer pause that is in force stays.
    pub fn pause(&self, wait: Duration) {
        let end = Instant::now() + wait;
        if let Ok(mut paused) = self.paused.lock() {
            *paused = paused.max(Some(end));
        }
    }

    /// Pauses because the endpoint refused a request that started at `started`, and asked to wait for `requested`.
    /// Returns the pause, which grows from one refusal to the next.
    pub fn pause_after_refusal(&self, started: Instant, requested: Duration) -> Duration {
        let refusals = self.refusals.lock();
        let wait = refusals.map_or(requested, |mut refusals| refusals.add(started, requested));
        self.pause(wait);
        wait
    }

    /// The endpoint accepted a request that started at `started`.
    pub fn accepted(&self, started: Instant) {
        if let Ok(mut outage) = self.outage.lock() {
            outage.answered();
            self.gate.send_if_modified(|gate| gate.follow(false));
        }
        if let Ok(mut refusals) = self.refusals.lock() {
            refusals.end(started);
        }
    }

    /// The rest of the current pause.
    pub fn pause_left(&self) -> Option<Duration> {
        self.pause_end().map(|end| end - Instant::now())
    }

    fn pause_end(&self) -> Option<Instant> {
        let end = self.paused.lock().ok().and_then(|paused| *paused)?;
        (end > Instant::now()).then_some(end)
    }
}

impl Gate {
    /// Opens or shuts an endpoint that is not closed. Returns whether anything changed.
    fn follow(&mut self, is_down: bool) -> bool {
        let next = match (*self, is_down) {
            (Self::Closed, _) => Self::Closed,
            (_, true) => Self::Down,
            (_, false) => Self::Open,
        };
        std::mem::replace(self, next) != next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_are_evenly_spaced_and_wait_for_a_pause() {
        let limiter = RateLimiter::new(Some(60), Duration::from_mins(1));
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(limiter.acquire().await, Ok(()));
        }
        assert_eq!(start.elapsed().as_secs(), 2);
        limiter.pause(Duration::from_secs(10));
        assert_eq!(limiter.acquire().await, Ok(()));
        assert_eq!(start.elapsed().as_secs(), 12);
        assert_eq!(limiter.acquire().await, Ok(()));
        assert_eq!(start.elapsed().as_secs(), 13);
    }

    /// When each of as many requests started as fit into `time`, if each takes `busy` of the only thread.
    async fn starts(per_minute: u32, time: Duration, busy: Duration) -> Vec<Duration> {
        let limiter = RateLimiter::new(Some(per_minute), Duration::from_mins(1));
        let start = Instant::now();
        let mut starts = Vec::new();
        while start.elapsed() < time {
            assert_eq!(limiter.acquire().await, Ok(()));
            starts.push(start.elapsed());
            if !busy.is_zero() && starts.len().is_multiple_of(100) {
                tokio::time::advance(busy).await;
            }
        }
        starts
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_is_used_to_within_one_percent() {
        let time = Duration::from_secs(30);
        for per_minute in [600, 3000, 6000, 30_000] {
            for busy in [0, 7].map(Duration::from_millis) {
                let count = starts(per_minute, time, busy).await.len();
                let due = per_minute as usize / 2;
                let least = due - due / 100;
                assert!((least..=due).contains(&count), "{per_minute}: {count}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_minute_has_more_requests_than_the_limit() {
        const MINUTE: Duration = Duration::from_mins(1);
        for per_minute in [1, 7, 600, 3000, 6000] {
            // Late requests catch up: 90 ms of a hundred are lost at a time.
            for busy in [0, 90, 5000].map(Duration::from_millis) {
                let starts = starts(per_minute, 3 * MINUTE, busy).await;
                let mut first = 0;
                for (last, at) in starts.iter().enumerate() {
                    while *at > starts[first] + MINUTE {
                        first += 1;
                    }
                    let count = last + 1 - first;
                    assert!(count <= per_minute as usize, "{per_minute}: {count}");
                }
            }
        }
    }

    /// With the real clock, which advances between two looks at it.
    #[tokio::test]
    async fn a_request_starts_once_there_are_tokens() {
        let limiter = RateLimiter::new(None, Duration::from_mins(1)).with_tokens(Some(60_000));
        let start = Instant::now();
        for _ in 0..2 {
            assert_eq!(limiter.acquire_with(1600).await, Ok(()));
        }
        // 200 of the tokens are missing, at 950 a second.
        assert!(start.elapsed() >= Duration::from_millis(200));
    }

    #[tokio::test(start_paused = true)]
    async fn closing_or_a_long_pause_ends_the_wait() {
        let limiter = RateLimiter::new(None, Duration::from_mins(1));
        limiter.pause(Duration::from_mins(1));
        let closing = async {
            sleep_until(Instant::now() + Duration::from_secs(5)).await;
            limiter.close();
        };
        assert_eq!(
            tokio::join!(limiter.acquire(), closing).0,
            Err(Stopped::Closed)
        );

        let limiter = RateLimiter::new(None, Duration::from_mins(1));
        let start = Instant::now();
        limiter.pause(Duration::from_secs(30));
        let extending = async {
            sleep_until(start + Duration::from_secs(10)).await;
            limiter.pause(Duration::from_mins(2));
        };
        let left = Duration::from_secs(100);
        assert_eq!(
            tokio::join!(limiter.acquire(), extending).0,
            Err(Stopped::LongPause(left))
        );
        assert_eq!(start.elapsed().as_secs(), 30);
    }
}
