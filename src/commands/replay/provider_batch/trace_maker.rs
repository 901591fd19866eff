//! From an output and its request to the spans of a trace.

use opentelemetry_sdk::trace::SpanData;
use tokio::time::Instant;

use super::join::Pair;
use crate::app::setup::Setup;
use crate::app::span_maker::SpanMaker;
use crate::app::uploads::{self, Uploads};
use crate::delivery::payload::Payload;
use crate::delivery::sent_key::SentKey;
use crate::failure::Failure;
use crate::settings::trace::refuse_keys;
use crate::trace::{Exchange, Trace, TraceContext, ids};

/// Says in the metadata of a trace that the call was part of a batch.
const BATCH: &str = "batch";
const BATCH_ID: &str = "batch_id";
const CUSTOM_ID: &str = "custom_id";

/// Makes traces with the settings of a run.
#[derive(Debug)]
pub struct TraceMaker<'a> {
    setup: &'a Setup,
}

/// An exchange of a batch, and its trace.
#[derive(Debug)]
pub struct BatchTrace {
    pub exchange: Exchange,
    pub trace: Trace,
    pub context: TraceContext,
}

impl BatchTrace {
    /// Under which the ledger knows it: the trace id, which is a digest.
    pub fn key(&self) -> SentKey {
        SentKey::new(self.context.trace_id.to_bytes())
    }
}

impl<'a> TraceMaker<'a> {
    pub fn new(setup: &'a Setup) -> Self {
        Self { setup }
    }

    /// The trace of an output.
    ///
    /// # Errors
    /// If its trace holds a key.
    pub fn make(&self, pair: Pair) -> Result<BatchTrace, Failure> {
        let Pair {
            result,
            request,
            seed,
            begun,
            ended,
            batch_id,
            ..
        } = pair;
        let mut recorded = request.trace;
        let mut say = |key: &str, value: String| {
            recorded.metadata.entry(key).or_insert_with(|| value.into());
        };
        say(BATCH, "true".to_owned());
        if let Some(id) = batch_id {
            say(BATCH_ID, id);
        }
        say(CUSTOM_ID, result.custom_id);
        let mut exchange = Exchange::new(request.request, begun, ended);
        if let Some(body) = result.body {
            exchange.set_body(body.get());
        }
        exchange.error = result.error;
        let trace = self.setup.settings.trace.of_recorded(&recorded);
        refuse_keys(&trace)?;
        Ok(BatchTrace {
            exchange,
            trace,
            context: TraceContext::root(ids::from_seed(&seed)),
        })
    }

    /// Whether a trace is sent: a failed call always is.
    pub fn is_sampled(&self, made: &BatchTrace) -> bool {
        let rate = self.setup.settings.delivery.sample;
        made.exchange.error.is_some() || ids::is_sampled(made.context.trace_id, rate)
    }

    /// The spans, with the type and size of images and files.
    pub fn spans(&self, made: &BatchTrace) -> [SpanData; 2] {
        let exchange = uploads::with_placeholders(&made.exchange);
        self.spans_of(&exchange, made)
    }

    /// The spans as a request; images and files are uploaded before.
    ///
    /// # Errors
    /// If the spans cannot be encoded.
    pub async fn payload(&self, made: &BatchTrace) -> Result<Payload, Failure> {
        let clients = &self.setup.clients;
        let Some(exporter) = &clients.exporter else {
            return Err(anyhow::anyhow!("there is no exporter").into());
        };
        let spans = if Uploads::may_be_in(&made.exchange) {
            let owner = uploads::owner(&made.context, &made.exchange);
            let deadline = Instant::now() + self.setup.settings.delivery.export_timeout;
            let uploads = &clients.uploads;
            let traced = uploads.traced(&made.exchange, None, &owner, deadline).await;
            self.spans_of(&traced, made)
        } else {
            self.spans_of(&made.exchange, made)
        };
        let encoded = exporter.encoder.encode(spans.to_vec());
        encoded.map_err(|error| anyhow::Error::new(error).into())
    }

    fn spans_of(&self, exchange: &Exchange, made: &BatchTrace) -> [SpanData; 2] {
        let maker = SpanMaker::new(&self.setup.settings);
        let filtered = maker.filter(exchange, &made.trace);
        maker.spans(&filtered, &made.context)
    }
}
