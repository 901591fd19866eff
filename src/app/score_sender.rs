//! The delivery of scores: in the outbox until the server has accepted them, sent once their trace is accepted, read back
//! with `--verify`. A score that is sent twice replaces itself, so nothing has to be asked before.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use crate::app::hints;
use crate::console::{Console, counted};
use crate::delivery::outbox::Entry;
use crate::delivery::{Exporter, OutboxError};
use crate::failure::{Failure, Kind};
use crate::http::Backoff;
use crate::langfuse::scores::is_set;
use crate::langfuse::{Api, ApiError};

/// Scores that one request of a batch may hold.
pub const MOST_AT_ONCE: usize = 100;
/// The waits between two looks for scores, which become readable about six seconds after their acceptance.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// Scores on their way.
#[derive(Debug)]
pub struct PendingScores {
    /// The request bodies.
    pub bodies: Vec<Value>,
    /// Where they are kept meanwhile.
    entry: Result<Entry, OutboxError>,
}

/// Scores that were not accepted, and why.
#[derive(Clone, Debug)]
pub struct RefusedScores {
    pub bodies: Vec<Value>,
    /// In the server's words.
    pub cause: String,
    pub status: Option<u16>,
    pub is_passing: bool,
    pub hint: Option<String>,
}

impl PendingScores {
    /// Stores scores; `beside` is the entry of their spans.
    pub fn store(
        bodies: Vec<Value>,
        exporter: &Exporter,
        beside: Option<&str>,
        trace_ids: Vec<String>,
    ) -> Self {
        let lines: Vec<String> = bodies.iter().map(Value::to_string).collect();
        Self {
            entry: exporter.store_scores(beside, &lines, trace_ids),
            bodies,
        }
    }

    /// Whether they are in the outbox.
    pub fn is_kept(&self) -> bool {
        self.entry.is_ok()
    }

    /// Sends the scores, one a request, until `deadline`. Those that are not accepted stay in the outbox.
    ///
    /// # Errors
    /// If one is not accepted.
    pub async fn deliver(
        self,
        api: &Api,
        deadline: Instant,
        console: &Console,
    ) -> Result<(), Failure> {
        match one_by_one(api, &self.bodies, deadline).await {
            Ok(()) => {
                if let Ok(entry) = &self.entry {
                    // One that stays is delivered again, which changes nothing.
                    let _ = entry.remove();
                }
                Ok(())
            }
            Err(refused) => Err(self.keep(&refused, console)),
        }
    }

    /// Keeps the scores for `resend`, because their trace was not accepted.
    pub fn wait_for_trace(mut self) {
        if let Ok(entry) = &mut self.entry {
            let lines: Vec<String> = self.bodies.iter().map(Value::to_string).collect();
            // Without a note, the entry is sent after that of the spans all the same.
            let _ = entry.keep_scores(&lines, "their trace was not accepted yet");
        }
    }

    fn keep(self, refused: &RefusedScores, console: &Console) -> Failure {
        let count = refused.bodies.len();
        let cause = console.clean(&refused.cause);
        let kept = self
            .entry
            .map_err(|error| error.to_string())
            .and_then(|mut entry| {
                let lines: Vec<String> = refused.bodies.iter().map(Value::to_string).collect();
                let kept = entry
                    .keep_scores(&lines, &cause)
                    .map_err(|error| error.to_string());
                kept.map(|()| entry.path().display().to_string())
            });
        let place = match kept {
            Ok(path) => format!("they are kept in {path}; to deliver them: langspan resend"),
            Err(why) => format!("the scores are LOST: {why}"),
        };
        not_accepted(count as u64, refused, Some(place))
    }
}

/// The failure of scores that were not accepted; `place` says where they are.
pub fn not_accepted(count: u64, refused: &RefusedScores, place: Option<String>) -> Failure {
    let (scores, was) = (
        counted(count, "score"),
        if count == 1 { "was" } else { "were" },
    );
    Failure::new(
        Kind::Delivery,
        format!("{scores} {was} not accepted: {}", refused.cause),
    )
    .status(refused.status)
    .retryable(refused.is_passing)
    .hints([hint(refused), place])
}

