//! A Langfuse server: the forms of its URL, its keys, and the parts of its public API that are asked.

pub mod api;
pub mod base;
pub mod keys;
pub mod readback;
pub mod row;

pub use api::{Api, ApiError};
pub use base::Base;
pub use keys::Keys;
pub use readback::{Readback, Wanted};
pub use row::Row;
