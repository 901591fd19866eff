//! The run itself: lines come in, calls are under way, answers go out, traces are delivered, all in one loop.
//!
//! Every stage is bounded: a new call only begins while there is room behind it, so a slow model, disk or Langfuse
//! slows the reader down, and memory does not grow with the number of lines.

mod call;
mod events;
pub mod span_queue;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc::Receiver;
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::app::record_file::RecordFile;
use crate::app::signals::SignalListener;
use crate::batch::input;
use crate::batch::input::line::Line;
use crate::batch::links::Links;
use crate::batch::output::answer::{self, Called};
use crate::batch::output::reorder::ReorderBuffer;
use crate::batch::output::writer::Writer;
pub use crate::batch::pool::call::PoolContext;
use crate::batch::pool::events::{AfterWrite, FinishedLine, PendingTrace};
use crate::batch::pool::span_queue::{Delivered, SpanQueue};
use crate::batch::progress::Display;
use crate::batch::report::Finished;
use crate::batch::resume::state::ResumeState;
use crate::batch::stats::Stats;
use crate::batch::verify::TraceCount;
use crate::delivery::Delivery;
use crate::failure::{Failure, Signal};
use crate::model::Stopped;

/// Output that waits for the disk is at most this much before no new call begins, in bytes.
const MOST_UNWRITTEN: usize = 1 << 20;
/// After a signal, calls under way have this long to end.
const FAREWELL: Duration = Duration::from_secs(30);
/// When no call is waited for any longer, the answers that are there have this long to be written.
const LAST_WRITES: Duration = Duration::from_secs(1);
/// How often progress is shown.
const TICK: Duration = Duration::from_millis(200);

/// Why a run ends before its input does.
#[derive(Debug)]
pub enum Stop {
    Signal(Signal),
    /// The endpoint will answer no other line either.
    Model(String),
    MaxErrors(u64),
    /// Traces can neither be delivered nor kept.
    Outbox(String),
    /// Nobody reads the output any more.
    Closed,
    /// A file cannot be read or written any more.
    File(Failure),
}

/// The ends of a run, between which the pool works.
pub struct Channels<'a> {
    pub lines: Receiver<io::Result<Vec<input::RawLine>>>,
    pub writer: Writer,
    /// None when tracing is off.
    pub tracer: Option<SpanQueue<'a>>,
    pub history: ResumeState,
    /// The file of `--record`.
    pub record: Option<RecordFile>,
    pub pages: Links,
}

type Call<'a> = Pin<Box<dyn Future<Output = Result<Called, Stopped>> + 'a>>;
/// Gives the line, and the exchange with references in the place of what was uploaded.
type Upload<'a> = Pin<Box<dyn Future<Output = (u64, PendingTrace)> + 'a>>;

/// The run.
pub struct Pool<'a> {
    tools: PoolContext<'a>,
    ends: Channels<'a>,
    /// Lines that were read, but are not under way.
    lines: VecDeque<input::RawLine>,
    has_more: bool,
    /// Lines of this run's share so far.
    taken: u64,
    calls: FuturesUnordered<Call<'a>>,
    order: ReorderBuffer<FinishedLine>,
    /// Calls that have ended, of which nothing is known yet.
    untaken: usize,
    /// What is left to do for the lines that are being written, in their order.
    unwritten: VecDeque<(u64, AfterWrite)>,
    uploads: FuturesUnordered<Upload<'a>>,
    /// The exchanges whose images and files are under way, as they are traced when nobody can wait for these.
    uploading: HashMap<u64, Rc<PendingTrace>>,
    is_closed: bool,
    /// Nothing is waited for any more.
    is_leaving: bool,
    /// The traces that `--verify` looks for.
    trace_count: TraceCount,
    pub tally: Stats,
    stop: Option<Stop>,
    /// What became of the first traces that were not accepted.
    pub trouble: Option<Delivery>,
    /// Until when calls, or the output when there are none, are waited for.
    farewell: Option<Instant>,
}

