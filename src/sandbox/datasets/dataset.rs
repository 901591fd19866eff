//! Datasets and their items: what a request may create, and the documents that the API gives of them. No I/O.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::json;
use crate::sandbox::PROJECT_ID;
use crate::sandbox::hex::hex;
use crate::sandbox::reading::{expected, invalid, not_one_of, text_field};
use crate::sandbox::time::{self, Millis};

/// A dataset as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredDataset {
    pub id: String,
    pub name: String,
    pub description: Option<String>,
    pub metadata: Value,
    pub created: Millis,
    pub updated: Millis,
}

/// One version of an item.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredItem {
    pub id: String,
    pub dataset_id: String,
    pub status: ItemStatus,
    pub input: Value,
    pub expected_output: Value,
    pub metadata: Value,
    pub source_trace_id: Option<String>,
    pub source_observation_id: Option<String>,
    /// When this version began to count.
    pub valid_from: Millis,
    /// Whether the item was deleted then.
    #[serde(default)]
    pub is_deleted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ItemStatus {
    Active,
    /// Kept, but never listed.
    Archived,
}

impl StoredDataset {
    pub fn document(&self) -> Value {
        json!({
            "id": self.id,
            "projectId": PROJECT_ID,
            "name": self.name,
            "description": self.description,
            "metadata": self.metadata,
            "inputSchema": null,
            "expectedOutputSchema": null,
            "createdAt": time::iso(self.created),
            "updatedAt": time::iso(self.updated),
        })
    }
}

impl StoredItem {
    /// The item of the dataset of this name.
    pub fn document(&self, dataset_name: &str) -> Value {
        let since = time::iso(self.valid_from);
        json!({
            "id": self.id,
            "datasetId": self.dataset_id,
            "sourceTraceId": self.source_trace_id,
            "sourceObservationId": self.source_observation_id,
            "status": self.status,
            // A changed item is a new row.
            "createdAt": since,
            "updatedAt": since,
            "input": self.input,
            "expectedOutput": self.expected_output,
            "metadata": self.metadata,
            "datasetName": dataset_name,
            "mediaReferences": [],
        })
    }
}

/// A dataset that a request creates or changes.
#[derive(Debug)]
pub struct NewDataset {
    pub name: String,
    description: Option<String>,
    /// Null: as it was.
    metadata: Value,
}

impl NewDataset {
    /// Reads a body; the error is the body of a 400 answer.
    pub fn read(body: &[u8]) -> Result<Self, Value> {
        let body = object(body)?;
        for schema in ["inputSchema", "expectedOutputSchema"] {
            if !body[schema].is_null() {
                let message = format!("The sandbox does not support \"{schema}\"");
                return Err(invalid(message));
            }
        }
        Ok(Self {
            name: required(&body, "name")?,
            description: text_field(&body, "description")?,
            metadata: body["metadata"].clone(),
        })
    }

    /// The dataset, which replaces the one that had this name.
    pub fn stored(self, earlier: Option<&StoredDataset>, now: Millis) -> StoredDataset {
        StoredDataset {
            id: earlier.map_or_else(new_id, |earlier| earlier.id.clone()),
            name: self.name,
            description: self
                .description
                .or_else(|| earlier.and_then(|earlier| earlier.description.clone())),
            metadata: or(self.metadata, earlier.map(|earlier| &earlier.metadata)),
            created: earlier.map_or(now, |earlier| earlier.created),
            updated: now,
        }
    }
}

/// An item that a request creates or changes. What is null or absent stays as it was.
#[derive(Debug)]
pub struct NewItem {
    pub dataset_name: String,
    pub id: Option<String>,
    status: Option<ItemStatus>,
    input: Value,
    expected_output: Value,
    metadata: Value,
    source_trace_id: Option<String>,
    source_observation_id: Option<String>,
}

impl NewItem {
    /// Reads a body; the error is the body of a 400 answer.
    pub fn read(body: &[u8]) -> Result<Self, Value> {
        const STATUSES: [&str; 2] = ["ACTIVE", "ARCHIVED"];
        let body = object(body)?;
        let status = match &body["status"] {
            Value::Null => None,
            status => Some(
                ItemStatus::deserialize(status)
                    .map_err(|_| not_one_of(&STATUSES, &json!(["status"])))?,
            ),
        };
        Ok(Self {
            dataset_name: required(&body, "datasetName")?,
            id: text_field(&body, "id")?,
            status,
            input: body["input"].clone(),
            expected_output: body["expectedOutput"].clone(),
            metadata: body["metadata"].clone(),
            source_trace_id: text_field(&body, "sourceTraceId")?,
            source_observation_id: text_field(&body, "sourceObservationId")?,
        })
    }

    /// The version of the item that follows `earlier`; `None`, if it has no input.
    pub fn stored(
        self,
        dataset_id: &str,
        earlier: Option<&StoredItem>,
        now: Millis,
    ) -> Option<StoredItem> {
        let last = earlier.map_or(0, |earlier| earlier.valid_from);
        let earlier = earlier.filter(|earlier| !earlier.is_deleted);
        let kept = |given: Option<String>, field: fn(&StoredItem) -> &Option<String>| {
            given.or_else(|| earlier.and_then(|earlier| field(earlier).clone()))
        };
        let input = or(self.input, earlier.map(|earlier| &earlier.input));
        (!input.is_null()).then(|| StoredItem {
            id: self.id.unwrap_or_else(new_id),
            dataset_id: dataset_id.to_owned(),
            status: self
                .status
                .or(earlier.map(|earlier| earlier.status))
                .unwrap_or(ItemStatus::Active),
            input,
            expected_output: or(
                self.expected_output,
                earlier.map(|earlier| &earlier.expected_output),
            ),
            metadata: or(self.metadata, earlier.map(|earlier| &earlier.metadata)),
            source_trace_id: kept(self.source_trace_id, |item| &item.source_trace_id),
            source_observation_id: kept(self.source_observation_id, |item| {
                &item.source_observation_id
            }),
            // Two versions of an item never begin at the same time.
            valid_from: now.max(last + 1),
            is_deleted: false,
        })
    }
}

fn object(body: &[u8]) -> Result<Value, Value> {
    let body: Value = json::from_slice(body).map_err(|_| invalid("Invalid JSON"))?;
    if body.is_object() {
        Ok(body)
    } else {
        Err(expected("object", &[], Some(&body)))
    }
}

fn required(body: &Value, name: &str) -> Result<String, Value> {
    text_field(body, name)?.ok_or_else(|| expected("string", &[name], body.get(name)))
}

fn or(value: Value, earlier: Option<&Value>) -> Value {
    match earlier {
        Some(earlier) if value.is_null() => earlier.clone(),
        _ => value,
    }
}

/// An id in the form of the server's.
fn new_id() -> String {
    let digest = Sha256::digest(format!("{}/{}", time::now(), fastrand::u64(..)));
    format!("c{}", &hex(&digest)[..24])
}
