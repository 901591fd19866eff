//! Finds base64 content in JSON bodies, and replaces it with references or placeholders. Pure functions; a body may hold
//! megabytes of content, so its text is searched, not parsed.
//!
//! Finds strings that are data URIs, in any field; the fields of OpenAI's bodies with bare base64: `data` of
//! `input_audio` and of a response's `audio`, and `file_data`; and bare base64 in an object that states its media type,
//! as Anthropic, Gemini and the GenAI conventions write it. Uploading is done elsewhere.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::content_type;
use crate::json::edit::Edits;
use crate::json::scan::{string_end, strings_with_prefix, unquote, value_after_key, values_of_key};
use crate::sort;

/// As lenient as media decoders: padding may be missing, and unused bits may be set.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
/// The longest head of a data URI: its type and parameters.
const MAX_HEAD: usize = 256;
/// Keys whose value is the media type of the content beside it.
const TYPE_KEYS: [&str; 4] = [
    "\"media_type\"",
    "\"mediaType\"",
    "\"mime_type\"",
    "\"mimeType\"",
];
/// Keys of content whose media type stands beside it.
const CONTENT_KEYS: [&str; 3] = ["\"data\"", "\"content\"", "\"image\""];

/// A JSON string that holds base64 content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The range of the string, including its quotes.
    range: Range<usize>,
    /// The stated type. If there is none, the bytes are examined.
    content_type: Option<String>,
}

impl Slot {
    /// The string as written, with its quotes.
    pub fn text<'a>(&self, json: &'a str) -> &'a str {
        &json[self.range.clone()]
    }
}

/// Base64 content, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    pub content_type: String,
    pub bytes: Vec<u8>,
    digest: [u8; 32],
}

impl Media {
    /// Content of the stated type; without one, the bytes are examined.
    pub fn new(content_type: Option<&str>, bytes: Vec<u8>) -> Self {
        let content_type = content_type
            .or_else(|| content_type::of_bytes(&bytes))
            .unwrap_or(content_type::UNKNOWN);
        Self {
            content_type: content_type.to_owned(),
            digest: Sha256::digest(&bytes).into(),
            bytes,
        }
    }

    /// The SHA-256 of the bytes, in base64.
    pub fn sha256(&self) -> String {
        BASE64_STANDARD.encode(self.digest)
    }

    /// The id in Langfuse: the first 132 bits of the hash, so that the same content is stored once.
    pub fn id(&self) -> String {
        const LENGTH: usize = 22;
        let hash = self.sha256().replace('+', "-").replace('/', "_");
        hash[..LENGTH].to_owned()
    }

    /// The reference in a trace, which Langfuse replaces with the content.
    pub fn reference(&self) -> String {
        reference(&self.content_type, &self.id())
    }

    /// The placeholder in a trace without the content.
    pub fn placeholder(&self) -> String {
        format!("[{}, {} bytes]", self.content_type, self.bytes.len())
    }
}

/// The reference to content that Langfuse stores as `id`.
pub fn reference(content_type: &str, id: &str) -> String {
    format!("@@@langfuseMedia:type={content_type}|id={id}|source=base64_data_uri@@@")
}

/// Whether a body may contain media. Every form has `data` in its name or states a media type, so most bodies cost only
/// a few searches.
pub fn may_be_in(json: &str) -> bool {
    let is_named = json.contains("data")
        && ["base64,", "input_audio", "file_data", "\"audio\""]
            .iter()
            .any(|mark| json.contains(mark));
    is_named || states_type(json)
}

fn states_type(json: &str) -> bool {
    // The end of all these keys: one search is enough for most bodies.
    json.contains("ype\"") && TYPE_KEYS.iter().any(|key| json.contains(key))
}

/// The strings with base64 content in a JSON text, in order.
pub fn find(json: &str) -> Vec<Slot> {
    if !may_be_in(json) {
        return Vec::new();
    }
    let mut slots: Vec<Slot> = data_uris(json).collect();
    for key in ["\"input_audio\"", "\"audio\""] {
        slots.extend(values_of_key(json, key).filter_map(|at| audio(json, at)));
    }
    slots.extend(values_of_key(json, "\"file_data\"").filter_map(|at| bare(json, at, None)));
    if states_type(json) {
        slots.extend(typed(json));
    }
    // A data URI in a field for bare base64 was found as a data URI first; that slot, with its own type, stays.
    sort::sort_by_key(&mut slots, |slot| slot.range.start);
    slots.dedup_by_key(|slot| slot.range.start);
    slots
}

/// Decodes the content of a slot.
///
/// # Errors
/// If the string is not base64. The error is a placeholder.
pub fn read(json: &str, slot: &Slot) -> Result<Media, String> {
    let text = unquote(slot.text(json));
    let base64 = match text.split_once(";base64,") {
        Some((_, base64)) if text.starts_with("data:") => base64,
        _ => &text,
    };
    let stated = slot.content_type.as_deref();
    decode(base64)
        .map(|bytes| Media::new(stated, bytes))
        .ok_or_else(|| {
            let content_type = stated.unwrap_or(content_type::UNKNOWN);
            let length = base64.len();
            format!("[{content_type}, {length} characters, not base64]")
        })
}

/// Replaces each slot in `json` with a text.
pub fn replace(json: &str, slots: &[Slot], texts: &[String]) -> String {
    let mut edits = Edits::new(json);
    for (slot, text) in slots.iter().zip(texts) {
        edits.replace_with_string(slot.range.clone(), text);
    }
    edits.finish().unwrap_or_else(|| json.to_owned())
}

