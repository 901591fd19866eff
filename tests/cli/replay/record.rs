//! What `--record` writes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

use crate::support::harness::{Reply, Scripted, completion};
use crate::support::otlp::{Servers, Trace, attribute, attributes, traces_at};

/// The recordings in a file.
fn recorded(home: &Path) -> Vec<Value> {
    let text = fs::read_to_string(home.join("record.jsonl")).unwrap();
    assert!(text.ends_with('\n'), "{text:?}");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn record_appends_one_line_that_only_its_owner_reads() {
    let servers = Servers::answering("hi");
    let call = servers.call(&[
        "chat",
        "--record",
        "record.jsonl",
        "-uu1",
        "-Ss1",
        "-ta",
        "-nmine",
    ]);
    let call = call.arg("--metadata").arg("k=v").arg("Hello");
    let ended = call.run();
    ended.code(0);
    let mode = fs::metadata(call.home().join("record.jsonl"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let recording = recorded(call.home()).remove(0);
    let fields: Vec<_> = recording.as_object().unwrap().keys().collect();
    for field in [
        "request",
        "response",
        "error",
        "start_time",
        "end_time",
        "parent_start_time",
        "completion_start_time",
        "trace",
    ] {
        assert!(
            fields.contains(&&field.to_owned()),
            "{field} lacks: {fields:?}"
        );
    }
    assert_eq!(recording["request"], servers.body());
    assert_eq!(recording["response"], completion("hi"));
    assert_eq!(
        (&recording["error"], &recording["completion_start_time"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(
        recording["trace"],
        json!({"id": ended.trace_id(), "name": "mine", "user": "u1", "session": "s1", "tags": ["a"], "metadata": {"k": "v"}})
    );
    let Trace {
        parent, generation, ..
    } = servers.trace();
    for (field, nanos) in [
        ("parent_start_time", parent.start_time_unix_nano),
        ("start_time", generation.start_time_unix_nano),
        ("end_time", generation.end_time_unix_nano),
    ] {
        let time: jiff::Timestamp = recording[field].as_str().unwrap().parse().unwrap();
        assert_eq!(time.as_nanosecond(), i128::from(nanos), "{field}");
    }
    call.run().code(0);
    assert_eq!(recorded(call.home()).len(), 2);
}

#[test]
fn a_record_that_others_can_open_is_made_private() {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for (before, is_open) in [(0o644, true), (0o620, true), (0o600, false)] {
        let servers = Servers::answering("hi");
        let call = servers.call(&["chat", "--record", "record.jsonl", "Hello"]);
        let path = call.file("record.jsonl", "");
        fs::set_permissions(&path, fs::Permissions::from_mode(before)).unwrap();
        let ended = call.run();
        ended.code(0).stdout("hi\n");
        assert_eq!(mode(&path), 0o600);
        let warning = format!("record.jsonl could be opened by others (mode {before:04o})");
        assert_eq!(ended.stderr.contains(&warning), is_open, "{ended:#?}");
        assert_eq!(recorded(call.home()).len(), 1);
        call.run().code(0).stderr_lacks("others");
    }
}

#[test]
fn a_record_that_is_no_file_keeps_its_mode() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["chat", "--record", "/dev/null", "Hello"]);
    call.run().code(0).stderr_lacks("others");
    let mode = fs::metadata("/dev/null").unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
}

#[test]
fn a_failed_call_is_recorded_with_its_error() {
    let servers = Servers::replying(Reply::json(
        400,
        &json!({"error": {"message": "no such field"}}),
    ));
    let call = servers.call(&["chat", "--record", "record.jsonl", "Hello"]);
    call.run().code(4);
    let recording = recorded(call.home()).remove(0);
    assert_eq!(recording["error"]["status"], 400);
    for field in ["kind", "message"] {
        assert!(recording["error"][field].is_string(), "{recording:#}");
    }
}

#[test]
fn a_call_is_recorded_even_where_its_trace_is_refused() {
    let mut servers = Servers::answering("hi");
    servers.langfuse = Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "no"})));
    let call = servers.call(&["chat", "--record", "record.jsonl", "Hello"]);
    call.run().code(5);
    assert_eq!(recorded(call.home()).len(), 1);
}

