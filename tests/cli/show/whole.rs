//! How long `show` waits until the trace is whole, and how fast it draws a large one.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::pty::openpty;
use serde_json::{Value, json};

use super::{ID, show};
use crate::support::harness::{OBSERVATIONS, Reply, Scripted};

const INCOMPLETE: &str = "names a parent that is not there";

fn row(id: &str, parent: Option<&str>) -> Value {
    json!({
        "id": id, "traceId": ID, "parentObservationId": parent, "type": "SPAN", "name": format!("span {id}"),
        "startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-01T00:00:01Z", "isRootObservation": parent.is_none(),
    })
}

/// A Langfuse that answers each look with the next of these pages; the last one stays.
fn answering(looks: Vec<Vec<Value>>) -> Scripted {
    Scripted::start(move |request, earlier| {
        if request.path.starts_with("/api/public/v3/scores") {
            return Reply::json(200, &json!({"data": [], "meta": {}}));
        }
        assert!(request.path.starts_with(OBSERVATIONS), "{}", request.path);
        let rows = looks.get(earlier).or(looks.last()).unwrap();
        Reply::json(200, &json!({"data": rows, "meta": {}}))
    })
}

#[test]
fn a_missing_parent_is_waited_for() {
    let child = row("b", Some("a"));
    let server = answering(vec![
        vec![],
        vec![child.clone()],
        vec![child, row("a", None)],
    ]);
    let ended = show(server.url(), &[ID]).run();
    ended.code(0);
    assert_eq!(ended.stderr, "");
    assert!(ended.stdout.contains("└─ span b"), "{ended:#?}");
    assert_eq!(server.requests_to(OBSERVATIONS).len(), 3);
}

#[test]
fn a_parent_that_never_comes_is_not_waited_for_long() {
    let server = answering(vec![vec![row("b", Some("gone"))]]);
    let start = Instant::now();
    let ended = show(server.url(), &[ID]).run();
    ended.code(0).stderr_has(INCOMPLETE);
    assert!(ended.stdout.contains("span b"), "{ended:#?}");
    assert!(
        server.requests_to(OBSERVATIONS).len() > 1 && start.elapsed() >= Duration::from_secs(1)
    );
    let ended = show(server.url(), &["-q", ID]).run();
    ended.code(0).stderr_lacks(INCOMPLETE);
}

#[test]
fn rows_that_still_come_are_waited_for() {
    let rows = ["b", "c", "d", "e"].map(|id| row(id, Some("gone")));
    let looks = (1..=4).map(|count| rows[..count].to_vec());
    let server = answering(looks.collect());
    let ended = show(server.url(), &[ID]).run();
    ended.code(0).stderr_has(INCOMPLETE);
    assert!(ended.stdout.contains("span e"), "{ended:#?}");
}

#[test]
fn an_app_root_needs_no_parent() {
    let mut root = row("b", Some("elsewhere"));
    root["isRootObservation"] = true.into();
    let server = answering(vec![vec![root]]);
    let ended = show(server.url(), &[ID]).run();
    ended.code(0);
    assert_eq!(
        (
            ended.stderr.as_str(),
            server.requests_to(OBSERVATIONS).len()
        ),
        ("", 1)
    );
}

#[test]
fn a_trace_that_is_not_whole_in_time_is_drawn_as_it_is() {
    let server = answering(vec![vec![row("b", Some("gone"))]]);
    let ended = show(server.url(), &[ID, "--wait", "0.3"]).run();
    ended.code(0).stderr_has(INCOMPLETE);
    assert!(ended.stdout.contains("span b"), "{ended:#?}");
}

#[test]
fn the_wait_is_15_seconds_unless_told_otherwise() {
    let help = show("http://127.0.0.1:1", &["--help"]).run();
    let help = help.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        help.contains("can be read, in seconds [default: 15]"),
        "{help}"
    );
}

/// What `show` writes to a terminal at stderr.
fn on_a_terminal(url: &str, options: &[&str]) -> String {
    let terminal = openpty(None, None).unwrap();
    let call = show(url, &[&[ID], options].concat());
    let mut command = call.command();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(terminal.slave)
        .spawn()
        .unwrap();
    // It holds the terminal open as well.
    drop(command);
    let mut screen = File::from(terminal.master);
    let (mut shown, mut piece) = (Vec::new(), [0; 4096]);
    // A terminal that its last writer has left ends in an error.
    while let Ok(count @ 1..) = screen.read(&mut piece) {
        shown.extend(&piece[..count]);
    }
    child.wait().unwrap();
    String::from_utf8(shown).unwrap()
}

#[test]
fn a_terminal_shows_that_the_trace_is_waited_for() {
    let server = answering(vec![vec![]]);
    let note = "waiting for the trace, 2 s at most";
    assert!(on_a_terminal(server.url(), &["--wait", "2"]).contains(note));
    assert!(!on_a_terminal(server.url(), &["--wait", "2", "-q"]).contains("waiting"));
    let ended = show(server.url(), &[ID, "--wait", "2"]).run();
    ended.code(7).stderr_lacks("waiting");
}

/// Quadratic work would take minutes.
#[test]
fn ten_thousand_spans_are_drawn_in_no_time() {
    const COUNT: usize = 10_000;
    let id = |number: usize| format!("{number:016x}");
    let wide = |number: usize| (number > 0).then_some(0);
    let chain = |number: usize| number.checked_sub(1);
    let shapes: [&dyn Fn(usize) -> Option<usize>; 2] = [&wide, &chain];
    for parent in shapes {
        let rows = (0..COUNT).map(|number| row(&id(number), parent(number).map(id).as_deref()));
        let server = answering(vec![rows.collect()]);
        let start = Instant::now();
        let ended = show(server.url(), &[ID]).run();
        let elapsed = start.elapsed();
        ended.code(0);
        assert_eq!(ended.stdout.matches("span 0").count(), COUNT);
        assert!(elapsed < Duration::from_secs(30), "{elapsed:?}");
    }
}
