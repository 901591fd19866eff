//! The input of a batch: read, decompressed and split into lines in a thread of its own, so that a slow pipe or disk
//! blocks nothing else. The thread reads no faster than the lines are used.

pub mod dataset;
mod foreign;
pub mod line;
pub mod validate;

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;

use tokio::sync::mpsc;

use crate::compression::Compression;
use crate::failure::Failure;
use crate::settings::Shard;

/// The size of the pieces that the reader hands over, in bytes, unless a single line is longer.
const PIECE: usize = 64 << 10;
/// How many pieces may wait to be used.
const MOST_WAITING: usize = 2;
/// The longest line that is accepted, in bytes.
const LONGEST_LINE: usize = 100_000_000;

/// A line that is not blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawLine {
    /// Counted from 1, blank lines included.
    pub number: u64,
    /// Without the line ending; only the beginning of a line that is too long.
    pub text: Vec<u8>,
}

impl RawLine {
    pub fn is_too_long(&self) -> bool {
        self.text.len() > LONGEST_LINE
    }
}

/// Where the lines come from.
#[derive(Debug)]
pub struct Input {
    /// The path or `stdin`, for messages.
    pub name: String,
    /// The name without folder and suffixes.
    pub stem: String,
    source: InputSource,
    compression: Compression,
    /// Bytes of a regular file; `None` for a pipe.
    pub size: Option<u64>,
}

#[derive(Debug)]
enum InputSource {
    Stdin,
    File(File),
}

