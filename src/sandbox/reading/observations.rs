//! `GET /api/public/v2/observations`: its query, its filters and its pages. Pure functions over what
//! the store gave.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::filter::{Columns, Condition};
use super::part::{Part, bounded, invalid, refused};
use super::row::Fields;
use crate::sandbox::observation::Observation;
use crate::sandbox::time::{self, Millis};

/// A query that was understood.
#[derive(Debug, Default)]
pub struct Query {
    pub trace_id: Option<String>,
    /// Column, getter and wanted value of the plain filters.
    equal: Vec<(String, Filter, String)>,
    environments: Vec<String>,
    from_start: Option<Millis>,
    to_start: Option<Millis>,
    limit: usize,
    cursor: Option<Cursor>,
    fields: Fields,
    /// Those of `filter`.
    conditions: Vec<Condition>,
}

/// What a plain filter compares.
type Filter = fn(&Observation) -> &str;

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

impl Query {
    /// Reads the parameters; the error is the body of a 400 answer.
    pub fn read(parameters: Vec<(String, String)>) -> Result<Self, Value> {
        let mut query = Self {
            limit: 50,
            ..Self::default()
        };
        for (name, value) in parameters {
            query.set(&name, value)?;
        }
        query.drop_what_the_filter_replaces();
        Ok(query)
    }

    /// A condition of `filter` stands for the parameter on the same column.
    fn drop_what_the_filter_replaces(&mut self) {
        let conditions = &self.conditions;
        let replaces = |name: &str| conditions.iter().any(|condition| condition.column == name);
        self.equal.retain(|(name, ..)| !replaces(name));
        if replaces("traceId") {
            self.trace_id = None;
        }
        if replaces("environment") {
            self.environments.clear();
        }
        if replaces("startTime") {
            (self.from_start, self.to_start) = (None, None);
        }
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), Value> {
        if let Some(filter) = filter(name) {
            self.equal.push((name.to_owned(), filter, value));
            return Ok(());
        }
        match name {
            "traceId" => self.trace_id = Some(value),
            "environment" => self.environments.push(value),
            "fromStartTime" => self.from_start = Some(start_time(name, &value)?),
            "toStartTime" => self.to_start = Some(start_time(name, &value)?),
            "limit" => self.limit = bounded(name, &value, 1000)?,
            "cursor" => self.cursor = Some(Cursor::read(&value)?),
            "fields" => self.fields.groups = list(&value),
            "expandMetadata" => self.fields.expanded_metadata = list(&value),
            "filter" => self.conditions = conditions(&value)?,
            "parseIoAsJson" if value == "true" => {
                return Err(refused(
                    &json!({"path": [name], "message": "Input and output are always raw strings"}),
                ));
            }
            _ => {}
        }
        Ok(())
    }

    /// The answer: matching rows, newest first, and the cursor of the next page if there is one.
    pub fn answer(&self, observations: impl IntoIterator<Item = Observation>) -> Value {
        let mut found: Vec<(Cursor, Observation)> = observations
            .into_iter()
            .filter(|observation| self.matches(observation))
            .map(|observation| (Cursor::at(&observation), observation))
            .filter(|(place, _)| self.cursor.as_ref().is_none_or(|cursor| place < cursor))
            .collect();
        found.sort_by(|(a, _), (b, _)| b.cmp(a));
        let more = found.len() > self.limit;
        found.truncate(self.limit);
        let meta = match found.last() {
            Some((last, _)) if more => json!({"cursor": last.write()}),
            _ => json!({}),
        };
        json!({"data": found.iter().map(|(_, observation)| self.fields.row(observation)).collect::<Value>(), "meta": meta})
    }

    fn matches(&self, observation: &Observation) -> bool {
        self.trace_id
            .as_ref()
            .is_none_or(|id| *id == observation.trace_id)
            && self
                .equal
                .iter()
                .all(|(_, of, wanted)| of(observation) == wanted)
            && (self.environments.is_empty()
                || self.environments.contains(&observation.environment))
            && self.from_start.is_none_or(|from| observation.start >= from)
            && self.to_start.is_none_or(|to| observation.start < to)
            && self.meets_conditions(observation)
    }

    fn meets_conditions(&self, observation: &Observation) -> bool {
        self.conditions.is_empty() || {
            let columns = columns(observation);
            self.conditions
                .iter()
                .all(|condition| condition.holds(&columns))
        }
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
        json.and_then(|json| serde_json::from_slice(&json).ok())
            .ok_or_else(|| {
                refused(&json!({"code": "custom", "path": ["cursor"], "message": "Invalid cursor"}))
            })
    }

    fn write(&self) -> String {
        STANDARD.encode(json!(self).to_string())
    }
}

fn filter(name: &str) -> Option<Filter> {
    Some(match name {
        "name" => |row| &row.name,
        "type" => |row| row.kind.name(),
        "userId" => |row| &row.user_id,
        "sessionId" => |row| &row.session_id,
        "level" => |row| row.level.name(),
        "parentObservationId" => |row| row.parent_id.as_deref().unwrap_or_default(),
        "isRootObservation" => |row| if row.is_root { "true" } else { "false" },
        "version" => |row| &row.version,
        _ => return None,
    })
}

/// The conditions of `filter`; none when it is empty.
fn conditions(text: &str) -> Result<Vec<Condition>, Value> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let json: Value =
        serde_json::from_str(text).map_err(|_| invalid("Invalid JSON in filter parameter"))?;
    let items = Part::of_parameter("filter", &json).items()?;
    let read = |item: &Part| {
        let condition = Condition::read(item)?;
        if COLUMNS.contains(&condition.column.as_str()) {
            Ok(condition)
        } else {
            // Real servers have more columns, and pass over those that nobody has.
            Err(item.field("column").unsupported())
        }
    };
    items.iter().map(read).collect()
}

/// What conditions can be about.
const COLUMNS: [&str; 19] = [
    "id",
    "traceId",
    "parentObservationId",
    "type",
    "name",
    "level",
    "statusMessage",
    "version",
    "environment",
    "userId",
    "sessionId",
    "isRootObservation",
    "startTime",
    "endTime",
    "traceName",
    "traceTags",
    "tags",
    "release",
    "model",
];

fn columns(row: &Observation) -> Columns {
    let values = json!({
        "id": row.id,
        "traceId": row.trace_id,
        "parentObservationId": row.parent_id,
        "type": row.kind.name(),
        "name": row.name,
        "level": row.level.name(),
        "statusMessage": row.status_message,
        "version": row.version,
        "environment": row.environment,
        "userId": row.user_id,
        "sessionId": row.session_id,
        "isRootObservation": row.is_root,
        "startTime": time::iso(row.start),
        "endTime": time::iso(row.end),
        "traceName": row.trace_name,
        "traceTags": row.tags,
        "tags": row.tags,
        "release": row.release,
        "model": row.model,
    });
    COLUMNS
        .iter()
        .map(|name| ((*name).to_owned(), values[*name].clone()))
        .collect()
}

fn list(value: &str) -> Vec<String> {
    value
        .split(',')
        .map(|item| item.trim().to_owned())
        .collect()
}

fn start_time(name: &str, value: &str) -> Result<Millis, Value> {
    time::parse(value).ok_or_else(|| {
        refused(&json!({
            "origin": "string", "code": "invalid_format", "format": "datetime", "path": [name],
            "message": "Invalid ISO datetime",
        }))
    })
}
