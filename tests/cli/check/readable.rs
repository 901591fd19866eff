//! The last stage: the canary is read back and equals what was sent.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{HEALTH, VERSIONS, assert_fails_at, assert_whole, check, words};
use crate::support::harness::{Langspan, OBSERVATIONS, Reply, Scripted, TRACES, forward};
use crate::support::readers::{LEGACY, changing, is_reading, put, stumbling, without_a_worker};
use crate::support::stand_in::Sandbox;

fn sandbox(version: &str) -> Arc<Sandbox> {
    Arc::new(Sandbox::start_with(&["--langfuse", version]))
}

#[test]
fn each_generation_is_read_through_its_own_interface() {
    for (version, own) in [("v3", LEGACY), ("v4", OBSERVATIONS)] {
        let sandbox = sandbox(version);
        let server = Scripted::in_front_of(&sandbox, |_, _| None);
        let ended = check(server.url(), &[]).run();
        assert_whole(&ended, false);
        let reads: Vec<_> = server.requests().into_iter().filter(is_reading).collect();
        assert!(!reads.is_empty());
        assert!(
            reads.iter().all(|read| read.path.starts_with(own)),
            "{reads:#?}"
        );
        assert_eq!(ended.json()["trace"]["verified"], true);
    }
}

#[test]
fn observations_are_asked_for_by_trace_time_and_fields() {
    let sandbox = sandbox("v4");
    let server = Scripted::in_front_of(&sandbox, |_, _| None);
    let ended = check(server.url(), &[]).run();
    let id = ended.json()["trace"]["id"].as_str().unwrap().to_owned();
    let reads = server.requests_to(OBSERVATIONS);
    for wanted in [
        &format!("traceId={id}"),
        "fromStartTime=",
        "toStartTime=",
        "fields=",
    ] {
        assert!(
            reads[0].path.contains(wanted),
            "{wanted}: {}",
            reads[0].path
        );
    }
}

#[test]
fn a_misleading_server_version_is_corrected_by_the_answers() {
    for (version, said) in [
        ("v3", "4.16.0"),
        ("v4", "3.150.0"),
        ("v3", "nightly"),
        ("v4", "nightly"),
    ] {
        let sandbox = sandbox(version);
        let server = Scripted::in_front_of(&sandbox, move |request, _| {
            let health = json!({"status": "OK", "version": said});
            (request.path == HEALTH).then(|| Reply::json(200, &health))
        });
        assert_whole(&check(server.url(), &[]).run(), false);
    }
}

#[test]
fn late_visibility_is_waited_for() {
    for version in VERSIONS {
        let late = Sandbox::start_with(&["--langfuse", version, "--visible-after", "1500"]);
        let ended = check(late.url(), &["--wait", "60"]).run();
        assert_whole(&ended, false);
        assert_eq!(ended.json()["trace"]["verified"], true);
    }
}

#[test]
fn a_trace_that_becomes_visible_too_late_fails() {
    for version in VERSIONS {
        let late = Sandbox::start_with(&["--langfuse", version, "--visible-after", "3600000"]);
        let ended = check(late.url(), &["--wait", "0.5"]).run();
        assert_fails_at(&ended, "readable", 7);
        assert!(words(&ended, "readable").contains("--wait"), "{ended:#?}");
        let trace = &ended.json()["trace"];
        assert_eq!(
            (&trace["delivery"], &trace["verified"]),
            (&json!("accepted"), &json!(false))
        );
    }
}

#[test]
fn a_worker_that_never_ingests_fails() {
    for version in VERSIONS {
        let sandbox = sandbox(version);
        let server = without_a_worker(&sandbox);
        let ended = check(server.url(), &["--wait", "3"]).run();
        assert_fails_at(&ended, "readable", 7);
        assert!(words(&ended, "readable").contains("worker"), "{ended:#?}");
    }
}

#[test]
fn half_of_a_trace_is_not_readable() {
    let sandbox = sandbox("v4");
    let server = changing(&sandbox, |answer| {
        answer["data"].as_array_mut().unwrap().truncate(1);
    });
    let ended = check(server.url(), &["--wait", "0.5"]).run();
    assert_fails_at(&ended, "readable", 7);
    assert!(words(&ended, "readable").contains('1'), "{ended:#?}");
}

