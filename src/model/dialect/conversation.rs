//! Conversations that are an array of messages in a field of the body, as several dialects have them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::json::lenient;
use crate::model::content::{is_system, kind_of, text_of};
use crate::model::dialect::TracedInput;
use crate::model::fields::BodyFields;

/// Checks that `field` is an array; `what` is the kind of body, for the message.
pub fn check(fields: &BodyFields, field: &str, what: &str) -> Result<(), String> {
    let Some(messages) = fields.raw(field) else {
        return Err(format!("not {what}: `{field}` is missing"));
    };
    // It is JSON already; only a value of another type is parsed, to be named.
    if messages.get().starts_with('[') {
        return Ok(());
    }
    match lenient::parse(messages.get()) {
        Ok(Value::Array(_)) => Ok(()),
        Ok(other) => Err(format!("`{field}` is {}, not an array", kind_of(&other))),
        Err(error) => Err(format!("`{field}` is not valid JSON: {error}")),
    }
}

/// The messages; empty if the field is not an array.
pub fn messages(fields: &BodyFields, field: &str) -> Vec<Value> {
    let messages = fields.raw(field).map(|raw| lenient::parse(raw.get()));
    match messages {
        Some(Ok(Value::Array(messages))) => messages,
        _ => Vec::new(),
    }
}

/// A message whose content is not parsed yet.
#[derive(Deserialize)]
struct UnparsedMessage<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: &'a RawValue,
}

/// The text of the last message of the user: text parts joined by newlines.
pub fn last_user_text(fields: &BodyFields, field: &str) -> Option<String> {
    let messages: Vec<&RawValue> = serde_json::from_str(fields.raw(field)?.get()).ok()?;
    let latest_first = messages.iter().rev();
    let last = latest_first
        .filter_map(|message| serde_json::from_str::<UnparsedMessage>(message.get()).ok())
        .find(|message| message.role == "user")?;
    text_of(&lenient::parse(last.content.get()).ok()?)
}

/// Replaces the system message with `text`, or inserts it before all messages.
pub fn set_system(fields: &mut BodyFields, field: &str, text: &str) {
    let mut messages: Vec<Box<RawValue>> = fields.get(field).unwrap_or_default();
    let has_system = messages.first().is_some_and(|message| is_system(message));
    if let Ok(system) = to_raw_value(&json!({"role": "system", "content": text})) {
        if has_system {
            messages[0] = system;
        } else {
            messages.insert(0, system);
        }
    }
    fields.set(field, &messages);
}

/// Appends content parts to the last message of the user. The other messages keep their text. A content that is a text
/// becomes a part of the type `text_type`.
pub fn attach(fields: &mut BodyFields, field: &str, text_type: &str, parts: &[Box<RawValue>]) {
    let mut messages: Vec<Box<RawValue>> = fields.get(field).unwrap_or_default();
    // A message is an object with fields too, so the same type reads it.
    let read = |message: &RawValue| serde_json::from_str::<BodyFields>(message.get()).ok();
    let last = messages
        .iter()
        .enumerate()
        .rev()
        .find_map(|(index, message)| {
            let message = read(message)?;
            (message.get::<String>("role")? == "user").then_some((index, message))
        });
    let Some((index, mut message)) = last else {
        return;
    };
    let text = message
        .get::<String>("content")
        .filter(|text| !text.is_empty());
    let mut content: Vec<Box<RawValue>> = match text {
        Some(text) => to_raw_value(&json!({"type": text_type, "text": text}))
            .into_iter()
            .collect(),
        None => message.get("content").unwrap_or_default(),
    };
    content.extend(parts.iter().cloned());
    message.set("content", &content);
    if let Ok(message) = RawValue::from_string(message.to_json()) {
        messages[index] = message;
    }
    fields.set(field, &messages);
}

/// The conversation of a trace: the messages as they were sent, after the tools if there are any; `None` if there is
/// neither.
pub fn traced(fields: &BodyFields, messages: &str, tools: &[&str]) -> Option<String> {
    let tools = tools.iter().filter_map(|name| {
        let tools = fields.raw(name)?;
        Some(format!("\"{name}\":{}", tools.get()))
    });
    let tools: Vec<String> = tools.collect();
    if tools.is_empty() {
        return (messages != "[]").then(|| messages.to_owned());
    }
    Some(format!("{{{},\"messages\":{messages}}}", tools.join(",")))
}

/// A body of the traced conversation, in `field`, and tools.
pub fn restored(field: &str, input: &TracedInput) -> BodyFields {
    let mut fields = BodyFields::default();
    fields.set(field, &input.conversation);
    for (name, items) in [("tools", &input.tools), ("functions", &input.functions)] {
        if !items.is_empty() {
            fields.set(name, items);
        }
    }
    fields
}

/// Takes the system messages at the beginning out of a traced conversation; returns their contents.
pub fn take_system(conversation: &mut Value) -> Vec<Value> {
    let Some(messages) = conversation.as_array_mut() else {
        return Vec::new();
    };
    let is_system =
        |message: &&Value| matches!(message["role"].as_str(), Some("system" | "developer"));
    let count = messages.iter().take_while(is_system).count();
    let taken = messages.drain(..count);
    taken.map(|mut message| message["content"].take()).collect()
}
