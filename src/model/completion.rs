//! What an answer says, whichever dialect it is in. The dialects read it from a body.

use serde_json::Value;

use super::content::text_of;
use super::usage::Usage;

/// The parts of an answer that are printed or traced.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Completion {
    pub id: Option<String>,
    /// The model that answered. Its name may be more specific than the requested one.
    pub model: Option<String>,
    /// The message of each choice in the form of chat completions, without its empty fields.
    pub messages: Vec<Value>,
    /// The finish reason of each message, `None` if it has none; then the reasons of choices without a message.
    pub finish_reasons: Vec<Option<String>>,
    pub usage: Option<Usage>,
    /// US dollars, only if the provider stated them (`usage.cost`).
    pub cost: Option<f64>,
    pub service_tier: Option<String>,
    /// The output as the dialect has it, for traces; `None` where the messages are it.
    pub output: Option<Value>,
}

impl Completion {
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
        match (&self.output, answers.is_empty()) {
            (Some(output), true) => output.to_string(),
            _ => answers.join("\n\n"),
        }
    }

    /// The output for traces: a message, several, or what the dialect has in their place. `None` if there is none.
    pub fn traced_output(&self) -> Option<String> {
        // Faster than `to_string`, which passes each piece through a formatter.
        match (&self.output, self.messages.as_slice()) {
            (Some(output), _) => serde_json::to_string(output).ok(),
            (None, []) => None,
            (None, [message]) => serde_json::to_string(message).ok(),
            (None, messages) => serde_json::to_string(messages).ok(),
        }
    }

    /// Whether no choice has text or a tool call.
    pub fn is_empty(&self) -> bool {
        let has_text = |message: &Value| {
            let content = message["content"].as_str();
            content.is_some_and(|text| !text.trim().is_empty())
        };
        // Most answers have text, which need not be copied to be seen.
        !self.messages.iter().any(has_text) && self.answer().trim().is_empty()
    }
}

/// Finish reasons of answers that the limit of tokens cut off, in the words of the dialects.
const CUT_OFF: [&str; 5] = [
    "length",
    "max_tokens",
    "max_output_tokens",
    "model_context_window_exceeded",
    "incomplete",
];

/// Whether a finish reason is that of an answer that was cut off.
pub fn is_cut_off(reason: &str) -> bool {
    CUT_OFF.contains(&reason)
}

/// An object without the fields that are null.
pub fn without_nulls(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    value
}

/// Why a complete response may not be the answer that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caveat {
    /// The model refused to answer.
    Refusal,
    /// The finish reason is `content_filter`.
    ContentFilter,
    /// The finish reason is `length`, or the dialect's word for it.
    Length,
    /// The answer is still being made: a background response.
    Unfinished,
    /// No choice has text or a tool call.
    Empty,
}

impl Caveat {
    /// What the caveat means, and what to do about it, in one line. `reason` is the finish reason.
    pub fn message(self, reason: &str) -> String {
        let message = match self {
            Self::Refusal => "the model refused to answer",
            Self::ContentFilter => {
                "a content filter cut the answer off (finish_reason content_filter)"
            }
            Self::Length => {
                return format!(
                    "the answer was cut off at the token limit (finish_reason {reason}); raise --max-tokens"
                );
            }
            Self::Unfinished => {
                "the server makes the answer in the background, and it is not waited for"
            }
            Self::Empty => "the answer is empty",
        };
        message.to_owned()
    }
}

impl Completion {
    /// The first caveat that applies to any choice; `None` for an ordinary answer.
    pub fn caveat(&self) -> Option<Caveat> {
        let has_reason = |reason: &str| {
            let mut reasons = self.finish_reasons.iter().flatten();
            reasons.any(|found| found == reason)
        };
        let has_refusal = |message: &Value| text_of(&message["refusal"]).is_some();
        if self.messages.iter().any(has_refusal) || has_reason("refusal") {
            Some(Caveat::Refusal)
        } else if has_reason("content_filter") {
            Some(Caveat::ContentFilter)
        } else if self
            .finish_reasons
            .iter()
            .flatten()
            .any(|reason| is_cut_off(reason))
        {
            Some(Caveat::Length)
        } else if has_reason("queued") || has_reason("in_progress") {
            Some(Caveat::Unfinished)
        } else {
            self.is_empty().then_some(Caveat::Empty)
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

/// A message's tool calls; the legacy `function_call` counts as one.
fn tool_calls_of(message: &Value) -> Vec<Value> {
    match (&message["tool_calls"], &message["function_call"]) {
        (Value::Array(calls), _) => calls.clone(),
        (_, call @ Value::Object(_)) => vec![call.clone()],
        _ => Vec::new(),
    }
}
