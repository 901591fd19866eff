//! Langfuse: the forms of its URL, its keys, and the parts of its public API that langspan uses.

pub mod api;
pub mod base;
pub mod keys;
pub mod media;
pub mod readback;
pub mod row;
mod session;

pub use api::{Api, ApiError};
pub use base::Base;
pub use keys::Keys;
pub use readback::{Readback, Wanted};
pub use row::Row;
pub use session::SessionCount;

/// An environment as Langfuse stores it: without the reserved prefix `langfuse`, which it strips. `None` if nothing is
/// left: that is stored as `default`.
pub fn stored_environment(environment: &str) -> Option<&str> {
    let mut rest = environment;
    while let Some(stripped) = rest.strip_prefix("langfuse") {
        rest = stripped.trim_start_matches(['-', '_']);
    }
    (!rest.is_empty()).then_some(rest)
}
