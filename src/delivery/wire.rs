//! Export requests over HTTP: headers, compression, attempts and the waits between them.
//!
//! Ids and times never change between attempts. After an ambiguous failure (the request left, no answer came) a
//! Langfuse is asked whether the trace is there before it is sent again, since a second copy doubles its cost.

use std::collections::HashSet;
use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use jiff::Timestamp;
use reqwest::Url;
use tokio::time::Instant;

use super::outcome::Outcome;
use super::payload::Payload;
use crate::console::Console;
use crate::http::read_body;
use crate::langfuse::{Api, readback};

/// The encoding of a request's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    HttpProtobuf,
    HttpJson,
}

/// Where and how spans are sent.
#[derive(Clone, Debug)]
pub struct Target {
    pub url: Url,
    /// All headers of a request but those that describe its body. Credentials are marked sensitive.
    pub headers: HeaderMap,
    pub protocol: Protocol,
    pub gzip: bool,
    /// Bounds one attempt.
    pub attempt_timeout: Duration,
}

/// A client of one target.
#[derive(Clone, Debug)]
pub struct OtlpClient {
    pub http: reqwest::Client,
    pub target: Target,
    /// Tells whether a trace has arrived, where the target ends in a Langfuse.
    pub api: Option<Api>,
    /// Whether a collector stands before it, which may pass a trace on at any later time.
    pub is_collector: bool,
    pub console: Console,
}

/// A trace becomes readable up to 1.4 s after it was accepted; before this much has passed, absence proves nothing.
pub const PROOF_OF_ABSENCE: Duration = Duration::from_secs(3);
/// With less time than this an attempt could only end as one that was cut off, and make an outcome ambiguous.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(100);
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(8);
/// Answers are short; more than this is no answer of an OTLP endpoint and need not be read.
const LONGEST_ANSWER: usize = 4 << 20;

/// What became of a request, piece by piece.
#[derive(Debug)]
pub struct DeliveryResult {
    /// Of the first piece that was not accepted, else of the last.
    pub outcome: Outcome,
    /// What was not accepted.
    pub remaining: Vec<Payload>,
    /// Whether any of that may have been taken all the same.
    pub is_ambiguous: bool,
}

impl DeliveryResult {
    /// `piece` was not accepted, unless `outcome` says otherwise.
    pub fn of(outcome: Outcome, piece: Payload) -> Self {
        let remaining = if outcome.is_accepted() {
            Vec::new()
        } else {
            vec![piece]
        };
        // Of rejected spans nobody says which: the others must not be sent again.
        let is_ambiguous = outcome.is_ambiguous() || matches!(outcome, Outcome::Partial { .. });
        Self {
            outcome,
            remaining,
            is_ambiguous,
        }
    }

    /// Nobody waited for the answer: only the server knows whether `payload` arrived.
    pub fn interrupted(payload: Payload) -> Self {
        let why = "the delivery was interrupted".to_owned();
        Self {
            is_ambiguous: true,
            ..Self::of(Outcome::Unsent(why), payload)
        }
    }

    /// This, and what became of the next piece.
    pub fn add(self, next: Self) -> Self {
        let mut remaining = self.remaining;
        let outcome = if remaining.is_empty() {
            next.outcome
        } else {
            self.outcome
        };
        remaining.extend(next.remaining);
        Self {
            outcome,
            remaining,
            is_ambiguous: self.is_ambiguous || next.is_ambiguous,
        }
    }
}

impl OtlpClient {
    /// Delivers `payload`, in pieces where servers want it so, and smaller ones when they say it is too large: a
    /// request is bisected until only what is refused for itself fails, and the content of a single span that is
    /// too large is cut.
    pub async fn deliver(&self, payload: &Payload, deadline: Instant) -> DeliveryResult {
        let mut settled: Option<DeliveryResult> = None;
        for piece in payload.clone().cut() {
            let next = self.settle(piece, deadline).await;
            settled = Some(match settled {
                Some(settled) => settled.add(next),
                None => next,
            });
        }
        settled.unwrap_or_else(|| DeliveryResult {
            outcome: Outcome::Unsent("there was nothing to send".to_owned()),
            remaining: Vec::new(),
            is_ambiguous: false,
        })
    }

