//! Finds the strings, numbers and values of a JSON text by their byte offsets.
//!
//! The text is scanned, not validated. Malformed text gives no offset beyond its end and none inside a character.

use std::borrow::Cow;

use super::lenient;

/// The end of the string that starts at the quote at `start`, behind its closing quote. `None` if it is not closed.
pub fn string_end(json: &str, start: usize) -> Option<usize> {
    let bytes = json.as_bytes();
    let mut at = start + 1;
    loop {
        let rest = bytes.get(at..)?;
        at += rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The end of the number that starts at `start`.
pub fn number_end(json: &str, start: usize) -> usize {
    let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    start + json.as_bytes()[start..].iter().take_while(is_part).count()
}

/// The end of the value that starts at `start`, or of the text if the value is not complete.
pub fn value_end(json: &str, start: usize) -> usize {
    let bytes = json.as_bytes();
    let mut depth = 0_usize;
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at = string_end(json, at).unwrap_or(bytes.len());
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

/// The start of the value, if the string that ends at `end` is the key of a field.
pub fn value_after_key(json: &str, end: usize) -> Option<usize> {
    let value = json[end..].trim_start().strip_prefix(':')?;
    Some(json.len() - value.trim_start().len())
}

/// The starts of all strings that begin with `prefix`, which includes the opening quote. A quote inside a string
/// follows a backslash, so a match that does not is an opening quote or a closing one; no letter follows the latter.
pub fn strings_with_prefix(json: &str, prefix: &str) -> impl Iterator<Item = usize> {
    json.match_indices(prefix)
        .map(|(at, _)| at)
        .filter(|at| !json[..*at].ends_with('\\'))
}

/// The starts of all values of the key `quoted_key`, which includes its quotes.
pub fn values_of_key(json: &str, quoted_key: &str) -> impl Iterator<Item = usize> {
    strings_with_prefix(json, quoted_key)
        .filter_map(|start| value_after_key(json, start + quoted_key.len()))
}

/// The text of a JSON string, given with its quotes. Half a surrogate pair becomes U+FFFD.
pub fn unquote(quoted: &str) -> Cow<'_, str> {
    let inner = &quoted[1..quoted.len() - 1];
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    match lenient::parse(quoted) {
        Ok(serde_json::Value::String(text)) => Cow::Owned(text),
        _ => Cow::Borrowed(inner),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_string_ends_at_its_first_unescaped_quote() {
        for (json, end) in [
            (r#""a" "#, Some(3)),
            (r#""a\"b","c""#, Some(6)),
            (r#""a\\""#, Some(5)),
            (r#""é""#, Some(4)),
            (r#""a"#, None),
            (r#""a\"#, None),
            ("\"\\é\"", Some(5)),
        ] {
            assert_eq!(string_end(json, 0), end, "{json}");
        }
    }

    #[test]
    fn escapes_are_decoded_and_half_a_pair_is_replaced() {
        for (quoted, text) in [
            (r#""\b\f\n\r\t\/\\\"""#, "\u{8}\u{c}\n\r\t/\\\""),
            (r#""\u0041\u00e9\ud83d\ude00 é😀""#, "Aé😀 é😀"),
            (r#""""#, ""),
            (r#""\\u0041""#, "\\u0041"),
            (r#""a\ud800b""#, "a\u{fffd}b"),
            (r#""a\ud800\u0041""#, "a\u{fffd}A"),
        ] {
            assert_eq!(unquote(quoted), text);
        }
    }

    #[test]
    fn the_values_of_a_key_are_found_at_any_depth() {
        let json = r#"{"a" : 1,"b":[{"a":"\"a\":2"},{"a":{}}],"c":"a"}"#;
        let values: Vec<&str> = values_of_key(json, "\"a\"")
            .map(|start| &json[start..value_end(json, start)])
            .collect();
        assert_eq!(values, ["1", r#""\"a\":2""#, "{}"]);
    }

    proptest! {
        #[test]
        fn offsets_agree_with_a_parser(text in ".*", number in any::<i64>()) {
            for json in [json!({"k": [&text, number]}).to_string(), format!("{:#}", json!({"k": [&text, number]}))] {
                let start = values_of_key(&json, "\"k\"").next().unwrap();
                let end = value_end(&json, start);
                prop_assert_eq!(serde_json::from_str::<Value>(&json[start..end]).unwrap(), json!([&text, number]));
                let string = start + json[start..].find('"').unwrap();
                let quoted = &json[string..string_end(&json, string).unwrap()];
                prop_assert_eq!(unquote(quoted), text.as_str());
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in r#"["\\\\ud8céE0-9{}:,\[\] .+-]{0,40}"#) {
            for (start, _) in text.char_indices() {
                number_end(&text, start);
                prop_assert!(text.is_char_boundary(value_end(&text, start)));
                value_after_key(&text, start);
                if text[start..].starts_with('"') && let Some(end) = string_end(&text, start) {
                    unquote(&text[start..end]);
                }
            }
        }
    }
}
