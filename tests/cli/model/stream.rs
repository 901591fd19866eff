//! Streamed answers.

use serde_json::json;

use super::attempts::endless;
use super::{DONE, STOP, assert_failed, assert_partial, piece};
use crate::support::harness::{Reply, completion};
use crate::support::otlp::{Servers, attribute};

#[test]
fn a_stream_asks_for_its_usage() {
    let servers = Servers::replying(Reply::events(&[&piece("hi"), STOP, DONE]));
    servers
        .call(&["chat", "--stream", "Hello"])
        .run()
        .code(0)
        .stdout("hi\n");
    let body = servers.body();
    assert_eq!(
        (&body["stream"], &body["stream_options"]),
        (&json!(true), &json!({"include_usage": true}))
    );
}

#[test]
fn a_call_into_a_pipe_does_not_stream() {
    let servers = Servers::answering("hi");
    servers.call(&["chat", "Hello"]).run().code(0);
    let body = servers.body();
    assert!(
        body.get("stream_options").is_none() && body["stream"] != true,
        "{body}"
    );
}

#[test]
fn a_server_that_refuses_stream_options_is_asked_again_without_them() {
    let refusals = [
        (
            400,
            json!({"error": {"message": "Unrecognized request argument supplied: stream_options", "type": "invalid_request_error", "param": null, "code": null}}),
        ),
        (
            400,
            json!({"error": {"message": "Unknown parameter", "type": "invalid_request_error", "param": "stream_options", "code": "unknown_parameter"}}),
        ),
        (
            422,
            json!({"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]}),
        ),
    ];
    for (status, body) in refusals {
        let servers = Servers::replying_in_turn(vec![
            Reply::json(status, &body),
            Reply::events(&[&piece("hi"), STOP, DONE]),
        ]);
        let ended = servers
            .call(&["chat", "--stream", "--retries", "0", "--json", "Hello"])
            .run();
        ended.code(0);
        // The repeated request does not count as an attempt.
        assert_eq!(ended.json()["response"]["attempts"], 1);
        let asked = servers.asked();
        assert_eq!(asked.len(), 2);
        let repeat = asked[1].json();
        assert!(
            repeat.get("stream_options").is_none() && repeat["stream"] == true,
            "{repeat}"
        );
        let attempts = attribute(
            &servers.trace().generation,
            "langfuse.observation.metadata.attempts",
        );
        assert_eq!(attempts, None, "only several attempts are stated");
    }
}

#[test]
fn json_in_answer_to_a_stream_is_an_answer() {
    let servers = Servers::answering("hi");
    servers
        .call(&["chat", "--stream", "Hello"])
        .run()
        .code(0)
        .stdout("hi\n");
    assert_eq!(
        attribute(&servers.trace().parent, "output.value").unwrap(),
        "hi"
    );
}

#[test]
fn a_stream_may_be_cut_anywhere_and_hold_comments() {
    let body = format!(
        ": PROCESSING\r\n\r\nevent: x\r\ndata:{}\r\n\r\ndata: {}\n\ndata: {STOP}\n\ndata: [DONE]\n\n",
        piece("hé"),
        piece("llo")
    );
    let mut reply = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    // A chunk for every byte, so that lines and letters are cut.
    for byte in body.bytes() {
        reply.extend([b"1\r\n", &[byte][..], b"\r\n"].concat());
    }
    reply.extend(b"0\r\n\r\n");
    let servers = Servers::replying(Reply::Bytes(reply));
    let call = servers.call(&["chat", "--stream", "Hello"]);
    call.run().code(0).stdout("héllo\n");
}

#[test]
fn a_stream_is_whole_after_done_however_the_connection_ends() {
    const HEAD: &str =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    for events in [
        format!("data: {}\n\ndata: [DONE]\n\n", piece("hi")),
        format!("data: {}\n\ndata: {STOP}\n\n", piece("hi")),
    ] {
        // The chunk that ends the response never comes.
        let bytes = format!("{HEAD}{:x}\r\n{events}\r\n", events.len()).into_bytes();
        let mut replies = vec![Reply::Bytes(bytes.clone())];
        if events.contains("[DONE]") {
            replies.push(Reply::Stall(bytes));
        }
        for reply in replies {
            let servers = Servers::replying(reply);
            let call = servers.call(&["chat", "--stream", "Hello"]);
            call.run().code(0).stdout("hi\n");
            assert_eq!(servers.asked().len(), 1);
        }
    }
}

#[test]
fn an_error_within_a_stream_fails_the_call_and_keeps_what_came_before() {
    let error =
        r#"{"error":{"message":"the engine is overloaded","type":"server_error","code":null}}"#;
    let servers = Servers::replying(Reply::events(&[&piece("par"), &piece("tial"), error, DONE]));
    let ended = servers.call(&["chat", "--stream", "Hello"]).run();
    ended.code(4).stderr_has("the engine is overloaded");
    // No retry once content was received.
    assert_eq!(servers.asked().len(), 1);
    let trace = assert_failed(&servers, "the engine is overloaded");
    assert_partial(&trace);
}

#[test]
fn a_cut_stream_fails_the_call_and_keeps_what_came_before() {
    let events = format!("data: {}\n\n", piece("partial"));
    let cut = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n{events}",
        events.len() + 100
    );
    let servers = Servers::replying(Reply::Bytes(cut.into_bytes()));
    servers.call(&["chat", "--stream", "Hello"]).run().code(4);
    assert_eq!(servers.asked().len(), 1);
    assert_partial(&assert_failed(&servers, ""));
}

#[test]
fn a_stream_without_an_end_is_a_failure() {
    let servers = Servers::replying(Reply::events(&[&piece("partial")]));
    servers.call(&["chat", "--stream", "Hello"]).run().code(4);
    assert_partial(&assert_failed(&servers, ""));
}

#[test]
fn a_stream_with_a_finish_reason_needs_no_done() {
    let servers = Servers::replying(Reply::events(&[&piece("hi"), STOP]));
    servers
        .call(&["chat", "--stream", "Hello"])
        .run()
        .code(0)
        .stdout("hi\n");
}

#[test]
fn a_stream_needs_no_content_type() {
    let body = format!("data: {}\n\ndata: {STOP}\n\ndata: [DONE]\n\n", piece("hi"));
    for content_type in ["text/plain", "application/json", "application/octet-stream"] {
        for start in ["", ": PROCESSING\n\n", "event: x\n", "\u{feff}"] {
            let reply = Reply::Answer(200, content_type, format!("{start}{body}"));
            let servers = Servers::replying(reply);
            servers
                .call(&["chat", "--stream", "Hello"])
                .run()
                .code(0)
                .stdout("hi\n");
            let output = attribute(&servers.trace().parent, "output.value");
            assert_eq!(output.unwrap(), "hi");
        }
    }
}

#[test]
fn json_is_an_answer_whatever_its_content_type() {
    for content_type in ["text/event-stream", "text/plain", "text/html"] {
        for start in ["", "\n ", "\u{feff}"] {
            let body = format!("{start}{}", completion("hi"));
            let servers = Servers::replying(Reply::Answer(200, content_type, body));
            servers
                .call(&["chat", "--stream", "Hello"])
                .run()
                .code(0)
                .stdout("hi\n");
            assert_eq!(servers.asked().len(), 1);
            let output = attribute(&servers.trace().parent, "output.value");
            assert_eq!(output.unwrap(), "hi");
        }
    }
}

#[test]
fn an_error_event_in_plain_text_fails_the_call() {
    let begun = format!("data: {}\n\n", piece("partial"));
    for (events, is_partial) in [
        (
            "event: error\ndata: out of memory\n\ndata: [DONE]\n\n",
            false,
        ),
        ("event: error\ndata: \"out of memory\"\n\n", true),
        (
            "event: error\ndata: {\"type\":\"out of memory\"}\n\ndata: [DONE]\n\n",
            true,
        ),
    ] {
        let start = if is_partial { begun.as_str() } else { "" };
        let body = format!("{start}{events}");
        let servers = Servers::replying(Reply::Answer(200, "text/event-stream", body));
        let ended = servers.call(&["chat", "--stream", "Hello"]).run();
        ended.code(4).stderr_has("out of memory");
        let trace = assert_failed(&servers, "out of memory");
        if is_partial {
            assert_partial(&trace);
        }
    }
}

#[test]
fn many_tool_calls_are_read_in_time() {
    const CALLS: usize = 60_000;
    let piece = |at: usize, part: &str| {
        format!(
            r#"{{"index":{},"function":{{"arguments":"{part}"}}}}"#,
            at * 7
        )
    };
    let chunk = |part: &str| {
        let pieces: Vec<String> = (0..CALLS).map(|at| piece(at, part)).collect();
        let chunks = pieces.chunks(100).map(|pieces| {
            let pieces = pieces.join(",");
            format!(r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{pieces}]}}}}]}}"#)
        });
        chunks.collect::<Vec<String>>()
    };
    let chunks = [chunk("{"), chunk("}")].concat();
    let mut events: Vec<&str> = chunks.iter().map(String::as_str).collect();
    events.extend([STOP, DONE]);
    let servers = Servers::replying(Reply::events(&events));
    let arguments = [
        "chat",
        "--stream",
        "--json",
        "--capture",
        "none",
        "--timeout",
        "40",
        "Hello",
    ];
    let ended = servers.call(&arguments).run();
    ended.code(0);
    let calls = ended.json()["response"]["tool_calls"].take();
    let calls = calls.as_array().unwrap();
    assert_eq!(calls.len(), CALLS);
    assert!(
        calls
            .iter()
            .all(|call| call["function"]["arguments"] == "{}")
    );
}

#[test]
fn an_endless_stream_is_cut_at_a_size_that_is_stated() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let servers = Servers::answering("not asked");
    let line = format!(": {}\n", "x".repeat(1021));
    let call = servers.call(&["chat", "--stream", "Hello"]);
    let ended = call.model_at(&endless(HEAD, line, 1024)).run();
    ended.code(4).stderr_has("256 MiB");
    assert_failed(&servers, "256 MiB");
}
