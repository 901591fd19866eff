//! Holds documents to the JSON Schemas of `langspan help json`. Knows the keywords that those use.

use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// Asserts that a document of any command fits its schema. Fields that the schema does not describe may be there.
#[track_caller]
pub fn assert_fits(document: &Value) {
    if let Some(name) = schema_of(document) {
        fits(document, name, Fields::Any);
    }
}

/// Asserts that a document fits the named schema, which describes every field of it.
#[track_caller]
pub fn assert_described(document: &Value, name: &str) {
    fits(document, name, Fields::Described);
}

/// Whether a document may have fields that its schema does not describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fields {
    Any,
    Described,
}

#[track_caller]
fn fits(document: &Value, name: &str, fields: Fields) {
    let schema = &bundle()["$defs"][name];
    let checked = check(document, schema, fields, name);
    if let Err(fault) = checked {
        panic!("{fault}; the schema is src/output/schema/{name}.json: {document:#}");
    }
}

/// The name of a document's schema; none for one that langspan did not make.
fn schema_of(document: &Value) -> Option<&'static str> {
    if document["langspan"].is_object() && document.get("custom_id").is_some() {
        return Some("output_line");
    }
    document.get("schema_version")?;
    let is_plan = document["dry_run"] == true;
    match document["command"].as_str()? {
        "replay" if document.get("files").is_some() => Some("import"),
        "chat" | "replay" if is_plan => Some("dry_run"),
        "chat" | "replay" => Some("answer"),
        _ if document.get("response").is_some() => Some("failure"),
        "batch" if is_plan => Some("batch_dry_run"),
        "batch" => Some("summary"),
        "compare" => Some("compare"),
        "exec" => Some("exec"),
        "check" => Some("check"),
        "show" => Some("show"),
        "prompt" => Some("prompt"),
        "score" => Some("score"),
        "resend" => Some("resend"),
        "config" => Some("config"),
        _ => None,
    }
}

/// All schemas, as they are printed.
fn bundle() -> &'static Value {
    static BUNDLE: OnceLock<Value> = OnceLock::new();
    BUNDLE.get_or_init(|| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_langspan"));
        let output = command.args(["help", "json"]).env_clear().output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    })
}

/// # Errors
/// What does not fit, and where.
fn check(value: &Value, schema: &Value, fields: Fields, place: &str) -> Result<(), String> {
    for (keyword, rule) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$ref" => {
                let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                check(value, &bundle()["$defs"][name], fields, place)?;
            }
            "anyOf" => {
                let checks = rule.as_array().unwrap().iter();
                let faults: Vec<String> = checks
                    .map(|schema| check(value, schema, fields, place))
                    .map_while(Result::err)
                    .collect();
                if faults.len() == rule.as_array().unwrap().len() {
                    return Err(faults.join(", or "));
                }
            }
            "type" if !is_of_type(value, rule) => {
                return Err(format!("{place} is {value}, not {rule}"));
            }
            "const" if value != rule => return Err(format!("{place} is {value}, not {rule}")),
            "enum" if !rule.as_array().unwrap().contains(value) => {
                return Err(format!("{place} is {value}, not one of {rule}"));
            }
            "items" => {
                let items = value.as_array().into_iter().flatten();
                for (index, item) in items.enumerate() {
                    check(item, rule, fields, &format!("{place}[{index}]"))?;
                }
            }
            "required" => {
                let names = rule.as_array().unwrap().iter();
                let mut names = names.map(|name| name.as_str().unwrap());
                let missing = value
                    .as_object()
                    .and_then(|object| names.find(|name| !object.contains_key(*name)));
                if let Some(name) = missing {
                    return Err(format!("{place} lacks {name}"));
                }
            }
            "properties" => check_fields(value, schema, fields, place)?,
            "type" | "const" | "enum" | "title" | "description" => {}
            "additionalProperties" => assert!(rule == true || schema["type"] == "object"),
            other => panic!("the keyword {other} is not known here"),
        }
    }
    Ok(())
}

fn check_fields(value: &Value, schema: &Value, fields: Fields, place: &str) -> Result<(), String> {
    for (name, field) in value.as_object().into_iter().flatten() {
        let place = format!("{place}.{name}");
        let others = &schema["additionalProperties"];
        match &schema["properties"][name] {
            Value::Null if others.is_object() => check(field, others, fields, &place)?,
            Value::Null if fields == Fields::Described && others != true => {
                return Err(format!("{place} is not described"));
            }
            Value::Null => {}
            described => check(field, described, fields, &place)?,
        }
    }
    Ok(())
}

fn is_of_type(value: &Value, types: &Value) -> bool {
    let is = |name: &Value| match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("the type {other} is not known here"),
    };
    types
        .as_array()
        .map_or_else(|| is(types), |types| types.iter().any(is))
}

#[test]
fn what_does_not_fit_is_named() {
    let schema = serde_json::json!({
        "type": "object",
        "required": ["a"],
        "properties": {"a": {"type": ["integer", "null"]}, "b": {"enum": ["x"]}},
    });
    let fault = |value| check(&value, &schema, Fields::Described, "d").err();
    assert_eq!(fault(serde_json::json!({"a": 1, "b": "x"})), None);
    for (value, words) in [
        (serde_json::json!([]), "d is [], not \"object\""),
        (serde_json::json!({}), "d lacks a"),
        (serde_json::json!({"a": "1"}), "d.a is \"1\""),
        (serde_json::json!({"a": 1, "b": "y"}), "d.b is \"y\""),
        (serde_json::json!({"a": 1, "c": 1}), "d.c is not described"),
    ] {
        let fault = fault(value).unwrap();
        assert!(fault.contains(words), "{fault}");
    }
}
