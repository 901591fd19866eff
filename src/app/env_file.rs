//! Reads the file of `--env-file`. A `.env` that was not named is never read: one in a stranger's folder must not
//! redirect keys.

use std::fs;
use std::path::Path;

use crate::failure::{Failure, Kind};
use crate::settings::Sources;

/// The environment, and the variables of the env file where one was named.
///
/// # Errors
/// When a variable is not UTF-8, or the file cannot be read or has a malformed entry.
pub fn sources(env_file: Option<&Path>) -> Result<Sources, Failure> {
    let Some(path) = env_file else {
        return Sources::of_environment();
    };
    let content = fs::read(path).map_err(|error| {
        Failure::unreadable(path.display(), &error).hint("check the path of --env-file")
    })?;
    Sources::with_env_file(path, &content)
}

/// Adds to a failure of the settings that a `.env` in this folder was not read, which may hold what is missing.
pub fn mention_unread(mut failure: Failure, env_file: Option<&Path>) -> Failure {
    if failure.kind == Kind::Config && env_file.is_none() && Path::new(".env").is_file() {
        let hint = failure.hint.take().unwrap_or_default();
        failure.hint = Some(format!(
            "{hint}; ./.env is not read unless you pass --env-file .env"
        ));
    }
    failure
}
