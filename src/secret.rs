//! Strings that never show themselves: keys and the headers made of them.
//!
//! Reading the value takes a call to [`Secret::expose`], which is easy to find in a review. Text from a server is cleaned
//! by a [`Redactor`] before it is shown or kept. Keys of other people are found by `trace::privacy`.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::sort;

/// The replacement of a secret.
pub const REDACTED: &str = "[redacted]";

/// A key, a token or a header value that holds one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// What is secret in the value of a header: the value, and of one that begins with a scheme (`Bearer KEY`) also what
    /// follows it, which servers quote alone.
    pub fn of_header(value: &str) -> impl Iterator<Item = Self> {
        let credentials = value.split_once(' ').map(|(_, credentials)| credentials);
        [Some(value), credentials.map(str::trim)]
            .into_iter()
            .flatten()
            .map(Self::new)
    }

    /// The value itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The value and its base64, alone and as a part of a longer text, in both alphabets and without padding.
    pub fn forms(&self) -> BTreeSet<String> {
        let bytes = self.0.as_bytes();
        // Base64 encodes groups of three bytes, so a part of a longer text has one of three beginnings. The groups that
        // hold other bytes as well are left out.
        let groups = (0..bytes.len().min(3)).map(|start| {
            let rest = &bytes[start..];
            &rest[..rest.len() / 3 * 3]
        });
        let parts: Vec<&[u8]> = groups.chain([bytes]).collect();
        let encoded = parts
            .into_iter()
            .flat_map(|part| [STANDARD_NO_PAD.encode(part), URL_SAFE_NO_PAD.encode(part)]);
        let forms = encoded.filter(|form| form.len() >= SHORTEST);
        sort::set(forms.chain([self.0.clone()]))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// A shorter value is not a key; replacing it would garble ordinary words.
const SHORTEST: usize = 8;
/// How often a text may be JSON within a string of JSON.
const DEEPEST: usize = 3;

/// Replaces secrets in texts.
#[derive(Debug, Default)]
pub struct Redactor {
    /// All forms of the secrets.
    forms: Vec<String>,
}

impl Redactor {
    /// Replaces all forms of `secrets`, except of values that are too short to be keys.
    pub fn new(secrets: &[Secret]) -> Self {
        let keys = secrets
            .iter()
            .filter(|secret| secret.expose().len() >= SHORTEST);
        let forms = sort::set(keys.flat_map(Secret::forms));
        Self {
            forms: forms.into_iter().collect(),
        }
    }

    /// `text` with every secret replaced, also if JSON escapes hide it.
    pub fn redact(&self, text: &str) -> String {
        if self.forms.is_empty() {
            return text.to_owned();
        }
        let mut found = self.find(text);
        let mut view = text.contains('\\').then(|| View::of(text));
        for _ in 0..DEEPEST {
            let Some(escaped) = view.take().filter(|view| view.text.contains('\\')) else {
                break;
            };
            let view = view.insert(escaped.unescaped());
            let hidden = self.find(&view.text).into_iter();
            found.extend(hidden.map(|range| view.starts[range.start]..view.starts[range.end]));
        }
        replace(text, found)
    }

    fn find(&self, text: &str) -> Vec<Range<usize>> {
        let forms = self.forms.iter();
        forms
            .flat_map(|form| text.match_indices(form.as_str()))
            .map(|(at, form)| at..at + form.len())
            .collect()
    }
}

/// Replaces the secrets in `text`.
pub fn scrub(text: &str, secrets: &[Secret]) -> String {
    Redactor::new(secrets).redact(text)
}

/// `text` with one mark in the place of all ranges that overlap.
fn replace(text: &str, mut ranges: Vec<Range<usize>>) -> String {
    sort::sort_by_key(&mut ranges, |range| (range.start, range.end));
    let mut redacted = String::with_capacity(text.len());
    let mut done = 0;
    for range in ranges {
        if range.start >= done {
            redacted.push_str(&text[done..range.start]);
            redacted.push_str(REDACTED);
        }
        done = done.max(range.end);
    }
    redacted.push_str(&text[done..]);
    redacted
}

/// A text without its JSON escapes.
struct View {
    text: String,
    /// Where each byte begins in the original text, then the end of that.
    starts: Vec<usize>,
}

impl View {
    fn of(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            starts: (0..=text.len()).collect(),
        }
    }

    /// The same text with one level of escapes decoded.
    fn unescaped(&self) -> Self {
        let mut text = String::with_capacity(self.text.len());
        let mut starts = Vec::with_capacity(self.starts.len());
        let mut at = 0;
        while let Some((character, length)) = unescape(&self.text[at..]) {
            text.push(character);
            // The end of the character lies behind its escape, whichever of its bytes is asked for.
            starts.resize(text.len(), self.starts[at]);
            at += length;
        }
        starts.push(self.starts[at]);
        Self { text, starts }
    }
}

