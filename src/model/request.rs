//! The body of a request, kept as it was written, and the dialect that it is in.

use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::dialect::{self, Chosen, ModelDialect, Preference};
use super::fields::BodyFields;

/// A body and its dialect: that of chat completions, unless another is set.
#[derive(Clone, Debug)]
pub struct Request {
    dialect: &'static dyn ModelDialect,
    /// Whether only the shape of the body tells the dialect.
    is_guess: bool,
    fields: BodyFields,
}

/// A message that is text alone, which may be long: it is not copied before it is encoded.
#[derive(Serialize)]
struct TextMessage<'a> {
    role: &'static str,
    content: &'a str,
}

impl Request {
    /// A prompt, after an optional system message.
    pub fn chat(model: &str, system: Option<&str>, prompt: &str) -> Self {
        let message = |role, content| TextMessage { role, content };
        let system = system.map(|system| message("system", system));
        let messages: Vec<TextMessage> = system
            .into_iter()
            .chain([message("user", prompt)])
            .collect();
        let mut request = Self::default();
        request.set("model", &model);
        request.set("messages", &messages);
        request
    }

    pub fn dialect(&self) -> &'static dyn ModelDialect {
        self.dialect
    }

    /// The same request with other fields.
    pub fn with_fields(&self, fields: BodyFields) -> Self {
        Self { fields, ..*self }
    }

    /// A body in the dialect that its `url`, a setting or its shape tells.
    ///
    /// # Errors
    /// If they contradict each other, or the body is none of that dialect: one line that says what is wrong.
    pub fn of_body(
        fields: BodyFields,
        url: Option<&Value>,
        preference: Option<Preference>,
    ) -> Result<Self, String> {
        let Chosen { dialect, is_guess } = dialect::choose(url, &fields, preference)?;
        let request = Self {
            dialect,
            is_guess,
            fields,
        };
        request.validate()?;
        Ok(request)
    }

    /// The same body, which is one of that dialect.
    #[must_use]
    pub fn in_dialect(self, dialect: &'static dyn ModelDialect) -> Self {
        Self {
            dialect,
            is_guess: false,
            ..self
        }
    }

    /// Turns a body of chat completions, made of a prompt, into one of another dialect.
    ///
    /// # Errors
    /// If it holds something that the dialect lacks.
    pub fn adopted(mut self, dialect: &'static dyn ModelDialect) -> Result<Self, String> {
        dialect.adopt(&mut self.fields)?;
        Ok(self.in_dialect(dialect))
    }

    /// Whether only the shape of the body tells its dialect.
    pub fn is_guess(&self) -> bool {
        self.is_guess
    }

    /// The messages of the conversation in the form of chat completions: those of chat completions as they were written.
    pub fn conversation(&self) -> Vec<Box<RawValue>> {
        if self.dialect == dialect::CHAT {
            return self.get("messages").unwrap_or_default();
        }
        let messages = self.messages();
        messages
            .iter()
            .filter_map(|message| to_raw_value(message).ok())
            .collect()
    }

    /// Checks that the body is one of its dialect.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn validate(&self) -> Result<(), String> {
        self.dialect.check(&self.fields)
    }

    /// Replaces the system message with `text`, or adds it.
    pub fn set_system(&mut self, text: &str) {
        self.dialect.set_system(&mut self.fields, text);
    }

    /// Whether one of the messages is a system message.
    pub fn has_system(&self) -> bool {
        let messages = self.messages();
        messages
            .iter()
            .any(|message| matches!(message["role"].as_str(), Some("system" | "developer")))
    }

    /// Puts earlier messages before all others, as they were written.
    pub fn precede(&mut self, earlier: &[Box<RawValue>]) {
        if earlier.is_empty() {
            return;
        }
        let own: Vec<Box<RawValue>> = self.get("messages").unwrap_or_default();
        let messages: Vec<&RawValue> = earlier
            .iter()
            .chain(&own)
            .map(|message| &**message)
            .collect();
        self.set("messages", &messages);
    }

    /// Whether there is a message of the user to attach parts to.
    pub fn has_user_message(&self) -> bool {
        self.dialect.has_user_message(&self.fields)
    }

    /// Appends content parts to the last message of the user. The other messages keep their text.
    ///
    /// # Errors
    /// If the dialect lacks one of them.
    pub fn attach(&mut self, parts: &[Box<RawValue>]) -> Result<(), String> {
        if parts.is_empty() {
            return Ok(());
        }
        self.dialect.attach(&mut self.fields, parts)
    }

    /// Asks for an answer that fits `format`, the `response_format` of chat completions.
    pub fn set_schema(&mut self, format: &Value) {
        self.dialect.set_schema(&mut self.fields, format);
    }

    /// Fills in what the API requires and the body lacks, last.
    pub fn fill_in(&mut self) {
        self.dialect.fill_in(&mut self.fields);
    }

    /// Requests a stream that ends with the usage, or an unstreamed response.
    pub fn set_stream(&mut self, stream: bool) {
        self.dialect.set_stream(&mut self.fields, stream);
    }

    pub fn model(&self) -> Option<String> {
        self.get("model")
    }

    pub fn is_streamed(&self) -> bool {
        self.get("stream").unwrap_or(false)
    }

    /// The conversation in the form of chat completions.
    pub fn messages(&self) -> Vec<Value> {
        self.dialect.messages(&self.fields)
    }

    /// The text of the last message of the user: text parts joined by newlines.
    pub fn last_user_text(&self) -> Option<String> {
        self.dialect.last_user_text(&self.fields)
    }

    /// The model parameters as the text of a JSON object, followed by `extra` fields. `None` if there are none.
    pub fn parameters(&self, extra: &[(&str, &str)]) -> Option<String> {
        let beside = self.dialect.fields_beside_parameters();
        let own = self.fields().filter(|(key, _)| !beside.contains(key));
        let own = own.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let mut parameters: BodyFields = own.collect();
        for (key, value) in extra {
            parameters.set(key, value);
        }
        let has_any = parameters.fields().next().is_some();
        has_any.then(|| parameters.to_json())
    }
}

impl Default for Request {
    fn default() -> Self {
        Self {
            dialect: dialect::CHAT,
            is_guess: false,
            fields: BodyFields::default(),
        }
    }
}

impl Deref for Request {
    type Target = BodyFields;

    fn deref(&self) -> &BodyFields {
        &self.fields
    }
}

impl DerefMut for Request {
    fn deref_mut(&mut self) -> &mut BodyFields {
        &mut self.fields
    }
}

impl<'de> Deserialize<'de> for Request {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BodyFields::deserialize(deserializer).map(|fields| Self {
            fields,
            ..Self::default()
        })
    }
}

impl Serialize for Request {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.fields.serialize(serializer)
    }
}

#[cfg(test)]
mod tests;
