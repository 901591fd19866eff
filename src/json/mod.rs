//! JSON text: read, searched, and edited in place.
//!
//! A replayed body must reach its destination as it was written, and may hold megabytes of base64. So these functions
//! work on the text itself: they find strings, replace some, and leave order, numbers, whitespace and repeated keys alone.
//! Nothing here knows the meaning of a field.

pub mod edit;
pub mod lenient;
pub mod scan;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Error as _};
use serde_json::Value;

/// Reads JSON as [`serde_json::from_str`] does. `serde_json::from_slice` is a parser of its own, and would double the code of
/// each type that is read through both.
///
/// # Errors
/// If the bytes are not UTF-8, or not JSON of this type.
pub fn from_slice<'a, T: Deserialize<'a>>(json: &'a [u8]) -> serde_json::Result<T> {
    serde_json::from_str(str::from_utf8(json).map_err(serde_json::Error::custom)?)
}

/// Reads a type out of a document that was edited. `serde_json::from_value` would double its code too.
///
/// # Errors
/// What is wrong, without a place: the text that was read is nobody's.
pub fn from_value<T: DeserializeOwned>(document: &Value) -> Result<T, String> {
    serde_json::from_str(&document.to_string()).map_err(|error| {
        let why = error.to_string();
        let place = why.rfind(" at line ");
        place.map_or(why.as_str(), |at| &why[..at]).to_owned()
    })
}
