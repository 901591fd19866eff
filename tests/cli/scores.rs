//! Scores: `--score`, `langspan score`, the outbox, `resend`, `show`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::harness::{Ended, Langspan, Reply, SCORES, Scripted, wait_until};
use crate::support::stand_in::Sandbox;

const INGESTION: &str = "/api/public/ingestion";
const ID: &str = "0af7651916cd43dd8448eb211c80319c";

fn read(sandbox: &Sandbox, trace_id: &str) -> Vec<Value> {
    let path =
        format!("/api/public/v3/scores?traceId={trace_id}&fields=core,details,subject&limit=100");
    sandbox.get(&path).json()["data"]
        .as_array()
        .unwrap()
        .clone()
}

/// Name, type and value of each score, by name.
fn values(scores: &[Value]) -> Vec<Value> {
    let mut values: Vec<Value> = scores
        .iter()
        .map(|score| json!([score["name"], score["dataType"], score["value"]]))
        .collect();
    values.sort_by_key(Value::to_string);
    values
}

fn chat(sandbox: &Sandbox, arguments: &[&str]) -> Langspan {
    Langspan::new(&[&["chat", "--no-stdin", "Hi"], arguments].concat()).at(sandbox)
}

#[test]
fn scores_of_a_call_have_the_type_of_their_value() {
    let sandbox = Sandbox::start();
    let scores = [
        "--score",
        "quality=0.8",
        "--score",
        "tone=friendly",
        "--score",
        "ok=true",
        "--environment",
        "ci",
    ];
    let ended = chat(&sandbox, &scores).arg("--verify").run();
    ended.code(0).stderr_has("verified: the scores can be read");
    let read = read(&sandbox, &ended.trace_id());
    assert_eq!(
        values(&read),
        [
            json!(["ok", "BOOLEAN", true]),
            json!(["quality", "NUMERIC", 0.8]),
            json!(["tone", "CATEGORICAL", "friendly"])
        ]
    );
    assert!(read.iter().all(|score| score["environment"] == "ci"));
}

#[test]
fn a_repeat_replaces_a_score() {
    let sandbox = Sandbox::start();
    chat(&sandbox, &["--trace-id", ID, "--score", "q=1"])
        .run()
        .code(0);
    chat(&sandbox, &["--trace-id", ID, "--score", "q=2"])
        .run()
        .code(0);
    Langspan::new(&["score", ID, "q=3", "--comment", "third"])
        .at(&sandbox)
        .run()
        .code(0);
    let scores = read(&sandbox, ID);
    assert_eq!(values(&scores), [json!(["q", "NUMERIC", 3])]);
    assert_eq!(scores[0]["comment"], "third");
}

#[test]
fn a_trace_is_scored_later_by_id_or_url_and_shown() {
    let sandbox = Sandbox::start();
    chat(&sandbox, &["--trace-id", ID]).run().code(0);
    let url = format!("{}/project/sandbox/traces/{ID}", sandbox.url());
    let scored = Langspan::new(&[
        "score",
        &url,
        "tone=kind",
        "ok=false",
        "--comment",
        "by Ada",
        "--verify",
    ])
    .at(&sandbox)
    .run();
    scored.code(0).stdout("").stderr_has("2 scores can be read");
    let root = sandbox
        .observations(ID)
        .into_iter()
        .find(|row| row["isRootObservation"] == true)
        .unwrap();
    let read = read(&sandbox, ID);
    assert!(
        read.iter()
            .all(|score| score["subject"]["id"] == root["id"])
    );
    let shown = Langspan::new(&["show", ID]).at(&sandbox).run();
    shown.code(0);
    assert!(
        shown
            .stdout
            .ends_with("scores\n  ok    false  by Ada\n  tone  kind  by Ada\n"),
        "{shown:#?}"
    );
    let document = Langspan::new(&["show", ID, "-o", "json"])
        .at(&sandbox)
        .run()
        .json();
    assert_eq!(document["scores"].as_array().unwrap().len(), 2);
    let typed = Langspan::new(&[
        "score",
        ID,
        "grade=2",
        "--type",
        "categorical",
        "-o",
        "json",
    ])
    .at(&sandbox)
    .run();
    typed.code(0);
    assert_eq!(typed.json()["scores"][0]["value"], "2");
}

