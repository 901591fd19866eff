//! Base64 content of requests and answers: its upload, and the reference that replaces it in the trace.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::attachments::{PDF, PNG, data_uri, image};
use crate::support::harness::{
    Langspan, Reply, Request, Scripted, TRACES, completion, dead_url, wait_until,
};
use crate::support::otlp::{Trace, attribute, attribute_json, hex, traces_at};
use crate::support::stand_in::Sandbox;

const MEDIA: &str = "/api/public/media";
const INPUT: &str = "langfuse.observation.input";
const OUTPUT: &str = "langfuse.observation.output";
/// The replacement of a [`PNG`] that was not uploaded.
const PLACEHOLDER: &str = "[image/png, 16 bytes]";

fn hash(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(Sha256::digest(bytes))
}

fn id(bytes: &[u8]) -> String {
    hash(bytes).replace('+', "-").replace('/', "_")[..22].to_owned()
}

fn reference(content_type: &str, bytes: &[u8]) -> String {
    format!(
        "@@@langfuseMedia:type={content_type}|id={}|source=base64_data_uri@@@",
        id(bytes)
    )
}

/// A Langfuse that takes everything, and does what `media` says with its media interface.
fn langfuse(media: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Scripted {
    Scripted::start(move |request, count| match request.path.as_str() {
        "/api/public/projects" => Reply::json(200, &json!({"data": [{"id": "p1", "name": "P"}]})),
        TRACES => Reply::json(200, &json!({})),
        _ => media(request, count),
    })
}

/// A media interface that wants uploads at `store`, below `path`.
fn storing_at(
    store: &str,
    path: &str,
) -> impl Fn(&Request, usize) -> Reply + Send + Sync + 'static {
    let url = format!("{store}{path}");
    move |request, _| match request.method.as_str() {
        "POST" => {
            let hash = request.json()["sha256Hash"].as_str().unwrap().to_owned();
            let id = hash.replace('+', "-").replace('/', "_")[..22].to_owned();
            Reply::json(201, &json!({"mediaId": id, "uploadUrl": url}))
        }
        _ => Reply::json(200, &json!({"message": "OK"})),
    }
}

/// A media interface that has everything already.
fn having_all(request: &Request, _: usize) -> Reply {
    let hash = request.json()["sha256Hash"].as_str().unwrap().to_owned();
    let id = hash.replace('+', "-").replace('/', "_")[..22].to_owned();
    Reply::json(201, &json!({"mediaId": id, "uploadUrl": null}))
}

fn store() -> Scripted {
    Scripted::always(Reply::Answer(200, "text/plain", String::new()))
}

/// A chat with a picture.
fn chat(model: &Scripted, langfuse: &Scripted, options: &[&str]) -> Langspan {
    let arguments = ["chat", "--no-stdin", "--image", "a.png", "What is this?"];
    let call = Langspan::new(&[&arguments, options].concat())
        .model_at(&format!("{}/v1", model.url()))
        .langfuse_at(langfuse.url());
    call.file("a.png", PNG);
    call
}

fn replay(model: &Scripted, langfuse: &Scripted, document: &Value, options: &[&str]) -> Langspan {
    Langspan::new(&[&["replay", "-"], options].concat())
        .model_at(&format!("{}/v1", model.url()))
        .langfuse_at(langfuse.url())
        .stdin(document.to_string())
}

/// The only trace that a server got, whose bytes hold no base64.
#[track_caller]
fn trace(langfuse: &Scripted) -> Trace {
    let traces = traces_at(langfuse);
    assert_eq!(traces.len(), 1, "{:#?}", langfuse.requests());
    let base64 = BASE64_STANDARD.encode(PNG);
    for request in langfuse.requests() {
        let body = String::from_utf8_lossy(&request.body);
        assert!(!body.contains(&base64), "{} {body}", request.path);
    }
    traces[0].clone()
}

