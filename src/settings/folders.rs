//! The folders that langspan keeps files in.

use std::path::PathBuf;

use super::sources::Sources;

/// The folder of langspan's state, by the XDG base directory specification.
///
/// # Errors
/// If neither `XDG_STATE_HOME` nor `HOME` is set.
pub fn state_dir(sources: &Sources) -> Result<PathBuf, String> {
    let home = || sources.path("HOME").map(|home| home.join(".local/state"));
    let state = sources
        .path("XDG_STATE_HOME")
        .filter(|path| path.is_absolute());
    let state = state
        .or_else(home)
        .ok_or("neither XDG_STATE_HOME nor HOME is set")?;
    Ok(state.join(env!("CARGO_PKG_NAME")))
}

/// The folder for what can be fetched again, by the XDG base directory specification; `None` if neither
/// `XDG_CACHE_HOME` nor `HOME` is set.
pub fn cache_dir(sources: &Sources) -> Option<PathBuf> {
    let home = || sources.path("HOME").map(|home| home.join(".cache"));
    let cache = sources
        .path("XDG_CACHE_HOME")
        .filter(|path| path.is_absolute());
    Some(cache.or_else(home)?.join(env!("CARGO_PKG_NAME")))
}