fn hint(refused: &RefusedScores) -> Option<String> {
    match refused.status {
        Some(401) => Some(hints::OTHER_KEYS.to_owned()),
        Some(403) => Some(format!(
            "the keys may not write scores; {}",
            hints::PROJECT_KEYS
        )),
        _ => refused.hint.clone(),
    }
}

impl RefusedScores {
    fn new(bodies: &[Value], error: ApiError) -> Self {
        Self {
            bodies: bodies.to_vec(),
            is_passing: error.is_passing(),
            cause: error.message,
            status: error.status,
            hint: error.hint,
        }
    }
}

/// Sends scores, each in a request of its own.
///
/// # Errors
/// Those that were not accepted, with the cause of the first one.
pub async fn one_by_one(
    api: &Api,
    bodies: &[Value],
    deadline: Instant,
) -> Result<(), RefusedScores> {
    let mut refused: Option<RefusedScores> = None;
    for (place, body) in bodies.iter().enumerate() {
        let sent = timeout_at(deadline, api.set_score(body)).await;
        let error = match sent {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error,
            Err(_) => ApiError::timeout(),
        };
        // A wrong score says nothing of the next one.
        let concerns_all = error.is_passing() || error.is_refusal();
        let rest = if concerns_all {
            &bodies[place..]
        } else {
            std::slice::from_ref(body)
        };
        let next = RefusedScores::new(rest, error);
        match &mut refused {
            Some(refused) => refused.bodies.extend(next.bodies),
            None => refused = Some(next),
        }
        if concerns_all {
            break;
        }
    }
    refused.map_or(Ok(()), Err)
}

/// Sends up to a hundred scores in one request.
///
/// # Errors
/// Those that were not accepted, with the cause of the first one.
pub async fn at_once(api: &Api, bodies: &[Value], deadline: Instant) -> Result<(), RefusedScores> {
    let timestamp = Timestamp::now().to_string();
    let sent = timeout_at(deadline, api.set_scores(bodies, &timestamp)).await;
    let answer = match sent {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(RefusedScores::new(bodies, error)),
        Err(_) => {
            let error = ApiError::timeout();
            return Err(RefusedScores::new(bodies, error));
        }
    };
    let Some((_, cause, status)) = answer.refused.first().cloned() else {
        return Ok(());
    };
    let refused = answer
        .refused
        .iter()
        .map(|(place, ..)| bodies[*place].clone());
    Err(RefusedScores {
        bodies: refused.collect(),
        cause,
        status,
        is_passing: matches!(status, Some(429 | 500..)),
        hint: None,
    })
}

/// Waits until all scores of a trace can be read as they were sent.
///
/// # Errors
/// If they cannot before `deadline`.
pub async fn verify(
    api: &Api,
    trace_id: &str,
    bodies: &[Value],
    deadline: Instant,
) -> Result<(), Failure> {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        let (found, why, is_final) = match timeout_at(deadline, api.scores(trace_id)).await {
            Ok(Ok(read)) => {
                let by_id: HashMap<&str, &Value> = read
                    .iter()
                    .filter_map(|score| Some((score["id"].as_str()?, score)))
                    .collect();
                let is_there = |body: &&Value| {
                    let id = body["id"].as_str().unwrap_or_default();
                    by_id.get(id).is_some_and(|read| is_set(read, body))
                };
                (bodies.iter().filter(is_there).count(), None, false)
            }
            Ok(Err(error)) => (0, Some(error.message.clone()), error.is_final()),
            Err(_) => (
                0,
                Some("the server gave no answer in time".to_owned()),
                true,
            ),
        };
        if found == bodies.len() {
            return Ok(());
        }
        let pause = backoff.next_wait();
        if is_final || Instant::now() + pause >= deadline {
            let of = counted(bodies.len() as u64, "score");
            let were = if bodies.len() == 1 { "was" } else { "were" };
            let why = why.map_or_else(String::new, |why| format!(": {why}"));
            return Err(Failure::new(
                Kind::NotReadable,
                format!("{of} {were} accepted, but only {found} can be read as sent{why}"),
            )
            .retryable(true)
            .hint("scores take about 6 s to appear: wait longer with --wait SECS"));
        }
        sleep(pause).await;
    }
}
