//! The datasets API, with the answers of a Langfuse 4.16.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::JSON;
use crate::support::stand_in::{Answer, Sandbox};

const DATASETS: &str = "/api/public/v2/datasets";
const ITEMS: &str = "/api/public/dataset-items";

fn create(sandbox: &Sandbox, body: &Value) -> Answer {
    sandbox.post(DATASETS, &[JSON], body.to_string())
}

fn put(sandbox: &Sandbox, body: &Value) -> Answer {
    sandbox.post(ITEMS, &[JSON], body.to_string())
}

fn delete(sandbox: &Sandbox, path: &str) -> Answer {
    let authorization = sandbox.authorization();
    let headers = [("authorization", authorization.as_str())];
    sandbox.send("DELETE", path, &headers, Vec::new())
}

/// Two items in a dataset `ds`; returns the dataset's id.
fn filled(sandbox: &Sandbox) -> String {
    let dataset = create(sandbox, &json!({"name": "ds"})).json();
    for n in 0..2 {
        let item = json!({
            "datasetName": "ds", "id": format!("i{n}"), "input": {"q": n}, "expectedOutput": format!("a{n}"),
            "metadata": {"n": n},
        });
        assert_eq!(put(sandbox, &item).status, 200);
    }
    dataset["id"].as_str().unwrap().to_owned()
}

