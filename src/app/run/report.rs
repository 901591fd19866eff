//! What an exchange says about itself: its cost, its document, and its plan when nothing is sent.

use std::time::Duration;

use serde_json::Value;

use super::{Run, Traced};
use crate::app::setup::Setup;
use crate::app::span_maker::SpanMaker;
use crate::app::trace_link;
use crate::console::{OutputFormat, counted};
use crate::expect::Finding;
use crate::failure::{Failure, Kind, Verdict};
use crate::http::url::shown;
use crate::output::dry_run::DryRun;
use crate::output::units::dollars;
use crate::output::{Report, TraceReport};
use crate::trace::{Exchange, Trace, TraceContext};

impl Run {
    /// What an exchange costs in US dollars, or why that is not known; `None` if it was not asked for, or there is no
    /// answer.
    pub(super) async fn cost(&mut self, traced: Traced<'_>) -> Option<Result<f64, String>> {
        traced.exchange.response.as_ref()?;
        let grace = if self.is_interrupted() {
            Duration::ZERO
        } else {
            trace_link::LOOKUP_GRACE
        };
        self.prices.cost(traced.exchange, traced.trace, grace).await
    }

    /// Prints what an exchange costs. Returns the number, or null.
    pub(super) fn say_cost(&self, cost: &Result<f64, String>) -> Value {
        match cost {
            Ok(cost) => self.console.note(&format!("cost: {}", dollars(*cost))),
            Err(why) => {
                let why = self.console.clean(why);
                self.console.note(&format!("cost: unknown ({why})"));
            }
        }
        cost.as_ref().map_or(Value::Null, |cost| Value::from(*cost))
    }

    pub(super) fn say_redactions(&self, report: &TraceReport) {
        if report.redactions > 0 {
            let passages = counted(report.redactions as u64, "passage");
            self.console.note(&format!(
                "redacted {passages} in the trace or the recording"
            ));
        }
    }

    /// Ends an exchange with its verdict and its document.
    pub(super) fn report(
        &mut self,
        exchange: &Exchange,
        cost: Option<Value>,
        findings: &[Finding],
        trace: &TraceReport,
        mut failures: Vec<Failure>,
    ) {
        let is_reported = failures
            .iter()
            .any(|failure| matches!(failure.kind, Kind::Interrupted(_)));
        if let Some(signal) = self.signals.received()
            && !is_reported
        {
            let message = "interrupted while the trace was delivered";
            let failure = Failure::new(Kind::Interrupted(signal), message);
            let failure = failure.hint("see above, or -o json, for the state of the trace");
            self.fail(failure, &mut failures);
        }
        let verdict: Verdict = failures.iter().collect();
        let deciding = verdict.deciding(&failures);
        let report = Report::new(
            self.command,
            Some(exchange),
            Some(trace.clone()),
            deciding,
            &self.console,
        )
        .with_cost(cost)
        .with_expectations(findings);
        self.printer.report(&report);
        if let Some(kind) = verdict.kind() {
            self.verdict.add(kind);
        }
    }

    /// Prints the request and the spans that would be sent.
    pub(super) fn show_plan(
        &mut self,
        url: Option<String>,
        exchange: &Exchange,
        trace: &Trace,
        context: &TraceContext,
    ) {
        let Setup {
            settings, clients, ..
        } = &self.setup;
        let planned = clients.uploads.planned(exchange);
        let maker = SpanMaker::new(settings);
        let filtered = maker.filter(&planned, trace);
        let spans = maker.spans(&filtered, context);
        let destination = settings.tracing.destination();
        let endpoint = destination.map(|destination| shown(&destination.target.url));
        let request = url.map(|url| (url, &exchange.request));
        let plan = DryRun::new(
            self.command,
            request,
            (&spans, filtered.redactions),
            endpoint,
            (&settings.notes.shown, &settings.privacy),
        );
        if self.printer.form() == OutputFormat::Json {
            self.printer.document(&plan);
        } else {
            let text = plan.to_text();
            self.printer.text(&text);
        }
    }
}
