//! Reads JSON that a strict parser refuses because of half a surrogate pair.
//!
//! JSON text may hold such a half as an escape, although it is not a character. Texts that were cut between two UTF-16
//! units have one.

use serde_json::Value;

/// Parses JSON text. Each escaped half of a surrogate pair becomes U+FFFD.
///
/// # Errors
/// If the text is not JSON.
pub fn parse(text: &str) -> serde_json::Result<Value> {
    match serde_json::from_str(text) {
        Err(_) if text.contains("\\u") => serde_json::from_str(&replace_lone_surrogates(text)),
        parsed => parsed,
    }
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

    proptest! {
        #[test]
        fn strict_json_is_read_the_same(text in any::<String>()) {
            let json = Value::from(text.as_str()).to_string();
            prop_assert_eq!(parse(&json).unwrap(), text);
            prop_assert_eq!(replace_lone_surrogates(&json), json);
        }

        #[test]
        fn no_text_makes_it_panic(text in r#"["\\\\ud8dceé0-9{}:,\[\] ]{0,40}"#) {
            let _ = parse(&text);
            replace_lone_surrogates(&text);
        }
    }
}
