//! The spans of an answer are in the outbox before its last byte is on stdout.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command};

use serde_json::json;

use crate::attachments::{PNG, data_uri};
use crate::support::harness::{Ended, Langspan, Reply, Scripted, TRACES, completion, wait_until};
use crate::support::memory::Memory;

/// The events of a streamed answer, as an endpoint sends them.
const EVENTS: [&str; 4] = [
    r#"{"id":"c1","model":"m-1","choices":[{"index":0,"delta":{"role":"assistant","content":"h"}}]}"#,
    r#"{"id":"c1","model":"m-1","choices":[{"index":0,"delta":{"content":"i"}}]}"#,
    r#"{"id":"c1","model":"m-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    "[DONE]",
];
/// The replacement of a [`PNG`] that is not uploaded yet.
const PLACEHOLDER: &str = "[image/png, 16 bytes]";

/// The forms of output that print an answer before its trace is delivered: options, the model's reply, stdout.
fn forms() -> [(&'static [&'static str], Reply, String); 4] {
    let body = completion("hi");
    let events = format!("data: {}\n\n", EVENTS.join("\n\ndata: "));
    [
        (&[], Reply::json(200, &body), "hi\n".to_owned()),
        (&["--stream"], Reply::events(&EVENTS), "hi\n".to_owned()),
        (&["-o", "raw"], Reply::json(200, &body), body.to_string()),
        (&["-o", "raw", "--stream"], Reply::events(&EVENTS), events),
    ]
}

/// A Langfuse that takes exports, and never answers an upload.
fn without_uploads(memory: &Memory) -> Scripted {
    let memory = memory.clone();
    Scripted::start(move |request, _| match request.path.as_str() {
        "/api/public/media" => Reply::Hang,
        _ => memory.answer(request),
    })
}

/// Reads stdout until it is `expected`.
#[track_caller]
fn read(child: &mut Child, expected: &str) {
    let mut printed = vec![0; expected.len()];
    let stdout = child.stdout.as_mut().unwrap();
    stdout.read_exact(&mut printed).unwrap();
    assert_eq!(String::from_utf8(printed).unwrap(), expected);
}

fn killed(call: &Langspan, mut child: Child) -> Ended {
    child.kill().unwrap();
    call.ended(&child.wait_with_output().unwrap())
}

/// The text of the entry of an outbox that is not delivered yet.
#[track_caller]
fn pending(outbox: &Path) -> String {
    let files = fs::read_dir(outbox).unwrap();
    let mut files = files.map(|file| file.unwrap().path());
    let pending = files.find(|path| path.extension().is_some_and(|found| found == "pending"));
    fs::read_to_string(pending.unwrap()).unwrap()
}

/// Asserts that `resend` delivers one trace of two spans.
#[track_caller]
fn assert_resent(ended: &Ended, langfuse: &Scripted, memory: &Memory) {
    let resend = Langspan::new(&["resend"]).langfuse_at(langfuse.url());
    let delivered = resend.after(ended).run();
    delivered.code(0);
    assert_eq!(delivered.outbox_files(), [""; 0]);
    let counts: Vec<_> = memory.all_counts().into_values().collect();
    assert_eq!(counts, [[1, 1]]);
}

#[test]
fn an_answer_is_printed_once_its_trace_is_stored() {
    for (options, reply, stdout) in forms() {
        let (model, memory) = (Scripted::always(reply), Memory::default());
        let langfuse = without_uploads(&memory);
        let arguments = ["chat", "--no-stdin", "--image", "a.png", "What is this?"];
        let call = Langspan::new(&[&arguments, options].concat())
            .model_at(model.url())
            .langfuse_at(langfuse.url());
        call.file("a.png", PNG);
        let mut child = call.spawn();
        read(&mut child, &stdout);
        let ended = killed(&call, child);
        let stored = pending(&ended.outbox());
        assert!(stored.contains(PLACEHOLDER), "{options:?}: {stored}");
        assert_resent(&ended, &langfuse, &memory);
    }
}

