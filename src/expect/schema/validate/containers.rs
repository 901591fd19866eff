//! The keywords for arrays and objects.

use serde_json::{Map, Value};

use super::{At, Evaluated, Outcome};
use crate::expect::same::is_same;
use crate::expect::schema::{Draft, JsonSchema, segment};

impl At<'_> {
    pub(super) fn array(
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

    pub(super) fn object(
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
}
