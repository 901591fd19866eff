//! Groups the spans of a batch into export requests and runs a few of them at once.
//!
//! It never drops a span: when Langfuse is slower than the model, [`SpanQueue::has_room`] is false and no new call
//! starts. Spans that could not be made again after a kill do not wait in memory for a slow Langfuse: they are stored
//! within a second.

use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use opentelemetry::trace::TraceId;
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::batch::pool::span_group::{SpanGroup, size};
use crate::batch::resume::acks::{Ack, AckFile};
use crate::delivery::{
    Delivery, Exporter, MAX_REQUEST_BYTES, MAX_REQUEST_SPANS, OutboxPolicy, StoredExport,
};

/// The longest time that a trace waits for others.
const LONGEST_WAIT: Duration = Duration::from_millis(250);
/// How much longer it waits to be stored, while no further export may start.
const FURTHER_WAIT: Duration = Duration::from_millis(350);
/// The most export requests at once.
const MOST_EXPORTS: usize = 4;
/// The time for an export while the server is down: one attempt, so that the run continues.
const SHORT_BUDGET: Duration = Duration::from_secs(2);

/// The result of an export.
#[derive(Debug)]
pub struct ExportedLines {
    pub lines: Vec<u64>,
    /// The number of lines with a trace that was not accepted.
    pub unaccepted: usize,
    pub delivery: Delivery,
}

type ExportFuture<'a> = Pin<Box<dyn Future<Output = ExportedLines> + 'a>>;

/// Traces that wait for their export, and running exports.
pub struct SpanQueue<'a> {
    exporter: &'a Exporter,
    /// The time for one export with its retries.
    budget: Duration,
    policy: OutboxPolicy,
    group: SpanGroup,
    /// Traces that an earlier run may have sent, and that are kept in the outbox instead.
    unproven: SpanGroup,
    /// The groups of them that are kept.
    kept: VecDeque<ExportedLines>,
    /// Where the beginning of each export is noted.
    acks: Option<AckFile>,
    /// Full groups that wait for a running export to end, where spans are not stored before they are sent.
    waiting: VecDeque<SpanGroup>,
    /// Stored groups that wait for a running export to end.
    stored: VecDeque<StoredGroup>,
    exports: FuturesUnordered<ExportFuture<'a>>,
    /// Cancels the running exports.
    cancel: Vec<Arc<Notify>>,
    /// Whether the last export ended with a retryable failure.
    is_down: bool,
    is_cancelled: bool,
}

/// A group in the outbox.
struct StoredGroup {
    lines: Vec<u64>,
    ids: Vec<TraceId>,
    export: StoredExport,
    spans: usize,
    bytes: usize,
}

impl<'a> SpanQueue<'a> {
    pub fn new(
        exporter: &'a Exporter,
        budget: Duration,
        policy: OutboxPolicy,
        acks: Option<AckFile>,
    ) -> Self {
        Self {
            exporter,
            budget,
            policy,
            group: SpanGroup::default(),
            unproven: SpanGroup::default(),
            kept: VecDeque::new(),
            acks,
            waiting: VecDeque::new(),
            stored: VecDeque::new(),
            exports: FuturesUnordered::new(),
            cancel: Vec::new(),
            is_down: false,
            is_cancelled: false,
        }
    }

    /// Adds the trace of a line.
    pub fn push(&mut self, line: u64, spans: Vec<SpanData>) {
        if self.group.is_filled_by(&spans) {
            self.close_group();
        }
        self.group.push(line, spans);
        let due = || Instant::now() + LONGEST_WAIT;
        self.group.due.get_or_insert_with(due);
    }

    /// Adds the trace of a line that an earlier run may have sent. It is not sent, but kept in the outbox.
    pub fn push_unproven(&mut self, line: u64, spans: Vec<SpanData>) {
        if self.unproven.is_filled_by(&spans) {
            self.keep_unproven();
        }
        self.unproven.push(line, spans);
    }

    fn keep_unproven(&mut self) {
        let SpanGroup {
            lines, ids, spans, ..
        } = std::mem::take(&mut self.unproven);
        if lines.is_empty() {
            return;
        }
        let delivery = self.exporter.keep_unproven(spans, Timestamp::now());
        self.kept.push_back(ExportedLines {
            unaccepted: unaccepted(&ids, &delivery),
            lines,
            delivery,
        });
    }

    /// Stores the trace of a line that will be replaced by [`push_stored`](Self::push_stored); `None` where spans are
    /// stored only when they are not accepted.
    pub fn store(&self, spans: Vec<SpanData>) -> Option<StoredExport> {
        self.stores_soon().then(|| self.exporter.store(spans))
    }

    /// Adds the trace of a line that is stored already, as an export of its own. If there are `spans`, they replace the
    /// stored ones.
    pub fn push_stored(
        &mut self,
        line: u64,
        trace_id: TraceId,
        mut export: StoredExport,
        spans: Vec<SpanData>,
    ) {
        let (count, bytes) = (spans.len(), spans.iter().map(size).sum());
        if !spans.is_empty() {
            self.exporter.replace(&mut export, spans);
        }
        self.stored.push_back(StoredGroup {
            lines: vec![line],
            ids: vec![trace_id],
            export,
            spans: count,
            bytes,
        });
    }

    /// Whether more traces can be added without growing.
    pub fn has_room(&self) -> bool {
        let stored = self.stored.iter().map(|group| (group.spans, group.bytes));
        let waiting = self.waiting.iter().chain([&self.group]);
        let waiting = waiting.map(|group| (group.spans.len(), group.bytes));
        let (spans, bytes) = stored
            .chain(waiting)
            .fold((0, 0), |sum, group| (sum.0 + group.0, sum.1 + group.1));
        self.may_export() || (spans < MAX_REQUEST_SPANS && bytes < MAX_REQUEST_BYTES)
    }

