//! The price table of a project, kept on disk for a day.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::cache_file::CacheFile;
use crate::langfuse::{Api, ApiError};
use crate::prices::PriceTable;

/// How long a table is used.
const FRESH: SignedDuration = SignedDuration::from_hours(24);

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
    let file = folder.map(|folder| CacheFile::new(folder, api.base(), &[project]));
    if let Some(kept) = file.as_ref().and_then(fresh) {
        return Ok(PriceTable::from_rows(&kept.models));
    }
    let models = api.models().await?;
    let table = PriceTable::from_rows(&models);
    if let Some(file) = file {
        let fetched = Timestamp::now();
        // A table that cannot be kept is fetched again.
        let _ = file.replace(&Kept { fetched, models });
    }
    Ok(table)
}

/// The table, if it can be read and is fresh.
fn fresh(file: &CacheFile) -> Option<Kept> {
    let kept: Kept = file.read()?;
    let age = Timestamp::now().duration_since(kept.fetched);
    (SignedDuration::ZERO..FRESH).contains(&age).then_some(kept)
}
