//! An entry that waits, from its search to its removal.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;

use crate::delivery::ambiguity::Ambiguity;
use crate::delivery::files::{self, Lock, Opened, TEMPORARY};
use crate::delivery::outbox::folder::{
    JOURNAL, KEPT, META, Outbox, OutboxError, PENDING, Sync, new_id, not_a_file, read,
};
use crate::delivery::outbox::meta::EntryMeta;
use crate::delivery::payload::Payload;

/// What became of the search for an entry.
#[derive(Debug)]
pub enum Found {
    /// It is locked for this process until it is dropped.
    Free(Box<Entry>),
    /// Another process works on it.
    Held,
    Gone,
    /// One of its files is not a regular file: which one, and what it is.
    NotAFile {
        path: PathBuf,
        what: &'static str,
    },
}

/// An entry that waits, locked against other processes.
#[derive(Debug)]
pub struct Entry {
    pub(super) outbox: Outbox,
    pub id: String,
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// `None` if the process was killed before it wrote any, or the file was removed.
    pub meta: Option<EntryMeta>,
    /// Whether the process was killed during the first delivery.
    pub unfinished: bool,
    /// When it was found to be free.
    pub(super) found: Timestamp,
}

impl Outbox {
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
        Ok(self.written(id, path, file, meta))
    }

    /// An entry that this process has just written, and whose `file` it has locked.
    pub(super) fn written(&self, id: String, path: PathBuf, file: File, meta: EntryMeta) -> Entry {
        Entry {
            outbox: self.clone(),
            id,
            path,
            file,
            meta: Some(meta),
            unfinished: false,
            found: Timestamp::now(),
        }
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

    /// The ids of the spans of an entry, locked by another process or not; empty if it is gone or not readable.
    pub fn span_ids(&self, id: &str) -> HashSet<String> {
        let texts = [KEPT, PENDING]
            .iter()
            .filter_map(|extension| read(&self.path(id, extension)).ok());
        let payloads = texts.filter_map(|text| payloads(&text).ok()).flatten();
        let traces = payloads.flat_map(|payload| payload.traces());
        traces.flat_map(|trace| trace.span_ids).collect()
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

    pub(super) fn write_note(
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
pub(super) struct Temporary(pub(super) PathBuf);

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

/// The requests of a file of spans.
fn payloads(text: &str) -> anyhow::Result<Vec<Payload>> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(Payload::from_json_line).collect()
}
