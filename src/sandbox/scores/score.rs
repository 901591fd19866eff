//! A score: what a request may create, and the documents that the API gives of it. No I/O.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::sandbox::PROJECT_ID;
use crate::sandbox::hex::uuid_of;
use crate::sandbox::ingest::double;
use crate::sandbox::reading::{expected, not_one_of, refused, text_field, type_name};
use crate::sandbox::time::{self, Millis};

/// Characters of a text score, at most.
const LONGEST_TEXT: usize = 500;

/// A score as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredScore {
    pub id: String,
    pub subject: ScoreSubject,
    pub name: String,
    pub data_type: DataType,
    /// A number for numeric and boolean scores, else a text.
    pub value: Value,
    pub comment: Option<String>,
    pub metadata: Value,
    pub environment: String,
    pub source: String,
    /// When the sender made it.
    pub timestamp: Millis,
    /// When the first one of this id arrived.
    pub created: Millis,
    /// When this one arrived.
    pub arrived: Millis,
    /// Whether it was deleted.
    #[serde(default)]
    pub is_deleted: bool,
}

/// What a score is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ScoreSubject {
    Trace { id: String },
    Observation { id: String, trace_id: String },
    Session { id: String },
    Experiment { id: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DataType {
    Numeric,
    Categorical,
    Boolean,
    Text,
    Correction,
}

impl ScoreSubject {
    /// The trace of a score of a trace or an observation.
    pub fn trace_id(&self) -> Option<&str> {
        match self {
            Self::Trace { id } | Self::Observation { trace_id: id, .. } => Some(id),
            Self::Session { .. } | Self::Experiment { .. } => None,
        }
    }

    pub fn observation_id(&self) -> Option<&str> {
        match self {
            Self::Observation { id, .. } => Some(id),
            _ => None,
        }
    }

    fn document(&self) -> Value {
        match self {
            Self::Trace { id } => json!({"kind": "trace", "id": id}),
            Self::Observation { id, trace_id } => {
                json!({"kind": "observation", "id": id, "traceId": trace_id})
            }
            Self::Session { id } => json!({"kind": "session", "id": id}),
            Self::Experiment { id } => json!({"kind": "experiment", "id": id}),
        }
    }
}

/// The score of a request, and whether it is kept.
#[derive(Debug)]
pub struct NewScore {
    pub score: StoredScore,
    /// Langfuse accepts a score whose configuration it does not know, and drops it. The sandbox has no configurations.
    pub is_dropped: bool,
}

impl NewScore {
    /// Reads a body that arrived now; the error is the body of a 400 answer.
    pub fn read(body: &Value, timestamp: Option<Millis>) -> Result<Self, Value> {
        if !body.is_object() {
            return Err(expected("object", &[], Some(body)));
        }
        let (data_type, value) = value(body)?;
        let name = text_field(body, "name")?.ok_or_else(|| expected("string", &["name"], None))?;
        let subject = subject(body)?;
        let source = source(body, data_type)?;
        let now = time::now();
        let stated = body["timestamp"].as_str().and_then(time::parse);
        let id = text_field(body, "id")?
            .unwrap_or_else(|| uuid_of(format!("{now}/{}/{}", fastrand::u64(..), body).as_bytes()));
        Ok(Self {
            is_dropped: body["configId"].is_string(),
            score: StoredScore {
                id,
                subject,
                name,
                data_type,
                value,
                comment: text_field(body, "comment")?,
                metadata: match &body["metadata"] {
                    Value::Null => json!({}),
                    metadata => metadata.clone(),
                },
                environment: text_field(body, "environment")?
                    .unwrap_or_else(|| "default".to_owned()),
                source,
                timestamp: stated.or(timestamp).unwrap_or(now),
                created: now,
                arrived: now,
                is_deleted: false,
            },
        })
    }
}

/// The value and its type: as `dataType` says, else a number is numeric and a text categorical.
fn value(body: &Value) -> Result<(DataType, Value), Value> {
    let value = body.get("value");
    let wrong = |kind| expected(kind, &["value"], value);
    let number = || {
        value
            .filter(|value| value.is_number())
            .ok_or_else(|| wrong("number"))
    };
    let text = || {
        value
            .filter(|value| value.is_string())
            .ok_or_else(|| wrong("string"))
    };
    let found = match &body["dataType"] {
        Value::Null => match value {
            Some(value @ Value::Number(_)) => (DataType::Numeric, value),
            Some(value @ Value::String(_)) => (DataType::Categorical, value),
            _ => return Err(no_value(value)),
        },
        Value::String(kind) if kind == "NUMERIC" => (DataType::Numeric, number()?),
        Value::String(kind) if kind == "CATEGORICAL" => (DataType::Categorical, text()?),
        Value::String(kind) if kind == "BOOLEAN" => (DataType::Boolean, boolean(number()?)?),
        Value::String(kind) if kind == "TEXT" => (DataType::Text, short(text()?)?),
        Value::String(kind) if kind == "CORRECTION" => (DataType::Correction, text()?),
        _ => {
            return Err(refused(&json!({
                "code": "invalid_union", "errors": [], "note": "No matching discriminator",
                "discriminator": "dataType", "path": ["dataType"], "message": "Invalid input",
            })));
        }
    };
    Ok((found.0, found.1.clone()))
}

fn no_value(value: Option<&Value>) -> Value {
    let found = type_name(value);
    let branch = |kind: &str| {
        json!([{
            "expected": kind, "code": "invalid_type", "path": [],
            "message": format!("Invalid input: expected {kind}, received {found}"),
        }])
    };
    refused(&json!({
        "code": "invalid_union", "errors": [branch("string"), branch("number")], "path": ["value"],
        "message": "Invalid input",
    }))
}

fn boolean(value: &Value) -> Result<&Value, Value> {
    let number = value.as_f64();
    if number == Some(0.0) || number == Some(1.0) {
        return Ok(value);
    }
    Err(refused(&json!({
        "code": "custom", "path": ["value"],
        "message": "Value must be a number equal to either 0 or 1 for data type BOOLEAN",
    })))
}

fn short(value: &Value) -> Result<&Value, Value> {
    let length = value.as_str().map_or(0, |text| text.chars().count());
    let (code, bound, limit, sign) = match length {
        0 => ("too_small", "minimum", 1, ">="),
        1..=LONGEST_TEXT => return Ok(value),
        _ => ("too_big", "maximum", LONGEST_TEXT, "<="),
    };
    let size = if code == "too_big" {
        "Too big"
    } else {
        "Too small"
    };
    Err(refused(&json!({
        "origin": "string", "code": code, bound: limit, "inclusive": true, "path": ["value"],
        "message": format!("{size}: expected string to have {sign}{limit} characters"),
    })))
}

fn subject(body: &Value) -> Result<ScoreSubject, Value> {
    let named = |name| text_field(body, name);
    let (trace, observation) = (named("traceId")?, named("observationId")?);
    match (
        trace,
        observation,
        named("sessionId")?,
        named("datasetRunId")?,
    ) {
        (Some(id), None, None, None) => Ok(ScoreSubject::Trace { id }),
        (Some(trace_id), Some(id), None, None) => Ok(ScoreSubject::Observation { id, trace_id }),
        (None, None, Some(id), None) => Ok(ScoreSubject::Session { id }),
        (None, None, None, Some(id)) => Ok(ScoreSubject::Experiment { id }),
        _ => Err(refused(&json!({
            "code": "custom",
            "path": ["traceId", "sessionId", "datasetRunId", "observationId"],
            "message": "Provide exactly one of the following: traceId (with optional observationId), sessionId or datasetRunId. ObservationId requires traceId.",
        }))),
    }
}

fn source(body: &Value, data_type: DataType) -> Result<String, Value> {
    match body["source"].as_str().unwrap_or("API") {
        "ANNOTATION" if !body["configId"].is_string() && data_type != DataType::Correction => {
            Err(refused(&json!({
                "code": "custom", "path": ["configId"],
                "message": "configId is required when source is ANNOTATION (except for CORRECTION scores).",
            })))
        }
        source @ ("API" | "ANNOTATION") => Ok(source.to_owned()),
        _ => Err(not_one_of(&["API", "ANNOTATION"], &json!(["source"]))),
    }
}

impl StoredScore {
    /// The score as v3 returns it, with these groups of fields beside the core.
    pub fn document(&self, groups: &[String]) -> Value {
        let has = |group: &str| groups.iter().any(|known| known == group);
        let mut document = Map::new();
        let mut set = |name: &str, value: Value| document.insert(name.to_owned(), value);
        set("id", self.id.as_str().into());
        set("projectId", PROJECT_ID.into());
        set("name", self.name.as_str().into());
        set("source", self.source.as_str().into());
        set("timestamp", time::iso(self.timestamp).into());
        set("environment", self.environment.as_str().into());
        // Stored in whole seconds, as by Langfuse.
        set("createdAt", time::iso(self.created / 1000 * 1000).into());
        set("updatedAt", time::iso(self.arrived).into());
        if has("details") {
            set("comment", json!(self.comment));
            set("configId", Value::Null);
            set("metadata", self.metadata.clone());
        }
        if has("annotation") {
            set("authorUserId", Value::Null);
            set("queueId", Value::Null);
        }
        if has("subject") {
            set("subject", self.subject.document());
        }
        set("dataType", json!(self.data_type));
        set("value", self.shown_value());
        Value::Object(document)
    }

    /// The score in the form of older servers.
    pub fn legacy_document(&self) -> Value {
        let text = match self.data_type {
            DataType::Boolean => Some(if self.is_true() { "True" } else { "False" }),
            _ => self.value.as_str(),
        };
        json!({
            "id": self.id,
            "projectId": PROJECT_ID,
            "traceId": self.subject.trace_id(),
            "observationId": self.subject.observation_id(),
            "sessionId": null,
            "datasetRunId": null,
            "name": self.name,
            "source": self.source,
            "dataType": self.data_type,
            "value": self.value.as_f64().unwrap_or_default(),
            "stringValue": text,
            "comment": self.comment,
            "configId": null,
            "metadata": self.metadata,
            "environment": self.environment,
            "authorUserId": null,
            "queueId": null,
            "timestamp": time::iso(self.timestamp),
            "createdAt": time::iso(self.created),
            "updatedAt": time::iso(self.arrived),
        })
    }

    /// The value as it is read: a boolean score is true or false, a number as JavaScript writes it.
    pub fn shown_value(&self) -> Value {
        match self.data_type {
            DataType::Boolean => self.is_true().into(),
            DataType::Numeric => self.value.as_f64().map_or(Value::Null, double),
            _ => self.value.clone(),
        }
    }

    fn is_true(&self) -> bool {
        self.value.as_f64() == Some(1.0)
    }
}
