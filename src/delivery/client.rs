//! The OTLP/HTTP client: headers, compression, attempts, the waits between them, and smaller pieces after a 413.
//!
//! After an ambiguous failure (the request may have arrived, but there was no answer) Langfuse is asked for the spans
//! before they are sent again, because a second copy doubles their cost. Nothing is stored here.

use std::collections::HashSet;
use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use jiff::Timestamp;
use reqwest::Url;
use tokio::time::{Instant, timeout_at};

use crate::console::Console;
use crate::delivery::outcome::Outcome;
use crate::delivery::payload::Payload;
use crate::delivery::result::DeliveryResult;
use crate::http::url::shown;
use crate::http::{Backoff, read_body};
use crate::langfuse::{Api, ApiError, readback};

/// The encoding of a request's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    HttpProtobuf,
    HttpJson,
}

/// Where and how spans are sent.
#[derive(Clone, Debug)]
pub struct OtlpEndpoint {
    pub url: Url,
    /// All headers except those that describe the body. Credentials are marked sensitive.
    pub headers: HeaderMap,
    pub protocol: Protocol,
    pub gzip: bool,
    /// The time for one attempt.
    pub attempt_timeout: Duration,
}

/// A client of one endpoint.
#[derive(Clone, Debug)]
pub struct OtlpClient {
    pub http: reqwest::Client,
    pub endpoint: OtlpEndpoint,
    /// The Langfuse that can be asked for spans; `None` for a plain OTLP backend.
    pub api: Option<Api>,
    /// Whether the endpoint is a collector, which may pass spans on at any later time.
    pub is_collector: bool,
    pub console: Console,
}

/// Which spans of a request Langfuse has.
#[derive(Debug)]
pub enum Arrival {
    /// All of them.
    Complete,
    /// All but these.
    Missing(Payload),
    /// There was no answer in time, or this one, or there is no Langfuse to ask.
    Unknown(Option<ApiError>),
}

/// A trace becomes readable up to 1.4 s after it was accepted. Before this time has passed, absence proves nothing.
pub const PROOF_OF_ABSENCE: Duration = Duration::from_secs(3);
/// An attempt with less time than this would be cut off, and only make the outcome ambiguous.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(100);
/// OTLP answers are short; the rest of a longer body is not read.
const MAX_ANSWER_BYTES: usize = 4 << 20;

impl OtlpClient {
    /// Delivers `payload` until `deadline`, in pieces of the size that servers commonly take.
    pub async fn deliver(&self, payload: &Payload, deadline: Instant) -> DeliveryResult {
        let mut results = Vec::new();
        for piece in payload.clone().cut() {
            results.push(self.deliver_piece(piece, deadline).await);
        }
        DeliveryResult::sum(results).unwrap_or_else(|| DeliveryResult {
            outcome: Outcome::Unsent("there was nothing to send".to_owned()),
            remaining: Vec::new(),
            is_ambiguous: false,
        })
    }

    /// Delivers a piece, in smaller ones when the server says that it is too large or invalid: it is bisected until
    /// only the traces fail that are refused on their own. The content of a single span that is too large is truncated.
    async fn deliver_piece(&self, piece: Payload, deadline: Instant) -> DeliveryResult {
        let (outcome, piece) = self.send(piece, deadline).await;
        let is_too_large = outcome.status() == Some(413);
        let is_refused = matches!(outcome.status(), Some(400 | 422)) && piece.trace_count() > 1;
        if (is_too_large || is_refused)
            && let Some([first, second]) = piece.halves()
        {
            let first = Box::pin(self.deliver_piece(first, deadline)).await;
            let second = Box::pin(self.deliver_piece(second, deadline)).await;
            return first.add(second);
        }
        if is_too_large && let Some(shorter) = piece.truncated() {
            self.console.warn(
                "the server refuses requests of this size: the content of a span was truncated",
            );
            let mut result = Box::pin(self.deliver_piece(shorter, deadline)).await;
            if !result.remaining.is_empty() {
                // The outbox keeps the whole span, not the truncated copy.
                result.remaining = vec![piece];
            }
            return result;
        }
        DeliveryResult::new(outcome, piece)
    }

    /// Sends `payload` until it is accepted or refused for good, or `deadline` leaves no time for another attempt.
    /// The outcome is that of the returned spans: those that Langfuse was found to have are no longer among them.
    async fn send(&self, mut payload: Payload, deadline: Instant) -> (Outcome, Payload) {
        let mut backoff = Backoff::default();
        loop {
            let body = match self.body(&payload) {
                Ok(body) => body,
                Err(error) => {
                    let why = format!("the spans could not be encoded: {error:#}");
                    return (Outcome::Unsent(why), payload);
                }
            };
            let started = Instant::now();
            let outcome = self.attempt(&body, deadline).await;
            if !outcome.is_retryable() || (outcome.is_ambiguous() && self.is_collector) {
                return (outcome, payload);
            }
            let wait = backoff.next_wait();
            if outcome.is_ambiguous() && self.api.is_some() {
                match self
                    .find_missing(&payload, deadline, Timestamp::now())
                    .await
                {
                    Arrival::Missing(missing) => payload = missing,
                    Arrival::Complete => return (Outcome::Confirmed, payload),
                    Arrival::Unknown(_) => return (outcome, payload),
                }
            } else if !self.wait(&outcome, wait, started.elapsed(), deadline).await {
                return (outcome, payload);
            }
        }
    }

