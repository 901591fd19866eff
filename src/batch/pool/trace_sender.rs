//! From an exchange to an acked delivery: spans, export, counts, ack. The pool and `--retry-errors` share it.
//!
//! Both append acks to the file; only the catch-up also applies them to the state in memory.

use std::time::Duration;

use opentelemetry_sdk::trace::SpanData;
use serde_json::Value;

use crate::app::hints;
use crate::app::judge::{self, Judge};
use crate::app::score_sender::RefusedScores;
use crate::app::span_maker::SpanMaker;
use crate::batch::input::line::ParsedLine;
use crate::batch::pool::pending_trace::PendingTrace;
use crate::batch::pool::score_queue::{ScoreQueue, SentScores};
use crate::batch::pool::span_queue::{ExportedLines, SpanQueue};
use crate::batch::resume::acks::Ack;
use crate::batch::resume::previous_output::UnconfirmedLine;
use crate::batch::resume::state::{ArrivedSpans, ResumeState};
use crate::batch::stats::{ScoreStats, TraceStats};
use crate::batch::verify::ExpectedTraces;
use crate::delivery::{Delivery, Exporter, OutboxPolicy, StoredExport};
use crate::expect::Finding;
use crate::failure::Failure;
use crate::langfuse::Api;
use crate::langfuse::scores::ScoredSpan;
use crate::settings::Settings;
use crate::trace::spans::Dialect;

/// Sends the traces of a run and keeps account of them.
pub struct TraceSender<'a> {
    pub settings: &'a Settings,
    pub span_maker: SpanMaker<'a>,
    /// `None` when tracing is off.
    queue: Option<SpanQueue<'a>>,
    /// `None` where no scores are sent.
    scores: Option<ScoreQueue<'a>>,
    pub state: ResumeState,
    pub stats: TraceStats,
    /// Redacted passages of traces and recordings.
    pub redactions: u64,
    /// The traces that `--verify` looks for.
    pub expected: ExpectedTraces,
    /// The first delivery that was not accepted.
    pub first_failure: Option<Delivery>,
}

/// What has ended.
#[derive(Debug)]
pub enum SenderEvent {
    Exported(ExportedLines),
    Scored(SentScores),
}

impl<'a> TraceSender<'a> {
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn new(
        settings: &'a Settings,
        exporter: Option<&'a Exporter>,
        api: Option<&'a Api>,
        policy: OutboxPolicy,
        state: ResumeState,
    ) -> Result<Self, Failure> {
        let budget: Duration = settings.delivery.export_timeout;
        let acks = state.share_acks()?;
        Ok(Self {
            settings,
            span_maker: SpanMaker::new(settings),
            queue: exporter.map(|exporter| SpanQueue::new(exporter, budget, policy, acks)),
            scores: exporter
                .zip(api)
                .map(|(exporter, api)| ScoreQueue::new(api, exporter, budget)),
            state,
            stats: TraceStats::default(),
            redactions: 0,
            expected: ExpectedTraces::default(),
            first_failure: None,
        })
    }

    /// Whether traces are sent at all.
    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Whether more traces can be taken without growing.
    pub fn has_room(&self) -> bool {
        self.queue.as_ref().is_none_or(SpanQueue::has_room)
            && self.scores.as_ref().is_none_or(ScoreQueue::has_room)
    }

    /// Whether no trace is waiting or being exported.
    pub fn is_idle(&self) -> bool {
        self.queue.as_ref().is_none_or(SpanQueue::is_idle)
            && self.scores.as_ref().is_none_or(ScoreQueue::is_idle)
    }

    /// Exports the waiting traces without waiting for more.
    pub fn hurry(&mut self) {
        if let Some(queue) = &mut self.queue {
            queue.hurry();
        }
    }

    /// Gives up waiting: traces that are not delivered go to the outbox.
    pub fn cancel(&mut self) {
        if let Some(queue) = &mut self.queue {
            queue.cancel();
        }
    }

    /// Waits for the next export, or the next request with scores, to end. Cancel safe. Never ends while there is nothing
    /// to send.
    pub async fn next_event(&mut self) -> SenderEvent {
        let Some(queue) = &mut self.queue else {
            return std::future::pending().await;
        };
        let Some(score_queue) = &mut self.scores else {
            return SenderEvent::Exported(queue.next().await);
        };
        tokio::select! {
            exported = queue.next() => SenderEvent::Exported(exported),
            sent = score_queue.next() => SenderEvent::Scored(sent),
        }
    }

