//! Conditions on the columns of an observation, as v2 observations and metrics take them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, json};

use super::refusal::{invalid, unsupported};
use crate::sandbox::observation::Observation;

/// A column's value in a row.
type Column = fn(&Observation) -> Value;

/// The columns that a query can name; an empty text is null, as in metrics.
const COLUMNS: &[(&str, Column)] = &[
    ("id", |row| text(&row.id)),
    ("traceId", |row| text(&row.trace_id)),
    ("parentObservationId", |row| json!(row.parent_id)),
    ("type", |row| text(row.kind.name())),
    ("name", |row| text(&row.name)),
    ("level", |row| text(row.level.name())),
    ("version", |row| text(&row.version)),
    ("release", |row| text(&row.release)),
    ("environment", |row| text(&row.environment)),
    ("userId", |row| text(&row.user_id)),
    ("sessionId", |row| text(&row.session_id)),
    ("isRootObservation", |row| row.is_root.into()),
    ("traceName", |row| json!(row.trace_name)),
    ("promptName", |row| text(&row.prompt_name)),
    ("promptVersion", |row| json!(row.prompt_version)),
];

/// One condition on one column.
#[derive(Debug)]
pub struct Condition {
    pub column: String,
    test: Test,
}

#[derive(Debug)]
enum Test {
    AnyOf(Vec<String>),
    StartsWith(String),
}

/// A condition in a structured filter.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    column: String,
    operator: String,
    value: Value,
    r#type: String,
}

impl Condition {
    /// The conditions of the parameter `filter`, a JSON text; none if it is empty. The error is the body of a 400 answer.
    pub fn parse(text: &str) -> Result<Vec<Self>, Value> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let json =
            serde_json::from_str(text).map_err(|_| invalid("Invalid JSON in filter parameter"))?;
        Self::list(json)
    }

    /// A plain parameter, which may be repeated.
    pub fn any_of(column: &str, values: Vec<String>) -> Self {
        Self {
            column: column.to_owned(),
            test: Test::AnyOf(values),
        }
    }

    /// Reads a structured filter, a list of conditions; the error is the body of a 400 answer.
    pub fn list(filter: Value) -> Result<Vec<Self>, Value> {
        let filters: Vec<Filter> = serde_json::from_value(filter)
            .map_err(|error| invalid(format!("Invalid filter: {error}")))?;
        filters.into_iter().map(Self::of).collect()
    }

    fn of(filter: Filter) -> Result<Self, Value> {
        const SUPPORTED: [&str; 3] = ["string =", "string starts with", "stringOptions any of"];
        let operation = format!("{} {}", filter.r#type, filter.operator);
        let wrong = |error| invalid(format!("Invalid value of a {operation} filter: {error}"));
        let value = || String::deserialize(&filter.value).map_err(wrong);
        let test = match operation.as_str() {
            "string =" => Test::AnyOf(vec![value()?]),
            "string starts with" => Test::StartsWith(value()?),
            "stringOptions any of" => Test::AnyOf(Vec::deserialize(&filter.value).map_err(wrong)?),
            _ => return Err(unsupported("the filter", &operation, &SUPPORTED)),
        };
        Ok(Self {
            column: filter.column,
            test,
        })
    }

    /// Whether a row passes; a missing value counts as an empty text.
    pub fn holds(&self, value: &Value) -> bool {
        let text: Cow<str> = match value {
            Value::Null => "".into(),
            Value::String(text) => text.into(),
            other => other.to_string().into(),
        };
        match &self.test {
            Test::AnyOf(values) => values.iter().any(|value| *value == text),
            Test::StartsWith(prefix) => text.starts_with(prefix),
        }
    }
}

/// The column of this name; the error is the body of a 400 answer.
pub fn column(name: &str) -> Result<Column, Value> {
    let found = COLUMNS.iter().find(|(known, _)| *known == name);
    found.map(|(_, column)| *column).ok_or_else(|| {
        let known: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
        unsupported("the column", name, &known)
    })
}

fn text(text: &str) -> Value {
    if text.is_empty() {
        Value::Null
    } else {
        text.into()
    }
}
