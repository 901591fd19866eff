//! Reads JSON that a strict parser refuses: half a surrogate pair, NaN and Infinity, a byte order mark.
//!
//! JSON text may hold half a pair as an escape, although it is not a character: texts that were cut between two UTF-16
//! units have one. Python writes `NaN` and `Infinity` unless told otherwise. Everything else is read strictly.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde_json::Value;

/// The numbers that JSON does not have, as Python and JavaScript write them.
const NOT_FINITE: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// Parses JSON text. Each escaped half of a surrogate pair becomes U+FFFD, each number that is not finite null.
///
/// # Errors
/// If the text is not JSON.
pub fn parse(text: &str) -> serde_json::Result<Value> {
    let text = without_byte_order_mark(text);
    serde_json::from_str(text).or_else(|_| {
        let text = without_infinities(text);
        serde_json::from_str(&replace_lone_surrogates(&text))
    })
}

/// Parses JSON text as [`parse`] does, and gives the text as [`valid`] does, in one pass where nothing is to be repaired.
///
/// # Errors
/// If the text is not JSON.
pub fn parse_valid(text: &str) -> serde_json::Result<(Value, Cow<'_, str>)> {
    let bare = without_byte_order_mark(text);
    match serde_json::from_str(bare) {
        Ok(value) => Ok((value, Cow::Borrowed(bare))),
        Err(_) => Ok((parse(text)?, valid(text))),
    }
}

/// The text as valid JSON: without a byte order mark, and with null for each number that is not finite. Text that is not
/// JSON is returned as it is.
pub fn valid(text: &str) -> Cow<'_, str> {
    let text = without_byte_order_mark(text);
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Cow::Borrowed(text),
        Err(_) => without_infinities(text),
    }
}

fn without_byte_order_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The text with null for each number that is not finite, outside of strings.
fn without_infinities(text: &str) -> Cow<'_, str> {
    if !NOT_FINITE.iter().any(|name| text.contains(name)) {
        return Cow::Borrowed(text);
    }
    let mut finite = String::with_capacity(text.len());
    let mut in_string = false;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let name = NOT_FINITE.iter().find(|name| rest.starts_with(**name));
        let length = match name.filter(|_| !in_string) {
            Some(name) => {
                finite.push_str("null");
                rest = &rest[name.len()..];
                continue;
            }
            // A quote behind a backslash does not end the string.
            None if first == '\\' => {
                let second = rest[1..].chars().next();
                1 + second.map_or(0, char::len_utf8)
            }
            None => first.len_utf8(),
        };
        in_string ^= first == '"';
        finite.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    Cow::Owned(finite)
}

/// The text with each escaped half of a surrogate pair replaced.
fn replace_lone_surrogates(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        whole.push_str(before);
        let (kept, length) = match (utf16_unit(escape), escape.get(6..).and_then(utf16_unit)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => (&escape[..12], 12),
            (Some(0xD800..=0xDFFF), _) => ("\\ufffd", 6),
            (Some(_), _) => (&escape[..6], 6),
            // A short escape. The character after the backslash may be a backslash too.
            (None, _) => {
                let mut characters = escape.char_indices();
                let end = characters.nth(2).map_or(escape.len(), |(end, _)| end);
                (&escape[..end], end)
            }
        };
        whole.push_str(kept);
        rest = &escape[length..];
    }
    whole.push_str(rest);
    whole
}

/// The UTF-16 unit of a `\uXXXX` escape at the start of `text`.
fn utf16_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_half_a_pair_is_replaced() {
        for (text, read) in [
            (r#""\ud83d""#, "\u{fffd}"),
            (r#""a\ude00b""#, "a\u{fffd}b"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
            (r#""\\ud83d\ud83d""#, "\\ud83d\u{fffd}"),
            (r#""\ud83d\u00e9é""#, "\u{fffd}éé"),
            (r#""\u00e9\n""#, "é\n"),
        ] {
            assert_eq!(parse(text).unwrap(), read, "{text}");
        }
        assert!(parse(r#"{"a":"\ud83d""#).is_err());
        assert!(parse(r#""\ud8é""#).is_err());
    }

    #[test]
    fn numbers_that_are_not_finite_become_null() {
        let text = "\u{feff}{\"a\":[NaN,-Infinity, Infinity],\"NaN\":\"\\\"NaN\\ud83d\"}";
        let valid_text = r#"{"a":[null,null, null],"NaN":"\"NaN\ud83d"}"#;
        assert_eq!(valid(text), valid_text);
        assert_eq!(
            parse(text).unwrap(),
            serde_json::json!({"a": [null, null, null], "NaN": "\"NaN\u{fffd}"})
        );
        assert_eq!(valid("{NaNa"), "{nulla");
        assert!(parse("[nan]").is_err());
    }

    proptest! {
        #[test]
        fn strict_json_is_read_the_same(text in any::<String>()) {
            let json = Value::from(text.as_str()).to_string();
            prop_assert_eq!(parse(&json).unwrap(), text);
            prop_assert_eq!(replace_lone_surrogates(&json), json);
        }

        #[test]
        fn no_text_makes_it_panic(text in r#"(["\\\\ud8dceé0-9{}:,\[\] ]|NaN|-Infinity){0,40}"#) {
            let _ = parse(&text);
            replace_lone_surrogates(&text);
            valid(&text);
        }
    }
}
