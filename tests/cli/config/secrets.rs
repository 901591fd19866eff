//! Secrets from files and commands.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Servers, call};
use crate::support::harness::{Reply, Scripted};

/// Settings whose Langfuse secret and model key come from these lines.
fn settings(servers: &Servers, lines: &str) -> String {
    format!(
        "langfuse_base_url = '{}'\npublic_key = 'pk-lf-of-file'\nopenai_base_url = '{}'\n{lines}\n",
        servers.langfuse.url(),
        servers.model.url()
    )
}

#[test]
fn the_first_line_of_a_file_or_a_command_is_the_key() {
    let servers = Servers::start();
    let lines = "secret_key_file = 'secret'\nopenai_api_key_command = ['printf', 'sk-model-0123456789\\nmore\\n']";
    let lines = lines.replace('\'', "\"");
    let call = call(&["chat", "-vv", "Hello"], &settings(&servers, &lines));
    let secret = call.home().join(".config/langspan/secret");
    fs::write(secret, " sk-lf-9876543210 \nmore\n").unwrap();
    let ended = call.run();
    ended
        .code(0)
        .stderr_lacks("0123456789")
        .stderr_lacks("9876543210");
    let request = &servers.model.requests()[0];
    assert_eq!(
        request.header("authorization"),
        "Bearer sk-model-0123456789"
    );
    assert!(!servers.langfuse.exports().is_empty());
}

#[test]
fn no_shell_reads_a_command_and_it_gets_no_stdin() {
    let servers = Servers::start();
    let lines = "secret_key_command = ['./key.sh', '$HOME; exit 1']";
    let call = call(&["chat", "Hello"], &settings(&servers, lines)).stdin("prompt");
    let script = call.home().join(".config/langspan/key.sh");
    fs::write(&script, "#!/bin/sh\ncat\necho \"$1\"\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(&script, mode).unwrap();
    call.env("PATH", "/usr/bin:/bin").run().code(0);
    let prompt = servers.model.requests()[0].json();
    assert_eq!(prompt["messages"][0]["content"], "Hello\n\nprompt");
}

#[test]
fn a_command_that_gives_no_key_is_named_with_its_own_words() {
    let servers = Servers::start();
    for (command, cause, remedy) in [
        (
            "['false']",
            "failed (exit status: 1)",
            "run the command in a shell",
        ),
        (
            "['sh', '-c', 'echo sk-lf-0123456789; echo locked sk-lf-0123456789 >&2; exit 3']",
            "(exit status: 3): locked [redacted]",
            "run the command",
        ),
        ("['true']", "printed no key", "first line"),
        (
            "['sh', '-c', 'echo; echo x']",
            "printed no key",
            "first line",
        ),
        ("['no-such-program']", "cannot be started", "PATH"),
    ] {
        let lines = format!("secret_key_command = {}", command.replace('\'', "\""));
        let call = call(&["chat", "Hello"], &settings(&servers, &lines));
        let ended = call.env("PATH", "/usr/bin:/bin").run();
        ended
            .code(3)
            .stdout("")
            .stderr_has(cause)
            .stderr_has(remedy);
        ended.stderr_has("config.toml:4").stderr_lacks("0123456789");
        assert_eq!(ended.stderr.lines().count(), 2, "{ended:#?}");
    }
    assert!(servers.model.requests().is_empty());
}

#[test]
fn a_command_that_hangs_is_ended_after_ten_seconds() {
    let servers = Servers::start();
    let lines = "secret_key_command = ['sleep', '60']";
    let call = call(&["chat", "Hello"], &settings(&servers, lines));
    let start = Instant::now();
    let ended = call.env("PATH", "/usr/bin:/bin").run();
    ended.code(3).stderr_has("did not end within 10 s");
    ended.stderr_has("unlock the key store");
    assert!(start.elapsed() >= Duration::from_secs(10));
}

#[test]
fn a_key_file_that_cannot_be_used_is_named() {
    let servers = Servers::start();
    let call = call(
        &["chat", "Hello"],
        &settings(&servers, "secret_key_file = 'secret'"),
    );
    call.run().code(6).stderr_has("secret cannot be read");
    fs::write(call.home().join(".config/langspan/secret"), "\n").unwrap();
    call.run().code(3).stderr_has("the key's file is empty");
}

#[test]
fn a_command_runs_only_when_its_key_is_needed() {
    let servers = Servers::start();
    let lines = "secret_key_command = ['touch', 'ran']\nopenai_api_key_command = ['touch', 'ran']";
    let settings = settings(&servers, lines);
    for call in [
        call(&["chat", "--sandbox", "Hello"], &settings),
        call(&["chat", "Hello"], &settings)
            .langfuse_at(servers.langfuse.url())
            .env("OPENAI_API_KEY", "sk-of-environment"),
        call(&["config", "profiles"], &settings),
    ] {
        let call = call.env("PATH", "/usr/bin:/bin");
        call.run().code(0);
        assert!(!call.home().join("ran").exists());
    }
}

#[test]
fn the_hint_about_a_refused_key_names_the_line_that_it_came_from() {
    let refusal = Reply::json(401, &json!({"error": {"message": "wrong key"}}));
    let model = Scripted::always(refusal);
    let langfuse = Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "no"})));
    let servers = Servers { model, langfuse };
    let lines = "secret_key = 'sk-lf-9876543210'\nopenai_api_key = 'sk-model-0123456789'";
    let call = call(
        &["chat", "--retries", "0", "Hello"],
        &settings(&servers, lines),
    );
    let file = call.home().join(".config/langspan/config.toml");
    let file = file.display();
    let ended = call.run();
    ended.code(5);
    ended.stderr_has(&format!(
        "check that {file}:5 is a valid key for 127.0.0.1:"
    ));
    ended.stderr_has(&format!(
        "check that {file}:2 and {file}:4 are keys of {}",
        servers.langfuse.url()
    ));
    ended.stderr_lacks("_KEY");
    let of_variable = call.env("OPENAI_API_KEY", "sk-model-of-variable");
    let ended = of_variable.run();
    ended.stderr_has("check that OPENAI_API_KEY is a valid key");
}