impl Input {
    /// # Errors
    /// When the file cannot be read, or stdin is a terminal.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Self::stdin();
        }
        let name = path.display().to_string();
        let unreadable = |error: io::Error| Failure::unreadable(&name, &error);
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(Failure::file(format!("{name} is a directory")).hint("name a file in it"));
        }
        let compression = Compression::of_name(path);
        if metadata.is_file() && !compression.may_begin(&file).map_err(unreadable)? {
            let message = format!("{name} is not a {} file", compression.name());
            return Err(
                Failure::file(message).hint("compress it, or remove the suffix from its name")
            );
        }
        Ok(Self {
            stem: stem(path, compression),
            name,
            source: InputSource::File(file),
            compression,
            size: metadata.is_file().then_some(metadata.len()),
        })
    }

    /// Lines that were collected in a file; `name` is for messages.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn of_lines(name: String, file: File) -> io::Result<Self> {
        Ok(Self {
            stem: name.clone(),
            name,
            size: Some(file.metadata()?.len()),
            source: InputSource::File(file),
            compression: Compression::Plain,
        })
    }

    /// Refuses a JSON array and CSV. Of a pipe, what has arrived first is examined; it is read again as lines.
    ///
    /// # Errors
    /// When it is one of them, or cannot be read.
    pub fn refuse_foreign(&self) -> Result<(), Failure> {
        const EXAMINED: u64 = 4096;
        let unreadable = |error| Failure::unreadable(&self.name, &error);
        let (beginning, name) = match &self.source {
            InputSource::Stdin => {
                let mut stdin = io::stdin().lock();
                let beginning = stdin.fill_buf().map_err(unreadable)?.to_vec();
                (beginning, None)
            }
            InputSource::File(file) if self.size.is_some() => {
                let file = file.try_clone().map_err(unreadable)?;
                let file = BufReader::new(FromStart { file, position: 0 });
                let mut beginning = Vec::new();
                let reader = self.compression.reader(file).take(EXAMINED);
                // What cannot be decompressed is reported when the lines are read.
                let _ = { reader }.read_to_end(&mut beginning);
                (beginning, Some(self.name.as_str()))
            }
            InputSource::File(_) => return Ok(()),
        };
        foreign::refuse(&beginning, name).map_or(Ok(()), Err)
    }

    fn stdin() -> Result<Self, Failure> {
        if io::stdin().is_terminal() {
            return Err(
                Failure::usage("stdin is a terminal").hint("pipe the lines in, or name a file")
            );
        }
        Ok(Self {
            name: "stdin".to_owned(),
            stem: "stdin".to_owned(),
            source: InputSource::Stdin,
            compression: Compression::Plain,
            size: None,
        })
    }

    /// The same input in a form that can be read twice: a pipe is copied to an unnamed temporary file.
    ///
    /// # Errors
    /// When it cannot be read or copied.
    pub fn rewindable(mut self) -> Result<Self, Failure> {
        if self.size.is_some() {
            return Ok(self);
        }
        let copied = tempfile::tempfile().and_then(|mut copy| {
            let size = match &mut self.source {
                InputSource::Stdin => io::copy(&mut io::stdin().lock(), &mut copy)?,
                InputSource::File(file) => io::copy(file, &mut copy)?,
            };
            Ok((copy, size))
        });
        let (copy, size) = copied.map_err(|error| {
            Failure::file(format!(
                "{} cannot be copied to a temporary file: {error}",
                self.name
            ))
            .hint("set TMPDIR to a directory with enough space, or name a file")
        })?;
        self.source = InputSource::File(copy);
        self.size = Some(size);
        Ok(self)
    }

    /// All lines of a rewindable input, from the first on.
    ///
    /// # Errors
    /// When it cannot be read from the start.
    pub fn lines(&self) -> io::Result<LineReader> {
        let reader: Box<dyn Read + Send> = match &self.source {
            InputSource::Stdin => Box::new(io::stdin()),
            InputSource::File(file) => {
                let mut file = file.try_clone()?;
                if self.size.is_some() {
                    file.rewind()?;
                }
                Box::new(file)
            }
        };
        let decompressed: Box<dyn Read + Send> = match self.compression {
            Compression::Plain => reader,
            compression => compression.reader(BufReader::new(reader)),
        };
        Ok(LineReader {
            reader: BufReader::with_capacity(PIECE, decompressed),
            number: 0,
        })
    }

    /// Reads the lines in a thread of its own, which waits for the receiver and ends with it.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn stream(&self) -> io::Result<mpsc::Receiver<io::Result<Vec<RawLine>>>> {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        let mut lines = self.lines()?;
        thread::Builder::new()
            .name("input".to_owned())
            .spawn(move || {
                while let Some(piece) = lines.piece().transpose() {
                    let is_last = piece.is_err();
                    if sender.blocking_send(piece).is_err() || is_last {
                        break;
                    }
                }
            })?;
        Ok(receiver)
    }

    /// Counts the lines of `shard` among the first `limit` in a thread of its own. The cell is empty until then, and stays
    /// empty for a pipe and for a file that cannot be read.
    pub fn count(&self, shard: Option<Shard>, limit: Option<u64>) -> Arc<OnceLock<u64>> {
        let total = Arc::new(OnceLock::new());
        let (InputSource::File(file), Some(_)) = (&self.source, self.size) else {
            return total;
        };
        // The lines are read through the same file.
        let Ok(file) = file.try_clone() else {
            return total;
        };
        let (counted, compression) = (Arc::clone(&total), self.compression);
        let count = move || {
            let file = BufReader::new(FromStart { file, position: 0 });
            let reader = BufReader::with_capacity(PIECE, compression.reader(file));
            let is_included = |line| shard.is_none_or(|shard| shard.holds(line));
            if let Ok(count) = count_lines(reader, is_included, limit) {
                let _ = counted.set(count);
            }
        };
        // Without a thread, the progress line shows no total.
        let _ = thread::Builder::new().name("count".to_owned()).spawn(count);
        total
    }
}

