//! A JSON object whose fields are kept as they were written.
//!
//! A replayed body must reach the endpoint unchanged: order, unknown fields and the text of numbers. So each field
//! is kept as its own JSON text, and is parsed only to be read. What the fields mean is up to a dialect.

use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// The fields of a body in order, each as the JSON text it was given as.
#[derive(Clone, Debug, Default)]
pub struct BodyFields {
    fields: Vec<(String, Box<RawValue>)>,
}

impl BodyFields {
    /// The field `name` as a `T`; `None` if it is absent or of another type. The last of repeated fields counts, as in
    /// JSON parsers.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        self.raw(name)
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// The JSON text of the field `name`.
    pub fn raw(&self, name: &str) -> Option<&RawValue> {
        let found = self.fields.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| &**value)
    }

    /// Sets a field: in place if it exists, else at the end.
    pub fn set<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        // Strings, numbers and JSON values always serialise; only a map with other keys would not.
        if let Ok(raw) = to_raw_value(value) {
            self.set_raw(name, raw);
        }
    }

    /// Sets a field to a JSON text: in place if it exists, else at the end.
    pub fn set_raw(&mut self, name: &str, value: Box<RawValue>) {
        match self.fields.iter_mut().rev().find(|(key, _)| key == name) {
            Some((_, place)) => *place = value,
            None => self.fields.push((name.to_owned(), value)),
        }
    }

    pub fn remove(&mut self, name: &str) {
        self.fields.retain(|(key, _)| key != name);
    }

    /// The fields in order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.fields
            .iter()
            .map(|(key, value)| (key.as_str(), &**value))
    }

    /// The body as it is sent.
    pub fn to_json(&self) -> String {
        let length = |(key, value): (&str, &RawValue)| key.len() + value.get().len() + 4;
        let length: usize = self.fields().map(length).sum();
        let mut json = Vec::with_capacity(length + 2);
        // Raw JSON always serialises, to text.
        let _ = serde_json::to_writer(&mut json, self);
        String::from_utf8(json).unwrap_or_default()
    }
}

impl FromIterator<(String, Box<RawValue>)> for BodyFields {
    fn from_iter<I: IntoIterator<Item = (String, Box<RawValue>)>>(fields: I) -> Self {
        Self {
            fields: fields.into_iter().collect(),
        }
    }
}

impl<'de> Deserialize<'de> for BodyFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Vec<(String, Box<RawValue>)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(fields)
            }
        }

        deserializer
            .deserialize_map(Fields)
            .map(|fields| Self { fields })
    }
}

impl Serialize for BodyFields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.fields.iter().map(|(key, value)| (key, value)))
    }
}
