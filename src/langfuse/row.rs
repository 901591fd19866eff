//! An observation as Langfuse returns it, from any of its interfaces.

use std::time::SystemTime;

use jiff::Timestamp;
use opentelemetry::trace::{SpanId, Status};
use opentelemetry_sdk::trace::SpanData;
use serde_json::{Map, Value, json};

use crate::trace::attributes::{langfuse, openinference};

/// The metadata of the trace, in the rows of a legacy one. In others it is among the metadata of each row.
const TRACE_METADATA: &str = "traceMetadata";

/// The row of one observation, in the fields of v2 observations.
#[derive(Clone, Debug, PartialEq)]
pub struct Row(Value);

impl Row {
    /// A row of v2 observations; `None` if it is something else.
    pub fn of_observation(row: Value) -> Option<Self> {
        row.is_object().then_some(Self(row))
    }

    /// The rows of a page of v2 observations.
    pub fn of_observations(data: &mut Value) -> Vec<Self> {
        match data.take() {
            Value::Array(rows) => rows.into_iter().map(Self).collect(),
            _ => Vec::new(),
        }
    }

    /// The rows of a legacy trace, which has user, session, tags and its own metadata once for all of them.
    pub fn of_legacy_trace(trace: &mut Value) -> Vec<Self> {
        let shared = ["userId", "sessionId", "tags", "release", "public"]
            .map(|field| (field, trace[field].take()));
        let name = trace["name"].take();
        let metadata = trace["metadata"].take();
        let mut rows = Self::of_observations(&mut trace["observations"]);
        for Self(row) in &mut rows {
            for (field, value) in &shared {
                row[*field] = value.clone();
            }
            row["traceName"] = name.clone();
            row[TRACE_METADATA] = metadata.clone();
            let cost = row["calculatedTotalCost"].take();
            row["totalCost"] = cost;
        }
        rows
    }

    /// The row that a span will become, without the fields that only the server knows.
    pub fn of_span(span: &SpanData) -> Self {
        let attribute = |key: &str| {
            let found = span
                .attributes
                .iter()
                .find(|attribute| attribute.key.as_str() == key);
            found.map_or(Value::Null, |attribute| match &attribute.value {
                opentelemetry::Value::Array(opentelemetry::Array::String(values)) => values
                    .iter()
                    .map(|value| Value::from(value.as_str()))
                    .collect(),
                value => Value::from(value.as_str().into_owned()),
            })
        };
        let parsed = |key: &str| {
            attribute(key)
                .as_str()
                .and_then(|text| serde_json::from_str(text).ok())
        };
        // The server links generations only, and only with a version.
        let is_generation = attribute(langfuse::OBSERVATION_TYPE) == "generation";
        let version = parsed(langfuse::PROMPT_VERSION).filter(|_| is_generation);
        let prompt = version.as_ref().map(|_| attribute(langfuse::PROMPT_NAME));
        let time = |time: SystemTime| Timestamp::try_from(time).ok().map(|time| time.to_string());
        let is_root = span.parent_span_id == SpanId::INVALID || span.parent_span_is_remote;
        let (level, message) = match &span.status {
            Status::Error { description } => ("ERROR", description.to_string()),
            _ => ("DEFAULT", String::new()),
        };
        Self(json!({
            "id": span.span_context.span_id().to_string(),
            "traceId": span.span_context.trace_id().to_string(),
            "parentObservationId": (!is_root).then(|| span.parent_span_id.to_string()),
            "name": span.name,
            "startTime": time(span.start_time),
            "endTime": time(span.end_time),
            "completionStartTime": attribute(langfuse::COMPLETION_START_TIME),
            "level": level,
            "statusMessage": message,
            "userId": attribute(langfuse::USER_ID),
            "sessionId": attribute(langfuse::SESSION_ID),
            "tags": attribute(langfuse::TAGS),
            "input": attribute(langfuse::OBSERVATION_INPUT).as_str().map_or_else(|| attribute(openinference::INPUT_VALUE), Value::from),
            "output": attribute(langfuse::OBSERVATION_OUTPUT).as_str().map_or_else(|| attribute(openinference::OUTPUT_VALUE), Value::from),
            "model": attribute(langfuse::MODEL_NAME),
            "promptName": prompt,
            "promptVersion": version,
            "usageDetails": parsed(langfuse::USAGE_DETAILS),
            "totalCost": parsed(langfuse::COST_DETAILS).map(|cost: Value| cost["total"].clone()),
        }))
    }

    /// Whether the server added the row itself.
    pub fn is_synthetic(&self) -> bool {
        self.id().starts_with("t-")
    }

    pub fn id(&self) -> &str {
        self.0["id"].as_str().unwrap_or_default()
    }

    pub fn parent(&self) -> Option<&str> {
        self.text("parentObservationId")
    }

    /// Whether Langfuse shows the row as a root, which may have a parent in another program.
    pub fn is_root(&self) -> bool {
        self.0["isRootObservation"] == true
    }

    /// A text field; `None` if it is empty.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.0[field].as_str().filter(|text| !text.is_empty())
    }

    /// Whether it is a call of a model.
    pub fn is_model_call(&self) -> bool {
        matches!(self.text("type"), Some("GENERATION" | "EMBEDDING"))
    }

    /// A text of the metadata; a name with a prefix, as in `attributes.KEY`, is that of another attribute of the span.
    /// Rows have metadata only if it was asked for.
    pub fn metadata(&self, name: &str) -> Option<&str> {
        let nested = name.split_once('.');
        let found = ["metadata", TRACE_METADATA].into_iter().find_map(|field| {
            let metadata = &self.0[field];
            let nested = || {
                let (group, key) = nested?;
                metadata.get(group)?.get(key)
            };
            metadata.get(name).or_else(nested)
        });
        found?.as_str().filter(|text| !text.is_empty())
    }

    pub fn number(&self, field: &str) -> Option<f64> {
        self.0[field].as_f64()
    }

    pub fn time(&self, field: &str) -> Option<Timestamp> {
        self.0[field].as_str()?.parse().ok()
    }

    pub fn usage(&self) -> Map<String, Value> {
        self.0["usageDetails"]
            .as_object()
            .cloned()
            .unwrap_or_default()
    }

    /// The tokens of all buckets whose names begin with `kind`: `input` or `output`.
    pub fn tokens(&self, kind: &str) -> u64 {
        let buckets = self.0["usageDetails"].as_object().into_iter().flatten();
        buckets
            .filter(|(name, _)| name.starts_with(kind))
            .filter_map(|(_, count)| count.as_u64())
            .sum()
    }

    /// A field as received.
    pub fn field(&self, field: &str) -> &Value {
        &self.0[field]
    }

    pub fn json(&self) -> &Value {
        &self.0
    }
}
