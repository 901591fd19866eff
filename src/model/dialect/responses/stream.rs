//! Assembles the typed events of a streamed answer of the Responses API.
//!
//! The last event carries the whole answer. The pieces before it are kept for a stream that ends early.

use serde_json::{Map, Value, json};

use crate::json::lenient;
use crate::model::dialect::{AnswerAssembler, StreamError};
use crate::model::server_error::ServerError;
use crate::model::sse::Event;

/// An answer under construction.
#[derive(Debug, Default)]
pub struct ResponseAssembly {
    /// The response as the latest event has it.
    response: Map<String, Value>,
    /// The items so far, by output index.
    items: Vec<Value>,
    is_done: bool,
    unknown: Option<String>,
}

/// Events of tools at work, which say nothing that the items do not.
const PASSING: [&str; 9] = [
    ".done",
    ".in_progress",
    ".completed",
    ".failed",
    ".searching",
    ".generating",
    ".interpreting",
    ".partial_image",
    ".compacting",
];
const OTHERS: [&str; 6] = [
    "response.queued",
    "response.audio.delta",
    "response.audio.transcript.delta",
    "response.shell_call_command.added",
    "ping",
    "keepalive",
];

impl AnswerAssembler for ResponseAssembly {
    fn push(&mut self, event: Event, on_text: &mut dyn FnMut(&str)) -> Result<(), StreamError> {
        let mut data = match lenient::parse(&event.data) {
            Ok(data @ Value::Object(_)) => data,
            Err(_) if event.data.trim_start().starts_with('{') => {
                return Err(StreamError::InvalidChunk);
            }
            // Words of the server's own, or the end marker of other dialects.
            _ => return Ok(()),
        };
        let kind = data["type"].as_str().unwrap_or(&event.name).to_owned();
        if let Value::Object(response) = data["response"].take() {
            self.response = response;
        }
        match kind.as_str() {
            "response.created" | "response.in_progress" => {}
            "response.completed" | "response.incomplete" => self.is_done = true,
            "response.failed" => {
                self.is_done = true;
                let error = self.response.get("error").cloned().unwrap_or_default();
                return Err(reported(&json!({"error": error}), "the response failed"));
            }
            "error" => {
                let nested = data["error"].is_object();
                let error = if nested { data } else { json!({"error": data}) };
                return Err(reported(&error, &event.data));
            }
            kind if !kind.starts_with("response.") && !data["error"].is_null() => {
                return Err(reported(&data, &event.data));
            }
            "response.output_item.added" | "response.output_item.done" => {
                let item = data["item"].take();
                if let Some(place) = self.item(&data) {
                    *place = item;
                }
            }
            _ => self.add(&kind, data, on_text),
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.is_done
    }

    fn has_content(&self) -> bool {
        self.is_done || !self.items.is_empty()
    }

    fn is_whole(&self) -> bool {
        self.is_done
    }

    fn unknown_event(&mut self) -> Option<String> {
        self.unknown.take()
    }

    fn into_body(self: Box<Self>) -> Value {
        let Self {
            mut response,
            items,
            ..
        } = *self;
        let has_output = response
            .get("output")
            .and_then(Value::as_array)
            .is_some_and(|output| !output.is_empty());
        if !has_output {
            response.insert("output".to_owned(), items.into());
        }
        response.into()
    }
}

impl ResponseAssembly {
    /// Adds a piece of an item, or the beginning of a part.
    fn add(&mut self, kind: &str, mut data: Value, on_text: &mut dyn FnMut(&str)) {
        let added = match kind {
            "response.content_part.added" | "response.reasoning_summary_part.added" => "part",
            "response.output_text.annotation.added" => "annotation",
            _ => "delta",
        };
        let piece = data[added].take();
        if matches!(
            kind,
            "response.output_text.delta" | "response.refusal.delta"
        ) {
            on_text(piece.as_str().unwrap_or_default());
        }
        match (self.place(kind, &data), piece) {
            (Some(Value::String(text)), Value::String(piece)) => text.push_str(&piece),
            (Some(place), piece) => *place = piece,
            (None, _) => self.note_unknown(kind),
        }
    }

