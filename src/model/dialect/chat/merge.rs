//! Merges the fragments of a streamed message into one JSON value.
//!
//! Each fragment costs the same, however many items came before: a server may send any number of tool calls, in any
//! order. Which fields of a chunk are fragments is decided elsewhere.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

/// Where the items of a value's arrays are.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Of an object: the places within its fields.
    fields: HashMap<String, Places>,
    /// Of an array: the position of each item with an `index`, and the places within it.
    items: HashMap<u64, (usize, Places)>,
    /// Of an array: the places within its last item, if that has no `index`.
    last: Option<Box<Places>>,
}

impl Places {
    /// The places within a field.
    pub fn field(&mut self, key: &str) -> &mut Self {
        self.fields.entry(key.to_owned()).or_default()
    }
}

/// Sets a field unless the new value is empty and an old one exists: Azure's first chunk has an empty model, and all
/// chunks but the last have a null usage.
pub fn overwrite(object: &mut Map<String, Value>, key: String, value: Value) {
    let is_empty = value.is_null() || value.as_str() == Some("");
    if !is_empty || !object.contains_key(&key) {
        if value.is_null() && key == "usage" {
            return;
        }
        object.insert(key, value);
    }
}

/// Fields that are not split into fragments. Some servers repeat them in every fragment.
const NAMES: [&str; 7] = ["id", "index", "type", "role", "name", "format", "channel"];

/// Adds a fragment to the value so far: joins strings, merges objects, matches array items by `index` or appends them.
/// `places` belong to `known`.
pub fn merge(known: &mut Value, fragment: Value, places: &mut Places) {
    match (known, fragment) {
        (Value::Object(known), Value::Object(fragment)) => {
            for (key, value) in fragment {
                merge_field(known, key, value, places);
            }
        }
        (Value::Array(known), Value::Array(fragments)) => {
            for fragment in fragments {
                merge_item(known, fragment, places);
            }
        }
        (Value::String(known), Value::String(fragment)) => known.push_str(&fragment),
        // Content that comes both as text and as parts becomes parts.
        (known @ Value::Array(_), Value::String(text)) => merge(known, parts_of(&text), places),
        (known @ Value::String(_), Value::Array(fragments)) => {
            let parts = parts_of(known.as_str().unwrap_or_default());
            *known = Value::Null;
            merge(known, parts, places);
            merge(known, fragments.into(), places);
        }
        (_, Value::Null) => {}
        // Merged field by field and item by item, since one fragment may hold several pieces of one item.
        (known, fragment @ (Value::Object(_) | Value::Array(_))) => {
            *known = if fragment.is_array() {
                json!([])
            } else {
                json!({})
            };
            *places = Places::default();
            merge(known, fragment, places);
        }
        (known, fragment) => *known = fragment,
    }
}

fn merge_field(known: &mut Map<String, Value>, key: String, value: Value, places: &mut Places) {
    if NAMES.contains(&key.as_str()) {
        return overwrite(known, key, value);
    }
    match (known.get_mut(&key), value) {
        // The usual case: the next piece of a text.
        (Some(Value::String(known)), Value::String(piece)) => known.push_str(&piece),
        (Some(known), value) => merge(known, value, places.field(&key)),
        (None, value @ (Value::Object(_) | Value::Array(_))) => {
            let places = places.field(&key);
            merge(known.entry(key).or_insert(Value::Null), value, places);
        }
        (None, value) => drop(known.insert(key, value)),
    }
}

fn merge_item(known: &mut Vec<Value>, fragment: Value, places: &mut Places) {
    let index = fragment.get("index").and_then(Value::as_u64);
    if let Some(index) = index {
        let Places { items, last, .. } = places;
        let (at, places) = items.entry(index).or_insert_with(|| {
            known.push(Value::Null);
            *last = None;
            (known.len() - 1, Places::default())
        });
        return merge(&mut known[*at], fragment, places);
    }
    if !known
        .last()
        .is_some_and(|last| is_continued(last, &fragment))
    {
        known.push(Value::Null);
        places.last = None;
    }
    if let Some(last) = known.last_mut() {
        merge(last, fragment, places.last.get_or_insert_default());
    }
}

/// Whether `fragment` continues a content part.
fn is_continued(part: &Value, fragment: &Value) -> bool {
    matches!(part["type"].as_str(), Some("text" | "thinking")) && part["type"] == fragment["type"]
}

fn parts_of(text: &str) -> Value {
    if text.is_empty() {
        return json!([]);
    }
    json!([{"type": "text", "text": text}])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(fragments: &[Value]) -> Value {
        let mut known = Value::Null;
        let mut places = Places::default();
        for fragment in fragments {
            merge(&mut known, fragment.clone(), &mut places);
        }
        known
    }

    #[test]
    fn items_are_found_by_their_index_in_any_order() {
        let piece = |index: u64, text: &str| json!([{"index": index, "f": {"a": text}}]);
        assert_eq!(
            merged(&[piece(7, "x"), piece(0, "y"), piece(7, "z"), piece(0, "w")]),
            json!([{"index": 7, "f": {"a": "xz"}}, {"index": 0, "f": {"a": "yw"}}])
        );
        let nested = |text: &str| json!({"a": [{"index": 1, "b": [{"index": 2, "c": text}]}]});
        assert_eq!(
            merged(&[nested("x"), nested("y")]),
            json!({"a": [{"index": 1, "b": [{"index": 2, "c": "xy"}]}]})
        );
    }

    #[test]
    fn a_value_of_another_kind_replaces_the_one_before() {
        assert_eq!(
            merged(&[json!([{"index": 0}]), json!(1), json!([{"index": 0}])]),
            json!([{"index": 0}])
        );
    }
}
