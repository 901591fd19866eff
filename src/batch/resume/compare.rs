//! Compares the input with the lines that are answered, before anything is sent.

use std::collections::HashSet;

use jiff::Timestamp;
use opentelemetry::trace::SpanId;
use tokio::time::{Instant, sleep_until};

use crate::app::model_call;
use crate::batch::input::line::{LineDefaults, ParsedLine};
use crate::batch::input::{Input, RawLine};
use crate::batch::output::line;
use crate::batch::plan::{Plan, old_trace_id};
use crate::batch::resume::previous_output::PreviousOutput;
use crate::batch::resume::state::{ArrivedSpans, ResumeState};
use crate::batch::verify::ExpectedTraces;
use crate::console::{Console, counted};
use crate::delivery::PROOF_OF_ABSENCE;
use crate::failure::Failure;
use crate::langfuse::Api;
use crate::settings::Settings;
use crate::trace::ids;

/// The result of the comparison.
#[derive(Debug)]
pub struct Comparison {
    /// When it began. The earlier run had ended by then.
    begun: Instant,
    /// The sessions of unconfirmed lines: where Langfuse is asked for their spans.
    sessions: HashSet<String>,
    /// The last line that `--limit` allows, if it cuts the input.
    pub last: Option<u64>,
    /// The traces of confirmed lines, for `--verify`.
    pub expected: ExpectedTraces,
}

impl Comparison {
    /// Compares the input with the output of the earlier run.
    ///
    /// # Errors
    /// When an answered line has changed or is missing, or was answered under another run name.
    pub fn new(
        input: &Input,
        plan: &Plan,
        state: &ResumeState,
        settings: &Settings,
    ) -> Result<Self, Failure> {
        let mut comparison = Self {
            begun: Instant::now(),
            sessions: HashSet::new(),
            last: None,
            expected: ExpectedTraces::default(),
        };
        let Some(previous) = state.previous() else {
            return Ok(comparison);
        };
        let reader = Answered {
            plan,
            state,
            previous,
            settings,
            defaults: plan.line_defaults(&settings.model),
        };
        let unreadable = |error| Failure::unreadable(&input.name, &error);
        let mut found = 0;
        for (line, count) in input.lines().map_err(unreadable)?.zip(1..) {
            let line = line.map_err(unreadable)?;
            if plan.limit == Some(count) {
                comparison.last = Some(line.number);
            }
            if previous.answered.contains(line.number) {
                found += 1;
                reader.refuse_changed(&line, &input.name)?;
                comparison.add(&line, &reader)?;
            }
        }
        if found < previous.answered.len() {
            let missing = counted(previous.answered.len() - found, "answered line");
            let message = format!("{} lacks {missing}", input.name);
            return Err(Failure::input(message).hint(CHANGED));
        }
        Ok(comparison)
    }

    /// Takes an answered line into account.
    fn add(&mut self, line: &RawLine, answered: &Answered<'_>) -> Result<(), Failure> {
        let Answered {
            plan,
            state,
            previous,
            settings,
            defaults,
        } = answered;
        let work = state.work(line.number);
        if work.deliver.is_none() && settings.delivery.verify.is_none() {
            return Ok(());
        }
        let Ok(parsed) = ParsedLine::parse(line, defaults) else {
            // Its answer is the error line of an invalid request, which has no trace.
            return Ok(());
        };
        let exchange = model_call::begin(&settings.model, parsed.request, Timestamp::UNIX_EPOCH);
        let filtered = settings.privacy.filter(&exchange, &parsed.trace);
        let session = filtered.trace.session.clone().unwrap_or_default();
        let redo = state.redo(line.number);
        let trace_id = if previous.old_ids.contains(line.number) {
            old_trace_id(&plan.name, line.number, redo)
        } else {
            let digest = line::digest(line);
            plan.trace_id(line.number, parsed.custom_id.as_deref(), &digest, redo)
        };
        if let Some(unconfirmed) = work.deliver {
            if unconfirmed.trace_id != trace_id.to_string() {
                return Err(other_name(line.number, &plan.name));
            }
            self.sessions.insert(session);
            return Ok(());
        }
        let is_traced =
            ids::is_sampled(trace_id, settings.delivery.sample) || state.has_failed(line.number);
        if let (true, Some(starts)) = (is_traced, previous.starts) {
            self.expected.add(&session, trace_id, starts);
        }
        Ok(())
    }

    /// Asks Langfuse which spans of unconfirmed lines have arrived.
    pub async fn find_arrived(
        &self,
        state: &mut ResumeState,
        api: Option<&Api>,
        console: &Console,
    ) {
        let (Some(api), Some(previous)) = (api, state.previous()) else {
            return;
        };
        let unconfirmed = previous.unconfirmed.values();
        let ours: HashSet<&str> = unconfirmed
            .clone()
            .map(|line| line.trace_id.as_str())
            .collect();
        let from = unconfirmed.clone().map(|line| line.start).min();
        let (Some(from), Some(to)) = (from, unconfirmed.map(|line| line.end).max()) else {
            return;
        };
        // The earlier run may have been killed just now, right after it sent a request.
        sleep_until(self.begun + PROOF_OF_ABSENCE).await;
        let mut arrived = HashSet::new();
        for session in &self.sessions {
            let found = |trace: &str, span: &str| {
                if let (true, Ok(span)) = (ours.contains(trace), SpanId::from_hex(span)) {
                    arrived.insert(span);
                }
            };
            if let Err(error) = api.session_spans(session, from, to, found).await {
                console.warn(&format!(
                    "cannot tell which traces of the earlier run have arrived: {}",
                    error.message
                ));
                state.arrived = ArrivedSpans::Unknown;
                return;
            }
        }
        state.arrived = ArrivedSpans::Known(arrived);
    }
}

/// What an answered line is compared with.
struct Answered<'a> {
    plan: &'a Plan,
    state: &'a ResumeState,
    previous: &'a PreviousOutput,
    settings: &'a Settings,
    defaults: LineDefaults<'a>,
}

impl Answered<'_> {
    fn refuse_changed(&self, line: &RawLine, input: &str) -> Result<(), Failure> {
        if !self.previous.is_changed(line.number, &line::digest(line)) {
            return Ok(());
        }
        let message = format!(
            "line {} of {input} has changed since it was answered",
            line.number
        );
        Err(Failure::input(message).hint(CHANGED))
    }
}

const CHANGED: &str = "resume with the same input, to which lines may have been added; or name another file with --out";

fn other_name(line: u64, name: &str) -> Failure {
    let message = format!("line {line} was answered in a run with another name than {name}");
    Failure::input(message).hint("give --run NAME as in the earlier run")
}
