//! Lines in the order of the input, each once, and the totals of the whole run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::Cluster;
use crate::support::batch::output::{lines, lines_in, numbers, text};
use crate::support::batch::{prompt, prompts};
use crate::support::schema::assert_described;

/// Ten lines: a blank one, and one that is not a request.
fn mixed() -> String {
    let mut input: Vec<String> = prompts(10).lines().map(str::to_owned).collect();
    input[4].clear();
    input[7].replace_range(.., "{\"prompt\": 8}");
    input.join("\n") + "\n"
}

#[test]
fn every_line_is_there_once_in_the_order_of_the_input() {
    let cluster = Cluster::new(&mixed());
    for index in 1..=3 {
        let shard = format!("out-{index}.jsonl");
        let options = ["--allow-errors", "1"];
        cluster.shard(&shard, index, 3, &options);
    }
    let parts = ["out-3.jsonl", "out-1.jsonl", "out-2.jsonl"];
    let before: Vec<String> = parts.iter().map(|part| cluster.text(part)).collect();
    cluster
        .merge(&[&parts[..], &["--out", "all.jsonl"]].concat())
        .code(0)
        .stdout("")
        .stderr_has("merged 9 lines of 3 outputs into all.jsonl")
        .stderr_has("9 lines: 8 answered, 1 failed (invalid_line: 1)")
        .stderr_has("traces: 8 accepted");
    let merged = cluster.text("all.jsonl");
    assert_eq!(
        lines(&merged)
            .iter()
            .map(|line| line["langspan"]["line"].as_u64().unwrap())
            .collect::<Vec<_>>(),
        [1, 2, 3, 4, 6, 7, 8, 9, 10]
    );
    // The lines are the bytes of the parts, which stay as they are.
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(sorted(&merged), sorted(&before.concat()));
    let after: Vec<String> = parts.iter().map(|part| cluster.text(part)).collect();
    assert_eq!(before, after);
    assert!(!cluster.has("all.jsonl.acks"));
}

#[test]
fn the_totals_are_those_of_one_run() {
    let cluster = Cluster::new(&mixed());
    let options = ["--allow-errors", "1"];
    for index in 1..=3 {
        cluster.shard(&format!("out-{index}.jsonl"), index, 3, &options);
    }
    cluster.shard(
        "one.jsonl",
        1,
        1,
        &["--allow-errors", "1", "--summary", "one.json"],
    );
    let arguments = [
        "out-1.jsonl",
        "out-2.jsonl",
        "out-3.jsonl",
        "--out",
        "all.jsonl",
    ];
    let ended = cluster.merge(&[&arguments[..], &["--summary", "all.json", "-o", "json"]].concat());
    let (merged, one) = (cluster.json("all.json"), cluster.json("one.json"));
    assert_eq!(ended.code(0).json(), merged);
    assert_described(&merged, "summary");
    for field in [
        "schema_version",
        "run",
        "lines",
        "answers",
        "tokens",
        "cost",
        "traces",
    ] {
        assert_eq!(merged[field], one[field], "{field}");
    }
    assert_eq!(merged["command"], "merge");
    assert_eq!(merged["ok"], true);
    assert!(merged["seconds"].as_f64().unwrap() > 0.0);
    assert!(merged["requests_per_second"].as_f64().unwrap() > 0.0);
    for percentile in ["p50", "p95", "p99", "max"] {
        assert!(merged["latency_ms"][percentile].is_u64(), "{merged}");
    }
}

#[test]
fn compressed_files_are_read_and_written() {
    let cluster = Cluster::new(&prompts(5));
    cluster.shard("out-1.jsonl.gz", 1, 2, &[]);
    cluster.shard("out-2.jsonl.zst", 2, 2, &[]);
    for out in ["all.jsonl", "all.jsonl.gz", "all.jsonl.zst"] {
        cluster
            .merge(&["out-1.jsonl.gz", "out-2.jsonl.zst", "--out", out])
            .code(0);
        assert_eq!(numbers(&lines_in(&cluster.path(out))), [1, 2, 3, 4, 5]);
    }
    let plain = cluster.text("all.jsonl");
    assert_eq!(plain, text(&cluster.path("all.jsonl.gz")));
    assert_eq!(plain, text(&cluster.path("all.jsonl.zst")));
}

