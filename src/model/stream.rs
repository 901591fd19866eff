//! The chunks of a streamed answer, put together into the body that the same answer would have had unstreamed.
//!
//! So a trace, a recording and the output are made of one shape, whichever way the answer came.

use serde_json::{Map, Value};

/// A `chat.completion` body in the making.
#[derive(Clone, Debug, Default)]
pub struct Assembly {
    body: Map<String, Value>,
    /// By choice index; a choice may start in any chunk.
    choices: Vec<Map<String, Value>>,
}

impl Assembly {
    /// Takes one `chat.completion.chunk`; returns the text that it adds to the first choice.
    pub fn push(&mut self, chunk: Value) -> Option<String> {
        let Value::Object(chunk) = chunk else {
            return None;
        };
        let mut text = None;
        for (key, value) in chunk {
            match (key.as_str(), value) {
                ("choices", Value::Array(choices)) => {
                    for choice in choices {
                        text = self.push_choice(choice).or(text);
                    }
                }
                // Padding against traffic analysis, of no meaning to a reader.
                ("object" | "obfuscation", _) => {}
                (_, value) => overwrite(&mut self.body, key, value),
            }
        }
        text
    }

    /// Whether any choice has begun: from then on a repeated request would show its answer twice.
    pub fn has_content(&self) -> bool {
        !self.choices.is_empty()
    }

    /// Whether some choice said why it ended.
    pub fn has_finished(&self) -> bool {
        let finished =
            |choice: &Map<String, Value>| choice.get("finish_reason").is_some_and(Value::is_string);
        self.choices.iter().any(finished)
    }

    /// The whole body, as far as it was received.
    pub fn into_body(mut self) -> Value {
        // Groq states the usage in a field of its own.
        if !self.body.contains_key("usage")
            && let Some(usage) = self
                .body
                .get("x_groq")
                .and_then(|groq| groq.get("usage"))
                .cloned()
        {
            self.body.insert("usage".to_owned(), usage);
        }
        let mut body = Map::new();
        body.insert("object".to_owned(), "chat.completion".into());
        let choices = self
            .choices
            .into_iter()
            .enumerate()
            .map(|(index, mut choice)| {
                choice.insert("index".to_owned(), index.into());
                if let Some(message) = choice.get_mut("message") {
                    strip_indexes(message);
                }
                Value::Object(choice)
            });
        let choices: Vec<Value> = choices.collect();
        body.append(&mut self.body);
        body.insert("choices".to_owned(), choices.into());
        Value::Object(body)
    }

    fn push_choice(&mut self, choice: Value) -> Option<String> {
        // More choices than any request asks for are a broken stream, not a reason to allocate.
        const MOST_CHOICES: usize = 1024;
        let Value::Object(mut choice) = choice else {
            return None;
        };
        let index =
            usize::try_from(choice.get("index").and_then(Value::as_u64).unwrap_or(0)).ok()?;
        if index >= MOST_CHOICES {
            return None;
        }
        if self.choices.len() <= index {
            self.choices.resize_with(index + 1, Map::new);
        }
        let mut text = None;
        let delta = choice.remove("delta");
        let known = &mut self.choices[index];
        if let Some(Value::Object(delta)) = delta {
            if index == 0 {
                let added = |name: &str| {
                    delta
                        .get(name)
                        .and_then(Value::as_str)
                        .filter(|t| !t.is_empty())
                };
                text = added("content")
                    .or_else(|| added("refusal"))
                    .map(str::to_owned);
            }
            let message = known
                .entry("message")
                .or_insert_with(|| Value::Object(Map::new()));
            merge(message, Value::Object(delta));
        }
        for (key, value) in choice {
            match key.as_str() {
                "index" => {}
                "logprobs" => merge(known.entry(key).or_insert(Value::Null), value),
                _ => overwrite(known, key, value),
            }
        }
        text
    }
}

/// The index of a tool call orders its fragments; the whole message has none.
fn strip_indexes(message: &mut Value) {
    let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
    for call in calls.into_iter().flatten().filter_map(Value::as_object_mut) {
        call.shift_remove("index");
    }
}

