//! What a ledger knows things by.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::delivery::payload::hex;

/// Identifies what was sent: the beginning of a SHA-256, such as a trace id that was derived from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SentKey([u8; 16]);

impl SentKey {
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The key of a line of a file.
    pub fn of_line(line: &[u8]) -> Self {
        let digest = Sha256::digest(line);
        Self(std::array::from_fn(|index| digest[index]))
    }
}

impl fmt::Display for SentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl FromStr for SentKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = u128::from_str_radix(text, 16).ok();
        let number = number.filter(|_| text.len() == 32);
        number.map_or_else(
            || Err(format!("`{text}` is not a digest of 32 digits")),
            |number| Ok(Self(number.to_be_bytes())),
        )
    }
}
