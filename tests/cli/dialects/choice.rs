//! Which dialect a call uses: the `url` of its line, else `--api`, else the body.

use super::{call, polyglot};
use crate::support::harness::{Langspan, Scripted};
use crate::support::otlp::Servers;

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#;
const INPUT: &str = r#"{"model":"m","input":"Hi"}"#;

fn servers() -> Servers {
    Servers::with(Scripted::start(|request, _| polyglot(request)))
}

fn line(url: &str, body: &str) -> String {
    format!(r#"{{"custom_id":"a","method":"POST","url":"{url}","body":{body}}}"#)
}

#[test]
fn each_source_has_its_turn() {
    for (document, option, variable, path) in [
        (CHAT, None, None, "/v1/chat/completions"),
        (INPUT, None, None, "/v1/responses"),
        (CHAT, Some("messages"), None, "/v1/messages"),
        (INPUT, Some("embeddings"), None, "/v1/embeddings"),
        (CHAT, None, Some("messages"), "/v1/messages"),
        (CHAT, None, Some("responses"), "/v1/chat/completions"),
        (INPUT, None, Some("chat"), "/v1/responses"),
        (CHAT, Some("chat"), Some("messages"), "/v1/chat/completions"),
        (&line("/v1/messages", CHAT), None, None, "/v1/messages"),
        (
            &line("/v1/embeddings", INPUT),
            None,
            Some("responses"),
            "/v1/embeddings",
        ),
    ] {
        let servers = servers();
        let option: Vec<&str> = option.map_or_else(Vec::new, |name| vec!["--api", name]);
        let arguments = [&["replay", "-"], option.as_slice()].concat();
        let mut call = call(&servers, &arguments).stdin(document);
        if let Some(variable) = variable {
            call = call.env("LANGSPAN_API", variable);
        }
        call.run().code(0);
        let paths: Vec<String> = servers
            .model
            .requests()
            .into_iter()
            .map(|request| request.path)
            .collect();
        assert_eq!(paths, [path], "{document} {option:?} {variable:?}");
    }
}

#[test]
fn a_contradiction_names_both() {
    for (document, api, words) in [
        (
            CHAT,
            "responses",
            "--api responses contradicts the body: with `messages` it is one for chat or messages",
        ),
        (
            INPUT,
            "chat",
            "--api chat contradicts the body: with `input` it is one for responses or embeddings",
        ),
        (
            &line("/v1/embeddings", INPUT),
            "responses",
            r#"--api responses contradicts the line's url "/v1/embeddings""#,
        ),
    ] {
        let servers = servers();
        call(&servers, &["replay", "--api", api, "-"])
            .stdin(document)
            .run()
            .code(2)
            .stderr_has(words);
        assert_eq!(servers.model.count(), 0);
        let ended = call(&servers, &["batch", "--api", api, "-"])
            .stdin(document)
            .run();
        ended.code(8);
        let line: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(line["error"]["code"], "invalid_line");
        assert!(
            line["error"]["message"].as_str().unwrap().contains(words),
            "{line}"
        );
    }
}

#[test]
fn an_unknown_name_is_refused() {
    let servers = servers();
    call(&servers, &["chat", "--api", "completions", "Hi"])
        .run()
        .code(2)
        .stderr_has("expected one of chat, responses, messages, embeddings");
    call(&servers, &["chat", "Hi"])
        .env("LANGSPAN_API", "gemini")
        .run()
        .code(3)
        .stderr_has("LANGSPAN_API");
    call(&servers, &["replay", "-"])
        .stdin(line("/v1/audio/speech", INPUT))
        .run()
        .code(2)
        .stderr_has("/v1/audio/speech");
}

#[test]
fn headers_with_a_secret_go_to_the_chosen_endpoint() {
    let servers = servers();
    let lines = [
        line("/v1/messages", CHAT),
        line("/v1/chat/completions", CHAT),
    ]
    .join("\n");
    call(
        &servers,
        &[
            "batch",
            "-H",
            "x-team: a",
            "-H",
            "x-api-token: secret-0123456789",
            "-",
        ],
    )
    .stdin(lines)
    .run()
    .code(0);
    for request in servers.model.requests() {
        assert_eq!(request.header("x-team"), "a");
        let is_chat = request.path == "/v1/chat/completions";
        assert_eq!(
            !request.header("x-api-token").is_empty(),
            is_chat,
            "{request:?}"
        );
    }
}

#[test]
fn check_asks_in_the_chosen_dialect() {
    for (api, model) in [
        ("responses", "m"),
        ("messages", "claude-1"),
        ("embeddings", "e"),
    ] {
        let ended = Langspan::new(&[
            "check",
            "--sandbox",
            "--with-model",
            "--api",
            api,
            "-m",
            model,
            "-o",
            "json",
        ])
        .run();
        ended.code(0);
        let stages = &ended.json()["stages"];
        let mut all = stages.as_array().unwrap().iter();
        let stage = all.find(|stage| stage["name"] == "model").unwrap();
        assert_eq!(stage["status"], "ok", "{stages}");
    }
}
