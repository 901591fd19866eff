//! An entry during its first delivery.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::delivery::ambiguity::Ambiguity;
use crate::delivery::outbox::folder::{KEPT, META, Outbox, OutboxError, PENDING, Sync, new_id};
use crate::delivery::outbox::meta::EntryMeta;
use crate::delivery::payload::Payload;

/// An entry during its first delivery. If it is dropped before that has ended, by an interruption, it is kept.
#[derive(Debug)]
pub struct PendingEntry {
    outbox: Outbox,
    id: String,
    file: File,
    meta: EntryMeta,
    is_finished: bool,
}

impl Outbox {
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
}

impl PendingEntry {
    pub fn id(&self) -> &str {
        &self.id
    }

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
