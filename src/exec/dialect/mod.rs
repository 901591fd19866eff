//! What a proxied request and its answer say, whichever API they are of: both as bodies of chat completions, the one
//! form that traces are made of.
//!
//! Each API has a file that knows its names and nothing else. Bytes come in, bodies come out; nothing is sent here.

mod completions;
mod embeddings;
mod messages;
mod responses;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::lenient;
use crate::model::Request;
use crate::model::dialect::{self, StreamError};
use crate::model::sse::Decoder;
use crate::model::stream::StreamReader;

/// The APIs whose calls are traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelApi {
    /// `/chat/completions`
    Chat,
    /// `/completions`, the older API.
    Completions,
    /// `/responses`
    Responses,
    /// `/embeddings`
    Embeddings,
    /// Anthropic's `/v1/messages`
    Messages,
}

impl ModelApi {
    /// The API of a path of an OpenAI-compatible endpoint.
    pub fn of_openai(path: &str) -> Option<Self> {
        let path = path.trim_end_matches('/');
        let ends = |end: &str| path.ends_with(end);
        if ends("/chat/completions") {
            Some(Self::Chat)
        } else if ends("/completions") {
            Some(Self::Completions)
        } else if ends("/responses") {
            Some(Self::Responses)
        } else if ends("/embeddings") {
            Some(Self::Embeddings)
        } else {
            None
        }
    }

    /// The API of a path of Anthropic's endpoint.
    pub fn of_anthropic(path: &str) -> Option<Self> {
        let is_messages = path.trim_end_matches('/').ends_with("/messages");
        is_messages.then_some(Self::Messages)
    }

    /// The operation by the GenAI conventions.
    pub fn operation(self) -> &'static str {
        match self {
            Self::Chat | Self::Responses | Self::Messages => "chat",
            Self::Completions => "text_completion",
            Self::Embeddings => "embeddings",
        }
    }

    /// The body of a request as one of chat completions; `None` if it is not JSON.
    pub fn request(self, body: &[u8]) -> Option<Request> {
        let text = std::str::from_utf8(body).ok()?;
        let request: Request = serde_json::from_str(text).ok()?;
        Some(match self {
            Self::Chat => request,
            Self::Completions => completions::request(request),
            Self::Responses => responses::request(request),
            Self::Embeddings => embeddings::request(request),
            Self::Messages => messages::request(request),
        })
    }

    /// The body of a whole answer as one of chat completions.
    pub fn response(self, body: Value) -> Value {
        match self {
            Self::Chat => body,
            Self::Completions => completions::response(body),
            Self::Responses => responses::response(&body),
            Self::Embeddings => embeddings::response(&body),
            Self::Messages => messages::response(&body),
        }
    }

    /// A reader of streamed answers.
    pub fn reader(self) -> Reader {
        match self {
            Self::Chat => Reader::Chat(Box::new(StreamReader::new(dialect::CHAT))),
            Self::Completions => {
                let chat = StreamReader::new(dialect::CHAT);
                Reader::Completions(Box::new((Decoder::default(), chat)))
            }
            Self::Responses => Reader::Responses(Box::default()),
            Self::Messages | Self::Embeddings => Reader::Messages(Box::default()),
        }
    }
}

/// A streamed answer as far as it was read.
#[derive(Debug)]
pub enum Reader {
    Chat(Box<StreamReader>),
    Completions(Box<(Decoder, StreamReader)>),
    Responses(Box<Events<responses::ResponsesAnswer>>),
    Messages(Box<Events<messages::MessagesAnswer>>),
}

/// A decoder of events, and what they made so far.
#[derive(Debug, Default)]
pub struct Events<A> {
    decoder: Decoder,
    answer: A,
}

/// What events make.
pub trait Fold {
    /// Takes the next event; an error is what the server said went wrong.
    fn push(&mut self, event: Value) -> Result<(), String>;
}

impl<A: Fold> Events<A> {
    fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        for event in self.decoder.push(bytes) {
            if let Ok(event) = lenient::parse(&event.data) {
                self.answer.push(event)?;
            }
        }
        Ok(())
    }
}

impl Reader {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// What the server said went wrong, in the midst of its answer.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        match self {
            Self::Chat(reader) => chat(reader, bytes),
            Self::Completions(parts) => {
                let (decoder, reader) = &mut **parts;
                for event in decoder.push(bytes) {
                    let chunk = completions::chunk(&event.data);
                    chat(reader, format!("data: {chunk}\n\n").as_bytes())?;
                }
                Ok(())
            }
            Self::Responses(events) => events.push(bytes),
            Self::Messages(events) => events.push(bytes),
        }
    }

    /// Whether the stream has said that nothing follows.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Chat(reader) => reader.is_done(),
            Self::Completions(parts) => parts.1.is_done(),
            Self::Responses(events) => events.answer.is_done(),
            Self::Messages(events) => events.answer.is_done(),
        }
    }

    /// Whether the answer is whole, should nothing more come.
    pub fn is_whole(&self) -> bool {
        match self {
            Self::Chat(reader) => reader.is_whole(),
            Self::Completions(parts) => parts.1.is_whole(),
            Self::Responses(_) | Self::Messages(_) => self.is_done(),
        }
    }

    /// The answer as a body of chat completions, as far as it was received.
    pub fn into_body(self) -> Value {
        match self {
            Self::Chat(reader) => reader.into_body(),
            Self::Completions(parts) => parts.1.into_body(),
            Self::Responses(events) => responses::response(&events.answer.into_body()),
            Self::Messages(events) => messages::response(&events.answer.into_body()),
        }
    }
}

fn chat(reader: &mut StreamReader, bytes: &[u8]) -> Result<(), String> {
    reader.push(bytes, |_| {}).map_err(|error| match error {
        StreamError::Reported(error) => error.message().to_owned(),
        StreamError::InvalidChunk => "a chunk of the stream is not JSON".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn apis_are_known_by_the_ends_of_their_paths() {
        for (path, api) in [
            ("/openai/v1/chat/completions", Some(ModelApi::Chat)),
            (
                "/openai/deployments/m/chat/completions",
                Some(ModelApi::Chat),
            ),
            ("/openai/v1/completions", Some(ModelApi::Completions)),
            ("/openai/v1/responses", Some(ModelApi::Responses)),
            ("/openai/v1/responses/resp_1", None),
            ("/openai/v1/embeddings", Some(ModelApi::Embeddings)),
            ("/openai/v1/models", None),
            ("/openai/v1/threads/1/messages", None),
        ] {
            assert_eq!(ModelApi::of_openai(path), api, "{path}");
        }
        assert_eq!(
            ModelApi::of_anthropic("/v1/messages"),
            Some(ModelApi::Messages)
        );
        assert_eq!(ModelApi::of_anthropic("/v1/messages/count_tokens"), None);
    }

    #[test]
    fn a_stream_of_the_older_api_is_read() {
        let mut reader = ModelApi::Completions.reader();
        let stream = "data: {\"id\":\"cmpl-1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\ndata: {\"choices\":[{\"index\":0,\"text\":\"b\",\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
        for byte in stream.as_bytes() {
            reader.push(&[*byte]).unwrap();
        }
        assert!(reader.is_done());
        let body = reader.into_body();
        assert_eq!(body["id"], "cmpl-1");
        assert_eq!(body["choices"][0]["message"], json!({"content": "ab"}));
    }
}
