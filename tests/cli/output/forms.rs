//! `-o raw`, `-o url`, and how a form is chosen.

use serde_json::json;

use super::{accepted, langfuse, piece, stop};
use crate::support::harness::{Reply, completion};
use crate::support::otlp::{Servers, attribute};

#[test]
fn raw_is_the_providers_bytes() {
    let compact = completion("hi").to_string();
    let spread = format!("{:#}\n\n", completion("hi"));
    for body in [compact, spread] {
        let servers = Servers::replying(Reply::Answer(200, "application/json", body.clone()));
        let ended = servers.call(&["chat", "-o", "raw", "Hello"]).run();
        ended.code(0).stdout(&body);
    }
}

#[test]
fn raw_of_a_stream_is_its_events() {
    let body = format!(
        ": a comment\r\n\r\nevent: x\r\ndata: {}\r\n\r\ndata: {}\n\ndata: [DONE]\n\n",
        piece(0, "hi"),
        stop(0)
    );
    let servers = Servers::replying(Reply::Answer(200, "text/event-stream", body.clone()));
    let ended = servers
        .call(&["chat", "--stream", "-o", "raw", "Hello"])
        .run();
    ended.code(0).stdout(&body);
    assert_eq!(
        attribute(&servers.trace().parent, "output.value").unwrap(),
        "hi"
    );
}

#[test]
fn url_is_the_trace_url_alone() {
    let servers = Servers::answering("hi");
    let ended = servers.call(&["chat", "-o", "url", "-q", "Hello"]).run();
    let url = format!(
        "{}/project/p1/traces/{}\n",
        servers.langfuse.url(),
        servers.trace().id()
    );
    ended.code(0).stdout(&url);
    assert_eq!(ended.stderr, "");
}

#[test]
fn url_is_nothing_when_the_trace_was_not_accepted() {
    let mut servers = Servers::answering("hi");
    servers.langfuse = langfuse(accepted(), Reply::json(500, &json!({"message": "broken"})));
    let call = servers.call(&["chat", "-o", "url", "--export-timeout", "1", "Hello"]);
    call.run().code(5).stdout("").stderr_has("500");
}

#[test]
fn the_form_comes_from_the_environment_and_the_option_wins() {
    let servers = Servers::answering("hi");
    let call = servers
        .call(&["chat", "Hello"])
        .env("LANGSPAN_OUTPUT", "json");
    assert_eq!(call.run().code(0).json()["ok"], true);
    let call = servers
        .call(&["chat", "-o", "text", "Hello"])
        .env("LANGSPAN_OUTPUT", "json");
    call.run().code(0).stdout("hi\n");
}

#[test]
fn an_output_format_that_looks_like_a_file_name_hints_at_redirection() {
    let servers = Servers::answering("hi");
    let ended = servers.call(&["chat", "-o", "answer.txt", "Hello"]).run();
    ended.code(2).stdout("").stderr_has("> answer.txt");
}

#[test]
fn a_dry_run_opens_no_socket() {
    let servers = Servers::answering("hi");
    let ended = servers
        .call(&["chat", "--dry-run", "-u", "u1", "Hello"])
        .run();
    let said = format!("{}{}", ended.code(0).stdout, ended.stderr);
    for part in [
        "Hello",
        "gpt-4o-mini",
        servers.langfuse.url(),
        "chat-completion",
    ] {
        assert!(said.contains(part), "{part} lacks: {said}");
    }
    assert!(servers.model.requests().is_empty());
    assert!(servers.langfuse.requests().is_empty());
}
