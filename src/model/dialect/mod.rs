//! The dialects that models speak: for each, where a request goes and how it is made and changed, and what an answer
//! says, whole or streamed.
//!
//! A dialect is a file of its own and one line of [`ALL`]. Nothing outside of this folder knows its fields. Bytes are
//! sent and received elsewhere.

mod chat;
mod choice;
mod completions;
mod conversation;
mod embeddings;
mod messages;
mod responses;

use std::fmt;

use serde::{Deserialize, Deserializer, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::completion::Completion;
use super::fields::BodyFields;
use super::server_error::ServerError;
use super::sse::Event;
pub use choice::{Chosen, Preference, choose};

/// OpenAI's chat completions, the default.
pub const CHAT: &dyn ModelDialect = &chat::Chat;
pub const RESPONSES: &dyn ModelDialect = &responses::Responses;
/// Anthropic's Messages API.
pub const MESSAGES: &dyn ModelDialect = &messages::Messages;
pub const EMBEDDINGS: &dyn ModelDialect = &embeddings::Embeddings;
/// The older completions, which are only traced.
pub const COMPLETIONS: &dyn ModelDialect = &completions::Completions;
/// All dialects that are asked for, in the order of the help.
pub const ALL: [&dyn ModelDialect; 4] = [CHAT, RESPONSES, MESSAGES, EMBEDDINGS];

/// Whose endpoints speak a dialect. Each has its own URL and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// `OpenAI` and all that are compatible.
    OpenAi,
    Anthropic,
}

/// What a dialect may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// A prompt that is answered.
    Prompt,
    System,
    Stream,
    Attachments,
    Schema,
    Temperature,
    MaxTokens,
}

/// The content of a request as a trace shows it.
#[derive(Clone, Debug, Default)]
pub struct TracedInput {
    /// The messages or items; of embeddings, what is embedded.
    pub conversation: Value,
    pub tools: Vec<Value>,
    /// What chat completions had before they had tools.
    pub functions: Vec<Value>,
}

/// What one dialect says, and how.
pub trait ModelDialect: fmt::Debug + Send + Sync {
    /// Its name in options and recordings.
    fn name(&self) -> &'static str;

    /// Its name in messages, as in "the Responses API".
    fn title(&self) -> &'static str;

    /// What an answer is called, as in "a chat completion".
    fn answer_name(&self) -> &'static str;

