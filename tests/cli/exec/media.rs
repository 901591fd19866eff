//! Images and files in spans and model calls of the child: uploaded, and replaced by references.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::attachments::{PDF, PNG, data_uri, image};
use crate::support::exec::{Session, TRACE, exchange, row, span};
use crate::support::harness::{Langspan, Reply, Request, Scripted, TRACES};
use crate::support::stand_in::Sandbox;

const MEDIA: &str = "/api/public/media";
const WAV: &[u8] = b"RIFF\x24\0\0\0WAVEfmt ";

fn id(bytes: &[u8]) -> String {
    let hash = BASE64_STANDARD.encode(Sha256::digest(bytes));
    hash.replace('+', "-").replace('/', "_")[..22].to_owned()
}

fn reference(content_type: &str, bytes: &[u8]) -> String {
    let id = id(bytes);
    format!("@@@langfuseMedia:type={content_type}|id={id}|source=base64_data_uri@@@")
}

/// A chat about an image, a sound and a file.
fn question() -> Value {
    let sound = json!({"data": BASE64_STANDARD.encode(WAV), "format": "wav"});
    let file = json!({"filename": "b.pdf", "file_data": data_uri("application/pdf", PDF)});
    json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": [
        image(&data_uri("image/png", PNG)),
        {"type": "input_audio", "input_audio": sound},
        {"type": "file", "file": file},
    ]}]})
}

/// A model of OpenAI's and Anthropic's form.
fn model() -> Scripted {
    let message = json!({"id": "msg_1", "model": "claude-1", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "A cat."}], "usage": {"input_tokens": 3, "output_tokens": 4}});
    let chat = crate::support::harness::completion("A cat.");
    Scripted::start(move |request, _| match request.path.as_str() {
        "/v1/messages" => Reply::json(200, &message),
        _ => Reply::json(200, &chat),
    })
}

