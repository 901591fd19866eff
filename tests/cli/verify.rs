//! `--verify` on chat and replay: the read-back of `check`, in a window around the times of the spans.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::harness::{Langspan, OBSERVATIONS, Reply, Scripted};
use crate::support::readers::{changing, put, stumbling, without_a_worker};
use crate::support::stand_in::Sandbox;

const VERSIONS: [&str; 2] = ["v3", "v4"];

fn sandbox(version: &str) -> Arc<Sandbox> {
    Arc::new(Sandbox::start_with(&["--langfuse", version]))
}

/// A recording of `year`.
fn recording(year: u32) -> String {
    let answer = json!({"id": "chatcmpl-1", "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Then."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}});
    let recording = json!({
        "request": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "When?"}]},
        "response": answer, "error": null,
        "start_time": format!("{year}-02-03T04:05:06.123456789+02:00"),
        "end_time": format!("{year}-02-03T04:05:07.5+02:00"),
        "trace": {"user": "ada", "session": "then", "tags": ["old"]},
    });
    format!("{recording}\n")
}

fn replay(url: &str, documents: &str, options: &[&str]) -> Langspan {
    let arguments = ["replay", "recording.jsonl", "--verify", "-o", "json"];
    let call = Langspan::new(&[&arguments[..], options].concat()).langfuse_at(url);
    call.file("recording.jsonl", documents);
    call
}

#[test]
fn a_recording_of_any_year_is_found() {
    for version in VERSIONS {
        let sandbox = sandbox(version);
        for year in [2019, 2024, 2026] {
            let document = replay(sandbox.url(), &recording(year), &[])
                .run()
                .code(0)
                .json();
            assert_eq!(document["trace"]["verified"], true, "{version} {year}");
        }
    }
}

#[test]
fn the_window_follows_the_times_of_the_recording() {
    let sandbox = sandbox("v4");
    let server = Scripted::in_front_of(&sandbox, |_, _| None);
    replay(server.url(), &recording(2019), &[]).run().code(0);
    let reads = server.requests_to(OBSERVATIONS);
    assert!(!reads.is_empty());
    for read in reads {
        for edge in ["fromStartTime=2019-02-03", "toStartTime=2019-02-03"] {
            assert!(read.path.contains(edge), "{}", read.path);
        }
    }
}

#[test]
fn each_of_several_recordings_is_looked_for_in_its_own_time() {
    let sandbox = sandbox("v4");
    let documents = recording(2019) + &recording(2025);
    let ended = replay(sandbox.url(), &documents, &[]).run();
    ended.code(0);
    let verified: Vec<bool> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["trace"]["verified"] == true)
        .collect();
    assert_eq!(verified, [true, true], "{ended:#?}");
}

#[test]
fn a_recording_that_is_emitted_twice_is_verified_twice() {
    let sandbox = sandbox("v4");
    for _ in 0..2 {
        let ended = replay(sandbox.url(), &recording(2024), &["--trace-seed", "once"]).run();
        assert_eq!(ended.code(0).json()["trace"]["verified"], true);
    }
}

#[test]
fn a_changed_field_is_not_readable() {
    for version in VERSIONS {
        let sandbox = sandbox(version);
        for (field, found) in [
            ("userId", json!("somebody-else")),
            ("sessionId", json!("")),
            ("tags", json!([])),
            ("environment", json!("elsewhere")),
            ("release", json!("another-release")),
            ("input", json!("masked")),
            ("output", Value::Null),
            ("model", json!("another-model")),
            ("usageDetails", json!({"input": 987_654})),
        ] {
            let server = changing(&sandbox, move |answer| put(answer, field, &found));
            let ended = replay(server.url(), &recording(2024), &["--wait", "2"]).run();
            ended.code(7);
            let document = ended.json();
            assert_eq!(document["ok"], false, "{version} {field}");
            assert_eq!(document["error"]["kind"], "not_readable");
            assert_eq!(document["error"]["exit_code"], 7);
            assert_eq!(document["trace"]["delivery"], "accepted");
            assert_eq!(document["trace"]["verified"], false);
        }
    }
}

#[test]
fn a_difference_is_shown_as_sent_and_as_found() {
    let sandbox = sandbox("v4");
    let server = changing(&sandbox, |answer| {
        put(answer, "userId", &json!("somebody-else"));
    });
    let call = Langspan::new(&["chat", "--verify", "-u", "ada", "Hello"]).at(&sandbox);
    let ended = call.langfuse_at(server.url()).run();
    ended.code(7).stderr_has("ada").stderr_has("somebody-else");
    ended.stderr_has("trace: ");
}

