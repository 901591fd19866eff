//! Runs over a dataset that go on after an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::Lab;
use crate::support::harness::{Reply, Scripted, completion};

const RUN: [&str; 7] = [
    "batch",
    "--dataset",
    "questions",
    "--experiment",
    "e",
    "--out",
    "o.jsonl",
];

#[test]
fn a_resumed_run_reads_the_version_of_its_beginning() {
    let lab = Lab::with_items(2);
    let model = Scripted::start(|request, _| {
        let text = request.json().to_string();
        Reply::json(
            200,
            &completion(if text.contains("new") { "new" } else { "old" }),
        )
    });
    let run = |further: &[&str]| {
        let call = lab.call(&[&RUN[..], further].concat());
        call.model_at(model.url()).run()
    };
    run(&["--limit", "1"]).code(0);
    // Between the two, the dataset changes.
    lab.item("questions", "q1", json!("new question"), Value::Null);
    lab.item("questions", "q3", json!("new question"), Value::Null);
    let resumed = run(&["--resume", "--verify"]);
    resumed.code(0).stderr_has("1 of them completed earlier");
    resumed.stderr_has("experiment: 2 items readable");
    let experiment = lab.experiment("e");
    assert_eq!(lab.item_ids(&experiment), ["q1", "q2"]);
    let versions: Vec<Value> = lab
        .items(&experiment)
        .into_iter()
        .map(|mut item| item["experimentItemVersion"].take())
        .collect();
    assert_eq!(versions[0], versions[1]);
    assert_eq!(model.count(), 2);
    // Without a name, it is that of the run.
    let nameless = lab.call(&[
        "batch",
        "--dataset",
        "questions",
        "--out",
        "o.jsonl",
        "--resume",
    ]);
    nameless.model_at(model.url()).run().code(0);
    assert_eq!(model.count(), 2);
}

#[test]
fn another_experiment_or_dataset_is_not_gone_on_with() {
    let lab = Lab::with_items(1);
    lab.call(&RUN).run().code(0);
    for (arguments, words) in [
        (
            &["--dataset", "questions", "--experiment", "x"][..],
            "with experiment e, not x",
        ),
        (
            &[
                "--dataset",
                "questions@2099-01-01T00:00:00Z",
                "--experiment",
                "e",
            ],
            "with dataset questions@",
        ),
        (
            &["in.jsonl", "--experiment", "e"],
            "with dataset questions@",
        ),
        (&["in.jsonl"], "with experiment e, not none"),
    ] {
        lab.home.file("in.jsonl", "{\"prompt\":\"a\"}\n");
        let further = ["--out", "o.jsonl", "--resume"];
        let ended = lab.batch(&[arguments, &further[..]].concat());
        ended.code(2).stderr_has(words);
    }
}

#[test]
fn failed_items_are_asked_again() {
    let lab = Lab::with_items(3);
    let is_down = Arc::new(AtomicBool::new(true));
    let fails = Arc::clone(&is_down);
    let model = Scripted::start(move |request, _| {
        if request.json().to_string().contains("question 2") && fails.load(Ordering::Relaxed) {
            return Reply::json(400, &json!({"error": {"message": "no"}}));
        }
        Reply::json(200, &completion("1 2 3"))
    });
    let run = |further: &[&str]| {
        let call = lab.call(&[&RUN[..], &["--match-expected", "contains"], further].concat());
        call.model_at(model.url()).run()
    };
    run(&[]).code(8);
    is_down.store(false, Ordering::Relaxed);
    run(&["--resume", "--retry-errors", "--verify"])
        .code(0)
        .stderr_has("4 items readable");
    assert_eq!(model.count(), 4);
    let experiment = lab.experiment("e");
    // The failed call stays what it was.
    assert_eq!(lab.item_ids(&experiment), ["q1", "q2", "q2", "q3"]);
    assert_eq!(
        lab.scores(&experiment),
        [json!(["expected", "NUMERIC", 1.0])]
    );
    let lines = lab.lines("o.jsonl");
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line["error"].is_null()));
}

#[test]
fn traces_that_wait_in_the_outbox_keep_their_experiment() {
    let lab = Lab::with_items(1);
    let langfuse = Scripted::before(&lab.sandbox, |_, _, _| {
        Reply::json(500, &json!({"message": "down"}))
    });
    let call = lab.call(&RUN).arg("--export-timeout").arg("1");
    call.langfuse_at(langfuse.url()).run().code(5);
    assert!(lab.experiments("e").is_empty());
    lab.call(&["resend"]).run().code(0);
    assert_eq!(lab.item_ids(&lab.experiment("e")), ["q1"]);
}
