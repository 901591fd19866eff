//! The prompt: from arguments, stdin or both, and stdin that is refused.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};

use crate::support::harness::{Ended, Langspan, Reply, Scripted, completion, wait_until};
use crate::support::otlp::Servers;

/// Runs a call with stdin of some other kind than a pipe.
fn run_with(call: &Langspan, stdin: impl Into<Stdio>) -> Ended {
    call.ended(&call.command().stdin(stdin).output().unwrap())
}

/// Past 100 MB, however they are counted.
const TOO_LARGE: u64 = 110_000_000;

#[test]
fn several_arguments_are_one_instruction() {
    let servers = Servers::answering("hi");
    servers.call(&["chat", "Why", "trace", "calls?"]).run();
    assert_eq!(servers.prompt(), "Why trace calls?");
}

#[test]
fn a_pipe_follows_the_arguments_after_a_blank_line() {
    let servers = Servers::answering("hi");
    let ended = servers
        .call(&["chat", "Review"])
        .stdin("first\n\nlast")
        .run();
    ended.code(0);
    assert_eq!(servers.prompt(), "Review\n\nfirst\n\nlast");
}

#[test]
fn a_file_follows_the_arguments_after_a_blank_line() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["chat", "Review"]);
    let file = call.file("diff", "+ line");
    run_with(&call, File::open(file).unwrap()).code(0);
    assert_eq!(servers.prompt(), "Review\n\n+ line");
}

#[test]
fn a_socket_as_stdin_follows_the_arguments_after_a_blank_line() {
    let servers = Servers::answering("hi");
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.write_all(b"from a socket").unwrap();
    drop(ours);
    let call = servers.call(&["chat", "Review"]);
    run_with(&call, OwnedFd::from(theirs)).code(0);
    assert_eq!(servers.prompt(), "Review\n\nfrom a socket");
}

#[test]
fn a_device_is_not_read_beside_arguments() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["chat", "Hello"]);
    run_with(&call, File::open("/dev/zero").unwrap()).code(0);
    assert_eq!(servers.prompt(), "Hello");
}

#[test]
fn a_dash_and_nothing_at_all_both_mean_stdin_alone() {
    for arguments in [&["chat", "-"][..], &["chat"]] {
        let servers = Servers::answering("hi");
        servers.call(arguments).stdin("From a pipe").run().code(0);
        assert_eq!(servers.prompt(), "From a pipe", "{arguments:?}");
    }
}

#[test]
fn empty_stdin_counts_as_absent() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["chat", "Hello"]);
    let empty = call.file("empty", "");
    run_with(&call, Stdio::null()).code(0);
    run_with(&call, File::open(empty).unwrap()).code(0);
    call.stdin("").run().code(0);
    let asked = servers.asked();
    assert_eq!(asked.len(), 3);
    for request in asked {
        assert_eq!(request.json()["messages"][0]["content"], "Hello");
    }
}

#[test]
fn no_prompt_anywhere_is_a_usage_error() {
    let servers = Servers::answering("hi");
    for arguments in [&["chat"][..], &["chat", "-"], &["chat", "--no-stdin"]] {
        servers.call(arguments).stdin("").run().code(2).stdout("");
        servers.call(arguments).run().code(2).stdout("");
    }
    assert!(servers.model.requests().is_empty());
    assert!(servers.langfuse.requests().is_empty());
}

#[test]
fn no_stdin_ignores_a_pipe() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["chat", "--no-stdin", "Hello"]);
    call.stdin("something else").run().code(0);
    assert_eq!(servers.prompt(), "Hello");
}

#[test]
fn no_stdin_does_not_wait_for_a_pipe_that_never_speaks() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["chat", "--no-stdin", "Hello"]);
    let mut child = call.spawn();
    let silent = child.stdin.take();
    wait_until("the call ends", || child.try_wait().unwrap().is_some());
    drop(silent);
    call.ended(&child.wait_with_output().unwrap())
        .code(0)
        .stdout("hi\n");
}

#[test]
fn a_silent_pipe_is_mentioned_and_still_read() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["chat", "Review"]);
    let mut child = call.spawn();
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(
        line.contains("reading stdin; --no-stdin ignores it"),
        "{line}"
    );
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"late").unwrap();
    drop(stdin);
    call.ended(&child.wait_with_output().unwrap()).code(0);
    assert_eq!(servers.prompt(), "Review\n\nlate");
}

#[test]
fn a_shell_loop_with_no_stdin_sees_every_line() {
    let model = Scripted::start(|request, _| {
        let prompt = request.json()["messages"][0]["content"].to_string();
        Reply::json(200, &completion(&prompt))
    });
    let servers = Servers::with(model);
    let script = r#"printf 'one\ntwo\nthree\n' |
        while read -r line; do "$1" chat --no-stdin "$line" || exit; done"#;
    shell(&servers.call(&[]), script)
        .code(0)
        .stdout("\"one\"\n\"two\"\n\"three\"\n");
}

/// Runs a script in the environment of a call; `$1` is the binary.
fn shell(call: &Langspan, script: &str) -> Ended {
    let binary = call.command();
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", script, "sh"])
        .arg(binary.get_program())
        .env_clear()
        .current_dir(call.home())
        .stdin(Stdio::null());
    for (name, value) in binary.get_envs() {
        shell.env(name, value.unwrap());
    }
    call.ended(&shell.output().unwrap())
}

#[test]
fn a_terminal_without_a_prompt_is_a_usage_error() {
    let servers = Servers::answering("hi");
    let Some(output) = at_a_terminal(&servers.call(&[]), "chat") else {
        return;
    };
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(servers.model.requests().is_empty());
}

#[test]
fn a_terminal_is_not_read_beside_arguments() {
    let servers = Servers::answering("hi");
    let Some(output) = at_a_terminal(&servers.call(&[]), "chat Hello") else {
        return;
    };
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(servers.prompt(), "Hello");
}

/// Runs it at a terminal without input; `None` where `script` is not installed.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn at_a_terminal(call: &Langspan, arguments: &str) -> Option<Output> {
    let binary = call.command();
    let program = binary.get_program().to_str().unwrap();
    let mut script = Command::new("script");
    script
        .args([
            "-qec",
            &format!("'{program}' {arguments} 2>&1"),
            "/dev/null",
        ])
        .current_dir(call.home())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in binary.get_envs() {
        script.env(name, value.unwrap());
    }
    let Ok(mut child) = script.spawn() else {
        eprintln!("skipped: this machine has no `script` to make a terminal with");
        return None;
    };
    let silent = child.stdin.take();
    wait_until("the call ends", || child.try_wait().unwrap().is_some());
    drop(silent);
    Some(child.wait_with_output().unwrap())
}

#[test]
fn stdin_that_is_not_utf_8_is_invalid_input() {
    let servers = Servers::answering("hi");
    for arguments in [&["chat", "Review"][..], &["chat", "-"]] {
        let ended = servers
            .call(arguments)
            .stdin(b"caf\xe9 au lait".to_vec())
            .run();
        ended.code(2).stdout("").stderr_has("UTF-8");
    }
    assert!(servers.model.requests().is_empty());
}

#[test]
fn stdin_over_100_mb_is_invalid_input() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["chat", "Review"]);
    let large = File::create(call.home().join("large")).unwrap();
    large.set_len(TOO_LARGE).unwrap();
    let large = File::open(call.home().join("large")).unwrap();
    run_with(&call, large)
        .code(2)
        .stdout("")
        .stderr_has("100 MB");
    assert!(servers.model.requests().is_empty());
}
