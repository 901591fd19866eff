//! Reports of a check: text, JSON, JUnit and GitHub annotations.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{HEALTH, PROJECTS, STAGES, VERSIONS, assert_fails_at, check, words};
use crate::support::harness::{Ended, Langspan, Reply, Scripted, TRACES, dead_url, wait_until};
use crate::support::stand_in::Sandbox;

/// One check for each exit code that is one of its own.
fn of_every_code(call: impl Fn(&str) -> Langspan) -> Vec<(i32, Ended)> {
    let sandbox = Arc::new(Sandbox::start());
    let forgetful = Scripted::before(&sandbox, |_, _, _| Reply::json(200, &json!({})));
    let server = |path: &'static str, status| {
        Scripted::in_front_of(&sandbox, move |request, _| {
            (request.path == path).then(|| Reply::json(status, &json!({"message": "no"})))
        })
    };
    let broken = Scripted::always(Reply::json(400, &json!({"error": {"message": "oops"}})));
    let with_model = |call: Langspan| call.arg("--with-model").model_at(broken.url());
    vec![
        (0, call(sandbox.url()).run()),
        (3, call(sandbox.url()).without("LANGFUSE_SECRET_KEY").run()),
        (3, call(server(PROJECTS, 401).url()).run()),
        (4, with_model(call(sandbox.url())).run()),
        (5, call(&dead_url()).run()),
        (5, call(server(HEALTH, 503).url()).run()),
        (5, call(server(TRACES, 400).url()).run()),
        (7, call(forgetful.url()).arg("--wait").arg("0.5").run()),
    ]
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn json_has_its_fields_at_every_exit_code() {
    for (code, ended) in of_every_code(|url| check(url, &[])) {
        ended.code(code);
        let document = ended.json();
        assert_eq!(
            keys(&document),
            BTreeSet::from(["schema_version", "ok", "command", "stages", "trace"])
        );
        assert_eq!(document["schema_version"], 1);
        assert_eq!(document["ok"], code == 0);
        assert_eq!(document["command"], "check");
        let stages = document["stages"].as_array().unwrap();
        let names: Vec<&str> = stages
            .iter()
            .map(|stage| stage["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, STAGES);
        for stage in stages {
            assert_eq!(
                keys(stage),
                BTreeSet::from(["name", "status", "ms", "detail", "hint"])
            );
            assert!(
                ["ok", "failed", "skipped"]
                    .map(Value::from)
                    .contains(&stage["status"])
            );
            assert!(stage["ms"].is_u64(), "{stage}");
            assert!(stage["detail"].is_string(), "{stage}");
            assert_eq!(
                stage["hint"].is_string(),
                stage["status"] == "failed",
                "{stage}"
            );
        }
        let trace = &document["trace"];
        if !trace.is_null() {
            let fields = [
                "id",
                "url",
                "spans",
                "endpoint",
                "delivery",
                "status",
                "verified",
                "redactions",
            ];
            assert_eq!(keys(trace), BTreeSet::from(fields));
        }
    }
}

#[test]
fn json_is_asked_for_by_any_of_its_names() {
    let sandbox = Sandbox::start();
    for call in [
        Langspan::new(&["check", "--json"]),
        Langspan::new(&["check"]).env("LANGSPAN_OUTPUT", "json"),
    ] {
        let ended = call.langfuse_at(sandbox.url()).run();
        assert_eq!(ended.code(0).json()["ok"], true);
        ended.stderr_lacks("error");
    }
}

#[test]
fn json_is_printed_even_when_the_junit_file_cannot_be_written() {
    let sandbox = Sandbox::start();
    let ended = check(sandbox.url(), &["--junit", "no/such/folder/junit.xml"]).run();
    assert_eq!(ended.code(6).json()["ok"], false);
    ended.stderr_has("no/such/folder/junit.xml");
}

fn check_as_text(url: &str) -> Langspan {
    Langspan::new(&["check"]).langfuse_at(url)
}

#[test]
fn text_is_a_line_for_each_stage_in_their_order() {
    for version in VERSIONS {
        let sandbox = Sandbox::start_with(&["--langfuse", version]);
        let ended = check_as_text(sandbox.url()).run();
        ended.code(0);
        let lines: Vec<&str> = ended.stdout.lines().collect();
        assert_eq!(lines.len(), STAGES.len(), "{ended:#?}");
        for (line, name) in lines.iter().zip(STAGES) {
            assert!(line.contains(name), "{line}");
            let status = if name == "model" { "skipped" } else { "ok" };
            assert!(line.contains(status), "{line}");
            assert_eq!(line.contains(" ms"), name != "model", "{line}");
        }
    }
}

#[test]
fn text_names_cause_and_remedy() {
    let ended = check_as_text("http://127.0.0.1:1")
        .without("LANGFUSE_SECRET_KEY")
        .run();
    ended.code(3);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(said.contains("LANGFUSE_SECRET_KEY"), "{ended:#?}");
    assert_eq!(ended.stdout.matches("skipped").count(), 6, "{ended:#?}");
}

#[test]
fn quiet_prints_nothing_when_all_is_well() {
    for version in VERSIONS {
        let sandbox = Sandbox::start_with(&["--langfuse", version]);
        let ended = check_as_text(sandbox.url()).arg("-q").run();
        ended.code(0).stdout("");
        assert_eq!(ended.stderr, "");
        let with_model = check_as_text(sandbox.url())
            .arg("-q")
            .arg("--with-model")
            .at(&sandbox);
        let ended = with_model.run();
        ended.code(0).stdout("");
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn quiet_never_silences_a_failure() {
    for (code, ended) in of_every_code(|url| check_as_text(url).arg("-q")) {
        ended.code(code);
        assert_eq!(ended.stderr.contains("error:"), code != 0, "{ended:#?}");
        ended.stderr_lacks("hint:");
    }
}

/// Reads JUnit with Python's parser of XML: the attributes of the suite, and of each case its name, its time, and
/// what is in it.
fn junit(path: &Path) -> Value {
    let program = "
import json, sys, xml.etree.ElementTree as xml
root = xml.parse(sys.argv[1]).getroot()
suite = root if root.tag == 'testsuite' else root.find('testsuite')
cases = [{'name': case.get('name'), 'class': case.get('classname'), 'time': float(case.get('time')),
          'inside': {part.tag: (part.get('message') or '') + ' ' + (part.text or '') for part in case}}
         for case in suite.iter('testcase')]
print(json.dumps({'suite': suite.attrib, 'cases': cases}))";
    let output = Command::new("python3")
        .args(["-c", program])
        .arg(path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{said}: {}",
        fs::read_to_string(path).unwrap()
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn junit_has_a_case_for_each_stage_at_every_exit_code() {
    for (code, ended) in of_every_code(|url| check(url, &["--junit", "junit.xml"])) {
        ended.code(code);
        let junit = junit(&ended.home().join("junit.xml"));
        let stages = ended.json()["stages"].as_array().unwrap().clone();
        let count = |status: &str| {
            let found = stages.iter().filter(|stage| stage["status"] == status);
            found.count().to_string()
        };
        assert_eq!(junit["suite"]["tests"], "7");
        assert_eq!(junit["suite"]["failures"], count("failed"));
        assert_eq!(junit["suite"]["skipped"], count("skipped"));
        let cases = junit["cases"].as_array().unwrap();
        assert_eq!(cases.len(), stages.len());
        for (case, stage) in cases.iter().zip(&stages) {
            assert_eq!(case["name"], stage["name"]);
            assert!(case["class"].is_string(), "{case}");
            let tag = match stage["status"].as_str().unwrap() {
                "failed" => "failure",
                "skipped" => "skipped",
                _ => "system-out",
            };
            let inside = case["inside"].as_object().unwrap();
            assert_eq!(inside.contains_key("failure"), tag == "failure", "{case}");
            assert_eq!(inside.contains_key("skipped"), tag == "skipped", "{case}");
            if tag == "failure" {
                let text = inside[tag].as_str().unwrap();
                assert!(text.contains(stage["detail"].as_str().unwrap()), "{case}");
                assert!(text.contains(stage["hint"].as_str().unwrap()), "{case}");
            }
        }
    }
}

/// What would end an element, an attribute, a table's cell, a command, or a line; and what XML has no place for.
const HOSTILE: &str =
    "<b>no</b> & \"so\" 'it' ]]> | 100%\n::error::forged\u{1b}[31m\u{7}\u{1}\u{fffe}\u{ffff} end";

/// A Langfuse that refuses with those words.
fn hostile(sandbox: &Arc<Sandbox>) -> Scripted {
    Scripted::in_front_of(sandbox, |request, _| {
        (request.path == PROJECTS).then(|| Reply::json(401, &json!({"message": HOSTILE})))
    })
}

#[test]
fn junit_stays_xml_whatever_a_server_says() {
    let sandbox = Arc::new(Sandbox::start());
    let ended = check(hostile(&sandbox).url(), &["--junit", "junit.xml"]).run();
    ended.code(3);
    let junit = junit(&ended.home().join("junit.xml"));
    let failure = junit["cases"][3]["inside"]["failure"].to_string();
    assert!(failure.contains("<b>no</b> & "), "{junit:#}");
}

#[test]
fn a_name_of_a_project_cannot_break_any_report() {
    let sandbox = Arc::new(Sandbox::start());
    let server = Scripted::in_front_of(&sandbox, |request, _| {
        let project = json!({"data": [{"id": "p1", "name": HOSTILE}]});
        (request.path == PROJECTS).then(|| Reply::json(200, &project))
    });
    let call = check_as_text(server.url())
        .arg("--junit")
        .arg("junit.xml")
        .arg("--no-write");
    let call = call
        .env("GITHUB_STEP_SUMMARY", "summary.md")
        .env("GITHUB_ACTIONS", "true");
    let ended = call.run();
    ended.code(0);
    assert_eq!(ended.stdout.lines().count(), STAGES.len(), "{ended:#?}");
    assert!(!ended.stdout.contains(['\u{1b}', '\u{7}']), "{ended:#?}");
    assert_eq!(
        junit(&ended.home().join("junit.xml"))["cases"]
            .as_array()
            .unwrap()
            .len(),
        7
    );
    let summary = fs::read_to_string(ended.home().join("summary.md")).unwrap();
    assert_eq!(table(&summary).len(), STAGES.len() + 2, "{summary}");
    assert!(
        !ended.stdout.lines().any(|line| line.starts_with("::")),
        "{ended:#?}"
    );
}

#[test]
fn a_refusal_that_spans_lines_stays_on_its_own() {
    let sandbox = Arc::new(Sandbox::start());
    let server = hostile(&sandbox);
    let ended = check_as_text(server.url())
        .env("GITHUB_ACTIONS", "true")
        .run();
    ended.code(3);
    for (name, text) in [("stdout", &ended.stdout), ("stderr", &ended.stderr)] {
        assert!(!text.contains(['\u{1b}', '\u{7}']), "{name}: {ended:#?}");
        assert!(
            !text.lines().any(|line| line.starts_with("::error::forged")),
            "{name}: {ended:#?}"
        );
    }
    let ended = check(server.url(), &[]).run();
    assert!(words(&ended, "auth").contains("<b>no</b>"), "{ended:#?}");
}

fn annotations(ended: &Ended) -> Vec<&str> {
    ended
        .stderr
        .lines()
        .filter(|line| line.starts_with("::error"))
        .collect()
}

#[test]
fn github_gets_an_error_line_for_each_failed_stage() {
    for (code, ended) in of_every_code(|url| check(url, &[]).env("GITHUB_ACTIONS", "true")) {
        ended.code(code);
        let stages = ended.json()["stages"].as_array().unwrap().clone();
        let failed: Vec<_> = stages
            .iter()
            .filter(|stage| stage["status"] == "failed")
            .collect();
        let annotations = annotations(&ended);
        assert_eq!(annotations.len(), failed.len(), "{ended:#?}");
        for (annotation, stage) in annotations.iter().zip(failed) {
            assert!(
                annotation.contains(stage["name"].as_str().unwrap()),
                "{annotation}"
            );
            assert!(
                annotation.contains(stage["detail"].as_str().unwrap()),
                "{annotation}"
            );
        }
        assert!(!ended.stdout.contains("::error"), "{ended:#?}");
    }
}

#[test]
fn outside_of_github_there_are_no_error_lines() {
    let ended = check(&dead_url(), &[]).run();
    ended.code(5);
    assert_eq!(annotations(&ended), [""; 0]);
}

/// The lines of a Markdown table.
fn table(summary: &str) -> Vec<&str> {
    summary
        .lines()
        .filter(|line| line.starts_with('|'))
        .collect()
}

#[test]
fn a_table_is_appended_to_the_step_summary() {
    for (code, ended) in of_every_code(|url| {
        let call = check(url, &[]).env("GITHUB_STEP_SUMMARY", "summary.md");
        call.file("summary.md", "Of an earlier step.\n");
        call
    }) {
        ended.code(code);
        let summary = fs::read_to_string(ended.home().join("summary.md")).unwrap();
        assert!(summary.starts_with("Of an earlier step.\n"), "{summary}");
        let table = table(&summary);
        assert_eq!(table.len(), STAGES.len() + 2, "{summary}");
        for (line, stage) in table[2..]
            .iter()
            .zip(ended.json()["stages"].as_array().unwrap())
        {
            assert!(line.contains(stage["name"].as_str().unwrap()), "{line}");
            assert!(line.contains(stage["status"].as_str().unwrap()), "{line}");
        }
    }
}

#[test]
fn a_step_summary_of_a_hostile_server_is_still_one_table() {
    let sandbox = Arc::new(Sandbox::start());
    let call = check(hostile(&sandbox).url(), &[]).env("GITHUB_STEP_SUMMARY", "summary.md");
    let ended = call.run();
    let summary = fs::read_to_string(ended.code(3).home().join("summary.md")).unwrap();
    let table = table(&summary);
    assert_eq!(table.len(), STAGES.len() + 2, "{summary}");
    for line in table {
        assert_eq!(line.replace("\\|", "").matches('|').count(), 5, "{line}");
        assert!(!line.contains("<b>"), "{line}");
    }
}

#[test]
fn wire_detail_shows_no_keys() {
    let sandbox = Sandbox::start();
    let ended = check_as_text(sandbox.url()).arg("-vvv").run();
    ended.code(0).stderr_lacks(&sandbox.authorization());
    ended.stderr_has("/api/public/health");
}

/// A check that gets `signal` once its canary has been exported to a server that gives no answer.
fn interrupted(call: impl Fn(&str) -> Langspan, signal: &str) -> Ended {
    let sandbox = Arc::new(Sandbox::start());
    let server = Scripted::before(&sandbox, |_, _, _| Reply::Hang);
    let call = call(server.url());
    let child = call.spawn();
    wait_until("the canary is exported", || !server.exports().is_empty());
    let kill = Command::new("kill")
        .args(["-s", signal, &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    call.ended(&child.wait_with_output().unwrap())
}

#[test]
fn a_signal_fails_the_current_stage() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let ended = interrupted(|url| check(url, &["--junit", "junit.xml"]), signal);
        assert_fails_at(&ended, "export", code);
        assert!(
            words(&ended, "export").contains("interrupted"),
            "{ended:#?}"
        );
        assert!(
            words(&ended, "readable").contains("interrupted"),
            "{ended:#?}"
        );
        assert_eq!(ended.json()["trace"]["delivery"], "failed");
        let junit = junit(&ended.home().join("junit.xml"));
        assert_eq!(junit["suite"]["failures"], "1");
        let failure = junit["cases"][5]["inside"]["failure"].to_string();
        assert!(failure.contains("interrupted"), "{junit:#}");
    }
}

#[test]
fn a_signal_is_an_error_with_a_remedy_in_every_form() {
    for options in [&[][..], &["-q"], &["-o", "json"]] {
        let call = |url: &str| Langspan::new(&[&["check"], options].concat()).langfuse_at(url);
        let ended = interrupted(call, "INT");
        ended.code(130);
        let lines: Vec<&str> = ended.stderr.lines().collect();
        // `-q` silences hints.
        let count = if options == ["-q"] { 1 } else { 2 };
        assert_eq!(lines.len(), count, "{options:?}: {ended:#?}");
        assert!(lines[0].starts_with("error: interrupted"), "{ended:#?}");
        assert!(
            lines[1..].iter().all(|line| line.starts_with("hint: ")),
            "{ended:#?}"
        );
    }
}
