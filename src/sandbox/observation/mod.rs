//! A span as Langfuse stores it: one row, by the attribute mapping of its direct write path (4.16).
//!
//! The mapping covers OpenTelemetry's `gen_ai.*`, `OpenInference` and Langfuse's own attributes;
//! the private ones of single frameworks are left out, and so are prices and token counting, which
//! need the server's tables.

mod attributes;
mod content;
mod experiment;
mod kind;
mod metadata;
mod usage;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ingest::{Attributes, Span};
use super::time::{self, Millis};
use attributes::{first, parsed_object, text};
pub use experiment::ExperimentFields;
pub use kind::{Level, ObservationType};
pub use metadata::{Metadata, parsed};
pub use usage::sum_of;

/// One observation as it is stored; every interface derives its own form from it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Observation {
    pub id: String,
    pub trace_id: String,
    pub parent_id: Option<String>,
    pub kind: ObservationType,
    pub name: String,
    pub level: Level,
    pub status_message: String,
    pub start: Millis,
    pub end: Millis,
    pub completion_start: Option<Millis>,
    /// When the sandbox accepted it.
    pub arrived: Millis,
    pub environment: String,
    pub version: String,
    pub release: String,
    pub input: Option<String>,
    pub output: Option<String>,
    pub metadata: Metadata,
    pub model: String,
    pub model_parameters: Attributes,
    pub usage: Map<String, Value>,
    pub cost: Map<String, Value>,
    pub prompt_name: String,
    pub prompt_version: Option<i64>,
    pub is_root: bool,
    pub public: bool,
    pub user_id: String,
    pub session_id: String,
    pub tags: Vec<String>,
    pub trace_name: Option<String>,
    /// Content for the trace as a whole, which only the legacy interface shows.
    pub trace_input: Option<String>,
    pub trace_output: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<ExperimentFields>,
}

impl Observation {
    /// The row of `span`, which arrived at `arrived`.
    pub fn from_span(span: &Span, arrived: Millis) -> Self {
        let sent = &span.attributes;
        let kind = kind::of(sent);
        let name = or(
            stated(sent, &["gen_ai.tool.name", "logfire.msg"]),
            &span.name,
        );
        let is_root =
            span.parent_id.is_none() || is_true(sent.get("langfuse.internal.is_app_root"));
        let content = content::of(span);
        let start = span.start.or(span.end).unwrap_or(arrived);
        let (model, usage, cost) = consumption(sent);
        let (prompt_name, prompt_version) = prompt(sent, kind);
        Self {
            id: span.id.clone(),
            trace_id: span.trace_id.clone(),
            parent_id: span.parent_id.clone(),
            kind,
            level: kind::level(sent, span.is_error),
            status_message: or(stated(sent, STATUS_MESSAGE), &span.status_message),
            start,
            end: span.end.unwrap_or(start),
            completion_start: completion_start(sent),
            arrived,
            environment: environment(span),
            version: or(
                stated(sent, VERSION),
                &stated(&span.resource, &["service.version"]),
            ),
            release: or(stated(sent, RELEASE), &stated(&span.resource, RELEASE)),
            metadata: Metadata::of(span, &content.consumed),
            input: content.input,
            output: content.output,
            model,
            model_parameters: model_parameters(sent),
            usage,
            cost,
            prompt_name,
            prompt_version,
            is_root,
            public: is_true(first(sent, &["langfuse.trace.public", "langfuse.public"])),
            user_id: stated(sent, USER),
            session_id: stated(sent, SESSION),
            tags: first(sent, TAGS).map_or_else(Vec::new, tags),
            trace_name: first(sent, &["langfuse.trace.name"])
                .map(text)
                .or_else(|| is_root.then(|| name.clone())),
            name,
            trace_input: first(sent, &["langfuse.trace.input"]).map(text),
            trace_output: first(sent, &["langfuse.trace.output"]).map(text),
            experiment: ExperimentFields::of(sent),
        }
    }

    /// Seconds from start to end.
    pub fn latency(&self) -> f64 {
        time::seconds(self.start, self.end)
    }

    /// Seconds from start to the first token; negative if the sender's times are.
    pub fn time_to_first_token(&self) -> Option<f64> {
        self.completion_start
            .map(|first| time::seconds(self.start, first))
    }
}

const USER: &[&str] = &[
    "langfuse.user.id",
    "user.id",
    "langfuse.observation.metadata.langfuse_user_id",
    "langfuse.trace.metadata.langfuse_user_id",
];
const SESSION: &[&str] = &[
    "langfuse.session.id",
    "session.id",
    "gen_ai.conversation.id",
    "langfuse.observation.metadata.langfuse_session_id",
    "langfuse.trace.metadata.langfuse_session_id",
];
const TAGS: &[&str] = &[
    "langfuse.trace.tags",
    "langfuse.tags",
    "langfuse.observation.metadata.langfuse_tags",
    "langfuse.trace.metadata.langfuse_tags",
    "tag.tags",
];
const STATUS_MESSAGE: &[&str] = &["langfuse.observation.status_message"];
const VERSION: &[&str] = &["langfuse.version"];
const RELEASE: &[&str] = &["langfuse.release"];