#[test]
fn a_record_that_cannot_be_written_is_found_before_the_model_is_asked() {
    let servers = Servers::answering("hi");
    for file in [".", "missing/record.jsonl"] {
        servers
            .call(&["chat", "--record", file, "Hello"])
            .run()
            .code(6)
            .stdout("");
    }
    assert!(servers.model.requests().is_empty());
}

#[test]
fn a_full_disk_under_the_record_costs_neither_answer_nor_trace() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["chat", "--record", "/dev/full", "Hello"]);
    call.run()
        .code(6)
        .stdout("hi\n")
        .stderr_has("No space left");
    assert_eq!(
        attribute(&servers.trace().parent, "output.value").unwrap(),
        "hi"
    );
}

#[test]
fn a_recording_holds_no_key() {
    let secret = "sk-a-model-key-0123456789";
    let error = json!({"error": {"message": format!("Incorrect API key provided: {secret}.")}});
    for reply in [
        Reply::json(401, &error),
        Reply::json(200, &completion("hi")),
    ] {
        let servers = Servers::replying(reply);
        let call = servers.call(&["chat", "--record", "record.jsonl", "Hello"]);
        let call = call.env("OPENAI_API_KEY", secret);
        call.run();
        let recording = recorded(call.home()).remove(0).to_string();
        assert!(
            !recording.contains(secret) && !recording.contains("sk-lf-sandbox"),
            "{recording}"
        );
    }
}

/// What a recording does not hold, so that it cannot be emitted again.
const NOT_RECORDED: [&str; 1] = ["langfuse.observation.metadata.server"];

#[test]
fn what_chat_recorded_replay_emits_as_the_same_spans() {
    let usage = &completion("")["usage"];
    let events = [
        r#"{"id":"c1","model":"m-1","service_tier":"default","choices":[{"index":0,"delta":{"role":"assistant","content":"h"}}]}"#.to_owned(),
        r#"{"id":"c1","model":"m-1","choices":[{"index":0,"delta":{"content":"i"}}]}"#.to_owned(),
        r#"{"id":"c1","model":"m-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#.to_owned(),
        format!(r#"{{"id":"c1","model":"m-1","choices":[],"usage":{usage}}}"#),
        "[DONE]".to_owned(),
    ];
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let failure = Reply::json(400, &json!({"error": {"message": "no such field"}}));
    let mut tools = completion("");
    tools["choices"][0]["message"] = json!({"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    for (option, reply) in [
        ("--no-stream", Reply::json(200, &completion("hi"))),
        ("--no-stream", Reply::json(200, &tools)),
        ("--stream", Reply::events(&events)),
        ("--no-stream", failure),
    ] {
        let servers = Servers::replying(reply);
        let chat = servers
            .call(&[
                "chat",
                "--record",
                "record.jsonl",
                option,
                "-uu1",
                "-Ss1",
                "-ta",
                "--metadata",
                "k=v",
                "Hello",
            ])
            .run();
        let again = servers.call(&["replay", "record.jsonl"]).after(&chat).run();
        assert_eq!(again.stdout, chat.stdout);
        assert_eq!(servers.asked().len(), 1);
        let [first, second]: [Trace; 2] = traces_at(&servers.langfuse).try_into().unwrap();
        for (first, second) in first.spans().into_iter().zip(second.spans()) {
            let mut expected = attributes(&first.attributes);
            let mut found = attributes(&second.attributes);
            for key in NOT_RECORDED {
                expected.remove(key);
                found.remove(key);
            }
            assert_eq!(found, expected);
            let rest = |span: &Span| {
                let mut span = span.clone();
                span.attributes.clear();
                span
            };
            assert_eq!(rest(second), rest(first));
        }
    }
}

#[test]
fn a_recording_begins_a_line_of_its_own() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["chat", "--record", "record.jsonl", "Hello"]);
    let path = call.file("record.jsonl", r#"{"request":{"mess"#);
    call.run().code(0);
    call.run().code(0);
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for line in &lines[1..] {
        let recording: Value = serde_json::from_str(line).unwrap();
        assert_eq!(recording["request"]["messages"][0]["content"], "Hello");
    }
}
