//! The body of a chat-completions request, kept as it was written.
//!
//! A replayed body must reach the endpoint unchanged: order, unknown fields and the text of numbers. So each field
//! is kept as its own JSON text, and is parsed only to be read.

use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::json::lenient;

/// A chat-completions body: its fields in order, each as the JSON text it was given as.
#[derive(Clone, Debug, Default)]
pub struct Request {
    fields: Vec<(String, Box<RawValue>)>,
}

/// Fields that are not model parameters: they have an attribute of their own in a trace, or only control how the
/// response is sent.
const NOT_PARAMETERS: [&str; 6] = [
    "model",
    "messages",
    "tools",
    "functions",
    "stream",
    "stream_options",
];

impl Request {
    /// A prompt, after an optional system message.
    pub fn chat(model: &str, system: Option<&str>, prompt: &str) -> Self {
        let mut messages = Vec::with_capacity(2);
        if let Some(system) = system {
            messages.push(json!({"role": "system", "content": system}));
        }
        messages.push(json!({"role": "user", "content": prompt}));
        let mut request = Self::default();
        request.set("model", &model);
        request.set("messages", &messages);
        request
    }

    /// Checks that the body has a `messages` array.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn validate(&self) -> Result<(), String> {
        let Some(messages) = self.raw("messages") else {
            return Err("not a chat-completions body: `messages` is missing".to_owned());
        };
        // It is JSON already; only what is no array has to be parsed to be named.
        if messages.get().starts_with('[') {
            return Ok(());
        }
        match lenient::parse(messages.get()) {
            Ok(Value::Array(_)) => Ok(()),
            Ok(other) => Err(format!("`messages` is {}, not an array", kind_of(&other))),
            Err(error) => Err(format!("`messages` is not valid JSON: {error}")),
        }
    }

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

    /// Replaces the system message with `text`, or inserts it before all messages.
    pub fn set_system(&mut self, text: &str) {
        let mut messages: Vec<Box<RawValue>> = self.get("messages").unwrap_or_default();
        let has_system = messages.first().is_some_and(|message| is_system(message));
        if let Ok(system) = to_raw_value(&json!({"role": "system", "content": text})) {
            if has_system {
                messages[0] = system;
            } else {
                messages.insert(0, system);
            }
        }
        self.set("messages", &messages);
    }

    /// Whether one of the messages is a system message.
    pub fn has_system(&self) -> bool {
        let messages: Vec<Box<RawValue>> = self.get("messages").unwrap_or_default();
        messages.iter().any(|message| is_system(message))
    }

    /// Puts earlier messages before all others, as they were written.
    pub fn precede(&mut self, earlier: &[Box<RawValue>]) {
        if earlier.is_empty() {
            return;
        }
        let own: Vec<Box<RawValue>> = self.get("messages").unwrap_or_default();
        let messages: Vec<&RawValue> = earlier
            .iter()
            .chain(&own)
            .map(|message| &**message)
            .collect();
        self.set("messages", &messages);
    }

    /// Whether there is a user message to attach parts to.
    pub fn has_user_message(&self) -> bool {
        self.messages()
            .iter()
            .any(|message| message["role"] == "user")
    }

    /// Appends content parts to the last user message. The other messages keep their text.
    pub fn attach(&mut self, parts: &[Box<RawValue>]) {
        if parts.is_empty() {
            return;
        }
        let mut messages: Vec<Box<RawValue>> = self.get("messages").unwrap_or_default();
        // A message is an object with fields too, so the same type reads it.
        let fields = |message: &RawValue| serde_json::from_str::<Self>(message.get()).ok();
        let last = messages
            .iter()
            .enumerate()
            .rev()
            .find_map(|(index, message)| {
                let message = fields(message)?;
                (message.get::<String>("role")? == "user").then_some((index, message))
            });
        let Some((index, mut message)) = last else {
            return;
        };
        let text = message
            .get::<String>("content")
            .filter(|text| !text.is_empty());
        let mut content: Vec<Box<RawValue>> = match text {
            Some(text) => to_raw_value(&json!({"type": "text", "text": text}))
                .into_iter()
                .collect(),
            None => message.get("content").unwrap_or_default(),
        };
        content.extend(parts.iter().cloned());
        message.set("content", &content);
        if let Ok(message) = RawValue::from_string(message.to_json()) {
            messages[index] = message;
        }
        self.set("messages", &messages);
    }

    /// Requests a stream that ends with the usage, or an unstreamed response.
    pub fn set_stream(&mut self, stream: bool) {
        self.set("stream", &stream);
        if !stream {
            self.remove("stream_options");
        } else if self.raw("stream_options").is_none() {
            self.set("stream_options", &json!({"include_usage": true}));
        }
    }

    pub fn model(&self) -> Option<String> {
        self.get("model")
    }

    pub fn is_streamed(&self) -> bool {
        self.get("stream").unwrap_or(false)
    }

    pub fn messages(&self) -> Vec<Value> {
        let messages = self.raw("messages").map(|raw| lenient::parse(raw.get()));
        match messages {
            Some(Ok(Value::Array(messages))) => messages,
            _ => Vec::new(),
        }
    }

    /// The text of the last user message: text parts joined by newlines.
    pub fn last_user_text(&self) -> Option<String> {
        let messages: Vec<&RawValue> = serde_json::from_str(self.raw("messages")?.get()).ok()?;
        let read = |message: &&RawValue| lenient::parse(message.get()).ok();
        let mut latest_first = messages.iter().rev().filter_map(read);
        let last = latest_first.find(|message| message["role"] == "user")?;
        text_of(&last["content"])
    }

    /// The model parameters as the text of a JSON object, followed by `extra` fields. `None` if there are none.
    pub fn parameters(&self, extra: &[(&str, &str)]) -> Option<String> {
        let mut parameters = Self {
            fields: self
                .fields
                .iter()
                .filter(|(key, _)| !NOT_PARAMETERS.contains(&key.as_str()))
                .cloned()
                .collect(),
        };
        for (key, value) in extra {
            parameters.set(key, value);
        }
        (!parameters.fields.is_empty()).then(|| parameters.to_json())
    }

    /// The fields in order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.fields
            .iter()
            .map(|(key, value)| (key.as_str(), &**value))
    }

    /// The body as it is sent.
    pub fn to_json(&self) -> String {
        // Raw JSON always serialises.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Whether the JSON text of a message is that of a system message.
pub fn is_system(message: &RawValue) -> bool {
    let message: Option<Value> = serde_json::from_str(message.get()).ok();
    message.is_some_and(|message| matches!(message["role"].as_str(), Some("system" | "developer")))
}

/// The text of a message's `content`: a string, or the text parts of an array joined by newlines.
pub fn text_of(content: &Value) -> Option<String> {
    match content {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts
                .iter()
                .filter_map(|part| part["text"].as_str())
                .collect();
            (!texts.is_empty()).then(|| texts.join("\n"))
        }
        _ => None,
    }
}

