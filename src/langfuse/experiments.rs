//! The experiments that Langfuse knows, and their items.
//!
//! An experiment is made by the attributes of spans alone: here it is only read, and its id computed. Servers before
//! version 4 have no experiments.

use jiff::Timestamp;
use opentelemetry::trace::SpanId;
use serde_json::{Value, json};

use crate::langfuse::api::Api;
use crate::langfuse::api_error::ApiError;
use crate::langfuse::pages::Pages;
use crate::trace::ids;

const EXPERIMENTS: &str = "/api/public/experiments";
const ITEMS: &str = "/api/public/experiment-items";
/// The largest page of both lists.
const PAGE: &str = "100";
/// Both lists require a start time. Nothing in Langfuse is older.
const BEGINNING: &str = "2020-01-01T00:00:00Z";

/// An experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    pub id: String,
    pub name: String,
    /// `None` for an experiment of local lines.
    pub dataset_id: Option<String>,
    /// How many items have been sent: one that was sent twice counts twice.
    pub item_count: u64,
    /// The start of the first item.
    pub start: Option<Timestamp>,
    /// As the server has them: `{id, name, dataType, value, …}` of the experiment as a whole.
    pub scores: Vec<Value>,
    pub metadata: Value,
}

/// One item of an experiment. What was not asked for is null or empty.
#[derive(Clone, Debug, PartialEq)]
pub struct ExperimentItem {
    /// The item of the dataset, or what the experiment calls it.
    pub item_id: String,
    pub trace_id: String,
    /// The span that is the item.
    pub span_id: String,
    pub start: Option<Timestamp>,
    pub end: Option<Timestamp>,
    /// Whether the span has failed.
    pub is_error: bool,
    pub input: Value,
    pub output: Value,
    pub expected_output: Value,
    pub metadata: Value,
    /// As the server has them: `{id, name, dataType, value, …}` of the trace and its spans.
    pub scores: Vec<Value>,
}

/// Which items are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExperimentItemFields {
    /// Ids and times.
    Core,
    /// With texts, metadata and scores.
    All,
}

/// The id of the experiment of this name over a dataset, as the server and the SDKs compute it. Local lines have the empty
/// dataset id.
pub fn experiment_id(project_id: &str, dataset_id: &str, name: &str) -> String {
    let identity = json!(["langfuse-experiment-v1", project_id, dataset_id, name]).to_string();
    SpanId::from_bytes(ids::first_bytes(identity)).to_string()
}

impl Experiment {
    /// Reads the document of the server; `None` if it is something else.
    fn of_document(mut document: Value) -> Option<Self> {
        Some(Self {
            id: document["id"].as_str()?.to_owned(),
            name: document["name"].as_str().unwrap_or_default().to_owned(),
            dataset_id: text(&document["datasetId"]),
            item_count: document["itemCount"].as_u64().unwrap_or_default(),
            start: time(&document["startTime"]),
            scores: list(document["scores"].take()),
            metadata: document["metadata"].take(),
        })
    }
}

impl ExperimentItem {
    /// Reads the document of the server; `None` if it is something else.
    fn of_document(mut document: Value) -> Option<Self> {
        Some(Self {
            item_id: document["experimentItemId"].as_str()?.to_owned(),
            trace_id: document["traceId"].as_str()?.to_owned(),
            span_id: document["id"].as_str()?.to_owned(),
            start: time(&document["startTime"]),
            end: time(&document["endTime"]),
            is_error: document["level"] == "ERROR",
            input: document["input"].take(),
            output: document["output"].take(),
            expected_output: document["expectedOutput"].take(),
            metadata: document["experimentItemMetadata"].take(),
            scores: list(document["scores"].take()),
        })
    }
}

fn text(value: &Value) -> Option<String> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values,
        _ => Vec::new(),
    }
}

impl Api {
    /// The experiment with this id that has items since `from`; `None` if there is none.
    ///
    /// # Errors
    /// If the server has no experiments, refuses the keys, or the request still fails after the retries.
    pub async fn experiment(
        &self,
        id: &str,
        from: Option<Timestamp>,
    ) -> Result<Option<Experiment>, ApiError> {
        let mut found = self.experiments("id", id, from).await?;
        found.retain(|experiment| experiment.id == id);
        Ok(found.pop())
    }

    /// The experiments of this name: there is one for each dataset that it was run over. Latest first.
    ///
    /// # Errors
    /// As for [`experiment`](Self::experiment).
    pub async fn experiments_named(&self, name: &str) -> Result<Vec<Experiment>, ApiError> {
        let mut found = self.experiments("name", name, None).await?;
        found.retain(|experiment| experiment.name == name);
        Ok(found)
    }

    async fn experiments(
        &self,
        column: &str,
        value: &str,
        from: Option<Timestamp>,
    ) -> Result<Vec<Experiment>, ApiError> {
        let fields = "core,metadata,scores";
        let query = query(filter(column, value), from, fields);
        self.cursor_pages(EXPERIMENTS, query, Experiment::of_document)
            .all(u64::MAX)
            .await
    }

    /// The items of an experiment that start at `from` or later; without it, all of them. Newest first. An item that was
    /// sent twice may be listed twice.
    pub fn experiment_item_pages(
        &self,
        experiment_id: &str,
        from: Option<Timestamp>,
        fields: ExperimentItemFields,
    ) -> Pages<'_, ExperimentItem> {
        let fields = match fields {
            ExperimentItemFields::Core => "core",
            ExperimentItemFields::All => "core,dataset,io,itemMetadata,scores",
        };
        let query = query(filter("experimentId", experiment_id), from, fields);
        self.cursor_pages(ITEMS, query, ExperimentItem::of_document)
    }
}

/// The query of both lists.
fn query(filter: String, from: Option<Timestamp>, fields: &str) -> Vec<(&'static str, String)> {
    let from = from.map_or_else(|| BEGINNING.to_owned(), |from| from.to_string());
    vec![
        ("fromStartTime", from),
        ("filter", filter),
        ("fields", fields.to_owned()),
        ("limit", PAGE.to_owned()),
    ]
}

/// The condition that a column has exactly this value. The plain parameters take lists, which a comma would split.
fn filter(column: &str, value: &str) -> String {
    json!([{"type": "stringOptions", "column": column, "operator": "any of", "value": [value]}])
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_the_one_that_the_server_computes() {
        // Observed: POST /api/public/dataset-run-items answered with it.
        let name = "run A ds-1795906203";
        let id = experiment_id("local-project", "cmx106nba000p2n7d55s18nvv", name);
        assert_eq!(id, "ab1ce095b3231e8e");
        let local = experiment_id("local-project", "", name);
        assert_ne!(local, id);
        assert_eq!(local.len(), 16);
    }
}
