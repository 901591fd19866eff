//! What a run that is continued need not do again, and what it must still deliver.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use opentelemetry::trace::SpanId;

use super::acks::{Acks, Ledger, Note};
use super::packing::Packing;
use super::past::{Past, Unsettled};
use crate::failure::Failure;

/// The lines of earlier runs.
#[derive(Debug, Default)]
pub struct History {
    ledger: Ledger,
    /// Failed lines are asked again.
    redoes_failed: bool,
    pub arrived: Arrived,
}

/// Which spans of unsettled lines have arrived.
#[derive(Debug)]
pub enum Arrived {
    /// These: Langfuse can read them.
    Known(HashSet<SpanId>),
    /// Langfuse could not be asked.
    Unknown,
}

impl Default for Arrived {
    fn default() -> Self {
        Self::Known(HashSet::new())
    }
}

/// What is to be done for a line.
#[derive(Debug, Default)]
pub struct Duties {
    /// Its answer is there, its trace may not have arrived.
    pub deliver: Option<Unsettled>,
    /// It is asked: for the first time, or as the n-th redo.
    pub ask: Option<u32>,
}

impl Duties {
    pub fn is_empty(&self) -> bool {
        self.deliver.is_none() && self.ask.is_none()
    }
}

impl History {
    pub fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            ..Self::default()
        }
    }

    pub fn past(&self) -> Option<&Past> {
        self.ledger.past.as_ref()
    }

    pub fn acks(&mut self) -> Option<&mut Acks> {
        self.ledger.acks.as_mut()
    }

    /// Entries of the outbox that hold traces of the run.
    pub fn entries(&self) -> Vec<(String, Vec<u64>)> {
        let spooled = self.ledger.noted.spooled.iter();
        spooled
            .filter(|(_, lines)| !lines.is_empty())
            .map(|(entry, lines)| (entry.clone(), lines.clone()))
            .collect()
    }

    /// What is to be done for a line.
    pub fn duties(&self, line: u64) -> Duties {
        let redo = self.redo(line);
        let Some(past) = self.past().filter(|past| past.answered.contains(line)) else {
            return Duties {
                deliver: None,
                ask: Some(redo),
            };
        };
        Duties {
            deliver: past.unsettled.get(&line).cloned(),
            ask: (self.redoes_failed && past.failed.contains(line)).then_some(redo),
        }
    }

    /// How often a line was redone.
    pub fn redo(&self, line: u64) -> u32 {
        self.ledger
            .noted
            .redone
            .get(&line)
            .copied()
            .unwrap_or_default()
    }

    /// Whether a line stays as the failure that it was.
    pub fn has_failed(&self, line: u64) -> bool {
        self.past().is_some_and(|past| past.failed.contains(line))
    }

    /// The output line of an unsettled line.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn answer(&self, unsettled: &Unsettled) -> io::Result<Vec<u8>> {
        let missing = || io::Error::other("there is no earlier output");
        self.past().ok_or_else(missing)?.answer(unsettled)
    }

    /// Takes the failed lines out of the output, to be asked again; each is noted first, so that a kill in between
    /// does not make one redo look like the call before.
    ///
    /// # Errors
    /// When the output or the notes cannot be written.
    pub fn redo_failed(&mut self, out: &Path) -> Result<(), Failure> {
        let Some(past) = &self.ledger.past else {
            return Ok(());
        };
        let redone = past.failed.iter().map(|line| (line, self.redo(line) + 1));
        let redone: Vec<(u64, u32)> = redone.collect();
        if redone.is_empty() {
            return Ok(());
        }
        let cannot = |error: io::Error| {
            Failure::file(format!("{} cannot be rewritten: {error}", out.display()))
                .hint("is the disk full?")
        };
        if let Some(acks) = &mut self.ledger.acks {
            acks.note(&Note::Redone(redone.clone())).map_err(cannot)?;
        }
        past.rewrite(out, Packing::of(out), |line| !past.failed.contains(line))
            .map_err(cannot)?;
        self.ledger.noted.redone.extend(redone);
        self.redoes_failed = true;
        Ok(())
    }
}
