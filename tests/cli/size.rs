//! Requests that a server refuses as too large or partly invalid: they are split until only the refused trace fails.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::harness::{Ended, Langspan, Reply, Request, Scripted, dead_url, forward};
use crate::support::stand_in::Sandbox;

const TOO_LARGE: &str = "<html>413 Request Entity Too Large</html>";

/// A sandbox behind a proxy that takes no body of more than `most` bytes.
fn behind_proxy(sandbox: &Arc<Sandbox>, most: usize) -> Scripted {
    Scripted::before(sandbox, move |sandbox, request, _| {
        if request.body.len() > most {
            Reply::Answer(413, "text/html", TOO_LARGE.to_owned())
        } else {
            forward(sandbox, request)
        }
    })
}

fn ask(prompt: String, model: &Scripted, langfuse: &Scripted) -> Ended {
    Langspan::new(&["chat", "-"])
        .stdin(prompt)
        .model_at(model.url())
        .langfuse_at(langfuse.url())
        .run()
}

/// The ids of the traces that an export holds, as far as they stand in its bytes.
fn holds(request: &Request, trace_id: &str) -> bool {
    let id: Vec<u8> = (0..16)
        .map(|byte| u8::from_str_radix(&trace_id[byte * 2..byte * 2 + 2], 16).unwrap())
        .collect();
    request.body.windows(16).any(|window| window == id)
}

#[test]
fn a_span_that_is_too_large_arrives_with_its_content_cut_and_marked() {
    let sandbox = Arc::new(Sandbox::start());
    let proxy = behind_proxy(&sandbox, 40_000);
    let model = Scripted::model("short");
    let ended = ask("é".repeat(100_000), &model, &proxy);
    ended
        .code(0)
        .stdout("short\n")
        .stderr_has("the content of a span was truncated");
    assert!(ended.outbox_files().is_empty());
    let rows = sandbox.observations(&ended.trace_id());
    assert_eq!(rows.len(), 2);
    for row in &rows {
        let input = row["input"].as_str().unwrap();
        assert!(
            input.len() < 40_000 && input.contains("[truncated by langspan"),
            "{} bytes",
            input.len()
        );
        assert_eq!(row["metadata"]["truncated"], true, "{}", row["metadata"]);
        assert_eq!(
            row["output"]
                .as_str()
                .map(|output| output.contains("short")),
            Some(true)
        );
    }
}

#[test]
fn a_trace_that_is_too_large_in_one_piece_arrives_in_two() {
    let sandbox = Arc::new(Sandbox::start());
    let proxy = behind_proxy(&sandbox, 70_000);
    let model = Scripted::model("short");
    let ended = ask("x".repeat(60_000), &model, &proxy);
    ended.code(0).stderr_lacks("cut");
    let rows = sandbox.observations(&ended.trace_id());
    assert_eq!(rows.len(), 2);
    assert!(
        rows.iter()
            .all(|row| row["input"].as_str().unwrap().len() >= 60_000)
    );
}

#[test]
fn a_span_that_stays_too_large_is_kept_whole() {
    let model = Scripted::model("short");
    let langfuse = Scripted::langfuse(|_, _| Reply::Answer(413, "text/html", TOO_LARGE.to_owned()));
    let ended = ask("x".repeat(50_000), &model, &langfuse);
    ended.code(5).stderr_has("413");
    let kept = Value::from(ended.kept()).to_string();
    assert!(kept.contains(&"x".repeat(50_000)) && !kept.contains("truncated"));
}

#[test]
fn only_the_trace_that_is_refused_for_itself_stays() {
    let sandbox = Arc::new(Sandbox::start());
    let model = Scripted::model("hi");
    // Three traces wait as one entry, as a batch would leave them.
    let first = Langspan::new(&["chat", "--no-stdin", "Hello"])
        .model_at(model.url())
        .langfuse_at(&dead_url());
    let first = first.arg("--export-timeout").arg("0.2");
    let mut spans = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let ended = first.run();
        ended.code(5);
        let mut kept = ended.kept();
        let scope = &mut kept[0]["resourceSpans"][0]["scopeSpans"][0];
        ids.push(scope["spans"][0]["traceId"].as_str().unwrap().to_owned());
        spans.extend(scope["spans"].take().as_array().unwrap().clone());
        fs::remove_dir_all(ended.outbox()).unwrap();
    }
    let waiting = first.run();
    let entry = waiting.outbox_files().remove(0);
    let mut request = waiting.kept().remove(0);
    request["resourceSpans"][0]["scopeSpans"][0]["spans"] = spans.into();
    fs::write(waiting.outbox().join(&entry), format!("{request}\n")).unwrap();

    let poison = ids[1].clone();
    let proxy = Scripted::before(&sandbox, move |sandbox, request, _| {
        if holds(request, &poison) {
            Reply::json(400, &json!({"error": "Invalid OTLP trace export"}))
        } else {
            forward(sandbox, request)
        }
    });
    let resent = Langspan::new(&["resend"])
        .langfuse_at(proxy.url())
        .after(&waiting)
        .run();
    resent.code(5).stderr_has("Invalid OTLP trace export");
    let known: BTreeSet<&String> = ids
        .iter()
        .filter(|id| sandbox.observations(id).len() == 2)
        .collect();
    assert_eq!(known, BTreeSet::from([&ids[0], &ids[2]]));
    let kept = Value::from(resent.kept()).to_string();
    assert!(
        kept.contains(&ids[1]) && !kept.contains(&ids[0]) && !kept.contains(&ids[2]),
        "{kept}"
    );
}
