//! Output files of `batch`: what is shown of them, and how the run ends.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::{compare, document, failed, line, runs, text};
use crate::support::harness::Langspan;
use crate::support::stand_in::Sandbox;

const MET: &[(&str, bool)] = &[("contains", true), ("json", true)];

/// Ten items; b misses `contains` in q2 and has no answer to q5, meets `json` again in q8, and has q11 beside.
fn changed() -> Langspan {
    let mut a: Vec<Value> = (1..=10).map(|n| line(n, &format!("q{n}"), MET)).collect();
    a[7] = line(8, "q8", &[("contains", true), ("json", false)]);
    let mut b: Vec<Value> = (1..=11).map(|n| line(n, &format!("q{n}"), MET)).collect();
    b[1] = line(2, "q2", &[("contains", false), ("json", true)]);
    b[4] = failed(line(5, "q5", &[]));
    for (number, line) in (1..).zip(&mut b) {
        let trace_id = format!("b{number:031x}");
        line["langspan"]["trace_url"] =
            json!(format!("https://langfuse.test/project/p/traces/{trace_id}"));
        line["langspan"]["trace_id"] = json!(trace_id);
        line["langspan"]["end_time"] = json!("2026-01-01T00:00:00.15Z");
        line["langspan"]["cost"] = json!(0.0005);
    }
    b.reverse();
    runs(&a, &b)
}

#[test]
fn the_table_has_shares_and_measures_and_names_what_changed_with_links() {
    let ended = compare(&changed(), &[]);
    ended.code(9);
    let url = |id: &str| format!("https://langfuse.test/project/p/traces/{id}");
    let links = |number: u64| {
        let a = url(&format!("{number:032x}"));
        let b = url(&format!("b{number:031x}"));
        format!("    A {a}\n    B {b}\n")
    };
    let expected = format!(
        "\
A  a.jsonl: 10 items
B  b.jsonl: 11 items

                  A        B  change
contains     100.0%    80.0%  2 missed
json          90.0%    90.0%  1 missed, 1 met
latency p50  100 ms   150 ms  +50.0%
latency p95  100 ms   150 ms  +50.0%
tokens in        90       90  =
tokens out       45       45  =
cost         $0.009  $0.0045  -50.0%

2 items regressed
  q2: missed contains
{}  q5: failed (timeout)
{}
1 item fixed
  q8: met json
{}
1 item only in B
  q11
",
        links(2),
        links(5),
        links(8)
    );
    ended.stdout(&expected);
    assert_eq!(
        ended.stderr,
        "error: 2 of 10 items regressed\nhint: --allow-regressions N permits up to N\n"
    );
}

#[test]
fn the_document_has_every_change() {
    let ended = compare(&changed(), &["-o", "json"]);
    ended.code(9);
    let found = document(&ended);
    assert_eq!(
        found["items"],
        json!({"compared": 10, "regressed": 2, "fixed": 1, "failed": 1, "only_in_b": 1})
    );
    assert_eq!(
        found["expectations"],
        json!([
            {"name": "contains", "a": {"met": 10, "of": 10}, "b": {"met": 8, "of": 10}, "regressed": 2, "fixed": 0},
            {"name": "json", "a": {"met": 9, "of": 10}, "b": {"met": 9, "of": 10}, "regressed": 1, "fixed": 1},
        ])
    );
    assert_eq!(found["b"]["latency_ms"], json!({"p50": 150, "p95": 150}));
    assert_eq!(found["a"]["tokens"], json!({"input": 90, "output": 45}));
    assert_eq!(
        (&found["a"]["items"], &found["b"]["items"]),
        (&json!(10), &json!(11))
    );
    let ids = |list: &str| -> Vec<&str> {
        let items = found[list].as_array().unwrap().iter();
        items.map(|item| item["id"].as_str().unwrap()).collect()
    };
    assert_eq!(
        (ids("regressed"), ids("fixed")),
        (vec!["q2", "q5"], vec!["q8"])
    );
    let failed = &found["regressed"][1];
    assert_eq!(failed["failure"], "timeout");
    assert_eq!(failed["missed"], json!(["contains", "json"]));
    assert_eq!(failed["b"]["trace_id"], format!("b{:031x}", 5));
    assert_eq!(found["only_in_b"], json!(["q11"]));
    assert_eq!(found["ok"], false);
    assert_eq!(found["error"]["kind"], "expectation");
    assert_eq!(found["error"]["exit_code"], 9);
}

