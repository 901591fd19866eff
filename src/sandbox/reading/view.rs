//! What metrics can be asked about: the views, and what each calls a dimension or a measure.

use serde_json::{Value, json};

use super::filter::Columns;
use super::legacy;
use crate::sandbox::LangfuseVersion;
use crate::sandbox::observation::{Observation, sum_of};
use crate::sandbox::time::{self, Millis};

/// The rows of one kind, and the names of what they offer.
#[derive(Debug, Clone, Copy)]
pub struct View {
    pub dimensions: &'static [&'static str],
    pub numbers: &'static [&'static str],
    /// Measures that can only be counted.
    pub texts: &'static [&'static str],
    /// Dimensions of which there may be as many values as rows.
    pub unbounded: &'static [&'static str],
    /// What the time is called in filters.
    pub time: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Observations,
    Traces,
}

/// One row of a view.
#[derive(Debug)]
pub struct Row {
    pub time: Millis,
    /// With the time, under its name.
    pub dimensions: Columns,
    pub measures: Columns,
}

/// Every view that a server of that version names; the scores' are always empty here.
pub fn names(version: LangfuseVersion) -> &'static [&'static str] {
    match version {
        LangfuseVersion::V4 => &[
            "observations",
            "scores-numeric",
            "scores-boolean",
            "scores-categorical",
        ],
        LangfuseVersion::V3 => &[
            "traces",
            "observations",
            "scores-numeric",
            "scores-categorical",
        ],
    }
}

impl View {
    /// The view of that name; `None` for those that the sandbox lacks.
    pub fn named(name: &str, version: LangfuseVersion) -> Option<Self> {
        match (name, version) {
            ("observations", LangfuseVersion::V4) => Some(OBSERVATIONS),
            ("observations", LangfuseVersion::V3) => Some(OBSERVATIONS_OF_V3),
            ("traces", LangfuseVersion::V3) => Some(TRACES),
            _ => None,
        }
    }

    /// The rows that one trace gives.
    pub fn rows(&self, trace: Vec<Observation>) -> Vec<Row> {
        match self.kind {
            Kind::Observations => trace.iter().map(observation).collect(),
            Kind::Traces => of_trace(trace).into_iter().collect(),
        }
    }
}

const OBSERVATIONS: View = View {
    dimensions: &[
        "id",
        "traceId",
        "environment",
        "parentObservationId",
        "isRootObservation",
        "type",
        "name",
        "level",
        "version",
        "userId",
        "sessionId",
        "tags",
        "release",
        "traceName",
        "traceRelease",
        "traceVersion",
        "providedModelName",
        "promptName",
        "promptVersion",
        "startTimeMonth",
    ],
    numbers: NUMBERS,
    texts: &["traceId", "uniqueUserIds", "uniqueSessionIds"],
    unbounded: &[
        "id",
        "traceId",
        "parentObservationId",
        "userId",
        "sessionId",
    ],
    time: "start_time",
    kind: Kind::Observations,
};

const OBSERVATIONS_OF_V3: View = View {
    dimensions: &[
        "id",
        "traceId",
        "traceName",
        "environment",
        "parentObservationId",
        "type",
        "name",
        "level",
        "version",
        "tags",
        "providedModelName",
        "promptName",
        "promptVersion",
        "userId",
        "sessionId",
        "traceRelease",
        "traceVersion",
        "startTimeMonth",
    ],
    texts: &[],
    unbounded: &[],
    ..OBSERVATIONS
};

const TRACES: View = View {
    dimensions: &[
        "id",
        "name",
        "tags",
        "userId",
        "sessionId",
        "release",
        "version",
        "environment",
        "timestampMonth",
    ],
    numbers: &[
        "count",
        "observationsCount",
        "latency",
        "totalTokens",
        "totalCost",
    ],
    texts: &[],
    unbounded: &[],
    time: "timestamp",
    kind: Kind::Traces,
};

const NUMBERS: &[&str] = &[
    "count",
    "latency",
    "streamingLatency",
    "inputTokens",
    "outputTokens",
    "totalTokens",
    "inputCost",
    "outputCost",
    "totalCost",
    "timeToFirstToken",
];

fn observation(row: &Observation) -> Row {
    let dimensions = json!({
        "id": row.id,
        "traceId": row.trace_id,
        "environment": row.environment,
        "parentObservationId": row.parent_id,
        "isRootObservation": row.is_root,
        "type": row.kind.name(),
        "name": row.name,
        "level": row.level.name(),
        "version": stated(&row.version),
        "userId": stated(&row.user_id),
        "sessionId": stated(&row.session_id),
        "tags": row.tags,
        "release": stated(&row.release),
        "traceName": row.trace_name,
        "traceRelease": stated(&row.release),
        "traceVersion": stated(&row.version),
        "providedModelName": stated(&row.model),
        "promptName": stated(&row.prompt_name),
        "promptVersion": row.prompt_version,
        "startTimeMonth": month(row.start),
        OBSERVATIONS.time: time::iso(row.start),
    });
    let measures = json!({
        "count": 1,
        "traceId": row.trace_id,
        "uniqueUserIds": stated(&row.user_id),
        "uniqueSessionIds": stated(&row.session_id),
        "latency": row.end - row.start,
        "streamingLatency": row.completion_start.map(|first| row.end - first),
        "inputTokens": sum_of(&row.usage, "input").unwrap_or_else(|| 0.into()),
        "outputTokens": sum_of(&row.usage, "output").unwrap_or_else(|| 0.into()),
        "totalTokens": row.usage.get("total").cloned().unwrap_or_else(|| 0.into()),
        "inputCost": sum_of(&row.cost, "input"),
        "outputCost": sum_of(&row.cost, "output"),
        "totalCost": row.cost.get("total"),
        "timeToFirstToken": row.completion_start.map(|first| first - row.start),
    });
    Row {
        time: row.start,
        dimensions: columns(dimensions),
        measures: columns(measures),
    }
}

/// Nothing of a trace that has no observations.
fn of_trace(observations: Vec<Observation>) -> Option<Row> {
    let start = observations.iter().map(|row| row.start).min()?;
    let end = observations.iter().map(|row| row.end).max()?;
    let tokens = |row: &Observation| row.usage.get("total").and_then(Value::as_u64);
    let measures = json!({
        "count": 1,
        "observationsCount": observations.len(),
        "latency": end - start,
        "totalTokens": observations.iter().filter_map(tokens).sum::<u64>(),
    });
    let mut trace = legacy::trace(observations)?;
    let mut measures = columns(measures);
    measures.insert("totalCost".to_owned(), trace["totalCost"].take());
    let mut dimensions: Columns = TRACES
        .dimensions
        .iter()
        .map(|name| ((*name).to_owned(), trace[*name].take()))
        .collect();
    dimensions.insert("timestampMonth".to_owned(), month(start).into());
    dimensions.insert(TRACES.time.to_owned(), time::iso(start).into());
    Some(Row {
        time: start,
        dimensions,
        measures,
    })
}

fn columns(values: Value) -> Columns {
    match values {
        Value::Object(columns) => columns,
        _ => Columns::new(),
    }
}

fn stated(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn month(time: Millis) -> String {
    time::iso(time).chars().take(7).collect()
}
