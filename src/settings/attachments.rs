//! Images and files that go with a prompt: each is read, told by its type, and made a content part.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::content_type;
use crate::failure::Failure;
use crate::http::url::parse_http_url;

/// What all attachments of a call may hold together, which is what OpenAI takes.
const MOST_BYTES: u64 = 50_000_000;

/// The content parts of `--image` and `--file`, in that order.
///
/// # Errors
/// When a file cannot be read, is of a type that cannot be attached, or all of them hold too much.
pub fn read(images: &[String], files: &[impl AsRef<Path>]) -> Result<Vec<Box<RawValue>>, Failure> {
    let mut reader = Reader { left: MOST_BYTES };
    let images = images.iter().map(|image| reader.image(image));
    let mut parts = images.collect::<Result<Vec<_>, _>>()?;
    for file in files {
        parts.push(reader.file(file.as_ref())?);
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
            Some(found) => Err(Failure::input(format!("{image} is no image, but {found}"))
                .hint("--file attaches other files")),
            None => Err(
                Failure::input(format!("{image} is of no image type that is known")).hint(
                    "PNG, JPEG, GIF and WebP are known everywhere; --file attaches other files",
                ),
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
                    "{} is neither text nor of a type that is known",
                    path.display()
                ))
                .hint("text in UTF-8, images, PDF, audio and office documents can be attached")),
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
            Failure::file(format!("{name} cannot be read: {error}"))
                .hint(format!("check the path of {option}"))
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
                .hint(format!("leave its {option} out, or fill it")));
        }
        match self.left.checked_sub(bytes.len() as u64) {
            Some(left) => self.left = left,
            None => {
                return Err(Failure::input(format!(
                    "with {name} the attachments hold more than {} MB",
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
