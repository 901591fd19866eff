//! Anthropic's Messages API.

mod request;
mod stream;
mod traced;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{AnswerAssembler, Feature, ModelDialect, TracedInput, Vendor, conversation, text};
use crate::model::completion::without_nulls;
use crate::model::fields::BodyFields;
use crate::model::{Completion, Usage};

/// The dialect of `/v1/messages`.
#[derive(Debug)]
pub struct Messages;

const MESSAGES: &str = "messages";
const SYSTEM: &str = "system";
/// What is asked for where a request has no limit, since the API requires one.
const MAX_TOKENS: u64 = 4096;
/// The fields of an answer that are not content.
const NOT_CONTENT: [&str; 7] = [
    "id",
    "type",
    "role",
    "model",
    "stop_reason",
    "stop_sequence",
    "usage",
];

impl ModelDialect for Messages {
    fn name(&self) -> &'static str {
        "messages"
    }

    fn title(&self) -> &'static str {
        "the Messages API"
    }

    fn answer_name(&self) -> &'static str {
        "an answer of the Messages API"
    }

    fn path(&self) -> &'static [&'static str] {
        &["messages"]
    }

    fn vendor(&self) -> Vendor {
        Vendor::Anthropic
    }

    fn lacks(&self, feature: Feature) -> bool {
        feature == Feature::Schema
    }

    fn model_example(&self) -> Option<&'static str> {
        Some("claude-sonnet-4-5")
    }

    fn check(&self, fields: &BodyFields) -> Result<(), String> {
        conversation::check(fields, MESSAGES, "a body of the Messages API")
    }

    fn adopt(&self, fields: &mut BodyFields) -> Result<(), String> {
        request::adopt(fields)
    }

    fn conversation_field(&self) -> &'static str {
        MESSAGES
    }

    fn set_system(&self, fields: &mut BodyFields, text: &str) {
        fields.set(SYSTEM, text);
    }

    fn has_user_message(&self, fields: &BodyFields) -> bool {
        let messages = conversation::messages(fields, MESSAGES);
        messages.iter().any(|message| message["role"] == "user")
    }

    fn attach(&self, fields: &mut BodyFields, parts: &[Box<RawValue>]) -> Result<(), String> {
        request::attach(fields, parts)
    }

    fn set_stream(&self, fields: &mut BodyFields, stream: bool) {
        fields.set("stream", &stream);
    }

    fn limit_field(&self, _: &'static str) -> Option<&'static str> {
        Some("max_tokens")
    }

    fn fill_in(&self, fields: &mut BodyFields) {
        if fields.raw("max_tokens").is_none() {
            fields.set("max_tokens", &MAX_TOKENS);
        }
    }

    fn content_fields(&self) -> &'static [&'static str] {
        &[MESSAGES, SYSTEM, "tools"]
    }

    fn fields_beside_parameters(&self) -> &'static [&'static str] {
        &["model", MESSAGES, SYSTEM, "tools", "stream"]
    }

    fn messages(&self, fields: &BodyFields) -> Vec<Value> {
        request::messages(fields)
    }

    fn last_user_text(&self, fields: &BodyFields) -> Option<String> {
        conversation::last_user_text(fields, MESSAGES)
    }

    fn traced_input(&self, fields: &BodyFields) -> Option<String> {
        request::traced(fields)
    }

    fn restored(&self, input: TracedInput) -> BodyFields {
        traced::restored(input)
    }

    fn is_traced_in(&self, input: &TracedInput, output: &Value) -> bool {
        traced::is_own(input, output)
    }

    fn chat_tools(&self, fields: &BodyFields) -> Vec<Value> {
        let tools: Vec<Value> = fields.get("tools").unwrap_or_default();
        tools.into_iter().map(traced::chat_tool).collect()
    }

    fn known_parameters(&self) -> &'static [&'static str] {
        &[
            "max_tokens",
            "metadata",
            "stop_sequences",
            "temperature",
            "thinking",
            "tool_choice",
            "top_k",
            "top_p",
        ]
    }

    fn is_answer(&self, body: &Value) -> bool {
        body["content"].is_array()
    }

    fn has_message(&self, body: &Value) -> bool {
        body["content"].is_array()
    }

    fn completion(&self, mut body: Value) -> Completion {
        let blocks = match body["content"].take() {
            Value::Array(blocks) => blocks.into_iter().map(without_nulls).collect(),
            _ => Vec::new(),
        };
        let message =
            (!blocks.is_empty()).then(|| request::message_of_blocks("assistant", &blocks));
        Completion {
            id: text(&body["id"]),
            model: text(&body["model"]),
            finish_reasons: vec![text(&body["stop_reason"])],
            usage: usage(&body["usage"]),
            cost: None,
            service_tier: text(&body["usage"]["service_tier"]),
            messages: message.into_iter().collect(),
            output: (!blocks.is_empty()).then(|| json!({"role": "assistant", "content": blocks})),
        }
    }

    fn without_content(&self, mut body: Map<String, Value>) -> Map<String, Value> {
        body.retain(|name, _| NOT_CONTENT.contains(&name.as_str()));
        body
    }

    fn assembler(&self) -> Box<dyn AnswerAssembler> {
        Box::<stream::MessageAssembly>::default()
    }
}

/// Cached tokens are counted beside the input, not in it; those of thinking are in the output.
fn usage(usage: &Value) -> Option<Usage> {
    let count = |name: &str| usage[name].as_u64();
    let (input, output) = (count("input_tokens"), count("output_tokens"));
    if input.is_none() && output.is_none() {
        return None;
    }
    let output = output.unwrap_or_default();
    let thinking = usage["output_tokens_details"]["thinking_tokens"].as_u64();
    let thinking = thinking.unwrap_or_default().min(output);
    let mut usage = Usage {
        input: input.unwrap_or_default(),
        input_cached: count("cache_read_input_tokens").unwrap_or_default(),
        input_cache_creation: count("cache_creation_input_tokens").unwrap_or_default(),
        output: output - thinking,
        output_reasoning: thinking,
        ..Usage::default()
    };
    usage.total = usage.all_input() + usage.all_output();
    Some(usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let completion = Messages.completion(json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "tool_use",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "Hello", "citations": null},
                {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
            ],
            "usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 3, "output_tokens": 17,
                "output_tokens_details": {"thinking_tokens": 7}, "service_tier": "standard"},
        }));
        assert_eq!(
            completion.messages,
            [
                json!({"role": "assistant", "content": "Hello", "reasoning_content": "hm", "tool_calls": [
                {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]})
            ]
        );
        assert_eq!(
            completion.output.unwrap()["content"][1],
            json!({"type": "text", "text": "Hello"})
        );
        assert_eq!(
            json!(completion.usage.unwrap().buckets()),
            json!({"input": 10, "input_cached_tokens": 5, "input_cache_creation": 3, "output": 10, "output_reasoning_tokens": 7, "total": 35})
        );
        assert_eq!(completion.finish_reasons, [Some("tool_use".to_owned())]);
    }
}
