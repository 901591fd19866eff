//! What a trace shows of a request of the Messages API, as a request again.

use serde_json::{Value, json};

use super::{MESSAGES, SYSTEM};
use crate::model::dialect::{TracedInput, conversation};
use crate::model::fields::BodyFields;

/// The body of a traced input: the system message that it begins with is the system prompt.
pub fn restored(mut input: TracedInput) -> BodyFields {
    let system = conversation::take_system(&mut input.conversation);
    let mut fields = BodyFields::default();
    match system.as_slice() {
        [] => {}
        [system] => fields.set(SYSTEM, system),
        several => {
            let texts = several.iter().filter_map(crate::model::content::text_of);
            fields.set(SYSTEM, &texts.collect::<Vec<_>>().join("\n\n"));
        }
    }
    for (name, value) in conversation::restored(MESSAGES, &input).fields() {
        fields.set_raw(name, value.to_owned());
    }
    fields
}

/// Whether the tools or the blocks of an input, or the blocks of an output, have the form of this API.
pub fn is_own(input: &TracedInput, output: &Value) -> bool {
    let messages = input.conversation.as_array().into_iter().flatten();
    let mut blocks = messages.flat_map(blocks);
    input
        .tools
        .iter()
        .any(|tool| tool["input_schema"].is_object())
        || blocks.any(is_own_block)
        || is_own_answer(output)
}

fn blocks(message: &Value) -> impl Iterator<Item = &Value> {
    message["content"].as_array().into_iter().flatten()
}

/// Other servers have a list as the text of a `thinking` block.
fn is_own_block(block: &Value) -> bool {
    match block["type"].as_str() {
        Some("tool_use" | "tool_result" | "redacted_thinking") => true,
        Some("thinking") => block["thinking"].is_string(),
        Some("image" | "document") => block["source"].is_object(),
        _ => false,
    }
}

/// The content of an answer of chat completions is a text, or has blocks of other types beside those of text.
fn is_own_answer(output: &Value) -> bool {
    let is_text = |block: &Value| block["type"] == "text";
    let mut all = blocks(output).peekable();
    all.peek().is_some() && all.all(|block| is_text(block) || is_own_block(block))
}

/// A tool in the form of chat completions. One that the server itself has stays.
pub fn chat_tool(tool: Value) -> Value {
    if !tool["input_schema"].is_object() {
        return tool;
    }
    let mut function = json!({"name": tool["name"], "parameters": tool["input_schema"]});
    if tool["description"].is_string() {
        function["description"] = tool["description"].clone();
    }
    json!({"type": "function", "function": function})
}

/// A tool of chat completions in the form of this API. What is in its form stays.
pub fn own_tool(tool: Value) -> Value {
    let function = &tool["function"];
    if !function.is_object() {
        return tool;
    }
    let schema = match &function["parameters"] {
        Value::Null => json!({"type": "object", "properties": {}}),
        schema => schema.clone(),
    };
    let mut own = json!({"name": function["name"], "input_schema": schema});
    if function["description"].is_string() {
        own["description"] = function["description"].clone();
    }
    own
}

#[cfg(test)]
mod tests {
    use super::super::request;
    use super::*;

    #[test]
    fn a_traced_request_is_restored() {
        let body = json!({
            "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
            "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]}],
            "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
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
    fn blocks_tell_the_api() {
        let nothing = TracedInput::default();
        for (output, expected) in [
            (
                json!({"role": "assistant", "content": [{"type": "text", "text": "a"}]}),
                true,
            ),
            (
                json!({"role": "assistant", "content": [{"type": "thinking", "thinking": "a"}]}),
                true,
            ),
            (
                json!({"role": "assistant", "content": [{"type": "thinking", "thinking": []}]}),
                false,
            ),
            (json!({"role": "assistant", "content": "a"}), false),
            (json!({"role": "assistant", "content": []}), false),
            (json!([{"type": "message"}]), false),
        ] {
            assert_eq!(is_own(&nothing, &output), expected, "{output}");
        }
    }

    #[test]
    fn tools_change_their_form_and_back() {
        let chat = json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "description": "d"}});
        assert_eq!(chat_tool(own_tool(chat.clone())), chat);
        let search = json!({"type": "web_search_20250305", "name": "web_search"});
        assert_eq!(own_tool(search.clone()), search);
        assert_eq!(chat_tool(search.clone()), search);
    }
}
