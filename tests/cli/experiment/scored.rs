//! The scores of an experiment as a whole.

use serde_json::{Value, json};

use super::Lab;
use crate::support::harness::{Reply, SCORES, Scripted};

const SCORED: [&str; 16] = [
    "--dataset",
    "questions",
    "--experiment",
    "e",
    "--out",
    "o.jsonl",
    "--match-expected",
    "contains",
    "--expect",
    "question",
    "--score",
    "quality=0.5",
    "--score",
    "ok=true",
    "--score",
    "tone=kind",
];

#[test]
fn the_mean_of_each_score_is_a_score_of_the_experiment() {
    let lab = Lab::with_items(4);
    lab.item(
        "questions",
        "q4",
        json!("question 4"),
        json!("another answer"),
    );
    let ended = lab.batch(&[&SCORED[..], &["--summary", "s.json"]].concat());
    ended.code(9);
    let experiment = lab.experiment("e");
    let expected = [
        json!(["contains", "NUMERIC", 1.0]),
        json!(["expected", "NUMERIC", 0.75]),
        json!(["ok", "NUMERIC", 1.0]),
        json!(["quality", "NUMERIC", 0.5]),
    ];
    assert_eq!(lab.scores(&experiment), expected);
    let environments = experiment["scores"].as_array().unwrap().iter();
    assert!(
        environments
            .clone()
            .all(|score| score["environment"] == "experiment")
    );
    // Five of each item, and four of the experiment.
    assert_eq!(lab.summary("s.json")["scores"]["accepted"], 4 * 5 + 4);
    // A resumed run sends them again, and nothing changes.
    lab.batch(&[&SCORED[..], &["--resume"]].concat()).code(9);
    assert_eq!(lab.scores(&lab.experiment("e")), expected);
}

#[test]
fn without_scores_of_items_the_experiment_has_none() {
    let lab = Lab::with_items(1);
    lab.batch(&[
        "--dataset",
        "questions",
        "--experiment",
        "e",
        "--out",
        "o.jsonl",
    ])
    .code(0);
    assert_eq!(lab.scores(&lab.experiment("e")), Vec::<Value>::new());
}

#[test]
fn scores_that_are_refused_wait_in_the_outbox() {
    let lab = Lab::with_items(1);
    let langfuse = Scripted::in_front_of(&lab.sandbox, |request, _| {
        (request.path == SCORES).then(|| Reply::json(403, &json!({"message": "no"})))
    });
    let call = lab.call(&[
        "batch",
        "--dataset",
        "questions",
        "--experiment",
        "e",
        "--out",
        "o.jsonl",
        "--score",
        "q=1",
        "--summary",
        "s.json",
    ]);
    let ended = call.langfuse_at(langfuse.url()).run();
    ended.code(5).stderr_has("1 score was not accepted");
    ended.stderr_has("langspan resend");
    let counts = &lab.summary("s.json")["scores"];
    assert_eq!(
        (&counts["accepted"], &counts["spooled"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(lab.scores(&lab.experiment("e")), Vec::<Value>::new());
    lab.call(&["resend"]).run().code(0);
    assert_eq!(
        lab.scores(&lab.experiment("e")),
        [json!(["q", "NUMERIC", 1.0])]
    );
    assert!(ended.outbox_files().is_empty());
}
