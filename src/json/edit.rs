//! Replaces parts of a JSON text in place.

use std::ops::Range;

use serde_json::Value;

use super::scan::{number_end, string_end, unquote, value_after_key, value_end};

/// A string or number of a JSON text, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar<'a> {
    /// The key of a field.
    Key,
    /// A string: the value of the field with this key, or an item of its array. The key is given as written, with its
    /// escapes.
    Text(&'a str),
    /// A number, given as written.
    Number,
}

/// Replaces each string and number for which `replace` returns a text; the replacement is always a string. `key` is
/// the field that holds `json`, which is valid. `None` if nothing is replaced.
pub fn rewrite(
    key: &str,
    json: &str,
    mut replace: impl FnMut(Scalar<'_>, &str) -> Option<String>,
) -> Option<String> {
    let mut edits = Edits::new(json);
    // The keys that enclose the current position, innermost last.
    let mut keys = vec![key];
    let bytes = json.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        at += 1;
        match bytes[start] {
            b'{' | b'[' => keys.push(keys.last().copied().unwrap_or_default()),
            b'}' | b']' => drop(keys.pop()),
            b'-' | b'0'..=b'9' => {
                at = number_end(json, start);
                if let Some(text) = replace(Scalar::Number, &json[start..at]) {
                    edits.replace_with_string(start..at, &text);
                }
            }
            b'"' => {
                at = string_end(json, start).unwrap_or(bytes.len());
                let quoted = &json[start..at];
                let scalar = if value_after_key(json, at).is_some() {
                    keys.pop();
                    keys.push(&quoted[1..quoted.len() - 1]);
                    Scalar::Key
                } else {
                    Scalar::Text(keys.last().copied().unwrap_or_default())
                };
                if let Some(text) = replace(scalar, &unquote(quoted)) {
                    edits.replace_with_string(start..at, &text);
                }
            }
            _ => {}
        }
    }
    edits.finish()
}

/// Replaces the value of every field `key` with null. `json` is valid. `None` if there is no such field.
pub fn nullify(json: &str, key: &str) -> Option<String> {
    let mut edits = Edits::new(json);
    let mut at = 0;
    while let Some(start) = json[at..].find('"').map(|offset| at + offset) {
        at = string_end(json, start).unwrap_or(json.len());
        let value = value_after_key(json, at);
        if let Some(value) = value.filter(|_| unquote(&json[start..at]) == key) {
            at = value_end(json, value);
            edits.replace(value..at, "null");
        }
    }
    edits.finish()
}

/// Replacements in a text, made from its start to its end.
#[derive(Debug)]
pub struct Edits<'a> {
    text: &'a str,
    edited: String,
    /// The end of the last replaced range: `edited` holds the text up to here.
    done: usize,
}

impl<'a> Edits<'a> {
    /// No edits yet.
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            edited: String::new(),
            done: 0,
        }
    }

    /// Replaces `range`, which lies behind all ranges replaced so far and is not empty.
    pub fn replace(&mut self, range: Range<usize>, by: &str) {
        self.edited.push_str(&self.text[self.done..range.start]);
        self.edited.push_str(by);
        self.done = range.end;
    }

    /// Replaces `range` with `text` as a JSON string.
    pub fn replace_with_string(&mut self, range: Range<usize>, text: &str) {
        self.replace(range, &Value::from(text).to_string());
    }

    /// The edited text. `None` if nothing was replaced.
    pub fn finish(mut self) -> Option<String> {
        (self.done > 0).then(|| {
            self.edited.push_str(&self.text[self.done..]);
            self.edited
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_rest_of_the_text_is_kept() {
        let json = "{ \"a\" : 1.00, \"a\":[\"x\", {\"b\":\"\\u00fc\\\"\"}, \"x\"],\n\"c\":12345678901234567890123 }";
        let changed = rewrite("", json, |scalar, text| match scalar {
            Scalar::Text("a") => Some(format!("{text}{text}\"")),
            _ => None,
        });
        assert_eq!(
            changed.unwrap(),
            json.replace("\"x\"", r#""xx\"""#),
            "the items before and after the object belong to the array"
        );
        assert_eq!(rewrite("", json, |_, _| None), None);
    }

    proptest! {
        #[test]
        fn replacing_each_string_with_itself_keeps_the_value(name in ".*", text in ".*") {
            let value = json!({&name: [&text, {&text: &name}, 1.5, null]});
            for json in [value.to_string(), format!("{value:#}")] {
                let same = rewrite("", &json, |scalar, text| {
                    (scalar != Scalar::Number).then(|| text.to_owned())
                });
                let same: Value = serde_json::from_str(&same.unwrap()).unwrap();
                prop_assert_eq!(same, value.clone());
            }
        }
    }

    #[test]
    fn a_number_is_replaced_with_a_string() {
        let json = r#"{"1":[-12e+3 ,4.5],"a":67}"#;
        let mut seen = Vec::new();
        let rewritten = rewrite("", json, |scalar, text| {
            seen.push((scalar == Scalar::Number, text.to_owned()));
            (text == "4.5").then(|| "x".to_owned())
        });
        assert_eq!(rewritten.unwrap(), r#"{"1":[-12e+3 ,"x"],"a":67}"#);
        let numbers = seen.iter().filter(|(is_number, _)| *is_number);
        assert_eq!(
            numbers.map(|(_, text)| text.as_str()).collect::<Vec<_>>(),
            ["-12e+3", "4.5", "67"]
        );
    }

    #[test]
    fn keys_are_distinguished_from_values() {
        let mut places = Vec::new();
        rewrite(
            "",
            r#"{"a" : "b", "c": {"d":["e"]}, "f":"\"g\":"}"#,
            |scalar, text| {
                places.push(format!("{scalar:?} {text}"));
                None
            },
        );
        assert_eq!(
            places,
            [
                "Key a",
                "Text(\"a\") b",
                "Key c",
                "Key d",
                "Text(\"d\") e",
                "Key f",
                "Text(\"f\") \"g\":"
            ]
        );
    }

    #[test]
    fn a_field_is_nullified_at_any_depth() {
        let json = r#"{"x":[{"drop": {"a":["]}"]},"y":1},{"drop":"s"}],"s":"drop","drop" : 1.0}"#;
        assert_eq!(
            nullify(json, "drop").unwrap(),
            r#"{"x":[{"drop": null,"y":1},{"drop":null}],"s":"drop","drop" : null}"#
        );
        assert_eq!(nullify(r#"{"a":"drop"}"#, "drop"), None);
    }
}