fn listed(answer: &Answer) -> Vec<String> {
    let list = answer.json();
    let items = list["data"].as_array().unwrap().iter();
    items
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

fn keys(document: &Value) -> Vec<&str> {
    let keys = document.as_object().unwrap().keys();
    keys.map(String::as_str).collect()
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, message: &str, error: &str) {
    let body = json!({"message": message, "error": error});
    assert_eq!((answer.status, answer.json()), (status, body));
}

#[test]
fn a_dataset_is_created_once_and_changed_under_its_name() {
    let sandbox = Sandbox::start();
    let body = json!({"name": "a/b c", "description": "d", "metadata": {"k": 1}});
    let first = create(&sandbox, &body);
    assert_eq!(first.status, 200);
    let first = first.json();
    let expected = [
        "id",
        "projectId",
        "name",
        "description",
        "metadata",
        "inputSchema",
        "expectedOutputSchema",
        "createdAt",
        "updatedAt",
    ];
    assert_eq!(keys(&first), expected);
    let second = create(&sandbox, &json!({"name": "a/b c", "description": "d2"})).json();
    for (field, value) in [
        ("id", &first["id"]),
        ("createdAt", &first["createdAt"]),
        ("description", &json!("d2")),
        ("metadata", &json!({"k": 1})),
    ] {
        assert_eq!(&second[field], value, "{field}");
    }
    let read = sandbox.get(&format!("{DATASETS}/a%2Fb%20c"));
    assert_eq!((read.status, read.json()), (200, second.clone()));
    let list = sandbox.get(&format!("{DATASETS}?limit=1")).json();
    assert_eq!(list["data"], json!([second]));
    // The sample is the other one.
    let meta = json!({"page": 1, "limit": 1, "totalItems": 2, "totalPages": 2});
    assert_eq!(list["meta"], meta);
    let whole = sandbox.get("/api/public/datasets/a%2Fb%20c").json();
    assert_eq!((&whole["items"], &whole["runs"]), (&json!([]), &json!([])));

    let not_found = "LangfuseNotFoundError";
    for path in [DATASETS, "/api/public/datasets"] {
        let unknown = sandbox.get(&format!("{path}/nope"));
        assert_refused(&unknown, 404, "Dataset not found", not_found);
    }
    let nameless = create(&sandbox, &json!({}));
    let message = &nameless.json()["error"][0]["message"];
    let expected = "Invalid input: expected string, received undefined";
    assert_eq!((nameless.status, message), (400, &json!(expected)));
    let schema = create(&sandbox, &json!({"name": "x", "inputSchema": {}}));
    let message = "The sandbox does not support \"inputSchema\"";
    assert_refused(&schema, 400, message, "InvalidRequestError");
    let denied = sandbox.send("GET", DATASETS, &[], Vec::new());
    let body = json!({"message": "No authorization header"});
    assert_eq!((denied.status, denied.json()), (401, body));
}

#[test]
fn items_are_listed_newest_first_and_as_they_were() {
    let sandbox = Sandbox::start();
    let dataset = filled(&sandbox);
    let of_ds = format!("{ITEMS}?datasetName=ds");
    let before = sandbox.get(&of_ds);
    assert_eq!(listed(&before), ["i1", "i0"]);
    let first = before.json()["data"][1].clone();
    let expected = [
        "id",
        "datasetId",
        "sourceTraceId",
        "sourceObservationId",
        "status",
        "createdAt",
        "updatedAt",
        "input",
        "expectedOutput",
        "metadata",
        "datasetName",
        "mediaReferences",
    ];
    assert_eq!(keys(&first), expected);
    assert_eq!(
        (&first["datasetId"], &first["status"]),
        (&json!(dataset), &json!("ACTIVE"))
    );
    let last_time = before.json()["data"][0]["createdAt"].clone();
    let last_time = last_time.as_str().unwrap();

    // A changed item is a new row with what the change did not name.
    let changed = json!({"datasetName": "ds", "id": "i0", "input": {"q": "changed"}});
    let changed = put(&sandbox, &changed).json();
    assert_eq!(
        (&changed["expectedOutput"], &changed["metadata"]),
        (&json!("a0"), &json!({"n": 0}))
    );
    assert_ne!(changed["createdAt"], first["createdAt"]);
    let now = sandbox.get(&of_ds);
    assert_eq!(listed(&now), ["i0", "i1"]);
    assert_eq!(now.json()["data"][0]["input"], json!({"q": "changed"}));
    let then = sandbox.get(&format!("{of_ds}&version={last_time}"));
    assert_eq!(then.json()["data"], before.json()["data"]);
    let never = sandbox.get(&format!("{of_ds}&version=2020-01-01T00:00:00Z"));
    assert_eq!(listed(&never), [] as [&str; 0]);

    let page = sandbox.get(&format!("{of_ds}&limit=1&page=2"));
    assert_eq!(listed(&page), ["i1"]);
    let meta = json!({"page": 2, "limit": 1, "totalItems": 2, "totalPages": 2});
    assert_eq!(page.json()["meta"], meta);
    let whole = sandbox.get("/api/public/datasets/ds").json();
    assert_eq!(whole["items"], now.json()["data"]);
}

#[test]
fn an_archived_item_is_never_listed_and_a_deleted_one_is_gone() {
    let sandbox = Sandbox::start();
    filled(&sandbox);
    let of_ds = format!("{ITEMS}?datasetName=ds");
    let before = sandbox.get(&of_ds).json();
    let last_time = before["data"][0]["createdAt"].as_str().unwrap();
    let archived = json!({"datasetName": "ds", "id": "i0", "status": "ARCHIVED"});
    assert_eq!(put(&sandbox, &archived).json()["status"], "ARCHIVED");
    assert_eq!(listed(&sandbox.get(&of_ds)), ["i1"]);
    assert_eq!(sandbox.get(&format!("{ITEMS}/i0")).status, 200);
    let deleted = delete(&sandbox, &format!("{ITEMS}/i1"));
    let body = json!({"message": "Dataset item successfully deleted"});
    assert_eq!((deleted.status, deleted.json()), (200, body));
    assert_eq!(listed(&sandbox.get(&of_ds)), [] as [&str; 0]);
    for gone in [
        sandbox.get(&format!("{ITEMS}/i1")),
        delete(&sandbox, &format!("{ITEMS}/i1")),
    ] {
        let message = "Dataset item not found";
        assert_refused(&gone, 404, message, "LangfuseNotFoundError");
    }
    let then = sandbox.get(&format!("{of_ds}&version={last_time}"));
    assert_eq!(listed(&then), ["i1", "i0"]);
}

#[test]
fn items_that_cannot_be_written_or_listed_are_refused() {
    let sandbox = Sandbox::start();
    filled(&sandbox);
    let not_found = "LangfuseNotFoundError";
    let unknown = put(&sandbox, &json!({"datasetName": "nope", "input": 1}));
    let message = "Dataset nope not found for project sandbox";
    assert_refused(&unknown, 404, message, not_found);
    let unknown = sandbox.get(&format!("{ITEMS}?datasetName=nope"));
    assert_refused(&unknown, 404, "Dataset not found", not_found);
    create(&sandbox, &json!({"name": "other"}));
    let taken = put(
        &sandbox,
        &json!({"datasetName": "other", "id": "i0", "input": 1}),
    );
    assert_eq!(
        (taken.status, &taken.json()["error"]),
        (409, &json!("LangfuseConflictError"))
    );
    let empty = put(&sandbox, &json!({"datasetName": "ds", "input": null}));
    assert_eq!(empty.status, 400);
    let large = json!({"datasetName": "ds", "input": "x".repeat(4_500_000)});
    let large = put(&sandbox, &large);
    assert_eq!(
        (large.status, large.body.as_str()),
        (413, "Body exceeded 4.5mb limit")
    );
    for (query, message) in [
        ("limit=101", "Too big: expected number to be <=100"),
        ("page=0", "Too small: expected number to be >=1"),
        ("version=yesterday", "Invalid ISO datetime"),
    ] {
        let refused = sandbox.get(&format!("{ITEMS}?{query}"));
        let found = &refused.json()["error"][0]["message"];
        assert_eq!((refused.status, found), (400, &json!(message)), "{query}");
    }
    let status = put(
        &sandbox,
        &json!({"datasetName": "ds", "input": 1, "status": "OLD"}),
    );
    let message = "Invalid option: expected one of \"ACTIVE\"|\"ARCHIVED\"";
    assert_eq!(status.json()["error"][0]["message"], message);
}

#[test]
fn a_run_item_names_the_id_of_its_run_and_is_not_stored() {
    let sandbox = Sandbox::start();
    let dataset = filled(&sandbox);
    let run_items = "/api/public/dataset-run-items";
    let post = |body: &Value| sandbox.post(run_items, &[JSON], body.to_string());
    let body = json!({
        "runName": "run A – ü", "datasetItemId": "i0", "traceId": "a".repeat(32), "observationId": "b".repeat(16),
    });
    let answer = post(&body);
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    let rule = format!(r#"["langfuse-experiment-v1","sandbox","{dataset}","run A – ü"]"#);
    let digest = Sha256::digest(rule);
    let run = digest[..8].iter().map(|byte| format!("{byte:02x}"));
    assert_eq!(answer["datasetRunId"], run.collect::<String>());
    assert_eq!(
        (&answer["datasetRunName"], &answer["datasetItemId"]),
        (&json!("run A – ü"), &json!("i0"))
    );
    let unknown = post(&json!({"runName": "r", "datasetItemId": "none", "traceId": "t"}));
    let message = "Dataset item not found";
    assert_refused(&unknown, 404, message, "LangfuseNotFoundError");
    let message = "This endpoint is not available on deployments running in Langfuse v4 events_only mode. Learn more \
                   about Langfuse v4 at: https://langfuse.com/docs/v4";
    let gone = json!({"message": message});
    for answer in [
        sandbox.get(run_items),
        sandbox.get("/api/public/datasets/ds/runs"),
        sandbox.get("/api/public/datasets/ds/runs/r"),
        delete(&sandbox, "/api/public/datasets/ds/runs/r"),
    ] {
        assert_eq!((answer.status, &answer.json()), (404, &gone));
    }
}

#[test]
fn datasets_outlive_the_sandbox_and_the_sample_gives_way() {
    let state = TempDir::new().unwrap();
    let one = Sandbox::start_in(state.path(), &[]);
    let sample = listed(&one.get(&format!("{ITEMS}?datasetName=faq")));
    assert_eq!(sample, ["faq-5", "faq-4", "faq-3", "faq-2", "faq-1"]);
    let dataset = filled(&one);
    // Another process that serves the same folder sees what this one writes.
    let other = Sandbox::start_in(state.path(), &[]);
    assert_eq!(
        other.get(&format!("{ITEMS}/i0")).json()["datasetId"],
        dataset
    );
    create(&other, &json!({"name": "faq"}));
    assert_eq!(
        listed(&one.get(&format!("{ITEMS}?datasetName=faq"))),
        [] as [&str; 0]
    );
    let mine = put(
        &one,
        &json!({"datasetName": "faq", "id": "faq-1", "input": "mine"}),
    );
    assert_eq!(mine.status, 200, "{mine:?}");
    drop((one, other));
    let again = Sandbox::start_in(state.path(), &[]);
    assert_eq!(
        listed(&again.get(&format!("{ITEMS}?datasetName=faq"))),
        ["faq-1"]
    );
    assert_eq!(
        listed(&again.get(&format!("{ITEMS}?datasetName=ds"))),
        ["i1", "i0"]
    );
}
