//! Base64 content in JSON bodies, and what stands for it in a trace. Pure functions over the text of the body, which
//! may hold megabytes of it: the text is searched, not parsed.
//!
//! Found are whole strings that are data URIs, wherever they stand, and what OpenAI's bodies hold as bare base64: the
//! `data` of `input_audio` and of an answer's `audio`, and `file_data`.

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
use crate::json::scan::{string_end, strings_with_prefix, unquote, values_of_key};

/// As lenient as decoders of media are: padding may be missing, and unused bits may be set.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
/// How far the head of a data URI is looked for: its type and parameters.
const LONGEST_HEAD: usize = 256;

/// A JSON string that holds base64 content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Where it stands in the text, quotes included.
    place: Range<usize>,
    /// The type that stands beside the content; its bytes tell when none does.
    content_type: Option<String>,
}

impl Slot {
    /// The string as it is written.
    pub fn text<'a>(&self, json: &'a str) -> &'a str {
        &json[self.place.clone()]
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
    fn new(content_type: Option<&str>, bytes: Vec<u8>) -> Self {
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

    /// The id that a Langfuse gives it: the first 132 bits of its hash, so that the same content is stored once.
    pub fn id(&self) -> String {
        const LENGTH: usize = 22;
        let hash = self.sha256().replace('+', "-").replace('/', "_");
        hash[..LENGTH].to_owned()
    }

    /// What stands for it in a trace, and what Langfuse shows it in the place of.
    pub fn reference(&self) -> String {
        reference(&self.content_type, &self.id())
    }

    /// What stands for it in a trace that does not have it.
    pub fn placeholder(&self) -> String {
        format!("[{}, {} bytes]", self.content_type, self.bytes.len())
    }
}

/// What stands for the content that a Langfuse keeps as `id`.
pub fn reference(content_type: &str, id: &str) -> String {
    format!("@@@langfuseMedia:type={content_type}|id={id}|source=base64_data_uri@@@")
}

/// Whether a body may hold media at all. Every form of it has `data` in its name, so that a body without costs one
/// search.
pub fn may_be_in(json: &str) -> bool {
    json.contains("data")
        && ["base64,", "input_audio", "file_data", "\"audio\""]
            .iter()
            .any(|mark| json.contains(mark))
}

/// Where a JSON text holds base64 content, in its order.
pub fn find(json: &str) -> Vec<Slot> {
    if !may_be_in(json) {
        return Vec::new();
    }
    let mut slots: Vec<Slot> = data_uris(json).collect();
    for key in ["\"input_audio\"", "\"audio\""] {
        slots.extend(values_of_key(json, key).filter_map(|at| audio(json, at)));
    }
    slots.extend(values_of_key(json, "\"file_data\"").filter_map(|at| bare(json, at, None)));
    // A data URI in the place of bare base64 was found first, and is told by its own type.
    slots.sort_by_key(|slot| slot.place.start);
    slots.dedup_by_key(|slot| slot.place.start);
    slots
}

/// The content of a slot; an error says what stands for it, when it cannot be decoded.
///
/// # Errors
/// When what looked like base64 is none.
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
            format!("[{content_type}, {length} characters that are no base64]")
        })
}

/// `json` with a text in the place of each slot.
pub fn replace(json: &str, slots: &[Slot], texts: &[String]) -> String {
    let mut edits = Edits::new(json);
    for (slot, text) in slots.iter().zip(texts) {
        edits.replace_with_string(slot.place.clone(), text);
    }
    edits.finish().unwrap_or_else(|| json.to_owned())
}

/// `json` with type and size in the place of all media.
pub fn outlined(json: &str) -> Cow<'_, str> {
    let slots = find(json);
    if slots.is_empty() {
        return Cow::Borrowed(json);
    }
    let texts: Vec<String> = slots.iter().map(|slot| placeholder(json, slot)).collect();
    Cow::Owned(replace(json, &slots, &texts))
}