#[test]
fn changed_values_are_shown_as_sent_and_as_found() {
    let name = "langspan-check";
    for version in VERSIONS {
        let sandbox = sandbox(version);
        for (field, label, sent, found) in [
            ("userId", "user", name, json!("somebody-else")),
            ("sessionId", "session", name, json!("another-session")),
            ("tags", "tags", name, json!(["another-tag"])),
            ("environment", "environment", name, json!("default")),
            ("input", "input", "canary", json!("masked-input")),
            (
                "output",
                "output",
                "this can be read",
                json!("masked-output"),
            ),
        ] {
            let altered = found.clone();
            let server = changing(&sandbox, move |answer| put(answer, field, &altered));
            let ended = check(server.url(), &["--wait", "2"]).run();
            assert_fails_at(&ended, "readable", 7);
            let words = words(&ended, "readable");
            for wanted in [label, sent, found.as_str().unwrap_or("another-tag")] {
                assert!(
                    words.contains(wanted),
                    "{version} {field}: {wanted:?} is missing: {words}"
                );
            }
        }
    }
}

#[test]
fn a_missing_value_is_a_difference() {
    for version in VERSIONS {
        let sandbox = sandbox(version);
        for (field, nothing) in [
            ("userId", Value::Null),
            ("userId", json!("")),
            ("sessionId", json!("")),
            ("tags", json!([])),
            ("input", Value::Null),
            ("output", json!("")),
        ] {
            let server = changing(&sandbox, move |answer| put(answer, field, &nothing));
            let ended = check(server.url(), &["--wait", "2"]).run();
            assert_fails_at(&ended, "readable", 7);
        }
    }
}

#[test]
fn a_user_missing_on_the_generation_is_a_difference() {
    let sandbox = sandbox("v4");
    let server = changing(&sandbox, |answer| {
        let rows = answer["data"].as_array_mut().unwrap().iter_mut();
        rows.filter(|row| row["type"] == "GENERATION")
            .for_each(|row| row["userId"] = json!(""));
    });
    let ended = check(server.url(), &["--wait", "2"]).run();
    assert_fails_at(&ended, "readable", 7);
}

#[test]
fn with_the_model_its_name_and_tokens_are_compared() {
    for version in VERSIONS {
        let sandbox = sandbox(version);
        for (field, label, found) in [
            ("model", "model", json!("another-model")),
            ("usageDetails", "usage", json!({"input": 987_654})),
        ] {
            let altered = found.clone();
            let server = changing(&sandbox, move |answer| put(answer, field, &altered));
            let options = ["--with-model", "--wait", "2"];
            let call = check(server.url(), &options).model_at(&format!("{}/v1", sandbox.url()));
            let ended = call.run();
            ended.code(7);
            let words = words(&ended, "readable");
            assert!(words.contains(label), "{version} {field}: {words}");
            assert!(
                words.contains("another-model") || words.contains("987654"),
                "{words}"
            );
        }
    }
}

#[test]
fn fields_added_or_reordered_by_the_server_are_no_difference() {
    let sandbox = sandbox("v4");
    let server = changing(&sandbox, |answer| {
        let rows = answer["data"].as_array_mut().unwrap();
        for row in rows.iter_mut() {
            row["tags"].as_array_mut().unwrap().reverse();
            row["aFieldOfTheFuture"] = json!({"x": 1});
        }
        // A row that the server made up, and a copy that it has not merged yet.
        let mut made_up = rows[0].clone();
        made_up["id"] = json!(format!("t-{}", made_up["traceId"].as_str().unwrap()));
        made_up["userId"] = json!("");
        let copy = rows[0].clone();
        rows.extend([made_up, copy]);
    });
    let ended = check(server.url(), &["-t", "b", "-t", "a"]).run();
    assert_whole(&ended, false);
}

#[test]
fn rows_that_come_page_by_page_are_read_to_the_end() {
    let sandbox = sandbox("v4");
    let behind = Arc::downgrade(&sandbox);
    let server = Scripted::in_front_of(&sandbox, move |request, _| {
        if !request.path.starts_with(OBSERVATIONS) {
            return None;
        }
        let mut paged = request.clone();
        paged.path = paged.path.replace("limit=1000", "limit=1");
        Some(forward(&*behind.upgrade()?, &paged))
    });
    assert_whole(&check(server.url(), &[]).run(), false);
    let with_cursor = server.requests_to(OBSERVATIONS).into_iter();
    assert!(
        with_cursor
            .filter(|read| read.path.contains("cursor="))
            .count()
            > 0
    );
}

#[test]
fn a_429_is_retried_after_the_wait_it_asks_for() {
    for version in VERSIONS {
        let sandbox = sandbox(version);
        let times = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&times);
        let server = Scripted::in_front_of(&sandbox, move |request, _| {
            if !is_reading(request) {
                return None;
            }
            let mut seen = seen.lock().unwrap();
            seen.push(Instant::now());
            (seen.len() == 1).then(|| {
                let headers = vec![("retry-after", "2".to_owned())];
                Reply::With(
                    429,
                    headers,
                    json!({"message": "Rate limit exceeded"}).to_string(),
                )
            })
        });
        assert_whole(&check(server.url(), &[]).run(), false);
        let times = times.lock().unwrap();
        assert!(times[1] - times[0] >= Duration::from_secs(2), "{times:?}");
    }
}

