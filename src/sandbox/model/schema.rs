//! The least value that a JSON Schema accepts: required properties only, the first of every choice.
//!
//! It follows the keywords that are usual in schemas of tools and answers, but not patterns and formats.

use serde_json::{Map, Value, json};

/// More values than a sensible schema requires; it also ends a schema that contains itself.
const MOST_VALUES: usize = 1000;

/// The least object; an empty one without a schema.
pub fn least_object(schema: &Value) -> Value {
    let mut left = MOST_VALUES;
    Some(least(schema, schema, &mut left))
        .filter(Value::is_object)
        .unwrap_or_else(|| json!({}))
}

fn least(schema: &Value, root: &Value, left: &mut usize) -> Value {
    match left.checked_sub(1) {
        Some(fewer) => *left = fewer,
        None => return Value::Null,
    }
    if let Some(target) = schema["$ref"]
        .as_str()
        .and_then(|path| root.pointer(path.strip_prefix('#')?))
    {
        return least(target, root, left);
    }
    if let Some(value) = schema
        .get("const")
        .or(schema["enum"].get(0))
        .or(schema.get("default"))
    {
        return value.clone();
    }
    if let Some(choice) = ["anyOf", "oneOf", "allOf"]
        .iter()
        .find_map(|key| schema[*key].get(0))
    {
        return least(choice, root, left);
    }
    match kind(schema) {
        "object" => object(schema, root, left),
        "array" => {
            let count = schema["minItems"]
                .as_u64()
                .and_then(|count| usize::try_from(count).ok())
                .unwrap_or(0);
            (0..count.min(MOST_VALUES))
                .map(|_| least(&schema["items"], root, left))
                .collect()
        }
        "integer" | "number" => schema.get("minimum").cloned().unwrap_or_else(|| {
            let above = schema["exclusiveMinimum"]
                .as_i64()
                .map_or(0, |bound| bound.saturating_add(1));
            above.into()
        }),
        "boolean" => Value::Bool(false),
        "null" => Value::Null,
        _ => string(schema),
    }
}

fn kind(schema: &Value) -> &str {
    let named = schema["type"]
        .as_str()
        .or_else(|| schema["type"].get(0)?.as_str());
    named.unwrap_or(if schema["properties"].is_object() {
        "object"
    } else {
        "string"
    })
}

fn object(schema: &Value, root: &Value, left: &mut usize) -> Value {
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    let property = |name: &Value| {
        let name = name.as_str()?;
        Some((
            name.to_owned(),
            least(&schema["properties"][name], root, left),
        ))
    };
    Value::Object(required.iter().filter_map(property).collect::<Map<_, _>>())
}

/// A recognizable word, repeated or cut to the required length.
fn string(schema: &Value) -> Value {
    const WORD: &str = "example";
    let length = |key: &str| {
        schema[key]
            .as_u64()
            .and_then(|length| usize::try_from(length).ok())
    };
    let least = length("minLength").unwrap_or(0).min(10_000);
    let most = length("maxLength").unwrap_or(usize::MAX);
    WORD.chars()
        .cycle()
        .take(least.max(WORD.len()).min(most))
        .collect::<String>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_properties_get_the_least_value_of_their_type() {
        let schema = json!({
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"enum": ["c", "f"]},
                "days": {"type": "integer", "minimum": 3},
                "where": {"$ref": "#/$defs/place"},
                "names": {"type": "array", "items": {"type": ["string", "null"], "maxLength": 2}, "minItems": 2},
                "maybe": {"type": "string"},
            },
            "required": ["city", "unit", "days", "where", "names"],
            "$defs": {"place": {"properties": {"known": {"type": "boolean"}}, "required": ["known"]}},
        });
        let expected = json!({
            "city": "example", "unit": "c", "days": 3, "where": {"known": false}, "names": ["ex", "ex"],
        });
        assert_eq!(least_object(&schema), expected);
    }

    #[test]
    fn a_schema_that_contains_itself_comes_to_an_end() {
        let schema =
            json!({"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]});
        assert!(least_object(&schema).is_object());
        assert_eq!(least_object(&json!({"$ref": "#"})), json!({}));
        assert_eq!(least_object(&Value::Null), json!({}));
    }
}
