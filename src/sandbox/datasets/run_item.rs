//! The answer to a run item. A v4 server writes nothing: an experiment is what its spans say. The answer names the id that
//! they should carry.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::json;
use crate::sandbox::PROJECT_ID;
use crate::sandbox::hex::{hex, uuid_of};
use crate::sandbox::reading::{expected, invalid, refused, text_field, timestamp};
use crate::sandbox::time::{self, Millis};

/// A run item that a request names.
#[derive(Debug)]
pub struct NewRunItem {
    run_name: String,
    pub item_id: String,
    trace_id: Option<String>,
    observation_id: Option<String>,
    /// The item as it was at this time.
    pub version: Option<Millis>,
}

impl NewRunItem {
    /// Reads a body; the error is the body of a 400 answer.
    pub fn read(body: &[u8]) -> Result<Self, Value> {
        let body: Value = json::from_slice(body).map_err(|_| invalid("Invalid JSON"))?;
        let required = |name| {
            text_field(&body, name)?.ok_or_else(|| expected("string", &[name], body.get(name)))
        };
        let version = text_field(&body, "datasetVersion")?;
        let new = Self {
            run_name: required("runName")?,
            item_id: required("datasetItemId")?,
            trace_id: text_field(&body, "traceId")?,
            observation_id: text_field(&body, "observationId")?,
            version: version
                .map(|value| timestamp("datasetVersion", &value))
                .transpose()?,
        };
        if new.trace_id.is_none() && new.observation_id.is_none() {
            return Err(refused(&json!({
                "code": "custom", "path": ["observationId", "traceId"],
                "message": "observationId or traceId must be provided",
            })));
        }
        Ok(new)
    }

    /// The answer, for an item of this dataset.
    pub fn answer(&self, dataset_id: &str, now: Millis) -> Value {
        let id = uuid_of(format!("{now}/{}/{}", fastrand::u64(..), self.item_id).as_bytes());
        json!({
            "id": id,
            "datasetRunId": run_id(dataset_id, &self.run_name),
            "datasetRunName": self.run_name,
            "datasetItemId": self.item_id,
            "traceId": self.trace_id,
            "observationId": self.observation_id,
            "createdAt": time::iso(now),
            "updatedAt": time::iso(now),
        })
    }
}

/// The id of the run of this name over a dataset: the same each time.
fn run_id(dataset_id: &str, run_name: &str) -> String {
    let rule = json!(["langfuse-experiment-v1", PROJECT_ID, dataset_id, run_name]);
    hex(&Sha256::digest(rule.to_string())[..8])
}
