//! The form and the amount of what is printed.

use super::sources::Sources;
use crate::cli;
use crate::console::OutputFormat;
use crate::failure::Failure;

/// Whether notes are suppressed, and how many `-v` count.
pub fn loudness(options: &cli::OutputArgs, sources: &Sources) -> (bool, u8) {
    // The settings file was checked when it was read.
    let quiet = sources.switch("--quiet", options.quiet, &[]);
    let quiet = quiet.is_ok_and(|quiet| quiet.is_some_and(|quiet| quiet.value));
    let verbosity = match options.verbose {
        0 => sources.setting("verbose", &[]),
        _ => None,
    };
    let verbosity = verbosity.and_then(|found| found.value.parse().ok());
    (quiet, verbosity.unwrap_or(options.verbose))
}

/// The format of a command that prints no model answer. `LANGSPAN_OUTPUT` may name a format for the other commands of a
/// script; text then takes its place.
///
/// # Errors
/// If the variable names no format.
pub fn text_or_json(options: &cli::OutputArgs, sources: &Sources) -> Result<OutputFormat, Failure> {
    Ok(match form(options, sources)? {
        OutputFormat::Json => OutputFormat::Json,
        _ => OutputFormat::Text,
    })
}

/// The output format: the option, else the variable, else text.
///
/// # Errors
/// If the variable does not name a format.
pub fn form(options: &cli::OutputArgs, sources: &Sources) -> Result<OutputFormat, Failure> {
    if options.json {
        return Ok(OutputFormat::Json);
    }
    if let Some(form) = options.output {
        return Ok(form);
    }
    sources
        .setting("output", &["LANGSPAN_OUTPUT"])
        .map_or(Ok(OutputFormat::default()), |found| {
            cli::form(found.value.trim()).map_err(|error| {
                Failure::config(format!(
                    "{}: `{}` is not an output format",
                    found.origin, found.value
                ))
                .hint(error)
            })
        })
}
