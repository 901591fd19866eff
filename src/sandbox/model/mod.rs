//! The chat model: the answer to a chat-completions body. A pure function, so that the same request always gets the
//! same answer, which says that it does not come from a real model.
//!
//! One token is four characters of text, rounded up.

mod schema;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::hex::hex;

/// The one model of the list; a request may name any model.
const NAME: &str = "langspan-stand-in";
/// All answers have the same date, so that the same request gets the same answer.
const CREATED: u64 = 1_767_225_600;
const CHARS_PER_TOKEN: usize = 4;
const ECHOED_CHARS: usize = 120;
const WORDS_PER_CHUNK: usize = 4;
const MOST_CHOICES: u64 = 128;

/// The answer of `GET /v1/models`.
pub fn list() -> Value {
    json!({
        "object": "list",
        "data": [{"id": NAME, "object": "model", "created": CREATED, "owned_by": "langspan"}],
    })
}

/// A request that cannot be answered.
#[derive(Debug, Default)]
pub struct InvalidRequest {
    message: String,
    parameter: Option<&'static str>,
    code: Option<&'static str>,
}

impl InvalidRequest {
    fn missing(parameter: &'static str) -> Self {
        let message = format!("Missing required parameter: '{parameter}'.");
        Self {
            message,
            parameter: Some(parameter),
            code: Some("missing_required_parameter"),
        }
    }

    fn value(parameter: &'static str, rule: &str) -> Self {
        let message = format!("Invalid value for '{parameter}': {rule}.");
        Self {
            message,
            parameter: Some(parameter),
            code: Some("invalid_value"),
        }
    }

    pub fn body(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": "invalid_request_error",
            "param": self.parameter,
            "code": self.code,
        }})
    }
}

/// An answer, before it is written as a document or as events.
#[derive(Debug)]
pub struct ModelAnswer {
    id: String,
    model: String,
    choices: Vec<Reply>,
    usage: Value,
    streamed: bool,
    usage_streamed: bool,
}

#[derive(Debug, Clone)]
enum Reply {
    Text(String),
    ToolCall {
        id: String,
        name: String,
        arguments: String,
    },
}

/// Reads a request body and answers it.
pub fn answer(body: &[u8]) -> Result<ModelAnswer, InvalidRequest> {
    let request: Value = serde_json::from_slice(body).map_err(|error| InvalidRequest {
        message: format!("The body is not valid JSON: {error}"),
        ..InvalidRequest::default()
    })?;
    let model = match &request["model"] {
        Value::String(model) if !model.is_empty() => model.clone(),
        _ => return Err(InvalidRequest::missing("model")),
    };
    let messages = match &request["messages"] {
        Value::Null => return Err(InvalidRequest::missing("messages")),
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

    let digest = hex(&Sha256::digest(body)[..12]);
    let choices: Vec<Reply> = (0..count)
        .map(|index| reply(&request, messages, &digest, index))
        .collect::<Result<_, _>>()?;
    Ok(ModelAnswer {
        id: format!("chatcmpl-{digest}"),
        model,
        usage: usage(&request, messages, &choices),
        choices,
        streamed: request["stream"] == true,
        usage_streamed: request["stream_options"]["include_usage"] == true,
    })
}

fn reply(
    request: &Value,
    messages: &[Value],
    digest: &str,
    index: u64,
) -> Result<Reply, InvalidRequest> {
    if let Some(tool) = asked_tool(request)? {
        return Ok(Reply::ToolCall {
            id: format!("call_{digest}_{index}"),
            name: tool["name"].as_str().unwrap_or_default().to_owned(),
            arguments: schema::least_object(&tool["parameters"]).to_string(),
        });
    }
    let format = &request["response_format"];
    let text = match format["type"].as_str() {
        Some("json_schema") => schema::least_object(&format["json_schema"]["schema"]).to_string(),
        Some("json_object") => json!({"answer": sentence(messages, index)}).to_string(),
        _ => sentence(messages, index),
    };
    Ok(Reply::Text(text))
}

/// The function that the request forces the model to call.
fn asked_tool(request: &Value) -> Result<Option<&Value>, InvalidRequest> {
    let functions: Vec<&Value> = request["tools"]
        .as_array()
        .map(|tools| tools.iter().map(|tool| &tool["function"]).collect())
        .unwrap_or_default();
    let unknown =
        || InvalidRequest::value("tool_choice", "the tools have no function of this name");
    match &request["tool_choice"] {
        Value::String(choice) if choice == "required" => functions
            .first()
            .copied()
            .map(Some)
            .ok_or_else(|| InvalidRequest::value("tool_choice", "there are no tools")),
        Value::Object(choice) if choice.contains_key("function") => {
            let name = &choice["function"]["name"];
            functions
                .into_iter()
                .find(|function| function["name"] == *name)
                .map(Some)
                .ok_or_else(unknown)
        }
        _ => Ok(None),
    }
}

fn sentence(messages: &[Value], index: u64) -> String {
    let question = messages
        .iter()
        .rev()
        .find(|message| message["role"] == "user")
        .map_or_else(String::new, |message| text(&message["content"]));
    let question = question.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut echo: String = question.chars().take(ECHOED_CHARS).collect();
    if echo.len() < question.len() {
        echo.push('…');
    }
    let choice = if index == 0 {
        String::new()
    } else {
        format!(" This is choice {}.", index + 1)
    };
    format!(
        "I am langspan's stand-in, not a real model, and can only repeat the question: “{echo}”.{choice}"
    )
}

/// The text of a message's content, which is a string or a list of parts.
fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}

