//! Requests that the sandbox refuses whatever they ask for: under another host's name, or too large.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use super::ingest::GZIP;
use super::{JSON, TRACES, export, span};
use crate::support::stand_in::Sandbox;

/// 128 MiB.
const MOST_BODY: u64 = 128 << 20;

/// The status and the body of the answer to these lines, sent as they are.
fn raw(sandbox: &Sandbox, lines: &[&str]) -> (String, String) {
    let mut stream = TcpStream::connect(sandbox.url().trim_start_matches("http://")).unwrap();
    let request = format!("{}\r\nconnection: close\r\n\r\n", lines.join("\r\n"));
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    (status.to_owned(), body.to_owned())
}

/// A page of another site can make a browser send requests to this port, under its own name (DNS rebinding).
#[test]
fn only_requests_to_a_loopback_name_are_answered() {
    let sandbox = Sandbox::start();
    for (lines, status) in [
        (&["GET / HTTP/1.1", "host: 127.0.0.1"][..], "200"),
        (&["GET / HTTP/1.1", "host: 127.0.0.1:4390"], "200"),
        (&["GET / HTTP/1.1", "host: LOCALHOST:80"], "200"),
        (&["GET / HTTP/1.1", "host: [::1]:4390"], "200"),
        (
            &["GET http://localhost/ HTTP/1.1", "host: localhost"],
            "200",
        ),
        (&["GET / HTTP/1.1", "host: evil.example"], "403"),
        (
            &["GET / HTTP/1.1", "host: 127.0.0.1.evil.example:4390"],
            "403",
        ),
        (&["GET / HTTP/1.1", "host: 127.0.0.1@evil.example"], "403"),
        (&["GET / HTTP/1.1", "host: 192.168.0.7"], "403"),
        (
            &["GET / HTTP/1.1", "host: 127.0.0.1", "host: evil.example"],
            "403",
        ),
        (&["GET / HTTP/1.1", "host:"], "403"),
        (&["GET / HTTP/1.0"], "403"),
        (
            &["GET http://evil.example/ HTTP/1.1", "host: 127.0.0.1"],
            "403",
        ),
        (
            &["POST /v1/chat/completions HTTP/1.1", "host: evil.example"],
            "403",
        ),
        (
            &[
                "GET /media/AAAAAAAAAAAAAAAAAAAAAA HTTP/1.1",
                "host: evil.example",
            ],
            "403",
        ),
    ] {
        let (got, body) = raw(&sandbox, lines);
        assert_eq!(got, status, "{lines:?}: {body}");
        if status == "403" {
            let message = "The sandbox only answers to 127.0.0.1, localhost, [::1]";
            assert_eq!(body, json!({"message": message}).to_string());
        }
    }
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let sandbox = Sandbox::start();
    for path in [TRACES, "/v1/chat/completions", "/api/public/media"] {
        let (request, length) = (
            format!("POST {path} HTTP/1.1"),
            format!("content-length: {}", MOST_BODY + 1),
        );
        let (status, body) = raw(&sandbox, &[&request, "host: localhost", &length]);
        assert_eq!(status, "413", "{path}: {body}");
        assert!(body.contains("larger than 134217728 bytes"), "{body}");
    }
}

#[test]
fn a_body_that_becomes_too_large_when_it_is_decompressed_is_refused() {
    let sandbox = Sandbox::start();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let block = vec![b' '; 1 << 20];
    for _ in 0..=(MOST_BODY >> 20) {
        encoder.write_all(&block).unwrap();
    }
    let answer = sandbox.post(TRACES, &[JSON, GZIP], encoder.finish().unwrap());
    assert_eq!(answer.status, 413, "{answer:?}");
    assert_eq!(
        answer.json(),
        json!({"error": "The decompressed body is larger than 134217728 bytes"})
    );
    // It still serves, and nothing was stored.
    let good = export(&[span("a", "1", 0, &[])]).to_string();
    assert_eq!(sandbox.post(TRACES, &[JSON], good).status, 200);
    assert_eq!(sandbox.observations("a").len(), 1);
}
