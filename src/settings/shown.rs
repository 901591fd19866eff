//! Notes about the settings: how `--dry-run` shows each, the warnings, and the secrets that must not be shown.

use std::fmt::Display;

use super::sources::Origin;
use crate::secret::Secret;

/// Warnings, shown settings and secrets, collected while the settings are resolved.
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
