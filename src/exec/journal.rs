//! The journal of a run: one JSON record a line, written before anything is acknowledged, and read again when the run
//! is put together, by `exec` itself or, after a kill, by `resend`.
//!
//! The file lies in the outbox. Where there is none, it has no name. What a full disk refuses is kept in memory, up to a
//! limit.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use serde::{Deserialize, Serialize};

use crate::exec::call::CallRecord;
use crate::exec::identity::Identity;
use crate::json;
use crate::trace::media::Media;

/// How much is kept in memory when the disk takes nothing, in bytes.
const MOST_IN_MEMORY: usize = 16 << 20;

/// A line of the journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalRecord {
    /// The first line: what the run is.
    Run(Box<RunRecord>),
    /// An export request of the child.
    Spans(SpansRecord),
    /// A model call that passed the proxy.
    Call(Box<CallRecord>),
    /// The content of an image or a file, to which later records refer.
    Media(Box<KeptMedia>),
    /// The child has ended.
    End(EndRecord),
}

/// What a run is, as its options say.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RunRecord {
    /// The trace id that an option named.
    pub trace_id: Option<String>,
    /// The trace id where neither an option nor the child names one.
    pub own_trace_id: String,
    /// The parent of the command's span in the trace that is continued.
    pub remote_parent: Option<String>,
    /// The id of the command's span.
    pub span_id: String,
    pub start_time: Timestamp,
    pub name: String,
    /// The command line, as it may be traced.
    pub command_line: String,
    pub identity: Identity,
    pub metadata: Vec<(String, String)>,
    pub version: Option<String>,
    pub is_public: bool,
    pub environment: Option<String>,
    pub release: Option<String>,
    /// The attributes of the resource of the command's span.
    pub resource: Vec<(String, String)>,
}

/// An export request of the child, and what its spans have in common with the calls known by then.
#[derive(Debug, Serialize, Deserialize)]
pub struct SpansRecord {
    pub request: ExportTraceServiceRequest,
    #[serde(default)]
    pub model_calls: Vec<Reported>,
}

/// A span that reports a model call: what it shares with calls, noted before its content was filtered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Reported {
    /// The place of the span in its request.
    pub place: usize,
    /// The numbers of the calls whose response id it states.
    pub ids: Vec<usize>,
    /// The fingerprints of calls' texts that it holds.
    pub texts: Vec<u64>,
    /// Whether it holds an answer at all.
    pub has_text: bool,
}

/// The content of an image or a file, once for a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeptMedia {
    /// Its id in Langfuse.
    pub id: String,
    pub content_type: String,
    pub base64: String,
}

impl KeptMedia {
    pub fn of(media: &Media) -> Self {
        Self {
            id: media.id(),
            content_type: media.content_type.clone(),
            base64: BASE64_STANDARD.encode(&media.bytes),
        }
    }

    /// The content itself; `None` if the record is damaged.
    pub fn media(&self) -> Option<Media> {
        let bytes = BASE64_STANDARD.decode(&self.base64).ok()?;
        Some(Media::new(Some(&self.content_type), bytes))
    }
}

/// How the child ended.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct EndRecord {
    pub time: Timestamp,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
}

/// A journal that is written.
#[derive(Debug)]
pub struct Journal {
    file: Option<File>,
    /// The bytes of whole lines in the file.
    length: u64,
    /// Whole lines that the file did not take.
    overflow: Vec<u8>,
    /// Why the file takes nothing any more.
    refused: Option<io::Error>,
    max_bytes: u64,
}

impl Journal {
    /// A journal in `file`, which is empty, or in memory alone.
    pub fn new(file: Option<File>, max_bytes: u64) -> Self {
        Self {
            file,
            length: 0,
            overflow: Vec::new(),
            refused: None,
            max_bytes,
        }
    }

