//! The pool: lines come in, calls run concurrently, answers go out, traces are delivered. One task, one event loop.
//!
//! Why one loop. Lines, answers, traces and acks depend on each other in a fixed order: an answer is written before
//! its trace is sent, and a trace is acked after it is accepted. With a task per stage, the stages would share the
//! counts, the ack file and the reasons to stop; here they are plain fields, and every state change happens in one
//! place. Calls and exports are futures polled by this task. Only blocking work has threads: reading the input,
//! writing the output, decoding images.
//!
//! Why nothing grows. A call starts only if there is room behind it ([`Pool::may_start`]): for its answer, its
//! uploads and its spans. So a slow model, disk or Langfuse slows the reader down, and memory does not depend on the
//! number of lines. A queue without such a check would grow for as long as its consumer is the slowest stage.
//!
//! Why an answer is written before its trace is sent: after a kill, an unwritten line is sent again under the same
//! trace id, and a trace that was sent already would get its spans and its cost twice.
//!
//! Why not the batch processor of the OpenTelemetry SDK: it drops spans when its queue is full, and it cannot tell
//! whether a span arrived. `span_queue` groups spans in the same way, but drops none.
//!
//! What was tried and dropped:
//! * Processing each answer as soon as its call ends: connections were idle while spans were built. `completed` starts
//!   the next calls first, then processes the answers.
//! * Limiting unwritten output by bytes alone: with a slow disk, a kill lost up to 1 MiB of answers, and they were
//!   paid for again. Now as many lines may be unwritten as calls run at once.
//! * Dropping finished lines at a second signal: with `--ordered`, paid answers were lost. Now they are written.
//! * Stopping when an unwritable outbox loses traces, also with `--best-effort`: most lines were not sent, and the
//!   exit code was 0.
//!
//! What a change must not break:
//! * Answers that are not written yet count against the concurrency, those that wait in `completed` included. A kill
//!   then costs at most as many calls twice as run at once.
//! * Every future in `next_event` is cancel safe: the loop drops all but one of them each time.
//! * After the output has failed, a resumable run writes and traces nothing more. The unwritten lines count as not
//!   answered. In a run that cannot be resumed, answers that were paid for are still traced.

mod call;
mod events;
mod outage;
pub mod pending_trace;
pub mod score_queue;
pub mod span_group;
pub mod span_queue;
mod start;
mod stop;
mod tokens;
pub mod trace_sender;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use crate::app::record_file::RecordFile;
use crate::app::score_sender::RefusedScores;
use crate::app::signals::SignalListener;
use crate::batch::costs::Costs;
use crate::batch::input::RawLine;
use crate::batch::links::Links;
use crate::batch::output::line::CompletedCall;
use crate::batch::output::reorder::ReorderBuffer;
use crate::batch::output::writer::Writer;
pub use crate::batch::pool::call::PoolContext;
use crate::batch::pool::call::UnansweredCall;
use crate::batch::pool::events::{AfterWrite, FinishedLine};
use crate::batch::pool::outage::Outage;
use crate::batch::pool::pending_trace::PendingTrace;
use crate::batch::pool::score_queue::SentScores;
use crate::batch::pool::span_queue::ExportedLines;
pub use crate::batch::pool::stop::StopReason;
use crate::batch::pool::trace_sender::{SenderEvent, TraceSender};
use crate::batch::progress::{ProgressLine, Wait};
use crate::batch::resume::input_note::InputTracker;
use crate::batch::stats::{ScoreStats, Stats, TraceStats};
use crate::batch::verify::ExpectedTraces;
use crate::delivery::{Delivery, StoredExport};
use crate::failure::Signal;

/// The interval between updates of the progress line.
const TICK: Duration = Duration::from_millis(200);

/// The files of a run, and its links.
pub struct Channels {
    pub lines: Receiver<io::Result<Vec<RawLine>>>,
    pub writer: Writer,
    /// The file of `--record`.
    pub record: Option<RecordFile>,
    pub links: Links,
}

/// The result of a run, once its work is done.
#[derive(Debug)]
pub struct RunResult {
    /// From the first line to the last trace, without `--verify`.
    pub duration: Duration,
    pub stats: Stats,
    pub traces: TraceStats,
    pub scores: ScoreStats,
    /// The first scores that were not accepted, and where they are.
    pub refused_scores: Option<RefusedScores>,
    /// Some of the accepted scores, by their trace, for `--verify`.
    pub scored: Vec<(String, Vec<Value>)>,
    /// Redacted passages of traces and recordings.
    pub redactions: u64,
    pub stop: Option<StopReason>,
    /// The first delivery that was not accepted.
    pub first_failure: Option<Delivery>,
    pub expected: ExpectedTraces,
    pub session_url: Option<String>,
}

