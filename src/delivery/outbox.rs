//! The folder where spans wait that could not be delivered.
//!
//! `ID.jsonl` holds the spans in the OTLP File Exporter format, `ID.meta.json` where they were to go and why they
//! did not. An entry is `ID.pending` while its first delivery is under way, and locked by the process that works
//! on it; the lock ends with its process, so an unlocked pending entry is one whose process was killed.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::payload::Payload;

/// How much an outbox may hold unless told otherwise, in bytes.
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

/// What is known of an entry beside its spans. The endpoint is information; a secret is never among it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Meta {
    pub endpoint: String,
    /// The public key of the project that the spans were meant for.
    pub public_key: Option<String>,
    /// Why the spans were not delivered; none while the first delivery is under way.
    pub cause: Option<String>,
    /// When the spans may have arrived all the same: a request left, and no answer came.
    #[serde(default)]
    pub ambiguous_since: Option<Timestamp>,
    /// When the spans were first to be delivered.
    pub time: Timestamp,
    pub spans: usize,
    pub trace_ids: Vec<String>,
}

impl Meta {
    /// What is told of the spans themselves; says whether that is another than before.
    pub fn describe(&mut self, payloads: &[Payload]) -> bool {
        let spans = payloads.iter().map(Payload::span_count).sum();
        let is_other = self.spans != spans;
        self.spans = spans;
        let ids = payloads
            .iter()
            .flat_map(Payload::traces)
            .map(|trace| trace.trace_id);
        self.trace_ids = ids.collect();
        self.trace_ids.dedup();
        is_other
    }
}

impl Outbox {
    /// Opens the folder, making it (mode 0700) when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
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

