//! Assembles the chunks of a streamed chat completion into the body that it would have had unstreamed.

use serde_json::{Map, Value};

use super::completion::strip_indexes;
use super::merge::{Places, merge, overwrite};
use crate::json::lenient;
use crate::model::completion::text_of_message;
use crate::model::dialect::{AnswerAssembler, StreamError};
use crate::model::server_error::ServerError;
use crate::model::sse::Event;

/// The error of an `error` event that is not an error object.
fn error_in_words(event: &Event) -> Option<ServerError> {
    (event.name == "error").then(|| ServerError::in_words(&event.data))
}

/// A `chat.completion` body under construction.
#[derive(Clone, Debug, Default)]
pub struct Assembly {
    body: Map<String, Value>,
    /// By choice index; a choice may start in any chunk.
    choices: Vec<Choice>,
    is_done: bool,
}

/// A choice under construction.
#[derive(Clone, Debug, Default)]
struct Choice {
    fields: Map<String, Value>,
    places: Places,
}

impl AnswerAssembler for Assembly {
    fn push(&mut self, event: Event, on_text: &mut dyn FnMut(&str)) -> Result<(), StreamError> {
        if event.data.starts_with("[DONE]") {
            self.is_done = true;
            return Ok(());
        }
        let chunk = match lenient::parse(&event.data) {
            Ok(chunk) => chunk,
            Err(_) if event.data.trim_start().starts_with('{') => {
                return Err(StreamError::InvalidChunk);
            }
            // Words of the server's own, not a chunk.
            Err(_) => Value::Null,
        };
        let error = ServerError::of(&chunk).or_else(|| error_in_words(&event));
        if let Some(text) = self.add(chunk) {
            on_text(&text);
        }
        error.map_or(Ok(()), |error| Err(StreamError::Reported(error)))
    }

    fn is_done(&self) -> bool {
        self.is_done
    }

    fn has_content(&self) -> bool {
        !self.choices.is_empty()
    }

    fn is_whole(&self) -> bool {
        self.is_done || self.has_finished()
    }

    fn into_body(self: Box<Self>) -> Value {
        self.body()
    }
}

impl Assembly {
    /// Adds one `chat.completion.chunk`. Returns the text that it adds to the first choice.
    fn add(&mut self, chunk: Value) -> Option<String> {
        let Value::Object(chunk) = chunk else {
            return None;
        };
        let mut text = None;
        for (key, value) in chunk {
            match (key.as_str(), value) {
                ("choices", Value::Array(choices)) => {
                    for choice in choices {
                        text = self.push_choice(choice).or(text);
                    }
                }
                // `obfuscation` is padding against traffic analysis.
                ("object" | "obfuscation", _) => {}
                (_, value) => overwrite(&mut self.body, key, value),
            }
        }
        text
    }

    /// Whether every choice has a finish reason.
    fn has_finished(&self) -> bool {
        let finished = |choice: &Choice| {
            let reason = choice.fields.get("finish_reason").and_then(Value::as_str);
            reason.is_some_and(|reason| !reason.is_empty())
        };
        !self.choices.is_empty() && self.choices.iter().all(finished)
    }

    fn body(mut self) -> Value {
        // Groq puts the usage in a field of its own.
        if !self.body.contains_key("usage")
            && let Some(usage) = self
                .body
                .get("x_groq")
                .and_then(|groq| groq.get("usage"))
                .cloned()
        {
            self.body.insert("usage".to_owned(), usage);
        }
        let mut body = Map::new();
        body.insert("object".to_owned(), "chat.completion".into());
        let choices = self.choices.into_iter().enumerate().map(|(index, choice)| {
            let mut choice = choice.fields;
            choice.insert("index".to_owned(), index.into());
            if let Some(message) = choice.get_mut("message") {
                strip_indexes(message);
            }
            Value::Object(choice)
        });
        let choices: Vec<Value> = choices.collect();
        body.append(&mut self.body);
        body.insert("choices".to_owned(), choices.into());
        Value::Object(body)
    }

    fn push_choice(&mut self, choice: Value) -> Option<String> {
        // A higher index means a broken stream; do not allocate for it.
        const MOST_CHOICES: usize = 1024;
        let Value::Object(mut choice) = choice else {
            return None;
        };
        let index =
            usize::try_from(choice.get("index").and_then(Value::as_u64).unwrap_or(0)).ok()?;
        if index >= MOST_CHOICES {
            return None;
        }
        if self.choices.len() <= index {
            self.choices.resize_with(index + 1, Choice::default);
        }
        let mut text = None;
        let delta = choice.remove("delta");
        let Choice { fields, places } = &mut self.choices[index];
        if let Some(Value::Object(delta)) = delta {
            let delta = Value::Object(delta);
            if index == 0 {
                text = text_of_message(&delta);
            }
            let message = fields
                .entry("message")
                .or_insert_with(|| Value::Object(Map::new()));
            merge(message, delta, places.field("message"));
        }
        for (key, value) in choice {
            match key.as_str() {
                "index" => {}
                "logprobs" | "token_ids" => {
                    let places = places.field(&key);
                    merge(fields.entry(key).or_insert(Value::Null), value, places);
                }
                _ => overwrite(fields, key, value),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests;
