//! Temporary files beside the output FILE, named `.FILE.langspan-XXXX`.
//!
//! A kill can leave one behind. The next run on the same output removes it once it is an hour old and no process holds
//! its lock. Nothing else in the folder is touched.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::{Builder, NamedTempFile};

/// The number of random characters in a name.
const RANDOM: usize = 4;
/// Younger files may belong to a run on a file system without locks.
const LEFT_BEHIND_AFTER: Duration = Duration::from_hours(1);

/// Creates a temporary file beside `path`, locked until it is closed. It may be read by those who may read any new file.
///
/// # Errors
/// When it cannot be created.
pub fn create(path: &Path) -> io::Result<NamedTempFile> {
    let prefix = prefix(path);
    let mut builder = Builder::new();
    let builder = builder
        .prefix(&prefix)
        .rand_bytes(RANDOM)
        .permissions(Permissions::from_mode(0o666));
    let file = builder.tempfile_in(folder(path))?;
    // Some file systems have no locks; then only the age protects the file.
    let _ = file.as_file().try_lock();
    Ok(file)
}

/// Removes the temporary files of `path` that killed runs left behind. What cannot be examined or removed stays.
pub fn remove_left_behind(path: &Path) {
    let Ok(path) = fs::canonicalize(path) else {
        return;
    };
    let prefix = prefix(&path);
    let Ok(found) = fs::read_dir(folder(&path)) else {
        return;
    };
    for entry in found.flatten() {
        let name = entry.file_name();
        let rest = name
            .as_encoded_bytes()
            .strip_prefix(prefix.as_encoded_bytes());
        let is_ours = rest
            .is_some_and(|rest| rest.len() == RANDOM && rest.iter().all(u8::is_ascii_alphanumeric));
        if is_ours && is_left_behind(&entry.path()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether a path is a regular file that is old and not locked.
fn is_left_behind(path: &Path) -> bool {
    let Ok(found) = fs::symlink_metadata(path) else {
        return false;
    };
    let age = found.modified().ok();
    let age = age.and_then(|modified| SystemTime::now().duration_since(modified).ok());
    found.is_file()
        && age.is_some_and(|age| age >= LEFT_BEHIND_AFTER)
        && File::open(path).is_ok_and(|file| file.try_lock().is_ok())
}

fn prefix(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".langspan-");
    prefix
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_file_is_named_after_the_output_and_locked() {
        let folder = tempfile::tempdir().unwrap();
        let file = create(&folder.path().join("out.jsonl")).unwrap();
        let name = file.path().file_name().unwrap().to_str().unwrap();
        let random = name.strip_prefix(".out.jsonl.langspan-").unwrap();
        assert_eq!(random.len(), RANDOM);
        assert!(File::open(file.path()).unwrap().try_lock().is_err());
    }
}
