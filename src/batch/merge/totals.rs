//! The totals of a run, added up from its output lines and ack files.

use std::borrow::Cow;
use std::time::Duration;

use crate::batch::experiment::summary::ExperimentSummary;
use crate::batch::merge::part::Part;
use crate::batch::output::line::{LineExperiment, OutputLine};
use crate::batch::resume::stretches::covered;
use crate::batch::stats::{Stats, TraceStats};
use crate::batch::verify::ExpectedTraces;
use crate::sort;
use crate::trace::ids;

/// What all lines of a run took and gave.
#[derive(Debug)]
pub struct Totals {
    pub stats: Stats,
    pub traces: TraceStats,
    /// The traces that `--verify` looks for.
    pub expected: ExpectedTraces,
    /// The time in which any shard had calls.
    pub duration: Duration,
    /// The name of the run; empty if no part knows it.
    pub run: String,
    /// The session of lines that do not set one, if all parts have the same.
    pub session: Option<String>,
    /// The experiment that the run is; its page is not known.
    pub experiment: Option<ExperimentSummary>,
}

impl Totals {
    /// Totals of no line yet. `is_whole` says whether the parts make up a whole run.
    pub fn new(parts: &[Part], is_whole: bool) -> Self {
        let origins = || parts.iter().filter_map(|part| part.origin.as_ref().ok());
        let run = origins().next().map(|origin| origin.run.name.clone());
        let run = run.unwrap_or_default();
        let sessions = origins().map(|origin| origin.run.session.as_deref());
        let sessions = sort::set(sessions);
        let session = match (sessions.len(), sessions.first()) {
            (1, Some(Some(session))) => Some((*session).to_owned()),
            _ => None,
        };
        // A redone line has more traces than one.
        let has_redone = origins().any(|origin| !origin.acked.redone.is_empty());
        let is_own = is_whole && !has_redone && session.as_ref() == Some(&run);
        Self {
            stats: Stats::begin(),
            traces: TraceStats::default(),
            expected: ExpectedTraces::in_session(session.clone().filter(|_| is_own)),
            duration: covered(parts.iter().flat_map(|part| part.worked.iter().copied())),
            run,
            session,
            experiment: None,
        }
    }

    /// Adds an output line.
    pub fn add(&mut self, part: &Part, answer: &OutputLine<'_>) {
        if let (None, Some(item)) = (&self.experiment, &answer.langspan.experiment) {
            self.experiment = Some(summary(part, item));
        }
        let cause = answer.is_failed().then(|| answer.cause());
        let Some(start) = answer.langspan.start_time else {
            self.stats.add_invalid(&answer.cause());
            return;
        };
        let exchange = answer.bare_exchange();
        // Version 0.1 did not repeat what the body states.
        let cost = answer.langspan.cost.or(exchange.completion.cost);
        self.stats.add(&exchange, cost, cause);
        self.stats.judge(&answer.langspan.expectations);
        let trace_id = answer.langspan.trace_id.as_deref();
        let Some(trace_id) = trace_id.and_then(|id| ids::parse_trace_id(id).ok()) else {
            return;
        };
        let line = answer.langspan.line;
        let Ok(origin) = &part.origin else {
            self.traces.undecided += 1;
            return;
        };
        if !answer.is_failed() && !ids::is_sampled(trace_id, origin.run.sample) {
            self.traces.sampled_out += 1;
            return;
        }
        if origin.acked.accepted.contains(line) {
            self.traces.accepted += 1;
        } else if origin.spooled.contains(line) {
            self.traces.spooled += 1;
        } else {
            self.traces.undecided += 1;
        }
        let session = answer.langspan.session.as_deref();
        let session = session.or(origin.run.session.as_deref());
        let session = session.unwrap_or_default();
        self.expected.add(session, trace_id, (start, start));
    }
}

/// The experiment of an item.
fn summary(part: &Part, item: &LineExperiment<'_>) -> ExperimentSummary {
    let origin = part.origin.as_ref().ok();
    let identity = origin.and_then(|origin| origin.run.experiment.as_ref());
    let version = identity.and_then(|identity| identity.version);
    let owned = |text: &Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
    ExperimentSummary {
        id: owned(&item.id),
        name: item.name.to_string(),
        dataset_id: owned(&item.dataset_id),
        dataset: identity.and_then(|identity| identity.dataset.clone()),
        dataset_version: version.map(|version| format!("{version:.3}")),
        url: None,
        verified: None,
    }
}
