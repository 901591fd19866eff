//! The outbox: a folder of spans that were not delivered. Nothing is sent here.
//!
//! `ID.jsonl` holds the spans in the OTLP File Exporter format, and `ID.meta.json` their destination and why they did
//! not get there. During its first delivery an entry is named `ID.pending`. The process that works on an entry locks
//! its file. The lock ends with the process, so an unlocked pending entry belongs to a process that was killed.
//!
//! A rename is what makes an entry appear or change, whole or not at all: this rests on the file system.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::delivery::encode::EncodeError;
use crate::delivery::payload::Payload;

/// The default limit of an outbox, in bytes.
pub const DEFAULT_MAX_BYTES: u64 = 2 << 30;

const KEPT: &str = "jsonl";
const PENDING: &str = "pending";
const META: &str = "meta.json";
const TEMPORARY: &str = "tmp";

/// The folder.
#[derive(Clone, Debug)]
pub struct Outbox {
    dir: PathBuf,
    max_bytes: u64,
}

/// What is known about an entry besides its spans. It never contains a secret.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EntryMeta {
    /// Where the spans were sent to; information only.
    pub endpoint: String,
    /// The public key of the project that the spans are for.
    pub public_key: Option<String>,
    /// Why the spans were not delivered; `None` during the first delivery.
    pub cause: Option<String>,
    /// Since when spans may have arrived all the same: a request was sent, and there was no answer.
    #[serde(default)]
    pub ambiguous_since: Option<Timestamp>,
    /// When the first delivery began.
    pub time: Timestamp,
    pub spans: usize,
    pub trace_ids: Vec<String>,
}

/// Why spans could not be put into the outbox.
#[derive(Clone, Debug)]
pub enum OutboxError {
    /// The run has no outbox.
    Disabled,
    /// No folder for the outbox is known.
    NoFolder(String),
    /// The folder cannot be created.
    Unusable {
        dir: PathBuf,
        error: Arc<io::Error>,
    },
    /// The entry cannot be written.
    Unwritable {
        dir: PathBuf,
        error: Arc<io::Error>,
    },
    /// The outbox holds `LANGSPAN_OUTBOX_MAX` bytes.
    Full {
        max_bytes: u64,
    },
    Unencodable(EncodeError),
}