    /// The trace with its scores: as metadata where a backend has none.
    pub fn judged(
        &self,
        pending: PendingTrace,
        findings: &[Finding],
        judge: &Judge,
    ) -> PendingTrace {
        let scores = judge.scores(findings, &self.settings.privacy);
        if scores.is_empty() {
            return pending;
        }
        if self.settings.tracing.dialect() == Dialect::Plain {
            let mut trace = pending.trace;
            trace.metadata.extend(judge::as_metadata(&scores));
            return PendingTrace { trace, ..pending };
        }
        let trace_id = pending.context.trace_id;
        let spans = pending.context.span_ids(pending.exchange.start);
        let subject = ScoredSpan {
            trace_id,
            span_id: Some(spans.parent),
            environment: self.settings.trace.environment.as_deref(),
        };
        let scores = scores.iter().map(|score| score.body(subject)).collect();
        PendingTrace { scores, ..pending }
    }

    /// Counts and acks a request with scores that has ended.
    ///
    /// # Errors
    /// When the ack file cannot be written.
    pub fn scores_ended(&mut self, scored: SentScores) -> Result<(), Failure> {
        let lines = self.scores.as_mut().map(|scores| scores.ended(scored));
        match lines.filter(|lines| !lines.is_empty()) {
            Some(lines) => self.state.append(&Ack::Accepted(lines)),
            None => Ok(()),
        }
    }

    /// Gives up sending scores: they go to the outbox.
    pub fn store_scores(&mut self) {
        let lines = self.scores.as_mut().map(ScoreQueue::give_up);
        if let Some(lines) = lines.filter(|lines| !lines.is_empty()) {
            // A line without an ack is only asked for again.
            let _ = self.state.append(&Ack::Accepted(lines));
        }
    }

    pub fn score_stats(&self) -> ScoreStats {
        self.scores
            .as_ref()
            .map_or_else(ScoreStats::default, |scores| scores.stats)
    }

    /// The first scores that were not accepted.
    pub fn take_refused_scores(&mut self) -> Option<RefusedScores> {
        self.scores.as_mut()?.refused.take()
    }

    /// Some of the accepted scores, by their trace.
    pub fn take_scored(&mut self) -> Vec<(String, Vec<Value>)> {
        let scores = self.scores.as_mut();
        scores.map_or_else(Vec::new, |scores| std::mem::take(&mut scores.scored))
    }

    /// Takes the scores of a line; returns whether there are any. `is_accepted` says whether its trace has arrived.
    fn take_scores(&mut self, line: u64, pending: &PendingTrace, is_accepted: bool) -> bool {
        let Some(queue) = self.scores.as_mut().filter(|_| !pending.scores.is_empty()) else {
            return false;
        };
        if is_accepted {
            queue.push(line, pending.scores.clone());
        } else {
            queue.hold(line, pending.scores.clone());
        }
        true
    }

    /// Rebuilds the trace of an unconfirmed line; `None` when its output line has no call.
    ///
    /// # Errors
    /// When the output cannot be read.
    pub fn rebuild(
        &self,
        line: &ParsedLine,
        unconfirmed: &UnconfirmedLine,
    ) -> Result<Option<PendingTrace>, Failure> {
        let rebuilt = self.state.rebuild(line, unconfirmed, &self.settings.model);
        let rebuilt = rebuilt.map_err(|error| {
            Failure::unreadable("the output", &error).hint("check the file of --out")
        })?;
        Ok(rebuilt.map(|(exchange, context)| PendingTrace {
            exchange,
            trace: line.trace.clone(),
            context,
            redactions: None,
            scores: Vec::new(),
        }))
    }

    /// Queues the spans of a line that have not arrived before. Returns the ack of a line without any.
    ///
    /// # Errors
    /// When the ack file cannot be written.
    pub fn push(&mut self, line: u64, pending: &PendingTrace) -> Result<Option<Ack>, Failure> {
        let spans = self.spans(pending);
        let has_arrived = spans.is_empty();
        let has_scores = self.take_scores(line, pending, has_arrived);
        match &mut self.queue {
            Some(queue) if !has_arrived => {
                queue.push(line, spans);
                Ok(None)
            }
            // The line is acked with its scores.
            Some(_) if has_scores => Ok(None),
            _ => self.accept(line).map(Some),
        }
    }

