//! Messages in the forms of other tools, as messages of chat completions: those of the OpenTelemetry GenAI conventions,
//! of Vercel's AI SDK and of `LangChain`. What is in no such form stays as it is.

use serde_json::{Map, Value, json};

/// Converts a conversation and its tools.
pub fn to_chat(conversation: &mut Value, tools: &mut Vec<Value>) {
    let Some(messages) = conversation.as_array_mut() else {
        return;
    };
    let is_foreign = messages.iter().any(|message| message["parts"].is_array());
    let converted = std::mem::take(messages).into_iter().flat_map(message);
    let (definitions, converted): (Vec<Value>, Vec<Value>) = converted.partition(is_definition);
    *messages = converted;
    tools.extend(
        definitions
            .into_iter()
            .map(|mut message| message["content"].take()),
    );
    if is_foreign {
        for tool in tools {
            flat_to_chat(tool);
        }
    }
}

/// `LangChain`'s handler of Langfuse puts each tool into a message.
fn is_definition(message: &Value) -> bool {
    let content = &message["content"];
    message["role"] == "tool" && content["type"] == "function" && content["function"].is_object()
}

/// `gen_ai.tool.definitions` has the fields of a function next to its type.
fn flat_to_chat(tool: &mut Value) {
    if tool["type"] == "function" && tool["name"].is_string() {
        let mut function = tool.as_object().cloned().unwrap_or_default();
        function.shift_remove("type");
        *tool = json!({"type": "function", "function": function});
    }
}

fn message(message: Value) -> Vec<Value> {
    if let Some(parts) = message["parts"].as_array() {
        return of_parts(&message, parts);
    }
    let message = if message["kwargs"].is_object() {
        of_langchain(message)
    } else {
        message
    };
    let is_of_vercel = |part: &Value| {
        let kind = part["type"].as_str();
        matches!(kind, Some("tool-call" | "tool-result" | "reasoning"))
            || (kind == Some("image") && part["source"].is_null())
            || (kind == Some("file") && part["file"].is_null())
    };
    match message["content"].as_array() {
        Some(parts) if message["role"].is_string() && parts.iter().any(is_of_vercel) => {
            of_vercel(&message, parts)
        }
        _ => vec![with_usual_role(message)],
    }
}

/// `LangChain`'s names of roles and form of tool calls.
fn with_usual_role(mut message: Value) -> Value {
    let role = match message["role"].as_str() {
        Some("human") => Some("user"),
        Some("ai") => Some("assistant"),
        _ => None,
    };
    if let Some(role) = role {
        message["role"] = role.into();
    }
    let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
    for call in calls.into_iter().flatten() {
        if call["function"].is_null() && call["name"].is_string() && call["args"].is_object() {
            *call = tool_call(&call["id"], &call["name"], &call["args"]);
        }
    }
    message
}

/// A message as `LangChain` serialises it.
fn of_langchain(mut message: Value) -> Value {
    let class = message["id"]
        .as_array()
        .and_then(|path| path.last()?.as_str());
    let class = class.unwrap_or_default().to_owned();
    let fields = message["kwargs"].take();
    let role = match fields["type"].as_str() {
        Some(kind) => kind.to_owned(),
        None => class
            .trim_end_matches("Chunk")
            .trim_end_matches("Message")
            .to_lowercase(),
    };
    let mut converted = json!({"role": role, "content": fields["content"]});
    for name in ["name", "tool_call_id", "tool_calls"] {
        let value = &fields[name];
        let is_empty = value.as_array().is_some_and(Vec::is_empty);
        if !value.is_null() && !is_empty {
            converted[name] = value.clone();
        }
    }
    converted
}

fn tool_call(id: &Value, name: &Value, arguments: &Value) -> Value {
    let arguments = match arguments {
        Value::String(text) => text.clone(),
        Value::Null => "{}".to_owned(),
        value => value.to_string(),
    };
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}

/// What a tool answered, as text.
fn answered(content: &Value) -> Value {
    match content {
        Value::String(_) => content.clone(),
        Value::Null => "".into(),
        value => value.to_string().into(),
    }
}

