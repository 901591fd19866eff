//! `langspan sandbox --clear`: its question, its effect and its refusals; and the size of the store at start.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{send, span};
use crate::support::harness::{Ended, Langspan, files_below};
use crate::support::stand_in::Sandbox;

/// A store with two traces and a media file, of a sandbox that has ended.
fn filled() -> TempDir {
    let state = TempDir::new().unwrap();
    let sandbox = Sandbox::start_in(state.path(), &[]);
    send(&sandbox, &[span("a", "1", 0, &[]), span("b", "2", 0, &[])]);
    super::media::upload(&sandbox, "image/png", b"picture");
    state
}

fn clear(state: &Path, arguments: &[&str]) -> Ended {
    Langspan::new(&[&["sandbox", "--clear"], arguments].concat())
        .env("XDG_STATE_HOME", state.to_str().unwrap())
        .run()
}

fn stored(state: &Path) -> Vec<String> {
    let mut names: Vec<String> = files_below(&state.join("langspan/sandbox"))
        .iter()
        .map(|file| file.file_name().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name != ".lock")
        .collect();
    names.sort();
    names
}

#[test]
fn clear_deletes_traces_and_media_and_nothing_else() {
    let state = filled();
    let store = state.path().join("langspan/sandbox");
    fs::write(store.join("notes.txt"), "mine").unwrap();
    assert_eq!(stored(state.path()).len(), 5, "{:?}", stored(state.path()));

    let ended = clear(state.path(), &["--yes"]);
    ended.code(0);
    let done = "deleted 2 traces, ";
    assert!(ended.stdout.starts_with(done), "{}", ended.stdout);
    let place = format!(" in {}\n", store.display());
    assert!(ended.stdout.ends_with(&place), "{}", ended.stdout);
    assert_eq!(stored(state.path()), ["notes.txt"]);

    let again = clear(state.path(), &["--yes"]);
    again.code(0);
    assert_eq!(again.stdout, format!("{} has no traces\n", store.display()));
    let quiet = clear(state.path(), &["--yes", "-q"]);
    assert_eq!(quiet.code(0).stdout, "");
}

#[test]
fn clear_deletes_nothing_when_it_cannot_ask() {
    let state = filled();
    let ended = clear(state.path(), &[]);
    ended
        .code(2)
        .stderr_has("stdin is not a terminal: cannot ask")
        .stderr_has("add --yes");
    assert_eq!(stored(state.path()).len(), 4);
}

#[test]
fn clear_asks_on_a_terminal_and_obeys() {
    for (answer, left) in [("n", 4), ("", 4), ("y", 0)] {
        let state = filled();
        let command = format!("{} sandbox --clear", env!("CARGO_BIN_EXE_langspan"));
        let mut child = Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .env("XDG_STATE_HOME", state.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.take().unwrap(), "{answer}").unwrap();
        let output = child.wait_with_output().unwrap();
        let screen = String::from_utf8_lossy(&output.stdout);
        assert!(screen.contains("Delete 2 traces, "), "{screen}");
        assert!(screen.contains(" permanently? [y/N] "), "{screen}");
        assert!(output.status.success(), "{screen}");
        assert_eq!(stored(state.path()).len(), left, "{answer}: {screen}");
    }
}

#[test]
fn clear_is_refused_while_a_sandbox_serves_the_store() {
    let state = filled();
    let sandbox = Sandbox::start_in(state.path(), &[]);
    let other = Sandbox::start_in(state.path(), &[]);
    let refused = || {
        let ended = clear(state.path(), &["--yes"]);
        ended
            .code(6)
            .stderr_has("a sandbox is serving ")
            .stderr_has("stop the sandbox first");
        assert_eq!(stored(state.path()).len(), 4);
    };
    refused();
    drop(sandbox);
    refused();
    drop(other);
    clear(state.path(), &["--yes"]).code(0);
    assert_eq!(stored(state.path()).len(), 0);
}

#[test]
fn clear_takes_no_options_of_a_server() {
    for arguments in [&["--clear", "--port", "0"][..], &["--yes"]] {
        Langspan::new(&[&["sandbox"], arguments].concat())
            .run()
            .code(2);
    }
}

/// The first lines of a sandbox on this store.
fn greeting(state: &Path) -> String {
    let mut process = Command::new(env!("CARGO_BIN_EXE_langspan"))
        .args(["sandbox", "--port", "0"])
        .env_clear()
        .env("XDG_STATE_HOME", state)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let greeting: Vec<String> = lines.take(2).map(Result::unwrap).collect();
    process.kill().unwrap();
    process.wait().unwrap();
    greeting.join("\n")
}

#[test]
fn the_start_says_where_the_store_is_and_how_large() {
    let state = TempDir::new().unwrap();
    let store = state.path().join("langspan/sandbox");
    let empty = format!("Store: {} (0 traces, 0 bytes)", store.display());
    let said = greeting(state.path());
    assert!(said.ends_with(&empty), "{said}");

    fs::create_dir_all(&store).unwrap();
    fs::write(store.join("a.jsonl"), vec![b'x'; 1_234_567]).unwrap();
    let said = greeting(state.path());
    assert!(said.ends_with(" (1 trace, 1.2 MB)"), "{said}");
}
