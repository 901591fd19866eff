//! Sampling, tracing switched off, and other backends.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::accepted;
use crate::support::batch::output::{lines, summary};
use crate::support::batch::{batch_of, prompts};
use crate::support::harness::{Langspan, Reply, Scripted, completion};
use crate::support::otlp::{Servers, traces_at};

/// A model that fails every tenth prompt.
fn failing_now_and_then() -> Scripted {
    Scripted::start(|request, _| {
        let body = request.json();
        if body["messages"][0]["content"]
            .as_str()
            .unwrap()
            .ends_with('0')
        {
            Reply::json(400, &json!({"error": {"message": "no"}}))
        } else {
            Reply::json(200, &completion("hi"))
        }
    })
}

#[test]
fn failures_are_always_traced_in_a_sampled_run() {
    const COUNT: usize = 200;
    for (rate, range) in [("0", 20..=20), ("0.5", 60..=160), ("1", 200..=200)] {
        let servers = Servers::with(failing_now_and_then());
        let call = batch_of(
            &servers,
            COUNT,
            &[
                "--sample",
                rate,
                "--allow-errors",
                "10%",
                "--run",
                "r",
                "--summary",
                "summary.json",
            ],
        );
        let ended = call.run();
        ended.code(0);
        let traced: BTreeSet<String> = traces_at(&servers.langfuse)
            .iter()
            .map(crate::support::otlp::Trace::id)
            .collect();
        assert!(range.contains(&traced.len()), "{rate}: {}", traced.len());
        let lines = lines(&ended.stdout);
        assert_eq!(lines.len(), COUNT);
        for line in &lines {
            let id = line["langspan"]["trace_id"].as_str().unwrap();
            let is_failed = line["response"]["status_code"] != 200;
            assert!(traced.contains(id) || !is_failed, "{line}");
            assert_eq!(
                line["langspan"]["trace_url"].is_string(),
                traced.contains(id),
                "{line}"
            );
        }
        let counts = &summary(&ended)["traces"];
        assert_eq!(counts["accepted"], traced.len());
        assert_eq!(counts["sampled_out"], COUNT - traced.len());
    }
}

#[test]
fn with_tracing_off_there_are_answers_and_no_traces() {
    for (name, value) in [
        ("LANGFUSE_TRACING_ENABLED", "false"),
        ("OTEL_SDK_DISABLED", "true"),
    ] {
        let servers = Servers::answering("hi");
        let ended = batch_of(&servers, 5, &["--summary", "summary.json"])
            .env(name, value)
            .run();
        ended.code(0);
        let lines = lines(&ended.stdout);
        assert_eq!(lines.len(), 5);
        for line in lines {
            assert_eq!(line["langspan"]["trace_url"], Value::Null);
        }
        assert_eq!(servers.langfuse.count(), 0);
        assert!(
            servers
                .asked()
                .iter()
                .all(|request| request.header("traceparent").is_empty())
        );
        assert_eq!(summary(&ended)["traces"]["accepted"], 0);
    }
}

#[test]
fn a_plain_otlp_backend_has_no_pages() {
    let (model, backend) = (Scripted::model("hi"), Scripted::always(accepted()));
    let call = |arguments: &[&str]| {
        let call = Langspan::new(&[&["batch", "in.jsonl"], arguments].concat())
            .model_at(model.url())
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url());
        call.file("in.jsonl", prompts(5));
        call
    };
    let ended = call(&["--summary", "summary.json"]).run();
    ended.code(0);
    for line in lines(&ended.stdout) {
        assert_eq!(line["langspan"]["trace_url"], Value::Null);
        assert_eq!(line["langspan"]["trace_id"].as_str().unwrap().len(), 32);
    }
    assert_eq!(summary(&ended)["session_url"], Value::Null);
    assert_eq!(backend.requests_to("/v1/traces").len(), backend.count());
    assert_eq!(traces_at(&backend).len(), 5);

    let before = model.count();
    call(&["--verify"]).run().code(3);
    assert_eq!(model.count(), before);
}
