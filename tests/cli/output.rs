//! What stdout carries in each of its forms, and what stderr says beside it.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::harness::{Ended, Langspan, Reply, Scripted, completion, wait_until};
use crate::support::otlp::{Servers, attribute, attribute_json, traces_at};

const DONE: &str = "[DONE]";

/// A chunk of a stream, for one of its choices.
fn chunk(index: usize, delta: &Value) -> String {
    json!({"id": "c1", "model": "m-1", "choices": [{"index": index, "delta": delta}]}).to_string()
}

fn piece(index: usize, text: &str) -> String {
    chunk(index, &json!({"content": text}))
}

fn stop(index: usize) -> String {
    json!({"choices": [{"index": index, "delta": {}, "finish_reason": "stop"}]}).to_string()
}

fn streamed(events: &[String]) -> Servers {
    let events: Vec<&str> = events.iter().map(String::as_str).chain([DONE]).collect();
    Servers::replying(Reply::events(&events))
}

/// A model whose only answer is this message.
fn saying(message: &Value) -> Servers {
    let mut body = completion("");
    body["choices"][0]["message"] = message.clone();
    Servers::replying(Reply::json(200, &body))
}

/// A trace endpoint that does what `traces` says, with this answer to the look-up of the project.
fn langfuse(look_up: Reply, traces: Reply) -> Scripted {
    Scripted::start(move |request, _| match request.path.as_str() {
        "/api/public/projects" => look_up.clone(),
        "/api/public/otel/v1/traces" => traces.clone(),
        _ => Reply::json(404, &json!({"message": "not here"})),
    })
}

fn accepted() -> Reply {
    Reply::json(200, &json!({}))
}

fn unauthorized() -> Reply {
    Reply::json(401, &json!({"message": "Invalid credentials."}))
}

#[test]
fn text_ends_in_exactly_one_newline() {
    for answer in ["one\ntwo", "one\ntwo\n", "one\ntwo\n\n\n", "one\ntwo\r\n"] {
        let servers = Servers::answering(answer);
        let ended = servers.call(&["chat", "Hello"]).run();
        ended.code(0).stdout("one\ntwo\n").stderr_has("trace: http");
    }
}

#[test]
fn streamed_text_ends_in_exactly_one_newline_wherever_it_is_cut() {
    for pieces in [
        &["one\n", "two"][..],
        &["one", "\n", "two\n"],
        &["one\ntwo", "\n", "\n\n"],
        &["one", "\ntwo\n\n"],
    ] {
        let mut events: Vec<String> = pieces.iter().map(|text| piece(0, text)).collect();
        events.push(stop(0));
        let servers = streamed(&events);
        let ended = servers.call(&["chat", "--stream", "Hello"]).run();
        ended.code(0).stdout("one\ntwo\n");
        // The trace has what the model said, newlines and all.
        let output = attribute_json(&servers.trace().generation, "langfuse.observation.output");
        assert_eq!(output["content"], pieces.concat());
    }
}

#[test]
fn several_choices_stand_in_order_with_a_blank_line_between() {
    let mut body = completion("one");
    let second = json!({"index": 1, "message": {"role": "assistant", "content": "two\n"}, "finish_reason": "stop"});
    body["choices"].as_array_mut().unwrap().push(second);
    let servers = Servers::replying(Reply::json(200, &body));
    let call = servers.call(&["chat", "-p", "n:=2", "Hello"]);
    call.run().code(0).stdout("one\n\ntwo\n");
}

#[test]
fn several_streamed_choices_are_not_mixed() {
    let servers = streamed(&[
        piece(1, "tw"),
        piece(0, "on"),
        piece(1, "o"),
        piece(0, "e"),
        stop(1),
        stop(0),
    ]);
    let call = servers.call(&["chat", "--stream", "-p", "n:=2", "Hello"]);
    call.run().code(0).stdout("one\n\ntwo\n");
}

