//! The older completions API: a prompt in, texts out.

use serde_json::{Value, json};

use crate::json::lenient;
use crate::model::Request;

pub fn request(mut request: Request) -> Request {
    let prompt: Value = request.get("prompt").unwrap_or_default();
    request.remove("prompt");
    request.set("messages", &json!([{"role": "user", "content": prompt}]));
    request
}

pub fn response(mut body: Value) -> Value {
    for choice in choices(&mut body) {
        if let Some(text) = choice.remove("text") {
            let message = json!({"role": "assistant", "content": text});
            choice.insert("message".to_owned(), message);
        }
    }
    body
}

/// A chunk of a stream as one of chat completions; what is no JSON stays as it is.
pub fn chunk(event: &str) -> String {
    let Ok(mut chunk) = lenient::parse(event) else {
        return event.to_owned();
    };
    for choice in choices(&mut chunk) {
        if let Some(text) = choice.remove("text") {
            choice.insert("delta".to_owned(), json!({"content": text}));
        }
    }
    chunk.to_string()
}

fn choices(body: &mut Value) -> impl Iterator<Item = &mut serde_json::Map<String, Value>> {
    let choices = body.get_mut("choices").and_then(Value::as_array_mut);
    choices
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}
