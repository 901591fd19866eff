//! What follows a call, in this order: record, write, upload, export, ack.

use std::io::{self, ErrorKind};
use std::rc::Rc;

use futures_util::{FutureExt, StreamExt};
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::app::uploads::{self, Uploads};
use crate::batch::costs::KnownCost;
use crate::batch::output::line::CompletedCall;
use crate::batch::pool::pending_trace::{PendingTrace, owned};
use crate::batch::pool::score_queue::SentScores;
use crate::batch::pool::span_queue::ExportedLines;
use crate::batch::pool::{CallResult, Pool, StopReason, UploadingTrace};
use crate::batch::resume::acks::Ack;
use crate::delivery::Stored;
use crate::trace::{Exchange, Recording, TraceContext, ids};

/// An output line, and what is left to do once it is written.
#[derive(Debug)]
pub struct FinishedLine {
    pub text: String,
    pub after_write: AfterWrite,
}

/// The next step for a line that is written.
#[derive(Debug)]
pub enum AfterWrite {
    /// Ack it: it has no trace, or none that is sent.
    Ack,
    /// Send its trace.
    Trace(Box<PendingTrace>),
}

impl Pool<'_> {
    /// Takes a call that has ended, and those that ended at the same time. New calls start in their place before any
    /// answer is processed, so that the endpoint does not have to wait. If any of them failed, they start afterwards:
    /// the failure may end the run.
    pub(super) async fn completed(&mut self, first: CallResult) {
        let mut all = vec![first];
        while all.len() <= self.context.plan.concurrency {
            while let Some(ended) = self.ended_call() {
                all.push(ended);
            }
            self.unprocessed = self.ended.len() + all.len();
            // With `--max-cost`, every answer may end the run.
            if !all.iter().all(is_answer) || self.context.plan.max_cost.is_some() {
                break;
            }
            self.start_calls();
            // The first poll of the new calls sends them.
            let Some(ended) = self.ended_call() else {
                break;
            };
            all.push(ended);
        }
        // The new requests are sent by the tasks of their connections.
        yield_now().await;
        self.ended.extend(all);
        if !self.costs.is_pending() {
            self.process_ended();
        }
    }

    /// Processes the calls that have ended.
    pub(super) fn process_ended(&mut self) {
        self.unprocessed = 0;
        for result in std::mem::take(&mut self.ended) {
            match result {
                Ok(call) if self.may_be_outage(&call) => self.leave_undecided(call),
                Ok(call) => self.answered(call),
                Err(call) => self.call_stopped(call),
            }
        }
    }

    /// Takes the price table, or that there is none, and processes the calls that waited for it.
    pub(super) fn priced(&mut self) {
        if let Some(why) = self.costs.missing() {
            let why = format!(
                "the prices are not known: {}",
                self.context.console.clean(why)
            );
            if self.context.plan.max_cost.is_some() {
                let message = format!("--max-cost only counts what the endpoint states: {why}");
                self.context.console.warn(&message);
            } else {
                self.context.console.detail(1, || why);
            }
        }
        self.process_ended();
    }

    /// A call that has ended by now.
    fn ended_call(&mut self) -> Option<CallResult> {
        self.calls.next().now_or_never().flatten()
    }

    pub(super) fn answered(&mut self, mut call: CompletedCall) {
        let expected = call.expected.as_ref();
        call.findings = self.context.findings(&call.exchange, &call.trace, expected);
        let exchange = &call.exchange;
        let cost = self.costs.of(exchange, &call.trace);
        if let KnownCost::Unknown(Some(why)) = &cost {
            let why = self.context.console.clean(why);
            let warning = format!("some costs are not known and count as $0: {why}");
            self.context.console.warn(&warning);
        }
        let cost = cost.known();
        self.stats
            .add(exchange, cost.map(|cost| cost.amount), call.cause());
        self.stats.judge(&call.findings);
        self.note_first(&call);
        if let (Some(kind), Some(error)) = (call.progress.error_kind, &exchange.error)
            && kind.concerns_all()
        {
            self.stop(StopReason::Model(error.message.clone()));
        }
        let is_traced = self.is_traced(exchange, &call.context);
        let trace_url = self.channels.links.trace(call.context.trace_id);
        let line = call.line;
        let trace_url = trace_url.filter(|_| is_traced);
        let session = self.context.plan.trace.session.as_deref();
        match call.to_line(trace_url.as_deref(), cost, session) {
            Ok(text) => {
                let findings = std::mem::take(&mut call.findings);
                let pending = self.record(call.into(), is_traced);
                let pending = self
                    .traces
                    .judged(pending, &findings, &self.context.plan.judge);
                let after_write = if is_traced {
                    AfterWrite::Trace(Box::new(pending))
                } else {
                    AfterWrite::Ack
                };
                self.write(line, FinishedLine { text, after_write });
            }
            Err(error) => self.stop(StopReason::File(error.into())),
        }
        self.check_errors();
        self.check_cost();
    }

    /// Notes what is wrong with a call, if anything is. Nothing of the answer's text is repeated.
    fn note_first(&mut self, call: &CompletedCall) {
        let console = self.context.console;
        if let Some(error) = &call.exchange.error {
            let why = || console.clean(&error.message);
            self.stats.first_failed.take(call.line, why);
        }
        if let Some(missed) = call.findings.iter().find(|finding| !finding.met) {
            let detail = missed.bare_detail.as_ref().or(missed.detail.as_ref());
            let why = || match detail {
                Some(detail) => console.clean(&format!("{}: {detail}", missed.name)),
                None => missed.name.clone(),
            };
            self.stats.first_missed.take(call.line, why);
        }
    }

    /// Whether an exchange is traced.
    pub(super) fn is_traced(&mut self, exchange: &Exchange, context: &TraceContext) -> bool {
        let sample = self.context.settings.delivery.sample;
        let is_sampled = exchange.error.is_some() || ids::is_sampled(context.trace_id, sample);
        if self.traces.is_on() && !is_sampled {
            self.traces.stats.sampled_out += 1;
        }
        self.traces.is_on() && is_sampled
    }

    /// Appends the recording of a call. The filtered exchange is kept for the trace, unless it contains images or
    /// files: a recording holds them, and in the trace they are replaced before the filter runs.
    fn record(&mut self, pending: PendingTrace, is_traced: bool) -> PendingTrace {
        let Some(record) = &mut self.channels.record else {
            return pending;
        };
        let maker = &self.traces.span_maker;
        let filtered = maker.filter(&pending.exchange, &pending.trace);
        let redactions = filtered.redactions;
        if !is_traced {
            self.traces.redactions += redactions as u64;
        }
        let recording = Recording::new(&filtered.exchange, &filtered.trace, &pending.context);
        let appended = record.append(&recording.to_line());
        let (exchange, trace) = (owned(filtered.exchange), owned(filtered.trace));
        if let Err(failure) = appended {
            self.stop(StopReason::File(failure));
        }
        if Uploads::may_be_in(&pending.exchange) {
            return pending;
        }
        PendingTrace {
            exchange: exchange.unwrap_or(pending.exchange),
            trace: trace.unwrap_or(pending.trace),
            context: pending.context,
            redactions: Some(redactions),
            scores: pending.scores,
        }
    }

    /// Passes a finished line to the output.
    pub(super) fn write(&mut self, line: u64, finished: FinishedLine) {
        let (writer, unwritten) = (&mut self.channels.writer, &mut self.unwritten);
        self.reorder.push(line, finished, |line, finished| {
            writer.push(&finished.text);
            unwritten.push_back((line, finished.after_write));
        });
        if self.is_closed {
            self.follow_up(usize::MAX);
        }
    }

    pub(super) fn written(&mut self, result: io::Result<usize>) {
        match result {
            Ok(lines) => self.follow_up(lines),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.stop(StopReason::Closed);
                self.close_output();
            }
            Err(error) => self.output_failed(&error),
        }
    }

    /// Acks or traces the first `lines` unwritten lines, which are written now.
    pub(super) fn follow_up(&mut self, lines: usize) {
        let mut untraced = Vec::new();
        for _ in 0..lines.min(self.unwritten.len()) {
            match self.unwritten.pop_front() {
                Some((line, AfterWrite::Trace(pending))) => self.trace(line, *pending),
                Some((line, AfterWrite::Ack)) => untraced.push(line),
                None => break,
            }
        }
        if !untraced.is_empty() {
            self.ack(&Ack::Accepted(untraced));
        }
    }

    /// Sends the trace of a line, after its images and files are uploaded.
    pub(super) fn trace(&mut self, line: u64, pending: PendingTrace) {
        if !Uploads::may_be_in(&pending.exchange) {
            return self.push_trace(line, &pending);
        }
        if self.is_leaving {
            return self.push_trace(line, &pending.outlined());
        }
        let stored = self.traces.store_outlined(&pending);
        let pending = Rc::new(pending);
        let upload = UploadingTrace {
            pending: Rc::clone(&pending),
            stored,
        };
        self.uploading.insert(line, upload);
        let uploads = self.context.uploads;
        let deadline = Instant::now() + self.context.settings.delivery.export_timeout;
        self.uploads.push(Box::pin(async move {
            let owner = uploads::owner(&pending.context, &pending.exchange);
            let exchange = uploads
                .traced(&pending.exchange, None, &owner, deadline)
                .await;
            let uploaded = PendingTrace {
                exchange: exchange.into_owned(),
                trace: pending.trace.clone(),
                scores: pending.scores.clone(),
                ..*pending
            };
            (line, uploaded)
        }));
    }

    /// Sends the trace of a line with uploaded content.
    pub(super) fn uploaded(&mut self, line: u64, pending: &PendingTrace) {
        let upload = self.uploading.remove(&line);
        match upload.and_then(|upload| upload.stored) {
            Some(stored) => self.traces.push_stored(line, pending, stored),
            None => self.push_trace(line, pending),
        }
    }

    pub(super) fn push_trace(&mut self, line: u64, pending: &PendingTrace) {
        if let Err(failure) = self.traces.push(line, pending) {
            self.stop(StopReason::File(failure));
        }
    }

    pub(super) fn exported(&mut self, exported: &ExportedLines) {
        if let Err(failure) = self.traces.export_ended(exported) {
            self.stop(StopReason::File(failure));
        }
        if let Stored::Lost(why) = &exported.delivery.stored
            && self.needs_outbox()
        {
            self.stop(StopReason::Outbox(why.to_string()));
        }
        self.check_errors();
    }

    pub(super) fn scored(&mut self, scored: SentScores) {
        if let Err(failure) = self.traces.scores_ended(scored) {
            self.stop(StopReason::File(failure));
        }
    }

    /// Whether lost traces stop the run: not with `--no-outbox` or `--best-effort`.
    fn needs_outbox(&self) -> bool {
        let delivery = &self.context.settings.delivery;
        delivery.outbox.is_some() && !delivery.best_effort
    }

    pub(super) fn ack(&mut self, ack: &Ack) {
        if let Err(failure) = self.traces.state.append(ack) {
            self.stop(StopReason::File(failure));
        }
    }
}

fn is_answer(result: &CallResult) -> bool {
    result
        .as_ref()
        .is_ok_and(|call| call.exchange.error.is_none())
}
