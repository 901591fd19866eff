//! `--retry-errors`: delivers the traces of failed lines before these lines are removed from the output. Afterwards
//! the trace of a failure could not be rebuilt.

use crate::batch::input::Input;
use crate::batch::input::line::ParsedLine;
use crate::batch::plan::Plan;
use crate::batch::pool::trace_sender::{SenderEvent, TraceSender};
use crate::batch::resume::acks::Ack;
use crate::batch::resume::state::ArrivedSpans;
use crate::failure::Failure;

/// Delivers them. A trace that is neither accepted nor in the outbox stays unconfirmed, and so do all of them if
/// Langfuse could not be asked which have arrived.
///
/// # Errors
/// When the input, the output or the ack file cannot be read or written.
pub async fn redeliver_failed(
    input: &Input,
    plan: &Plan,
    traces: &mut TraceSender<'_>,
) -> Result<(), Failure> {
    if !traces.is_on() || matches!(traces.state.arrived, ArrivedSpans::Unknown) {
        return Ok(());
    }
    let defaults = plan.line_defaults(&traces.settings.model);
    let unreadable = |error| Failure::unreadable(&input.name, &error);
    for line in input.lines().map_err(unreadable)? {
        let line = line.map_err(unreadable)?;
        if !traces.state.has_unconfirmed_failure(line.number) {
            continue;
        }
        let unconfirmed = traces.state.work(line.number).deliver;
        if let (Some(unconfirmed), Ok(parsed)) = (unconfirmed, ParsedLine::parse(&line, &defaults))
            && let Some(pending) = traces.rebuild(&parsed, &unconfirmed)?
        {
            // The calls should not wait for uploads: images and files become type and size.
            let pending = pending.outlined();
            let ack = if traces.is_unproven(&unconfirmed) {
                traces.push_unproven(line.number, &pending)?
            } else {
                traces.push(line.number, &pending)?
            };
            apply(ack, traces);
        }
        while !traces.has_room() {
            await_export(traces).await?;
        }
    }
    while !traces.is_idle() {
        traces.hurry();
        await_export(traces).await?;
    }
    Ok(())
}

async fn await_export(traces: &mut TraceSender<'_>) -> Result<(), Failure> {
    match traces.next_event().await {
        SenderEvent::Exported(exported) => {
            let ack = traces.export_ended(&exported)?;
            apply(ack, traces);
            Ok(())
        }
        SenderEvent::Scored(scored) => traces.scores_ended(scored),
    }
}

fn apply(ack: Option<Ack>, traces: &mut TraceSender<'_>) {
    if let Some(ack) = ack {
        traces.state.apply(ack);
    }
}
