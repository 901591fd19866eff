//! What an earlier run left in its output file: which lines are answered, which of them failed, and which have a
//! trace that may not have arrived.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use jiff::Timestamp;
use opentelemetry::trace::SpanId;
use tempfile::NamedTempFile;

use crate::batch::compression::{Packing, is_of_the_system};
use crate::batch::output::answer::OutputLine;
use crate::batch::resume::acks::{AckState, LineSet};
use crate::failure::Failure;
use crate::trace::ids::{self, SpanIds};

/// An earlier run.
#[derive(Debug)]
pub struct PreviousOutput {
    /// The output, unpacked, as it was found.
    answers: File,
    /// How many bytes its whole lines take.
    size: u64,
    /// The beginning of each line's digest, by number; zero of a line that is not answered, or asked nothing.
    digests: Vec<u32>,
    pub answered: LineSet,
    pub failed: LineSet,
    /// Which redo gave the answer, of lines that were asked again.
    pub redos: HashMap<u64, u32>,
    /// Answered lines of which nobody noted that their trace was accepted.
    pub unsettled: HashMap<u64, UnconfirmedLine>,
    /// When the first and the last call began.
    pub starts: Option<(Timestamp, Timestamp)>,
}

/// A line whose trace may not have arrived.
#[derive(Clone, Debug)]
pub struct UnconfirmedLine {
    offset: u64,
    length: usize,
    pub trace_id: String,
    pub start: Timestamp,
    pub end: Timestamp,
}

impl PreviousOutput {
    /// Reads an output file and repairs its end, where a kill left half a line.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is no output of this program.
    pub fn read(path: &Path, packing: Packing, noted: &AckState) -> Result<Self, Failure> {
        let name = path.display();
        let cannot = |error: io::Error| {
            Failure::file(format!("{name} cannot be read: {error}"))
                .hint("check its permissions, and that it is an output of langspan batch")
        };
        let (answers, is_whole) = unpacked(path, packing).map_err(cannot)?;
        let mut past = Self {
            size: whole_lines(&answers).map_err(cannot)?,
            answers,
            digests: Vec::new(),
            answered: LineSet::default(),
            failed: LineSet::default(),
            redos: HashMap::new(),
            unsettled: HashMap::new(),
            starts: None,
        };
        past.scan(noted).map_err(|wrong| match wrong {
            Wrong::Unreadable(error) => cannot(error),
            Wrong::Foreign(number, why) => {
                Failure::input(format!("{name}, line {number} is no output line: {why}"))
                    .hint("--resume continues an output of langspan batch; --overwrite replaces it")
            }
        })?;
        // Only now: what is no output of this program stays as it is.
        past.repair(path, packing, is_whole).map_err(|error| {
            Failure::file(format!("{name} cannot be repaired: {error}")).hint("is the disk full?")
        })?;
        Ok(past)
    }

    /// Takes half a line off the end.
    fn repair(&self, path: &Path, packing: Packing, is_whole: bool) -> io::Result<()> {
        let has_rest = self.size < self.answers.metadata()?.len();
        match packing {
            Packing::Plain if has_rest => self.answers.set_len(self.size),
            Packing::Plain => Ok(()),
            _ if has_rest || !is_whole => self.rewrite(path, packing, |_| true),
            _ => Ok(()),
        }
    }

    fn scan(&mut self, noted: &AckState) -> Result<(), Wrong> {
        let mut spooled = LineSet::default();
        for line in noted.spooled.values().flatten() {
            spooled.insert(*line);
        }
        let mut reader = self.lines()?;
        let (mut offset, mut number) = (0, 0);
        let mut text = Vec::new();
        loop {
            text.clear();
            let length = reader.read_until(b'\n', &mut text)?;
            number += 1;
            if length == 0 {
                return self.check_rest(number);
            }
            let answer: OutputLine<'_> = serde_json::from_slice(&text)
                .map_err(|error| Wrong::Foreign(number, error.to_string()))?;
            let line = answer.langspan.line;
            if line == 0 || self.answered.contains(line) {
                return Err(Wrong::Foreign(
                    number,
                    format!("line {line} stands there again"),
                ));
            }
            self.answered.insert(line);
            if let Some(start) = answer.langspan.start_time {
                let (first, last) = self.starts.unwrap_or((start, start));
                self.starts = Some((first.min(start), last.max(start)));
            }
            if answer.is_failed() {
                self.failed.insert(line);
            }
            if let Some(digest) = &answer.langspan.input_digest {
                self.keep_digest(line, digest);
            }
            let redo = answer.langspan.redo.unwrap_or_default();
            if redo > 0 {
                self.redos.insert(line, redo);
            }
            // A line is asked again only once its trace is settled; here the kill came before it was taken out.
            let was_settled = noted.redone.get(&line).is_some_and(|noted| redo < *noted);
            if !was_settled && !noted.accepted.contains(line) && !spooled.contains(line) {
                let unsettled = UnconfirmedLine::of(&answer, offset, length);
                self.unsettled
                    .extend(unsettled.map(|unsettled| (line, unsettled)));
            }
            offset += length as u64;
        }
    }

