//! `GET /api/public/v2/observations`: its query, its filters and its pages. Pure functions over the stored traces.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ReadQuery;
use super::condition::{Condition, column};
use super::newest_page::newest_page;
use super::refusal::{bounded, refused, timestamp};
use super::row::Fields;
use crate::json;
use crate::sandbox::observation::Observation;
use crate::sandbox::time::{self, Millis};

/// A query of v2 observations.
#[derive(Debug, Default)]
pub struct ObservationsQuery {
    /// From the plain parameters and the structured filter.
    conditions: Vec<Condition>,
    /// The one trace that the plain parameters name: its file alone has to be read.
    trace_id: Option<String>,
    from_start: Option<Millis>,
    to_start: Option<Millis>,
    limit: usize,
    cursor: Option<Cursor>,
    fields: Fields,
}

/// The last row of a page; the next page begins after it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Cursor {
    #[serde(rename = "lastStartTimeTo")]
    start: String,
    #[serde(rename = "lastTraceId")]
    trace_id: String,
    #[serde(rename = "lastId")]
    id: String,
}

impl ObservationsQuery {
    /// Reads the parameters; the error is the body of a 400 answer.
    pub fn read(parameters: Vec<(String, String)>) -> Result<Self, Value> {
        let mut query = Self {
            limit: 50,
            ..Self::default()
        };
        let mut filters = Vec::new();
        let mut environments = Vec::new();
        for (name, value) in parameters {
            match name.as_str() {
                "filter" => filters = structured(&value)?,
                "environment" => environments.push(value),
                _ => query.set(&name, value)?,
            }
        }
        if !environments.is_empty() {
            let condition = Condition::any_of("environment", environments);
            query.conditions.push(condition);
        }
        query.replace_by(filters);
        Ok(query)
    }

    /// A structured filter replaces the plain parameter on the same column.
    fn replace_by(&mut self, filters: Vec<Condition>) {
        let replaces = |name: &str| filters.iter().any(|filter| filter.column == name);
        self.conditions
            .retain(|condition| !replaces(&condition.column));
        if replaces("traceId") {
            self.trace_id = None;
        }
        self.conditions.extend(filters);
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), Value> {
        if PLAIN.contains(&name) {
            if name == "traceId" {
                self.trace_id = Some(value.clone());
            }
            self.conditions.push(Condition::any_of(name, vec![value]));
            return Ok(());
        }
        match name {
            "fromStartTime" => self.from_start = Some(timestamp(name, &value)?),
            "toStartTime" => self.to_start = Some(timestamp(name, &value)?),
            "limit" => self.limit = bounded(name, &value, 1000)?,
            "cursor" => self.cursor = Some(Cursor::read(&value)?),
            "fields" => self.fields.groups = list(&value),
            "expandMetadata" => self.fields.expanded_metadata = list(&value),
            "parseIoAsJson" if value == "true" => {
                return Err(refused(
                    &json!({"path": [name], "message": "Input and output are always raw strings"}),
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn matches(&self, row: &Observation) -> bool {
        let holds = |condition: &Condition| {
            column(&condition.column).is_ok_and(|column| condition.holds(&column(row)))
        };
        self.from_start.is_none_or(|from| row.start >= from)
            && self.to_start.is_none_or(|to| row.start < to)
            && self.conditions.iter().all(holds)
    }
}

impl ReadQuery for ObservationsQuery {
    fn trace_id(&self) -> Option<&str> {
        self.trace_id.as_deref()
    }

    /// Matching rows, newest first, and the cursor of the next page if there is one.
    fn answer(&self, traces: impl Iterator<Item = Vec<Observation>>) -> Value {
        let found = traces
            .flatten()
            .filter(|observation| self.matches(observation))
            .map(|observation| (Cursor::at(&observation), observation));
        let cursor = self.cursor.as_ref();
        let (rows, meta) = newest_page(found.collect(), cursor, self.limit, Cursor::write);
        let rows = rows.iter().map(|row| self.fields.row(row));
        json!({"data": rows.collect::<Value>(), "meta": meta})
    }
}

impl Cursor {
    fn at(observation: &Observation) -> Self {
        Self {
            start: time::iso(observation.start),
            trace_id: observation.trace_id.clone(),
            id: observation.id.clone(),
        }
    }

    fn read(text: &str) -> Result<Self, Value> {
        let json = STANDARD.decode(text).ok();
        json.and_then(|json| json::from_slice(&json).ok())
            .ok_or_else(|| {
                refused(&json!({"code": "custom", "path": ["cursor"], "message": "Invalid cursor"}))
            })
    }

    fn write(&self) -> String {
        STANDARD.encode(json!(self).to_string())
    }
}

/// Columns with a parameter of their own, beside `environment`, which may be repeated.
const PLAIN: &[&str] = &[
    "traceId",
    "name",
    "type",
    "userId",
    "sessionId",
    "level",
    "parentObservationId",
    "isRootObservation",
    "version",
];

/// The conditions of the parameter `filter`; none if it is empty.
fn structured(text: &str) -> Result<Vec<Condition>, Value> {
    let conditions = Condition::parse(text)?;
    for condition in &conditions {
        column(&condition.column)?;
    }
    Ok(conditions)
}

fn list(value: &str) -> Vec<String> {
    value
        .split(',')
        .map(|item| item.trim().to_owned())
        .filter(|item| !item.is_empty())
        .collect()
}
