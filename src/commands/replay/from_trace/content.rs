//! The texts of an input: whether they are whole, and the images and files that they refer to, which are fetched.

use std::collections::HashMap;
use std::ops::Range;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::app::trace_reader::TraceReader;
use crate::cli;
use crate::console::{Console, counted};
use crate::failure::Failure;
use crate::langfuse::Row;
use crate::model::dialect::TracedInput;
use crate::secret::REDACTED;
use crate::trace::media::Media;
use crate::trace::privacy::{CAPTURE, Capture};

const REFERENCE: &str = "@@@langfuseMedia:";
const END: &str = "@@@";
/// The fields whose text is an image or a file, or refers to one.
const OF_MEDIA: [&str; 6] = ["data", "file_data", "file_url", "image", "image_url", "url"];
/// Fields that name the type of the content beside them.
const TYPES: [&str; 4] = ["media_type", "mediaType", "mime_type", "mimeType"];

/// Completes the inputs of a run. Content that several refer to is fetched once.
#[derive(Debug)]
pub struct Contents<'a> {
    reader: TraceReader<'a>,
    fetched: HashMap<String, Media>,
    redactions: usize,
    /// The number of inputs that hold redacted text.
    redacted: u64,
}

impl<'a> Contents<'a> {
    pub fn new(reader: TraceReader<'a>) -> Self {
        Self {
            reader,
            fetched: HashMap::new(),
            redactions: 0,
            redacted: 0,
        }
    }

    /// Checks that the texts of an input are whole, and puts the content to which they refer in place of the references.
    ///
    /// # Errors
    /// If a text was cut, or content is not there or cannot be fetched.
    pub async fn complete(&mut self, row: &Row, input: &mut TracedInput) -> Result<(), Failure> {
        let captured = row
            .metadata(CAPTURE)
            .and_then(|level| cli::capture(level).ok());
        let mut found = Found {
            most: match captured {
                Some(Capture::Truncate(most)) => Some(most),
                _ => None,
            },
            ..Found::default()
        };
        for value in parts_of(input) {
            texts("", false, value, &mut |place, text| {
                found.look_at(place, text);
            });
        }
        if let Some(why) = found.missing {
            return Err(why);
        }
        if found.redactions > 0 {
            self.redactions += found.redactions;
            self.redacted += 1;
        }
        for id in found.ids {
            if !self.fetched.contains_key(&id) {
                let media = self.fetch(&id).await?;
                self.fetched.insert(id, media);
            }
        }
        for value in parts_of(input) {
            texts("", false, value, &mut |place, text| {
                *text = self.with_content(place, text);
            });
        }
        Ok(())
    }

    /// Warns if text that was redacted is asked as it stands.
    pub fn warn(&self, console: &Console) {
        if self.redacted > 0 {
            console.warn(&format!(
                "{} of {} redacted when traced, and asked as {REDACTED}",
                counted(self.redactions as u64, "passage"),
                if self.redacted == 1 {
                    "a generation was".to_owned()
                } else {
                    format!("{} generations were", self.redacted)
                }
            ));
        }
    }

    async fn fetch(&self, id: &str) -> Result<Media, Failure> {
        self.reader.api.fetch_media(id).await.map_err(|error| {
            let is_gone = matches!(error.status, Some(200..=299 | 404));
            let message = format!(
                "an image or file of it cannot be fetched: {}",
                error.message
            );
            let failure = self.reader.failure(error);
            if is_gone {
                return Failure::input(message).hint(
                    "only a generation whose images and files are in Langfuse can be asked again",
                );
            }
            Failure { message, ..failure }
        })
    }

    /// A text with content in place of its references.
    fn with_content(&self, place: Place, text: &str) -> String {
        let mut completed = String::new();
        let mut done = 0;
        for (range, id) in references(text) {
            let Some(media) = self.fetched.get(id) else {
                continue;
            };
            completed.push_str(&text[done..range.start]);
            if !place.is_bare {
                completed.extend(["data:", &media.content_type, ";base64,"]);
            }
            completed.push_str(&BASE64_STANDARD.encode(&media.bytes));
            done = range.end;
        }
        completed.push_str(&text[done..]);
        completed
    }
}

/// What the texts of an input show.
#[derive(Debug, Default)]
struct Found {
    /// The number of characters after which texts were cut.
    most: Option<usize>,
    /// Why the request cannot be made again.
    missing: Option<Failure>,
    redactions: usize,
    /// The content that is referred to.
    ids: Vec<String>,
}