#[test]
fn wrong_scores_and_unknown_traces_are_told_apart() {
    let sandbox = Sandbox::start();
    let score = |arguments: &[&str]| {
        Langspan::new(&[&["score"], arguments].concat())
            .at(&sandbox)
            .run()
    };
    score(&[ID, "q=1", "--wait", "0.3"])
        .code(7)
        .stderr_has(&format!("trace {ID} was not found"));
    for (arguments, why) in [
        (
            &[ID, "q=high", "--type", "numeric"][..],
            "the score `q` is `high`: expected a number",
        ),
        (
            &[ID, "q=2", "--type", "boolean"],
            "expected true, false, 1 or 0",
        ),
        (&[ID, "q="], "has no value"),
        (&[ID, "q=1", "q=2"], "given twice"),
        (&[ID], "NAME=VALUE"),
        (&["xyz", "q=1"], "is not a trace id"),
    ] {
        score(arguments).code(2).stderr_has(why);
    }
    let refused = Langspan::new(&["score", ID, "q=1"])
        .at(&sandbox)
        .env("LANGFUSE_SECRET_KEY", "sk-lf-another-key");
    refused.run().code(3).stderr_has("Invalid credentials");
}

#[test]
fn an_older_server_takes_and_shows_scores() {
    let sandbox = Sandbox::start_with(&["--langfuse", "v3"]);
    let ended = chat(
        &sandbox,
        &[
            "--score",
            "ok=true",
            "--score",
            "tone=kind",
            "--score",
            "q=0.5",
            "--verify",
        ],
    )
    .run();
    ended.code(0).stderr_has("verified: the scores can be read");
    let shown = Langspan::new(&["show", &ended.trace_id()])
        .at(&sandbox)
        .run();
    assert!(
        shown
            .stdout
            .ends_with("  ok    true\n  q     0.5\n  tone  kind\n"),
        "{shown:#?}"
    );
}

/// A server that answers requests to a path itself while `is_down`, in front of a sandbox.
fn failing(
    sandbox: &Arc<Sandbox>,
    path: &'static str,
    status: u16,
    is_down: &Arc<AtomicBool>,
) -> Scripted {
    let is_down = Arc::clone(is_down);
    Scripted::in_front_of(sandbox, move |request, _| {
        (request.path.starts_with(path) && is_down.load(Ordering::Relaxed))
            .then(|| Reply::json(status, &json!({"message": "no scores now"})))
    })
}

/// The names of the files in the outbox without the random beginning of ids.
fn kinds(ended: &Ended) -> Vec<String> {
    let files = ended.outbox_files().into_iter();
    files
        .map(|file| file.split_once('.').unwrap().1.to_owned())
        .collect()
}

#[test]
fn refused_scores_are_kept_and_delivered_by_resend() {
    let sandbox = Arc::new(Sandbox::start());
    let is_down = Arc::new(AtomicBool::new(true));
    let server = failing(&sandbox, SCORES, 403, &is_down);
    let call = Langspan::new(&[
        "chat",
        "--no-stdin",
        "Hi",
        "--score",
        "a=1",
        "--score",
        "b=x",
        "--trace-id",
        ID,
    ])
    .model_at(&format!("{}/v1", sandbox.url()))
    .langfuse_at(server.url());
    let ended = call.run();
    ended
        .code(5)
        .stderr_has("2 scores were not accepted")
        .stderr_has("no scores now");
    ended
        .stderr_has("the keys may not write scores")
        .stderr_has("langspan resend");
    assert_eq!(kinds(&ended), ["scores.jsonl", "scores.meta.json"]);
    let kept = ended.kept();
    assert_eq!(
        (&kept[0]["name"], &kept[1]["value"], kept.len()),
        (&json!("a"), &json!("x"), 2)
    );
    let resend = |arguments: &[&str]| {
        Langspan::new(&[&["resend"], arguments].concat())
            .langfuse_at(server.url())
            .after(&ended)
            .run()
    };
    resend(&["--list"]).code(0).stderr_lacks("error");
    let listed = resend(&["--list"]).stdout;
    assert!(
        listed.starts_with("waiting  ") && listed.contains("2 scores of 1 trace"),
        "{listed}"
    );
    is_down.store(false, Ordering::Relaxed);
    resend(&[]).code(0);
    assert!(ended.outbox_files().is_empty(), "{ended:#?}");
    assert_eq!(
        values(&read(&sandbox, ID)),
        [json!(["a", "NUMERIC", 1]), json!(["b", "CATEGORICAL", "x"])]
    );
}