/// What happened next.
enum Event {
    FinishedLine(Box<Result<Called, Stopped>>),
    Uploaded(u64, Box<PendingTrace>),
    Read(Option<io::Result<Vec<input::RawLine>>>),
    Written(io::Result<usize>),
    Delivered(Delivered),
    Signal(Signal),
    Tick,
    TimeUp,
}

impl<'a> Pool<'a> {
    pub fn new(
        tools: PoolContext<'a>,
        ends: Channels<'a>,
        is_ordered: bool,
        trace_count: TraceCount,
    ) -> Self {
        Self {
            tools,
            ends,
            lines: VecDeque::new(),
            has_more: tools.plan.limit != Some(0),
            taken: 0,
            calls: FuturesUnordered::new(),
            order: ReorderBuffer::new(is_ordered),
            untaken: 0,
            unwritten: VecDeque::new(),
            uploads: FuturesUnordered::new(),
            uploading: HashMap::new(),
            is_closed: false,
            is_leaving: false,
            trace_count,
            tally: Stats::begin(),
            stop: None,
            trouble: None,
            farewell: None,
        }
    }

    /// Runs until all is done, or as much as a reason to stop leaves; `part` tells how much of the input was read.
    pub async fn run(&mut self, interrupt: &mut SignalListener, part: impl Fn() -> Option<f64>) {
        let mut display = Display::begin(self.tools.console);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.start_calls();
            if !self.calls.is_empty() {
                display.calls_begin(|| self.part(&part));
            }
            self.hurry_at_the_end();
            self.ends.writer.write();
            if self.is_done() {
                break;
            }
            match self.next(interrupt, &mut tick).await {
                Event::FinishedLine(ended) => self.ended(*ended).await,
                Event::Uploaded(line, untraced) => {
                    self.uploading.remove(&line);
                    self.push(line, &untraced);
                }
                Event::Read(lines) => self.read(lines),
                Event::Written(written) => self.written(written),
                Event::Delivered(delivered) => self.delivered(&delivered),
                Event::Signal(signal) => self.signalled(signal),
                Event::TimeUp => self.time_up(),
                Event::Tick => {
                    display.show(&self.tally, self.part(&part), self.tools.pace.pause_left());
                }
            }
        }
        display.end();
        if !self.is_closed
            && let Err(error) = self.ends.writer.finish().await
        {
            self.output_failed(&error);
        }
    }

    /// The share of the run's lines that have begun: of those that `--limit` allows, else of the input, as `read` tells.
    fn part(&self, read: impl Fn() -> Option<f64>) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a share for people")]
        match self.tools.plan.limit.filter(|limit| *limit > 0) {
            Some(limit) => Some(self.taken as f64 / limit as f64),
            None => read(),
        }
    }

    /// What is known now that the work is done.
    pub fn finish(self) -> Finished {
        let session = self.tools.plan.trace.session.as_deref();
        Finished {
            lasted: self.tally.elapsed(),
            session_url: session.and_then(|session| self.ends.pages.session(session)),
            tally: self.tally,
            stop: self.stop,
            trouble: self.trouble,
            trace_count: self.trace_count,
        }
    }

    /// Waits for whatever happens next.
    async fn next(
        &mut self,
        interrupt: &mut SignalListener,
        tick: &mut tokio::time::Interval,
    ) -> Event {
        let wants_lines = self.has_more && self.lines.is_empty();
        let is_writing = self.ends.writer.is_busy() && !self.is_closed;
        let farewell = self
            .farewell
            .filter(|_| !self.calls.is_empty() || is_writing);
        let Channels {
            lines,
            writer,
            tracer,
            ..
        } = &mut self.ends;
        let delivered = async {
            match tracer {
                Some(tracer) => tracer.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(ended) = self.calls.next(), if !self.calls.is_empty() => {
                Event::FinishedLine(Box::new(ended))
            }
            Some((line, untraced)) = self.uploads.next(), if !self.uploads.is_empty() => {
                Event::Uploaded(line, Box::new(untraced))
            }
            read = lines.recv(), if wants_lines => Event::Read(read),
            written = writer.written(), if is_writing => Event::Written(written),
            delivered = delivered => Event::Delivered(delivered),
            signal = interrupt.wait() => Event::Signal(signal),
            () = sleep_until(farewell.unwrap_or_else(Instant::now)), if farewell.is_some() => {
                Event::TimeUp
            }
            _ = tick.tick() => Event::Tick,
        }
    }

    /// Whether nothing is left to wait for.
    fn is_done(&self) -> bool {
        !self.has_more
            && self.lines.is_empty()
            && self.calls.is_empty()
            && self.unwritten.is_empty()
            && self.uploads.is_empty()
            && self.ends.tracer.as_ref().is_none_or(SpanQueue::is_idle)
    }

    /// Sends the last traces without waiting for others to go with, and lets lines go out whose earlier ones never
    /// will.
    fn hurry_at_the_end(&mut self) {
        if self.has_more || !self.lines.is_empty() || !self.calls.is_empty() {
            return;
        }
        let held: Vec<(u64, FinishedLine)> = self.order.drain().collect();
        for (line, ended) in held {
            self.end(line, ended);
        }
        if let Some(tracer) = self
            .ends
            .tracer
            .as_mut()
            .filter(|_| self.unwritten.is_empty() && self.uploads.is_empty())
        {
            tracer.hurry();
        }
    }

    /// Ends the run early: nothing more is read, what is under way ends.
    fn stop(&mut self, why: Stop) {
        self.stop.get_or_insert(why);
        self.begin_nothing();
    }

    /// Neither lines that wait for their turn nor others are asked.
    fn begin_nothing(&mut self) {
        self.tools.pace.close();
        self.end_input();
    }

    fn end_input(&mut self) {
        self.ends.lines.close();
        self.has_more = false;
        self.lines.clear();
    }

    fn read(&mut self, lines: Option<io::Result<Vec<input::RawLine>>>) {
        match lines {
            Some(Ok(lines)) => self.lines.extend(lines),
            None => self.has_more = false,
            Some(Err(error)) => {
                let failure = Failure::file(format!("the input cannot be read: {error}"));
                self.stop(Stop::File(
                    failure.hint("check the file; what was read is done"),
                ));
            }
        }
    }

    fn start_calls(&mut self) {
        while self.may_start()
            && let Some(line) = self.lines.pop_front()
        {
            self.start(&line);
            if self.has_taken_all() {
                self.end_input();
            }
        }
    }

    /// Whether the lines that `--limit` allows have all begun: what comes after them is not waited for.
    fn has_taken_all(&self) -> bool {
        self.tools
            .plan
            .limit
            .is_some_and(|limit| self.taken >= limit)
    }

    /// Whether there is room for one more call, and for everything that follows it.
    fn may_start(&self) -> bool {
        let concurrency = self.tools.concurrency;
        self.calls.len() < concurrency
            && self.uploads.len() < concurrency
            // An answer that is not written is paid for again after a kill.
            && self.unwritten.len() + self.untaken <= concurrency
            && self.order.held_with(self.untaken) <= 4 * concurrency
            && self.ends.writer.waiting_bytes() < MOST_UNWRITTEN
            && self.ends.tracer.as_ref().is_none_or(SpanQueue::has_room)
    }

    fn start(&mut self, line: &input::RawLine) {
        let plan = self.tools.plan;
        let number = line.number;
        if !plan.holds(number) {
            return;
        }
        self.taken += 1;
        let duties = self.ends.history.duties(number);
        if duties.ask.is_none() {
            self.tally.skipped += 1;
            self.tally.failed_before += u64::from(self.ends.history.has_failed(number));
        }
        if duties.is_empty() {
            return;
        }
        let parsed = Line::parse(line, &self.tools.defaults());
        if let (Some(unsettled), Ok(parsed)) = (&duties.deliver, &parsed) {
            self.deliver_again(number, parsed, unsettled);
        }
        let Some(redo) = duties.ask else { return };
        self.order.expect(number);
        match parsed {
            Ok(parsed) => {
                let digest = answer::digest(line);
                let call = self.tools.call(number, digest, parsed, redo);
                self.calls.push(Box::pin(call));
            }
            Err(why) => {
                self.tally.add_invalid(answer::INVALID);
                let text = answer::invalid(number, &why);
                let trail = AfterWrite::Done;
                self.end(number, FinishedLine { text, trail });
                self.check_errors();
            }
        }
    }

    fn answered(&mut self, called: Called) {
        let exchange = &called.exchange;
        self.tally.add(exchange, called.cause());
        if let (Some(fault), Some(error)) = (called.progress.error_kind, &exchange.error)
            && fault.concerns_all()
        {
            self.stop(Stop::Model(error.message.clone()));
        }
        let is_traced = self.is_traced(exchange, &called.context);
        self.record(&called, is_traced);
        let page = self.ends.pages.trace(called.context.trace_id);
        match called.to_line(page.filter(|_| is_traced).as_deref()) {
            Ok(text) => {
                let line = called.line;
                let trail = if is_traced {
                    AfterWrite::Trace(Box::new(called.into()))
                } else {
                    AfterWrite::Done
                };
                self.end(line, FinishedLine { text, trail });
            }
            Err(error) => self.stop(Stop::File(error.into())),
        }
        self.check_errors();
    }

    /// Takes a call that has ended, and those that ended beside it. What follows them waits until other calls are on
    /// their way in the place of those that were answered: the endpoint is not kept waiting.
    async fn ended(&mut self, first: Result<Called, Stopped>) {
        let mut all = vec![first];
        while all.len() <= self.tools.concurrency {
            let is_answered = |ended: &Result<Called, Stopped>| {
                ended
                    .as_ref()
                    .is_ok_and(|called| called.exchange.error.is_none())
            };
            self.untaken = all.len();
            if all.last().is_some_and(is_answered) {
                self.start_calls();
            }
            let Some(Some(next)) = self.calls.next().now_or_never() else {
                break;
            };
            all.push(next);
        }
        // Requests only leave once this task lets the connections' own run.
        yield_now().await;
        self.untaken = 0;
        for ended in all {
            match ended {
                Ok(called) => self.answered(called),
                Err(halt) => self.halted(halt),
            }
        }
    }

    fn halted(&mut self, halt: Stopped) {
        if let Stopped::LongPause(left) = halt {
            let seconds = left.as_secs();
            self.stop(Stop::Model(format!(
                "the model endpoint wants no request for {seconds} s"
            )));
        }
    }

    fn check_errors(&mut self) {
        if let Some(most) = self.tools.max_errors
            && self.tally.errors() >= most
        {
            self.stop(Stop::MaxErrors(most));
        }
    }

    /// The first signal lets what is under way end, a second one nothing.
    fn signalled(&mut self, signal: Signal) {
        let is_second = matches!(self.stop, Some(Stop::Signal(_)));
        self.stop = Some(Stop::Signal(signal));
        self.begin_nothing();
        if !is_second {
            self.farewell = Some(Instant::now() + FAREWELL);
            self.tools.console.note(&format!(
                "stopping: {} calls under way may end; once more leaves at once",
                self.calls.len()
            ));
            return;
        }
        self.leave_calls();
        self.leave_uploads();
        if let Some(tracer) = &mut self.ends.tracer {
            tracer.cancel();
        }
    }

    fn leave_calls(&mut self) {
        self.calls.clear();
        self.farewell = Some(Instant::now() + LAST_WRITES);
    }

    /// Nothing that is still under way is waited for: the calls, or else an output that nobody reads.
    fn time_up(&mut self) {
        if self.calls.is_empty() {
            self.close();
        } else {
            self.leave_calls();
        }
    }
}
