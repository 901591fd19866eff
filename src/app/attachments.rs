//! The files that become part of a request: images and files, each a content part by its type, and the JSON Schema of
//! the answer.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::app::text_files;
use crate::cli;
use crate::content_type;
use crate::expect::schema::JsonSchema;
use crate::failure::Failure;
use crate::http::url::parse_http_url;
use crate::settings::{RequestFiles, Sources};

/// The most that all attachments of a call may hold together, in bytes: OpenAI's limit.
const MOST_BYTES: u64 = 50_000_000;

/// Reads the files that the options of a call name.
///
/// # Errors
/// If a file cannot be read, cannot be attached or is not a JSON Schema, or all attachments together are too large.
pub fn read(options: &cli::ModelArgs, sources: &Sources) -> Result<RequestFiles, Failure> {
    let format = options.schema.as_deref().map(response_format).transpose()?;
    let (response_format, schema) = format.unzip();
    Ok(RequestFiles {
        system: text_files::system(options, sources)?,
        params: text_files::params(options)?,
        default_params: text_files::default_params(sources)?,
        attachments: parts(&options.images, &options.files)?,
        response_format,
        schema,
    })
}

/// The content parts of `--image` and `--file`, in that order.
fn parts(images: &[String], files: &[PathBuf]) -> Result<Vec<Box<RawValue>>, Failure> {
    let mut reader = Reader { left: MOST_BYTES };
    let images = images.iter().map(|image| reader.image(image));
    let mut parts = images.collect::<Result<Vec<_>, _>>()?;
    for file in files {
        parts.push(reader.file(file)?);
    }
    // Texts and objects always serialise.
    Ok(parts
        .iter()
        .filter_map(|part| to_raw_value(part).ok())
        .collect())
}

/// Reads files while there is room for them.
struct Reader {
    left: u64,
}

impl Reader {
    fn image(&mut self, image: &str) -> Result<Value, Failure> {
        if image.contains("://") {
            let url = parse_http_url(image).map_err(|error| {
                Failure::usage(format!("--image: {error}"))
                    .hint("give a file, or a URL that the model's server can reach")
            })?;
            return Ok(image_part(url.as_str()));
        }
        if image.starts_with("data:") {
            return Ok(image_part(image));
        }
        let path = Path::new(image);
        let bytes = self.bytes(path, "--image")?;
        match content_type::of_file(path, &bytes) {
            Some(found) if found.starts_with("image/") => Ok(image_part(&data_uri(found, &bytes))),
            Some(found) => Err(
                Failure::input(format!("{image} is not an image but {found}"))
                    .hint("--file attaches other files"),
            ),
            None => Err(
                Failure::input(format!("the image type of {image} is not known"))
                    .hint("use PNG, JPEG, GIF or WebP; --file attaches other files"),
            ),
        }
    }

    /// An image and a sound have parts of their own, a text goes as text, and all else as a file.
    fn file(&mut self, path: &Path) -> Result<Value, Failure> {
        let bytes = self.bytes(path, "--file")?;
        let name = path
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        match content_type::of_file(path, &bytes) {
            Some("image/svg+xml") | None => match String::from_utf8(bytes) {
                Ok(text) if !text.contains('\0') => {
                    Ok(json!({"type": "text", "text": format!("{name}:\n\n{text}")}))
                }
                _ => Err(Failure::input(format!(
                    "the type of {} is not known, and it is not text",
                    path.display()
                ))
                .hint("attach UTF-8 text, images, PDF, audio or office documents")),
            },
            Some(found) if found.starts_with("image/") => Ok(image_part(&data_uri(found, &bytes))),
            Some(found @ ("audio/wav" | "audio/mpeg")) => {
                let format = if found == "audio/wav" { "wav" } else { "mp3" };
                let data = BASE64_STANDARD.encode(bytes);
                Ok(json!({"type": "input_audio", "input_audio": {"data": data, "format": format}}))
            }
            Some(found) => {
                let data = data_uri(found, &bytes);
                Ok(json!({"type": "file", "file": {"filename": name, "file_data": data}}))
            }
        }
    }

    fn bytes(&mut self, path: &Path, option: &str) -> Result<Vec<u8>, Failure> {
        let name = path.display();
        let cannot = |error: io::Error| {
            Failure::unreadable(path.display(), &error).hint(format!("check the path of {option}"))
        };
        let file = File::open(path).map_err(cannot)?;
        if file.metadata().map_err(cannot)?.is_dir() {
            return Err(Failure::file(format!("{name} is a directory")).hint("name a file in it"));
        }
        let mut bytes = Vec::new();
        file.take(self.left + 1)
            .read_to_end(&mut bytes)
            .map_err(cannot)?;
        if bytes.is_empty() {
            return Err(Failure::input(format!("{name} is empty"))
                .hint(format!("omit {option}, or name a file with content")));
        }
        match self.left.checked_sub(bytes.len() as u64) {
            Some(left) => self.left = left,
            None => {
                return Err(Failure::input(format!(
                    "with {name}, the attachments exceed {} MB",
                    MOST_BYTES / 1_000_000
                ))
                .hint("attach less, make images smaller, or give the URL of an image"));
            }
        }
        Ok(bytes)
    }
}

fn image_part(url: &str) -> Value {
    json!({"type": "image_url", "image_url": {"url": url}})
}

fn data_uri(content_type: &str, bytes: &[u8]) -> String {
    format!(
        "data:{content_type};base64,{}",
        BASE64_STANDARD.encode(bytes)
    )
}

/// A JSON Schema as `response_format`, and to check the answer. Strict where the schema allows it: OpenAI requires closed
/// objects for that.
fn response_format(file: &Path) -> Result<(Value, JsonSchema), Failure> {
    let text = fs::read_to_string(file).map_err(|error| {
        Failure::unreadable(file.display(), &error).hint("check the path of --schema")
    })?;
    let schema: Value = serde_json::from_str(&text).map_err(|error| {
        Failure::input(format!("{} is not valid JSON: {error}", file.display()))
            .hint("--schema takes a JSON Schema")
    })?;
    if !schema.is_object() {
        return Err(
            Failure::input(format!("{} is not a JSON Schema", file.display()))
                .hint("expected a JSON object"),
        );
    }
    let sound = |schema: &Value| {
        JsonSchema::new(schema.clone()).map_err(|error| {
            Failure::input(format!(
                "{} is not a sound JSON Schema: {error}",
                file.display()
            ))
            .hint("--schema takes a JSON Schema of draft 7 or 2020-12")
        })
    };
    if schema["schema"].is_object() && schema["name"].is_string() {
        let sound = sound(&schema["schema"])?;
        return Ok((json!({"type": "json_schema", "json_schema": schema}), sound));
    }
    let sound = sound(&schema)?;
    let stem = file
        .file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let name: String = stem
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .take(64)
        .collect();
    let strict = schema["additionalProperties"] == false;
    let format = json!({"name": name, "strict": strict, "schema": schema});
    Ok((json!({"type": "json_schema", "json_schema": format}), sound))
}
