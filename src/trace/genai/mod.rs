//! Converts the messages of chat completions to the form of the OpenTelemetry GenAI conventions. Those of other dialects
//! come in the form of chat completions.
//!
//! Langfuse gets the messages as they were sent; other backends get this form.

mod part;

use serde_json::{Map, Value, json};

use self::part::{part, reasoning, text, tool_call, tool_response};
use crate::model::{Completion, Request};

/// `gen_ai.system_instructions`: the parts of instructions that a dialect has beside the messages. The system message of
/// a chat completion is one of the messages.
pub fn system_instructions(request: &Request) -> Option<Vec<Value>> {
    let mut fields = ["instructions", "system"].into_iter();
    match fields.find_map(|name| request.get(name))? {
        Value::Array(blocks) => Some(blocks.iter().map(part).collect()),
        Value::String(instructions) => Some(vec![text(&instructions.into())]),
        _ => None,
    }
    .filter(|parts: &Vec<Value>| !parts.is_empty())
}

/// The messages without the instructions, if they come first.
pub fn history(mut messages: Vec<Value>, instructions: Option<&[Value]>) -> Vec<Value> {
    let is_instructions = |message: &Value| {
        message["role"] == "system" && Some(parts(message).as_slice()) == instructions
    };
    if messages.first().is_some_and(is_instructions) {
        messages.remove(0);
    }
    messages
}

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
                Some("tool_calls" | "function_call" | "tool_use") => "tool_call",
                Some("completed" | "end_turn") => "stop",
                Some("max_tokens" | "max_output_tokens") => "length",
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
        match (&tool[kind], &tool["input_schema"]) {
            (Value::Object(fields), _) => definition(kind, fields),
            (_, Value::Null) => tool.clone(),
            (_, schema) => json!({
                "type": "function", "name": tool["name"], "description": tool["description"], "parameters": schema,
            }),
        }
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
    let thoughts = [&message["reasoning"], &message["reasoning_content"]];
    let mut thoughts = thoughts.into_iter().filter_map(Value::as_str);
    if let Some(thought) = thoughts.find(|text| !text.is_empty()) {
        parts.push(reasoning(thought));
    }
    let content = &message["content"];
    if message["role"] == "tool" || message["role"] == "function" {
        parts.push(tool_response(&message["tool_call_id"], content));
        return parts;
    }
    match content {
        Value::String(said) if !said.is_empty() => parts.push(text(content)),
        Value::Array(items) => parts.extend(items.iter().map(part)),
        _ => {}
    }
    for said in [&message["refusal"], &message["audio"]["transcript"]] {
        if said.as_str().is_some_and(|said| !said.is_empty()) {
            parts.push(text(said));
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
    fn instructions_beside_the_messages_are_no_message() {
        let text = json!({"type": "text", "content": "Be brief."});
        let messages = vec![
            json!({"role": "system", "content": "Be brief."}),
            json!({"role": "user", "content": "q"}),
        ];
        for (request, expected, kept) in [
            (
                r#"{"instructions":"Be brief."}"#,
                Some(vec![text.clone()]),
                1,
            ),
            (
                r#"{"system":[{"type":"text","text":"Be brief."}]}"#,
                Some(vec![text]),
                1,
            ),
            (r#"{"messages":[]}"#, None, 2),
        ] {
            let request: Request = serde_json::from_str(request).unwrap();
            let instructions = system_instructions(&request);
            assert_eq!(instructions, expected);
            let history = history(messages.clone(), instructions.as_deref());
            assert_eq!(history.len(), kept);
        }
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
            json!({"name": "a", "description": "d", "input_schema": {"type": "object"}}),
        ];
        let functions = [json!({"name": "old", "parameters": {}})];
        assert_eq!(
            tool_definitions(&tools, &functions),
            Some(json!([
                {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true},
                {"type": "custom", "name": "sql"},
                {"type": "web_search", "user_location": "Paris"},
                {"type": "function", "name": "a", "description": "d", "parameters": {"type": "object"}},
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
            ("tool_use", "tool_call"),
            ("max_tokens", "length"),
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
