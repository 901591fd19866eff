//! The key pair of a Langfuse project.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;

use crate::secret::Secret;

pub const PUBLIC_PREFIX: &str = "pk-lf-";
pub const SECRET_PREFIX: &str = "sk-lf-";

/// A project's public and secret key.
#[derive(Clone, Debug)]
pub struct Keys {
    pub public: String,
    pub secret: Secret,
}

impl Keys {
    /// Reads the pair from the value of an `Authorization: Basic …` header.
    pub fn from_basic(header: &str) -> Option<Self> {
        let encoded = header.trim().strip_prefix("Basic ")?.trim();
        let decoded = BASE64_STANDARD.decode(encoded).ok()?;
        let pair = String::from_utf8(decoded).ok()?;
        let (public, secret) = pair
            .split_once(':')
            .filter(|(public, secret)| !public.is_empty() && !secret.is_empty())?;
        Some(Self {
            public: public.to_owned(),
            secret: Secret::new(secret),
        })
    }

    /// Whether both look like Langfuse keys.
    pub fn look_right(&self) -> bool {
        self.public.starts_with(PUBLIC_PREFIX) && self.secret.expose().starts_with(SECRET_PREFIX)
    }

    /// The header that authenticates with the pair.
    pub fn authorization(&self) -> Secret {
        let pair = format!("{}:{}", self.public, self.secret.expose());
        Secret::new(format!("Basic {}", BASE64_STANDARD.encode(pair)))
    }
}

/// A header value that debug output does not show; `None` if the text cannot be a header value.
pub fn sensitive(value: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value.expose()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_survives_its_header() {
        let keys = Keys {
            public: "pk-lf-1".to_owned(),
            secret: Secret::new("sk-lf-2"),
        };
        let read = Keys::from_basic(keys.authorization().expose()).unwrap();
        assert_eq!(
            (read.public.as_str(), read.secret.expose()),
            ("pk-lf-1", "sk-lf-2")
        );
        assert!(read.look_right());
    }

    #[test]
    fn other_headers_hold_no_pair() {
        for header in [
            "",
            "Bearer x",
            "Basic !!!",
            "Basic bm9jb2xvbg==",
            "Basic cGs6",
            "Basic OnNr",
        ] {
            assert!(Keys::from_basic(header).is_none(), "{header}");
        }
    }
}
