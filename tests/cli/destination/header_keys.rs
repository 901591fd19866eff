//! Keys in OTLP header variables, as in the Langfuse cookbook.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{INGEST, KEYS, PROJECTS, accept, authorization, backend, basic, chat};
use crate::support::harness::{Langspan, Scripted};
use crate::support::stand_in::Sandbox;
use crate::support::untouched::Untouched;

#[test]
fn the_cookbooks_environment_works_unchanged() {
    let sandbox = Sandbox::start();
    let encoded = sandbox
        .authorization()
        .trim_start_matches("Basic ")
        .to_owned();
    for header in [
        format!("Authorization=Basic {encoded}"),
        format!("Authorization=Basic%20{encoded}"),
        format!("authorization=Basic%20{}", encoded.replace('=', "%3D")),
    ] {
        let ended = Langspan::new(&["chat", "-u", "user-123", "-S", "s", "-t", "a", "Hello"])
            .model_at(&format!("{}/v1", sandbox.url()))
            .env("OPENAI_API_KEY", "sk-of-the-cookbook")
            .env(
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                &format!("{}{INGEST}", sandbox.url()),
            )
            .env("OTEL_EXPORTER_OTLP_TRACES_HEADERS", &header)
            .env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
            .run();
        ended
            .code(0)
            .stderr_has(&format!("trace: {}/project/sandbox/traces/", sandbox.url()));
        let rows = sandbox.observations(&ended.trace_id());
        assert_eq!(rows.len(), 2, "{header}");
        assert!(
            rows.iter().all(|row| row["userId"] == "user-123"),
            "{rows:?}"
        );
    }
}

#[test]
fn the_general_variables_serve_as_well_and_padding_survives() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    // 34 and 35 bytes: one and two signs of padding.
    for (public, secret) in [
        ("pk-lf-1234567890", "sk-lf-12345678901"),
        ("pk-lf-1234567890", "sk-lf-123456789012"),
    ] {
        let expected = basic(public, secret);
        assert!(expected.ends_with('='));
        let ended = chat(&model, &[])
            .env(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                &format!("{}/api/public/otel", langfuse.url()),
            )
            .env(
                "OTEL_EXPORTER_OTLP_HEADERS",
                &format!("x-team=blue,Authorization={}", expected.replace(' ', "%20")),
            )
            .run();
        ended.code(0);
        let export = langfuse.requests_to(INGEST).pop().unwrap();
        assert_eq!(
            (export.header("authorization"), export.header("x-team")),
            (expected.as_str(), "blue")
        );
        let look_up = langfuse.requests_to(PROJECTS).pop().unwrap();
        assert_eq!(look_up.header("authorization"), expected);
    }
}

#[test]
fn a_header_without_a_valid_key_pair_is_ignored() {
    let server = Untouched::start();
    let encode = |text: &str| format!("Basic {}", STANDARD.encode(text));
    let mut taken = Vec::new();
    for value in [
        encode("pk-lf-1234567890"),
        encode("pk-lf-1234567890:"),
        encode(":sk-lf-1234567890"),
        encode("sk-lf-1234567890:pk-lf-1234567890"),
        "Basic this-is-not-base64".to_owned(),
        "Bearer sk-lf-1234567890".to_owned(),
    ] {
        let ended = Langspan::new(&["chat", "Hello"])
            .model_at(server.url())
            .env(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                &format!("{}/api/public/otel", server.url()),
            )
            .env(
                "OTEL_EXPORTER_OTLP_HEADERS",
                &format!("Authorization={value}"),
            )
            .run();
        ended.stderr_lacks("1234567890");
        if ended.code != Some(3) {
            taken.push(value);
        }
    }
    assert!(taken.is_empty(), "taken for a pair: {taken:?}");
    server.assert_untouched();
}

#[test]
fn no_variable_changes_the_version_header() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    chat(&model, &KEYS)
        .env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            &format!("{}/api/public/otel", langfuse.url()),
        )
        .env(
            "OTEL_EXPORTER_OTLP_HEADERS",
            "x-langfuse-ingestion-version=3",
        )
        .run()
        .code(0);
    let [export] = langfuse.requests_to(INGEST).try_into().unwrap();
    assert_eq!(export.header("x-langfuse-ingestion-version"), "4");
}

#[test]
fn langfuse_variables_win_over_the_header() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    let header = format!(
        "Authorization={}",
        basic("pk-lf-of-header", "sk-lf-of-header")
    );
    chat(&model, &KEYS)
        .env(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            &format!("{}{INGEST}", langfuse.url()),
        )
        .env("OTEL_EXPORTER_OTLP_TRACES_HEADERS", &header)
        .run()
        .code(0);
    for request in langfuse.requests() {
        assert_eq!(request.header("authorization"), authorization());
    }
}

#[test]
fn the_headers_for_traces_replace_the_general_ones() {
    let (model, backend) = (Scripted::model("hi"), backend());
    chat(&model, &[])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url())
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-general=1,x-both=general")
        .env("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-own=1,x-both=own")
        .run()
        .code(0);
    let [export] = backend.requests().try_into().unwrap();
    let seen = ["x-general", "x-both", "x-own"].map(|name| export.header(name));
    assert_eq!(seen, ["", "own", "1"]);
}
