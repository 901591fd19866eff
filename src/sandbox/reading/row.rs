//! One row of the v2 observations: its fields, in the groups that a query requests.

use serde_json::{Map, Value, json};

use crate::sandbox::PROJECT_ID;
use crate::sandbox::ingest::double;
use crate::sandbox::observation::{Observation, parsed, sum_of};
use crate::sandbox::time;

/// Characters of a metadata value, unless the query also asks for `io` or with `expandMetadata`.
const METADATA_CUT: usize = 200;

/// The fields of a row that a query requests.
#[derive(Debug)]
pub struct Fields {
    pub groups: Vec<String>,
    pub expanded_metadata: Vec<String>,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            groups: vec!["core".to_owned(), "basic".to_owned()],
            expanded_metadata: Vec::new(),
        }
    }
}

impl Fields {
    pub fn row(&self, observation: &Observation) -> Value {
        let mut row = Map::new();
        for (name, values) in groups(observation) {
            if name == ALWAYS || self.wants(name) {
                row.extend(values);
            }
        }
        if self.wants("metadata") {
            row.insert("metadata".to_owned(), self.metadata(observation));
        }
        Value::Object(row)
    }

    fn wants(&self, group: &str) -> bool {
        self.groups.iter().any(|wanted| wanted == group)
    }

    fn metadata(&self, observation: &Observation) -> Value {
        let is_cut = self.expanded_metadata.is_empty() && !self.wants("io");
        let cut = |text: &str| match text.char_indices().nth(METADATA_CUT) {
            Some((end, _)) if is_cut => parsed(&text[..end]),
            _ => parsed(text),
        };
        observation
            .metadata
            .flat()
            .into_iter()
            .map(|(key, value)| (key, cut(value.as_str().unwrap_or_default())))
            .collect()
    }
}

/// A group of fields, under its name in the parameter `fields`.
type Group = (&'static str, Map<String, Value>);

/// The group that every row has.
const ALWAYS: &str = "core";

fn groups(row: &Observation) -> [Group; 10] {
    [
        core(row),
        basic(row),
        times(row),
        io(row),
        model(row),
        usage(row),
        prompt(row),
        metrics(row),
        trace_context(row),
        prices(),
    ]
}

fn group<const N: usize>(name: &'static str, fields: [(&str, Value); N]) -> Group {
    (
        name,
        fields
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}

fn core(row: &Observation) -> Group {
    group(
        ALWAYS,
        [
            ("id", json!(row.id)),
            ("traceId", json!(row.trace_id)),
            ("startTime", time::iso(row.start).into()),
            ("endTime", time::iso(row.end).into()),
            ("projectId", PROJECT_ID.into()),
            ("parentObservationId", json!(row.parent_id)),
            ("type", row.kind.name().into()),
        ],
    )
}

fn basic(row: &Observation) -> Group {
    group(
        "basic",
        [
            ("name", json!(row.name)),
            ("level", row.level.name().into()),
            ("statusMessage", json!(row.status_message)),
            ("version", json!(row.version)),
            ("environment", json!(row.environment)),
            ("userId", json!(row.user_id)),
            ("sessionId", json!(row.session_id)),
            ("isRootObservation", row.is_root.into()),
            ("bookmarked", false.into()),
            ("public", row.public.into()),
        ],
    )
}

fn times(row: &Observation) -> Group {
    let arrived = Value::from(time::iso(row.arrived));
    group(
        "time",
        [
            (
                "completionStartTime",
                row.completion_start.map(time::iso).into(),
            ),
            ("createdAt", arrived.clone()),
            ("updatedAt", arrived),
        ],
    )
}

fn io(row: &Observation) -> Group {
    group(
        "io",
        [("input", json!(row.input)), ("output", json!(row.output))],
    )
}

fn model(row: &Observation) -> Group {
    group(
        "model",
        [
            ("model", json!(row.model)),
            ("internalModelId", "".into()),
            ("modelParameters", json!(row.model_parameters)),
        ],
    )
}

fn usage(row: &Observation) -> Group {
    let total =
        |buckets: &Map<String, Value>| buckets.get("total").cloned().unwrap_or_else(|| 0.into());
    group(
        "usage",
        [
            ("usageDetails", json!(row.usage)),
            (
                "inputUsage",
                sum_of(&row.usage, "input").unwrap_or_else(|| 0.into()),
            ),
            (
                "outputUsage",
                sum_of(&row.usage, "output").unwrap_or_else(|| 0.into()),
            ),
            ("totalUsage", total(&row.usage)),
            ("costDetails", json!(row.cost)),
            ("inputCost", json!(sum_of(&row.cost, "input"))),
            ("outputCost", json!(sum_of(&row.cost, "output"))),
            ("totalCost", total(&row.cost)),
            ("usagePricingTierId", Value::Null),
            ("usagePricingTierName", Value::Null),
        ],
    )
}

fn prompt(row: &Observation) -> Group {
    group(
        "prompt",
        [
            ("promptId", "".into()),
            ("promptName", json!(row.prompt_name)),
            ("promptVersion", json!(row.prompt_version)),
        ],
    )
}

/// A group with a name of its own, which every row has nevertheless.
fn metrics(row: &Observation) -> Group {
    let first_token = row.time_to_first_token().map(double);
    group(
        ALWAYS,
        [
            ("latency", double(row.latency())),
            ("timeToFirstToken", json!(first_token)),
        ],
    )
}

fn trace_context(row: &Observation) -> Group {
    group(
        "trace_context",
        [
            ("traceName", json!(row.trace_name)),
            ("release", json!(row.release)),
            ("tags", json!(row.tags)),
        ],
    )
}

fn prices() -> Group {
    let none = |key| (key, Value::Null);
    group(
        ALWAYS,
        [
            none("modelId"),
            none("inputPrice"),
            none("outputPrice"),
            none("totalPrice"),
        ],
    )
}
