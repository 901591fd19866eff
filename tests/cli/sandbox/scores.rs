//! The scores API, with the answers of a Langfuse 4.16.

use serde_json::{Value, json};

use super::{JSON, send, span, text};
use crate::support::stand_in::{Answer, Sandbox};

const SCORES: &str = "/api/public/scores";
const V3: &str = "/api/public/v3/scores";

fn post(sandbox: &Sandbox, body: &Value) -> Answer {
    sandbox.post(SCORES, &[JSON], body.to_string())
}

/// The error of a refusal.
#[track_caller]
fn refused(sandbox: &Sandbox, body: &Value) -> Value {
    let answer = post(sandbox, body);
    assert_eq!(answer.status, 400, "{body}");
    assert_eq!(answer.json()["message"], "Invalid request data");
    answer.json()["error"][0].clone()
}

fn read(sandbox: &Sandbox, query: &str) -> Vec<Value> {
    let answer = sandbox.get(&format!("{V3}?{query}"));
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    answer.json()["data"].as_array().unwrap().clone()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn a_score_is_read_back_with_its_subject_and_type() {
    let sandbox = Sandbox::start();
    for (body, value) in [
        (
            json!({"name": "n", "value": 0.9, "comment": "good"}),
            json!(["NUMERIC", 0.9]),
        ),
        (
            json!({"name": "c", "value": "rude"}),
            json!(["CATEGORICAL", "rude"]),
        ),
        (
            json!({"name": "b", "value": 1, "dataType": "BOOLEAN"}),
            json!(["BOOLEAN", true]),
        ),
        (
            json!({"name": "t", "value": "free", "dataType": "TEXT"}),
            json!(["TEXT", "free"]),
        ),
        (
            json!({"name": "o", "value": "better", "dataType": "CORRECTION"}),
            json!(["CORRECTION", "better"]),
        ),
    ] {
        let mut body = body;
        body["traceId"] = "t1".into();
        let answer = post(&sandbox, &body);
        assert_eq!(answer.status, 200, "{body}");
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        let found = &read(
            &sandbox,
            &format!("id={id}&fields=core,details,subject,annotation"),
        )[0];
        assert_eq!(json!([found["dataType"], found["value"]]), value);
        assert_eq!(found["subject"], json!({"kind": "trace", "id": "t1"}));
        assert_eq!(
            (&found["source"], &found["environment"]),
            (&json!("API"), &json!("default"))
        );
    }
    let core = read(&sandbox, "traceId=t1");
    let keys: Vec<&String> = core[0].as_object().unwrap().keys().collect();
    let expected = [
        "id",
        "projectId",
        "name",
        "source",
        "timestamp",
        "environment",
        "createdAt",
        "updatedAt",
        "dataType",
        "value",
    ];
    assert_eq!(
        (core.len(), keys),
        (
            5,
            expected
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .iter()
                .collect()
        )
    );
    let session = json!({"sessionId": "s", "name": "x", "value": 3});
    assert_eq!(post(&sandbox, &session).status, 200);
    assert_eq!(read(&sandbox, "sessionId=s").len(), 1);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
fn wrong_scores_are_refused_in_langfuses_words() {
    let sandbox = Sandbox::start();
    let of = |more: Value| {
        let mut body = json!({"traceId": "t", "name": "x", "value": 1});
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        refused(&sandbox, &body)["message"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    for (more, message) in [
        (
            json!({"dataType": "BOOLEAN", "value": true}),
            "Invalid input: expected number, received boolean",
        ),
        (
            json!({"dataType": "BOOLEAN", "value": 2}),
            "Value must be a number equal to either 0 or 1 for data type BOOLEAN",
        ),
        (
            json!({"dataType": "NUMERIC", "value": "1"}),
            "Invalid input: expected number, received string",
        ),
        (json!({"dataType": "FLOAT"}), "Invalid input"),
        (
            json!({"dataType": "TEXT", "value": "x".repeat(501)}),
            "Too big: expected string to have <=500 characters",
        ),
        (
            json!({"source": "EVAL"}),
            "Invalid option: expected one of \"API\"|\"ANNOTATION\"",
        ),
        (
            json!({"source": "ANNOTATION"}),
            "configId is required when source is ANNOTATION (except for CORRECTION scores).",
        ),
        (json!({"value": null}), "Invalid input"),
    ] {
        assert_eq!(of(more.clone()), message, "{more}");
    }
    let subject = "Provide exactly one of the following: traceId (with optional observationId), sessionId or datasetRunId. ObservationId requires traceId.";
    for body in [
        json!({"name": "x", "value": 1}),
        json!({"name": "x", "value": 1, "observationId": "o"}),
        json!({"name": "x", "value": 1, "traceId": "t", "sessionId": "s"}),
    ] {
        assert_eq!(refused(&sandbox, &body)["message"], subject);
    }
    let unnamed = refused(&sandbox, &json!({"traceId": "t", "value": 1}));
    assert_eq!(
        unnamed["message"],
        "Invalid input: expected string, received undefined"
    );
    // What newer SDKs send.
    let list = refused(
        &sandbox,
        &json!([{"traceId": "t", "name": "x", "value": 1}]),
    );
    assert_eq!(
        list["message"],
        "Invalid input: expected object, received array"
    );
    // Accepted, and dropped in silence.
    let unknown = json!({"id": "i", "traceId": "t", "name": "x", "value": 1, "configId": "nope"});
    assert_eq!(post(&sandbox, &unknown).status, 200);
    assert!(read(&sandbox, "id=i").is_empty());
}

#[test]
fn an_id_of_ones_own_replaces_the_score_but_not_its_trace() {
    let sandbox = Sandbox::start();
    for (trace, value) in [("t1", 1), ("t2", 2)] {
        let body = json!({"id": "mine", "traceId": trace, "name": "n", "value": value});
        assert_eq!(post(&sandbox, &body).json(), json!({"id": "mine"}));
    }
    let found = read(&sandbox, "traceId=t1&fields=core,subject");
    assert_eq!(
        (found.len(), &found[0]["value"], &found[0]["subject"]["id"]),
        (1, &json!(2), &json!("t1"))
    );
    assert!(read(&sandbox, "traceId=t2").is_empty());
    let authorization = sandbox.authorization();
    let headers = [("authorization", authorization.as_str())];
    for id in ["mine", "unknown"] {
        let answer = sandbox.send("DELETE", &format!("{SCORES}/{id}"), &headers, Vec::new());
        assert_eq!(answer.status, 202);
        assert_eq!(
            answer.json(),
            json!({"message": "Score deletion queued successfully"})
        );
    }
    assert!(read(&sandbox, "id=mine").is_empty());
}

#[test]
fn queries_have_bounds_and_old_paths_are_gone() {
    let sandbox = Sandbox::start();
    for number in 0..3 {
        post(
            &sandbox,
            &json!({"traceId": "t", "name": format!("n{number}"), "value": number}),
        );
    }
    let first = sandbox.get(&format!("{V3}?traceId=t&limit=2")).json();
    let cursor = first["meta"]["cursor"].as_str().unwrap();
    assert_eq!(
        (
            first["data"].as_array().unwrap().len(),
            &first["meta"]["limit"]
        ),
        (2, &json!(2))
    );
    assert_eq!(
        read(&sandbox, &format!("traceId=t&limit=2&cursor={cursor}")).len(),
        1
    );
    for (query, message) in [
        ("limit=101", "Too big: expected number to be <=100"),
        ("datasetRunId=x", "Unrecognized key: \"datasetRunId\""),
        (
            "fields=bad",
            "Invalid option: expected one of \"core\"|\"details\"|\"subject\"|\"annotation\"",
        ),
    ] {
        let answer = sandbox.get(&format!("{V3}?{query}"));
        assert_eq!(
            (answer.status, &answer.json()["error"][0]["message"]),
            (400, &json!(message))
        );
    }
    assert_eq!(sandbox.get(&format!("{V3}?observationId=o")).status, 400);
    for path in [
        SCORES,
        "/api/public/v2/scores",
        "/api/public/scores/x",
        "/api/public/v2/scores/x",
    ] {
        let gone = sandbox.get(path);
        assert_eq!(gone.status, 404);
        assert!(
            gone.json()["message"]
                .as_str()
                .unwrap()
                .contains("events_only"),
            "{path}"
        );
    }
}

#[test]
fn events_are_accepted_one_by_one() {
    let sandbox = Sandbox::start();
    let event = |id: &str, kind: &str, body: Value| json!({"id": id, "type": kind, "timestamp": "2026-11-28T22:00:00.000Z", "body": body});
    let batch = json!({"batch": [
        event("e1", "score-create", json!({"id": "s1", "traceId": "t", "name": "a", "value": 1})),
        event("e2", "score-create", json!({"traceId": "t", "name": "b", "value": true})),
        event("e3", "trace-create", json!({"id": "t"})),
        event("e4", "sdk-log", json!({})),
    ]});
    let answer = sandbox.post("/api/public/ingestion", &[JSON], batch.to_string());
    assert_eq!(answer.status, 207);
    let answer = answer.json();
    assert_eq!(
        answer["successes"],
        json!([{"id": "e1", "status": 201}, {"id": "e4", "status": 201}])
    );
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!(
        (&errors[0]["id"], &errors[0]["status"]),
        (&json!("e2"), &json!(400))
    );
    assert_eq!(errors[1]["message"], "Event type not accepted");
    let why = "Event type \"trace-create\" is not accepted by /api/public/ingestion when LANGFUSE_MIGRATION_V4_WRITE_MODE is events_only.";
    assert!(errors[1]["error"].as_str().unwrap().starts_with(why));
    assert_eq!(
        read(&sandbox, "id=s1")[0]["timestamp"],
        "2026-11-28T22:00:00.000Z"
    );
}

#[test]
fn a_public_key_alone_may_write_scores_and_not_read_them() {
    let sandbox = Sandbox::start();
    let body = json!({"traceId": "t", "name": "x", "value": 1}).to_string();
    let bearer = [("authorization", "Bearer pk-lf-sandbox"), JSON];
    let written = sandbox.send("POST", SCORES, &bearer, body.into_bytes());
    assert_eq!(written.status, 200);
    assert_eq!(sandbox.send("GET", V3, &bearer, Vec::new()).status, 403);
    let wrong = sandbox.send(
        "POST",
        SCORES,
        &[("authorization", "Basic cGs6c2s=")],
        Vec::new(),
    );
    assert_eq!(
        wrong.json(),
        json!({"message": "Invalid credentials. Confirm that you've configured the correct host."})
    );
}

#[test]
fn a_score_becomes_visible_with_delay_and_stands_on_the_page_at_once() {
    let sandbox = Sandbox::start_with(&["--visible-after", "3600000"]);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    send(
        &sandbox,
        &[span(
            trace,
            "b7ad6b7169203331",
            0,
            &[text("input.value", "q")],
        )],
    );
    let body = json!({
        "traceId": trace, "observationId": "b7ad6b7169203331", "name": "contains", "value": 0, "dataType": "BOOLEAN",
        "comment": "the answer lacks <b>x</b>",
    });
    assert_eq!(post(&sandbox, &body).status, 200);
    assert!(read(&sandbox, &format!("traceId={trace}")).is_empty());
    let page = sandbox.get(&format!("/project/sandbox/traces/{trace}"));
    for part in [
        "contains",
        "score no",
        "false",
        "the answer lacks &lt;b&gt;x&lt;/b&gt;",
        "span b7ad6b7169203331",
    ] {
        assert!(page.body.contains(part), "{part}");
    }
}

#[test]
fn an_older_server_shows_scores_with_the_trace() {
    let sandbox = Sandbox::start_with(&["--langfuse", "v3"]);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    send(&sandbox, &[span(trace, "b7ad6b7169203331", 0, &[])]);
    post(
        &sandbox,
        &json!({"traceId": trace, "name": "ok", "value": 1, "dataType": "BOOLEAN"}),
    );
    let read = sandbox.get(&format!("/api/public/traces/{trace}")).json();
    let score = &read["scores"][0];
    assert_eq!(
        (&score["value"], &score["stringValue"]),
        (&json!(1.0), &json!("True"))
    );
    assert_eq!(sandbox.get(V3).status, 404);
}
