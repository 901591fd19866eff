//! JSON documents in the cache folder, each in a folder of the server that it came from.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

use crate::json;
use crate::langfuse::Base;

/// The characters that are kept in a file name.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// A document on disk, which may not exist yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheFile(PathBuf);

impl CacheFile {
    /// The file `names` below the folder of `server` in `folder`: the last name is that of the file, the others are
    /// folders. Names may hold any characters.
    pub fn new(folder: &Path, server: &Base, names: &[&str]) -> Self {
        let server = server.to_string();
        let server = server
            .split_once("://")
            .map_or(server.as_str(), |(_, rest)| rest);
        let mut path = folder.join(encoded(server));
        path.extend(names.iter().map(|name| encoded(name)));
        path.as_mut_os_string().push(".json");
        Self(path)
    }

    /// The document; `None` if there is none that can be read.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        json::from_slice(&fs::read(&self.0).ok()?).ok()
    }

    /// Replaces the file as a whole, readable by its owner only: prompts and prices may be confidential.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn replace(&self, document: &impl Serialize) -> io::Result<()> {
        let Some(folder) = self.0.parent() else {
            return Ok(());
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let mut temporary = NamedTempFile::new_in(folder)?;
        temporary.write_all(&serde_json::to_vec(document)?)?;
        temporary.persist(&self.0)?;
        Ok(())
    }
}

/// The name of a file or folder, never that of the folder itself or the one above.
fn encoded(name: &str) -> String {
    let name = utf8_percent_encode(name, NAME).to_string();
    name.replace("..", "%2E%2E")
}
