//! What was read of a file of JSON lines that only grows. Each reading takes what was added since, so that the lines of
//! other processes appear.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::json;

/// The state that the lines of a file make, and how far it was read.
#[derive(Debug, Default)]
pub struct GrowingFile<T> {
    /// Bytes of the file.
    read: u64,
    state: T,
}

impl<T: Default> GrowingFile<T> {
    /// Reads what was added to the file, and returns the state. It begins anew if the file is gone or has become shorter.
    /// Foreign lines are skipped; the last line counts once it is whole.
    pub fn catch_up<Line: DeserializeOwned>(
        &mut self,
        path: &Path,
        mut add: impl FnMut(&mut T, Line),
    ) -> io::Result<&T> {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                *self = Self::default();
                return Ok(&self.state);
            }
            file => file?,
        };
        if file.metadata()?.len() < self.read {
            *self = Self::default();
        }
        file.seek(SeekFrom::Start(self.read))?;
        let mut added = Vec::new();
        file.read_to_end(&mut added)?;
        let whole = added
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        self.read += whole as u64;
        for line in added[..whole].split(|byte| *byte == b'\n') {
            if let Ok(line) = json::from_slice(line) {
                add(&mut self.state, line);
            }
        }
        Ok(&self.state)
    }
}
