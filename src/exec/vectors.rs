//! Leaves embedding vectors out: they are large, people do not read them, and the server would store each number.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;

use crate::json::edit::Edits;
use crate::json::scan::{string_end, unquote, value_after_key, value_end};

/// Fields of JSON that hold vectors.
const FIELDS: [&str; 3] = ["embedding", "embeddings", "vector"];
/// Shorter lists of numbers are kept.
const SHORTEST_VECTOR: usize = 16;
/// A vector in base64 is longer than this.
const SHORTEST_BASE64: usize = 256;

/// Drops attributes that are vectors, and the vectors inside texts of JSON.
pub fn drop_from(attributes: &mut Vec<KeyValue>) {
    attributes.retain(|attribute| !is_vector(attribute));
    for attribute in attributes {
        let value = attribute
            .value
            .as_mut()
            .and_then(|value| value.value.as_mut());
        if let Some(Value::StringValue(text)) = value
            && let Some(shorter) = without_vectors(text)
        {
            *text = shorter;
        }
    }
}

fn is_vector(attribute: &KeyValue) -> bool {
    let value = attribute
        .value
        .as_ref()
        .and_then(|value| value.value.as_ref());
    match value {
        Some(Value::ArrayValue(list)) => {
            let is_number = |value: Option<&Value>| match value {
                Some(Value::DoubleValue(_)) => true,
                // The AI SDK writes each vector as a text.
                Some(Value::StringValue(text)) => is_list_of_numbers(text),
                _ => false,
            };
            let mut items = list.values.iter().map(|item| item.value.as_ref());
            let is_long = list.values.len() >= SHORTEST_VECTOR
                || matches!(items.clone().next(), Some(Some(Value::StringValue(_))));
            !list.values.is_empty() && is_long && items.all(is_number)
        }
        Some(Value::StringValue(text)) => is_list_of_numbers(text),
        _ => false,
    }
}

/// Whether a text is a long JSON array of numbers.
fn is_list_of_numbers(text: &str) -> bool {
    let Some(inner) = text.trim().strip_prefix('[') else {
        return false;
    };
    let Some(inner) = inner.strip_suffix(']') else {
        return false;
    };
    let is_numeric = |c: char| matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E' | ',' | ' ');
    inner.matches(',').count() + 1 >= SHORTEST_VECTOR && inner.chars().all(is_numeric)
}

/// The JSON text with null in place of each vector; `None` if it holds none.
pub fn without_vectors(json: &str) -> Option<String> {
    if !FIELDS.iter().any(|field| json.contains(field)) {
        return None;
    }
    let mut edits = Edits::new(json);
    let mut at = 0;
    while let Some(start) = json[at..].find('"').map(|offset| at + offset) {
        let Some(end) = string_end(json, start) else {
            break;
        };
        at = end;
        let key = unquote(&json[start..end]);
        let value = value_after_key(json, end).filter(|_| FIELDS.contains(&key.as_ref()));
        if let Some(value) = value {
            let value_end = value_end(json, value);
            if holds_vector(&json[value..value_end]) {
                edits.replace(value..value_end, "null");
                at = value_end;
            }
        }
    }
    edits.finish()
}

fn holds_vector(value: &str) -> bool {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    match value.as_bytes().first() {
        Some(b'"') => {
            value.len() > SHORTEST_BASE64 && value.trim_matches('"').chars().all(is_base64)
        }
        Some(b'[') => {
            let first = value.trim_start_matches(|c: char| c == '[' || c.is_whitespace());
            first.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue};

    use super::*;

    fn attribute(key: &str, value: Value) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        }
    }

    fn text(text: &str) -> Value {
        Value::StringValue(text.to_owned())
    }

    fn list(values: Vec<Value>) -> Value {
        let values = values
            .into_iter()
            .map(|value| AnyValue { value: Some(value) })
            .collect();
        Value::ArrayValue(ArrayValue { values })
    }

    #[test]
    fn vectors_are_dropped_from_json() {
        let base64 = "A".repeat(300);
        let json = format!(
            r#"{{"data": [{{"embedding": [0.1, -2e-3], "index":0}},{{"embedding":"{base64}"}}],"model":"embedding","vector":[[1]]}}"#
        );
        assert_eq!(
            without_vectors(&json).unwrap(),
            r#"{"data": [{"embedding": null, "index":0},{"embedding":null}],"model":"embedding","vector":null}"#
        );
        assert_eq!(
            without_vectors(r#"{"embedding":"short","embeddings":[{"a":1}]}"#),
            None
        );
        assert_eq!(without_vectors("an embedding"), None);
        assert_eq!(
            without_vectors(r#"{"embedding": [1"#),
            Some(r#"{"embedding": null"#.to_owned())
        );
    }

    #[test]
    fn attributes_that_are_vectors_are_dropped() {
        let numbers = vec!["0.5"; 20].join(",");
        let mut attributes = vec![
            attribute("a", list(vec![Value::DoubleValue(0.5); 20])),
            attribute("b", list(vec![text(&format!("[{numbers}]"))])),
            attribute("c", text(&format!("[{numbers}]"))),
            attribute("tags", list(vec![text("a"), text("b")])),
            attribute("few", list(vec![Value::DoubleValue(0.5); 2])),
        ];
        drop_from(&mut attributes);
        let keys: Vec<&str> = attributes.iter().map(|found| found.key.as_str()).collect();
        assert_eq!(keys, ["tags", "few"]);
    }
}
