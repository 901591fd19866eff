//! What comes before a run is continued: the input is compared with what was answered, entries of the outbox are
//! delivered, and Langfuse is asked which traces have arrived.

use std::collections::HashSet;

use jiff::Timestamp;
use opentelemetry::trace::SpanId;
use tokio::time::Instant;

use crate::app::model_call;
use crate::app::redeliver::Redelivery;
use crate::batch::input::line::{Line, LineDefaults};
use crate::batch::input::{self, Input};
use crate::batch::output::answer;
use crate::batch::plan::Plan;
use crate::batch::resume::acks::Note;
use crate::batch::resume::state::{Arrived, ResumeState};
use crate::batch::stats::Traces;
use crate::batch::verify::TraceCount;
use crate::console::Console;
use crate::delivery::Outbox;
use crate::delivery::PROOF_OF_ABSENCE;
use crate::failure::{Failure, Kind};
use crate::langfuse::Api;
use crate::settings::Settings;
use crate::trace::ids;

/// What the comparison found.
#[derive(Debug)]
pub struct Compared {
    /// When it began: the earlier run had ended by then.
    begun: Instant,
    /// The sessions of lines whose trace may not have arrived.
    sessions: HashSet<String>,
    /// The last line that `--limit` lets through, where it leaves any out.
    pub last: Option<u64>,
    /// The traces of lines that need nothing more.
    pub trace_count: TraceCount,
}

/// Compares the input with what was answered before anything is sent.
///
/// # Errors
/// When an answered line is another now, or is missing.
pub fn compare(
    input: &Input,
    plan: &Plan,
    history: &ResumeState,
    settings: &Settings,
) -> Result<Compared, Failure> {
    let mut compared = Compared {
        begun: Instant::now(),
        sessions: HashSet::new(),
        last: None,
        trace_count: TraceCount::default(),
    };
    let Some(past) = history.past() else {
        return Ok(compared);
    };
    let defaults = LineDefaults {
        model: &settings.model,
        trace: &plan.trace,
    };
    let cannot = |error| {
        Failure::file(format!("{} cannot be read: {error}", input.name)).hint("check the file")
    };
    let (mut found, mut taken) = (0, 0);
    for line in input.lines().map_err(cannot)? {
        let line = line.map_err(cannot)?;
        taken += u64::from(plan.holds(line.number));
        if plan.limit == Some(taken) {
            compared.last.get_or_insert(line.number);
        }
        if !past.answered.contains(line.number) {
            continue;
        }
        found += 1;
        if past.is_changed(line.number, &answer::digest(&line)) {
            let message = format!(
                "line {} of {} was answered, and is another now",
                line.number, input.name
            );
            return Err(Failure::input(message).hint(CHANGED));
        }
        compared.take(&line, plan, history, settings, &defaults)?;
    }
    if found < past.answered.len() {
        let missing = past.answered.len() - found;
        let message = format!("{} lacks {missing} lines that were answered", input.name);
        return Err(Failure::input(message).hint(CHANGED));
    }
    Ok(compared)
}

const CHANGED: &str =
    "continue with the input of before, to which lines may be added; or begin another output file";

impl Compared {
    /// Takes an answered line into account.
    fn take(
        &mut self,
        line: &input::RawLine,
        plan: &Plan,
        history: &ResumeState,
        settings: &Settings,
        defaults: &LineDefaults<'_>,
    ) -> Result<(), Failure> {
        let duties = history.duties(line.number);
        let is_counted = settings.delivery.verify.is_some();
        if duties.deliver.is_none() && !is_counted {
            return Ok(());
        }
        let Ok(parsed) = Line::parse(line, defaults) else {
            // It was answered as what it is: no request.
            return Ok(());
        };
        let exchange = model_call::begin(&settings.model, parsed.request, Timestamp::UNIX_EPOCH);
        let filtered = settings.privacy.filter(&exchange, &parsed.trace);
        let session = filtered.trace.session.clone().unwrap_or_default();
        let trace_id = plan.trace_id(
            line.number,
            parsed.custom_id.as_deref(),
            history.redo(line.number),
        );
        match duties.deliver {
            Some(unsettled) if unsettled.trace_id != trace_id.to_string() => {
                let message = format!(
                    "line {} was answered in a run of another name than {}",
                    line.number, plan.name
                );
                return Err(
                    Failure::input(message).hint("say --run NAME as in the run that is continued")
                );
            }
            Some(_) => {
                self.sessions.insert(session);
            }
            None => {
                let is_traced = ids::is_sampled(trace_id, settings.delivery.sample)
                    || history.has_failed(line.number);
                if let (true, Some(starts)) =
                    (is_traced, history.past().and_then(|past| past.starts))
                {
                    self.trace_count.add(&session, trace_id, starts);
                }
            }
        }
        Ok(())
    }

