//! The price table of a project, kept on disk for a day.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::json;
use crate::langfuse::{Api, ApiError, Base};
use crate::prices::PriceTable;

/// How long a table is used.
const FRESH: SignedDuration = SignedDuration::from_hours(24);

/// The characters that are kept in a file name.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// A table on disk.
#[derive(Debug, Deserialize, Serialize)]
struct Kept {
    fetched: Timestamp,
    /// The rows as the server gave them.
    models: Vec<Value>,
}

/// The price table of the project: from `folder` if it is less than a day old, else from the server. Without a folder,
/// nothing is kept.
///
/// # Errors
/// If the server cannot be asked.
pub async fn load(api: &Api, folder: Option<&Path>, project: &str) -> Result<PriceTable, ApiError> {
    let file = folder.map(|folder| place(folder, api.base(), project));
    if let Some(kept) = file.as_deref().and_then(read) {
        return Ok(PriceTable::from_rows(&kept.models));
    }
    let models = api.models().await?;
    let table = PriceTable::from_rows(&models);
    if let Some(file) = file {
        let fetched = Timestamp::now();
        // A table that cannot be kept is fetched again.
        let _ = write(&file, &Kept { fetched, models });
    }
    Ok(table)
}

/// The file of a project, in a folder of its server.
fn place(folder: &Path, server: &Base, project: &str) -> PathBuf {
    let server = server.to_string();
    let server = server
        .split_once("://")
        .map_or(server.as_str(), |(_, rest)| rest);
    let name = |text: &str| {
        let name = utf8_percent_encode(text, NAME).to_string();
        // Never the folder itself or the one above.
        name.replace("..", "%2E%2E")
    };
    folder
        .join(name(server))
        .join(format!("{}.json", name(project)))
}

/// The table, if it can be read and is fresh.
fn read(file: &Path) -> Option<Kept> {
    let kept: Kept = json::from_slice(&fs::read(file).ok()?).ok()?;
    let age = Timestamp::now().duration_since(kept.fetched);
    (SignedDuration::ZERO..FRESH).contains(&age).then_some(kept)
}

/// Replaces the file as a whole, readable by its owner only: the project's own prices may be confidential.
fn write(file: &Path, kept: &Kept) -> io::Result<()> {
    let Some(folder) = file.parent() else {
        return Ok(());
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let mut temporary = NamedTempFile::new_in(folder)?;
    temporary.write_all(&serde_json::to_vec(kept)?)?;
    temporary.persist(file)?;
    Ok(())
}
