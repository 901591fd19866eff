//! From an exchange to the spans that are sent: the privacy filter, then the dialect of the destination.
//!
//! Base64 content leaves the exchange before the filter runs (`uploads`): a filter that truncates or redacts would
//! cut through it, and it could no longer be found. An exchange without such content can be filtered once for
//! `--record` and for the trace; [`SpanMaker::spans`] takes the result of [`SpanMaker::filter`] for that reason.

use opentelemetry_sdk::trace::SpanData;

use crate::settings::Settings;
use crate::trace::privacy::Filtered;
use crate::trace::spans::{self, Dialect};
use crate::trace::{Exchange, Privacy, Trace, TraceContext};

/// The filter and the dialect of a run.
#[derive(Clone, Copy, Debug)]
pub struct SpanMaker<'a> {
    privacy: &'a Privacy,
    dialect: Dialect,
}

impl<'a> SpanMaker<'a> {
    pub fn new(settings: &'a Settings) -> Self {
        Self {
            privacy: &settings.privacy,
            dialect: settings.tracing.dialect(),
        }
    }

    /// The parts of an exchange that may be recorded and traced.
    pub fn filter<'e>(&self, exchange: &'e Exchange, trace: &'e Trace) -> Filtered<'e> {
        self.privacy.filter(exchange, trace)
    }

    /// The spans of a filtered exchange.
    pub fn spans(&self, filtered: &Filtered<'_>, context: &TraceContext) -> [SpanData; 2] {
        spans::spans(&filtered.exchange, &filtered.trace, context, self.dialect)
    }
}
