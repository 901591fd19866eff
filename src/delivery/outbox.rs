//! The outbox: a folder of spans that were not delivered. Nothing is sent here.
//!
//! `ID.jsonl` holds the spans in the OTLP File Exporter format, and `ID.meta.json` their destination and why they did
//! not get there. During its first delivery an entry is named `ID.pending`. The process that works on an entry locks
//! its file. The lock ends with the process, so an unlocked pending entry belongs to a process that was killed.
//!
//! A rename is what makes an entry appear or change, whole or not at all: this rests on the file system. Where files
//! cannot be locked, entries are worked on without a lock, and a warning says so.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::console::Console;
use crate::delivery::ambiguity::{Ambiguity, PROOF_OF_ABSENCE};
use crate::delivery::encode::EncodeError;
use crate::delivery::files::{self, Lock, Opened, TEMPORARY};
use crate::delivery::payload::Payload;

/// The default limit of an outbox, in bytes.
pub const DEFAULT_MAX_BYTES: u64 = 2 << 30;

const KEPT: &str = "jsonl";
const PENDING: &str = "pending";
const META: &str = "meta.json";
/// The end of the id of an entry that is the journal of an `exec` run, which has to be put together before it can be
/// sent.
const JOURNAL: &str = ".exec";

/// The folder.
#[derive(Clone, Debug)]
pub struct Outbox {
    dir: PathBuf,
    max_bytes: u64,
    /// Where warnings go, if anywhere.
    console: Option<Console>,
    /// Whether it was said that files cannot be locked.
    has_warned: Arc<AtomicBool>,
}

/// What became of the search for an entry.
#[derive(Debug)]
pub enum Found {
    /// It is locked for this process until it is dropped.
    Free(Box<Entry>),
    /// Another process works on it.
    Held,
    Gone,
    /// One of its files is not a file: which one, and what it is.
    NotAFile {
        path: PathBuf,
        what: &'static str,
    },
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
    /// How long after that the absence of spans proves nothing, in milliseconds.
    #[serde(default)]
    pub absence_proves_after_ms: Option<u64>,
    /// Whether `resend` was sending the spans: if no process holds the entry, that process was killed.
    #[serde(default)]
    pub under_way: bool,
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
    /// Whether spans may have arrived all the same.
    pub fn ambiguity(&self) -> Option<Ambiguity> {
        let since = self.ambiguous_since?;
        let wait = self.absence_proves_after_ms.map(Duration::from_millis);
        let wait = wait.unwrap_or_default().max(PROOF_OF_ABSENCE);
        Some(Ambiguity { since, wait })
    }

