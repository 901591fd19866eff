//! The output file of an earlier run: which lines it answers, which of them failed, and which have a trace that is not
//! known to have arrived.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, BufRead, BufWriter};
use std::path::Path;

use jiff::Timestamp;
use opentelemetry::trace::SpanId;

use crate::batch::output::line::OutputLine;
use crate::batch::output::scan::{OutputScan, ScanError, ScannedLine};
use crate::batch::output::stored::StoredOutput;
use crate::batch::output::temporary;
use crate::batch::plan;
use crate::batch::resume::acks::{AckState, LineSet};
use crate::batch::resume::stretches::{Stretches, covered};
use crate::batch::stats::Stats;
use crate::compression::Compression;
use crate::failure::Failure;
use crate::json;
use crate::trace::ids::{self, SpanIds};

/// The output of an earlier run.
#[derive(Debug)]
pub struct PreviousOutput {
    stored: StoredOutput,
    /// The first 32 bits of each line's digest, by line number; zero for a line without one.
    digests: Vec<u32>,
    pub answered: LineSet,
    pub failed: LineSet,
    /// Lines with a trace id as version 0.1 derived it.
    pub old_ids: LineSet,
    /// The redo number of each answer that replaced a failed one.
    pub redos: HashMap<u64, u32>,
    /// Answered lines without an ack for their trace.
    pub unconfirmed: HashMap<u64, UnconfirmedLine>,
    /// What the answered lines that did not fail took and gave, and the time of all stretches.
    pub stats: Stats,
    /// Failed lines by cause.
    pub causes: BTreeMap<String, LineSet>,
    /// The number of accepted traces of lines that did not fail.
    pub accepted: u64,
    /// Failed lines with accepted traces.
    pub accepted_failures: LineSet,
    /// When the first and the last call began.
    pub starts: Option<(Timestamp, Timestamp)>,
}

/// A line with a trace that is not known to have arrived.
#[derive(Clone, Debug)]
pub struct UnconfirmedLine {
    offset: u64,
    length: usize,
    pub trace_id: String,
    pub start: Timestamp,
    pub end: Timestamp,
    /// Whether its trace may have been sent.
    pub may_have_begun: bool,
}

impl PreviousOutput {
    /// Reads an output file and removes an incomplete last line. `sample` is the share of traces that are sent.
    ///
    /// # Errors
    /// When the file cannot be read or written, or was not written by `langspan batch`.
    pub fn read(
        path: &Path,
        compression: Compression,
        acked: &AckState,
        sample: f64,
    ) -> Result<Self, Failure> {
        let unreadable = |error| {
            Failure::unreadable(path.display(), &error)
                .hint("check its permissions, and that langspan batch wrote it")
        };
        let mut options = File::options();
        let stored = StoredOutput::open(path, options.read(true).write(true));
        let mut output = Self {
            stored: stored.map_err(unreadable)?,
            digests: Vec::new(),
            answered: LineSet::default(),
            failed: LineSet::default(),
            old_ids: LineSet::default(),
            redos: HashMap::new(),
            unconfirmed: HashMap::new(),
            stats: Stats::begin(),
            causes: BTreeMap::new(),
            accepted: 0,
            accepted_failures: LineSet::default(),
            starts: None,
        };
        output.scan(acked, sample).map_err(|error| {
            let hint = "--resume continues an output of langspan batch; --overwrite replaces it";
            error.into_failure(path, unreadable, hint)
        })?;
        // Only now, so that a foreign file is never changed.
        output
            .repair(path, compression)
            .map_err(|error| Failure::unwritable(path.display(), &error))?;
        Ok(output)
    }

    /// Removes an incomplete last line.
    fn repair(&self, path: &Path, compression: Compression) -> io::Result<()> {
        let StoredOutput {
            file,
            size,
            is_whole,
        } = &self.stored;
        let has_rest = self.stored.has_rest()?;
        match compression {
            Compression::Plain if has_rest => file.set_len(*size),
            Compression::Plain => Ok(()),
            _ if has_rest || !is_whole => self.rewrite(path, compression, |_| true),
            _ => Ok(()),
        }
    }

    fn scan(&mut self, acked: &AckState, sample: f64) -> Result<(), ScanError> {
        let mut stretches = Stretches::new(&acked.stretches);
        let mut spooled = LineSet::default();
        for line in acked.spooled.values().flatten() {
            spooled.insert(*line);
        }
        let mut scan = OutputScan::new(&self.stored)?;
        while let Some(found) = scan.next()? {
            let answer = &found.answer;
            let line = answer.langspan.line;
            if self.answered.contains(line) {
                let why = format!("input line {line} occurs twice");
                return Err(ScanError::Foreign(found.number, why));
            }
            self.answered.insert(line);
            if let Some(start) = answer.langspan.start_time {
                let (first, last) = self.starts.unwrap_or((start, start));
                self.starts = Some((first.min(start), last.max(start)));
            }
            if let (Some(start), Some(end)) = (answer.langspan.start_time, answer.langspan.end_time)
            {
                stretches.add(start, end);
            }
            self.count(answer, acked.accepted.contains(line), sample);
            if let Some(digest) = &answer.langspan.input_digest {
                self.keep_digest(line, digest);
            }
            let redo = answer.langspan.redo.unwrap_or_default();
            if redo > 0 {
                self.redos.insert(line, redo);
            }
            if let (Some(run), None) = (&acked.old_run, &answer.custom_id)
                && let Some(id) = &answer.langspan.trace_id
                && *id == plan::old_trace_id(run, line, redo).to_string()
            {
                self.old_ids.insert(line);
            }
            // A line is only marked as redone once its trace is confirmed. This one is still in the output because the
            // kill came before the output was rewritten.
            let is_replaced = acked.redone.get(&line).is_some_and(|latest| redo < *latest);
            if !is_replaced && !acked.accepted.contains(line) && !spooled.contains(line) {
                let may_have_begun = acked.may_have_begun(line);
                let unconfirmed = UnconfirmedLine::of(&found, may_have_begun);
                self.unconfirmed
                    .extend(unconfirmed.map(|unconfirmed| (line, unconfirmed)));
            }
        }
        self.stats.before = covered(stretches.spans());
        scan.check_rest(&self.stored)
    }

