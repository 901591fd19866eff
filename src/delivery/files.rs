//! The files of the outbox: created and opened without following links, locked where the file system can, and removed
//! when a killed process left them behind. What they contain is the matter of `outbox`.
//!
//! Others may be able to write to the folder. A link, a FIFO or a folder in place of a file must neither be written
//! through nor waited for.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File, FileType, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// What a process writes before it renames it.
pub const TEMPORARY: &str = "tmp";
/// A left-over of a killed process is removed at this age: by then no process can still be about to rename it.
const LEFTOVER_AGE: Duration = Duration::from_hours(1);

/// A path of the outbox that was opened.
#[derive(Debug)]
pub enum Opened {
    File(File),
    /// Something that is not a file: what it is.
    Other(&'static str),
}

/// Whether this process has a file for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    Held,
    HeldByOther,
    /// The file system has no locks, as some of NFS and FUSE have not.
    Unsupported,
}

/// Creates a file that only its owner can read. One that a killed process left behind is removed first.
///
/// # Errors
/// If it cannot be created.
pub fn create_private(path: &Path) -> io::Result<File> {
    let create = || {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(flags(OFlags::NOFOLLOW))
            .open(path)
    };
    match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            create()
        }
        created => created,
    }
}

/// Opens a file for reading.
///
/// # Errors
/// If it cannot be opened.
pub fn open(path: &Path) -> io::Result<Opened> {
    let found = fs::symlink_metadata(path)?.file_type();
    if !found.is_file() {
        return Ok(Opened::Other(name(found)));
    }
    // It may have been replaced just now.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK))
        .open(path)?;
    let found = file.metadata()?.file_type();
    Ok(if found.is_file() {
        Opened::File(file)
    } else {
        Opened::Other(name(found))
    })
}

fn name(found: FileType) -> &'static str {
    if found.is_symlink() {
        "a symbolic link"
    } else if found.is_dir() {
        "a folder"
    } else if found.is_fifo() {
        "a FIFO"
    } else {
        "a socket or a device"
    }
}

fn flags(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}

/// Locks a file for this process, without waiting.
///
/// # Errors
/// If that fails for another reason than that another process holds it or that files cannot be locked.
pub fn lock(file: &File) -> io::Result<Lock> {
    match file.try_lock() {
        Ok(()) => Ok(Lock::Held),
        Err(TryLockError::WouldBlock) => Ok(Lock::HeldByOther),
        Err(TryLockError::Error(error)) if lacks_locks(&error) => Ok(Lock::Unsupported),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn lacks_locks(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| [Errno::NOLCK, Errno::NOSYS, Errno::OPNOTSUPP].contains(&errno))
}

/// Whether others than the owner can write to a folder.
pub fn is_writable_by_others(dir: &Path) -> bool {
    fs::metadata(dir).is_ok_and(|metadata| metadata.permissions().mode() & 0o022 != 0)
}

/// Removes what killed processes left behind in a folder: temporary files, and descriptions (`ID.DESCRIPTION`) of
/// entries without spans (`ID.` and one of `spans`). What cannot be removed now stays for the next run.
pub fn sweep(dir: &Path, description: &str, spans: &[&str]) {
    let Ok(found) = fs::read_dir(dir) else {
        return;
    };
    let names: HashSet<OsString> = found.flatten().map(|found| found.file_name()).collect();
    for name in names.iter().filter_map(|name| name.to_str()) {
        let is_temporary = name.ends_with(&format!(".{TEMPORARY}"));
        let has_spans = |id: &str| {
            let mut files = spans.iter().map(|extension| format!("{id}.{extension}"));
            files.any(|file| names.contains(&OsString::from(file)))
        };
        let is_alone = || {
            let id = name.strip_suffix(&format!(".{description}"));
            id.is_some_and(|id| !has_spans(id))
        };
        if is_temporary || is_alone() {
            remove_leftover(&dir.join(name));
        }
    }
}

fn remove_leftover(path: &Path) {
    let Ok(Opened::File(file)) = open(path) else {
        return;
    };
    let modified = file.metadata().and_then(|metadata| metadata.modified());
    let age = modified.ok().and_then(|modified| modified.elapsed().ok());
    let is_old = age.is_some_and(|age| age >= LEFTOVER_AGE);
    if is_old && lock(&file).is_ok_and(|lock| lock != Lock::HeldByOther) {
        // If it stays, nothing is lost: it is of no use.
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_file_system_without_locks_is_told_from_others() {
        for errno in [Errno::NOLCK, Errno::NOSYS, Errno::OPNOTSUPP] {
            assert!(lacks_locks(&errno.into()), "{errno}");
        }
        for errno in [Errno::BADF, Errno::IO, Errno::INTR] {
            assert!(!lacks_locks(&errno.into()), "{errno}");
        }
    }
}
