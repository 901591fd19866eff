//! The traces of failed lines, delivered before these lines are asked again: once a line is taken out of the output,
//! the trace of its failure cannot be rebuilt any more.

use crate::app::uploads;
use crate::batch::input::Input;
use crate::batch::input::line::{Line, LineDefaults};
use crate::batch::plan::Plan;
use crate::batch::pool::span_queue::{Delivered, SpanQueue};
use crate::batch::resume::acks::Note;
use crate::batch::resume::previous_output::UnconfirmedLine;
use crate::batch::resume::state::{Arrived, ResumeState};
use crate::batch::stats::Traces;
use crate::delivery::Delivery;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::trace::spans::{self, Dialect};

/// What it takes to deliver them.
pub struct Owed<'a> {
    pub plan: &'a Plan,
    pub settings: &'a Settings,
    pub dialect: Dialect,
    pub tracer: SpanQueue<'a>,
}

impl Owed<'_> {
    /// Delivers them; tells what became of the first that were not accepted. Those that are neither accepted nor in
    /// the outbox stay unsettled, and so do all when nobody knows which have arrived.
    ///
    /// # Errors
    /// When the input cannot be read or the notes of the run cannot be written.
    pub async fn deliver(
        mut self,
        input: &Input,
        history: &mut ResumeState,
        traces: &mut Traces,
    ) -> Result<Option<Delivery>, Failure> {
        let mut trouble = None;
        let defaults = LineDefaults {
            model: &self.settings.model,
            trace: &self.plan.trace,
        };
        let cannot = |error| {
            Failure::file(format!("{} cannot be read: {error}", input.name)).hint("check the file")
        };
        for line in input.lines().map_err(cannot)? {
            let line = line.map_err(cannot)?;
            let duties = history.duties(line.number);
            let (Some(unsettled), true) = (duties.deliver, history.owes_failure(line.number))
            else {
                continue;
            };
            if let Ok(parsed) = Line::parse(&line, &defaults) {
                self.push(line.number, &parsed, &unsettled, history)?;
            }
            while !self.tracer.has_room() {
                let delivered = self.tracer.next().await;
                settle(delivered, history, traces, &mut trouble)?;
            }
        }
        while !self.tracer.is_idle() {
            self.tracer.hurry();
            let delivered = self.tracer.next().await;
            settle(delivered, history, traces, &mut trouble)?;
        }
        Ok(trouble)
    }

    /// Hands what has not arrived of a trace to the tracer.
    fn push(
        &mut self,
        number: u64,
        line: &Line,
        unsettled: &UnconfirmedLine,
        history: &mut ResumeState,
    ) -> Result<(), Failure> {
        let rebuilt = history.rebuild(line, unsettled, &self.settings.model);
        let rebuilt = rebuilt.map_err(|error| {
            Failure::file(format!("the output cannot be read: {error}"))
                .hint("check the file of --out")
        })?;
        let (Some((exchange, context)), Arrived::Known(arrived)) = (rebuilt, &history.arrived)
        else {
            return Ok(());
        };
        // Nobody waits for uploads here: images and files are traced as type and size.
        let outlined = uploads::outlined(&exchange);
        let filtered = self.settings.privacy.filter(&outlined, &line.trace);
        let spans = spans::spans(&filtered.exchange, &filtered.trace, &context, self.dialect);
        let mut spans = Vec::from(spans);
        spans.retain(|span| !arrived.contains(&span.span_context.span_id()));
        if spans.is_empty() {
            history.note(&Note::Accepted(vec![number]))?;
            history.settle(&[number]);
        } else {
            self.tracer.push(number, spans);
        }
        Ok(())
    }
}

/// Notes what became of the traces of some lines.
fn settle(
    delivered: Delivered,
    history: &mut ResumeState,
    traces: &mut Traces,
    trouble: &mut Option<Delivery>,
) -> Result<(), Failure> {
    let Delivered {
        lines,
        unaccepted,
        delivery,
    } = delivered;
    traces.add(lines.len(), unaccepted, &delivery.stored);
    if let Some(note) = Note::of(&lines, &delivery.stored) {
        history.take(note)?;
        history.settle(&lines);
    }
    if !delivery.outcome.is_accepted() {
        trouble.get_or_insert(delivery);
    }
    Ok(())
}
