//! Spans in, a known outcome out.
//!
//! `opentelemetry-otlp` turns spans into an export request and hands it to an HTTP client: ours, which keeps the
//! request in the outbox, sends it, and lays down what became of it where [`Exporter::export`] finds it. The
//! exporter's own result is not used: it is `Ok` for a page of HTML and for rejected spans.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use jiff::Timestamp;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::outbox::{Held, Meta, Outbox};
use super::outcome::Outcome;
use super::payload::Payload;
use super::wire::{DeliveryResult, OtlpClient};

/// What became of spans.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub outcome: Outcome,
    pub spool: Stored,
    /// How many traces were not accepted, whole or in part.
    pub unaccepted: usize,
}

/// Whether spans that were not accepted wait in the outbox.
#[derive(Clone, Debug)]
pub enum Stored {
    /// They were accepted.
    NotNeeded,
    /// They wait in this file.
    Kept(PathBuf),
    /// They are nowhere: there is no outbox, or it could not take them.
    Lost(String),
}

/// When spans are put into the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboxPolicy {
    /// Before they are sent, since nobody could make them again after a kill.
    BeforeSend,
    /// When they were not accepted: the output and its acks tell what a kill left behind.
    OnFailure,
}

/// The exporter of a run.
#[derive(Debug)]
pub struct Exporter {
    otlp: SpanExporter,
}

/// How spans leave this process.
#[derive(Debug)]
pub struct Sender {
    /// Why nothing can be sent, in place of the means to.
    pub wire: Result<OtlpClient, String>,
    /// None when it was not wanted, an error when it could not be made.
    pub outbox: Option<io::Result<Outbox>>,
    /// The public key that the spans are for.
    pub public_key: Option<String>,
}

tokio::task_local! {
    /// The delivery that this task waits for. `export` runs in the calling task, so many at once do not mix.
    static ERRAND: RefCell<Errand>;
}

struct Errand {
    spans: usize,
    deadline: Instant,
    keep: OutboxPolicy,
    /// Told when nobody can wait any longer.
    cancel: Arc<Notify>,
    delivery: Option<Delivery>,
}

impl Exporter {
    /// # Errors
    /// When the OTLP exporter cannot be built.
    pub fn new(courier: Sender, resource: &Resource) -> anyhow::Result<Self> {
        let mut otlp = SpanExporter::builder()
            .with_http()
            .with_http_client(courier)
            .with_protocol(Protocol::HttpBinary)
            // Never asked: the courier knows where to. What else the crate reads of the environment (headers, timeout,
            // compression) the courier does not use either.
            .with_endpoint("http://localhost/v1/traces")
            // A body over the crate's own limit would never reach the courier, which cuts and keeps.
            .with_max_request_body_size(usize::MAX)
            .build()?;
        otlp.set_resource(resource);
        Ok(Self { otlp })
    }

    /// Delivers `spans` within `budget`, attempts and waits included. What is under way when `cancel` is notified is
    /// kept as it is.
    pub async fn export(
        &self,
        spans: Vec<SpanData>,
        budget: Duration,
        keep: OutboxPolicy,
        cancel: &Arc<Notify>,
    ) -> Delivery {
        let errand = Errand {
            spans: spans.len(),
            deadline: Instant::now() + budget,
            keep,
            cancel: Arc::clone(cancel),
            delivery: None,
        };
        let traces = trace_count(&spans);
        ERRAND
            .scope(RefCell::new(errand), async {
                let result = self.otlp.export(spans).await;
                let delivery = ERRAND.with(|errand| errand.borrow_mut().delivery.take());
                delivery.unwrap_or_else(|| {
                    let why = result.map_or_else(
                        |error| error.to_string(),
                        |()| "no request was made".to_owned(),
                    );
                    Delivery {
                        outcome: Outcome::Unsent(format!("the spans could not be encoded: {why}")),
                        spool: Stored::Lost("they could not be encoded".to_owned()),
                        unaccepted: traces,
                    }
                })
            })
            .await
    }
}

fn trace_count(spans: &[SpanData]) -> usize {
    let ids = spans.iter().map(|span| span.span_context.trace_id());
    ids.collect::<HashSet<_>>().len()
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (spans, deadline, keep, cancel) = ERRAND.with(|errand| {
            let errand = errand.borrow();
            let cancel = Arc::clone(&errand.cancel);
            (errand.spans, errand.deadline, errand.keep, cancel)
        });
        let payload = Payload::from_protobuf(request.into_body(), spans);
        let delivery = self.deliver(&payload, deadline, keep, &cancel).await;
        ERRAND.with(|errand| errand.borrow_mut().delivery = Some(delivery));
        Ok(Response::new(Bytes::new()))
    }
}

impl Sender {
    /// Keeps, sends, and keeps or forgets, by the answer.
    async fn deliver(
        &self,
        payload: &Payload,
        deadline: Instant,
        keep: OutboxPolicy,
        cancel: &Notify,
    ) -> Delivery {
        let held = (keep == OutboxPolicy::BeforeSend).then(|| self.hold(payload));
        let DeliveryResult {
            outcome,
            remaining,
            is_ambiguous,
        } = match &self.wire {
            Ok(wire) => tokio::select! {
                settled = wire.deliver(payload, deadline) => settled,
                () = cancel.notified() => DeliveryResult::interrupted(payload.clone()),
            },
            Err(why) => DeliveryResult::of(Outcome::Unsent(why.clone()), payload.clone()),
        };
        let unaccepted = remaining.iter().map(Payload::trace_count).sum();
        let spool = match held {
            Some(Ok(held)) if outcome.is_accepted() => {
                held.release();
                Stored::NotNeeded
            }
            _ if outcome.is_accepted() => Stored::NotNeeded,
            held => match held.unwrap_or_else(|| self.hold(payload)) {
                Ok(held) => self.keep(held, &remaining, &outcome, is_ambiguous),
                Err(why) => Stored::Lost(why),
            },
        };
        Delivery {
            outcome,
            spool,
            unaccepted,
        }
    }

    /// Puts `payload` into the outbox; an error says why it cannot be.
    fn hold(&self, payload: &Payload) -> Result<Held, String> {
        match &self.outbox {
            None => Err("there is no outbox (--no-outbox, --sandbox)".to_owned()),
            Some(Err(error)) => Err(format!("the outbox cannot be used: {error}")),
            Some(Ok(outbox)) => outbox.hold(payload, self.meta(payload)).map_err(|error| {
                let dir = outbox.dir().display();
                format!("the outbox {dir} cannot be written: {error}")
            }),
        }
    }

    /// Keeps what was not accepted.
    fn keep(
        &self,
        held: Held,
        remaining: &[Payload],
        outcome: &Outcome,
        is_ambiguous: bool,
    ) -> Stored {
        match held.keep(remaining, &self.clean(&outcome.describe()), is_ambiguous) {
            Ok(path) => Stored::Kept(path),
            Err(error) => Stored::Lost(error.to_string()),
        }
    }

    /// What a server said, fit to be kept.
    fn clean(&self, text: &str) -> String {
        self.wire
            .as_ref()
            .map_or_else(|_| text.to_owned(), |wire| wire.console.clean(text))
    }

    fn meta(&self, payload: &Payload) -> Meta {
        let mut meta = Meta {
            endpoint: self
                .wire
                .as_ref()
                .map_or_else(|_| String::new(), |wire| wire.target.url.to_string()),
            public_key: self.public_key.clone(),
            cause: None,
            ambiguous_since: None,
            time: Timestamp::now(),
            ..Meta::default()
        };
        meta.describe(std::slice::from_ref(payload));
        meta
    }
}
