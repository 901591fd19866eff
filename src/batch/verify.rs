//! `--verify` of a batch: waits until every span of every accepted trace can be read from Langfuse.
//!
//! A session that belongs to this run alone is counted by the server. Any other is listed and compared trace by trace.
//! Spans are counted as well as traces: a server that has only some of a trace's spans knows the trace.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use opentelemetry::trace::{SpanId, TraceId};
use tokio::time::{Instant, sleep, timeout_at};

use crate::console::counted;
use crate::failure::{Failure, Kind};
use crate::langfuse::{Api, ApiError, SessionCount};

/// The waits between two requests; the last one repeats.
const WAITS_MS: [u64; 5] = [500, 1000, 2000, 3000, 5000];
/// The least time for listing a session whose count stayed too low.
const LAST_COUNT: Duration = Duration::from_secs(5);

/// Items are looked for from this long before the first call on.
const WINDOW_MARGIN: SignedDuration = SignedDuration::from_mins(5);
/// Each call has this many spans: the parent and the generation.
const SPANS_OF_CALL: u64 = 2;

/// The traces that must be readable, by session.
#[derive(Clone, Debug, Default)]
pub struct ExpectedTraces {
    /// The session that holds only these traces, if there is one.
    pub own_session: Option<String>,
    /// The first 8 bytes of the trace id of each call.
    sessions: HashMap<String, Vec<u64>>,
    window: Option<(Timestamp, Timestamp)>,
}

/// The traces of a run, whatever their sessions.
#[derive(Clone, Debug)]
pub struct SentTraces {
    /// The first 8 bytes of each trace id, sorted and without duplicates.
    pub traces: Vec<u64>,
    window: Option<(Timestamp, Timestamp)>,
}

impl SentTraces {
    pub fn count(&self) -> u64 {
        self.traces.len() as u64
    }

    /// A time before the first span; `None` if there is none.
    pub fn from(&self) -> Option<Timestamp> {
        let (from, _) = self.window?;
        // Servers round to milliseconds, and the parent span begins before the call.
        Some(from.checked_sub(WINDOW_MARGIN).unwrap_or(from))
    }

    /// The place of a trace among them.
    pub fn place(&self, trace_id: &str) -> Option<usize> {
        let trace_id = TraceId::from_hex(trace_id).ok()?;
        self.traces.binary_search(&beginning(trace_id)).ok()
    }
}

/// The result of counting.
#[derive(Clone, Debug)]
pub struct CountResult {
    /// Distinct traces and spans that were sent.
    pub sent: SessionCount,
    /// The readable ones.
    pub readable: SessionCount,
    /// The error of the last request, if it failed.
    pub error: Option<ApiError>,
}

impl ExpectedTraces {
    /// No trace yet; `own_session` as in the field.
    pub fn in_session(own_session: Option<String>) -> Self {
        Self {
            own_session,
            ..Self::default()
        }
    }

    /// Adds a call that began between the two `starts`, and its trace.
    pub fn add(&mut self, session: &str, trace_id: TraceId, starts: (Timestamp, Timestamp)) {
        let traces = match self.sessions.get_mut(session) {
            Some(traces) => traces,
            None => self.sessions.entry(session.to_owned()).or_default(),
        };
        traces.push(beginning(trace_id));
        let (from, to) = self.window.unwrap_or(starts);
        self.window = Some((from.min(starts.0), to.max(starts.1)));
    }

    /// All traces, for another count of them.
    pub fn sent(&self) -> SentTraces {
        let mut traces: Vec<u64> = self.sessions.values().flatten().copied().collect();
        traces.sort_unstable();
        traces.dedup();
        SentTraces {
            traces,
            window: self.window,
        }
    }

    /// Asks until everything is readable, or `wait` has passed.
    pub async fn count(mut self, api: &Api, wait: Duration) -> CountResult {
        let deadline = Instant::now() + wait;
        let mut result = CountResult {
            sent: SessionCount::default(),
            readable: SessionCount::default(),
            error: None,
        };
        let Some(window) = self.window else {
            return result;
        };
        for (session, mut traces) in std::mem::take(&mut self.sessions) {
            let spans = SPANS_OF_CALL * traces.len() as u64;
            // Lines with the same custom_id share a trace.
            traces.sort_unstable();
            traces.dedup();
            let session = Session {
                api,
                is_own: self.own_session.as_ref() == Some(&session),
                name: session,
                traces,
                spans,
                window,
            };
            let sent = session.sent();
            result.sent.traces += sent.traces;
            result.sent.spans += sent.spans;
            match session.wait_for_all(deadline).await {
                Ok(readable) => {
                    result.readable.traces += readable.traces.min(sent.traces);
                    result.readable.spans += readable.spans.min(sent.spans);
                }
                Err(error) => result.error = Some(error),
            }
        }
        result
    }
}

