//! The items of a dataset: how they are read, what is sent, and what the server then knows.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Lab;
use crate::support::harness::{Langspan, Reply, Scripted, completion};
use crate::support::otlp::hex;

#[test]
fn every_item_becomes_an_item_of_the_experiment() {
    let lab = Lab::with_items(3);
    let dataset = lab.sandbox.get("/api/public/v2/datasets/questions").json()["id"].clone();
    let ended = lab.batch(&[
        "--dataset",
        "questions",
        "--experiment",
        "pr-1",
        "--experiment-description",
        "a first try",
        "--release",
        "abc123",
        "--match-expected",
        "contains",
        "--out",
        "run.jsonl",
        "--summary",
        "sum.json",
        "--verify",
    ]);
    ended.code(0).stderr_has("experiment: 3 items readable");
    let experiment = lab.experiment("pr-1");
    // The rule of the server and the SDKs.
    let identity = json!(["langfuse-experiment-v1", "sandbox", dataset, "pr-1"]).to_string();
    let id = hex(&Sha256::digest(identity)[..8]);
    assert_eq!(experiment["id"], id);
    assert_eq!(experiment["description"], "a first try");
    assert_eq!(experiment["itemCount"], 3);
    assert_eq!(experiment["datasetId"], dataset);
    assert_eq!(
        experiment["metadata"],
        json!({"model": "gpt-4o-mini", "commit": "abc123"})
    );
    let summary = lab.summary("sum.json");
    for (item, n) in lab.items(&experiment).iter().zip(1..) {
        assert_is_question(item, n);
        assert_eq!(
            item["experimentItemVersion"],
            summary["experiment"]["dataset_version"]
        );
        assert_every_span_says_so(&lab, item, &id);
    }
    let url = format!(
        "{}/project/sandbox/experiments/results?baseline={id}",
        lab.sandbox.url()
    );
    ended.stderr_has(&format!("experiment: {url}\n"));
    let found = &summary["experiment"];
    assert_eq!(found["url"], url);
    assert_eq!(found["verified"], 3);
    assert_eq!(found["dataset"], "questions");
    assert_eq!(summary["run"], "pr-1");
    for line in lab.lines("run.jsonl") {
        let item = &line["langspan"]["experiment"];
        let expected = json!({
            "id": id, "name": "pr-1", "dataset_id": dataset, "item_id": line["custom_id"],
        });
        assert_eq!(*item, expected);
    }
}

#[track_caller]
fn assert_is_question(item: &Value, n: u64) {
    assert_eq!(item["experimentItemId"], format!("q{n}"));
    assert_eq!(item["input"], format!("question {n}"));
    let expected = item["expectedOutput"].to_string();
    assert_eq!(expected.trim_matches('"'), n.to_string());
    assert_eq!(item["experimentItemMetadata"]["of"], format!("q{n}"));
    assert_eq!(item["environment"], "experiment");
    assert_eq!(item["scores"][0]["name"], "expected");
}

/// Langfuse reads each span by itself.
#[track_caller]
fn assert_every_span_says_so(lab: &Lab, item: &Value, id: &str) {
    let rows = lab.sandbox.observations(item["traceId"].as_str().unwrap());
    assert_eq!(rows.len(), 2);
    for row in rows {
        let attribute = |name: &str| {
            let found = &row["metadata"][format!("attributes.langfuse.experiment.{name}")];
            found
                .as_str()
                .map_or_else(|| found.to_string(), str::to_owned)
        };
        assert_eq!(attribute("id"), id);
        assert_eq!(attribute("name"), "pr-1");
        assert_eq!(attribute("description"), "a first try");
        assert_eq!(json!(attribute("item.id")), item["experimentItemId"]);
        assert_eq!(json!(attribute("item.root_observation_id")), item["id"]);
        assert_eq!(attribute("metadata.model"), "gpt-4o-mini");
    }
}

