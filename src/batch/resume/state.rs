//! The state of every line of a resumed run: which lines are sent, and which traces are still to be delivered.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::Path;

use opentelemetry::trace::SpanId;

use crate::batch::input::line::ParsedLine;
use crate::batch::output::line::OutputLine;
use crate::batch::resume::acks::{Ack, AckFile, LineSet};
use crate::batch::resume::checkpoint::Checkpoint;
use crate::batch::resume::input_note::InputNote;
use crate::batch::resume::previous_output::{PreviousOutput, UnconfirmedLine};
use crate::compression::Compression;
use crate::delivery::Outbox;
use crate::failure::Failure;
use crate::json;
use crate::settings::ModelSettings;
use crate::trace::{Exchange, TraceContext, ids};

/// The lines of earlier runs, and the ack file of this one.
#[derive(Debug, Default)]
pub struct ResumeState {
    checkpoint: Checkpoint,
    /// Failed lines that this run sends again.
    redone: LineSet,
    pub arrived: ArrivedSpans,
}

/// The spans of unconfirmed lines that have arrived.
#[derive(Debug)]
pub enum ArrivedSpans {
    /// The ones that can be read from Langfuse.
    Known(HashSet<SpanId>),
    /// Langfuse could not be asked.
    Unknown,
}

impl Default for ArrivedSpans {
    fn default() -> Self {
        Self::Known(HashSet::new())
    }
}

/// What is to be done for a line.
#[derive(Debug, Default)]
pub struct LineWork {
    /// The line is answered, but its trace is not known to have arrived.
    pub deliver: Option<UnconfirmedLine>,
    /// The line is sent: with 0 for the first time, else with the number of the redo.
    pub send: Option<u32>,
}

impl LineWork {
    pub fn is_empty(&self) -> bool {
        self.deliver.is_none() && self.send.is_none()
    }
}

impl ResumeState {
    pub fn new(checkpoint: Checkpoint) -> Self {
        Self {
            checkpoint,
            ..Self::default()
        }
    }

    /// The output of the earlier run; `None` if there is no answer in it.
    pub fn previous(&self) -> Option<&PreviousOutput> {
        self.checkpoint.output.as_ref()
    }

    /// What earlier stretches have read of the input.
    pub fn noted_input(&self) -> Option<&InputNote> {
        self.checkpoint.acked.input.as_ref()
    }

    /// What is to be done for a line.
    pub fn work(&self, line: u64) -> LineWork {
        let redo = self.checkpoint.acked.redone.get(&line).copied();
        let send = Some(redo.unwrap_or_default());
        let answered = self.previous().filter(|past| past.answered.contains(line));
        let Some(previous) = answered else {
            return LineWork {
                deliver: None,
                send,
            };
        };
        LineWork {
            deliver: previous.unconfirmed.get(&line).cloned(),
            send: send.filter(|_| self.redone.contains(line)),
        }
    }

    /// The redo number of the answer of a line.
    pub fn redo(&self, line: u64) -> u32 {
        let redos = self.previous().map(|previous| &previous.redos);
        let redo = redos.and_then(|redos| redos.get(&line));
        redo.copied().unwrap_or_default()
    }

    /// Whether any line was sent more than once, and so has more than one trace.
    pub fn has_redone(&self) -> bool {
        !self.checkpoint.acked.redone.is_empty()
    }

    /// Whether a line failed in the earlier run.
    pub fn has_failed(&self, line: u64) -> bool {
        self.previous()
            .is_some_and(|previous| previous.failed.contains(line))
    }

    /// Whether a line failed and the trace of the failure is not known to have arrived.
    pub fn has_unconfirmed_failure(&self, line: u64) -> bool {
        self.previous().is_some_and(|previous| {
            previous.failed.contains(line) && previous.unconfirmed.contains_key(&line)
        })
    }

    /// The outbox entries with traces of the run, and the lines in each.
    pub fn entries(&self) -> Vec<(String, Vec<u64>)> {
        let spooled = self.checkpoint.acked.spooled.iter();
        spooled
            .filter(|(_, lines)| !lines.is_empty())
            .map(|(entry, lines)| (entry.clone(), lines.clone()))
            .collect()
    }

    /// The number of lines with a trace in the outbox.
    pub fn spooled(&self) -> u64 {
        let spooled = self.checkpoint.acked.spooled.values();
        spooled.map(|lines| lines.len() as u64).sum()
    }