    /// Where the piece of an event belongs; `None` for one without a piece.
    fn place(&mut self, kind: &str, data: &Value) -> Option<&mut Value> {
        let at = |name: &str| data[name].as_u64().unwrap_or_default();
        let (content, summary) = (at("content_index"), at("summary_index"));
        match kind {
            "response.content_part.added" => nth(field(self.item(data)?, "content"), content),
            "response.reasoning_summary_part.added" => {
                nth(field(self.item(data)?, "summary"), summary)
            }
            "response.output_text.annotation.added" => {
                let part = nth(field(self.item(data)?, "content"), content)?;
                nth(field(part, "annotations"), at("annotation_index"))
            }
            "response.output_text.delta" => {
                let part = nth(field(self.item(data)?, "content"), content)?;
                Some(named(part, "output_text", "text"))
            }
            "response.refusal.delta" => {
                let part = nth(field(self.item(data)?, "content"), content)?;
                Some(named(part, "refusal", "refusal"))
            }
            "response.reasoning_text.delta" => {
                let part = nth(field(self.item(data)?, "content"), content)?;
                Some(named(part, "reasoning_text", "text"))
            }
            "response.reasoning_summary_text.delta" => {
                let part = nth(field(self.item(data)?, "summary"), summary)?;
                Some(named(part, "summary_text", "text"))
            }
            "response.function_call_arguments.delta" | "response.mcp_call_arguments.delta" => {
                Some(field(self.item(data)?, "arguments"))
            }
            "response.custom_tool_call_input.delta" => Some(field(self.item(data)?, "input")),
            "response.code_interpreter_call_code.delta" => Some(field(self.item(data)?, "code")),
            _ => None,
        }
    }

    fn note_unknown(&mut self, kind: &str) {
        let is_passing =
            kind.starts_with("response.") && PASSING.iter().any(|end| kind.ends_with(end));
        if !is_passing && !OTHERS.contains(&kind) {
            self.unknown.get_or_insert_with(|| kind.to_owned());
        }
    }

    /// The item that an event is about. One that was not announced is a message.
    fn item(&mut self, event: &Value) -> Option<&mut Value> {
        let index = index(event["output_index"].as_u64().unwrap_or_default())?;
        while self.items.len() <= index {
            self.items
                .push(json!({"type": "message", "role": "assistant", "content": []}));
        }
        self.items.get_mut(index).filter(|item| item.is_object())
    }
}

/// A field of an object; of another value, which a broken stream may have, the value itself becomes an object.
fn field<'a>(value: &'a mut Value, name: &str) -> &'a mut Value {
    if !value.is_object() {
        *value = json!({});
    }
    &mut value[name]
}

/// The field `field` of a part, which becomes one of the type `kind` if it is none yet.
fn named<'a>(part: &'a mut Value, kind: &str, field: &str) -> &'a mut Value {
    if !part.is_object() {
        *part = json!({"type": kind, field: ""});
    }
    &mut part[field]
}

/// The item at an index of an array, which grows for it.
fn nth(list: &mut Value, at: u64) -> Option<&mut Value> {
    let at = index(at)?;
    if !list.is_array() {
        *list = json!([]);
    }
    let items = list.as_array_mut()?;
    if items.len() <= at {
        items.resize(at + 1, Value::Null);
    }
    items.get_mut(at)
}

/// An index that an answer may have. A higher one means a broken stream; nothing is allocated for it.
fn index(index: u64) -> Option<usize> {
    const MOST: usize = 4096;
    usize::try_from(index).ok().filter(|index| *index < MOST)
}

