//! A value against a schema, keyword by keyword.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Draft, JsonSchema, Violation, segment};
use crate::expect::same::is_same;

/// Deeper values and references are refused: a schema may refer to itself.
const DEEPEST: usize = 200;
/// Characters of a value in a message.
const SHOWN_CHARS: usize = 60;

/// What of a value the keywords of a schema have looked at, for `unevaluatedProperties` and `unevaluatedItems`.
#[derive(Default)]
struct Evaluated {
    properties: BTreeSet<String>,
    items: BTreeSet<usize>,
}

impl Evaluated {
    fn add(&mut self, other: Self) {
        self.properties.extend(other.properties);
        self.items.extend(other.items);
    }
}

/// A schema within the document, a value within the answer, and both places.
#[derive(Clone, Copy)]
struct At<'a> {
    schema: &'a Value,
    keyword: &'a str,
    value: &'a Value,
    instance: &'a str,
    depth: usize,
}

pub(super) fn validate(schema: &JsonSchema, value: &Value) -> Result<(), Violation> {
    let at = At {
        schema: &schema.root,
        keyword: "",
        value,
        instance: "",
        depth: 0,
    };
    at.evaluate(schema).map(drop)
}

type Outcome = Result<(), Violation>;

impl At<'_> {
    fn violation(&self, key: &str, message: String) -> Violation {
        Violation {
            instance: self.instance.to_owned(),
            keyword: format!("{}/{key}", self.keyword),
            message,
        }
    }

    /// The value with another schema, at `keyword`.
    fn with<'b>(&'b self, schema: &'b Value, keyword: &'b str) -> At<'b> {
        At {
            schema,
            keyword,
            depth: self.depth + 1,
            ..*self
        }
    }

    /// Checks the value against a schema of the keyword `key`.
    fn apply(&self, of: &JsonSchema, key: &str, schema: &Value) -> Result<Evaluated, Violation> {
        let keyword = format!("{}/{key}", self.keyword);
        self.with(schema, &keyword).evaluate(of)
    }

    /// Checks a part of the value against a schema of the keyword `key`.
    fn part(
        &self,
        of: &JsonSchema,
        key: &str,
        schema: &Value,
        name: &str,
        part: &Value,
    ) -> Outcome {
        let keyword = format!("{}/{key}", self.keyword);
        let instance = format!("{}/{}", self.instance, segment(name));
        let at = At {
            schema,
            keyword: &keyword,
            value: part,
            instance: &instance,
            depth: self.depth + 1,
        };
        at.evaluate(of).map(drop)
    }

    fn evaluate(&self, of: &JsonSchema) -> Result<Evaluated, Violation> {
        let fields = match self.schema {
            Value::Bool(false) => {
                let message = "nothing is allowed here".to_owned();
                return Err(Violation {
                    keyword: self.keyword.to_owned(),
                    ..self.violation("", message)
                });
            }
            Value::Object(fields) => fields,
            _ => return Ok(Evaluated::default()),
        };
        if self.depth > DEEPEST {
            return Err(self.violation("$ref", format!("nested deeper than {DEEPEST} levels")));
        }
        let mut seen = Evaluated::default();
        for key in ["$ref", "$dynamicRef"] {
            if let Some(Value::String(reference)) = fields.get(key) {
                let target = of.target(reference);
                if let Some(target) = target.and_then(|pointer| of.root.pointer(&pointer)) {
                    seen.add(self.apply(of, key, target)?);
                }
                if of.draft == Draft::Seven {
                    // What stands beside a reference is ignored there.
                    return Ok(seen);
                }
            }
        }
        self.any_type(fields)?;
        match self.value {
            Value::Number(_) => self.number(fields)?,
            Value::String(text) => self.text(of, fields, text)?,
            Value::Array(items) => self.array(of, fields, items, &mut seen)?,
            Value::Object(object) => self.object(of, fields, object, &mut seen)?,
            Value::Null | Value::Bool(_) => {}
        }
        self.combined(of, fields, &mut seen)?;
        self.unevaluated(of, fields, &mut seen)?;
        Ok(seen)
    }

    fn any_type(&self, fields: &Map<String, Value>) -> Outcome {
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

    fn number(&self, fields: &Map<String, Value>) -> Outcome {
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

    fn text(&self, of: &JsonSchema, fields: &Map<String, Value>, text: &str) -> Outcome {
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
    fn size(&self, fields: &Map<String, Value>, what: &str, size: usize, things: &str) -> Outcome {
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

    fn array(
        &self,
        of: &JsonSchema,
        fields: &Map<String, Value>,
        items: &[Value],
        seen: &mut Evaluated,
    ) -> Outcome {
        self.size(fields, "Items", items.len(), "items")?;
        if fields.get("uniqueItems") == Some(&Value::Bool(true)) {
            let is_repeated = |(at, item): (usize, &Value)| {
                items[..at].iter().any(|earlier| is_same(earlier, item))
            };
            if items.iter().enumerate().any(is_repeated) {
                return Err(self.violation("uniqueItems", "two items are equal".to_owned()));
            }
        }
        let (prefix_key, rest_key) = match of.draft {
            Draft::Seven if fields.get("items").is_some_and(Value::is_array) => {
                ("items", "additionalItems")
            }
            Draft::Seven => ("", "items"),
            Draft::Twenty => ("prefixItems", "items"),
        };
        let prefix = fields.get(prefix_key).and_then(Value::as_array);
        let prefix = prefix.map(Vec::as_slice).unwrap_or_default();
        for (at, (item, schema)) in items.iter().zip(prefix).enumerate() {
            self.part(
                of,
                &format!("{prefix_key}/{at}"),
                schema,
                &at.to_string(),
                item,
            )?;
            seen.items.insert(at);
        }
        if let Some(schema) = fields.get(rest_key) {
            for (at, item) in items.iter().enumerate().skip(prefix.len()) {
                self.part(of, rest_key, schema, &at.to_string(), item)?;
                seen.items.insert(at);
            }
        }
        self.contains(of, fields, items, seen)
    }

    fn contains(
        &self,
        of: &JsonSchema,
        fields: &Map<String, Value>,
        items: &[Value],
        seen: &mut Evaluated,
    ) -> Outcome {
        let Some(schema) = fields.get("contains") else {
            return Ok(());
        };
        let fits = |(at, item): (usize, &Value)| {
            let is_fit = self
                .part(of, "contains", schema, &at.to_string(), item)
                .is_ok();
            is_fit.then_some(at)
        };
        let found: Vec<usize> = items.iter().enumerate().filter_map(fits).collect();
        #[expect(clippy::cast_precision_loss, reason = "no answer has so many items")]
        let count = found.len() as f64;
        let is_seven = of.draft == Draft::Seven;
        let bound = |key: &str| {
            fields
                .get(key)
                .and_then(Value::as_f64)
                .filter(|_| !is_seven)
        };
        let least = bound("minContains").unwrap_or(1.0);
        if count < least {
            let message = format!("{count} items fit, fewer than {least}");
            return Err(self.violation("contains", message));
        }
        if let Some(most) = bound("maxContains").filter(|most| count > *most) {
            let message = format!("{count} items fit, more than {most}");
            return Err(self.violation("maxContains", message));
        }
        if !is_seven {
            seen.items.extend(found);
        }
        Ok(())
    }

    fn object(
        &self,
        of: &JsonSchema,
        fields: &Map<String, Value>,
        object: &Map<String, Value>,
        seen: &mut Evaluated,
    ) -> Outcome {
        self.size(fields, "Properties", object.len(), "properties")?;
        self.required(fields.get("required"), "required", object)?;
        self.dependencies(of, fields, object, seen)?;
        let named = |key: &str| fields.get(key).and_then(Value::as_object);
        let (properties, patterns) = (named("properties"), named("patternProperties"));
        for (name, value) in object {
            if let Some(schema) = fields.get("propertyNames") {
                let as_value = Value::from(name.as_str());
                self.part(of, "propertyNames", schema, name, &as_value)?;
            }
            let mut is_known = false;
            if let Some(schema) = properties.and_then(|properties| properties.get(name)) {
                is_known = true;
                self.part(
                    of,
                    &format!("properties/{}", segment(name)),
                    schema,
                    name,
                    value,
                )?;
            }
            for (pattern, schema) in patterns.into_iter().flatten() {
                if of
                    .patterns
                    .get(pattern)
                    .is_some_and(|regex| regex.is_match(name))
                {
                    is_known = true;
                    let key = format!("patternProperties/{}", segment(pattern));
                    self.part(of, &key, schema, name, value)?;
                }
            }
            if let Some(schema) = fields.get("additionalProperties").filter(|_| !is_known) {
                is_known = true;
                self.part(of, "additionalProperties", schema, name, value)?;
            }
            if is_known {
                seen.properties.insert(name.clone());
            }
        }
        Ok(())
    }

    fn dependencies(
        &self,
        of: &JsonSchema,
        fields: &Map<String, Value>,
        object: &Map<String, Value>,
        seen: &mut Evaluated,
    ) -> Outcome {
        let named = |key: &str| fields.get(key).and_then(Value::as_object);
        for (name, names) in named("dependentRequired").into_iter().flatten() {
            if object.contains_key(name) {
                self.required(Some(names), "dependentRequired", object)?;
            }
        }
        let dependencies = named("dependencies").filter(|_| of.draft == Draft::Seven);
        for (key, dependencies) in [
            ("dependencies", dependencies),
            ("dependentSchemas", named("dependentSchemas")),
        ] {
            for (name, schema) in dependencies.into_iter().flatten() {
                if !object.contains_key(name) {
                    continue;
                }
                if schema.is_array() {
                    self.required(Some(schema), key, object)?;
                } else {
                    seen.add(self.apply(of, &format!("{key}/{}", segment(name)), schema)?);
                }
            }
        }
        Ok(())
    }

    fn required(&self, names: Option<&Value>, key: &str, object: &Map<String, Value>) -> Outcome {
        let names = names.and_then(Value::as_array).into_iter().flatten();
        let mut names = names.filter_map(Value::as_str);
        match names.find(|name| !object.contains_key(*name)) {
            Some(missing) => Err(self.violation(key, format!("`{missing}` is missing"))),
            None => Ok(()),
        }
    }

    fn combined(
        &self,
        of: &JsonSchema,
        fields: &Map<String, Value>,
        seen: &mut Evaluated,
    ) -> Outcome {
        let listed = |key: &str| fields.get(key).and_then(Value::as_array);
        let each = |key: &'static str| {
            let schemas = listed(key).into_iter().flatten().enumerate();
            schemas.map(move |(at, schema)| self.apply(of, &format!("{key}/{at}"), schema))
        };
        for outcome in each("allOf") {
            seen.add(outcome?);
        }
        if listed("anyOf").is_some() {
            let fitting: Vec<Evaluated> = each("anyOf").filter_map(Result::ok).collect();
            if fitting.is_empty() {
                return Err(self.violation("anyOf", "fits none of the schemas".to_owned()));
            }
            for fit in fitting {
                seen.add(fit);
            }
        }
        if listed("oneOf").is_some() {
            let mut fitting: Vec<Evaluated> = each("oneOf").filter_map(Result::ok).collect();
            match (fitting.pop(), fitting.len()) {
                (Some(fit), 0) => seen.add(fit),
                (None, _) => {
                    return Err(self.violation("oneOf", "fits none of the schemas".to_owned()));
                }
                (_, others) => {
                    let message = format!("fits {} of the schemas, not one", others + 1);
                    return Err(self.violation("oneOf", message));
                }
            }
        }
        if let Some(schema) = fields.get("not")
            && self.apply(of, "not", schema).is_ok()
        {
            return Err(self.violation("not", "fits the schema that it must not fit".to_owned()));
        }
        if let Some(schema) = fields.get("if") {
            let then = match self.apply(of, "if", schema) {
                Ok(fit) => {
                    seen.add(fit);
                    "then"
                }
                Err(_) => "else",
            };
            if let Some(schema) = fields.get(then) {
                seen.add(self.apply(of, then, schema)?);
            }
        }
        Ok(())
    }

    fn unevaluated(
        &self,
        of: &JsonSchema,
        fields: &Map<String, Value>,
        seen: &mut Evaluated,
    ) -> Outcome {
        if of.draft == Draft::Seven {
            return Ok(());
        }
        match self.value {
            Value::Object(object) => {
                let Some(schema) = fields.get("unevaluatedProperties") else {
                    return Ok(());
                };
                for (name, value) in object {
                    if seen.properties.insert(name.clone()) {
                        self.part(of, "unevaluatedProperties", schema, name, value)?;
                    }
                }
            }
            Value::Array(items) => {
                let Some(schema) = fields.get("unevaluatedItems") else {
                    return Ok(());
                };
                for (at, item) in items.iter().enumerate() {
                    if seen.items.insert(at) {
                        self.part(of, "unevaluatedItems", schema, &at.to_string(), item)?;
                    }
                }
            }
            _ => {}
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
