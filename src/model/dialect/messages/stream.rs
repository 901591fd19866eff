//! Assembles the events of a streamed answer of the Messages API.

use serde_json::{Value, json};

use crate::json::lenient;
use crate::model::dialect::{AnswerAssembler, StreamError};
use crate::model::server_error::ServerError;
use crate::model::sse::Event;

/// An answer under construction.
#[derive(Debug, Default)]
pub struct MessageAssembly {
    message: Value,
    blocks: Vec<Block>,
    is_done: bool,
    unknown: Option<String>,
}

/// A content block under construction.
#[derive(Debug, Default)]
struct Block {
    fields: Value,
    /// The JSON text of a tool's input so far.
    input: String,
}

impl AnswerAssembler for MessageAssembly {
    fn push(&mut self, event: Event, on_text: &mut dyn FnMut(&str)) -> Result<(), StreamError> {
        let mut data = match lenient::parse(&event.data) {
            Ok(data @ Value::Object(_)) => data,
            Err(_) if event.data.trim_start().starts_with('{') => {
                return Err(StreamError::InvalidChunk);
            }
            // Words of the server's own, not an event.
            _ => return Ok(()),
        };
        let kind = data["type"].as_str().unwrap_or(&event.name).to_owned();
        match kind.as_str() {
            "message_start" => self.message = data["message"].take(),
            "content_block_start" => {
                let fields = data["content_block"].take();
                if let Some(block) = self.block(&data) {
                    if let Some(text) = fields["text"].as_str().filter(|text| !text.is_empty()) {
                        on_text(text);
                    }
                    block.fields = fields;
                }
            }
            "content_block_delta" => self.add(&mut data, on_text),
            "message_delta" => self.end(&mut data),
            "message_stop" => self.is_done = true,
            "content_block_stop" | "ping" => {}
            _ if kind == "error" || !data["error"].is_null() => {
                let error = ServerError::of(&data);
                let error = error.unwrap_or_else(|| ServerError::in_words(&event.data));
                return Err(StreamError::Reported(error));
            }
            _ => drop(self.unknown.get_or_insert(kind)),
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.is_done
    }

    fn has_content(&self) -> bool {
        !self.blocks.is_empty()
    }

    fn is_whole(&self) -> bool {
        self.is_done
    }

    fn unknown_event(&mut self) -> Option<String> {
        self.unknown.take()
    }

    fn into_body(self: Box<Self>) -> Value {
        let mut message = self.message;
        if !message.is_object() {
            message = json!({});
        }
        message["content"] = self.blocks.into_iter().map(Block::into_value).collect();
        message
    }
}

impl MessageAssembly {
    /// Adds a piece of a block.
    fn add(&mut self, data: &mut Value, on_text: &mut dyn FnMut(&str)) {
        let mut delta = data["delta"].take();
        let Some(block) = self.block(data) else {
            return;
        };
        let kind = delta["type"].as_str().unwrap_or_default().to_owned();
        let piece = |field: &str| delta[field].as_str().unwrap_or_default().to_owned();
        match kind.as_str() {
            "text_delta" => {
                let text = piece("text");
                on_text(&text);
                block.append("text", &text);
            }
            "thinking_delta" => block.append("thinking", &piece("thinking")),
            "signature_delta" => block.append("signature", &piece("signature")),
            "input_json_delta" => block.input.push_str(&piece("partial_json")),
            "citations_delta" => block.cite(delta["citation"].take()),
            _ => drop(self.unknown.get_or_insert(kind)),
        }
    }

    /// Adds the reason of the end, and the usage: cumulative, and only what has changed.
    fn end(&mut self, data: &mut Value) {
        if !self.message.is_object() {
            self.message = json!({});
        }
        for (name, value) in data["delta"].as_object_mut().into_iter().flatten() {
            self.message[name.as_str()] = value.take();
        }
        let usage = &mut self.message["usage"];
        if !usage.is_object() {
            *usage = json!({});
        }
        for (name, count) in data["usage"].as_object_mut().into_iter().flatten() {
            if !count.is_null() {
                usage[name.as_str()] = count.take();
            }
        }
    }

