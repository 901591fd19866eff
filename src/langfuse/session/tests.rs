//! Counts and spans of sessions as both versions of the API give them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::*;
use crate::console::Console;
use crate::http::{CONNECT_TIMEOUT, Proxies, TlsFiles};
use crate::langfuse::{Base, Keys};
use crate::sandbox::{self, Config, LangfuseVersion, PUBLIC_KEY, SECRET_KEY};
use crate::secret::Secret;

const START: i64 = 1_790_000_000;

fn http() -> reqwest::Client {
    crate::http::client(&TlsFiles::default(), Proxies::Ignored, CONNECT_TIMEOUT).unwrap()
}

fn keys() -> Keys {
    Keys {
        public: PUBLIC_KEY.to_owned(),
        secret: Secret::new(SECRET_KEY),
    }
}

fn api(url: &str) -> Api {
    let console = Console::new(true, 0);
    Api::new(http(), Base::parse(url).unwrap(), &keys(), console)
}

/// A sandbox that ends with the test, and the folder of its traces.
async fn sandbox(langfuse: LangfuseVersion) -> (String, TempDir) {
    let store = TempDir::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let config = Config {
        model_delay: Duration::ZERO,
        langfuse,
        visible_after: Duration::ZERO,
        store: store.path().to_owned(),
    };
    tokio::spawn(sandbox::serve(listener, config));
    (url, store)
}

/// The ids of the `n`-th trace and of its spans.
fn ids(n: usize, spans: usize) -> impl Iterator<Item = (String, String)> {
    (0..spans).map(move |span| (format!("{n:032x}"), format!("{:016x}", n * 1000 + span)))
}

/// Sends traces of `session`, a second apart.
async fn send(url: &str, session: &str, traces: std::ops::Range<usize>, spans: usize) {
    let spans: Vec<Value> = traces
        .flat_map(|n| ids(n, spans).map(move |ids| (n, ids)))
        .map(|(n, (trace, span))| {
            let start = (START + i64::try_from(n).unwrap()) * 1_000_000_000;
            json!({
                "traceId": trace, "spanId": span, "name": "call", "startTimeUnixNano": start.to_string(),
                "endTimeUnixNano": (start + 1).to_string(),
                "attributes": [{"key": "langfuse.session.id", "value": {"stringValue": session}}],
            })
        })
        .collect();
    let export = json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]});
    let sent = http()
        .post(format!("{url}/api/public/otel/v1/traces"))
        .header("authorization", keys().authorization().expose())
        .header("content-type", "application/json")
        .body(export.to_string());
    assert_eq!(sent.send().await.unwrap().status(), 200);
}

fn window() -> (Timestamp, Timestamp) {
    let at = |second| Timestamp::from_second(second).unwrap();
    (at(START), at(START + 1000))
}

async fn count(api: &Api, session: &str) -> Result<SessionCount, ApiError> {
    let (from, to) = window();
    api.session_count(session, from, to).await
}

fn counted(traces: u64, spans: u64) -> SessionCount {
    SessionCount { traces, spans }
}

async fn spans(api: &Api, session: &str) -> Result<Vec<(String, String)>, ApiError> {
    let (from, to) = window();
    let mut found = Vec::new();
    let record = |trace: &str, span: &str| found.push((trace.to_owned(), span.to_owned()));
    api.session_spans(session, from, to, record).await?;
    Ok(found)
}

/// The pairs of a query.
type Query = Vec<(String, String)>;
/// Every query so far.
type Asked = Arc<Mutex<Vec<Query>>>;

/// A server that answers with `script`, which is told the path, the query and how many there were.
async fn scripted(
    script: impl Fn(&str, &Query, usize) -> Response + Clone + Send + Sync + 'static,
) -> (Api, Asked) {
    let asked = Asked::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (log, base) = (Arc::clone(&asked), url.clone());
    let answer = move |request: Request| {
        let url = reqwest::Url::parse(&format!("{base}{}", request.uri())).unwrap();
        let query: Query = url.query_pairs().into_owned().collect();
        let mut log = log.lock().unwrap();
        log.push(query);
        let answer = script(url.path(), &log[log.len() - 1], log.len());
        async move { answer }
    };
    let router = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (api(&url), asked)
}

fn json_answer(status: u16, body: &Value) -> Response {
    let body = Body::from(body.to_string());
    Response::builder().status(status).body(body).unwrap()
}

fn waiting(status: u16, seconds: &str) -> Response {
    let answer = Response::builder().status(status);
    let answer = answer.header("retry-after", seconds);
    answer.body(Body::from("{}")).unwrap()
}

#[tokio::test]
async fn every_version_is_read_whichever_was_expected() {
    for version in [LangfuseVersion::V4, LangfuseVersion::V3] {
        let (url, _store) = sandbox(version).await;
        send(&url, "run", 0..3, 2).await;
        send(&url, "another", 3..5, 1).await;
        let expected: BTreeSet<_> = (0..3).flat_map(|n| ids(n, 2)).collect();
        for expected_version in ["4.16.0", "3.150.0"] {
            let api = api(&url).for_version(expected_version);
            let run = count(&api, "run").await.unwrap();
            assert_eq!(run, counted(3, 6), "{version:?}");
            let none = count(&api, "none").await.unwrap();
            assert_eq!(none, counted(0, 0), "{version:?}");
            let found = spans(&api, "run").await.unwrap();
            assert_eq!(found.len(), 6, "{version:?}");
            assert_eq!(
                found.into_iter().collect::<BTreeSet<_>>(),
                expected,
                "{version:?}"
            );
        }
    }
}

