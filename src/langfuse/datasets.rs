//! The datasets that Langfuse keeps: which one is asked for, and its active items, page by page.
//!
//! A dataset may have a million items, so only one page is in memory at a time. With a `version`, which is a time, the
//! server lists the items as they were then: every reading of the same version gives the same ones.

use std::fmt;

use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::langfuse::api::Api;
use crate::langfuse::api_error::ApiError;

const DATASETS: &str = "/api/public/v2/datasets";
const ITEMS: &str = "/api/public/dataset-items";
/// How often a failed request is repeated.
const RETRIES: u32 = 5;
/// The sizes of pages, in items: a page that is too long to be read is asked for in smaller ones. Each is a multiple of the
/// next, so that a page begins where the one before ended.
const PAGE_ITEMS: [u64; 4] = [100, 20, 4, 1];

/// The name of a dataset, and which version of it: `NAME` or `NAME@TIME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetReference {
    pub name: String,
    /// `None` for the newest version.
    pub version: Option<Timestamp>,
}

impl DatasetReference {
    /// A name may hold `@`: only what looks like a date after the last one is a version.
    ///
    /// # Errors
    /// If the name is empty, or the version is not a time with an offset from UTC.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, version) = match text.rsplit_once('@') {
            Some((name, time)) if looks_like_date(time) => {
                let time = time.parse().map_err(|_| {
                    "expected a time after `@`, such as 2026-11-28T22:50:03Z".to_owned()
                })?;
                (name, Some(time))
            }
            _ => (text, None),
        };
        if name.trim().is_empty() {
            return Err("expected NAME or NAME@VERSION".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            version,
        })
    }
}

fn looks_like_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() > 4 && bytes[..4].iter().all(u8::is_ascii_digit) && bytes[4] == b'-'
}

impl fmt::Display for DatasetReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(f, "{}@{version}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    pub id: String,
    pub name: String,
}

/// One item of a dataset. Fields that its author did not set are null.
#[derive(Clone, Debug, PartialEq)]
pub struct DatasetItem {
    pub id: String,
    pub input: Value,
    pub expected_output: Value,
    pub metadata: Value,
}

impl DatasetItem {
    /// Reads the document of the server; `None` if it is something else.
    fn of_document(mut document: Value) -> Option<Self> {
        Some(Self {
            id: document["id"].as_str()?.to_owned(),
            input: document["input"].take(),
            expected_output: document["expectedOutput"].take(),
            metadata: document["metadata"].take(),
        })
    }
}

/// The active items of a dataset, in the order of the server: newest first.
#[derive(Debug)]
pub struct DatasetPages<'a> {
    api: &'a Api,
    name: String,
    version: String,
    /// The items of the pages so far.
    read: u64,
    /// The place in `PAGE_ITEMS` of the size in use.
    size: usize,
    is_over: bool,
}

impl Api {
    /// The dataset of this name.
    ///
    /// # Errors
    /// If there is none, the server refuses the keys, or the request still fails after the retries.
    pub async fn dataset(&self, name: &str) -> Result<Dataset, ApiError> {
        let path = format!("{DATASETS}/{}", utf8_percent_encode(name, NON_ALPHANUMERIC));
        let document = self.get_repeatedly(RETRIES, &path, &[]).await?;
        match (document["id"].as_str(), document["name"].as_str()) {
            (Some(id), Some(name)) => Ok(Dataset {
                id: id.to_owned(),
                name: name.to_owned(),
            }),
            _ => Err(ApiError::foreign(format!(
                "{} answered without a dataset",
                self.base()
            ))),
        }
    }

    /// When the newest active item of a dataset was changed; `None` if there is none.
    ///
    /// # Errors
    /// As for [`dataset`](Self::dataset).
    pub async fn dataset_changed(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        let query = [("datasetName", name), ("limit", "1"), ("page", "1")];
        let body = self.get_repeatedly(RETRIES, ITEMS, &query).await?;
        let changed = body["data"][0]["updatedAt"].as_str();
        Ok(changed.and_then(|changed| changed.parse().ok()))
    }

    /// The active items of a dataset as they were at `version`.
    pub fn dataset_pages(&self, name: &str, version: Timestamp) -> DatasetPages<'_> {
        DatasetPages {
            api: self,
            name: name.to_owned(),
            version: version.to_string(),
            read: 0,
            size: 0,
            is_over: false,
        }
    }
}

impl DatasetPages<'_> {
    /// The items of the next page; `None` after the last one.
    ///
    /// # Errors
    /// If the server refuses the keys, the request still fails after the retries, or an item is too long to be read.
    pub async fn next(&mut self) -> Result<Option<Vec<DatasetItem>>, ApiError> {
        if self.is_over {
            return Ok(None);
        }
        let mut body = loop {
            match self.ask(PAGE_ITEMS[self.size]).await {
                Err(error) if error.is_too_long && self.size + 1 < PAGE_ITEMS.len() => {
                    self.size += 1;
                }
                answer => break answer?,
            }
        };
        let Value::Array(rows) = body["data"].take() else {
            let message = format!("{} answered without dataset items", self.api.base());
            return Err(ApiError::foreign(message));
        };
        let total = body["meta"]["totalItems"].as_u64();
        let count = rows.len() as u64;
        self.read += count;
        self.is_over = count < PAGE_ITEMS[self.size] || total == Some(self.read);
        if rows.is_empty() {
            return Ok(None);
        }
        let items: Option<Vec<DatasetItem>> =
            rows.into_iter().map(DatasetItem::of_document).collect();
        let unknown = || ApiError::foreign(format!("{}: an item has no id", self.api.base()));
        items.map(Some).ok_or_else(unknown)
    }

    async fn ask(&self, size: u64) -> Result<Value, ApiError> {
        let (limit, page) = (size.to_string(), (self.read / size + 1).to_string());
        let query = [
            ("datasetName", self.name.as_str()),
            ("version", self.version.as_str()),
            ("limit", limit.as_str()),
            ("page", page.as_str()),
        ];
        self.api.get_repeatedly(RETRIES, ITEMS, &query).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_may_name_a_version() {
        for (text, name, version) in [
            ("faq", "faq", None),
            ("qa/faq, new", "qa/faq, new", None),
            ("team@qa", "team@qa", None),
            ("faq@v2", "faq@v2", None),
            (
                "team@qa@2026-11-28T22:50:03.5Z",
                "team@qa",
                Some("2026-11-28T22:50:03.5Z"),
            ),
            (
                "faq@2026-11-28T23:50:03+01:00",
                "faq",
                Some("2026-11-28T22:50:03Z"),
            ),
        ] {
            let reference = DatasetReference::parse(text).unwrap();
            let version = version.map(|version| version.parse().unwrap());
            assert_eq!(
                (reference.name.as_str(), reference.version),
                (name, version)
            );
        }
        for wrong in ["", " ", "@2026-11-28T22:50:03Z", "faq@2026-11-28"] {
            assert!(DatasetReference::parse(wrong).is_err(), "{wrong}");
        }
    }
}
