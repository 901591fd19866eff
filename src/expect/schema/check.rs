//! Whether a schema is sound: keywords of the right types, patterns that compile, references that lead somewhere.

use regex_lite::Regex;
use serde_json::Value;

use super::{Draft, JsonSchema, segment};

/// Keywords with one schema.
const SCHEMA: [&str; 12] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
];
/// Keywords with a list of schemas.
const SCHEMAS: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords with schemas by name.
const NAMED: [&str; 6] = [
    "$defs",
    "definitions",
    "dependencies",
    "dependentSchemas",
    "patternProperties",
    "properties",
];
/// Keywords with a count.
const COUNT: [&str; 8] = [
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
];
const NUMBER: [&str; 5] = [
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maximum",
    "minimum",
    "multipleOf",
];
const TYPES: [&str; 7] = [
    "array", "boolean", "integer", "null", "number", "object", "string",
];

impl JsonSchema {
    /// Checks a schema and those in it; `at` is its place, as a JSON pointer. Collects patterns and names.
    pub(super) fn check(&mut self, schema: &Value, at: &str) -> Result<(), String> {
        let fields = match schema {
            Value::Bool(_) => return Ok(()),
            Value::Object(fields) => fields,
            _ => return Err(format!("{} is neither an object nor a boolean", place(at))),
        };
        for (key, value) in fields {
            let here = format!("{at}/{}", segment(key));
            let key = key.as_str();
            let wrong = |rule: &str| Err(format!("{} must be {rule}", place(&here)));
            match (key, value) {
                ("items", Value::Array(list)) if self.draft == Draft::Seven => {
                    self.check_list(list, &here)?;
                }
                _ if SCHEMA.contains(&key) => self.check(value, &here)?,
                (_, Value::Array(list)) if SCHEMAS.contains(&key) => {
                    if list.is_empty() {
                        return wrong("a list of at least one schema");
                    }
                    self.check_list(list, &here)?;
                }
                _ if SCHEMAS.contains(&key) => return wrong("a list of schemas"),
                (_, Value::Object(named)) if NAMED.contains(&key) => {
                    self.check_named(key, named, &here)?;
                }
                _ if NAMED.contains(&key) => return wrong("an object of schemas"),
                _ if COUNT.contains(&key) => {
                    let count = value.as_f64();
                    if count.is_none_or(|count| count < 0.0 || count.fract() != 0.0) {
                        return wrong("a whole number, 0 or greater");
                    }
                }
                ("multipleOf", value) if value.as_f64().is_none_or(|number| number <= 0.0) => {
                    return wrong("a number greater than 0");
                }
                _ if NUMBER.contains(&key) && !value.is_number() => return wrong("a number"),
                ("type", value) => check_type(value, &here)?,
                ("enum", value) if !value.is_array() => return wrong("a list"),
                ("required", value) if !is_names(value) => return wrong("a list of names"),
                ("dependentRequired", value)
                    if !value
                        .as_object()
                        .is_some_and(|named| named.values().all(is_names)) =>
                {
                    return wrong("an object of lists of names");
                }
                ("uniqueItems", value) if !value.is_boolean() => return wrong("a boolean"),
                ("pattern", value) => match value.as_str() {
                    Some(pattern) => self.compile(pattern, &here)?,
                    None => return wrong("a text"),
                },
                ("$ref" | "$dynamicRef" | "$id" | "$anchor" | "$dynamicAnchor", value) => {
                    match value.as_str() {
                        Some(name) => self.note_name(key, name, at),
                        None => return wrong("a text"),
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Remembers under which name a schema can be referred to.
    fn note_name(&mut self, key: &str, name: &str, at: &str) {
        let name = match key {
            "$id" => name.strip_suffix('#').unwrap_or(name).to_owned(),
            "$anchor" | "$dynamicAnchor" => format!("#{name}"),
            _ => return,
        };
        if !name.is_empty() {
            self.names.insert(name, at.to_owned());
        }
    }

    fn check_list(&mut self, list: &[Value], at: &str) -> Result<(), String> {
        for (index, schema) in list.iter().enumerate() {
            self.check(schema, &format!("{at}/{index}"))?;
        }
        Ok(())
    }

    fn check_named(
        &mut self,
        key: &str,
        named: &serde_json::Map<String, Value>,
        at: &str,
    ) -> Result<(), String> {
        for (name, schema) in named {
            let here = format!("{at}/{}", segment(name));
            if key == "patternProperties" {
                self.compile(name, &here)?;
            }
            if key == "dependencies" && schema.is_array() {
                if !is_names(schema) {
                    return Err(format!(
                        "{} must be a list of names or a schema",
                        place(&here)
                    ));
                }
                continue;
            }
            self.check(schema, &here)?;
        }
        Ok(())
    }

    fn compile(&mut self, pattern: &str, at: &str) -> Result<(), String> {
        if !self.patterns.contains_key(pattern) {
            let regex = Regex::new(pattern).map_err(|error| {
                format!(
                    "{} is a regular expression that is not supported: {error}",
                    place(at)
                )
            })?;
            self.patterns.insert(pattern.to_owned(), regex);
        }
        Ok(())
    }

    /// Checks that every reference leads to a schema of this document.
    pub(super) fn check_references(&self) -> Result<(), String> {
        let mut waiting = vec![&self.root];
        while let Some(value) = waiting.pop() {
            match value {
                Value::Object(fields) => {
                    for key in ["$ref", "$dynamicRef"] {
                        let Some(Value::String(reference)) = fields.get(key) else {
                            continue;
                        };
                        let target = self.target(reference);
                        let found = target.and_then(|pointer| self.root.pointer(&pointer));
                        if !found.is_some_and(|found| found.is_object() || found.is_boolean()) {
                            return Err(format!(
                                "the reference {reference} leads to no schema of the file"
                            ));
                        }
                    }
                    // Values are no schemas.
                    let inner = fields.iter().filter(|(key, _)| {
                        !matches!(key.as_str(), "const" | "enum" | "default" | "examples")
                    });
                    waiting.extend(inner.map(|(_, value)| value));
                }
                Value::Array(values) => waiting.extend(values),
                _ => {}
            }
        }
        Ok(())
    }
}

fn check_type(value: &Value, at: &str) -> Result<(), String> {
    let is_type = |value: &Value| value.as_str().is_some_and(|name| TYPES.contains(&name));
    let is_sound = match value {
        Value::Array(names) => !names.is_empty() && names.iter().all(is_type),
        name => is_type(name),
    };
    if is_sound {
        return Ok(());
    }
    Err(format!("{} must be one of {}", place(at), TYPES.join(", ")))
}

fn is_names(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|names| names.iter().all(Value::is_string))
}

fn place(at: &str) -> &str {
    if at.is_empty() { "the schema" } else { at }
}
