//! The OTLP/HTTP client: headers, compression, attempts, the waits between them, and smaller pieces after a 413.
//!
//! After an ambiguous failure (the request may have arrived, but there was no answer) Langfuse is asked for the spans
//! before they are sent again, because a second copy doubles their cost. Nothing is stored here.

use std::collections::HashSet;
use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use reqwest::Url;
use tokio::time::{Instant, timeout_at};

use crate::console::Console;
use crate::delivery::ambiguity::Ambiguity;
use crate::delivery::outcome::{Answerer, MAX_ANSWER_BYTES, Outcome};
use crate::delivery::payload::Payload;
use crate::delivery::result::DeliveryResult;
use crate::http::url::shown;
use crate::http::{Backoff, FailedPhase, TransportError, read_body};
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
    /// Of these it is not known: there was no answer in time, there is no Langfuse to ask, or their absence proves
    /// nothing.
    Unknown(Payload),
}

/// An attempt with less time than this would be cut off, and only make the outcome ambiguous.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(100);

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
            ambiguity: None,
        })
    }

    /// Delivers a piece. If the server says that it is too large (413) or invalid (400, 422), it is bisected, first between
    /// traces, then between the spans of a trace, until only what is refused on its own fails. The content of a single
    /// span that is too large is truncated.
    async fn deliver_piece(&self, piece: Payload, deadline: Instant) -> DeliveryResult {
        let Sent {
            outcome,
            payload: piece,
            ambiguity,
        } = self.send(piece, deadline).await;
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
        DeliveryResult::with(outcome, piece, ambiguity)
    }

    /// Sends `payload` until it is accepted or refused for good, or `deadline` leaves no time for another attempt.
    async fn send(&self, mut payload: Payload, deadline: Instant) -> Sent {
        let mut backoff = Backoff::default();
        loop {
            let body = match self.body(&payload) {
                Ok(body) => body,
                Err(error) => {
                    let why = format!("the spans could not be encoded: {error:#}");
                    return Sent::new(Outcome::Unsent(why), payload, None);
                }
            };
            let begun = Instant::now();
            let outcome = self.attempt(&body, deadline).await;
            let ended = Instant::now();
            let ambiguity = outcome
                .is_ambiguous()
                .then(|| Ambiguity::after(ended - begun));
            if !outcome.is_retryable() {
                return Sent::new(outcome, payload, ambiguity);
            }
            if let Some(ambiguity) = ambiguity {
                match self.find_missing(&payload, deadline, ambiguity).await {
                    Arrival::Missing(missing) => payload = missing,
                    Arrival::Complete => return Sent::new(Outcome::Confirmed, payload, None),
                    Arrival::Unknown(rest) => return Sent::new(outcome, rest, Some(ambiguity)),
                }
            }
            let wait = outcome.wait().unwrap_or_default().max(backoff.next_wait());
            if !self
                .wait_until(ended + wait, &outcome, ended - begun, deadline)
                .await
            {
                // What is absent now did not arrive: no doubt is left.
                return Sent::new(outcome, payload, None);
            }
        }
    }

    /// Waits until `at` for the next attempt; returns false if `deadline` leaves no time for one. The last attempt took
    /// `lasted`.
    async fn wait_until(
        &self,
        at: Instant,
        outcome: &Outcome,
        lasted: Duration,
        deadline: Instant,
    ) -> bool {
        // An attempt that the deadline cuts off would say less than this one does.
        let needed = if outcome.is_timeout() {
            lasted
        } else {
            SHORTEST_ATTEMPT
        };
        let at = at.max(Instant::now());
        if at + needed >= deadline {
            return false;
        }
        self.console.detail(1, || {
            let wait = at.saturating_duration_since(Instant::now());
            let cause = outcome.describe();
            format!("retrying in {} ms: {cause}", wait.as_millis())
        });
        tokio::time::sleep_until(at).await;
        true
    }

    /// Whether the endpoint is a Langfuse that can be asked, so that absence can prove something.
    pub fn is_direct(&self) -> bool {
        self.api.is_some() && !self.is_collector
    }

    /// Asks Langfuse which spans of `payload` it does not have, once absence proves something.
    pub async fn find_missing(
        &self,
        payload: &Payload,
        deadline: Instant,
        ambiguity: Ambiguity,
    ) -> Arrival {
        let unknown = || Arrival::Unknown(payload.clone());
        let Some(api) = &self.api else {
            return unknown();
        };
        if self.is_direct() {
            let asked_at = Instant::now() + ambiguity.remaining();
            if asked_at >= deadline {
                return unknown();
            }
            tokio::time::sleep_until(asked_at).await;
        }
        let Ok(Some(known)) = timeout_at(deadline, self.readable_spans(api, payload)).await else {
            return unknown();
        };
        match payload.without(&known) {
            None => Arrival::Complete,
            Some(missing) if self.is_direct() => Arrival::Missing(missing),
            // A collector may pass them on at any later time.
            Some(missing) => Arrival::Unknown(missing),
        }
    }

    /// The ids of the spans of `payload` that Langfuse can read now; `None` if it does not answer.
    async fn readable_spans(&self, api: &Api, payload: &Payload) -> Option<HashSet<String>> {
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
        let body = WatchedBody::new(body.clone());
        let is_handed_over = Arc::clone(&body.is_handed_over);
        let request = self
            .http
            .post(url.clone())
            .headers(headers)
            .timeout(timeout)
            .body(reqwest::Body::wrap(body));
        let outcome = match self.exchange(request).await {
            Ok(outcome) => outcome,
            Err(error) => {
                let mut failed = TransportError::from(error);
                failed.phase = if is_handed_over.load(Ordering::Relaxed) {
                    FailedPhase::AfterSending
                } else {
                    FailedPhase::Connect
                };
                Outcome::Unreachable(failed)
            }
        };
        self.console.detail(1, || {
            format!("< {}", self.console.clean(&outcome.describe()))
        });
        outcome
    }

    async fn exchange(&self, request: reqwest::RequestBuilder) -> Result<Outcome, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        // One byte more than is allowed shows that the answer is too long.
        let body = read_body(response, MAX_ANSWER_BYTES + 1).await?;
        self.console.detail(2, || format!("< {headers:?}"));
        self.console
            .detail(2, || format!("< {}", String::from_utf8_lossy(&body)));
        let answerer = if self.is_direct() {
            Answerer::Langfuse
        } else {
            Answerer::Otlp
        };
        Ok(Outcome::of_answer(answerer, status, &headers, &body))
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

/// What became of a request that was sent, perhaps several times.
struct Sent {
    outcome: Outcome,
    /// Without the spans that Langfuse was found to have.
    payload: Payload,
    ambiguity: Option<Ambiguity>,
}

impl Sent {
    fn new(outcome: Outcome, payload: Payload, ambiguity: Option<Ambiguity>) -> Self {
        Self {
            outcome,
            payload,
            ambiguity,
        }
    }
}

/// The body of a request. It knows whether the connection has taken it: from then on, spans may have arrived.
struct WatchedBody {
    /// `None` once the connection has taken them.
    bytes: Option<Bytes>,
    is_handed_over: Arc<AtomicBool>,
}

impl WatchedBody {
    fn new(bytes: Bytes) -> Self {
        Self {
            bytes: Some(bytes),
            is_handed_over: Arc::default(),
        }
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = self.bytes.take();
        self.is_handed_over.store(true, Ordering::Relaxed);
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
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