type CallResult = Result<CompletedCall, UnansweredCall>;
type CallFuture<'a> = Pin<Box<dyn Future<Output = CallResult> + 'a>>;
/// Returns the line, and its trace with references in place of the uploaded content.
type UploadFuture<'a> = Pin<Box<dyn Future<Output = (u64, PendingTrace)> + 'a>>;

/// A trace with running uploads.
struct UploadingTrace {
    pending: Rc<PendingTrace>,
    /// The trace with type and size in place of the content, if it is stored before it is sent.
    stored: Option<StoredExport>,
}

/// The state of the event loop.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Pool<'a> {
    context: PoolContext<'a>,
    channels: Channels,
    traces: TraceSender<'a>,
    stats: Stats,
    /// Lines that were read, but not started.
    lines: VecDeque<RawLine>,
    has_more_input: bool,
    /// Lines of the input that were started or skipped, those of other shards included.
    begun: u64,
    /// Those lines, for the note on the input.
    input: InputTracker,
    /// When the first call started.
    first_call: Option<Timestamp>,
    calls: FuturesUnordered<CallFuture<'a>>,
    /// Calls that have ended, and wait for the price table.
    ended: Vec<CallResult>,
    /// Calls that have ended, with an answer that is not processed yet.
    unprocessed: usize,
    costs: Costs,
    /// Lines that wait because the endpoint is down.
    outage: Outage,
    reorder: ReorderBuffer<FinishedLine>,
    /// What is left to do for the lines that are being written, in the order of the output.
    unwritten: VecDeque<(u64, AfterWrite)>,
    uploads: FuturesUnordered<UploadFuture<'a>>,
    /// The traces of lines with running uploads, for the case that these are abandoned.
    uploading: HashMap<u64, UploadingTrace>,
    /// Whether nothing more is written.
    is_closed: bool,
    /// Whether uploads are abandoned.
    is_leaving: bool,
    stop: Option<StopReason>,
    /// Whether a line had variables that the managed prompt does not have.
    has_warned_of_unused: bool,
    /// Whether a line had something that its dialect warns of.
    has_warned_of_request: bool,
    /// After a signal: the deadline for pending calls; once none are left, for the output.
    deadline: Option<Instant>,
}

/// An event of the loop.
enum PoolEvent {
    Completed(Box<CallResult>),
    Uploaded(u64, Box<PendingTrace>),
    Priced,
    /// The endpoint is down, and may be tried again.
    PauseEnded,
    Read(Option<io::Result<Vec<RawLine>>>),
    Written(io::Result<usize>),
    Exported(ExportedLines),
    Scored(SentScores),
    Signal(Signal),
    Tick,
    Deadline,
}

impl<'a> Pool<'a> {
    pub fn new(
        context: PoolContext<'a>,
        channels: Channels,
        costs: Costs,
        mut traces: TraceSender<'a>,
    ) -> Self {
        let plan = context.plan;
        let previous = traces.state.previous();
        let stats = previous.map(|previous| Stats {
            began: std::time::Instant::now(),
            ..previous.stats.clone()
        });
        let accepted = previous.map_or(0, |previous| previous.accepted);
        traces.stats.accepted += accepted;
        Self {
            context,
            channels,
            traces,
            stats: stats.unwrap_or_else(Stats::begin),
            first_call: None,
            lines: VecDeque::new(),
            has_more_input: plan.limit != Some(0),
            begun: 0,
            input: InputTracker::default(),
            calls: FuturesUnordered::new(),
            ended: Vec::new(),
            unprocessed: 0,
            costs,
            outage: Outage::default(),
            reorder: ReorderBuffer::new(plan.is_ordered),
            unwritten: VecDeque::new(),
            uploads: FuturesUnordered::new(),
            uploading: HashMap::new(),
            is_closed: false,
            is_leaving: false,
            stop: None,
            has_warned_of_unused: false,
            has_warned_of_request: false,
            deadline: None,
        }
    }

