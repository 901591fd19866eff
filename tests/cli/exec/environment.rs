//! The variables of the child, and the options that change them.

use crate::support::exec::Session;
use crate::support::harness::{Langspan, Scripted, dead_url};
use crate::support::stand_in::Sandbox;

#[test]
fn a_dry_run_shows_the_variables_and_starts_nothing() {
    let url = dead_url();
    let call = Langspan::new(&["exec", "--dry-run", "-u", "ada", "--", "touch", "started"])
        .langfuse_at(&url)
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .env("OTEL_EXPORTER_OTLP_INSECURE", "true");
    let ended = call.run();
    ended.code(0);
    for line in [
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:PORT/TOKEN/v1/traces",
        "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
        "OPENAI_BASE_URL=http://127.0.0.1:PORT/TOKEN/openai/v1",
        "ANTHROPIC_BASE_URL=http://127.0.0.1:PORT/TOKEN/anthropic",
        "LANGFUSE_BASE_URL=http://127.0.0.1:PORT/TOKEN",
        "BAGGAGE=langfuse.user.id=ada",
        &format!("LANGSPAN_UI_URL={url}"),
        "unset OTEL_EXPORTER_OTLP_INSECURE",
    ] {
        assert!(
            ended.stdout.lines().any(|shown| shown == line),
            "{line}: {ended:#?}"
        );
    }
    assert!(!call.home().join("started").exists());
    assert!(ended.outbox_files().is_empty());
}

#[test]
fn a_langspan_in_the_command_prints_a_link_that_outlives_the_run() {
    let sandbox = Sandbox::start();
    let program = env!("CARGO_BIN_EXE_langspan");
    let nested = ["exec", "--", program, "chat", "--no-stdin", "Hello"];
    let ended = Langspan::new(&nested).at(&sandbox).run();
    ended.code(0);
    let links: Vec<&str> = ended
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("trace: "))
        .collect();
    let expected = format!("{}/project/sandbox/traces/", sandbox.url());
    assert!(links[0].starts_with(&expected), "{ended:#?}");
    assert_eq!(links, [links[0]; 2], "{ended:#?}");
}

#[test]
fn each_side_can_be_left_alone() {
    let model = Scripted::model("Hello");
    let sandbox = Sandbox::start();
    let call = |option| {
        Langspan::new(&["exec", option])
            .model_at(model.url())
            .langfuse_at(sandbox.url())
    };
    let session = Session::start(call("--no-proxy"));
    assert_eq!(session.variable("OPENAI_BASE_URL"), model.url());
    assert!(
        session
            .variable("LANGFUSE_BASE_URL")
            .starts_with("http://127.0.0.1:")
    );
    session.finish().code(0);
    let session = Session::start(call("--no-receiver"));
    assert_eq!(session.variable("LANGFUSE_BASE_URL"), sandbox.url());
    assert_ne!(session.variable("OPENAI_BASE_URL"), model.url());
    session.finish().code(0);
}

#[test]
fn switches_that_silence_the_child_are_named_once_and_left_alone() {
    let sandbox = Sandbox::start();
    let call = Langspan::new(&["exec"])
        .at(&sandbox)
        .env("OTEL_SDK_DISABLED", "true")
        .env("LANGFUSE_TRACING_ENABLED", "false")
        .env("OTEL_TRACES_SAMPLER", "always_off")
        .env("LANGFUSE_SAMPLE_RATE", "0");
    let session = Session::start(call);
    assert_eq!(session.variable("OTEL_SDK_DISABLED"), "true");
    assert_eq!(session.variable("LANGFUSE_TRACING_ENABLED"), "false");
    let body = serde_json::json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
    assert_eq!(session.ask(&[], &body).status, 200);
    let ended = session.finish();
    ended.code(0);
    for switch in [
        "OTEL_SDK_DISABLED=true",
        "LANGFUSE_TRACING_ENABLED=false",
        "OTEL_TRACES_SAMPLER=always_off",
        "LANGFUSE_SAMPLE_RATE=0",
    ] {
        let warning = format!("{switch} silences the command's own spans");
        assert_eq!(ended.stderr.matches(&warning).count(), 1, "{ended:#?}");
    }
    assert_eq!(sandbox.observations(&ended.trace_id()).len(), 2);
}

#[test]
fn without_keys_nothing_is_started() {
    let call = Langspan::new(&["exec", "touch", "started"]);
    call.run().code(3).stderr_has("no keys");
    assert!(!call.home().join("started").exists());
    let call = Langspan::new(&["exec", "--best-effort", "touch", "started"]);
    call.run()
        .code(0)
        .stderr_has("warning:")
        .stderr_has("the spans are kept in");
    assert!(call.home().join("started").exists());
}

#[test]
fn the_first_word_that_is_no_option_begins_the_command() {
    let sandbox = Sandbox::start();
    let run = |words: &[&str]| Langspan::new(words).at(&sandbox).run();
    run(&["exec", "-q", "echo", "-n", "--sandbox", "x"])
        .code(0)
        .stdout("--sandbox x");
    run(&["exec", "-q", "--", "echo", "a b"])
        .code(0)
        .stdout("a b\n");
    run(&["exec"]).code(2).stderr_has("COMMAND");
    run(&["exec", "--nonsense", "echo"]).code(2);
    run(&["exec", "-o", "json", "echo"]).code(2);
}