#[tokio::test]
async fn every_page_is_read() {
    for (version, traces, each) in [
        (LangfuseVersion::V4, 21, 100),
        (LangfuseVersion::V3, 201, 1),
    ] {
        let (url, _store) = sandbox(version).await;
        send(&url, "run", 0..traces, each).await;
        let found = spans(&api(&url), "run").await.unwrap();
        let expected: BTreeSet<_> = (0..traces).flat_map(|n| ids(n, each)).collect();
        assert_eq!(found.len(), expected.len(), "{version:?}");
        assert_eq!(
            found.into_iter().collect::<BTreeSet<_>>(),
            expected,
            "{version:?}"
        );
    }
}

#[tokio::test]
async fn spans_outside_the_window_are_not_reported() {
    let (url, _store) = sandbox(LangfuseVersion::V4).await;
    send(&url, "run", 0..1, 1).await;
    let at = |minutes: i64| Timestamp::from_second(START + minutes * 60).unwrap();
    for (from, to, expected) in [(-10, -6, 0), (-10, -4, 1), (4, 10, 1), (6, 10, 0)] {
        let api = api(&url);
        let count = api.session_count("run", at(from), at(to)).await.unwrap();
        assert_eq!(count, counted(expected, expected), "{from} to {to}");
        let mut found = 0;
        let spans = api.session_spans("run", at(from), at(to), |_, _| found += 1);
        spans.await.unwrap();
        assert_eq!(found, expected, "{from} to {to}");
    }
}

/// The server's database estimates 20,117 for 20,000 traces.
#[tokio::test]
async fn too_many_traces_for_one_count_are_counted_in_parts() {
    let (api, asked) = scripted(|_, query, _| {
        let is_part = query[0].1.contains("starts with");
        let count = if is_part { 1250 } else { 20_117 };
        // Some versions return counts as text.
        let row =
            json!({"uniq_traceId": count.to_string(), "count_count": (2 * count).to_string()});
        json_answer(200, &json!({"data": [row]}))
    })
    .await;
    assert_eq!(count(&api, "run").await.unwrap(), counted(20_000, 40_000));
    let asked = asked.lock().unwrap();
    let part = |query: &Query| {
        let query: Value = serde_json::from_str(&query[0].1).unwrap();
        query["filters"][1]["value"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let parts: BTreeSet<String> = asked.iter().map(part).collect();
    assert_eq!(parts.into_iter().collect::<String>(), "0123456789abcdef");
    assert_eq!(asked.len(), 17);
}

#[tokio::test]
async fn a_page_that_fails_temporarily_is_asked_for_again() {
    let (api, asked) = scripted(|_, query, n| {
        let is_second = query.iter().any(|(name, _)| name == "cursor");
        let row = json!({"traceId": "a", "id": if is_second { "2" } else { "1" }});
        match n {
            2 => waiting(429, "0"),
            3 => waiting(503, "0"),
            _ if is_second => json_answer(200, &json!({"data": [row], "meta": {}})),
            _ => json_answer(200, &json!({"data": [row], "meta": {"cursor": "next"}})),
        }
    })
    .await;
    let found = spans(&api, "run").await.unwrap();
    let found: Vec<_> = found.iter().map(|(_, span)| span.as_str()).collect();
    assert_eq!(found, ["1", "2"]);
    assert_eq!(asked.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn permanent_errors_are_not_retried() {
    for (status, wait) in [(401, "0"), (403, "0"), (400, "0"), (429, "3600")] {
        let (api, asked) = scripted(move |_, _, _| waiting(status, wait)).await;
        let counted = count(&api, "run").await.unwrap_err();
        let listed = spans(&api, "run").await.unwrap_err();
        assert_eq!(
            (counted.status, listed.status),
            (Some(status), Some(status))
        );
        assert_eq!(counted.is_refusal(), [401, 403].contains(&status));
        assert_eq!(asked.lock().unwrap().len(), 2, "{status}");
    }
}

#[tokio::test]
async fn an_interface_that_is_switched_off_is_replaced_by_the_other() {
    let (api, _) = scripted(|path, _, _| match path {
        "/api/public/metrics" => json_answer(200, &json!({"data": [{"count_count": 7}]})),
        "/api/public/traces" => {
            let trace = json!({"id": "a", "observations": ["1", "t-a"]});
            json_answer(200, &json!({"data": [trace], "meta": {"totalPages": 1}}))
        }
        _ => json_answer(
            404,
            &json!({"message": "The v2 APIs are not available", "error": "LangfuseNotFoundError"}),
        ),
    })
    .await;
    assert_eq!(count(&api, "run").await.unwrap(), counted(7, 7));
    // The server added the second one itself.
    assert_eq!(
        spans(&api, "run").await.unwrap(),
        [("a".to_owned(), "1".to_owned())]
    );
}

#[tokio::test]
async fn an_unexpected_answer_is_an_error() {
    let answering = async |body: Value| scripted(move |_, _, _| json_answer(200, &body)).await.0;
    for body in [json!({}), json!({"data": [{"another": 1}]})] {
        assert!(count(&answering(body).await, "run").await.is_err());
    }
    for body in [json!({}), json!({"data": [], "meta": {"cursor": "same"}})] {
        assert!(spans(&answering(body).await, "run").await.is_err());
    }
}
