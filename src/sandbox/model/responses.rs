//! OpenAI's Responses. Nothing is stored, so `previous_response_id` adds nothing to the input.

use http::HeaderMap;
use serde_json::{Value, json};

use super::stand_in::{
    Format, Reply, Tool, ToolChoice, last_question, pieces, text, thoughts, tokens,
};
use super::{
    CREATED, InvalidRequest, ModelAnswer, ModelEvent, digest, named_model, parse, positive,
};

/// How the ids of responses begin.
const ID: &str = "resp_";

pub fn answer(_: &HeaderMap, body: &[u8]) -> Result<ModelAnswer, Value> {
    read_and_answer(body).map_err(|invalid| invalid.openai())
}

fn read_and_answer(body: &[u8]) -> Result<ModelAnswer, InvalidRequest> {
    let request = parse(body)?;
    let model = named_model(&request)?;
    if request.get("messages").is_some() {
        return Err(InvalidRequest::Foreign {
            parameter: "messages",
            instead: "input",
        });
    }
    let input = input_items(&request)?;
    let limit = positive(&request, "max_output_tokens")?;
    if let Some(id) = request["previous_response_id"].as_str()
        && !id.starts_with(ID)
    {
        return Err(InvalidRequest::UnknownResponse(id.to_owned()));
    }
    let reply = match forced_call(&request)? {
        Some(call) => call,
        None => Reply::to(&last_question(&input), format(&request), 0, limit),
    };
    let response = Response {
        digest: digest(body),
        model,
        request: &request,
        input: &input,
        reply,
    };
    Ok(if request["stream"] == true {
        ModelAnswer::Events(response.events())
    } else {
        ModelAnswer::Document(response.finished())
    })
}

/// The input as a list of items; a string is what the user says.
fn input_items(request: &Value) -> Result<Vec<Value>, InvalidRequest> {
    match &request["input"] {
        Value::Null => Err(InvalidRequest::Missing("input")),
        Value::String(text) => Ok(vec![json!({"role": "user", "content": text})]),
        Value::Array(items) if items.iter().all(Value::is_object) => Ok(items.clone()),
        _ => Err(InvalidRequest::value(
            "input",
            "expected a string or a list of input items",
        )),
    }
}

fn format(request: &Value) -> Format<'_> {
    let format = &request["text"]["format"];
    match format["type"].as_str() {
        Some("json_schema") => Format::Schema(&format["schema"]),
        Some("json_object") => Format::Object,
        _ => Format::Text,
    }
}

fn forced_call(request: &Value) -> Result<Option<Reply>, InvalidRequest> {
    let tools: Vec<Tool> = request["tools"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|tool| tool["type"] == "function")
        .map(|tool| Tool {
            name: tool["name"].as_str().unwrap_or_default(),
            schema: &tool["parameters"],
        })
        .collect();
    let choice = &request["tool_choice"];
    let choice = match choice["type"].as_str().or(choice.as_str()) {
        Some("required") => ToolChoice::Any,
        Some("function") => ToolChoice::Named(choice["name"].as_str().unwrap_or_default()),
        _ => ToolChoice::Free,
    };
    Reply::forced_call(&tools, choice)
}

/// An answer, before it is written as a document or as events.
struct Response<'a> {
    digest: String,
    model: &'a str,
    request: &'a Value,
    input: &'a [Value],
    reply: Reply,
}

