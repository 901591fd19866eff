//! Embeddings: texts in, vectors out. The vectors are printed, but never traced.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{AnswerAssembler, Feature, ModelDialect, StreamError, conversation, text};
use crate::json::lenient;
use crate::model::content::kind_of;
use crate::model::fields::BodyFields;
use crate::model::server_error::ServerError;
use crate::model::sse::Event;
use crate::model::{Completion, Usage};

/// The dialect of `/v1/embeddings`.
#[derive(Debug)]
pub struct Embeddings;

const INPUT: &str = "input";
/// The fields of an answer that are not content.
const NOT_CONTENT: [&str; 4] = ["id", "object", "model", "usage"];

impl ModelDialect for Embeddings {
    fn name(&self) -> &'static str {
        "embeddings"
    }

    fn title(&self) -> &'static str {
        "embeddings"
    }

    fn answer_name(&self) -> &'static str {
        "a list of embeddings"
    }

    fn path(&self) -> &'static [&'static str] {
        &["embeddings"]
    }

    fn operation(&self) -> &'static str {
        "embeddings"
    }

    fn observation_type(&self) -> &'static str {
        "embedding"
    }

    fn lacks(&self, _: Feature) -> bool {
        true
    }

    fn model_example(&self) -> Option<&'static str> {
        Some("text-embedding-3-small")
    }

    fn check(&self, fields: &BodyFields) -> Result<(), String> {
        match fields.raw(INPUT).map(|raw| lenient::parse(raw.get())) {
            None => Err("not a body for embeddings: `input` is missing".to_owned()),
            Some(Ok(Value::Array(_) | Value::String(_))) => Ok(()),
            Some(Ok(other)) => Err(format!(
                "`input` is {}, not a string or an array",
                kind_of(&other)
            )),
            Some(Err(error)) => Err(format!("`input` is not valid JSON: {error}")),
        }
    }

    fn adopt(&self, fields: &mut BodyFields) -> Result<(), String> {
        let text = conversation::last_user_text(fields, "messages").unwrap_or_default();
        fields.remove("messages");
        fields.set(INPUT, &text);
        Ok(())
    }

    fn conversation_field(&self) -> &'static str {
        INPUT
    }

    fn set_system(&self, _: &mut BodyFields, _: &str) {}

    fn has_user_message(&self, _: &BodyFields) -> bool {
        false
    }

    fn attach(&self, _: &mut BodyFields, _: &[Box<RawValue>]) -> Result<(), String> {
        Ok(())
    }

    fn set_stream(&self, _: &mut BodyFields, _: bool) {}

    fn limit_field(&self, _: &'static str) -> Option<&'static str> {
        None
    }

    fn content_fields(&self) -> &'static [&'static str] {
        &[INPUT]
    }

    fn fields_beside_parameters(&self) -> &'static [&'static str] {
        &["model", INPUT]
    }

    fn messages(&self, fields: &BodyFields) -> Vec<Value> {
        let input = fields
            .raw(INPUT)
            .and_then(|raw| lenient::parse(raw.get()).ok());
        let input = input.filter(|input| !input.is_null());
        input
            .map(|input| json!({"role": "user", "content": input}))
            .into_iter()
            .collect()
    }

    fn last_user_text(&self, fields: &BodyFields) -> Option<String> {
        let input = fields
            .raw(INPUT)
            .and_then(|raw| lenient::parse(raw.get()).ok());
        match input? {
            Value::String(text) => Some(text),
            Value::Array(items) => {
                let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
                (!texts.is_empty()).then(|| texts.join("\n"))
            }
            _ => None,
        }
    }

    /// A text as it is; several, and tokens, as JSON.
    fn traced_input(&self, fields: &BodyFields) -> Option<String> {
        let input = fields.raw(INPUT)?.get();
        match lenient::parse(input) {
            Ok(Value::String(text)) => Some(text),
            _ => Some(input.to_owned()).filter(|input| input != "[]"),
        }
    }

    fn known_parameters(&self) -> &'static [&'static str] {
        &["dimensions", "encoding_format", "user"]
    }

    fn is_answer(&self, body: &Value) -> bool {
        body["data"].is_array()
    }

    fn has_message(&self, body: &Value) -> bool {
        body["data"].is_array()
    }

    fn prints_body(&self) -> bool {
        true
    }

    fn completion(&self, body: Value) -> Completion {
        let vectors = body["data"].as_array();
        let output = vectors.map(|vectors| {
            let dimensions = vectors.first().map(|item| dimensions(&item["embedding"]));
            json!({"dimensions": dimensions, "count": vectors.len()})
        });
        Completion {
            id: text(&body["id"]),
            model: text(&body["model"]),
            usage: Usage::from_openai(&body["usage"]),
            cost: body["usage"]["cost"].as_f64(),
            output,
            ..Completion::default()
        }
    }

    fn without_content(&self, mut body: Map<String, Value>) -> Map<String, Value> {
        body.retain(|name, _| NOT_CONTENT.contains(&name.as_str()));
        body
    }

    fn assembler(&self) -> Box<dyn AnswerAssembler> {
        Box::<NoStream>::default()
    }
}

/// The length of a vector: of numbers, or of 32-bit numbers in base64.
fn dimensions(vector: &Value) -> usize {
    const BYTES_OF_NUMBER: usize = 4;
    match vector {
        Value::Array(numbers) => numbers.len(),
        Value::String(base64) => base64.trim_end_matches('=').len() * 3 / 4 / BYTES_OF_NUMBER,
        _ => 0,
    }
}

/// A stream that no server of embeddings should send.
#[derive(Debug, Default)]
struct NoStream;

impl AnswerAssembler for NoStream {
    fn push(&mut self, event: Event, _: &mut dyn FnMut(&str)) -> Result<(), StreamError> {
        let data = lenient::parse(&event.data).unwrap_or_default();
        ServerError::of(&data).map_or(Ok(()), |error| Err(StreamError::Reported(error)))
    }

    fn is_done(&self) -> bool {
        false
    }

    fn has_content(&self) -> bool {
        false
    }

    fn is_whole(&self) -> bool {
        false
    }

    fn into_body(self: Box<Self>) -> Value {
        Value::Null
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_counted_not_kept() {
        let output = |vector: Value| {
            let body = json!({"data": [{"embedding": vector}, {}], "model": "e", "usage": {"prompt_tokens": 3, "total_tokens": 3}});
            let completion = Embeddings.completion(body);
            assert_eq!(completion.usage.unwrap().input, 3);
            completion.output.unwrap()
        };
        assert_eq!(
            output(json!([0.1, 0.2, 0.3])),
            json!({"dimensions": 3, "count": 2})
        );
        // printf '\0%.0s' {1..12} | base64
        assert_eq!(
            output(json!("AAAAAAAAAAAAAAAA")),
            json!({"dimensions": 3, "count": 2})
        );
        assert_eq!(
            output(json!("AAAAAAAAAAA=")),
            json!({"dimensions": 2, "count": 2})
        );
    }
}
