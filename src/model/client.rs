//! Asks an endpoint for a completion: attempts, waits, streams. What fails is a value, since a failed call is
//! traced as well.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use jiff::Timestamp;
use reqwest::Response;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::completion::Completion;
use super::endpoint::Endpoint;
use super::failed::{FailedAttempt, ModelError, ModelErrorKind, ServerError};
use super::rate_limiter::{RateLimiter, Stopped, rate_limit_reset};
use super::request::Request;
use super::stream::{Broken, Reader};
use crate::console::Console;
use crate::http::read_body;
use crate::json::lenient;

/// Where an answer goes while it arrives.
pub trait Sink {
    /// More text of the first choice of a stream.
    fn text(&mut self, text: &str);
    /// The provider's bytes, of a stream as they arrive.
    fn raw(&mut self, bytes: &[u8]);
}

/// A sink for answers that nobody watches while they arrive.
#[derive(Debug)]
pub struct NullSink;

impl Sink for NullSink {
    fn text(&mut self, _: &str) {}
    fn raw(&mut self, _: &[u8]) {}
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The body as received; of a stream, the body that it amounts to.
    pub body: String,
    pub completion: Completion,
    /// The HTTP status.
    pub status: u16,
    /// US dollars, when the endpoint stated them in a header.
    pub cost: Option<f64>,
}

/// An attempt that was followed by another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retried {
    /// The HTTP status; none when there was no answer.
    pub status: Option<u16>,
    /// How long it was waited before the next.
    pub wait: Duration,
}

/// What is known of a call at any moment, so that an interrupted one can be traced too.
#[derive(Debug, Default)]
pub struct Progress {
    /// Requests made, the present one included.
    pub attempts: u32,
    /// The attempts that were followed by another.
    pub retried: Vec<Retried>,
    /// When the first chunk of a streamed answer arrived.
    pub first_token: Option<Timestamp>,
    /// What the provider calls the last request that it answered (`x-request-id`).
    pub request_id: Option<String>,
    /// The last answer that was no success.
    refused: Option<Refusal>,
    /// Why there is no whole answer.
    pub fault: Option<ModelErrorKind>,
    /// Why another attempt was not made, although it was due: the call has no outcome.
    pub halt: Option<Stopped>,
    stream: Reader,
    /// The body of an answer that holds an error beside its choices.
    faulty: Option<Value>,
}

/// An HTTP answer that was no success.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: u16,
    /// The body as received, without the credentials of the call.
    pub body: String,
}

impl Progress {
    /// The answer that the call ended with, when that is one without success.
    pub fn refusal(&self) -> Option<&Refusal> {
        let is_last = self.fault.is_some_and(ModelErrorKind::is_refusal);
        self.refused.as_ref().filter(|_| is_last)
    }

    /// What was received of an answer that is not whole, as a body.
    pub fn take_partial(&mut self) -> Option<Value> {
        let streamed = std::mem::take(&mut self.stream);
        self.faulty
            .take()
            .or_else(|| streamed.has_content().then(|| streamed.into_body()))
    }
}

/// A client of one endpoint.
#[derive(Debug)]
pub struct Client<'a> {
    pub http: &'a reqwest::Client,
    pub endpoint: &'a Endpoint,
    /// Further attempts after the first.
    pub retries: u32,
    /// Bounds all attempts and the whole stream.
    pub timeout: Duration,
    /// The pace of the pool that this call is one of.
    pub pace: Option<&'a RateLimiter>,
    pub console: &'a Console,
}

/// The longest wait that a server may ask for; beyond it the call fails at once, as in the official SDK.
const LONGEST_WAIT: Duration = Duration::from_mins(2);
/// The most that is read of an answer.
const MOST_BYTES: usize = 256 << 20;
/// How long the end of a response is waited for once the stream in it has said its last.
const FAREWELL: Duration = Duration::from_millis(250);
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(8);

