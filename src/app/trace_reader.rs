//! Reads traces that are in Langfuse: waits until a trace is there and whole.

use std::collections::{BTreeSet, HashSet};
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::app::signals::SignalListener;
use crate::app::trace_reference::{not_found, unread};
use crate::console::Console;
use crate::failure::{Failure, Kind};
use crate::langfuse::readback::{self, Poll};
use crate::langfuse::trace_rows::TraceQuery;
use crate::langfuse::{Api, ApiError, Row};
use crate::settings::{Destination, Notes};

/// How long a trace is waited for by default: a person waits here, and may have mistyped the id.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(15);
/// After this time, a terminal shows that something is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Rows that stay the same for this long are all that there are.
const SETTLED: Duration = Duration::from_secs(1);

/// Reads from one Langfuse.
#[derive(Clone, Copy, Debug)]
pub struct TraceReader<'a> {
    pub api: &'a Api,
    /// For the remedies of failures.
    pub settings: (&'a Destination, &'a Notes),
}

impl TraceReader<'_> {
    /// The rows of a trace, waited for until they are enough, as `is_enough` says; what is there at the end of the wait
    /// otherwise.
    ///
    /// # Errors
    /// If the server cannot be asked, or there are none.
    pub async fn rows(
        &self,
        query: &TraceQuery,
        wait: Duration,
        is_enough: impl FnMut(&[Row]) -> bool,
    ) -> Result<Vec<Row>, Failure> {
        match readback::poll(self.api, query, Instant::now() + wait, is_enough).await {
            Poll::Enough(rows) => Ok(rows),
            Poll::TimeUp { rows, .. } if !rows.is_empty() => Ok(rows),
            Poll::Failed(error)
            | Poll::TimeUp {
                error: Some(error), ..
            } => Err(self.failure(error)),
            Poll::TimeUp { error: None, .. } => Err(not_found(&query.trace_id)),
        }
    }

    /// The same, until the trace is whole.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub async fn whole(&self, query: &TraceQuery, wait: Duration) -> Result<Vec<Row>, Failure> {
        let mut completeness = Completeness::default();
        self.rows(query, wait, |rows| completeness.is_reached(rows))
            .await
    }

    /// The failure of a request.
    pub fn failure(&self, error: ApiError) -> Failure {
        unread(error, self.api, self.settings)
    }
}

/// Waits for what is read. A terminal is told after a second; a signal ends it.
///
/// # Errors
/// Those of `reading`, or the signal.
pub async fn patiently<T>(
    reading: impl Future<Output = Result<T, Failure>>,
    wait: Duration,
    console: &Console,
) -> Result<T, Failure> {
    let mut interrupt = SignalListener::listen().map_err(anyhow::Error::from)?;
    let mut reading = pin!(reading);
    let mut is_noted = !console.shows_progress();
    loop {
        tokio::select! {
            read = &mut reading => return read,
            signal = interrupt.wait() => {
                let message = "interrupted while the trace was read";
                return Err(Failure::new(Kind::Interrupted(signal), message).hint("run it again"));
            }
            () = sleep(PATIENCE), if !is_noted => {
                is_noted = true;
                console.note(&format!("waiting for the trace, {} s at most …", wait.as_secs_f64()));
            }
        }
    }
}

/// Whether a span names a parent that is not among the rows, although it is not the first span of its program.
pub fn has_orphans(rows: &[Row]) -> bool {
    let ids: HashSet<&str> = rows.iter().map(Row::id).collect();
    rows.iter().any(|row| {
        let parent = row.parent();
        !row.is_root() && parent.is_some_and(|parent| !ids.contains(parent))
    })
}

/// Whether the looks for a trace have found all of it.
#[derive(Debug, Default)]
struct Completeness {
    /// The ids of the rows, and when exactly these were seen first.
    seen: Option<(Instant, BTreeSet<String>)>,
}

impl Completeness {
    /// Whether no parent is missing, or a second look, at least a second after the first, gave the same rows: a parent
    /// may never come.
    fn is_reached(&mut self, rows: &[Row]) -> bool {
        if rows.is_empty() {
            return false;
        }
        if !has_orphans(rows) {
            return true;
        }
        let ids: BTreeSet<String> = rows.iter().map(|row| row.id().to_owned()).collect();
        match &self.seen {
            Some((since, seen)) if *seen == ids => since.elapsed() >= SETTLED,
            _ => {
                self.seen = Some((Instant::now(), ids));
                false
            }
        }
    }
}