/// The first truthy one of `keys`, as text; else empty.
fn stated(sent: &Attributes, keys: &[&str]) -> String {
    first(sent, keys).map_or_else(String::new, text)
}

fn or(text: String, otherwise: &str) -> String {
    if text.is_empty() {
        otherwise.to_owned()
    } else {
        text
    }
}

type Consumption = (String, Map<String, Value>, Map<String, Value>);

/// Model, usage and cost. An agent has none: they would be counted again beside its generations'.
fn consumption(sent: &Attributes) -> Consumption {
    match stated(sent, &["gen_ai.operation.name"]).as_str() {
        "invoke_agent" | "agent_step" => Consumption::default(),
        _ => (
            stated(sent, kind::MODEL_KEYS),
            usage::of(sent),
            usage::cost(sent),
        ),
    }
}

/// Name and version of the prompt, which only generations have.
fn prompt(sent: &Attributes, kind: ObservationType) -> (String, Option<i64>) {
    if kind != ObservationType::Generation {
        return Default::default();
    }
    let name = stated(
        sent,
        &["langfuse.observation.prompt.name", "langfuse.prompt.name"],
    );
    let version = stated(
        sent,
        &[
            "langfuse.observation.prompt.version",
            "langfuse.prompt.version",
        ],
    );
    (name, version.parse().ok())
}

fn is_true(value: Option<&Value>) -> bool {
    value.is_some_and(|value| *value == Value::Bool(true) || value == "true")
}

/// An array, or a text: a JSON array, a comma-separated list or one tag.
fn tags(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().map(text).collect(),
        Value::String(list) if list.trim_start().starts_with('[') => {
            match serde_json::from_str(list) {
                Ok(Value::Array(values)) => values.iter().map(text).collect(),
                _ => vec![list.clone()],
            }
        }
        Value::String(list) => list.split(',').map(|tag| tag.trim().to_owned()).collect(),
        _ => Vec::new(),
    }
}

fn environment(span: &Span) -> String {
    const DEFAULT: &str = "default";
    let sent = [
        "langfuse.environment",
        "deployment.environment.name",
        "deployment.environment",
    ]
    .iter()
    .find_map(|key| first(&span.attributes, &[key]).or_else(|| first(&span.resource, &[key])))
    .map_or_else(String::new, text)
    .to_lowercase();
    let mut name = sent.as_str();
    while let Some(rest) = name.strip_prefix("langfuse") {
        name = rest.strip_prefix(['-', '_']).unwrap_or(rest);
    }
    let name: String = name.chars().take(40).collect();
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(valid) {
        DEFAULT.to_owned()
    } else {
        name
    }
}

/// An ISO time, also as a JSON string inside the text.
fn completion_start(sent: &Attributes) -> Option<Millis> {
    let stated = text(first(
        sent,
        &["langfuse.observation.completion_start_time"],
    )?);
    time::parse(serde_json::from_str(&stated).unwrap_or(stated).as_str())
}

/// Explicit parameters replace those of `gen_ai.request.*`; only texts and numbers keep their type.
fn model_parameters(sent: &Attributes) -> Attributes {
    let explicit = [
        "langfuse.observation.model.parameters",
        "llm.invocation_parameters",
    ]
    .iter()
    .find_map(|key| parsed_object(sent.get(*key)?));
    let parameters = explicit.unwrap_or_else(|| {
        sent.iter()
            .filter_map(|(key, value)| Some((key.strip_prefix("gen_ai.request.")?, value)))
            .filter(|(key, _)| *key != "model")
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect()
    });
    parameters
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| {
            if value.is_number() {
                (key, value)
            } else {
                (key, Value::String(text(&value)))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tags_come_in_four_forms() {
        assert_eq!(tags(&json!(["a, b", 1])), ["a, b", "1"]);
        assert_eq!(tags(&json!(r#" ["a","b"]"#)), ["a", "b"]);
        assert_eq!(tags(&json!("a , b")), ["a", "b"]);
        assert_eq!(tags(&json!(7)), Vec::<String>::new());
    }

    #[test]
    fn explicit_model_parameters_replace_the_requested_ones() {
        let sent = json!({
            "gen_ai.request.temperature": 1,
            "langfuse.observation.model.parameters": r#"{"top_p":0.5,"stop":["x"],"seed":null}"#,
        });
        let parameters = model_parameters(sent.as_object().unwrap());
        assert_eq!(
            Value::Object(parameters),
            json!({"top_p": 0.5, "stop": r#"["x"]"#})
        );
    }
}
