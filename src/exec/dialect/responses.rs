//! OpenAI's Responses API.

use serde_json::{Map, Value, json};

use super::Fold;
use crate::model::Request;

/// An answer that is streamed as events.
#[derive(Debug, Default)]
pub struct ResponsesAnswer {
    /// The response as the latest event has it.
    response: Value,
    /// The text so far, for a stream that breaks off.
    text: String,
    is_done: bool,
}

impl ResponsesAnswer {
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// The response, with what was said so far if it did not come to its end.
    pub fn into_body(self) -> Value {
        let mut response = self.response;
        if !self.is_done && !self.text.is_empty() {
            let part = json!({"type": "output_text", "text": self.text});
            response["output"] =
                json!([{"type": "message", "role": "assistant", "content": [part]}]);
        }
        response
    }
}

impl Fold for ResponsesAnswer {
    fn push(&mut self, mut event: Value) -> Result<(), String> {
        let kind = event["type"].as_str().unwrap_or_default().to_owned();
        if kind == "response.output_text.delta" {
            self.text
                .push_str(event["delta"].as_str().unwrap_or_default());
        }
        if event["response"].is_object() {
            self.response = event["response"].take();
        }
        self.is_done |= matches!(
            kind.as_str(),
            "response.completed" | "response.incomplete" | "response.failed" | "error"
        );
        match kind.as_str() {
            "response.failed" => Err(message(&self.response["error"])),
            "error" => Err(message(&event)),
            _ => Ok(()),
        }
    }
}

fn message(error: &Value) -> String {
    let message = error["message"].as_str();
    message.map_or_else(|| error.to_string(), str::to_owned)
}

/// Instructions and input items become messages; all other fields stay.
pub fn request(mut request: Request) -> Request {
    let mut messages = Vec::new();
    if let Some(instructions) = request.get::<String>("instructions") {
        messages.push(json!({"role": "system", "content": instructions}));
    }
    match request.get::<Value>("input") {
        Some(Value::Array(items)) => messages.extend(items.into_iter().map(item)),
        Some(Value::Null) | None => {}
        Some(input) => messages.push(json!({"role": "user", "content": input})),
    }
    request.remove("instructions");
    request.remove("input");
    request.set("messages", &messages);
    request
}

fn item(mut item: Value) -> Value {
    match item["type"].as_str() {
        Some("function_call") => json!({"role": "assistant", "tool_calls": [call(&item)]}),
        Some("function_call_output") => {
            json!({"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]})
        }
        _ => {
            if let Some(parts) = item.get_mut("content").and_then(Value::as_array_mut) {
                parts.iter_mut().for_each(part);
            }
            item
        }
    }
}

fn part(part: &mut Value) {
    match part["type"].as_str() {
        Some("input_text" | "output_text") => *part = json!({"type": "text", "text": part["text"]}),
        Some("input_image") => {
            *part = json!({"type": "image_url", "image_url": {"url": part["image_url"]}});
        }
        _ => {}
    }
}

fn call(item: &Value) -> Value {
    let function = json!({"name": item["name"], "arguments": item["arguments"]});
    json!({"id": item["call_id"], "type": "function", "function": function})
}

pub fn response(body: &Value) -> Value {
    let items = body["output"].as_array().cloned().unwrap_or_default();
    let mut message = Map::new();
    message.insert("role".to_owned(), "assistant".into());
    let of_type = |kind: &'static str| items.iter().filter(move |item| item["type"] == kind);
    let parts: Vec<&Value> = of_type("message")
        .filter_map(|item| item["content"].as_array())
        .flatten()
        .collect();
    let joined = |field: &str| {
        let texts: Vec<&str> = parts
            .iter()
            .filter_map(|part| part[field].as_str())
            .collect();
        (!texts.is_empty()).then(|| texts.join(""))
    };
    message.insert("content".to_owned(), joined("text").into());
    if let Some(refusal) = joined("refusal") {
        message.insert("refusal".to_owned(), refusal.into());
    }
    let calls: Vec<Value> = of_type("function_call").map(call).collect();
    if !calls.is_empty() {
        message.insert("tool_calls".to_owned(), calls.into());
    }
    let choices = if items.is_empty() {
        json!([])
    } else {
        json!([{"index": 0, "message": message, "finish_reason": reason(body)}])
    };
    json!({
        "id": body["id"], "object": "chat.completion", "model": body["model"],
        "service_tier": body["service_tier"], "usage": usage(&body["usage"]), "choices": choices,
    })
}

fn reason(body: &Value) -> Value {
    match body["incomplete_details"]["reason"].as_str() {
        Some("max_output_tokens") => "length".into(),
        Some(reason) => reason.into(),
        None if body["status"] == "completed" => "stop".into(),
        None => body["status"].clone(),
    }
}

fn usage(usage: &Value) -> Value {
    if !usage.is_object() {
        return Value::Null;
    }
    json!({
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
        "prompt_tokens_details": usage["input_tokens_details"],
        "completion_tokens_details": usage["output_tokens_details"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::dialect::ModelApi;

    #[test]
    fn instructions_and_items_become_messages() {
        let body = br#"{"model":"m","instructions":"be brief","input":[{"role":"user","content":[{"type":"input_text","text":"hi"}]},
            {"type":"function_call","call_id":"c","name":"f","arguments":"{}"},
            {"type":"function_call_output","call_id":"c","output":"1"}],"temperature":0.5}"#;
        let request = ModelApi::Responses.request(body).unwrap();
        assert_eq!(
            Value::from(request.messages()),
            json!([
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "hi"}]},
                {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "c", "content": "1"},
            ])
        );
        assert_eq!(request.parameters(&[]).unwrap(), r#"{"temperature":0.5}"#);
    }

    #[test]
    fn a_whole_answer_and_a_streamed_one_are_the_same() {
        let response = json!({
            "id": "resp_1", "model": "m", "status": "completed",
            "output": [
                {"type": "reasoning"},
                {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            ],
            "usage": {"input_tokens": 12, "output_tokens": 17, "total_tokens": 29, "input_tokens_details": {"cached_tokens": 2}},
        });
        let whole = ModelApi::Responses.response(response.clone());
        let mut reader = ModelApi::Responses.reader();
        let done = json!({"type": "response.completed", "response": response});
        let delta = json!({"type": "response.output_text.delta", "delta": "Hello"});
        reader
            .push(format!("event: x\ndata: {delta}\n\ndata: {done}\n\n").as_bytes())
            .unwrap();
        assert!(reader.is_done());
        assert_eq!(reader.into_body(), whole);
        let completion = crate::model::dialect::CHAT.completion(whole);
        assert_eq!(completion.text().as_deref(), Some("Hello"));
        assert_eq!(completion.id.as_deref(), Some("resp_1"));
        assert_eq!(completion.tool_calls().len(), 1);
        assert_eq!(completion.usage.unwrap().input_cached, 2);
    }

    #[test]
    fn a_stream_that_breaks_off_keeps_its_text() {
        let mut reader = ModelApi::Responses.reader();
        let created = json!({"type": "response.created", "response": {"id": "resp_1", "model": "m", "output": []}});
        let delta = json!({"type": "response.output_text.delta", "delta": "Hel"});
        reader
            .push(format!("data: {created}\n\ndata: {delta}\n\n").as_bytes())
            .unwrap();
        assert!(!reader.is_whole());
        let completion = crate::model::dialect::CHAT.completion(reader.into_body());
        assert_eq!(completion.text().as_deref(), Some("Hel"));
    }
}
