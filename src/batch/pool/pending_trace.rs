//! The trace of a line before its spans are made.

use std::borrow::Cow;

use serde_json::Value;

use crate::app::span_maker::SpanMaker;
use crate::app::uploads;
use crate::batch::output::line::CompletedCall;
use crate::trace::privacy::Filtered;
use crate::trace::{Exchange, Trace, TraceContext};

/// An exchange that has no spans yet. They are made as late as possible, since they take more memory.
#[derive(Clone, Debug)]
pub struct PendingTrace {
    pub exchange: Exchange,
    pub trace: Trace,
    pub context: TraceContext,
    /// The redactions, if the privacy filter has run already, for `--record`.
    pub redactions: Option<usize>,
    /// The scores of the trace, as request bodies.
    pub scores: Vec<Value>,
}

impl PendingTrace {
    /// The same with type and size in place of images and files.
    #[must_use]
    pub fn outlined(self) -> Self {
        let outlined = owned(uploads::with_placeholders(&self.exchange));
        Self {
            exchange: outlined.unwrap_or(self.exchange),
            ..self
        }
    }

    /// The parts that may be traced.
    pub fn filtered(&self, maker: &SpanMaker<'_>) -> Filtered<'_> {
        match self.redactions {
            Some(redactions) => Filtered {
                exchange: Cow::Borrowed(&self.exchange),
                trace: Cow::Borrowed(&self.trace),
                redactions,
            },
            None => maker.filter(&self.exchange, &self.trace),
        }
    }
}

impl From<CompletedCall> for PendingTrace {
    fn from(call: CompletedCall) -> Self {
        Self {
            exchange: call.exchange,
            trace: call.trace,
            context: call.context,
            redactions: None,
            scores: Vec::new(),
        }
    }
}

/// The value, if it differs from the borrowed one.
pub fn owned<T: Clone>(value: Cow<'_, T>) -> Option<T> {
    match value {
        Cow::Owned(value) => Some(value),
        Cow::Borrowed(_) => None,
    }
}
