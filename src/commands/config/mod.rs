//! `langspan config`: the settings in force, where the settings file is, and how it is written the first time.

pub mod init;

use std::io::{self, IsTerminal as _};
use std::path::Path;

use serde::Serialize;

use crate::app::{attachments, settings_file};
use crate::cli::{ConfigRunArgs, RunArgs};
use crate::console::{self, Console, OutputFormat};
use crate::failure::{Failure, Verdict};
use crate::output::{ErrorReport, Printer, SCHEMA_VERSION};
use crate::settings::listing::{self, Listed};
use crate::settings::{self, CommandDefaults, Settings, Sources};

/// The document of `-o json`.
#[derive(Serialize)]
struct ConfigDocument<'a> {
    schema_version: u32,
    ok: bool,
    command: &'static str,
    settings: &'a [Listed],
    error: Option<ErrorReport>,
}

/// Lists the settings in force. Of settings that a call would refuse, it lists what is there, and says what is wrong.
///
/// # Errors
/// If the output format is malformed, or stdout cannot be written.
pub fn show(run: &ConfigRunArgs, sources: &Sources, console: &Console) -> Result<Verdict, Failure> {
    let form = settings::text_or_json(&run.options.output, sources)?;
    let resolved = resolve(&run.options, sources);
    let listed = listing::of(&run.texts, sources, resolved.as_ref().ok());
    let failure = resolved.err();
    let mut printer = Printer::new(form);
    if form == OutputFormat::Json {
        printer.document(&ConfigDocument {
            schema_version: SCHEMA_VERSION,
            ok: failure.is_none(),
            command: "config",
            settings: &listed,
            error: failure
                .as_ref()
                .map(|failure| ErrorReport::new(failure, console)),
        });
    } else {
        let is_narrow = io::stdout().is_terminal() && console::columns() < NARROW;
        printer.text(&table(&listed, is_narrow));
    }
    let mut verdict = Verdict::default();
    for failure in [failure, printer.take_failure()].into_iter().flatten() {
        console.error(&failure);
        verdict.add(failure.kind);
    }
    Ok(verdict)
}

/// What a call would make of the settings.
fn resolve(options: &RunArgs, sources: &Sources) -> Result<Settings, Failure> {
    let files = attachments::read(&options.model, sources)?;
    let settings = settings::resolve(options, files, &CommandDefaults::CALL, sources, None)?;
    settings.model.check_key()?;
    Ok(settings)
}

/// A terminal of fewer columns has no room for three columns of text.
const NARROW: usize = 60;

/// Name, value and origin in columns, or on a narrow terminal below each other. Lines of the settings file go by its name alone: its path has a row of its own.
fn table(listed: &[Listed], is_narrow: bool) -> String {
    let width = |of: fn(&Listed) -> &str| {
        let widths = listed.iter().map(|row| of(row).chars().count());
        // A long value must not push every origin to the right.
        widths.filter(|width| *width <= 48).max().unwrap_or(0)
    };
    let file = listed.iter().find(|row| row.name == listing::SETTINGS_FILE);
    let folder = file.and_then(|file| Path::new(&file.value).parent());
    let folder = folder.map_or_else(String::new, |folder| format!("{}/", folder.display()));
    let (names, values) = (width(|row| row.name), width(|row| &row.value));
    let lines = listed.iter().map(|row| {
        let Listed {
            name,
            value,
            origin,
        } = row;
        let origin = origin.strip_prefix(&folder).unwrap_or(origin);
        if is_narrow {
            format!("{name}\n  {value}\n  {origin}\n")
        } else {
            format!("{name:names$}  {value:values$}  {origin}\n")
        }
    });
    lines.collect()
}

/// Prints the path of the settings file.
///
/// # Errors
/// If there is no home, or stdout cannot be written.
pub fn path(console: &Console) -> Result<Verdict, Failure> {
    let path = settings_file::path().ok_or_else(settings_file::homeless)?;
    if !path.exists() {
        note_absence(console);
    }
    print(&format!("{}\n", path.display()))
}

/// Prints the names of the profiles.
///
/// # Errors
/// If the settings file cannot be used, or stdout cannot be written.
pub fn profiles(console: &Console) -> Result<Verdict, Failure> {
    let file = settings_file::read()?;
    if file.is_none() {
        note_absence(console);
    }
    let names = file.iter().flat_map(|file| file.profiles.keys());
    let lines: Vec<String> = names.map(|name| format!("{name}\n")).collect();
    print(&lines.concat())
}

fn note_absence(console: &Console) {
    console.note("the settings file does not exist; langspan config init writes one");
}

fn print(text: &str) -> Result<Verdict, Failure> {
    let mut printer = Printer::new(OutputFormat::Text);
    printer.text(text);
    printer
        .take_failure()
        .map_or_else(|| Ok(Verdict::default()), Err)
}
