//! The stored datasets: one file that only grows, readable only by its owner. A change locks the folder, so that two
//! processes never build on the same version. What was read stays in memory.
//!
//! One dataset is there from the start, so that an experiment can be tried at once. A dataset that is created under its
//! name takes its place.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::dataset::{ItemStatus, NewDataset, NewItem, StoredDataset, StoredItem};
use crate::sandbox::growing_file::GrowingFile;
use crate::sandbox::store::{append, lock_folder};
use crate::sandbox::time::{self, Millis};
use crate::sort;

/// The dataset of a new sandbox.
const SAMPLE: &str = include_str!("sample.json");
const SAMPLE_ID: &str = "cfaq00000000000000000000";

#[derive(Debug, Clone)]
pub struct DatasetStore {
    folder: PathBuf,
    known: Arc<Mutex<GrowingFile<KnownDatasets>>>,
}

/// A line of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Change {
    Dataset(StoredDataset),
    Item(StoredItem),
}

/// What was read so far.
#[derive(Debug)]
struct KnownDatasets {
    /// In the order of their creation.
    datasets: Vec<StoredDataset>,
    /// The versions of each item, the last one last.
    items: HashMap<String, Vec<StoredItem>>,
    /// Ids of items by the id of their dataset.
    ids: HashMap<String, Vec<String>>,
}

/// Why an item cannot be written.
#[derive(Debug)]
pub enum ItemError {
    NoSuchDataset,
    /// Another dataset has an item of this id.
    Conflict(String),
    NoInput,
}

/// An item, and the name of its dataset.
pub type NamedItem = (StoredItem, String);

impl DatasetStore {
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            known: Arc::default(),
        }
    }

    /// All datasets, newest first.
    pub fn datasets(&self) -> io::Result<Vec<StoredDataset>> {
        self.with_known(|known| known.datasets.iter().rev().cloned().collect())
    }

    pub fn dataset(&self, name: &str) -> io::Result<Option<StoredDataset>> {
        self.with_known(|known| known.named(name).cloned())
    }

    /// The active items of a dataset, or of all, as they were at `version` (default: as they are), newest first.
    pub fn items(
        &self,
        dataset_id: Option<&str>,
        version: Option<Millis>,
    ) -> io::Result<Vec<NamedItem>> {
        let until = version.unwrap_or(Millis::MAX);
        self.with_known(|known| {
            let datasets = known.datasets.iter();
            let mut found: Vec<NamedItem> = datasets
                .filter(|dataset| dataset_id.is_none_or(|id| dataset.id == id))
                .flat_map(|dataset| {
                    let ids = known.ids.get(&dataset.id).into_iter().flatten();
                    ids.filter_map(|id| current(known.items.get(id)?, until))
                        .filter(|item| item.status == ItemStatus::Active)
                        .map(|item| (item.clone(), dataset.name.clone()))
                })
                .collect();
            // Of items of the same millisecond, the one that was written last comes first.
            found.reverse();
            sort::sort_by_key(&mut found, |(item, _)| std::cmp::Reverse(item.valid_from));
            found
        })
    }

    /// An item, archived or not.
    pub fn item(&self, id: &str) -> io::Result<Option<NamedItem>> {
        self.with_known(|known| {
            let item = current(known.items.get(id)?, Millis::MAX)?;
            let dataset = &known.datasets[known.place_of(&item.dataset_id)?];
            Some((item.clone(), dataset.name.clone()))
        })
    }

    /// An active item as it was at `version` (default: as it is).
    pub fn active_item(&self, id: &str, version: Option<Millis>) -> io::Result<Option<StoredItem>> {
        let until = version.unwrap_or(Millis::MAX);
        self.with_known(|known| {
            let item = current(known.items.get(id)?, until)?;
            (item.status == ItemStatus::Active).then(|| item.clone())
        })
    }

    /// Creates a dataset, or changes the one of this name.
    pub fn put_dataset(&self, new: NewDataset) -> io::Result<StoredDataset> {
        let _lock = lock_folder(&self.folder)?;
        let dataset = self.with_known(|known| {
            let earlier = known.named(&new.name);
            new.stored(earlier.filter(|known| known.id != SAMPLE_ID), time::now())
        })?;
        self.append(&Change::Dataset(dataset.clone()))?;
        Ok(dataset)
    }

    /// Creates an item, or a new version of the one of this id.
    pub fn put_item(&self, new: NewItem) -> io::Result<Result<NamedItem, ItemError>> {
        let _lock = lock_folder(&self.folder)?;
        let made = self.with_known(|known| known.version_of(new))?;
        if let Ok((item, _)) = &made {
            self.append(&Change::Item(item.clone()))?;
        }
        Ok(made)
    }

    /// Deletes an item; its earlier versions stay. Returns false if there is none of this id.
    pub fn remove_item(&self, id: &str) -> io::Result<bool> {
        let _lock = lock_folder(&self.folder)?;
        let Some((item, _)) = self.item(id)? else {
            return Ok(false);
        };
        self.append(&Change::Item(StoredItem {
            valid_from: time::now().max(item.valid_from + 1),
            is_deleted: true,
            ..item
        }))?;
        Ok(true)
    }

    fn append(&self, change: &Change) -> io::Result<()> {
        let mut line = serde_json::to_vec(change)?;
        line.push(b'\n');
        append(&self.path(), &line)
    }

    fn with_known<T>(&self, answer: impl FnOnce(&KnownDatasets) -> T) -> io::Result<T> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.catch_up(&self.path(), KnownDatasets::add)?;
        Ok(answer(known))
    }

    fn path(&self) -> PathBuf {
        self.folder.join("datasets.jsonl")
    }
}