impl fmt::Display for OutboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => f.write_str("there is no outbox (--no-outbox, --sandbox)"),
            Self::NoFolder(why) => write!(f, "there is no outbox: {why}"),
            Self::Unusable { dir, error } => {
                let dir = dir.display();
                write!(f, "the outbox {dir} cannot be used: {error}")
            }
            Self::Unwritable { dir, error } => {
                let dir = dir.display();
                write!(f, "the outbox {dir} cannot be written: {error}")
            }
            Self::Full { max_bytes } => write!(
                f,
                "the outbox is full (LANGSPAN_OUTBOX_MAX is {max_bytes} bytes)"
            ),
            Self::Unencodable(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OutboxError {}

impl EntryMeta {
    /// Describes the spans of `payloads`; returns whether their number differs from before.
    pub fn describe(&mut self, payloads: &[Payload]) -> bool {
        let spans = payloads.iter().map(Payload::span_count).sum();
        let differs = self.spans != spans;
        self.spans = spans;
        let ids = payloads
            .iter()
            .flat_map(Payload::traces)
            .map(|trace| trace.trace_id);
        self.trace_ids = ids.collect();
        self.trace_ids.dedup();
        differs
    }
}

impl Outbox {
    /// Opens the folder, and creates it (mode 0700) if it does not exist.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn open(dir: &Path, max_bytes: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            max_bytes,
        })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes an entry whose delivery begins. It is not synced to disk: it survives the end of the process, not of the
    /// machine.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn store(&self, payload: &Payload, meta: EntryMeta) -> Result<PendingEntry, OutboxError> {
        self.try_store(payload, meta)
            .map_err(|error| self.unwritable(error))
    }

    fn try_store(&self, payload: &Payload, mut meta: EntryMeta) -> io::Result<PendingEntry> {
        let now = Timestamp::now().strftime("%Y%m%dT%H%M%S%3fZ").to_string();
        let id = format!("{now}-{:08x}", fastrand::u32(..));
        meta.describe(std::slice::from_ref(payload));
        self.write_meta(&id, &meta, Sync::No)?;
        let pending = self.path(&id, PENDING);
        let file = self
            .rewrite(&id, &pending, std::slice::from_ref(payload))
            .inspect_err(|_| {
                // Metadata without spans is useless.
                let _ = fs::remove_file(self.path(&id, META));
            })?;
        Ok(PendingEntry {
            outbox: self.clone(),
            id,
            file,
            meta,
            is_finished: false,
        })
    }

    fn unwritable(&self, error: io::Error) -> OutboxError {
        OutboxError::Unwritable {
            dir: self.dir.clone(),
            error: Arc::new(error),
        }
    }

    /// The ids of all entries, oldest first.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn ids(&self) -> io::Result<Vec<String>> {
        let mut ids = Vec::new();
        for found in fs::read_dir(&self.dir)? {
            let path = found?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            if let (Some(id), Some(KEPT | PENDING)) =
                (path.file_stem().and_then(|id| id.to_str()), extension)
            {
                ids.push(id.to_owned());
            }
        }
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    /// Whether the entry exists, locked by another process or not.
    pub fn contains(&self, id: &str) -> bool {
        [KEPT, PENDING]
            .iter()
            .any(|extension| self.path(id, extension).exists())
    }

    /// The metadata of an entry; `None` if it is gone or not readable.
    pub fn meta(&self, id: &str) -> Option<EntryMeta> {
        let text = fs::read_to_string(self.path(id, META)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// The ids of the spans of an entry, locked by another process or not; empty if it is gone or not readable.
    pub fn span_ids(&self, id: &str) -> HashSet<String> {
        let texts = [KEPT, PENDING]
            .iter()
            .filter_map(|extension| fs::read_to_string(self.path(id, extension)).ok());
        let payloads = texts.filter_map(|text| payloads(&text).ok()).flatten();
        let traces = payloads.flat_map(|payload| payload.traces());
        traces.flat_map(|trace| trace.span_ids).collect()
    }

    /// An entry, locked until it is dropped; `None` if another process works on it, or it is gone.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn entry(&self, id: &str) -> io::Result<Option<Entry>> {
        for (extension, unfinished) in [(KEPT, false), (PENDING, true)] {
            let path = self.path(id, extension);
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if file.try_lock().is_err() {
                return Ok(None);
            }
            // The process that held the lock may have removed or renamed the file just before.
            if file.metadata()?.nlink() == 0 || !path.exists() {
                continue;
            }
            let meta = self.meta(id);
            return Ok(Some(Entry {
                outbox: self.clone(),
                id: id.to_owned(),
                path,
                file,
                meta,
                unfinished,
            }));
        }
        Ok(None)
    }

    /// The size of all files in the folder, in bytes.
    fn used(&self) -> io::Result<u64> {
        let mut bytes = 0;
        for found in fs::read_dir(&self.dir)? {
            let found = found?;
            bytes += found.metadata().map_or(0, |metadata| metadata.len());
        }
        Ok(bytes)
    }

    /// Replaces the content of `path` by `payloads`, whole or not at all. Returns the file, locked.
    fn rewrite(&self, id: &str, path: &Path, payloads: &[Payload]) -> io::Result<File> {
        let temporary = self.path(id, TEMPORARY);
        let mut file = create_private(&temporary)?;
        // No other process knows the file yet, so the lock is free.
        file.try_lock()?;
        let mut write = || {
            for payload in payloads {
                let line = payload.to_json_line().map_err(io::Error::other)?;
                file.write_all(format!("{line}\n").as_bytes())?;
            }
            fs::rename(&temporary, path)
        };
        write().inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })?;
        Ok(file)
    }

    fn path(&self, id: &str, extension: &str) -> PathBuf {
        self.dir.join(format!("{id}.{extension}"))
    }

    fn write_meta(&self, id: &str, meta: &EntryMeta, sync: Sync) -> io::Result<()> {
        let path = self.path(id, META);
        let temporary = self.path(id, "meta.tmp");
        let mut file = create_private(&temporary)?;
        file.write_all(
            serde_json::to_string(meta)
                .map_err(io::Error::other)?
                .as_bytes(),
        )?;
        if sync == Sync::Yes {
            file.sync_all()?;
        }
        fs::rename(temporary, path)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sync {
    Yes,
    No,
}

/// An entry during its first delivery. If it is dropped before that has ended, by a panic or an interruption, it is
/// kept.
#[derive(Debug)]
pub struct PendingEntry {
    outbox: Outbox,
    id: String,
    file: File,
    meta: EntryMeta,
    is_finished: bool,
}

impl PendingEntry {
    /// Removes the entry: its spans were accepted.
    pub fn release(mut self) {
        self.is_finished = true;
        // A file that cannot be removed is unlocked and pending: `resend` asks for its spans before it sends them.
        let _ = fs::remove_file(self.outbox.path(&self.id, PENDING));
        let _ = fs::remove_file(self.outbox.path(&self.id, META));
    }

    /// Replaces the spans of the entry, whole or not at all, at the begin of their delivery.
    ///
    /// # Errors
    /// If it cannot be written; the entry is then as it was.
    pub fn replace(&mut self, payload: &Payload) -> io::Result<()> {
        let payloads = std::slice::from_ref(payload);
        let pending = self.outbox.path(&self.id, PENDING);
        self.file = self.outbox.rewrite(&self.id, &pending, payloads)?;
        self.meta.describe(payloads);
        self.meta.time = Timestamp::now();
        self.outbox.write_meta(&self.id, &self.meta, Sync::No)
    }

    /// Keeps `remaining` of the entry for `resend`, synced to disk. Returns the entry's id and file.
    ///
    /// # Errors
    /// If the outbox is full, or the disk refuses it.
    pub fn keep(
        mut self,
        remaining: &[Payload],
        cause: &str,
        is_ambiguous: bool,
    ) -> Result<(String, PathBuf), OutboxError> {
        self.is_finished = true;
        if self.meta.describe(remaining) {
            let pending = self.outbox.path(&self.id, PENDING);
            let file = self.outbox.rewrite(&self.id, &pending, remaining);
            self.file = file.map_err(|error| self.outbox.unwritable(error))?;
        }
        let path = self.finish(cause, is_ambiguous)?;
        Ok((self.id.clone(), path))
    }

    /// Makes the entry one that waits, unless the outbox is full.
    fn finish(&mut self, cause: &str, is_ambiguous: bool) -> Result<PathBuf, OutboxError> {
        self.meta.cause = Some(cause.to_owned());
        self.meta.ambiguous_since = is_ambiguous.then(Timestamp::now);
        let max_bytes = self.outbox.max_bytes;
        // The entry's own files are in the folder already.
        let finished = match self.outbox.used() {
            Ok(used) if used > max_bytes => match self.remove() {
                Ok(()) => return Err(OutboxError::Full { max_bytes }),
                Err(error) => Err(error),
            },
            Ok(_) => self.sync_and_rename(),
            Err(error) => Err(error),
        };
        finished.map_err(|error| self.outbox.unwritable(error))
    }

    fn remove(&self) -> io::Result<()> {
        fs::remove_file(self.outbox.path(&self.id, PENDING))?;
        fs::remove_file(self.outbox.path(&self.id, META))
    }

    fn sync_and_rename(&self) -> io::Result<PathBuf> {
        let kept = self.outbox.path(&self.id, KEPT);
        self.outbox.write_meta(&self.id, &self.meta, Sync::Yes)?;
        self.file.sync_all()?;
        fs::rename(self.outbox.path(&self.id, PENDING), &kept)?;
        File::open(&self.outbox.dir)?.sync_all()?;
        Ok(kept)
    }
}

impl Drop for PendingEntry {
    fn drop(&mut self) {
        if !self.is_finished {
            // The request may have left: only the server knows whether it arrived.
            let _ = self.finish("the delivery was interrupted", true);
        }
    }
}

/// An entry that waits, locked against other processes.
#[derive(Debug)]
pub struct Entry {
    outbox: Outbox,
    pub id: String,
    path: PathBuf,
    file: File,
    /// `None` if the process was killed before it wrote any, or the file was removed.
    pub meta: Option<EntryMeta>,
    /// Whether the process was killed during the first delivery.
    pub unfinished: bool,
}

impl Entry {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// When the spans were stored, according to the metadata or, without them, the file.
    pub fn time(&self) -> Timestamp {
        let modified = || Timestamp::try_from(self.file.metadata().ok()?.modified().ok()?).ok();
        self.meta
            .as_ref()
            .map(|meta| meta.time)
            .or_else(modified)
            .unwrap_or_default()
    }

    /// Since when spans of the entry may have arrived; `None` if they cannot have.
    pub fn ambiguous_since(&self) -> Option<Timestamp> {
        let unfinished = self.unfinished.then(|| self.time());
        self.meta
            .as_ref()
            .and_then(|meta| meta.ambiguous_since)
            .or(unfinished)
    }

    /// The requests that wait.
    ///
    /// # Errors
    /// If the file cannot be read, or a line of it is not an export request.
    pub fn payloads(&self) -> anyhow::Result<Vec<Payload>> {
        let mut text = String::new();
        (&self.file).read_to_string(&mut text)?;
        let payloads = payloads(&text)?;
        anyhow::ensure!(!payloads.is_empty(), "the file has no spans");
        Ok(payloads)
    }

    /// Keeps only `remaining`: spans that were accepted must not be sent again.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn keep_only(&mut self, remaining: &[Payload]) -> io::Result<()> {
        self.file = self.outbox.rewrite(&self.id, &self.path, remaining)?;
        let mut meta = self.meta.clone().unwrap_or_default();
        meta.describe(remaining);
        self.meta = Some(meta);
        Ok(())
    }

    /// Notes why the spans still wait.
    ///
    /// # Errors
    /// If the metadata cannot be written.
    pub fn note(&mut self, cause: &str, ambiguous_since: Option<Timestamp>) -> io::Result<()> {
        let mut meta = self.meta.clone().unwrap_or_default();
        meta.time = self.time();
        meta.cause = Some(cause.to_owned());
        meta.ambiguous_since = ambiguous_since;
        self.outbox.write_meta(&self.id, &meta, Sync::Yes)?;
        if self.unfinished {
            let kept = self.outbox.path(&self.id, KEPT);
            fs::rename(&self.path, &kept)?;
            self.path = kept;
            self.unfinished = false;
        }
        self.meta = Some(meta);
        Ok(())
    }

    /// Removes all files of the entry.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)?;
        match fs::remove_file(self.outbox.path(&self.id, META)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The requests of a file of spans.
fn payloads(text: &str) -> anyhow::Result<Vec<Payload>> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(Payload::from_json_line).collect()
}

fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}