impl Found {
    fn look_at(&mut self, place: Place, text: &str) {
        if self.missing.is_some() {
            return;
        }
        if let Some(most) = self.most
            && text.ends_with('…')
            && text.chars().count() == most + 1
        {
            let why = format!("its texts were cut when traced (--capture truncate={most})");
            self.missing = Some(Failure::input(why).hint("only whole messages can be asked again"));
            return;
        }
        if place.is_media && is_placeholder(text) {
            let why = format!("Langfuse has no content of an image or file of it, only {text}");
            self.missing = Some(
                Failure::input(why).hint("trace without --no-media, so that they are uploaded"),
            );
            return;
        }
        self.redactions += text.matches(REDACTED).count();
        let ids = references(text).map(|(_, id)| id.to_owned());
        self.ids.extend(ids);
    }
}

/// Where a text stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Whether it is an image or a file, or refers to one.
    is_media: bool,
    /// Whether content is bare base64 there, and a data URI elsewhere.
    is_bare: bool,
}

fn parts_of(input: &mut TracedInput) -> impl Iterator<Item = &mut Value> {
    let TracedInput {
        conversation,
        tools,
        functions,
    } = input;
    [conversation]
        .into_iter()
        .chain(tools.iter_mut())
        .chain(functions.iter_mut())
}

/// Visits every text below a value. `is_typed`: whether the type of the content stands beside it.
fn texts(
    field: &str,
    is_typed: bool,
    value: &mut Value,
    visit: &mut impl FnMut(Place, &mut String),
) {
    match value {
        Value::String(text) => {
            let is_content = is_typed && field == "content";
            let place = Place {
                is_media: is_content || OF_MEDIA.contains(&field),
                is_bare: is_content || field == "data",
            };
            visit(place, text);
        }
        Value::Array(items) => {
            for item in items {
                texts(field, is_typed, item, visit);
            }
        }
        Value::Object(fields) => {
            let is_typed = TYPES.iter().any(|name| fields.contains_key(*name));
            for (name, value) in fields {
                texts(name, is_typed, value, visit);
            }
        }
        _ => {}
    }
}

/// The references in a text, with the ids of what they refer to.
fn references(text: &str) -> impl Iterator<Item = (Range<usize>, &str)> {
    text.match_indices(REFERENCE).filter_map(|(start, _)| {
        let rest = &text[start + REFERENCE.len()..];
        let (fields, _) = rest.split_once(END)?;
        let end = start + REFERENCE.len() + fields.len() + END.len();
        let id = fields
            .split('|')
            .find_map(|field| field.strip_prefix("id="))?;
        Some((start..end, id))
    })
}

/// Whether a text has type and size in place of content, as `--no-media` leaves them.
fn is_placeholder(text: &str) -> bool {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    inner
        .and_then(|inner| inner.split_once(", "))
        .is_some_and(|(kind, size)| {
            let is_size = size.ends_with(" bytes") || size.ends_with("not base64");
            kind.contains('/') && is_size
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(most: Option<usize>, mut conversation: Value) -> Found {
        let mut found = Found {
            most,
            ..Found::default()
        };
        texts("", false, &mut conversation, &mut |place, text| {
            found.look_at(place, text);
        });
        found
    }

    #[test]
    fn cut_texts_and_missing_content_are_seen() {
        let missing = |most, value: Value| found(most, value).missing.is_some();
        assert!(missing(
            Some(3),
            json!([{"role": "user", "content": "abc…"}])
        ));
        assert!(!missing(
            Some(3),
            json!([{"role": "user", "content": "ab…"}])
        ));
        assert!(!missing(None, json!([{"role": "user", "content": "abc…"}])));
        let placeholder = "[image/png, 5 bytes]";
        assert!(missing(None, json!([{"image_url": {"url": placeholder}}])));
        assert!(missing(
            None,
            json!([{"type": "blob", "mime_type": "image/png", "content": placeholder}])
        ));
        assert!(!missing(
            None,
            json!([{"role": "user", "content": placeholder}])
        ));
    }

    #[test]
    fn references_and_redactions_are_found() {
        let reference = "@@@langfuseMedia:type=image/png|id=Ab-9_|source=base64_data_uri@@@";
        let text = format!("see {reference} and {reference}, [redacted]");
        let found = found(None, json!([{"content": text}]));
        assert_eq!(found.ids, ["Ab-9_", "Ab-9_"]);
        assert_eq!(found.redactions, 1);
        let (range, _) = references(&text).next().unwrap();
        assert_eq!(&text[range], reference);
        assert_eq!(references("@@@langfuseMedia:type=a|id=b").count(), 0);
    }
}
