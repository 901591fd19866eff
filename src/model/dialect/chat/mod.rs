//! OpenAI's chat completions, and what compatible servers make of them.

mod completion;
mod merge;
mod stream;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{AnswerAssembler, ModelDialect, conversation};
use crate::model::Completion;
use crate::model::fields::BodyFields;

/// The dialect of chat completions.
#[derive(Debug)]
pub struct Chat;

const MESSAGES: &str = "messages";
/// The fields of an answer that are not content.
const NOT_CONTENT: [&str; 8] = [
    "id",
    "object",
    "created",
    "model",
    "service_tier",
    "system_fingerprint",
    "provider",
    "usage",
];
/// The fields of a choice that are not content.
const NOT_CONTENT_OF_CHOICES: [&str; 3] = ["index", "finish_reason", "native_finish_reason"];

/// Those of OpenAI, and those that most compatible servers add.
const PARAMETERS: [&str; 34] = [
    "audio",
    "enable_thinking",
    "frequency_penalty",
    "function_call",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "min_p",
    "modalities",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "reasoning",
    "reasoning_effort",
    "repetition_penalty",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "temperature",
    "tool_choice",
    "top_a",
    "top_k",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

impl ModelDialect for Chat {
    fn name(&self) -> &'static str {
        "chat"
    }

    fn title(&self) -> &'static str {
        "chat completions"
    }

    fn answer_name(&self) -> &'static str {
        "a chat completion"
    }

    fn path(&self) -> &'static [&'static str] {
        &["chat", "completions"]
    }

    fn check(&self, fields: &BodyFields) -> Result<(), String> {
        conversation::check(fields, MESSAGES, "a chat-completions body")
    }

    fn conversation_field(&self) -> &'static str {
        MESSAGES
    }

    fn set_system(&self, fields: &mut BodyFields, text: &str) {
        conversation::set_system(fields, MESSAGES, text);
    }

    fn has_user_message(&self, fields: &BodyFields) -> bool {
        let messages = self.messages(fields);
        messages.iter().any(|message| message["role"] == "user")
    }

    fn attach(&self, fields: &mut BodyFields, parts: &[Box<RawValue>]) -> Result<(), String> {
        conversation::attach(fields, MESSAGES, "text", parts);
        Ok(())
    }

    fn set_stream(&self, fields: &mut BodyFields, stream: bool) {
        fields.set("stream", &stream);
        if !stream {
            fields.remove("stream_options");
        } else if fields.raw("stream_options").is_none() {
            fields.set("stream_options", &json!({"include_usage": true}));
        }
    }

    fn content_fields(&self) -> &'static [&'static str] {
        &[MESSAGES, "tools", "functions", "prediction"]
    }

    fn fields_beside_parameters(&self) -> &'static [&'static str] {
        &[
            "model",
            MESSAGES,
            "tools",
            "functions",
            "stream",
            "stream_options",
        ]
    }

    fn messages(&self, fields: &BodyFields) -> Vec<Value> {
        conversation::messages(fields, MESSAGES)
    }

    fn last_user_text(&self, fields: &BodyFields) -> Option<String> {
        conversation::last_user_text(fields, MESSAGES)
    }

    fn traced_input(&self, fields: &BodyFields) -> Option<String> {
        let messages = fields.raw(MESSAGES).map_or("[]", RawValue::get);
        conversation::traced(fields, messages, &["tools", "functions"])
    }

    fn known_parameters(&self) -> &'static [&'static str] {
        &PARAMETERS
    }

    fn is_answer(&self, body: &Value) -> bool {
        body["choices"].is_array()
    }

    fn has_message(&self, body: &Value) -> bool {
        let mut choices = body["choices"].as_array().into_iter().flatten();
        choices.any(|choice| choice["message"].is_object())
    }

    fn completion(&self, body: Value) -> Completion {
        completion::read(body)
    }

    fn usual_completion(&self, body: &str) -> Option<Completion> {
        completion::read_usual(body)
    }

    fn without_content(&self, body: Map<String, Value>) -> Map<String, Value> {
        let mut kept = Map::new();
        for (name, value) in body {
            match (name.as_str(), value) {
                ("choices", Value::Array(choices)) => {
                    let choices: Value = choices.into_iter().map(without_message).collect();
                    kept.insert(name, choices);
                }
                (known, value) if NOT_CONTENT.contains(&known) => drop(kept.insert(name, value)),
                _ => {}
            }
        }
        kept
    }

    fn assembler(&self) -> Box<dyn AnswerAssembler> {
        Box::<stream::Assembly>::default()
    }
}

fn without_message(mut choice: Value) -> Value {
    if let Some(fields) = choice.as_object_mut() {
        fields.retain(|name, _| NOT_CONTENT_OF_CHOICES.contains(&name.as_str()));
    }
    choice
}
