//! What a run that is continued need not do again, and what it must still deliver.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::Path;

use opentelemetry::trace::SpanId;

use crate::batch::compression::Packing;
use crate::batch::input::line::Line;
use crate::batch::output::answer::OutputLine;
use crate::batch::resume::acks::{Checkpoint, LineSet, Note};
use crate::batch::resume::previous_output::{PreviousOutput, UnconfirmedLine};
use crate::delivery::Outbox;
use crate::failure::Failure;
use crate::settings;
use crate::trace::{Exchange, TraceContext, ids};

/// The lines of earlier runs.
#[derive(Debug, Default)]
pub struct ResumeState {
    ledger: Checkpoint,
    /// Failed lines that are asked again.
    redone: LineSet,
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
pub struct LineWork {
    /// Its answer is there, its trace may not have arrived.
    pub deliver: Option<UnconfirmedLine>,
    /// It is asked: for the first time, or as the n-th redo.
    pub ask: Option<u32>,
}

impl LineWork {
    pub fn is_empty(&self) -> bool {
        self.deliver.is_none() && self.ask.is_none()
    }
}

impl ResumeState {
    pub fn new(ledger: Checkpoint) -> Self {
        Self {
            ledger,
            ..Self::default()
        }
    }

    pub fn past(&self) -> Option<&PreviousOutput> {
        self.ledger.past.as_ref()
    }

    /// Whether a line was asked more than once, and has more than one trace.
    pub fn has_redone(&self) -> bool {
        !self.ledger.noted.redone.is_empty()
    }

    /// Entries of the outbox that hold traces of the run.
    pub fn entries(&self) -> Vec<(String, Vec<u64>)> {
        let spooled = self.ledger.noted.spooled.iter();
        spooled
            .filter(|(_, lines)| !lines.is_empty())
            .map(|(entry, lines)| (entry.clone(), lines.clone()))
            .collect()
    }

    /// Drops what is noted of lines that are not in the output: they are asked again.
    ///
    /// # Errors
    /// When that cannot be noted.
    pub fn forget_unwritten(&mut self) -> Result<(), Failure> {
        let answered = self.past().map(|past| past.answered.clone());
        let answered = answered.unwrap_or_default();
        let noted = &self.ledger.noted;
        let spooled = noted.spooled.values().flatten().copied();
        let lines = noted.accepted.iter().chain(spooled);
        let lines: Vec<u64> = lines.filter(|line| !answered.contains(*line)).collect();
        if lines.is_empty() {
            return Ok(());
        }
        self.take(Note::Forgotten(lines))
    }

    /// Takes the entries of the outbox into account that hold traces of the run, although a kill came before that
    /// was noted. Lines of one `custom_id` share a trace, so it is the spans that tell which of them an entry holds.
    pub fn find_entries(&mut self, outbox: &Outbox) {
        let Some(past) = &mut self.ledger.past else {
            return;
        };
        if past.unsettled.is_empty() {
            return;
        }
        let mut traces: HashSet<&str> = HashSet::new();
        let mut lines: HashMap<SpanId, u64> = HashMap::new();
        for (line, unsettled) in &past.unsettled {
            traces.insert(&unsettled.trace_id);
            lines.extend(unsettled.span_ids().map(|span| (span, *line)));
        }
        let mut found: Vec<(String, BTreeSet<u64>)> = Vec::new();
        for id in outbox.ids().unwrap_or_default() {
            let ids = outbox.meta(&id).map(|meta| meta.trace_ids);
            let is_ours = |id: &String| traces.contains(id.as_str());
            if !ids.unwrap_or_default().iter().any(is_ours) {
                continue;
            }
            let spans = outbox.span_ids(&id).into_iter();
            let spans = spans.filter_map(|span| SpanId::from_hex(&span).ok());
            let held = spans.filter_map(|span| lines.get(&span).copied());
            let held: BTreeSet<u64> = held.collect();
            if !held.is_empty() {
                found.push((id, held));
            }
        }
        for (id, held) in found {
            for line in &held {
                past.unsettled.remove(line);
            }
            let spooled = self.ledger.noted.spooled.entry(id).or_default();
            spooled.extend(held);
        }
    }

    /// Begins the notes of a run of which there are none yet: nothing is wrong with it.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn begin_notes(&mut self) -> Result<(), Failure> {
        let Checkpoint {
            acks, beginning, ..
        } = &mut self.ledger;
        if let (Some(acks), Some(run)) = (acks, beginning.take()) {
            acks.begin(&run).map_err(|error| unnoted(&error))?;
        }
        Ok(())
    }