    /// The path of a request, below the base URL.
    fn path(&self) -> &'static [&'static str];

    /// Whether a deployment of Azure is part of the path, where one is named in the URL.
    fn is_of_deployment(&self) -> bool {
        true
    }

    fn vendor(&self) -> Vendor {
        Vendor::OpenAi
    }

    /// The operation by the GenAI conventions.
    fn operation(&self) -> &'static str {
        "chat"
    }

    /// The type of the observation in Langfuse.
    fn observation_type(&self) -> &'static str {
        "generation"
    }

    fn lacks(&self, _: Feature) -> bool {
        false
    }

    /// A model for messages, where the default model does not speak the dialect; `None` where it does.
    fn model_example(&self) -> Option<&'static str> {
        None
    }

    /// Checks that a body is one of this dialect.
    ///
    /// # Errors
    /// One line that says what is wrong.
    fn check(&self, fields: &BodyFields) -> Result<(), String>;

    /// Turns a body of chat completions, made of a prompt, into one of this dialect.
    ///
    /// # Errors
    /// If it holds something that the dialect lacks.
    fn adopt(&self, _: &mut BodyFields) -> Result<(), String> {
        Ok(())
    }

    /// The field of the conversation. Where an option sets it, a prompt follows its messages.
    fn conversation_field(&self) -> &'static str;

    /// Replaces the system message with `text`, or adds it.
    fn set_system(&self, fields: &mut BodyFields, text: &str);

    /// Whether there is a message of the user to attach parts to.
    fn has_user_message(&self, fields: &BodyFields) -> bool;

    /// Appends content parts of chat completions to the last message of the user. The other messages keep their text.
    ///
    /// # Errors
    /// If the dialect lacks one of them.
    fn attach(&self, fields: &mut BodyFields, parts: &[Box<RawValue>]) -> Result<(), String>;

    /// Requests a stream that ends with the usage, or a whole answer.
    fn set_stream(&self, fields: &mut BodyFields, stream: bool);

    /// The field that limits the tokens of an answer; `of_provider` is its name in chat completions. `None` without one.
    fn limit_field(&self, of_provider: &'static str) -> Option<&'static str> {
        Some(of_provider)
    }

    /// Asks for an answer that fits `format`, the `response_format` of chat completions.
    fn set_schema(&self, fields: &mut BodyFields, format: &Value) {
        fields.set("response_format", format);
    }

    /// Fills in what the API requires and a body lacks, last.
    fn fill_in(&self, _: &mut BodyFields) {}

    /// What to warn about before a request is sent.
    fn warning(&self, _: &BodyFields) -> Option<&'static str> {
        None
    }

    /// The fields that hold content; all others are parameters. The first must be in every request.
    fn content_fields(&self) -> &'static [&'static str];

    /// The fields that are not parameters of the model: they have an attribute of their own in a trace, or only control
    /// how the answer is sent.
    fn fields_beside_parameters(&self) -> &'static [&'static str];

    /// The conversation in the form of chat completions.
    fn messages(&self, fields: &BodyFields) -> Vec<Value>;

    /// The text of the last message of the user.
    fn last_user_text(&self, fields: &BodyFields) -> Option<String>;

    /// The input of a trace, in the form it was sent; `None` if there is none.
    fn traced_input(&self, fields: &BodyFields) -> Option<String>;

    /// The body of a request whose trace has this input: the reverse of [`traced_input`](Self::traced_input).
    fn restored(&self, input: TracedInput) -> BodyFields {
        conversation::restored(self.conversation_field(), &input)
    }

    /// Whether the input or the output of a trace has a form that this dialect has, and chat completions do not.
    fn is_traced_in(&self, _: &TracedInput, _: &Value) -> bool {
        false
    }

    /// The tools of a body, in the form of chat completions.
    fn chat_tools(&self, fields: &BodyFields) -> Vec<Value> {
        fields.get("tools").unwrap_or_default()
    }

    /// The parameters that the API is known to take. A server may take more.
    fn known_parameters(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether a body is an answer, complete or not.
    fn is_answer(&self, body: &Value) -> bool;

    /// Whether an answer has a message.
    fn has_message(&self, body: &Value) -> bool;

    /// Whether the body is what is printed, since it is no text.
    fn prints_body(&self) -> bool {
        false
    }

    /// Reads an answer, leniently: a missing field is `None`, never an error.
    fn completion(&self, body: Value) -> Completion;

    /// Reads a complete answer of the usual form as [`completion`](Self::completion) does, at a third of the cost. `None`
    /// for all others, errors among them.
    fn usual_completion(&self, _body: &str) -> Option<Completion> {
        None
    }

    /// An answer without its content: model, finish reasons and usage stay.
    fn without_content(&self, body: Map<String, Value>) -> Map<String, Value>;

    /// Assembles a streamed answer.
    fn assembler(&self) -> Box<dyn AnswerAssembler>;
}

impl PartialEq for dyn ModelDialect + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
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

    /// Takes the type of an event that is not known and was ignored.
    fn unknown_event(&mut self) -> Option<String> {
        None
    }

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

/// The dialect of that name, asked for or only traced.
pub fn named(name: &str) -> Option<&'static dyn ModelDialect> {
    known().find(|dialect| dialect.name() == name)
}

/// The dialect of a path that ends as those of requests do, asked for or only traced.
pub fn of_path(path: &str) -> Option<&'static dyn ModelDialect> {
    let segments: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    known().find(|dialect| segments.ends_with(dialect.path()))
}

fn known() -> impl Iterator<Item = &'static dyn ModelDialect> {
    ALL.into_iter().chain([COMPLETIONS])
}

/// The names of all dialects, for messages.
pub fn names() -> String {
    ALL.map(ModelDialect::name).join(", ")
}

/// A field that is a text and not empty.
fn text(value: &Value) -> Option<String> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// Writes a dialect as its name, for `serde`.
///
/// # Errors
/// Of the serializer.
pub fn serialize<S: Serializer>(
    dialect: &&'static dyn ModelDialect,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(dialect.name())
}

/// Reads a dialect from its name.
///
/// # Errors
/// If there is none of that name.
pub fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<&'static dyn ModelDialect, D::Error> {
    let name = String::deserialize(deserializer)?;
    named(&name).ok_or_else(|| {
        let message = format!("`{name}` is none of {}", names());
        serde::de::Error::custom(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialects_are_known_by_the_ends_of_their_paths() {
        for (path, name) in [
            ("/openai/v1/chat/completions", Some("chat")),
            ("/openai/deployments/m/chat/completions", Some("chat")),
            ("/openai/v1/completions", Some("completions")),
            ("/openai/v1/responses", Some("responses")),
            ("/openai/v1/responses/resp_1", None),
            ("/openai/v1/embeddings/", Some("embeddings")),
            ("/v1/messages", Some("messages")),
            ("/v1/messages/count_tokens", None),
            ("/openai/v1/models", None),
        ] {
            assert_eq!(of_path(path).map(ModelDialect::name), name, "{path}");
        }
    }
}
