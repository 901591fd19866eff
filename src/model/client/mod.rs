//! Calls an endpoint for a completion: attempts, waits between them, streams.
//!
//! A failure is a value, because a failed call is traced too.

mod attempt;
mod body;
mod progress;

use std::borrow::Cow;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::console::Console;
use crate::http::Backoff;
use crate::model::completion::Completion;
use crate::model::endpoint::Endpoint;
use crate::model::error::{ModelError, ModelErrorKind};
use crate::model::failed_attempt::FailedAttempt;
use crate::model::rate_limiter::{RateLimiter, Stopped};
use crate::model::request::Request;

pub use progress::{Progress, RetriedAttempt};

/// Receives a response while it arrives.
pub trait Sink {
    /// The next piece of text of the first choice of a stream.
    fn text(&mut self, text: &str);
    /// The body's bytes as received; of a stream, piece by piece.
    fn raw(&mut self, bytes: &[u8]);
}

/// A sink that discards everything.
#[derive(Debug)]
pub struct NullSink;

impl Sink for NullSink {
    fn text(&mut self, _: &str) {}
    fn raw(&mut self, _: &[u8]) {}
}

/// A complete response.
#[derive(Clone, Debug)]
pub struct ModelResponse {
    /// The body as received; of a stream, the equivalent unstreamed body.
    pub body: String,
    pub completion: Completion,
    /// The HTTP status.
    pub status: u16,
    /// US dollars, if the endpoint stated them in a header.
    pub cost: Option<f64>,
}

/// A client of one endpoint.
#[derive(Debug)]
pub struct Client<'a> {
    pub http: &'a reqwest::Client,
    pub endpoint: &'a Endpoint,
    /// Most further attempts after the first.
    pub retries: u32,
    /// Bounds all attempts and the whole stream.
    pub timeout: Duration,
    /// Shared by the calls of a pool.
    pub rate_limiter: Option<&'a RateLimiter>,
    pub console: &'a Console,
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug)]
enum NextAttempt {
    None,
    /// The same attempt without a field that the endpoint rejects.
    WithoutStreamOptions,
    /// The same attempt after this wait and the pause of the pool.
    AfterPause(Duration),
    /// A further attempt after this wait.
    Retry(Duration),
}

/// The longest wait that a server may ask for. The call fails at once if it asks for more, as in the official SDK.
const LONGEST_WAIT: Duration = Duration::from_mins(2);
impl Client<'_> {
    /// Requests a completion. `progress` is updated along the way.
    ///
    /// # Errors
    /// If no attempt brought a complete response.
    pub async fn complete(
        &self,
        request: &Request,
        traceparent: Option<&str>,
        sink: &mut dyn Sink,
        progress: &mut Progress,
    ) -> Result<ModelResponse, ModelError> {
        let deadline = Instant::now() + self.timeout;
        let attempts = self.attempts(request, traceparent, sink, progress, deadline);
        let result = timeout_at(deadline, attempts).await;
        let result = result.unwrap_or_else(|_| {
            Err(ModelError {
                kind: ModelErrorKind::Timeout,
                message: format!(
                    "the model did not complete its answer within {} s",
                    self.timeout.as_secs_f64()
                ),
                hint: "raise --timeout, or request less output".to_owned(),
                status: None,
                retryable: true,
            })
        });
        result.inspect_err(|error| progress.error_kind = Some(error.kind))
    }

    async fn attempts(
        &self,
        request: &Request,
        traceparent: Option<&str>,
        sink: &mut dyn Sink,
        progress: &mut Progress,
        deadline: Instant,
    ) -> Result<ModelResponse, ModelError> {
        let mut request = Cow::Borrowed(request);
        let mut backoff = Backoff::default();
        loop {
            progress.attempts += 1;
            progress.stream = None;
            let started = Instant::now();
            let mut failed = match self.attempt(&request, traceparent, sink, progress).await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            if self.shows_outage(&failed) {
                progress.stopped = Some(Stopped::Down);
                return Err(failed.error);
            }
            failed.rejects_stream_options &= request.raw("stream_options").is_some();
            let next = self.next_attempt(&mut failed, &mut backoff, progress, (started, deadline));
            match next {
                NextAttempt::None => return Err(failed.error),
                NextAttempt::WithoutStreamOptions => request.to_mut().remove("stream_options"),
                NextAttempt::AfterPause(wait) | NextAttempt::Retry(wait) => sleep(wait).await,
            }
            if !self.may_proceed(progress).await {
                return Err(failed.error);
            }
            // Only now: a call that ends during the wait was not retried.
            match next {
                NextAttempt::Retry(wait) => progress.retried.push(RetriedAttempt {
                    status: failed.error.status,
                    wait,
                }),
                // The same attempt again.
                _ => progress.attempts -= 1,
            }
        }
    }

    /// Decides what follows an attempt that failed after it had started at `started`, and pauses the pool if the endpoint
    /// asks for it. No wait is shorter than the back-off, whatever the endpoint asks for.
    fn next_attempt(
        &self,
        failed: &mut FailedAttempt,
        backoff: &mut Backoff,
        progress: &Progress,
        (started, deadline): (Instant, Instant),
    ) -> NextAttempt {
        let is_in_time = |wait: Duration| Instant::now() + wait < deadline;
        let error = &mut failed.error;
        if failed.rejects_stream_options {
            self.console.detail(1, || {
                "the endpoint does not support stream_options: retrying without".to_owned()
            });
            return NextAttempt::WithoutStreamOptions;
        }
        if let (Some(rate_limiter), Some(pause)) = (self.rate_limiter, failed.pause) {
            if pause > self.timeout {
                error.kind = ModelErrorKind::LongPause;
                return NextAttempt::None;
            }
            let pause = rate_limiter.pause_after_refusal(started, pause);
            self.console.detail(1, || {
                let pause = pause.as_millis();
                format!("pausing all calls for {pause} ms: {}", error.message)
            });
            let wait = backoff.next_wait();
            return if is_in_time(pause.max(wait)) {
                NextAttempt::AfterPause(wait)
            } else {
                NextAttempt::None
            };
        }
        let retries = u32::try_from(progress.retried.len()).unwrap_or(u32::MAX);
        let wait = if failed.is_closed_reused {
            // The server is well: a fresh connection needs no wait.
            Duration::ZERO
        } else {
            backoff.next_wait().max(failed.wait.unwrap_or_default())
        };
        let may_retry = error.retryable && !progress.has_content() && retries < self.retries;
        if !may_retry || wait > LONGEST_WAIT || !is_in_time(wait) {
            return NextAttempt::None;
        }
        self.console.detail(1, || {
            format!("retrying in {} ms: {}", wait.as_millis(), error.message)
        });
        NextAttempt::Retry(wait)
    }

    /// Notes a failed attempt. True if the endpoint is down, by this attempt and others of the pool.
    fn shows_outage(&self, failed: &FailedAttempt) -> bool {
        let rate_limiter = self.rate_limiter;
        rate_limiter.is_some_and(|rate_limiter| rate_limiter.attempt_failed(&failed.error))
    }

    /// Waits for the rate limiter. False if it stopped the call.
    async fn may_proceed(&self, progress: &mut Progress) -> bool {
        if let Some(rate_limiter) = self.rate_limiter {
            progress.stopped = rate_limiter.acquire().await.err();
        }
        progress.stopped.is_none()
    }
}
