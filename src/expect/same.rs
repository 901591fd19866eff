//! Whether two JSON values are the same: numbers by their value, objects whatever the order of their fields.

use serde_json::Value;

pub fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || one.as_f64().is_some_and(|one| other.as_f64() == Some(one))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(other)
                    .all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let has = |(name, value): (&String, &Value)| {
                other.get(name).is_some_and(|found| is_same(value, found))
            };
            one.len() == other.len() && one.iter().all(has)
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_compared_not_their_texts() {
        assert!(is_same(
            &json!({"a": 1, "b": [2.0]}),
            &json!({"b": [2], "a": 1.0})
        ));
        assert!(!is_same(&json!({"a": 1}), &json!({"a": 1, "b": null})));
        assert!(!is_same(&json!(1), &json!("1")));
        assert!(!is_same(&json!([1, 2]), &json!([2, 1])));
    }
}
