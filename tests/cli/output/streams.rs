//! Closed, full and quiet output, and what is hidden.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{piece, stop, streamed};
use crate::support::harness::{Langspan, Reply};
use crate::support::otlp::{Servers, attribute};

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
fn a_closed_stdout_is_not_an_error_and_the_trace_is_whole() {
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
            .stderr_has("200")
            .stderr_lacks("\n\n");
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

#[test]
fn too_few_file_descriptors_are_an_error_with_that_cause() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["chat", "Hello"]);
    for limit in 5..16 {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit -n {limit}; exec \"$@\""), "sh"])
            .arg(env!("CARGO_BIN_EXE_langspan"))
            .args(["chat", "Hello"])
            .env_clear()
            .envs(
                call.command()
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(Stdio::null());
        let ended = call.ended(&command.output().unwrap());
        ended
            .code(6)
            .stderr_has("file descriptors")
            .stderr_has("ulimit -n")
            .stderr_lacks("panicked")
            .stderr_lacks("bug");
    }
}

#[test]
fn quiet_prints_an_error_without_its_hint() {
    let servers = Servers::replying(Reply::json(
        404,
        &json!({"error": {"message": "no such model"}}),
    ));
    let ended = servers.call(&["chat", "-q", "Hello"]).run();
    ended.code(4).stderr_has("no such model");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:#?}");
    let unset = Langspan::new(&["chat", "-q", "Hello"]).run();
    unset.code(3).stderr_has("error:").stderr_lacks("hint:");
}
