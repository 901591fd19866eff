//! Anthropic's Messages.

mod cache;

use http::HeaderMap;
use serde_json::{Value, json};

use super::stand_in::{Format, Reply, Tool, ToolChoice, last_question, pieces, thoughts, tokens};
use super::{
    ANTHROPIC_VERSION, InvalidRequest, ModelAnswer, ModelEvent, digest, named_model, parse,
    positive,
};
use cache::InputTokens;

pub fn answer(headers: &HeaderMap, body: &[u8]) -> Result<ModelAnswer, Value> {
    let digest = digest(body);
    read_and_answer(headers, body, &digest).map_err(|invalid| invalid.anthropic(&digest))
}

fn read_and_answer(
    headers: &HeaderMap,
    body: &[u8],
    digest: &str,
) -> Result<ModelAnswer, InvalidRequest> {
    if !headers.contains_key(ANTHROPIC_VERSION) {
        return Err(InvalidRequest::MissingHeader(ANTHROPIC_VERSION));
    }
    let request = parse(body)?;
    let model = named_model(&request)?;
    if request.get("input").is_some() {
        return Err(InvalidRequest::Foreign {
            parameter: "input",
            instead: "messages",
        });
    }
    let limit = positive(&request, "max_tokens")?.ok_or(InvalidRequest::Missing("max_tokens"))?;
    let messages = messages(&request)?;
    let reply = match forced_call(&request)? {
        Some(call) => call,
        None => Reply::to(&last_question(messages), Format::Text, 0, Some(limit)),
    };
    let thinking = request["thinking"]["type"].as_str();
    let message = Message {
        digest,
        model,
        thoughts: thinking
            .filter(|kind| *kind != "disabled")
            .map(|_| thoughts()),
        input: InputTokens::of(&request, messages),
        reply,
    };
    Ok(if request["stream"] == true {
        ModelAnswer::Events(message.events())
    } else {
        ModelAnswer::Document(message.document())
    })
}

/// At least one message, each with a role that this API has.
fn messages(request: &Value) -> Result<&[Value], InvalidRequest> {
    let messages = match &request["messages"] {
        Value::Null => return Err(InvalidRequest::Missing("messages")),
        Value::Array(messages) => messages,
        _ => {
            return Err(InvalidRequest::value(
                "messages",
                "Input should be a valid list",
            ));
        }
    };
    if messages.is_empty() {
        return Err(InvalidRequest::value(
            "messages",
            "at least one message is required",
        ));
    }
    match messages
        .iter()
        .find(|message| !matches!(message["role"].as_str(), Some("user" | "assistant")))
    {
        None => Ok(messages),
        Some(message) => Err(InvalidRequest::value(
            "messages",
            format!(
                "Unexpected role {}. The system prompt is the parameter `system`, not a message",
                message["role"]
            ),
        )),
    }
}

fn forced_call(request: &Value) -> Result<Option<Reply>, InvalidRequest> {
    let tools: Vec<Tool> = request["tools"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|tool| Tool {
            name: tool["name"].as_str().unwrap_or_default(),
            schema: &tool["input_schema"],
        })
        .collect();
    let choice = &request["tool_choice"];
    let choice = match choice["type"].as_str() {
        Some("any") => ToolChoice::Any,
        Some("tool") => ToolChoice::Named(choice["name"].as_str().unwrap_or_default()),
        _ => ToolChoice::Free,
    };
    Reply::forced_call(&tools, choice)
}

/// An answer, before it is written as a document or as events.
struct Message<'a> {
    digest: &'a str,
    model: &'a str,
    /// If the request asks for thinking.
    thoughts: Option<&'static str>,
    reply: Reply,
    input: InputTokens,
}

impl Message<'_> {
    fn document(&self) -> Value {
        let thinking = self.thoughts.map(|text| self.thinking_block(text));
        let content: Value = thinking
            .into_iter()
            .chain([self.reply_block(true)])
            .collect();
        self.message(&content, Some(self.stop_reason()), self.output_tokens())
    }

    fn message(&self, content: &Value, stop_reason: Option<&str>, output_tokens: usize) -> Value {
        let mut usage = self.input.usage();
        usage["output_tokens"] = output_tokens.into();
        usage["service_tier"] = "standard".into();
        json!({
            "id": format!("msg_{}", self.digest),
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": null,
            "usage": usage,
        })
    }

    fn stop_reason(&self) -> &'static str {
        match self.reply {
            Reply::Text { is_cut: true, .. } => "max_tokens",
            Reply::Text { .. } => "end_turn",
            Reply::ToolCall { .. } => "tool_use",
        }
    }

    fn output_tokens(&self) -> usize {
        self.reply.tokens() + self.thoughts.map_or(0, tokens)
    }

    fn thinking_block(&self, text: &str) -> Value {
        json!({"type": "thinking", "thinking": text, "signature": self.signature()})
    }

    /// A real one proves that the thoughts are the model's own.
    fn signature(&self) -> String {
        format!("stand-in-{}", self.digest)
    }

    /// The text or the tool call; without its content until it is done.
    fn reply_block(&self, is_done: bool) -> Value {
        match &self.reply {
            Reply::Text { text, .. } => {
                json!({"type": "text", "text": if is_done { text.as_str() } else { "" }})
            }
            Reply::ToolCall { name, arguments } => {
                let input = Some(arguments).filter(|_| is_done);
                let input: Option<Value> = input.and_then(|text| serde_json::from_str(text).ok());
                let input = input.unwrap_or_else(|| json!({}));
                json!({"type": "tool_use", "id": format!("toolu_{}", self.digest), "name": name, "input": input})
            }
        }
    }

    fn events(&self) -> Vec<ModelEvent> {
        let mut events = vec![
            json!({"type": "message_start", "message": self.message(&json!([]), None, 1)}),
            json!({"type": "ping"}),
        ];
        let mut index = 0;
        if let Some(text) = self.thoughts {
            let begin = json!({"type": "thinking", "thinking": "", "signature": ""});
            let deltas = pieces(text)
                .into_iter()
                .map(|piece| json!({"type": "thinking_delta", "thinking": piece}))
                .chain([json!({"type": "signature_delta", "signature": self.signature()})]);
            events.extend(block_events(index, &begin, deltas));
            index += 1;
        }
        let delta = |piece| match self.reply {
            Reply::Text { .. } => json!({"type": "text_delta", "text": piece}),
            Reply::ToolCall { .. } => json!({"type": "input_json_delta", "partial_json": piece}),
        };
        let deltas = self.reply.pieces().into_iter().map(delta);
        events.extend(block_events(index, &self.reply_block(false), deltas));

        let mut usage = self.input.usage_of_delta();
        usage["output_tokens"] = self.output_tokens().into();
        let delta = json!({"stop_reason": self.stop_reason(), "stop_sequence": null});
        events.push(json!({"type": "message_delta", "delta": delta, "usage": usage}));
        events.push(json!({"type": "message_stop"}));
        events.iter().map(ModelEvent::typed).collect()
    }
}

/// The events of one block of content, from its start to its stop.
fn block_events(
    index: usize,
    block: &Value,
    deltas: impl Iterator<Item = Value>,
) -> impl Iterator<Item = Value> {
    let start = json!({"type": "content_block_start", "index": index, "content_block": block});
    let stop = json!({"type": "content_block_stop", "index": index});
    let deltas = deltas
        .map(move |delta| json!({"type": "content_block_delta", "index": index, "delta": delta}));
    std::iter::once(start).chain(deltas).chain([stop])
}
