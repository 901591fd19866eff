//! The folder, and how its files are written: whole or not at all.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use jiff::Timestamp;

use crate::console::Console;
use crate::delivery::encode::EncodeError;
use crate::delivery::files::{self, Lock, Opened, TEMPORARY};
use crate::delivery::outbox::meta::EntryMeta;
use crate::delivery::payload::Payload;

/// The default limit of an outbox, in bytes.
pub const DEFAULT_MAX_BYTES: u64 = 2 << 30;

pub(super) const KEPT: &str = "jsonl";
pub(super) const PENDING: &str = "pending";
pub(super) const META: &str = "meta.json";

/// The end of the id of an entry that is the journal of an `exec` run, which has to be put together before it can be
/// sent.
pub(super) const JOURNAL: &str = ".exec";

/// The folder.
#[derive(Clone, Debug)]
pub struct Outbox {
    pub(super) dir: PathBuf,
    pub(super) max_bytes: u64,
    /// Where warnings go, if anywhere.
    console: Option<Console>,
    /// Whether it was said that files cannot be locked.
    has_warned: Arc<AtomicBool>,
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
    pub(super) fn lock(&self, file: &File) -> io::Result<Lock> {
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

    /// How many bytes may still be written.
    pub fn room(&self) -> u64 {
        let used = self.used().unwrap_or_default();
        self.max_bytes.saturating_sub(used)
    }

    pub(super) fn unwritable(&self, error: io::Error) -> OutboxError {
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
        ids.sort_unstable();
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

    /// The size of all files in the folder, in bytes.
    pub(super) fn used(&self) -> io::Result<u64> {
        let mut bytes = 0;
        for found in fs::read_dir(&self.dir)? {
            let found = found?;
            bytes += found.metadata().map_or(0, |metadata| metadata.len());
        }
        Ok(bytes)
    }

    /// Replaces the content of `path` by `payloads`, whole or not at all. Returns the file, locked.
    pub(super) fn rewrite(&self, id: &str, path: &Path, payloads: &[Payload]) -> io::Result<File> {
        let temporary = self.path(id, TEMPORARY);
        let file = files::create_private(&temporary)?;
        // No other process knows the file yet, so the lock is free.
        self.lock(&file)?;
        let write = || {
            for payload in payloads {
                payload.write_json_line(&mut &file)?;
            }
            fs::rename(&temporary, path)
        };
        write().inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })?;
        Ok(file)
    }

    pub(super) fn path(&self, id: &str, extension: &str) -> PathBuf {
        self.dir.join(format!("{id}.{extension}"))
    }

    /// Writes the metadata of an entry, with the time of its last change if one is given.
    pub(super) fn write_meta(
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
pub(super) enum Sync {
    Yes,
    No,
}

/// An id that no other entry has.
pub(super) fn new_id() -> String {
    let now = Timestamp::now().strftime("%Y%m%dT%H%M%S%3fZ").to_string();
    format!("{now}-{:08x}", fastrand::u32(..))
}

/// The text of a file.
pub(super) fn read(path: &Path) -> io::Result<String> {
    match files::open(path)? {
        Opened::File(mut file) => {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok(text)
        }
        Opened::Other(what) => Err(not_a_file(what)),
    }
}

pub(super) fn not_a_file(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("it is {what}, not a file"),
    )
}
