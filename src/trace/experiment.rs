//! The experiment that a trace is an item of, as attributes of all its spans: that alone makes the experiment in Langfuse.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanId;

use super::attribute_list::AttributeList;
use super::attributes::langfuse;

/// What all items of an experiment share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExperimentContext {
    /// `None` while the project is not known, as in a dry run.
    pub id: Option<String>,
    pub name: String,
    pub description: Option<String>,
    /// `None` for local lines.
    pub dataset_id: Option<String>,
    /// The time as which the dataset was read, in RFC 3339.
    pub version: Option<String>,
    /// In the given order.
    pub metadata: Vec<(String, String)>,
}

/// One item of an experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemContext {
    pub experiment: Arc<ExperimentContext>,
    pub id: String,
    /// In the given order.
    pub metadata: Vec<(String, String)>,
    /// A text, or JSON.
    pub expected_output: Option<String>,
}

impl ItemContext {
    /// The attributes of every span of the item; `root` is the span that stands for it.
    pub(super) fn attributes(&self, root: SpanId) -> Vec<KeyValue> {
        let experiment = &*self.experiment;
        let mut attributes = AttributeList::default();
        attributes.text(langfuse::EXPERIMENT_ID, experiment.id.clone());
        attributes.text(langfuse::EXPERIMENT_NAME, Some(experiment.name.clone()));
        attributes.text(
            langfuse::EXPERIMENT_DESCRIPTION,
            experiment.description.clone(),
        );
        attributes.text(
            langfuse::EXPERIMENT_DATASET_ID,
            experiment.dataset_id.clone(),
        );
        attributes.text(langfuse::EXPERIMENT_ITEM_ID, Some(self.id.clone()));
        attributes.text(
            langfuse::EXPERIMENT_ITEM_VERSION,
            experiment.version.clone(),
        );
        attributes.text(langfuse::EXPERIMENT_ITEM_ROOT, Some(root.to_string()));
        attributes.text(
            langfuse::EXPERIMENT_ITEM_EXPECTED_OUTPUT,
            self.expected_output.clone(),
        );
        let metadata = [
            (langfuse::EXPERIMENT_METADATA, &experiment.metadata),
            (langfuse::EXPERIMENT_ITEM_METADATA, &self.metadata),
        ];
        for (prefix, pairs) in metadata {
            let pairs = pairs.iter();
            attributes.0.extend(
                pairs.map(|(key, value)| KeyValue::new(format!("{prefix}.{key}"), value.clone())),
            );
        }
        attributes.0
    }
}
