//! The strings of a JSON text, rewritten in place: all else (order, numbers, space, names that occur twice) stays as it
//! was written.

use std::borrow::Cow;

/// Where a string stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// It is the name of a field.
    Name,
    /// It is the value of the field of this name, or an item of its list. The name is as it was written.
    Value(&'a str),
    /// It is no string but a number, given as it was written.
    Number,
}

/// Rewrites every string and number, each to a string, for which `rewrite` gives another; `None` when it does so for none. `json` is the valid JSON of
/// a field called `name`.
pub fn rewrite(
    name: &str,
    json: &str,
    mut rewrite: impl FnMut(Place<'_>, &str) -> Option<String>,
) -> Option<String> {
    let mut edits = Edits::of(json);
    // The names of the fields around the present place, the last one its own.
    let mut names = vec![name];
    let bytes = json.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' => names.push(names.last().copied().unwrap_or_default()),
            b'}' | b']' => drop(names.pop()),
            b'-' | b'0'..=b'9' => {
                let end = number_end(bytes, at);
                if let Some(text) = rewrite(Place::Number, &json[at..end]) {
                    edits.replace(at, end, &serde_json::Value::from(text).to_string());
                }
                at = end;
                continue;
            }
            b'"' => {
                let end = string_end(bytes, at);
                let written = &json[at + 1..end - 1];
                let place = if is_name(&bytes[end..]) {
                    if let Some(name) = names.last_mut() {
                        *name = written;
                    }
                    Place::Name
                } else {
                    Place::Value(names.last().copied().unwrap_or_default())
                };
                if let Some(text) = rewrite(place, &unescape(written)) {
                    edits.replace(at, end, &serde_json::Value::from(text).to_string());
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    edits.finish()
}

/// Puts null in the place of every field called `name`; `None` when there is none. `json` is valid JSON.
pub fn without(json: &str, name: &str) -> Option<String> {
    let mut edits = Edits::of(json);
    let bytes = json.as_bytes();
    let mut at = 0;
    while let Some(start) = json[at..].find('"').map(|offset| at + offset) {
        at = string_end(bytes, start);
        if is_name(&bytes[at..]) && unescape(&json[start + 1..at - 1]) == name {
            let is_between = |byte: &u8| *byte == b':' || byte.is_ascii_whitespace();
            at += bytes[at..]
                .iter()
                .take_while(|byte| is_between(byte))
                .count();
            let end = value_end(bytes, at);
            edits.replace(at, end, "null");
            at = end;
        }
    }
    edits.finish()
}

/// A text in which some places are replaced.
struct Edits<'a> {
    text: &'a str,
    edited: String,
    /// How much of the text is in `edited`.
    done: usize,
}

impl<'a> Edits<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            text,
            edited: String::new(),
            done: 0,
        }
    }

    fn replace(&mut self, start: usize, end: usize, by: &str) {
        self.edited.push_str(&self.text[self.done..start]);
        self.edited.push_str(by);
        self.done = end;
    }

    fn finish(mut self) -> Option<String> {
        (self.done > 0).then(|| {
            self.edited.push_str(&self.text[self.done..]);
            self.edited
        })
    }
}

/// Where the number that begins at `start` ends.
fn number_end(bytes: &[u8], start: usize) -> usize {
    let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    start + bytes[start..].iter().take_while(is_part).count()
}

/// Where the string that begins at `start` ends, its quotes included.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Where the value that begins at `start` ends.
fn value_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at = string_end(bytes, at);
                if depth == 0 {
                    return at;
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => return if depth == 1 { at + 1 } else { at },
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    at
}

/// Whether a string after which `rest` stands is the name of a field.
fn is_name(rest: &[u8]) -> bool {
    let next = rest.iter().find(|byte| !byte.is_ascii_whitespace());
    next == Some(&b':')
}

