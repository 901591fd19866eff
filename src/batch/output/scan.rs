//! Reads the lines of a stored output one by one, and refuses a file that `langspan batch` did not write.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Take};
use std::path::Path;

use crate::batch::output::line::OutputLine;
use crate::batch::output::stored::StoredOutput;
use crate::failure::Failure;

/// The output lines of a file, in its order.
#[derive(Debug)]
pub struct OutputScan {
    reader: Take<BufReader<File>>,
    text: Vec<u8>,
    /// The number of lines that were read.
    number: u64,
    /// Where the next line begins.
    offset: u64,
}

/// A line of an output.
#[derive(Debug)]
pub struct ScannedLine<'a> {
    /// Counted from 1 in the output.
    pub number: u64,
    /// In bytes, from the start of the decompressed output.
    pub offset: u64,
    /// In bytes, with the line ending.
    pub length: usize,
    pub answer: OutputLine<'a>,
}

/// Why a file cannot be read as an output.
#[derive(Debug)]
pub enum ScanError {
    Unreadable(io::Error),
    /// The line of this number is not an output line, and why.
    Foreign(u64, String),
}

impl OutputScan {
    /// # Errors
    /// When the file cannot be read from its start.
    pub fn new(stored: &StoredOutput) -> io::Result<Self> {
        Ok(Self {
            reader: stored.lines()?,
            text: Vec::new(),
            number: 0,
            offset: 0,
        })
    }

    /// The next complete line; `None` after the last one.
    ///
    /// # Errors
    /// When it cannot be read, or is not an output line.
    pub fn next(&mut self) -> Result<Option<ScannedLine<'_>>, ScanError> {
        self.text.clear();
        let length = self.reader.read_until(b'\n', &mut self.text)?;
        if length == 0 {
            return Ok(None);
        }
        self.number += 1;
        let (number, offset) = (self.number, self.offset);
        self.offset += length as u64;
        let answer = OutputLine::read(&self.text).map_err(|why| ScanError::Foreign(number, why))?;
        if answer.langspan.line == 0 {
            return Err(ScanError::Foreign(number, "it answers line 0".to_owned()));
        }
        Ok(Some(ScannedLine {
            number,
            offset,
            length,
            answer,
        }))
    }

    /// Checks that what follows the complete lines can be the beginning of an output line.
    ///
    /// # Errors
    /// When it cannot be read, or cannot be one.
    pub fn check_rest(&self, stored: &StoredOutput) -> Result<(), ScanError> {
        if stored.is_rest_of_output()? {
            return Ok(());
        }
        let why = "it does not start like one".to_owned();
        Err(ScanError::Foreign(self.number + 1, why))
    }
}

impl ScanError {
    /// The failure of the output at `path`; `hint` is for a file that is not an output.
    pub fn into_failure(
        self,
        path: &Path,
        unreadable: impl FnOnce(io::Error) -> Failure,
        hint: &str,
    ) -> Failure {
        match self {
            Self::Unreadable(error) => unreadable(error),
            Self::Foreign(number, why) => Failure::input(format!(
                "line {number} of {} is not an output line: {why}",
                path.display()
            ))
            .hint(hint),
        }
    }
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}
