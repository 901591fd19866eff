//! The request of the Messages API: its system prompt and content blocks, and what chat completions makes of them.

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::{MESSAGES, SYSTEM, traced as of_trace};
use crate::json::lenient;
use crate::model::dialect::conversation;
use crate::model::fields::BodyFields;

/// Turns a body of chat completions into one of the Messages API. What is already in its form stays.
///
/// # Errors
/// If it has a part that the API does not take.
pub fn adopt(fields: &mut BodyFields) -> Result<(), String> {
    let mut system = Vec::new();
    let mut messages = Vec::new();
    for message in conversation::messages(fields, MESSAGES) {
        match (message["role"].as_str(), &message["content"]) {
            (Some("system" | "developer"), Value::String(text)) => system.push(text.clone()),
            (Some("system" | "developer"), content) => {
                system.extend(crate::model::content::text_of(content));
            }
            _ => messages.push(own_message(message)?),
        }
    }
    if !system.is_empty() {
        fields.set(SYSTEM, &system.join("\n\n"));
    }
    fields.set(MESSAGES, &messages);
    if let Some(tools) = fields.get::<Vec<Value>>("tools") {
        let tools: Vec<Value> = tools.into_iter().map(of_trace::own_tool).collect();
        fields.set("tools", &tools);
    }
    Ok(())
}

fn own_message(mut message: Value) -> Result<Value, String> {
    if message["role"] == "tool" {
        let result = json!({"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": message["content"]});
        return Ok(json!({"role": "user", "content": [result]}));
    }
    let calls = match message.get_mut("tool_calls").map(Value::take) {
        Some(Value::Array(calls)) => calls,
        _ => Vec::new(),
    };
    if let Some(fields) = message.as_object_mut() {
        fields.shift_remove("tool_calls");
        fields.shift_remove("refusal");
    }
    let parts = message.get_mut("content").and_then(Value::as_array_mut);
    for part in parts.into_iter().flatten() {
        *part = own_part(part)?;
    }
    if !calls.is_empty() {
        let mut blocks = match message["content"].take() {
            Value::String(text) if !text.is_empty() => vec![json!({"type": "text", "text": text})],
            Value::Array(blocks) => blocks,
            _ => Vec::new(),
        };
        blocks.extend(calls.iter().map(|call| {
            let called = &call["function"];
            let input = called["arguments"].as_str().and_then(|text| serde_json::from_str(text).ok());
            json!({"type": "tool_use", "id": call["id"], "name": called["name"], "input": input.unwrap_or_else(|| json!({}))})
        }));
        message["content"] = blocks.into();
    }
    Ok(message)
}

/// A content part of chat completions as a block. Other parts stay.
fn own_part(part: &Value) -> Result<Value, String> {
    match part["type"].as_str() {
        Some("image_url") => {
            let url = part["image_url"]["url"].as_str().unwrap_or_default();
            let source = source(url).unwrap_or_else(|| json!({"type": "url", "url": url}));
            Ok(json!({"type": "image", "source": source}))
        }
        Some("file") => {
            let file = &part["file"];
            let source = file["file_data"].as_str().and_then(source);
            match source.filter(|source| source["media_type"] == "application/pdf") {
                Some(source) => {
                    let mut block = json!({"type": "document", "source": source});
                    if file["filename"].is_string() {
                        block["title"] = file["filename"].clone();
                    }
                    Ok(block)
                }
                None => Err(format!(
                    "the Messages API takes text, images and PDF, not {}",
                    file["filename"].as_str().unwrap_or("this file")
                )),
            }
        }
        Some("input_audio") => Err("the Messages API takes no audio".to_owned()),
        _ => Ok(part.clone()),
    }
}

/// A data URI as the source of a block.
fn source(uri: &str) -> Option<Value> {
    let (media_type, data) = uri.strip_prefix("data:")?.split_once(";base64,")?;
    Some(json!({"type": "base64", "media_type": media_type, "data": data}))
}

/// Appends content parts of chat completions to the last message of the user.
///
/// # Errors
/// If the API does not take one of them.
pub fn attach(fields: &mut BodyFields, parts: &[Box<RawValue>]) -> Result<(), String> {
    let mut own = Vec::new();
    for part in parts {
        let part: Value = serde_json::from_str(part.get()).unwrap_or_default();
        own.extend(to_raw_value(&own_part(&part)?).ok());
    }
    conversation::attach(fields, MESSAGES, "text", &own);
    Ok(())
}

