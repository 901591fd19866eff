//! Images and files: fetched from Langfuse's media API, and put back as they were sent.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{ID, Place, VERSIONS, generation};
use crate::attachments::{PDF, PNG, data_uri, image};
use crate::support::harness::{Reply, Scripted, dead_url};

#[test]
fn uploaded_content_is_put_back() {
    for version in VERSIONS {
        let place = Place::start(version);
        let wav = b"RIFF\x24\0\0\0WAVEfmt ";
        let chat = [
            "chat",
            "--no-stdin",
            "What is this?",
            "--image",
            "i.png",
            "--file",
            "d.pdf",
            "--file",
            "s.wav",
            "-o",
            "json",
            "--verify",
        ];
        let call = place.call(&chat);
        for (name, bytes) in [("i.png", PNG), ("d.pdf", PDF), ("s.wav", wav)] {
            call.file(name, bytes);
        }
        let ended = call.run();
        ended.code(0);
        let sent = place.last();
        let rows = place.rows(&ended.trace_id()).into_iter();
        let input: String = rows.map(|row| row["input"].to_string()).collect();
        assert_eq!(input.matches("@@@langfuseMedia:").count(), 3, "{input}");
        place.replay(&ended.trace_id(), &[]).code(0);
        assert_eq!(place.last(), sent, "{version}");
        // The lines of a batch hold it too.
        let lines = place.replay(&ended.trace_id(), &["-o", "jsonl"]);
        lines.code(0);
        assert_eq!(lines.json()["body"], sent.1);
    }
}

#[test]
fn blocks_of_anthropic_get_bare_base64() {
    let place = Place::start("v4");
    let call = place.call(&[
        "chat",
        "--no-stdin",
        "--api",
        "messages",
        "-m",
        "claude-1",
        "q",
        "--image",
        "i.png",
        "-o",
        "json",
        "--verify",
    ]);
    call.file("i.png", PNG);
    let ended = call.run();
    ended.code(0);
    let sent = place.last();
    assert_eq!(
        sent.1["messages"][0]["content"][1]["source"]["data"],
        BASE64_STANDARD.encode(PNG)
    );
    place.replay(&ended.trace_id(), &[]).code(0);
    assert_eq!(place.last(), sent);
}

#[test]
fn content_that_cannot_be_fetched_is_refused() {
    let place = Place::start("v4");
    let call = place.call(&[
        "chat",
        "--no-stdin",
        "q",
        "--no-media",
        "--image",
        "i.png",
        "-o",
        "json",
        "--verify",
    ]);
    call.file("i.png", PNG);
    let ended = call.run();
    ended.code(0);
    let asked = place.model.count();
    place.replay(&ended.trace_id(), &[]).code(2).stderr_has(
        "Langfuse has no content of an image or file of it, only [image/png, 16 bytes]",
    );
    assert_eq!(place.model.count(), asked);

    let reference =
        "@@@langfuseMedia:type=image/png|id=AAAAAAAAAAAAAAAAAAAAAA|source=base64_data_uri@@@";
    let input = json!([{"role": "user", "content": [image(reference)]}]);
    let place = Place::holding(
        "v4",
        "test",
        &[generation("00000000000000a1", "", 0, &input)],
    );
    place
        .replay(ID, &[])
        .code(2)
        .stderr_has("an image or file of it cannot be fetched")
        .stderr_has("Media asset not found");
    assert_eq!(place.model.count(), 0);
}

/// A Langfuse that holds one generation, and hands its content out at `store`.
fn langfuse(store: &str) -> Scripted {
    let reference = "@@@langfuseMedia:type=image/png|id=AbC|source=base64_data_uri@@@";
    let input = json!([{"role": "user", "content": [image(reference)]}]).to_string();
    let row = json!({"id": "00000000000000a1", "traceId": ID, "type": "GENERATION", "isRootObservation": true, "model": "m", "input": input});
    let media = json!({"mediaId": "AbC", "contentType": "image/png", "url": format!("{store}/AbC?signature=s3cret")});
    Scripted::start(
        move |request, _| match request.path.split('?').next().unwrap_or_default() {
            "/api/public/v2/observations" => Reply::json(200, &json!({"data": [row], "meta": {}})),
            "/api/public/media/AbC" => Reply::json(200, &media),
            _ => Reply::json(200, &json!({"data": [{"id": "p1", "name": "P"}]})),
        },
    )
}

#[test]
fn the_store_gets_no_keys_and_its_url_is_not_shown() {
    let place = Place::start("v4");
    let png = String::from_utf8_lossy(b"picture").into_owned();
    let store = Scripted::always(Reply::Answer(200, "image/png", png));
    let langfuse = langfuse(store.url());
    let ended = place
        .call(&["replay", "--from", ID, "-v", "-o", "jsonl"])
        .langfuse_at(langfuse.url())
        .run();
    ended.code(0).stderr_lacks("s3cret");
    let body: Value = ended.json()["body"].take();
    assert_eq!(
        body["messages"][0]["content"][0],
        image(&data_uri("image/png", b"picture"))
    );
    let fetched = store.requests();
    assert_eq!(fetched.len(), 1);
    assert_eq!(fetched[0].header("authorization"), "");
}

#[test]
fn a_store_that_does_not_answer_is_named() {
    let place = Place::start("v4");
    let langfuse = langfuse(&dead_url());
    let ended = place
        .call(&["replay", "--from", ID])
        .langfuse_at(langfuse.url())
        .run();
    ended
        .code(5)
        .stdout("")
        .stderr_has("no answer from the media store")
        .stderr_lacks("s3cret");
    assert_eq!(place.model.count(), 0);
}