#[test]
fn a_refused_score_does_not_hold_back_the_others() {
    let sandbox = Arc::new(Sandbox::start());
    let server = Scripted::in_front_of(&sandbox, |request, _| {
        (request.path == SCORES && request.json()["name"] == "bad")
            .then(|| Reply::json(400, &json!({"message": "Invalid request data"})))
    });
    let call = Langspan::new(&[
        "chat",
        "--no-stdin",
        "Hi",
        "--score",
        "bad=1",
        "--score",
        "good=1",
        "--trace-id",
        ID,
    ])
    .model_at(&format!("{}/v1", sandbox.url()))
    .langfuse_at(server.url());
    let ended = call.run();
    ended.code(5).stderr_has("1 score was not accepted");
    assert_eq!(values(&read(&sandbox, ID)), [json!(["good", "NUMERIC", 1])]);
    assert_eq!(ended.kept().len(), 1);
}

#[test]
fn scores_wait_for_the_spans_of_their_trace() {
    let sandbox = Arc::new(Sandbox::start());
    let is_down = Arc::new(AtomicBool::new(true));
    let server = failing(&sandbox, "/api/public/otel", 401, &is_down);
    let call = Langspan::new(&[
        "chat",
        "--no-stdin",
        "Hi",
        "--expect",
        "repeat",
        "--trace-id",
        ID,
    ])
    .model_at(&format!("{}/v1", sandbox.url()))
    .langfuse_at(server.url());
    let ended = call.run();
    ended.code(5);
    assert_eq!(
        kinds(&ended),
        ["jsonl", "meta.json", "scores.jsonl", "scores.meta.json"]
    );
    assert!(server.requests_to(SCORES).is_empty());
    let resend = || {
        Langspan::new(&["resend"])
            .langfuse_at(server.url())
            .after(&ended)
            .run()
    };
    resend()
        .code(5)
        .stderr_has("waits for the spans of its traces");
    assert!(read(&sandbox, ID).is_empty());
    is_down.store(false, Ordering::Relaxed);
    resend().code(0);
    assert!(ended.outbox_files().is_empty());
    assert_eq!(
        values(&read(&sandbox, ID)),
        [json!(["contains", "BOOLEAN", true])]
    );
}

#[test]
fn scores_that_do_not_appear_exit_7() {
    let sandbox = Sandbox::start_with(&["--visible-after", "1500"]);
    let ended = chat(&sandbox, &["--score", "q=1", "--verify"]).run();
    ended.code(0).stderr_has("verified: the scores can be read");
    let sandbox = Arc::new(Sandbox::start());
    // Accepted, and dropped in silence.
    let server = Scripted::in_front_of(&sandbox, |request, _| {
        (request.path == SCORES).then(|| Reply::json(200, &json!({"id": "x"})))
    });
    let call = Langspan::new(&[
        "chat",
        "--no-stdin",
        "Hi",
        "--score",
        "q=1",
        "--verify",
        "--wait",
        "1",
    ])
    .model_at(&format!("{}/v1", sandbox.url()))
    .langfuse_at(server.url());
    call.run()
        .code(7)
        .stderr_has("1 score was accepted, but only 0 can be read");
}

#[test]
fn the_scores_of_a_batch_are_sent_together_once_their_traces_are_accepted() {
    let sandbox = Arc::new(Sandbox::start());
    let server = Scripted::in_front_of(&sandbox, |_, _| None);
    let call = Langspan::new(&[
        "batch",
        "in.jsonl",
        "--out",
        "out.jsonl",
        "--score",
        "run=7",
        "--expect",
        "repeat",
        "--verify",
    ])
    .model_at(&format!("{}/v1", sandbox.url()))
    .langfuse_at(server.url());
    let lines: Vec<String> = (0..120)
        .map(|number| format!("{{\"prompt\":\"q{number}\"}}\n"))
        .collect();
    call.file("in.jsonl", lines.concat());
    let ended = call.run();
    ended.code(0).stderr_has("scores: 240 accepted");
    assert!(server.requests_to(SCORES).is_empty());
    let events = server.requests_to(INGESTION);
    let sizes: Vec<usize> = events
        .iter()
        .map(|request| request.json()["batch"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes.iter().sum::<usize>(), 240);
    assert!(sizes.iter().all(|size| *size <= 100), "{sizes:?}");
    assert!(ended.outbox_files().is_empty());
    let first = server
        .requests()
        .iter()
        .position(|request| request.path == INGESTION);
    let export = server
        .requests()
        .iter()
        .position(|request| request.path.contains("otel"));
    assert!(export < first);
}

#[test]
fn scores_of_a_batch_that_are_refused_wait_in_the_outbox() {
    let sandbox = Arc::new(Sandbox::start());
    let is_down = Arc::new(AtomicBool::new(true));
    let server = failing(&sandbox, INGESTION, 403, &is_down);
    let call = Langspan::new(&[
        "batch",
        "in.jsonl",
        "--out",
        "out.jsonl",
        "--run",
        "r",
        "--score",
        "run=7",
    ])
    .model_at(&format!("{}/v1", sandbox.url()))
    .langfuse_at(server.url());
    call.file("in.jsonl", "{\"prompt\":\"a\"}\n{\"prompt\":\"b\"}\n");
    let ended = call.run();
    ended
        .code(5)
        .stderr_has("2 scores were not accepted")
        .stderr_has("no scores now");
    ended.stderr_has("scores: 0 accepted, 2 in the outbox");
    is_down.store(false, Ordering::Relaxed);
    Langspan::new(&["resend"])
        .langfuse_at(server.url())
        .after(&ended)
        .run()
        .code(0);
    assert!(ended.outbox_files().is_empty());
    let out = std::fs::read_to_string(ended.home().join("out.jsonl")).unwrap();
    for line in out.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            read(&sandbox, line["langspan"]["trace_id"].as_str().unwrap()).len(),
            1
        );
    }
}

