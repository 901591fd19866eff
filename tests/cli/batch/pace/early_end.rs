//! What ends a run early.

use std::io::{BufRead as _, BufReader};

use serde_json::json;

use super::{Asking, Headers, answer, refusal, servers};
use crate::support::batch::gate::send;
use crate::support::batch::output::{lines, lines_in, numbers, out};
use crate::support::batch::{batch_of, prompts};
use crate::support::harness::{Reply, Scripted, completion, wait_until};
use crate::support::otlp::{Servers, traces_at};

#[test]
fn a_pause_longer_than_the_timeout_ends_the_run_early() {
    const RESETS: Headers = &[
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "1h0m0s"),
    ];
    // No clock can hold it.
    const ABSURD: &[(&str, &str)] = &[
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "1e19"),
    ];
    let cases: [Asking; 7] = [
        (429, &[("retry-after-ms", "1e19")]),
        (429, ABSURD),
        (200, ABSURD),
        (429, &[("retry-after", "3600")]),
        (503, &[("retry-after-ms", "3600000")]),
        (429, RESETS),
        (200, RESETS),
    ];
    for (status, headers) in cases {
        let servers = servers(move |_, count| {
            if count < 3 {
                return answer();
            }
            let headers = headers
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()));
            Reply::With(status, headers.collect(), completion("hi").to_string())
        });
        let ended = batch_of(&servers, 50, &["-j", "1", "-O", "out.jsonl"]).run();
        ended
            .code(8)
            .stderr_has("stopped early")
            .stderr_has("--resume");
        assert_eq!(servers.asked().len(), 4, "{status} {headers:?}");
        let lines = out(&ended);
        assert_eq!(numbers(&lines), [1, 2, 3, 4]);
        assert_eq!(lines[3]["response"]["status_code"], status);
        assert_eq!(traces_at(&servers.langfuse).len(), 4);
    }
}

#[test]
fn a_fatal_refusal_ends_the_run_early_and_keeps_its_answers() {
    let quota = json!({"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}});
    let key = json!({"error": {"message": "Incorrect API key provided"}});
    for (status, body, words) in [(429, quota, "quota"), (401, key, "API key")] {
        let servers = servers(move |_, count| {
            if count < 10 {
                answer()
            } else {
                Reply::json(status, &body)
            }
        });
        let ended = batch_of(&servers, 500, &["-j", "4", "-O", "out.jsonl"]).run();
        ended
            .code(8)
            .stderr_has("stopped early")
            .stderr_has(words)
            .stderr_has("langspan batch in.jsonl -j 4 -O out.jsonl --resume");
        let asked = servers.asked().len();
        // Up to four calls are under way when the endpoint begins to refuse; no refusal makes room for another.
        assert!((11..=14).contains(&asked), "{asked}");
        let lines = out(&ended);
        assert_eq!(lines.len(), asked, "every call that was made has its line");
        let answered = lines
            .iter()
            .filter(|line| line["response"]["status_code"] == 200);
        assert_eq!(answered.count(), 10);
        assert_eq!(traces_at(&servers.langfuse).len(), asked);
    }
}

#[test]
fn a_run_that_ends_early_sends_nothing_that_still_waits_for_its_turn() {
    let servers = servers(|_, _| refusal(401, "Incorrect API key provided"));
    let call = batch_of(&servers, 50, &["--rpm", "30", "-O", "out.jsonl"]);
    let ended = call.run();
    ended.code(8).stderr_has("stopped early");
    assert_eq!(servers.asked().len(), 1);
    assert_eq!(numbers(&out(&ended)), [1]);
}

#[test]
fn after_a_signal_no_further_line_is_sent() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let servers = servers(|_, _| answer());
        let call = batch_of(&servers, 50, &["--rpm", "6", "-O", "out.jsonl"]);
        let child = call.spawn();
        let path = call.home().join("out.jsonl");
        wait_until("the first line is answered", || {
            path.metadata().is_ok_and(|found| found.len() > 0)
        });
        send(signal, &child);
        let ended = call.ended(&child.wait_with_output().unwrap());
        ended.code(code);
        assert_eq!(servers.asked().len(), 1);
        assert_eq!(numbers(&out(&ended)), [1]);
        assert_eq!(traces_at(&servers.langfuse).len(), 1);
    }
}

#[test]
fn a_signal_in_a_pause_leaves_the_paused_lines_to_be_asked_later() {
    let servers = servers(|_, count| {
        let headers = vec![("retry-after", "300".to_owned())];
        match count {
            1 => Reply::With(429, headers, String::new()),
            _ => answer(),
        }
    });
    let call = batch_of(&servers, 5, &["-j", "1", "-O", "out.jsonl", "-v"]);
    let mut child = call.spawn();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("pausing all calls") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0);
    }
    send("INT", &child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(numbers(&lines_in(&call.home().join("out.jsonl"))), [1]);
    let ended = call.clone().arg("--resume").run();
    ended.code(0);
    assert_eq!(numbers(&out(&ended)), [1, 2, 3, 4, 5]);
    assert_eq!(servers.asked().len(), 6);
}

#[test]
fn max_errors_ends_the_run() {
    let servers = servers(|_, _| refusal(400, "no"));
    let ended = batch_of(
        &servers,
        100,
        &["-j", "1", "--max-errors", "3", "-O", "out.jsonl"],
    )
    .run();
    ended
        .code(8)
        .stderr_has("--max-errors 3")
        .stderr_has("--resume");
    assert_eq!(servers.asked().len(), 3);
    assert_eq!(numbers(&out(&ended)), [1, 2, 3]);
    assert_eq!(traces_at(&servers.langfuse).len(), 3);
}

#[test]
fn invalid_lines_count_as_errors() {
    let servers = servers(|_, _| answer());
    let call = servers.call(&["batch", "in.jsonl", "-j", "1", "--max-errors", "2"]);
    call.file(
        "in.jsonl",
        format!("{}no\nnor this\n{}", prompts(1), prompts(100)),
    );
    let ended = call.run();
    ended.code(8).stderr_has("--max-errors 2");
    assert!(servers.asked().len() <= 2);
    let lines = lines(&ended.stdout);
    let invalid = lines
        .iter()
        .filter(|line| line["error"]["code"] == "invalid_line");
    assert_eq!(invalid.count(), 2);
}

#[test]
fn traces_that_are_not_delivered_count_as_errors() {
    let model = Scripted::model("hi");
    let langfuse = Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "No."})));
    let servers = Servers { model, langfuse };
    let ended = batch_of(
        &servers,
        20_000,
        &["-j", "1", "--max-errors", "2", "-O", "out.jsonl"],
    )
    .run();
    ended
        .code(5)
        .stderr_has("--max-errors 2")
        .stderr_has("--resume");
    let asked = servers.asked().len();
    assert!(asked < 20_000, "{asked}");
    assert_eq!(out(&ended).len(), asked);
}