#[test]
fn so_many_regressions_as_allowed_exit_0() {
    let home = changed();
    for (allowed, code) in [("1", 9), ("2", 0), ("19.9%", 9), ("20%", 0), ("100%", 0)] {
        let ended = compare(&home, &["--allow-regressions", allowed]);
        ended.code(code);
        if code == 0 {
            let said = "2 of 10 items regressed, which is allowed\n";
            assert_eq!(ended.stderr, said, "{allowed}");
        }
    }
    for wrong in ["x", "-1", "101%", ""] {
        let option = format!("--allow-regressions={wrong}");
        compare(&home, &[&option]).code(2);
    }
}

#[test]
fn runs_without_a_change_exit_0() {
    let lines: Vec<Value> = (1..=3).map(|n| line(n, &format!("q{n}"), MET)).collect();
    let ended = compare(&runs(&lines, &lines), &[]);
    ended.code(0);
    assert_eq!(ended.stderr, "none of 3 items regressed\n");
    assert!(!ended.stdout.contains("https://"), "{ended:#?}");
    // Nothing was expected: an item can still fail.
    let bare: Vec<Value> = (1..=3).map(|n| line(n, &format!("q{n}"), &[])).collect();
    compare(&runs(&bare, &bare), &[]).code(0);
    let mut b = bare.clone();
    b[2] = failed(bare[2].clone());
    compare(&runs(&bare, &b), &[]).code(9);
    // Something was expected of A, but there is no answer to judge.
    let all_failed: Vec<Value> = lines.iter().cloned().map(failed).collect();
    let ended = compare(&runs(&lines, &all_failed), &["-o", "json"]);
    ended.code(9);
    assert_eq!(
        document(&ended)["expectations"][0]["b"],
        json!({"met": 0, "of": 3})
    );
}

#[test]
fn an_expectation_that_only_one_run_has_is_shown_and_said() {
    let lines = |findings: &[(&str, bool)]| -> Vec<Value> {
        (1..=3)
            .map(|n| line(n, &format!("q{n}"), findings))
            .collect()
    };
    let (a, b) = (lines(MET), lines(&[("contains", true), ("latency", false)]));
    let ended = compare(&runs(&a, &b), &[]);
    ended.code(0);
    assert!(
        ended
            .stdout
            .contains("\njson         100.0%       -  only in A\n"),
        "{ended:#?}"
    );
    assert!(
        ended
            .stdout
            .contains("\nlatency           -    0.0%  only in B\n"),
        "{ended:#?}"
    );
    assert!(
        ended
            .stderr
            .starts_with("warning: B was not judged by json, as A was\n"),
        "{ended:#?}"
    );
}

#[test]
fn a_run_that_was_judged_by_nothing_is_a_warning() {
    let lines = |findings: &[(&str, bool)]| -> Vec<Value> {
        (1..=2)
            .map(|n| line(n, &format!("q{n}"), findings))
            .collect()
    };
    let warning =
        "warning: A was not judged by any expectation, so only failed items count as regressed\n";
    let ended = compare(&runs(&lines(&[]), &lines(MET)), &[]);
    ended.code(0);
    assert!(ended.stderr.starts_with(warning), "{ended:#?}");
    let ended = compare(&runs(&lines(MET), &lines(MET)), &[]);
    ended.code(0);
    assert!(!ended.stderr.contains("warning"), "{ended:#?}");
}

#[test]
fn measures_are_over_items_that_both_runs_know() {
    let a: Vec<Value> = (1..=4).map(|n| line(n, &format!("q{n}"), MET)).collect();
    let mut b = a.clone();
    b[0]["langspan"]["cost"] = Value::Null;
    b[1]["response"]["body"]["usage"] = Value::Null;
    let ended = compare(&runs(&a, &b), &["-o", "json"]);
    let found = document(&ended);
    assert_eq!(
        (&found["a"]["cost"], &found["b"]["cost"]),
        (&json!(0.003), &json!(0.003))
    );
    assert_eq!(found["a"]["tokens"], json!({"input": 30, "output": 15}));
    // A model without a price.
    for line in &mut b {
        line["langspan"]["cost"] = Value::Null;
    }
    let found = document(&compare(&runs(&a, &b), &["-o", "json"]));
    assert_eq!(
        (&found["a"]["cost"], &found["b"]["cost"]),
        (&json!(0.004), &Value::Null)
    );
}

