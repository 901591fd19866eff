//! The bodies of 400 answers. Where the real server refuses too, the text is its own. Queries that only the sandbox does
//! not support are refused by name: to ignore a part of them would be to answer another question.

use serde_json::{Value, json};

use crate::sandbox::time::{self, Millis};

/// A parameter that cannot be read.
pub fn refused(issue: &Value) -> Value {
    json!({"message": "Invalid request data", "error": [issue]})
}

/// A query that can be read but not answered.
pub fn invalid(message: impl Into<String>) -> Value {
    json!({"message": message.into(), "error": "InvalidRequestError"})
}

/// A query that a real Langfuse may be able to answer.
pub fn unsupported(part: &str, given: &str, supported: &[&str]) -> Value {
    let supported = supported.join(", ");
    invalid(format!(
        "The sandbox does not support {part} \"{given}\". Supported: {supported}"
    ))
}

/// A parameter that is a number from 1 to `most`.
pub fn bounded(name: &str, value: &str, most: usize) -> Result<usize, Value> {
    let number = value.trim().parse::<i64>().map_err(|_| {
        refused(&json!({
            "expected": "number", "code": "invalid_type", "received": "NaN", "path": [name],
            "message": "Invalid input: expected number, received NaN",
        }))
    })?;
    let out_of_bounds = |code, side: &str, bound: usize, message| {
        refused(&json!({
            "origin": "number", "code": code, side: bound, "inclusive": true, "path": [name], "message": message,
        }))
    };
    match usize::try_from(number) {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        Ok(1..) => {
            let message = format!("Too big: expected number to be <={most}");
            Err(out_of_bounds("too_big", "maximum", most, message))
        }
        _ => {
            let message = "Too small: expected number to be >=1".to_owned();
            Err(out_of_bounds("too_small", "minimum", 1, message))
        }
    }
}

/// The value at `path`, a parameter or a field of a body, has another type than the expected one; `None`: it is absent.
pub fn expected(kind: &str, path: &[&str], found: Option<&Value>) -> Value {
    refused(&json!({
        "expected": kind, "code": "invalid_type", "path": path,
        "message": format!("Invalid input: expected {kind}, received {}", type_name(found)),
    }))
}

/// The name of a value's type; `None`: it is absent.
pub fn type_name(value: Option<&Value>) -> &'static str {
    match value {
        None => "undefined",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "boolean",
        Some(Value::Number(_)) => "number",
        Some(Value::String(_)) => "string",
        Some(Value::Array(_)) => "array",
        Some(Value::Object(_)) => "object",
    }
}

/// A text in a body; `None` if it is absent.
pub fn text_field(body: &Value, name: &str) -> Result<Option<String>, Value> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        other => Err(expected("string", &[name], other)),
    }
}

/// The parameter `fields`: a list of groups out of `known`.
pub fn field_groups(value: &str, known: &[&str]) -> Result<Vec<String>, Value> {
    let groups: Vec<String> = value
        .split(',')
        .map(|group| group.trim().to_owned())
        .collect();
    let is_unknown = |group: &String| !known.contains(&group.as_str());
    match groups.iter().position(is_unknown) {
        None => Ok(groups),
        Some(place) => Err(not_one_of(known, &json!(["fields", place]))),
    }
}

/// A value at `path` that is not one of `known`.
pub fn not_one_of(known: &[&str], path: &Value) -> Value {
    let options: Vec<String> = known.iter().map(|option| format!("\"{option}\"")).collect();
    refused(&json!({
        "code": "invalid_value", "values": known, "path": path,
        "message": format!("Invalid option: expected one of {}", options.join("|")),
    }))
}

/// A parameter, or a field of one, that is an ISO 8601 time.
pub fn timestamp(name: &str, value: &str) -> Result<Millis, Value> {
    time::parse(value).ok_or_else(|| {
        refused(&json!({
            "origin": "string", "code": "invalid_format", "format": "datetime", "path": [name],
            "message": "Invalid ISO datetime",
        }))
    })
}
