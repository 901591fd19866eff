//! Reading back: health, projects, v2 observations, the legacy trace, and the store behind them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{JSON, TRACES, assert_accepted, ids, send, span, text};
use crate::support::stand_in::{ALL_FIELDS, Sandbox};

const OBSERVATIONS: &str = "/api/public/v2/observations";

#[test]
fn health_needs_no_key_and_names_the_version() {
    let v4 = Sandbox::start();
    for path in ["/api/public/health", "/api/public/ready"] {
        let answer = v4.send("GET", path, &[], Vec::new());
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"status": "OK", "version": "4.16.0"}))
        );
    }
    let v3 = Sandbox::start_with(&["--langfuse", "v3"]);
    let version = v3.get("/api/public/health").json()["version"].take();
    assert!(version.as_str().unwrap().starts_with("3."), "{version}");
}

#[test]
fn there_is_one_project() {
    let answer = Sandbox::start().get("/api/public/projects");
    let project = &answer.json()["data"][0];
    assert_eq!(
        (&project["id"], &project["name"]),
        (&json!("sandbox"), &json!("Sandbox"))
    );
    assert!(project["organization"]["id"].is_string() && project["metadata"].is_object());
}

fn three_spans() -> Vec<Value> {
    let mut child = span(
        "a",
        "2",
        5,
        &[
            text("langfuse.observation.type", "tool"),
            text("langfuse.user.id", "u"),
            text("langfuse.session.id", "s"),
            text("langfuse.version", "v"),
            text("langfuse.environment", "ci"),
            text("langfuse.observation.level", "WARNING"),
        ],
    );
    child["parentSpanId"] = "1".into();
    vec![span("a", "1", 0, &[]), child, span("b", "3", 10, &[])]
}

fn query(sandbox: &Sandbox, parameters: &str) -> Value {
    let answer = sandbox.get(&format!("{OBSERVATIONS}?{parameters}"));
    assert_eq!(answer.status, 200, "{parameters}: {answer:?}");
    answer.json()
}

#[test]
fn filters_list_matching_traces_newest_first() {
    let sandbox = Sandbox::start();
    send(&sandbox, &three_spans());
    for (parameters, expected) in [
        ("", vec!["3", "2", "1"]),
        ("traceId=a", vec!["2", "1"]),
        ("traceId=nothing", vec![]),
        ("name=span%202", vec!["2"]),
        ("type=TOOL", vec!["2"]),
        ("type=tool", vec![]),
        ("userId=u", vec!["2"]),
        ("sessionId=s", vec!["2"]),
        ("level=WARNING", vec!["2"]),
        ("version=v", vec!["2"]),
        ("parentObservationId=1", vec!["2"]),
        ("isRootObservation=true", vec!["3", "1"]),
        ("isRootObservation=false", vec!["2"]),
        ("environment=ci", vec!["2"]),
        ("environment=ci&environment=default", vec!["3", "2", "1"]),
        ("userId=u&traceId=b", vec![]),
        // Each span starts 1,790,000,000 seconds and 0, 5 or 10 more after 1970.
        ("fromStartTime=2026-09-21T14:13:25Z", vec!["3", "2"]),
        ("toStartTime=2026-09-21T14:13:25Z", vec!["1"]),
        (
            "fromStartTime=2026-09-21T16:13:25%2B02:00&toStartTime=2026-09-21T14:13:26.000Z",
            vec!["2"],
        ),
    ] {
        assert_eq!(
            ids(&query(&sandbox, parameters)["data"]),
            expected,
            "{parameters}"
        );
    }
    assert_eq!(
        query(&sandbox, "traceId=nothing"),
        json!({"data": [], "meta": {}})
    );
}

#[test]
fn a_malformed_query_is_refused() {
    let sandbox = Sandbox::start();
    let nan = json!({
        "expected": "number", "code": "invalid_type", "received": "NaN", "path": ["limit"],
        "message": "Invalid input: expected number, received NaN",
    });
    let answer = sandbox.get(&format!("{OBSERVATIONS}?limit=abc"));
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.json(),
        json!({"message": "Invalid request data", "error": [nan]})
    );
    for wrong in [
        "limit=0",
        "limit=1001",
        "fromStartTime=soon",
        "toStartTime=1",
        "cursor=x",
    ] {
        let answer = sandbox.get(&format!("{OBSERVATIONS}?{wrong}"));
        assert_eq!(
            (answer.status, &answer.json()["message"]),
            (400, &json!("Invalid request data")),
            "{wrong}"
        );
    }
}