    /// Whether the earlier run may have sent spans of a line, and their absence would prove nothing: behind a collector,
    /// and with a plain OTLP backend.
    pub fn is_unproven(&self, unconfirmed: &UnconfirmedLine) -> bool {
        let destination = self.settings.tracing.destination();
        unconfirmed.may_have_begun && !destination.is_none_or(hints::can_be_asked)
    }

    /// Puts the spans of a line into the outbox without sending them. Returns the ack of a line without any.
    ///
    /// # Errors
    /// When the ack file cannot be written.
    pub fn push_unproven(
        &mut self,
        line: u64,
        pending: &PendingTrace,
    ) -> Result<Option<Ack>, Failure> {
        let spans = self.spans(pending);
        self.take_scores(line, pending, spans.is_empty());
        match &mut self.queue {
            Some(queue) if !spans.is_empty() => {
                queue.push_unproven(line, spans);
                Ok(None)
            }
            _ => self.accept(line).map(Some),
        }
    }

    /// Acks a line without spans to send.
    fn accept(&mut self, line: u64) -> Result<Ack, Failure> {
        let ack = Ack::Accepted(vec![line]);
        self.state.append(&ack)?;
        Ok(ack)
    }

    /// Stores the trace of a line with type and size in place of images and files, until these are uploaded; `None` if
    /// it is not stored before it is sent.
    pub fn store_outlined(&self, pending: &PendingTrace) -> Option<StoredExport> {
        let outlined = pending.clone().outlined();
        let filtered = outlined.filtered(&self.span_maker);
        let spans = self.span_maker.spans(&filtered, &outlined.context);
        self.queue.as_ref()?.store(spans.into())
    }

    /// Queues the spans of a line in place of those that are stored for it.
    pub fn push_stored(&mut self, line: u64, pending: &PendingTrace, stored: StoredExport) {
        let spans = self.spans(pending);
        self.take_scores(line, pending, false);
        if let Some(queue) = &mut self.queue {
            queue.push_stored(line, pending.context.trace_id, stored, spans);
        }
    }

    /// The spans of a line that have not arrived before. They are counted.
    fn spans(&mut self, pending: &PendingTrace) -> Vec<SpanData> {
        let filtered = pending.filtered(&self.span_maker);
        self.redactions += filtered.redactions as u64;
        if self.settings.delivery.verify.is_some() {
            let session = filtered.trace.session.as_deref().unwrap_or_default();
            let starts = (pending.exchange.start, pending.exchange.start);
            let trace_id = pending.context.trace_id;
            self.expected.add(session, trace_id, starts);
        }
        let mut spans = Vec::from(self.span_maker.spans(&filtered, &pending.context));
        if let ArrivedSpans::Known(arrived) = &self.state.arrived {
            spans.retain(|span| !arrived.contains(&span.span_context.span_id()));
        }
        spans
    }

    /// Counts and acks an export that has ended; returns the ack.
    ///
    /// # Errors
    /// When the ack file cannot be written.
    pub fn export_ended(&mut self, exported: &ExportedLines) -> Result<Option<Ack>, Failure> {
        let ExportedLines {
            lines,
            unaccepted,
            delivery,
        } = exported;
        self.stats.add(lines.len(), *unaccepted, &delivery.stored);
        if !delivery.outcome.is_accepted() && self.first_failure.is_none() {
            self.first_failure = Some(delivery.clone());
        }
        let scored = self.scores.as_mut();
        let scored = scored.map_or_else(Vec::new, |scores| {
            scores.export_ended(lines, &delivery.stored)
        });
        // Lines with scores are acked with these.
        let unscored: Vec<u64> = lines
            .iter()
            .copied()
            .filter(|line| !scored.contains(line))
            .collect();
        let ack = Ack::of(&unscored, &delivery.stored).filter(|_| !unscored.is_empty());
        if let Some(ack) = &ack {
            self.state.append(ack)?;
        }
        Ok(ack)
    }
}