#[test]
fn a_429_that_asks_for_a_longer_wait_is_not_retried() {
    let sandbox = sandbox("v4");
    let headers = vec![("retry-after", "3600".to_owned())];
    let limited = Reply::With(
        429,
        headers,
        json!({"message": "Rate limit exceeded"}).to_string(),
    );
    let server = stumbling(&sandbox, vec![limited; 100]);
    let ended = check(server.url(), &["--wait", "5"]).run();
    assert_fails_at(&ended, "readable", 7);
    assert_eq!(server.requests_to(OBSERVATIONS).len(), 1);
    let words = words(&ended, "readable");
    assert!(
        words.contains("429") || words.contains("Rate limit"),
        "{words}"
    );
}

#[test]
fn a_server_that_stumbles_is_asked_again() {
    for version in VERSIONS {
        let sandbox = sandbox(version);
        let replies = vec![
            Reply::json(500, &json!({"message": "oops"})),
            Reply::Answer(502, "text/html", "<html></html>".to_owned()),
            Reply::Close,
        ];
        let server = stumbling(&sandbox, replies);
        assert_whole(&check(server.url(), &[]).run(), false);
    }
}

#[test]
fn a_server_that_keeps_failing_is_named_as_the_cause() {
    for version in VERSIONS {
        let sandbox = sandbox(version);
        let oops = Reply::json(500, &json!({"message": "the database is away"}));
        let server = stumbling(&sandbox, vec![oops; 100]);
        let ended = check(server.url(), &["--wait", "0.5"]).run();
        assert_fails_at(&ended, "readable", 7);
        let words = words(&ended, "readable");
        assert!(
            words.contains("500") && words.contains("the database is away"),
            "{words}"
        );
    }
}

#[test]
fn refused_reading_is_final_and_not_a_matter_of_the_export() {
    for version in VERSIONS {
        for status in [401, 403] {
            let sandbox = sandbox(version);
            let refusal = Reply::json(status, &json!({"message": "Access denied"}));
            let server = stumbling(&sandbox, vec![refusal; 100]);
            let ended = check(server.url(), &[]).run();
            assert_fails_at(&ended, "readable", 7);
            assert!(
                words(&ended, "readable").contains("Access denied"),
                "{ended:#?}"
            );
            assert_eq!(
                server
                    .requests()
                    .iter()
                    .filter(|request| is_reading(request))
                    .count(),
                1
            );
            assert_eq!(ended.json()["trace"]["delivery"], "accepted");
        }
    }
}

#[test]
fn the_wait_stays_within_the_smallest_budget() {
    let sandbox = sandbox("v4");
    let server = without_a_worker(&sandbox);
    check(server.url(), &["--wait", "8"]).run().code(7);
    // Thirty requests a minute, of which the N-th is refused.
    let asked = server.requests_to(OBSERVATIONS).len();
    assert!((2..=8).contains(&asked), "{asked}");
}

#[test]
fn the_canary_is_sent_with_the_header_that_makes_it_readable_at_once() {
    let sandbox = sandbox("v4");
    let server = Scripted::in_front_of(&sandbox, |_, _| None);
    check(server.url(), &[]).run().code(0);
    let exports = server.requests_to(TRACES);
    assert_eq!(exports[0].header("x-langfuse-ingestion-version"), "4");
}

#[test]
fn an_interrupted_check_reports_its_finished_stages() {
    let sandbox = sandbox("v4");
    let server = without_a_worker(&sandbox);
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let before = server.requests_to(OBSERVATIONS).len();
        let call: Langspan = check(server.url(), &["--wait", "600", "--timeout", "600"]);
        let child = call.spawn();
        crate::support::harness::wait_until("the trace is looked for", || {
            server.requests_to(OBSERVATIONS).len() > before
        });
        let id = child.id().to_string();
        let sent = std::process::Command::new("kill")
            .args(["-s", signal, &id])
            .status();
        assert!(sent.unwrap().success());
        let ended = call.ended(&child.wait_with_output().unwrap());
        ended.code(code);
        let document = ended.json();
        assert_eq!(document["ok"], false);
        assert_eq!(
            document["stages"].as_array().unwrap().len(),
            7,
            "{document:#}"
        );
    }
}