    async fn settle(&self, piece: Payload, deadline: Instant) -> DeliveryResult {
        let (outcome, piece) = self.post(piece, deadline).await;
        let is_too_large = outcome.status() == Some(413);
        let is_refused = matches!(outcome.status(), Some(400 | 422)) && piece.trace_count() > 1;
        if (is_too_large || is_refused)
            && let Some([first, second]) = piece.halves()
        {
            let first = Box::pin(self.settle(first, deadline)).await;
            let second = Box::pin(self.settle(second, deadline)).await;
            return first.add(second);
        }
        if is_too_large && let Some(shorter) = piece.truncated() {
            self.console
                .warn("the server takes no request of this size: the content of a span was cut");
            let settled = Box::pin(self.settle(shorter, deadline)).await;
            // What is kept is the whole of it, not the cut copy.
            let remaining = if settled.remaining.is_empty() {
                Vec::new()
            } else {
                vec![piece]
            };
            return DeliveryResult {
                remaining,
                ..settled
            };
        }
        DeliveryResult::of(outcome, piece)
    }

    /// Sends `payload` until it is accepted, refused for good, or `deadline` leaves no time for another attempt.
    /// Returns what the outcome is of: the spans that are not known to have arrived without an answer.
    async fn post(&self, mut payload: Payload, deadline: Instant) -> (Outcome, Payload) {
        let mut attempt = 0;
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
            if outcome.is_ambiguous() && self.api.is_some() {
                match self.missing(&payload, deadline, Timestamp::now()).await {
                    Some(Some(missing)) => payload = missing,
                    Some(None) => return (Outcome::Confirmed, payload),
                    None => return (outcome, payload),
                }
            } else {
                // A server that asks for no wait at all is not asked without one.
                let wait = outcome.wait().unwrap_or_default().max(backoff(attempt));
                // An attempt that is cut off by the deadline would tell less than this one does.
                let needed = if outcome.is_timeout() {
                    started.elapsed()
                } else {
                    SHORTEST_ATTEMPT
                };
                if Instant::now() + wait + needed >= deadline {
                    return (outcome, payload);
                }
                self.console.detail(1, || {
                    format!(
                        "retrying in {} ms: {}",
                        wait.as_millis(),
                        outcome.describe()
                    )
                });
                tokio::time::sleep(wait).await;
            }
            attempt += 1;
        }
    }

    /// What of `payload`, which may have been taken at `sent`, cannot be read: asked once absence would prove
    /// something. `None` when that cannot be found out in time, `Some(None)` when nothing is missing.
    pub async fn missing(
        &self,
        payload: &Payload,
        deadline: Instant,
        sent: Timestamp,
    ) -> Option<Option<Payload>> {
        let api = self.api.as_ref()?;
        let passed = Duration::try_from(Timestamp::now().duration_since(sent)).unwrap_or_default();
        let asked_at = Instant::now() + PROOF_OF_ABSENCE.saturating_sub(passed);
        if asked_at >= deadline {
            return None;
        }
        tokio::time::sleep_until(asked_at).await;
        let known = tokio::time::timeout_at(deadline, self.known(api, payload))
            .await
            .ok()??;
        Some(payload.without(&known))
    }

    /// The ids of the spans of `payload` that a Langfuse can read now; `None` when it does not say.
    async fn known(&self, api: &Api, payload: &Payload) -> Option<HashSet<String>> {
        let mut known = HashSet::new();
        for wanted in payload.traces() {
            match readback::known(api, &wanted).await {
                Ok(ids) => known.extend(ids),
                Err(error) => {
                    self.console.detail(1, || {
                        format!("asking for the trace failed: {}", error.message)
                    });
                    return None;
                }
            }
        }
        Some(known)
    }

    async fn attempt(&self, body: &Bytes, deadline: Instant) -> Outcome {
        let Target {
            url,
            headers,
            protocol,
            gzip,
            attempt_timeout,
        } = &self.target;
        let mut headers = headers.clone();
        headers.insert(CONTENT_TYPE, protocol.content_type());
        if *gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        self.console
            .detail(1, || format!("> POST {url} ({} bytes)", body.len()));
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
        let body = read_body(response, LONGEST_ANSWER).await?;
        self.console.detail(2, || format!("< {headers:?}"));
        self.console
            .detail(2, || format!("< {}", String::from_utf8_lossy(&body)));
        Ok(Outcome::of_answer(status, &headers, &body))
    }

    fn body(&self, payload: &Payload) -> anyhow::Result<Bytes> {
        let body = match self.target.protocol {
            Protocol::HttpProtobuf => payload.to_protobuf(),
            Protocol::HttpJson => payload.to_json_line()?.into(),
        };
        if !self.target.gzip {
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

/// Half a second, doubling up to eight, with full jitter, so that many clients do not return as one.
fn backoff(attempt: u32) -> Duration {
    let full = (FIRST_BACKOFF * 2_u32.saturating_pow(attempt.min(8))).min(LONGEST_BACKOFF);
    full.mul_f64(fastrand::f64())
}
