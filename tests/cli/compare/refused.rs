//! Runs that cannot be compared: exit code 2, with the items named.

use std::fs;

use serde_json::{Value, json};

use super::{compare, failed, line, runs, text};
use crate::support::harness::Langspan;

const MET: &[(&str, bool)] = &[("contains", true), ("json", true)];

fn lines(count: u64) -> Vec<Value> {
    (1..=count)
        .map(|n| line(n, &format!("q{n}"), MET))
        .collect()
}

/// Asserts that the runs are refused with these words, in every report.
#[track_caller]
fn assert_refused(home: &Langspan, message: &str) {
    let ended = compare(home, &["--junit", "c.xml", "-o", "json"]);
    ended.code(2);
    let (first, rest) = ended.stderr.split_once('\n').unwrap();
    assert_eq!(first, format!("error: {message}"));
    assert!(rest.starts_with("hint: "), "{ended:#?}");
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(found["command"], "compare");
    assert_eq!(found["error"]["message"], message);
    assert_eq!(found["error"]["exit_code"], 2);
    let junit = fs::read_to_string(home.home().join("c.xml")).unwrap();
    assert!(
        junit.contains("tests=\"1\" failures=\"0\" errors=\"1\""),
        "{junit}"
    );
}

#[test]
fn missing_items_are_named_and_counted() {
    let all = lines(9);
    let home = runs(&all, &all[..8]);
    assert_refused(&home, "B (b.jsonl) lacks the item q9 of A (a.jsonl)");
    let home = runs(&all, &all[6..]);
    assert_refused(
        &home,
        "B (b.jsonl) lacks 6 items (q1, q2, q3, q4, q5 and 1 more) of A (a.jsonl)",
    );
}

#[test]
fn items_that_are_there_twice_are_named() {
    let all = lines(3);
    let twice = [&all[..], &all[..2]].concat();
    assert_refused(
        &runs(&twice, &all),
        "A (a.jsonl) has 2 items (q1, q2) more than once",
    );
    assert_refused(
        &runs(&all, &[&all[..], &all[2..]].concat()),
        "B (b.jsonl) has the item q3 more than once",
    );
}

#[test]
fn failed_items_of_a_are_named() {
    let mut a = lines(3);
    a[1] = failed(a[1].clone());
    assert_refused(&runs(&a, &lines(3)), "the item q2 failed in A (a.jsonl)");
    // An invalid line has no id.
    a[1] = json!({
        "custom_id": null,
        "response": null,
        "error": {"code": "invalid_line", "message": "no"},
        "langspan": {"line": 2},
    });
    assert_refused(
        &runs(&a, &lines(3)),
        "the item line-2 failed in A (a.jsonl)",
    );
}

#[test]
fn a_b_that_was_not_judged_as_a_was_is_no_proof() {
    let bare: Vec<Value> = (1..=3).map(|n| line(n, &format!("q{n}"), &[])).collect();
    assert_refused(
        &runs(&lines(3), &bare),
        "B has no expectation of A: A (a.jsonl) was judged by contains, json; B (b.jsonl) was not",
    );
    let mut b = lines(3);
    b[1]["langspan"]["expectations"]
        .as_array_mut()
        .unwrap()
        .pop();
    assert_refused(
        &runs(&lines(3), &b),
        "B (b.jsonl) lacks the result of the expectation json for the item q2",
    );
}

#[test]
fn an_empty_run_and_a_foreign_file_are_no_runs() {
    assert_refused(&runs(&[], &lines(2)), "A (a.jsonl) has no items");
    let home = runs(&lines(2), &[]);
    assert_refused(&home, "B (b.jsonl) has no items");
    home.file(
        "b.jsonl",
        text(&[json!({"custom_id": "q1", "prompt": "no answer"})]),
    );
    assert_refused(
        &home,
        "line 1 of b.jsonl is not an output line: missing field `langspan` at column 39",
    );
    for other in ["[]\n", "plain text\n"] {
        home.file("b.jsonl", other);
        assert_refused(
            &home,
            "line 1 of b.jsonl is not an output line: expected a JSON object",
        );
    }
    home.file("b.jsonl", &text(&lines(2))[..900]);
    assert_refused(&home, "line 2 of b.jsonl is cut off");
}

#[test]
fn a_report_that_names_a_run_leaves_it_alone() {
    let home = runs(&lines(2), &lines(2));
    let before = fs::read(home.home().join("b.jsonl")).unwrap();
    let ended = compare(&home, &["--junit", "./b.jsonl"]);
    ended.code(2);
    assert!(
        ended
            .stderr
            .starts_with("error: --junit names the run b.jsonl\n"),
        "{ended:#?}"
    );
    assert_eq!(fs::read(home.home().join("b.jsonl")).unwrap(), before);
    compare(&home, &["--junit", "no/such/folder.xml"]).code(6);
}

#[test]
fn runs_of_different_datasets_are_not_compared() {
    let of = |dataset: &str| -> Vec<Value> {
        let mut all = lines(2);
        for (line, item) in all.iter_mut().zip(["i1", "i2"]) {
            line["langspan"]["experiment"] =
                json!({"id": "e", "name": "n", "dataset_id": dataset, "item_id": item});
        }
        all
    };
    let home = runs(&of("d1"), &of("d2"));
    assert_refused(
        &home,
        "A (a.jsonl) and B (b.jsonl) are runs of different datasets: d1 and d2",
    );
    let mixed = [of("d1").remove(0), of("d2").remove(1)];
    home.file("b.jsonl", text(&mixed));
    assert_refused(&home, "B (b.jsonl) has items of several datasets: d1, d2");
    // Joined by the item, not by the id of the line.
    let mut b = of("d1");
    b[0]["custom_id"] = json!("other");
    home.file("b.jsonl", text(&b));
    compare(&home, &[]).code(0);
}
