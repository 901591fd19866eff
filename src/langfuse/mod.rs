//! A Langfuse server: the forms of its URL, its keys, and the parts of its public API that are asked.

pub mod api;
pub mod base;
pub mod keys;

pub use api::{Api, ApiError, Readback};
pub use base::Base;
pub use keys::Keys;
