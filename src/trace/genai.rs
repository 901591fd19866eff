//! Converts chat messages to the form of the OpenTelemetry GenAI conventions.
//!
//! Langfuse gets the messages as they were sent; other backends get this form.

use serde_json::{Map, Value, json};

use crate::model::Completion;
use crate::model::content::text_of;

/// `gen_ai.input.messages`: a role and parts for each message.
pub fn input_messages(messages: &[Value]) -> Value {
    messages
        .iter()
        .map(|message| {
            let mut converted = json!({"role": message["role"], "parts": parts(message)});
            if let Some(name) = message["name"].as_str() {
                converted["name"] = name.into();
            }
            converted
        })
        .collect()
}

/// `gen_ai.output.messages`: a message for each choice, with its finish reason. Without one, the reason is `error` if the
/// call `has_failed`.
pub fn output_messages(completion: &Completion, has_failed: bool) -> Value {
    completion
        .messages
        .iter()
        .enumerate()
        .map(|(index, message)| {
            let reason = completion.finish_reasons.get(index);
            let reason = match reason.and_then(Option::as_deref) {
                Some("tool_calls" | "function_call") => "tool_call",
                Some(reason) => reason,
                None if has_failed => "error",
                None => "unknown",
            };
            let role = message["role"].as_str().unwrap_or("assistant");
            json!({"role": role, "parts": parts(message), "finish_reason": reason})
        })
        .collect()
}

/// `gen_ai.tool.definitions`: each tool with its fields next to its type; `None` without tools.
pub fn tool_definitions(tools: &[Value], functions: &[Value]) -> Option<Value> {
    let tools = tools.iter().map(|tool| {
        let kind = tool["type"].as_str().unwrap_or("function");
        tool[kind]
            .as_object()
            .map_or_else(|| tool.clone(), |fields| definition(kind, fields))
    });
    let functions = functions
        .iter()
        .filter_map(|function| Some(definition("function", function.as_object()?)));
    let definitions: Vec<Value> = tools.chain(functions).collect();
    (!definitions.is_empty()).then(|| definitions.into())
}

fn definition(kind: &str, fields: &Map<String, Value>) -> Value {
    let mut definition = Map::new();
    definition.insert("type".to_owned(), kind.into());
    definition.extend(fields.clone());
    definition.into()
}

fn parts(message: &Value) -> Vec<Value> {
    let mut parts = Vec::new();
    // Some servers send the same text under both names.
    let reasoning = [&message["reasoning"], &message["reasoning_content"]];
    let mut reasoning = reasoning.into_iter().filter_map(Value::as_str);
    if let Some(text) = reasoning.find(|text| !text.is_empty()) {
        parts.push(json!({"type": "reasoning", "content": text}));
    }
    let content = &message["content"];
    if message["role"] == "tool" || message["role"] == "function" {
        let response = text_of(content).map_or_else(|| content.clone(), Value::String);
        parts.push(json!({"type": "tool_call_response", "id": message["tool_call_id"], "response": response}));
        return parts;
    }
    match content {
        Value::String(text) if !text.is_empty() => {
            parts.push(json!({"type": "text", "content": text}));
        }
        Value::Array(items) => parts.extend(items.iter().map(part)),
        _ => {}
    }
    for text in [&message["refusal"], &message["audio"]["transcript"]] {
        if let Some(text) = text.as_str().filter(|text| !text.is_empty()) {
            parts.push(json!({"type": "text", "content": text}));
        }
    }
    for call in message["tool_calls"].as_array().into_iter().flatten() {
        let is_custom = call["type"] == "custom";
        let called = &call[if is_custom { "custom" } else { "function" }];
        parts.push(tool_call(&call["id"], called));
    }
    if message["function_call"].is_object() {
        parts.push(tool_call(&Value::Null, &message["function_call"]));
    }
    parts
}

