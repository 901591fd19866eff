//! The request of the Responses API: its input, a text or items, and what chat completions makes of it.

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::{INPUT, INSTRUCTIONS, traced as of_trace};
use crate::json::lenient;
use crate::model::content::kind_of;
use crate::model::dialect::conversation;
use crate::model::fields::BodyFields;

/// An input may be missing where the server has it: as a prompt template, or as an earlier answer.
pub fn check(fields: &BodyFields) -> Result<(), String> {
    let Some(input) = fields.raw(INPUT) else {
        let mut kept = ["prompt", "previous_response_id", "conversation"].iter();
        return if kept.any(|name| fields.raw(name).is_some()) {
            Ok(())
        } else {
            Err("not a body of the Responses API: `input` is missing".to_owned())
        };
    };
    match lenient::parse(input.get()) {
        Ok(Value::Array(_) | Value::String(_)) => Ok(()),
        Ok(other) => Err(format!(
            "`input` is {}, not a string or an array of items",
            kind_of(&other)
        )),
        Err(error) => Err(format!("`input` is not valid JSON: {error}")),
    }
}

/// Turns a body of chat completions into one of the Responses API. What is already in its form stays.
pub fn adopt(fields: &mut BodyFields) {
    let mut instructions = Vec::new();
    let mut items = Vec::new();
    for message in conversation::messages(fields, "messages") {
        match (message["role"].as_str(), message["content"].as_str()) {
            (Some("system" | "developer"), Some(text)) if items.is_empty() => {
                instructions.push(text.to_owned());
            }
            _ => items.extend(items_of(message)),
        }
    }
    let only_text = match items.as_slice() {
        [item] if item["role"] == "user" => item["content"].as_str().map(str::to_owned),
        _ => None,
    };
    let mut adopted = BodyFields::default();
    for (name, value) in fields.fields().filter(|(name, _)| *name != "messages") {
        adopted.set_raw(name, value.to_owned());
    }
    if let Some(tools) = fields.get::<Vec<Value>>("tools") {
        let tools: Vec<Value> = tools.into_iter().map(of_trace::own_tool).collect();
        adopted.set("tools", &tools);
    }
    if !instructions.is_empty() {
        adopted.set(INSTRUCTIONS, &instructions.join("\n\n"));
    }
    match only_text {
        Some(text) => adopted.set(INPUT, &text),
        None => adopted.set(INPUT, &items),
    }
    *fields = adopted;
}

/// The items of a message of chat completions.
fn items_of(mut message: Value) -> Vec<Value> {
    // An item in its own form.
    if message["role"].is_null() {
        return vec![message];
    }
    if message["role"] == "tool" {
        return vec![
            json!({"type": "function_call_output", "call_id": message["tool_call_id"], "output": message["content"]}),
        ];
    }
    let calls = match message.get_mut("tool_calls").map(Value::take) {
        Some(Value::Array(calls)) => calls,
        _ => Vec::new(),
    };
    let is_answer = message["role"] == "assistant";
    if let Some(fields) = message.as_object_mut() {
        fields.shift_remove("tool_calls");
        let refusal = fields.shift_remove("refusal").unwrap_or_default();
        if fields.get("content").is_none_or(Value::is_null) {
            fields.insert("content".to_owned(), refusal);
        }
        for part in fields
            .get_mut("content")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            *part = own_part(part, is_answer);
        }
    }
    let is_empty = message["content"].is_null() || (message["content"] == "" && !calls.is_empty());
    let said = (!is_empty).then_some(message);
    let calls = calls.iter().map(|call| {
        json!({"type": "function_call", "call_id": call["id"], "name": call["function"]["name"], "arguments": call["function"]["arguments"]})
    });
    said.into_iter().chain(calls).collect()
}

/// A content part of chat completions in the form of the Responses API. Other parts stay.
fn own_part(part: &Value, is_answer: bool) -> Value {
    match part["type"].as_str() {
        Some("text") if is_answer => json!({"type": "output_text", "text": part["text"]}),
        Some("text") => json!({"type": "input_text", "text": part["text"]}),
        Some("image_url") => {
            let detail = part["image_url"].get("detail").cloned();
            let detail = detail.unwrap_or_else(|| "auto".into());
            json!({"type": "input_image", "image_url": part["image_url"]["url"], "detail": detail})
        }
        Some("file") => {
            let mut own = Map::new();
            own.insert("type".to_owned(), "input_file".into());
            own.extend(part["file"].as_object().cloned().unwrap_or_default());
            own.into()
        }
        _ => part.clone(),
    }
}

/// Appends content parts of chat completions to the last message of the user.
pub fn attach(fields: &mut BodyFields, parts: &[Box<RawValue>]) {
    let own = parts.iter().filter_map(|part| {
        let part: Value = serde_json::from_str(part.get()).ok()?;
        to_raw_value(&own_part(&part, false)).ok()
    });
    let own: Vec<Box<RawValue>> = own.collect();
    if let Some(text) = fields.get::<String>(INPUT) {
        fields.set(INPUT, &json!([{"role": "user", "content": text}]));
    }
    conversation::attach(fields, INPUT, "input_text", &own);
}

/// Asks for an answer that fits `format`, the `response_format` of chat completions. Other settings of the text stay.
pub fn set_schema(fields: &mut BodyFields, format: &Value) {
    let mut own = Map::new();
    own.insert("type".to_owned(), "json_schema".into());
    own.extend(
        format["json_schema"]
            .as_object()
            .cloned()
            .unwrap_or_default(),
    );
    let mut text: Map<String, Value> = fields.get("text").unwrap_or_default();
    text.insert("format".to_owned(), own.into());
    fields.set("text", &text);
}