    /// Waits for the next attempt, at least `wait`; returns false if `deadline` leaves no time for one. The last
    /// attempt took `lasted`.
    async fn wait(
        &self,
        outcome: &Outcome,
        wait: Duration,
        lasted: Duration,
        deadline: Instant,
    ) -> bool {
        let wait = outcome.wait().unwrap_or_default().max(wait);
        // An attempt that the deadline cuts off would say less than this one does.
        let needed = if outcome.is_timeout() {
            lasted
        } else {
            SHORTEST_ATTEMPT
        };
        if Instant::now() + wait + needed >= deadline {
            return false;
        }
        self.console.detail(1, || {
            let cause = outcome.describe();
            format!("retrying in {} ms: {cause}", wait.as_millis())
        });
        tokio::time::sleep(wait).await;
        true
    }

    /// Asks Langfuse which spans of `payload` it does not have, once absence proves something: not before
    /// [`PROOF_OF_ABSENCE`] has passed since `sent`, when they may have left.
    pub async fn find_missing(
        &self,
        payload: &Payload,
        deadline: Instant,
        sent: Timestamp,
    ) -> Arrival {
        let Some(api) = &self.api else {
            return Arrival::Unknown(None);
        };
        let passed = Duration::try_from(Timestamp::now().duration_since(sent)).unwrap_or_default();
        let asked_at = Instant::now() + PROOF_OF_ABSENCE.saturating_sub(passed);
        if asked_at >= deadline {
            return Arrival::Unknown(None);
        }
        tokio::time::sleep_until(asked_at).await;
        match timeout_at(deadline, self.readable_spans(api, payload)).await {
            Ok(Ok(known)) => payload
                .without(&known)
                .map_or(Arrival::Complete, Arrival::Missing),
            Ok(Err(error)) => Arrival::Unknown(Some(error)),
            Err(_) => Arrival::Unknown(None),
        }
    }

    /// The ids of the spans of `payload` that Langfuse can read now.
    async fn readable_spans(
        &self,
        api: &Api,
        payload: &Payload,
    ) -> Result<HashSet<String>, ApiError> {
        let mut known = HashSet::new();
        for wanted in payload.traces() {
            match readback::known(api, &wanted).await {
                Ok(ids) => known.extend(ids),
                Err(error) => {
                    self.console.detail(1, || {
                        format!("asking for the trace failed: {}", error.message)
                    });
                    return Err(error);
                }
            }
        }
        Ok(known)
    }

    async fn attempt(&self, body: &Bytes, deadline: Instant) -> Outcome {
        let OtlpEndpoint {
            url,
            headers,
            protocol,
            gzip,
            attempt_timeout,
        } = &self.endpoint;
        let mut headers = headers.clone();
        headers.insert(CONTENT_TYPE, protocol.content_type());
        if *gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        self.console.detail(1, || {
            format!("> POST {} ({} bytes)", shown(url), body.len())
        });
        self.console.detail(2, || format!("> {headers:?}"));
        let timeout = (*attempt_timeout).min(deadline.saturating_duration_since(Instant::now()));
        let request = self
            .http
            .post(url.clone())
            .headers(headers)
            .timeout(timeout)
            .body(body.clone());
        let outcome = match self.exchange(request).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Unreachable(error.into()),
        };
        self.console.detail(1, || {
            format!("< {}", self.console.clean(&outcome.describe()))
        });
        outcome
    }

    async fn exchange(&self, request: reqwest::RequestBuilder) -> Result<Outcome, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read_body(response, MAX_ANSWER_BYTES).await?;
        self.console.detail(2, || format!("< {headers:?}"));
        self.console
            .detail(2, || format!("< {}", String::from_utf8_lossy(&body)));
        Ok(Outcome::of_answer(status, &headers, &body))
    }

    fn body(&self, payload: &Payload) -> anyhow::Result<Bytes> {
        let body = match self.endpoint.protocol {
            Protocol::HttpProtobuf => payload.to_protobuf(),
            Protocol::HttpJson => payload.to_json_line()?.into(),
        };
        if !self.endpoint.gzip {
            return Ok(body);
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&body)?;
        Ok(encoder.finish()?.into())
    }
}

impl Protocol {
    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::HttpProtobuf => "application/x-protobuf",
            Self::HttpJson => "application/json",
        })
    }
}