#[test]
fn items_without_an_id_are_joined_by_line() {
    let unnamed = |number| {
        let mut line = line(number, "", MET);
        line["custom_id"] = Value::Null;
        line
    };
    let a: Vec<Value> = (1..=3).map(unnamed).collect();
    let mut b: Vec<Value> = a.iter().rev().cloned().collect();
    b[0]["langspan"]["expectations"][0]["met"] = json!(false);
    let ended = compare(&runs(&a, &b), &[]);
    ended.code(9);
    assert!(
        ended.stdout.contains("\n  line-3: missed contains\n"),
        "{ended:#?}"
    );
    assert!(!ended.stderr.contains("warning"), "{ended:#?}");
    b[0]["langspan"]["input_digest"] = json!("ffffffffffffffff");
    let ended = compare(&runs(&a, &b), &[]);
    assert!(
        ended
            .stderr
            .starts_with("warning: 1 item was joined by line number, but the input lines differ"),
        "{ended:#?}"
    );
}

#[test]
fn compressed_files_and_stdin_are_read() {
    let lines: Vec<Value> = (1..=3).map(|n| line(n, &format!("q{n}"), MET)).collect();
    let plain = text(&lines);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain.as_bytes()).unwrap();
    let home = Langspan::new(&[]);
    home.file("a.jsonl.gz", encoder.finish().unwrap());
    home.file("b.jsonl", &plain);
    // Of a last line without an end.
    home.file("c.jsonl", plain.trim_end());
    for (a, b) in [
        ("a.jsonl.gz", "-"),
        ("-", "c.jsonl"),
        ("a.jsonl.gz", "b.jsonl"),
    ] {
        let call = Langspan::new(&["compare", a, b]).beside(&home);
        call.stdin(plain.as_str()).run().code(0);
    }
    let call = Langspan::new(&["compare", "-", "-"]).beside(&home);
    let ended = call.stdin(plain).run();
    ended.code(2);
    assert!(ended.stderr.contains("stdin"), "{ended:#?}");
}

#[test]
fn runs_of_batch_are_compared() {
    let sandbox = Sandbox::start();
    let home = Langspan::new(&[]);
    let batch = |out: &str, second: &str| {
        let lines = [("q1", "Say alpha"), ("q2", second), ("q3", "Say gamma")];
        let expected = ["alpha", "beta", "gamma"];
        let lines: Vec<Value> = lines
            .iter()
            .zip(expected)
            .map(|((id, prompt), expected)| {
                json!({"custom_id": id, "prompt": prompt, "expected": expected})
            })
            .collect();
        home.file("in.jsonl", text(&lines));
        let arguments = ["batch", "in.jsonl", "--out", out, "--allow-misses", "1"];
        let call = Langspan::new(&arguments).at(&sandbox).beside(&home);
        call.run().code(0);
    };
    batch("a.jsonl", "Say beta");
    batch("b.jsonl.zst", "Say nothing");
    let call = Langspan::new(&["compare", "a.jsonl", "b.jsonl.zst", "-o", "json"]);
    let ended = call.beside(&home).run();
    ended.code(9);
    let found = document(&ended);
    assert_eq!(found["regressed"][0]["id"], "q2");
    assert_eq!(found["regressed"][0]["missed"], json!(["expected"]));
    for run in ["a", "b"] {
        let url = found["regressed"][0][run]["trace_url"].as_str().unwrap();
        assert!(url.starts_with(sandbox.url()), "{url}");
        assert!(found[run]["cost"].as_f64().unwrap() > 0.0, "{found:#}");
        assert!(
            found[run]["tokens"]["input"].as_u64().unwrap() > 0,
            "{found:#}"
        );
        assert!(found[run]["latency_ms"]["p50"].is_u64(), "{found:#}");
    }
    assert!(
        !fs::read_to_string(home.home().join("a.jsonl"))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_signal_ends_a_run_that_waits_for_a_pipe() {
    let home = runs(&[line(1, "q1", MET)], &[line(1, "q1", MET)]);
    let pipe = home.home().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let call = Langspan::new(&["compare", "a.jsonl", "pipe"]).beside(&home);
    let mut child = call.command().stderr(Stdio::piped()).spawn().unwrap();
    // It says that it reads once it has waited for a moment.
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    said.read_line(&mut first).unwrap();
    assert_eq!(first, "reading the runs …\n");
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-s", "INT", &id]).status();
    assert!(sent.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
