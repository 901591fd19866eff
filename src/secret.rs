//! Strings that never show themselves: keys and the headers made of them.
//!
//! Reading the value takes a call to [`Secret::expose`], which is easy to find in a review. What a server
//! echoes back is cleaned by [`scrub`] before it is shown or kept.

use std::fmt;

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

/// Replaces every occurrence of the given secrets in `text`.
///
/// Values shorter than eight characters are not keys; replacing them would garble ordinary words.
pub fn scrub(text: &str, secrets: &[Secret]) -> String {
    secrets
        .iter()
        .filter(|secret| secret.expose().len() >= 8)
        .fold(text.to_owned(), |text, secret| {
            if text.contains(secret.expose()) {
                text.replace(secret.expose(), REDACTED)
            } else {
                text
            }
        })
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
}