#[test]
fn the_input_of_an_item_decides_what_is_asked() {
    let lab = Lab::new();
    lab.dataset("shapes");
    let messages =
        json!([{"role": "system", "content": "be kind"}, {"role": "user", "content": "m"}]);
    let inputs = [
        json!("text"),
        json!({"messages": messages, "seed": 7}),
        messages.clone(),
        json!({"city": "Rome"}),
        json!(5),
    ];
    for (n, input) in inputs.into_iter().enumerate() {
        lab.item("shapes", &format!("i{n}"), input, Value::Null);
    }
    let model = Scripted::model("yes");
    let ended = lab
        .call(&[
            "batch",
            "--dataset",
            "shapes",
            "--out",
            "o.jsonl",
            "--allow-errors",
            "2",
        ])
        .model_at(model.url())
        .run();
    ended.code(0).stderr_has("invalid_line: 2");
    let mut asked: Vec<Value> = model
        .requests()
        .iter()
        .map(|request| request.json())
        .collect();
    asked.sort_by_key(|body| body["messages"].to_string());
    let user = |text: &str| json!([{"role": "user", "content": text}]);
    assert_eq!(asked[0]["messages"], messages);
    assert_eq!(asked[1]["messages"], messages);
    assert_eq!(asked[2]["messages"], user("text"));
    let seeds: Vec<&Value> = asked.iter().map(|body| &body["seed"]).collect();
    assert!(seeds.contains(&&json!(7)), "{seeds:?}");
    // What is ours is not sent.
    for body in &asked {
        for field in ["item_metadata", "expected", "custom_id", "vars"] {
            assert!(body.get(field).is_none(), "{body}");
        }
    }
}

#[test]
fn objects_fill_the_managed_prompt_and_texts_follow_it() {
    let lab = Lab::new();
    lab.dataset("vars");
    lab.item("vars", "a", json!({"city": "Rome", "n": 3}), Value::Null);
    lab.item("vars", "b", json!("and now?"), Value::Null);
    lab.post(
        "/api/public/v2/prompts",
        &json!({"name": "weather", "type": "chat", "labels": ["production"], "prompt": [{"role": "system", "content": "In {{city}}"}]}),
    );
    let model = Scripted::model("sun");
    lab.call(&[
        "batch",
        "--dataset",
        "vars",
        "--prompt",
        "weather",
        "--var",
        "city=Oslo",
        "--out",
        "o.jsonl",
    ])
    .model_at(model.url())
    .run()
    .code(0);
    let mut asked: Vec<String> = model
        .requests()
        .iter()
        .map(|request| request.json()["messages"].to_string())
        .collect();
    asked.sort_unstable();
    let system = |city: &str| json!({"role": "system", "content": format!("In {city}")});
    let expected = [
        json!([system("Oslo"), {"role": "user", "content": "and now?"}]).to_string(),
        json!([system("Rome")]).to_string(),
    ];
    assert_eq!(asked, expected);
}

/// Without an option, the expected output is a reference for people: no answer is measured by it.
#[test]
fn expected_outputs_are_compared_only_when_asked() {
    let lab = Lab::with_items(1);
    lab.item(
        "questions",
        "q1",
        json!("question"),
        json!({"not": "in the answer"}),
    );
    let plain = lab.batch(&[
        "--dataset",
        "questions",
        "--experiment",
        "a",
        "--out",
        "a.jsonl",
    ]);
    plain.code(0).stderr_lacks("expectations:");
    let items = lab.items(&lab.experiment("a"));
    assert!(items[0]["expectedOutput"].to_string().contains("not"));
    let compared = lab.batch(&[
        "--dataset",
        "questions",
        "--experiment",
        "b",
        "--out",
        "b.jsonl",
        "--match-expected",
        "json",
    ]);
    compared
        .code(9)
        .stderr_has("1 of 1 line missed an expectation");
}

#[test]
fn all_pages_are_read_and_a_limit_ends_the_reading() {
    let lab = Lab::with_items(101);
    let model = Scripted::model("yes");
    let run = |name: &str, arguments: &[&str]| {
        let fixed = [
            "batch",
            "--dataset",
            "questions",
            "--experiment",
            name,
            "--out",
            name,
        ];
        let call = lab.call(&[&fixed[..], arguments].concat());
        call.model_at(model.url()).run()
    };
    run("all", &["--verify"])
        .code(0)
        .stderr_has("101 items readable");
    assert_eq!(lab.experiment("all")["itemCount"], 101);
    run("some", &["--limit", "2"]).code(0);
    // The newest come first.
    assert_eq!(lab.item_ids(&lab.experiment("some")), ["q100", "q101"]);
}