#[test]
fn scores_of_a_batch_follow_their_traces_into_the_outbox() {
    let sandbox = Arc::new(Sandbox::start());
    let is_down = Arc::new(AtomicBool::new(true));
    let server = failing(&sandbox, "/api/public/otel", 401, &is_down);
    let call = Langspan::new(&[
        "batch",
        "in.jsonl",
        "--out",
        "out.jsonl",
        "--score",
        "run=7",
    ])
    .model_at(&format!("{}/v1", sandbox.url()))
    .langfuse_at(server.url());
    call.file("in.jsonl", "{\"prompt\":\"a\"}\n");
    let ended = call.run();
    ended.code(5);
    assert!(
        kinds(&ended).contains(&"scores.jsonl".to_owned()),
        "{ended:#?}"
    );
    is_down.store(false, Ordering::Relaxed);
    Langspan::new(&["resend"])
        .langfuse_at(server.url())
        .after(&ended)
        .run()
        .code(0);
    assert!(ended.outbox_files().is_empty());
}

#[test]
fn without_an_outbox_refused_scores_are_called_lost() {
    let sandbox = Arc::new(Sandbox::start());
    let is_down = Arc::new(AtomicBool::new(true));
    let server = failing(&sandbox, SCORES, 401, &is_down);
    let call = Langspan::new(&["chat", "--no-stdin", "Hi", "--score", "a=1", "--no-outbox"])
        .model_at(&format!("{}/v1", sandbox.url()))
        .langfuse_at(server.url());
    call.run().code(5).stderr_has("the scores are LOST");
    call.arg("--best-effort")
        .run()
        .code(0)
        .stderr_has("warning: 1 score was not accepted");
}

#[test]
fn a_kill_loses_no_score() {
    // While the spans are sent, and while the scores are.
    for path in ["/api/public/otel", SCORES] {
        let sandbox = Arc::new(Sandbox::start());
        let is_down = Arc::new(AtomicBool::new(true));
        let hangs = Arc::clone(&is_down);
        let server = Scripted::in_front_of(&sandbox, move |request, _| {
            (request.path.starts_with(path) && hangs.load(Ordering::Relaxed)).then_some(Reply::Hang)
        });
        let arguments = [
            "chat",
            "--no-stdin",
            "Hi",
            "--expect",
            "repeat",
            "--trace-id",
            ID,
        ];
        let call = Langspan::new(&arguments)
            .model_at(&format!("{}/v1", sandbox.url()))
            .langfuse_at(server.url());
        let mut child = call.spawn();
        wait_until("it is sent", || {
            let mut requests = server.requests().into_iter();
            requests.any(|request| request.path.starts_with(path))
        });
        child.kill().unwrap();
        let killed = call.ended(&child.wait_with_output().unwrap());
        assert!(
            kinds(&killed).contains(&"scores.jsonl".to_owned()),
            "{killed:#?}"
        );
        is_down.store(false, Ordering::Relaxed);
        let resend = Langspan::new(&["resend"]).langfuse_at(server.url());
        resend.after(&killed).run().code(0);
        assert!(killed.outbox_files().is_empty());
        assert_eq!(
            values(&read(&sandbox, ID)),
            [json!(["contains", "BOOLEAN", true])]
        );
        assert_eq!(sandbox.observations(ID).len(), 2);
    }
}
