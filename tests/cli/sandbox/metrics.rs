//! Counting and listing the traces of a session: v2 metrics, the filter of v2 observations, and what a v3 has instead.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{ids, send, span, text};
use crate::support::stand_in::{Answer, Sandbox};

const FROM: &str = "2026-09-21T00:00:00.000Z";
const TO: &str = "2026-09-23T00:00:00.000Z";

/// Trace `a` with three spans and trace `b` with one are of session `s`, trace `c` is of another.
fn two_sessions(version: &str) -> Sandbox {
    let sandbox = Sandbox::start_with(&["--langfuse", version]);
    let of = |trace: &str, id: &str, second, session, more: &[Value]| {
        let shared = [
            text("langfuse.session.id", session),
            text("langfuse.environment", "ci"),
        ];
        let mut span = span(trace, id, second, &[&shared, more].concat());
        span["name"] = "call".into();
        span
    };
    let usage = text(
        "langfuse.observation.usage_details",
        r#"{"input":3,"output":4}"#,
    );
    let tool = text("langfuse.observation.type", "tool");
    let mut children = [
        of("a", "2", 1, "s", &[usage]),
        of("a", "3", 2, "s", &[tool]),
    ];
    for child in &mut children {
        child["parentSpanId"] = "1".into();
    }
    let tags = json!({"key": "langfuse.trace.tags", "value": {"arrayValue": {"values": [{"stringValue": "red"}]}}});
    send(&sandbox, &[of("a", "1", 0, "s", &[])]);
    send(&sandbox, &children);
    send(
        &sandbox,
        &[
            of("b", "4", 10, "s", &[tags]),
            of("c", "5", 20, "other", &[]),
        ],
    );
    sandbox
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn ask(sandbox: &Sandbox, path: &str, query: &Value) -> Answer {
    sandbox.get(&format!("{path}?query={}", encoded(&query.to_string())))
}

/// A query of `view` with these parts beside those that every one needs.
fn asked(view: &str, parts: &Value) -> Value {
    let mut query = json!({
        "view": view, "metrics": [{"measure": "count", "aggregation": "count"}], "fromTimestamp": FROM, "toTimestamp": TO,
    });
    for (name, part) in parts.as_object().unwrap() {
        query[name] = part.clone();
    }
    query
}

fn metrics(sandbox: &Sandbox, parts: &Value) -> Value {
    let answer = ask(
        sandbox,
        "/api/public/v2/metrics",
        &asked("observations", parts),
    );
    assert_eq!(answer.status, 200, "{parts}: {answer:?}");
    answer.json()["data"].take()
}

fn of_session(session: &str) -> Value {
    json!({"column": "sessionId", "operator": "=", "value": session, "type": "string"})
}

fn distinct_traces() -> Value {
    json!([{"measure": "traceId", "aggregation": "uniq"}])
}

#[test]
fn the_distinct_traces_of_a_session_are_counted() {
    let sandbox = two_sessions("v4");
    for (filters, expected) in [
        (json!([]), 3),
        (json!([of_session("s")]), 2),
        (json!([of_session("other")]), 1),
        (json!([of_session("none")]), 0),
        (
            json!([of_session("s"), {"column": "traceId", "operator": "starts with", "value": "b", "type": "string"}]),
            1,
        ),
        (
            json!([{"column": "environment", "operator": "any of", "value": ["ci"], "type": "stringOptions"}]),
            3,
        ),
        (
            json!([{"column": "environment", "operator": "none of", "value": ["ci"], "type": "stringOptions"}]),
            0,
        ),
        (
            json!([{"column": "tags", "operator": "any of", "value": ["red", "blue"], "type": "arrayOptions"}]),
            1,
        ),
        (
            json!([{"column": "isRootObservation", "operator": "=", "value": false, "type": "boolean"}]),
            1,
        ),
        (
            json!([{"column": "promptName", "operator": "is not null", "value": "", "type": "null"}]),
            0,
        ),
        (
            json!([{"column": "start_time", "operator": "<", "value": "2026-09-21T14:13:25Z", "type": "datetime"}]),
            1,
        ),
    ] {
        let data = metrics(
            &sandbox,
            &json!({"metrics": distinct_traces(), "filters": filters}),
        );
        assert_eq!(data, json!([{"uniq_traceId": expected}]), "{filters}");
    }
}

#[test]
fn both_ends_of_the_window_belong_to_it() {
    let sandbox = two_sessions("v4");
    let window = |from: &str, to: &str| {
        metrics(&sandbox, &json!({"fromTimestamp": from, "toTimestamp": to}))
    };
    let (start, later) = ("2026-09-21T14:13:20Z", "2026-09-21T16:13:30+02:00");
    assert_eq!(window(start, later), json!([{"count_count": 4}]));
    assert_eq!(
        window("2026-09-21T14:13:20.001Z", later),
        json!([{"count_count": 3}])
    );
}

#[test]
fn metrics_are_grouped_ordered_and_cut() {
    let sandbox = two_sessions("v4");
    let of = |parts: &Value| metrics(&sandbox, parts);
    let by_type = json!({"dimensions": [{"field": "type"}]});
    assert_eq!(
        of(&by_type),
        json!([{"type": "SPAN", "count_count": 4}, {"type": "TOOL", "count_count": 1}])
    );
    let ascending = json!({"dimensions": [{"field": "type"}], "orderBy": [{"field": "count_count", "direction": "asc"}],
        "config": {"row_limit": 1}});
    assert_eq!(of(&ascending), json!([{"type": "TOOL", "count_count": 1}]));
    let top = json!({"dimensions": [{"field": "traceId"}], "orderBy": [{"field": "count_count", "direction": "desc"}],
        "config": {"row_limit": 1}});
    assert_eq!(of(&top), json!([{"traceId": "a", "count_count": 3}]));
    let sums = json!({"metrics": [{"measure": "totalTokens", "aggregation": "sum"}, {"measure": "latency", "aggregation": "p95"},
        {"measure": "uniqueSessionIds", "aggregation": "uniq"}]});
    assert_eq!(
        of(&sums),
        json!([{"sum_totalTokens": 7, "p95_latency": 1000, "uniq_uniqueSessionIds": 2}])
    );
}

#[test]
fn metrics_give_a_hundred_rows_unless_asked_for_more() {
    let sandbox = Sandbox::start();
    let spans: Vec<Value> = (0..120)
        .map(|n| span("a", &n.to_string(), n, &[]))
        .collect();
    send(&sandbox, &spans);
    let by_name = json!({"dimensions": [{"field": "name"}]});
    assert_eq!(metrics(&sandbox, &by_name).as_array().unwrap().len(), 100);
    let more = json!({"dimensions": [{"field": "name"}], "config": {"row_limit": 1000}});
    assert_eq!(metrics(&sandbox, &more).as_array().unwrap().len(), 120);
}

#[test]
fn a_metrics_query_that_asks_for_what_there_is_not_is_refused() {
    let sandbox = Sandbox::start();
    for (parts, message) in [
        (
            json!({"dimensions": [{"field": "colour"}]}),
            "Invalid dimension colour. Must be one of id,",
        ),
        (
            json!({"metrics": [{"measure": "weight", "aggregation": "sum"}]}),
            "Invalid metric weight. Must be one of count,",
        ),
        (
            json!({"metrics": [{"measure": "traceId", "aggregation": "sum"}]}),
            "Aggregation \"sum\" is not valid for measure \"traceId\"",
        ),
        (
            json!({"filters": [{"column": "colour", "operator": "=", "value": "red", "type": "string"}]}),
            "Invalid filter column colour. Must be one of id,",
        ),
        (
            json!({"filters": [{"column": "tags", "operator": "=", "value": "red", "type": "string"}]}),
            "Invalid filter for field 'tags': Array fields require type 'arrayOptions', not 'string'.",
        ),
        (
            json!({"orderBy": [{"field": "colour", "direction": "asc"}]}),
            "Invalid orderBy field: colour.",
        ),
        (
            json!({"dimensions": [{"field": "traceId"}]}),
            "High cardinality dimension(s) 'traceId' require both 'config.row_limit' and 'orderBy'",
        ),
    ] {
        let answer = ask(
            &sandbox,
            "/api/public/v2/metrics",
            &asked("observations", &parts),
        );
        let body = answer.json();
        assert_eq!(
            (answer.status, &body["error"]),
            (400, &json!("InvalidRequestError")),
            "{parts}"
        );
        let said = body["message"].as_str().unwrap();
        assert!(said.starts_with(message), "{parts}: {said}");
    }
    let answer = sandbox.get("/api/public/v2/metrics?query=%7B");
    assert_eq!(
        (answer.status, answer.json()),
        (
            400,
            json!({"message": "Invalid JSON in query parameter", "error": "InvalidRequestError"})
        )
    );
}

/// A query with these parts is refused, with `words` about what stands at `path` in it.
fn refuses(sandbox: &Sandbox, parts: &Value, path: &Value, words: &str) {
    let answer = ask(
        sandbox,
        "/api/public/v2/metrics",
        &asked("observations", parts),
    );
    let body = answer.json();
    assert_eq!(
        (answer.status, &body["message"]),
        (400, &json!("Invalid request data")),
        "{parts}"
    );
    let mut place = vec![json!("query")];
    place.extend(path.as_array().unwrap().iter().cloned());
    assert_eq!(body["error"][0]["path"], json!(place), "{parts}");
    let said = body["error"][0]["message"].as_str().unwrap();
    assert!(said.starts_with(words), "{parts}: {said}");
}

#[test]
fn a_malformed_metrics_query_is_refused_with_its_place() {
    let sandbox = Sandbox::start();
    let refuses = |parts: Value, path: Value, words| refuses(&sandbox, &parts, &path, words);
    refuses(
        json!({"view": "traces"}),
        json!(["view"]),
        "Invalid option: expected one of \"observations\"|",
    );
    refuses(
        json!({"fromTimestamp": "soon"}),
        json!(["fromTimestamp"]),
        "Invalid ISO datetime",
    );
    refuses(
        json!({"fromTimestamp": null}),
        json!(["fromTimestamp"]),
        "Invalid input: expected string",
    );
    refuses(
        json!({"toTimestamp": FROM}),
        json!([]),
        "fromTimestamp must be before toTimestamp",
    );
    refuses(
        json!({"metrics": {}}),
        json!(["metrics"]),
        "Invalid input: expected array, received object",
    );
    let most = json!({"metrics": [{"measure": "count", "aggregation": "most"}]});
    refuses(
        most,
        json!(["metrics", 0, "aggregation"]),
        "Invalid option: expected one of \"sum\"|",
    );
    let limit = json!(["config", "row_limit"]);
    refuses(
        json!({"config": {"row_limit": 1001}}),
        limit.clone(),
        "Too big: expected number to be <=1000",
    );
    refuses(
        json!({"config": {"row_limit": 0}}),
        limit,
        "Too small: expected number to be >0",
    );
    let without = sandbox.get("/api/public/v2/metrics").json();
    assert_eq!(without["error"][0]["path"], json!(["query"]));
}

#[test]
fn a_malformed_condition_is_refused_with_its_place() {
    let sandbox = Sandbox::start();
    for (name, value, words) in [
        ("type", json!("text"), "Invalid option"),
        (
            "operator",
            json!(">"),
            "Invalid option: expected one of \"=\"|",
        ),
        (
            "value",
            json!(1),
            "Invalid input: expected string, received number",
        ),
    ] {
        let mut condition = of_session("s");
        condition[name] = value;
        refuses(
            &sandbox,
            &json!({"filters": [condition]}),
            &json!(["filters", 0, name]),
            words,
        );
    }
}

#[test]
fn what_only_a_real_server_can_tell_is_refused() {
    let sandbox = Sandbox::start();
    let histogram = json!({"metrics": [{"measure": "latency", "aggregation": "histogram"}]});
    for (parts, path) in [
        (
            json!({"timeDimension": {"granularity": "day"}}),
            json!(["timeDimension"]),
        ),
        (json!({"view": "scores-numeric"}), json!(["view"])),
        (histogram, json!(["metrics", 0, "aggregation"])),
    ] {
        refuses(&sandbox, &parts, &path, "Not supported by the sandbox");
    }
}

#[test]
fn metrics_need_the_key_and_show_only_what_is_visible() {
    let sandbox = Sandbox::start_with(&["--visible-after", "3600000"]);
    send(&sandbox, &[span("a", "1", 0, &[])]);
    assert_eq!(metrics(&sandbox, &json!({})), json!([{"count_count": 0}]));
    let keyless = sandbox.send("GET", "/api/public/v2/metrics", &[], Vec::new());
    assert_eq!(keyless.status, 401);
}

fn observed(sandbox: &Sandbox, parameters: &str) -> Vec<String> {
    let answer = sandbox.get(&format!("/api/public/v2/observations?{parameters}"));
    assert_eq!(answer.status, 200, "{parameters}: {answer:?}");
    ids(&answer.json()["data"])
        .into_iter()
        .map(str::to_owned)
        .collect()
}

#[test]
fn observations_take_a_structured_filter() {
    let sandbox = two_sessions("v4");
    let filter = |conditions: Value| format!("filter={}", encoded(&conditions.to_string()));
    let later = json!({"column": "startTime", "operator": ">=", "value": "2026-09-21T14:13:30Z", "type": "datetime"});
    let tool =
        json!({"column": "type", "operator": "any of", "value": ["TOOL"], "type": "stringOptions"});
    assert_eq!(observed(&sandbox, "filter="), ["5", "4", "3", "2", "1"]);
    assert_eq!(
        observed(&sandbox, &filter(json!([]))),
        ["5", "4", "3", "2", "1"]
    );
    assert_eq!(
        observed(&sandbox, &filter(json!([of_session("s")]))),
        ["4", "3", "2", "1"]
    );
    assert_eq!(
        observed(&sandbox, &filter(json!([of_session("s"), later]))),
        ["4"]
    );
    assert_eq!(observed(&sandbox, &filter(json!([tool]))), ["3"]);
}

#[test]
fn a_filter_stands_for_the_parameter_of_its_column_and_leaves_the_others() {
    let sandbox = two_sessions("v4");
    let filter = format!("filter={}", encoded(&json!([of_session("s")]).to_string()));
    assert_eq!(
        observed(&sandbox, &format!("sessionId=other&{filter}")),
        ["4", "3", "2", "1"]
    );
    assert_eq!(observed(&sandbox, &format!("traceId=b&{filter}")), ["4"]);
}

#[test]
fn a_filter_that_cannot_be_answered_is_refused() {
    let sandbox = Sandbox::start();
    for (filter, message) in [
        ("{", "Invalid JSON in filter parameter"),
        ("{}", "Invalid request data"),
        (
            r#"[{"column":"metadata","type":"stringObject","key":"a","operator":"=","value":"b"}]"#,
            "Invalid request data",
        ),
        (
            r#"[{"column":"colour","type":"string","operator":"=","value":"red"}]"#,
            "Invalid request data",
        ),
    ] {
        let answer = sandbox.get(&format!(
            "/api/public/v2/observations?filter={}",
            encoded(filter)
        ));
        assert_eq!(
            (answer.status, &answer.json()["message"]),
            (400, &json!(message)),
            "{filter}"
        );
    }
}

#[test]
fn v3_counts_the_traces_of_a_session() {
    let sandbox = two_sessions("v3");
    for (session, expected) in [("s", "2"), ("other", "1"), ("none", "0")] {
        let query = asked("traces", &json!({"filters": [of_session(session)]}));
        let answer = ask(&sandbox, "/api/public/metrics", &query);
        // Whole numbers are texts there.
        assert_eq!(
            answer.json()["data"],
            json!([{"count_count": expected}]),
            "{session}"
        );
    }
    let query = asked(
        "traces",
        &json!({"dimensions": [{"field": "sessionId"}],
        "metrics": [{"measure": "observationsCount", "aggregation": "sum"}]}),
    );
    assert_eq!(
        ask(&sandbox, "/api/public/metrics", &query).json()["data"],
        json!([{"sessionId": "s", "sum_observationsCount": "4"}, {"sessionId": "other", "sum_observationsCount": "1"}])
    );
    assert_eq!(ask(&sandbox, "/api/public/v2/metrics", &query).status, 404);
    assert_eq!(
        ask(&two_sessions("v4"), "/api/public/metrics", &query).status,
        404
    );
}

#[test]
fn v3_lists_the_traces_of_a_session_page_by_page() {
    let sandbox = two_sessions("v3");
    let list = |parameters: &str| {
        let answer = sandbox.get(&format!("/api/public/traces?{parameters}"));
        assert_eq!(answer.status, 200, "{parameters}: {answer:?}");
        answer.json()
    };
    let session = list("sessionId=s&fields=core,observations");
    assert_eq!(ids(&session["data"]), ["b", "a"]);
    assert_eq!(
        session["meta"],
        json!({"page": 1, "limit": 50, "totalItems": 2, "totalPages": 1})
    );
    assert_eq!(session["data"][1]["observations"], json!(["1", "2", "3"]));
    assert_eq!(session["data"][1]["totalCost"], -1);
    assert!(session["data"][1].get("input").is_none());

    let second = list("limit=2&page=2&orderBy=timestamp.asc");
    assert_eq!(ids(&second["data"]), ["c"]);
    assert_eq!(
        second["meta"],
        json!({"page": 2, "limit": 2, "totalItems": 3, "totalPages": 2})
    );
    assert!(second["data"][0]["latency"].as_f64() > Some(0.0));
    assert_eq!(ids(&list("page=9")["data"]), [""; 0]);

    for (parameters, expected) in [
        ("tags=red", vec!["b"]),
        ("environment=ci&environment=staging", vec!["c", "b", "a"]),
        ("environment=staging", vec![]),
        (
            "name=call&fromTimestamp=2026-09-21T14:13:30Z",
            vec!["c", "b"],
        ),
        ("toTimestamp=2026-09-21T14:13:30Z", vec!["a"]),
        ("orderBy=id.asc", vec!["a", "b", "c"]),
    ] {
        assert_eq!(ids(&list(parameters)["data"]), expected, "{parameters}");
    }
    for wrong in [
        "limit=101",
        "limit=x",
        "page=0",
        "fromTimestamp=soon",
        "orderBy=colour.asc",
        "orderBy=id",
        "filter=[]",
    ] {
        assert_eq!(
            sandbox.get(&format!("/api/public/traces?{wrong}")).status,
            400,
            "{wrong}"
        );
    }
    assert_eq!(
        sandbox
            .send("GET", "/api/public/traces", &[], Vec::new())
            .status,
        401
    );
}
