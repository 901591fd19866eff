//! Where values come from besides the command line: the environment, then the file of `--env-file`.
//!
//! A variable that is set but is not UTF-8 is an error, never "unset": an unreadable `LANGFUSE_BASE_URL` must not send
//! keys to the default host. Paths are taken as bytes.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use super::{ci, shard};
use crate::failure::Failure;

/// The names of variables that langspan reads begin with one of these, or are among [`NAMES`] or those of CI services.
const PREFIXES: [&str; 5] = [
    "LANGFUSE_",
    "LANGSPAN_",
    "OPENAI_",
    "AZURE_OPENAI_",
    "OTEL_EXPORTER_OTLP_",
];
const NAMES: [&str; 5] = [
    "TRACEPARENT",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SDK_DISABLED",
    "OTEL_SERVICE_NAME",
    "NO_PROXY",
];
/// The names of variables with a path end in one of these. A path need not be UTF-8.
const PATH_SUFFIXES: [&str; 3] = ["_OUTBOX", "_CERTIFICATE", "_CLIENT_KEY"];

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
    /// The environment.
    ///
    /// # Errors
    /// When a variable that langspan reads is not UTF-8.
    pub fn of_environment() -> Result<Self, Failure> {
        let mut variables = std::env::vars_os();
        match variables.find(|(name, value)| value.to_str().is_none() && is_read_as_text(name)) {
            Some((name, _)) => Err(not_text(&name.to_string_lossy())),
            None => Ok(Self::default()),
        }
    }

    /// The environment and the content of an env file, which may begin with a byte order mark.
    ///
    /// # Errors
    /// When a variable is not UTF-8 or an entry of the file is malformed; no value is shown.
    pub fn with_env_file(path: &Path, content: &[u8]) -> Result<Self, Failure> {
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
        let text = std::str::from_utf8(content).map_err(|error| {
            let before = String::from_utf8_lossy(&content[..error.valid_up_to()]);
            let line = before.lines().last().unwrap_or_default();
            let name = line.split('=').next().unwrap_or_default();
            let name = name.trim().trim_start_matches("export ").trim();
            not_text(&format!("{name} in {}", path.display()))
        })?;
        Self::of_environment()?;
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

    /// The path in a variable, of any bytes; an empty one counts as unset.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        let set = std::env::var_os(name).filter(|value| !value.is_empty());
        let path = set.map(PathBuf::from);
        path.or_else(|| self.get(name).map(|found| PathBuf::from(found.value)))
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

/// Whether langspan reads the variable `name` as text.
fn is_read_as_text(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    let is_path = PATH_SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
    let is_known = PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || NAMES.contains(&name)
        || ci::variables()
            .chain(shard::variables())
            .any(|known| known == name);
    is_known && !is_path
}

fn not_text(variable: &str) -> Failure {
    Failure::config(format!("{variable} is not UTF-8 text")).hint("set it again, or unset it")
}

/// A flag whose value is empty.
pub fn empty_flag(flag: &str) -> Failure {
    Failure::usage(format!("{flag} is empty"))
        .hint("give a value or omit the option; a variable of the script may be unset")
}
