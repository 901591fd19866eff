//! The trace that a check leaves behind: easily filtered away, cheap, and naming the job that sent it.

use serde_json::{Value, json};

use super::{VERSIONS, assert_whole, check};
use crate::support::harness::{Ended, Langspan};
use crate::support::stand_in::Sandbox;

const NAME: &str = "langspan-check";

/// The rows of the canary: parent, then generation.
fn rows(sandbox: &Sandbox, ended: &Ended) -> [Value; 2] {
    let trace_id = ended.json()["trace"]["id"].as_str().unwrap().to_owned();
    let mut rows = sandbox.observations(&trace_id);
    rows.sort_by_key(|row| row["type"] == "GENERATION");
    rows.try_into().unwrap()
}

fn run(call: &Langspan) -> Ended {
    let ended = call.run();
    assert_whole(&ended, false);
    ended
}

#[test]
fn every_part_of_the_canary_has_one_name() {
    let sandbox = Sandbox::start();
    let rows = rows(&sandbox, &run(&check(sandbox.url(), &[])));
    for row in &rows {
        assert_eq!(row["userId"], NAME);
        assert_eq!(row["sessionId"], NAME);
        assert_eq!(row["tags"], json!([NAME]));
        assert_eq!(row["environment"], NAME);
        assert_eq!(row["traceName"], NAME);
        assert_eq!(row["level"], "DEFAULT");
    }
    assert_eq!(rows[0]["name"], NAME);
}

#[test]
fn an_older_server_files_it_the_same_way() {
    let sandbox = Sandbox::start_with(&["--langfuse", "v3"]);
    let ended = run(&check(sandbox.url(), &[]));
    let id = ended.json()["trace"]["id"].as_str().unwrap().to_owned();
    let trace = sandbox.get(&format!("/api/public/traces/{id}")).json();
    for field in ["name", "userId", "sessionId", "environment"] {
        assert_eq!(trace[field], NAME, "{field}");
    }
    assert_eq!(trace["tags"], json!([NAME]));
}

#[test]
fn options_rename_the_canary() {
    let sandbox = Sandbox::start();
    let options = [
        "-n",
        "smoke",
        "-u",
        "ada",
        "-S",
        "nightly",
        "-t",
        "one",
        "-t",
        "two",
        "--environment",
        "staging",
    ];
    for row in rows(&sandbox, &run(&check(sandbox.url(), &options))) {
        assert_eq!(row["traceName"], "smoke");
        assert_eq!(row["userId"], "ada");
        assert_eq!(row["sessionId"], "nightly");
        assert_eq!(row["tags"], json!(["one", "two"]));
        assert_eq!(row["environment"], "staging");
    }
}

#[test]
fn the_canary_costs_nothing() {
    let sandbox = Sandbox::start();
    for row in rows(&sandbox, &run(&check(sandbox.url(), &[]))) {
        let usage = row["usageDetails"].as_object().cloned().unwrap_or_default();
        assert!(usage.values().all(|count| count == 0), "{row:#}");
        assert!(
            row["input"].to_string().len() + row["output"].to_string().len() < 1000,
            "{row:#}"
        );
    }
}

#[test]
fn with_the_model_the_canary_is_a_real_call() {
    let sandbox = Sandbox::start();
    let ended = check(sandbox.url(), &["--with-model", "-m", "gpt-4o"])
        .at(&sandbox)
        .run();
    assert_whole(&ended, true);
    let [parent, generation] = rows(&sandbox, &ended);
    assert!(
        generation["model"].as_str().unwrap().starts_with("gpt-4o"),
        "{generation:#}"
    );
    assert!(
        generation["usageDetails"]["total"].as_u64().unwrap() > 0,
        "{generation:#}"
    );
    assert_eq!(parent["environment"], NAME);
}

/// What each service says of a job, and what of it must be told.
const CI_SERVICES: [(&str, &str); 4] = [
    (
        "GITHUB_ACTIONS=true GITHUB_SHA=c0ffee GITHUB_REF_NAME=topic GITHUB_SERVER_URL=https://ci.example \
         GITHUB_REPOSITORY=o/r GITHUB_RUN_ID=7 GITHUB_ACTOR=ada",
        "c0ffee topic https://ci.example/o/r/actions/runs/7 ada",
    ),
    (
        "GITLAB_CI=true CI_COMMIT_SHA=c0ffee CI_COMMIT_REF_NAME=topic CI_JOB_URL=https://ci.example/7 \
         GITLAB_USER_LOGIN=ada",
        "c0ffee topic https://ci.example/7 ada",
    ),
    (
        "BUILDKITE=true BUILDKITE_COMMIT=c0ffee BUILDKITE_BRANCH=topic BUILDKITE_BUILD_URL=https://ci.example/7",
        "c0ffee topic https://ci.example/7",
    ),
    (
        "CIRCLECI=true CIRCLE_SHA1=c0ffee CIRCLE_BRANCH=topic CIRCLE_BUILD_URL=https://ci.example/7 \
         CIRCLE_USERNAME=ada",
        "c0ffee topic https://ci.example/7 ada",
    ),
];

#[test]
fn the_ci_job_is_in_the_canarys_metadata() {
    let sandbox = Sandbox::start();
    for (variables, facts) in CI_SERVICES {
        let call = variables
            .split_whitespace()
            .filter_map(|variable| variable.split_once('='))
            .fold(check(sandbox.url(), &[]), |call, (name, value)| {
                call.env(name, value)
            });
        for row in rows(&sandbox, &run(&call)) {
            let metadata = row["metadata"].as_object().unwrap().iter();
            let values: Vec<&str> = metadata
                // What the server copies from the attributes does not count.
                .filter(|(name, _)| !name.starts_with("attributes."))
                .filter_map(|(_, value)| value.as_str())
                .collect();
            for fact in facts.split(' ') {
                assert!(values.contains(&fact), "{fact} is missing: {row:#}");
            }
        }
    }
}

#[test]
fn the_page_of_the_trace_is_printed() {
    for version in VERSIONS {
        let sandbox = Sandbox::start_with(&["--langfuse", version]);
        let trace = run(&check(sandbox.url(), &[])).json()["trace"].take();
        let id = trace["id"].as_str().unwrap();
        let page = format!("{}/project/sandbox/traces/{id}", sandbox.url());
        assert_eq!(trace["url"], page);
        assert_eq!(trace["delivery"], "accepted");
        assert_eq!(trace["verified"], true);
        assert_eq!(trace["status"], 200);
    }
}
