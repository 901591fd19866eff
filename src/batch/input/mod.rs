//! The input of a batch: read, decompressed and split into lines in a thread of its own, so that a slow pipe or disk
//! blocks nothing else. The thread reads no faster than the lines are used.

pub mod dataset;
mod foreign;
pub mod line;
mod raw_line;
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

pub use raw_line::{LineReader, RawLine};
use raw_line::{PIECE, count_lines};

/// How many pieces may wait to be used.
const MOST_WAITING: usize = 2;

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
            uncopied(&self.name, &error)
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
        Ok(LineReader::new(decompressed))
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

/// The failure of an input that cannot be kept in a temporary file.
pub fn uncopied(name: &str, error: &io::Error) -> Failure {
    Failure::file(format!(
        "{name} cannot be copied to a temporary file: {error}"
    ))
    .hint("set TMPDIR to a directory with enough space")
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

/// The file name without directory, compression suffix and format suffix.
fn stem(path: &Path, compression: Compression) -> String {
    let name = match compression {
        Compression::Plain => path.to_owned(),
        _ => path.with_extension(""),
    };
    let stem = PathBuf::from(name.file_stem().unwrap_or_default());
    stem.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

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
