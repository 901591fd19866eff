//! Anthropic's Messages API.

use serde_json::{Map, Value, json};

use super::Fold;
use crate::model::Request;

/// An answer that is streamed as events.
#[derive(Debug, Default)]
pub struct MessagesAnswer {
    message: Value,
    is_done: bool,
}

impl MessagesAnswer {
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// The message as far as it was received.
    pub fn into_body(self) -> Value {
        self.message
    }

    fn block(&mut self, event: &Value) -> Option<&mut Value> {
        // More blocks than any answer has are a broken stream, not a reason to allocate.
        const MOST_BLOCKS: usize = 4096;
        let index = usize::try_from(event["index"].as_u64()?).ok()?;
        let blocks = self.message.get_mut("content")?.as_array_mut()?;
        if index >= MOST_BLOCKS {
            return None;
        }
        if blocks.len() <= index {
            blocks.resize(index + 1, Value::Null);
        }
        blocks.get_mut(index)
    }

    fn add(&mut self, event: &Value) {
        let delta = &event["delta"];
        let Some(block) = self.block(event) else {
            return;
        };
        let (field, piece) = match delta["type"].as_str() {
            Some("text_delta") => ("text", &delta["text"]),
            Some("input_json_delta") => ("partial_json", &delta["partial_json"]),
            Some("thinking_delta") => ("thinking", &delta["thinking"]),
            _ => return,
        };
        let known = block[field].as_str().unwrap_or_default();
        let joined = format!("{known}{}", piece.as_str().unwrap_or_default());
        block[field] = joined.into();
    }
}

impl Fold for MessagesAnswer {
    fn push(&mut self, mut event: Value) -> Result<(), String> {
        match event["type"].as_str().unwrap_or_default() {
            "message_start" => {
                self.message = event["message"].take();
                if !self.message["content"].is_array() {
                    self.message["content"] = json!([]);
                }
            }
            "content_block_start" => {
                let block = event["content_block"].take();
                if let Some(place) = self.block(&event) {
                    *place = block;
                }
            }
            "content_block_delta" => self.add(&event),
            "message_delta" => {
                if let Some(reason) = event["delta"].get("stop_reason") {
                    self.message["stop_reason"] = reason.clone();
                }
                // Cumulative, and only what changed.
                for (key, count) in event["usage"].as_object().into_iter().flatten() {
                    if !count.is_null() {
                        self.message["usage"][key.as_str()] = count.clone();
                    }
                }
            }
            "message_stop" => self.is_done = true,
            "error" => {
                let error = &event["error"];
                let message = error["message"].as_str();
                return Err(message.map_or_else(|| error.to_string(), str::to_owned));
            }
            _ => {}
        }
        Ok(())
    }
}

/// The system prompt becomes the first message; all other fields stay.
pub fn request(mut request: Request) -> Request {
    if let Some(system) = request
        .get::<Value>("system")
        .filter(|system| !system.is_null())
    {
        let mut messages = vec![json!({"role": "system", "content": system})];
        messages.extend(request.messages());
        request.set("messages", &messages);
    }
    request.remove("system");
    request
}

pub fn response(body: &Value) -> Value {
    let blocks = body["content"].as_array().cloned().unwrap_or_default();
    let joined = |field: &str| {
        let texts: Vec<&str> = blocks
            .iter()
            .filter_map(|block| block[field].as_str())
            .collect();
        (!texts.is_empty()).then(|| texts.join(""))
    };
    let mut message = Map::new();
    message.insert("role".to_owned(), "assistant".into());
    message.insert("content".to_owned(), joined("text").into());
    if let Some(thinking) = joined("thinking") {
        message.insert("reasoning_content".to_owned(), thinking.into());
    }
    let calls = blocks.iter().filter(|block| block["type"] == "tool_use");
    let calls: Vec<Value> = calls.map(call).collect();
    if !calls.is_empty() {
        message.insert("tool_calls".to_owned(), calls.into());
    }
    let choices = if blocks.is_empty() {
        json!([])
    } else {
        json!([{"index": 0, "message": message, "finish_reason": reason(&body["stop_reason"])}])
    };
    json!({
        "id": body["id"], "object": "chat.completion", "model": body["model"],
        "usage": usage(&body["usage"]), "choices": choices,
    })
}

fn call(block: &Value) -> Value {
    let streamed = block["partial_json"].as_str();
    let arguments = streamed.map_or_else(|| block["input"].to_string(), str::to_owned);
    let function = json!({"name": block["name"], "arguments": arguments});
    json!({"id": block["id"], "type": "function", "function": function})
}

fn reason(reason: &Value) -> Value {
    match reason.as_str() {
        Some("end_turn" | "stop_sequence") => "stop".into(),
        Some("max_tokens") => "length".into(),
        Some("tool_use") => "tool_calls".into(),
        _ => reason.clone(),
    }
}

/// Anthropic counts cached tokens beside its input; OpenAI's total includes them.
fn usage(usage: &Value) -> Value {
    let Some(input) = usage["input_tokens"].as_u64() else {
        return Value::Null;
    };
    let count = |key: &str| usage[key].as_u64().unwrap_or(0);
    let (created, read) = (
        count("cache_creation_input_tokens"),
        count("cache_read_input_tokens"),
    );
    let output = count("output_tokens");
    let input = input + created + read;
    json!({
        "prompt_tokens": input,
        "completion_tokens": output,
        "total_tokens": input + output,
        "prompt_tokens_details": {"cached_tokens": read, "cache_creation_tokens": created},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::dialect::ModelApi;

    #[test]
    fn the_system_prompt_is_the_first_message() {
        let body = br#"{"model":"m","system":"be brief","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;
        let request = ModelApi::Messages.request(body).unwrap();
        assert_eq!(
            Value::from(request.messages()),
            json!([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}])
        );
        assert_eq!(request.parameters(&[]).unwrap(), r#"{"max_tokens":9}"#);
    }

    #[test]
    fn a_whole_answer_and_a_streamed_one_are_the_same() {
        let whole = ModelApi::Messages.response(json!({
            "id": "msg_1", "model": "claude", "stop_reason": "tool_use",
            "content": [{"type": "text", "text": "Hello"}, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}],
            "usage": {"input_tokens": 10, "cache_read_input_tokens": 2, "output_tokens": 17},
        }));
        let events = [
            json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude", "content": [],
                "usage": {"input_tokens": 10, "cache_read_input_tokens": 2, "output_tokens": 1}}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "ping"}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}}),
            json!({"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{\"a\":"}}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "1}"}}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 17}}),
            json!({"type": "message_stop"}),
        ];
        let mut reader = ModelApi::Messages.reader();
        for event in events {
            let kind = event["type"].as_str().unwrap();
            reader
                .push(format!("event: {kind}\ndata: {event}\n\n").as_bytes())
                .unwrap();
        }
        assert!(reader.is_done());
        assert_eq!(reader.into_body(), whole);
        let usage = crate::model::dialect::CHAT.completion(whole).usage.unwrap();
        assert_eq!((usage.all_input(), usage.all_output()), (12, 17));
    }

    #[test]
    fn an_error_in_the_stream_is_told() {
        let mut reader = ModelApi::Messages.reader();
        let error =
            reader.push(b"data: {\"type\":\"error\",\"error\":{\"message\":\"Overloaded\"}}\n\n");
        assert_eq!(error, Err("Overloaded".to_owned()));
    }
}