/// The error of a body, else one in these words.
fn reported(body: &Value, words: &str) -> StreamError {
    let error = ServerError::of(body).unwrap_or_else(|| ServerError::in_words(words));
    StreamError::Reported(error)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::dialect::RESPONSES;
    use crate::model::stream::StreamReader;

    fn read(events: &[Value]) -> (StreamReader, String, Option<StreamError>) {
        let mut reader = StreamReader::new(RESPONSES);
        let mut shown = String::new();
        let mut text = String::new();
        for event in events {
            text += &["event: x\ndata: ", &event.to_string(), "\n\n"].concat();
        }
        let read = reader.push(text.as_bytes(), |text| shown.push_str(text));
        (reader, shown, read.err())
    }

    #[test]
    fn the_last_event_is_the_answer() {
        let response = json!({"id": "resp_1", "status": "completed", "output": [
            {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}]});
        let (reader, shown, _) = read(&[
            json!({"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "output": []}}),
            json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hel"}),
            json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "lo"}),
            json!({"type": "response.completed", "response": response}),
        ]);
        assert!(reader.is_whole());
        assert_eq!(shown, "Hello");
        assert_eq!(reader.into_body(), response);
    }

    #[test]
    fn a_stream_that_ends_early_keeps_its_pieces() {
        let delta = |kind: &str, more: Value| {
            let mut event = json!({"type": kind, "output_index": 1, "content_index": 0});
            event
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            event
        };
        let (mut reader, _, _) = read(&[
            json!({"type": "response.created", "response": {"id": "resp_1", "model": "m"}}),
            json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "summary": []}}),
            json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "hm"}),
            delta("response.output_text.delta", json!({"delta": "Hel"})),
            delta(
                "response.output_text.annotation.added",
                json!({"annotation_index": 0, "annotation": {"type": "url_citation"}}),
            ),
            json!({"type": "response.output_item.added", "output_index": 2, "item": {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}}),
            json!({"type": "response.function_call_arguments.delta", "output_index": 2, "delta": "{\"a\""}),
            json!({"type": "response.web_search_call.searching"}),
            json!({"type": "response.surprise"}),
        ]);
        assert!(!reader.is_whole() && reader.has_content());
        assert_eq!(reader.unknown_event().as_deref(), Some("response.surprise"));
        assert_eq!(
            reader.into_body(),
            json!({"id": "resp_1", "model": "m", "output": [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
                {"type": "message", "role": "assistant", "content": [
                    {"type": "output_text", "text": "Hel", "annotations": [{"type": "url_citation"}]}]},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{\"a\""},
            ]})
        );
    }

    #[test]
    fn a_failure_is_told_in_the_servers_words() {
        for event in [
            json!({"type": "response.failed", "response": {"status": "failed", "error": {"code": "server_error", "message": "no"}}}),
            json!({"type": "error", "code": "x", "message": "no", "param": null}),
            json!({"type": "error", "error": {"type": "x", "message": "no"}}),
            json!({"error": {"message": "no"}}),
        ] {
            let (_, _, error) = read(std::slice::from_ref(&event));
            match error {
                Some(StreamError::Reported(error)) => assert_eq!(error.message(), "no", "{event}"),
                other => panic!("{event}: {other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn no_events_make_it_panic(
            events in prop::collection::vec((prop::sample::select(vec![
                "response.created", "response.output_item.added", "response.output_text.delta", "response.content_part.added",
                "response.output_text.annotation.added", "response.reasoning_summary_text.delta", "response.completed",
            ]), 0..3_u64, prop::sample::select(vec!["null", "1", "\"x\"", "[]", "{}", "[1]", "{\"content\":7}"])), 0..12)
        ) {
            let mut reader = StreamReader::new(RESPONSES);
            for (kind, at, value) in events {
                let value: Value = serde_json::from_str(value).unwrap();
                let event = json!({"type": kind, "output_index": at, "content_index": at, "summary_index": at, "item": value, "part": value,
                    "response": value, "delta": "x", "annotation": value, "annotation_index": at});
                let _ = reader.push(format!("data: {event}\n\n").as_bytes(), |_| ());
            }
            RESPONSES.completion(reader.into_body());
        }
    }
}