    /// Runs until all lines are done, or as far as the reason to stop allows. `total` is the number of lines of the run,
    /// once they are counted.
    pub async fn run(mut self, signals: &mut SignalListener, total: &OnceLock<u64>) -> RunResult {
        let shows_answers = self.context.plan.out.is_on_a_terminal();
        let mut progress = ProgressLine::begin(self.context.console, shows_answers);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.check_cost();
        loop {
            self.settle_outage();
            self.start_calls();
            if !self.calls.is_empty() {
                progress.start_timing();
            }
            self.flush_at_the_end();
            self.channels.writer.start_writing();
            if self.is_done() {
                break;
            }
            match self.next_event(signals, &mut tick).await {
                PoolEvent::Completed(call) => self.completed(*call).await,
                PoolEvent::Priced => self.priced(),
                PoolEvent::PauseEnded => self.try_endpoint(),
                PoolEvent::Uploaded(line, pending) => self.uploaded(line, &pending),
                PoolEvent::Read(lines) => self.read(lines),
                PoolEvent::Written(result) => self.written(result),
                PoolEvent::Exported(exported) => self.exported(&exported),
                PoolEvent::Scored(scored) => self.scored(scored),
                PoolEvent::Signal(signal) => self.signalled(signal),
                PoolEvent::Deadline => self.deadline_passed(),
                PoolEvent::Tick => {
                    progress.show(&self.stats, total.get().copied(), self.wait());
                }
            }
        }
        progress.clear();
        if !self.is_closed
            && let Err(error) = self.channels.writer.finish().await
        {
            self.output_failed(&error);
        }
        self.result()
    }

    fn result(mut self) -> RunResult {
        if self.stop.is_some() {
            self.skip_unread();
        }
        let session = self.context.plan.trace.session.as_deref();
        RunResult {
            duration: self.stats.elapsed(),
            session_url: session.and_then(|session| self.channels.links.session(session)),
            stats: self.stats,
            traces: self.traces.stats,
            scores: self.traces.score_stats(),
            refused_scores: self.traces.take_refused_scores(),
            scored: self.traces.take_scored(),
            redactions: self.traces.redactions,
            stop: self.stop,
            first_failure: self.traces.first_failure,
            expected: self.traces.expected,
        }
    }

    /// Waits for the next event.
    async fn next_event(&mut self, signals: &mut SignalListener, tick: &mut Interval) -> PoolEvent {
        let wants_lines = self.has_more_input && self.lines.is_empty();
        let is_writing = self.channels.writer.is_busy() && !self.is_closed;
        let deadline = self
            .deadline
            .filter(|_| !self.calls.is_empty() || is_writing);
        let next_try = self.outage.next_try();
        let Channels { lines, writer, .. } = &mut self.channels;
        tokio::select! {
            Some(call) = self.calls.next(), if !self.calls.is_empty() => {
                PoolEvent::Completed(Box::new(call))
            }
            () = self.costs.wait(), if self.costs.is_pending() && !self.ended.is_empty() => {
                PoolEvent::Priced
            }
            Some((line, pending)) = self.uploads.next(), if !self.uploads.is_empty() => {
                PoolEvent::Uploaded(line, Box::new(pending))
            }
            read = lines.recv(), if wants_lines => PoolEvent::Read(read),
            written = writer.written(), if is_writing => PoolEvent::Written(written),
            event = self.traces.next_event() => match event {
                SenderEvent::Exported(exported) => PoolEvent::Exported(exported),
                SenderEvent::Scored(scored) => PoolEvent::Scored(scored),
            },
            signal = signals.wait() => PoolEvent::Signal(signal),
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                PoolEvent::Deadline
            }
            () = sleep_until(next_try.unwrap_or_else(Instant::now)), if next_try.is_some() => {
                PoolEvent::PauseEnded
            }
            _ = tick.tick() => PoolEvent::Tick,
        }
    }

    /// What the calls wait for, if they do.
    fn wait(&self) -> Option<Wait> {
        let until = |end: Instant| end.saturating_duration_since(Instant::now());
        if self.outage.is_known() {
            return Some(Wait::EndpointDown(self.outage.next_try().map(until)));
        }
        let pause = self.context.rate_limiters.pause_left();
        pause.map(Wait::RateLimit)
    }

    /// Whether nothing is left to do.
    fn is_done(&self) -> bool {
        !self.has_more_input
            && self.lines.is_empty()
            && self.calls.is_empty()
            && self.ended.is_empty()
            && self.outage.is_over()
            && self.unwritten.is_empty()
            && self.uploads.is_empty()
            && self.traces.is_idle()
    }

    /// After the last call: writes lines that wait for an earlier one that will not come, and exports the last traces
    /// without waiting for more.
    fn flush_at_the_end(&mut self) {
        let is_calling = !self.calls.is_empty() || !self.ended.is_empty() || !self.outage.is_over();
        if self.has_more_input || !self.lines.is_empty() || is_calling {
            return;
        }
        let held: Vec<(u64, FinishedLine)> = self.reorder.drain().collect();
        for (line, finished) in held {
            self.write(line, finished);
        }
        if self.unwritten.is_empty() && self.uploads.is_empty() {
            self.traces.hurry();
        }
    }
}
