//! `GET /api/public/v2/metrics`, and `/api/public/metrics` of servers before v4: the query, and what it adds up to.
//! Pure functions over what the store gave. Time series, histograms and scores are left out, and refused.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::aggregate::{AGGREGATIONS, Aggregation};
use super::filter::Condition;
use super::part::{Part, invalid};
use super::view::{self, Row, View};
use crate::sandbox::LangfuseVersion;
use crate::sandbox::observation::Observation;
use crate::sandbox::time::Millis;

/// The rows of an answer unless the query says otherwise; older servers give all.
const DEFAULT_ROWS: usize = 100;

/// A query that was understood.
#[derive(Debug)]
pub struct Query {
    view: View,
    dimensions: Vec<String>,
    metrics: Vec<Metric>,
    conditions: Vec<Condition>,
    from: Millis,
    to: Millis,
    order: Vec<(String, Direction)>,
    limit: usize,
    /// Whether whole numbers are written as text, as older servers do.
    whole_as_text: bool,
}

#[derive(Debug)]
struct Metric {
    /// Its name in the answer.
    name: String,
    measure: String,
    aggregation: Aggregation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// The rows that have the same values in the dimensions of a query.
#[derive(Debug, Default)]
struct Group {
    dimensions: Vec<Value>,
    rows: Vec<Map<String, Value>>,
}

impl Query {
    /// Reads the parameters; the error is the body of a 400 answer.
    pub fn read(parameters: &[(String, String)], version: LangfuseVersion) -> Result<Self, Value> {
        let text = parameters.iter().find(|(name, _)| name == "query");
        let text = text.map_or(Value::Null, |(_, text)| text.as_str().into());
        let text = Part::of_parameter("query", &text).text()?;
        let json: Value =
            serde_json::from_str(text).map_err(|_| invalid("Invalid JSON in query parameter"))?;
        let part = Part::of_parameter("query", &json);
        let query = Self::of(part.object()?, version)?;
        if version == LangfuseVersion::V4 {
            query.check_bounds(&part)?;
        }
        Ok(query)
    }

    fn of(part: &Part, version: LangfuseVersion) -> Result<Self, Value> {
        let name = part.field("view").one_of(view::names(version))?;
        let (from, to) = (
            part.field("fromTimestamp").time()?,
            part.field("toTimestamp").time()?,
        );
        if from >= to {
            return Err(part.contradicts("fromTimestamp must be before toTimestamp"));
        }
        let view = View::named(name, version).ok_or_else(|| part.field("view").unsupported())?;
        if let Some(time) = part.optional("timeDimension") {
            return Err(time.unsupported());
        }
        let (dimensions, metrics) = (dimensions(part, view)?, metrics(part, view)?);
        let order = order(part, &dimensions, &metrics)?;
        let limit = part
            .field("config")
            .optional("row_limit")
            .map(|limit| limit.count(1000));
        Ok(Self {
            conditions: conditions(part, view)?,
            limit: limit.transpose()?.unwrap_or(match version {
                LangfuseVersion::V4 => DEFAULT_ROWS,
                LangfuseVersion::V3 => usize::MAX,
            }),
            whole_as_text: version == LangfuseVersion::V3,
            view,
            dimensions,
            metrics,
            from,
            to,
            order,
        })
    }

    /// Groups without number are only given when the query says which of them.
    fn check_bounds(&self, part: &Part) -> Result<(), Value> {
        let unbounded: Vec<&str> = self
            .dimensions
            .iter()
            .map(String::as_str)
            .filter(|name| self.view.unbounded.contains(name))
            .collect();
        let is_limited = part.field("config").optional("row_limit").is_some();
        let names_a_measure = |(field, direction): &(String, Direction)| {
            *direction == Direction::Down && self.metrics.iter().any(|metric| metric.name == *field)
        };
        let is_ordered =
            part.optional("orderBy").is_some() && self.order.iter().any(names_a_measure);
        if unbounded.is_empty() || (is_limited && is_ordered) {
            return Ok(());
        }
        Err(invalid(format!(
            "High cardinality dimension(s) '{}' require both 'config.row_limit' and 'orderBy' with direction 'desc' on a \
             measure field.",
            unbounded.join(", ")
        )))
    }

    /// The answer over all `traces`.
    pub fn answer(&self, traces: impl IntoIterator<Item = Vec<Observation>>) -> Value {
        let rows = traces
            .into_iter()
            .flat_map(|trace| self.view.rows(trace))
            .filter(|row| self.matches(row));
        let mut lines: Vec<Map<String, Value>> = self
            .groups(rows)
            .iter()
            .map(|group| self.line(group))
            .collect();
        lines.sort_by(|a, b| self.compare(a, b));
        lines.truncate(self.limit);
        json!({"data": lines.into_iter().map(|line| self.written(line)).collect::<Value>()})
    }

    fn matches(&self, row: &Row) -> bool {
        (self.from..=self.to).contains(&row.time)
            && self
                .conditions
                .iter()
                .all(|condition| condition.holds(&row.dimensions))
    }

    fn groups(&self, rows: impl Iterator<Item = Row>) -> Vec<Group> {
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut groups = Vec::new();
        if self.dimensions.is_empty() {
            // Of nothing there is a count too.
            places.insert(Value::Array(Vec::new()).to_string(), 0);
            groups.push(Group::default());
        }
        for row in rows {
            let value = |name: &String| row.dimensions.get(name).cloned().unwrap_or_default();
            let dimensions: Vec<Value> = self.dimensions.iter().map(value).collect();
            let key = Value::from(dimensions.clone()).to_string();
            let place = *places.entry(key).or_insert(groups.len());
            if place == groups.len() {
                groups.push(Group {
                    dimensions,
                    rows: Vec::new(),
                });
            }
            groups[place].rows.push(row.measures);
        }
        groups
    }