#[test]
fn a_recorded_answer_is_printed_once_its_trace_is_stored() {
    let memory = Memory::default();
    let langfuse = without_uploads(&memory);
    let image = json!({"type": "image_url", "image_url": {"url": data_uri("image/png", PNG)}});
    let recording = json!({
        "request": {"model": "m", "messages": [{"role": "user", "content": [image]}]},
        "response": completion("hi"),
        "start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:01Z",
    });
    let call = Langspan::new(&["replay", "recording.json"]).langfuse_at(langfuse.url());
    call.file("recording.json", recording.to_string());
    let mut child = call.spawn();
    read(&mut child, "hi\n");
    let ended = killed(&call, child);
    assert!(pending(&ended.outbox()).contains(PLACEHOLDER));
    assert_resent(&ended, &langfuse, &memory);
}

#[test]
fn a_record_that_blocks_does_not_keep_the_trace_from_the_outbox() {
    let (model, memory) = (Scripted::model("hi"), Memory::default());
    let langfuse = without_uploads(&memory);
    // More than a pipe holds, which is not read.
    let prompt = "x".repeat(100_000);
    let call = Langspan::new(&["chat", "--no-stdin", "--record", "pipe", &prompt])
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    let pipe = call.home().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let mut child = call.spawn();
    let unread = fs::File::open(&pipe).unwrap();
    read(&mut child, "hi\n");
    let ended = killed(&call, child);
    drop(unread);
    assert!(pending(&ended.outbox()).contains(&prompt));
    assert_resent(&ended, &langfuse, &memory);
}

#[test]
fn a_stored_entry_gets_its_references_before_it_is_sent() {
    let (model, memory) = (Scripted::model("hi"), Memory::default());
    let langfuse = Scripted::start(move |request, _| match request.path.as_str() {
        "/api/public/media" => {
            let hash = request.json()["sha256Hash"].as_str().unwrap().to_owned();
            let id = hash.replace('+', "-").replace('/', "_")[..22].to_owned();
            Reply::json(201, &json!({"mediaId": id, "uploadUrl": null}))
        }
        TRACES => Reply::Hang,
        _ => memory.answer(request),
    });
    let arguments = ["chat", "--no-stdin", "--image", "a.png", "What is this?"];
    let call = Langspan::new(&arguments)
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    call.file("a.png", PNG);
    let child = call.spawn();
    wait_until("the spans are sent", || !langfuse.exports().is_empty());
    let ended = killed(&call, child);
    let stored = pending(&ended.outbox());
    assert!(
        stored.contains("@@@langfuseMedia:type=image/png"),
        "{stored}"
    );
    assert!(!stored.contains(PLACEHOLDER), "{stored}");
}

#[test]
fn an_outbox_that_cannot_be_written_is_a_warning() {
    let (model, memory) = (Scripted::model("hi"), Memory::default());
    let langfuse = without_uploads(&memory);
    let call = Langspan::new(&["chat", "--no-stdin", "Hello"])
        .model_at(model.url())
        .langfuse_at(langfuse.url())
        .env("LANGSPAN_OUTBOX", "file/outbox");
    call.file("file", "");
    let ended = call.run();
    ended.code(0).stdout("hi\n");
    ended
        .stderr_has("warning: the outbox")
        .stderr_has("is lost");
    let without = call.arg("--no-outbox").run();
    without.code(0).stdout("hi\n").stderr_lacks("outbox");
}

#[test]
fn the_last_event_of_a_raw_stream_waits_for_the_outbox() {
    // The stream is open still: its last event may be followed by another.
    let begun = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\ndata: {}\n\ndata: {}\n\n",
        EVENTS[0], EVENTS[1]
    );
    let model = Scripted::always(Reply::Stall(begun.into_bytes()));
    let memory = Memory::default();
    let langfuse = without_uploads(&memory);
    let call = Langspan::new(&["chat", "--no-stdin", "--stream", "-o", "raw", "Hello"])
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    let mut child = call.spawn();
    read(&mut child, &format!("data: {}\n\n", EVENTS[0]));
    let ended = killed(&call, child);
    ended.stdout("");
}
