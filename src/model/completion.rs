//! What a chat completion answered, read leniently from its body: a missing field is absent, never an error.

use serde_json::Value;

use super::request::text_of;
use super::usage::Usage;

/// The parts of a `chat.completion` body that are printed or traced.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Completion {
    pub id: Option<String>,
    /// The model that answered, which may be more exact than the one that was asked.
    pub model: Option<String>,
    /// The message of each choice, as received.
    pub messages: Vec<Value>,
    /// One reason for each choice that gave one.
    pub finish_reasons: Vec<String>,
    pub usage: Option<Usage>,
    /// US dollars, only when the provider stated them (`usage.cost`).
    pub cost: Option<f64>,
    pub service_tier: Option<String>,
}

impl Completion {
    /// Reads a body of the `chat.completion` shape.
    pub fn from_body(body: &Value) -> Self {
        let text = |value: &Value| {
            value
                .as_str()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let choices = body["choices"].as_array().map_or(&[][..], Vec::as_slice);
        Self {
            id: text(&body["id"]),
            model: text(&body["model"]),
            messages: choices
                .iter()
                .map(|choice| choice["message"].clone())
                .filter(|message| !message.is_null())
                .collect(),
            finish_reasons: choices
                .iter()
                .filter_map(|choice| text(&choice["finish_reason"]))
                .collect(),
            usage: Usage::from_openai(&body["usage"]),
            cost: body["usage"]["cost"].as_f64(),
            service_tier: text(&body["service_tier"]),
        }
    }

    /// The text of all choices, in order, a blank line between them; `None` when no choice has text.
    pub fn text(&self) -> Option<String> {
        let texts: Vec<String> = self.messages.iter().filter_map(text_of_message).collect();
        (!texts.is_empty()).then(|| texts.join("\n\n"))
    }

    /// The tool calls of all choices, in order.
    pub fn tool_calls(&self) -> Vec<Value> {
        self.messages.iter().flat_map(tool_calls_of).collect()
    }

    /// What stands for the answer where one text is wanted: each choice's text, else its tool calls as JSON.
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

/// A message's text: its content, else its refusal. Empty text counts as none.
fn text_of_message(message: &Value) -> Option<String> {
    [&message["content"], &message["refusal"]]
        .into_iter()
        .filter_map(text_of)
        .find(|text| !text.is_empty())
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
        Completion::from_body(&json!({"choices": choices}))
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
    fn a_foreign_body_is_an_empty_completion() {
        assert_eq!(
            Completion::from_body(&json!({"detail": "x"})),
            Completion::default()
        );
        assert_eq!(Completion::default().answer(), "");
    }
}