/// A tool call. A function has arguments, a custom tool has an input.
fn tool_call(id: &Value, called: &Value) -> Value {
    let given = called.get("arguments").unwrap_or(&called["input"]);
    json!({"type": "tool_call", "id": id, "name": called["name"], "arguments": arguments(given)})
}

/// One part of a message's content. A part that the conventions do not define stays unchanged.
fn part(item: &Value) -> Value {
    match item["type"].as_str() {
        Some("text") => json!({"type": "text", "content": item["text"]}),
        Some("thinking") => json!({"type": "reasoning", "content": text_of(&item["thinking"])}),
        Some("image_url") => {
            json!({"type": "uri", "modality": "image", "uri": item["image_url"]["url"]})
        }
        _ => item.clone(),
    }
}

/// Tool arguments are sent as JSON text; the conventions require the value.
fn arguments(arguments: &Value) -> Value {
    arguments
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_else(|| arguments.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_become_parts() {
        let messages = [
            json!({"role": "user", "content": [{"type": "text", "text": "q"}, {"type": "image_url", "image_url": {"url": "http://x/i.png"}}]}),
            json!({"role": "assistant", "content": null, "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{\"x\":1}"}}]}),
            json!({"role": "tool", "tool_call_id": "c", "content": "ok"}),
            json!({"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}}),
            json!({"role": "function", "name": "f", "content": "ok"}),
        ];
        assert_eq!(
            input_messages(&messages),
            json!([
                {"role": "user", "parts": [{"type": "text", "content": "q"}, {"type": "uri", "modality": "image", "uri": "http://x/i.png"}]},
                {"role": "assistant", "parts": [{"type": "tool_call", "id": "c", "name": "f", "arguments": {"x": 1}}]},
                {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c", "response": "ok"}]},
                {"role": "assistant", "parts": [{"type": "tool_call", "id": null, "name": "f", "arguments": {}}]},
                {"role": "function", "name": "f", "parts": [{"type": "tool_call_response", "id": null, "response": "ok"}]}
            ])
        );
    }

    #[test]
    fn a_custom_tool_is_called_with_its_input() {
        let call =
            json!({"id": "c", "type": "custom", "custom": {"name": "sql", "input": "select 1;"}});
        let message = json!({"role": "assistant", "content": null, "tool_calls": [call]});
        assert_eq!(
            input_messages(&[message]),
            json!([{"role": "assistant", "parts": [{"type": "tool_call", "id": "c", "name": "sql", "arguments": "select 1;"}]}])
        );
    }

    #[test]
    fn an_audio_transcript_is_text() {
        let message = json!({"role": "assistant", "content": null, "audio": {"id": "a", "data": "UklGRg==", "transcript": "Hi"}});
        assert_eq!(
            input_messages(&[message]),
            json!([{"role": "assistant", "parts": [{"type": "text", "content": "Hi"}]}])
        );
    }

    #[test]
    fn tool_definitions_are_flat() {
        let tools = [
            json!({"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true}}),
            json!({"type": "custom", "custom": {"name": "sql"}}),
            json!({"type": "web_search", "user_location": "Paris"}),
        ];
        let functions = [json!({"name": "old", "parameters": {}})];
        assert_eq!(
            tool_definitions(&tools, &functions),
            Some(json!([
                {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true},
                {"type": "custom", "name": "sql"},
                {"type": "web_search", "user_location": "Paris"},
                {"type": "function", "name": "old", "parameters": {}}
            ]))
        );
        assert_eq!(tool_definitions(&[], &[]), None);
    }

    #[test]
    fn an_output_message_has_its_finish_reason() {
        for (received, expected) in [
            ("stop", "stop"),
            ("tool_calls", "tool_call"),
            ("function_call", "tool_call"),
        ] {
            let completion = crate::model::dialect::CHAT.completion(
                json!({"choices": [{"message": {"role": "assistant", "content": "a"}, "finish_reason": received}]}),
            );
            assert_eq!(
                output_messages(&completion, false),
                json!([{"role": "assistant", "parts": [{"type": "text", "content": "a"}], "finish_reason": expected}])
            );
        }
    }
}
