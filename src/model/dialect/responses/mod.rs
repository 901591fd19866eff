//! OpenAI's Responses API.

mod request;
mod stream;
mod traced;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{AnswerAssembler, ModelDialect, TracedInput, text};
use crate::model::fields::BodyFields;
use crate::model::{Completion, Usage};

const INPUT: &str = "input";
const INSTRUCTIONS: &str = "instructions";

/// The dialect of `/v1/responses`.
#[derive(Debug)]
pub struct Responses;

/// The fields of an answer that are not content.
const NOT_CONTENT: [&str; 12] = [
    "id",
    "object",
    "created_at",
    "completed_at",
    "status",
    "background",
    "error",
    "incomplete_details",
    "model",
    "previous_response_id",
    "service_tier",
    "usage",
];

const PARAMETERS: [&str; 18] = [
    "include",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
    "verbosity",
];

impl ModelDialect for Responses {
    fn name(&self) -> &'static str {
        "responses"
    }

    fn title(&self) -> &'static str {
        "the Responses API"
    }

    fn answer_name(&self) -> &'static str {
        "an answer of the Responses API"
    }

    fn path(&self) -> &'static [&'static str] {
        &["responses"]
    }

    fn is_of_deployment(&self) -> bool {
        false
    }

    fn check(&self, fields: &BodyFields) -> Result<(), String> {
        request::check(fields)
    }

    fn adopt(&self, fields: &mut BodyFields) -> Result<(), String> {
        request::adopt(fields);
        // The answer is in the trace; OpenAI would keep a copy of its own for 30 days.
        fields.set("store", &false);
        Ok(())
    }

    fn conversation_field(&self) -> &'static str {
        INPUT
    }

    fn set_system(&self, fields: &mut BodyFields, text: &str) {
        fields.set(INSTRUCTIONS, text);
    }

    fn has_user_message(&self, fields: &BodyFields) -> bool {
        request::last_user_text(fields).is_some()
    }

    fn attach(&self, fields: &mut BodyFields, parts: &[Box<RawValue>]) -> Result<(), String> {
        request::attach(fields, parts);
        Ok(())
    }

    fn set_stream(&self, fields: &mut BodyFields, stream: bool) {
        fields.set("stream", &stream);
        if !stream {
            fields.remove("stream_options");
        }
    }

    fn limit_field(&self, _: &'static str) -> Option<&'static str> {
        Some("max_output_tokens")
    }

    fn set_schema(&self, fields: &mut BodyFields, format: &Value) {
        request::set_schema(fields, format);
    }

    fn warning(&self, fields: &BodyFields) -> Option<&'static str> {
        fields.get::<String>("previous_response_id").map(|_| {
            "previous_response_id continues an answer that the server keeps: a recording of this call cannot be replayed elsewhere"
        })
    }

    fn content_fields(&self) -> &'static [&'static str] {
        &[INPUT, INSTRUCTIONS, "tools", "prompt"]
    }

    fn fields_beside_parameters(&self) -> &'static [&'static str] {
        &[
            "model",
            INPUT,
            INSTRUCTIONS,
            "tools",
            "prompt",
            "stream",
            "stream_options",
        ]
    }

    fn messages(&self, fields: &BodyFields) -> Vec<Value> {
        request::messages(fields)
    }

    fn last_user_text(&self, fields: &BodyFields) -> Option<String> {
        request::last_user_text(fields)
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
        &PARAMETERS
    }

    fn is_answer(&self, body: &Value) -> bool {
        body["output"].is_array()
    }

    fn has_message(&self, body: &Value) -> bool {
        body["status"] != "failed"
    }

    fn completion(&self, mut body: Value) -> Completion {
        let items = match body["output"].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        };
        let usage = &body["usage"];
        Completion {
            id: text(&body["id"]),
            model: text(&body["model"]),
            finish_reasons: vec![finish_reason(&body)],
            usage: Usage::from_openai(&json!({
                "prompt_tokens": usage["input_tokens"],
                "completion_tokens": usage["output_tokens"],
                "total_tokens": usage["total_tokens"],
                "prompt_tokens_details": usage["input_tokens_details"],
                "completion_tokens_details": usage["output_tokens_details"],
            })),
            cost: usage["cost"].as_f64(),
            service_tier: text(&body["service_tier"]),
            messages: message(&items).into_iter().collect(),
            output: (!items.is_empty()).then_some(Value::Array(items)),
        }
    }

    fn without_content(&self, mut body: Map<String, Value>) -> Map<String, Value> {
        body.retain(|name, _| NOT_CONTENT.contains(&name.as_str()));
        body
    }

    fn assembler(&self) -> Box<dyn AnswerAssembler> {
        Box::<stream::ResponseAssembly>::default()
    }
}

