//! What the stand-in says, whichever dialect it is asked in.

use serde_json::{Value, json};

use super::InvalidRequest;
use super::schema;

const CHARS_PER_TOKEN: usize = 4;
const ECHOED_CHARS: usize = 120;
const WORDS_PER_PIECE: usize = 4;

/// A reply, before a dialect gives it a form.
#[derive(Debug, Clone)]
pub enum Reply {
    Text {
        text: String,
        /// Whether the token limit ended it.
        is_cut: bool,
    },
    ToolCall {
        name: String,
        /// A JSON object, as text.
        arguments: String,
    },
}

/// The form that the text of a reply must have.
#[derive(Debug, Clone, Copy)]
pub enum Format<'a> {
    Text,
    /// Any JSON object.
    Object,
    /// An object that this JSON Schema accepts.
    Schema(&'a Value),
}

/// A function that the model may call.
#[derive(Debug, Clone, Copy)]
pub struct Tool<'a> {
    pub name: &'a str,
    pub schema: &'a Value,
}

/// Which tool the request forces the model to call.
#[derive(Debug, Clone, Copy)]
pub enum ToolChoice<'a> {
    Free,
    Any,
    Named(&'a str),
}

impl Reply {
    /// Repeats the question in this format, in at most `limit` tokens. `index` tells several choices apart.
    pub fn to(question: &str, format: Format, index: u64, limit: Option<u64>) -> Self {
        let text = match format {
            Format::Text => sentence(question, index),
            Format::Object => json!({"answer": sentence(question, index)}).to_string(),
            Format::Schema(schema) => schema::least_object(schema).to_string(),
        };
        let end = limit
            .and_then(|limit| usize::try_from(limit).ok()?.checked_mul(CHARS_PER_TOKEN))
            .and_then(|characters| text.char_indices().nth(characters));
        match end {
            Some((end, _)) => Self::Text {
                text: text[..end].to_owned(),
                is_cut: true,
            },
            None => Self::Text {
                text,
                is_cut: false,
            },
        }
    }

    /// A call of the tool that the request forces; `None` if it forces none.
    pub fn forced_call(tools: &[Tool], choice: ToolChoice) -> Result<Option<Self>, InvalidRequest> {
        let (found, rule) = match choice {
            ToolChoice::Free => return Ok(None),
            ToolChoice::Any => (tools.first(), "there are no tools"),
            ToolChoice::Named(name) => (
                tools.iter().find(|tool| tool.name == name),
                "the tools have no function of this name",
            ),
        };
        let tool = found.ok_or_else(|| InvalidRequest::value("tool_choice", rule))?;
        Ok(Some(Self::ToolCall {
            name: tool.name.to_owned(),
            arguments: schema::least_object(tool.schema).to_string(),
        }))
    }

    pub fn tokens(&self) -> usize {
        match self {
            Self::Text { text, .. } => tokens(text),
            Self::ToolCall { name, arguments } => tokens(name) + tokens(arguments),
        }
    }

    /// The parts in which the text, or the arguments, are streamed.
    pub fn pieces(&self) -> Vec<String> {
        match self {
            Self::Text { text, .. } => pieces(text),
            Self::ToolCall { arguments, .. } => {
                let middle = arguments
                    .char_indices()
                    .nth(arguments.chars().count() / 2)
                    .map_or(0, |(at, _)| at);
                let (begin, end) = arguments.split_at(middle);
                vec![begin.to_owned(), end.to_owned()]
            }
        }
    }
}

/// Some words each.
pub fn pieces(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split_inclusive(' ').collect();
    words
        .chunks(WORDS_PER_PIECE)
        .map(<[&str]>::concat)
        .collect()
}

pub fn tokens(text: &str) -> usize {
    text.chars().count().div_ceil(CHARS_PER_TOKEN)
}

/// The text of a message's content, which is a string or a list of parts.
pub fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}

/// The text of the last message of the user.
pub fn last_question(messages: &[Value]) -> String {
    messages
        .iter()
        .rev()
        .find(|message| message["role"] == "user")
        .map_or_else(String::new, |message| text(&message["content"]))
}

/// The thoughts before an answer, for a model that is asked to reason.
pub fn thoughts() -> &'static str {
    "A stand-in has nothing to think about, so it repeats the question."
}

fn sentence(question: &str, index: u64) -> String {
    let question = question.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut echo: String = question.chars().take(ECHOED_CHARS).collect();
    if echo.len() < question.len() {
        echo.push('…');
    }
    let choice = if index == 0 {
        String::new()
    } else {
        format!(" This is choice {}.", index + 1)
    };
    format!(
        "I am langspan's stand-in, not a real model, and can only repeat the question: “{echo}”.{choice}"
    )
}