/// The conversation in the form of chat completions.
pub fn messages(fields: &BodyFields) -> Vec<Value> {
    let read = |name: &str| {
        fields
            .raw(name)
            .and_then(|raw| lenient::parse(raw.get()).ok())
            .filter(|value| !value.is_null())
    };
    let mut messages = Vec::new();
    if let Some(instructions) = read(INSTRUCTIONS) {
        messages.push(json!({"role": "system", "content": instructions}));
    }
    match read(INPUT) {
        Some(Value::Array(items)) => messages.extend(items.into_iter().map(message_of)),
        Some(input) => messages.push(json!({"role": "user", "content": input})),
        None => {}
    }
    messages
}

/// An item as a message of chat completions.
fn message_of(mut item: Value) -> Value {
    if let Some(call) = tool_call(&item) {
        return json!({"role": "assistant", "content": null, "tool_calls": [call]});
    }
    match item["type"].as_str() {
        Some("function_call_output" | "custom_tool_call_output") => {
            json!({"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]})
        }
        Some("reasoning") => {
            let texts = item["summary"].as_array().into_iter().flatten();
            let texts: Vec<&str> = texts.filter_map(|part| part["text"].as_str()).collect();
            json!({"role": "assistant", "content": null, "reasoning_content": texts.join("\n\n")})
        }
        _ => {
            let parts = item.get_mut("content").and_then(Value::as_array_mut);
            parts.into_iter().flatten().for_each(chat_part);
            item
        }
    }
}

fn chat_part(part: &mut Value) {
    *part = match part["type"].as_str() {
        Some("input_text" | "output_text") => json!({"type": "text", "text": part["text"]}),
        Some("refusal") => json!({"type": "text", "text": part["refusal"]}),
        Some("input_image") if part["image_url"].is_string() => {
            json!({"type": "image_url", "image_url": {"url": part["image_url"]}})
        }
        Some("input_file") => {
            let mut file = part.as_object().cloned().unwrap_or_default();
            file.shift_remove("type");
            json!({"type": "file", "file": file})
        }
        _ => return,
    };
}

/// An item that calls a tool, as a tool call of chat completions.
pub fn tool_call(item: &Value) -> Option<Value> {
    let (kind, given) = match item["type"].as_str()? {
        "function_call" => ("function", "arguments"),
        "custom_tool_call" => ("custom", "input"),
        _ => return None,
    };
    Some(
        json!({"id": item["call_id"], "type": kind, kind: {"name": item["name"], given: item[given]}}),
    )
}

/// The text of the last message of the user.
pub fn last_user_text(fields: &BodyFields) -> Option<String> {
    let text = fields
        .raw(INPUT)
        .and_then(|raw| lenient::parse(raw.get()).ok());
    match text {
        Some(Value::String(text)) => Some(text),
        _ => conversation::last_user_text(fields, INPUT),
    }
}

/// The input of a trace: instructions as the first message, then the items as they were sent.
pub fn traced(fields: &BodyFields) -> Option<String> {
    let mut messages = Vec::new();
    let given = |name: &str| {
        fields
            .raw(name)
            .map(RawValue::get)
            .filter(|text| *text != "null")
    };
    if let Some(instructions) = given(INSTRUCTIONS) {
        messages.push(format!(r#"{{"role":"system","content":{instructions}}}"#));
    }
    let items: Option<Vec<&RawValue>> =
        given(INPUT).and_then(|input| serde_json::from_str(input).ok());
    match (items, given(INPUT)) {
        (Some(items), _) => messages.extend(items.iter().map(|item| item.get().to_owned())),
        (None, Some(text)) => messages.push(format!(r#"{{"role":"user","content":{text}}}"#)),
        (None, None) => {}
    }
    conversation::traced(fields, &format!("[{}]", messages.join(",")), &["tools"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &Value) -> BodyFields {
        serde_json::from_value(body.clone()).unwrap()
    }

    #[test]
    fn a_conversation_of_chat_becomes_items() {
        let mut fields = parse(&json!({"model": "m", "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "q"}, {"type": "image_url", "image_url": {"url": "http://x"}}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "1"},
        ]}));
        adopt(&mut fields);
        assert_eq!(
            serde_json::to_value(&fields).unwrap(),
            json!({"model": "m", "instructions": "be brief", "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "q"}, {"type": "input_image", "image_url": "http://x", "detail": "auto"}]},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "1"},
            ]})
        );
        let mut fields = parse(&json!({"messages": [{"role": "user", "content": "q"}]}));
        adopt(&mut fields);
        assert_eq!(fields.to_json(), r#"{"input":"q"}"#);
    }

    #[test]
    fn items_become_messages() {
        let fields = parse(&json!({"instructions": "be brief", "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "1"},
        ]}));
        assert_eq!(
            Value::from(messages(&fields)),
            json!([
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "hi"}]},
                {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "c", "content": "1"},
            ])
        );
    }

    #[test]
    fn parts_are_attached_to_a_text_too() {
        let mut fields = parse(&json!({"input": "q"}));
        let part =
            to_raw_value(&json!({"type": "file", "file": {"filename": "a", "file_data": "d"}}));
        attach(&mut fields, &[part.unwrap()]);
        assert_eq!(
            fields.to_json(),
            r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"q"},{"type":"input_file","filename":"a","file_data":"d"}]}]}"#
        );
    }
}