    /// A row of the answer, its numbers still numbers.
    fn line(&self, group: &Group) -> Map<String, Value> {
        let dimensions = self
            .dimensions
            .iter()
            .cloned()
            .zip(group.dimensions.iter().cloned());
        let metrics = self.metrics.iter().map(|metric| {
            let values = group.rows.iter().filter_map(|row| row.get(&metric.measure));
            (metric.name.clone(), metric.aggregation.of(values))
        });
        dimensions.chain(metrics).collect()
    }

    fn compare(&self, a: &Map<String, Value>, b: &Map<String, Value>) -> Ordering {
        self.order
            .iter()
            .map(|(field, direction)| match direction {
                Direction::Up => order_of(&a[field], &b[field]),
                Direction::Down => order_of(&b[field], &a[field]),
            })
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    fn written(&self, mut line: Map<String, Value>) -> Value {
        for metric in &self.metrics {
            let value = line.get_mut(&metric.name).filter(|value| value.is_number());
            if let Some(value) = value.filter(|_| self.whole_as_text && metric.is_whole()) {
                *value = value.to_string().into();
            }
        }
        Value::Object(line)
    }
}

impl Metric {
    /// Whether its values are whole numbers to the database: neither money nor in between two values.
    fn is_whole(&self) -> bool {
        match self.aggregation {
            Aggregation::Count | Aggregation::Distinct => true,
            Aggregation::Mean | Aggregation::Quantile(_) => false,
            Aggregation::Sum | Aggregation::Least | Aggregation::Most => {
                !self.measure.ends_with("Cost")
            }
        }
    }
}

fn dimensions(part: &Part, view: View) -> Result<Vec<String>, Value> {
    let read = |item: &Part| {
        let field = item.field("field").text()?;
        if !view.dimensions.contains(&field) {
            let known = view.dimensions.join(",");
            return Err(invalid(format!(
                "Invalid dimension {field}. Must be one of {known}"
            )));
        }
        Ok(field.to_owned())
    };
    part.items_of("dimensions")?.iter().map(read).collect()
}

fn metrics(part: &Part, view: View) -> Result<Vec<Metric>, Value> {
    let read = |item: &Part| {
        let measure = item.field("measure").text()?;
        let name = item.field("aggregation").one_of(&AGGREGATIONS)?;
        let is_number = view.numbers.contains(&measure);
        if !is_number && !view.texts.contains(&measure) {
            let known = [view.numbers, view.texts].concat().join(",");
            return Err(invalid(format!(
                "Invalid metric {measure}. Must be one of {known}"
            )));
        }
        if !is_number && !["count", "uniq"].contains(&name) {
            return Err(invalid(format!(
                "Aggregation \"{name}\" is not valid for measure \"{measure}\" (type: string). Valid aggregations: count, \
                 uniq"
            )));
        }
        Ok(Metric {
            name: format!("{name}_{measure}"),
            measure: measure.to_owned(),
            aggregation: Aggregation::named(name)
                .ok_or_else(|| item.field("aggregation").unsupported())?,
        })
    };
    let metrics: Vec<Metric> = part
        .field("metrics")
        .items()?
        .iter()
        .map(read)
        .collect::<Result<_, _>>()?;
    Ok(if metrics.is_empty() {
        vec![Metric {
            name: "count".to_owned(),
            measure: "count".to_owned(),
            aggregation: Aggregation::Count,
        }]
    } else {
        metrics
    })
}

fn conditions(part: &Part, view: View) -> Result<Vec<Condition>, Value> {
    let read = |item: &Part| {
        let condition = Condition::read(item)?;
        let column = &condition.column;
        if !view.dimensions.contains(&column.as_str()) && column != view.time {
            let known = view.dimensions.join(",");
            return Err(invalid(format!(
                "Invalid filter column {column}. Must be one of {known} or {}",
                view.time
            )));
        }
        if column == "tags" && condition.is_text() {
            return Err(invalid(
                "Invalid filter for field 'tags': Array fields require type 'arrayOptions', not 'string'. Use operators \
                 like 'any of', 'all of', or 'none of' with an array of values.",
            ));
        }
        Ok(condition)
    };
    part.items_of("filters")?.iter().map(read).collect()
}

/// The order of the answer: by the first metric, largest first, unless the query names another.
fn order(
    part: &Part,
    dimensions: &[String],
    metrics: &[Metric],
) -> Result<Vec<(String, Direction)>, Value> {
    let read = |item: &Part| {
        let field = item.field("field").text()?;
        let direction = match item.field("direction").one_of(&["asc", "desc"])? {
            "asc" => Direction::Up,
            _ => Direction::Down,
        };
        let mut known = dimensions
            .iter()
            .chain(metrics.iter().map(|metric| &metric.name));
        if !known.any(|name| name == field) {
            return Err(invalid(format!(
                "Invalid orderBy field: {field}. Must be one of the dimension or metric fields."
            )));
        }
        Ok((field.to_owned(), direction))
    };
    let order: Vec<_> = part
        .items_of("orderBy")?
        .iter()
        .map(read)
        .collect::<Result<_, _>>()?;
    if order.is_empty() {
        let first = metrics
            .first()
            .map(|metric| (metric.name.clone(), Direction::Down));
        return Ok(first.into_iter().collect());
    }
    Ok(order)
}

fn order_of(a: &Value, b: &Value) -> Ordering {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => a.as_str().cmp(&b.as_str()),
    }
}
