//! Reads the files that settings come from: the settings file, and the one of `--env-file`. A `.env` that was not named
//! is never read: one in a stranger's folder must not redirect keys.

use std::fs;
use std::path::Path;

use crate::app::{secrets, settings_file};
use crate::cli;
use crate::failure::{Failure, Kind};
use crate::settings::{Origin, Sourced, Sources, variables};

/// The environment, the settings file, and the variables of the env file where one is named.
///
/// # Errors
/// If a variable is not UTF-8, a file cannot be read or is malformed, or there is no profile of the given name.
pub fn sources(options: &cli::SourceArgs) -> Result<Sources, Failure> {
    variables::check_environment()?;
    let mut sources = Sources::default();
    if let Some(path) = &options.env_file {
        sources = with_env_file(sources, path, &Origin::Flag("--env-file"))?;
    }
    let profile = options.profile.as_deref();
    let Some(file) = settings_file::read()? else {
        let variable = sources.get("LANGSPAN_PROFILE").map(|found| found.value);
        return match profile.map(str::to_owned).or(variable) {
            Some(profile) => Err(settings_file::missing(&profile)),
            None => Ok(sources),
        };
    };
    sources = sources.with_settings_file(file, profile, secrets::read)?;
    match sources.setting("env_file", &[]) {
        Some(Sourced { value, origin }) if options.env_file.is_none() => {
            with_env_file(sources, Path::new(&value), &origin)
        }
        _ => Ok(sources),
    }
}

fn with_env_file(sources: Sources, path: &Path, origin: &Origin) -> Result<Sources, Failure> {
    let content = fs::read(path).map_err(|error| {
        Failure::unreadable(path.display(), &error).hint(format!("check the path of {origin}"))
    })?;
    sources.with_env_file(path, &content)
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
