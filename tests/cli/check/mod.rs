//! `langspan check`: its stages, their messages and the exit code.

mod canary;
mod cloud;
mod readable;
mod regions;
mod reports;
mod stages;

use serde_json::Value;

use crate::support::harness::{Ended, Langspan};

const HEALTH: &str = "/api/public/health";
const PROJECTS: &str = "/api/public/projects";
/// The stages, in their order.
const STAGES: [&str; 7] = [
    "settings", "connect", "health", "auth", "model", "export", "readable",
];
/// The Langfuse generations of the sandbox.
const VERSIONS: [&str; 2] = ["v3", "v4"];

/// A check of the Langfuse there, told as JSON, with a key pair that the sandbox takes.
fn check(url: &str, options: &[&str]) -> Langspan {
    Langspan::new(&[&["check", "-o", "json"], options].concat()).langfuse_at(url)
}

/// A stage of the JSON document.
#[track_caller]
fn stage(ended: &Ended, name: &str) -> Value {
    let document = ended.json();
    let stages = document["stages"].as_array().unwrap();
    let found = stages.iter().find(|stage| stage["name"] == name);
    found
        .unwrap_or_else(|| panic!("no stage {name}: {ended:#?}"))
        .clone()
}

/// What a stage says, of itself and of its remedy.
#[track_caller]
fn words(ended: &Ended, name: &str) -> String {
    let stage = stage(ended, name);
    format!(
        "{} {}",
        stage["detail"].as_str().unwrap(),
        stage["hint"].as_str().unwrap_or_default()
    )
}

/// The status of every stage, in their order.
#[track_caller]
fn statuses(ended: &Ended) -> Vec<(String, String)> {
    let document = ended.json();
    let stages = document["stages"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    stages
        .map(|stage| (text(&stage["name"]), text(&stage["status"])))
        .collect()
}

/// Asserts that the check ended well: all stages are ok, but the model's unless it was asked for.
#[track_caller]
fn assert_whole(ended: &Ended, with_model: bool) {
    ended.code(0);
    let expected = STAGES.map(|name| {
        let is_asked = name != "model" || with_model;
        let status = if is_asked { "ok" } else { "skipped" };
        (name.to_owned(), status.to_owned())
    });
    assert_eq!(statuses(ended), expected, "{ended:#?}");
    assert_eq!(ended.json()["ok"], true);
}

/// Asserts that this stage failed, with a cause and a remedy; that those before it are ok, and those behind it
/// skipped with a reason. (Of the model, which is only asked for by an option, nothing is said.)
#[track_caller]
fn assert_fails_at(ended: &Ended, failed: &str, code: i32) {
    ended.code(code);
    let document = ended.json();
    assert_eq!(document["ok"], false, "{ended:#?}");
    let mut expected = "ok";
    for (stage, name) in document["stages"].as_array().unwrap().iter().zip(STAGES) {
        assert_eq!(stage["name"], name, "{ended:#?}");
        let said = |field: &str| stage[field].as_str().is_some_and(|text| !text.is_empty());
        if name == failed {
            assert_eq!(stage["status"], "failed", "{name}: {ended:#?}");
            assert!(said("detail"), "{name} has no cause: {ended:#?}");
            assert!(said("hint"), "{name} has no remedy: {ended:#?}");
            expected = "skipped";
        } else if name != "model" {
            assert_eq!(stage["status"], expected, "{name}: {ended:#?}");
        }
        if stage["status"] == "skipped" {
            assert!(said("detail"), "{name} has no reason: {ended:#?}");
        }
    }
}
