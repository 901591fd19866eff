//! The delivery of a trace, and the proof of it.

use std::io;

use opentelemetry_sdk::trace::SpanData;

use super::{PendingTrace, Run, Traced};
use crate::app::deliver::DeliverySteps;
use crate::app::delivery_report::{self, Subject};
use crate::app::trace_link;
use crate::app::verify;
use crate::console;
use crate::failure::Failure;
use crate::http::url::shown;
use crate::langfuse::Row;
use crate::output::tree::{self, Canvas, Texts};
use crate::output::{DeliveryState, TraceReport};
use crate::settings::Tracing;
use crate::trace::TraceContext;

impl Run {
    /// The report of an exchange without a trace; says why there is none.
    pub(super) fn untraced(&self, context: &TraceContext) -> TraceReport {
        let mut report = self.empty_report(context);
        if let Tracing::Off(switch) = &self.setup.settings.tracing {
            self.console.note(&format!("tracing is off: {switch}"));
        } else {
            report.delivery = DeliveryState::SampledOut;
            self.console
                .note("the trace was left out by the sample rate");
        }
        report
    }

    /// Delivers the trace of an exchange.
    pub(super) async fn deliver(
        &mut self,
        traced: Traced<'_>,
        pending: PendingTrace,
        failures: &mut Vec<Failure>,
    ) -> Result<TraceReport, Failure> {
        // A failed call is traced even if it is not in the sample, and then the look-up has not started.
        self.start_lookup();
        let PendingTrace {
            spans,
            export,
            scores,
            redactions,
        } = pending;
        let wanted = verify::wanted(&spans, traced.exchange);
        let mut report = self.empty_report(traced.context);
        report.spans = spans.len();
        report.redactions = redactions;
        let delivery = self.steps().deliver(export).await?;
        report.status = delivery.outcome.status();
        report.delivery = delivery_report::state(&delivery);
        let tracing = &self.setup.settings.tracing;
        report.url = trace_link::page(&report, tracing, &mut self.lookup, &self.console).await;
        if !report.delivery.is_delivered() {
            let failure = delivery_report::failure(Subject::Trace, &delivery, tracing, None);
            self.fail(failure, failures);
            if let Some(scores) = scores {
                scores.wait_for_trace();
            }
            return Ok(report);
        }
        let (form, is_sandbox) = (self.printer.form(), self.setup.is_sandbox);
        trace_link::print(&report, form, tracing, is_sandbox, &self.console);
        self.console.detail(1, || draw(&report.id, &spans));
        let scores = self.deliver_scores(scores, failures).await?;
        if !self.is_interrupted()
            && let Some(verified) = self.steps().verify(&wanted, &spans).await?
        {
            report.verified = Some(verified.is_ok());
            match verified {
                Ok(()) => self.console.note("verified: the trace can be read"),
                Err(failure) => self.fail(failure, failures),
            }
            self.verify_scores(&mut report, &scores, failures).await?;
        }
        Ok(report)
    }

    pub(super) fn steps(&mut self) -> DeliverySteps<'_> {
        DeliverySteps {
            settings: &self.setup.settings,
            clients: &self.setup.clients,
            console: &self.console,
            signals: &mut self.signals,
        }
    }

    /// The report of a trace that is not delivered.
    fn empty_report(&self, context: &TraceContext) -> TraceReport {
        let destination = self.setup.settings.tracing.destination();
        TraceReport {
            id: context.trace_id.to_string(),
            url: None,
            spans: 0,
            redactions: 0,
            endpoint: destination.map(|destination| shown(&destination.target.url)),
            delivery: DeliveryState::Disabled,
            status: None,
            verified: None,
        }
    }

    /// Prints a failure of tracing, and counts it unless `--best-effort` forgives it.
    pub(super) fn fail(&self, failure: Failure, failures: &mut Vec<Failure>) {
        let best_effort = self.setup.settings.delivery.best_effort;
        delivery_report::print(&failure, best_effort, &self.console);
        if !delivery_report::is_forgiven(&failure, best_effort) {
            failures.push(failure);
        }
    }
}

/// The trace that was just sent, as `show` draws it.
fn draw(trace_id: &str, spans: &[SpanData]) -> String {
    let rows: Vec<Row> = spans.iter().map(Row::of_span).collect();
    let canvas = Canvas {
        width: console::columns(),
        colour: console::wants_colour(&io::stderr()),
        texts: Texts::None,
    };
    tree::draw(trace_id, &rows, canvas).trim_end().to_owned()
}
