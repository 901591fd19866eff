//! Bytes as lower-case hex digits, and ids made of them.

use sha2::{Digest as _, Sha256};

pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// An id in the form of a UUID, derived from `content` so that it is not random.
pub fn uuid_of(content: &[u8]) -> String {
    let hex = hex(&Sha256::digest(content)[..16]);
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}