#[test]
fn best_effort_makes_a_difference_a_warning() {
    let sandbox = sandbox("v4");
    let server = changing(&sandbox, |answer| {
        put(answer, "userId", &json!("somebody-else"));
    });
    let call = Langspan::new(&["chat", "--verify", "--best-effort", "-u", "ada", "Hello"]);
    let ended = call.at(&sandbox).langfuse_at(server.url()).run();
    ended
        .code(0)
        .stderr_has("warning")
        .stderr_has("somebody-else");
}

#[test]
fn a_failed_call_is_verified_as_well() {
    for version in VERSIONS {
        let sandbox = sandbox(version);
        let model = Scripted::always(Reply::json(500, &json!({"error": {"message": "oops"}})));
        let arguments = ["chat", "--verify", "-o", "json", "--retries", "0", "Hello"];
        let call = Langspan::new(&arguments)
            .langfuse_at(sandbox.url())
            .model_at(model.url());
        let document = call.run().code(4).json();
        assert_eq!(document["trace"]["verified"], true, "{version}");
    }
}

#[test]
fn a_stripped_environment_is_no_difference() {
    // Langfuse keeps the prefix for itself, and strips it from what it is sent.
    let sandbox = sandbox("v4");
    let arguments = [
        "chat",
        "--verify",
        "--environment",
        "langfuse-nightly",
        "Hello",
    ];
    Langspan::new(&arguments).at(&sandbox).run().code(0);
}

#[test]
fn the_environment_and_the_release_of_the_resource_are_expected() {
    for version in VERSIONS {
        let sandbox = sandbox(version);
        for attributes in [
            "deployment.environment.name=staging",
            "deployment.environment=Staging,langfuse.release=r7",
            "deployment.environment.name=Prod%20EU",
            "langfuse.environment=langfuse-x,deployment.environment=y",
        ] {
            let call = Langspan::new(&["chat", "--verify", "Hello"]).at(&sandbox);
            let ended = call.env("OTEL_RESOURCE_ATTRIBUTES", attributes).run();
            assert_eq!(ended.code, Some(0), "{version} {attributes}: {ended:#?}");
        }
        let call = Langspan::new(&["chat", "--verify", "--release", "r7", "Hello"]);
        let call = call.at(&sandbox).arg("--environment").arg("ci");
        let call = call.env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=staging");
        call.run().code(0);
    }
}

#[test]
fn the_wait_lasts_as_long_as_it_says() {
    let sandbox = sandbox("v4");
    let server = without_a_worker(&sandbox);
    let call = Langspan::new(&["chat", "--verify", "--wait", "5", "Hello"]).at(&sandbox);
    let start = Instant::now();
    let ended = call.langfuse_at(server.url()).run();
    assert!(start.elapsed() > Duration::from_millis(4700));
    ended.code(7).stderr_has("within 5 s");
}

#[test]
fn a_look_that_the_deadline_cuts_off_is_no_failure_of_the_server() {
    let sandbox = sandbox("v4");
    let empty = Reply::json(200, &json!({"data": [], "meta": {}}));
    let replies = [vec![empty], vec![Reply::Hang; 10]].concat();
    let server = stumbling(&sandbox, replies);
    let call = Langspan::new(&["chat", "--verify", "--wait", "1", "Hello"]).at(&sandbox);
    call.langfuse_at(server.url())
        .run()
        .code(7)
        .stderr_has("only 0 of its 2 spans could be read within 1 s")
        .stderr_lacks("no answer");
}

#[test]
fn a_server_that_stumbles_is_asked_again() {
    let sandbox = sandbox("v4");
    let headers = vec![("retry-after", "1".to_owned())];
    let replies = vec![
        Reply::With(429, headers, "{}".to_owned()),
        Reply::json(500, &json!({})),
        Reply::Close,
    ];
    let server = stumbling(&sandbox, replies);
    let call = Langspan::new(&["chat", "--verify", "Hello"]).at(&sandbox);
    call.langfuse_at(server.url()).run().code(0);
}

#[test]
fn the_wait_also_bounds_a_silent_server() {
    let sandbox = sandbox("v4");
    let server = stumbling(&sandbox, vec![Reply::Hang; 10]);
    let call = Langspan::new(&["chat", "--verify", "--wait", "1", "Hello"]).at(&sandbox);
    let start = Instant::now();
    call.langfuse_at(server.url()).run().code(7);
    // Far from what one question may take.
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
}
