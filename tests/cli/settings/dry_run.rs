//! What a dry run shows.

use super::{INGEST, dry_run, with};
use crate::support::harness::Langspan;
use crate::support::untouched::Untouched;

const ID: &str = "0af7651916cd43dd8448eb211c80319c";

#[test]
fn a_dry_run_shows_everything_and_opens_no_socket() {
    let (model, langfuse, collector) = (Untouched::start(), Untouched::start(), Untouched::start());
    for form in ["text", "json"] {
        let call = Langspan::new(&[
            "chat",
            "--dry-run",
            "-o",
            form,
            "-u",
            "user-1",
            "-t",
            "tag-1",
            "--temperature",
            "0.25",
        ])
        .arg("--trace-id")
        .arg(ID)
        .arg("--env-file")
        .arg("my.env")
        .arg("What is shown?")
        .model_at(model.url())
        .langfuse_at(langfuse.url())
        .env("OPENAI_API_KEY", "sk-never-to-be-shown")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url());
        call.file("my.env", "LANGSPAN_MODEL=model-of-file");
        let ended = call.run();
        ended.code(0);
        for shown in [
            // The request,
            &format!("{}/chat/completions", model.url()),
            "model-of-file",
            "0.25",
            "What is shown?",
            // the spans,
            "chat-completion",
            "chat model-of-file",
            "user-1",
            "tag-1",
            ID,
            // the destination,
            &format!("{}{INGEST}", langfuse.url()),
            // and where each setting came from.
            "LANGFUSE_BASE_URL",
            "LANGFUSE_PUBLIC_KEY",
            "LANGFUSE_SECRET_KEY",
            "OPENAI_BASE_URL",
            "LANGSPAN_MODEL",
            "my.env",
        ] {
            assert!(
                ended.stdout.contains(shown),
                "{form} does not show {shown:?}: {ended:#?}"
            );
        }
        if form == "json" {
            ended.json();
        }
        assert!(ended.outbox_files().is_empty());
    }
    for server in [model, langfuse, collector] {
        server.assert_untouched();
    }
}

type Words = &'static [&'static str];
type Variables = &'static [(&'static str, &'static str)];

/// Arguments, variables, and the origins that are named then.
const ORIGINS: [(Words, Variables, Words); 12] = [
    (&["-m", "m"], &[], &["--model"]),
    (
        &["--langfuse-base-url", "https://h.example"],
        &[],
        &["--langfuse-base-url"],
    ),
    (
        &["--openai-base-url", "https://h.example"],
        &[],
        &["--openai-base-url"],
    ),
    (
        &["--otlp-endpoint", "https://h.example"],
        &[],
        &["--otlp-endpoint"],
    ),
    (
        &["-u", "u"],
        &[("LANGSPAN_SESSION", "s")],
        &["--user", "LANGSPAN_SESSION"],
    ),
    (
        &[],
        &[("LANGSPAN_USER", "u"), ("LANGSPAN_TAGS", "a")],
        &["LANGSPAN_USER", "LANGSPAN_TAGS"],
    ),
    (
        &[],
        &[
            ("LANGFUSE_TRACING_ENVIRONMENT", "e"),
            ("GITHUB_SHA", "c0ffee"),
        ],
        &["LANGFUSE_TRACING_ENVIRONMENT", "GITHUB_SHA"],
    ),
    (
        &[],
        &[("LANGSPAN_UI_URL", "https://h.example")],
        &["LANGSPAN_UI_URL"],
    ),
    (
        &[],
        &[("OPENAI_API_KEY", "sk-of-openai")],
        &["OPENAI_API_KEY"],
    ),
    (
        &[],
        &[("LANGFUSE_SAMPLE_RATE", "0.5")],
        &["LANGFUSE_SAMPLE_RATE"],
    ),
    (
        &[],
        &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")],
        &["OTEL_EXPORTER_OTLP_PROTOCOL"],
    ),
    (
        &[],
        &[("LANGFUSE_TRACING_ENABLED", "false")],
        &["LANGFUSE_TRACING_ENABLED"],
    ),
];

#[test]
fn a_dry_run_names_the_origin_of_every_setting_that_it_took() {
    let mut unnamed: Vec<&str> = Vec::new();
    for (arguments, variables, origins) in ORIGINS {
        let key = ("OPENAI_API_KEY", "sk-of-openai");
        let ended = dry_run(arguments, &[&[key], variables].concat());
        ended.code(0);
        unnamed.extend(
            origins
                .iter()
                .filter(|origin| !ended.stdout.contains(**origin)),
        );
    }
    assert!(unnamed.is_empty(), "not named: {unnamed:?}");
}

#[test]
fn a_dry_run_of_a_replay_opens_no_socket() {
    let (model, langfuse) = (Untouched::start(), Untouched::start());
    let call = Langspan::new(&["replay", "--dry-run", "body.json"])
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    call.file(
        "body.json",
        r#"{"messages":[{"role":"user","content":"Hello"}],"x_own":1.50}"#,
    );
    let ended = call.run();
    ended.code(0);
    for shown in ["x_own", "1.50", "gpt-4o-mini"] {
        assert!(ended.stdout.contains(shown), "{shown}: {ended:#?}");
    }
    model.assert_untouched();
    langfuse.assert_untouched();
}

#[test]
fn a_dry_run_in_the_sandbox_opens_no_socket_and_keeps_no_trace() {
    let server = Untouched::start();
    for form in ["text", "json"] {
        let ended = Langspan::new(&["chat", "--sandbox", "--dry-run", "-o", form, "Hello"])
            .model_at(server.url())
            .langfuse_at(server.url())
            .run();
        ended.code(0);
        assert!(
            ended.stdout.contains("127.0.0.1") && ended.stdout.contains("Hello"),
            "{ended:#?}"
        );
        assert!(!ended.stdout.contains(server.url()), "{ended:#?}");
        assert!(!ended.home().join(".local").exists(), "{ended:#?}");
    }
    server.assert_untouched();
}

#[test]
fn a_sandbox_needs_and_uses_nothing_of_the_environment() {
    let server = Untouched::start();
    let url = server.url();
    for variables in [
        vec![],
        vec![
            ("LANGFUSE_BASE_URL", url),
            ("LANGFUSE_HOST", url),
            ("LANGSPAN_UI_URL", url),
        ],
        vec![("OPENAI_BASE_URL", url), ("OPENAI_API_KEY", "sk-of-openai")],
        vec![("AZURE_OPENAI_ENDPOINT", url), ("OPENAI_API_VERSION", "1")],
        vec![
            ("LANGFUSE_PUBLIC_KEY", "sk-lf-1"),
            ("LANGFUSE_SECRET_KEY", "pk-lf-1"),
        ],
        vec![("LANGFUSE_PUBLIC_KEY", "pk-lf-1")],
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ],
        vec![
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-team=blue"),
        ],
        vec![
            ("LANGFUSE_BASE_URL", "not a url"),
            ("OPENAI_BASE_URL", "not a url"),
        ],
    ] {
        let call = Langspan::new(&["chat", "--sandbox", "--verify", "Hello"]);
        let ended = with(call, &variables).run();
        ended
            .code(0)
            .stderr_has("trace: http://127.0.0.1:4390/project/sandbox/traces/")
            .stderr_has("langspan sandbox");
        assert!(ended.stdout.contains("“Hello”"), "{ended:#?}");
    }
    server.assert_untouched();
}
