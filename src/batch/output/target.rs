//! Where the output goes: stdout, a regular file that can be resumed, or a device or pipe.

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use crate::batch::output::writer::OutputSink;
use crate::compression::Compression;
use crate::delivery::OutboxPolicy;
use crate::failure::Failure;

/// The destination of the output lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputTarget {
    Stdout,
    /// A file that a run can be resumed from. It may not exist yet.
    Regular(PathBuf),
    /// A device or a pipe. It cannot be read back.
    Irregular(PathBuf),
}

impl OutputTarget {
    /// The target that `--out` names.
    ///
    /// # Errors
    /// When it is a directory or cannot be examined.
    pub fn new(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            return Ok(Self::Stdout);
        };
        match fs::metadata(path) {
            Ok(found) if found.is_file() && !is_descriptor(path) => {
                Ok(Self::Regular(path.to_owned()))
            }
            Ok(found) if found.is_dir() => {
                Err(Failure::file(format!("{} is a directory", path.display()))
                    .hint("name a file in it"))
            }
            Ok(_) => Ok(Self::Irregular(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Self::Regular(path.to_owned()))
            }
            Err(error) => Err(Failure::unwritable(path.display(), &error)),
        }
    }

    /// The path, if a run can be resumed from it.
    pub fn resumable(&self) -> Option<&Path> {
        match self {
            Self::Regular(path) => Some(path),
            Self::Stdout | Self::Irregular(_) => None,
        }
    }

    /// Whether the lines appear on a terminal.
    pub fn is_on_a_terminal(&self) -> bool {
        *self == Self::Stdout && io::stdout().is_terminal()
    }

    /// When spans are written to the outbox. A run that can be resumed can rebuild them, so that a copy before each
    /// request is not needed.
    pub fn outbox_policy(&self) -> OutboxPolicy {
        match self {
            Self::Regular(_) => OutboxPolicy::OnFailure,
            Self::Stdout | Self::Irregular(_) => OutboxPolicy::Soon,
        }
    }

    /// Opens the target to append to it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(&self) -> Result<OutputSink, Failure> {
        let (path, compression) = match self {
            Self::Stdout => return Ok(Compression::Plain.writer(Box::new(io::stdout()))),
            Self::Irregular(path) => (path, Compression::Plain),
            Self::Regular(path) => (path, Compression::of_name(path)),
        };
        let file = OpenOptions::new()
            .append(true)
            .create(self.resumable().is_some())
            .open(path)
            .map_err(|error| Failure::unwritable(path.display(), &error))?;
        Ok(compression.writer(Box::new(file)))
    }
}

/// Whether a path names an open file descriptor, such as `/dev/stdout`: even if that is a regular file, no file can
/// be created beside it.
fn is_descriptor(path: &Path) -> bool {
    let streams = ["/dev/stdout", "/dev/stderr"].map(Path::new);
    streams.contains(&path) || path.starts_with("/dev/fd") || path.starts_with("/proc")
}
