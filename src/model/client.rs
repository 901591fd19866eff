//! Calls an endpoint for a completion: attempts, waits between them, streams.
//!
//! A failure is a value, because a failed call is traced too.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use jiff::Timestamp;
use reqwest::Response;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use super::body::is_event_stream;
use super::completion::Completion;
use super::dialect::{ModelDialect, StreamError};
use super::endpoint::Endpoint;
use super::failed::{FailedAttempt, ModelError, ModelErrorKind, is_status_of_outage};
use super::rate_limit_headers::rate_limit_reset;
use super::rate_limiter::{RateLimiter, Stopped};
use super::request::Request;
use super::server_error::ServerError;
use super::stream::StreamReader;
use crate::console::Console;
use crate::http::url::shown;
use crate::http::{Backoff, read_body, reuse};
use crate::json::lenient;

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

/// A failed attempt that was followed by another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetriedAttempt {
    /// The HTTP status; `None` if there was no response.
    pub status: Option<u16>,
    /// The wait before the next attempt.
    pub wait: Duration,
}

/// The state of a call, kept outside of it so that an interrupted call can be traced too.
#[derive(Debug, Default)]
pub struct Progress {
    /// Requests sent, including the current one.
    pub attempts: u32,
    /// The attempts that were followed by another, in order.
    pub retried: Vec<RetriedAttempt>,
    /// When the first chunk of a streamed answer arrived.
    pub first_token: Option<Timestamp>,
    /// The provider's id of the last request that it answered (`x-request-id`).
    pub request_id: Option<String>,
    /// The last response with an error status.
    error_response: Option<ErrorResponse>,
    /// Why there is no complete response.
    pub error_kind: Option<ModelErrorKind>,
    /// Why a due attempt was not made. The call then has no outcome.
    pub stopped: Option<Stopped>,
    /// Whether an event of an unknown type was noted.
    is_unknown_noted: bool,
    /// The stream of the current attempt.
    stream: Option<StreamReader>,
    /// The body of a complete response that is not an answer: its choices have an error or no message.
    failed_body: Option<Value>,
}

/// A response with an HTTP error status.
#[derive(Clone, Debug)]
pub struct ErrorResponse {
    pub status: u16,
    /// The body as received, without the credentials of the call.
    pub body: String,
}

impl Progress {
    /// The response that ended the call, if it has an error status.
    pub fn error_response(&self) -> Option<&ErrorResponse> {
        let is_last = self.error_kind.is_some_and(ModelErrorKind::is_http_error);
        self.error_response.as_ref().filter(|_| is_last)
    }

    /// Whether the call ended as calls do while the endpoint is down.
    pub fn met_outage(&self) -> bool {
        match self.error_kind {
            Some(ModelErrorKind::NoConnection) => true,
            Some(ModelErrorKind::HttpError) => self
                .error_response()
                .is_some_and(|response| is_status_of_outage(response.status)),
            _ => false,
        }
    }

    /// The received part of an incomplete response, as a body.
    pub fn take_partial(&mut self) -> Option<Value> {
        let streamed = self.stream.take().filter(StreamReader::has_content);
        self.failed_body
            .take()
            .or_else(|| streamed.map(StreamReader::into_body))
    }

    /// Whether any part of an answer has been received as a stream.
    fn has_content(&self) -> bool {
        self.stream.as_ref().is_some_and(StreamReader::has_content)
    }

    /// Whether the stream is a complete answer if it ends here.
    fn is_whole(&self) -> bool {
        self.stream.as_ref().is_some_and(StreamReader::is_whole)
    }
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
/// The size limit of a response.
const MOST_BYTES: usize = 256 << 20;
/// How long to wait for the end of a response after the last event of its stream.
const END_WAIT: Duration = Duration::from_millis(250);

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

