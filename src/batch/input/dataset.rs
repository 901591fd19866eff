//! An item of a dataset as a line of the input.

use serde_json::{Map, Value, json};

use crate::langfuse::DatasetItem;

/// The line of an item. Its input decides the shape: a text is the prompt, or follows the managed one; an object with
/// `messages`, and a list of messages, is the body; any other object holds the variables of the managed prompt.
pub fn line(item: DatasetItem) -> String {
    let mut line = Map::new();
    line.insert("custom_id".to_owned(), item.id.into());
    let (name, value) = match item.input {
        Value::Object(body) if body.contains_key("messages") => ("body", Value::Object(body)),
        Value::Object(variables) => ("vars", Value::Object(variables)),
        Value::Array(messages) if are_messages(&messages) => {
            ("body", json!({"messages": messages}))
        }
        // An input of another type is refused when the run reaches its line.
        Value::Null => ("prompt", json!({})),
        input => ("prompt", input),
    };
    line.insert(name.to_owned(), value);
    if !item.expected_output.is_null() {
        line.insert("expected".to_owned(), item.expected_output);
    }
    if item.metadata.is_object() {
        line.insert("item_metadata".to_owned(), item.metadata);
    }
    Value::Object(line).to_string()
}

fn are_messages(values: &[Value]) -> bool {
    !values.is_empty() && values.iter().all(|value| value["role"].is_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_decides_the_shape_of_the_line() {
        let messages = json!([{"role": "user", "content": "hi"}]);
        for (input, field, expected) in [
            (json!("hi"), "prompt", json!("hi")),
            (
                json!({"messages": messages, "seed": 1}),
                "body",
                json!({"messages": messages, "seed": 1}),
            ),
            (messages.clone(), "body", json!({"messages": messages})),
            (
                json!({"q": "hi", "n": 1}),
                "vars",
                json!({"q": "hi", "n": 1}),
            ),
            (json!(["hi"]), "prompt", json!(["hi"])),
            (json!(5), "prompt", json!(5)),
            (Value::Null, "prompt", json!({})),
        ] {
            let item = DatasetItem {
                id: "a\nb".to_owned(),
                input: input.clone(),
                expected_output: Value::Null,
                metadata: Value::Null,
            };
            let line = line(item);
            assert!(!line.contains('\n'), "{line}");
            let line: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(
                line,
                json!({"custom_id": "a\nb", field: expected}),
                "{input}"
            );
        }
    }

    #[test]
    fn what_an_item_has_beside_its_input_is_kept() {
        let item = DatasetItem {
            id: "a".to_owned(),
            input: json!("hi"),
            expected_output: json!({"x": 1}),
            metadata: json!({"trace": "t"}),
        };
        let line: Value = serde_json::from_str(&line(item)).unwrap();
        assert_eq!(line["expected"], json!({"x": 1}));
        assert_eq!(line["item_metadata"], json!({"trace": "t"}));
    }
}
