//! One part of a message as a part by the GenAI conventions.

use serde_json::{Value, json};

use crate::model::content::text_of;

/// A part of a message's content. One that the conventions do not define stays unchanged.
pub fn part(item: &Value) -> Value {
    let converted = match item["type"].as_str() {
        Some("text") => Some(text(&item["text"])),
        // A list of texts at Mistral, a text at Anthropic.
        Some("thinking") => Some(reasoning(&text_of(&item["thinking"]).unwrap_or_default())),
        Some("image_url") => referred("image", &item["image_url"]["url"]),
        Some("input_image") => stored("image", item),
        Some("input_audio") => audio(&item["input_audio"]),
        Some("file") => file(&item["file"]),
        Some(modality @ ("image" | "document")) => source(modality, &item["source"]),
        None if item.is_string() => Some(text(item)),
        _ => None,
    };
    converted.unwrap_or_else(|| item.clone())
}

pub fn text(content: &Value) -> Value {
    json!({"type": "text", "content": content})
}

pub fn reasoning(content: &str) -> Value {
    json!({"type": "reasoning", "content": content})
}

/// A call of the function or tool in `called`, which has arguments or an input.
pub fn tool_call(id: &Value, called: &Value) -> Value {
    let given = called.get("arguments").unwrap_or(&called["input"]);
    json!({"type": "tool_call", "id": id, "name": called["name"], "arguments": arguments(given)})
}

/// What a tool answered: text, or other content as it is.
pub fn tool_response(id: &Value, content: &Value) -> Value {
    let response = text_of(content).map_or_else(|| content.clone(), Value::String);
    json!({"type": "tool_call_response", "id": id, "response": response})
}

/// Tool arguments are sent as JSON text; the conventions require the value.
fn arguments(arguments: &Value) -> Value {
    arguments
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_else(|| arguments.clone())
}

/// What a URL refers to, or holds: a data URI is the content itself.
fn referred(modality: &str, url: &Value) -> Option<Value> {
    let url = url.as_str()?;
    let held = url
        .strip_prefix("data:")
        .and_then(|data| data.split_once(";base64,"));
    Some(match held {
        Some((mime_type, content)) => blob(modality, mime_type, content),
        None => json!({"type": "uri", "modality": modality, "uri": url}),
    })
}

/// A file that was uploaded to the provider before.
fn stored(modality: &str, fields: &Value) -> Option<Value> {
    let id = fields["file_id"].as_str()?;
    Some(json!({"type": "file", "modality": modality, "file_id": id}))
}

fn blob(modality: &str, mime_type: &str, content: &str) -> Value {
    json!({"type": "blob", "modality": modality, "mime_type": mime_type, "content": content})
}

fn audio(fields: &Value) -> Option<Value> {
    let format = fields["format"].as_str()?;
    let content = fields["data"].as_str()?;
    Some(blob("audio", &format!("audio/{format}"), content))
}

/// OpenAI's file: its data, its URL, or the id of a stored one.
fn file(fields: &Value) -> Option<Value> {
    referred("document", &fields["file_data"])
        .or_else(|| referred("document", &fields["file_url"]))
        .or_else(|| stored("document", fields))
}

/// An image or document of Anthropic's that the body does not hold in base64.
fn source(modality: &str, source: &Value) -> Option<Value> {
    match source["type"].as_str()? {
        "file" => stored(modality, source),
        "text" => Some(text(&source["data"])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_are_contents_links_or_stored_files() {
        let blob = |modality: &str, kind: &str| json!({"type": "blob", "modality": modality, "mime_type": kind, "content": "AA=="});
        let stored = |modality: &str| json!({"type": "file", "modality": modality, "file_id": "f"});
        let link =
            |modality: &str| json!({"type": "uri", "modality": modality, "uri": "http://x/y"});
        let search = json!({"type": "search_result", "title": "t"});
        for (sent, expected) in [
            (
                json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}),
                blob("image", "image/png"),
            ),
            (
                json!({"type": "image_url", "image_url": {"url": "http://x/y"}}),
                link("image"),
            ),
            (
                json!({"type": "input_image", "file_id": "f"}),
                stored("image"),
            ),
            (
                json!({"type": "image", "source": {"type": "file", "file_id": "f"}}),
                stored("image"),
            ),
            (
                json!({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}}),
                blob("document", "application/pdf"),
            ),
            (
                json!({"type": "file", "file": {"file_url": "http://x/y"}}),
                link("document"),
            ),
            (
                json!({"type": "file", "file": {"file_id": "f"}}),
                stored("document"),
            ),
            (
                json!({"type": "document", "source": {"type": "file", "file_id": "f"}}),
                stored("document"),
            ),
            (
                json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a"}}),
                json!({"type": "text", "content": "a"}),
            ),
            (
                json!({"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}),
                blob("audio", "audio/wav"),
            ),
            // Not one of the conventions' parts.
            (search.clone(), search),
        ] {
            assert_eq!(part(&sent), expected, "{sent}");
        }
    }
}
