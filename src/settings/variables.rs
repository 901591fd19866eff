//! The variables of the environment that langspan reads, and that all of them are text.

use std::ffi::OsStr;

use super::sources::not_text;
use super::{ci, shard};
use crate::failure::Failure;

/// The names of variables that langspan reads begin with one of these, or are among [`NAMES`] or those of CI services.
const PREFIXES: [&str; 6] = [
    "LANGFUSE_",
    "LANGSPAN_",
    "OPENAI_",
    "ANTHROPIC_",
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

/// Refuses an environment in which a variable that langspan reads is not UTF-8.
///
/// # Errors
/// If there is one. It is never taken for unset: an unreadable URL must not send keys to the default host.
pub fn check_environment() -> Result<(), Failure> {
    let mut variables = std::env::vars_os();
    match variables.find(|(name, value)| value.to_str().is_none() && is_read_as_text(name)) {
        Some((name, _)) => Err(not_text(&name.to_string_lossy())),
        None => Ok(()),
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
