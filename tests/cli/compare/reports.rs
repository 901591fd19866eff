//! Reports for CI services, and the table in narrow terminals.

use std::fs;

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use super::{compare, line, runs};
use crate::support::harness::Langspan;

/// Items with hostile names; the second regresses, the last is new.
fn hostile() -> Langspan {
    let names = ["plain", "<b> & \"q\" | x", "new\u{1b}[31m\nline"];
    let all: Vec<Value> = (1..)
        .zip(names)
        .map(|(number, name)| line(number, name, &[("contains", true)]))
        .collect();
    let mut b = all.clone();
    b[1]["langspan"]["expectations"][0]["met"] = json!(false);
    runs(&all[..2], &b)
}

#[test]
fn junit_has_a_case_for_each_item() {
    let home = hostile();
    compare(&home, &["--junit", "c.xml"]).code(9);
    let url = format!("https://langfuse.test/project/p/traces/{:032x}", 2);
    let expected = format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="langspan compare" tests="3" failures="1" errors="0" skipped="1" time="0.200">
  <testcase classname="langspan.compare" name="plain" time="0.100"></testcase>
  <testcase classname="langspan.compare" name="&lt;b&gt; &amp; &quot;q&quot; | x" time="0.100"><failure message="missed contains">A: {url}
B: {url}</failure></testcase>
  <testcase classname="langspan.compare" name="new[31m
line" time="0.000"><skipped message="only in B"/></testcase>
</testsuite>
"#
    );
    let junit = fs::read_to_string(home.home().join("c.xml")).unwrap();
    assert_eq!(junit, expected);
}

#[test]
fn the_step_summary_gets_the_tables_behind_what_it_has() {
    let home = hostile();
    home.file("summary.md", "earlier\n");
    let call = Langspan::new(&["compare", "a.jsonl", "b.jsonl"]).beside(&home);
    let call = call.env("GITHUB_STEP_SUMMARY", "summary.md");
    call.run().code(9);
    let summary = fs::read_to_string(home.home().join("summary.md")).unwrap();
    let head = "earlier\n### langspan compare\n\nA: a.jsonl, B: b.jsonl, 2 items, 1 regressed, 0 fixed, 1 only in B\n\n| | A | B | change |\n|---|---:|---:|---|\n| contains | 100.0% | 50.0% | 1 missed |\n";
    assert!(summary.starts_with(head), "{summary}");
    let url = format!("https://langfuse.test/project/p/traces/{:032x}", 2);
    let row = format!(
        "| &lt;b> & \"q\" \\| x | missed contains | [trace](<{url}>) | [trace](<{url}>) |\n"
    );
    assert!(summary.contains(&row), "{summary}");
    // Runs that cannot be compared say so there.
    home.file("b.jsonl", "");
    call.run().code(2);
    let summary = fs::read_to_string(home.home().join("summary.md")).unwrap();
    assert!(
        summary.ends_with("### langspan compare\n\nB (b.jsonl) has no items\n\n"),
        "{summary}"
    );
}

#[test]
fn a_summary_that_cannot_be_written_is_a_file_problem() {
    let lines = [line(1, "q1", &[])];
    let call = Langspan::new(&["compare", "a.jsonl", "b.jsonl"]).beside(&runs(&lines, &lines));
    call.env("GITHUB_STEP_SUMMARY", "no/such/file.md")
        .run()
        .code(6);
}

#[test]
fn the_table_fits_the_terminal_and_links_are_whole() {
    let name = "expectation-with-a-long-name";
    let a: Vec<Value> = (1..=99)
        .map(|n| {
            line(
                n,
                &format!("question-with-a-rather-long-name-{n}"),
                &[(name, true)],
            )
        })
        .collect();
    let mut b = a.clone();
    for line in &mut b[..30] {
        line["langspan"]["expectations"][0]["met"] = json!(false);
        line["langspan"]["cost"] = json!(0.000_012_345_6);
    }
    let home = runs(&a, &b);
    for width in [80, 40] {
        let call = Langspan::new(&["compare", "a.jsonl", "b.jsonl"]).beside(&home);
        let ended = call.env("COLUMNS", &width.to_string()).run();
        ended.code(9);
        let (links, rows): (Vec<&str>, Vec<&str>) = ended
            .stdout
            .lines()
            .partition(|line| line.contains("https://"));
        let wide: Vec<&&str> = rows.iter().filter(|row| row.width() > width).collect();
        assert!(wide.is_empty(), "{wide:#?}");
        assert_eq!(links.len(), 40, "{ended:#?}");
        assert!(links.iter().all(|link| link.len() > 70), "{links:#?}");
        assert!(rows.contains(&"  and 10 more; all: -o json"), "{ended:#?}");
        for row in ["latency p50", "latency p95", "tokens in", "tokens out"] {
            assert!(
                rows.iter().any(|line| line.starts_with(row)),
                "{row}: {ended:#?}"
            );
        }
    }
}

#[test]
fn control_characters_of_names_do_not_reach_the_terminal() {
    let ended = compare(&hostile(), &[]);
    assert!(ended.stdout.contains("\n  new [31m line\n"), "{ended:#?}");
}
