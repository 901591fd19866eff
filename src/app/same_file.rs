//! Whether two paths name one file: a command must not write over what it reads.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Whether two paths name the same regular file, which may not exist yet.
pub fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => {
            one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino())
        }
        (Err(_), Err(_)) => match (future_path(one), future_path(other)) {
            (Ok(one), Ok(other)) => one == other,
            _ => one == other,
        },
        _ => false,
    }
}

/// The canonical path that a file will have once it is created; links to it are followed.
fn future_path(path: &Path) -> io::Result<PathBuf> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = fs::canonicalize(folder.unwrap_or(Path::new(".")))?;
    let path = folder.join(path.file_name().unwrap_or_default());
    match (fs::metadata(&path), fs::read_link(&path)) {
        (Err(error), Ok(target)) if error.kind() == io::ErrorKind::NotFound => {
            future_path(&folder.join(target))
        }
        _ => Ok(path),
    }
}
