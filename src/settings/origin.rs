//! A value and where it came from.

use std::fmt;
use std::path::PathBuf;

/// Which source a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag(&'static str),
    Environment(String),
    EnvFile { name: String, file: PathBuf },
    SettingsFile { file: PathBuf, line: usize },
    Default,
    Sandbox,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Environment(name) => f.write_str(name),
            Self::EnvFile { name, file } => write!(f, "{name} in {}", file.display()),
            Self::SettingsFile { file, line } => write!(f, "{}:{line}", file.display()),
            Self::Default => f.write_str("default"),
            Self::Sandbox => f.write_str("--sandbox"),
        }
    }
}

/// A value and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    pub value: T,
    pub origin: Origin,
}

impl Origin {
    /// Whether a person or a script named the value: by an option or a variable.
    pub fn is_named(&self) -> bool {
        matches!(
            self,
            Self::Flag(_) | Self::Environment(_) | Self::EnvFile { .. }
        )
    }
}

impl<T> Sourced<T> {
    pub fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }

    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Sourced<U> {
        Sourced {
            value: change(self.value),
            origin: self.origin,
        }
    }

    pub fn is_flag(&self) -> bool {
        matches!(self.origin, Origin::Flag(_))
    }
}
