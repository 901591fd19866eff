//! The end of an exchange: it is stored, printed, recorded, delivered and reported, in this order.

use std::borrow::Cow;

use super::{Copies, PendingTrace, Run, Traced};
use crate::app::span_maker::SpanMaker;
use crate::app::uploads::{self, Upload};
use crate::delivery::OutboxError;
use crate::expect::{self, Finding};
use crate::failure::{Failure, Kind};
use crate::langfuse::Score;
use crate::trace::Recording;
use crate::trace::privacy::Filtered;

impl Run {
    /// Stores, prints, records, delivers and reports an exchange, in this order: once the last byte of an answer is on
    /// stdout, its trace survives a kill.
    pub(super) async fn conclude(
        &mut self,
        traced: Traced<'_>,
        upload: Option<Upload>,
        failure: Option<Failure>,
    ) -> Result<(), Failure> {
        // Otherwise the answer is not held up for the price table.
        let early_cost = if self.judge.needs_cost() {
            self.cost(traced).await
        } else {
            None
        };
        let cost = early_cost.as_ref();
        let findings = self.judge.findings(traced.exchange, cost, None);
        let scores = self.judge.scores(&findings, &self.setup.settings.privacy);
        let trace = self.with_scores(traced.trace, &scores);
        let traced = Traced {
            trace: &trace,
            ..traced
        };
        let outlined = uploads::with_placeholders(traced.exchange);
        let has_media = matches!(outlined, Cow::Owned(_));
        let is_traced = self.is_traced(traced);
        let filtered = (is_traced || self.setup.record.is_some()).then(|| {
            self.filter(Traced {
                exchange: &outlined,
                ..traced
            })
        });
        let pending = filtered
            .as_ref()
            .filter(|_| is_traced)
            .and_then(|filtered| self.store(filtered, traced, &scores));
        self.printer.answer(traced.exchange);

        let mut failures: Vec<Failure> = failure.into_iter().collect();
        // A recording holds images and files whole.
        let recorded = filtered.filter(|_| !has_media);
        let redactions = self.record(traced, recorded, &mut failures);
        for failure in &failures {
            self.console.error(failure);
        }
        let mut report = match pending {
            Some(mut pending) => {
                if has_media {
                    self.add_media(&mut pending, traced, upload).await?;
                }
                self.deliver(traced, pending, &mut failures).await?
            }
            None => self.untraced(traced.context),
        };
        report.redactions = report.redactions.max(redactions);
        self.say_redactions(&report);
        let cost = match early_cost {
            None if self.shows_costs => self.cost(traced).await,
            cost => cost.filter(|_| self.shows_costs),
        };
        let cost = cost.map(|cost| self.say_cost(&cost));
        failures.extend(self.missed(&findings));
        self.report(traced.exchange, cost, &findings, &report, failures);
        Ok(())
    }

    /// Whether the exchange gets a trace: a failed call does even if it is not in the sample.
    fn is_traced(&self, traced: Traced<'_>) -> bool {
        self.setup.clients.exporter.is_some()
            && (traced.exchange.error.is_some() || self.is_sampled(traced.context))
    }

    /// The parts of an exchange that may be recorded and traced.
    pub(super) fn filter<'e>(&self, traced: Traced<'e>) -> Filtered<'e> {
        SpanMaker::new(&self.setup.settings).filter(traced.exchange, traced.trace)
    }

    /// Makes the spans of an exchange and puts them into the outbox. An outbox that cannot be written holds nothing up.
    fn store(
        &self,
        filtered: &Filtered<'_>,
        traced: Traced<'_>,
        scores: &[Score],
    ) -> Option<PendingTrace> {
        let exporter = self.setup.clients.exporter.as_ref()?;
        // Made twice rather than copied: large content is then never in memory as spans and as their encoding steps at once.
        let maker = SpanMaker::new(&self.setup.settings);
        let mut export = exporter.store(maker.spans(filtered, traced.context).into());
        let spans = maker.spans(filtered, traced.context);
        if traced.copies == Copies::LeftOut {
            export.ask_first(traced.exchange.end);
        }
        if let Some(error) = export.outbox_error()
            && !matches!(error, OutboxError::Disabled)
        {
            self.console.warn(&format!(
                "{error}; if this process is killed, the trace is lost"
            ));
        }
        let scores = self.store_scores(scores, traced, exporter, export.entry());
        Some(PendingTrace {
            spans,
            export,
            scores,
            redactions: filtered.redactions,
        })
    }

    /// Appends the recording of an exchange to the file of `--record`; returns the number of redacted passages.
    /// `filtered` are the parts that may be recorded, if they are known.
    fn record(
        &mut self,
        traced: Traced<'_>,
        filtered: Option<Filtered<'_>>,
        failures: &mut Vec<Failure>,
    ) -> usize {
        if self.setup.record.is_none() {
            return 0;
        }
        let filtered = filtered.unwrap_or_else(|| self.filter(traced));
        let recording = Recording::new(&filtered.exchange, &filtered.trace, traced.context);
        if let Some(file) = &mut self.setup.record {
            failures.extend(file.append(&recording.to_line()).err());
        }
        filtered.redactions
    }

    /// Waits for the uploads, and makes the spans again with references to them, ids and times unchanged.
    async fn add_media(
        &mut self,
        pending: &mut PendingTrace,
        traced: Traced<'_>,
        upload: Option<Upload>,
    ) -> Result<(), Failure> {
        let (exchange, context) = (traced.exchange, traced.context);
        let with_media = self.steps().with_media(exchange, context, upload).await?;
        let filtered = self.filter(Traced {
            exchange: &with_media,
            ..traced
        });
        let maker = SpanMaker::new(&self.setup.settings);
        pending.redactions = filtered.redactions;
        if let Some(exporter) = &self.setup.clients.exporter {
            let spans = maker.spans(&filtered, context).into();
            exporter.replace(&mut pending.export, spans);
        }
        pending.spans = maker.spans(&filtered, context);
        Ok(())
    }

    /// Prints which expectations were not met; returns the failure that this is.
    fn missed(&self, findings: &[Finding]) -> Option<Failure> {
        let failure = Failure::new(Kind::Expectation, expect::missed(findings)?)
            .hint("-o json has all findings; they are scores of the trace");
        self.console.error(&failure);
        Some(failure)
    }
}
