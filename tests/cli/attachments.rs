//! `--image` and `--file`: the request to the model, and files that are refused before it is sent.

use std::fs;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::harness::{Ended, Langspan};
use crate::support::otlp::{Servers, attribute};

/// The first bytes of a PNG.
pub const PNG: &[u8] = b"\x89PNG\r\n\x1a\n picture";
pub const PDF: &[u8] = b"%PDF-1.7 \xff\xff";

/// What `bytes` look like as a data URI.
pub fn data_uri(content_type: &str, bytes: &[u8]) -> String {
    format!(
        "data:{content_type};base64,{}",
        BASE64_STANDARD.encode(bytes)
    )
}

pub fn image(url: &str) -> Value {
    json!({"type": "image_url", "image_url": {"url": url}})
}

/// A chat with files in its home.
fn chat(servers: &Servers, options: &[&str], files: &[(&str, &[u8])]) -> Langspan {
    let call = servers.call(&[&["chat", "--no-stdin", "What is this?"], options].concat());
    for (name, bytes) in files {
        call.file(name, bytes);
    }
    call
}

fn file(name: &str, content_type: &str, bytes: &[u8]) -> Value {
    let file = json!({"filename": name, "file_data": data_uri(content_type, bytes)});
    json!({"type": "file", "file": file})
}