/// A message by its converted parts: what tools answered are messages of their own.
#[derive(Default)]
struct Pieces {
    content: Vec<Value>,
    calls: Vec<Value>,
    answers: Vec<Value>,
}

impl Pieces {
    fn text(&mut self, text: &Value) {
        self.content.push(json!({"type": "text", "text": text}));
    }

    fn answer(&mut self, id: &Value, content: &Value) {
        self.answers
            .push(json!({"role": "tool", "tool_call_id": id, "content": answered(content)}));
    }

    fn into_messages(mut self, message: &Value) -> Vec<Value> {
        let mut messages = self.answers;
        if self.content.is_empty() && self.calls.is_empty() {
            if messages.is_empty() {
                messages.push(json!({"role": message["role"], "content": ""}));
            }
            return messages;
        }
        let content = match self.content.as_mut_slice() {
            [] => Value::Null,
            [only] if only["type"] == "text" => only["text"].take(),
            _ => self.content.into(),
        };
        let mut converted = Map::new();
        converted.insert("role".to_owned(), message["role"].clone());
        converted.insert("content".to_owned(), content);
        if message["name"].is_string() {
            converted.insert("name".to_owned(), message["name"].clone());
        }
        if !self.calls.is_empty() {
            converted.insert("tool_calls".to_owned(), self.calls.into());
        }
        messages.push(converted.into());
        messages
    }
}

/// A message of the GenAI conventions.
fn of_parts(message: &Value, parts: &[Value]) -> Vec<Value> {
    let mut pieces = Pieces::default();
    for part in parts {
        match part["type"].as_str() {
            Some("text") => pieces.text(&part["content"]),
            // Servers do not take it back.
            Some("reasoning") => {}
            Some("tool_call") => {
                let call = tool_call(&part["id"], &part["name"], &part["arguments"]);
                pieces.calls.push(call);
            }
            Some("tool_call_response") => {
                let response = part.get("response").unwrap_or(&part["result"]);
                pieces.answer(&part["id"], response);
            }
            Some("blob") => {
                let kind = part["mime_type"].as_str().unwrap_or_default();
                let content = part["content"].as_str().unwrap_or_default();
                pieces.content.push(media(kind, content));
            }
            Some("uri") if part["modality"] == "image" => {
                let image = json!({"type": "image_url", "image_url": {"url": part["uri"]}});
                pieces.content.push(image);
            }
            Some("uri") => {
                let file = json!({"type": "file", "file": {"file_url": part["uri"]}});
                pieces.content.push(file);
            }
            Some("file") => {
                let file = json!({"type": "file", "file": {"file_id": part["file_id"]}});
                pieces.content.push(file);
            }
            _ => pieces.content.push(part.clone()),
        }
    }
    pieces.into_messages(message)
}

/// A message of Vercel's AI SDK.
fn of_vercel(message: &Value, parts: &[Value]) -> Vec<Value> {
    let mut pieces = Pieces::default();
    for part in parts {
        let id = &part["toolCallId"];
        match part["type"].as_str() {
            Some("text") => pieces.text(&part["text"]),
            Some("reasoning") => {}
            Some("tool-call") => {
                let input = part.get("input").unwrap_or(&part["args"]);
                pieces.calls.push(tool_call(id, &part["toolName"], input));
            }
            Some("tool-result") => {
                let output = part.get("output").unwrap_or(&part["result"]);
                pieces.answer(id, output.get("value").unwrap_or(output));
            }
            Some("image" | "file") => {
                let mut names = ["mediaType", "mimeType"].into_iter();
                let kind = names.find_map(|name| part[name].as_str());
                let is_image = part["type"] == "image";
                let kind = kind.unwrap_or(if is_image { "image/png" } else { "" });
                let data = part.get("data").unwrap_or(&part["image"]);
                pieces
                    .content
                    .push(media(kind, data.as_str().unwrap_or_default()));
            }
            _ => pieces.content.push(part.clone()),
        }
    }
    pieces.into_messages(message)
}

