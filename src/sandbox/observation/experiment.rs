//! The experiment that a span belongs to, from its attributes.

use serde::{Deserialize, Serialize};

use super::attributes::{first, parsed_object, text};
use crate::sandbox::ingest::Attributes;
use crate::sandbox::time::{self, Millis};

/// The experiment of a row, and the item that the row is a part of. Texts are empty where they were not sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExperimentFields {
    pub id: String,
    pub name: String,
    pub description: String,
    pub dataset_id: String,
    /// Dotted names, values as text.
    pub metadata: Attributes,
    pub item_id: String,
    /// The id of the item's root observation.
    pub root_id: String,
    pub item_version: Option<Millis>,
    pub expected_output: Option<String>,
    /// Dotted names, values as text.
    pub item_metadata: Attributes,
}

impl ExperimentFields {
    /// `None` for a span that names no experiment.
    pub fn of(sent: &Attributes) -> Option<Self> {
        let stated = |key: &str| first(sent, &[&format!("langfuse.experiment.{key}")]).map(text);
        let or_empty = |key: &str| stated(key).unwrap_or_default();
        Some(Self {
            id: stated("id")?,
            name: or_empty("name"),
            description: or_empty("description"),
            dataset_id: or_empty("dataset.id"),
            metadata: metadata(sent, "langfuse.experiment.metadata"),
            item_id: or_empty("item.id"),
            root_id: or_empty("item.root_observation_id"),
            item_version: stated("item.version").and_then(|version| time::parse(&version)),
            expected_output: stated("item.expected_output"),
            item_metadata: metadata(sent, "langfuse.experiment.item.metadata"),
        })
    }
}

/// The object under `key`, then the single keys below it, which win.
fn metadata(sent: &Attributes, key: &str) -> Attributes {
    let mut object = sent.get(key).and_then(parsed_object).unwrap_or_default();
    for (name, value) in sent {
        let below = name
            .strip_prefix(key)
            .and_then(|rest| rest.strip_prefix('.'));
        if let Some(name) = below.filter(|name| !name.is_empty()) {
            object.insert(name.to_owned(), value.clone());
        }
    }
    let mut flat = Vec::new();
    for (name, value) in &object {
        super::metadata::flatten(name.clone(), value, &mut flat);
    }
    flat.into_iter()
        .map(|(name, value)| (name, value.into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metadata_comes_as_one_object_and_as_single_keys() {
        let sent = json!({
            "langfuse.experiment.id": "e",
            "langfuse.experiment.metadata": r#"{"model":"m","nested":{"n":1}}"#,
            "langfuse.experiment.metadata.model": "other",
            "langfuse.experiment.item.version": "yesterday",
        });
        let fields = ExperimentFields::of(sent.as_object().unwrap()).unwrap();
        let metadata = json!({"model": "other", "nested.n": "1"});
        assert_eq!(json!(fields.metadata), metadata);
        assert_eq!((fields.name.as_str(), fields.item_version), ("", None));
        assert!(ExperimentFields::of(&Attributes::new()).is_none());
    }
}
