//! A value against a schema, keyword by keyword.

mod containers;
mod scalars;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Draft, JsonSchema, Violation, segment};

/// Deeper values and references are refused: a schema may refer to itself.
const DEEPEST: usize = 200;
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
