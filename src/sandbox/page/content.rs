//! The input or output of an observation for people: chat messages as a conversation, other JSON indented, text as
//! text, media below the references to them.

use maud::{Markup, html};
use serde_json::Value;

use super::media;

/// Characters of one text that are drawn; a browser would stall on more.
const MOST_CHARS: usize = 100_000;
/// Characters of a snippet.
const SNIPPET_CHARS: usize = 160;

pub fn draw(text: &str) -> Markup {
    let parsed = serde_json::from_str(text)
        .ok()
        .filter(|json: &Value| json.is_array() || json.is_object());
    let Some(json) = parsed else {
        return html! { (block("text", text)) (media::draw(text)) };
    };
    let Some(messages) = messages(&json) else {
        return html! { (block("json", &indented(&json))) (media::draw(text)) };
    };
    html! {
        @if let Some(tools) = json.get("tools") {
            details.metadata { summary { "Tools" } (block("json", &indented(tools))) }
        }
        @for message in messages { (draw_message(message, Detail::Everything)) }
    }
}

/// Like [`draw`], but of messages only the last turn: those after the last answer, without system messages.
pub fn draw_turn(text: &str) -> Markup {
    let json: Value = serde_json::from_str(text).unwrap_or_default();
    let turn = last_turn(&json);
    if turn.is_empty() {
        return draw(text);
    }
    html! { @for message in turn { (draw_message(message, Detail::Text)) } }
}

/// The beginning of a text on one line; of messages, the text of the last turn.
pub fn snippet(text: &str) -> String {
    let json: Value = serde_json::from_str(text).unwrap_or_default();
    let turn: Vec<String> = last_turn(&json).into_iter().map(message_text).collect();
    let text = if turn.is_empty() {
        text
    } else {
        &turn.join(" ")
    };
    let mut words = String::new();
    for word in text.split_whitespace() {
        if words.chars().count() > SNIPPET_CHARS {
            break;
        }
        words.push_str(word);
        words.push(' ');
    }
    let mut snippet: String = words.trim_end().chars().take(SNIPPET_CHARS).collect();
    if snippet.len() < words.trim_end().len() {
        snippet.push('…');
    }
    snippet
}

fn last_turn(json: &Value) -> Vec<&Value> {
    let messages = messages(json).unwrap_or_default();
    let answered = messages
        .iter()
        .rposition(|message| message["role"] == "assistant");
    messages
        .into_iter()
        .skip(answered.map_or(0, |last| last + 1))
        .filter(|message| message["role"] != "system" && message["role"] != "developer")
        .collect()
}

/// The plain text of a message, without media.
fn message_text(message: &Value) -> String {
    match parts(message) {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(part_text);
            texts.collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

/// The content of a message: a text or a list of parts.
fn parts(message: &Value) -> &Value {
    if message["parts"].is_array() {
        &message["parts"]
    } else {
        &message["content"]
    }
}

fn part_text(part: &Value) -> Option<&str> {
    part["text"].as_str().or_else(|| part["content"].as_str())
}

/// A value on one line: texts without quotes.
pub fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// The messages: a single one, a list, or a list beside its tools.
fn messages(json: &Value) -> Option<Vec<&Value>> {
    let messages: Vec<&Value> = match json.get("messages").unwrap_or(json) {
        Value::Array(list) => list.iter().collect(),
        single => vec![single],
    };
    let is_message = |message: &&Value| message["role"].is_string();
    (!messages.is_empty() && messages.iter().all(is_message)).then_some(messages)
}

/// Whether a part that refers to media is shown as JSON too; the media themselves always are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Text,
    Everything,
}

fn draw_message(message: &Value, detail: Detail) -> Markup {
    let role = message["role"].as_str().unwrap_or_default();
    let known = ["system", "developer", "user", "assistant", "tool"].contains(&role);
    html! {
        div.message.(if known { role } else { "other" }) {
            p.role { (role) @if let Some(name) = message["name"].as_str() { " · " (name) } }
            (draw_parts(parts(message), detail))
            @if let Some(refusal) = message["refusal"].as_str() { (block("text", refusal)) }
            @for call in message["tool_calls"].as_array().into_iter().flatten() { (draw_call(&call["function"])) }
            (media::draw(&message.to_string()))
        }
    }
}

fn draw_parts(content: &Value, detail: Detail) -> Markup {
    match content {
        Value::Null => html! {},
        Value::String(text) => block("text", text),
        Value::Array(parts) => html! {
            @for part in parts {
                @if let Some(text) = part_text(part) {
                    (block("text", text))
                } @else if detail == Detail::Everything || !media::is_in(&part.to_string()) {
                    (block("json", &indented(part)))
                }
            }
        },
        other => block("json", &indented(other)),
    }
}

fn draw_call(function: &Value) -> Markup {
    let arguments = &function["arguments"];
    let parsed = arguments
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok());
    html! {
        p.call { "calls " code { (plain(&function["name"])) } }
        (block("json", &parsed.map_or_else(|| plain(arguments), |json| indented(&json))))
    }
}

fn indented(json: &Value) -> String {
    format!("{json:#}")
}

fn block(class: &str, text: &str) -> Markup {
    let end = text
        .char_indices()
        .nth(MOST_CHARS)
        .map_or(text.len(), |(end, _)| end);
    html! {
        pre.(class) { (text[..end]) }
        @if end < text.len() { p.soft { "… and " (text.len() - end) " bytes more" } }
    }
}
