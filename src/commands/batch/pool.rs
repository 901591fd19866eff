//! The run itself: lines come in, calls are under way, answers go out, traces are delivered, all in one loop.
//!
//! Every stage is bounded: a new call only begins while there is room behind it, so a slow model, disk or Langfuse
//! slows the reader down, and memory does not grow with the number of lines.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::acks::Note;
use super::answer::{self, Called};
use super::census::Census;
use super::ending::Finished;
use super::history::{Arrived, History};
use super::input;
use super::line::{Defaults, Line};
use super::order::Order;
use super::pages::Pages;
use super::past::Unsettled;
use super::plan::Plan;
use super::tracer::{Delivered, Tracer};
use super::writer::Writer;
use crate::commands::call::{self, Caller};
use crate::commands::interrupt::Interrupt;
use crate::console::Console;
use crate::delivery::{Delivery, Spool};
use crate::failure::{Failure, Signal};
use crate::model::{Nowhere, Pace, Progress};
use crate::output::progress::Display;
use crate::output::tally::Tally;
use crate::settings::Settings;
use crate::trace::privacy::Filtered;
use crate::trace::spans::{self, Dialect};
use crate::trace::{Exchange, Recording, TraceContext, ids};

/// Output that waits for the disk is at most this much before no new call begins, in bytes.
const MOST_UNWRITTEN: usize = 1 << 20;
/// After a signal, calls under way have this long to end.
const FAREWELL: Duration = Duration::from_secs(30);
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

/// What a run works with.
#[derive(Clone, Copy, Debug)]
pub struct Tools<'a> {
    pub plan: &'a Plan,
    pub settings: &'a Settings,
    pub http: &'a reqwest::Client,
    pub console: &'a Console,
    pub pace: &'a Pace,
    pub dialect: Dialect,
    pub is_traced: bool,
    /// How many calls are under way at once.
    pub concurrency: usize,
    pub max_errors: Option<u64>,
}

/// The ends of a run, between which the pool works.
pub struct Ends<'a> {
    pub lines: Receiver<io::Result<Vec<input::Line>>>,
    pub writer: Writer,
    /// None when tracing is off.
    pub tracer: Option<Tracer<'a>>,
    pub history: History,
    /// The file of `--record`.
    pub record: Option<File>,
    pub pages: Pages,
}

type Call<'a> = Pin<Box<dyn Future<Output = Called> + 'a>>;

/// The run.
pub struct Pool<'a> {
    tools: Tools<'a>,
    ends: Ends<'a>,
    /// Lines that were read, but are not under way.
    lines: VecDeque<input::Line>,
    has_more: bool,
    /// Lines of this run's share so far.
    taken: u64,
    calls: FuturesUnordered<Call<'a>>,
    order: Order<Ended>,
    /// What is left to do for the lines that are being written, in their order.
    unwritten: VecDeque<(u64, Trail)>,
    is_closed: bool,
    is_project_known: bool,
    /// The traces that `--verify` looks for.
    census: Census,
    pub tally: Tally,
    stop: Option<Stop>,
    /// What became of the first traces that were not accepted.
    pub trouble: Option<Delivery>,
    farewell: Option<Instant>,
}

/// A line that has ended.
#[derive(Debug)]
struct Ended {
    text: String,
    trail: Trail,
}

/// What is left to do for a line once it is written.
#[derive(Debug)]
enum Trail {
    /// Nothing: it has no trace, or none that is sent.
    Done,
    Trace(Vec<SpanData>),
}

/// What happened next.
enum Event {
    Answered(Box<Called>),
    Read(Option<io::Result<Vec<input::Line>>>),
    Written(io::Result<usize>),
    Delivered(Delivered),
    Signal(Signal),
    Tick,
    TimeUp,
}

impl<'a> Pool<'a> {
    pub fn new(tools: Tools<'a>, ends: Ends<'a>, is_ordered: bool, census: Census) -> Self {
        Self {
            tools,
            ends,
            lines: VecDeque::new(),
            has_more: true,
            taken: 0,
            calls: FuturesUnordered::new(),
            order: Order::new(is_ordered),
            unwritten: VecDeque::new(),
            is_closed: false,
            is_project_known: false,
            census,
            tally: Tally::begin(),
            stop: None,
            trouble: None,
            farewell: None,
        }
    }

