//! Reads the contents of messages, whichever dialect they are of.

use serde_json::Value;
use serde_json::value::RawValue;

/// Whether the JSON text of a message is that of a system message.
pub fn is_system(message: &RawValue) -> bool {
    let message: Option<Value> = serde_json::from_str(message.get()).ok();
    message.is_some_and(|message| matches!(message["role"].as_str(), Some("system" | "developer")))
}

/// The text of a message's `content`: a string, or the text parts of an array joined by newlines.
pub fn text_of(content: &Value) -> Option<String> {
    match content {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts
                .iter()
                .filter_map(|part| part["text"].as_str())
                .collect();
            (!texts.is_empty()).then(|| texts.join("\n"))
        }
        _ => None,
    }
}

/// The type of a JSON value, for messages.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