/// What a string says. An escape that names half a character, which JSON allows, becomes U+FFFD.
fn unescape(written: &str) -> Cow<'_, str> {
    if !written.contains('\\') {
        return Cow::Borrowed(written);
    }
    let mut text = String::with_capacity(written.len());
    let mut rest = written;
    while let Some((before, escaped)) = rest.split_once('\\') {
        text.push_str(before);
        let mut letters = escaped.chars();
        text.push(match letters.next() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let (character, length) = utf16(escaped);
                rest = &escaped[length..];
                text.push(character);
                continue;
            }
            Some(other) => other,
            None => break,
        });
        rest = letters.as_str();
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// The character of `uXXXX`, or of `uXXXX\uXXXX` where it takes both, and how long it is written.
fn utf16(escape: &str) -> (char, usize) {
    const ONE: usize = "uXXXX".len();
    const TWO: usize = r"uXXXX\uXXXX".len();
    let unit = |text: Option<&str>| u16::from_str_radix(text?, 16).ok();
    let Some(first) = unit(escape.get(1..ONE)) else {
        return (char::REPLACEMENT_CHARACTER, 1);
    };
    let second = (escape.get(ONE..ONE + 2) == Some(r"\u"))
        .then(|| unit(escape.get(ONE + 2..TWO)))
        .flatten();
    let units = [Some(first), second].into_iter().flatten();
    match char::decode_utf16(units).next() {
        Some(Ok(character)) if character.len_utf16() == 2 => (character, TWO),
        Some(Ok(character)) => (character, ONE),
        _ => (char::REPLACEMENT_CHARACTER, ONE),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_what_is_rewritten_changes() {
        let json = "{ \"a\" : 1.00, \"a\":[\"x\", {\"b\":\"\\u00fc\\\"\"}, \"x\"],\n\"c\":12345678901234567890123 }";
        let changed = rewrite("", json, |place, text| match place {
            Place::Value("a") => Some(format!("{text}{text}\"")),
            _ => None,
        });
        assert_eq!(
            changed.unwrap(),
            json.replace("\"x\"", r#""xx\"""#),
            "the items on both sides of the object are the list's"
        );
        assert_eq!(rewrite("", json, |_, _| None), None);
    }

    #[test]
    fn strings_are_read_as_json_reads_them() {
        for json in [
            r#""\b\f\n\r\t\/\\\" \u0041\u00e9\ud83d\ude00 é😀""#,
            r#""""#,
            r#""\\u0041""#,
        ] {
            let mut seen = Vec::new();
            rewrite("", json, |_, text| {
                seen.push(text.to_owned());
                None
            });
            assert_eq!(seen, [serde_json::from_str::<String>(json).unwrap()]);
        }
        assert_eq!(unescape(r"a\ud800b"), "a\u{fffd}b");
        assert_eq!(unescape(r"a\ud800\u0041"), "a\u{fffd}A");
    }

    proptest! {
        #[test]
        fn what_is_rewritten_to_itself_says_the_same(name in ".*", text in ".*") {
            let value = json!({&name: [&text, {&text: &name}, 1.5, null]});
            for json in [value.to_string(), format!("{value:#}")] {
                let same = rewrite("", &json, |place, text| {
                    (place != Place::Number).then(|| text.to_owned())
                });
                let same: Value = serde_json::from_str(&same.unwrap()).unwrap();
                prop_assert_eq!(same, value.clone());
            }
        }
    }

    #[test]
    fn a_number_becomes_the_string_that_takes_its_place() {
        let json = r#"{"1":[-12e+3 ,4.5],"a":67}"#;
        let mut seen = Vec::new();
        let rewritten = rewrite("", json, |place, text| {
            seen.push((place == Place::Number, text.to_owned()));
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
    fn names_are_told_from_values() {
        let mut places = Vec::new();
        rewrite(
            "",
            r#"{"a" : "b", "c": {"d":["e"]}, "f":"\"g\":"}"#,
            |place, text| {
                places.push(format!("{place:?} {text}"));
                None
            },
        );
        assert_eq!(
            places,
            [
                "Name a",
                "Value(\"a\") b",
                "Name c",
                "Name d",
                "Value(\"d\") e",
                "Name f",
                "Value(\"f\") \"g\":"
            ]
        );
    }

    #[test]
    fn a_field_is_left_out_wherever_it_stands() {
        let json = r#"{"x":[{"drop": {"a":["]}"]},"y":1},{"drop":"s"}],"s":"drop","drop" : 1.0}"#;
        assert_eq!(
            without(json, "drop").unwrap(),
            r#"{"x":[{"drop": null,"y":1},{"drop":null}],"s":"drop","drop" : null}"#
        );
        assert_eq!(without(r#"{"a":"drop"}"#, "drop"), None);
    }
}
