//! The type and the level of an observation.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::attributes::{first, truthy};
use crate::sandbox::ingest::Attributes;

/// The type of an observation: the kind of work that it describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ObservationType {
    Span,
    Generation,
    Event,
    Embedding,
    Agent,
    Tool,
    Chain,
    Retriever,
    Guardrail,
    Evaluator,
}

impl ObservationType {
    /// The name in API answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Span => "SPAN",
            Self::Generation => "GENERATION",
            Self::Event => "EVENT",
            Self::Embedding => "EMBEDDING",
            Self::Agent => "AGENT",
            Self::Tool => "TOOL",
            Self::Chain => "CHAIN",
            Self::Retriever => "RETRIEVER",
            Self::Guardrail => "GUARDRAIL",
            Self::Evaluator => "EVALUATOR",
        }
    }

    /// Langfuse's own spelling is lower case only: `AGENT` is not a type there.
    fn from_langfuse(name: &str) -> Option<Self> {
        let is_lower = !name.contains(|c: char| c.is_ascii_uppercase());
        if is_lower {
            Self::deserialized(&name.to_ascii_uppercase())
        } else {
            None
        }
    }

    fn from_openinference(name: &str) -> Option<Self> {
        match name {
            "LLM" => Some(Self::Generation),
            "CHAIN" | "RETRIEVER" | "EMBEDDING" | "AGENT" | "TOOL" | "GUARDRAIL" | "EVALUATOR" => {
                Self::deserialized(name)
            }
            _ => None,
        }
    }

    fn from_operation(name: &str) -> Option<Self> {
        match name {
            "chat" | "completion" | "text_completion" | "generate_content" | "generate" => {
                Some(Self::Generation)
            }
            "embeddings" => Some(Self::Embedding),
            "invoke_agent" | "create_agent" => Some(Self::Agent),
            "execute_tool" => Some(Self::Tool),
            _ => None,
        }
    }

    fn deserialized(name: &str) -> Option<Self> {
        serde_json::from_value(name.into()).ok()
    }
}

/// The severity; ordered, so that the maximum of a trace is the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    Debug,
    Default,
    Warning,
    Error,
}

impl Level {
    /// The name in API answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Default => "DEFAULT",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// Attributes with a model's name; each of the first five also makes the span a generation.
pub const MODEL_KEYS: &[&str] = &[
    "langfuse.observation.model.name",
    "gen_ai.response.model",
    "gen_ai.request.model",
    "llm.model_name",
    "model",
    "llm.response.model",
];

/// The type by the first rule that applies.
pub fn of(sent: &Attributes) -> ObservationType {
    let named = |key, reading: fn(&str) -> Option<ObservationType>| {
        sent.get(key).and_then(Value::as_str).and_then(reading)
    };
    let present = |keys| first(sent, keys).map(|_| ());
    named("langfuse.observation.type", ObservationType::from_langfuse)
        .or_else(|| {
            named(
                "openinference.span.kind",
                ObservationType::from_openinference,
            )
        })
        .or_else(|| named("gen_ai.operation.name", ObservationType::from_operation))
        .or_else(|| {
            present(&["gen_ai.tool.name", "gen_ai.tool.call.id"]).map(|()| ObservationType::Tool)
        })
        .or_else(|| present(&MODEL_KEYS[..5]).map(|()| ObservationType::Generation))
        .unwrap_or(ObservationType::Span)
}

/// The stated level by any of its names, else the level of the span's status.
pub fn level(sent: &Attributes, is_error: bool) -> Level {
    let stated = sent
        .get("langfuse.observation.level")
        .filter(|level| truthy(level))
        .and_then(Value::as_str);
    let from_status = if is_error {
        Level::Error
    } else {
        Level::Default
    };
    match stated.unwrap_or_default().to_ascii_lowercase().as_str() {
        "debug" | "trace" | "verbose" => Level::Debug,
        "default" | "info" | "log" | "notice" | "ok" | "success" => Level::Default,
        "warn" | "warning" => Level::Warning,
        "error" | "fatal" | "critical" => Level::Error,
        _ => from_status,
    }
}