/// Reads a file from its start, whatever the position of its other readers.
struct FromStart {
    file: File,
    position: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

/// The number of lines that are not blank and included, among the first `limit` that are not blank.
fn count_lines(
    mut reader: impl BufRead,
    is_included: impl Fn(u64) -> bool,
    limit: Option<u64>,
) -> io::Result<u64> {
    let (mut number, mut seen, mut count) = (1, 0, 0);
    let mut is_blank = true;
    loop {
        let bytes = reader.fill_buf()?;
        let is_end = bytes.is_empty();
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        is_blank = is_blank && part.iter().all(u8::is_ascii_whitespace);
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_none() && !is_end {
            continue;
        }
        if !is_blank {
            seen += 1;
            count += u64::from(is_included(number));
        }
        if is_end || limit == Some(seen) {
            return Ok(count);
        }
        number += 1;
        is_blank = true;
    }
}

/// The file name without directory, compression suffix and format suffix.
fn stem(path: &Path, compression: Compression) -> String {
    let name = match compression {
        Compression::Plain => path.to_owned(),
        _ => path.with_extension(""),
    };
    let stem = PathBuf::from(name.file_stem().unwrap_or_default());
    stem.to_string_lossy().into_owned()
}

/// The lines in order. Blank lines are skipped, but counted.
pub struct LineReader {
    reader: BufReader<Box<dyn Read + Send>>,
    number: u64,
}

impl LineReader {
    /// The next line and those that are already buffered; `None` at the end.
    fn piece(&mut self) -> io::Result<Option<Vec<RawLine>>> {
        let Some(first) = self.next().transpose()? else {
            return Ok(None);
        };
        let mut size = first.text.len();
        let mut piece = vec![first];
        // Waiting for more could take long.
        while size < PIECE && self.reader.buffer().contains(&b'\n') {
            let Some(text) = self.read()? else { break };
            size += text.len();
            piece.extend(self.line(text));
        }
        Ok(Some(piece))
    }

    /// The next line with its line ending; `None` at the end of the input.
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut text = Vec::new();
        let limit = LONGEST_LINE as u64 + 2;
        let mut limited = self.reader.by_ref().take(limit);
        if limited.read_until(b'\n', &mut text)? == 0 {
            return Ok(None);
        }
        if text.len() > LONGEST_LINE && text.last() != Some(&b'\n') {
            self.reader.skip_until(b'\n')?;
        }
        self.number += 1;
        Ok(Some(text))
    }

    /// The line, unless it is blank.
    fn line(&self, mut text: Vec<u8>) -> Option<RawLine> {
        const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
        if self.number == 1 && text.starts_with(BYTE_ORDER_MARK) {
            text.drain(..BYTE_ORDER_MARK.len());
        }
        text.truncate(text.trim_ascii_end().len());
        (!text.is_empty()).then_some(RawLine {
            number: self.number,
            text,
        })
    }
}

impl Iterator for LineReader {
    type Item = io::Result<RawLine>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.read().transpose()? {
                Ok(text) => {
                    if let Some(line) = self.line(text) {
                        return Some(Ok(line));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(u64, String)> {
        let reader: Box<dyn Read + Send> = Box::new(io::Cursor::new(text.to_owned()));
        let lines = LineReader {
            reader: BufReader::new(reader),
            number: 0,
        };
        lines
            .map(|line| line.unwrap())
            .map(|line| (line.number, String::from_utf8(line.text).unwrap()))
            .collect()
    }

    #[test]
    fn blank_lines_are_skipped_but_counted() {
        let text = "\u{feff}{1}\r\n\n  \r\n{2} \n{3}";
        let expected = [(1, "{1}"), (4, "{2}"), (5, "{3}")];
        assert_eq!(
            lines(text),
            expected.map(|(number, text)| (number, text.to_owned()))
        );
        assert!(lines("").is_empty());
        assert!(lines("\n\n").is_empty());
    }

    #[test]
    fn lines_are_counted_as_they_are_read() {
        let count = |text: &str, limit| {
            let reader = BufReader::with_capacity(3, text.as_bytes());
            count_lines(reader, |line| line % 2 == 1, limit).unwrap()
        };
        let text = "{1}\r\n\n  \r\n{4444} \n{5}\n{6}\n{7}";
        assert_eq!(count(text, None), 3);
        assert_eq!(count(text, Some(3)), 2);
        assert_eq!(count(text, Some(9)), 3);
        assert_eq!((count("", None), count("{1}\n", None)), (0, 1));
    }

    #[test]
    fn a_stem_has_neither_directory_nor_suffix() {
        for (path, name) in [
            ("a/prompts.jsonl", "prompts"),
            ("prompts.jsonl.gz", "prompts"),
            ("prompts.v2.jsonl.zst", "prompts.v2"),
            ("prompts", "prompts"),
        ] {
            let path = Path::new(path);
            assert_eq!(stem(path, Compression::of_name(path)), name);
        }
    }
}
