//! Counts, costs and lists of a session: v2 metrics, the filter of v2 observations, and their counterparts in v3.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{ids, send, span, text};
use crate::support::stand_in::{Answer, Sandbox};

const FROM: &str = "2026-09-21T00:00:00.000Z";
const TO: &str = "2026-09-23T00:00:00.000Z";

/// Session `s` has trace `a` with three spans and trace `b` with one; trace `c` belongs to another session.
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
    let cost = |dollars: &str| {
        let details = format!(r#"{{"total":{dollars}}}"#);
        text("langfuse.observation.cost_details", &details)
    };
    let name = |name: &str| text("langfuse.trace.name", name);
    let tool = text("langfuse.observation.type", "tool");
    let mut children = [
        of("a", "2", 1, "s", &[cost("0.25"), name("answer")]),
        of("a", "3", 2, "s", &[cost("0.5"), name("answer"), tool]),
    ];
    for child in &mut children {
        child["parentSpanId"] = "1".into();
    }
    send(&sandbox, &[of("a", "1", 0, "s", &[name("answer")])]);
    send(&sandbox, &children);
    send(
        &sandbox,
        &[
            of("b", "4", 10, "s", &[cost("1"), name("review")]),
            of("c", "5", 20, "other", &[name("answer")]),
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

/// A query of `view`: `parts` and the parts that every query needs.
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

#[test]
fn the_traces_and_spans_of_a_session_are_counted() {
    let sandbox = two_sessions("v4");
    let starts_with = |prefix: &str| json!({"column": "traceId", "operator": "starts with", "value": prefix, "type": "string"});
    let any_of = |environments: &[&str]| json!({"column": "environment", "operator": "any of", "value": environments, "type": "stringOptions"});
    let counted = json!([
        {"measure": "traceId", "aggregation": "uniq"}, {"measure": "count", "aggregation": "count"}
    ]);
    for (filters, traces, spans) in [
        (json!([]), 3, 5),
        (json!([of_session("s")]), 2, 4),
        (json!([of_session("other")]), 1, 1),
        (json!([of_session("none")]), 0, 0),
        (json!([of_session("s"), starts_with("b")]), 1, 1),
        (json!([any_of(&["staging", "ci"])]), 3, 5),
        (json!([any_of(&["staging"])]), 0, 0),
    ] {
        let data = metrics(&sandbox, &json!({"metrics": counted, "filters": filters}));
        assert_eq!(
            data,
            json!([{"uniq_traceId": traces, "count_count": spans}]),
            "{filters}"
        );
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
fn metrics_are_grouped_by_dimensions_the_largest_first() {
    let sandbox = two_sessions("v4");
    let by = |field: &str, measure: &str, aggregation: &str| {
        let metric = json!({"measure": measure, "aggregation": aggregation});
        let parts = json!({"dimensions": [{"field": field}], "metrics": [metric]});
        metrics(&sandbox, &parts)
    };
    assert_eq!(
        by("type", "count", "count"),
        json!([{"type": "SPAN", "count_count": 4}, {"type": "TOOL", "count_count": 1}])
    );
    assert_eq!(
        by("traceName", "totalCost", "sum"),
        json!([{"traceName": "review", "sum_totalCost": 1}, {"traceName": "answer", "sum_totalCost": 0.75}])
    );
    assert_eq!(
        by("promptName", "traceId", "uniq"),
        json!([{"promptName": null, "uniq_traceId": 3}])
    );
}

#[test]
fn metrics_return_at_most_a_hundred_rows() {
    let sandbox = Sandbox::start();
    let spans: Vec<Value> = (0..120)
        .map(|n| span("a", &n.to_string(), n, &[]))
        .collect();
    send(&sandbox, &spans);
    let by_name = json!({"dimensions": [{"field": "name"}]});
    assert_eq!(metrics(&sandbox, &by_name).as_array().unwrap().len(), 100);
}

#[test]
fn metrics_that_the_sandbox_does_not_support_are_refused_by_name() {
    let sandbox = Sandbox::start();
    let filter = |column: &str, kind: &str, operator: &str| json!({"filters": [{"column": column, "type": kind, "operator": operator, "value": "red"}]});
    let metric = |measure: &str, aggregation: &str| json!({"metrics": [{"measure": measure, "aggregation": aggregation}]});
    for (parts, message) in [
        (
            json!({"view": "traces"}),
            "The sandbox does not support the view \"traces\". Supported: observations",
        ),
        (
            json!({"dimensions": [{"field": "traceId"}]}),
            "The sandbox does not support the dimension \"traceId\". Supported: type, name,",
        ),
        (
            metric("weight", "sum"),
            "The sandbox does not support the metric \"sum_weight\". Supported: count_count, uniq_traceId, sum_totalCost",
        ),
        (
            metric("totalCost", "histogram"),
            "The sandbox does not support the metric \"histogram_totalCost\".",
        ),
        (
            filter("colour", "string", "="),
            "The sandbox does not support the column \"colour\". Supported: id,",
        ),
        (
            filter("name", "string", "contains"),
            "The sandbox does not support the filter \"string contains\". Supported: string =,",
        ),
        (
            filter("name", "stringOptions", "any of"),
            "Invalid value of a stringOptions any of filter:",
        ),
        (
            json!({"timeDimension": {"granularity": "day"}}),
            "The sandbox does not support this query: unknown field `timeDimension`",
        ),
        (
            json!({"metrics": {}}),
            "The sandbox does not support this query: invalid type: map",
        ),
        (
            json!({"toTimestamp": FROM}),
            "fromTimestamp must be before toTimestamp",
        ),
    ] {
        let query = asked("observations", &parts);
        let answer = ask(&sandbox, "/api/public/v2/metrics", &query);
        let body = answer.json();
        assert_eq!(
            (answer.status, &body["error"]),
            (400, &json!("InvalidRequestError")),
            "{parts}"
        );
        let said = body["message"].as_str().unwrap();
        assert!(said.starts_with(message), "{parts}: {said}");
    }
}

#[test]
fn a_metrics_query_that_cannot_be_read_is_refused() {
    let sandbox = Sandbox::start();
    let answer = sandbox.get("/api/public/v2/metrics?query=%7B");
    assert_eq!(
        (answer.status, answer.json()),
        (
            400,
            json!({"message": "Invalid JSON in query parameter", "error": "InvalidRequestError"})
        )
    );
    let soon = asked("observations", &json!({"fromTimestamp": "soon"}));
    for (answer, parameter) in [
        (sandbox.get("/api/public/v2/metrics"), "query"),
        (
            ask(&sandbox, "/api/public/v2/metrics", &soon),
            "fromTimestamp",
        ),
    ] {
        let body = answer.json();
        assert_eq!(
            (answer.status, &body["message"]),
            (400, &json!("Invalid request data"))
        );
        assert_eq!(body["error"][0]["path"], json!([parameter]));
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
        observed(&sandbox, &filter(json!([of_session("s"), tool]))),
        ["3"]
    );
    assert_eq!(observed(&sandbox, &filter(json!([tool]))), ["3"]);
}

#[test]
fn a_filter_replaces_the_parameter_of_its_column_only() {
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
        ("{}", "Invalid filter: invalid type: map"),
        (
            r#"[{"column":"metadata","type":"stringObject","key":"a","operator":"=","value":"b"}]"#,
            "Invalid filter: unknown field `key`",
        ),
        (
            r#"[{"column":"colour","type":"string","operator":"=","value":"red"}]"#,
            "The sandbox does not support the column \"colour\".",
        ),
    ] {
        let answer = sandbox.get(&format!(
            "/api/public/v2/observations?filter={}",
            encoded(filter)
        ));
        assert_eq!(answer.status, 400, "{filter}");
        let said = answer.json()["message"].to_string();
        let said = said.trim_start_matches('"').replace('\\', "");
        assert!(said.starts_with(message), "{filter}: {said}");
    }
}

#[test]
fn v3_counts_the_traces_of_a_session() {
    let sandbox = two_sessions("v3");
    for (session, expected) in [("s", "2"), ("other", "1"), ("none", "0")] {
        let query = asked("traces", &json!({"filters": [of_session(session)]}));
        let answer = ask(&sandbox, "/api/public/metrics", &query);
        // Counts are texts there.
        assert_eq!(
            answer.json()["data"],
            json!([{"count_count": expected}]),
            "{session}"
        );
    }
    let query = asked("observations", &json!({"filters": [of_session("s")]}));
    assert_eq!(
        ask(&sandbox, "/api/public/metrics", &query).json()["data"],
        json!([{"count_count": "4"}])
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
        ("fromTimestamp=2026-09-21T14:13:30Z", vec!["c", "b"]),
        ("toTimestamp=2026-09-21T14:13:30Z", vec!["a"]),
        ("orderBy=timestamp.asc", vec!["a", "b", "c"]),
    ] {
        assert_eq!(ids(&list(parameters)["data"]), expected, "{parameters}");
    }
    for wrong in [
        "limit=101",
        "limit=x",
        "page=0",
        "fromTimestamp=soon",
        "orderBy=name.asc",
        "filter=[]",
        "tags=red",
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
