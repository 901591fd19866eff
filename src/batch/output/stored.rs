//! An output file as it lies on the disk: decompressed, up to the end of its last complete line.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Take, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::batch::output::line::OutputLine;
use crate::compression::{Compression, is_system_error};

/// How much of an incomplete line is examined, in bytes.
const LONGEST_BEGINNING: u64 = 64;

/// The content of an output file.
#[derive(Debug)]
pub struct StoredOutput {
    /// Decompressed: later changes of a compressed file do not show here.
    pub file: File,
    /// The size of its complete lines, in bytes.
    pub size: u64,
    /// Whether it could be decompressed to its end.
    pub is_whole: bool,
}

impl StoredOutput {
    /// Opens the file with `options`; a compressed one is decompressed into a temporary file without a name.
    ///
    /// # Errors
    /// When it cannot be read, or is not compressed as its name suggests.
    pub fn open(path: &Path, options: &OpenOptions) -> io::Result<Self> {
        let file = options.open(path)?;
        let (file, is_whole) = decompressed(file, Compression::of_name(path))?;
        Ok(Self {
            size: complete_lines(&file)?,
            file,
            is_whole,
        })
    }

    /// A reader of the complete lines.
    ///
    /// # Errors
    /// When the file cannot be read from its start.
    pub fn lines(&self) -> io::Result<Take<BufReader<File>>> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        Ok(BufReader::new(file).take(self.size))
    }

    /// The `length` bytes at `offset`, in `text`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn read(&self, offset: u64, length: usize, text: &mut Vec<u8>) -> io::Result<()> {
        text.resize(length, 0);
        self.file.read_exact_at(text, offset)
    }

    /// Whether anything follows the complete lines.
    ///
    /// # Errors
    /// When the file cannot be examined.
    pub fn has_rest(&self) -> io::Result<bool> {
        Ok(self.size < self.file.metadata()?.len())
    }

    /// Whether what follows the complete lines can be the beginning of an output line.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_rest_of_output(&self) -> io::Result<bool> {
        let rest = self.file.metadata()?.len().saturating_sub(self.size);
        let examined = usize::try_from(rest.min(LONGEST_BEGINNING)).unwrap_or_default();
        let mut begun = Vec::new();
        self.read(self.size, examined, &mut begun)?;
        // A file system that had no time to write the last blocks before the machine crashed leaves NUL bytes there.
        let written = begun.split(|byte| *byte == 0).next().unwrap_or_default();
        let unwritten = &begun[written.len()..];
        Ok(OutputLine::may_begin(written) && unwritten.iter().all(|byte| *byte == 0))
    }
}

/// The decompressed file up to the first decoding error, and whether there was none.
fn decompressed(file: File, compression: Compression) -> io::Result<(File, bool)> {
    if compression == Compression::Plain {
        return Ok((file, true));
    }
    if !compression.may_begin(&file)? {
        let message = "it is not compressed as its name suggests";
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut copy = tempfile::tempfile()?;
    let mut reader = compression.reader(BufReader::new(file));
    let mut writer = BufWriter::new(&mut copy);
    let mut buffer = vec![0; 64 << 10];
    let mut is_whole = true;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => writer.write_all(&buffer[..count])?,
            Err(error) if is_system_error(&error) => return Err(error),
            // A kill left the compressed stream incomplete.
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

/// The size of the complete lines, in bytes.
fn complete_lines(file: &File) -> io::Result<u64> {
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