    /// Runs until all is done, or as much as a reason to stop leaves; `part` tells how much of the input was read.
    pub async fn run(&mut self, interrupt: &mut Interrupt, part: impl Fn() -> Option<f64>) {
        let mut display = Display::begin(self.tools.console);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.start_calls();
            self.hurry_at_the_end();
            if self.is_done() {
                break;
            }
            match self.next(interrupt, &mut tick).await {
                Event::Answered(called) => self.answered(&called).await,
                Event::Read(lines) => self.read(lines),
                Event::Written(written) => self.written(written),
                Event::Delivered(delivered) => self.delivered(&delivered),
                Event::Signal(signal) => self.signalled(signal),
                Event::TimeUp => self.calls.clear(),
                Event::Tick => display.show(&self.tally, part(), self.tools.pace.pause_left()),
            }
        }
        display.end();
        if !self.is_closed
            && let Err(error) = self.ends.writer.finish().await
        {
            self.output_failed(&error);
        }
    }

    /// What is known now that the work is done.
    pub fn finish(self) -> Finished {
        let session = self.tools.plan.trace.session.as_deref();
        Finished {
            session_url: session.and_then(|session| self.ends.pages.session(session)),
            tally: self.tally,
            stop: self.stop,
            trouble: self.trouble,
            census: self.census,
        }
    }

    /// Waits for whatever happens next.
    async fn next(&mut self, interrupt: &mut Interrupt, tick: &mut tokio::time::Interval) -> Event {
        let wants_lines = self.has_more && self.lines.is_empty();
        let is_writing = self.ends.writer.is_busy() && !self.is_closed;
        let farewell = self.farewell.filter(|_| !self.calls.is_empty());
        let Ends {
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
            Some(called) = self.calls.next(), if !self.calls.is_empty() => {
                Event::Answered(Box::new(called))
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
            && self.ends.tracer.as_ref().is_none_or(Tracer::is_idle)
    }

    /// Sends the last traces without waiting for others to go with, and lets lines go out whose earlier ones never
    /// will.
    fn hurry_at_the_end(&mut self) {
        if self.has_more || !self.lines.is_empty() || !self.calls.is_empty() {
            return;
        }
        let held: Vec<(u64, Ended)> = self.order.drain().collect();
        for (line, ended) in held {
            self.end(line, ended);
        }
        if let Some(tracer) = self
            .ends
            .tracer
            .as_mut()
            .filter(|_| self.unwritten.is_empty())
        {
            tracer.hurry();
        }
    }

    /// Ends the run early: nothing more is read, what is under way ends.
    fn stop(&mut self, why: Stop) {
        self.stop.get_or_insert(why);
        self.end_input();
    }

    fn end_input(&mut self) {
        self.ends.lines.close();
        self.has_more = false;
        self.lines.clear();
    }

    fn read(&mut self, lines: Option<io::Result<Vec<input::Line>>>) {
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
        }
    }

    /// Whether there is room for one more call, and for everything that follows it.
    fn may_start(&self) -> bool {
        let concurrency = self.tools.concurrency;
        self.calls.len() < concurrency
            // An answer that is not written is paid for again after a kill.
            && self.unwritten.len() <= concurrency
            && self.order.held() <= 4 * concurrency
            && self.ends.writer.waiting_bytes() < MOST_UNWRITTEN
            && self.ends.tracer.as_ref().is_none_or(Tracer::has_room)
    }

    fn start(&mut self, line: &input::Line) {
        let plan = self.tools.plan;
        let number = line.number;
        if !plan.holds(number) {
            return;
        }
        self.taken += 1;
        if plan.limit.is_some_and(|limit| self.taken > limit) {
            self.end_input();
            return;
        }
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
                let trail = Trail::Done;
                self.end(number, Ended { text, trail });
                self.check_errors();
            }
        }
    }

    async fn answered(&mut self, called: &Called) {
        if !std::mem::replace(&mut self.is_project_known, true)
            && let Err(why) = self.ends.pages.settle().await
        {
            self.tools.console.warn(&format!(
                "the project is not known, links may ask you to log in: {why}"
            ));
        }
        let exchange = &called.exchange;
        self.tally.add(exchange, called.cause());
        if let (Some(fault), Some(error)) = (called.progress.fault, &exchange.error)
            && fault.concerns_all()
        {
            self.stop(Stop::Model(error.message.clone()));
        }
        let spans = self.kept(called);
        let page = spans
            .as_ref()
            .and(self.ends.pages.trace(called.context.trace_id));
        match called.to_line(page.as_deref()) {
            Ok(text) => {
                let trail = spans.map_or(Trail::Done, Trail::Trace);
                self.end(called.line, Ended { text, trail });
            }
            Err(error) => self.stop(Stop::File(error.into())),
        }
        self.check_errors();
    }

    /// Keeps what may be kept of a call: in the recording, and as the spans of its trace, if it has one.
    fn kept(&mut self, called: &Called) -> Option<Vec<SpanData>> {
        let context = &called.context;
        let is_traced = self.is_traced(&called.exchange, context);
        if !is_traced && self.ends.record.is_none() {
            return None;
        }
        let privacy = &self.tools.settings.privacy;
        let filtered = privacy.filter(&called.exchange, &called.trace);
        self.tally.redactions += filtered.redactions as u64;
        self.record(&filtered, context);
        is_traced.then(|| self.spans(&filtered, context))
    }

    /// Whether an exchange is among those that are traced.
    fn is_traced(&mut self, exchange: &Exchange, context: &TraceContext) -> bool {
        let sample = self.tools.settings.delivery.sample;
        let is_sampled = exchange.error.is_some() || ids::is_sampled(context.trace_id, sample);
        if self.tools.is_traced && !is_sampled {
            self.tally.traces.sampled_out += 1;
        }
        self.tools.is_traced && is_sampled
    }

    /// The spans of an exchange that is traced.
    fn spans(&mut self, filtered: &Filtered<'_>, context: &TraceContext) -> Vec<SpanData> {
        let Filtered {
            exchange, trace, ..
        } = filtered;
        if self.tools.settings.delivery.verify.is_some() {
            let session = trace.session.as_deref().unwrap_or_default();
            self.census.add(session, context.trace_id, exchange.start);
        }
        spans::spans(exchange, trace, context, self.tools.dialect).to_vec()
    }

    fn record(&mut self, filtered: &Filtered<'_>, context: &TraceContext) {
        let Some(file) = &mut self.ends.record else {
            return;
        };
        let line = Recording::new(&filtered.exchange, &filtered.trace, context).to_line();
        if let Err(error) = file.write_all(format!("{line}\n").as_bytes()) {
            let failure = Failure::file(format!("the recording cannot be written: {error}"));
            self.stop(Stop::File(failure.hint("is the disk full?")));
        }
    }

    /// Sends the trace of a line that an earlier run has answered, as far as it has not arrived.
    fn deliver_again(&mut self, line: u64, parsed: &Line, unsettled: &Unsettled) {
        let model = &self.tools.settings.model;
        let (exchange, context) = match self.ends.history.rebuild(parsed, unsettled, model) {
            Ok(Some(rebuilt)) => rebuilt,
            Ok(None) => return,
            Err(error) => {
                let failure = Failure::file(format!("the output cannot be read: {error}"));
                return self.stop(Stop::File(failure.hint("check the file of --out")));
            }
        };
        let mut spans = Vec::new();
        if self.is_traced(&exchange, &context) {
            let privacy = &self.tools.settings.privacy;
            let filtered = privacy.filter(&exchange, &parsed.trace);
            spans = self.spans(&filtered, &context);
        }
        match &self.ends.history.arrived {
            Arrived::Unknown if !spans.is_empty() => self.tally.traces.undecided += 1,
            Arrived::Unknown => self.note(&Note::Accepted(vec![line])),
            Arrived::Known(arrived) => {
                spans.retain(|span| !arrived.contains(&span.span_context.span_id()));
                match &mut self.ends.tracer {
                    Some(tracer) if !spans.is_empty() => tracer.push(line, spans),
                    _ => self.note(&Note::Accepted(vec![line])),
                }
            }
        }
    }

    /// Hands a line that has ended to the output.
    fn end(&mut self, line: u64, ended: Ended) {
        let (writer, unwritten) = (&mut self.ends.writer, &mut self.unwritten);
        self.order.push(line, ended, |line, Ended { text, trail }| {
            writer.push(&text);
            unwritten.push_back((line, trail));
        });
        if self.is_closed {
            self.settle(usize::MAX);
        }
    }

    fn written(&mut self, written: io::Result<usize>) {
        match written {
            Ok(lines) => self.settle(lines),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                // What was paid for is traced all the same.
                self.is_closed = true;
                self.stop(Stop::Closed);
                self.settle(usize::MAX);
            }
            Err(error) => self.output_failed(&error),
        }
    }

    /// Without an output nothing more may be paid for; what is not written counts as not answered.
    fn output_failed(&mut self, error: &io::Error) {
        let failure = Failure::file(format!("the output cannot be written: {error}"));
        self.stop(Stop::File(
            failure.hint("make room for it, then go on with --resume"),
        ));
        self.is_closed = true;
        self.calls.clear();
        self.unwritten.clear();
        drop(self.order.drain());
    }

    /// Sends the traces of the first `lines` lines, which are written.
    fn settle(&mut self, lines: usize) {
        let mut done = Vec::new();
        for _ in 0..lines.min(self.unwritten.len()) {
            match (self.unwritten.pop_front(), &mut self.ends.tracer) {
                (Some((line, Trail::Trace(spans))), Some(tracer)) => tracer.push(line, spans),
                (Some((line, _)), _) => done.push(line),
                (None, _) => break,
            }
        }
        if !done.is_empty() {
            self.note(&Note::Accepted(done));
        }
    }

    fn delivered(&mut self, delivered: &Delivered) {
        let Delivered { lines, delivery } = delivered;
        self.tally.traces.add(lines.len(), delivery);
        if let Some(note) = Note::of(lines, &delivery.spool) {
            self.note(&note);
        }
        if let Spool::Lost(why) = &delivery.spool
            && self.tools.settings.delivery.outbox.is_some()
        {
            self.stop(Stop::Outbox(why.clone()));
        }
        if !delivery.outcome.is_accepted() && self.trouble.is_none() {
            self.trouble = Some(delivery.clone());
        }
        self.check_errors();
    }

    fn note(&mut self, note: &Note) {
        if let Err(failure) = self.ends.history.note(note) {
            self.stop(Stop::File(failure));
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
        self.end_input();
        if !is_second {
            self.farewell = Some(Instant::now() + FAREWELL);
            self.tools.console.note(&format!(
                "stopping: {} calls under way may end; once more leaves at once",
                self.calls.len()
            ));
            return;
        }
        self.calls.clear();
        self.is_closed = true;
        self.settle(usize::MAX);
        if let Some(tracer) = &mut self.ends.tracer {
            tracer.cancel();
        }
    }
}

impl<'a> Tools<'a> {
    fn defaults(&self) -> Defaults<'a> {
        Defaults {
            model: &self.settings.model,
            trace: &self.plan.trace,
        }
    }

    /// Asks a line; whatever comes of it is in the answer.
    async fn call(self, line: u64, digest: String, parsed: Line, redo: u32) -> Called {
        let Line {
            custom_id,
            request,
            trace,
        } = parsed;
        let trace_id = self.plan.trace_id(line, custom_id.as_deref(), redo);
        let context = TraceContext::root(trace_id);
        self.pace.turn().await;
        let mut exchange = call::begin(&self.settings.model, request, Timestamp::now());
        let caller = Caller {
            http: self.http,
            model: &self.settings.model,
            console: self.console,
            pace: Some(self.pace),
        };
        let mut progress = Progress::default();
        let context_sent = self.is_traced.then_some(&context);
        let never = std::future::pending();
        // A failure is part of the exchange.
        let _ = call::complete(
            &mut exchange,
            context_sent,
            &caller,
            &mut Nowhere,
            &mut progress,
            never,
        )
        .await;
        Called {
            line,
            custom_id,
            digest,
            redo,
            exchange,
            trace,
            context,
            progress,
        }
    }
}
