//! Runs in shards over a dataset, and their merge.

use serde_json::json;

use super::Lab;
use crate::support::harness::Ended;

fn shard(lab: &Lab, k: u64, out: &str) -> Ended {
    let shard = format!("{k}/2");
    lab.batch(&[
        "--dataset",
        "questions",
        "--experiment",
        "e",
        "--match-expected",
        "contains",
        "--shard",
        &shard,
        "--out",
        out,
        "--verify",
    ])
}

#[test]
fn shards_make_one_experiment_and_merge() {
    let lab = Lab::with_items(5);
    let first = shard(&lab, 1, "1.jsonl");
    first.code(0).stderr_has("experiment: 3 items readable");
    first.stderr_has("--dataset questions@VERSION");
    shard(&lab, 2, "2.jsonl")
        .code(0)
        .stderr_has("experiment: 2 items readable");
    let experiment = lab.experiment("e");
    assert_eq!(lab.item_ids(&experiment), ["q1", "q2", "q3", "q4", "q5"]);
    // None of them knows the mean of all.
    assert!(lab.scores(&experiment).is_empty());
    let merge = [
        "merge",
        "1.jsonl",
        "2.jsonl",
        "--out",
        "all.jsonl",
        "--verify",
    ];
    let merge = [&merge[..], &["--score-experiment", "--summary", "all.json"]].concat();
    let merged = lab.call(&merge).run();
    merged.code(0).stderr_has("5 lines");
    merged.stderr_has("experiment: 5 items readable");
    let found = &lab.summary("all.json")["experiment"];
    assert_eq!(found["id"], experiment["id"]);
    assert_eq!(
        (&found["dataset"], &found["verified"]),
        (&json!("questions"), &json!(5))
    );
    assert!(
        found["url"]
            .as_str()
            .unwrap()
            .contains("/experiments/results?baseline=")
    );
    let scores = lab.scores(&lab.experiment("e"));
    assert_eq!(scores, [json!(["expected", "NUMERIC", 1.0])]);
    let lines = lab.lines("all.jsonl");
    assert_eq!(lines.len(), 5);
    assert!(
        lines
            .iter()
            .all(|line| line["langspan"]["experiment"]["name"] == "e")
    );
}

#[test]
fn a_shard_that_ran_already_is_refused() {
    let lab = Lab::with_items(4);
    shard(&lab, 1, "1.jsonl").code(0);
    let twice = shard(&lab, 1, "again.jsonl");
    twice.code(2).stderr_has("of this shard already");
    shard(&lab, 2, "2.jsonl").code(0);
}
