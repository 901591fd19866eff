//! `--verify` of a batch: whether the server knows every trace that was sent.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use opentelemetry::trace::TraceId;
use tokio::time::{Instant, sleep, timeout_at};

use crate::langfuse::{Api, ApiError};

/// The waits between two questions, the last one repeated.
const WAITS_MS: [u64; 5] = [500, 1000, 2000, 3000, 5000];
/// What is counted trace by trace when a number was too small has at least this long, so that an answer can come.
const LAST_COUNT: Duration = Duration::from_secs(5);

/// The traces that must be known, by session.
#[derive(Debug, Default)]
pub struct TraceCount {
    /// The session that holds nothing but these traces, if any.
    pub own_session: Option<String>,
    /// The beginning of each trace id.
    sessions: HashMap<String, Vec<u64>>,
    window: Option<(Timestamp, Timestamp)>,
}

/// How a census ended.
#[derive(Clone, Debug)]
pub struct Counted {
    /// Distinct traces that were sent.
    pub sent: u64,
    /// Those of them that the server knows.
    pub known: u64,
    /// Why the last question was not answered, if it was not.
    pub error: Option<ApiError>,
}

/// How a session is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// The server counts: for a session that is this run's alone.
    Number,
    /// Trace by trace: others file their traces under the session too.
    Name,
}

impl TraceCount {
    /// A trace of a call that began between the two `starts` was sent.
    pub fn add(&mut self, session: &str, trace_id: TraceId, starts: (Timestamp, Timestamp)) {
        let traces = match self.sessions.get_mut(session) {
            Some(traces) => traces,
            None => self.sessions.entry(session.to_owned()).or_default(),
        };
        traces.push(beginning(trace_id));
        let (from, to) = self.window.unwrap_or(starts);
        self.window = Some((from.min(starts.0), to.max(starts.1)));
    }

    /// Asks until every trace is known, or `wait` has passed.
    pub async fn take(mut self, api: &Api, wait: Duration) -> Counted {
        let deadline = Instant::now() + wait;
        let mut counted = Counted {
            sent: 0,
            known: 0,
            error: None,
        };
        let Some(window) = self.window else {
            return counted;
        };
        for (session, mut traces) in std::mem::take(&mut self.sessions) {
            // Lines of one custom_id share a trace.
            traces.sort_unstable();
            traces.dedup();
            let sent = traces.len() as u64;
            let by = match &self.own_session {
                Some(own) if *own == session => By::Number,
                _ => By::Name,
            };
            let found = wait_for(api, by, &session, &traces, window, deadline).await;
            counted.sent += sent;
            match found {
                Ok(known) => counted.known += known.min(sent),
                Err(error) => counted.error = Some(error),
            }
        }
        counted
    }
}

/// Asks for one session until it is whole or `deadline` has come; what was known then.
async fn wait_for(
    api: &Api,
    by: By,
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
            By::Number => timeout_at(deadline, api.trace_count(session, window.0, window.1))
                .await
                .unwrap_or_else(|_| Err(silence())),
            By::Name => known(api, session, traces, window, deadline).await,
        };
        pause = waits.next().unwrap_or(pause);
        match found {
            Ok(known) if known >= sent => return Ok(known),
            Err(error) if error.is_refusal() => return Err(error),
            _ if Instant::now() + pause < deadline => sleep(pause).await,
            // A number may be an estimate; names are not.
            Ok(_) if by == By::Number => {
                let deadline = deadline.max(Instant::now() + LAST_COUNT);
                return known(api, session, traces, window, deadline).await;
            }
            found => return found,
        }
    }
}

/// How many of `traces`, which are sorted, the server knows.
///
/// # Errors
/// Also when `deadline` comes before the server has named all that it knows.
async fn known(
    api: &Api,
    session: &str,
    traces: &[u64],
    (from, to): (Timestamp, Timestamp),
    deadline: Instant,
) -> Result<u64, ApiError> {
    let mut is_found = vec![false; traces.len()];
    let named = api.session_spans(session, from, to, |trace, _| {
        let place = TraceId::from_hex(trace).map(|id| traces.binary_search(&beginning(id)));
        if let Ok(Ok(place)) = place {
            is_found[place] = true;
        }
    });
    let named = timeout_at(deadline, named).await;
    let found = is_found.into_iter().filter(|found| *found).count() as u64;
    match named {
        Ok(named) => named.map(|()| found),
        Err(_) if found == 0 => Err(silence()),
        Err(_) => {
            let was = if found == 1 { "was" } else { "were" };
            let message = format!("{found} of {} {was} found in time", traces.len());
            Err(ApiError::unanswered(message))
        }
    }
}

/// The time is over, and nothing was answered.
fn silence() -> ApiError {
    ApiError::unanswered("the server gave no answer in time".to_owned())
}

/// The first half of a trace id: enough to tell a million apart.
fn beginning(trace_id: TraceId) -> u64 {
    let bytes = trace_id.to_bytes();
    bytes[..8]
        .iter()
        .fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}
