//! What is refused before the first call.

use serde_json::{Value, json};

use super::Lab;
use crate::support::harness::{Reply, Scripted};
use crate::support::stand_in::Sandbox;

#[test]
fn a_dataset_that_is_unknown_or_empty_is_wrong_input() {
    let lab = Lab::with_items(1);
    lab.dataset("empty");
    for (dataset, words) in [
        ("nope", "Dataset not found"),
        (
            "questions@yesterday",
            "`yesterday` is taken for a part of it: a version is a time, as in NAME@2026-11-28T22:50:03Z\n",
        ),
        ("empty", "the dataset `empty` has no active items at"),
        (
            "questions@2020-01-01T00:00:00Z",
            "the dataset `questions` has no active items at 2020-01-01",
        ),
    ] {
        lab.batch(&["--dataset", dataset])
            .code(2)
            .stdout("")
            .stderr_has(words);
    }
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let lab = Lab::with_items(1);
    lab.home.file("in.jsonl", "{\"prompt\":\"a\"}\n");
    for (arguments, words) in [
        (
            &["--dataset", "questions", "in.jsonl"][..],
            "cannot be used with",
        ),
        (
            &["--dataset", "questions@2026-11-28"],
            "expected a time after `@`",
        ),
        (
            &["--dataset", "questions", "--dry-run"],
            "--dry-run opens no connection",
        ),
        (&["in.jsonl", "--again"], "--again needs an experiment"),
        (
            &["in.jsonl", "--experiment-description", "d"],
            "--experiment-description needs",
        ),
        (&["in.jsonl", "--experiment", " "], "expected a name"),
        (&[], "required"),
    ] {
        lab.batch(arguments).code(2).stdout("").stderr_has(words);
    }
}

#[test]
fn an_item_that_occurs_twice_is_named() {
    let lab = Lab::new();
    for (lines, item) in [
        (
            "{\"prompt\":\"a\",\"custom_id\":\"x\"}\n{\"prompt\":\"b\",\"custom_id\":\"x\"}\n",
            "`x`",
        ),
        (
            "{\"prompt\":\"a\",\"custom_id\":\"line-2\"}\n{\"prompt\":\"b\"}\n",
            "`line-2`",
        ),
    ] {
        lab.home.file("in.jsonl", lines);
        let ended = lab.batch(&["in.jsonl", "--experiment", "e"]);
        ended
            .code(2)
            .stdout("")
            .stderr_has("line 2 of in.jsonl has the item id");
        ended.stderr_has(item);
    }
    assert!(lab.experiments("e").is_empty());
}

/// As a server that is changed while it is read, or orders its pages differently each time.
#[test]
fn a_dataset_that_lists_an_item_twice_is_refused() {
    let lab = Lab::with_items(2);
    let langfuse = Scripted::in_front_of(&lab.sandbox, |request, _| {
        let is_page = request.path.contains("dataset-items") && request.path.contains("version=");
        let item = json!({"id": "q1", "input": "a"});
        is_page.then(|| {
            Reply::json(
                200,
                &json!({"data": [item, item], "meta": {"totalItems": 2}}),
            )
        })
    });
    let call = lab.call(&["batch", "--dataset", "questions"]);
    let ended = call.langfuse_at(langfuse.url()).run();
    ended
        .code(2)
        .stdout("")
        .stderr_has("the dataset `questions` lists the item `q1` twice");
}

#[test]
fn a_server_without_experiments_says_what_it_lacks() {
    let sandbox = Sandbox::start_with(&["--langfuse", "v3"]);
    let lab = Lab::with_items(1);
    lab.home.file("in.jsonl", "{\"prompt\":\"a\"}\n");
    for arguments in [
        &["--dataset", "questions"][..],
        &["in.jsonl", "--experiment", "e"],
    ] {
        let call = lab.call(&[&["batch"], arguments].concat());
        let ended = call.langfuse_at(sandbox.url()).run();
        ended
            .code(3)
            .stdout("")
            .stderr_has("has no experiments, which need version 4");
        ended.stderr_has("hint: upgrade the server");
    }
}

#[test]
fn without_a_langfuse_there_is_no_experiment() {
    let lab = Lab::with_items(1);
    let off = lab
        .call(&["batch", "--dataset", "questions"])
        .env("LANGFUSE_TRACING_ENABLED", "false");
    off.run()
        .code(3)
        .stderr_has("an experiment needs a Langfuse: tracing is off");
    let wrong = lab
        .call(&["batch", "--dataset", "questions"])
        .env("LANGFUSE_SECRET_KEY", "sk-lf-another-one");
    wrong.run().code(3).stderr_has("Invalid credentials");
    let gone = lab
        .call(&["batch", "--dataset", "questions"])
        .langfuse_at("http://127.0.0.1:1");
    gone.run().code(5).stderr_has("check LANGFUSE_BASE_URL");
}

#[test]
fn an_experiment_with_items_is_not_added_to_unasked() {
    let lab = Lab::with_items(2);
    lab.batch(&[
        "--dataset",
        "questions",
        "--experiment",
        "e",
        "--out",
        "a.jsonl",
    ])
    .code(0);
    let model = Scripted::model("never asked");
    let call = lab.call(&[
        "batch",
        "--dataset",
        "questions",
        "--experiment",
        "e",
        "--out",
        "b.jsonl",
    ]);
    let ended = call.model_at(model.url()).run();
    ended
        .code(2)
        .stderr_has("the experiment `e` has 2 items already");
    ended.stderr_has("--again");
    assert_eq!(model.count(), 0);
    assert!(!ended.home().join("b.jsonl").exists());
    // Of the same name over another dataset, it is another experiment.
    lab.dataset("other");
    lab.item("other", "o", json!("hi"), Value::Null);
    lab.batch(&[
        "--dataset",
        "other",
        "--experiment",
        "e",
        "--out",
        "c.jsonl",
    ])
    .code(0);
    assert_eq!(lab.experiments("e").len(), 2);
}