/// The status of a completed answer; of another, the reason, else the status too.
fn finish_reason(body: &Value) -> Option<String> {
    let status = text(&body["status"]);
    match status.as_deref() {
        Some("completed") => status,
        _ => text(&body["incomplete_details"]["reason"]).or(status),
    }
}

/// The items of an answer as one message of chat completions; `None` without items.
fn message(items: &[Value]) -> Option<Value> {
    if items.is_empty() {
        return None;
    }
    let of_type = |kind: &'static str| items.iter().filter(move |item| item["type"] == kind);
    let parts = |field: &'static str| {
        move |item: &Value| item[field].as_array().cloned().unwrap_or_default()
    };
    let joined = |parts: &[Value], field: &str, separator: &str| {
        let texts: Vec<&str> = parts
            .iter()
            .filter_map(|part| part[field].as_str())
            .filter(|text| !text.is_empty())
            .collect();
        (!texts.is_empty()).then(|| Value::from(texts.join(separator)))
    };
    let said: Vec<Value> = of_type("message").flat_map(parts("content")).collect();
    let thought = of_type("reasoning").flat_map(|item| {
        let whole = parts("content")(item);
        if whole.is_empty() {
            parts("summary")(item)
        } else {
            whole
        }
    });
    let thought: Vec<Value> = thought.collect();
    let calls = items.iter().filter_map(request::tool_call);
    let calls: Vec<Value> = calls.collect();
    let mut message = Map::new();
    message.insert("role".to_owned(), "assistant".into());
    let content = joined(&said, "text", "");
    message.insert("content".to_owned(), content.unwrap_or(Value::Null));
    let refusal = joined(&said, "refusal", "");
    let reasoning = joined(&thought, "text", "\n\n");
    let calls = (!calls.is_empty()).then(|| calls.into());
    for (name, value) in [
        ("refusal", refusal),
        ("reasoning_content", reasoning),
        ("tool_calls", calls),
    ] {
        if let Some(value) = value {
            message.insert(name.to_owned(), value);
        }
    }
    Some(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_become_one_message() {
        let completion = Responses.completion(json!({
            "id": "resp_1", "object": "response", "status": "completed", "model": "m-1",
            "output": [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]},
                {"type": "message", "role": "assistant", "content": [
                    {"type": "output_text", "text": "Hel", "annotations": []}, {"type": "output_text", "text": "lo"}]},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            ],
            "usage": {"input_tokens": 12, "input_tokens_details": {"cached_tokens": 2}, "output_tokens": 17,
                "output_tokens_details": {"reasoning_tokens": 7}, "total_tokens": 29},
        }));
        assert_eq!(
            completion.messages,
            [
                json!({"role": "assistant", "content": "Hello", "reasoning_content": "a\n\nb", "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]})
            ]
        );
        assert_eq!(completion.output.unwrap().as_array().unwrap().len(), 3);
        assert_eq!(completion.finish_reasons, [Some("completed".to_owned())]);
        let buckets = json!(completion.usage.unwrap().buckets());
        assert_eq!(
            buckets,
            json!({"input": 10, "input_cached_tokens": 2, "output": 10, "output_reasoning_tokens": 7, "total": 29})
        );
    }

    #[test]
    fn an_incomplete_answer_says_why() {
        let reason = |body: Value| Responses.completion(body).finish_reasons;
        let some = |text: &str| [Some(text.to_owned())];
        assert_eq!(
            reason(
                json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}})
            ),
            some("max_output_tokens")
        );
        assert_eq!(reason(json!({"status": "incomplete"})), some("incomplete"));
    }
}
