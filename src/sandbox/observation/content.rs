//! The attributes that become an observation's input and output.

use serde_json::{Value, json};

use super::attributes::{text, truthy};
use crate::sandbox::ingest::{Attributes, Span};

/// Input and output, and the attributes that are therefore not shown as metadata.
#[derive(Debug, Default)]
pub struct Content {
    pub input: Option<String>,
    pub output: Option<String>,
    pub consumed: Vec<&'static str>,
}

/// `OpenInference`'s family. A real server removes it from the metadata even where another family wins.
const OPEN_INFERENCE: (&str, &str) = ("input.value", "output.value");
const LANGFUSE: (&str, &str) = ("langfuse.observation.input", "langfuse.observation.output");
const GEN_AI: (&str, &str) = ("gen_ai.input.messages", "gen_ai.output.messages");
const SYSTEM: &str = "gen_ai.system_instructions";
const GEN_AI_EVENT: &str = "gen_ai.client.inference.operation.details";
/// Of the scope `ai` alone.
const VERCEL: &[(&str, &str)] = &[
    ("ai.prompt.messages", "ai.response.text"),
    ("ai.prompt", "ai.response.text"),
    ("ai.toolCall.args", "ai.toolCall.result"),
];
/// Families of attributes in their order of precedence.
const FAMILIES: &[(&str, &str)] = &[
    ("mlflow.spanInputs", "mlflow.spanOutputs"),
    ("traceloop.entity.input", "traceloop.entity.output"),
    OPEN_INFERENCE,
    ("input", "output"),
    GEN_AI,
    ("gen_ai.tool.call.arguments", "gen_ai.tool.call.result"),
];

/// The first family with an input or an output provides both: families are never mixed.
pub fn of(span: &Span) -> Content {
    let sent = &span.attributes;
    let event = || {
        let event = span
            .events
            .iter()
            .find(|event| event.name == GEN_AI_EVENT)?;
        pair(&event.attributes, GEN_AI).map(|found| Content {
            consumed: Vec::new(),
            ..found
        })
    };
    let vercel = || {
        let is_vercel = span.scope.name == "ai";
        VERCEL
            .iter()
            .filter(|_| is_vercel)
            .find_map(|family| pair(sent, *family))
    };
    let mut content = pair(sent, LANGFUSE)
        .or_else(vercel)
        .or_else(event)
        .or_else(|| FAMILIES.iter().find_map(|family| pair(sent, *family)))
        .unwrap_or_default();
    content.consumed.extend([
        "langfuse.trace.input",
        "langfuse.trace.output",
        LANGFUSE.0,
        LANGFUSE.1,
        OPEN_INFERENCE.0,
        OPEN_INFERENCE.1,
    ]);
    content
}

fn pair(sent: &Attributes, (input, output): (&'static str, &'static str)) -> Option<Content> {
    let side = |key| sent.get(key).filter(|value| truthy(value)).map(text);
    let mut found = Content {
        input: side(input),
        output: side(output),
        consumed: vec![input, output],
    };
    if found.input.is_none() && found.output.is_none() {
        return None;
    }
    if (input, output) == GEN_AI {
        found.input = found
            .input
            .map(|input| with_system(input, sent.get(SYSTEM)));
        found.consumed.push(SYSTEM);
    }
    Some(found)
}

/// System instructions become the first message, unless there is a system message already.
fn with_system(messages: String, instructions: Option<&Value>) -> String {
    let Some(instructions) = instructions
        .filter(|value| truthy(value))
        .map(instruction_text)
    else {
        return messages;
    };
    match serde_json::from_str(&messages) {
        Ok(Value::Array(list)) if !list.iter().any(|message| message["role"] == "system") => {
            let mut all = vec![json!({"role": "system", "content": instructions})];
            all.extend(list);
            Value::Array(all).to_string()
        }
        _ => messages,
    }
}

fn instruction_text(sent: &Value) -> String {
    let plain = text(sent);
    match serde_json::from_str(&plain) {
        Ok(Value::Array(parts)) => parts
            .iter()
            .filter_map(|part| part["content"].as_str())
            .collect::<Vec<_>>()
            .join("\n"),
        _ => plain,
    }
}