#[test]
fn without_a_name_the_experiment_is_named_like_the_run() {
    let lab = Lab::with_items(1);
    lab.batch(&[
        "--dataset",
        "questions",
        "--run",
        "night-1",
        "--out",
        "a.jsonl",
    ])
    .code(0);
    assert_eq!(lab.experiment("night-1")["itemCount"], 1);
    lab.batch(&[
        "--dataset",
        "questions",
        "--out",
        "b.jsonl",
        "--summary",
        "b.json",
    ])
    .code(0);
    let summary = lab.summary("b.json");
    assert!(
        summary["run"].as_str().unwrap().starts_with("questions-20"),
        "{summary}"
    );
    assert_eq!(summary["run"], summary["experiment"]["name"]);
    lab.batch(&[
        "--dataset",
        "questions",
        "--run",
        "r",
        "--experiment",
        "e",
        "--out",
        "c.jsonl",
        "--summary",
        "c.json",
    ])
    .code(0);
    assert_eq!(lab.summary("c.json")["run"], "r");
    assert_eq!(lab.experiment("e")["itemCount"], 1);
}

#[test]
fn a_version_and_names_with_commas_are_read_as_they_are() {
    let lab = Lab::new();
    lab.dataset("a, b@c/d");
    lab.item("a, b@c/d", "first", json!("1"), Value::Null);
    let path = "/api/public/dataset-items?datasetName=a%2C%20b%40c%2Fd";
    let first = lab.sandbox.get(path).json()["data"][0]["updatedAt"].clone();
    lab.item("a, b@c/d", "second", json!("2"), Value::Null);
    let version = format!("a, b@c/d@{}", first.as_str().unwrap());
    lab.batch(&[
        "--dataset",
        &version,
        "--experiment",
        "x, y",
        "--out",
        "a.jsonl",
        "--verify",
    ])
    .code(0);
    let experiment = lab.experiment("x, y");
    assert_eq!(lab.item_ids(&experiment), ["first"]);
    assert_eq!(lab.items(&experiment)[0]["experimentItemVersion"], first);
    // Refused by its name, comma included.
    lab.batch(&[
        "--dataset",
        &version,
        "--experiment",
        "x, y",
        "--out",
        "b.jsonl",
    ])
    .code(2)
    .stderr_has("the experiment `x, y` has 1 item already");
}

#[test]
fn an_environment_that_is_given_stays() {
    let lab = Lab::with_items(1);
    for (name, value) in [
        ("LANGFUSE_TRACING_ENVIRONMENT", "ci"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=ci"),
    ] {
        lab.call(&[
            "batch",
            "--dataset",
            "questions",
            "--experiment",
            name,
            "--out",
            name,
        ])
        .env(name, value)
        .run()
        .code(0);
        assert_eq!(lab.items(&lab.experiment(name))[0]["environment"], "ci");
    }
    lab.batch(&[
        "--dataset",
        "questions",
        "--experiment",
        "e",
        "--environment",
        "mine",
        "--out",
        "e",
    ])
    .code(0);
    assert_eq!(lab.items(&lab.experiment("e"))[0]["environment"], "mine");
}

#[test]
fn what_may_not_be_kept_is_not_sent_as_an_expected_output() {
    let lab = Lab::with_items(1);
    lab.item(
        "questions",
        "q1",
        json!("hello"),
        json!("a long secret-word answer"),
    );
    let run = |name: &str, option: &[&str]| {
        lab.batch(
            &[
                &[
                    "--dataset",
                    "questions",
                    "--experiment",
                    name,
                    "--out",
                    name,
                ],
                option,
            ]
            .concat(),
        )
        .code(0);
        lab.items(&lab.experiment(name))[0]["expectedOutput"].clone()
    };
    let none = run("none", &["--capture", "none"]);
    assert!(none.is_null() || none == "", "{none}");
    assert_eq!(run("cut", &["--capture", "truncate=6"]), "a long…");
    let redacted = run("redacted", &["--redact", "secret-word"]);
    assert!(!redacted.as_str().unwrap().contains("secret"), "{redacted}");
}

/// A run that has failed lines is an experiment with errors.
#[test]
fn a_failed_call_is_an_item_with_an_error() {
    let lab = Lab::with_items(2);
    let model = Scripted::start(|request, _| {
        if request.json().to_string().contains("question 2") {
            return Reply::json(400, &json!({"error": {"message": "no"}}));
        }
        Reply::json(200, &completion("yes"))
    });
    let call: Langspan = lab.call(&[
        "batch",
        "--dataset",
        "questions",
        "--experiment",
        "e",
        "--out",
        "o",
        "--verify",
    ]);
    call.model_at(model.url())
        .run()
        .code(8)
        .stderr_has("2 items readable");
    let items = lab.items(&lab.experiment("e"));
    let levels: Vec<&Value> = items.iter().map(|item| &item["level"]).collect();
    assert_eq!(levels, ["DEFAULT", "ERROR"]);
}
