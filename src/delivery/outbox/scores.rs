//! Entries of scores, named `ID.scores.jsonl`: one request body a line. They are sent once the spans of their traces are;
//! `ID` is that of the entry of these spans, if there is one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use crate::delivery::files::{self, TEMPORARY};
use crate::delivery::outbox::entry::{Entry, Temporary};
use crate::delivery::outbox::folder::{KEPT, META, Outbox, OutboxError, Sync, new_id, read};
use crate::delivery::outbox::meta::EntryMeta;

/// The end of the id of an entry that holds scores.
const SCORES: &str = ".scores";

impl Outbox {
    /// Writes an entry of scores, each of `bodies` a request body; it stays locked until it is dropped. `beside` is the
    /// entry of the spans that the scores belong to.
    ///
    /// # Errors
    /// If it cannot be written, or the outbox is full.
    pub fn store_scores(
        &self,
        beside: Option<&str>,
        bodies: &[String],
        mut meta: EntryMeta,
    ) -> Result<Entry, OutboxError> {
        if self.room() == 0 {
            return Err(OutboxError::Full {
                max_bytes: self.max_bytes,
            });
        }
        let id = format!("{}{SCORES}", beside.map_or_else(new_id, str::to_owned));
        let path = self.path(&id, KEPT);
        meta.scores = Some(bodies.len());
        let stored = self
            .write_meta(&id, &meta, Sync::No, None)
            .and_then(|()| self.write_lines(&id, &path, bodies));
        let file = stored.map_err(|error| {
            let _ = fs::remove_file(self.path(&id, META));
            self.unwritable(error)
        })?;
        Ok(self.written(id, path, file, meta))
    }

    /// Replaces the content of `path` by lines, whole or not at all. Returns the file, locked.
    fn write_lines(&self, id: &str, path: &Path, lines: &[String]) -> io::Result<File> {
        let temporary = Temporary(self.path(id, TEMPORARY));
        let mut file = files::create_private(&temporary.0)?;
        // No other process knows the file yet, so the lock is free.
        self.lock(&file)?;
        for line in lines {
            file.write_all(format!("{line}\n").as_bytes())?;
        }
        fs::rename(&temporary.0, path)?;
        Ok(file)
    }
}

impl Entry {
    /// Whether it holds scores.
    pub fn is_scores(&self) -> bool {
        self.id.ends_with(SCORES)
    }

    /// Whether the spans that the scores of the entry belong to wait as well.
    pub fn waits_for_spans(&self) -> bool {
        let spans = self.id.strip_suffix(SCORES);
        spans.is_some_and(|spans| self.outbox.contains(spans))
    }

    /// The request bodies of an entry of scores.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn score_bodies(&self) -> io::Result<Vec<String>> {
        let text = read(&self.path)?;
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        Ok(lines.map(str::to_owned).collect())
    }

    /// Keeps only these scores in the entry, and notes why.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn keep_scores(&mut self, bodies: &[String], cause: &str) -> io::Result<()> {
        let mut meta = self.meta.clone().unwrap_or_default();
        if meta.scores != Some(bodies.len()) {
            self.file = self.outbox.write_lines(&self.id, &self.path, bodies)?;
        }
        meta.scores = Some(bodies.len());
        self.meta = Some(meta);
        self.write_note(cause, None, false)?;
        self.file.sync_all()
    }
}
