//! The scores of an exchange: what was found about its answer, beside its trace.

use std::borrow::Cow;

use serde_json::Value;

use super::{Run, Traced};
use crate::app::judge;
use crate::app::score_sender::PendingScores;
use crate::delivery::Exporter;
use crate::failure::Failure;
use crate::langfuse::Score;
use crate::langfuse::scores::ScoredSpan;
use crate::output::TraceReport;
use crate::trace::Trace;
use crate::trace::ids::SpanIds;
use crate::trace::spans::Dialect;

impl Run {
    /// The trace with its scores as metadata, for a backend that has no scores.
    pub(super) fn with_scores<'t>(&self, trace: &'t Trace, scores: &[Score]) -> Cow<'t, Trace> {
        if scores.is_empty() || self.setup.settings.tracing.dialect() != Dialect::Plain {
            return Cow::Borrowed(trace);
        }
        let mut trace = trace.clone();
        trace.metadata.extend(judge::as_metadata(scores));
        Cow::Owned(trace)
    }

    /// Puts the scores of a trace into the outbox beside its spans; `None` if there are none, or no Langfuse to take them.
    pub(super) fn store_scores(
        &self,
        scores: &[Score],
        traced: Traced<'_>,
        exporter: &Exporter,
        beside: Option<&str>,
    ) -> Option<PendingScores> {
        if scores.is_empty() || self.setup.settings.tracing.dialect() == Dialect::Plain {
            return None;
        }
        let trace_id = traced.context.trace_id;
        let start = traced.exchange.start.as_nanosecond();
        let subject = ScoredSpan {
            trace_id,
            span_id: Some(SpanIds::derive(trace_id, start).parent),
            environment: self.setup.settings.trace.environment.as_deref(),
        };
        let bodies = scores.iter().map(|score| score.body(subject)).collect();
        let trace_ids = vec![trace_id.to_string()];
        Some(PendingScores::store(bodies, exporter, beside, trace_ids))
    }

    /// Sends the scores of a trace that was accepted; returns those that were accepted too.
    pub(super) async fn deliver_scores(
        &mut self,
        scores: Option<PendingScores>,
        failures: &mut Vec<Failure>,
    ) -> Result<Vec<Value>, Failure> {
        let Some(scores) = scores else {
            return Ok(Vec::new());
        };
        let bodies = scores.bodies.clone();
        match self.steps().deliver_scores(scores).await? {
            Ok(()) => Ok(bodies),
            Err(failure) => {
                self.fail(failure, failures);
                Ok(Vec::new())
            }
        }
    }

    /// With `--verify`: waits until the scores can be read.
    pub(super) async fn verify_scores(
        &mut self,
        report: &mut TraceReport,
        bodies: &[Value],
        failures: &mut Vec<Failure>,
    ) -> Result<(), Failure> {
        if bodies.is_empty() || report.verified != Some(true) {
            return Ok(());
        }
        match self.steps().verify_scores(&report.id, bodies).await? {
            Ok(()) => self.console.note("verified: the scores can be read"),
            Err(failure) => {
                report.verified = Some(false);
                self.fail(failure, failures);
            }
        }
        Ok(())
    }
}
