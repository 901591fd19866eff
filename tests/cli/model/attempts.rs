//! Retries, waits and timeouts.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{DONE, STOP, again, assert_failed, assert_partial, attempts, good, piece};
use crate::support::harness::Reply;
use crate::support::otlp::{Servers, attribute};

#[test]
fn transient_errors_are_retried() {
    for first in [
        again(408),
        again(409),
        again(429),
        again(500),
        again(503),
        Reply::Close,
    ] {
        let servers = Servers::replying_in_turn(vec![first.clone(), good()]);
        let ended = servers.call(&["chat", "--json", "Hello"]).run();
        assert_eq!(ended.code, Some(0), "{first:?}: {ended:#?}");
        assert_eq!(ended.json()["response"]["attempts"], 2);
        assert_eq!(servers.asked().len(), 2);
        let generation = servers.trace().generation;
        let attempts = attribute(&generation, "langfuse.observation.metadata.attempts");
        assert_eq!(attempts.unwrap(), "(int) 2");
    }
}

#[test]
fn every_attempt_sends_the_same() {
    let servers = Servers::replying_in_turn(vec![again(503), good()]);
    servers.call(&["chat", "Hello"]).run().code(0);
    let [first, second]: [_; 2] = servers.asked().try_into().unwrap();
    assert_eq!(first.body, second.body);
    assert_eq!(first.header("traceparent"), second.header("traceparent"));
}

#[test]
fn retries_are_further_attempts() {
    for (arguments, attempts) in [
        (&["chat", "Hello"][..], 3),
        (&["chat", "--retries", "0", "Hello"], 1),
        (&["chat", "--retries", "4", "Hello"], 5),
    ] {
        let servers = Servers::replying(again(503));
        servers
            .call(arguments)
            .run()
            .code(4)
            .stderr_has("503")
            .stderr_has("try later");
        assert_eq!(servers.asked().len(), attempts, "{arguments:?}");
        assert_failed(&servers, "try later");
    }
}

#[test]
fn permanent_errors_are_not_retried() {
    let error = |status, code: &str| {
        Reply::json(
            status,
            &json!({"error": {"message": "no", "type": "t", "param": null, "code": code}}),
        )
    };
    let forbidden = vec![
        ("x-should-retry", "false".to_owned()),
        ("retry-after-ms", "1".to_owned()),
    ];
    for reply in [
        error(400, "invalid_value"),
        error(401, "invalid_api_key"),
        error(403, "unsupported_country"),
        error(404, "model_not_found"),
        error(422, "x"),
        error(429, "insufficient_quota"),
        Reply::With(503, forbidden, "{}".to_owned()),
        // Nobody waits an hour; to ask earlier would be in vain.
        Reply::With(
            429,
            vec![("retry-after", "3600".to_owned())],
            "{}".to_owned(),
        ),
    ] {
        let servers = Servers::replying(reply.clone());
        let ended = servers.call(&["chat", "Hello"]).run();
        assert_eq!(ended.code, Some(4), "{reply:?}: {ended:#?}");
        assert_eq!(servers.asked().len(), 1, "{reply:?}");
    }
}

#[test]
fn a_retry_requested_by_the_endpoint_is_made_whatever_the_status() {
    let asking = vec![
        ("x-should-retry", "true".to_owned()),
        ("retry-after-ms", "1".to_owned()),
    ];
    let reply = Reply::With(400, asking, "{}".to_owned());
    let servers = Servers::replying_in_turn(vec![reply, good()]);
    servers.call(&["chat", "Hello"]).run().code(0);
    assert_eq!(servers.asked().len(), 2);
}

#[test]
fn the_trace_holds_the_outcome_of_each_attempt() {
    let limited = Reply::With(
        429,
        vec![("retry-after-ms", "20".to_owned())],
        "{}".to_owned(),
    );
    let replies = vec![again(503), limited, Reply::Close, good()];
    let servers = Servers::replying_in_turn(replies);
    let call = servers.call(&["chat", "--retries", "3", "Hello"]);
    call.run().code(0);
    let (statuses, waits) = attempts(&servers);
    assert_eq!(statuses, Some(json!([503, 429, null, 200])));
    let waits = waits.unwrap();
    assert_eq!(waits[..2], [1, 20]);
    // Where nobody asked for a wait it is half a second, less up to a quarter.
    assert!(
        waits.len() == 3 && (1500..=2000).contains(&waits[2]),
        "{waits:?}"
    );
}

#[test]
fn the_trace_of_a_failed_call_holds_its_attempts() {
    let servers = Servers::replying(again(503));
    servers.call(&["chat", "Hello"]).run().code(4);
    let (statuses, waits) = attempts(&servers);
    assert_eq!(statuses, Some(json!([503, 503, 503])));
    assert_eq!(waits, Some(vec![1, 1]));
}

#[test]
fn a_single_attempt_adds_no_details() {
    let servers = Servers::replying_in_turn(vec![
        Reply::json(
            400,
            &json!({"error": {"message": "no stream_options here"}}),
        ),
        Reply::events(&[&piece("hi"), STOP, DONE]),
    ]);
    servers.call(&["chat", "--stream", "Hello"]).run().code(0);
    assert_eq!(attempts(&servers), (None, None));
}

#[test]
fn a_wait_beyond_the_deadline_is_not_started() {
    let later = Reply::With(429, vec![("retry-after", "60".to_owned())], "{}".to_owned());
    let servers = Servers::replying(later);
    let begin = Instant::now();
    servers
        .call(&["chat", "--timeout", "30", "Hello"])
        .run()
        .code(4)
        .stderr_has("429");
    assert!(begin.elapsed() < Duration::from_secs(30));
    assert_eq!(servers.asked().len(), 1);
}

#[test]
fn the_timeout_bounds_all_attempts() {
    let servers = Servers::replying(Reply::Hang);
    let call = servers.call(&["chat", "--timeout", "1", "--retries", "5", "Hello"]);
    call.run().code(4);
    assert_eq!(servers.asked().len(), 1);
    assert_failed(&servers, "");
}

#[test]
fn the_timeout_bounds_the_whole_stream() {
    let servers = Servers::answering("not asked");
    let arguments = ["chat", "--stream", "--timeout", "1", "Hello"];
    let call = servers
        .call(&arguments)
        .model_at(&stalling_stream(&piece("partial")));
    call.run().code(4);
    assert_partial(&assert_failed(&servers, ""));
}

/// The URL of a model that begins to stream and then says nothing more.
fn stalling_stream(event: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let begun =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {event}\n\n");
    thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in listener.incoming().flatten() {
            // An answer before the question would be none.
            let head = BufReader::new(&stream).lines().map_while(Result::ok);
            head.take_while(|line| !line.is_empty()).for_each(drop);
            let _ = stream.write_all(begun.as_bytes());
            open.push(stream);
        }
    });
    url
}