/// A Langfuse that takes everything, and does what `media` says with its media interface.
fn langfuse(media: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Scripted {
    Scripted::start(move |request, count| match request.path.as_str() {
        "/api/public/projects" => Reply::json(200, &json!({"data": [{"id": "p1", "name": "P"}]})),
        TRACES => Reply::json(200, &json!({})),
        _ => media(request, count),
    })
}

/// A media interface that has everything already.
fn having_all(request: &Request, _: usize) -> Reply {
    let hash = request.json()["sha256Hash"].as_str().unwrap().to_owned();
    let id = hash.replace('+', "-").replace('/', "_")[..22].to_owned();
    Reply::json(201, &json!({"mediaId": id, "uploadUrl": null}))
}

/// What was exported, decoded.
fn exported(langfuse: &Scripted) -> String {
    let bodies = langfuse.exports().into_iter().map(|export| export.body);
    let bodies: Vec<String> = bodies
        .map(|body| String::from_utf8_lossy(&body).into_owned())
        .collect();
    bodies.concat()
}

fn session(model: &Scripted, langfuse: &str, options: &[&str]) -> Session {
    let call = options
        .iter()
        .fold(Langspan::new(&["exec"]), |call, option| call.arg(option));
    let call = call
        .model_at(&format!("{}/v1", model.url()))
        .env("ANTHROPIC_BASE_URL", model.url())
        .langfuse_at(langfuse);
    Session::start(call)
}

#[test]
fn what_calls_and_spans_hold_is_uploaded_and_referred_to() {
    let (model, sandbox) = (model(), Sandbox::start());
    let session = session(&model, sandbox.url(), &["--verify"]);
    assert_eq!(session.ask(&[], &question()).status, 200);
    let source =
        json!({"type": "base64", "media_type": "image/png", "data": BASE64_STANDARD.encode(PNG)});
    let ask = json!({"model": "claude-1", "max_tokens": 9, "messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]});
    let url = format!("{}/v1/messages", session.variable("ANTHROPIC_BASE_URL"));
    exchange("POST", &url, &[], ask.to_string().as_bytes());
    let other = b"\x89PNG\r\n\x1a\n another";
    session.send(&[span(
        TRACE,
        1,
        None,
        "reported",
        &json!({
            "openinference.span.kind": "LLM", "llm.model_name": "m",
            "input.value": json!({"messages": [{"content": [image(&data_uri("image/png", other))]}]}).to_string(),
            "llm.input_messages.0.message.contents.0.message_content.image.image.url": data_uri("image/png", other),
            "output.value": data_uri("audio/wav", WAV),
        }),
    )]);
    let ended = session.finish();
    ended.code(0).stderr_has("verified").stderr_lacks("warning");
    let rows = sandbox.observations(TRACE);
    let text = json!(rows).to_string();
    for bytes in [PNG, PDF, WAV, other] {
        assert!(!text.contains(&BASE64_STANDARD.encode(bytes)), "{text}");
        assert_eq!(
            sandbox.fetch(&format!("/media/{}", id(bytes))).1,
            bytes,
            "uploaded"
        );
    }
    let chat = row(&rows, "chat gpt-4o-mini")["input"].to_string();
    for (content_type, bytes) in [
        ("image/png", PNG),
        ("audio/wav", WAV),
        ("application/pdf", PDF),
    ] {
        assert!(chat.contains(&reference(content_type, bytes)), "{chat}");
    }
    let messages = row(&rows, "chat claude-1")["input"].to_string();
    assert!(messages.contains(&reference("image/png", PNG)));
    let reported = row(&rows, "reported");
    assert!(
        reported["input"]
            .to_string()
            .contains(&reference("image/png", other))
    );
    assert_eq!(reported["output"], reference("audio/wav", WAV));
}

#[test]
fn each_is_announced_for_the_observation_that_shows_it() {
    let (model, langfuse) = (model(), langfuse(having_all));
    let session = session(&model, langfuse.url(), &[]);
    session.ask(&[], &question());
    session.ask(&[], &question());
    // The first call again, as the child reports it.
    session.send(&[span(
        TRACE,
        7,
        None,
        "reported",
        &json!({"gen_ai.operation.name": "chat", "gen_ai.response.id": "chatcmpl-1", "gen_ai.prompt": data_uri("image/png", PNG)}),
    )]);
    session.finish().code(0);
    let announced: Vec<Value> = langfuse
        .requests_to(MEDIA)
        .iter()
        .map(Request::json)
        .collect();
    for one in &announced {
        assert_eq!(
            (&one["traceId"], &one["field"]),
            (&json!(TRACE), &json!("input"))
        );
    }
    let of_picture = announced
        .iter()
        .filter(|one| one["contentType"] == "image/png");
    let mut observations: Vec<&str> = of_picture
        .map(|one| one["observationId"].as_str().unwrap())
        .collect();
    observations.sort_unstable();
    observations.dedup();
    assert_eq!(observations.len(), 2, "{announced:#?}");
    assert!(observations.contains(&"0000000000000007"));
}

#[test]
fn nothing_is_uploaded_where_that_is_not_wanted() {
    for options in [
        &["--no-media"][..],
        &["--capture", "none"],
        &["--capture", "truncate=40"],
    ] {
        let (model, langfuse) = (model(), langfuse(having_all));
        let session = session(&model, langfuse.url(), options);
        session.ask(&[], &question());
        session.send(&[span(
            TRACE,
            1,
            None,
            "s",
            &json!({"input.value": data_uri("image/png", PNG)}),
        )]);
        let journal = crate::support::exec::outbox_files(session.home(), ".exec.jsonl");
        let kept = std::fs::read_to_string(&journal[0]).unwrap();
        session.finish().code(0);
        assert!(langfuse.requests_to(MEDIA).is_empty(), "{options:?}");
        let exported = exported(&langfuse);
        for bytes in [PNG, PDF, WAV] {
            let base64 = BASE64_STANDARD.encode(bytes);
            assert!(
                !exported.contains(&base64) && !kept.contains(&base64),
                "{options:?}"
            );
        }
        let shows = exported.contains("[image/png, 16 bytes]");
        assert_eq!(shows, !options.contains(&"none"), "{options:?}: {exported}");
    }
}

#[test]
fn what_is_refused_becomes_type_and_size_with_a_warning() {
    let refusing = langfuse(|_, _| Reply::json(403, &json!({"message": "no media here"})));
    let model = model();
    let session = session(&model, refusing.url(), &[]);
    session.ask(&[], &question());
    let ended = session.finish();
    ended
        .code(0)
        .stderr_has("3 images or files were not uploaded")
        .stderr_has("no media here");
    let exported = exported(&refusing);
    assert!(exported.contains("[image/png, 16 bytes]") && !exported.contains("@@@"));
}

#[test]
fn a_killed_run_has_them_uploaded_by_resend() {
    let (model, langfuse) = (
        model(),
        langfuse(|request, count| {
            // At first the interface is down, then it wants the content.
            if count < 4 && request.method == "POST" {
                return Reply::Close;
            }
            having_all(request, count)
        }),
    );
    let session = session(&model, langfuse.url(), &[]);
    session.send(&[span(
        TRACE,
        1,
        None,
        "s",
        &json!({"input.value": data_uri("image/png", PNG)}),
    )]);
    let killed = session.kill();
    let resend = || {
        Langspan::new(&["resend"])
            .langfuse_at(langfuse.url())
            .beside(&killed)
            .run()
    };
    let ended = resend();
    ended
        .code(5)
        .stderr_has("an image or file was not uploaded");
    assert!(langfuse.exports().is_empty());
    assert!(
        ended
            .outbox_files()
            .iter()
            .any(|name| name.ends_with(".exec.jsonl"))
    );
    let ended = resend();
    ended.code(0);
    assert!(ended.outbox_files().is_empty());
    assert!(exported(&langfuse).contains(&reference("image/png", PNG)));
    let announced = langfuse.requests_to(MEDIA).last().unwrap().json();
    assert_eq!(announced["observationId"], "0000000000000001");
}
