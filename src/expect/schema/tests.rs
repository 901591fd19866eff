//! The verdicts on schemas and values, compared with those of the crate `boon`.

use boon::{Compiler, Draft as Oracle, Schemas};
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// The verdict of the other implementation; `None` if it refuses the schema.
fn oracle(schema: &Value, values: &[Value]) -> Option<Vec<bool>> {
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    compiler.set_default_draft(Oracle::V2020_12);
    compiler
        .add_resource("http://x/s.json", schema.clone())
        .unwrap();
    let index = compiler.compile("http://x/s.json", &mut schemas).ok()?;
    Some(
        values
            .iter()
            .map(|value| schemas.validate(value, index).is_ok())
            .collect(),
    )
}

fn assert_same_verdicts(schema: &Value, values: &[Value]) {
    let own = JsonSchema::new(schema.clone()).map(|schema| {
        let verdicts: Vec<bool> = values
            .iter()
            .map(|value| schema.validate(value).is_ok())
            .collect();
        verdicts
    });
    assert_eq!(
        own.as_ref().ok(),
        oracle(schema, values).as_ref(),
        "{schema}: {own:?}"
    );
}

fn schemas() -> Vec<Value> {
    let seven = "http://json-schema.org/draft-07/schema#";
    let all = json!([
        true, false, {},
        {"type": "integer"}, {"type": ["string", "null"]}, {"type": "number"}, {"type": "object"},
        {"enum": [1, "a", null, {"a": 1.0}]}, {"const": {"a": [1]}}, {"const": 2.0},
        {"maximum": 2}, {"minimum": 2}, {"exclusiveMaximum": 2, "exclusiveMinimum": -1}, {"multipleOf": 0.5},
        {"minLength": 1, "maxLength": 2}, {"pattern": "^a+$"},
        {"items": {"type": "integer"}}, {"prefixItems": [{"type": "integer"}], "items": false},
        {"contains": {"const": 1}}, {"contains": {"type": "integer"}, "minContains": 2, "maxContains": 3},
        {"contains": {"const": 9}, "minContains": 0},
        {"minItems": 1, "maxItems": 2, "uniqueItems": true},
        {"prefixItems": [true], "unevaluatedItems": false}, {"contains": {"const": 1}, "unevaluatedItems": {"type": "string"}},
        {"properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": false},
        {"patternProperties": {"^a": {"type": "integer"}}, "additionalProperties": {"type": "string"}},
        {"propertyNames": {"maxLength": 1}}, {"minProperties": 1, "maxProperties": 1},
        {"dependentRequired": {"a": ["b"]}}, {"dependentSchemas": {"a": {"required": ["b"]}}},
        {"allOf": [{"properties": {"a": true}}], "unevaluatedProperties": false},
        {"anyOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"required": ["b"], "properties": {"b": true}}],
         "unevaluatedProperties": false},
        {"oneOf": [{"type": "integer"}, {"minimum": 2}]}, {"not": {"type": "object"}},
        {"if": {"type": "integer"}, "then": {"minimum": 1}, "else": {"type": "string"}},
        {"$ref": "#/$defs/a%20b", "$defs": {"a b": {"type": "integer"}}, "minimum": 1},
        {"$ref": "#name", "$defs": {"x": {"$anchor": "name", "type": "string"}}},
        {"properties": {"a": {"$ref": "#"}}, "additionalProperties": false},
        {"$dynamicRef": "#node", "$defs": {"n": {"$dynamicAnchor": "node", "type": ["object", "array"]}}},
        {"$schema": seven, "items": [{"type": "integer"}], "additionalItems": {"type": "string"}},
        {"$schema": seven, "$ref": "#/definitions/i", "minimum": 5, "definitions": {"i": {"type": "integer"}}},
        {"$schema": seven, "dependencies": {"a": ["b"], "b": {"minProperties": 2}}},
        {"$schema": seven, "contains": {"const": 1}, "minContains": 2},
        {"$schema": seven, "properties": {"a": true}, "unevaluatedProperties": false},
        // Not sound.
        {"type": "strng"}, {"type": []}, {"required": "a"}, {"properties": []}, {"properties": {"a": 1}}, {"allOf": []},
        {"minLength": -1}, {"maximum": "2"}, {"multipleOf": 0}, {"pattern": "("}, {"$ref": "#/$defs/none"}, {"enum": 1},
        {"items": [{}]}, {"anyOf": {}}, {"uniqueItems": 1}, {"if": 7}, 7, "text",
    ]);
    all.as_array().unwrap().clone()
}

#[test]
fn verdicts_are_those_of_another_implementation() {
    let values = json!([
        null, true, 0, 1, 1.0, 1.5, 2, 2.25, -1, 5, "", "a", "aa", "aaa", "é", "ab", [], [1], [1, 1], [1, 1.0], [1, "a"],
        ["a", 1], [1, 2, 3], [1, 2, 3, 4], ["a"], [null], {}, {"a": 1}, {"a": 1.0}, {"a": "x"}, {"a": [1]}, {"b": 1},
        {"a": 1, "b": 2}, {"a": {"a": {}}}, {"a": {"b": 1}}, {"ab": 1}, {"c": "x"}, {"a": 1, "c": 3},
    ]);
    for schema in schemas() {
        assert_same_verdicts(&schema, values.as_array().unwrap());
    }
}

#[test]
fn the_first_violation_is_named_with_its_path() {
    let schema = json!({
        "type": "object",
        "properties": {"people": {"type": "array", "items": {"$ref": "#/$defs/person"}}},
        "$defs": {"person": {"properties": {"a/b": {"type": "integer"}}, "required": ["a/b"]}},
    });
    let schema = JsonSchema::new(schema).unwrap();
    let violation = |value: Value| schema.validate(&value).unwrap_err();
    let wrong = violation(json!({"people": [{"a/b": 1}, {"a/b": "x"}]}));
    assert_eq!(wrong.instance, "/people/1/a~1b");
    assert_eq!(
        wrong.keyword,
        "/properties/people/items/$ref/properties/a~1b/type"
    );
    assert_eq!(wrong.message, "\"x\" is not of type integer");
    let missing = violation(json!({"people": [{}]}));
    assert_eq!(
        (missing.instance.as_str(), missing.message.as_str()),
        ("/people/0", "`a/b` is missing")
    );
}

#[test]
fn schemas_that_cannot_be_checked_are_refused() {
    for (schema, why) in [
        (
            json!({"$schema": "http://json-schema.org/draft-04/schema#"}),
            "draft-04",
        ),
        (
            json!({"$ref": "https://example.com/other.json"}),
            "no schema of the file",
        ),
        (json!({"pattern": "(?=a)"}), "/pattern"),
        (
            json!({"properties": {"a": {"type": "int"}}}),
            "/properties/a/type",
        ),
    ] {
        let error = JsonSchema::new(schema).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    // It refers to itself without end.
    let endless = JsonSchema::new(json!({"$ref": "#"})).unwrap();
    assert!(endless.validate(&json!(1)).is_err());
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..6i64).prop_map(Value::from),
        (-4..8i8).prop_map(|n| Value::from(f64::from(n) / 2.0)),
        "[ab]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[abc]{1,2}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn verdicts_agree_on_any_value(values in prop::collection::vec(value(), 1..20), which in 0..47usize) {
        assert_same_verdicts(&schemas()[which], &values);
    }
}
