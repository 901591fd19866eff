//! The keywords for types, numbers and texts, and for the size of a value.

use serde_json::{Map, Value};

use super::{At, Outcome};
use crate::expect::same::is_same;
use crate::expect::schema::JsonSchema;

/// Characters of a value in a message.
const SHOWN_CHARS: usize = 60;

impl At<'_> {
    pub(super) fn any_type(&self, fields: &Map<String, Value>) -> Outcome {
        if let Some(wanted) = fields.get("type") {
            let names: Vec<&str> = match wanted {
                Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
                name => name.as_str().into_iter().collect(),
            };
            if !names.iter().any(|name| is_of_type(self.value, name)) {
                let names = names.join(" or ");
                return Err(self.violation(
                    "type",
                    format!("{} is not of type {names}", shown(self.value)),
                ));
            }
        }
        if let Some(Value::Array(values)) = fields.get("enum")
            && !values.iter().any(|value| is_same(value, self.value))
        {
            let message = format!("{} is not one of the values of the enum", shown(self.value));
            return Err(self.violation("enum", message));
        }
        if let Some(value) = fields.get("const")
            && !is_same(value, self.value)
        {
            return Err(self.violation(
                "const",
                format!("{} is not {}", shown(self.value), shown(value)),
            ));
        }
        Ok(())
    }

    pub(super) fn number(&self, fields: &Map<String, Value>) -> Outcome {
        let number = self.value.as_f64().unwrap_or_default();
        let bound = |key: &str| fields.get(key).and_then(Value::as_f64);
        let fail = |key: &str, words: &str, bound: f64| {
            Err(self.violation(key, format!("{} is {words} {bound}", shown(self.value))))
        };
        if let Some(most) = bound("maximum").filter(|most| number > *most) {
            return fail("maximum", "greater than", most);
        }
        if let Some(least) = bound("minimum").filter(|least| number < *least) {
            return fail("minimum", "less than", least);
        }
        if let Some(most) = bound("exclusiveMaximum").filter(|most| number >= *most) {
            return fail("exclusiveMaximum", "not less than", most);
        }
        if let Some(least) = bound("exclusiveMinimum").filter(|least| number <= *least) {
            return fail("exclusiveMinimum", "not greater than", least);
        }
        if let Some(step) = bound("multipleOf") {
            let times = number / step;
            // Of decimal fractions the quotient is rarely whole.
            let is_multiple = (times - times.round()).abs() <= 1e-9 * times.abs().max(1.0);
            if !is_multiple {
                return fail("multipleOf", "not a multiple of", step);
            }
        }
        Ok(())
    }

    pub(super) fn text(&self, of: &JsonSchema, fields: &Map<String, Value>, text: &str) -> Outcome {
        self.size(fields, "Length", text.chars().count(), "characters")?;
        if let Some(Value::String(pattern)) = fields.get("pattern")
            && of
                .patterns
                .get(pattern)
                .is_some_and(|regex| !regex.is_match(text))
        {
            let message = format!("{} does not match {pattern}", shown(self.value));
            return Err(self.violation("pattern", message));
        }
        Ok(())
    }

    /// Checks `minX` and `maxX`.
    pub(super) fn size(
        &self,
        fields: &Map<String, Value>,
        what: &str,
        size: usize,
        things: &str,
    ) -> Outcome {
        #[expect(clippy::cast_precision_loss, reason = "no answer has so many parts")]
        let count = size as f64;
        for (side, words) in [("min", "fewer"), ("max", "more")] {
            let key = format!("{side}{what}");
            let Some(bound) = fields.get(&key).and_then(Value::as_f64) else {
                continue;
            };
            if (side == "min" && count < bound) || (side == "max" && count > bound) {
                let message = format!("{size} {things}, {words} than {bound}");
                return Err(self.violation(&key, message));
            }
        }
        Ok(())
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        // 1.0 is an integer too.
        "integer" => {
            value.is_i64()
                || value.is_u64()
                || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

/// A value, cut short.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
