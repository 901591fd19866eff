//! Reads a chat completion from its body, leniently: a missing field is `None`, never an error.
//!
//! The same response gives the same completion, streamed or not, although servers fill an unstreamed message with empty
//! fields and leave them out of a stream.

use serde_json::Value;

use super::request::text_of;
use super::usage::Usage;

/// The parts of a `chat.completion` body that are printed or traced.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Completion {
    pub id: Option<String>,
    /// The model that answered. Its name may be more specific than the requested one.
    pub model: Option<String>,
    /// The message of each choice as received, without its empty fields.
    pub messages: Vec<Value>,
    /// The finish reason of each message, `None` if it has none; then the reasons of choices without a message.
    pub finish_reasons: Vec<Option<String>>,
    pub usage: Option<Usage>,
    /// US dollars, only if the provider stated them (`usage.cost`).
    pub cost: Option<f64>,
    pub service_tier: Option<String>,
}

impl Completion {
    /// Reads a body of the `chat.completion` shape.
    pub fn from_body(mut body: Value) -> Self {
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
        Self {
            id: text(&body["id"]),
            model: text(&body["model"]),
            messages: messages.collect(),
            finish_reasons,
            usage: Usage::from_openai(&body["usage"]),
            cost: body["usage"]["cost"].as_f64(),
            service_tier: text(&body["service_tier"]),
        }
    }

    /// The text of all choices, in order, separated by a blank line; empty if a choice has empty text and no other has
    /// any; `None` if no choice has text.
    pub fn text(&self) -> Option<String> {
        let texts: Vec<String> = self.messages.iter().filter_map(text_of_message).collect();
        let has_empty_text = self.messages.iter().any(|message| message["content"] == "");
        (has_empty_text || !texts.is_empty()).then(|| texts.join("\n\n"))
    }

    /// The tool calls of all choices, in order.
    pub fn tool_calls(&self) -> Vec<Value> {
        self.messages.iter().flat_map(tool_calls_of).collect()
    }

    /// The response as one text: for each choice its text, else its tool calls as JSON.
    pub fn answer(&self) -> String {
        let answers: Vec<String> = self
            .messages
            .iter()
            .map(|message| {
                text_of_message(message).unwrap_or_else(|| match tool_calls_of(message) {
                    calls if calls.is_empty() => String::new(),
                    calls => Value::from(calls).to_string(),
                })
            })
            .collect();
        answers.join("\n\n")
    }
}

/// Why a complete response may not be the answer that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caveat {
    /// The model refused to answer.
    Refusal,
    /// The finish reason is `content_filter`.
    ContentFilter,
    /// The finish reason is `length`.
    Length,
    /// No choice has text or a tool call.
    Empty,
}

impl Caveat {
    /// What the caveat means, and what to do about it, in one line.
    pub fn message(self) -> &'static str {
        match self {
            Self::Refusal => "the model refused to answer",
            Self::ContentFilter => {
                "a content filter cut the answer off (finish_reason content_filter)"
            }
            Self::Length => {
                "the answer was cut off at the token limit (finish_reason length); raise --max-tokens"
            }
            Self::Empty => "the answer is empty",
        }
    }
}

impl Completion {
    /// The first caveat that applies to any choice; `None` for an ordinary answer.
    pub fn caveat(&self) -> Option<Caveat> {
        let has_reason = |reason: &str| {
            let mut reasons = self.finish_reasons.iter().flatten();
            reasons.any(|found| found == reason)
        };
        let is_refusal = |message: &Value| text_of(&message["refusal"]).is_some();
        if self.messages.iter().any(is_refusal) {
            Some(Caveat::Refusal)
        } else if has_reason("content_filter") {
            Some(Caveat::ContentFilter)
        } else if has_reason("length") {
            Some(Caveat::Length)
        } else {
            self.answer().trim().is_empty().then_some(Caveat::Empty)
        }
    }
}

/// The text of a message or delta: its content, else its refusal, else its audio transcript. `None` if empty.
pub fn text_of_message(message: &Value) -> Option<String> {
    [
        &message["content"],
        &message["refusal"],
        &message["audio"]["transcript"],
    ]
    .into_iter()
    .filter_map(text_of)
    .find(|text| !text.is_empty())
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

/// A message's tool calls; the legacy `function_call` counts as one.
fn tool_calls_of(message: &Value) -> Vec<Value> {
    match (&message["tool_calls"], &message["function_call"]) {
        (Value::Array(calls), _) => calls.clone(),
        (_, call @ Value::Object(_)) => vec![call.clone()],
        _ => Vec::new(),
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
        Completion::from_body(json!({"choices": choices}))
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
        let completion = Completion::from_body(json!({"choices": [
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
    fn a_body_of_another_shape_is_an_empty_completion() {
        assert_eq!(
            Completion::from_body(json!({"detail": "x"})),
            Completion::default()
        );
        assert_eq!(Completion::default().answer(), "");
    }
}
