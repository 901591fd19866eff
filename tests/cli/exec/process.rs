//! The child as a process: exit codes, signals, streams and terminal.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use nix::pty::openpty;
use serde_json::{Value, json};

use crate::support::exec::{Session, TRACE, row, span};
use crate::support::harness::{Langspan, Reply, Scripted, wait_until};
use crate::support::stand_in::Sandbox;

fn exec(sandbox: &Sandbox, words: &[&str]) -> Langspan {
    words
        .iter()
        .fold(Langspan::new(&["exec"]), |call, word| call.arg(word))
        .at(sandbox)
}

fn command(sandbox: &Sandbox, trace: &str) -> Value {
    let rows = sandbox.observations(trace);
    assert_eq!(rows.len(), 1, "{rows:#?}");
    rows[0].clone()
}

#[test]
fn the_exit_code_is_the_childs() {
    let sandbox = Sandbox::start();
    for (words, code, level, metadata) in [
        (
            &["--", "sh", "-c", "exit 0"][..],
            0,
            "DEFAULT",
            ("exit_code", 0),
        ),
        (&["--", "sh", "-c", "exit 3"], 3, "ERROR", ("exit_code", 3)),
        (
            &["--", "sh", "-c", "kill -9 $$"],
            137,
            "ERROR",
            ("signal", 9),
        ),
        (&["--", "no-such-command"], 127, "ERROR", ("exit_code", 127)),
        (&["--", "/"], 126, "ERROR", ("exit_code", 126)),
    ] {
        let ended = exec(&sandbox, words).run();
        ended.code(code);
        let row = command(&sandbox, &ended.trace_id());
        assert_eq!(row["level"], level, "{row}");
        assert_eq!(row["metadata"][metadata.0], metadata.1, "{row}");
    }
}

#[test]
fn the_commands_span_has_its_name_its_line_and_no_output() {
    let sandbox = Sandbox::start();
    let key = "sk-0123456789abcdefghijklmnop";
    let ended = exec(&sandbox, &["--", "/bin/echo", "a b", key]).run();
    ended.code(0).stdout(&format!("a b {key}\n"));
    let row = command(&sandbox, &ended.trace_id());
    assert_eq!(row["name"], "echo");
    assert_eq!(row["input"], "/bin/echo 'a b' [redacted]");
    assert_eq!(row["output"], Value::Null);
    assert_eq!(row["metadata"]["calls"], 0);
    let ended = exec(
        &sandbox,
        &["--capture", "none", "--", "/bin/echo", "secret"],
    )
    .run();
    assert_eq!(command(&sandbox, &ended.trace_id())["input"], "/bin/echo");
}

#[test]
fn an_unread_trace_counts_only_when_the_child_did_not_fail() {
    let never = Sandbox::start_with(&["--visible-after", "600000"]);
    for (code, expected) in [("0", 7), ("3", 3)] {
        let script = format!("exit {code}");
        let words = ["--verify", "--wait", "1", "--", "sh", "-c", &script];
        let ended = exec(&never, &words).run();
        ended.code(expected).stderr_has("could be read within 1 s");
    }
}

#[test]
fn the_childs_code_wins_when_langspan_was_signalled() {
    let sandbox = Sandbox::start();
    for code in [0, 5] {
        let script = format!("trap 'exit {code}' TERM; : >ready; while :; do sleep 0.05; done");
        let call = exec(&sandbox, &["--", "sh", "-c", &script]);
        let process = call.spawn();
        let ready = call.home().join("ready");
        wait_until("the child has started", || ready.exists());
        let id = process.id().to_string();
        let sent = Command::new("kill").args(["-s", "TERM", &id]).status();
        assert!(sent.unwrap().success());
        let ended = call.ended(&process.wait_with_output().unwrap());
        ended.code(code).stderr_has("trace: ");
    }
}