    fn set_ambiguity(&mut self, ambiguity: Option<Ambiguity>) {
        self.ambiguous_since = ambiguity.map(|ambiguity| ambiguity.since);
        let millis = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.absence_proves_after_ms = ambiguity.map(|ambiguity| millis(ambiguity.wait));
    }

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
    /// Opens the folder, and creates it (mode 0700) if it does not exist. What killed processes left behind in it is
    /// removed.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn open(dir: &Path, max_bytes: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        files::sweep(dir, META, &[KEPT, PENDING]);
        Ok(Self {
            dir: dir.to_owned(),
            max_bytes,
            console: None,
            has_warned: Arc::default(),
        })
    }

    /// The same outbox, with its warnings on `console`.
    #[must_use]
    pub fn warning_on(mut self, console: &Console) -> Self {
        if files::is_writable_by_others(&self.dir) {
            let dir = self.dir.display();
            console.warn(&format!("others can write to the outbox: chmod go-w {dir}"));
        }
        self.console = Some(console.clone());
        self
    }

    /// Locks a file of the outbox. Without locks in the file system, it counts as locked.
    fn lock(&self, file: &File) -> io::Result<Lock> {
        let lock = files::lock(file)?;
        if lock == Lock::Unsupported
            && !self.has_warned.swap(true, Ordering::Relaxed)
            && let Some(console) = &self.console
        {
            let dir = self.dir.display();
            console.warn(&format!(
                "files in {dir} cannot be locked: do not run two processes at once that use this outbox"
            ));
        }
        Ok(lock)
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
        let id = new_id();
        meta.describe(std::slice::from_ref(payload));
        self.write_meta(&id, &meta, Sync::No, None)?;
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

    /// Creates the empty journal of a run that begins. It stays locked until it is dropped.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create_journal(&self, meta: EntryMeta) -> Result<Entry, OutboxError> {
        let id = format!("{}{JOURNAL}", new_id());
        let path = self.path(&id, KEPT);
        let created = self.write_meta(&id, &meta, Sync::No, None).and_then(|()| {
            let file = files::create_private(&path)?;
            // No other process knows the file yet, so the lock is free.
            self.lock(&file)?;
            Ok(file)
        });
        let file = created.map_err(|error| {
            let _ = fs::remove_file(self.path(&id, META));
            self.unwritable(error)
        })?;
        Ok(Entry {
            outbox: self.clone(),
            id,
            path,
            file,
            meta: Some(meta),
            unfinished: false,
            found: Timestamp::now(),
        })
    }

    /// How many bytes may still be written.
    pub fn room(&self) -> u64 {
        let used = self.used().unwrap_or_default();
        self.max_bytes.saturating_sub(used)
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
            .any(|extension| self.path(id, extension).symlink_metadata().is_ok())
    }

    /// The metadata of an entry; `None` if it is gone or not readable.
    pub fn meta(&self, id: &str) -> Option<EntryMeta> {
        let text = read(&self.path(id, META)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// The ids of the spans of an entry, locked by another process or not; empty if it is gone or not readable.
    pub fn span_ids(&self, id: &str) -> HashSet<String> {
        let texts = [KEPT, PENDING]
            .iter()
            .filter_map(|extension| read(&self.path(id, extension)).ok());
        let payloads = texts.filter_map(|text| payloads(&text).ok()).flatten();
        let traces = payloads.flat_map(|payload| payload.traces());
        traces.flat_map(|trace| trace.span_ids).collect()
    }

    /// An entry, locked until it is dropped; `None` if another process works on it, or it is gone.
    ///
    /// # Errors
    /// If it cannot be read, or is not a file.
    pub fn entry(&self, id: &str) -> io::Result<Option<Entry>> {
        match self.find(id)? {
            Found::Free(entry) => Ok(Some(*entry)),
            Found::Held | Found::Gone => Ok(None),
            Found::NotAFile { what, .. } => Err(not_a_file(what)),
        }
    }

    /// Looks for an entry, and locks it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn find(&self, id: &str) -> io::Result<Found> {
        for (extension, unfinished) in [(KEPT, false), (PENDING, true)] {
            let path = self.path(id, extension);
            let file = match files::open(&path) {
                Ok(Opened::File(file)) => file,
                Ok(Opened::Other(what)) => return Ok(Found::NotAFile { path, what }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if self.lock(&file)? == Lock::HeldByOther {
                return Ok(Found::Held);
            }
            // The process that held the lock may have removed or renamed the file just before.
            if file.metadata()?.nlink() == 0 || !path.exists() {
                continue;
            }
            let described = self.path(id, META);
            if let Ok(Opened::Other(what)) = files::open(&described) {
                let path = described;
                return Ok(Found::NotAFile { path, what });
            }
            // A kill may have come between making the entry of a journal and removing the journal.
            self.remove_files(&format!("{id}{JOURNAL}"))?;
            return Ok(Found::Free(Box::new(Entry {
                outbox: self.clone(),
                id: id.to_owned(),
                meta: self.meta(id),
                found: Timestamp::now(),
                path,
                file,
                unfinished,
            })));
        }
        Ok(Found::Gone)
    }

    /// Removes what there is of a kept entry.
    fn remove_files(&self, id: &str) -> io::Result<()> {
        for extension in [KEPT, META] {
            match fs::remove_file(self.path(id, extension)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
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
        let file = files::create_private(&temporary)?;
        // No other process knows the file yet, so the lock is free.
        self.lock(&file)?;
        let write = || {
            for payload in payloads {
                payload.write_json_line(&file)?;
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

    /// Writes the metadata of an entry, with the time of its last change if one is given.
    fn write_meta(
        &self,
        id: &str,
        meta: &EntryMeta,
        sync: Sync,
        modified: Option<SystemTime>,
    ) -> io::Result<()> {
        let temporary = self.path(id, "meta.tmp");
        let mut file = files::create_private(&temporary)?;
        let text = serde_json::to_string(meta).map_err(io::Error::other)?;
        let mut write = || {
            file.write_all(text.as_bytes())?;
            if let Some(modified) = modified {
                file.set_modified(modified)?;
            }
            if sync == Sync::Yes {
                file.sync_all()?;
            }
            fs::rename(&temporary, self.path(id, META))
        };
        write().inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })
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
        self.outbox.write_meta(&self.id, &self.meta, Sync::No, None)
    }

    /// Keeps `remaining` of the entry for `resend`, synced to disk. Returns the entry's id and file. If its files cannot
    /// be changed, the entry stays as it was before its delivery, like that of a killed process.
    ///
    /// # Errors
    /// If the outbox is full, or nothing of the entry is on disk.
    pub fn keep(
        mut self,
        remaining: &[Payload],
        cause: &str,
        ambiguity: Option<Ambiguity>,
    ) -> Result<(String, PathBuf), OutboxError> {
        self.is_finished = true;
        let kept = self
            .reduce_to(remaining)
            .and_then(|()| self.finish(cause, ambiguity));
        match kept {
            Ok(path) => Ok((self.id.clone(), path)),
            Err(OutboxError::Full { max_bytes }) => Err(OutboxError::Full { max_bytes }),
            Err(error) => {
                let path = self.whole().ok_or(error)?;
                Ok((self.id.clone(), path))
            }
        }
    }

    fn reduce_to(&mut self, remaining: &[Payload]) -> Result<(), OutboxError> {
        if self.meta.describe(remaining) {
            let pending = self.outbox.path(&self.id, PENDING);
            let file = self.outbox.rewrite(&self.id, &pending, remaining);
            self.file = file.map_err(|error| self.outbox.unwritable(error))?;
        }
        Ok(())
    }

    /// The file with the spans, if it is there.
    fn whole(&self) -> Option<PathBuf> {
        let files = [KEPT, PENDING].map(|extension| self.outbox.path(&self.id, extension));
        files.into_iter().find(|path| path.is_file())
    }

    /// Makes the entry one that waits, unless the outbox is full.
    fn finish(
        &mut self,
        cause: &str,
        ambiguity: Option<Ambiguity>,
    ) -> Result<PathBuf, OutboxError> {
        self.meta.cause = Some(cause.to_owned());
        self.meta.set_ambiguity(ambiguity);
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
        self.outbox
            .write_meta(&self.id, &self.meta, Sync::Yes, None)?;
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
            let now = Ambiguity::at(Timestamp::now());
            let _ = self.finish("the delivery was interrupted", Some(now));
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
    /// When it was found to be free.
    found: Timestamp,
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

    /// Whether spans of the entry may have arrived. The time of the files counts as well as the noted one, the later of
    /// them: neither a changed clock nor changed metadata shortens the wait.
    pub fn ambiguity(&self) -> Option<Ambiguity> {
        let noted = self.meta.as_ref().and_then(EntryMeta::ambiguity);
        if self.unfinished || self.meta.as_ref().is_some_and(|meta| meta.under_way) {
            // It is not known when the process was killed, save that this was before the entry was found to be free.
            let killed = Ambiguity::at(self.found);
            return Some(noted.map_or(killed, |noted| noted.and(killed)));
        }
        let noted = noted?;
        let modified = self.modified().map_or(noted.since, |modified| {
            Timestamp::try_from(modified).unwrap_or(noted.since)
        });
        Some(Ambiguity {
            since: noted.since.max(modified),
            ..noted
        })
    }

    /// When the entry's files last changed.
    fn modified(&self) -> Option<SystemTime> {
        let spans = self.file.metadata().ok()?.modified().ok();
        let described = self.outbox.path(&self.id, META).symlink_metadata().ok();
        let described = described.and_then(|metadata| metadata.modified().ok());
        spans.max(described)
    }

    /// Whether it is the journal of an `exec` run.
    pub fn is_journal(&self) -> bool {
        self.id.ends_with(JOURNAL)
    }

    /// The file, which stays locked as long as the entry is there.
    ///
    /// # Errors
    /// If the process has too many open files.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// The requests that wait, read one after the other.
    ///
    /// # Errors
    /// If the file cannot be read, or a line of it is not an export request.
    pub fn requests(
        &self,
    ) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Payload>> + use<>> {
        let lines = BufReader::new(File::open(&self.path)?).lines();
        let lines = lines.map(|line| -> anyhow::Result<_> {
            let line = line?;
            let is_empty = line.trim().is_empty();
            (!is_empty)
                .then(|| Payload::from_json_line(&line))
                .transpose()
        });
        Ok(lines.filter_map(Result::transpose))
    }

    /// Checks that every request can be read.
    ///
    /// # Errors
    /// If one cannot, or there is none.
    pub fn check(&self) -> anyhow::Result<()> {
        let mut is_empty = true;
        for request in self.requests()? {
            request?;
            is_empty = false;
        }
        anyhow::ensure!(!is_empty, "the file has no spans");
        Ok(())
    }

    /// Begins to write what will be in the place of this entry, or, of a journal, what it amounts to.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn rewriter(&self) -> io::Result<EntryWriter> {
        let id = self.id.trim_end_matches(JOURNAL).to_owned();
        let path = self.outbox.path(&id, TEMPORARY);
        let file = files::create_private(&path)?;
        // No other process knows the file yet, so the lock is free.
        self.outbox.lock(&file)?;
        Ok(EntryWriter {
            id,
            temporary: Temporary(path),
            file: BufWriter::new(file),
            spans: 0,
            trace_ids: Vec::new(),
        })
    }

    /// Puts what was written in the place of this entry. A journal becomes an entry that waits.
    ///
    /// # Errors
    /// If the files cannot be written or renamed.
    pub fn replace(&mut self, writer: EntryWriter) -> io::Result<()> {
        let EntryWriter {
            id,
            temporary,
            file,
            spans,
            trace_ids,
        } = writer;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        let mut meta = self.meta.clone().unwrap_or_default();
        meta.time = self.time();
        (meta.spans, meta.trace_ids) = (spans, trace_ids);
        let path = if self.is_journal() {
            self.outbox.write_meta(&id, &meta, Sync::No, None)?;
            self.outbox.path(&id, KEPT)
        } else {
            self.path.clone()
        };
        fs::rename(&temporary.0, &path)?;
        if self.is_journal() {
            self.outbox.remove_files(&self.id)?;
        }
        self.id = id;
        self.path = path;
        self.file = file;
        self.meta = Some(meta);
        Ok(())
    }

    /// Notes that the spans are about to be sent: a process that is killed cannot note it any more.
    ///
    /// # Errors
    /// If the metadata cannot be written.
    pub fn note_under_way(&mut self) -> io::Result<()> {
        let ambiguity = Some(Ambiguity::at(Timestamp::now()));
        self.write_note("a delivery was under way", ambiguity, true)
    }

    /// Notes why the spans still wait.
    ///
    /// # Errors
    /// If the metadata cannot be written.
    pub fn note(&mut self, cause: &str, ambiguity: Option<Ambiguity>) -> io::Result<()> {
        self.write_note(cause, ambiguity, false)
    }

    fn write_note(
        &mut self,
        cause: &str,
        ambiguity: Option<Ambiguity>,
        under_way: bool,
    ) -> io::Result<()> {
        // Where nothing was sent since, the wait goes on from the same time.
        let is_same = ambiguity.is_some() && ambiguity == self.ambiguity() && !self.unfinished;
        let modified = is_same.then(|| self.modified()).flatten();
        let mut meta = self.meta.clone().unwrap_or_default();
        meta.time = self.time();
        meta.cause = Some(cause.to_owned());
        meta.set_ambiguity(ambiguity);
        meta.under_way = under_way;
        self.outbox
            .write_meta(&self.id, &meta, Sync::Yes, modified)?;
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

/// Requests on their way to the place of an entry. Dropped before that, they are removed.
#[derive(Debug)]
pub struct EntryWriter {
    id: String,
    temporary: Temporary,
    file: BufWriter<File>,
    spans: usize,
    trace_ids: Vec<String>,
}

/// A file that goes with this value; renamed before, there is nothing to remove.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl EntryWriter {
    /// Adds a request.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(&mut self, payload: &Payload) -> io::Result<()> {
        payload.write_json_line(&mut self.file)?;
        self.spans += payload.span_count();
        for trace in payload.traces() {
            if self.trace_ids.last() != Some(&trace.trace_id) {
                self.trace_ids.push(trace.trace_id);
            }
        }
        Ok(())
    }
}

/// An id that no other entry has.
fn new_id() -> String {
    let now = Timestamp::now().strftime("%Y%m%dT%H%M%S%3fZ").to_string();
    format!("{now}-{:08x}", fastrand::u32(..))
}

/// The requests of a file of spans.
fn payloads(text: &str) -> anyhow::Result<Vec<Payload>> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(Payload::from_json_line).collect()
}

/// The text of a file.
fn read(path: &Path) -> io::Result<String> {
    match files::open(path)? {
        Opened::File(mut file) => {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok(text)
        }
        Opened::Other(what) => Err(not_a_file(what)),
    }
}

fn not_a_file(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("it is {what}, not a file"),
    )
}
