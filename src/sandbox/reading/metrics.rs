//! `GET /api/public/v2/metrics`, and `/api/public/metrics` of servers before v4: counts and costs of a session, also by
//! a dimension. Pure functions over the stored traces.
//!
//! A real Langfuse answers far more (time series, histograms, scores, orders, other filters). The sandbox refuses
//! these by name.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::condition::{Condition, column};
use super::refusal::{invalid, refused, timestamp, unsupported};
use super::{ReadQuery, legacy};
use crate::sandbox::LangfuseVersion;
use crate::sandbox::ingest::double;
use crate::sandbox::observation::Observation;
use crate::sandbox::time::{self, Millis};
use crate::sort;

/// Rows of an answer, at most.
const MOST_ROWS: usize = 100;
/// The columns by which rows can be grouped. The others, such as `traceId`, may have as many values as rows; servers
/// give those only in a limited number.
const DIMENSIONS: &[&str] = &[
    "type",
    "name",
    "level",
    "version",
    "release",
    "environment",
    "traceName",
    "promptName",
    "promptVersion",
];
/// The fields of a trace that a filter on the view `traces` can name.
const TRACE_COLUMNS: &[&str] = &[
    "id",
    "name",
    "userId",
    "sessionId",
    "release",
    "version",
    "environment",
];

/// A metrics query.
#[derive(Debug)]
pub struct MetricsQuery {
    view: View,
    dimensions: Vec<String>,
    metrics: Vec<Metric>,
    conditions: Vec<Condition>,
    from: Millis,
    to: Millis,
    /// Older servers write counts as text.
    counts_as_text: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Observations,
    /// Until v3.
    Traces,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Metric {
    Count,
    /// Distinct trace ids, in v4.
    Traces,
    /// US dollars.
    Cost,
}

/// A query as it is sent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Sent {
    view: String,
    metrics: Vec<SentMetric>,
    #[serde(default)]
    dimensions: Vec<SentDimension>,
    #[serde(default)]
    filters: Vec<Value>,
    from_timestamp: String,
    to_timestamp: String,
}

#[derive(Deserialize)]
struct SentMetric {
    measure: String,
    aggregation: String,
}

#[derive(Deserialize)]
struct SentDimension {
    field: String,
}

/// Adds up the rows that have the same values in all dimensions.
#[derive(Debug, Default)]
struct Group {
    dimensions: Vec<Value>,
    count: u64,
    traces: BTreeSet<String>,
    cost: f64,
}

impl MetricsQuery {
    /// Reads the parameters; the error is the body of a 400 answer.
    pub fn read(parameters: &[(String, String)], version: LangfuseVersion) -> Result<Self, Value> {
        let text = parameters.iter().find(|(name, _)| name == "query");
        let (_, text) = text.ok_or_else(|| {
            refused(&json!({
                "expected": "string", "code": "invalid_type", "path": ["query"],
                "message": "Invalid input: expected string, received undefined",
            }))
        })?;
        let json: Value =
            serde_json::from_str(text).map_err(|_| invalid("Invalid JSON in query parameter"))?;
        let sent = serde_json::from_value(json).map_err(|error| {
            invalid(format!("The sandbox does not support this query: {error}"))
        })?;
        Self::of(sent, version)
    }

    fn of(sent: Sent, version: LangfuseVersion) -> Result<Self, Value> {
        let view = View::named(&sent.view, version)?;
        let from = timestamp("fromTimestamp", &sent.from_timestamp)?;
        let to = timestamp("toTimestamp", &sent.to_timestamp)?;
        if from >= to {
            return Err(invalid("fromTimestamp must be before toTimestamp"));
        }
        let known = view.dimensions();
        let dimensions = sent.dimensions.into_iter().map(|sent| {
            if known.contains(&&*sent.field) {
                Ok(sent.field)
            } else {
                Err(unsupported("the dimension", &sent.field, known))
            }
        });
        let conditions = Condition::list(sent.filters.into())?;
        for condition in &conditions {
            view.check_column(&condition.column)?;
        }
        let metrics = sent.metrics.iter();
        Ok(Self {
            view,
            dimensions: dimensions.collect::<Result<_, _>>()?,
            metrics: metrics.map(Metric::of).collect::<Result<_, _>>()?,
            conditions,
            from,
            to,
            counts_as_text: version == LangfuseVersion::V3,
        })
    }

    fn add_trace(&self, observations: Vec<Observation>, groups: &mut [Group]) {
        let Some(trace) = legacy::trace(observations) else {
            return;
        };
        let start = trace["timestamp"].as_str().and_then(time::parse);
        let holds = |condition: &Condition| condition.holds(&trace[&condition.column]);
        if start.is_some_and(|start| self.is_within(start)) && self.conditions.iter().all(holds) {
            // The view has no dimensions here, so there is one group.
            groups[0].count += 1;
            groups[0].cost += trace["totalCost"].as_f64().unwrap_or_default();
        }
    }