/// The conversation in the form of chat completions.
pub fn messages(fields: &BodyFields) -> Vec<Value> {
    let mut messages = Vec::new();
    let system = fields
        .raw(SYSTEM)
        .and_then(|raw| lenient::parse(raw.get()).ok());
    if let Some(system) = system.filter(|system| !system.is_null()) {
        messages.push(json!({"role": "system", "content": system}));
    }
    for message in conversation::messages(fields, MESSAGES) {
        let Some(blocks) = message["content"].as_array() else {
            messages.push(message);
            continue;
        };
        let is_result = |block: &&Value| block["type"] == "tool_result";
        messages.extend(blocks.iter().filter(is_result).map(|block| {
            json!({"role": "tool", "tool_call_id": block["tool_use_id"], "content": block["content"]})
        }));
        let others: Vec<Value> = blocks
            .iter()
            .filter(|block| !is_result(block))
            .cloned()
            .collect();
        if others.is_empty() {
            continue;
        }
        messages.push(match message["role"].as_str() {
            Some("assistant") => message_of_blocks("assistant", &others),
            _ => json!({"role": message["role"], "content": others.iter().map(chat_part).collect::<Value>()}),
        });
    }
    messages
}

/// Blocks as one message of chat completions.
pub fn message_of_blocks(role: &str, blocks: &[Value]) -> Value {
    let joined = |field: &str| {
        let of_type = blocks.iter().filter(|block| block["type"] == field);
        let texts: Vec<&str> = of_type.filter_map(|block| block[field].as_str()).collect();
        (!texts.is_empty()).then(|| Value::from(texts.join("")))
    };
    let mut message = Map::new();
    message.insert("role".to_owned(), role.into());
    message.insert("content".to_owned(), joined("text").unwrap_or(Value::Null));
    if let Some(thinking) = joined("thinking") {
        message.insert("reasoning_content".to_owned(), thinking);
    }
    let calls = blocks.iter().filter(|block| block["type"] == "tool_use");
    let calls: Vec<Value> = calls.map(tool_call).collect();
    if !calls.is_empty() {
        message.insert("tool_calls".to_owned(), calls.into());
    }
    message.into()
}

fn tool_call(block: &Value) -> Value {
    // A stream that ended early has the beginning of the JSON text.
    let arguments = match &block["input"] {
        Value::String(text) => text.clone(),
        input => input.to_string(),
    };
    let function = json!({"name": block["name"], "arguments": arguments});
    json!({"id": block["id"], "type": "function", "function": function})
}

fn chat_part(block: &Value) -> Value {
    let source = &block["source"];
    let uri = match source["type"].as_str() {
        Some("base64") => format!(
            "data:{};base64,{}",
            source["media_type"].as_str().unwrap_or_default(),
            source["data"].as_str().unwrap_or_default()
        ),
        Some("url") => source["url"].as_str().unwrap_or_default().to_owned(),
        _ => return block.clone(),
    };
    match block["type"].as_str() {
        Some("image") => json!({"type": "image_url", "image_url": {"url": uri}}),
        Some("document") => {
            json!({"type": "file", "file": {"filename": block["title"], "file_data": uri}})
        }
        _ => block.clone(),
    }
}

/// The input of a trace: the system prompt as the first message, then the messages as they were sent.
pub fn traced(fields: &BodyFields) -> Option<String> {
    let messages = fields.raw(MESSAGES).map_or("[]", RawValue::get);
    let system = fields
        .raw(SYSTEM)
        .map(RawValue::get)
        .filter(|system| *system != "null");
    let Some(system) = system else {
        return conversation::traced(fields, messages, &["tools"]);
    };
    let messages: Vec<&RawValue> = serde_json::from_str(messages).unwrap_or_default();
    let system = format!(r#"{{"role":"system","content":{system}}}"#);
    let all: Vec<&str> = [system.as_str()]
        .into_iter()
        .chain(messages.iter().map(|message| message.get()))
        .collect();
    conversation::traced(fields, &format!("[{}]", all.join(",")), &["tools"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &Value) -> BodyFields {
        serde_json::from_value(body.clone()).unwrap()
    }

    #[test]
    fn a_conversation_of_chat_becomes_blocks() {
        let mut fields = parse(&json!({"model": "m", "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "q"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}}]},
            {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "1"},
        ]}));
        adopt(&mut fields).unwrap();
        assert_eq!(
            serde_json::to_value(&fields).unwrap(),
            json!({"model": "m", "messages": [
                {"role": "user", "content": [{"type": "text", "text": "q"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                    {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}, "title": "a.pdf"}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {"x": 1}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "1"}]},
            ], "system": "be brief"})
        );
        assert_eq!(
            Value::from(messages(&fields)),
            json!([
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "q"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}}]},
                {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}]},
                {"role": "tool", "tool_call_id": "c", "content": "1"},
            ])
        );
    }

    #[test]
    fn what_the_api_does_not_take_is_refused() {
        let audio = json!({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]});
        assert_eq!(
            adopt(&mut parse(&audio)),
            Err("the Messages API takes no audio".to_owned())
        );
        let word = json!({"messages": [{"role": "user", "content": [{"type": "file", "file": {"filename": "a.docx", "file_data": "data:a/b;base64,AA"}}]}]});
        assert!(adopt(&mut parse(&word)).unwrap_err().contains("not a.docx"));
    }
}
