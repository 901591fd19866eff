//! The pages of experiments and datasets.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::experiments::{item, part, score};
use super::{JSON, send};
use crate::support::stand_in::Sandbox;

const EXPERIMENTS: &str = "/project/sandbox/experiments";
const DATASETS: &str = "/project/sandbox/datasets";

/// A page, asked for without keys.
#[track_caller]
fn page(sandbox: &Sandbox, path: &str) -> String {
    let page = sandbox.send("GET", path, &[], Vec::new());
    assert_eq!(
        (page.status, page.content_type.as_str()),
        (200, "text/html; charset=utf-8"),
        "{path}"
    );
    page.body
}

#[track_caller]
fn assert_shows(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "no {part:?} in {page}");
    }
}

/// A dataset with one item; returns its id.
fn dataset(sandbox: &Sandbox, name: &str, item: &Value) -> String {
    let body = json!({"name": name, "description": "a description", "metadata": {"team": "blue"}});
    let dataset = sandbox.post("/api/public/v2/datasets", &[JSON], body.to_string());
    let mut item = item.clone();
    item["datasetName"] = name.into();
    let put = sandbox.post("/api/public/dataset-items", &[JSON], item.to_string());
    assert_eq!((dataset.status, put.status), (200, 200));
    dataset.json()["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_new_sandbox_shows_how_to_run_an_experiment_over_its_dataset() {
    let sandbox = Sandbox::start();
    let list = page(&sandbox, EXPERIMENTS);
    let command = "langspan batch --sandbox --dataset faq --prompt answer --experiment first";
    assert_shows(&list, &["No experiments yet.", command]);
    let start = page(&sandbox, "/");
    assert_shows(
        &start,
        &[
            &format!("href=\"{EXPERIMENTS}\""),
            &format!("href=\"{DATASETS}\""),
        ],
    );
    assert_shows(
        &page(&sandbox, DATASETS),
        &[">faq<", "langspan help experiments"],
    );
    let faq = sandbox.get("/api/public/v2/datasets/faq").json();
    let faq = format!("{DATASETS}/{}", faq["id"].as_str().unwrap());
    assert_shows(
        &page(&sandbox, &faq),
        &["faq-5", "Expected output", "a dataset"],
    );
}

#[test]
fn the_page_of_an_experiment_shows_items_beside_what_was_expected() {
    let sandbox = Sandbox::start();
    send(
        &sandbox,
        &[
            item("t0", "r0", 0, "i0"),
            item("t1", "r1", 1, "i0"),
            item("t2", "r2", 2, "i2"),
        ],
    );
    for (trace, root, value) in [("t0", "r0", 1), ("t1", "r1", 0)] {
        score(
            &sandbox,
            &json!({"traceId": trace, "observationId": root, "name": "met", "value": value, "dataType": "BOOLEAN"}),
        );
        score(
            &sandbox,
            &json!({"traceId": trace, "name": "close", "value": f64::from(value) / 2.0}),
        );
    }
    score(
        &sandbox,
        &json!({"datasetRunId": "e1", "name": "rate", "value": 0.5, "comment": "of three"}),
    );
    let list = page(&sandbox, EXPERIMENTS);
    let path = format!("{EXPERIMENTS}/results?baseline=e1");
    assert_shows(
        &list,
        &[&format!("href=\"{path}\""), "run A", ">3<", "rate"],
    );
    let shown = page(&sandbox, &path);
    assert_shows(
        &shown,
        &[
            "<h1>run A</h1>",
            "my run",
            "3 (1 repeated)",
            "gpt-4o-mini",
            "of three",
            "1 of 2",
            "mean 0.250",
            "in r0",
            "four",
            "out r2",
            "href=\"/project/sandbox/traces/t2\"",
        ],
    );
    assert!(shown.find("out r0") < shown.find("out r2"), "oldest first");
    let trace = page(&sandbox, "/project/sandbox/traces/t0");
    assert_shows(&trace, &[&format!("href=\"{path}\"")]);
}

#[test]
fn links_of_langfuse_lead_to_the_pages() {
    let sandbox = Sandbox::start();
    let follow = |path: &str| {
        let answer = sandbox.send("GET", path, &[], Vec::new());
        assert_eq!(answer.status, 303, "{path}");
        answer.location
    };
    assert_eq!(
        follow(&format!("{DATASETS}/d1/runs/a%2Fb")),
        format!("{EXPERIMENTS}/results?baseline=a%2Fb")
    );
    assert_eq!(
        follow(&format!("{DATASETS}/d1/items/i%230")),
        format!("{DATASETS}/d1#item-i%230")
    );
    for (path, said) in [
        (
            format!("{EXPERIMENTS}/results?baseline=%3Cnone%3E"),
            "There is no experiment <code>&lt;none&gt;</code>",
        ),
        (format!("{EXPERIMENTS}/results"), "404"),
        (
            format!("{DATASETS}/none"),
            "There is no dataset <code>none</code>",
        ),
    ] {
        let answer = sandbox.send("GET", &path, &[], Vec::new());
        assert_eq!(answer.status, 404, "{path}");
        assert_shows(&answer.body, &[said]);
    }
}

#[test]
fn no_field_of_an_experiment_or_dataset_can_bring_a_script_into_a_page() {
    let sandbox = Sandbox::start();
    let evil = r#""'></style><script>alert(1)</script>"#;
    let id = dataset(
        &sandbox,
        evil,
        &json!({"id": evil, "input": {evil: evil}, "expectedOutput": evil, "metadata": {evil: evil}}),
    );
    let metadata = json!({evil: evil}).to_string();
    let attributes = [
        ("id", evil),
        ("name", evil),
        ("description", evil),
        ("dataset.id", id.as_str()),
        ("metadata", &metadata),
        ("item.id", evil),
        ("item.root_observation_id", "r"),
        ("item.expected_output", evil),
    ];
    send(&sandbox, &[part("t", "r", 0, &attributes)]);
    for subject in [json!({"datasetRunId": evil}), json!({"traceId": "t"})] {
        let mut body = json!({"name": evil, "value": evil, "comment": evil});
        body.as_object_mut()
            .unwrap()
            .extend(subject.as_object().unwrap().clone());
        score(&sandbox, &body);
    }
    let escaped = utf8_percent_encode(evil, NON_ALPHANUMERIC);
    for path in [
        EXPERIMENTS.to_owned(),
        format!("{EXPERIMENTS}/results?baseline={escaped}"),
        DATASETS.to_owned(),
        format!("{DATASETS}/{id}"),
    ] {
        let body = page(&sandbox, &path);
        assert_shows(&body, &["&lt;script&gt;"]);
        assert!(!body.contains("<script"), "{body}");
        assert_eq!(body.matches("</style>").count(), 1);
        assert!(!body.contains(r#""'>"#), "an attribute was left: {body}");
    }
}
