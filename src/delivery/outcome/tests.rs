//! Answers of OTLP endpoints, and what each means.

use http::HeaderValue;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

use super::*;

fn answer(status: u16, content_type: &'static str, body: &[u8]) -> Outcome {
    let mut headers = HeaderMap::new();
    if !content_type.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    let status = StatusCode::from_u16(status).unwrap();
    Outcome::of_answer(Answerer::Langfuse, status, &headers, body)
}

#[test]
fn a_gateway_s_answer_leaves_open_whether_langfuse_took_the_request() {
    use Answerer::{Langfuse, Otlp};
    for (status, langfuse, otlp) in [
        (429, Repeat::Yes, Repeat::Yes),
        (503, Repeat::Yes, Repeat::Yes),
        (502, Repeat::IfAbsent, Repeat::Yes),
        (504, Repeat::IfAbsent, Repeat::Yes),
        (408, Repeat::IfAbsent, Repeat::Never),
        (500, Repeat::IfAbsent, Repeat::Never),
        (520, Repeat::IfAbsent, Repeat::Never),
        (524, Repeat::IfAbsent, Repeat::Never),
        (501, Repeat::Never, Repeat::Never),
        (401, Repeat::Never, Repeat::Never),
    ] {
        assert_eq!(Langfuse.repeat(status), langfuse, "{status}");
        assert_eq!(Otlp.repeat(status), otlp, "{status}");
    }
}

fn protobuf(rejected: i64) -> Vec<u8> {
    let partial = ExportTracePartialSuccess {
        rejected_spans: rejected,
        error_message: "no".to_owned(),
    };
    ExportTraceServiceResponse {
        partial_success: Some(partial),
    }
    .encode_to_vec()
}

#[test]
fn acceptance_is_known_by_status_and_body() {
    for (content_type, body) in [
        ("", &b""[..]),
        ("text/html", b""),
        ("application/json", b"{}"),
        (
            "application/json; charset=utf-8",
            br#"{"name":"otel-ingestion-job"}"#,
        ),
        ("application/json", br#"{"partialSuccess":null}"#),
        (
            "application/json",
            br#"{"partialSuccess":{"rejectedSpans":"0","errorMessage":"slow down"}}"#,
        ),
        ("application/x-protobuf", &protobuf(0)),
    ] {
        assert!(
            answer(200, content_type, body).is_accepted(),
            "{content_type} {body:?}"
        );
    }
}

#[test]
fn other_answers_are_not_accepted() {
    for (status, content_type, body) in [
        (200, "text/html", &b"<!doctype html>"[..]),
        (200, "application/json", b"<html>"),
        (200, "application/json", b"[]"),
        (200, "text/plain", b"OK"),
        (200, "application/x-protobuf", b"\xff\xff"),
        (200, "application/x-protobuf", &protobuf(1)),
        (200, "Application/X-Protobuf", &protobuf(1)),
        (200, "application/x-protobuf", &protobuf(-1)),
        (200, "application/json", &vec![b' '; MAX_ANSWER_BYTES + 1]),
        (
            200,
            "application/json",
            br#"{"partialSuccess":{"rejectedSpans":"2"}}"#,
        ),
        (301, "", b""),
        (401, "application/json", br#"{"message":"no"}"#),
        (503, "", b""),
    ] {
        assert!(
            !answer(status, content_type, body).is_accepted(),
            "{status} {content_type} {body:?}"
        );
    }
}

#[test]
fn the_servers_words_are_shown() {
    let outcome = answer(
        401,
        "application/json",
        br#"{"message":"Invalid credentials."}"#,
    );
    assert_eq!(
        outcome.describe(),
        "answered 401 Unauthorized: Invalid credentials."
    );
    let outcome = answer(413, "text/html", b"<html><h1>413</h1>");
    assert_eq!(
        outcome.describe(),
        "answered 413 Payload Too Large: an HTML page"
    );
}
