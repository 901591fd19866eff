//! A setting as `--dry-run` shows it: its name, its value and where it came from.

use std::fmt::Display;

use super::sources::Origin;

#[derive(Clone, Debug)]
pub struct Shown {
    pub name: &'static str,
    /// Never a secret.
    pub value: String,
    pub origin: Origin,
}

impl Shown {
    pub fn new(name: &'static str, value: impl Display, origin: Origin) -> Self {
        Self {
            name,
            value: value.to_string(),
            origin,
        }
    }
}
