//! A list of span attributes without absent and empty ones.

use opentelemetry::{Array, KeyValue, StringValue, Value};

/// Collects attributes and drops absent and empty ones. Langfuse shows every attribute, and makes a bogus tag of an empty
/// list.
#[derive(Debug, Default)]
pub struct AttributeList(pub Vec<KeyValue>);

impl AttributeList {
    pub fn text(&mut self, key: &'static str, value: Option<impl Into<StringValue>>) {
        let value = value.map(Into::into);
        if let Some(value) = value.filter(|value| !value.as_str().is_empty()) {
            self.0.push(KeyValue::new(key, value));
        }
    }

    pub fn texts(&mut self, key: &'static str, values: &[String]) {
        if !values.is_empty() {
            let values = values.iter().cloned().map(StringValue::from).collect();
            self.0
                .push(KeyValue::new(key, Value::Array(Array::String(values))));
        }
    }

    pub fn flag(&mut self, key: &'static str, value: bool) {
        self.0.extend(value.then(|| KeyValue::new(key, true)));
    }

    pub fn int(&mut self, key: &'static str, value: Option<i64>) {
        self.0.extend(value.map(|value| KeyValue::new(key, value)));
    }

    pub fn float(&mut self, key: &'static str, value: Option<f64>) {
        self.0.extend(value.map(|value| KeyValue::new(key, value)));
    }

    /// A token count that is not zero. No real count exceeds the range of an attribute.
    pub fn tokens(&mut self, key: &'static str, count: u64) {
        self.int(key, i64::try_from(count).ok().filter(|count| *count > 0));
    }
}