#[test]
fn an_existing_output_is_replaced_only_on_request() {
    let cluster = Cluster::ran(&prompts(2), 1);
    cluster.home.file("all.jsonl", "");
    cluster.home.file("all.jsonl.acks", "of an earlier run");
    fs::set_permissions(cluster.path("all.jsonl"), fs::Permissions::from_mode(0o640)).unwrap();
    let arguments = ["out-1.jsonl", "--out", "all.jsonl"];
    cluster
        .merge(&arguments)
        .code(6)
        .stderr_has("all.jsonl already exists")
        .stderr_has("--overwrite");
    assert_eq!(cluster.text("all.jsonl"), "");
    cluster
        .merge(&[&arguments[..], &["--overwrite"]].concat())
        .code(0);
    assert_eq!(cluster.text("all.jsonl").lines().count(), 2);
    let mode = fs::metadata(cluster.path("all.jsonl"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o640);
    // What it said of the replaced output holds no more.
    assert!(!cluster.has("all.jsonl.acks"));
}

#[test]
fn a_pipe_gets_the_lines_and_may_be_closed() {
    let cluster = Cluster::ran(&prompts(3), 1);
    let ended = cluster.merge(&["out-1.jsonl", "--out", "-"]);
    assert_eq!(ended.code(0).stdout.lines().count(), 3);
    cluster
        .merge(&["out-1.jsonl", "--out", "-", "-o", "json"])
        .code(2)
        .stderr_has("stdout holds the lines");
    cluster
        .merge(&["out-1.jsonl", "--out", "/dev/null", "-q"])
        .code(0)
        .stderr_lacks("merged");
}

/// Both see the same beginning of the input.
#[test]
fn shards_with_one_limit_fit_together() {
    let cluster = Cluster::new(&prompts(10));
    for index in 1..=2 {
        cluster.shard(&format!("out-{index}.jsonl"), index, 2, &["--limit", "5"]);
    }
    let arguments = ["out-1.jsonl", "out-2.jsonl", "--out", "all.jsonl"];
    cluster.merge(&arguments).code(0);
    assert_eq!(
        numbers(&lines_in(&cluster.path("all.jsonl"))),
        [1, 2, 3, 4, 5]
    );
    // Continued to the end, one of them has lines that the other lacks.
    cluster.shard("out-2.jsonl", 2, 2, &["--resume"]);
    cluster
        .merge(&[&arguments[..], &["--overwrite"]].concat())
        .code(8)
        .stderr_has("out-2.jsonl was made from 10 lines, but out-1.jsonl from 5 lines (--limit 5)");
    cluster.shard("out-1.jsonl", 1, 2, &["--resume"]);
    cluster
        .merge(&[&arguments[..], &["--overwrite"]].concat())
        .code(0);
    assert_eq!(cluster.text("all.jsonl").lines().count(), 10);
    // A lower limit does not hide what was read before.
    cluster.shard("out-1.jsonl", 1, 2, &["--resume", "--limit", "2"]);
    cluster
        .merge(&[&arguments[..], &["--overwrite"]].concat())
        .code(0);
}

#[test]
fn an_empty_input_is_merged() {
    let cluster = Cluster::ran("\n\n", 2);
    cluster
        .merge(&["out-1.jsonl", "out-2.jsonl", "--out", "all.jsonl"])
        .code(0);
    assert_eq!(cluster.text("all.jsonl"), "");
}

#[test]
fn a_session_of_a_line_is_kept_in_its_output_line() {
    let own = json!({"prompt": "line 2", "trace": {"session": "other"}});
    let cluster = Cluster::new(&format!("{}{own}\n", prompt("line 1")));
    cluster.shard("out-1.jsonl", 1, 1, &[]);
    let lines = lines_in(&cluster.path("out-1.jsonl"));
    for line in &lines {
        assert_described(line, "output_line");
    }
    let sessions: Vec<(u64, &serde_json::Value)> = lines
        .iter()
        .map(|line| &line["langspan"])
        .map(|facts| (facts["line"].as_u64().unwrap(), &facts["session"]))
        .collect();
    for (line, session) in sessions {
        let expected = if line == 2 {
            json!("other")
        } else {
            json!(null)
        };
        assert_eq!(*session, expected, "line {line}");
    }
}