    async fn attempt(
        &self,
        request: &Request,
        traceparent: Option<&str>,
        sink: &mut dyn Sink,
        progress: &mut Progress,
    ) -> Result<ModelResponse, FailedAttempt> {
        let model = request.model().unwrap_or_default();
        let url = self.endpoint.url(request.dialect(), &model);
        let mut headers = self.endpoint.headers();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(Ok(value)) = traceparent.map(HeaderValue::from_str) {
            headers.insert("traceparent", value);
        }
        let body = request.to_json();
        self.console.detail(1, || {
            format!("> POST {} ({} bytes)", shown(&url), body.len())
        });
        self.console
            .detail(2, || format!("> {headers:?}\n> {body}"));
        let started = Instant::now();
        let response = self.http.post(url).headers(headers).body(body).send().await;
        let response = response.map_err(|error| FailedAttempt {
            is_closed_reused: reuse::is_closed_reused(&error),
            ..self.no_response(error)
        })?;
        reuse::note_answer(&response);
        self.console
            .detail(1, || format!("< {}", response.status()));
        self.console
            .detail(2, || format!("< {:?}", response.headers()));
        let request_id = response.headers().get("x-request-id");
        progress.request_id =
            request_id.and_then(|id| Some(self.endpoint.scrub(id.to_str().ok()?)));
        if !response.status().is_success() {
            return Err(self.http_error(response, progress).await);
        }
        if let Some(rate_limiter) = self.rate_limiter {
            rate_limiter.accepted(started);
            if let Some(reset) = rate_limit_reset(response.headers()) {
                rate_limiter.pause(reset);
            }
        }
        let mut body = Body::new(response);
        let is_stream = body.is_event_stream().await;
        if is_stream.map_err(|error| self.no_response(error))? {
            progress.stream = Some(StreamReader::new(request.dialect()));
            self.read_stream(body, request.dialect(), sink, progress)
                .await
        } else {
            self.read_body(body, request.dialect(), sink, progress)
                .await
        }
    }

