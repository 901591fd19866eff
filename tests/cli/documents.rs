//! `langspan help json`: the schemas describe every field of every document. Elsewhere the tests hold each document that
//! they read to its schema, and let unknown fields pass.

use std::fs;

use serde_json::{Value, json};

use crate::support::batch::output::lines;
use crate::support::harness::{Langspan, Reply, Scripted, completion};
use crate::support::schema::assert_described;
use crate::support::stand_in::Sandbox;

const CANNOT_BEGIN: [&[&str]; 4] = [
    &["chat", "Hello"],
    &["replay", "in.jsonl"],
    &["batch", "in.jsonl"],
    &["show", "0123456789abcdef0123456789abcdef"],
];

fn json_of(sandbox: &Sandbox, arguments: &[&str]) -> Langspan {
    Langspan::new(arguments).arg("-o").arg("json").at(sandbox)
}

#[test]
fn answers_and_plans_are_described() {
    let sandbox = Sandbox::start();
    for options in [
        &["--cost", "--verify", "--stream"][..],
        &["-m", "no-such-model", "--retries", "0"],
        &["-p", "user=x", "--best-effort"],
        &["--expect", "stand-in", "--score", "a=1"],
        &["--expect", "no such words"],
    ] {
        let call = json_of(&sandbox, &[&["chat", "Hello"], options].concat());
        assert_described(&call.run().json(), "answer");
    }
    let plan = json_of(&sandbox, &["chat", "--dry-run", "Hello"]).run();
    assert_described(&plan.code(0).json(), "dry_run");
    let call = json_of(&sandbox, &["replay", "-"]);
    let body = json!({"messages": [{"role": "user", "content": "Hello"}]});
    let replayed = call.stdin(body.to_string()).run();
    assert_described(&replayed.code(0).json(), "answer");
}

#[test]
fn a_failure_before_the_beginning_is_described() {
    for arguments in CANNOT_BEGIN {
        let call = Langspan::new(arguments).arg("-o").arg("json");
        call.file("in.jsonl", "{\"messages\":[]}\n");
        let ended = call.env("LANGFUSE_PUBLIC_KEY", "pk-lf-1").run();
        assert_described(&ended.code(3).json(), "failure");
    }
}

#[test]
fn the_documents_of_a_batch_are_described() {
    let model = Scripted::start(|_, number| match number {
        1 => Reply::json(400, &json!({"error": {"message": "no"}})),
        2 => Reply::Close,
        _ => Reply::json(200, &completion("hi")),
    });
    let sandbox = Sandbox::start();
    let batch = |options: &[&str]| {
        let call = json_of(&sandbox, &[&["batch", "in.jsonl"], options].concat());
        call.file(
            "in.jsonl",
            "{\"prompt\":\"a\"}\n{\"prompt\":\"b\"}\n{\"prompt\":\"c\"}\nno\n",
        );
        call.model_at(model.url())
    };
    let options = [
        "-j",
        "1",
        "--retries",
        "0",
        "--verify",
        "--expect",
        "hi",
        "--score",
        "a=1",
    ];
    let call = batch(&options).arg("-O").arg("out.jsonl");
    let call = call.arg("--summary").arg("summary.json");
    let ended = call.run();
    ended.code(8);
    let file = |name: &str| fs::read_to_string(call.home().join(name)).unwrap();
    let summary: Value = serde_json::from_str(&file("summary.json")).unwrap();
    for document in [&summary, &ended.json()] {
        assert_described(document, "summary");
    }
    let lines = lines(&file("out.jsonl"));
    assert_eq!(lines.len(), 4);
    for line in &lines {
        assert_described(line, "output_line");
    }
    let plan = batch(&["--dry-run"]).run();
    assert_described(&plan.code(0).json(), "batch_dry_run");
}

#[test]
fn reports_of_the_other_commands_are_described() {
    let sandbox = Sandbox::start();
    let check = json_of(&sandbox, &["check"]).run();
    assert_described(&check.code(0).json(), "check");
    let refused = json_of(&sandbox, &["check"]).env("LANGFUSE_SECRET_KEY", "sk-lf-other");
    assert_described(&refused.run().code(3).json(), "check");
    let id = check.json()["trace"]["id"].as_str().unwrap().to_owned();
    let score = json_of(&sandbox, &["score", &id, "quality=0.8", "--verify"]).run();
    assert_described(&score.code(0).json(), "score");
    let shown = json_of(&sandbox, &["show", &id]).run();
    assert_eq!(shown.code(0).json()["scores"].as_array().unwrap().len(), 1);
    assert_described(&shown.json(), "show");
    for arguments in [&["prompt"][..], &["prompt", "answer"]] {
        let prompt = json_of(&sandbox, arguments).run();
        assert_described(&prompt.code(0).json(), "prompt");
    }
    let config = json_of(&sandbox, &["config"]).run();
    assert_described(&config.code(0).json(), "config");
    let report = json_of(&sandbox, &["chat", "Hello"]).env("LANGFUSE_SECRET_KEY", "sk-lf-other");
    let undelivered = report.run();
    assert_described(&undelivered.code(5).json(), "answer");
    for options in [&["--list"][..], &[]] {
        let call = json_of(&sandbox, &[&["resend"], options].concat());
        let ended = call.after(&undelivered).run();
        let document = ended.code(0).json();
        assert_eq!(document["entries"].as_array().unwrap().len(), 1);
        assert_described(&document, "resend");
    }
}

#[test]
fn the_report_of_exec_is_described() {
    let sandbox = Sandbox::start();
    let call = Langspan::new(&["exec", "--report", "report.json", "--", "true"]).at(&sandbox);
    let call = call.env("PATH", "/usr/bin:/bin");
    call.run().code(0);
    let report = fs::read_to_string(call.home().join("report.json")).unwrap();
    assert_described(&serde_json::from_str(&report).unwrap(), "exec");
}
