//! Langfuse's API for the child, and who gets which keys.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::exec::{OTHER_TRACE, Session, TRACE, exchange, request, span};
use crate::support::harness::{Langspan, Reply, Scripted};

fn basic(public: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{public}:{secret}")))
}

fn langfuse() -> Arc<Scripted> {
    Arc::new(Scripted::start(|request, _| {
        match request.path.split('?').next().unwrap() {
            "/api/public/projects" => {
                Reply::json(200, &json!({"data": [{"id": "p1", "name": "P"}]}))
            }
            "/api/public/v2/prompts/greeting" => Reply::json(200, &json!({"name": "greeting"})),
            _ => Reply::json(200, &json!({})),
        }
    }))
}

#[test]
fn a_child_with_keys_in_its_environment_keeps_them() {
    let langfuse = langfuse();
    let session = Session::start(Langspan::new(&["exec"]).langfuse_at(langfuse.url()));
    assert_eq!(session.variable("LANGFUSE_SECRET_KEY"), "sk-lf-sandbox");
    session.finish().code(0);
}

/// Runs whose keys are not in the environment of the child: in a file, or only in a header variable.
fn runs_without_keys(langfuse: &Scripted) -> [Langspan; 2] {
    let in_file = Langspan::new(&["exec"]);
    let keys = "LANGFUSE_PUBLIC_KEY=pk-lf-file\nLANGFUSE_SECRET_KEY=sk-lf-file\n";
    let path = in_file.file("keys", keys).display().to_string();
    let in_file = in_file
        .arg("--env-file")
        .arg(&path)
        .env("LANGFUSE_BASE_URL", langfuse.url());
    let pair = format!("Authorization={}", basic("pk-lf-file", "sk-lf-file"));
    let endpoint = format!("{}/api/public/otel", langfuse.url());
    let in_header = Langspan::new(&["exec"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
        .env("OTEL_EXPORTER_OTLP_HEADERS", &pair);
    [in_file, in_header]
}

#[test]
fn stand_in_keys_become_the_runs_and_the_childs_own_go_on() {
    let langfuse = langfuse();
    for call in runs_without_keys(&langfuse) {
        let session = Session::start(call);
        let public = session.variable("LANGFUSE_PUBLIC_KEY");
        let stand_in = basic(public, session.variable("LANGFUSE_SECRET_KEY"));
        assert!(public.starts_with("pk-lf-") && public != "pk-lf-file");
        assert!(
            !session
                .variable("OTEL_EXPORTER_OTLP_HEADERS")
                .contains("Basic")
        );
        let root = session.variable("LANGFUSE_BASE_URL").to_owned();
        let url = format!("{root}/api/public/v2/prompts/greeting?label=x");
        let own = basic("pk-lf-own", "sk-lf-own");
        for (given, sent) in [
            (&stand_in, &basic("pk-lf-file", "sk-lf-file")),
            (&own, &own),
        ] {
            let answer = exchange("GET", &url, &[("authorization", given)], b"");
            assert_eq!(answer.body, r#"{"name":"greeting"}"#);
            let asked = langfuse.requests_to("/api/public/v2/prompts/greeting");
            let last = asked.last().unwrap();
            assert_eq!(last.header("authorization"), sent);
            assert!(last.path.ends_with("?label=x"));
        }
        session.finish().code(0);
    }
}

#[test]
fn the_keys_of_the_run_go_to_the_api_alone() {
    let langfuse = langfuse();
    for call in runs_without_keys(&langfuse) {
        let session = Session::start(call);
        let root = session.variable("LANGFUSE_BASE_URL").to_owned();
        let stand_in = basic(
            session.variable("LANGFUSE_PUBLIC_KEY"),
            session.variable("LANGFUSE_SECRET_KEY"),
        );
        let before = langfuse.count();
        for path in [
            "/api/public/../../admin",
            "/api/private",
            "/api/public%2f..%2fx",
        ] {
            let headers = [("authorization", stand_in.as_str())];
            let answer = exchange("GET", &format!("{root}{path}"), &headers, b"");
            assert_ne!(answer.status, 200, "{path}: {answer:?}");
        }
        let asked = &langfuse.requests()[before..];
        assert!(
            asked
                .iter()
                .all(|request| request.path == "/api/public/projects")
        );
        session.finish().code(0);
    }
}

#[test]
fn ids_of_traces_that_are_renamed_are_renamed_in_scores() {
    let langfuse = langfuse();
    let session = Session::start(Langspan::new(&["exec"]).langfuse_at(langfuse.url()));
    session.send(&[
        span(TRACE, 1, None, "one", &json!({})),
        span(OTHER_TRACE, 2, None, "two", &json!({})),
    ]);
    let url = format!(
        "{}/api/public/scores",
        session.variable("LANGFUSE_BASE_URL")
    );
    let strange = "33333333333333333333333333333333";
    for (given, sent) in [(TRACE, TRACE), (OTHER_TRACE, TRACE), (strange, strange)] {
        let body = json!({"traceId": given, "name": "quality", "value": 1}).to_string();
        exchange(
            "POST",
            &url,
            &[("content-type", "application/json")],
            body.as_bytes(),
        );
        let scores = langfuse.requests_to("/api/public/scores");
        assert_eq!(scores.last().unwrap().json()["traceId"], sent);
    }
    session.finish().code(0);
}

#[test]
fn spans_under_another_key_are_delivered_with_a_warning() {
    let langfuse = langfuse();
    let session = Session::start(Langspan::new(&["exec"]).langfuse_at(langfuse.url()));
    let url = session
        .variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        .to_owned();
    let foreign = basic("pk-lf-other", "sk-lf-other-secret");
    for id in 1..3 {
        let body = request("s", &[span(TRACE, id, None, "one", &json!({}))]).to_string();
        let headers = [
            ("content-type", "application/json"),
            ("authorization", foreign.as_str()),
        ];
        assert_eq!(
            exchange("POST", &url, &headers, body.as_bytes()).status,
            200
        );
    }
    let ended = session.finish();
    ended.code(0);
    assert_eq!(ended.stderr.matches("pk-lf-other").count(), 1, "{ended:#?}");
    ended.stderr_lacks("sk-lf-other-secret");
    assert_eq!(langfuse.exports().len(), 1);
    assert_eq!(
        langfuse.exports()[0].header("authorization"),
        basic("pk-lf-sandbox", "sk-lf-sandbox")
    );
}

#[test]
fn a_page_of_the_run_leads_to_the_real_server() {
    let langfuse = langfuse();
    let session = Session::start(Langspan::new(&["exec"]).langfuse_at(langfuse.url()));
    let url = format!(
        "{}/project/p1/traces/{TRACE}",
        session.variable("LANGFUSE_BASE_URL")
    );
    let answer = exchange("GET", &url, &[], b"");
    assert_eq!(answer.status, 307);
    assert!(answer.head.contains(&format!(
        "location: {}/project/p1/traces/{TRACE}",
        langfuse.url()
    )));
    session.finish().code(0);
}