fn sound(bytes: &[u8], format: &str) -> Value {
    let data = BASE64_STANDARD.encode(bytes);
    json!({"type": "input_audio", "input_audio": {"data": data, "format": format}})
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

#[test]
fn each_kind_of_file_becomes_its_kind_of_part() {
    const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
    let (wav, mp3) = (
        b"RIFF\x24\0\0\0WAVEfmt ".as_slice(),
        b"ID3\x03...".as_slice(),
    );
    let (zip, bmp) = (b"PK\x03\x04 sheet".as_slice(), b"BM...".as_slice());
    let png = image(&data_uri("image/png", PNG));
    for (option, name, bytes, part) in [
        ("--image", "a.png", PNG, png.clone()),
        // The bytes decide, not the name.
        ("--image", "photo.txt", PNG, png.clone()),
        ("--image", "a.bmp", bmp, image(&data_uri("image/bmp", bmp))),
        ("--file", "a.png", PNG, png),
        (
            "--file",
            "a.pdf",
            PDF,
            file("a.pdf", "application/pdf", PDF),
        ),
        ("--file", "a.xlsx", zip, file("a.xlsx", XLSX, zip)),
        ("--file", "a.wav", wav, sound(wav, "wav")),
        ("--file", "a.mp3", mp3, sound(mp3, "mp3")),
        ("--file", "notes", "é\n".as_bytes(), text("notes:\n\né\n")),
        ("--file", "a.svg", b"<svg/>", text("a.svg:\n\n<svg/>")),
    ] {
        let servers = Servers::answering("A picture.");
        let ended = chat(&servers, &[option, name], &[(name, bytes)]).run();
        ended.code(0).stdout("A picture.\n");
        let expected = json!([text("What is this?"), part]);
        assert_eq!(servers.prompt(), expected, "{option} {name}");
    }
}

#[test]
fn the_text_comes_first_then_images_then_files_in_their_order() {
    let servers = Servers::answering("Yes.");
    let options = [
        "--file",
        "a.pdf",
        "--image",
        "https://example.com/b.png",
        "--file",
        "c",
        "--image",
        "d.png",
        "-s",
        "Be brief.",
    ];
    chat(
        &servers,
        &options,
        &[("a.pdf", PDF), ("c", b"text"), ("d.png", PNG)],
    )
    .run()
    .code(0);
    let body = servers.body();
    assert_eq!(
        body["messages"][0],
        json!({"role": "system", "content": "Be brief."})
    );
    let parts = body["messages"][1]["content"].as_array().unwrap();
    let kinds: Vec<&Value> = parts.iter().map(|part| &part["type"]).collect();
    assert_eq!(kinds, ["text", "image_url", "image_url", "file", "text"]);
    assert_eq!(parts[1], image("https://example.com/b.png"));
    assert_eq!(parts[4]["text"], "c:\n\ntext");
}

#[test]
fn the_parent_span_holds_the_text_alone() {
    let servers = Servers::answering("A picture.");
    chat(&servers, &["--image", "a.png"], &[("a.png", PNG)])
        .run()
        .code(0);
    let trace = servers.trace();
    assert_eq!(
        attribute(&trace.parent, "input.value").unwrap(),
        "What is this?"
    );
}

/// Asserts that nothing was asked of anyone.
#[track_caller]
fn refused(servers: &Servers, ended: &Ended, code: i32, words: &[&str]) {
    ended.code(code).stdout("").stderr_has("hint:");
    for words in words {
        ended.stderr_has(words);
    }
    assert!(servers.model.requests().is_empty(), "{ended:#?}");
    assert!(servers.langfuse.requests().is_empty(), "{ended:#?}");
}

#[test]
fn unusable_attachments_are_reported_before_anything_is_sent() {
    for (options, code, words) in [
        (
            ["--image", "missing.png"],
            6,
            ["missing.png", "cannot be read"],
        ),
        (
            ["--file", "missing.pdf"],
            6,
            ["missing.pdf", "cannot be read"],
        ),
        (["--image", "."], 6, [".", "is a directory"]),
        (["--file", "."], 6, [".", "is a directory"]),
        (["--image", "empty"], 2, ["empty", "is empty"]),
        (
            ["--image", "a.pdf"],
            2,
            ["application/pdf", "--file attaches"],
        ),
        (
            ["--image", "notes"],
            2,
            ["notes", "image type of notes is not known"],
        ),
        (["--file", "binary"], 2, ["binary", "not text"]),
        (
            ["--image", "ftp://example.com/a.png"],
            2,
            ["--image", "ftp"],
        ),
        (
            ["--image", "https://user:pass@example.com/a.png"],
            2,
            ["--image", "credentials"],
        ),
    ] {
        let servers = Servers::answering("not asked");
        let files = [
            ("empty", b"".as_slice()),
            ("a.pdf", PDF),
            ("notes", b"text"),
            ("binary", b"\0\x01\xff"),
        ];
        let ended = chat(&servers, &options, &files).run();
        refused(&servers, &ended, code, &words);
    }
}

#[test]
fn all_attachments_together_may_hold_50_mb() {
    let servers = Servers::answering("not asked");
    let call = chat(
        &servers,
        &["--image", "a.png", "--file", "large.pdf"],
        &[("a.png", PNG)],
    );
    let large = fs::File::create(call.home().join("large.pdf")).unwrap();
    large.set_len(50_000_000).unwrap();
    refused(&servers, &call.run(), 2, &["large.pdf", "exceed 50 MB"]);
}

#[test]
fn attachments_go_to_the_last_user_message_of_a_replayed_request() {
    let servers = Servers::answering("hi");
    let body = r#"{"messages":[{"role":"user","content":"1"},{"role":"user","name":"n","content":[{"type":"text","text":"2","x":1.0}]},{"role":"assistant","content":"3"}],"seed":1.0,"model":"m"}"#;
    let call = servers
        .call(&["replay", "-", "--image", "a.png"])
        .stdin(body);
    call.file("a.png", PNG);
    call.run().code(0);
    let sent = String::from_utf8(servers.asked()[0].body.clone()).unwrap();
    let part = image(&data_uri("image/png", PNG));
    let expected = body.replace(r#""x":1.0}"#, &format!(r#""x":1.0}},{part}"#));
    assert_eq!(sent, expected);
}

#[test]
fn attachments_need_a_request_with_a_user_message() {
    let recording = r#"{"request":{"model":"m","messages":[{"role":"user","content":"q"}]},"response":{"choices":[]},"start_time":"2026-01-02T03:04:05Z","end_time":"2026-01-02T03:04:06Z"}"#;
    for (document, words) in [
        (recording, "--send"),
        (
            r#"{"model":"m","messages":[{"role":"system","content":"s"}]}"#,
            "no user message",
        ),
    ] {
        let servers = Servers::answering("not asked");
        let call = servers
            .call(&["replay", "-", "--image", "a.png"])
            .stdin(document);
        call.file("a.png", PNG);
        refused(&servers, &call.run(), 2, &[words]);
    }
    let servers = Servers::answering("hi");
    let call = servers
        .call(&["replay", "-", "--send", "--image", "a.png"])
        .stdin(recording);
    call.file("a.png", PNG);
    call.run().code(0);
    assert_eq!(servers.prompt()[1], image(&data_uri("image/png", PNG)));
}