#[test]
fn the_cursor_leads_through_all_pages() {
    let sandbox = Sandbox::start();
    // Two at every second, so that pages end between rows of the same time.
    let spans: Vec<Value> = (0..7)
        .map(|n| span("a", &n.to_string(), n / 2, &[]))
        .collect();
    send(&sandbox, &spans);
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = query(&sandbox, &format!("traceId=a&limit=2{cursor}"));
        seen.extend(ids(&page["data"]).into_iter().map(str::to_owned));
        match page["meta"]["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={}", next.replace('+', "%2B")),
            None => break,
        }
        assert!(seen.len() < 20, "the cursor leads nowhere: {seen:?}");
    }
    assert_eq!(seen, ["6", "5", "4", "3", "2", "1", "0"]);
}

const ALWAYS: &str = "id traceId startTime endTime projectId parentObservationId type latency \
                      timeToFirstToken modelId inputPrice outputPrice totalPrice";
const BASIC: &str = "name level statusMessage version environment userId sessionId \
                     isRootObservation bookmarked public";
const USAGE: &str = "usageDetails inputUsage outputUsage totalUsage costDetails inputCost \
                     outputCost totalCost usagePricingTierId usagePricingTierName";

#[test]
fn fields_come_in_groups() {
    let sandbox = Sandbox::start();
    send(&sandbox, &[span("a", "1", 0, &[])]);
    for (fields, expected) in [
        ("", BASIC),
        ("&fields=core", ""),
        ("&fields=unknown", ""),
        ("&fields=usage", USAGE),
        (
            "&fields=io,time",
            "input output completionStartTime createdAt updatedAt",
        ),
        ("&fields=model", "model internalModelId modelParameters"),
        ("&fields=prompt", "promptId promptName promptVersion"),
        ("&fields=trace_context", "traceName release tags"),
        ("&fields=metadata", "metadata"),
    ] {
        let rows = query(&sandbox, &format!("traceId=a{fields}"));
        let row = rows["data"][0].as_object().unwrap();
        let got: BTreeSet<&str> = row.keys().map(String::as_str).collect();
        let expected = ALWAYS
            .split_whitespace()
            .chain(expected.split_whitespace())
            .collect();
        assert_eq!(got, expected, "{fields}");
    }
}

#[test]
fn long_metadata_is_cut_unless_the_query_asks_for_io_or_expands_it() {
    let sandbox = Sandbox::start();
    let long = "ä".repeat(250);
    let metadata = text("langfuse.trace.metadata.long", &long);
    send(&sandbox, &[span("a", "1", 0, &[metadata])]);
    let cut = "ä".repeat(200);
    for (parameters, expected) in [
        ("fields=metadata", &cut),
        ("fields=metadata,basic&expandMetadata=", &cut),
        ("fields=metadata&expandMetadata=other,long", &long),
        ("fields=metadata,io", &long),
    ] {
        let rows = query(&sandbox, &format!("traceId=a&{parameters}"));
        assert_eq!(
            rows["data"][0]["metadata"]["long"], *expected,
            "{parameters}"
        );
    }
}

#[test]
fn legacy_endpoints_end_with_v4_whatever_the_key() {
    let sandbox = Sandbox::start();
    let gone = "This endpoint is not available on deployments running in Langfuse v4 events_only mode. Learn more about \
                Langfuse v4 at: https://langfuse.com/docs/v4";
    for path in [
        "traces",
        "traces/abc",
        "observations",
        "observations/abc",
        "sessions",
        "sessions/abc",
        "metrics",
    ] {
        let answer = sandbox.send("GET", &format!("/api/public/{path}"), &[], Vec::new());
        assert_eq!(
            (answer.status, answer.json()),
            (404, json!({"message": gone})),
            "{path}"
        );
    }
}

#[test]
fn v3_reads_one_trace_with_its_observations() {
    let fixture: Value =
        serde_json::from_str(include_str!("../../fixtures/langfuse-legacy-trace.json")).unwrap();
    let sandbox = Sandbox::start_with(&["--langfuse", "v3"]);
    let id = fixture["trace"]["id"].as_str().unwrap();
    let path = format!("/api/public/traces/{id}");

    let missing = sandbox.get(&path);
    let message = format!("Trace {id} not found within authorized project");
    assert_eq!(missing.status, 404);
    assert_eq!(
        missing.json(),
        json!({"message": message, "error": "LangfuseNotFoundError"})
    );

    assert_accepted(&sandbox.post(TRACES, &[JSON], fixture["export"].to_string()));
    let trace = sandbox.get(&path).json();
    assert_contains(&trace, &fixture["trace"], "trace");
    assert_eq!(trace["projectId"], "sandbox");
    assert_eq!(trace["htmlPath"], format!("/project/sandbox/traces/{id}"));
    assert_eq!(sandbox.send("GET", &path, &[], Vec::new()).status, 401);
    assert_eq!(sandbox.get(OBSERVATIONS).status, 404);
}

