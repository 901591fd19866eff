//! The dialects that models speak: for each, where a request goes and how it is made and changed, and what an answer
//! says, whole or streamed.
//!
//! A dialect is one file and one line of [`ALL`]. Nothing outside of this folder knows its fields. Bytes are sent and
//! received elsewhere.

mod chat;
mod conversation;

use std::fmt;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::completion::Completion;
use super::fields::BodyFields;
use super::server_error::ServerError;
use super::sse::Event;

/// OpenAI's chat completions, the default.
pub const CHAT: &dyn ModelDialect = &chat::Chat;

/// What one dialect says, and how.
pub trait ModelDialect: fmt::Debug + Send + Sync {
    /// What an answer is called, as in "a chat completion".
    fn answer_name(&self) -> &'static str;

    /// The path of a request, below the base URL.
    fn path(&self) -> &'static [&'static str];

    /// The operation by the GenAI conventions.
    fn operation(&self) -> &'static str {
        "chat"
    }

    /// Checks that a body is one of this dialect.
    ///
    /// # Errors
    /// One line that says what is wrong.
    fn check(&self, fields: &BodyFields) -> Result<(), String>;

    /// Replaces the system message with `text`, or adds it.
    fn set_system(&self, fields: &mut BodyFields, text: &str);

    /// Whether there is a message of the user to attach parts to.
    fn has_user_message(&self, fields: &BodyFields) -> bool;

    /// Appends content parts to the last message of the user. The other messages keep their text.
    fn attach(&self, fields: &mut BodyFields, parts: &[Box<RawValue>]);

    /// Requests a stream that ends with the usage, or a whole answer.
    fn set_stream(&self, fields: &mut BodyFields, stream: bool);

    /// The fields that hold content; all others are parameters. The first must be in every request.
    fn content_fields(&self) -> &'static [&'static str];

    /// The fields that are not parameters of the model: they have an attribute of their own in a trace, or only control
    /// how the answer is sent.
    fn fields_beside_parameters(&self) -> &'static [&'static str];

    /// The conversation in the form of chat completions.
    fn messages(&self, fields: &BodyFields) -> Vec<Value>;

    /// The text of the last message of the user.
    fn last_user_text(&self, fields: &BodyFields) -> Option<String>;

    /// The input of a trace, as JSON text in the form it was sent; `None` if there is none.
    fn traced_input(&self, fields: &BodyFields) -> Option<String>;

    /// Whether a body is an answer, complete or not.
    fn is_answer(&self, body: &Value) -> bool;

    /// Whether an answer has a message.
    fn has_message(&self, body: &Value) -> bool;

    /// Reads an answer, leniently: a missing field is `None`, never an error.
    fn completion(&self, body: Value) -> Completion;

    /// An answer without its content: model, finish reasons and usage stay.
    fn without_content(&self, body: Map<String, Value>) -> Map<String, Value>;

    /// Assembles a streamed answer.
    fn assembler(&self) -> Box<dyn AnswerAssembler>;
}

/// Assembles the events of a stream into the body that the answer would have had unstreamed.
///
/// So traces, recordings and output handle one shape only. The result is not the bytes of any real answer.
pub trait AnswerAssembler: fmt::Debug + Send {
    /// Takes the next event. `on_text` receives the text that it adds to the first choice.
    ///
    /// # Errors
    /// If the rest of the stream is not the rest of the answer. The part received before is kept.
    fn push(&mut self, event: Event, on_text: &mut dyn FnMut(&str)) -> Result<(), StreamError>;

    /// Whether the stream has sent its end marker.
    fn is_done(&self) -> bool;

    /// Whether any part of the answer has begun. From then on, a retry would print text twice.
    fn has_content(&self) -> bool;

    /// Whether the answer is complete if the stream ends here.
    fn is_whole(&self) -> bool;

    /// The body, as far as it was received.
    fn into_body(self: Box<Self>) -> Value;
}

/// Why the rest of a stream cannot be used.
#[derive(Debug)]
pub enum StreamError {
    /// The server reported an error.
    Reported(ServerError),
    /// A chunk is not JSON.
    InvalidChunk,
}