    /// The whole lines.
    fn lines(&self) -> io::Result<impl BufRead + use<>> {
        let mut answers = self.answers.try_clone()?;
        answers.seek(SeekFrom::Start(0))?;
        Ok(BufReader::new(answers).take(self.size))
    }

    /// What follows the whole lines, the last of which is `number`, must be the beginning of one.
    fn check_rest(&self, number: u64) -> Result<(), Wrong> {
        let rest = self.answers.metadata()?.len() - self.size;
        let mut begun = vec![
            0;
            usize::try_from(rest)
                .unwrap_or(usize::MAX)
                .min(LONGEST_BEGINNING)
        ];
        self.answers.read_exact_at(&mut begun, self.size)?;
        if OutputLine::may_begin(&begun) {
            return Ok(());
        }
        Err(Wrong::Foreign(number, "it begins as none does".to_owned()))
    }

    fn keep_digest(&mut self, line: u64, digest: &str) {
        let place = usize::try_from(line).unwrap_or(usize::MAX);
        if place >= self.digests.len() {
            self.digests.resize(place + 1, 0);
        }
        self.digests[place] = beginning(digest);
    }

    /// Whether `digest` is another than that of the line that was answered.
    pub fn is_changed(&self, line: u64, digest: &str) -> bool {
        let place = usize::try_from(line).unwrap_or(usize::MAX);
        let known = self.digests.get(place).copied().unwrap_or_default();
        known != 0 && known != beginning(digest)
    }

    /// The output line of a line whose trace may not have arrived.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn answer(&self, unsettled: &UnconfirmedLine) -> io::Result<Vec<u8>> {
        let mut text = vec![0; unsettled.length];
        self.answers.read_exact_at(&mut text, unsettled.offset)?;
        Ok(text)
    }

    /// Replaces the output file by one that holds the lines that are `kept`, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn rewrite(
        &self,
        path: &Path,
        packing: Packing,
        kept: impl Fn(u64) -> bool,
    ) -> io::Result<()> {
        // Behind a link, the file that it leads to.
        let path = &fs::canonicalize(path)?;
        let copy = NamedTempFile::new_in(path.parent().unwrap_or(Path::new("/")))?;
        copy.as_file()
            .set_permissions(fs::metadata(path)?.permissions())?;
        let mut packed = packing.pack(BufWriter::new(copy));
        let mut piece = Vec::new();
        for line in self.lines()?.split(b'\n') {
            let line = line?;
            let answer: OutputLine<'_> = serde_json::from_slice(&line)?;
            if !kept(answer.langspan.line) {
                continue;
            }
            piece.extend_from_slice(&line);
            piece.push(b'\n');
            if piece.len() >= PIECE {
                packed.write_lines(&piece)?;
                piece.clear();
            }
        }
        if !piece.is_empty() {
            packed.write_lines(&piece)?;
        }
        let copy = packed
            .finish()?
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        copy.as_file().sync_all()?;
        copy.persist(path)?;
        Ok(())
    }
}

/// How much of half a line is looked at, in bytes.
const LONGEST_BEGINNING: usize = 64;
/// What is written at once when a file is rewritten, in bytes.
const PIECE: usize = 1 << 20;

impl UnconfirmedLine {
    fn of(answer: &OutputLine<'_>, offset: u64, length: usize) -> Option<Self> {
        let facts = &answer.langspan;
        Some(Self {
            offset,
            length,
            trace_id: facts.trace_id.as_deref()?.to_owned(),
            start: facts.start_time?,
            end: facts.end_time?,
        })
    }

    /// The ids that its spans have; none when its trace id is none.
    pub fn span_ids(&self) -> impl Iterator<Item = SpanId> + use<> {
        let start = self.start.as_nanosecond();
        let trace_id = ids::parse_trace_id(&self.trace_id).ok();
        trace_id.into_iter().flat_map(move |trace_id| {
            let spans = SpanIds::derive(trace_id, start);
            [spans.parent, spans.generation]
        })
    }
}

