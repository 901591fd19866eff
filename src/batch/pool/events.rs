//! What follows an answer: it is written, then its trace is made and delivered, then that is noted.

use std::io::{self, ErrorKind};
use std::rc::Rc;

use tokio::time::Instant;

use crate::app::uploads::{self, Uploads};
use crate::batch::input::line::Line;
use crate::batch::output::answer::Called;
use crate::batch::plan::Out;
use crate::batch::pool::span_queue::Delivered;
use crate::batch::pool::{Pool, Stop};
use crate::batch::resume::acks::Note;
use crate::batch::resume::previous_output::UnconfirmedLine;
use crate::batch::resume::state::Arrived;
use crate::delivery::Stored;
use crate::failure::Failure;
use crate::trace::{Exchange, Recording, Trace, TraceContext, ids, spans};

/// A line that has ended.
#[derive(Debug)]
pub struct FinishedLine {
    pub text: String,
    pub trail: AfterWrite,
}

/// What is left to do for a line once it is written.
#[derive(Debug)]
pub enum AfterWrite {
    /// Nothing: it has no trace, or none that is sent.
    Done,
    /// It is traced.
    Trace(Box<PendingTrace>),
}

/// An exchange whose spans are not made yet.
#[derive(Debug)]
pub struct PendingTrace {
    pub exchange: Exchange,
    pub trace: Trace,
    pub context: TraceContext,
}

