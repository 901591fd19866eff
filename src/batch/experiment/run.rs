//! The experiment that a run makes in Langfuse.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::batch::experiment::summary::ExperimentSummary;
use crate::trace::{ExperimentContext, ItemContext};

/// The experiment of a run.
#[derive(Clone, Debug)]
pub struct RunExperiment {
    pub context: Arc<ExperimentContext>,
    pub identity: ExperimentIdentity,
    /// Its page; `None` while the project is not known, as in a dry run.
    pub page: Option<String>,
    /// Whether it may have items of other runs (`--again`).
    pub is_shared: bool,
}

/// Identifies the experiment of a resumed run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExperimentIdentity {
    pub name: String,
    /// The dataset whose items are the lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// The version of the dataset that was read: a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Timestamp>,
}

impl RunExperiment {
    /// The experiment in the summary; `verified` is the number of its readable items.
    pub fn summary(&self, verified: Option<u64>) -> ExperimentSummary {
        let context = &self.context;
        ExperimentSummary {
            id: context.id.clone(),
            name: context.name.clone(),
            dataset_id: context.dataset_id.clone(),
            dataset: self.identity.dataset.clone(),
            dataset_version: context.version.clone(),
            url: self.page.clone(),
            verified,
        }
    }

    /// The item of a line. Without a `custom_id` its number names it.
    pub fn item(
        &self,
        line: u64,
        custom_id: Option<&str>,
        metadata: Option<&Map<String, Value>>,
        expected: Option<&Value>,
    ) -> ItemContext {
        let metadata = metadata.into_iter().flatten();
        ItemContext {
            experiment: Arc::clone(&self.context),
            id: custom_id.map_or_else(|| format!("line-{line}"), str::to_owned),
            metadata: metadata
                .map(|(key, value)| (key.clone(), text(value)))
                .collect(),
            expected_output: expected.map(text),
        }
    }
}

impl ExperimentIdentity {
    /// `NAME@VERSION` of the dataset.
    pub fn dataset(&self) -> Option<String> {
        let (name, version) = (self.dataset.as_ref()?, self.version?);
        Some(format!("{name}@{version}"))
    }
}

/// A text as it is, any other value as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}
