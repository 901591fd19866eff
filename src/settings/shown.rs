//! What is told of the settings: how `--dry-run` shows each, what was noticed, and what must not be shown.

use std::fmt::Display;

use super::sources::Origin;
use crate::secret::Secret;

/// What was noticed on the way.
#[derive(Debug, Default)]
pub struct Notes {
    pub warnings: Vec<String>,
    pub shown: Vec<Shown>,
    pub secrets: Vec<Secret>,
}

/// A setting: its name, its value and where it came from.
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
