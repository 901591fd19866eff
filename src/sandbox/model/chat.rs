//! Chat completions.

use http::HeaderMap;
use serde_json::{Map, Value, json};

use super::stand_in::{Format, Reply, Tool, ToolChoice, last_question, text, tokens};
use super::{
    CREATED, InvalidRequest, ModelAnswer, ModelEvent, digest, named_model, parse, positive,
};

const MOST_CHOICES: u64 = 128;

pub fn answer(_: &HeaderMap, body: &[u8]) -> Result<ModelAnswer, Value> {
    read_and_answer(body).map_err(|invalid| invalid.openai())
}

fn read_and_answer(body: &[u8]) -> Result<ModelAnswer, InvalidRequest> {
    let request = parse(body)?;
    let model = named_model(&request)?;
    let messages = match &request["messages"] {
        Value::Null => return Err(InvalidRequest::Missing("messages")),
        Value::Array(messages) if !messages.is_empty() => messages,
        _ => {
            return Err(InvalidRequest::value(
                "messages",
                "expected a list with at least one message",
            ));
        }
    };
    let count = match &request["n"] {
        Value::Null => 1,
        n => n
            .as_u64()
            .filter(|n| (1..=MOST_CHOICES).contains(n))
            .ok_or_else(|| InvalidRequest::value("n", "expected a number from 1 to 128"))?,
    };
    let limit = match positive(&request, "max_completion_tokens")? {
        None => positive(&request, "max_tokens")?,
        limit => limit,
    };
    let call = forced_call(&request)?;
    let reply = |index| {
        call.clone()
            .unwrap_or_else(|| Reply::to(&last_question(messages), format(&request), index, limit))
    };
    let replies: Vec<Reply> = (0..count).map(reply).collect();
    let usage_streamed = request["stream_options"]["include_usage"] == true;
    let answer = ChatAnswer {
        digest: digest(body),
        model,
        usage: usage(&request, messages, &replies),
        replies,
        usage_streamed,
    };
    Ok(if request["stream"] == true {
        ModelAnswer::Events(answer.events())
    } else {
        ModelAnswer::Document(answer.document())
    })
}

fn format(request: &Value) -> Format<'_> {
    let format = &request["response_format"];
    match format["type"].as_str() {
        Some("json_schema") => Format::Schema(&format["json_schema"]["schema"]),
        Some("json_object") => Format::Object,
        _ => Format::Text,
    }
}

fn forced_call(request: &Value) -> Result<Option<Reply>, InvalidRequest> {
    let tools: Vec<Tool> = request["tools"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|tool| Tool {
            name: tool["function"]["name"].as_str().unwrap_or_default(),
            schema: &tool["function"]["parameters"],
        })
        .collect();
    let choice = match &request["tool_choice"] {
        Value::String(choice) if choice == "required" => ToolChoice::Any,
        Value::Object(choice) if choice.contains_key("function") => {
            ToolChoice::Named(choice["function"]["name"].as_str().unwrap_or_default())
        }
        _ => ToolChoice::Free,
    };
    Reply::forced_call(&tools, choice)
}

fn usage(request: &Value, messages: &[Value], replies: &[Reply]) -> Value {
    let tools = request["tools"].as_array().map_or(0, |tools| {
        tools.iter().map(|tool| tokens(&tool.to_string())).sum()
    });
    let prompt = tools
        + messages
            .iter()
            .map(|message| tokens(&text(&message["content"])))
            .sum::<usize>();
    let completion: usize = replies.iter().map(Reply::tokens).sum();
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    })
}

/// An answer, before it is written as a document or as events.
struct ChatAnswer<'a> {
    digest: String,
    model: &'a str,
    replies: Vec<Reply>,
    usage: Value,
    usage_streamed: bool,
}

impl ChatAnswer<'_> {
    fn id(&self) -> String {
        format!("chatcmpl-{}", self.digest)
    }

    fn call_id(&self, index: usize) -> String {
        format!("call_{}_{index}", self.digest)
    }

    fn document(&self) -> Value {
        let choice = |(index, reply): (usize, &Reply)| {
            let message = match reply {
                Reply::Text { text, .. } => {
                    json!({"role": "assistant", "content": text, "refusal": null})
                }
                Reply::ToolCall { name, arguments } => json!({
                    "role": "assistant",
                    "content": null,
                    "refusal": null,
                    "tool_calls": [{
                        "id": self.call_id(index), "type": "function",
                        "function": {"name": name, "arguments": arguments},
                    }],
                }),
            };
            json!({"index": index, "message": message, "logprobs": null, "finish_reason": finish_reason(reply)})
        };
        let choices: Value = self.replies.iter().enumerate().map(choice).collect();
        json!({
            "id": self.id(),
            "object": "chat.completion",
            "created": CREATED,
            "model": self.model,
            "choices": choices,
            "usage": self.usage,
        })
    }

    /// The closing `[DONE]` included.
    fn events(&self) -> Vec<ModelEvent> {
        let mut events = Vec::new();
        for (index, reply) in self.replies.iter().enumerate() {
            let choice = |delta: Value, finish_reason: Option<&str>| json!([{"index": index, "delta": delta, "logprobs": null, "finish_reason": finish_reason}]);
            events.extend(
                self.deltas(index, reply)
                    .into_iter()
                    .map(|delta| self.chunk(choice(delta, None), None)),
            );
            events.push(self.chunk(choice(json!({}), Some(finish_reason(reply))), None));
        }
        if self.usage_streamed {
            events.push(self.chunk(json!([]), Some(&self.usage)));
        }
        events.push("[DONE]".to_owned());
        let unnamed = |data| ModelEvent { name: None, data };
        events.into_iter().map(unnamed).collect()
    }

    /// The first delta has the role, each of the others some words or a part of the arguments.
    fn deltas(&self, index: usize, reply: &Reply) -> Vec<Value> {
        let pieces = reply.pieces().into_iter();
        match reply {
            Reply::Text { .. } => std::iter::once(json!({"role": "assistant", "content": ""}))
                .chain(pieces.map(|piece| json!({"content": piece})))
                .collect(),
            Reply::ToolCall { name, .. } => {
                let call = json!({
                    "index": 0, "id": self.call_id(index), "type": "function",
                    "function": {"name": name, "arguments": ""},
                });
                let first = json!({"role": "assistant", "content": null, "tool_calls": [call]});
                let part =
                    |piece| json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]});
                std::iter::once(first).chain(pieces.map(part)).collect()
            }
        }
    }

    fn chunk(&self, choices: Value, usage: Option<&Value>) -> String {
        let mut chunk = Map::new();
        chunk.insert("id".to_owned(), self.id().into());
        chunk.insert("object".to_owned(), "chat.completion.chunk".into());
        chunk.insert("created".to_owned(), CREATED.into());
        chunk.insert("model".to_owned(), self.model.into());
        chunk.insert("choices".to_owned(), choices);
        if self.usage_streamed {
            chunk.insert("usage".to_owned(), json!(usage));
        }
        Value::Object(chunk).to_string()
    }
}

fn finish_reason(reply: &Reply) -> &'static str {
    match reply {
        Reply::Text { is_cut: true, .. } => "length",
        Reply::Text { .. } => "stop",
        Reply::ToolCall { .. } => "tool_calls",
    }
}