/// The type of a JSON value, for messages.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

impl FromIterator<(String, Box<RawValue>)> for Request {
    fn from_iter<I: IntoIterator<Item = (String, Box<RawValue>)>>(fields: I) -> Self {
        Self {
            fields: fields.into_iter().collect(),
        }
    }
}

impl<'de> Deserialize<'de> for Request {
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

impl Serialize for Request {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.fields.iter().map(|(key, value)| (key, value)))
    }
}

/// Checks the `url` of an OpenAI Batch line.
///
/// # Errors
/// If it names another endpoint than chat completions.
pub fn check_batch_url(url: Option<&Value>) -> Result<(), String> {
    match url {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(url)) if url.ends_with("/chat/completions") => Ok(()),
        Some(url) => Err(format!(
            "the Batch line is for {url}, not for chat completions"
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Request {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_body_keeps_order_unknown_fields_and_numbers() {
        let text = r#"{"z":1.0,"messages":[{"role":"user","content":"é"}],"big":12345678901234567890123,"a":{"x":1e5}}"#;
        assert_eq!(parse(text).to_json(), text);
    }

    #[test]
    fn a_field_is_replaced_in_place_and_added_last() {
        let mut request = parse(r#"{"model":"a","messages":[]}"#);
        request.set("model", "b");
        request.set("seed", &7);
        assert_eq!(request.to_json(), r#"{"model":"b","messages":[],"seed":7}"#);
    }

    #[test]
    fn parameters_exclude_messages_tools_and_stream_options() {
        let request = parse(
            r#"{"model":"m","temperature":0.30,"messages":[],"stream":true,"stream_options":{},"tools":[],"tool_choice":"auto"}"#,
        );
        assert_eq!(
            request.parameters(&[("service_tier", "flex")]).as_deref(),
            Some(r#"{"temperature":0.30,"tool_choice":"auto","service_tier":"flex"}"#)
        );
        assert_eq!(
            parse(r#"{"model":"m","messages":[]}"#).parameters(&[]),
            None
        );
    }

    #[test]
    fn a_system_text_replaces_the_old_one() {
        let mut request = parse(r#"{"messages":[{"role":"user","content":"q"}]}"#);
        request.set_system("one");
        request.set_system("two");
        let roles: Vec<Value> = request
            .messages()
            .iter()
            .map(|m| m["role"].clone())
            .collect();
        assert_eq!(roles, ["system", "user"]);
        assert_eq!(request.messages()[0]["content"], "two");
    }

    #[test]
    fn parts_are_attached_to_the_last_user_message_only() {
        let part = RawValue::from_string(r#"{"type":"image_url"}"#.to_owned()).unwrap();
        let attached = |text: &str| {
            let mut request = parse(text);
            request.attach(std::slice::from_ref(&part));
            request.to_json()
        };
        assert_eq!(
            attached(
                r#"{"messages":[{"role":"user","content":"1"},{"z":1.0,"role":"user","content":"2","name":"n"},{"role":"assistant","content":"3"}],"seed":1.0}"#
            ),
            r#"{"messages":[{"role":"user","content":"1"},{"z":1.0,"role":"user","content":[{"type":"text","text":"2"},{"type":"image_url"}],"name":"n"},{"role":"assistant","content":"3"}],"seed":1.0}"#
        );
        assert_eq!(
            attached(
                r#"{"messages":[{"role":"user","content":[{"type":"text","text":"q","x":1.0}]}]}"#
            ),
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"q","x":1.0},{"type":"image_url"}]}]}"#
        );
        let without = r#"{"messages":[{"role":"system","content":"s"}]}"#;
        assert_eq!(attached(without), without);
        assert!(!parse(without).has_user_message());
    }

    #[test]
    fn messages_must_be_an_array() {
        assert!(parse("{}").validate().unwrap_err().contains("missing"));
        assert!(
            parse(r#"{"messages":"hi"}"#)
                .validate()
                .unwrap_err()
                .contains("a string")
        );
    }

    #[test]
    fn the_last_user_text_joins_its_text_parts() {
        let request = parse(
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url"},{"type":"text","text":"b"}]},{"role":"assistant","content":"c"}]}"#,
        );
        assert_eq!(request.last_user_text().as_deref(), Some("a\nb"));
    }

    #[test]
    fn half_a_surrogate_pair_is_sent_unchanged_and_read_leniently() {
        let text = r#"{"messages":[{"role":"user","content":"cut \ud83d"}]}"#;
        let request = parse(text);
        assert_eq!(request.to_json(), text);
        assert_eq!(request.validate(), Ok(()));
        assert_eq!(request.last_user_text().as_deref(), Some("cut \u{fffd}"));
    }

    /// JSON values in the notations that other programs use.
    fn any_value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            prop::sample::select(vec![
                "null",
                "true",
                "-0",
                "-0.0",
                "1.0",
                "1.10",
                "1E+2",
                "1e-7",
                "1e400",
                "12345678901234567890123",
                "0.1000000000000000055",
                r#""\u00e9""#,
                r#""é""#,
                r#""\/""#,
                r#""\ud83d\ude00""#,
                r#""\ud83d""#,
                r#""""#,
            ])
            .prop_map(str::to_owned),
            any::<String>().prop_map(|text| Value::from(text).to_string()),
        ];
        let space = || "[ \n\r\t]{0,2}";
        leaf.prop_recursive(4, 30, 5, move |inner| {
            let items = prop::collection::vec((space(), inner.clone(), space()), 0..5);
            let fields = prop::collection::vec((space(), "[a-c]{0,2}", space(), inner), 0..5);
            prop_oneof![
                items.prop_map(|items| {
                    let items: Vec<String> = items
                        .into_iter()
                        .map(|(a, item, b)| a + &item + &b)
                        .collect();
                    format!("[{}]", items.join(","))
                }),
                fields.prop_map(|fields| {
                    let fields: Vec<String> = fields
                        .into_iter()
                        .map(|(a, key, b, value)| format!("{a}\"{key}\"{b}:{value}"))
                        .collect();
                    format!("{{{}}}", fields.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_body_is_sent_as_it_was_written(
            fields in prop::collection::vec(("[ \n]{0,2}", any::<String>(), any_value()), 0..8)
        ) {
            let written: Vec<String> = fields
                .iter()
                .map(|(space, key, value)| format!("{space}{}{space}:{space}{value}{space}", Value::from(key.as_str())))
                .collect();
            let request = parse(&format!("{{{}}}", written.join(",")));
            // Repeated fields too.
            let sent: Vec<(String, String)> = parse(&request.to_json())
                .fields()
                .map(|(key, value)| (key.to_owned(), value.get().to_owned()))
                .collect();
            let given: Vec<(String, String)> =
                fields.into_iter().map(|(_, key, value)| (key, value)).collect();
            prop_assert_eq!(sent, given);
        }

        #[test]
        fn no_body_makes_it_panic(messages in any_value(), tools in any_value()) {
            let mut request = parse(&format!(r#"{{"messages":{messages},"tools":{tools}}}"#));
            let _ = request.validate();
            request.last_user_text();
            request.parameters(&[("a", "b")]);
            request.set_system("s");
            request.set_stream(true);
            request.set_stream(false);
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), json in r#"[{}\[\]:,"a0\\\\. -]{0,40}"#) {
            for text in [text, json] {
                let _ = serde_json::from_str::<Request>(&text).map(|request| request.to_json());
            }
        }
    }
}
