//! Files of JSON lines that others wrote: opened, decompressed by the suffix of the name, and read one line at a time.
//! A file may be larger than memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::compression::Compression;
use crate::failure::Failure;

/// The longest line that is read, in bytes.
const LONGEST_LINE: u64 = 100_000_000;

/// Programs on Windows begin files with it.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A regular file of lines.
#[derive(Debug)]
pub struct JsonFile {
    pub path: PathBuf,
    file: File,
    compression: Compression,
}

/// A line that is not blank.
#[derive(Clone, Debug, Default)]
pub struct JsonLine {
    /// Counted from 1, blank lines included.
    pub number: u64,
    /// Where it begins in the decompressed file, in bytes.
    pub offset: u64,
    /// Without the line ending.
    pub bytes: Vec<u8>,
}

impl JsonFile {
    /// # Errors
    /// If it cannot be read, or is not a regular file.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let name = path.display();
        let unreadable = |error: io::Error| Failure::unreadable(path.display(), &error);
        let found = path.metadata().map_err(unreadable)?;
        if found.is_dir() {
            return Err(Failure::file(format!("{name} is a directory")).hint("name a file in it"));
        }
        if !found.is_file() {
            return Err(
                Failure::file(format!("{name} is not a regular file")).hint("save it to a file")
            );
        }
        let file = File::open(path).map_err(unreadable)?;
        let compression = Compression::of_name(path);
        if !compression.may_begin(&file).map_err(unreadable)? {
            let message = format!("{name} is not a {} file", compression.name());
            return Err(
                Failure::file(message).hint("compress it, or remove the suffix from its name")
            );
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            compression,
        })
    }

    /// The same lines in a file that is not compressed, so that they can be read in any order.
    ///
    /// # Errors
    /// If it cannot be decompressed into a temporary file.
    pub fn seekable(mut self) -> Result<Self, Failure> {
        if self.compression == Compression::Plain {
            return Ok(self);
        }
        let copied = tempfile::tempfile().and_then(|mut copy| {
            io::copy(&mut self.reader(), &mut copy)?;
            Ok(copy)
        });
        self.file = copied.map_err(|error| {
            let name = self.path.display();
            Failure::file(format!("{name} cannot be decompressed: {error}"))
                .hint("check the file, and set TMPDIR to a folder with enough space")
        })?;
        self.compression = Compression::Plain;
        Ok(self)
    }

    /// All lines, from the first on.
    pub fn lines(&self) -> JsonLines<'_> {
        JsonLines {
            reader: BufReader::new(self.reader()),
            number: 0,
            offset: 0,
        }
    }

    /// The line of a [`seekable`](Self::seekable) file that begins at `offset`.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn line_at(&self, offset: u64) -> io::Result<Vec<u8>> {
        let source = FromStart {
            file: &self.file,
            position: offset,
        };
        let mut bytes = Vec::new();
        BufReader::new(source)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut bytes)?;
        trim_end(&mut bytes);
        Ok(bytes)
    }

    /// Why the file could not be read on.
    pub fn unreadable(&self, error: &io::Error) -> Failure {
        Failure::unreadable(self.path.display(), error)
    }

    fn reader(&self) -> Box<dyn Read + Send + '_> {
        let source = BufReader::new(FromStart {
            file: &self.file,
            position: 0,
        });
        self.compression.reader(source)
    }
}

/// Reads a file without moving its own position.
struct FromStart<'a> {
    file: &'a File,
    position: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

/// The lines of a file, one at a time.
pub struct JsonLines<'a> {
    reader: BufReader<Box<dyn Read + Send + 'a>>,
    number: u64,
    offset: u64,
}

impl JsonLines<'_> {
    /// The next line that is not blank; `None` at the end of the file.
    ///
    /// # Errors
    /// If the file cannot be read, or the line is longer than 100 MB.
    pub fn next_line(&mut self) -> io::Result<Option<JsonLine>> {
        loop {
            let mut bytes = Vec::new();
            let mut offset = self.offset;
            let mut limited = self.reader.by_ref().take(LONGEST_LINE + 1);
            let read = limited.read_until(b'\n', &mut bytes)? as u64;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.offset += read;
            if read > LONGEST_LINE {
                let message = format!("line {} is longer than 100 MB", self.number);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            if offset == 0 && bytes.starts_with(BYTE_ORDER_MARK) {
                bytes.drain(..BYTE_ORDER_MARK.len());
                offset += BYTE_ORDER_MARK.len() as u64;
            }
            trim_end(&mut bytes);
            if !bytes.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some(JsonLine {
                    number: self.number,
                    offset,
                    bytes,
                }));
            }
        }
    }
}

/// Removes the line ending.
fn trim_end(bytes: &mut Vec<u8>) {
    while matches!(bytes.last(), Some(b'\n' | b'\r')) {
        bytes.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_with_blank_ones_and_found_by_their_offset() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        for beginning in ["", "\u{feff}"] {
            std::fs::write(&path, format!("{beginning}{{\"a\":1}}\r\n\n{{\"b\":2}}")).unwrap();
            let file = JsonFile::open(&path).unwrap().seekable().unwrap();
            let mut lines = file.lines();
            let mut found = Vec::new();
            while let Some(line) = lines.next_line().unwrap() {
                assert_eq!(file.line_at(line.offset).unwrap(), line.bytes);
                found.push((line.number, String::from_utf8(line.bytes).unwrap()));
            }
            assert_eq!(
                found,
                [(1, "{\"a\":1}".to_owned()), (3, "{\"b\":2}".to_owned())]
            );
        }
    }

    #[test]
    fn a_compressed_file_is_read_by_its_suffix() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl.zst");
        let mut writer = Compression::Zstd.writer(File::create(&path).unwrap());
        writer.write_lines(b"{}\n{\"b\":2}\n").unwrap();
        writer.finish().unwrap();
        let file = JsonFile::open(&path).unwrap().seekable().unwrap();
        assert_eq!(file.line_at(3).unwrap(), b"{\"b\":2}");
    }

    #[test]
    fn a_folder_and_a_missing_file_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(JsonFile::open(dir.path()).is_err());
        assert!(JsonFile::open(&dir.path().join("none")).is_err());
    }
}
