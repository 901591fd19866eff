//! The blocks of `langspan help experiments`, run as a user would: two runs over a dataset, compared in CI, and a dataset
//! that curl creates.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::batch::output::lines_in;
use crate::support::harness::{Ended, Langspan};
use crate::support::stand_in::Sandbox;

const COMMIT: &str = "4f2c9d1e";

/// The blocks of the topic that begin with this mark, in order.
fn blocks(mark: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/help/experiments.md");
    let topic = fs::read_to_string(path).unwrap();
    let fenced = topic.split("\n```").skip(1).step_by(2);
    fenced
        .filter_map(|block| block.strip_prefix(&format!("{mark}\n")))
        .map(str::to_owned)
        .collect()
}

/// Runs a script in the home of `call` with what `call` has in its environment. It ends at the first command that fails.
fn run(script: &str, call: &Langspan) -> Ended {
    let binary = Path::new(env!("CARGO_BIN_EXE_langspan"));
    let path = format!("{}:/usr/bin:/bin", binary.parent().unwrap().display());
    let command = call.command();
    let environment = command
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    let output = Command::new("bash")
        .args(["-c", &format!("set -e\n{script}")])
        .env_clear()
        .envs(environment)
        .env("PATH", path)
        .current_dir(call.home())
        .output()
        .unwrap();
    call.ended(&output)
}

/// A CI job on a branch.
fn job(sandbox: &Sandbox) -> Langspan {
    Langspan::new(&[])
        .at(sandbox)
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_SHA", COMMIT)
}

fn experiments(sandbox: &Sandbox, fields: &str) -> Vec<Value> {
    let path =
        format!("/api/public/experiments?fromStartTime=2026-01-01T00:00:00Z&fields={fields}");
    match sandbox.get(&path).json()["data"].take() {
        Value::Array(experiments) => experiments,
        other => panic!("no experiments: {other}"),
    }
}

#[test]
fn the_example_compares_a_branch_with_main() {
    let sandbox = Sandbox::start();
    let call = job(&sandbox);
    let ended = run(&blocks("sh")[0], &call);
    ended.code(0);
    let name = format!("pr-{COMMIT}");
    let answered = lines_in(&call.home().join("run.jsonl"));
    assert_eq!(answered.len(), 5);
    for line in &answered {
        let of = &line["langspan"]["experiment"];
        assert_eq!(of["name"], json!(name), "{line}");
        assert_eq!(of["item_id"], line["custom_id"], "{line}");
        assert_eq!(line["langspan"]["expectations"][0]["met"], true, "{line}");
    }
    let junit = fs::read_to_string(call.home().join("compare.xml")).unwrap();
    assert_eq!(junit.matches("<testcase ").count(), 5, "{junit}");
    assert!(!junit.contains("<failure"), "{junit}");

    let found = experiments(&sandbox, "core,metadata,scores");
    let found: Vec<Value> = found
        .iter()
        .map(|one| {
            let scores = &one["scores"];
            json!([
                one["name"],
                one["itemCount"],
                one["metadata"]["prompt"],
                scores[0]["value"]
            ])
        })
        .collect();
    let expected = [
        json!([name, 5, "answer:1", 1]),
        json!(["main", 5, "answer:1", 1]),
    ];
    assert_eq!(found, expected);

    // The page that the command printed.
    let printed = ended.stderr.lines().rev();
    let mut printed = printed.filter_map(|line| line.strip_prefix("experiment: "));
    let url = printed.next().unwrap();
    let path = url.strip_prefix(sandbox.url()).unwrap();
    let page = sandbox.send("GET", path, &[], Vec::new());
    assert_eq!(page.status, 200);
    for part in [&name, "faq-5", "Expected output", "5 of 5", "answer:1"] {
        assert!(page.body.contains(part), "no {part:?} in {}", page.body);
    }
    for line in &answered {
        let trace = line["langspan"]["trace_id"].as_str().unwrap();
        let link = format!("href=\"/project/sandbox/traces/{trace}\"");
        assert!(page.body.contains(&link), "no {link} in {}", page.body);
    }
}

#[test]
fn the_example_fails_when_the_prompt_of_the_branch_is_worse() {
    let sandbox = Sandbox::start();
    // A version that does not name the topic, so the answer does not either.
    let worse = json!({"name": "answer", "prompt": "Say something.", "labels": ["staging"]});
    let json = [("content-type", "application/json")];
    let answer = sandbox.post("/api/public/v2/prompts", &json, worse.to_string());
    assert_eq!(answer.status, 201);
    let call = job(&sandbox);
    let script = &blocks("sh")[0];
    // The items that missed their expectation end the batch with 9, which is no reason not to compare.
    let script = script.replace("--verify", "--verify || [ $? -eq 9 ]");
    let ended = run(&script, &call);
    ended.code(9);
    let junit = fs::read_to_string(call.home().join("compare.xml")).unwrap();
    assert_eq!(junit.matches("<failure").count(), 5, "{junit}");
    let found = experiments(&sandbox, "scores");
    assert_eq!(found[0]["scores"][0]["value"], 0);
}

#[test]
fn the_dataset_of_the_topic_can_be_run() {
    if !["/usr/bin/curl", "/bin/curl"]
        .iter()
        .any(|curl| Path::new(curl).exists())
    {
        let line = "SKIPPED the_dataset_of_the_topic_can_be_run: no curl on this machine";
        writeln!(std::io::stderr(), "{line}").unwrap();
        return;
    }
    let sandbox = Sandbox::start();
    let call = job(&sandbox);
    let items = &blocks("json")[0];
    call.file("items.jsonl", format!("{}\n", items.trim_end()));
    run(&blocks("sh outside")[0], &call).code(0);
    let again = "langspan batch --dataset capitals --prompt answer --match-expected contains --out out.jsonl";
    let ended = run(again, &call);
    // The stand-in repeats the question, in which no capital is named.
    ended.code(9);
    let answered = lines_in(&call.home().join("out.jsonl"));
    let ids: Vec<&Value> = answered.iter().map(|line| &line["custom_id"]).collect();
    assert!(
        ids.contains(&&json!("fr")) && ids.contains(&&json!("it")),
        "{ids:?}"
    );
}
