//! The input of a generation, taken apart: messages, tools and the other fields of a body, in whichever of the forms that
//! tools have for them. Nothing is converted here.

use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::json::lenient;
use crate::langfuse::Row;
use crate::model::content::kind_of;
use crate::model::dialect::TracedInput;
use crate::trace::privacy::CAPTURE;

/// How deep a conversation may lie in an input: one list or object around it each.
const MOST_LAYERS: usize = 4;
const NO_MESSAGES: &str = "only a generation whose messages are in Langfuse can be asked again";

/// What an input holds.
#[derive(Debug)]
pub struct TakenInput {
    pub content: TracedInput,
    pub kind: InputKind,
    /// The other fields, where the input is the body of a request.
    pub fields: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// Messages, or items.
    Conversation,
    /// A body with `input`, as the Responses API has it.
    Items,
    /// A text alone, which the user says.
    Prompt,
    /// What vectors are made of.
    Embedding,
}

/// The input of a generation.
///
/// # Errors
/// If it has no messages, with the reason.
pub fn of_row(row: &Row) -> Result<TakenInput, Failure> {
    let input = match row.field("input") {
        Value::String(text) if text.trim_start().starts_with(['[', '{']) => {
            lenient::parse(text).unwrap_or_else(|_| text.as_str().into())
        }
        input => input.clone(),
    };
    if matches!(&input, Value::Null) || input == "" {
        return Err(no_input(row));
    }
    if row.text("type") == Some("EMBEDDING") {
        return embedding(input);
    }
    conversation(input, MOST_LAYERS)
}

fn no_input(row: &Row) -> Failure {
    match row.metadata(CAPTURE) {
        Some("none") => {
            Failure::input("it was traced with --capture none, which leaves messages out")
        }
        _ => Failure::input("it has no input"),
    }
    .hint(NO_MESSAGES)
}

fn wrong(why: impl Into<String>) -> Failure {
    Failure::input(why).hint(NO_MESSAGES)
}

fn embedding(input: Value) -> Result<TakenInput, Failure> {
    let (input, fields) = match input {
        Value::Object(mut fields) => match fields.shift_remove("input") {
            Some(input) => (input, fields),
            None => return Err(wrong("its input is an object without `input`")),
        },
        input => (input, Map::new()),
    };
    match input {
        Value::String(_) | Value::Array(_) => Ok(TakenInput {
            content: TracedInput {
                conversation: input,
                ..TracedInput::default()
            },
            kind: InputKind::Embedding,
            fields,
        }),
        other => Err(wrong(format!("its input is {}", kind_of(&other)))),
    }
}

fn conversation(input: Value, layers: usize) -> Result<TakenInput, Failure> {
    if layers == 0 {
        return Err(wrong("its messages lie too deep in its input"));
    }
    match input {
        Value::String(text) => Ok(prompt(&text)),
        Value::Array(items) => list(items, layers),
        Value::Object(fields) => object(fields, layers),
        other => Err(wrong(format!("its input is {}", kind_of(&other)))),
    }
}

fn prompt(text: &str) -> TakenInput {
    let messages = json!([{"role": "user", "content": text}]);
    TakenInput {
        kind: InputKind::Prompt,
        ..of_messages(messages)
    }
}

fn of_messages(conversation: Value) -> TakenInput {
    TakenInput {
        content: TracedInput {
            conversation,
            ..TracedInput::default()
        },
        kind: InputKind::Conversation,
        fields: Map::new(),
    }
}

fn list(mut items: Vec<Value>, layers: usize) -> Result<TakenInput, Failure> {
    match items.as_slice() {
        [] => Err(wrong("its list of messages is empty")),
        // Some tools trace a list of conversations, or of prompts, even of one.
        [Value::Array(_) | Value::String(_)] => conversation(items.remove(0), layers - 1),
        all if all.iter().all(is_message) => Ok(of_messages(items.into())),
        _ => Err(wrong("its input is a list, but not of messages")),
    }
}

/// A message has a role, in itself or in what `LangChain`'s serialisation wraps; an item of the Responses API a type.
fn is_message(item: &Value) -> bool {
    item["role"].is_string() || item["type"].is_string() || item["kwargs"].is_object()
}

fn object(mut fields: Map<String, Value>, layers: usize) -> Result<TakenInput, Failure> {
    let lists = |value: Option<Value>| match value {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    if fields.get("messages").is_some_and(Value::is_array) {
        let messages = fields.shift_remove("messages").unwrap_or_default();
        let mut taken = conversation(messages, layers - 1)?;
        taken.content.tools = lists(fields.shift_remove("tools"));
        taken.content.functions = lists(fields.shift_remove("functions"));
        // As the Messages API has it.
        if let Some(system) = fields
            .shift_remove("system")
            .filter(|system| !system.is_null())
            && let Some(messages) = taken.content.conversation.as_array_mut()
        {
            messages.insert(0, json!({"role": "system", "content": system}));
        }
        taken.fields = fields;
        return Ok(taken);
    }
    let is_items = fields.get("input").is_some_and(|input| {
        let items = input.as_array();
        input.is_string() || items.is_some_and(|items| items.iter().all(is_message))
    });
    if is_items {
        let input = fields.shift_remove("input").unwrap_or_default();
        return Ok(items(input, fields, lists));
    }
    if fields.contains_key("role") && fields.contains_key("content") {
        return Ok(of_messages(json!([fields])));
    }
    // The arguments of a function that was traced as a generation.
    if fields.get("kwargs").is_some_and(Value::is_object) {
        let arguments = fields.shift_remove("kwargs").unwrap_or_default();
        return conversation(arguments, layers - 1);
    }
    let names: Vec<&str> = fields.keys().map(String::as_str).take(5).collect();
    Err(match names.as_slice() {
        names if names.contains(&"contents") => unsupported("Gemini's own API"),
        names if names.contains(&"prompt") => unsupported("the older completions"),
        names => wrong(format!(
            "its input is an object without messages: {}",
            names.join(", ")
        )),
    })
}

/// A body of the Responses API.
fn items(
    input: Value,
    mut fields: Map<String, Value>,
    lists: impl Fn(Option<Value>) -> Vec<Value>,
) -> TakenInput {
    let mut conversation = match input {
        Value::Array(items) => items,
        text => vec![json!({"role": "user", "content": text})],
    };
    if let Some(instructions) = fields.shift_remove("instructions").filter(Value::is_string) {
        conversation.insert(0, json!({"role": "system", "content": instructions}));
    }
    TakenInput {
        content: TracedInput {
            conversation: conversation.into(),
            tools: lists(fields.shift_remove("tools")),
            functions: Vec::new(),
        },
        kind: InputKind::Items,
        fields,
    }
}

/// The failure of an API that is not asked.
pub fn unsupported(what: &str) -> Failure {
    let hint = "langspan help dialects lists those that are; --api chat asks messages as a chat";
    Failure::input(format!("it used {what}, which is not supported")).hint(hint)
}