impl Client<'_> {
    /// Asks for a completion of `request`. `progress` tells afterwards what happened on the way.
    ///
    /// # Errors
    /// When no attempt brought a whole answer.
    pub async fn complete(
        &self,
        request: &Request,
        traceparent: Option<&str>,
        sink: &mut dyn Sink,
        progress: &mut Progress,
    ) -> Result<Answer, ModelError> {
        let deadline = Instant::now() + self.timeout;
        let attempts = self.attempts(request, traceparent, sink, progress, deadline);
        let ended = timeout_at(deadline, attempts).await;
        let ended = ended.unwrap_or_else(|_| {
            Err(ModelError {
                fault: ModelErrorKind::Timeout,
                message: format!(
                    "the model gave no whole answer within {} s",
                    self.timeout.as_secs_f64()
                ),
                hint: "raise --timeout, or ask for less".to_owned(),
                status: None,
                retryable: true,
            })
        });
        ended.inspect_err(|error| progress.fault = Some(error.fault))
    }

    async fn attempts(
        &self,
        request: &Request,
        traceparent: Option<&str>,
        sink: &mut dyn Sink,
        progress: &mut Progress,
        deadline: Instant,
    ) -> Result<Answer, ModelError> {
        let mut request = Cow::Borrowed(request);
        let mut retries = 0;
        loop {
            progress.attempts += 1;
            progress.stream = Reader::default();
            let FailedAttempt {
                mut error,
                wait,
                pause,
                names_stream_options,
            } = match self.attempt(&request, traceparent, sink, progress).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if names_stream_options && request.raw("stream_options").is_some() {
                self.console.detail(1, || {
                    "the endpoint knows no stream_options: asking without".to_owned()
                });
                request.to_mut().remove("stream_options");
                if !self.has_turn(progress).await {
                    return Err(error);
                }
                progress.attempts -= 1;
                continue;
            }
            if let (Some(pace), Some(pause)) = (self.pace, pause) {
                if pause > self.timeout {
                    error.fault = ModelErrorKind::LongPause;
                    return Err(error);
                }
                self.pause_all(pace, pause, &error);
                if Instant::now() + pause >= deadline || !self.has_turn(progress).await {
                    return Err(error);
                }
                progress.attempts -= 1;
                continue;
            }
            let wait = wait.unwrap_or_else(|| backoff(retries));
            let may_retry =
                error.retryable && !progress.stream.has_content() && retries < self.retries;
            if !may_retry || wait > LONGEST_WAIT || Instant::now() + wait >= deadline {
                return Err(error);
            }
            self.console.detail(1, || {
                format!("retrying in {} ms: {}", wait.as_millis(), error.message)
            });
            tokio::time::sleep(wait).await;
            if !self.has_turn(progress).await {
                return Err(error);
            }
            // Only now: a call that ends during the wait is not repeated.
            progress.retried.push(Retried {
                status: error.status,
                wait,
            });
            retries += 1;
        }
    }

    /// Lets the whole pool wait, as the endpoint asks.
    fn pause_all(&self, pace: &RateLimiter, pause: Duration, error: &ModelError) {
        self.console.detail(1, || {
            format!("all wait {} ms: {}", pause.as_millis(), error.message)
        });
        pace.pause(pause);
    }

    /// Waits for the pool's next turn; says whether there is one.
    async fn has_turn(&self, progress: &mut Progress) -> bool {
        if let Some(pace) = self.pace {
            progress.halt = pace.turn().await.err();
        }
        progress.halt.is_none()
    }

    async fn attempt(
        &self,
        request: &Request,
        traceparent: Option<&str>,
        sink: &mut dyn Sink,
        progress: &mut Progress,
    ) -> Result<Answer, FailedAttempt> {
        let url = self.endpoint.url(&request.model().unwrap_or_default());
        let mut headers = self.endpoint.headers();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(Ok(value)) = traceparent.map(HeaderValue::from_str) {
            headers.insert("traceparent", value);
        }
        let body = request.to_json();
        self.console
            .detail(1, || format!("> POST {url} ({} bytes)", body.len()));
        self.console
            .detail(2, || format!("> {headers:?}\n> {body}"));
        let response = self.http.post(url).headers(headers).body(body).send().await;
        let response = response.map_err(|error| self.no_answer(error))?;
        self.console
            .detail(1, || format!("< {}", response.status()));
        self.console
            .detail(2, || format!("< {:?}", response.headers()));
        let request_id = response.headers().get("x-request-id");
        progress.request_id =
            request_id.and_then(|id| Some(self.endpoint.scrub(id.to_str().ok()?)));
        if !response.status().is_success() {
            return Err(self.refused(response, progress).await);
        }
        if let (Some(pace), Some(reset)) = (self.pace, rate_limit_reset(response.headers())) {
            pace.pause(reset);
        }
        let content_type = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        if content_type.is_some_and(is_event_stream) {
            self.read_stream(response, sink, progress).await
        } else {
            self.read_body(response, sink, progress).await
        }
    }

    async fn read_body(
        &self,
        response: Response,
        sink: &mut dyn Sink,
        progress: &mut Progress,
    ) -> Result<Answer, FailedAttempt> {
        let status = response.status();
        let cost = stated_cost(response.headers());
        let bytes = read_body(response, MOST_BYTES)
            .await
            .map_err(|error| self.no_answer(error))?;
        self.console
            .detail(2, || format!("< {}", String::from_utf8_lossy(&bytes)));
        let text = String::from_utf8_lossy(&bytes);
        let Ok(body) = lenient::parse(&text) else {
            return Err(FailedAttempt::no_completion(self.endpoint, status, &text));
        };
        if let Some(error) = ServerError::of(&body) {
            progress.faulty = Some(body).filter(|body| body["choices"].is_array());
            return Err(FailedAttempt::error_in_answer(
                self.endpoint,
                &error,
                status,
            ));
        }
        if !body["choices"].is_array() {
            return Err(FailedAttempt::no_completion(self.endpoint, status, &text));
        }
        sink.raw(&bytes);
        Ok(Answer {
            completion: Completion::from_body(body),
            body: text.into_owned(),
            status: status.as_u16(),
            cost,
        })
    }

    async fn read_stream(
        &self,
        mut response: Response,
        sink: &mut dyn Sink,
        progress: &mut Progress,
    ) -> Result<Answer, FailedAttempt> {
        let status = response.status();
        let mut received = 0;
        // Behind the last event comes the end of the response, after which the connection serves the next call. Some
        // servers leave it out, or drop the connection.
        let mut farewell = None;
        while received < MOST_BYTES {
            let chunk = response.chunk();
            let read = match farewell {
                None => chunk.await,
                Some(end) => timeout_at(end, chunk).await.unwrap_or(Ok(None)),
            };
            let bytes = match read {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break,
                Err(_) if progress.stream.is_whole() => break,
                Err(error) => return Err(self.no_answer(error)),
            };
            received += bytes.len();
            self.console
                .detail(3, || format!("< {}", String::from_utf8_lossy(&bytes)));
            sink.raw(&bytes);
            let now = Timestamp::now();
            let read = progress.stream.push(&bytes, |text| sink.text(text));
            if progress.stream.has_content() {
                progress.first_token.get_or_insert(now);
            }
            read.map_err(|broken| match broken {
                Broken::Error(error) => {
                    FailedAttempt::error_in_answer(self.endpoint, &error, status)
                }
                Broken::Garbled => FailedAttempt::garbled_stream(status),
            })?;
            if progress.stream.is_done() {
                farewell.get_or_insert(Instant::now() + FAREWELL);
            }
        }
        if !progress.stream.is_whole() {
            return Err(FailedAttempt::cut_stream(status));
        }
        let body = std::mem::take(&mut progress.stream).into_body();
        Ok(Answer {
            body: body.to_string(),
            completion: Completion::from_body(body),
            status: status.as_u16(),
            // The headers came before the answer, and cannot know what it costs.
            cost: None,
        })
    }

    async fn refused(&self, response: Response, progress: &mut Progress) -> FailedAttempt {
        let status = response.status();
        let headers = response.headers().clone();
        let body = read_body(response, MOST_BYTES).await.unwrap_or_default();
        let body = String::from_utf8_lossy(&body);
        self.console.detail(2, || format!("< {body}"));
        progress.refused = Some(Refusal {
            status: status.as_u16(),
            body: self.endpoint.scrub(&body),
        });
        FailedAttempt::refused(self.endpoint, status, &headers, &body)
    }

    fn no_answer(&self, error: reqwest::Error) -> FailedAttempt {
        FailedAttempt::no_answer(self.endpoint, &error.into())
    }
}

/// What a `LiteLLM` proxy says that the call cost, in US dollars.
fn stated_cost(headers: &HeaderMap) -> Option<f64> {
    let stated = headers.get("x-litellm-response-cost")?.to_str().ok()?;
    let cost: f64 = stated.trim().parse().ok()?;
    (cost.is_finite() && cost >= 0.0).then_some(cost)
}

/// Whether a content type is that of server-sent events, whatever its case and parameters.
fn is_event_stream(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("text/event-stream")
}

/// Half a second, doubling up to eight, less up to a quarter.
fn backoff(retries: u32) -> Duration {
    let full = (FIRST_WAIT * 2_u32.saturating_pow(retries.min(8))).min(LONGEST_BACKOFF);
    full.mul_f64(1.0 - fastrand::f64() * 0.25)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_eight_seconds() {
        for retries in 0..12 {
            let full = 0.5 * f64::from(2_u32.pow(retries.min(4)));
            let wait = backoff(retries).as_secs_f64();
            assert!((full * 0.74..=full).contains(&wait), "{retries}: {wait}");
        }
    }
}