/// Replaces all media in `json` with placeholders.
pub fn with_placeholders(json: &str) -> Cow<'_, str> {
    let slots = find(json);
    if slots.is_empty() {
        return Cow::Borrowed(json);
    }
    let texts: Vec<String> = slots.iter().map(|slot| placeholder(json, slot)).collect();
    Cow::Owned(replace(json, &slots, &texts))
}

/// The placeholder for a slot.
pub fn placeholder(json: &str, slot: &Slot) -> String {
    read(json, slot).map_or_else(|placeholder| placeholder, |media| media.placeholder())
}

/// The strings that are base64 data URIs.
fn data_uris(json: &str) -> impl Iterator<Item = Slot> {
    strings_with_prefix(json, "\"data:").filter_map(|start| {
        let end = string_end(json, start)?;
        let head = &json.as_bytes()[start + 1..end];
        let head = String::from_utf8_lossy(&head[..head.len().min(MAX_HEAD)]);
        let (head, _) = head.strip_prefix("data:")?.split_once(";base64,")?;
        // Some JSON writers escape the slash.
        let head = head.replace("\\/", "/");
        let content_type = head.split(';').next().unwrap_or_default();
        Some(Slot {
            range: start..end,
            content_type: is_content_type(content_type).then(|| content_type.to_ascii_lowercase()),
        })
    })
}

/// An object with bare base64 and its format.
#[derive(Deserialize)]
struct Audio<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    format: Value,
}

/// The `data` of the object at `at`.
fn audio(json: &str, at: usize) -> Option<Slot> {
    let mut values = serde_json::Deserializer::from_str(&json[at..]).into_iter::<Audio<'_>>();
    let Audio { data, format } = values.next()?.ok()?;
    // Both point into the same text, so their distance is the offset.
    let start = data?.get().as_ptr() as usize - json.as_ptr() as usize;
    let format = format.as_str().filter(|format| is_word(format));
    // Raw PCM samples have no media type.
    let content_type = format
        .filter(|format| !format.starts_with("pcm"))
        .map(|format| format!("audio/{}", format.to_ascii_lowercase()));
    bare(json, start, content_type)
}

/// What an object says of content.
#[derive(Default)]
struct Described {
    content_type: Option<String>,
    is_base64: bool,
    /// Where its content starts.
    content: Option<usize>,
}

impl Described {
    fn slot(self, json: &str) -> Option<Slot> {
        let content_type = self.content_type.filter(|stated| is_content_type(stated))?;
        // A word of plain text can look like base64.
        if content_type.starts_with("text/") && !self.is_base64 {
            return None;
        }
        bare(json, self.content?, Some(content_type.to_ascii_lowercase()))
    }
}

/// The bare base64 of objects that state its media type.
fn typed(json: &str) -> Vec<Slot> {
    let bytes = json.as_bytes();
    let mut slots = Vec::new();
    // The objects around the present place.
    let mut objects: Vec<Described> = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' => objects.push(Described::default()),
            b'}' => slots.extend(objects.pop().and_then(|object| object.slot(json))),
            b'"' => {
                let Some(end) = string_end(json, at) else {
                    break;
                };
                let value = value_after_key(json, end)
                    .filter(|value| json[*value..].starts_with('"'))
                    .and_then(|value| Some((value, string_end(json, value)?)));
                let (Some((value, value_end)), Some(object)) = (value, objects.last_mut()) else {
                    at = end;
                    continue;
                };
                let (key, text) = (&json[at..end], &json[value..value_end]);
                if TYPE_KEYS.contains(&key) {
                    object.content_type = Some(unquote(text).into_owned());
                } else if CONTENT_KEYS.contains(&key) {
                    object.content = Some(value);
                } else if key == "\"type\"" {
                    object.is_base64 = text == "\"base64\"";
                }
                at = value_end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    slots
}

/// The string at `start`, if it can be bare base64. Some servers accept a URL in the same field.
fn bare(json: &str, start: usize, content_type: Option<String>) -> Option<Slot> {
    const EXAMINED: usize = 64;
    let end = json[start..]
        .starts_with('"')
        .then(|| string_end(json, start))
        .flatten()?;
    let text = &json.as_bytes()[start + 1..end - 1];
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=\\".contains(byte);
    (!text.is_empty() && text.iter().take(EXAMINED).all(fits)).then_some(Slot {
        range: start..end,
        content_type,
    })
}

/// Decodes base64 of either alphabet. It may contain line breaks and consist of several padded pieces, as assembled from
/// the fragments of a stream.
fn decode(text: &str) -> Option<Vec<u8>> {
    if let Ok(bytes) = BASE64.decode(text) {
        return Some(bytes);
    }
    let plain: String = text
        .chars()
        .filter(|c| !c.is_ascii_whitespace())
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            c => c,
        })
        .collect();
    let mut bytes = Vec::new();
    for piece in plain.split('=') {
        BASE64.decode_vec(piece, &mut bytes).ok()?;
    }
    Some(bytes)
}

fn is_content_type(text: &str) -> bool {
    text.split_once('/')
        .is_some_and(|(kind, name)| is_word(kind) && is_word(name))
}

/// Whether the text is a name without characters that would end it in a reference.
fn is_word(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte))
}

#[cfg(test)]
mod tests;
