//! Where values come from besides the command line: the environment, then the file of `--env-file`.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Which source a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag(&'static str),
    Environment(String),
    EnvFile { name: String, file: PathBuf },
    Default,
    Sandbox,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Environment(name) => f.write_str(name),
            Self::EnvFile { name, file } => write!(f, "{name} in {}", file.display()),
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

/// The environment and the env file.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    file: Option<PathBuf>,
    variables: HashMap<String, String>,
}

impl Sources {
    /// The environment and the text of an env file.
    ///
    /// # Errors
    /// When an entry is malformed; its value is not shown.
    pub fn with_env_file(path: &Path, text: &str) -> Result<Self, Failure> {
        let mut variables = HashMap::new();
        for (index, item) in dotenvy::from_read_iter(text.as_bytes()).enumerate() {
            let (name, value) = item.map_err(|_| {
                Failure::config(format!(
                    "entry {} of {} is malformed",
                    index + 1,
                    path.display()
                ))
                .hint("each line is NAME=VALUE; quote a value that holds spaces")
            })?;
            variables.insert(name, value);
        }
        Ok(Self {
            file: Some(path.to_owned()),
            variables,
        })
    }

    /// The value of a variable; an empty one counts as unset.
    pub fn get(&self, name: &str) -> Option<Sourced<String>> {
        let filled = |value: &String| !value.trim().is_empty();
        if let Some(value) = std::env::var(name).ok().filter(filled) {
            return Some(Sourced::new(value, Origin::Environment(name.to_owned())));
        }
        let value = self.variables.get(name).filter(|value| filled(value))?;
        let file = self.file.clone()?;
        Some(Sourced::new(
            value.clone(),
            Origin::EnvFile {
                name: name.to_owned(),
                file,
            },
        ))
    }

    /// The first of several variables that is set.
    pub fn first(&self, names: &[&str]) -> Option<Sourced<String>> {
        names.iter().find_map(|name| self.get(name))
    }

    /// Whether a variable is set to yes.
    ///
    /// # Errors
    /// When it is neither yes nor no: a mistyped yes must not mean no.
    pub fn is_on(&self, name: &str) -> Result<bool, Failure> {
        let Some(found) = self.get(name) else {
            return Ok(false);
        };
        match found.value.trim().to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Ok(true),
            "0" | "false" | "no" | "off" => Ok(false),
            other => Err(Failure::config(format!(
                "{}: `{other}` is neither yes nor no",
                found.origin
            ))
            .hint("set it to true or false")),
        }
    }

    /// A flag, else the first variable that is set.
    ///
    /// # Errors
    /// When the flag is there and empty: what a script left unset must not silently mean something else.
    pub fn flag_or(
        &self,
        flag: &'static str,
        given: Option<&str>,
        names: &[&str],
    ) -> Result<Option<Sourced<String>>, Failure> {
        match given {
            Some("") => Err(empty_flag(flag)),
            Some(value) => Ok(Some(Sourced::new(value.to_owned(), Origin::Flag(flag)))),
            None => Ok(self.first(names)),
        }
    }
}

/// A flag whose value is empty.
pub fn empty_flag(flag: &str) -> Failure {
    Failure::usage(format!("{flag} is empty"))
        .hint("give a value or omit the option; a variable of the script may be unset")
}
