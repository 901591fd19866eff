//! What was said in a generation: its last user message and its answer, as text.
//!
//! The content may come from any program: messages of chat completions are read, everything else is shown as it is.

use serde_json::Value;

use crate::langfuse::Row;

/// The last user message of a generation, else its whole input; `None` if it has none.
pub fn question(row: &Row) -> Option<String> {
    let input = content(row, "input");
    Some(asked(&input)).filter(|text| !text.is_empty())
}

/// The answer of a generation, several choices with a blank line between them; `None` if it has none.
pub fn answer(row: &Row) -> Option<String> {
    let output = content(row, "output");
    let text = match &output {
        Value::Array(messages) if is_conversation(messages) => {
            let answers: Vec<String> = messages.iter().map(message).collect();
            answers.join("\n\n")
        }
        output => message(output),
    };
    Some(text).filter(|text| !text.is_empty())
}

/// A field that holds JSON as text, or as it is; other text as it is.
fn content(row: &Row, field: &str) -> Value {
    match row.field(field) {
        Value::String(text) => {
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()))
        }
        other => other.clone(),
    }
}

fn asked(input: &Value) -> String {
    match input {
        Value::Array(messages) if is_conversation(messages) => {
            let is_user = |message: &&Value| message["role"] == "user";
            let last = messages.iter().rfind(is_user).or(messages.last());
            last.map(message).unwrap_or_default()
        }
        Value::Object(fields) => {
            let inner = ["messages", "input", "prompt"].map(|name| fields.get(name));
            match inner.into_iter().flatten().next() {
                Some(inner) => asked(inner),
                None => message(input),
            }
        }
        other => plain(other),
    }
}

fn is_conversation(messages: &[Value]) -> bool {
    messages
        .iter()
        .any(|message| message.get("role").is_some() || message.get("content").is_some())
}

/// The content of a message, with its refusal, audio and tool calls. What is no message is shown as it is.
fn message(message: &Value) -> String {
    let Some(fields) = message.as_object() else {
        return plain(message);
    };
    let names = ["content", "refusal", "audio", "tool_calls", "function_call"];
    if !names.iter().any(|name| fields.contains_key(*name)) {
        return plain(message);
    }
    let mut parts = parts(&message["content"]);
    parts.push(plain(&message["refusal"]));
    parts.push(plain(&message["audio"]["transcript"]));
    parts.push(media(&message["audio"]["data"]));
    parts.push(plain(&message["tool_calls"]));
    parts.push(plain(&message["function_call"]));
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

/// The parts of a content, each as text: media by its reference or URL.
fn parts(content: &Value) -> Vec<String> {
    match content {
        Value::Array(parts) => parts.iter().map(part).collect(),
        other => vec![plain(other)],
    }
}

fn part(part: &Value) -> String {
    if !part["text"].is_null() {
        return plain(&part["text"]);
    }
    let places = [
        &part["image_url"]["url"],
        &part["image_url"],
        &part["input_audio"]["data"],
        &part["file"]["file_data"],
        &part["file"]["file_id"],
        &part["file_data"],
        &part["refusal"],
    ];
    let found = places.into_iter().find(|place| place.is_string());
    found.map_or_else(|| plain(part), media)
}

/// A reference or URL as it is; base64 content by its type and length.
fn media(content: &Value) -> String {
    let text = plain(content);
    match text.split_once(";base64,") {
        Some((kind, data)) if kind.starts_with("data:") => {
            format!("{kind};base64,… ({} characters)", data.len())
        }
        _ => text,
    }
}

/// A text without its quotes, nothing for null, else JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(input: &Value, output: &Value) -> Row {
        let row = json!({"id": "a", "input": input, "output": output});
        Row::of_observations(&mut json!([row])).remove(0)
    }

    #[test]
    fn the_last_user_message_is_the_question() {
        let said = |role: &str, content: Value| json!({"role": role, "content": content});
        let messages = json!([
            said("user", "1".into()),
            said("user", "2".into()),
            said("assistant", "3".into())
        ]);
        let image = json!([{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "@@@langfuseMedia:type=image/png|id=1|source=base64_data_uri@@@"}}, {"type": "input_audio", "input_audio": {"data": "data:audio/wav;base64,AAAA"}}]);
        for (input, expected) in [
            (messages.clone(), "2"),
            (messages.to_string().into(), "2"),
            (json!({"tools": [], "messages": messages}), "2"),
            (json!([said("system", "s".into())]), "s"),
            (
                json!([said("user", image)]),
                "see\n@@@langfuseMedia:type=image/png|id=1|source=base64_data_uri@@@\ndata:audio/wav;base64,… (4 characters)",
            ),
            (json!({"prompt": "p"}), "p"),
            ("just text".into(), "just text"),
            (json!({"a": 1}), r#"{"a":1}"#),
            (json!([1, 2]), "[1,2]"),
        ] {
            assert_eq!(
                question(&row(&input, &Value::Null)).as_deref(),
                Some(expected)
            );
        }
        assert_eq!(question(&row(&Value::Null, &Value::Null)), None);
    }

    #[test]
    fn every_form_of_answer_is_shown() {
        let call = json!({"id": "c", "function": {"name": "f"}});
        for (output, expected) in [
            (json!({"role": "assistant", "content": "a"}), "a".to_owned()),
            (
                json!([{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}]),
                "a\n\nb".to_owned(),
            ),
            (
                json!({"role": "assistant", "content": null, "tool_calls": [call]}),
                format!("[{call}]"),
            ),
            (json!({"refusal": "no"}), "no".to_owned()),
            (
                json!({"role": "assistant", "audio": {"transcript": "t", "data": "@@@ref@@@"}}),
                "t\n@@@ref@@@".to_owned(),
            ),
            ("text".into(), "text".to_owned()),
            (json!({"score": 1}), r#"{"score":1}"#.to_owned()),
        ] {
            assert_eq!(answer(&row(&Value::Null, &output)), Some(expected));
        }
        assert_eq!(answer(&row(&Value::Null, &json!({"content": ""}))), None);
    }
}
