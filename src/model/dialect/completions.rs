//! The older completions API: a prompt in, texts out. Programs that `exec` runs still use it; it is not asked for here.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{AnswerAssembler, CHAT, Feature, ModelDialect, StreamError, conversation};
use crate::json::lenient;
use crate::model::Completion;
use crate::model::content::text_of;
use crate::model::fields::BodyFields;
use crate::model::sse::Event;

/// The dialect of `/v1/completions`.
#[derive(Debug)]
pub struct Completions;

const PROMPT: &str = "prompt";

impl ModelDialect for Completions {
    fn name(&self) -> &'static str {
        "completions"
    }

    fn title(&self) -> &'static str {
        "the older completions"
    }

    fn answer_name(&self) -> &'static str {
        "a completion"
    }

    fn path(&self) -> &'static [&'static str] {
        &["completions"]
    }

    fn operation(&self) -> &'static str {
        "text_completion"
    }

    fn lacks(&self, _: Feature) -> bool {
        true
    }

    fn check(&self, fields: &BodyFields) -> Result<(), String> {
        match fields.raw(PROMPT) {
            Some(_) => Ok(()),
            None => Err("not a body of completions: `prompt` is missing".to_owned()),
        }
    }

    fn conversation_field(&self) -> &'static str {
        PROMPT
    }

    fn set_system(&self, _: &mut BodyFields, _: &str) {}

    fn has_user_message(&self, _: &BodyFields) -> bool {
        false
    }

    fn attach(&self, _: &mut BodyFields, _: &[Box<RawValue>]) -> Result<(), String> {
        Ok(())
    }

    fn set_stream(&self, fields: &mut BodyFields, stream: bool) {
        CHAT.set_stream(fields, stream);
    }

    fn content_fields(&self) -> &'static [&'static str] {
        &[PROMPT, "suffix"]
    }

    fn fields_beside_parameters(&self) -> &'static [&'static str] {
        &["model", PROMPT, "stream", "stream_options"]
    }

    fn messages(&self, fields: &BodyFields) -> Vec<Value> {
        let prompt = fields
            .raw(PROMPT)
            .and_then(|raw| lenient::parse(raw.get()).ok());
        let message = prompt.map(|prompt| json!({"role": "user", "content": prompt}));
        message.into_iter().collect()
    }

    fn last_user_text(&self, fields: &BodyFields) -> Option<String> {
        text_of(&self.messages(fields).first()?["content"])
    }

    fn traced_input(&self, fields: &BodyFields) -> Option<String> {
        let messages = Value::from(self.messages(fields)).to_string();
        conversation::traced(fields, &messages, &[])
    }

    fn is_answer(&self, body: &Value) -> bool {
        CHAT.is_answer(body)
    }

    fn has_message(&self, body: &Value) -> bool {
        CHAT.is_answer(body)
    }

    fn completion(&self, mut body: Value) -> Completion {
        for choice in choices(&mut body) {
            if let Some(text) = choice.remove("text") {
                let message = json!({"role": "assistant", "content": text});
                choice.insert("message".to_owned(), message);
            }
        }
        CHAT.completion(body)
    }

    fn without_content(&self, body: Map<String, Value>) -> Map<String, Value> {
        CHAT.without_content(body)
    }

    fn assembler(&self) -> Box<dyn AnswerAssembler> {
        Box::new(CompletionAssembly(CHAT.assembler()))
    }
}

/// Assembles chunks as those of chat completions.
#[derive(Debug)]
struct CompletionAssembly(Box<dyn AnswerAssembler>);

impl AnswerAssembler for CompletionAssembly {
    fn push(&mut self, mut event: Event, on_text: &mut dyn FnMut(&str)) -> Result<(), StreamError> {
        if let Ok(mut chunk) = lenient::parse(&event.data) {
            for choice in choices(&mut chunk) {
                if let Some(text) = choice.remove("text") {
                    choice.insert("delta".to_owned(), json!({"content": text}));
                }
            }
            event.data = chunk.to_string();
        }
        self.0.push(event, on_text)
    }

    fn is_done(&self) -> bool {
        self.0.is_done()
    }

    fn has_content(&self) -> bool {
        self.0.has_content()
    }

    fn is_whole(&self) -> bool {
        self.0.is_whole()
    }

    fn into_body(self: Box<Self>) -> Value {
        self.0.into_body()
    }
}

fn choices(body: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let choices = body.get_mut("choices").and_then(Value::as_array_mut);
    choices
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stream::StreamReader;

    #[test]
    fn a_stream_is_the_same_as_a_whole_answer() {
        let mut reader = StreamReader::new(&Completions);
        let stream = "data: {\"id\":\"cmpl-1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\ndata: {\"choices\":[{\"index\":0,\"text\":\"b\",\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
        for byte in stream.as_bytes() {
            reader.push(&[*byte], |_| ()).unwrap();
        }
        assert!(reader.is_done());
        let whole = json!({"id": "cmpl-1", "model": "m", "choices": [{"index": 0, "text": "ab", "finish_reason": "stop"}]});
        assert_eq!(
            Completions.completion(reader.into_body()),
            Completions.completion(whole)
        );
    }
}
