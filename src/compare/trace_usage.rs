//! Tokens and cost of the items of an experiment, which their traces have.
//!
//! The traces of a batch share a session, which is read in few requests. All others are read one by one.

use std::collections::HashMap;

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::compare::experiment::ExperimentRun;
use crate::compare::run::TokenCounts;
use crate::langfuse::trace_rows::TraceQuery;
use crate::langfuse::{Api, ApiError, Row};

/// The most traces that are read at once.
const CONCURRENCY: usize = 8;

/// The sums over the rows of a trace.
#[derive(Clone, Copy, Debug, Default)]
struct TraceUsage {
    tokens: Option<TokenCounts>,
    /// In US dollars.
    cost: f64,
}

impl TraceUsage {
    fn add(&mut self, row: &Row) {
        if !row.usage().is_empty() {
            let sum = self.tokens.get_or_insert_default();
            sum.input = sum.input.saturating_add(row.tokens("input"));
            sum.output = sum.output.saturating_add(row.tokens("output"));
        }
        self.cost += row.number("totalCost").unwrap_or_default();
    }
}

/// Adds tokens and cost to the items of an experiment.
///
/// # Errors
/// If a trace cannot be read. The items so far have theirs.
pub async fn add(api: &Api, experiment: &mut ExperimentRun) -> Result<(), ApiError> {
    let (run, traces) = (&mut experiment.run, &experiment.traces);
    let places: HashMap<&str, u32> = traces
        .iter()
        .zip(0..)
        .map(|(query, place)| (query.trace_id.as_str(), place))
        .collect();
    let mut found: HashMap<u32, TraceUsage> = HashMap::new();
    let session = of_session(api, traces, &places, &mut found).await;
    let rest = traces.iter().zip(0..);
    let rest: Vec<(&TraceQuery, u32)> = rest
        .filter(|(_, place)| !found.contains_key(place))
        .collect();
    // Without the session, each trace is read, and would fail in the same way.
    let ended = match session {
        Ok(()) => one_by_one(api, rest, &mut found).await,
        Err(error) => Err(error),
    };
    for (place, usage) in found {
        // Langfuse writes 0 where it knows no price.
        let cost = Some(usage.cost).filter(|cost| *cost > 0.0);
        run.set_usage(place, usage.tokens, cost);
    }
    ended
}

/// Reads the session of the first trace, if it has one.
async fn of_session(
    api: &Api,
    traces: &[TraceQuery],
    places: &HashMap<&str, u32>,
    found: &mut HashMap<u32, TraceUsage>,
) -> Result<(), ApiError> {
    let Some(first) = traces.first() else {
        return Ok(());
    };
    let rows = api.patient_rows(first).await?;
    let session = rows.iter().find_map(|row| row.text("sessionId"));
    let starts = traces.iter().filter_map(|query| Some(query.window?.0));
    let window = starts.clone().min().zip(starts.max());
    let (Some(session), Some((from, to))) = (session, window) else {
        return Ok(());
    };
    let mut pages = api.session_row_pages(session, from, to);
    while let Some(rows) = pages.next().await? {
        for row in rows.iter().filter(|row| !row.is_synthetic()) {
            if let Some(place) = row.text("traceId").and_then(|id| places.get(id)) {
                found.entry(*place).or_default().add(row);
            }
        }
    }
    Ok(())
}

async fn one_by_one(
    api: &Api,
    traces: Vec<(&TraceQuery, u32)>,
    found: &mut HashMap<u32, TraceUsage>,
) -> Result<(), ApiError> {
    let asked = traces.into_iter().map(async |(query, place)| {
        let rows = api.patient_rows(query).await;
        rows.map(|rows| (place, rows))
    });
    let mut answers = stream::iter(asked).buffer_unordered(CONCURRENCY);
    while let Some(answer) = answers.next().await {
        let (place, rows) = answer?;
        let usage = found.entry(place).or_default();
        for row in &rows {
            usage.add(row);
        }
    }
    Ok(())
}
