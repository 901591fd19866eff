//! An experiment as a whole, and its items, out of the rows that belong to it. No I/O.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::query::ListPlace;
use crate::sandbox::ingest::Attributes;
use crate::sandbox::observation::{ExperimentFields, Observation, parsed};
use crate::sandbox::time::{self, Millis};

/// An experiment.
#[derive(Debug, Clone)]
pub struct ExperimentOverview {
    pub id: String,
    pub name: String,
    pub description: String,
    pub dataset_id: String,
    pub metadata: Attributes,
    pub start: Millis,
    pub end: Millis,
    /// An item that ran twice counts twice.
    pub item_count: usize,
    /// The place of its newest row.
    pub place: ListPlace,
}

/// One item of an experiment: its root observation, and the experiment fields of that span.
pub type ExperimentItemRow = (Observation, ExperimentFields);

impl ExperimentOverview {
    /// The experiments of these rows.
    pub fn all<'a>(rows: impl Iterator<Item = &'a Observation>) -> Vec<Self> {
        let mut found: HashMap<&str, Self> = HashMap::new();
        for row in rows {
            let Some(fields) = &row.experiment else {
                continue;
            };
            match found.get_mut(fields.id.as_str()) {
                Some(overview) => overview.add(row, fields),
                None => {
                    found.insert(&fields.id, Self::first(row, fields));
                }
            }
        }
        found.into_values().collect()
    }

    fn first(row: &Observation, fields: &ExperimentFields) -> Self {
        Self {
            id: fields.id.clone(),
            name: fields.name.clone(),
            description: fields.description.clone(),
            dataset_id: fields.dataset_id.clone(),
            metadata: fields.metadata.clone(),
            start: row.start,
            end: row.end,
            item_count: usize::from(is_root(row, fields)),
            place: ListPlace::of(row, fields),
        }
    }

    /// What one row does not say, another may: the Python SDK describes an experiment on some spans only.
    fn add(&mut self, row: &Observation, fields: &ExperimentFields) {
        for (known, found) in [
            (&mut self.name, &fields.name),
            (&mut self.description, &fields.description),
            (&mut self.dataset_id, &fields.dataset_id),
        ] {
            if known.is_empty() {
                known.clone_from(found);
            }
        }
        if self.metadata.is_empty() {
            self.metadata.clone_from(&fields.metadata);
        }
        self.start = self.start.min(row.start);
        self.end = self.end.max(row.end);
        self.item_count += usize::from(is_root(row, fields));
        self.place = ListPlace::of(row, fields).max(self.place.clone());
    }

    /// The fields that every answer has.
    pub fn document(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "description": non_empty(&self.description),
            "startTime": time::iso(self.start),
            "endTime": time::iso(self.end),
            "itemCount": self.item_count,
            "datasetId": non_empty(&self.dataset_id),
        })
    }
}

/// The item whose root the row is.
pub fn item_of(row: Observation) -> Option<ExperimentItemRow> {
    let fields = row.experiment.clone()?;
    (is_root(&row, &fields) && !fields.item_id.is_empty()).then_some((row, fields))
}

/// The item with the requested groups of fields.
pub fn item_document((row, fields): &ExperimentItemRow, wants: impl Fn(&str) -> bool) -> Value {
    let mut document = json!({
        "id": row.id,
        "traceId": row.trace_id,
        "startTime": time::iso(row.start),
        "endTime": time::iso(row.end),
        "level": row.level.name(),
        "environment": row.environment,
        "experimentId": fields.id,
        "experimentName": fields.name,
        "experimentItemId": fields.item_id,
    });
    let mut set = |name: &str, value: Value| document[name] = value;
    if wants("dataset") {
        set("experimentDatasetId", json!(non_empty(&fields.dataset_id)));
        set(
            "experimentItemVersion",
            json!(fields.item_version.map(time::iso)),
        );
    }
    if wants("io") {
        set("input", json!(row.input));
        set("output", json!(row.output));
        set("expectedOutput", json!(fields.expected_output));
    }
    if wants("metadata") {
        let flat = row.metadata.flat().into_iter();
        let parsed = flat.map(|(key, text)| (key, parsed(text.as_str().unwrap_or_default())));
        set("metadata", parsed.collect());
    }
    if wants("itemMetadata") {
        set("experimentItemMetadata", json!(fields.item_metadata));
    }
    if wants("experimentMetadata") {
        set("experimentMetadata", json!(fields.metadata));
        set(
            "experimentDescription",
            json!(non_empty(&fields.description)),
        );
    }
    document
}

/// Whether the row is the root of an item of its experiment.
fn is_root(row: &Observation, fields: &ExperimentFields) -> bool {
    fields.root_id == row.id
}

fn non_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