/// The first character of a text, decoded if it is a JSON escape, and its length in the text.
fn unescape(text: &str) -> Option<(char, usize)> {
    let first = text.chars().next()?;
    let escape = text
        .strip_prefix('\\')
        .and_then(|rest| match rest.as_bytes() {
            [b'u', ..] => {
                let unit = u32::from_str_radix(rest.get(1..5)?, 16).ok()?;
                Some((
                    char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER),
                    6,
                ))
            }
            [b'"' | b'\\' | b'/', ..] => Some((char::from(rest.as_bytes()[0]), 2)),
            [b'b' | b'f' | b'n' | b'r' | b't', ..] => Some((' ', 2)),
            _ => None,
        });
    Some(escape.unwrap_or((first, first.len_utf8())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_itself_nowhere() {
        let secret = Secret::new("sk-lf-0123456789");
        assert_eq!(format!("{secret} {secret:?}"), "[redacted] [redacted]");
    }

    #[test]
    fn scrub_replaces_keys_but_not_words() {
        let secrets = [Secret::new("sk-lf-0123456789"), Secret::new("key")];
        assert_eq!(
            scrub("a key sk-lf-0123456789.", &secrets),
            "a key [redacted]."
        );
    }

    const KEY: &str = "sk-proj-0/123456789+ab";

    #[test]
    fn the_base64_of_a_secret_is_replaced() {
        let secrets = [Secret::new(KEY)];
        for before in ["", "u", "us", "user:"] {
            for after in ["", "\n", " and more"] {
                let text = format!("{before}{KEY}{after}");
                for encoded in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                    let scrubbed = scrub(&encoded, &secrets);
                    assert!(scrubbed.contains(REDACTED), "{text:?}: {scrubbed}");
                    let rest = scrubbed.len() - REDACTED.len();
                    let others = (before.len() + after.len()) * 4 / 3;
                    assert!(rest <= others + 8, "{text:?}: {scrubbed}");
                }
            }
        }
        let whole = STANDARD_NO_PAD.encode(KEY);
        assert_eq!(scrub(&format!("<{whole}>"), &secrets), "<[redacted]>");
    }

    #[test]
    fn json_escapes_hide_no_secret() {
        let secrets = [Secret::new(KEY)];
        for hidden in [
            KEY.replace('/', "\\/"),
            KEY.replace('k', "\\u006b"),
            KEY.replace('+', "\\u002B"),
            KEY.replace('/', "\\\\\\/"),
            KEY.replace('k', "\\\\u006b"),
        ] {
            let text = format!(r#"{{"é\n":"{hidden}\n"}}"#);
            assert_eq!(scrub(&text, &secrets), r#"{"é\n":"[redacted]\n"}"#);
        }
        assert_eq!(scrub(r"C:\users\n \u12 \", &secrets), r"C:\users\n \u12 \");
    }

    #[test]
    fn overlapping_secrets_get_one_mark() {
        let secrets = [Secret::new("0123456789"), Secret::new("456789abcdef")];
        assert_eq!(scrub("x0123456789abcdefy", &secrets), "x[redacted]y");
    }
}
