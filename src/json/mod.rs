//! JSON text, searched and edited in place.
//!
//! A replayed body must reach its destination as it was written, and may hold megabytes of base64. So these functions
//! work on the text: they find strings, replace some, and leave order, numbers, whitespace and repeated keys alone.
//! Nothing here knows the meaning of a field.

pub mod edit;
pub mod lenient;
pub mod scan;
