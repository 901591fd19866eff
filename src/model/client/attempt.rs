//! One attempt of a call: the request, and its answer as it arrives.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use jiff::Timestamp;
use reqwest::Response;
use tokio::time::{Instant, timeout_at};

use super::body::Body;
use super::progress::ErrorResponse;
use super::{Client, ModelResponse, Progress, Sink};
use crate::http::url::shown;
use crate::http::{read_body, reuse};
use crate::json::lenient;
use crate::model::dialect::{ModelDialect, StreamError};
use crate::model::failed_attempt::FailedAttempt;
use crate::model::rate_limit_headers::rate_limit_reset;
use crate::model::request::Request;
use crate::model::server_error::ServerError;
use crate::model::stream::StreamReader;

/// The size limit of a response.
const MOST_BYTES: usize = 256 << 20;
/// How long to wait for the end of a response after the last event of its stream.
const END_WAIT: Duration = Duration::from_millis(250);

impl Client<'_> {
    pub(super) async fn attempt(
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