    /// Writes the first line of a new ack file. Until then a refused run leaves no file of its own.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin_acks(&mut self) -> Result<(), Failure> {
        let Checkpoint { acks, header, .. } = &mut self.checkpoint;
        if let (Some(acks), Some(run)) = (acks, header.take()) {
            acks.begin(&run).map_err(|error| unwritable(&error))?;
        }
        Ok(())
    }

    /// A second handle of the ack file; `None` for an output that cannot be resumed.
    ///
    /// # Errors
    /// When there can be none.
    pub fn share_acks(&self) -> Result<Option<AckFile>, Failure> {
        let acks = self.checkpoint.acks.as_ref().map(AckFile::share);
        acks.transpose().map_err(|error| unwritable(&error))
    }

    /// Appends an ack to the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&mut self, ack: &Ack) -> Result<(), Failure> {
        match &mut self.checkpoint.acks {
            Some(acks) => acks.append(ack).map_err(|error| unwritable(&error)),
            None => Ok(()),
        }
    }

    /// Takes an ack into the state, so that the rest of the catch-up sees it. The pool only appends its acks: nothing
    /// reads them in the same run, and they would take memory.
    pub fn apply(&mut self, ack: Ack) {
        if let (Some(output), Ack::Accepted(lines) | Ack::Spooled { lines, .. }) =
            (&mut self.checkpoint.output, &ack)
        {
            for line in lines {
                output.unconfirmed.remove(line);
            }
        }
        self.checkpoint.acked.apply(ack);
    }

    /// Voids the acks of lines that are not in the output: they are sent as if for the first time.
    ///
    /// # Errors
    /// When the ack file cannot be written.
    pub fn forget_unwritten(&mut self) -> Result<(), Failure> {
        let answered = self.previous().map(|previous| previous.answered.clone());
        let answered = answered.unwrap_or_default();
        let acked = &self.checkpoint.acked;
        let spooled = acked.spooled.values().flatten().copied();
        let lines = acked.accepted.iter().chain(spooled);
        let lines: Vec<u64> = lines.filter(|line| !answered.contains(*line)).collect();
        if lines.is_empty() {
            return Ok(());
        }
        let ack = Ack::Forgotten(lines);
        self.append(&ack)?;
        self.apply(ack);
        Ok(())
    }

    /// Finds outbox entries with traces of the run that no ack names, because a kill came between the two writes.
    /// Lines with the same `custom_id` share a trace, so entries are matched to lines by span id.
    pub fn find_entries(&mut self, outbox: &Outbox) {
        let Some(output) = &mut self.checkpoint.output else {
            return;
        };
        if output.unconfirmed.is_empty() {
            return;
        }
        for (id, held) in entries_with(&output.unconfirmed, outbox) {
            for line in &held {
                output.unconfirmed.remove(line);
            }
            let spooled = self.checkpoint.acked.spooled.entry(id).or_default();
            spooled.extend(held);
        }
    }

    /// Rebuilds the call of an unconfirmed line from its input and output; `None` when the output line has no call.
    ///
    /// # Errors
    /// When the output cannot be read.
    pub fn rebuild(
        &self,
        line: &ParsedLine,
        unconfirmed: &UnconfirmedLine,
        model: &ModelSettings,
    ) -> io::Result<Option<(Exchange, TraceContext)>> {
        let missing = || io::Error::other("there is no earlier output");
        let text = self
            .previous()
            .ok_or_else(missing)?
            .output_line(unconfirmed)?;
        let answer: OutputLine<'_> = json::from_slice(&text)?;
        let exchange = answer.exchange(line.request.clone(), model);
        let trace_id = ids::parse_trace_id(&unconfirmed.trace_id).ok();
        Ok(exchange.zip(trace_id.map(TraceContext::root)))
    }

    /// Removes the failed lines from the output, so that they are sent again. The ack comes first: after a kill in
    /// between, the redo must not get the trace id of the failed call.
    ///
    /// Lines stay if their trace is not confirmed, since it could not be rebuilt any more, or is in the outbox, since
    /// the ack with the name of the entry would be void. So do lines after `last`, the last line that `--limit` allows.
    ///
    /// # Errors
    /// When the output or the ack file cannot be written.
    pub fn redo_failed(&mut self, out: &Path, last: Option<u64>) -> Result<(), Failure> {
        let Some(output) = &self.checkpoint.output else {
            return Ok(());
        };
        let spooled = self.checkpoint.acked.spooled.values().flatten().copied();
        let spooled: HashSet<u64> = spooled.collect();
        let failed = output.failed.iter();
        let redone = failed
            .filter(|line| last.is_none_or(|last| *line <= last))
            .filter(|line| !output.unconfirmed.contains_key(line) && !spooled.contains(line))
            .map(|line| (line, self.redo(line) + 1));
        let redone: Vec<(u64, u32)> = redone.collect();
        if redone.is_empty() {
            return Ok(());
        }
        if let Some(acks) = &mut self.checkpoint.acks {
            acks.append(&Ack::Redone(redone.clone()))
                .map_err(|error| unwritable(&error))?;
        }
        for (line, _) in &redone {
            self.redone.insert(*line);
        }
        output
            .rewrite(out, Compression::of_name(out), |line| {
                !self.redone.contains(line)
            })
            .map_err(|error| Failure::unwritable(out.display(), &error))?;
        self.checkpoint.acked.redone.extend(redone);
        Ok(())
    }
}

/// The outbox entries that hold spans of `unconfirmed` lines, and the lines in each.
fn entries_with(
    unconfirmed: &HashMap<u64, UnconfirmedLine>,
    outbox: &Outbox,
) -> Vec<(String, BTreeSet<u64>)> {
    let mut traces: HashSet<&str> = HashSet::new();
    let mut lines: HashMap<SpanId, u64> = HashMap::new();
    for (number, line) in unconfirmed {
        traces.insert(&line.trace_id);
        lines.extend(line.span_ids().map(|span| (span, *number)));
    }
    let mut found = Vec::new();
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
    found
}

fn unwritable(error: &io::Error) -> Failure {
    Failure::unwritable("the ack file", error)
}