impl Response<'_> {
    fn is_cut(&self) -> bool {
        matches!(self.reply, Reply::Text { is_cut: true, .. })
    }

    /// Whether the request asks for reasoning.
    fn reasons(&self) -> bool {
        let effort = self.request["reasoning"]["effort"].as_str();
        effort.is_some_and(|effort| effort != "none")
    }

    /// The thoughts, if the request asks for a summary of them.
    fn summary(&self) -> Option<&'static str> {
        self.request["reasoning"]["summary"]
            .is_string()
            .then(thoughts)
    }

    fn finished(&self) -> Value {
        let status = if self.is_cut() {
            "incomplete"
        } else {
            "completed"
        };
        let reasoning = self.reasons().then(|| self.reasoning_item(true));
        let output: Value = reasoning
            .into_iter()
            .chain([self.reply_item(true)])
            .collect();
        self.document(status, &output, &self.usage())
    }

    fn document(&self, status: &str, output: &Value, usage: &Value) -> Value {
        let request = self.request;
        let or = |name: &str, default: Value| match &request[name] {
            Value::Null => default,
            given => given.clone(),
        };
        let incomplete = (status == "incomplete").then(|| json!({"reason": "max_output_tokens"}));
        json!({
            "id": format!("{ID}{}", self.digest),
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "background": false,
            "completed_at": (status == "completed").then_some(CREATED),
            "error": null,
            "incomplete_details": incomplete,
            "instructions": request["instructions"],
            "max_output_tokens": request["max_output_tokens"],
            "max_tool_calls": null,
            "model": self.model,
            "output": output,
            "parallel_tool_calls": or("parallel_tool_calls", true.into()),
            "previous_response_id": request["previous_response_id"],
            "reasoning": {
                "effort": request["reasoning"]["effort"], "summary": request["reasoning"]["summary"],
            },
            "service_tier": "default",
            "temperature": or("temperature", 1.0.into()),
            "text": or("text", json!({"format": {"type": "text"}})),
            "tool_choice": or("tool_choice", "auto".into()),
            "tools": or("tools", json!([])),
            "top_logprobs": 0,
            "top_p": or("top_p", 1.0.into()),
            "truncation": "disabled",
            "usage": usage,
            "user": null,
            "metadata": or("metadata", json!({})),
        })
    }

    fn usage(&self) -> Value {
        let tools = self.request["tools"].as_array().map_or(0, |tools| {
            tools.iter().map(|tool| tokens(&tool.to_string())).sum()
        });
        let input = tools
            + tokens(self.request["instructions"].as_str().unwrap_or_default())
            + self.input.iter().map(item_tokens).sum::<usize>();
        let reasoning = if self.reasons() {
            tokens(thoughts())
        } else {
            0
        };
        let output = self.reply.tokens() + reasoning;
        json!({
            "input_tokens": input,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": reasoning},
            "total_tokens": input + output,
        })
    }

    fn reasoning_item(&self, is_done: bool) -> Value {
        let summary = self.summary().filter(|_| is_done).map(summary_part);
        let summary: Value = summary.into_iter().collect();
        json!({"id": self.reasoning_id(), "type": "reasoning", "summary": summary})
    }

    fn reasoning_id(&self) -> String {
        format!("rs_{}", self.digest)
    }

    /// The message or the tool call; without its content until it is done.
    fn reply_item(&self, is_done: bool) -> Value {
        let status = match (is_done, self.is_cut()) {
            (false, _) => "in_progress",
            (true, true) => "incomplete",
            (true, false) => "completed",
        };
        let id = self.reply_id();
        match &self.reply {
            Reply::Text { text, .. } => {
                let content: Value = is_done.then(|| text_part(text)).into_iter().collect();
                json!({"id": id, "type": "message", "status": status, "role": "assistant", "content": content})
            }
            Reply::ToolCall { name, arguments } => {
                let arguments = if is_done { arguments.as_str() } else { "" };
                let call_id = format!("call_{}", self.digest);
                json!({
                    "id": id, "type": "function_call", "status": status, "call_id": call_id, "name": name,
                    "arguments": arguments,
                })
            }
        }
    }

    fn reply_id(&self) -> String {
        let prefix = match self.reply {
            Reply::Text { .. } => "msg",
            Reply::ToolCall { .. } => "fc",
        };
        format!("{prefix}_{}", self.digest)
    }

    fn events(&self) -> Vec<ModelEvent> {
        let begun = self.document("in_progress", &json!([]), &Value::Null);
        let mut events = vec![
            json!({"type": "response.created", "response": begun}),
            json!({"type": "response.in_progress", "response": begun}),
        ];
        let mut index = 0;
        if self.reasons() {
            events.extend(self.reasoning_events(index));
            index += 1;
        }
        events.extend(self.reply_events(index));
        let finished = self.finished();
        let status = finished["status"].as_str().unwrap_or_default();
        events.push(json!({"type": format!("response.{status}"), "response": finished}));
        for (number, event) in events.iter_mut().enumerate() {
            event["sequence_number"] = number.into();
        }
        events.iter().map(ModelEvent::typed).collect()
    }

    fn reasoning_events(&self, index: usize) -> Vec<Value> {
        let mut events = vec![item_event("added", index, &self.reasoning_item(false))];
        if let Some(summary) = self.summary() {
            let event = |kind: &str, field: &str, value: Value| {
                json!({
                    "type": format!("response.reasoning_summary_{kind}"), "item_id": self.reasoning_id(),
                    "output_index": index, "summary_index": 0, field: value,
                })
            };
            let delta = |piece: String| event("text.delta", "delta", piece.into());
            events.push(event("part.added", "part", summary_part("")));
            events.extend(pieces(summary).into_iter().map(delta));
            events.push(event("text.done", "text", summary.into()));
            events.push(event("part.done", "part", summary_part(summary)));
        }
        events.push(item_event("done", index, &self.reasoning_item(true)));
        events
    }

    fn reply_events(&self, index: usize) -> Vec<Value> {
        let pieces = self.reply.pieces().into_iter();
        let mut events = vec![item_event("added", index, &self.reply_item(false))];
        match &self.reply {
            Reply::Text { text, .. } => {
                let part = |kind: &str, text: &str| {
                    json!({
                        "type": format!("response.content_part.{kind}"), "item_id": self.reply_id(),
                        "output_index": index, "content_index": 0, "part": text_part(text),
                    })
                };
                let text_event = |kind: &str, field: &str, text: &str| {
                    json!({
                        "type": format!("response.output_text.{kind}"), "item_id": self.reply_id(),
                        "output_index": index, "content_index": 0, field: text, "logprobs": [],
                    })
                };
                events.push(part("added", ""));
                events.extend(pieces.map(|piece| text_event("delta", "delta", &piece)));
                events.push(text_event("done", "text", text));
                events.push(part("done", text));
            }
            Reply::ToolCall { arguments, .. } => {
                let event = |kind: &str, field: &str, text: &str| {
                    json!({
                        "type": format!("response.function_call_arguments.{kind}"), "item_id": self.reply_id(),
                        "output_index": index, field: text,
                    })
                };
                events.extend(pieces.map(|piece| event("delta", "delta", &piece)));
                events.push(event("done", "arguments", arguments));
            }
        }
        events.push(item_event("done", index, &self.reply_item(true)));
        events
    }
}

/// The tokens of an input item: of a message, a tool call, or the output of one.
fn item_tokens(item: &Value) -> usize {
    let fields = ["content", "name", "arguments", "output"];
    fields
        .iter()
        .map(|field| tokens(&text(&item[*field])))
        .sum()
}

fn item_event(kind: &str, index: usize, item: &Value) -> Value {
    json!({"type": format!("response.output_item.{kind}"), "output_index": index, "item": item})
}

fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn summary_part(text: &str) -> Value {
    json!({"type": "summary_text", "text": text})
}