    /// Notes what became of lines.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn note(&mut self, note: &Note) -> Result<(), Failure> {
        match &mut self.ledger.acks {
            Some(acks) => acks.note(note).map_err(|error| unnoted(&error)),
            None => Ok(()),
        }
    }

    /// Notes what became of lines of earlier runs, and goes by it.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn take(&mut self, note: Note) -> Result<(), Failure> {
        self.note(&note)?;
        self.ledger.noted.take(note);
        Ok(())
    }

    /// How many lines have their trace in the outbox.
    pub fn spooled(&self) -> u64 {
        let spooled = self.ledger.noted.spooled.values();
        spooled.map(|lines| lines.len() as u64).sum()
    }

    /// What is to be done for a line.
    pub fn duties(&self, line: u64) -> LineWork {
        let noted = self.ledger.noted.redone.get(&line).copied();
        let asked = Some(noted.unwrap_or_default());
        let Some(past) = self.past().filter(|past| past.answered.contains(line)) else {
            return LineWork {
                deliver: None,
                ask: asked,
            };
        };
        LineWork {
            deliver: past.unsettled.get(&line).cloned(),
            ask: asked.filter(|_| self.redone.contains(line)),
        }
    }

    /// Which redo gave the answer of a line.
    pub fn redo(&self, line: u64) -> u32 {
        let redos = self.past().map(|past| &past.redos);
        let redo = redos.and_then(|redos| redos.get(&line));
        redo.copied().unwrap_or_default()
    }

    /// Whether a line stays as the failure that it was.
    pub fn has_failed(&self, line: u64) -> bool {
        self.past().is_some_and(|past| past.failed.contains(line))
    }

    /// The call of a line whose trace may not have arrived, from its input and its output; none when the output
    /// tells of none.
    ///
    /// # Errors
    /// When the output cannot be read.
    pub fn rebuild(
        &self,
        line: &Line,
        unsettled: &UnconfirmedLine,
        model: &settings::ModelSettings,
    ) -> io::Result<Option<(Exchange, TraceContext)>> {
        let missing = || io::Error::other("there is no earlier output");
        let text = self.past().ok_or_else(missing)?.answer(unsettled)?;
        let answer: OutputLine<'_> = serde_json::from_slice(&text)?;
        let exchange = answer.exchange(line.request.clone(), model);
        let trace_id = ids::parse_trace_id(&unsettled.trace_id).ok();
        Ok(exchange.zip(trace_id.map(TraceContext::root)))
    }

    /// Whether a line failed whose trace may not have arrived.
    pub fn owes_failure(&self, line: u64) -> bool {
        self.past()
            .is_some_and(|past| past.failed.contains(line) && past.unsettled.contains_key(&line))
    }

    /// The traces of lines need nothing more.
    pub fn settle(&mut self, lines: &[u64]) {
        if let Some(past) = &mut self.ledger.past {
            for line in lines {
                past.unsettled.remove(line);
            }
        }
    }

    /// Takes the failed lines out of the output, to be asked again; each is noted first, so that a kill in between
    /// does not make one redo look like the call before. Those stay whose trace is not settled: it could not be
    /// rebuilt any more, or nobody would remember its entry in the outbox. So do those behind the `last` line that this
    /// run will reach.
    ///
    /// # Errors
    /// When the output or the notes cannot be written.
    pub fn redo_failed(&mut self, out: &Path, last: Option<u64>) -> Result<(), Failure> {
        let Some(past) = &self.ledger.past else {
            return Ok(());
        };
        let spooled = self.ledger.noted.spooled.values().flatten().copied();
        let waiting: HashSet<u64> = spooled.collect();
        let failed = past.failed.iter();
        let redone = failed
            .filter(|line| last.is_none_or(|last| *line <= last))
            .filter(|line| !past.unsettled.contains_key(line) && !waiting.contains(line))
            .map(|line| (line, self.redo(line) + 1));
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
        for (line, _) in &redone {
            self.redone.insert(*line);
        }
        past.rewrite(out, Packing::of(out), |line| !self.redone.contains(line))
            .map_err(cannot)?;
        self.ledger.noted.redone.extend(redone);
        Ok(())
    }
}

fn unnoted(error: &io::Error) -> Failure {
    Failure::file(format!("the acks cannot be written: {error}")).hint("is the disk full?")
}
