//! Refused exports, each with the status and the message of the real server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::ingest::{GZIP, gzip};
use super::{JSON, PROTOBUF, TRACES, assert_accepted, export, span};
use crate::support::stand_in::{Answer, Sandbox};

fn basic(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

#[test]
fn wrong_credentials_are_refused_with_their_own_messages() {
    let sandbox = Sandbox::start();
    let hinted = |cause: &str| format!("{cause}. Confirm that you've configured the correct host.");
    let denied = "Access denied - insufficient permissions for this endpoint";
    for (header, status, message) in [
        (None, 401, "No authorization header".to_owned()),
        (
            Some(basic("pk-lf-sandbox:sk-lf-wrong")),
            401,
            hinted("Invalid credentials"),
        ),
        (
            Some(basic("sk-lf-sandbox:pk-lf-sandbox")),
            401,
            hinted("Invalid credentials"),
        ),
        (
            Some("Basic ???".to_owned()),
            401,
            hinted("Invalid character"),
        ),
        (
            Some(basic("sk-lf-sandbox")),
            401,
            hinted("Invalid authorization header"),
        ),
        (
            Some("Bearer pk-lf-sandbox".to_owned()),
            403,
            denied.to_owned(),
        ),
        (
            Some("Bearer pk-lf-other".to_owned()),
            401,
            hinted("Invalid public key"),
        ),
        (
            Some("Token x".to_owned()),
            401,
            "Invalid authorization header".to_owned(),
        ),
    ] {
        for (method, path) in [
            ("POST", TRACES),
            ("GET", "/api/public/projects"),
            ("GET", "/api/public/v2/observations"),
        ] {
            let headers: Vec<_> = header
                .iter()
                .map(|value| ("authorization", value.as_str()))
                .chain([JSON])
                .collect();
            let answer = sandbox.send(method, path, &headers, b"{}".to_vec());
            assert_eq!(
                (answer.status, answer.json()),
                (status, json!({"message": message})),
                "{header:?}"
            );
        }
    }
}

#[test]
fn only_the_secret_key_is_checked() {
    let sandbox = Sandbox::start();
    let foreign = basic("pk-lf-other:sk-lf-sandbox");
    let answer = sandbox.send(
        "GET",
        "/api/public/projects",
        &[("authorization", &foreign)],
        Vec::new(),
    );
    assert_eq!(answer.status, 200);
}

#[test]
fn every_malformed_export_has_its_own_answer() {
    let sandbox = Sandbox::start();
    let good = export(&[span("a", "1", 0, &[])]).to_string();
    let refuses = |headers: &[(&str, &str)], body: &[u8], error: &str| {
        let answer = sandbox.post(TRACES, headers, body);
        assert_eq!(
            (answer.status, answer.json()),
            (400, json!({"error": error})),
            "{headers:?}"
        );
    };
    let good = good.as_bytes();
    refuses(
        &[("content-type", "text/plain")],
        good,
        "Invalid content type",
    );
    refuses(&[], good, "Invalid content type");
    refuses(&[JSON], b"{", "Failed to parse OTel JSON Trace");
    refuses(&[JSON], b"", "Failed to parse OTel JSON Trace");
    refuses(
        &[PROTOBUF],
        b"\xff\xff",
        "Failed to parse OTel Protobuf Trace",
    );
    refuses(&[PROTOBUF], good, "Failed to parse OTel Protobuf Trace");
    refuses(&[JSON, GZIP], good, "Failed to decompress request body");
    refuses(
        &[JSON, GZIP],
        &gzip(good)[..20],
        "Failed to decompress request body",
    );
    assert_eq!(sandbox.observations("a").len(), 0);
}

#[test]
fn one_span_without_ids_refuses_the_whole_export() {
    let sandbox = Sandbox::start();
    let ids =
        "traceId and spanId are required on every span, and each must be a string or a byte array.";
    let arrays = "scopeSpans, spans, attributes and events must all be arrays — OTLP attributes are a list of \
                  {key, value} entries, not a JSON object.";
    for (field, value, reason, rule) in [
        ("traceId", Value::Null, "traceId:absent", ids),
        ("spanId", Value::Null, "spanId:absent", ids),
        ("spanId", json!(7), "spanId:not_an_id", ids),
        (
            "attributes",
            json!({"a": "b"}),
            "attributes:not_an_array",
            arrays,
        ),
    ] {
        let mut spans = [
            span("a", "1", 0, &[]),
            span("a", "2", 0, &[]),
            span("a", "3", 0, &[]),
        ];
        spans[1][field] = value;
        let answer = sandbox.post(TRACES, &[JSON], export(&spans).to_string());
        let message = format!(
            "Invalid OTLP trace export: 1 of 3 span(s) cannot be processed ({reason}). {rule} The entire export was \
             rejected and no spans were ingested. Instrumentation scopes: probe-cli. This endpoint accepts \
             OpenTelemetry traces only — if you are exporting OpenTelemetry logs, point your log exporter elsewhere."
        );
        assert_eq!(
            (answer.status, answer.json()),
            (400, json!({"error": message}))
        );
    }
    assert_eq!(sandbox.observations("a").len(), 0);
}

#[test]
fn ingestion_versions_up_to_four_are_accepted() {
    let sandbox = Sandbox::start();
    let with_version = |version| {
        let body = export(&[span("a", "1", 0, &[])]).to_string();
        sandbox.post(
            TRACES,
            &[JSON, ("x-langfuse-ingestion-version", version)],
            body,
        )
    };
    assert_accepted(&with_version("4"));
    for version in ["5", "abc"] {
        let message = format!(
            r#"Unsupported x-langfuse-ingestion-version: "{version}". Maximum supported: "4"."#
        );
        let answer = with_version(version);
        assert_eq!(
            (answer.status, answer.json()),
            (400, json!({"error": message}))
        );
    }
}

#[test]
fn other_methods_and_paths_are_answered_as_by_langfuse() {
    let sandbox = Sandbox::start();
    let not_allowed = json!({"message": "Method not allowed", "error": "MethodNotAllowedError"});
    for method in ["GET", "PUT"] {
        let answer = sandbox.send(method, TRACES, &[], Vec::new());
        assert_eq!(
            (answer.status, answer.json()),
            (405, not_allowed.clone()),
            "{method}"
        );
    }
    let slashed = sandbox.post(&format!("{TRACES}/"), &[JSON], "{}");
    assert_eq!(
        (
            slashed.status,
            slashed.location.as_str(),
            slashed.body.as_str()
        ),
        (308, TRACES, TRACES)
    );
    let metrics = sandbox.post("/api/public/otel/v1/metrics", &[PROTOBUF], "");
    assert_eq!(
        (metrics.status, metrics.json()),
        (200, json!({"message": "OK"}))
    );
    for path in [
        "/api/public/otel",
        "/api/public/otel/v1/logs",
        "/v1/traces",
        "/api/public/nothing",
    ] {
        assert_html_404(&sandbox.post(path, &[PROTOBUF], ""));
    }
}

fn assert_html_404(answer: &Answer) {
    assert_eq!(answer.status, 404, "{answer:?}");
    assert!(answer.content_type.starts_with("text/html"), "{answer:?}");
}
