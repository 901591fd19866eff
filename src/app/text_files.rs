//! The files whose text becomes part of a request: a system message, values of `--param`, earlier messages.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use crate::app::prompt::MOST_INPUT_BYTES;
use crate::cli::{self, Parameter, ParameterValue};
use crate::console::Console;
use crate::failure::Failure;
use crate::settings::sources::parse_found;
use crate::settings::{Origin, Rank, Sourced, Sources};

/// The name and the JSON text of a field.
type Field = (String, Box<RawValue>);

/// The system message: of an option, else of the settings file.
///
/// # Errors
/// If its file cannot be read.
pub fn system(
    options: &cli::ModelArgs,
    sources: &Sources,
) -> Result<Option<Sourced<String>>, Failure> {
    if let Some(text) = &options.system {
        return Ok(Some(Sourced::new(text.clone(), Origin::Flag("--system"))));
    }
    if let Some(path) = &options.system_file {
        let origin = Origin::Flag("--system-file");
        return Ok(Some(Sourced::new(message(path, &origin)?, origin)));
    }
    for rank in Rank::ALL {
        if let Some(found) = sources.text(rank, "system") {
            return Ok(Some(found));
        }
        if let Some(Sourced { value, origin }) = sources.text(rank, "system_file") {
            let text = message(Path::new(&value), &origin)?;
            return Ok(Some(Sourced::new(text, origin)));
        }
    }
    Ok(None)
}

/// The fields of `--param`.
///
/// # Errors
/// If a file cannot be read, or does not hold JSON where it must.
pub fn params(options: &cli::ModelArgs) -> Result<Vec<Field>, Failure> {
    let origin = Origin::Flag("--param");
    let fields = options.param.iter();
    fields.map(|parameter| field(parameter, &origin)).collect()
}

/// The fields of the key `param`, the weakest table first.
///
/// # Errors
/// If one is malformed, or a file cannot be read.
pub fn default_params(sources: &Sources) -> Result<Vec<Field>, Failure> {
    let weakest_first = Rank::ALL.into_iter().rev();
    let mut fields = Vec::new();
    for entry in weakest_first.filter_map(|rank| sources.entry(rank, "param")) {
        for text in &entry.value.texts {
            let text = Sourced::new(text.clone(), entry.origin.clone());
            fields.push(field(&parse_found(&text, cli::parameter)?, &entry.origin)?);
        }
    }
    Ok(fields)
}

/// The variables of a managed prompt: those of a file, then those of options.
///
/// # Errors
/// If a file cannot be read, or does not hold JSON where it must.
pub fn variables(
    options: &[Parameter],
    file: Option<&Path>,
) -> Result<Map<String, Value>, Failure> {
    let mut variables = match file {
        Some(path) => {
            let origin = Origin::Flag("--vars");
            let read = json(path, &text(path, &origin)?, &origin)?;
            serde_json::from_str(read.get()).map_err(|_| {
                Failure::input(format!("{} is not a JSON object", path.display()))
                    .hint("as in {\"topic\": \"tracing\"}")
            })?
        }
        None => Map::new(),
    };
    let origin = Origin::Flag("--var");
    let unread = |error: serde_json::Error| Failure::from(anyhow::Error::from(error));
    for Parameter { name, value } in options {
        let value = match value {
            ParameterValue::Json(text) => serde_json::from_str(text).map_err(unread)?,
            ParameterValue::TextFile(path) => message(path, &origin)?.into(),
            ParameterValue::JsonFile(path) => {
                let read = json(path, &text(path, &origin)?, &origin)?;
                serde_json::from_str(read.get()).map_err(unread)?
            }
        };
        variables.insert(name.clone(), value);
    }
    Ok(variables)
}

fn field(parameter: &Parameter, origin: &Origin) -> Result<Field, Failure> {
    // The command line has parsed the JSON, and texts always serialise.
    let unread = |error: serde_json::Error| Failure::from(anyhow::Error::from(error));
    let value: Box<RawValue> = match &parameter.value {
        ParameterValue::Json(text) => serde_json::from_str(text).map_err(unread)?,
        ParameterValue::TextFile(path) => to_raw_value(&text(path, origin)?).map_err(unread)?,
        ParameterValue::JsonFile(path) => json(path, &text(path, origin)?, origin)?,
    };
    if parameter.name == "messages" && !value.get().starts_with('[') {
        return Err(
            Failure::usage(format!("{origin}: `messages` is not an array"))
                .hint("give an array of messages; the prompt is added to it"),
        );
    }
    Ok((parameter.name.clone(), value))
}

/// The array of messages of `--messages`.
///
/// # Errors
/// If the file cannot be read, or holds something else.
pub fn messages(path: &Path) -> Result<Vec<Box<RawValue>>, Failure> {
    let origin = Origin::Flag("--messages");
    let text = text(path, &origin)?;
    let messages = json(path, &text, &origin)?;
    let all: Option<Vec<Box<RawValue>>> = serde_json::from_str(messages.get()).ok();
    all.filter(|messages| messages.iter().all(|message| is_message(message)))
        .ok_or_else(|| {
            Failure::input(format!("{} is not an array of messages", path.display()))
                .hint("as in [{\"role\": \"user\", \"content\": \"Hello\"}]")
        })
}

/// Whether a JSON text is an object with a role.
pub fn is_message(text: &RawValue) -> bool {
    let message: Option<Map<String, Value>> = serde_json::from_str(text.get()).ok();
    message.is_some_and(|message| message.get("role").is_some_and(Value::is_string))
}

/// Warns when a text that begins with `@` names a file: it is sent as it is. `option` would read the file.
pub fn warn_of_at(text: &str, what: &str, option: &str, console: &Console) {
    let file = text.strip_prefix('@').map(str::trim);
    if let Some(file) = file.filter(|file| !file.is_empty() && Path::new(file).is_file()) {
        console.warn(&format!(
            "the {what} `@{file}` is sent as it is; to send the file, use {option} {file}"
        ));
    }
}

/// The text of a file, without the line end that editors add.
fn message(path: &Path, origin: &Origin) -> Result<String, Failure> {
    let text = text(path, origin)?;
    let message = text.strip_suffix('\n').unwrap_or(&text);
    Ok(message.strip_suffix('\r').unwrap_or(message).to_owned())
}

/// The text of a file.
fn text(path: &Path, origin: &Origin) -> Result<String, Failure> {
    let name = path.display();
    let hint = format!("check the path of {origin}");
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(MOST_INPUT_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| Failure::unreadable(&name, &error).hint(hint))?;
    if bytes.len() as u64 > MOST_INPUT_BYTES {
        return Err(Failure::input(format!("{name} holds more than 100 MB")).hint("send less"));
    }
    String::from_utf8(bytes).map_err(|_| {
        Failure::input(format!("{name} is not UTF-8 text"))
            .hint(format!("convert it; {origin} takes text"))
    })
}

/// The JSON text of a file, as it is written there.
fn json(path: &Path, text: &str, origin: &Origin) -> Result<Box<RawValue>, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::input(format!("{} is not valid JSON: {error}", path.display()))
            .hint(format!("{origin} takes a file with one JSON value"))
    })
}