impl Pool<'_> {
    /// Whether an exchange is among those that are traced.
    pub(super) fn is_traced(&mut self, exchange: &Exchange, context: &TraceContext) -> bool {
        let sample = self.tools.settings.delivery.sample;
        let is_sampled = exchange.error.is_some() || ids::is_sampled(context.trace_id, sample);
        if self.tools.is_traced && !is_sampled {
            self.tally.traces.sampled_out += 1;
        }
        self.tools.is_traced && is_sampled
    }

    /// Appends the recording of a call; what is left out of it is counted here, unless it is counted with the trace.
    pub(super) fn record(&mut self, called: &Called, is_traced: bool) {
        let Some(journal) = &mut self.ends.record else {
            return;
        };
        let privacy = &self.tools.settings.privacy;
        let filtered = privacy.filter(&called.exchange, &called.trace);
        if !is_traced {
            self.tally.redactions += filtered.redactions as u64;
        }
        let recording = Recording::new(&filtered.exchange, &filtered.trace, &called.context);
        if let Err(failure) = journal.append(&recording.to_line()) {
            self.stop(Stop::File(failure));
        }
    }

    /// Sends the trace of a line, once its images and files are uploaded.
    pub(super) fn trace(&mut self, line: u64, untraced: PendingTrace) {
        if !Uploads::may_be_in(&untraced.exchange) {
            return self.push(line, &untraced);
        }
        if self.is_leaving {
            return self.push(line, &untraced.outlined());
        }
        let untraced = Rc::new(untraced);
        self.uploading.insert(line, Rc::clone(&untraced));
        let uploads = self.tools.uploads;
        let deadline = Instant::now() + self.tools.settings.delivery.export_timeout;
        self.uploads.push(Box::pin(async move {
            let PendingTrace {
                exchange,
                trace,
                context,
            } = &*untraced;
            let owner = uploads::owner(context, exchange);
            let uploaded = uploads.traced(exchange, None, &owner, deadline).await;
            let untraced = PendingTrace {
                exchange: uploaded.into_owned(),
                trace: trace.clone(),
                context: *context,
            };
            (line, untraced)
        }));
    }

    /// Hands the spans of a line to the tracer, but for those that have arrived before.
    pub(super) fn push(&mut self, line: u64, untraced: &PendingTrace) {
        let settings = self.tools.settings;
        let context = &untraced.context;
        let filtered = settings.privacy.filter(&untraced.exchange, &untraced.trace);
        self.tally.redactions += filtered.redactions as u64;
        let (exchange, trace) = (&filtered.exchange, &filtered.trace);
        if settings.delivery.verify.is_some() {
            let session = trace.session.as_deref().unwrap_or_default();
            let starts = (exchange.start, exchange.start);
            self.trace_count.add(session, context.trace_id, starts);
        }
        let mut spans = Vec::from(spans::spans(exchange, trace, context, self.tools.dialect));
        if let Arrived::Known(arrived) = &self.ends.history.arrived {
            spans.retain(|span| !arrived.contains(&span.span_context.span_id()));
        }
        match &mut self.ends.tracer {
            Some(tracer) if !spans.is_empty() => tracer.push(line, spans),
            _ => self.note(&Note::Accepted(vec![line])),
        }
    }

    /// Sends the trace of a line that an earlier run has answered, as far as it has not arrived.
    pub(super) fn deliver_again(&mut self, line: u64, parsed: &Line, unsettled: &UnconfirmedLine) {
        let model = &self.tools.settings.model;
        let (exchange, context) = match self.ends.history.rebuild(parsed, unsettled, model) {
            Ok(Some(rebuilt)) => rebuilt,
            Ok(None) => return,
            Err(error) => {
                let failure = Failure::file(format!("the output cannot be read: {error}"));
                return self.stop(Stop::File(failure.hint("check the file of --out")));
            }
        };
        if !self.tools.is_traced {
            // It stays unsettled, for a run that traces.
        } else if !self.is_traced(&exchange, &context) {
            self.note(&Note::Accepted(vec![line]));
        } else if matches!(self.ends.history.arrived, Arrived::Unknown) {
            self.tally.traces.undecided += 1;
        } else {
            let trace = parsed.trace.clone();
            let untraced = PendingTrace {
                exchange,
                trace,
                context,
            };
            self.trace(line, untraced);
        }
    }

    /// Hands a line that has ended to the output.
    pub(super) fn end(&mut self, line: u64, ended: FinishedLine) {
        let (writer, unwritten) = (&mut self.ends.writer, &mut self.unwritten);
        self.order
            .push(line, ended, |line, FinishedLine { text, trail }| {
                writer.push(&text);
                unwritten.push_back((line, trail));
            });
        if self.is_closed {
            self.settle(usize::MAX);
        }
    }

    pub(super) fn written(&mut self, written: io::Result<usize>) {
        match written {
            Ok(lines) => self.settle(lines),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.stop(Stop::Closed);
                self.close();
            }
            Err(error) => self.output_failed(&error),
        }
    }

    /// Without an output nothing more may be paid for. In a run that can be continued, what is not written counts as
    /// not answered.
    pub(super) fn output_failed(&mut self, error: &io::Error) {
        let failure = Failure::file(format!("the output cannot be written: {error}"));
        if !matches!(self.tools.plan.out, Out::Regular(_)) {
            let hint = "make room for it; with --out FILE a run can be continued";
            self.stop(Stop::File(failure.hint(hint)));
            return self.close();
        }
        self.stop(Stop::File(
            failure.hint("make room for it, then go on with --resume"),
        ));
        self.is_closed = true;
        self.calls.clear();
        self.unwritten.clear();
        drop(self.order.drain());
    }

    /// Writes nothing more; what was paid for is traced all the same.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        self.settle(usize::MAX);
    }

    /// Sends the traces of the first `lines` lines, which are written.
    pub(super) fn settle(&mut self, lines: usize) {
        let mut done = Vec::new();
        for _ in 0..lines.min(self.unwritten.len()) {
            match self.unwritten.pop_front() {
                Some((line, AfterWrite::Trace(untraced))) => self.trace(line, *untraced),
                Some((line, AfterWrite::Done)) => done.push(line),
                None => break,
            }
        }
        if !done.is_empty() {
            self.note(&Note::Accepted(done));
        }
    }

    pub(super) fn delivered(&mut self, delivered: &Delivered) {
        let Delivered {
            lines,
            unaccepted,
            delivery,
        } = delivered;
        let traces = &mut self.tally.traces;
        traces.add(lines.len(), *unaccepted, &delivery.stored);
        if let Some(note) = Note::of(lines, &delivery.stored) {
            self.note(&note);
        }
        if let Stored::Lost(why) = &delivery.stored
            && self.is_outbox_needed()
        {
            self.stop(Stop::Outbox(why.to_string()));
        }
        if !delivery.outcome.is_accepted() && self.trouble.is_none() {
            self.trouble = Some(delivery.clone());
        }
        self.check_errors();
    }

    /// Whether nothing may go on while traces cannot be kept: not where they are given up (`--no-outbox`), or the
    /// answers matter more (`--best-effort`).
    pub(super) fn is_outbox_needed(&self) -> bool {
        let delivery = &self.tools.settings.delivery;
        delivery.outbox.is_some() && !delivery.best_effort
    }

    pub(super) fn note(&mut self, note: &Note) {
        if let Err(failure) = self.ends.history.note(note) {
            self.stop(Stop::File(failure));
        }
    }

    /// What is not uploaded yet is traced as type and size.
    pub(super) fn leave_uploads(&mut self) {
        self.is_leaving = true;
        self.uploads.clear();
        for (line, untraced) in std::mem::take(&mut self.uploading) {
            self.push(line, &untraced.outlined());
        }
    }
}

impl PendingTrace {
    /// The same with type and size in the place of images and files.
    fn outlined(&self) -> Self {
        Self {
            exchange: uploads::outlined(&self.exchange).into_owned(),
            trace: self.trace.clone(),
            context: self.context,
        }
    }
}

impl From<Called> for PendingTrace {
    fn from(called: Called) -> Self {
        Self {
            exchange: called.exchange,
            trace: called.trace,
            context: called.context,
        }
    }
}
