//! The traces of a batch on their way: grouped into export requests, a few of which are under way at once.
//!
//! Nothing is dropped: when Langfuse is slower than the model, [`SpanQueue::has_room`] says no, and no new call begins.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use opentelemetry::Value;
use opentelemetry::trace::TraceId;
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::delivery::{Delivery, Exporter, MAX_REQUEST_BYTES, MAX_REQUEST_SPANS, OutboxPolicy};

/// How long a trace waits for others to go with.
const LONGEST_WAIT: Duration = Duration::from_millis(250);
/// Export requests under way at once.
const MOST_EXPORTS: usize = 4;
/// Time for an export while the server is known not to take any: one attempt, so that the run goes on.
const SHORT_BUDGET: Duration = Duration::from_secs(2);

/// What became of the traces of some lines.
#[derive(Debug)]
pub struct Delivered {
    pub lines: Vec<u64>,
    /// How many of the lines have a trace that was not accepted.
    pub unaccepted: usize,
    pub delivery: Delivery,
}

type Export<'a> = Pin<Box<dyn Future<Output = Delivered> + 'a>>;

/// Traces that wait, and those under way.
pub struct SpanQueue<'a> {
    exporter: &'a Exporter,
    /// Time for one export request with its retries.
    budget: Duration,
    keep: OutboxPolicy,
    group: Group,
    exports: FuturesUnordered<Export<'a>>,
    /// Tells the exports that nobody can wait any longer.
    cancel: Vec<Arc<Notify>>,
    /// Whether the last export failed although it had all its time.
    is_down: bool,
    is_cancelled: bool,
}

/// Traces that go together.
#[derive(Default)]
struct Group {
    lines: Vec<u64>,
    /// The trace of each line.
    ids: Vec<TraceId>,
    spans: Vec<SpanData>,
    bytes: usize,
    /// When the first of them is to go at the latest.
    due: Option<Instant>,
}

impl<'a> SpanQueue<'a> {
    pub fn new(exporter: &'a Exporter, budget: Duration, keep: OutboxPolicy) -> Self {
        Self {
            exporter,
            budget,
            keep,
            group: Group::default(),
            exports: FuturesUnordered::new(),
            cancel: Vec::new(),
            is_down: false,
            is_cancelled: false,
        }
    }

    /// Takes the trace of a line.
    pub fn push(&mut self, line: u64, spans: Vec<SpanData>) {
        let bytes = spans.iter().map(size).sum::<usize>();
        let is_too_large = self.group.spans.len() + spans.len() > MAX_REQUEST_SPANS
            || self.group.bytes + bytes > MAX_REQUEST_BYTES;
        if is_too_large && !self.group.lines.is_empty() && self.may_begin() {
            self.begin();
        }
        let group = &mut self.group;
        group.lines.push(line);
        let id = spans.first().map(|span| span.span_context.trace_id());
        group.ids.push(id.unwrap_or(TraceId::INVALID));
        group.spans.extend(spans);
        group.bytes += bytes;
        group
            .due
            .get_or_insert_with(|| Instant::now() + LONGEST_WAIT);
    }

    /// Whether the traces of more lines can be taken without growing.
    pub fn has_room(&self) -> bool {
        self.may_begin() || !self.group.is_full()
    }

    /// Whether no trace waits and none is under way.
    pub fn is_idle(&self) -> bool {
        self.group.lines.is_empty() && self.exports.is_empty()
    }

    /// Sends what waits now, without waiting for more.
    pub fn hurry(&mut self) {
        if self.group.due.is_some() {
            self.group.due = Some(Instant::now());
        }
    }

    /// Gives up waiting: what is not delivered goes to the outbox.
    pub fn cancel(&mut self) {
        self.is_cancelled = true;
        for cancel in &self.cancel {
            cancel.notify_one();
        }
        self.hurry();
    }

    /// Waits until an export has ended, beginning others as they are due. May be dropped at any time. Pending while
    /// nothing is to be sent.
    pub async fn next(&mut self) -> Delivered {
        loop {
            let due = self.group.due.filter(|_| self.may_begin());
            if due.is_some() && (self.group.is_full() || self.is_cancelled) {
                self.begin();
                continue;
            }
            let wake = due.unwrap_or_else(Instant::now);
            tokio::select! {
                Some(delivered) = self.exports.next(), if !self.exports.is_empty() => {
                    return self.ended(delivered);
                }
                () = sleep_until(wake), if due.is_some() => self.begin(),
                else => std::future::pending().await,
            }
        }
    }

    fn ended(&mut self, delivered: Delivered) -> Delivered {
        self.cancel.retain(|cancel| Arc::strong_count(cancel) > 1);
        let outcome = &delivered.delivery.outcome;
        self.is_down = !outcome.is_accepted() && outcome.is_retryable();
        delivered
    }

    fn may_begin(&self) -> bool {
        self.exports.len() < MOST_EXPORTS || self.is_cancelled
    }

    /// Begins the export of the group.
    fn begin(&mut self) {
        let Group {
            lines, ids, spans, ..
        } = std::mem::take(&mut self.group);
        let budget = if self.is_down {
            self.budget.min(SHORT_BUDGET)
        } else {
            self.budget
        };
        let cancel = Arc::new(Notify::new());
        if self.is_cancelled {
            cancel.notify_one();
        }
        self.cancel.push(Arc::clone(&cancel));
        let (exporter, keep) = (self.exporter, self.keep);
        self.exports.push(Box::pin(async move {
            let delivery = exporter.export(spans, budget, keep, &cancel).await;
            Delivered {
                unaccepted: unaccepted(&ids, &delivery),
                lines,
                delivery,
            }
        }));
    }
}

/// How many lines have a trace that was not accepted: those of one `custom_id` share theirs.
fn unaccepted(ids: &[TraceId], delivery: &Delivery) -> usize {
    if delivery.unaccepted == 0 {
        return 0;
    }
    let traces = ids.iter().collect::<HashSet<_>>().len();
    if delivery.unaccepted >= traces {
        return ids.len();
    }
    delivery.unaccepted
}

impl Group {
    fn is_full(&self) -> bool {
        self.spans.len() >= MAX_REQUEST_SPANS || self.bytes >= MAX_REQUEST_BYTES
    }
}

/// About how many bytes a span takes in a request.
fn size(span: &SpanData) -> usize {
    const IDS_AND_TIMES: usize = 100;
    const FRAME: usize = 10;
    let value = |value: &Value| match value {
        Value::String(text) => text.as_str().len(),
        Value::Array(_) => 64,
        _ => 8,
    };
    let attributes = span.attributes.iter();
    attributes
        .map(|attribute| attribute.key.as_str().len() + value(&attribute.value) + FRAME)
        .sum::<usize>()
        + IDS_AND_TIMES
}