    /// Counts an answered line; `is_acked` says whether its trace was accepted, or none is sent.
    fn count(&mut self, answer: &OutputLine<'_>, is_acked: bool, sample: f64) {
        let line = answer.langspan.line;
        let trace_id = answer.langspan.trace_id.as_deref();
        let trace_id = trace_id.and_then(|id| ids::parse_trace_id(id).ok());
        let is_failed = answer.is_failed();
        let is_sampled = |id| is_failed || ids::is_sampled(id, sample);
        let is_accepted = is_acked && trace_id.is_some_and(is_sampled);
        if !is_failed {
            let exchange = answer.bare_exchange();
            self.stats.add_call(&exchange);
            // Version 0.1 did not repeat what the body states.
            self.stats
                .add_cost(answer.langspan.cost.or(exchange.completion.cost));
            self.stats.judge(&answer.langspan.expectations);
            self.accepted += u64::from(is_accepted);
            return;
        }
        self.stats.add_cost(answer.langspan.cost);
        self.failed.insert(line);
        self.causes.entry(answer.cause()).or_default().insert(line);
        if is_accepted {
            self.accepted_failures.insert(line);
        }
    }

    /// Why a line failed.
    pub fn cause(&self, line: u64) -> Option<&str> {
        let mut causes = self.causes.iter();
        let cause = causes.find(|(_, lines)| lines.contains(line));
        cause.map(|(cause, _)| cause.as_str())
    }

    fn keep_digest(&mut self, line: u64, digest: &str) {
        let place = usize::try_from(line).unwrap_or(usize::MAX);
        if place >= self.digests.len() {
            self.digests.resize(place + 1, 0);
        }
        self.digests[place] = beginning(digest);
    }

    /// Whether `digest` differs from that of the answered line.
    pub fn is_changed(&self, line: u64, digest: &str) -> bool {
        let place = usize::try_from(line).unwrap_or(usize::MAX);
        let known = self.digests.get(place).copied().unwrap_or_default();
        known != 0 && known != beginning(digest)
    }

    /// The output line of an unconfirmed line.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn output_line(&self, unconfirmed: &UnconfirmedLine) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        self.stored
            .read(unconfirmed.offset, unconfirmed.length, &mut text)?;
        Ok(text)
    }

    /// Replaces the output file atomically by one with the lines for which `kept` is true.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn rewrite(
        &self,
        path: &Path,
        compression: Compression,
        kept: impl Fn(u64) -> bool,
    ) -> io::Result<()> {
        // Follow a link, so that the link itself stays.
        let path = &fs::canonicalize(path)?;
        let copy = temporary::create(path)?;
        copy.as_file()
            .set_permissions(fs::metadata(path)?.permissions())?;
        let mut writer = compression.writer(BufWriter::new(copy));
        let mut piece = Vec::new();
        for line in self.stored.lines()?.split(b'\n') {
            let line = line?;
            let answer: OutputLine<'_> = json::from_slice(&line)?;
            if !kept(answer.langspan.line) {
                continue;
            }
            piece.extend_from_slice(&line);
            piece.push(b'\n');
            if piece.len() >= PIECE {
                writer.write_lines(&piece)?;
                piece.clear();
            }
        }
        if !piece.is_empty() {
            writer.write_lines(&piece)?;
        }
        let copy = writer
            .finish()?
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        copy.as_file().sync_all()?;
        copy.persist(path)?;
        Ok(())
    }
}

/// The size of one write when a file is rewritten, in bytes.
const PIECE: usize = 1 << 20;

impl UnconfirmedLine {
    fn of(found: &ScannedLine<'_>, may_have_begun: bool) -> Option<Self> {
        let metadata = &found.answer.langspan;
        Some(Self {
            offset: found.offset,
            length: found.length,
            trace_id: metadata.trace_id.as_deref()?.to_owned(),
            start: metadata.start_time?,
            end: metadata.end_time?,
            may_have_begun,
        })
    }

    /// Span ids of the line; empty if its trace id is malformed.
    pub fn span_ids(&self) -> impl Iterator<Item = SpanId> + use<> {
        let start = self.start.as_nanosecond();
        let trace_id = ids::parse_trace_id(&self.trace_id).ok();
        trace_id.into_iter().flat_map(move |trace_id| {
            let spans = SpanIds::derive(trace_id, start);
            [spans.parent, spans.generation]
        })
    }
}

/// The first 32 bits of a digest, never zero: two digests agree by chance once in four billion.
fn beginning(digest: &str) -> u32 {
    let bits = digest
        .get(..8)
        .and_then(|digits| u32::from_str_radix(digits, 16).ok());
    bits.unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests;
