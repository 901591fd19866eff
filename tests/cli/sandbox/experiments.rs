//! The experiments API, with the answers of a Langfuse 4.16 to the same spans.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{JSON, send, span, text};
use crate::support::stand_in::{Answer, Sandbox};

const SCORES: &str = "/api/public/scores";
/// Before all spans.
const FROM: &str = "fromStartTime=2026-01-01T00:00:00Z";

fn experiments(sandbox: &Sandbox, query: &str) -> Answer {
    sandbox.get(&format!("/api/public/experiments?{query}"))
}

fn items(sandbox: &Sandbox, query: &str) -> Answer {
    sandbox.get(&format!("/api/public/experiment-items?{query}"))
}

/// A span with these attributes below `langfuse.experiment.`, and its own content.
pub fn part(trace: &str, id: &str, second: u64, experiment: &[(&str, &str)]) -> Value {
    let mut attributes: Vec<Value> = experiment
        .iter()
        .map(|(key, value)| text(&format!("langfuse.experiment.{key}"), value))
        .collect();
    attributes.push(text("langfuse.observation.input", &format!("in {id}")));
    attributes.push(text("langfuse.observation.output", &format!("out {id}")));
    span(trace, id, second, &attributes)
}

/// The root of an item of experiment `e1`.
pub fn item(trace: &str, id: &str, second: u64, item: &str) -> Value {
    let attributes = [
        ("id", "e1"),
        ("name", "run A"),
        ("description", "my run"),
        ("dataset.id", "d1"),
        ("metadata", r#"{"model":"gpt-4o-mini"}"#),
        ("metadata.commit", "abc"),
        ("item.id", item),
        ("item.root_observation_id", id),
        ("item.version", "2026-09-01T00:00:00+02:00"),
        ("item.expected_output", "four"),
        ("item.metadata.level", "basic"),
    ];
    part(trace, id, second, &attributes)
}

pub fn score(sandbox: &Sandbox, body: &Value) {
    let answer = sandbox.post(SCORES, &[JSON], body.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn names(scores: &Value) -> Vec<&str> {
    let scores = scores.as_array().unwrap().iter();
    scores
        .map(|score| score["name"].as_str().unwrap())
        .collect()
}

fn column(answer: &Answer, name: &str) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = answer.json();
    let rows = answer["data"].as_array().unwrap().iter();
    rows.map(|row| row[name].clone()).collect()
}

#[test]
fn an_experiment_is_what_its_spans_say() {
    let sandbox = Sandbox::start();
    let child = [
        ("id", "e1"),
        ("item.id", "i0"),
        ("item.root_observation_id", "r0"),
    ];
    send(
        &sandbox,
        &[
            part("t0", "c0", 1, &child),
            item("t0", "r0", 0, "i0"),
            item("t1", "r1", 5, "i1"),
            span("t9", "other", 0, &[]),
        ],
    );
    let listed = experiments(&sandbox, &format!("{FROM}&fields=core,metadata,scores")).json();
    let expected = json!({"data": [{
        "id": "e1", "name": "run A", "description": "my run", "startTime": "2026-09-21T14:13:20.000Z",
        "endTime": "2026-09-21T14:13:26.000Z", "itemCount": 2, "datasetId": "d1",
        "metadata": {"model": "gpt-4o-mini", "commit": "abc"}, "scores": [],
    }], "meta": {}});
    assert_eq!(listed, expected);
    let plain = experiments(&sandbox, FROM).json();
    let fields: Vec<&String> = plain["data"][0].as_object().unwrap().keys().collect();
    assert_eq!(
        fields,
        [
            "id",
            "name",
            "description",
            "startTime",
            "endTime",
            "itemCount",
            "datasetId"
        ]
    );
}

#[test]
fn an_item_is_the_root_span_with_the_groups_that_are_asked_for() {
    let sandbox = Sandbox::start();
    let spans = [item("t0", "r0", 0, "i0"), item("t1", "r1", 5, "i1")];
    send(&sandbox, &spans);
    let fields = "core,dataset,io,metadata,itemMetadata,experimentMetadata,scores";
    let mut listed = items(&sandbox, &format!("{FROM}&fields={fields}")).json();
    let metadata = listed["data"][0]["metadata"].take();
    assert_eq!(metadata["attributes.langfuse.experiment.item.id"], "i1");
    let expected = json!({
        "id": "r1", "traceId": "t1", "startTime": "2026-09-21T14:13:25.000Z", "endTime": "2026-09-21T14:13:26.000Z",
        "level": "DEFAULT", "environment": "default", "experimentId": "e1", "experimentName": "run A",
        "experimentItemId": "i1", "experimentDatasetId": "d1", "experimentItemVersion": "2026-08-31T22:00:00.000Z",
        "input": "in r1", "output": "out r1", "expectedOutput": "four", "metadata": null,
        "experimentItemMetadata": {"level": "basic"},
        "experimentMetadata": {"model": "gpt-4o-mini", "commit": "abc"}, "experimentDescription": "my run",
        "scores": [],
    });
    assert_eq!(listed["data"][0], expected);
    let plain = items(&sandbox, FROM);
    assert_eq!(column(&plain, "experimentItemId"), ["i1", "i0"]);
    let fields: Vec<String> = plain.json()["data"][0]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(fields.last().unwrap(), "experimentItemVersion");
    assert_eq!(fields.len(), 11);
    // The rows themselves show nothing of it but the attributes.
    let row = &sandbox.observations("t0")[0];
    assert!(row.get("experimentId").is_none(), "{row}");
    assert_eq!(row["metadata"]["attributes.langfuse.experiment.id"], "e1");
}

/// Attributes, then the name, the number of items and the dataset of each experiment, then the number of items listed.
type Case<'a> = (&'a [(&'a str, &'a str)], Value, usize);

#[test]
fn what_a_span_lacks_decides_what_it_counts_as() {
    let root = ("item.root_observation_id", "s");
    let cases: [Case; 7] = [
        (&[("id", "x"), root], json!([["", 1, null]]), 0),
        (
            &[("id", "x"), ("item.id", "i"), root],
            json!([["", 1, null]]),
            1,
        ),
        (
            &[("id", "x"), ("name", "n"), ("item.id", "i")],
            json!([["n", 0, null]]),
            0,
        ),
        (
            &[("id", "x"), ("name", "n"), root],
            json!([["n", 1, null]]),
            0,
        ),
        (&[("name", "n"), ("item.id", "i"), root], json!([]), 0),
        (
            &[("id", "x"), ("dataset.id", "ghost"), ("item.id", "i"), root],
            json!([["", 1, "ghost"]]),
            1,
        ),
        (
            &[
                ("id", "x"),
                ("item.id", "i"),
                ("item.version", "first"),
                root,
            ],
            json!([["", 1, null]]),
            1,
        ),
    ];
    for (attributes, summaries, count) in cases {
        let sandbox = Sandbox::start();
        send(&sandbox, &[part("t", "s", 0, attributes)]);
        let listed = experiments(&sandbox, FROM).json();
        let found: Value = listed["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| json!([row["name"], row["itemCount"], row["datasetId"]]))
            .collect();
        assert_eq!(found, summaries, "{attributes:?}");
        let items = items(&sandbox, FROM);
        let versions = column(&items, "experimentItemVersion");
        assert_eq!(versions, vec![Value::Null; count], "{attributes:?}");
    }
}

#[test]
fn an_item_that_ran_twice_counts_twice() {
    let sandbox = Sandbox::start();
    send(
        &sandbox,
        &[item("t0", "r0", 0, "i0"), item("t1", "r1", 1, "i0")],
    );
    assert_eq!(column(&experiments(&sandbox, FROM), "itemCount"), [2]);
    assert_eq!(column(&items(&sandbox, FROM), "id"), ["r1", "r0"]);
}

#[test]
fn scores_stand_with_the_experiment_and_with_its_items() {
    let sandbox = Sandbox::start();
    send(
        &sandbox,
        &[item("t0", "r0", 0, "i0"), item("t1", "r1", 1, "i1")],
    );
    for body in [
        json!({"datasetRunId": "e1", "name": "mean", "value": 0.75}),
        json!({"traceId": "t0", "name": "of the trace", "value": 1}),
        json!({"traceId": "t0", "observationId": "r0", "name": "of the root", "value": 0.5}),
        json!({"traceId": "t0", "observationId": "c0", "name": "of a child", "value": 0.5}),
    ] {
        score(&sandbox, &body);
    }
    let listed = experiments(&sandbox, &format!("{FROM}&fields=scores")).json();
    let of_run = &listed["data"][0]["scores"];
    assert_eq!(names(of_run), ["mean"]);
    assert_eq!(
        of_run[0]["subject"],
        json!({"kind": "experiment", "id": "e1"})
    );
    let listed = items(&sandbox, &format!("{FROM}&fields=scores")).json();
    assert_eq!(names(&listed["data"][0]["scores"]), [] as [&str; 0]);
    let of_item = &listed["data"][1]["scores"];
    assert_eq!(names(of_item), ["of the root", "of the trace"]);
    let one = items(&sandbox, &format!("{FROM}&fields=scores&scoreLimit=1")).json();
    assert_eq!(names(&one["data"][1]["scores"]), ["of the root"]);
    let read = sandbox.get("/api/public/v3/scores?experimentId=e1&fields=subject");
    assert_eq!(names(&read.json()["data"]), ["mean"]);
}

#[test]
fn queries_select_by_lists_filters_and_time_page_by_page() {
    let sandbox = Sandbox::start();
    let named = |id: &str, name: &str, second| {
        let root = ("item.root_observation_id", id);
        part(
            &format!("t-{id}"),
            id,
            second,
            &[("id", id), ("name", name), ("item.id", "i"), root],
        )
    };
    let spans = [
        named("e1", "one", 0),
        named("e2", "two, or more", 10),
        named("e3", "three", 20),
    ];
    send(&sandbox, &spans);
    let selected = |query: &str| {
        let found = experiments(&sandbox, &format!("{FROM}&{query}"));
        column(&found, "id")
    };
    assert_eq!(selected(""), ["e3", "e2", "e1"]);
    assert_eq!(selected("id=e1,e3"), ["e3", "e1"]);
    assert_eq!(selected("id=none"), [] as [&str; 0]);
    assert_eq!(selected("name=one,%20three"), ["e3", "e1"]);
    // The comma of a name divides a list.
    assert_eq!(selected("name=two,%20or%20more"), [] as [&str; 0]);
    let filter = |column: &str, value: &str| {
        let filter = json!([{"type": "string", "column": column, "operator": "=", "value": value}]);
        let filter = filter.to_string();
        format!("filter={}", utf8_percent_encode(&filter, NON_ALPHANUMERIC))
    };
    assert_eq!(selected(&filter("name", "two, or more")), ["e2"]);
    let both = format!("name=one&{}", filter("name", "three"));
    assert_eq!(selected(&both), ["e3"]);
    let of_item = items(
        &sandbox,
        &format!("{FROM}&{}", filter("experimentName", "two, or more")),
    );
    assert_eq!(column(&of_item, "experimentId"), ["e2"]);
    let of_item = items(&sandbox, &format!("{FROM}&experimentId=e1,e2"));
    assert_eq!(column(&of_item, "experimentId"), ["e2", "e1"]);
    let late = experiments(
        &sandbox,
        "fromStartTime=2026-09-21T14:13:30Z&toStartTime=2026-09-21T14:13:40Z",
    );
    assert_eq!(column(&late, "id"), ["e2"]);
}

#[test]
fn the_cursor_leads_through_all_pages() {
    let sandbox = Sandbox::start();
    for (second, id) in ["e1", "e2", "e3"].iter().enumerate() {
        let root = ("item.root_observation_id", *id);
        let attributes = [("id", *id), ("item.id", "i"), root];
        send(&sandbox, &[part(id, id, second as u64, &attributes)]);
    }
    for list in [experiments, items] {
        let (mut pages, mut query) = (Vec::new(), format!("{FROM}&limit=2"));
        loop {
            let page = list(&sandbox, &query);
            pages.push(column(&page, "id").len());
            let meta = page.json()["meta"].clone();
            match meta["cursor"].as_str() {
                Some(cursor) => query = format!("{FROM}&limit=2&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(pages, [2, 1]);
    }
}

#[test]
fn queries_that_cannot_be_answered_are_refused() {
    let sandbox = Sandbox::start();
    for list in [experiments, items] {
        for query in ["", "id=e1", "experimentId=e1"] {
            let refused = list(&sandbox, query);
            let expected = json!({"message": "Invalid request data", "error": [{
                "expected": "string", "code": "invalid_type", "path": ["fromStartTime"],
                "message": "Invalid input: expected string, received undefined",
            }]});
            assert_eq!((refused.status, refused.json()), (400, expected));
        }
        let refused = list(&sandbox, &format!("{FROM}&limit=101"));
        let expected = json!({"message": "Invalid request data", "error": [{
            "origin": "number", "code": "too_big", "maximum": 100, "inclusive": true, "path": ["limit"],
            "message": "Too big: expected number to be <=100",
        }]});
        assert_eq!((refused.status, refused.json()), (400, expected));
        let refused = list(&sandbox, &format!("{FROM}&cursor=x"));
        let expected = json!({"message": "Invalid cursor format", "error": "InvalidRequestError"});
        assert_eq!((refused.status, refused.json()), (400, expected));
    }
    let fields = experiments(&sandbox, &format!("{FROM}&fields=io"));
    let message = "Invalid option: expected one of \"core\"|\"metadata\"|\"scores\"";
    assert_eq!(fields.json()["error"][0]["message"], message);
    let denied = sandbox.send(
        "GET",
        &format!("/api/public/experiments?{FROM}"),
        &[],
        Vec::new(),
    );
    assert_eq!(denied.status, 401);
}

#[test]
fn an_experiment_appears_later_than_its_spans_are_accepted_and_only_on_v4() {
    let sandbox = Sandbox::start_with(&["--visible-after", "3600000"]);
    send(&sandbox, &[item("t0", "r0", 0, "i0")]);
    assert_eq!(column(&experiments(&sandbox, FROM), "id"), [] as [&str; 0]);
    assert_eq!(column(&items(&sandbox, FROM), "id"), [] as [&str; 0]);
    let old = Sandbox::start_with(&["--langfuse", "v3"]);
    send(&old, &[item("t0", "r0", 0, "i0")]);
    for answer in [experiments(&old, FROM), items(&old, FROM)] {
        assert_eq!(answer.status, 404);
        assert!(answer.content_type.starts_with("text/html"), "{answer:?}");
    }
    assert_eq!(old.get("/api/public/v2/datasets/faq").status, 200);
}
