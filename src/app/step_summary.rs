//! The summary of a step of GitHub Actions, which the page of the job shows.

use std::fs::OpenOptions;
use std::io::Write;

use crate::failure::Failure;
use crate::settings::Sources;

/// The variable that names its file.
const VARIABLE: &str = "GITHUB_STEP_SUMMARY";

/// Appends Markdown to the summary, if the variable of its file is set.
///
/// # Errors
/// When the file cannot be written.
pub fn append(markdown: &str, sources: &Sources) -> Result<(), Failure> {
    let Some(path) = sources.get(VARIABLE) else {
        return Ok(());
    };
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path.value);
    let written = file.and_then(|mut file| file.write_all(markdown.as_bytes()));
    written.map_err(|error| {
        Failure::unwritable(VARIABLE, &error).hint("it must name a file that can be appended to")
    })
}