#[test]
fn a_failed_delivery_counts_only_when_the_child_did_not_fail() {
    let refusing = Scripted::langfuse(|_, _| Reply::json(400, &json!({"message": "no"})));
    let call = |code: &str| {
        let script = format!("exit {code}");
        Langspan::new(&["exec", "--", "sh", "-c", &script])
            .langfuse_at(refusing.url())
            .run()
    };
    call("0").code(5).stderr_has("the spans are kept in");
    call("3").code(3).stderr_has("the spans are kept in");
}

#[test]
fn stdin_is_the_childs() {
    let sandbox = Sandbox::start();
    let ended = exec(&sandbox, &["-q", "--", "cat"]).stdin("typed").run();
    ended.code(0).stdout("typed");
}

#[test]
fn signals_are_passed_on_and_the_trace_is_delivered() {
    for (signal, code) in [("TERM", 143), ("HUP", 129)] {
        let sandbox = Sandbox::start();
        let session = Session::start(Langspan::new(&["exec"]).at(&sandbox));
        session.send(&[span(TRACE, 1, None, "one", &json!({}))]);
        let id = session.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", signal, &id])
                .status()
                .unwrap()
                .success()
        );
        let ended = session.wait();
        ended.code(code);
        assert_eq!(sandbox.observations(TRACE).len(), 2, "{signal}");
    }
}

#[test]
fn keys_that_end_programs_reach_the_child_and_langspan_stays() {
    let sandbox = Sandbox::start();
    // ^C and ^\
    for key in [b"\x03", b"\x1c"] {
        press(&sandbox, key);
    }
}

/// Presses a key on the terminal of a run.
fn press(sandbox: &Sandbox, key: &[u8]) {
    let pty = openpty(None, None).unwrap();
    let script = "trap 'echo caught; exit 7' INT QUIT; [ -t 0 ] && [ -t 1 ] && : >terminal; while :; do sleep 0.05; done";
    let call = exec(sandbox, &["--", "sh", "-c", script]);
    let stream = || Stdio::from(pty.slave.try_clone().unwrap());
    // setsid makes the terminal the controlling one, so that ^C is a signal to its whole group.
    let mut command = Command::new("setsid");
    let inner = call.command();
    command
        .args(["--ctty", "--wait"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir(call.home());
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let mut process = command
        .stdin(stream())
        .stdout(stream())
        .stderr(stream())
        .spawn()
        .unwrap();
    wait_until("the child sees the terminal", || {
        call.home().join("terminal").exists()
    });
    let mut master = fs::File::from(pty.master.try_clone().unwrap());
    master.write_all(key).unwrap();
    let code = process.wait().unwrap().code();
    drop(command);
    drop::<OwnedFd>(pty.slave);
    let mut shown = Vec::new();
    // The other side of a terminal that is closed gives an error in place of an end.
    let _ = master.read_to_end(&mut shown);
    let shown = String::from_utf8_lossy(&shown);
    assert_eq!(code, Some(7), "{shown}");
    assert!(
        shown.contains("caught") && shown.contains("trace: "),
        "{shown}"
    );
}

#[test]
fn the_child_has_the_default_signals() {
    let sandbox = Sandbox::start();
    let ended = exec(
        &sandbox,
        &["-q", "--", "grep", "SigIgn", "/proc/self/status"],
    )
    .run();
    let mask = ended.stdout.trim().rsplit('\t').next().unwrap().to_owned();
    let mask = u64::from_str_radix(&mask, 16).unwrap();
    assert_eq!(
        mask & ((1 << 1) | (1 << 2) | 1 | (1 << 14)),
        0,
        "{}",
        ended.stdout
    );
}

#[test]
fn a_killed_grandchild_does_not_hold_the_run_up() {
    let sandbox = Sandbox::start();
    // A descendant that goes on has no request under way.
    let ended = exec(
        &sandbox,
        &["--", "sh", "-c", "sleep 5 >/dev/null 2>&1 & exit 0"],
    )
    .run();
    ended.code(0);
    let rows = sandbox.observations(&ended.trace_id());
    row(&rows, "sh");
}