    /// Whether no trace is waiting or being exported.
    pub fn is_idle(&self) -> bool {
        self.group.lines.is_empty()
            && self.waiting.is_empty()
            && self.unproven.lines.is_empty()
            && self.kept.is_empty()
            && self.stored.is_empty()
            && self.exports.is_empty()
    }

    /// Exports the waiting traces without waiting for more.
    pub fn hurry(&mut self) {
        self.keep_unproven();
        let now = Instant::now();
        self.group.due = self.group.due.map(|due| due.min(now));
    }

    /// Gives up waiting: traces that are not delivered go to the outbox.
    pub fn cancel(&mut self) {
        self.is_cancelled = true;
        for cancel in &self.cancel {
            cancel.notify_one();
        }
        self.hurry();
    }

    /// Waits for an export to end, and starts others when they are due. Cancel safe. Never ends while there is nothing
    /// to send.
    pub async fn next(&mut self) -> ExportedLines {
        loop {
            if let Some(kept) = self.kept.pop_front() {
                return kept;
            }
            if self.may_export()
                && let Some(group) = self.stored.pop_front()
            {
                self.send(group);
                continue;
            }
            if self.may_export()
                && let Some(group) = self.waiting.pop_front()
            {
                self.export(group);
                continue;
            }
            let due = self.due();
            let is_worthwhile = self.exports.is_empty() && self.group.is_worthwhile();
            if due.is_some() && (is_worthwhile || self.group.is_full() || self.is_cancelled) {
                self.close_group();
                continue;
            }
            let wake = due.unwrap_or_else(Instant::now);
            tokio::select! {
                Some(exported) = self.exports.next(), if !self.exports.is_empty() => {
                    return self.ended(exported);
                }
                () = sleep_until(wake), if due.is_some() => self.close_group(),
                else => std::future::pending().await,
            }
        }
    }

    fn ended(&mut self, exported: ExportedLines) -> ExportedLines {
        self.cancel.retain(|cancel| Arc::strong_count(cancel) > 1);
        let outcome = &exported.delivery.outcome;
        self.is_down = !outcome.is_accepted() && outcome.is_retryable();
        exported
    }

    fn may_export(&self) -> bool {
        self.exports.len() < MOST_EXPORTS || self.is_cancelled
    }

    /// Whether spans are stored unless they are accepted soon.
    fn stores_soon(&self) -> bool {
        self.policy == OutboxPolicy::Soon
    }

    /// When the group has to be exported, or stored for a later export; `None` while it is empty or can only wait.
    fn due(&self) -> Option<Instant> {
        let due = self.group.due?;
        if self.may_export() {
            Some(due)
        } else {
            self.stores_soon().then(|| due + FURTHER_WAIT)
        }
    }

    /// Exports a group.
    fn export(&mut self, group: SpanGroup) {
        let SpanGroup {
            lines, ids, spans, ..
        } = group;
        let (exporter, policy) = (self.exporter, self.policy);
        let (budget, cancel) = (self.export_budget(), self.begin(&lines));
        self.start(lines, ids, async move {
            exporter.export(spans, budget, policy, &cancel).await
        });
    }

    /// Exports the group, or stores it or lets it wait while no export may start.
    fn close_group(&mut self) {
        let group = std::mem::take(&mut self.group);
        if self.may_export() {
            return self.export(group);
        }
        if !self.stores_soon() {
            return self.waiting.push_back(group);
        }
        let SpanGroup {
            lines,
            ids,
            spans,
            bytes,
            ..
        } = group;
        self.stored.push_back(StoredGroup {
            lines,
            ids,
            spans: spans.len(),
            bytes,
            export: self.exporter.store(spans),
        });
    }

    /// Sends a stored group.
    fn send(&mut self, group: StoredGroup) {
        let StoredGroup {
            lines, ids, export, ..
        } = group;
        let (exporter, cancel) = (self.exporter, self.begin(&lines));
        let deadline = Instant::now() + self.export_budget();
        self.start(lines, ids, async move {
            exporter.send(export, deadline, &cancel).await
        });
    }

    /// The time for the next export.
    fn export_budget(&self) -> Duration {
        if self.is_down {
            self.budget.min(SHORT_BUDGET)
        } else {
            self.budget
        }
    }

    /// Notes that the export of `lines` begins, and returns what cancels it. An export that cannot be noted does not
    /// begin.
    fn begin(&mut self, lines: &[u64]) -> Arc<Notify> {
        let cancel = Arc::new(Notify::new());
        let ack = Ack::Begun(lines.to_vec());
        let noted = self.acks.as_mut().map(|acks| acks.append(&ack));
        if self.is_cancelled || matches!(noted, Some(Err(_))) {
            cancel.notify_one();
        }
        self.cancel.push(Arc::clone(&cancel));
        cancel
    }

    fn start(
        &mut self,
        lines: Vec<u64>,
        ids: Vec<TraceId>,
        export: impl Future<Output = Delivery> + 'a,
    ) {
        self.exports.push(Box::pin(async move {
            let delivery = export.await;
            ExportedLines {
                unaccepted: unaccepted(&ids, &delivery),
                lines,
                delivery,
            }
        }));
    }
}

/// The number of lines with a trace that was not accepted. Lines with the same `custom_id` share a trace.
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