    /// Asks Langfuse which spans of lines that nobody acknowledged have arrived.
    pub async fn ask(&self, history: &mut ResumeState, api: Option<&Api>, console: &Console) {
        let (Some(api), Some(past)) = (api, history.past()) else {
            return;
        };
        let unsettled = past.unsettled.values();
        let wanted: HashSet<&str> = unsettled
            .clone()
            .map(|line| line.trace_id.as_str())
            .collect();
        let from = unsettled.clone().map(|line| line.start).min();
        let (Some(from), Some(to)) = (from, unsettled.map(|line| line.end).max()) else {
            return;
        };
        // When the earlier run was killed is not known, nor what it had sent just before.
        tokio::time::sleep_until(self.begun + PROOF_OF_ABSENCE).await;
        let mut arrived = HashSet::new();
        for session in &self.sessions {
            let found = |trace: &str, span: &str| {
                if let (true, Ok(span)) = (wanted.contains(trace), SpanId::from_hex(span)) {
                    arrived.insert(span);
                }
            };
            if let Err(error) = api.session_spans(session, from, to, found).await {
                console.warn(&format!(
                    "which traces of the earlier run have arrived is not known: {}",
                    error.message
                ));
                history.arrived = Arrived::Unknown;
                return;
            }
        }
        history.arrived = Arrived::Known(arrived);
    }
}

/// The entries of the outbox, and where they go.
#[derive(Debug)]
pub struct Again<'a> {
    pub outbox: &'a Outbox,
    pub redelivery: Redelivery<'a>,
}

impl Again<'_> {
    /// Delivers the entries of the outbox that hold traces of the run; one that is gone was delivered.
    ///
    /// # Errors
    /// When the notes of the run cannot be written.
    pub async fn deliver(
        &self,
        history: &mut ResumeState,
        traces: &mut Traces,
    ) -> Result<(), Failure> {
        let mut is_refused = false;
        for (id, lines) in history.entries() {
            let count = lines.len() as u64;
            if is_refused {
                traces.spooled += count;
                continue;
            }
            match self.deliver_entry(&id).await {
                Ok(()) => {
                    traces.accepted += count;
                    history.take(Note::Accepted(lines))?;
                }
                Err(failure) => {
                    traces.spooled += count;
                    // The others would wait as long for the same answer.
                    is_refused = failure.retryable || matches!(failure.status, Some(401 | 403));
                    self.redelivery.console.error(&failure);
                }
            }
        }
        Ok(())
    }

    async fn deliver_entry(&self, id: &str) -> Result<(), Failure> {
        let failure = |message: String| Failure::new(Kind::Delivery, message);
        let unreadable =
            |error| failure(format!("{id} cannot be read: {error}")).hint("look at the outbox");
        let Some(mut entry) = self.outbox.entry(id).map_err(unreadable)? else {
            if self.outbox.contains(id) {
                let message = format!("another process delivers {id} just now");
                return Err(failure(message).hint("run it again when that has ended"));
            }
            return Ok(());
        };
        if let Some(other) = self.redelivery.other_project(&entry) {
            let message = format!("{id} is of the project of {other} and stays");
            return Err(failure(message).hint("set its keys to deliver it"));
        }
        self.redelivery.deliver(&mut entry).await
    }
}
