//! The scores of a run: sent once their traces are accepted, many at once, one request after the other. What is not accepted
//! goes to the outbox. A line counts as delivered when its scores are.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::app::score_sender::{MOST_AT_ONCE, RefusedScores, at_once};
use crate::batch::stats::ScoreStats;
use crate::delivery::{Exporter, Stored};
use crate::langfuse::Api;

/// Scores that may wait before no further call starts.
const MOST_WAITING: usize = 10_000;
/// Traces whose scores `--verify` reads back.
const MOST_SCORED: usize = 20;

type Sending<'a> = Pin<Box<dyn Future<Output = Result<(), RefusedScores>> + 'a>>;

/// The scores of a line: request bodies.
type LineScores = (u64, Vec<Value>);

/// Sends scores.
pub struct ScoreQueue<'a> {
    api: &'a Api,
    exporter: &'a Exporter,
    budget: Duration,
    /// The scores of lines whose traces are not accepted yet.
    held: HashMap<u64, Vec<Value>>,
    ready: VecDeque<LineScores>,
    /// What the request under way holds.
    sent: Vec<LineScores>,
    sending: Option<Sending<'a>>,
    waiting: usize,
    pub stats: ScoreStats,
    pub refused: Option<RefusedScores>,
    /// Some of the accepted scores, by their trace.
    pub scored: Vec<(String, Vec<Value>)>,
}

/// A request that has ended.
#[derive(Debug)]
pub struct SentScores(Result<(), RefusedScores>);

impl<'a> ScoreQueue<'a> {
    pub fn new(api: &'a Api, exporter: &'a Exporter, budget: Duration) -> Self {
        Self {
            api,
            exporter,
            budget,
            held: HashMap::new(),
            ready: VecDeque::new(),
            sent: Vec::new(),
            sending: None,
            waiting: 0,
            stats: ScoreStats::default(),
            refused: None,
            scored: Vec::new(),
        }
    }

    /// Takes the scores of a line whose trace is on its way.
    pub fn hold(&mut self, line: u64, scores: Vec<Value>) {
        self.waiting += scores.len();
        self.held.insert(line, scores);
    }

    /// Takes the scores of a line whose trace was accepted.
    pub fn push(&mut self, line: u64, scores: Vec<Value>) {
        self.waiting += scores.len();
        self.ready.push_back((line, scores));
    }

    pub fn has_room(&self) -> bool {
        self.waiting < MOST_WAITING
    }

    pub fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.sending.is_none()
    }

    /// Goes on with the scores of lines whose export has ended. Returns the lines that have scores to be sent: they are
    /// delivered when these are.
    pub fn export_ended(&mut self, lines: &[u64], stored: &Stored) -> Vec<u64> {
        let mut held = Vec::new();
        for line in lines {
            if let Some(scores) = self.held.remove(line) {
                held.push((*line, scores));
            }
        }
        match stored {
            Stored::NotNeeded => {
                let lines = held.iter().map(|(line, _)| *line).collect();
                self.ready.extend(held);
                lines
            }
            Stored::Kept { entry, .. } => {
                self.keep(held, Some(entry));
                Vec::new()
            }
            Stored::Lost(_) => {
                let count: usize = held.iter().map(|(_, scores)| scores.len()).sum();
                self.waiting -= count;
                self.stats.lost += count as u64;
                Vec::new()
            }
        }
    }

    /// Waits for the next request to end. Cancel safe. Never ends while there is nothing to send.
    pub async fn next(&mut self) -> SentScores {
        if self.sending.is_none() && !self.ready.is_empty() {
            self.send();
        }
        match &mut self.sending {
            Some(sending) => {
                let ended = sending.await;
                self.sending = None;
                SentScores(ended)
            }
            None => std::future::pending().await,
        }
    }

    fn send(&mut self) {
        let mut bodies = Vec::new();
        while let Some((_, scores)) = self.ready.front()
            && (bodies.is_empty() || bodies.len() + scores.len() <= MOST_AT_ONCE)
        {
            bodies.extend_from_slice(scores);
            self.sent.extend(self.ready.pop_front());
        }
        let (api, deadline) = (self.api, Instant::now() + self.budget);
        self.sending = Some(Box::pin(async move {
            let mut all: Result<(), RefusedScores> = Ok(());
            // One line may have more scores than a request takes.
            for bodies in bodies.chunks(MOST_AT_ONCE) {
                all = match (all, at_once(api, bodies, deadline).await) {
                    (Err(mut refused), Err(next)) => {
                        refused.bodies.extend(next.bodies);
                        Err(refused)
                    }
                    (Ok(()), ended) => ended,
                    (refused, Ok(())) => refused,
                };
            }
            all
        }));
    }

    /// Counts a request that has ended, and keeps what was not accepted. Returns its lines: they are delivered.
    pub fn ended(&mut self, SentScores(ended): SentScores) -> Vec<u64> {
        let sent = std::mem::take(&mut self.sent);
        let count: usize = sent.iter().map(|(_, scores)| scores.len()).sum();
        self.waiting -= count;
        let refused = ended.err();
        let unaccepted = refused.as_ref().map_or(0, |refused| refused.bodies.len());
        self.stats.accepted += count.saturating_sub(unaccepted) as u64;
        let lines = sent.iter().map(|(line, _)| *line).collect();
        if let Some(refused) = refused {
            self.store(&refused.bodies, None);
            self.refused.get_or_insert(refused);
        } else {
            let room = MOST_SCORED.saturating_sub(self.scored.len());
            let scored = sent.into_iter().take(room).filter_map(|(_, scores)| {
                Some((scores.first()?["traceId"].as_str()?.to_owned(), scores))
            });
            self.scored.extend(scored);
        }
        lines
    }

    /// Gives up sending: what is ready or on its way goes to the outbox. What is held follows its trace. Returns the lines.
    pub fn give_up(&mut self) -> Vec<u64> {
        self.sending = None;
        let mut rest = std::mem::take(&mut self.sent);
        rest.extend(self.ready.drain(..));
        let lines = rest.iter().map(|(line, _)| *line).collect();
        self.keep(rest, None);
        lines
    }

    fn keep(&mut self, scores: Vec<LineScores>, beside: Option<&str>) {
        let bodies: Vec<Value> = scores.into_iter().flat_map(|(_, scores)| scores).collect();
        self.waiting -= bodies.len();
        self.store(&bodies, beside);
    }

    fn store(&mut self, bodies: &[Value], beside: Option<&str>) {
        if bodies.is_empty() {
            return;
        }
        let lines: Vec<String> = bodies.iter().map(Value::to_string).collect();
        let ids = bodies.iter().filter_map(|body| body["traceId"].as_str());
        let mut ids: Vec<String> = ids.map(str::to_owned).collect();
        ids.dedup();
        let stored = self.exporter.store_scores(beside, &lines, ids);
        let counter = if stored.is_ok() {
            &mut self.stats.spooled
        } else {
            &mut self.stats.lost
        };
        *counter += bodies.len() as u64;
    }
}