fn usage(request: &Value, messages: &[Value], choices: &[Reply]) -> Value {
    let tools = request["tools"].as_array().map_or(0, |tools| {
        tools.iter().map(|tool| tokens(&tool.to_string())).sum()
    });
    let prompt = tools
        + messages
            .iter()
            .map(|message| tokens(&text(&message["content"])))
            .sum::<usize>();
    let completion: usize = choices
        .iter()
        .map(|choice| match choice {
            Reply::Text(text) => tokens(text),
            Reply::ToolCall {
                name, arguments, ..
            } => tokens(name) + tokens(arguments),
        })
        .sum();
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    })
}

fn tokens(text: &str) -> usize {
    text.chars().count().div_ceil(CHARS_PER_TOKEN)
}

impl ModelAnswer {
    pub fn streamed(&self) -> bool {
        self.streamed
    }

    /// The answer as one document.
    pub fn document(&self) -> Value {
        let choice = |(index, reply): (usize, &Reply)| {
            let message = match reply {
                Reply::Text(text) => json!({"role": "assistant", "content": text, "refusal": null}),
                Reply::ToolCall {
                    id,
                    name,
                    arguments,
                } => json!({
                    "role": "assistant",
                    "content": null,
                    "refusal": null,
                    "tool_calls": [{
                        "id": id, "type": "function", "function": {"name": name, "arguments": arguments},
                    }],
                }),
            };
            json!({"index": index, "message": message, "logprobs": null, "finish_reason": reply.finish_reason()})
        };
        let choices: Value = self.choices.iter().enumerate().map(choice).collect();
        json!({
            "id": self.id,
            "object": "chat.completion",
            "created": CREATED,
            "model": self.model,
            "choices": choices,
            "usage": self.usage,
        })
    }

    /// The data of each server-sent event, the closing `[DONE]` included.
    pub fn events(&self) -> Vec<String> {
        let mut events = Vec::new();
        for (index, reply) in self.choices.iter().enumerate() {
            let choice = |delta: Value, finish_reason: Option<&str>| json!([{"index": index, "delta": delta, "logprobs": null, "finish_reason": finish_reason}]);
            events.extend(
                reply
                    .deltas()
                    .into_iter()
                    .map(|delta| self.chunk(choice(delta, None), None)),
            );
            events.push(self.chunk(choice(json!({}), Some(reply.finish_reason())), None));
        }
        if self.usage_streamed {
            events.push(self.chunk(json!([]), Some(&self.usage)));
        }
        events.push("[DONE]".to_owned());
        events
    }

    fn chunk(&self, choices: Value, usage: Option<&Value>) -> String {
        let mut chunk = Map::new();
        chunk.insert("id".to_owned(), self.id.as_str().into());
        chunk.insert("object".to_owned(), "chat.completion.chunk".into());
        chunk.insert("created".to_owned(), CREATED.into());
        chunk.insert("model".to_owned(), self.model.as_str().into());
        chunk.insert("choices".to_owned(), choices);
        if self.usage_streamed {
            chunk.insert("usage".to_owned(), json!(usage));
        }
        Value::Object(chunk).to_string()
    }
}

impl Reply {
    fn finish_reason(&self) -> &'static str {
        match self {
            Self::Text(_) => "stop",
            Self::ToolCall { .. } => "tool_calls",
        }
    }

    /// The first delta has the role, each of the others some words or a part of the arguments.
    fn deltas(&self) -> Vec<Value> {
        match self {
            Self::Text(text) => {
                let words: Vec<&str> = text.split_inclusive(' ').collect();
                let pieces = words
                    .chunks(WORDS_PER_CHUNK)
                    .map(|words| json!({"content": words.concat()}));
                std::iter::once(json!({"role": "assistant", "content": ""}))
                    .chain(pieces)
                    .collect()
            }
            Self::ToolCall {
                id,
                name,
                arguments,
            } => {
                let call = json!({
                    "index": 0, "id": id, "type": "function", "function": {"name": name, "arguments": ""},
                });
                let middle = arguments
                    .char_indices()
                    .nth(arguments.chars().count() / 2)
                    .map_or(0, |(at, _)| at);
                let (begin, end) = arguments.split_at(middle);
                let part = |text: &str| json!({"tool_calls": [{"index": 0, "function": {"arguments": text}}]});
                let first = json!({"role": "assistant", "content": null, "tool_calls": [call]});
                vec![first, part(begin), part(end)]
            }
        }
    }
}