/// The reference that replaces the image.
#[track_caller]
fn shown(langfuse: &Scripted) -> String {
    let input = attribute_json(&trace(langfuse).generation, INPUT);
    input[0]["content"][1]["image_url"]["url"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn an_image_is_uploaded_and_replaced_by_a_reference() {
    let sandbox = Sandbox::start();
    let call = Langspan::new(&[
        "chat",
        "--no-stdin",
        "--verify",
        "--image",
        "a.png",
        "--file",
        "b.pdf",
        "What?",
    ]);
    call.file("a.png", PNG);
    call.file("b.pdf", PDF);
    let ended = call.at(&sandbox).run();
    ended.code(0).stderr_has("verified").stderr_lacks("warning");
    let rows = sandbox.observations(&ended.trace_id());
    let generation = rows.iter().find(|row| row["type"] == "GENERATION").unwrap();
    let input: Value = serde_json::from_str(generation["input"].as_str().unwrap()).unwrap();
    let file = json!({"filename": "b.pdf", "file_data": reference("application/pdf", PDF)});
    assert_eq!(
        input[0]["content"],
        json!([{"type": "text", "text": "What?"}, image(&reference("image/png", PNG)), {"type": "file", "file": file}])
    );
    for (bytes, content_type) in [(PNG, "image/png"), (PDF, "application/pdf")] {
        let known = sandbox.get(&format!("{MEDIA}/{}", id(bytes))).json();
        assert_eq!(known["contentType"], content_type);
        assert_eq!(sandbox.fetch(&format!("/media/{}", id(bytes))).1, bytes);
    }
}

#[test]
fn the_embedded_sandbox_takes_media_too() {
    let call = Langspan::new(&[
        "chat",
        "--no-stdin",
        "--sandbox",
        "--image",
        "a.png",
        "What?",
    ]);
    call.file("a.png", PNG);
    let ended = call.run();
    ended.code(0).stderr_lacks("warning");
    let sandbox = Sandbox::start_in(&ended.home().join(".local/state"), &[]);
    assert_eq!(sandbox.fetch(&format!("/media/{}", id(PNG))).1, PNG);
}

#[test]
fn every_step_of_an_upload_is_what_langfuse_and_the_store_want() {
    let (model, store) = (Scripted::model("A picture."), store());
    let langfuse = langfuse(storing_at(store.url(), "/bucket/a?X-Amz-Signature=s"));
    chat(&model, &langfuse, &[])
        .run()
        .code(0)
        .stdout("A picture.\n");
    assert_eq!(shown(&langfuse), reference("image/png", PNG));

    let generation = trace(&langfuse).generation;
    let announced = langfuse.requests_to(MEDIA);
    assert_eq!(announced.len(), 1);
    assert!(announced[0].header("authorization").starts_with("Basic "));
    assert_eq!(
        announced[0].json(),
        json!({"contentType": "image/png", "contentLength": PNG.len(), "sha256Hash": hash(PNG), "traceId": hex(&generation.trace_id),
               "observationId": hex(&generation.span_id), "field": "input"})
    );
    let put = &store.requests()[..];
    assert_eq!(
        (put.len(), put[0].method.as_str(), put[0].body.as_slice()),
        (1, "PUT", PNG)
    );
    assert_eq!(put[0].path, "/bucket/a?X-Amz-Signature=s");
    for (name, value) in [
        ("content-type", "image/png"),
        ("x-amz-checksum-sha256", hash(PNG).as_str()),
        ("x-ms-blob-type", "BlockBlob"),
        ("content-length", "16"),
        ("authorization", ""),
    ] {
        assert_eq!(put[0].header(name), value, "{name}");
    }
    // Only what was signed, and what every request of HTTP has.
    let names = [
        "accept",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "x-amz-checksum-sha256",
        "x-ms-blob-type",
    ];
    assert_eq!(put[0].headers.keys().collect::<Vec<_>>(), names);
    let reports = langfuse.requests_to(&format!("{MEDIA}/{}", id(PNG)));
    assert_eq!((reports.len(), reports[0].method.as_str()), (1, "PATCH"));
    let report = reports[0].json();
    assert_eq!(
        (&report["uploadHttpStatus"], &report["uploadHttpError"]),
        (&json!(200), &Value::Null)
    );
    assert!(
        report["uploadedAt"]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .is_ok()
    );
    assert!(report["uploadTimeMs"].is_u64());
}

#[test]
fn google_cloud_storage_gets_only_the_content_type() {
    let (model, store) = (Scripted::model("A picture."), store());
    let langfuse = langfuse(storing_at(store.url(), "/storage.googleapis.com/bucket"));
    chat(&model, &langfuse, &[]).run().code(0);
    let headers = &store.requests()[0].headers;
    let names = [
        "accept",
        "content-length",
        "content-type",
        "host",
        "user-agent",
    ];
    assert_eq!(headers.keys().collect::<Vec<_>>(), names);
}

#[test]
fn the_wire_detail_shows_no_signed_url() {
    let (model, store) = (Scripted::model("A picture."), store());
    let langfuse = langfuse(storing_at(store.url(), "/bucket?X-Amz-Signature=abcdef"));
    let ended = chat(&model, &langfuse, &["-vvv"]).run();
    ended.code(0).stderr_has("> PUT").stderr_lacks("abcdef");
}

#[test]
fn media_that_is_already_stored_is_not_sent_again() {
    let model = Scripted::model("A picture.");
    let langfuse = langfuse(having_all);
    chat(&model, &langfuse, &["--image", "a.png"])
        .run()
        .code(0)
        .stderr_lacks("warning");
    assert_eq!(shown(&langfuse), reference("image/png", PNG));
    // The same picture twice is announced once.
    assert_eq!(langfuse.requests_to(MEDIA).len(), 1);
    assert!(
        langfuse
            .requests_to(&format!("{MEDIA}/{}", id(PNG)))
            .is_empty()
    );
}

#[test]
fn the_upload_runs_beside_the_call() {
    // The model answers once the content has arrived, and the content is taken once the model has been asked.
    let (asked, uploaded) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let flags = (Arc::clone(&asked), Arc::clone(&uploaded));
    let model = Scripted::start(move |_, _| {
        flags.0.store(true, Ordering::SeqCst);
        wait_until("the upload", || flags.1.load(Ordering::SeqCst));
        Reply::json(200, &completion("A picture."))
    });
    let store = Scripted::start(move |_, _| {
        wait_until("the question", || asked.load(Ordering::SeqCst));
        uploaded.store(true, Ordering::SeqCst);
        Reply::Answer(201, "text/plain", String::new())
    });
    let langfuse = langfuse(storing_at(store.url(), "/"));
    chat(&model, &langfuse, &[])
        .run()
        .code(0)
        .stdout("A picture.\n")
        .stderr_lacks("warning");
    assert_eq!(shown(&langfuse), reference("image/png", PNG));
}

#[test]
fn a_failed_upload_is_a_warning_and_leaves_type_and_size() {
    let refusing = Scripted::always(Reply::Answer(
        403,
        "application/xml",
        "<Code>AccessDenied</Code>".to_owned(),
    ));
    let dead = dead_url();
    let no_media: fn(&Request, usize) -> Reply =
        |_, _| Reply::Answer(404, "text/html", "<html>".to_owned());
    let unknown: fn(&Request, usize) -> Reply = |_, _| {
        Reply::json(
            400,
            &json!({"message": "Invalid request data", "error": []}),
        )
    };
    let elsewhere: fn(&Request, usize) -> Reply =
        |_, _| Reply::json(201, &json!({"mediaId": "../../x", "uploadUrl": null}));
    for (langfuse, words) in [
        (
            langfuse(storing_at(refusing.url(), "/")),
            "answered 403 Forbidden: <Code>AccessDenied</Code>",
        ),
        (
            langfuse(storing_at(&dead, "/")),
            "no answer from the media store 127.0.0.1: Connection refused",
        ),
        (
            langfuse(storing_at("ftp://127.0.0.1", "/")),
            "the upload URL is invalid",
        ),
        (langfuse(no_media), "/api/public/media answered 404"),
        (langfuse(unknown), "Invalid request data"),
        (langfuse(elsewhere), "has no media id"),
    ] {
        let model = Scripted::model("A picture.");
        let ended = chat(&model, &langfuse, &[]).run();
        ended
            .code(0)
            .stdout("A picture.\n")
            .stderr_has("warning: an image or file was not uploaded")
            .stderr_has(words);
        assert_eq!(shown(&langfuse), PLACEHOLDER, "{words}");
    }
    // A refusal is reported, so that Langfuse knows that the content is not there.
    let langfuse = langfuse(storing_at(refusing.url(), "/"));
    chat(&Scripted::model("A picture."), &langfuse, &["-q"])
        .run()
        .code(0)
        .stderr_lacks("warning");
    let report = langfuse.requests_to(&format!("{MEDIA}/{}", id(PNG)))[0].json();
    assert_eq!(report["uploadHttpStatus"], 403);
    assert!(
        report["uploadHttpError"]
            .as_str()
            .unwrap()
            .contains("AccessDenied")
    );
}

#[test]
fn a_busy_store_is_asked_again() {
    let store = Scripted::start(|_, count| {
        let status = if count == 0 { 503 } else { 200 };
        Reply::With(status, vec![("retry-after", "0".to_owned())], String::new())
    });
    let langfuse = langfuse(storing_at(store.url(), "/"));
    chat(&Scripted::model("A picture."), &langfuse, &[])
        .run()
        .code(0)
        .stderr_lacks("warning");
    assert_eq!(store.requests().len(), 2);
    assert_eq!(shown(&langfuse), reference("image/png", PNG));
}

#[test]
fn an_upload_that_takes_too_long_does_not_hold_up_the_trace() {
    let store = Scripted::always(Reply::Hang);
    let langfuse = langfuse(storing_at(store.url(), "/"));
    let ended = chat(
        &Scripted::model("A picture."),
        &langfuse,
        &["--export-timeout", "0.5"],
    )
    .run();
    ended
        .code(0)
        .stdout("A picture.\n")
        .stderr_has("longer than --export-timeout");
    assert_eq!(shown(&langfuse), PLACEHOLDER);
}

#[test]
fn a_signal_ends_the_wait_for_an_upload() {
    let store = Scripted::always(Reply::Hang);
    let langfuse = langfuse(storing_at(store.url(), "/"));
    let model = Scripted::model("A picture.");
    let call = chat(&model, &langfuse, &["--export-timeout", "600", "-o", "raw"]);
    let mut child = call.spawn();
    // The answer is printed before the wait begins.
    let mut first = [0];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    wait_until("the upload", || !store.requests().is_empty());
    let sent = Command::new("kill")
        .args(["-s", "INT", &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
    call.ended(&child.wait_with_output().unwrap()).code(130);
    assert_eq!(shown(&langfuse), PLACEHOLDER);
}

#[test]
fn no_media_uploads_nothing() {
    for (options, variable) in [(&["--no-media"][..], ""), (&[], "false"), (&[], "0")] {
        let (model, langfuse) = (Scripted::model("A picture."), langfuse(having_all));
        let call = chat(&model, &langfuse, options).env("LANGFUSE_MEDIA_UPLOAD_ENABLED", variable);
        call.run().code(0).stderr_lacks("warning");
        assert!(
            langfuse.requests_to(MEDIA).is_empty(),
            "{options:?} {variable}"
        );
        assert_eq!(shown(&langfuse), PLACEHOLDER);
        // The model gets it all the same.
        assert_eq!(
            model.requests()[0].json()["messages"][0]["content"][1],
            image(&data_uri("image/png", PNG))
        );
    }
    let (model, langfuse) = (Scripted::model("A picture."), langfuse(having_all));
    let call = chat(&model, &langfuse, &[]).env("LANGFUSE_MEDIA_UPLOAD_ENABLED", "flase");
    call.run()
        .code(3)
        .stderr_has("LANGFUSE_MEDIA_UPLOAD_ENABLED");
}

#[test]
fn untraced_media_is_not_uploaded() {
    for (options, variable) in [(&["--sample", "0"][..], "true"), (&[], "false")] {
        let (model, langfuse) = (Scripted::model("A picture."), langfuse(having_all));
        let call = chat(&model, &langfuse, options).env("LANGFUSE_TRACING_ENABLED", variable);
        call.run().code(0).stdout("A picture.\n");
        assert!(langfuse.requests_to(MEDIA).is_empty(), "{options:?}");
        assert!(langfuse.exports().is_empty());
    }
    // A failed call is traced whatever the rate is, with its image.
    let model = Scripted::always(Reply::json(400, &json!({"error": {"message": "no"}})));
    let langfuse = langfuse(having_all);
    chat(&model, &langfuse, &["--sample", "0"]).run().code(4);
    assert_eq!(shown(&langfuse), reference("image/png", PNG));
}

#[test]
fn a_plain_backend_gets_type_and_size() {
    let model = Scripted::model("A picture.");
    let backend = Scripted::always(Reply::json(200, &json!({})));
    let call = Langspan::new(&["chat", "--no-stdin", "--image", "a.png", "What?"])
        .model_at(&format!("{}/v1", model.url()))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url());
    call.file("a.png", PNG);
    call.run().code(0);
    assert_eq!(backend.requests().len(), 1, "the export alone");
    let input = attribute(&trace(&backend).generation, "gen_ai.input.messages").unwrap();
    assert!(input.contains(PLACEHOLDER), "{input}");
}

#[test]
fn a_dry_run_shows_the_reference_and_uploads_nothing() {
    let dead = Scripted::always(Reply::Close);
    let ended = chat(&dead, &dead, &["--dry-run"]).run();
    ended.code(0);
    let base64 = BASE64_STANDARD.encode(PNG);
    assert!(
        ended.stdout.contains(&reference("image/png", PNG)),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains(PLACEHOLDER) && !ended.stdout.contains(&base64));
    // The document holds the body as it would be sent.
    let plan = chat(&dead, &dead, &["--dry-run", "--json", "--no-media"])
        .run()
        .json();
    assert_eq!(
        plan["request"]["body"]["messages"][0]["content"][1],
        image(&data_uri("image/png", PNG))
    );
    assert!(plan["trace"].to_string().contains(PLACEHOLDER));
    assert!(dead.requests().is_empty());
}

#[test]
fn sound_and_files_of_a_replayed_request_are_media() {
    let (model, langfuse) = (Scripted::model("Heard."), langfuse(having_all));
    let content = json!([
        {"type": "input_audio", "input_audio": {"data": BASE64_STANDARD.encode("sound"), "format": "mp3"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": BASE64_STANDARD.encode(PDF)}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]);
    let document = json!({"model": "m", "messages": [{"role": "user", "content": content}]});
    replay(&model, &langfuse, &document, &[]).run().code(0);
    let input = attribute_json(&trace(&langfuse).generation, INPUT);
    assert_eq!(
        input[0]["content"],
        json!([
            {"type": "input_audio", "input_audio": {"data": reference("audio/mp3", b"sound"), "format": "mp3"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": reference("application/pdf", PDF)}},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        ])
    );
}

#[test]
fn sound_of_an_answer_is_uploaded_as_output() {
    let wav = b"RIFF\x24\0\0\0WAVEfmt ";
    let mut answer = completion("");
    let audio = json!({"id": "a", "data": BASE64_STANDARD.encode(wav), "transcript": "Hello", "expires_at": 1});
    answer["choices"][0]["message"] = json!({"role": "assistant", "content": null, "audio": audio});
    let (model, langfuse) = (
        Scripted::always(Reply::json(200, &answer)),
        langfuse(having_all),
    );
    let document = json!({"model": "m", "messages": [{"role": "user", "content": "Say hello"}]});
    let ended = replay(&model, &langfuse, &document, &["-o", "raw"]).run();
    ended.code(0).stdout(&format!("{answer}"));
    let output = attribute_json(&trace(&langfuse).generation, OUTPUT);
    assert_eq!(
        output["audio"],
        json!({"id": "a", "data": reference("audio/wav", wav), "transcript": "Hello", "expires_at": 1})
    );
    let announced = langfuse.requests_to(MEDIA)[0].json();
    assert_eq!(
        (&announced["field"], &announced["contentType"]),
        (&json!("output"), &json!("audio/wav"))
    );
}

#[test]
fn a_recording_keeps_the_content_and_becomes_the_same_trace() {
    let (model, langfuse) = (Scripted::model("A picture."), langfuse(having_all));
    let call = chat(
        &model,
        &langfuse,
        &["--no-media", "--record", "calls.jsonl"],
    );
    let ended = call.run();
    ended.code(0);
    let line = fs::read_to_string(ended.home().join("calls.jsonl")).unwrap();
    assert!(line.contains(&data_uri("image/png", PNG)), "{line}");

    let again = langfuse_of_its_own();
    let emitted = Langspan::new(&["replay", "--again", "calls.jsonl"])
        .langfuse_at(again.url())
        .after(&ended);
    emitted.run().code(0).stdout("A picture.\n");
    assert_eq!(shown(&again), reference("image/png", PNG));
    assert_eq!(trace(&again).id(), trace(&langfuse).id());
}

fn langfuse_of_its_own() -> Scripted {
    langfuse(having_all)
}

#[test]
fn the_outbox_holds_no_base64() {
    let model = Scripted::model("A picture.");
    let dead = dead_url();
    let call = Langspan::new(&[
        "chat",
        "--no-stdin",
        "--image",
        "a.png",
        "--export-timeout",
        "1",
        "What?",
    ])
    .model_at(&format!("{}/v1", model.url()))
    .langfuse_at(&dead);
    call.file("a.png", PNG);
    let ended = call.run();
    ended.code(5).stdout("A picture.\n");
    let kept = Value::from(ended.kept()).to_string();
    assert!(kept.contains(PLACEHOLDER), "{kept}");
    assert!(!kept.contains(&BASE64_STANDARD.encode(PNG)));
}

#[test]
fn text_that_only_looks_like_media_is_kept() {
    let (model, langfuse) = (Scripted::model("Yes."), langfuse(having_all));
    let text = r#"Is "data:image/png;base64,AAAA" or {"input_audio": {"data": "AAAA"}} an image?"#;
    let document =
        json!({"model": "m", "messages": [{"role": "user", "content": text}], "seed": 1});
    replay(&model, &langfuse, &document, &[]).run().code(0);
    assert_eq!(
        attribute_json(&trace(&langfuse).generation, INPUT)[0]["content"],
        text
    );
    assert!(langfuse.requests_to(MEDIA).is_empty());
}
