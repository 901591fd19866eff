//! Printed links to the trace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::{accepted, langfuse};
use crate::support::harness::{Langspan, Reply, Scripted, wait_until};
use crate::support::otlp::{Servers, traces_at};

#[test]
fn a_look_up_that_fails_leaves_the_short_link_and_a_warning() {
    for look_up in [
        Reply::Hang,
        Reply::Close,
        Reply::json(500, &json!({"message": "broken"})),
        Reply::Answer(200, "text/html", "<html></html>".to_owned()),
        Reply::json(200, &json!({"data": []})),
    ] {
        let mut servers = Servers::answering("hi");
        servers.langfuse = langfuse(look_up, accepted());
        let ended = servers.call(&["chat", "Hello"]).run();
        let link = format!(
            "trace: {}/trace/{}",
            servers.langfuse.url(),
            servers.trace().id()
        );
        ended
            .code(0)
            .stdout("hi\n")
            .stderr_has(&link)
            .stderr_has("warning");
    }
}

#[test]
fn a_look_up_that_fails_leaves_the_short_link_in_every_form() {
    let mut servers = Servers::answering("hi");
    servers.langfuse = langfuse(Reply::json(500, &json!({"message": "broken"})), accepted());
    let url = servers.call(&["chat", "-o", "url", "Hello"]).run();
    let document = servers.call(&["chat", "--json", "Hello"]).run();
    let links = traces_at(&servers.langfuse);
    let links = links
        .iter()
        .map(|trace| format!("{}/trace/{}", servers.langfuse.url(), trace.id()));
    let links: Vec<String> = links.collect();
    url.code(0).stdout(&format!("{}\n", links[0]));
    assert_eq!(document.code(0).json()["trace"]["url"], links[1]);
}

#[test]
fn a_look_up_that_is_answered_after_the_export_still_gives_the_full_link() {
    let has_exported = Arc::new(AtomicBool::new(false));
    let mut servers = Servers::answering("hi");
    servers.langfuse = Scripted::start(move |request, _| {
        if request.path == "/api/public/projects" {
            wait_until("the spans arrived", || has_exported.load(Ordering::SeqCst));
            return Reply::json(200, &json!({"data": [{"id": "p1", "name": "P"}]}));
        }
        has_exported.store(true, Ordering::SeqCst);
        accepted()
    });
    let ended = servers.call(&["chat", "Hello"]).run();
    ended.code(0).stderr_has("/project/p1/traces/");
}

#[test]
fn a_look_up_that_is_refused_does_not_stop_the_answer() {
    for status in [401, 403] {
        let refusal = Reply::json(status, &json!({"message": "Invalid credentials."}));
        let mut servers = Servers::answering("hi");
        servers.langfuse = langfuse(refusal.clone(), refusal);
        let ended = servers.call(&["chat", "Hello"]).run();
        ended
            .code(5)
            .stdout("hi\n")
            .stderr_has("Invalid credentials.");
        assert_eq!(ended.kept().len(), 1);
    }
}

#[test]
fn links_for_people_may_have_another_base() {
    let servers = Servers::answering("hi");
    let ended = servers
        .call(&["chat", "--ui-url", "https://langfuse.example.com/", "Hello"])
        .run();
    let link = format!(
        "trace: https://langfuse.example.com/project/p1/traces/{}",
        servers.trace().id()
    );
    ended.code(0).stderr_has(&link);
}

/// A call that sends its spans to an endpoint other than Langfuse.
fn call_to_a_collector(servers: &Servers, arguments: &[&str]) -> Langspan {
    Langspan::new(arguments)
        .model_at(&format!("{}/v1", servers.model.url()))
        .env(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            &format!("{}/v1/traces", servers.langfuse.url()),
        )
}

#[test]
fn a_plain_backend_has_trace_ids_but_no_pages() {
    let mut servers = Servers::answering("hi");
    servers.langfuse = Scripted::always(accepted());

    let ended = call_to_a_collector(&servers, &["chat", "Hello"]).run();
    let id = traces_at(&servers.langfuse)[0].id();
    ended
        .code(0)
        .stdout("hi\n")
        .stderr_has(&format!("trace: {id}\n"));

    let ended = call_to_a_collector(&servers, &["chat", "-o", "url", "Hello"]).run();
    ended.code(0).stdout("").stderr_has("warning");

    let document = call_to_a_collector(&servers, &["chat", "--json", "Hello"])
        .run()
        .code(0)
        .json();
    assert_eq!(document["trace"]["url"], Value::Null);
    assert_eq!(document["trace"]["delivery"], "accepted");
    assert!(document["trace"]["id"].is_string());

    for request in servers.langfuse.requests() {
        assert_eq!(request.path, "/v1/traces");
    }
}

#[test]
fn a_plain_backend_cannot_be_read_back() {
    let mut servers = Servers::answering("hi");
    servers.langfuse = Scripted::always(accepted());
    let ended = call_to_a_collector(&servers, &["chat", "--verify", "Hello"]).run();
    ended.code(3).stdout("");
    assert!(servers.model.requests().is_empty());
}