impl Default for KnownDatasets {
    /// The sample alone.
    fn default() -> Self {
        let mut known = Self {
            datasets: Vec::new(),
            items: HashMap::new(),
            ids: HashMap::new(),
        };
        for change in serde_json::from_str::<Vec<Change>>(SAMPLE).unwrap_or_default() {
            known.add(change);
        }
        known
    }
}

impl KnownDatasets {
    fn add(&mut self, change: Change) {
        match change {
            Change::Dataset(dataset) => {
                if let Some(known) = self.place_of(&dataset.id) {
                    self.datasets[known] = dataset;
                    return;
                }
                // Only the sample has a successor of the same name.
                self.datasets.retain(|known| known.name != dataset.name);
                self.datasets.push(dataset);
            }
            Change::Item(item) => {
                let versions = self.items.entry(item.id.clone()).or_default();
                if versions
                    .last()
                    .is_none_or(|last| last.dataset_id != item.dataset_id)
                {
                    versions.clear();
                    let ids = self.ids.entry(item.dataset_id.clone()).or_default();
                    ids.push(item.id.clone());
                }
                versions.push(item);
            }
        }
    }

    fn named(&self, name: &str) -> Option<&StoredDataset> {
        self.datasets.iter().find(|dataset| dataset.name == name)
    }

    fn place_of(&self, id: &str) -> Option<usize> {
        self.datasets.iter().position(|dataset| dataset.id == id)
    }

    fn version_of(&self, new: NewItem) -> Result<NamedItem, ItemError> {
        let dataset = self
            .named(&new.dataset_name)
            .ok_or(ItemError::NoSuchDataset)?;
        let versions = new.id.as_ref().and_then(|id| self.items.get(id));
        let last = versions.and_then(|versions| versions.last());
        match last.filter(|last| self.place_of(&last.dataset_id).is_some()) {
            Some(other) if other.dataset_id != dataset.id => {
                Err(ItemError::Conflict(other.id.clone()))
            }
            last => {
                let item = new
                    .stored(&dataset.id, last, time::now())
                    .ok_or(ItemError::NoInput)?;
                Ok((item, dataset.name.clone()))
            }
        }
    }
}

/// The version that counts at `until`, unless the item is deleted by then.
fn current(versions: &[StoredItem], until: Millis) -> Option<&StoredItem> {
    let last = versions
        .iter()
        .rev()
        .find(|version| version.valid_from <= until)?;
    (!last.is_deleted).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_can_be_read() {
        let known = KnownDatasets::default();
        let names: Vec<&str> = known.datasets.iter().map(|found| &*found.name).collect();
        assert_eq!(names, ["faq"]);
        assert_eq!(known.items.len(), known.ids[&known.datasets[0].id].len());
        assert!(!known.items.is_empty());
    }
}