    fn block(&mut self, event: &Value) -> Option<&mut Block> {
        // More blocks than any answer has are a broken stream, not a reason to allocate.
        const MOST_BLOCKS: usize = 4096;
        let index = usize::try_from(event["index"].as_u64()?).ok()?;
        if index >= MOST_BLOCKS {
            return None;
        }
        if self.blocks.len() <= index {
            self.blocks.resize_with(index + 1, Block::default);
        }
        self.blocks.get_mut(index)
    }
}

impl Block {
    fn append(&mut self, field: &str, piece: &str) {
        if !self.fields.is_object() {
            self.fields = json!({"type": field});
        }
        match &mut self.fields[field] {
            Value::String(text) => text.push_str(piece),
            place => *place = piece.into(),
        }
    }

    fn cite(&mut self, citation: Value) {
        if !self.fields.is_object() {
            self.fields = json!({"type": "text", "text": ""});
        }
        match &mut self.fields["citations"] {
            Value::Array(citations) => citations.push(citation),
            place => *place = json!([citation]),
        }
    }

    /// The block, with the input as far as it was received: as a text if it ends too early to be JSON.
    fn into_value(self) -> Value {
        let mut fields = self.fields;
        if !self.input.is_empty() && fields.is_object() {
            let input = lenient::parse(&self.input).ok();
            fields["input"] = input.unwrap_or_else(|| self.input.into());
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::dialect::MESSAGES;
    use crate::model::stream::StreamReader;

    fn events() -> Vec<Value> {
        vec![
            json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [],
                "stop_reason": null, "usage": {"input_tokens": 10, "cache_read_input_tokens": 2, "output_tokens": 1}}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
            json!({"type": "ping"}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hel"}}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "lo"}}),
            json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}}),
            json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{\"a\":"}}),
            json!({"type": "surprise"}),
            json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "1}"}}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 17}}),
            json!({"type": "message_stop"}),
        ]
    }

    fn read(events: &[Value]) -> (StreamReader, String) {
        let mut reader = StreamReader::new(MESSAGES);
        let mut shown = String::new();
        for event in events {
            let event = format!(
                "event: {}\ndata: {event}\n\n",
                event["type"].as_str().unwrap()
            );
            reader
                .push(event.as_bytes(), |text| shown.push_str(text))
                .unwrap();
        }
        (reader, shown)
    }

    #[test]
    fn a_streamed_answer_is_the_same_as_a_whole_one() {
        let whole = json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "tool_use",
            "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "Hello", "citations": null},
                {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}],
            "usage": {"input_tokens": 10, "cache_read_input_tokens": 2, "output_tokens": 17},
        });
        let (mut reader, shown) = read(&events());
        assert!(reader.is_whole());
        assert_eq!(shown, "Hello");
        assert_eq!(reader.unknown_event().as_deref(), Some("surprise"));
        assert_eq!(
            MESSAGES.completion(reader.into_body()),
            MESSAGES.completion(whole)
        );
    }

    #[test]
    fn a_stream_that_ends_early_keeps_its_pieces() {
        let (reader, _) = read(&events()[..11]);
        assert!(!reader.is_whole() && reader.has_content());
        let completion = MESSAGES.completion(reader.into_body());
        assert_eq!(completion.text().as_deref(), Some("Hello"));
        assert_eq!(
            completion.tool_calls()[0]["function"]["arguments"],
            "{\"a\":"
        );
    }

    #[test]
    fn an_error_in_the_stream_is_told() {
        let mut reader = StreamReader::new(MESSAGES);
        let error = reader.push(
            b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
            |_| (),
        );
        match error {
            Err(StreamError::Reported(error)) => assert_eq!(error.message(), "Overloaded"),
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn no_events_make_it_panic(
            events in prop::collection::vec((prop::sample::select(vec![
                "message_start", "content_block_start", "content_block_delta", "message_delta", "message_stop",
            ]), 0..3_u64, prop::sample::select(vec!["null", "1", "\"x\"", "[]", "{}", "{\"type\":\"text_delta\",\"text\":\"x\"}",
                "{\"type\":\"citations_delta\"}", "{\"type\":\"input_json_delta\",\"partial_json\":\"{\"}", "{\"usage\":1}"])), 0..12)
        ) {
            let mut reader = StreamReader::new(MESSAGES);
            for (kind, at, value) in events {
                let value: Value = serde_json::from_str(value).unwrap();
                let event = json!({"type": kind, "index": at, "message": value, "content_block": value, "delta": value, "usage": value});
                let _ = reader.push(format!("data: {event}\n\n").as_bytes(), |_| ());
            }
            MESSAGES.completion(reader.into_body());
        }
    }
}