    /// The journal that another process wrote.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn of_file(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self {
            length,
            ..Self::new(Some(file), u64::MAX)
        })
    }

    /// Appends a record, or nothing.
    ///
    /// # Errors
    /// If neither the file nor the memory takes it.
    pub fn append(&mut self, record: &JournalRecord) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        if self.refused.is_none() {
            match self.write(&line) {
                Ok(()) => return Ok(()),
                Err(error) => self.refused = Some(error),
            }
        }
        if self.overflow.len() + line.len() > MOST_IN_MEMORY {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "the journal is full",
            ));
        }
        self.overflow.extend_from_slice(&line);
        Ok(())
    }

    /// Appends a record that the run can do without, if the file takes it; returns whether it did.
    pub fn append_if_it_fits(&mut self, record: &JournalRecord) -> bool {
        let Ok(mut line) = serde_json::to_vec(record) else {
            return false;
        };
        line.push(b'\n');
        self.refused.is_none() && self.write(&line).is_ok()
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            let why = "neither its folder nor a temporary file can be written";
            return Err(io::Error::other(why));
        };
        if self.length + line.len() as u64 > self.max_bytes {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("LANGSPAN_OUTBOX_MAX is {} bytes", self.max_bytes),
            ));
        }
        let written = file.write_all(line);
        if written.is_ok() {
            self.length += line.len() as u64;
        } else {
            // Half a line would be read as the journal's end.
            let _ = file.set_len(self.length);
            let _ = file.seek(SeekFrom::Start(self.length));
        }
        written
    }

    /// Why lines are kept in memory.
    pub fn refused(&self) -> Option<&io::Error> {
        self.refused.as_ref()
    }

    /// Whether any line is in memory alone.
    pub fn has_overflow(&self) -> bool {
        !self.overflow.is_empty()
    }

    /// Whether there is the content of an image or a file in it.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn holds_media(&self) -> io::Result<bool> {
        const BEGIN: &[u8] = b"{\"media\":";
        let mut reader = BufReader::with_capacity(64 << 10, self.reader());
        let mut begin = Vec::with_capacity(BEGIN.len());
        loop {
            begin.clear();
            let read = (&mut reader)
                .take(BEGIN.len() as u64)
                .read_until(b'\n', &mut begin)?;
            if read == 0 || begin == BEGIN {
                return Ok(read > 0);
            }
            if begin.last() != Some(&b'\n') {
                reader.skip_until(b'\n')?;
            }
        }
    }

    /// Visits every record with its place, in order. A line that is cut off ends the journal.
    ///
    /// # Errors
    /// If the file cannot be read, or `visit` fails.
    pub fn for_each(
        &self,
        mut visit: impl FnMut(u64, JournalRecord) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut at = 0;
        let mut line = Vec::new();
        let mut reader = BufReader::with_capacity(64 << 10, self.reader());
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)? as u64;
            if read == 0 || line.last() != Some(&b'\n') {
                return Ok(());
            }
            if let Ok(record) = json::from_slice(&line) {
                visit(at, record)?;
            }
            at += read;
        }
    }

    /// The record at a place.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self, at: u64) -> anyhow::Result<JournalRecord> {
        let mut line = Vec::new();
        let mut reader = self.reader();
        reader.at = at;
        BufReader::new(reader).read_until(b'\n', &mut line)?;
        Ok(json::from_slice(&line)?)
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            journal: self,
            at: 0,
        }
    }
}

/// Reads the file, then the memory.
struct Reader<'a> {
    journal: &'a Journal,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Journal {
            file,
            length,
            overflow,
            ..
        } = self.journal;
        let read = match file {
            Some(file) if self.at < *length => {
                let rest = usize::try_from(*length - self.at).unwrap_or(usize::MAX);
                let most = buffer.len().min(rest);
                file.read_at(&mut buffer[..most], self.at)?
            }
            _ => {
                let from = usize::try_from(self.at - *length).unwrap_or(usize::MAX);
                let mut rest = overflow.get(from..).unwrap_or_default();
                rest.read(buffer)?
            }
        };
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(code: i32) -> JournalRecord {
        JournalRecord::End(EndRecord {
            time: Timestamp::UNIX_EPOCH,
            exit_code: Some(code),
            signal: None,
        })
    }

    fn codes(journal: &Journal) -> Vec<(u64, i32)> {
        let mut codes = Vec::new();
        let visit = |at, record| {
            if let JournalRecord::End(end) = record {
                codes.push((at, end.exit_code.unwrap()));
            }
            Ok(())
        };
        journal.for_each(visit).unwrap();
        codes
    }

    #[test]
    fn records_are_read_in_order_and_by_their_places() {
        for file in [Some(tempfile::tempfile().unwrap()), None] {
            let mut journal = Journal::new(file, u64::MAX);
            for code in 0..3 {
                journal.append(&end(code)).unwrap();
            }
            let codes = codes(&journal);
            assert_eq!(
                codes.iter().map(|(_, code)| *code).collect::<Vec<_>>(),
                [0, 1, 2]
            );
            let JournalRecord::End(third) = journal.read(codes[2].0).unwrap() else {
                panic!();
            };
            assert_eq!(third.exit_code, Some(2));
        }
    }

    #[test]
    fn what_the_file_does_not_take_is_kept_in_memory() {
        let length = serde_json::to_vec(&end(0)).unwrap().len() as u64 + 1;
        let mut journal = Journal::new(Some(tempfile::tempfile().unwrap()), length);
        for code in 0..3 {
            journal.append(&end(code)).unwrap();
        }
        assert!(journal.refused().is_some() && journal.has_overflow());
        let mut nowhere = Journal::new(None, u64::MAX);
        nowhere.append(&end(0)).unwrap();
        let why = nowhere.refused().map(ToString::to_string);
        let expected = "neither its folder nor a temporary file can be written";
        assert_eq!(why.as_deref(), Some(expected));
        let codes = codes(&journal);
        assert_eq!(codes.len(), 3);
        assert!(
            matches!(journal.read(codes[1].0).unwrap(), JournalRecord::End(end) if end.exit_code == Some(1))
        );
    }

    #[test]
    fn a_line_that_was_cut_off_is_passed_over() {
        let mut file = tempfile::tempfile().unwrap();
        let whole = serde_json::to_string(&end(1)).unwrap();
        write!(file, "{whole}\n{}", &whole[..10]).unwrap();
        let journal = Journal::of_file(file).unwrap();
        assert_eq!(codes(&journal).len(), 1);
    }
}
