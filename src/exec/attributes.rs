//! Reads and changes the attributes of OTLP messages. Knows no key.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};

/// The value of an attribute; `None` if it is absent or empty.
pub fn get<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref()?.value.as_ref()
}

/// The text of an attribute; `None` if it is absent, empty or not a text.
pub fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    match get(attributes, key)? {
        Value::StringValue(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// The number of an attribute, whichever type it has; `None` if it is not a number.
pub fn number(attributes: &[KeyValue], key: &str) -> Option<f64> {
    match get(attributes, key)? {
        #[expect(
            clippy::cast_precision_loss,
            reason = "token counts are far below 2^52"
        )]
        Value::IntValue(number) => Some(*number as f64),
        Value::DoubleValue(number) => Some(*number),
        Value::StringValue(text) => text.parse().ok(),
        _ => None,
    }
}

/// Whether an attribute is present and not an empty text.
pub fn has(attributes: &[KeyValue], key: &str) -> bool {
    get(attributes, key)
        .is_some_and(|value| !matches!(value, Value::StringValue(text) if text.is_empty()))
}

/// Sets an attribute: in place if it exists, else at the end.
pub fn set(attributes: &mut Vec<KeyValue>, key: &str, value: Value) {
    let value = Some(AnyValue { value: Some(value) });
    match attributes.iter_mut().find(|attribute| attribute.key == key) {
        Some(attribute) => attribute.value = value,
        None => attributes.push(KeyValue {
            key: key.to_owned(),
            value,
            ..KeyValue::default()
        }),
    }
}

/// Sets an attribute to a text.
pub fn set_text(attributes: &mut Vec<KeyValue>, key: &str, text: impl Into<String>) {
    set(attributes, key, Value::StringValue(text.into()));
}

/// Sets an attribute to a list of texts.
pub fn set_texts(attributes: &mut Vec<KeyValue>, key: &str, texts: &[String]) {
    let values = texts.iter().map(|text| AnyValue {
        value: Some(Value::StringValue(text.clone())),
    });
    let values = values.collect();
    set(attributes, key, Value::ArrayValue(ArrayValue { values }));
}

/// Removes an attribute.
pub fn remove(attributes: &mut Vec<KeyValue>, key: &str) {
    attributes.retain(|attribute| attribute.key != key);
}

/// The texts of a list.
pub fn texts(list: &ArrayValue) -> impl Iterator<Item = &str> {
    list.values.iter().filter_map(|item| match &item.value {
        Some(Value::StringValue(text)) => Some(text.as_str()),
        _ => None,
    })
}

/// Visits every text of the attributes, with the key of its attribute, however deeply it is nested.
pub fn for_each_text(attributes: &mut [KeyValue], visit: &mut impl FnMut(&str, &mut String)) {
    for attribute in attributes {
        if let Some(value) = &mut attribute.value {
            visit_value(&attribute.key, value, visit);
        }
    }
}

fn visit_value(key: &str, value: &mut AnyValue, visit: &mut impl FnMut(&str, &mut String)) {
    match &mut value.value {
        Some(Value::StringValue(text)) => visit(key, text),
        Some(Value::ArrayValue(list)) => {
            for item in &mut list.values {
                visit_value(key, item, visit);
            }
        }
        Some(Value::KvlistValue(list)) => {
            for item in &mut list.values {
                if let Some(value) = &mut item.value {
                    visit_value(key, value, visit);
                }
            }
        }
        _ => {}
    }
}
