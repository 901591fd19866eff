//! Finds and opens the settings file: `langspan/config.toml` in the folder of the XDG base directory specification.

use std::env;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::settings::file::SettingsFile;

/// Where the settings file is, whether it exists or not; none without a home.
pub fn path() -> Option<PathBuf> {
    let folder = |name: &str| env::var_os(name).map(PathBuf::from);
    let config = folder("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let home = || {
        folder("HOME")
            .filter(|home| !home.as_os_str().is_empty())
            .map(|home| home.join(".config"))
    };
    let config = config.or_else(home)?;
    Some(config.join(env!("CARGO_PKG_NAME")).join("config.toml"))
}

/// Reads the settings file; none when it does not exist.
///
/// # Errors
/// If it cannot be read, is malformed, or holds a key and can be read by others.
pub fn read() -> Result<Option<SettingsFile>, Failure> {
    path().map_or(Ok(None), |path| read_at(&path))
}

fn read_at(path: &Path) -> Result<Option<SettingsFile>, Failure> {
    let unreadable = |error| {
        Failure::unreadable(format!("the settings file {}", path.display()), &error)
            .hint("it must be a file that you can read; langspan config path names it")
    };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        // A home that cannot be searched, as in many containers, has no settings file either.
        Err(_) if fs::symlink_metadata(path).is_err() => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::config(format!("{} is not UTF-8 text", path.display()))
            .hint("write it as TOML, in UTF-8")
    })?;
    let settings = SettingsFile::parse(path, &text)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    if settings.holds_secret() && mode & 0o077 != 0 {
        return Err(Failure::config(format!(
            "{} holds a key, and others can read it (mode {:04o})",
            path.display(),
            mode & 0o7777
        ))
        .hint("let only yourself read it")
        .command(format!("chmod 600 '{}'", path.display())));
    }
    Ok(Some(settings))
}

/// The failure where there is no place for a settings file.
pub fn homeless() -> Failure {
    Failure::config(
        "there is no place for a settings file: neither XDG_CONFIG_HOME nor HOME is set",
    )
    .hint("set XDG_CONFIG_HOME to a folder")
}

/// The failure when a profile is named, and there is no settings file.
pub fn missing(profile: &str) -> Failure {
    let place = path().map_or_else(
        || "neither XDG_CONFIG_HOME nor HOME is set".to_owned(),
        |path| format!("{} does not exist", path.display()),
    );
    Failure::config(format!(
        "profile `{profile}` not found: there is no settings file ({place})"
    ))
    .hint("langspan config init writes one")
}