/// Later values replace earlier ones, but nothing replaces something: Azure's first chunk has an empty model, all
/// chunks but the last a null usage.
fn overwrite(object: &mut Map<String, Value>, key: String, value: Value) {
    let is_nothing = value.is_null() || value.as_str() == Some("");
    if !is_nothing || !object.contains_key(&key) {
        if value.is_null() && key == "usage" {
            return;
        }
        object.insert(key, value);
    }
}

/// Adds a fragment to what is known: texts are joined, lists matched by `index` or appended, objects merged.
fn merge(known: &mut Value, fragment: Value) {
    match (known, fragment) {
        (Value::Object(known), Value::Object(fragment)) => {
            for (key, value) in fragment {
                // These name things and come whole; some servers repeat them in every fragment.
                if matches!(key.as_str(), "id" | "index" | "type" | "role" | "name") {
                    overwrite(known, key, value);
                } else {
                    merge(known.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (Value::Array(known), Value::Array(fragments)) => {
            for fragment in fragments {
                let index = fragment.get("index").filter(|index| index.is_u64());
                match known
                    .iter_mut()
                    .find(|item| index.is_some() && item.get("index") == index)
                {
                    Some(item) => merge(item, fragment),
                    None => known.push(fragment),
                }
            }
        }
        (Value::String(known), Value::String(fragment)) => known.push_str(&fragment),
        (known @ Value::Null, Value::Array(fragments)) => {
            // Through the rule above, since one fragment may hold several pieces of one item.
            *known = Value::Array(Vec::new());
            merge(known, Value::Array(fragments));
        }
        (_, Value::Null) => {}
        (known, fragment) => *known = fragment,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn assemble(chunks: &[Value]) -> Value {
        let mut assembly = Assembly::default();
        for chunk in chunks {
            assembly.push(chunk.clone());
        }
        assembly.into_body()
    }

    #[test]
    fn text_and_usage_are_put_together() {
        let body = assemble(&[
            json!({"id": "", "model": "", "choices": [], "prompt_filter_results": []}),
            json!({"id": "c1", "model": "m", "usage": null, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hel"}, "finish_reason": null}]}),
            json!({"id": "c1", "model": "m", "usage": null, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "lo"}, "finish_reason": null}]}),
            json!({"id": "c1", "model": "m", "usage": null, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
            json!({"id": "c1", "model": "m", "usage": {"prompt_tokens": 1}, "choices": []}),
        ]);
        assert_eq!(
            body,
            json!({"object": "chat.completion", "id": "c1", "model": "m", "prompt_filter_results": [], "usage": {"prompt_tokens": 1},
                   "choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop", "index": 0}]})
        );
    }

    #[test]
    fn tool_calls_are_joined_by_index() {
        let fragment = |index: u64, call: Value| {
            let mut call = call;
            call["index"] = index.into();
            json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
        };
        let body = assemble(&[
            fragment(
                0,
                json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}),
            ),
            fragment(
                1,
                json!({"id": "b", "type": "function", "function": {"name": "g", "arguments": "{"}}),
            ),
            fragment(0, json!({"function": {"arguments": "{\"x\":"}})),
            fragment(1, json!({"function": {"arguments": "}"}})),
            fragment(0, json!({"function": {"arguments": "1}"}})),
        ]);
        let calls = &body["choices"][0]["message"]["tool_calls"];
        assert_eq!(
            calls[0]["function"],
            json!({"name": "f", "arguments": "{\"x\":1}"})
        );
        assert_eq!(
            calls[1]["function"],
            json!({"name": "g", "arguments": "{}"})
        );
        assert_eq!(calls[0]["id"], "a");
        assert_eq!(calls[0].get("index"), None);
    }

    #[test]
    fn choices_may_come_in_any_order() {
        let body = assemble(&[
            json!({"choices": [{"index": 1, "delta": {"content": "b"}}]}),
            json!({"choices": [{"index": 0, "delta": {"content": "a"}}]}),
        ]);
        assert_eq!(body["choices"][0]["message"]["content"], "a");
        assert_eq!(body["choices"][1]["message"]["content"], "b");
    }

    #[test]
    fn foreign_chunks_are_passed_over() {
        let mut assembly = Assembly::default();
        for chunk in [
            json!(1),
            json!({"choices": 3}),
            json!({"choices": [{"index": 99_999_999}, 7]}),
        ] {
            assert_eq!(assembly.push(chunk), None);
        }
        assert!(!assembly.has_content());
    }
}
