//! Experiments of local lines.

use serde_json::json;

use super::Lab;

#[test]
fn lines_are_items_named_by_their_ids_or_numbers() {
    let lab = Lab::new();
    let lines = [
        json!({"custom_id": "x", "prompt": "one", "expected": "one"}),
        json!({"id": 7, "prompt": "two", "trace": {"metadata": {"level": "basic"}}}),
        json!({"messages": [{"role": "user", "content": "three"}], "item_metadata": {"k": [1]}}),
    ];
    lab.home
        .file("in.jsonl", lines.map(|line| format!("{line}\n")).concat());
    let ended = lab.batch(&[
        "in.jsonl",
        "--experiment",
        "local",
        "--out",
        "o.jsonl",
        "--verify",
    ]);
    ended.code(0).stderr_has("experiment: 3 items readable");
    let experiment = lab.experiment("local");
    assert!(experiment["datasetId"].is_null(), "{experiment}");
    assert_eq!(lab.item_ids(&experiment), ["7", "line-3", "x"]);
    let items = lab.items(&experiment);
    assert_eq!(
        items[0]["experimentItemMetadata"],
        json!({"level": "basic"})
    );
    assert_eq!(items[1]["experimentItemMetadata"], json!({"k": "[1]"}));
    assert_eq!(items[2]["expectedOutput"], "one");
    assert!(items[2]["experimentItemVersion"].is_null());
    let by_item = |line: &serde_json::Value| line["langspan"]["experiment"]["item_id"].to_string();
    let mut ids: Vec<String> = lab.lines("o.jsonl").iter().map(by_item).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["\"7\"", "\"line-3\"", "\"x\""]);
}

#[test]
fn a_pipe_is_an_input_as_well() {
    let lab = Lab::new();
    let call = lab.call(&["batch", "-", "--experiment", "piped"]);
    call.stdin("{\"prompt\":\"a\"}\n{\"prompt\":\"b\"}\n")
        .run()
        .code(0);
    assert_eq!(lab.item_ids(&lab.experiment("piped")), ["line-1", "line-2"]);
}

#[test]
fn a_dry_run_opens_no_connection() {
    let lab = Lab::new();
    lab.home
        .file("in.jsonl", "{\"prompt\":\"a\",\"custom_id\":\"x\"}\n");
    let call = lab.call(&["batch", "in.jsonl", "--experiment", "e", "--dry-run"]);
    let ended = call.langfuse_at("http://127.0.0.1:1").run();
    ended.code(0);
    for attribute in [
        "experiment.name = e",
        "experiment.item.id = x",
        "session.id = e",
    ] {
        assert!(ended.stdout.contains(attribute), "{ended:#?}");
    }
}

/// Each run with `--again` is a run of its own: no trace of it is one of the first.
#[test]
fn again_counts_the_items_twice_in_traces_of_their_own() {
    let lab = Lab::new();
    lab.home
        .file("in.jsonl", "{\"prompt\":\"a\",\"custom_id\":\"x\"}\n");
    lab.batch(&["in.jsonl", "--experiment", "e", "--out", "a"])
        .code(0);
    lab.batch(&["in.jsonl", "--experiment", "e", "--out", "b"])
        .code(2);
    let again = lab.batch(&[
        "in.jsonl",
        "--experiment",
        "e",
        "--out",
        "b",
        "--again",
        "--verify",
    ]);
    again.code(0).stderr_has("experiment: 1 item readable");
    let experiment = lab.experiment("e");
    assert_eq!(experiment["itemCount"], 2);
    assert_eq!(lab.item_ids(&experiment), ["x", "x"]);
    let trace = |file: &str| lab.lines(file)[0]["langspan"]["trace_id"].clone();
    assert_ne!(trace("a"), trace("b"));
}