/// What stands for a slot in a trace that does not have its content.
pub fn placeholder(json: &str, slot: &Slot) -> String {
    read(json, slot).map_or_else(|outline| outline, |media| media.placeholder())
}

/// The strings that are data URIs with base64.
fn data_uris(json: &str) -> impl Iterator<Item = Slot> {
    strings_with_prefix(json, "\"data:").filter_map(|start| {
        let end = string_end(json, start)?;
        let head = &json.as_bytes()[start + 1..end];
        let head = String::from_utf8_lossy(&head[..head.len().min(LONGEST_HEAD)]);
        let (head, _) = head.strip_prefix("data:")?.split_once(";base64,")?;
        // Some writers of JSON escape the slash.
        let head = head.replace("\\/", "/");
        let content_type = head.split(';').next().unwrap_or_default();
        Some(Slot {
            place: start..end,
            content_type: is_content_type(content_type).then(|| content_type.to_ascii_lowercase()),
        })
    })
}

/// What an object with bare base64 holds beside its type.
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
    // Both point into the same text, so the distance is the offset.
    let start = data?.get().as_ptr() as usize - json.as_ptr() as usize;
    let format = format.as_str().filter(|format| is_word(format));
    // Samples without a head have no type of their own.
    let content_type = format
        .filter(|format| !format.starts_with("pcm"))
        .map(|format| format!("audio/{}", format.to_ascii_lowercase()));
    bare(json, start, content_type)
}

/// The string at `start`, if it can be base64 alone: other servers take a URL in the same place.
fn bare(json: &str, start: usize, content_type: Option<String>) -> Option<Slot> {
    const LOOKED_AT: usize = 64;
    let end = json[start..]
        .starts_with('"')
        .then(|| string_end(json, start))
        .flatten()?;
    let text = &json.as_bytes()[start + 1..end - 1];
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=\\".contains(byte);
    (!text.is_empty() && text.iter().take(LOOKED_AT).all(fits)).then_some(Slot {
        place: start..end,
        content_type,
    })
}

/// Decodes base64 of either alphabet, with line ends in it, or in several padded pieces, as the fragments of a stream
/// add up to.
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

