//! The stored scores: one append-only file, readable only by its owner. What was read of it stays in memory, by id and by
//! trace; each request reads what was added since, so that the scores of other processes appear.

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::score::{ScoreSubject, StoredScore};
use crate::sandbox::growing_file::GrowingFile;
use crate::sandbox::store::append;
use crate::sandbox::time::Millis;
use crate::sort;

#[derive(Debug, Clone)]
pub struct ScoreStore {
    folder: PathBuf,
    known: Arc<Mutex<GrowingFile<KnownScores>>>,
}

/// What was read so far.
#[derive(Debug, Default)]
struct KnownScores {
    /// The scores of each id in the order of their arrival; the last one counts.
    scores: HashMap<String, Vec<StoredScore>>,
    /// Ids by trace.
    traces: HashMap<String, Vec<String>>,
    /// Ids by experiment.
    experiments: HashMap<String, Vec<String>>,
}

impl ScoreStore {
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            known: Arc::default(),
        }
    }

    /// Adds scores; one whose id is known replaces the earlier one, but stays where that one was.
    pub fn append(&self, scores: &[StoredScore]) -> io::Result<()> {
        let mut lines = Vec::new();
        for score in scores {
            serde_json::to_writer(&mut lines, score)?;
            lines.push(b'\n');
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)?;
        append(&self.path(), &lines)
    }

    /// Removes a score, if it is there.
    pub fn remove(&self, id: &str, now: Millis) -> io::Result<()> {
        let last =
            self.with_known(|known| known.scores.get(id).and_then(|all| all.last().cloned()))?;
        match last {
            Some(score) => self.append(&[StoredScore {
                is_deleted: true,
                arrived: now,
                ..score
            }]),
            None => Ok(()),
        }
    }

    /// The scores of a trace and its observations that arrived by `until`, newest first.
    pub fn of_trace(&self, trace_id: &str, until: Millis) -> io::Result<Vec<StoredScore>> {
        self.with_known(|known| {
            let ids = known.traces.get(trace_id).into_iter().flatten();
            newest_first(ids.filter_map(|id| visible(known.scores.get(id)?, until)))
        })
    }

    /// The scores of an experiment as a whole that arrived by `until`, newest first.
    pub fn of_experiment(&self, id: &str, until: Millis) -> io::Result<Vec<StoredScore>> {
        self.with_known(|known| {
            let ids = known.experiments.get(id).into_iter().flatten();
            newest_first(ids.filter_map(|id| visible(known.scores.get(id)?, until)))
        })
    }

    /// The score of an id that arrived by `until`.
    pub fn of_id(&self, id: &str, until: Millis) -> io::Result<Option<StoredScore>> {
        self.with_known(|known| visible(known.scores.get(id)?, until))
    }

    /// All scores that arrived by `until`, newest first.
    pub fn all(&self, until: Millis) -> io::Result<Vec<StoredScore>> {
        self.with_known(|known| {
            newest_first(known.scores.values().filter_map(|all| visible(all, until)))
        })
    }

    fn with_known<T>(&self, answer: impl FnOnce(&KnownScores) -> T) -> io::Result<T> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.catch_up(&self.path(), KnownScores::add)?;
        Ok(answer(known))
    }

    fn path(&self) -> PathBuf {
        self.folder.join("scores.jsonl")
    }
}

impl KnownScores {
    fn add(&mut self, mut score: StoredScore) {
        let earlier = self.scores.entry(score.id.clone()).or_default();
        if let Some(first) = earlier.first() {
            score.subject = first.subject.clone();
            score.created = first.created;
        } else if let Some(trace_id) = score.subject.trace_id() {
            let ids = self.traces.entry(trace_id.to_owned()).or_default();
            ids.push(score.id.clone());
        } else if let ScoreSubject::Experiment { id } = &score.subject {
            let ids = self.experiments.entry(id.clone()).or_default();
            ids.push(score.id.clone());
        }
        earlier.push(score);
    }
}

/// The last score that arrived by `until`, unless it is deleted.
fn visible(scores: &[StoredScore], until: Millis) -> Option<StoredScore> {
    let last = scores.iter().rev().find(|score| score.arrived <= until)?;
    (!last.is_deleted).then(|| last.clone())
}

fn newest_first(scores: impl Iterator<Item = StoredScore>) -> Vec<StoredScore> {
    let mut scores: Vec<StoredScore> = scores.collect();
    sort::sort_by(&mut scores, |a, b| {
        (b.timestamp, &b.id).cmp(&(a.timestamp, &a.id))
    });
    scores
}
