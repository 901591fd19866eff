//! JSON Schema, drafts 7 and 2020-12: a schema is checked once, then each answer against it.
//!
//! By hand, because the kept crates for it bring the whole of `regex` and made the program 1.6 MB larger, a sixth of its
//! size. Tests compare it with one of them. Nothing is fetched: a schema that refers to another document is refused.
//! `format` is an annotation, as 2020-12 has it.

mod check;
mod validate;

use std::collections::HashMap;

use regex_lite::Regex;
use serde_json::Value;

/// A schema that is sound.
#[derive(Clone, Debug)]
pub struct JsonSchema {
    root: Value,
    draft: Draft,
    /// The patterns by their text.
    patterns: HashMap<String, Regex>,
    /// JSON pointers by the references that are no pointers: anchors and ids.
    names: HashMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Draft {
    Seven,
    Twenty,
}

/// The first place where a value does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The place in the value, as a JSON pointer; empty for the whole value.
    pub instance: String,
    /// The place of the keyword in the schema, as a JSON pointer.
    pub keyword: String,
    /// What is wrong there; it may hold a part of the value.
    pub message: String,
}

impl JsonSchema {
    /// Checks a schema.
    ///
    /// # Errors
    /// One line that names the first place that is wrong.
    pub fn new(root: Value) -> Result<Self, String> {
        let draft = match root["$schema"].as_str() {
            None => Draft::Twenty,
            Some(name) if name.contains("draft-07") => Draft::Seven,
            Some(name) if name.contains("2020-12") => Draft::Twenty,
            Some(name) => {
                return Err(format!(
                    "the draft {name} is not supported: use 7 or 2020-12"
                ));
            }
        };
        let mut schema = Self {
            root: Value::Null,
            draft,
            patterns: HashMap::new(),
            names: HashMap::new(),
        };
        schema.check(&root, "")?;
        schema.root = root;
        schema.check_references()?;
        Ok(schema)
    }

    /// # Errors
    /// The first place where the value does not fit.
    pub fn validate(&self, value: &Value) -> Result<(), Violation> {
        validate::validate(self, value)
    }

    /// The pointer that a reference stands for; `None` for one to another document.
    fn target(&self, reference: &str) -> Option<String> {
        if reference == "#" {
            return Some(String::new());
        }
        if let Some(pointer) = reference
            .strip_prefix('#')
            .filter(|rest| rest.starts_with('/'))
        {
            let decoded = percent_encoding::percent_decode_str(pointer)
                .decode_utf8()
                .ok()?;
            return Some(decoded.into_owned());
        }
        if let Some(pointer) = self.names.get(reference) {
            return Some(pointer.clone());
        }
        // A pointer below a named schema.
        let (name, pointer) = reference.split_once('#')?;
        let base = self.names.get(name)?;
        Some(format!("{base}{pointer}"))
    }
}

/// A name as a segment of a JSON pointer.
fn segment(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests;