    /// Writes an entry and holds it while it is delivered. It is not synced to the disk: it guards against the end
    /// of the process, not of the machine.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn hold(&self, payload: &Payload, meta: Meta) -> io::Result<Held> {
        let now = Timestamp::now().strftime("%Y%m%dT%H%M%S%3fZ").to_string();
        let id = format!("{now}-{:08x}", fastrand::u32(..));
        self.write_meta(&id, &meta, Sync::No)?;
        let pending = self.path(&id, PENDING);
        let file = self
            .rewrite(&id, &pending, std::slice::from_ref(payload))
            .inspect_err(|_| {
                // An entry without spans is of no use to anyone.
                let _ = fs::remove_file(self.path(&id, META));
            })?;
        Ok(Held {
            outbox: self.clone(),
            id,
            file,
            meta,
            settled: false,
        })
    }

    /// The ids of all entries, oldest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
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

    /// Whether the folder holds the entry, delivered by somebody just now or not.
    pub fn holds(&self, id: &str) -> bool {
        [KEPT, PENDING]
            .iter()
            .any(|extension| self.path(id, extension).exists())
    }

    /// What is told of an entry; none when it is gone or tells nothing.
    pub fn meta(&self, id: &str) -> Option<Meta> {
        let text = fs::read_to_string(self.path(id, META)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// The ids of the spans that an entry holds, delivered by somebody just now or not; none when it is gone or
    /// cannot be read.
    pub fn span_ids(&self, id: &str) -> HashSet<String> {
        let texts = [KEPT, PENDING]
            .iter()
            .filter_map(|extension| fs::read_to_string(self.path(id, extension)).ok());
        let payloads = texts.filter_map(|text| payloads(&text).ok()).flatten();
        let traces = payloads.flat_map(|payload| payload.traces());
        traces.flat_map(|trace| trace.span_ids).collect()
    }

    /// An entry, locked until it is dropped; none when another process works on it, or it is gone.
    ///
    /// # Errors
    /// When it cannot be read.
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

    /// The bytes that wait in the folder.
    fn used(&self) -> io::Result<u64> {
        let mut bytes = 0;
        for found in fs::read_dir(&self.dir)? {
            let found = found?;
            bytes += found.metadata().map_or(0, |metadata| metadata.len());
        }
        Ok(bytes)
    }

    /// Puts `payloads` in the place of what `path` holds, whole or not at all; the file is locked.
    fn rewrite(&self, id: &str, path: &Path, payloads: &[Payload]) -> io::Result<File> {
        let temporary = self.path(id, TEMPORARY);
        let mut file = create_private(&temporary)?;
        // Nobody else knows the file yet, so the lock is free.
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

    fn write_meta(&self, id: &str, meta: &Meta, sync: Sync) -> io::Result<()> {
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

/// An entry whose first delivery is under way. Dropped unsettled, by a panic or an interruption, it is kept.
#[derive(Debug)]
pub struct Held {
    outbox: Outbox,
    id: String,
    file: File,
    meta: Meta,
    settled: bool,
}

impl Held {
    /// Removes the entry: its spans were accepted.
    pub fn release(mut self) {
        self.settled = true;
        // A file that stays is unlocked and pending: `resend` asks for the trace before it sends it.
        let _ = fs::remove_file(self.outbox.path(&self.id, PENDING));
        let _ = fs::remove_file(self.outbox.path(&self.id, META));
    }

    /// Keeps what remains of the entry for `resend`, safe on the disk; returns its file.
    ///
    /// # Errors
    /// When the outbox is full, or the disk does not take it.
    pub fn keep(
        mut self,
        remaining: &[Payload],
        cause: &str,
        ambiguous: bool,
    ) -> io::Result<PathBuf> {
        self.settled = true;
        if self.meta.describe(remaining) {
            let pending = self.outbox.path(&self.id, PENDING);
            self.file = self.outbox.rewrite(&self.id, &pending, remaining)?;
        }
        self.settle(cause, ambiguous)
    }

    fn settle(&mut self, cause: &str, ambiguous: bool) -> io::Result<PathBuf> {
        let pending = self.outbox.path(&self.id, PENDING);
        let kept = self.outbox.path(&self.id, KEPT);
        // The entry's own files are in the folder already.
        if self.outbox.used()? > self.outbox.max_bytes {
            fs::remove_file(&pending)?;
            fs::remove_file(self.outbox.path(&self.id, META))?;
            let limit = self.outbox.max_bytes;
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("the outbox is full (LANGSPAN_OUTBOX_MAX is {limit} bytes)"),
            ));
        }
        self.meta.cause = Some(cause.to_owned());
        self.meta.ambiguous_since = ambiguous.then(Timestamp::now);
        self.outbox.write_meta(&self.id, &self.meta, Sync::Yes)?;
        self.file.sync_all()?;
        fs::rename(&pending, &kept)?;
        File::open(&self.outbox.dir)?.sync_all()?;
        Ok(kept)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.settled {
            // The request may have left: only the server knows whether it arrived.
            let _ = self.settle("the delivery was interrupted", true);
        }
    }
}

/// An entry that waits, locked against every other process.
#[derive(Debug)]
pub struct Entry {
    outbox: Outbox,
    pub id: String,
    path: PathBuf,
    file: File,
    /// None when its process was killed before it could write any, or somebody removed it.
    pub meta: Option<Meta>,
    /// Whether its process ended before the first delivery did.
    pub unfinished: bool,
}

impl Entry {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// When the spans were put here, as its metadata or its file says.
    pub fn time(&self) -> Timestamp {
        let modified = || Timestamp::try_from(self.file.metadata().ok()?.modified().ok()?).ok();
        self.meta
            .as_ref()
            .map(|meta| meta.time)
            .or_else(modified)
            .unwrap_or_default()
    }

    /// When the spans may have arrived although the entry is here; none when they cannot have.
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
    /// When the file cannot be read, or a line of it is no export request.
    pub fn payloads(&self) -> anyhow::Result<Vec<Payload>> {
        let mut text = String::new();
        (&self.file).read_to_string(&mut text)?;
        let payloads = payloads(&text)?;
        anyhow::ensure!(!payloads.is_empty(), "the file holds no spans");
        Ok(payloads)
    }

    /// Keeps only `remaining`: what was accepted must not be sent again.
    ///
    /// # Errors
    /// When the file cannot be written.
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
    /// When the metadata cannot be written.
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

    /// Removes the entry; nothing of it remains.
    ///
    /// # Errors
    /// When a file cannot be removed.
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
