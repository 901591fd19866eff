//! Tracing switched off, and sampling.

use std::collections::BTreeSet;

use serde_json::json;

use super::{INGEST, accept, sent, with, with_arguments};
use crate::support::export::Export;
use crate::support::harness::{Langspan, Reply, Scripted};
use crate::support::otlp::Servers;
use crate::support::untouched::Untouched;

#[test]
fn a_kill_switch_leaves_the_answer_and_sends_no_trace() {
    for (name, value) in [
        ("LANGFUSE_TRACING_ENABLED", "false"),
        ("LANGFUSE_TRACING_ENABLED", "False"),
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_SDK_DISABLED", "TRUE"),
    ] {
        let (model, langfuse) = (Scripted::model("hi"), Untouched::start());
        let call = |form: &str| {
            Langspan::new(&["chat", "-o", form, "Hello"])
                .model_at(model.url())
                .env("LANGFUSE_BASE_URL", langfuse.url())
                .env(name, value)
        };
        // Even without keys, which are not needed.
        call("text").run().code(0).stdout("hi\n");
        let ended = call("json").langfuse_at(langfuse.url()).run();
        ended.code(0);
        let document = ended.json();
        assert_eq!(
            (&document["ok"], &document["trace"]["delivery"]),
            (&json!(true), &json!("disabled")),
            "{name}={value}"
        );
        assert!(ended.outbox_files().is_empty());
        langfuse.assert_untouched();
    }
}

#[test]
fn an_unset_kill_switch_changes_nothing() {
    for (name, value) in [
        ("LANGFUSE_TRACING_ENABLED", "true"),
        ("OTEL_SDK_DISABLED", "false"),
    ] {
        assert_eq!(sent(&[], &[(name, value)]).spans().len(), 2);
    }
}

#[test]
fn a_call_that_is_sampled_out_sends_no_trace() {
    for (arguments, variables, exports) in [
        (vec!["--sample", "0"], vec![], 0),
        (vec![], vec![("LANGFUSE_SAMPLE_RATE", "0")], 0),
        (vec![], vec![("LANGFUSE_SAMPLE_RATE", "0.0")], 0),
        (
            vec!["--sample", "1"],
            vec![("LANGFUSE_SAMPLE_RATE", "0")],
            1,
        ),
        (
            vec!["--sample", "0"],
            vec![("LANGFUSE_SAMPLE_RATE", "1")],
            0,
        ),
    ] {
        let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
        let call = Langspan::new(&["chat", "-o", "json", "Hello"])
            .model_at(model.url())
            .langfuse_at(langfuse.url());
        let ended = with_arguments(with(call, &variables), &arguments).run();
        ended.code(0);
        let delivery = if exports == 0 {
            "sampled_out"
        } else {
            "accepted"
        };
        let document = ended.json();
        assert_eq!(
            document["trace"]["delivery"], delivery,
            "{arguments:?} {variables:?}"
        );
        assert_eq!(document["response"]["text"], "hi");
        assert_eq!(langfuse.requests_to(INGEST).len(), exports);
        assert!(ended.outbox_files().is_empty());
    }
}

#[test]
fn without_an_accepted_trace_no_url_is_printed() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    for (name, value) in [
        ("LANGFUSE_TRACING_ENABLED", "false"),
        ("LANGFUSE_SAMPLE_RATE", "0"),
    ] {
        let call = Langspan::new(&["chat", "-o", "url", "Hello"]).env(name, value);
        call.model_at(model.url())
            .langfuse_at(langfuse.url())
            .run()
            .code(0)
            .stdout("");
    }
}

#[test]
fn a_failed_call_outside_the_sample_has_a_whole_link() {
    let servers = Servers::with(Scripted::always(Reply::json(
        400,
        &json!({"error": {"message": "no"}}),
    )));
    let ended = servers.call(&["chat", "--sample", "0", "Hello"]).run();
    ended
        .code(4)
        .stderr_has("/project/")
        .stderr_lacks("warning");
}

#[test]
fn an_untraced_call_sends_no_traceparent() {
    for (sample, is_told) in [("0", false), ("1", true)] {
        let servers = Servers::answering("hi");
        servers
            .call(&["chat", "--sample", sample, "Hello"])
            .run()
            .code(0);
        let batch = servers.call(&["batch", "-", "--sample", sample]);
        batch.stdin(r#"{"prompt":"Hello"}"#).run().code(0);
        for asked in servers.asked() {
            assert_eq!(!asked.header("traceparent").is_empty(), is_told);
        }
    }
}

#[test]
fn the_trace_id_decides_who_is_sampled() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    let delivery = |seed: &str| {
        let call = Langspan::new(&[
            "chat",
            "-o",
            "json",
            "--sample",
            "0.5",
            "--trace-seed",
            seed,
            "Hello",
        ]);
        let ended = call.model_at(model.url()).langfuse_at(langfuse.url()).run();
        ended.code(0).json()["trace"]["delivery"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let seeds = || (0..12).map(|number| delivery(&format!("seed {number}")));
    let first: Vec<String> = seeds().collect();
    assert_eq!(first, seeds().collect::<Vec<_>>());
    let kinds: BTreeSet<&str> = first.iter().map(String::as_str).collect();
    assert_eq!(kinds, BTreeSet::from(["accepted", "sampled_out"]));
}

#[test]
fn failures_are_traced_whatever_the_sample_rate() {
    let langfuse = Scripted::langfuse(accept);
    let model = Scripted::always(Reply::json(500, &json!({"error": {"message": "broken"}})));
    let ended = Langspan::new(&[
        "chat",
        "--sample",
        "0",
        "--retries",
        "0",
        "-o",
        "json",
        "Hello",
    ])
    .model_at(model.url())
    .langfuse_at(langfuse.url())
    .run();
    ended.code(4);
    assert_eq!(ended.json()["trace"]["delivery"], "accepted");
    assert_eq!(Export::only(&langfuse, INGEST).spans().len(), 2);
}

#[test]
fn an_invalid_sample_rate_is_refused() {
    let server = Untouched::start();
    for rate in ["1.5", "-0.1", "half", "NaN"] {
        let call = || {
            Langspan::new(&["chat", "Hello"])
                .model_at(server.url())
                .langfuse_at(server.url())
        };
        call()
            .arg(&format!("--sample={rate}"))
            .run()
            .code(2)
            .stdout("");
        call()
            .env("LANGFUSE_SAMPLE_RATE", rate)
            .run()
            .code(3)
            .stdout("")
            .stderr_has("LANGFUSE_SAMPLE_RATE");
    }
    server.assert_untouched();
}
