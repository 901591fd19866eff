//! Reading the JSON that a query parameter holds, part by part, with the real server's words about what does not fit.

use serde_json::{Value, json};

use crate::sandbox::time::{self, Millis};

/// The body of a 400 answer about what a parameter holds.
pub fn refused(issue: &Value) -> Value {
    json!({"message": "Invalid request data", "error": [issue]})
}

/// The body of a 400 answer about a query that is well formed but asks for what there is not.
pub fn invalid(message: impl Into<String>) -> Value {
    json!({"message": message.into(), "error": "InvalidRequestError"})
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

/// A part of a query, and where it stands there.
#[derive(Debug, Clone)]
pub struct Part<'a> {
    value: &'a Value,
    path: Vec<Value>,
}

impl<'a> Part<'a> {
    /// What the parameter `name` holds.
    pub fn of_parameter(name: &str, value: &'a Value) -> Self {
        Self {
            value,
            path: vec![name.into()],
        }
    }

    pub fn field(&self, name: &str) -> Self {
        self.at(&self.value[name], name.into())
    }

    /// The field, unless it is null or not there.
    pub fn optional(&self, name: &str) -> Option<Self> {
        Some(self.field(name)).filter(|field| !field.value.is_null())
    }

    pub fn items(&self) -> Result<Vec<Self>, Value> {
        let items = self
            .value
            .as_array()
            .ok_or_else(|| self.expected("array"))?;
        let parts = items.iter().enumerate();
        Ok(parts.map(|(n, item)| self.at(item, n.into())).collect())
    }

    /// The items of a field that need not be there.
    pub fn items_of(&self, name: &str) -> Result<Vec<Self>, Value> {
        self.optional(name)
            .map_or(Ok(Vec::new()), |field| field.items())
    }

    pub fn object(&self) -> Result<&Self, Value> {
        match self.value {
            Value::Object(_) => Ok(self),
            _ => Err(self.expected("object")),
        }
    }

    pub fn text(&self) -> Result<&'a str, Value> {
        self.value.as_str().ok_or_else(|| self.expected("string"))
    }

    pub fn texts(&self) -> Result<Vec<&'a str>, Value> {
        self.items()?.iter().map(Self::text).collect()
    }

    pub fn number(&self) -> Result<f64, Value> {
        self.value.as_f64().ok_or_else(|| self.expected("number"))
    }

    pub fn flag(&self) -> Result<bool, Value> {
        self.value.as_bool().ok_or_else(|| self.expected("boolean"))
    }

    /// A whole number from 1 to `most`.
    pub fn count(&self, most: usize) -> Result<usize, Value> {
        let number = self.number()?;
        let whole = self.value.as_i64().ok_or_else(|| self.expected("int"))?;
        let count = usize::try_from(whole).unwrap_or_default();
        if (1..=most).contains(&count) {
            return Ok(count);
        }
        let (code, bound) = if number > 0.0 {
            (
                "too_big",
                format!("Too big: expected number to be <={most}"),
            )
        } else {
            (
                "too_small",
                "Too small: expected number to be >0".to_owned(),
            )
        };
        Err(self.refused(json!({"origin": "number", "code": code, "message": bound})))
    }

    /// The text, which must be one of `options`.
    pub fn one_of(&self, options: &[&str]) -> Result<&'a str, Value> {
        let text = self.value.as_str();
        text.filter(|text| options.contains(text)).ok_or_else(|| {
            let named: Vec<String> = options
                .iter()
                .map(|option| format!("\"{option}\""))
                .collect();
            let message = format!("Invalid option: expected one of {}", named.join("|"));
            self.refused(json!({"code": "invalid_value", "values": options, "message": message}))
        })
    }

    pub fn time(&self) -> Result<Millis, Value> {
        time::parse(self.text()?).ok_or_else(|| {
            self.refused(json!({
                "origin": "string", "code": "invalid_format", "format": "datetime", "message": "Invalid ISO datetime",
            }))
        })
    }

    /// That this part does not hold together.
    pub fn contradicts(&self, message: &str) -> Value {
        self.refused(json!({"code": "custom", "message": message}))
    }

    /// That a Langfuse would know an answer to this: to pass over it would be to answer another question.
    pub fn unsupported(&self) -> Value {
        self.contradicts("Not supported by the sandbox")
    }

    fn expected(&self, kind: &str) -> Value {
        let received = match self.value {
            Value::Null => "undefined",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let message = format!("Invalid input: expected {kind}, received {received}");
        self.refused(json!({"expected": kind, "code": "invalid_type", "message": message}))
    }

    fn refused(&self, mut issue: Value) -> Value {
        issue["path"] = self.path.iter().cloned().collect();
        refused(&issue)
    }

    fn at(&self, value: &'a Value, step: Value) -> Self {
        let mut path = self.path.clone();
        path.push(step);
        Self { value, path }
    }
}
