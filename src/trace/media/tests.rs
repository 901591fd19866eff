//! Base64 content, found where each dialect has it.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// The signature of a PNG.
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
fn content_beside_its_type_is_found() {
    let png = BASE64_STANDARD.encode(PNG);
    for (json, content_type) in [
        (
            json!({"source": {"type": "base64", "media_type": "image/webp", "data": png}}),
            "image/webp",
        ),
        (
            json!({"source": {"data": png, "media_type": "text/csv", "type": "base64"}}),
            "text/csv",
        ),
        (
            json!({"inlineData": {"mimeType": "audio/ogg", "data": png}}),
            "audio/ogg",
        ),
        (
            json!({"type": "blob", "mime_type": "image/png", "content": png}),
            "image/png",
        ),
        (
            json!({"type": "image", "image": png, "mediaType": "image/gif"}),
            "image/gif",
        ),
    ] {
        let expected = (content_type.to_owned(), PNG.to_vec());
        assert_eq!(only(&json.to_string()), expected);
        assert_eq!(only(&format!("{json:#}")), expected, "with spaces");
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
fn other_strings_are_left_alone() {
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
        json!({"media_type": "text/plain", "data": "plaintext"}),
        json!({"media_type": "image/png", "data": "https://example.com/a.png"}),
        json!({"media_type": {"data": "AAAA"}, "data": "AAAA"}),
        json!({"mime_type": "image/png", "parts": [{"content": "AAAA"}]}),
    ] {
        let text = json.to_string();
        assert_eq!(find(&text), [], "{text}");
        assert_eq!(with_placeholders(&text), text);
    }
}

#[test]
fn invalid_base64_becomes_a_placeholder() {
    let json = r#"{"url":"data:image/png;base64,***"}"#;
    assert_eq!(
        with_placeholders(json),
        r#"{"url":"[image/png, 3 characters, not base64]"}"#
    );
}

#[test]
fn only_the_slots_are_replaced() {
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
        for start in ["{\"media_type\":\"a/b\",\"data\":", "\"data:a/b;base64,", "\"input_audio\":", "\"audio\":{\"data\":\"", "\"file_data\":\""] {
            with_placeholders(&format!("{start}{text}{tail}"));
        }
        let json = json!({&text: {"input_audio": {"data": &tail}}, "url": format!("data:{text};base64,{tail}"), "file_data": &text});
        let outlined = with_placeholders(&json.to_string()).into_owned();
        prop_assert!(serde_json::from_str::<Value>(&outlined).is_ok(), "{}", outlined);
    }
}