    fn add_observations(&self, trace: &[Observation], groups: &mut Vec<Group>) {
        let value =
            |row: &Observation, name: &str| column(name).map_or(Value::Null, |column| column(row));
        for row in trace {
            let holds = |condition: &Condition| condition.holds(&value(row, &condition.column));
            if !self.is_within(row.start) || !self.conditions.iter().all(holds) {
                continue;
            }
            let dimensions: Vec<Value> = self
                .dimensions
                .iter()
                .map(|name| value(row, name))
                .collect();
            let place = groups
                .iter()
                .position(|group| group.dimensions == dimensions)
                .unwrap_or(groups.len());
            if place == groups.len() {
                groups.push(Group {
                    dimensions,
                    ..Group::default()
                });
            }
            groups[place].add(row);
        }
    }

    fn is_within(&self, start: Millis) -> bool {
        (self.from..=self.to).contains(&start)
    }

    fn row(&self, group: &Group) -> Value {
        let dimensions = self.dimensions.iter().cloned();
        let metrics = self.metrics.iter().map(|metric| {
            let value = double(metric.of_group(group));
            let is_text = self.counts_as_text && *metric != Metric::Cost;
            let value = if is_text {
                value.to_string().into()
            } else {
                value
            };
            (metric.name().to_owned(), value)
        });
        let row: Map<String, Value> = dimensions
            .zip(group.dimensions.iter().cloned())
            .chain(metrics)
            .collect();
        Value::Object(row)
    }
}

impl ReadQuery for MetricsQuery {
    /// The group with the largest first metric first.
    fn answer(&self, traces: impl Iterator<Item = Vec<Observation>>) -> Value {
        let mut groups: Vec<Group> = Vec::new();
        if self.dimensions.is_empty() {
            groups.push(Group::default());
        }
        for trace in traces {
            match self.view {
                View::Traces => self.add_trace(trace, &mut groups),
                View::Observations => self.add_observations(&trace, &mut groups),
            }
        }
        let first = self.metrics.first();
        let key = |group: &Group| first.map_or(0.0, |metric| metric.of_group(group));
        sort::sort_by(&mut groups, |a, b| key(b).total_cmp(&key(a)));
        let rows = groups.iter().take(MOST_ROWS).map(|group| self.row(group));
        json!({"data": rows.collect::<Value>()})
    }
}

impl View {
    fn named(name: &str, version: LangfuseVersion) -> Result<Self, Value> {
        match (name, version) {
            ("observations", _) => Ok(Self::Observations),
            ("traces", LangfuseVersion::V3) => Ok(Self::Traces),
            (_, LangfuseVersion::V3) => {
                Err(unsupported("the view", name, &["observations", "traces"]))
            }
            _ => Err(unsupported("the view", name, &["observations"])),
        }
    }

    fn dimensions(self) -> &'static [&'static str] {
        match self {
            Self::Observations => DIMENSIONS,
            Self::Traces => &[],
        }
    }

    fn check_column(self, name: &str) -> Result<(), Value> {
        match self {
            Self::Observations => column(name).map(drop),
            Self::Traces if TRACE_COLUMNS.contains(&name) => Ok(()),
            Self::Traces => Err(unsupported("the column", name, TRACE_COLUMNS)),
        }
    }
}

impl Metric {
    const ALL: [Self; 3] = [Self::Count, Self::Traces, Self::Cost];

    fn of(sent: &SentMetric) -> Result<Self, Value> {
        let name = format!("{}_{}", sent.aggregation, sent.measure);
        let found = Self::ALL.into_iter().find(|metric| metric.name() == name);
        found.ok_or_else(|| unsupported("the metric", &name, &Self::ALL.map(Self::name)))
    }

    /// Its name in an answer: aggregation and measure.
    fn name(self) -> &'static str {
        match self {
            Self::Count => "count_count",
            Self::Traces => "uniq_traceId",
            Self::Cost => "sum_totalCost",
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "exact for any number of rows in memory"
    )]
    fn of_group(self, group: &Group) -> f64 {
        match self {
            Self::Count => group.count as f64,
            Self::Traces => group.traces.len() as f64,
            Self::Cost => group.cost,
        }
    }
}

impl Group {
    fn add(&mut self, row: &Observation) {
        self.count += 1;
        self.cost += row
            .cost
            .get("total")
            .and_then(Value::as_f64)
            .unwrap_or_default();
        if !self.traces.contains(&row.trace_id) {
            self.traces.insert(row.trace_id.clone());
        }
    }
}