/// Why an output cannot be continued.
enum Wrong {
    Unreadable(io::Error),
    Foreign(u64, String),
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// The first bits of a digest, which tell it from any other but one in four billion; never zero.
fn beginning(digest: &str) -> u32 {
    let bits = digest
        .get(..8)
        .and_then(|digits| u32::from_str_radix(digits, 16).ok());
    bits.unwrap_or(1).max(1)
}

/// A file, unpacked as far as that is possible, and whether that is the whole of it.
fn unpacked(path: &Path, packing: Packing) -> io::Result<(File, bool)> {
    let file = File::options().read(true).write(true).open(path)?;
    if packing == Packing::Plain {
        return Ok((file, true));
    }
    if !packing.may_be_of(&file)? {
        let message = "it is not compressed as its name says";
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut copy = tempfile::tempfile()?;
    let mut reader = packing.unpack(BufReader::new(file));
    let mut writer = BufWriter::new(&mut copy);
    let mut buffer = vec![0; 64 << 10];
    let mut is_whole = true;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => writer.write_all(&buffer[..count])?,
            Err(error) if is_of_the_system(&error) => return Err(error),
            // What follows was never written, or only in part.
            Err(_) => {
                is_whole = false;
                break;
            }
        }
    }
    writer.flush()?;
    drop(writer);
    Ok((copy, is_whole))
}

/// How many bytes the whole lines take.
fn whole_lines(file: &File) -> io::Result<u64> {
    const STEP: u64 = 64 << 10;
    let mut end = file.metadata()?.len();
    let mut buffer = vec![0; 64 << 10];
    while end > 0 {
        let start = end.saturating_sub(STEP);
        let part = &mut buffer[..usize::try_from(end - start).unwrap_or_default()];
        file.read_exact_at(part, start)?;
        if let Some(last) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(line: u64, status: u16) -> String {
        format!(
            r#"{{"custom_id":null,"response":{{"status_code":{status},"body":{{}}}},"error":null,"langspan":{{"line":{line},"trace_id":"t{line}","start_time":"2026-01-01T00:00:00Z","end_time":"2026-01-01T00:00:01Z","input_digest":"0123456789abcdef"}}}}"#
        )
    }

    fn text(path: &Path, packing: Packing) -> String {
        let mut text = String::new();
        let file = BufReader::new(File::open(path).unwrap());
        packing.unpack(file).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn half_a_line_is_repaired_in_every_packing() {
        for (suffix, packing) in [
            ("jsonl", Packing::Plain),
            ("gz", Packing::Gzip),
            ("zst", Packing::Zstd),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(format!("out.{suffix}"));
            let whole = format!("{}\n{}\n", answer(3, 200), answer(1, 500));
            let mut packed = packing.pack(Vec::new());
            packed.write_lines(whole.as_bytes()).unwrap();
            packed.write_lines(b"{\"id\":\"batch_req_1").unwrap();
            // As a kill leaves it: not ended.
            let bytes = match packed {
                crate::batch::compression::Packed::Gzip(encoder) => encoder.get_ref().clone(),
                packed => packed.finish().unwrap(),
            };
            fs::write(&path, bytes).unwrap();

            let past = PreviousOutput::read(&path, packing, &AckState::default()).unwrap();
            assert_eq!(text(&path, packing), whole, "{suffix}");
            assert!(past.answered.contains(1) && past.answered.contains(3));
            assert!(past.failed.contains(1) && !past.failed.contains(3));
            assert_eq!(past.unsettled.len(), 2);
            let found = past.answer(&past.unsettled[&3]).unwrap();
            assert!(found.starts_with(answer(3, 200).as_bytes()));
            assert!(
                past.is_changed(1, "ffffffff00000000") && !past.is_changed(1, "0123456700000000")
            );

            past.rewrite(&path, packing, |line| line == 3).unwrap();
            assert_eq!(text(&path, packing), format!("{}\n", answer(3, 200)));
        }
    }

    #[test]
    fn a_file_of_something_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.jsonl");
        for text in [
            "{}\n".to_owned(),
            "hello\n".to_owned(),
            "hello".to_owned(),
            format!("{}\nhello", answer(1, 200)),
            format!("{0}\n{0}\n", answer(1, 200)),
        ] {
            fs::write(&path, &text).unwrap();
            assert!(PreviousOutput::read(&path, Packing::Plain, &AckState::default()).is_err());
            assert!(PreviousOutput::read(&path, Packing::Gzip, &AckState::default()).is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