/// Everything in `expected` must be in `got`; lists of objects are compared by id.
#[test]
fn a_trace_without_costs_costs_zero() {
    let sandbox = Sandbox::start_with(&["--langfuse", "v3"]);
    send(&sandbox, &[span("0af7", "a1", 0, &[])]);
    let answer = sandbox.get("/api/public/traces/0af7");
    assert_eq!(answer.status, 200);
    assert!(!answer.body.contains(":-0"), "{}", answer.body);
}

fn assert_contains(got: &Value, expected: &Value, at: &str) {
    match expected {
        Value::Object(fields) => {
            for (key, value) in fields {
                let got = got
                    .get(key)
                    .unwrap_or_else(|| panic!("{at}.{key} is missing"));
                assert_contains(got, value, &format!("{at}.{key}"));
            }
        }
        Value::Array(items) if items.iter().any(|item| item["id"].is_string()) => {
            assert_eq!(got.as_array().unwrap().len(), items.len(), "{at}");
            for item in items {
                let same = got
                    .as_array()
                    .unwrap()
                    .iter()
                    .find(|other| other["id"] == item["id"]);
                assert_contains(same.unwrap(), item, &format!("{at}[{}]", item["id"]));
            }
        }
        value => assert_eq!(got, value, "{at}"),
    }
}

#[test]
fn spans_become_visible_later_to_every_process() {
    let state = TempDir::new().unwrap();
    let slow = Sandbox::start_in(state.path(), &["--visible-after", "3600000"]);
    let slow_v3 = Sandbox::start_in(
        state.path(),
        &["--visible-after", "3600000", "--langfuse", "v3"],
    );
    let at_once = Sandbox::start_in(state.path(), &[]);
    send(&slow, &[span("a", "1", 0, &[])]);

    assert_eq!(slow.observations("a").len(), 0);
    assert_eq!(slow_v3.get("/api/public/traces/a").status, 404);
    assert_eq!(at_once.observations("a").len(), 1);
    // The page shows what has arrived.
    assert_eq!(slow.get("/project/sandbox/traces/a").status, 200);
    assert!(at_once.get("/").body.contains("span 1"));
}

#[test]
fn a_span_sent_twice_is_one_row_with_the_later_content() {
    let sandbox = Sandbox::start();
    let with_output = |output| span("a", "1", 0, &[text("langfuse.observation.output", output)]);
    send(&sandbox, &[with_output("first"), span("a", "2", 0, &[])]);
    send(&sandbox, &[with_output("second")]);
    let rows = sandbox.observations("a");
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().any(|row| row["output"] == "second"), "{rows:?}");
    // With another start it is another row.
    send(&sandbox, &[span("a", "1", 1, &[])]);
    assert_eq!(sandbox.observations("a").len(), 3);
}

fn store(state: &Path) -> std::path::PathBuf {
    state.join("langspan/sandbox")
}

#[test]
fn only_the_owner_reads_the_store() {
    let state = TempDir::new().unwrap();
    let sandbox = Sandbox::start_in(state.path(), &[]);
    send(&sandbox, &[span("abc", "1", 0, &[])]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&store(state.path())), 0o700);
    assert_eq!(mode(&store(state.path()).join("abc.jsonl")), 0o600);
}

#[test]
fn half_written_and_foreign_lines_are_skipped() {
    let state = TempDir::new().unwrap();
    let sandbox = Sandbox::start_in(state.path(), &[]);
    send(&sandbox, &[span("abc", "1", 0, &[])]);
    let file = store(state.path()).join("abc.jsonl");
    let line = fs::read_to_string(&file).unwrap();
    let half = &line[..line.len() / 2];
    fs::write(&file, format!("not JSON\n{{\"id\":1}}\n\n{line}{half}")).unwrap();
    fs::write(store(state.path()).join("def.jsonl"), "[]").unwrap();
    assert_eq!(sandbox.observations("abc").len(), 1);

    // The next row is not swallowed by the half line before it.
    send(&sandbox, &[span("abc", "2", 1, &[])]);
    assert_eq!(sandbox.observations("abc").len(), 2);
    assert_eq!(
        ids(&query(&sandbox, &format!("fields={ALL_FIELDS}"))["data"]),
        ["2", "1"]
    );
    assert_eq!(sandbox.get("/").status, 200);
}
