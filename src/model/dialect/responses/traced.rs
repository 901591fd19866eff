//! What a trace shows of a request of the Responses API, as a request again.

use serde_json::{Map, Value, json};

use super::{INPUT, INSTRUCTIONS};
use crate::model::dialect::{TracedInput, conversation};
use crate::model::fields::BodyFields;

/// The body of a traced input: the system messages that it begins with are the instructions, if they are texts.
pub fn restored(mut input: TracedInput) -> BodyFields {
    let whole = input.conversation.clone();
    let system = conversation::take_system(&mut input.conversation);
    let texts: Vec<&str> = system.iter().filter_map(Value::as_str).collect();
    let mut fields = BodyFields::default();
    if texts.len() < system.len() {
        input.conversation = whole;
    } else if !texts.is_empty() {
        fields.set(INSTRUCTIONS, &texts.join("\n\n"));
    }
    for (name, value) in conversation::restored(INPUT, &input).fields() {
        fields.set_raw(name, value.to_owned());
    }
    fields
}

/// Whether an input or an output has items of this API, or an input its tools.
pub fn is_own(input: &TracedInput, output: &Value) -> bool {
    let has_item = |list: &Value| list.as_array().into_iter().flatten().any(is_item);
    has_item(&input.conversation) || has_item(output) || input.tools.iter().any(is_own_tool)
}

/// Messages of chat completions have no type, and parts of other types.
fn is_item(item: &Value) -> bool {
    let kind = item["type"].as_str().unwrap_or_default();
    let mut parts = item["content"].as_array().into_iter().flatten();
    matches!(kind, "message" | "reasoning" | "item_reference")
        || kind.ends_with("_call")
        || kind.ends_with("_call_output")
        || parts.any(|part| {
            let kind = part["type"].as_str();
            matches!(
                kind,
                Some("input_text" | "output_text" | "input_image" | "input_file")
            )
        })
}

fn is_own_tool(tool: &Value) -> bool {
    tool["type"] == "function" && tool["name"].is_string()
}

/// A tool in the form of chat completions. One that the server itself has stays.
pub fn chat_tool(mut tool: Value) -> Value {
    if !is_own_tool(&tool) {
        return tool;
    }
    if let Some(fields) = tool.as_object_mut() {
        fields.shift_remove("type");
    }
    json!({"type": "function", "function": tool})
}

/// A tool of chat completions in the form of this API, which is strict unless it says otherwise. What is in its form
/// stays.
pub fn own_tool(tool: Value) -> Value {
    let Some(function) = tool["function"].as_object() else {
        return tool;
    };
    let mut own = Map::new();
    own.insert("type".to_owned(), "function".into());
    own.extend(function.clone());
    own.entry("strict").or_insert(false.into());
    own.into()
}

#[cfg(test)]
mod tests {
    use super::super::request;
    use super::*;

    #[test]
    fn a_traced_request_is_restored() {
        let body = json!({
            "instructions": "be brief",
            "input": [{"role": "user", "content": [{"type": "input_text", "text": "q"}]}, {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}],
            "tools": [{"type": "function", "name": "f", "parameters": {}}],
        });
        let fields: BodyFields = serde_json::from_value(body.clone()).unwrap();
        let input: Value = serde_json::from_str(&request::traced(&fields).unwrap()).unwrap();
        let input = TracedInput {
            conversation: input["messages"].clone(),
            tools: input["tools"].as_array().unwrap().clone(),
            functions: Vec::new(),
        };
        assert!(is_own(&input, &Value::Null));
        assert_eq!(serde_json::to_value(restored(input)).unwrap(), body);
    }

    #[test]
    fn items_tell_the_api() {
        let nothing = TracedInput::default();
        for (output, expected) in [
            (
                json!([{"type": "message", "role": "assistant", "content": []}]),
                true,
            ),
            (json!([{"type": "web_search_call"}]), true),
            (json!([{"role": "assistant", "content": "a"}]), false),
            (json!({"role": "assistant", "content": "a"}), false),
        ] {
            assert_eq!(is_own(&nothing, &output), expected, "{output}");
        }
    }

    #[test]
    fn tools_change_their_form_and_back() {
        let chat = json!({"type": "function", "function": {"name": "f", "parameters": {}, "strict": true}});
        assert_eq!(chat_tool(own_tool(chat.clone())), chat);
        let search = json!({"type": "web_search"});
        assert_eq!(own_tool(search.clone()), search);
        assert_eq!(chat_tool(search.clone()), search);
    }
}
