//! The metadata of an observation: the user's own, and all other attributes of the span.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::attributes::{parsed_object, text};
use crate::sandbox::ingest::{Attributes, Span};

/// Metadata by origin: the two read interfaces arrange it differently.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Metadata {
    pub attributes: Attributes,
    pub resource: Attributes,
    pub scope: Attributes,
    pub scope_attributes: Attributes,
    pub observation: Attributes,
    pub trace: Attributes,
}

const OBSERVATION: &str = "langfuse.observation.metadata";
const TRACE: &str = "langfuse.trace.metadata";
const SHARED: &str = "langfuse.metadata";
/// Spans of Langfuse's own SDKs are not listed attribute by attribute.
const SDK_SCOPE: &str = "langfuse-sdk";

impl Metadata {
    /// `consumed` names the attributes that are shown as input and output instead.
    pub fn of(span: &Span, consumed: &[&str]) -> Self {
        let is_metadata = |key: &str| {
            [OBSERVATION, TRACE, SHARED]
                .iter()
                .any(|prefix| suffix(key, prefix).is_some())
        };
        let scope = [("name", &span.scope.name), ("version", &span.scope.version)];
        Self {
            attributes: span
                .attributes
                .iter()
                .filter(|(key, _)| !span.scope.name.starts_with(SDK_SCOPE) && !is_metadata(key))
                .filter(|(key, _)| !consumed.contains(&key.as_str()))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            resource: (*span.resource).clone(),
            scope: scope
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(key, value)| (key.to_owned(), Value::from(value.as_str())))
                .collect(),
            scope_attributes: span.scope.attributes.clone(),
            observation: user_set(&span.attributes, OBSERVATION),
            trace: user_set(&span.attributes, TRACE),
        }
    }

    /// The flat form of v2: dotted names, values as text. If a name occurs twice, the later value wins.
    pub fn flat(&self) -> Map<String, Value> {
        let mut flat = Vec::new();
        for (prefix, values) in [
            ("attributes.", &self.attributes),
            ("resourceAttributes.", &self.resource),
            ("scope.", &self.scope),
            ("scope.attributes.", &self.scope_attributes),
            ("", &self.observation),
            ("", &self.trace),
        ] {
            for (key, value) in values {
                flatten(format!("{prefix}{key}"), value, &mut flat);
            }
        }
        let mut unique: Map<String, Value> = Map::new();
        for (key, value) in flat {
            unique.insert(key, Value::String(value));
        }
        unique.into_iter().rev().collect()
    }
}

/// A value of the flat form in an answer: a text that contains JSON comes back parsed, an integer only if a double can
/// represent it exactly.
pub fn parsed(text: &str) -> Value {
    const EXACT: f64 = 9_007_199_254_740_991.0;
    match serde_json::from_str(text) {
        Ok(Value::Number(number)) if number.as_f64().is_none_or(|value| value.abs() > EXACT) => {
            text.into()
        }
        Ok(value) => value,
        Err(_) => text.into(),
    }
}

/// Adds the dotted names and the texts of a value.
pub fn flatten(key: String, value: &Value, into: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (inner, value) in map {
                flatten(format!("{key}.{inner}"), value, into);
            }
        }
        value => into.push((key, text(value))),
    }
}

/// A JSON object under `prefix` (or under the shared name), then single keys, which win.
fn user_set(sent: &Attributes, prefix: &str) -> Attributes {
    let mut metadata = [prefix, SHARED]
        .iter()
        .find_map(|key| parsed_object(sent.get(*key)?))
        .unwrap_or_default();
    for prefix in [SHARED, prefix] {
        for (key, value) in sent {
            if let Some(name) = suffix(key, prefix).filter(|name| !name.is_empty()) {
                metadata.insert(name.to_owned(), value.clone());
            }
        }
    }
    metadata
}

/// The part of `key` after `prefix` and a dot; empty for the prefix alone.
fn suffix<'a>(key: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = key.strip_prefix(prefix)?;
    if rest.is_empty() {
        Some(rest)
    } else {
        rest.strip_prefix('.')
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_come_back_as_the_json_that_they_hold() {
        for (text, value) in [
            ("3", json!(3)),
            ("true", json!(true)),
            ("007", json!("007")),
            ("12345678901234567890", json!("12345678901234567890")),
            (r#"{"x":1}"#, json!({"x": 1})),
            ("v1", json!("v1")),
            ("", json!("")),
        ] {
            assert_eq!(parsed(text), value, "{text}");
        }
    }
}
