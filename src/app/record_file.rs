//! The file of `--record`: one recording per line, even after a full disk cut one.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::console::Console;
use crate::failure::Failure;

/// The mode of the file: recordings are as private as the conversations in them.
const PRIVATE: u32 = 0o600;
/// The permissions of the file's group and of everyone else.
const OTHERS: u32 = 0o077;

/// A file to which recordings are appended.
#[derive(Debug)]
pub struct RecordFile {
    file: File,
}

impl RecordFile {
    /// Opens the file before anything is sent: no call is paid for that cannot be recorded. An unterminated line of an
    /// earlier call is terminated here, and a file that others can open becomes the user's own.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn open(path: &Path, console: &Console) -> Result<Self, Failure> {
        let opened = Self::try_open(path).map_err(|error| {
            Failure::unwritable(path.display(), &error).hint("check the path of --record")
        })?;
        match opened.make_private() {
            Ok(None) => {}
            Ok(Some(mode)) => console.warn(&format!(
                "{} could be opened by others (mode {mode:04o}); its mode is now {PRIVATE:04o}",
                path.display()
            )),
            Err(error) => console.warn(&format!(
                "{} can be opened by others, and its mode cannot be changed: {error}",
                path.display()
            )),
        }
        Ok(opened)
    }

    fn try_open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(PRIVATE);
        let mut file = options.open(path)?;
        let is_empty = |metadata: &Metadata| !metadata.is_file() || metadata.len() == 0;
        // A file that is write-only is assumed to be intact.
        if !is_empty(&file.metadata()?) && last_byte(path).is_ok_and(|last| last != b'\n') {
            file.write_all(b"\n")?;
        }
        Ok(Self { file })
    }

    /// Takes the permissions of others from the file; returns its mode if they had any.
    fn make_private(&self) -> io::Result<Option<u32>> {
        let metadata = self.file.metadata()?;
        let mode = metadata.permissions().mode() & 0o7777;
        // A device or a pipe is no place where recordings stay.
        if !metadata.is_file() || mode & OTHERS == 0 {
            return Ok(None);
        }
        self.file.set_permissions(Permissions::from_mode(PRIVATE))?;
        Ok(Some(mode))
    }

    /// Appends a line, or nothing.
    ///
    /// # Errors
    /// If it cannot be written whole.
    pub fn append(&mut self, line: &str) -> Result<(), Failure> {
        let metadata = self.file.metadata().ok();
        let before = metadata.filter(Metadata::is_file);
        let written = self.file.write_all(format!("{line}\n").as_bytes());
        written.map_err(|error| {
            if let Some(before) = before {
                // Half a line would spoil the file for replay. If not even this succeeds, the next call ends the line.
                let _ = self.file.set_len(before.len());
            }
            Failure::unwritable("the recording", &error)
        })
    }
}

fn last_byte(path: &Path) -> io::Result<u8> {
    let mut last = [0];
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last[0])
}