/// Content of this type, in base64 or as a URL.
fn media(kind: &str, content: &str) -> Value {
    let url = if content.starts_with("data:") || content.starts_with("http") {
        content.to_owned()
    } else {
        format!("data:{kind};base64,{content}")
    };
    match kind.split_once('/') {
        Some(("image", _)) => json!({"type": "image_url", "image_url": {"url": url}}),
        Some(("audio", format)) if !content.starts_with("http") => {
            let data = content
                .split_once(";base64,")
                .map_or(content, |(_, data)| data);
            json!({"type": "input_audio", "input_audio": {"data": data, "format": format}})
        }
        _ => json!({"type": "file", "file": {"file_data": url}}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(mut conversation: Value, mut tools: Vec<Value>) -> (Value, Value) {
        to_chat(&mut conversation, &mut tools);
        (conversation, tools.into())
    }

    #[test]
    fn messages_of_chat_stay() {
        let messages = json!([
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "q"}, {"type": "image_url", "image_url": {"url": "u"}}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "image", "source": {"type": "base64"}}, {"type": "file", "file": {"file_data": "d"}}]},
            {"type": "function_call", "call_id": "c"},
        ]);
        assert_eq!(converted(messages.clone(), Vec::new()).0, messages);
    }

    #[test]
    fn the_genai_conventions_are_read() {
        let messages = json!([
            {"role": "system", "content": "sys"},
            {"role": "user", "parts": [{"type": "text", "content": "q"}, {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "AA=="}]},
            {"role": "assistant", "parts": [{"type": "reasoning", "content": "hm"}, {"type": "tool_call", "id": "c", "name": "f", "arguments": {"x": 1}}]},
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c", "response": {"a": 1}}]},
        ]);
        let tools = vec![json!({"type": "function", "name": "f", "parameters": {}})];
        assert_eq!(
            converted(messages, tools),
            (
                json!([
                    {"role": "system", "content": "sys"},
                    {"role": "user", "content": [{"type": "text", "text": "q"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
                    {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}]},
                    {"role": "tool", "tool_call_id": "c", "content": "{\"a\":1}"},
                ]),
                json!([{"type": "function", "function": {"name": "f", "parameters": {}}}])
            )
        );
    }

    #[test]
    fn vercels_parts_are_read() {
        let messages = json!([
            {"role": "user", "content": [{"type": "text", "text": "q"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "tool-call", "toolCallId": "c", "toolName": "f", "input": {"x": 1}}]},
            {"role": "tool", "content": [{"type": "tool-result", "toolCallId": "c", "toolName": "f", "output": {"type": "json", "value": {"y": 2}}}]},
            {"role": "user", "content": [{"type": "file", "mediaType": "application/pdf", "data": "AA=="}, {"type": "image", "image": "http://x/i.png"}]},
        ]);
        assert_eq!(
            converted(messages, Vec::new()).0,
            json!([
                {"role": "user", "content": [{"type": "text", "text": "q"}]},
                {"role": "assistant", "content": "a", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}]},
                {"role": "tool", "tool_call_id": "c", "content": "{\"y\":2}"},
                {"role": "user", "content": [{"type": "file", "file": {"file_data": "data:application/pdf;base64,AA=="}}, {"type": "image_url", "image_url": {"url": "http://x/i.png"}}]},
            ])
        );
    }

    #[test]
    fn langchains_messages_are_read() {
        let path = |class: &str| json!(["langchain", "schema", "messages", class]);
        let messages = json!([
            {"role": "tool", "content": {"type": "function", "function": {"name": "f"}}},
            {"lc": 1, "type": "constructor", "id": path("SystemMessage"), "kwargs": {"content": "s", "type": "system"}},
            {"lc": 1, "type": "constructor", "id": path("HumanMessage"), "kwargs": {"content": "q"}},
            {"role": "ai", "content": "", "tool_calls": [{"name": "f", "args": {"x": 1}, "id": "c", "type": "tool_call"}]},
        ]);
        let (messages, tools) = converted(messages, Vec::new());
        assert_eq!(messages[0], json!({"role": "system", "content": "s"}));
        assert_eq!(messages[1], json!({"role": "user", "content": "q"}));
        assert_eq!(
            messages[2]["tool_calls"][0]["function"],
            json!({"name": "f", "arguments": "{\"x\":1}"})
        );
        assert_eq!(tools[0]["function"]["name"], "f");
    }
}
