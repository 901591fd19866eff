//! Retries, waits and timeouts.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{DONE, STOP, again, assert_failed, assert_partial, attempts, good, piece};
use crate::support::harness::{Ended, Reply, Scripted};
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
    // The first connection is a fresh one: on a used one, a call whose connection is closed is repeated at once.
    let replies = vec![Reply::Close, again(503), limited, good()];
    let servers = Servers::replying_in_turn(replies);
    let call = servers.call(&["chat", "--retries", "3", "Hello"]);
    call.run().code(0);
    let (statuses, waits) = attempts(&servers);
    assert_eq!(statuses, Some(json!([null, 503, 429, 200])));
    assert_backed_off(&waits.unwrap(), 3);
}

#[test]
fn the_trace_of_a_failed_call_holds_its_attempts() {
    let servers = Servers::replying(again(503));
    servers.call(&["chat", "Hello"]).run().code(4);
    let (statuses, waits) = attempts(&servers);
    assert_eq!(statuses, Some(json!([503, 503, 503])));
    assert_backed_off(&waits.unwrap(), 2);
}

/// Asserts that there were `count` waits: half a second at first, then twice as long each time, each less up to a quarter.
#[track_caller]
fn assert_backed_off(waits: &[u64], count: usize) {
    assert_eq!(waits.len(), count, "{waits:?}");
    for (wait, full) in waits.iter().zip([500, 1000, 2000]) {
        assert!((full * 3 / 4..=full).contains(wait), "{waits:?}");
    }
}

/// What servers say that want to be asked again at once.
const AT_ONCE: [&[(&str, &str)]; 5] = [
    &[("retry-after", "0")],
    &[("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT")],
    &[("retry-after-ms", "1")],
    &[
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "1ms"),
    ],
    &[("x-should-retry", "true"), ("retry-after", "0.001")],
];

fn at_once(headers: &[(&'static str, &str)]) -> Reply {
    let headers = headers.iter();
    let headers = headers.map(|(name, value)| (*name, (*value).to_owned()));
    Reply::With(429, headers.collect(), String::new())
}

#[test]
fn no_wait_is_shorter_than_the_back_off() {
    for headers in AT_ONCE {
        let servers = Servers::replying(at_once(headers));
        servers.call(&["chat", "Hello"]).run().code(4);
        assert_backed_off(&attempts(&servers).1.unwrap(), 2);
    }
}

/// A batch of `count` lines.
fn batch(servers: &Servers, count: usize, options: &[&str]) -> Ended {
    let call = servers.call(&[&["batch", "in.jsonl", "--out", "out.jsonl"], options].concat());
    let line = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    call.file("in.jsonl", [line, "\n"].concat().repeat(count));
    call.run()
}

#[test]
fn a_pool_is_not_paused_for_less_than_the_back_off() {
    for headers in AT_ONCE {
        let servers = Servers::replying(at_once(headers));
        batch(&servers, 4, &["--timeout", "3"]).code(8);
        // At first, then after 0.4 to 0.5, 1.1 to 1.5 and 2.6 to 3.5 s.
        assert!(servers.asked().len() <= 16, "{headers:?}");
    }
}

#[test]
fn lines_outlast_a_short_outage() {
    const OUTAGE: Duration = Duration::from_secs(1);
    for headers in AT_ONCE {
        let begin = OnceLock::new();
        let model = Scripted::start(move |_, _| {
            let begin = begin.get_or_init(Instant::now);
            if begin.elapsed() < OUTAGE {
                at_once(headers)
            } else {
                good()
            }
        });
        let servers = Servers::with(model);
        batch(&servers, 50, &[]).code(0);
    }
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

#[test]
fn the_timeout_holds_while_bytes_trickle() {
    const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    const JSON: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{";
    const HEAD: &str = "HTTP/1.1 200 OK\r\nx-long: ";
    const ERROR: &str = "HTTP/1.1 500 Oh\r\n\r\n";
    for (start, piece) in [
        (EVENTS, ": \n"),
        (EVENTS, "x"),
        (JSON, " "),
        (ERROR, "x"),
        (HEAD, "x"),
    ] {
        let servers = Servers::answering("not asked");
        let call = servers.call(&["chat", "--stream", "--timeout", "1", "Hello"]);
        let begin = Instant::now();
        let ended = call.model_at(&endless(start, piece.to_owned(), 1)).run();
        ended.code(4).stderr_has("within 1 s");
        // The margin is for the start and the export on a busy machine.
        assert!(begin.elapsed() < Duration::from_secs(10), "{start:?}");
    }
}

/// The URL of a model that answers with `start`, then `piece` again and again, `count` in a write.
pub fn endless(start: &'static str, piece: String, count: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let head = BufReader::new(&stream).lines().map_while(Result::ok);
            head.take_while(|line| !line.is_empty()).for_each(drop);
            let _ = stream.write_all(start.as_bytes());
            let pieces = piece.repeat(count);
            while stream.write_all(pieces.as_bytes()).is_ok() {
                if count == 1 {
                    thread::sleep(Duration::from_millis(20));
                }
            }
        }
    });
    url
}
