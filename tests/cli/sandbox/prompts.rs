//! The prompts API, with the answers of a Langfuse 4.16.

use serde_json::{Value, json};

use super::JSON;
use crate::support::stand_in::{Answer, Sandbox};

const PROMPTS: &str = "/api/public/v2/prompts";

fn post(sandbox: &Sandbox, body: &Value) -> Answer {
    sandbox.post(PROMPTS, &[JSON], body.to_string())
}

fn get(sandbox: &Sandbox, path: &str) -> Answer {
    sandbox.get(&format!("{PROMPTS}/{path}"))
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, body: &Value) {
    assert_eq!((answer.status, &answer.json()), (status, body));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn versions_and_labels_move_as_in_langfuse() {
    let sandbox = Sandbox::start();
    let first = post(
        &sandbox,
        &json!({"name": "greet", "type": "text", "prompt": "Hello {{name}}"}),
    );
    assert_eq!(first.status, 201);
    let first = first.json();
    let keys: Vec<&String> = first.as_object().unwrap().keys().collect();
    let expected = [
        "id",
        "createdAt",
        "updatedAt",
        "projectId",
        "createdBy",
        "prompt",
        "name",
        "version",
        "type",
        "isActive",
        "config",
        "tags",
        "labels",
        "commitMessage",
    ];
    assert_eq!(keys, expected);
    assert_eq!(
        (&first["version"], &first["labels"]),
        (&json!(1), &json!(["latest"]))
    );
    assert_eq!(first["isActive"], Value::Null);
    let message = "Prompt not found: 'greet' with label 'production'";
    let absent = json!({"message": message, "error": "LangfuseNotFoundError"});
    assert_refused(&get(&sandbox, "greet"), 404, &absent);

    let second = json!({
        "name": "greet", "type": "text", "prompt": "Hi {{name}}", "labels": ["production", "staging"],
        "config": {"model": "gpt-4o-mini"}, "tags": ["t1"],
    });
    let second = post(&sandbox, &second).json();
    assert_eq!(second["labels"], json!(["production", "staging", "latest"]));
    let read = get(&sandbox, "greet").json();
    assert_eq!(
        (&read["version"], &read["isActive"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(read["resolutionGraph"], Value::Null);
    // The tags are those of the prompt, and the labels have moved.
    let old = get(&sandbox, "greet?version=1").json();
    assert_eq!((&old["tags"], &old["labels"]), (&json!(["t1"]), &json!([])));

    let body = json!({"newLabels": ["staging", "exp"]}).to_string();
    let authorization = sandbox.authorization();
    let headers = [("authorization", authorization.as_str()), JSON];
    let path = format!("{PROMPTS}/greet/versions/1");
    let patched = sandbox.send("PATCH", &path, &headers, body.into_bytes());
    assert_eq!(
        (patched.status, &patched.json()["labels"]),
        (200, &json!(["staging", "exp"]))
    );
    assert_eq!(get(&sandbox, "greet?label=staging").json()["version"], 1);

    let listed = sandbox.get(&format!("{PROMPTS}?name=greet")).json();
    let row = &listed["data"][0];
    assert_eq!(row["versions"], json!([1, 2]));
    assert_eq!(
        row["labels"],
        json!(["exp", "latest", "production", "staging"])
    );
    assert_eq!(row["lastConfig"], json!({"model": "gpt-4o-mini"}));
    let page = json!({"page": 1, "limit": 10, "totalPages": 1, "totalItems": 1});
    assert_eq!((&listed["meta"], &listed["pagination"]), (&page, &page));

    let path = format!("{PROMPTS}/greet?version=2");
    let deleted = sandbox.send("DELETE", &path, &headers, Vec::new());
    assert_eq!((deleted.status, deleted.body.as_str()), (204, ""));
    assert_eq!(get(&sandbox, "greet").status, 404);
}

#[test]
fn requests_that_langfuse_refuses_get_its_answers() {
    let sandbox = Sandbox::start();
    let invalid = |message: &str| json!({"message": message, "error": "InvalidRequestError"});
    let both = get(&sandbox, "answer?version=1&label=production");
    assert_refused(
        &both,
        400,
        &invalid("Cannot specify both version and label"),
    );
    let number = json!({"message": "Invalid request data", "error": [{
        "expected": "number", "code": "invalid_type", "received": "NaN", "path": ["version"],
        "message": "Invalid input: expected number, received NaN",
    }]});
    assert_refused(&get(&sandbox, "answer?version=abc"), 400, &number);
    let missing = json!({"message": "Prompt not found: 'answer' with version 99", "error": "LangfuseNotFoundError"});
    assert_refused(&get(&sandbox, "answer?version=99"), 404, &missing);
    let bar = json!({"message": "Invalid request data", "error": [{
        "origin": "string", "code": "invalid_format", "format": "regex", "pattern": "/^[^|]*$/", "path": ["name"],
        "message": "Prompt name cannot contain '|' character",
    }]});
    assert_refused(
        &post(&sandbox, &json!({"name": "a|b", "prompt": "x"})),
        400,
        &bar,
    );
    let other_type = post(
        &sandbox,
        &json!({"name": "answer", "type": "chat", "prompt": []}),
    );
    let why =
        "Previous versions have different prompt type. Create a new prompt with a different name.";
    assert_refused(&other_type, 400, &invalid(why));
    let large = post(
        &sandbox,
        &json!({"name": "large", "prompt": "x".repeat(1_200_000)}),
    );
    assert_eq!(
        (large.status, large.body.as_str()),
        (413, "Body exceeded 1mb limit")
    );
}

#[test]
fn only_a_secret_key_reads_prompts() {
    let sandbox = Sandbox::start();
    let path = format!("{PROMPTS}/answer");
    let named = |message: &str, error: &str| json!({"message": message, "error": error});
    let denied = "Access denied - need to use basic auth with secret key to GET prompts";
    let bearer = sandbox.send(
        "GET",
        &path,
        &[("authorization", "Bearer pk-lf-sandbox")],
        Vec::new(),
    );
    assert_refused(&bearer, 403, &named(denied, "ForbiddenError"));
    let none = sandbox.send("GET", &path, &[], Vec::new());
    assert_refused(
        &none,
        401,
        &named("No authorization header", "UnauthorizedError"),
    );
    let wrong = sandbox.send(
        "GET",
        &path,
        &[("authorization", "Basic cGs6c2s=")],
        Vec::new(),
    );
    let hint = "Invalid credentials. Confirm that you've configured the correct host.";
    assert_refused(&wrong, 401, &named(hint, "UnauthorizedError"));
}

#[test]
fn a_name_with_a_folder_is_encoded_and_references_are_resolved() {
    let sandbox = Sandbox::start();
    let name = "folder/sub greet";
    post(
        &sandbox,
        &json!({"name": name, "prompt": "x", "labels": ["production"]}),
    );
    assert_eq!(get(&sandbox, "folder%2Fsub%20greet").json()["name"], name);
    let page = get(&sandbox, "folder/sub%20greet");
    assert_eq!(
        (page.status, page.content_type.starts_with("text/html")),
        (404, true)
    );
    let text = "A @@@langfusePrompt:name=folder/sub greet|label=production@@@ B";
    post(
        &sandbox,
        &json!({"name": "dep", "prompt": text, "labels": ["production"]}),
    );
    assert_eq!(get(&sandbox, "dep").json()["prompt"], "A x B");
    assert_eq!(get(&sandbox, "dep?resolve=false").json()["prompt"], text);
}

#[test]
fn a_new_sandbox_has_two_prompts_to_try() {
    let sandbox = Sandbox::start();
    let listed = sandbox.get(PROMPTS).json();
    let rows = listed["data"].as_array().unwrap().iter();
    let names: Vec<(&str, &str)> = rows
        .map(|row| (row["name"].as_str().unwrap(), row["type"].as_str().unwrap()))
        .collect();
    assert_eq!(names, [("answer", "text"), ("support", "chat")]);
}
