//! Attribute look-up with JavaScript's rules: of several keys, the first *truthy* one counts.

use serde_json::Value;

use crate::sandbox::ingest::Attributes;

/// The first of `keys` with a value that is not empty, zero or false.
pub fn first<'a>(attributes: &'a Attributes, keys: &[&str]) -> Option<&'a Value> {
    keys.iter()
        .filter_map(|key| attributes.get(*key))
        .find(|value| truthy(value))
}

pub fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// A string unchanged, any other value as JSON.
pub fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// The object itself, or the object that a string contains as JSON.
pub fn parsed_object(value: &Value) -> Option<Attributes> {
    match value {
        Value::Object(map) => Some(map.clone()),
        Value::String(text) => serde_json::from_str(text).ok(),
        _ => None,
    }
}
