//! The queries of both interfaces, and their pages. No I/O.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::json;
use crate::sandbox::observation::{ExperimentFields, Observation};
use crate::sandbox::reading::{
    Condition, bounded, expected, field_groups, invalid, newest_page, not_one_of, timestamp,
};
use crate::sandbox::time::{self, Millis};

const DEFAULT_LIMIT: usize = 50;
const MOST: usize = 100;
const MOST_SCORES: usize = 50;

/// What one of the interfaces knows.
#[derive(Debug)]
pub struct Interface {
    /// The groups of fields.
    groups: &'static [&'static str],
    /// Those of a query that names none.
    default_groups: &'static [&'static str],
    /// What a query can ask for, by a parameter of its own or in `filter`.
    columns: &'static [&'static str],
}

pub const EXPERIMENTS: Interface = Interface {
    groups: &["core", "metadata", "scores"],
    default_groups: &["core"],
    columns: &["id", "name", "datasetId"],
};

pub const ITEMS: Interface = Interface {
    groups: &[
        "core",
        "dataset",
        "io",
        "metadata",
        "itemMetadata",
        "experimentMetadata",
        "scores",
    ],
    default_groups: &["core", "dataset"],
    columns: &[
        "experimentId",
        "experimentName",
        "experimentItemId",
        "datasetId",
    ],
};

/// A query of experiments, or of their items.
#[derive(Debug)]
pub struct ExperimentsQuery {
    from: Millis,
    to: Option<Millis>,
    limit: usize,
    /// Scores of one entry, at most.
    pub score_limit: usize,
    cursor: Option<ListPlace>,
    groups: Vec<String>,
    conditions: Vec<Condition>,
}

/// A place in a list, which begins with the newest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListPlace {
    #[serde(rename = "lastStartTimeTo")]
    start: String,
    #[serde(rename = "lastTraceId")]
    trace_id: String,
    #[serde(rename = "lastId")]
    id: String,
    #[serde(rename = "lastExperimentId")]
    experiment_id: String,
}

impl ListPlace {
    pub fn of(row: &Observation, fields: &ExperimentFields) -> Self {
        Self {
            start: time::iso(row.start),
            trace_id: row.trace_id.clone(),
            id: row.id.clone(),
            experiment_id: fields.id.clone(),
        }
    }

    fn read(text: &str) -> Result<Self, Value> {
        let json = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
        json.and_then(|json| json::from_slice(&json).ok())
            .ok_or_else(|| invalid("Invalid cursor format"))
    }

    fn write(&self) -> String {
        let mut json = json!({"v": 1});
        if let (Value::Object(json), Value::Object(place)) = (&mut json, json!(self)) {
            json.extend(place);
        }
        URL_SAFE_NO_PAD.encode(json.to_string())
    }
}

impl ExperimentsQuery {
    /// Reads the parameters; the error is the body of a 400 answer.
    pub fn read(parameters: Vec<(String, String)>, interface: &Interface) -> Result<Self, Value> {
        let mut from = None;
        let mut filters = Vec::new();
        let groups = interface.default_groups.iter();
        let mut query = Self {
            from: 0,
            to: None,
            limit: DEFAULT_LIMIT,
            score_limit: MOST_SCORES,
            cursor: None,
            groups: groups.map(|group| (*group).to_owned()).collect(),
            conditions: Vec::new(),
        };
        for (name, value) in parameters {
            match name.as_str() {
                "fromStartTime" => from = Some(timestamp(&name, &value)?),
                "toStartTime" => query.to = Some(timestamp(&name, &value)?),
                "limit" => query.limit = bounded(&name, &value, MOST)?,
                "scoreLimit" => query.score_limit = bounded(&name, &value, MOST_SCORES)?,
                "cursor" => query.cursor = Some(ListPlace::read(&value)?),
                "fields" => query.groups = field_groups(&value, interface.groups)?,
                "filter" => filters = structured(&value, interface.columns)?,
                column if interface.columns.contains(&column) => {
                    // A name that contains a comma can only be asked for in `filter`.
                    let values = value.split(',').map(|value| value.trim().to_owned());
                    let condition = Condition::any_of(column, values.collect());
                    query.conditions.push(condition);
                }
                _ => {}
            }
        }
        query.from = from.ok_or_else(|| expected("string", &["fromStartTime"], None))?;
        // A structured filter replaces the plain parameter on the same column.
        query
            .conditions
            .retain(|plain| filters.iter().all(|filter| filter.column != plain.column));
        query.conditions.extend(filters);
        Ok(query)
    }

    /// Whether a row is in the window of time.
    pub fn covers(&self, row: &Observation) -> bool {
        row.start >= self.from && self.to.is_none_or(|to| row.start < to)
    }

    /// Whether the conditions hold, by the values of the columns.
    pub fn holds(&self, columns: &[(&str, &str)]) -> bool {
        self.conditions.iter().all(|condition| {
            let column = columns.iter().find(|(name, _)| *name == condition.column);
            column.is_some_and(|(_, value)| condition.holds(&json!(value)))
        })
    }

    pub fn wants(&self, group: &str) -> bool {
        self.groups.iter().any(|wanted| wanted == group)
    }

    /// The entries of the page, newest first, and the `meta` of the answer.
    pub fn page<T>(&self, found: Vec<(ListPlace, T)>) -> (Vec<T>, Value) {
        newest_page(found, self.cursor.as_ref(), self.limit, ListPlace::write)
    }
}

/// The conditions of the parameter `filter`; none if it is empty.
fn structured(text: &str, columns: &[&str]) -> Result<Vec<Condition>, Value> {
    let conditions = Condition::parse(text)?;
    let is_unknown = |condition: &Condition| !columns.contains(&condition.column.as_str());
    match conditions.iter().position(is_unknown) {
        None => Ok(conditions),
        Some(place) => Err(not_one_of(columns, &json!(["filter", place, "column"]))),
    }
}