#[test]
fn tool_calls_without_text_are_printed_as_json() {
    let calls =
        json!([{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    let message = json!({"role": "assistant", "content": null, "tool_calls": calls});
    let delta = json!({"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let whole = saying(&message).call(&["chat", "Hello"]).run();
    let stream = streamed(&[chunk(0, &delta), stop(0)]);
    let stream = stream.call(&["chat", "--stream", "Hello"]).run();
    for ended in [whole, stream] {
        let printed = ended.code(0).json();
        assert_eq!(printed[0]["function"], calls[0]["function"], "{ended:#?}");
        assert_eq!(ended.stdout.trim_end().len() + 1, ended.stdout.len());
    }
}

#[test]
fn text_beside_tool_calls_is_the_answer() {
    let calls =
        json!([{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    let servers =
        saying(&json!({"role": "assistant", "content": "One moment.", "tool_calls": calls}));
    servers
        .call(&["chat", "Hello"])
        .run()
        .code(0)
        .stdout("One moment.\n");
    assert_eq!(
        attribute(&servers.trace().parent, "output.value").unwrap(),
        "One moment."
    );
}

#[test]
fn a_refusal_is_the_answer_where_there_is_no_other() {
    let whole = saying(&json!({"role": "assistant", "content": null, "refusal": "I cannot."}));
    whole
        .call(&["chat", "Hello"])
        .run()
        .code(0)
        .stdout("I cannot.\n");
    let stream = streamed(&[
        chunk(0, &json!({"refusal": "I "})),
        chunk(0, &json!({"refusal": "cannot."})),
        stop(0),
    ]);
    stream
        .call(&["chat", "--stream", "Hello"])
        .run()
        .code(0)
        .stdout("I cannot.\n");
}

#[test]
fn reasoning_is_traced_but_not_printed() {
    let whole =
        saying(&json!({"role": "assistant", "content": "42", "reasoning_content": "let me see"}));
    whole.call(&["chat", "Hello"]).run().code(0).stdout("42\n");
    let stream = streamed(&[
        chunk(0, &json!({"reasoning_content": "let me "})),
        chunk(0, &json!({"reasoning_content": "see"})),
        piece(0, "42"),
        stop(0),
    ]);
    stream
        .call(&["chat", "--stream", "Hello"])
        .run()
        .code(0)
        .stdout("42\n");
    for servers in [whole, stream] {
        let trace = servers.trace();
        let output = attribute_json(&trace.generation, "langfuse.observation.output");
        assert_eq!(output["reasoning_content"], "let me see");
        assert_eq!(attribute(&trace.parent, "output.value").unwrap(), "42");
    }
}

/// The document with what differs from run to run taken out, and asserted to be of its kind.
#[track_caller]
fn fixed(mut document: Value, servers: &Servers) -> Value {
    let id = document["trace"]["id"].as_str().unwrap().to_owned();
    assert_eq!(id, servers.trace().id());
    let text = document.to_string();
    document = serde_json::from_str(
        &text
            .replace(&id, "ID")
            .replace(servers.langfuse.url(), "BASE"),
    )
    .unwrap();
    for time in ["latency_ms", "time_to_first_token_ms"] {
        if let Some(time @ Value::Number(_)) = document["response"].get_mut(time) {
            assert!(time.is_u64(), "{time}");
            *time = "A NUMBER".into();
        }
    }
    document
}

#[test]
fn json_is_one_whole_document() {
    let servers = Servers::answering("hi");
    let ended = servers.call(&["chat", "-o", "json", "Hello"]).run();
    ended.code(0);
    assert_eq!(
        fixed(ended.json(), &servers),
        json!({
            "schema_version": 1, "ok": true, "command": "chat",
            "response": {
                "text": "hi", "model": "gpt-4o-mini-2024-07-18", "id": "chatcmpl-1", "finish_reason": "stop", "tool_calls": [],
                "usage": {"input": 20, "input_cached_tokens": 3, "output": 30, "output_reasoning_tokens": 5, "total": 58},
                "latency_ms": "A NUMBER", "time_to_first_token_ms": null, "attempts": 1,
            },
            "trace": {
                "id": "ID", "url": "BASE/project/p1/traces/ID", "spans": 2, "endpoint": "BASE/api/public/otel/v1/traces",
                "delivery": "accepted", "status": 200, "verified": null, "redactions": 0,
            },
            "error": null,
        })
    );
}

#[test]
fn json_of_a_stream_has_the_time_to_the_first_token_and_no_text_before() {
    let servers = streamed(&[piece(0, "h"), piece(0, "i"), stop(0)]);
    let ended = servers.call(&["chat", "--json", "--stream", "Hello"]).run();
    let document = fixed(ended.code(0).json(), &servers);
    assert_eq!(document["response"]["time_to_first_token_ms"], "A NUMBER");
    assert_eq!(document["response"]["text"], "hi");
}

#[test]
fn json_of_several_documents_is_one_a_line() {
    let servers = Servers::answering("hi");
    let body = r#"{"model":"m","messages":[]}"#;
    let call = servers.call(&["replay", "-o", "json", "-"]);
    let ended = call.stdin(format!("{body}\n{body}\n")).run();
    ended.code(0);
    let lines: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert_eq!(
            (&line["command"], &line["ok"]),
            (&json!("replay"), &json!(true))
        );
    }
}

/// Asserts what a failure's document says; returns it.
#[track_caller]
fn assert_error(ended: &Ended, kind: &str, exit_code: i32) -> Value {
    let document = ended.code(exit_code).json();
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["ok"], false);
    let error = &document["error"];
    assert_eq!(
        (&error["kind"], &error["exit_code"]),
        (&json!(kind), &json!(exit_code)),
        "{document:#}"
    );
    assert!(error["message"].is_string(), "{error}");
    assert!(error["retryable"].is_boolean(), "{error}");
    for field in ["hint", "status"] {
        assert!(error.get(field).is_some(), "{field} lacks: {error}");
    }
    document
}

#[test]
fn json_says_that_input_settings_or_a_file_are_wrong() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["replay", "--json", "-"]).stdin("{");
    assert_error(&call.run(), "input", 2);
    let call = servers.call(&["replay", "--json", "missing.json"]);
    assert_error(&call.run(), "file", 6);
    let call = servers
        .call(&["chat", "--json", "Hello"])
        .env("LANGFUSE_SECRET_KEY", "");
    assert_error(&call.run(), "config", 3);
    assert!(servers.model.requests().is_empty());
}

#[test]
fn json_of_a_failed_call_keeps_the_trace() {
    for (status, retryable) in [(401, false), (503, true)] {
        let servers =
            Servers::replying(Reply::json(status, &json!({"error": {"message": "sorry"}})));
        let call = servers.call(&["chat", "--json", "--retries", "0", "Hello"]);
        let document = assert_error(&call.run(), "model", 4);
        let error = &document["error"];
        assert_eq!(
            (&error["status"], &error["retryable"]),
            (&json!(status), &json!(retryable))
        );
        assert!(error["message"].as_str().unwrap().contains("sorry"));
        assert_eq!(document["trace"]["delivery"], "accepted");
        assert_eq!(document["trace"]["id"], servers.trace().id());
    }
}

#[test]
fn json_of_a_stream_that_broke_off_keeps_what_came() {
    let error = json!({"error": {"message": "overloaded"}}).to_string();
    let servers = streamed(&[piece(0, "par"), piece(0, "tial"), error]);
    let call = servers.call(&["chat", "--json", "--stream", "Hello"]);
    let document = assert_error(&call.run(), "model", 4);
    assert_eq!(document["response"]["text"], "partial", "{document:#}");
}

#[test]
fn json_of_an_undelivered_trace_keeps_the_answer() {
    for (arguments, delivery) in [
        (&["chat", "--json", "Hello"][..], "spooled"),
        (&["chat", "--json", "--no-outbox", "Hello"], "failed"),
    ] {
        let mut servers = Servers::answering("hi");
        servers.langfuse = langfuse(
            Reply::json(200, &json!({"data": [{"id": "p1"}]})),
            unauthorized(),
        );
        let ended = servers.call(arguments).run();
        let document = assert_error(&ended, "delivery", 5);
        assert_eq!(document["response"]["text"], "hi");
        assert_eq!(
            (&document["trace"]["delivery"], &document["trace"]["status"]),
            (&json!(delivery), &json!(401))
        );
        assert_eq!(ended.kept().len(), usize::from(delivery == "spooled"));
    }
}

#[test]
fn json_of_a_trace_that_cannot_be_read_back() {
    let mut servers = Servers::answering("hi");
    servers.langfuse = Scripted::start(|request, _| match request.path.split('?').next() {
        Some("/api/public/v2/observations") => Reply::json(200, &json!({"data": [], "meta": {}})),
        Some("/api/public/projects") => {
            Reply::json(200, &json!({"data": [{"id": "p1", "name": "P"}]}))
        }
        _ => accepted(),
    });
    let call = servers.call(&["chat", "--json", "--verify", "--wait", "1", "Hello"]);
    let document = assert_error(&call.run(), "not_readable", 7);
    assert_eq!(
        (
            &document["trace"]["delivery"],
            &document["trace"]["verified"]
        ),
        (&json!("accepted"), &json!(false))
    );
    assert_eq!(document["response"]["text"], "hi");
}

#[test]
fn json_of_an_interrupted_call() {
    let servers = Servers::replying(Reply::Hang);
    let call = servers.call(&["chat", "--json", "--no-stdin", "Hello"]);
    let child = call.spawn();
    wait_until("the model is asked", || !servers.asked().is_empty());
    let id = child.id().to_string();
    let killed = Command::new("/bin/sh")
        .args(["-c", "kill -INT \"$1\"", "sh", &id])
        .status();
    assert!(killed.unwrap().success());
    let ended = call.ended(&child.wait_with_output().unwrap());
    assert_error(&ended, "interrupted", 130);
}

#[test]
fn usage_errors_are_text_even_where_json_is_asked_for() {
    let servers = Servers::answering("hi");
    for arguments in [
        &["chat", "--json", "--nonsense", "Hello"][..],
        &["chat", "--json"],
        &["chat", "--json", "--trace-id", "xyz", "Hello"],
        &["replay", "--json"],
    ] {
        let ended = servers.call(arguments).run();
        ended.code(2).stdout("");
        assert!(
            !ended.stderr.is_empty() && !ended.stderr.starts_with('{'),
            "{ended:#?}"
        );
    }
}

#[test]
fn json_names_why_nothing_was_delivered() {
    let servers = Servers::answering("hi");
    let disabled = servers
        .call(&["chat", "--json", "Hello"])
        .env("LANGFUSE_TRACING_ENABLED", "false");
    let sampled = servers.call(&["chat", "--json", "--sample", "0", "Hello"]);
    for (call, delivery) in [(disabled, "disabled"), (sampled, "sampled_out")] {
        let document = call.run().code(0).json();
        assert_eq!(document["trace"]["delivery"], delivery);
        assert_eq!(document["ok"], true);
        assert_eq!(document["response"]["text"], "hi");
    }
    assert!(traces_at(&servers.langfuse).is_empty());
}

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
fn a_form_that_is_a_file_name_gets_the_advice_to_redirect() {
    let servers = Servers::answering("hi");
    let ended = servers.call(&["chat", "-o", "answer.txt", "Hello"]).run();
    ended.code(2).stdout("").stderr_has("> answer.txt");
}

#[test]
fn quiet_silences_notes_but_neither_answer_nor_error() {
    let long = "x".repeat(201);
    let servers = Servers::answering("hi");
    let ended = servers.call(&["chat", "-q", "-u", &long, "Hello"]).run();
    assert_eq!(
        (ended.code(0).stdout.as_str(), ended.stderr.as_str()),
        ("hi\n", "")
    );
    let servers = Servers::replying(Reply::json(
        401,
        &json!({"error": {"message": "no such key"}}),
    ));
    let ended = servers.call(&["chat", "-q", "Hello"]).run();
    ended
        .code(4)
        .stderr_has("no such key")
        .stderr_lacks("trace: ");
}

/// A stream that is larger than what a pipe holds.
fn a_long_stream() -> (Servers, String) {
    let line = format!("{}\n", "word ".repeat(200));
    let mut events: Vec<String> = (0..400).map(|_| piece(0, &line)).collect();
    events.push(stop(0));
    (streamed(&events), line.repeat(400))
}

#[test]
fn a_reader_that_leaves_is_no_error_and_the_trace_is_whole() {
    for form in ["text", "raw"] {
        let (servers, text) = a_long_stream();
        let call = servers.call(&["chat", "--stream", "--no-stdin", "-o", form, "Hello"]);
        let mut child = call.spawn();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        drop(stdout);
        let ended = call.ended(&child.wait_with_output().unwrap());
        ended
            .code(0)
            .stderr_has("trace: http")
            .stderr_lacks("error");
        assert_eq!(
            attribute(&servers.trace().parent, "output.value").unwrap(),
            text
        );
    }
}

#[test]
fn stdout_that_is_closed_from_the_start_is_no_error() {
    for form in ["text", "json", "raw", "url"] {
        let servers = Servers::answering("hi");
        let call = servers.call(&["chat", "--no-stdin", "-o", form, "Hello"]);
        let mut child = call.spawn();
        drop(child.stdout.take());
        let ended = call.ended(&child.wait_with_output().unwrap());
        ended.code(0);
        assert_eq!(
            attribute(&servers.trace().parent, "output.value").unwrap(),
            "hi"
        );
    }
}

#[test]
fn a_full_disk_under_stdout_is_a_file_problem_and_the_trace_is_whole() {
    for arguments in [
        &["chat", "Hello"][..],
        &["chat", "--stream", "Hello"],
        &["chat", "-o", "json", "Hello"],
        &["chat", "-o", "raw", "Hello"],
        &["chat", "-o", "url", "Hello"],
    ] {
        let servers = Servers::answering("hi");
        let call = servers.call(arguments);
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = call
            .command()
            .stdin(Stdio::null())
            .stdout(full)
            .output()
            .unwrap();
        let ended = call.ended(&output);
        assert_eq!(ended.code, Some(6), "{arguments:?}: {ended:#?}");
        ended.stderr_has("stdout").stderr_lacks("panicked");
        assert_eq!(
            attribute(&servers.trace().parent, "output.value").unwrap(),
            "hi"
        );
    }
}

#[test]
fn verbose_shows_the_wire_without_its_secrets() {
    let secret = "sk-a-model-key-0123456789";
    let header = "a-header-value-0123456789";
    for verbosity in ["-v", "-vv", "-vvv"] {
        let servers = Servers::answering("hi");
        let authorization = format!("X-Api-Key: {header}");
        let call = servers.call(&["chat", verbosity, "-H", &authorization, "Hello"]);
        let ended = call.env("OPENAI_API_KEY", secret).run();
        ended.code(0).stdout("hi\n");
        ended
            .stderr_has("/v1/chat/completions")
            .stderr_has("/api/public/otel/v1/traces")
            .stderr_has("200");
        let pair = STANDARD.encode("pk-lf-sandbox:sk-lf-sandbox");
        for hidden in [secret, header, &pair, "sk-lf-sandbox"] {
            ended.stderr_lacks(hidden);
        }
    }
}

#[test]
fn a_key_that_the_server_repeats_is_not_shown() {
    let secret = "sk-a-model-key-0123456789";
    let message = format!("Incorrect API key provided: {secret}.");
    let servers = Servers::replying(Reply::json(401, &json!({"error": {"message": message}})));
    for arguments in [&["chat", "-vv", "Hello"][..], &["chat", "--json", "Hello"]] {
        let ended = servers.call(arguments).env("OPENAI_API_KEY", secret).run();
        ended.code(4).stderr_lacks(secret);
        assert!(!ended.stdout.contains(secret), "{ended:#?}");
    }
    for request in servers.langfuse.requests() {
        assert!(
            !String::from_utf8_lossy(&request.body).contains(secret),
            "the trace shows the key"
        );
    }
}

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

/// A call whose spans go to an endpoint that is no Langfuse.
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

#[test]
fn what_is_written_for_a_dry_run_opens_no_socket() {
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

#[test]
fn nothing_is_left_behind_by_a_good_run() {
    let servers = Servers::answering("hi");
    let ended = servers.call(&["chat", "Hello"]).run();
    assert!(ended.code(0).outbox_files().is_empty());
    let home: Vec<_> = fs::read_dir(ended.home())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != ".local")
        .collect();
    assert!(home.is_empty(), "{home:?}");
}
