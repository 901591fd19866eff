//! The stored traces: one append-only file of JSON lines for each trace, readable only by its owner.
//!
//! Nothing is cached: every read reads the files, so that the rows of another process are seen at once.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::hex::hex;
use super::observation::Observation;
use crate::json;

#[derive(Debug, Clone)]
pub struct TraceStore {
    folder: PathBuf,
}

/// The size of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreSize {
    pub traces: u64,
    /// The size of all files of traces: media and scores too.
    pub bytes: u64,
}

impl TraceStore {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The folder of the media.
    pub fn media(&self) -> PathBuf {
        self.folder.join("media")
    }

    /// The folder of the prompts.
    pub fn prompts(&self) -> PathBuf {
        self.folder.join("prompts")
    }

    /// The folder of the datasets.
    pub fn datasets(&self) -> PathBuf {
        self.folder.join("datasets")
    }

    /// The folder of the scores.
    pub fn scores(&self) -> PathBuf {
        self.folder.join("scores")
    }

    pub fn size(&self) -> io::Result<StoreSize> {
        let traces = files(&self.folder)?;
        let mut further = files(&self.media())?;
        further.extend(files(&self.scores())?);
        let traces: Vec<_> = traces.into_iter().filter(is_trace).collect();
        let count = traces.len() as u64;
        Ok(StoreSize {
            traces: count,
            bytes: traces.iter().chain(&further).map(|file| file.length).sum(),
        })
    }

    /// Deletes all traces with their media and scores, but no other files.
    pub fn clear(&self) -> io::Result<()> {
        let traces = files(&self.folder)?.into_iter().filter(is_trace);
        let further = files(&self.media())?
            .into_iter()
            .chain(files(&self.scores())?);
        for file in traces.chain(further) {
            match fs::remove_file(&file.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Marks the store as served until the value is dropped; several sandboxes can serve one store. `None` where files
    /// cannot be locked: then nothing keeps [`clear`](Self::clear) from running at the same time.
    pub fn serve(&self) -> Option<File> {
        let file = self.lock_file().ok()?;
        file.lock_shared().ok()?;
        Some(file)
    }

    /// Reserves the store until the value is dropped; `None` while a sandbox serves it.
    pub fn reserve(&self) -> io::Result<Option<File>> {
        let file = self.lock_file()?;
        Ok(match file.try_lock() {
            Err(TryLockError::WouldBlock) => None,
            // Where files cannot be locked, no sandbox holds a lock either.
            Err(TryLockError::Error(_)) | Ok(()) => Some(file),
        })
    }

    fn lock_file(&self) -> io::Result<File> {
        self.create_folder()?;
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.folder.join(".lock"))
    }

    fn create_folder(&self) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
    }

    pub fn append(&self, observations: &[Observation]) -> io::Result<()> {
        let mut by_trace: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for observation in observations {
            let lines = by_trace.entry(&observation.trace_id).or_default();
            serde_json::to_writer(&mut *lines, observation)?;
            lines.push(b'\n');
        }
        self.create_folder()?;
        by_trace
            .into_iter()
            .try_for_each(|(trace_id, lines)| append(&self.path(trace_id), &lines))
    }

    /// The observations of one trace; empty if there is no such trace.
    pub fn trace(&self, trace_id: &str) -> io::Result<Vec<Observation>> {
        let observations = read(&self.path(trace_id))?;
        Ok(observations
            .into_iter()
            .filter(|observation| observation.trace_id == trace_id)
            .collect())
    }

    /// All traces, the one written last first.
    pub fn traces(&self) -> io::Result<impl Iterator<Item = Vec<Observation>> + use<>> {
        let mut files = files(&self.folder)?;
        files.retain(is_trace);
        files.sort_by_key(|file| std::cmp::Reverse(file.modified));
        Ok(files
            .into_iter()
            .filter_map(|file| read(&file.path).ok())
            .filter(|observations| !observations.is_empty()))
    }

    fn path(&self, trace_id: &str) -> PathBuf {
        self.folder.join(format!("{}.jsonl", file_stem(trace_id)))
    }
}

#[derive(Debug)]
struct StoredFile {
    path: PathBuf,
    modified: SystemTime,
    length: u64,
}

/// The regular files of a folder; none if it does not exist.
fn files(folder: &Path) -> io::Result<Vec<StoredFile>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let files = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let metadata = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
        Some(StoredFile {
            modified: metadata.modified().ok()?,
            length: metadata.len(),
            path,
        })
    });
    Ok(files.collect())
}

fn is_trace(file: &StoredFile) -> bool {
    file.path
        .extension()
        .is_some_and(|extension| extension == "jsonl")
}

/// The file name of a trace. An id may be any text, so one that is not plain hex is replaced by its digest: it cannot
/// leave the folder, be too long for a file name, or collide with another one where the file system ignores case.
fn file_stem(trace_id: &str) -> String {
    let plain = (1..=64).contains(&trace_id.len())
        && trace_id
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if plain {
        return trace_id.to_owned();
    }
    format!("text-{}", hex(&Sha256::digest(trace_id)))
}

/// Reserves a folder, which is created if it does not exist, until the value is dropped.
pub fn lock_folder(folder: &Path) -> io::Result<File> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(folder.join(".lock"))?;
    file.lock()?;
    Ok(file)
}

/// Appends lines to a file, which is created if it does not exist.
pub fn append(path: &Path, lines: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    file.lock()?;
    if !ends_in_newline(&mut file)? {
        // A writer died in the middle of a line: begin a new one.
        file.write_all(b"\n")?;
    }
    file.write_all(lines)
}

fn ends_in_newline(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// The rows of the file; half-written and foreign lines are skipped.
fn read(path: &Path) -> io::Result<Vec<Observation>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let rows = text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| json::from_slice(line).ok());
    Ok(latest(rows))
}

/// A span that was sent twice is one row: the last one. (A real server may return both until it merges them.)
fn latest(rows: impl Iterator<Item = Observation>) -> Vec<Observation> {
    let mut places = std::collections::HashMap::new();
    let mut kept: Vec<Observation> = Vec::new();
    for row in rows {
        let place = *places
            .entry((row.id.clone(), row.start))
            .or_insert(kept.len());
        match kept.get_mut(place) {
            Some(earlier) => *earlier = row,
            None => kept.push(row),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_trace_id_leaves_the_folder_or_meets_another() {
        let ids = [
            "../../etc/passwd",
            "",
            "ABCDEF",
            "abcdef",
            "a/b",
            "a b",
            &"x".repeat(5000),
        ];
        let stems: std::collections::HashSet<_> =
            ids.iter().map(|id| file_stem(id).to_lowercase()).collect();
        assert_eq!(stems.len(), ids.len());
        assert!(
            stems
                .iter()
                .all(|stem| stem.len() < 80 && !stem.contains(['/', '.', ' ']))
        );
        assert_eq!(
            file_stem("2de564082ca19a9b24fd35f84866aae6"),
            "2de564082ca19a9b24fd35f84866aae6"
        );
    }
}