    async fn read_body(
        &self,
        mut body: Body,
        dialect: &dyn ModelDialect,
        sink: &mut dyn Sink,
        progress: &mut Progress,
    ) -> Result<ModelResponse, FailedAttempt> {
        let status = body.response.status();
        let cost = stated_cost(body.response.headers());
        let mut bytes = Vec::new();
        while let Some(chunk) = body.next().await.map_err(|error| self.no_response(error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MOST_BYTES {
                return Err(FailedAttempt::too_large(status, MOST_BYTES));
            }
        }
        self.console
            .detail(2, || format!("< {}", String::from_utf8_lossy(&bytes)));
        let text = text_of(&bytes);
        if let Some(completion) = dialect.usual_completion(&text) {
            sink.raw(&bytes);
            return Ok(ModelResponse {
                completion,
                body: text.into_owned(),
                status: status.as_u16(),
                cost,
            });
        }
        let Ok((body, valid)) = lenient::parse_valid(&text) else {
            return Err(FailedAttempt::no_completion(
                self.endpoint,
                dialect,
                status,
                &text,
            ));
        };
        if let Some(error) = ServerError::of(&body) {
            progress.failed_body = Some(body).filter(|body| dialect.is_answer(body));
            return Err(FailedAttempt::error_in_answer(
                self.endpoint,
                &error,
                status,
            ));
        }
        if !dialect.is_answer(&body) {
            return Err(FailedAttempt::no_completion(
                self.endpoint,
                dialect,
                status,
                &text,
            ));
        }
        if !dialect.has_message(&body) {
            progress.failed_body = Some(body);
            return Err(FailedAttempt::no_message(dialect, status));
        }
        sink.raw(&bytes);
        Ok(ModelResponse {
            completion: dialect.completion(body),
            body: valid.into_owned(),
            status: status.as_u16(),
            cost,
        })
    }

    async fn read_stream(
        &self,
        mut body: Body,
        dialect: &dyn ModelDialect,
        sink: &mut dyn Sink,
        progress: &mut Progress,
    ) -> Result<ModelResponse, FailedAttempt> {
        let status = body.response.status();
        let mut received = 0;
        let mut shown = self.console.detail_in_pieces(3, "< ");
        // Once the response ends, its connection can serve the next call. Some servers never end it, or drop the
        // connection.
        let mut end = None;
        loop {
            let chunk = body.next();
            let read = match end {
                None => chunk.await,
                Some(deadline) => timeout_at(deadline, chunk).await.unwrap_or(Ok(None)),
            };
            let bytes = match read {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break,
                Err(_) if progress.is_whole() => break,
                Err(error) => return Err(self.no_response(error)),
            };
            shown.push(&bytes);
            sink.raw(&bytes);
            self.read_chunk(&bytes, status, sink, progress)?;
            if progress.stream.as_ref().is_some_and(StreamReader::is_done) {
                end.get_or_insert(Instant::now() + END_WAIT);
            }
            received += bytes.len();
            if received > MOST_BYTES && !progress.is_whole() {
                return Err(FailedAttempt::too_large(status, MOST_BYTES));
            } else if received > MOST_BYTES {
                break;
            }
        }
        let Some(stream) = progress.stream.take_if(|stream| stream.is_whole()) else {
            return Err(FailedAttempt::cut_stream(status));
        };
        let body = stream.into_body();
        if !dialect.has_message(&body) {
            progress.failed_body = Some(body);
            return Err(FailedAttempt::no_message(dialect, status));
        }
        Ok(ModelResponse {
            body: body.to_string(),
            completion: dialect.completion(body),
            status: status.as_u16(),
            // The headers came before the tokens, so they cannot state the cost.
            cost: None,
        })
    }

    /// Reads the next bytes of a stream.
    fn read_chunk(
        &self,
        bytes: &[u8],
        status: StatusCode,
        sink: &mut dyn Sink,
        progress: &mut Progress,
    ) -> Result<(), FailedAttempt> {
        let now = Timestamp::now();
        let read = progress
            .stream
            .as_mut()
            .map_or(Ok(()), |stream| stream.push(bytes, |text| sink.text(text)));
        if progress.has_content() {
            progress.first_token.get_or_insert(now);
        }
        let stream = progress.stream.as_mut();
        if !progress.is_unknown_noted
            && let Some(kind) = stream.and_then(StreamReader::unknown_event)
        {
            progress.is_unknown_noted = true;
            self.console.detail(1, || {
                format!("ignored an event of the unknown type `{kind}`")
            });
        }
        read.map_err(|error| match error {
            StreamError::Reported(error) => {
                FailedAttempt::error_in_answer(self.endpoint, &error, status)
            }
            StreamError::InvalidChunk => FailedAttempt::garbled_stream(status),
        })
    }

    async fn http_error(&self, response: Response, progress: &mut Progress) -> FailedAttempt {
        let status = response.status();
        let headers = response.headers().clone();
        let body = read_body(response, MOST_BYTES).await.unwrap_or_default();
        let body = String::from_utf8_lossy(&body);
        self.console.detail(2, || format!("< {body}"));
        progress.error_response = Some(ErrorResponse {
            status: status.as_u16(),
            body: self.endpoint.scrub(&body),
        });
        FailedAttempt::http_error(self.endpoint, status, &headers, &body)
    }

    fn no_response(&self, error: reqwest::Error) -> FailedAttempt {
        FailedAttempt::no_response(self.endpoint, &error.into())
    }
}

/// The bytes as text. Valid text is recognised much faster than what is not is repaired.
fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// The cost that a `LiteLLM` proxy states, in US dollars.
fn stated_cost(headers: &HeaderMap) -> Option<f64> {
    let stated = headers.get("x-litellm-response-cost")?.to_str().ok()?;
    let cost: f64 = stated.trim().parse().ok()?;
    (cost.is_finite() && cost >= 0.0).then_some(cost)
}

/// The body of a response that is being read. Its first bytes can be looked at before.
#[derive(Debug)]
struct Body {
    response: Response,
    /// The bytes that were looked at.
    start: Bytes,
}

/// The most white space before the first byte that tells what a body is.
const LONGEST_START: usize = 64 << 10;

impl Body {
    fn new(response: Response) -> Self {
        Self {
            response,
            start: Bytes::new(),
        }
    }

    /// Whether it is a stream of events, as its first bytes show.
    async fn is_event_stream(&mut self) -> Result<bool, reqwest::Error> {
        let content_type = self.response.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let is_labelled = content_type.is_some_and(is_type_of_events);
        let mut start = Vec::new();
        let is_stream = loop {
            let chunk = self.response.chunk().await?;
            start.extend_from_slice(chunk.as_deref().unwrap_or_default());
            let is_whole = chunk.is_none() || start.len() > LONGEST_START;
            if let Some(is_stream) = is_event_stream(&start, is_labelled, is_whole) {
                break is_stream;
            }
        };
        self.start = start.into();
        Ok(is_stream)
    }

    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, reqwest::Error> {
        if self.start.is_empty() {
            return self.response.chunk().await;
        }
        Ok(Some(std::mem::take(&mut self.start)))
    }
}

/// Whether a content type is that of server-sent events, whatever its case and parameters.
fn is_type_of_events(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("text/event-stream")
}
