//! Reads a chat completion from its body, leniently: a missing field is `None`, never an error.
//!
//! The same answer gives the same completion, streamed or not, although servers fill an unstreamed message with empty
//! fields and leave them out of a stream.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::model::usage::OpenAiUsage;
use crate::model::{Completion, Usage};

/// An answer of the usual form: text where text belongs, a message in each choice, no error.
#[derive(Deserialize)]
struct UsualAnswer {
    id: Option<String>,
    model: Option<String>,
    choices: Vec<UsualChoice>,
    usage: Option<OpenAiUsage>,
    service_tier: Option<String>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct UsualChoice {
    message: Map<String, Value>,
    finish_reason: Option<String>,
    error: Option<IgnoredAny>,
}

/// Reads a body of the `chat.completion` shape without a tree of all its fields; `None` if it is not of the usual form.
pub fn read_usual(body: &str) -> Option<Completion> {
    // An array would be read as the fields in their order.
    if !body.starts_with('{') {
        return None;
    }
    let answer: UsualAnswer = serde_json::from_str(body).ok()?;
    let is_failed = |choice: &UsualChoice| choice.error.is_some();
    if answer.error.is_some() || answer.choices.is_empty() || answer.choices.iter().any(is_failed) {
        return None;
    }
    let text = |text: Option<String>| text.filter(|text| !text.is_empty());
    let usage = answer.usage.as_ref();
    let choices = answer.choices.into_iter();
    let (messages, finish_reasons) = choices
        .map(|choice| {
            let message = without_empty_fields(Value::Object(choice.message));
            (message, text(choice.finish_reason))
        })
        .unzip();
    Some(Completion {
        id: text(answer.id),
        model: text(answer.model),
        messages,
        finish_reasons,
        usage: usage.and_then(OpenAiUsage::usage),
        cost: usage.and_then(|usage| usage.cost),
        service_tier: text(answer.service_tier),
        output: None,
    })
}

/// Reads a body of the `chat.completion` shape.
pub fn read(mut body: Value) -> Completion {
    let text = |value: &Value| {
        value
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let choices = match body.get_mut("choices").map(Value::take) {
        Some(Value::Array(choices)) => choices,
        _ => Vec::new(),
    };
    let (with_message, without): (Vec<Value>, Vec<Value>) = choices
        .into_iter()
        .partition(|choice| !choice["message"].is_null());
    let reasons = with_message.iter().chain(&without);
    let finish_reasons = reasons
        .map(|choice| text(&choice["finish_reason"]))
        .collect();
    let messages = with_message
        .into_iter()
        .map(|mut choice| without_empty_fields(choice["message"].take()));
    Completion {
        id: text(&body["id"]),
        model: text(&body["model"]),
        messages: messages.collect(),
        finish_reasons,
        usage: Usage::from_openai(&body["usage"]),
        cost: body["usage"]["cost"].as_f64(),
        service_tier: text(&body["service_tier"]),
        output: None,
    }
}

/// Removes empty fields and the index of tool calls. An empty content beside other fields becomes null; a missing role,
/// as in some streams, becomes `assistant`.
fn without_empty_fields(mut message: Value) -> Value {
    strip_indexes(&mut message);
    if let Some(fields) = message.as_object_mut() {
        fields.retain(|key, value| key == "content" || !is_empty(value));
        if !fields.contains_key("role") {
            fields.shift_insert(0, "role".to_owned(), "assistant".into());
        }
        let is_only_content = fields
            .keys()
            .all(|key| matches!(key.as_str(), "role" | "content"));
        if !is_only_content && fields.get("content").is_some_and(|content| content == "") {
            fields.insert("content".to_owned(), Value::Null);
        }
    }
    message
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Removes the index of tool calls, which orders the fragments of a stream. Some servers leave it in unstreamed messages.
pub fn strip_indexes(message: &mut Value) {
    let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
    for call in calls.into_iter().flatten().filter_map(Value::as_object_mut) {
        call.shift_remove("index");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn choices(messages: &[Value]) -> Completion {
        let choices: Vec<Value> = messages
            .iter()
            .map(|message| json!({"message": message}))
            .collect();
        read(json!({"choices": choices}))
    }

    #[test]
    fn the_answer_is_text_else_refusal_else_tool_calls() {
        let call =
            json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
        let completion = choices(&[
            json!({"content": "a\n"}),
            json!({"content": null, "refusal": "no"}),
            json!({"content": "", "tool_calls": [call]}),
        ]);
        assert_eq!(completion.answer(), format!("a\n\n\nno\n\n[{call}]"));
        assert_eq!(completion.text().as_deref(), Some("a\n\n\nno"));
        assert_eq!(completion.tool_calls(), [call]);
    }

    #[test]
    fn empty_fields_are_removed() {
        let whole = json!({"content": "a", "role": "assistant", "refusal": null, "annotations": [], "tool_calls": []});
        assert_eq!(
            choices(&[whole]).messages,
            [json!({"role": "assistant", "content": "a"})]
        );
        let call = json!({"id": "c", "index": 0, "function": {"name": "f"}});
        let with_call =
            json!({"role": "assistant", "content": "", "tool_calls": [call], "odd": {}});
        assert_eq!(
            choices(&[with_call]).messages,
            [
                json!({"role": "assistant", "content": null, "tool_calls": [{"id": "c", "function": {"name": "f"}}], "odd": {}})
            ]
        );
        let empty = json!({"role": "assistant", "content": ""});
        assert_eq!(choices(std::slice::from_ref(&empty)).messages, [empty]);
    }

    #[test]
    fn an_empty_text_is_a_text() {
        let empty = json!({"role": "assistant", "content": ""});
        assert_eq!(choices(&[empty]).text().as_deref(), Some(""));
        assert_eq!(choices(&[json!({"content": null})]).text(), None);
    }

    #[test]
    fn reasons_stay_beside_their_messages() {
        let completion = read(json!({"choices": [
            {"finish_reason": "length"},
            {"message": {"content": "a"}, "finish_reason": null},
            {"message": {"content": "b"}, "finish_reason": "stop"},
        ]}));
        let reason = |text: &str| Some(text.to_owned());
        assert_eq!(
            completion.finish_reasons,
            [None, reason("stop"), reason("length")]
        );
        assert_eq!(completion.messages.len(), 2);
    }

    #[test]
    fn the_usual_form_is_read_as_every_other() {
        let message = json!({"content": "a \"b\" \u{1f600}", "refusal": null, "role": "assistant"});
        let choice = json!({"index": 0, "message": message, "logprobs": {"x": [1e3]}, "finish_reason": "stop"});
        let details = json!({"cached_tokens": 2, "cache_creation_tokens": 1});
        let usage = json!({"prompt_tokens": 3, "completion_tokens": 4, "cost": 0.5, "x": {}, "prompt_tokens_details": details});
        let usual = json!({"id": "1", "created": 1, "model": "", "choices": [choice, choice], "usage": usage, "error": null});
        let bare = json!({"choices": [{"message": {}}]});
        for body in [usual, bare] {
            let text = format!("{body:#}");
            assert_eq!(read_usual(&text), Some(read(body)), "{text}");
        }
        for unusual in [
            r#"{"choices":[]}"#,
            r#"{"choices":[{"message":null}]}"#,
            r#"{"choices":[{"message":{}},{}]}"#,
            r#"{"choices":[{"message":{},"error":{"code":1}}]}"#,
            r#"{"choices":[{"message":{}}],"error":{}}"#,
            r#"{"choices":[{"message":{}}],"id":1}"#,
            r#"{"choices":[{"message":{}}],"usage":{"prompt_tokens":1.5}}"#,
            r#"{"choices":[{"message":{"content":"\ud83d"}}]}"#,
            r#"{"choices":[{"message":{}}]"#,
            r#"[null,null,[{"message":{}}]]"#,
        ] {
            assert_eq!(read_usual(unusual), None, "{unusual}");
        }
    }

    #[test]
    fn a_body_of_another_shape_is_an_empty_completion() {
        assert_eq!(read(json!({"detail": "x"})), Completion::default());
        assert_eq!(Completion::default().answer(), "");
    }
}
