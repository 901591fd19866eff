//! `--verify` of a batch: waits until every accepted trace can be read from Langfuse.
//!
//! A session that belongs to this run alone is counted by the server. Any other is listed and compared trace by trace.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use opentelemetry::trace::TraceId;
use tokio::time::{Instant, sleep, timeout_at};

use crate::console::counted;
use crate::langfuse::{Api, ApiError};

/// The waits between two requests; the last one repeats.
const WAITS_MS: [u64; 5] = [500, 1000, 2000, 3000, 5000];
/// The least time for listing a session whose count stayed too low.
const LAST_COUNT: Duration = Duration::from_secs(5);

/// The traces that must be readable, by session.
#[derive(Debug, Default)]
pub struct ExpectedTraces {
    /// The session that holds only these traces, if there is one.
    pub own_session: Option<String>,
    /// The first 8 bytes of each trace id.
    sessions: HashMap<String, Vec<u64>>,
    window: Option<(Timestamp, Timestamp)>,
}

/// The result of counting.
#[derive(Clone, Debug)]
pub struct CountResult {
    /// Distinct traces that were sent.
    pub sent: u64,
    /// The readable ones.
    pub readable: u64,
    /// The error of the last request, if it failed.
    pub error: Option<ApiError>,
}

/// How the traces of a session are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CountBy {
    /// The server counts the session, which holds only traces of this run.
    Session,
    /// The session is listed, since it may hold other traces.
    TraceId,
}

impl ExpectedTraces {
    /// Adds a trace whose call began between the two `starts`.
    pub fn add(&mut self, session: &str, trace_id: TraceId, starts: (Timestamp, Timestamp)) {
        let traces = match self.sessions.get_mut(session) {
            Some(traces) => traces,
            None => self.sessions.entry(session.to_owned()).or_default(),
        };
        traces.push(beginning(trace_id));
        let (from, to) = self.window.unwrap_or(starts);
        self.window = Some((from.min(starts.0), to.max(starts.1)));
    }

    /// Asks until every trace is readable, or `wait` has passed.
    pub async fn count(mut self, api: &Api, wait: Duration) -> CountResult {
        let deadline = Instant::now() + wait;
        let mut result = CountResult {
            sent: 0,
            readable: 0,
            error: None,
        };
        let Some(window) = self.window else {
            return result;
        };
        for (session, mut traces) in std::mem::take(&mut self.sessions) {
            // Lines of one custom_id share a trace.
            traces.sort_unstable();
            traces.dedup();
            let sent = traces.len() as u64;
            let by = match &self.own_session {
                Some(own) if *own == session => CountBy::Session,
                _ => CountBy::TraceId,
            };
            let found = wait_for(api, by, &session, &traces, window, deadline).await;
            result.sent += sent;
            match found {
                Ok(known) => result.readable += known.min(sent),
                Err(error) => result.error = Some(error),
            }
        }
        result
    }
}

/// Asks for one session until all its traces are readable or `deadline` has passed; returns how many are readable.
async fn wait_for(
    api: &Api,
    by: CountBy,
    session: &str,
    traces: &[u64],
    window: (Timestamp, Timestamp),
    deadline: Instant,
) -> Result<u64, ApiError> {
    let sent = traces.len() as u64;
    let mut waits = WAITS_MS.into_iter().map(Duration::from_millis);
    let mut pause = Duration::ZERO;
    loop {
        let found = match by {
            CountBy::Session => timeout_at(deadline, api.trace_count(session, window.0, window.1))
                .await
                .unwrap_or_else(|_| Err(no_answer())),
            CountBy::TraceId => readable(api, session, traces, window, deadline).await,
        };
        pause = waits.next().unwrap_or(pause);
        match found {
            Ok(known) if known >= sent => return Ok(known),
            Err(error) if error.is_refusal() => return Err(error),
            _ if Instant::now() + pause < deadline => sleep(pause).await,
            // A count may be an estimate, a list is not.
            Ok(_) if by == CountBy::Session => {
                let deadline = deadline.max(Instant::now() + LAST_COUNT);
                return readable(api, session, traces, window, deadline).await;
            }
            found => return found,
        }
    }
}

/// How many of the sorted `traces` are readable.
///
/// # Errors
/// Also when `deadline` passes before the server has listed the whole session.
async fn readable(
    api: &Api,
    session: &str,
    traces: &[u64],
    (from, to): (Timestamp, Timestamp),
    deadline: Instant,
) -> Result<u64, ApiError> {
    let mut is_found = vec![false; traces.len()];
    let listed = api.session_spans(session, from, to, |trace, _| {
        let place = TraceId::from_hex(trace).map(|id| traces.binary_search(&beginning(id)));
        if let Ok(Ok(place)) = place {
            is_found[place] = true;
        }
    });
    let listed = timeout_at(deadline, listed).await;
    let found = is_found.into_iter().filter(|found| *found).count() as u64;
    match listed {
        Ok(listed) => listed.map(|()| found),
        Err(_) if found == 0 => Err(no_answer()),
        Err(_) => {
            let all = counted(traces.len() as u64, "trace");
            let message = format!("found {found} of {all} in time");
            Err(ApiError::unanswered(message))
        }
    }
}

/// The error when the deadline has passed without an answer.
fn no_answer() -> ApiError {
    ApiError::unanswered("the server did not answer in time".to_owned())
}

/// The first half of a trace id: enough to distinguish a million.
fn beginning(trace_id: TraceId) -> u64 {
    let bytes = trace_id.to_bytes();
    bytes[..8]
        .iter()
        .fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}
