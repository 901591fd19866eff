//! Embeddings: texts in, vectors out. The vectors are not kept.

use serde_json::{Value, json};

use crate::model::Request;

/// The input as the content of one message, so that it counts as content.
pub fn request(mut request: Request) -> Request {
    let input: Value = request.get("input").unwrap_or_default();
    request.remove("input");
    request.set("messages", &json!([{"role": "user", "content": input}]));
    request
}

pub fn response(body: &Value) -> Value {
    json!({"id": body["id"], "model": body["model"], "usage": body["usage"], "choices": []})
}
