//! The stored content: a file for its bytes and one for its record, readable only by their owner.
//!
//! Files are replaced as a whole, so that another process never reads half of one.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::announcement::{Announcement, is_id};
use crate::json;
use crate::sandbox::hex::hex;
use crate::sandbox::time::Millis;

#[derive(Debug, Clone)]
pub struct MediaStore {
    folder: PathBuf,
}

/// The record of a content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaRecord {
    pub content_type: String,
    pub content_length: u64,
    pub sha256_hash: String,
    /// The reported time of the upload.
    pub uploaded_at: Option<Millis>,
    pub upload_http_status: Option<u64>,
    pub upload_http_error: Option<String>,
}

impl MediaRecord {
    pub fn of(announced: &Announcement) -> Self {
        Self {
            content_type: announced.content_type.clone(),
            content_length: announced.content_length,
            sha256_hash: announced.sha256_hash.clone(),
            uploaded_at: None,
            upload_http_status: None,
            upload_http_error: None,
        }
    }
}

impl MediaStore {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Records an announcement; returns whether the content is there already, with the same type.
    pub fn announce(&self, id: &str, record: &MediaRecord) -> io::Result<bool> {
        let known = self.record(id)?;
        let is_there = known.is_some_and(|known| {
            known.upload_http_status == Some(200) && known.content_type == record.content_type
        });
        if !is_there {
            self.write(id, "json", &serde_json::to_vec(record)?)?;
        }
        Ok(is_there)
    }

    pub fn record(&self, id: &str) -> io::Result<Option<MediaRecord>> {
        let json = self.read(id, "json")?;
        // A file that cannot be parsed counts as missing.
        Ok(json.and_then(|json| json::from_slice(&json).ok()))
    }

    /// Changes the record of a content; returns false if there is none.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut MediaRecord)) -> io::Result<bool> {
        let Some(mut record) = self.record(id)? else {
            return Ok(false);
        };
        change(&mut record);
        self.write(id, "json", &serde_json::to_vec(&record)?)?;
        Ok(true)
    }

    pub fn put(&self, id: &str, bytes: &[u8]) -> io::Result<()> {
        self.write(id, "bin", bytes)
    }

    /// A content and its record.
    pub fn content(&self, id: &str) -> io::Result<Option<(MediaRecord, Vec<u8>)>> {
        Ok(self.record(id)?.zip(self.read(id, "bin")?))
    }

    fn read(&self, id: &str, suffix: &str) -> io::Result<Option<Vec<u8>>> {
        if !is_id(id) {
            return Ok(None);
        }
        match fs::read(self.path(id, suffix)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            bytes => bytes.map(Some),
        }
    }

    fn write(&self, id: &str, suffix: &str, bytes: &[u8]) -> io::Result<()> {
        static WRITES: AtomicU64 = AtomicU64::new(0);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)?;
        let number = WRITES.fetch_add(1, Ordering::Relaxed);
        let draft = self.path(id, &format!("{}-{number}.draft", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(bytes)?;
        fs::rename(draft, self.path(id, suffix))
    }

    /// Some file systems ignore case, but ids differ in it: the name is the hex form of the id.
    fn path(&self, id: &str, suffix: &str) -> PathBuf {
        self.folder.join(format!("{}.{suffix}", hex(id.as_bytes())))
    }
}