/// A name without what would end it in a reference.
fn is_word(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The smallest PNG head that is one.
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

    fn media(json: &str) -> Vec<(String, Vec<u8>)> {
        let slots = find(json);
        let read = slots.iter().map(|slot| read(json, slot).unwrap());
        read.map(|media| (media.content_type, media.bytes))
            .collect()
    }

    fn only(json: &str) -> (String, Vec<u8>) {
        let found = media(json);
        assert_eq!(found.len(), 1, "{json}");
        found[0].clone()
    }

    #[test]
    fn a_hash_names_the_content_as_langfuse_does() {
        // printf Hello | openssl dgst -sha256 -binary | base64
        let media = Media::new(Some("text/plain"), b"Hello".to_vec());
        assert_eq!(
            media.sha256(),
            "GF+NsyJx/iX1Yab8k4suJkMG7DBO2lGAB9F2SCY4GWk="
        );
        assert_eq!(media.id(), "GF-NsyJx_iX1Yab8k4suJk");
        assert_eq!(
            media.reference(),
            "@@@langfuseMedia:type=text/plain|id=GF-NsyJx_iX1Yab8k4suJk|source=base64_data_uri@@@"
        );
        assert_eq!(media.placeholder(), "[text/plain, 5 bytes]");
    }

    #[test]
    fn every_form_of_openai_bodies_is_found() {
        let png = BASE64_STANDARD.encode(PNG);
        for (json, content_type) in [
            (
                json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{png}")}}),
                "image/png",
            ),
            (
                json!({"url": format!("data:image/x.y;charset=utf-8;base64,{png}")}),
                "image/x.y",
            ),
            (json!({"url": format!("data:;base64,{png}")}), "image/png"),
            (
                json!({"input_audio": {"data": png, "format": "wav"}}),
                "audio/wav",
            ),
            (
                json!({"input_audio": {"data": png, "format": "a|b"}}),
                "image/png",
            ),
            (
                json!({"input_audio": {"data": format!("data:audio/ogg;base64,{png}"), "format": "wav"}}),
                "audio/ogg",
            ),
            (
                json!({"file": {"filename": "a.pdf", "file_data": png}}),
                "image/png",
            ),
            (
                json!({"file": {"file_data": format!("data:application/pdf;base64,{png}")}}),
                "application/pdf",
            ),
            (
                json!({"audio": {"id": "a", "data": png, "transcript": "t"}}),
                "image/png",
            ),
        ] {
            let expected = (content_type.to_owned(), PNG.to_vec());
            assert_eq!(only(&json.to_string()), expected);
            assert_eq!(only(&format!("{json:#}")), expected, "with spaces");
            assert_eq!(
                only(&json.to_string().replace('/', "\\/")),
                expected,
                "with slashes escaped"
            );
        }
    }

    #[test]
    fn base64_is_read_leniently() {
        let stated =
            |text: &str| only(&json!({"url": format!("data:a/b;base64,{text}")}).to_string()).1;
        assert_eq!(stated("SGk="), b"Hi");
        assert_eq!(stated("SGk"), b"Hi");
        assert_eq!(stated("SG\r\nk="), b"Hi");
        assert_eq!(stated("_-8="), [0xff, 0xef]);
        assert_eq!(stated("SGk=SGk="), b"HiHi", "fragments of a stream");
        assert_eq!(stated(""), b"");
    }

    #[test]
    fn what_is_no_media_is_left() {
        for json in [
            json!({"content": "the data:image/png;base64,AAAA of a page"}),
            json!({"content": r#"{"url":"data:image/png;base64,AAAA"}"#}),
            json!({"content": r#"an "input_audio": {"data": "AAAA"}"#}),
            json!({"url": "data:text/plain,base64"}),
            json!({"url": "https://example.com/data:image/png;base64,AAAA"}),
            json!({"file": {"file_data": "https://example.com/a.pdf"}}),
            json!({"file": {"file_id": "file-1"}}),
            json!({"audio": {"voice": "alloy", "format": "wav"}}),
            json!({"audio": {"data": null}}),
            json!({"input_audio": "data"}),
            json!({"type": "input_audio", "data": 7}),
            json!({"type": "file_data"}),
        ] {
            let text = json.to_string();
            assert_eq!(find(&text), [], "{text}");
            assert_eq!(outlined(&text), text);
        }
    }

    #[test]
    fn what_is_no_base64_leaves_an_outline() {
        let json = r#"{"url":"data:image/png;base64,***"}"#;
        assert_eq!(
            outlined(json),
            r#"{"url":"[image/png, 3 characters that are no base64]"}"#
        );
    }

    #[test]
    fn texts_take_the_places_and_nothing_else_changes() {
        let json = r#"{"n":1.0,"a":"data:a/b;base64,SGk=", "é":["data:c/d;base64,SGk="],"z":1e5}"#;
        let texts = ["one \"x\"".to_owned(), "two".to_owned()];
        assert_eq!(
            replace(json, &find(json), &texts),
            r#"{"n":1.0,"a":"one \"x\"", "é":["two"],"z":1e5}"#
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_breaks_the_json(text in "\\PC*", tail in "[\"\\\\a{}:, ]{0,12}") {
            for start in ["\"data:a/b;base64,", "\"input_audio\":", "\"audio\":{\"data\":\"", "\"file_data\":\""] {
                outlined(&format!("{start}{text}{tail}"));
            }
            let json = json!({&text: {"input_audio": {"data": &tail}}, "url": format!("data:{text};base64,{tail}"), "file_data": &text});
            let outlined = outlined(&json.to_string()).into_owned();
            prop_assert!(serde_json::from_str::<Value>(&outlined).is_ok(), "{}", outlined);
        }
    }
}