impl CountResult {
    /// The readable traces and spans, if these are all.
    ///
    /// # Errors
    /// When some cannot be read, or they could not be counted.
    pub fn into_result(self) -> Result<SessionCount, Failure> {
        let Self {
            sent,
            readable,
            error,
        } = self;
        if readable == sent {
            return Ok(readable);
        }
        let message = match &error {
            Some(error) => format!("the traces could not be counted: {}", error.message),
            None => format!(
                "{} of {} traces can be read, and {} of {} spans",
                readable.traces, sent.traces, readable.spans, sent.spans
            ),
        };
        let status = error.and_then(|error| error.status);
        let hint = match status {
            Some(401 | 403) => {
                "the traces were accepted, but these keys cannot read them: use a project's key pair"
            }
            _ => "the traces were accepted: raise --wait, or check that the server's worker runs",
        };
        let failure = Failure::new(Kind::NotReadable, message);
        Err(failure.hint(hint).status(status))
    }
}

/// A session and the traces that must be readable in it.
struct Session<'a> {
    api: &'a Api,
    name: String,
    /// Whether it holds only traces of this run, so that the server can count them.
    is_own: bool,
    /// Sorted and without duplicates.
    traces: Vec<u64>,
    /// The number of their spans.
    spans: u64,
    /// When the first and the last call began.
    window: (Timestamp, Timestamp),
}

impl Session<'_> {
    fn sent(&self) -> SessionCount {
        SessionCount {
            traces: self.traces.len() as u64,
            spans: self.spans,
        }
    }

    /// Asks until everything is readable or `deadline` has passed; returns how much is readable.
    async fn wait_for_all(&self, deadline: Instant) -> Result<SessionCount, ApiError> {
        let mut waits = WAITS_MS.into_iter().map(Duration::from_millis);
        let mut pause = Duration::ZERO;
        loop {
            let found = if self.is_own {
                self.count(deadline).await
            } else {
                self.list(deadline).await
            };
            pause = waits.next().unwrap_or(pause);
            match found {
                Ok(readable) if self.is_all(readable) => return Ok(readable),
                Err(error) if error.is_refusal() => return Err(error),
                _ if Instant::now() + pause < deadline => sleep(pause).await,
                // A count may be an estimate, a list is not.
                Ok(_) if self.is_own => {
                    return self.list(deadline.max(Instant::now() + LAST_COUNT)).await;
                }
                found => return found,
            }
        }
    }

    fn is_all(&self, readable: SessionCount) -> bool {
        readable.traces >= self.sent().traces && readable.spans >= self.sent().spans
    }

    /// The numbers of readable traces and spans, as the server counts them.
    async fn count(&self, deadline: Instant) -> Result<SessionCount, ApiError> {
        let (from, to) = self.window;
        let count = timeout_at(deadline, self.api.session_count(&self.name, from, to))
            .await
            .unwrap_or_else(|_| Err(ApiError::timeout()))?;
        if count.spans > self.spans {
            // Some count twice, or are the server's own, so that others may be missing.
            return self.list(deadline).await;
        }
        Ok(count)
    }

    /// The numbers of expected traces and of their spans in the server's list.
    ///
    /// # Errors
    /// Also when `deadline` passes before the server has listed the whole session.
    async fn list(&self, deadline: Instant) -> Result<SessionCount, ApiError> {
        let (from, to) = self.window;
        let mut is_found = vec![false; self.traces.len()];
        let mut spans = Vec::new();
        let listed = self.api.session_spans(&self.name, from, to, |trace, span| {
            let place =
                TraceId::from_hex(trace).map(|id| self.traces.binary_search(&beginning(id)));
            if let (Ok(Ok(place)), Ok(span)) = (place, SpanId::from_hex(span)) {
                is_found[place] = true;
                spans.push(span.to_bytes());
            }
        });
        let listed = timeout_at(deadline, listed).await;
        spans.sort_unstable();
        spans.dedup();
        let found = SessionCount {
            traces: is_found.into_iter().filter(|found| *found).count() as u64,
            spans: spans.len() as u64,
        };
        match listed {
            Ok(listed) => listed.map(|()| found),
            Err(_) if found.traces == 0 => Err(ApiError::timeout()),
            Err(_) => {
                let all = counted(self.sent().traces, "trace");
                let message = format!("found {} of {all} in time", found.traces);
                Err(ApiError::unanswered(message))
            }
        }
    }
}

/// The first half of a trace id: enough to distinguish a million.
fn beginning(trace_id: TraceId) -> u64 {
    let bytes = trace_id.to_bytes();
    bytes[..8]
        .iter()
        .fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}
