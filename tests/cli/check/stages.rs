//! The failure of each stage: the sandbox with one answer changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    HEALTH, PROJECTS, STAGES, VERSIONS, assert_fails_at, assert_whole, check, stage, statuses,
    words,
};
use crate::support::certificates::{Authority, Flaw};
use crate::support::harness::{
    Ended, Langspan, OBSERVATIONS, Reply, Scripted, TRACES, completion, dead_url, forward,
};
use crate::support::stand_in::Sandbox;
use crate::support::untouched::Untouched;

fn sandbox(version: &str) -> Arc<Sandbox> {
    Arc::new(Sandbox::start_with(&["--langfuse", version]))
}

/// A sandbox with one answer changed.
fn with(sandbox: &Arc<Sandbox>, path: &'static str, reply: Reply) -> Scripted {
    Scripted::in_front_of(sandbox, move |request, _| {
        (request.path == path).then(|| reply.clone())
    })
}

fn html(status: u16) -> Reply {
    Reply::Answer(status, "text/html", "<html>hello</html>".to_owned())
}

fn message(status: u16, text: &str) -> Reply {
    Reply::json(status, &json!({"message": text}))
}

/// Ended with the failure of one stage, in front of either generation, whose answer to one path is `reply`.
#[track_caller]
fn assert_each_fails_at(
    failed: &str,
    code: i32,
    path: &'static str,
    replies: &[(Reply, &str)],
    options: &[&str],
) {
    for version in VERSIONS {
        let sandbox = sandbox(version);
        for (reply, said) in replies {
            let server = with(&sandbox, path, reply.clone());
            let ended = check(server.url(), options).run();
            assert_fails_at(&ended, failed, code);
            let words = words(&ended, failed);
            assert!(words.contains(said), "{said:?} is missing: {words}");
        }
    }
}

#[test]
fn every_stage_passes_with_both_server_generations() {
    for version in VERSIONS {
        let sandbox = sandbox(version);
        let ended = check(sandbox.url(), &[]).run();
        assert_whole(&ended, false);
        assert!(words(&ended, "auth").contains("Sandbox"), "{ended:#?}");
        assert!(words(&ended, "auth").contains("(sandbox)"), "{ended:#?}");
        let expected = if version == "v4" { "4.16.0" } else { "3.150.0" };
        assert!(words(&ended, "health").contains(expected), "{ended:#?}");
    }
}

#[test]
fn every_stage_passes_with_the_model_and_both_server_generations() {
    for version in VERSIONS {
        let sandbox = sandbox(version);
        let ended = check(sandbox.url(), &["--with-model"]).at(&sandbox).run();
        assert_whole(&ended, true);
    }
}

// Settings.

/// A check that must not open a socket, at a server that must not be spoken to.
#[track_caller]
fn assert_settings_fail(call: impl Fn(Langspan) -> Langspan, names: &[&str]) -> Ended {
    let untouched = Untouched::start();
    let ended = call(check(untouched.url(), &[])).run();
    assert_fails_at(&ended, "settings", 3);
    let words = words(&ended, "settings");
    for name in names {
        assert!(words.contains(name), "{name} is not named: {words}");
    }
    untouched.assert_untouched();
    ended
}

#[test]
fn missing_keys_are_named() {
    let (public, secret) = ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY");
    for missing in [vec![public], vec![secret], vec![public, secret]] {
        let without = |call: Langspan| missing.iter().fold(call, |call, name| call.without(name));
        assert_settings_fail(without, &missing);
    }
}

#[test]
fn swapped_keys_are_seen() {
    let swapped = |call: Langspan| {
        call.env("LANGFUSE_PUBLIC_KEY", "sk-lf-sandbox")
            .env("LANGFUSE_SECRET_KEY", "pk-lf-sandbox")
    };
    assert_settings_fail(swapped, &["swapped"]);
}

#[test]
fn the_variable_that_turns_tracing_off_is_named() {
    for (name, value) in [
        ("LANGFUSE_TRACING_ENABLED", "false"),
        ("OTEL_SDK_DISABLED", "true"),
    ] {
        assert_settings_fail(|call| call.env(name, value), &[name]);
    }
}

#[test]
fn an_invalid_url_is_named_with_its_variable() {
    let ended = assert_settings_fail(
        |call| call.env("LANGFUSE_BASE_URL", "cloud langfuse"),
        &["LANGFUSE_BASE_URL", "cloud.langfuse.com"],
    );
    assert!(ended.json()["trace"].is_null());
}

#[test]
fn a_collector_and_who_chose_it_are_named_with_the_settings() {
    let (sandbox, collector) = (Sandbox::start(), dead_url());
    let options = ["--otlp-endpoint", &collector, "--no-write"];
    let words = words(&check(sandbox.url(), &options).run(), "settings");
    let spans_go = format!("spans to {collector}/v1/traces (--otlp-endpoint)");
    for wanted in [&spans_go, sandbox.url(), "LANGFUSE_BASE_URL"] {
        assert!(words.contains(wanted), "{wanted} is missing: {words}");
    }
}

#[test]
fn valid_settings_name_their_origins() {
    let sandbox = Sandbox::start();
    let words = words(&check(sandbox.url(), &["--no-write"]).run(), "settings");
    for wanted in [sandbox.url(), "LANGFUSE_BASE_URL", "LANGFUSE_PUBLIC_KEY"] {
        assert!(words.contains(wanted), "{wanted} is missing: {words}");
    }
}

#[test]
fn an_env_file_is_named_as_the_origin() {
    let sandbox = Sandbox::start();
    let call = Langspan::new(&[
        "check",
        "-o",
        "json",
        "--no-write",
        "--env-file",
        "keys.env",
    ]);
    let file = format!(
        "LANGFUSE_BASE_URL={}\nLANGFUSE_PUBLIC_KEY=pk-lf-sandbox\nLANGFUSE_SECRET_KEY=sk-lf-sandbox\n",
        sandbox.url()
    );
    call.file("keys.env", file);
    let ended = call.run();
    ended.code(0);
    assert!(words(&ended, "settings").contains("keys.env"), "{ended:#?}");
}

#[test]
fn an_existing_env_file_is_mentioned_in_a_hint() {
    let call = Langspan::new(&["check", "-o", "json"]);
    call.file(".env", "LANGFUSE_PUBLIC_KEY=pk-lf-1\n");
    let ended = call.run();
    assert_fails_at(&ended, "settings", 3);
    assert!(
        words(&ended, "settings").contains("--env-file"),
        "{ended:#?}"
    );
}

// Connect.

#[test]
fn a_server_that_cannot_be_reached_fails_connect() {
    let plain = Scripted::always(html(200));
    let no_tls_there = plain.url().replace("http:", "https:");
    for url in [&dead_url(), "http://no-such-host.invalid", &no_tls_there] {
        assert_fails_at(&check(url, &[]).run(), "connect", 5);
    }
}

#[test]
fn the_remedy_of_connect_names_the_variable_that_chose_the_server() {
    let ended = check(&dead_url(), &[]).run();
    assert_fails_at(&ended, "connect", 5);
    let hint = stage(&ended, "connect")["hint"].to_string();
    assert!(hint.contains("LANGFUSE_BASE_URL"), "{ended:#?}");
}

#[test]
fn the_remedy_of_connect_names_the_option_that_chose_the_server() {
    let ended = check("http://127.0.0.1:1", &["--langfuse-base-url", &dead_url()]).run();
    assert_fails_at(&ended, "connect", 5);
    let hint = stage(&ended, "connect")["hint"].to_string();
    assert!(hint.contains("--langfuse-base-url"), "{ended:#?}");
}

// Health.

#[test]
fn a_server_that_is_not_healthy_fails_health() {
    let replies = [
        (message(404, "no such path"), "404"),
        (html(404), "404"),
        (html(200), "200"),
        (message(503, "the database is away"), "the database is away"),
        (message(500, "oops"), "500"),
        (message(301, "moved"), "301"),
    ];
    assert_each_fails_at("health", 5, HEALTH, &replies, &[]);
}

#[test]
fn a_server_that_accepts_and_stays_silent_fails_health() {
    for silence in [Reply::Close, Reply::Hang] {
        let server = Scripted::always(silence);
        let ended = check(server.url(), &["--timeout", "1"]).run();
        assert_fails_at(&ended, "health", 5);
    }
}

#[test]
fn the_remedy_of_health_names_the_setting() {
    let server = Scripted::always(html(404));
    let ended = check(server.url(), &[]).run();
    assert_fails_at(&ended, "health", 5);
    let hint = stage(&ended, "health")["hint"].to_string();
    assert!(hint.contains("LANGFUSE_BASE_URL"), "{ended:#?}");
}

#[test]
fn keys_are_not_shown_to_a_server_that_is_not_healthy() {
    let server = Scripted::always(html(503));
    check(server.url(), &[]).run().code(5);
    for request in server.requests() {
        assert_eq!(request.path, HEALTH);
        assert_eq!(request.header("authorization"), "");
    }
}

// Auth.

#[test]
fn refused_keys_fail_auth_as_a_matter_of_settings() {
    let replies = [
        (
            message(
                401,
                "Invalid credentials. Confirm that you've configured the correct host.",
            ),
            "Invalid credentials",
        ),
        (message(403, "Access denied"), "Access denied"),
    ];
    assert_each_fails_at("auth", 3, PROJECTS, &replies, &[]);
}

#[test]
fn the_sandbox_refuses_other_keys() {
    for version in VERSIONS {
        let sandbox = sandbox(version);
        let call = check(sandbox.url(), &[]).env("LANGFUSE_SECRET_KEY", "sk-lf-another");
        let ended = call.run();
        assert_fails_at(&ended, "auth", 3);
        let words = words(&ended, "auth");
        for wanted in ["401", "LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"] {
            assert!(words.contains(wanted), "{wanted} is missing: {words}");
        }
    }
}

#[test]
fn other_answers_fail_auth_as_a_matter_of_the_server() {
    let replies = [
        (message(500, "oops"), "500"),
        (message(404, "what?"), "404"),
        (message(429, "slow down"), "429"),
        (html(200), "200"),
        (Reply::json(200, &json!({"data": []})), "project"),
        (Reply::Close, ""),
    ];
    assert_each_fails_at("auth", 5, PROJECTS, &replies, &[]);
}

#[test]
fn an_unhealthy_server_is_not_blamed_on_the_keys() {
    let sandbox = sandbox("v4");
    let server = with(&sandbox, PROJECTS, message(500, "oops"));
    let hint = stage(&check(server.url(), &[]).run(), "auth")["hint"].to_string();
    assert!(!hint.contains("key"), "{hint}");
}

#[test]
fn an_answer_without_a_project_has_its_own_remedy() {
    let sandbox = sandbox("v4");
    for (reply, wanted) in [
        (html(200), &["LANGFUSE_BASE_URL", "belong to a project"][..]),
        (
            Reply::json(200, &json!({"data": []})),
            &["LANGFUSE_PUBLIC_KEY", "belong to a project"],
        ),
        (html(404), &["LANGFUSE_BASE_URL", "login page"]),
    ] {
        let server = with(&sandbox, PROJECTS, reply);
        let ended = check(server.url(), &[]).run();
        assert_fails_at(&ended, "auth", 5);
        let words = words(&ended, "auth");
        for wanted in wanted {
            assert!(words.contains(wanted), "{wanted} is missing: {words}");
        }
        assert!(!words.contains("later"), "{words}");
    }
}

/// Behind a collector the Langfuse is another server, chosen by another setting.
#[test]
fn the_remedy_for_langfuse_behind_a_collector_names_its_setting() {
    let authority = Authority::new();
    let langfuse = Scripted::start_tls(authority.server(Flaw::None).serving(), |_, _| Reply::Close);
    let collector = Scripted::always(Reply::json(200, &json!({})));
    let options = ["--otlp-endpoint", collector.url()];
    let ended = check(langfuse.url(), &options).run();
    assert_fails_at(&ended, "health", 5);
    assert!(words(&ended, "health").contains("--ca-file"), "{ended:#?}");
    let ended = check(&dead_url(), &options).run();
    assert_fails_at(&ended, "health", 5);
    let words = words(&ended, "health");
    assert!(words.contains("LANGFUSE_BASE_URL"), "{words}");
}

// Model.

fn with_model_at(sandbox: &Sandbox, model: &str, options: &[&str]) -> Ended {
    let options = [&["--with-model"], options].concat();
    let call = check(sandbox.url(), &options).model_at(&format!("{model}/v1"));
    call.env("OPENAI_API_KEY", "sk-proj-0123456789").run()
}

#[test]
fn a_failing_model_is_reported_and_traced() {
    for version in VERSIONS {
        let sandbox = sandbox(version);
        for (status, words_of_it) in [
            (401, "Incorrect API key"),
            (500, "oops"),
            (404, "no such model"),
        ] {
            let error = json!({"error": {"message": words_of_it, "type": "t", "code": "c"}});
            let model = Scripted::always(Reply::json(status, &error));
            let ended = with_model_at(&sandbox, model.url(), &[]);
            ended.code(4);
            assert!(words(&ended, "model").contains(words_of_it), "{ended:#?}");
            let expected = STAGES.map(|name| {
                let status = if name == "model" { "failed" } else { "ok" };
                (name.to_owned(), status.to_owned())
            });
            assert_eq!(statuses(&ended), expected, "{ended:#?}");
        }
    }
}

#[test]
fn an_unreachable_model_is_reported() {
    let sandbox = Sandbox::start();
    let ended = with_model_at(&sandbox, &dead_url(), &[]);
    ended.code(4);
    let stage = stage(&ended, "model");
    assert_eq!(stage["status"], "failed");
    assert!(stage["hint"].is_string(), "{ended:#?}");
}

#[test]
fn a_missing_model_key_is_a_settings_failure() {
    let untouched = Untouched::start();
    let ended = check(untouched.url(), &["--with-model"]).run();
    assert_fails_at(&ended, "settings", 3);
    assert!(
        words(&ended, "settings").contains("OPENAI_API_KEY"),
        "{ended:#?}"
    );
    untouched.assert_untouched();
}

#[test]
fn without_the_option_the_model_is_neither_needed_nor_asked() {
    let (sandbox, model) = (Sandbox::start(), Untouched::start());
    let ended = check(sandbox.url(), &[]).model_at(model.url()).run();
    assert_whole(&ended, false);
    assert!(
        words(&ended, "model").contains("--with-model"),
        "{ended:#?}"
    );
    model.assert_untouched();
    assert_whole(&check(sandbox.url(), &[]).run(), false);
}

// Export.

#[test]
fn an_export_that_is_not_accepted_fails_export() {
    let partial = json!({"partialSuccess": {"rejectedSpans": "1", "errorMessage": "one was odd"}});
    let replies = [
        (message(401, "Invalid credentials"), "401"),
        (message(403, "Ingestion suspended"), "Ingestion suspended"),
        (message(413, "too large"), "413"),
        (message(400, "bad spans"), "bad spans"),
        (html(200), "200"),
        (html(404), "404"),
        (Reply::json(200, &partial), "one was odd"),
    ];
    assert_each_fails_at("export", 5, TRACES, &replies, &[]);
}

#[test]
fn json_of_a_failed_export_names_endpoint_and_status() {
    let sandbox = sandbox("v4");
    let server = with(&sandbox, TRACES, message(400, "bad spans"));
    let trace = check(server.url(), &[]).run().json()["trace"].take();
    assert_eq!(trace["endpoint"], format!("{}{TRACES}", server.url()));
    assert_eq!(trace["status"], 400);
    assert_ne!(trace["delivery"], "accepted");
    assert!(trace["verified"].is_null(), "{trace}");
}

#[test]
fn a_failed_model_does_not_hide_a_failed_export() {
    let sandbox = sandbox("v4");
    let server = with(&sandbox, TRACES, message(400, "bad spans"));
    let model = Scripted::always(message(400, "oops"));
    let call = check(server.url(), &["--with-model"]).model_at(model.url());
    let ended = call.run();
    ended.code(5);
    assert_eq!(stage(&ended, "model")["status"], "failed");
    assert_eq!(stage(&ended, "export")["status"], "failed");
}

#[test]
fn a_failed_model_outranks_an_unreadable_trace() {
    let sandbox = sandbox("v4");
    let server = with(&sandbox, TRACES, Reply::json(200, &json!({})));
    let model = Scripted::always(message(400, "oops"));
    let options = ["--with-model", "--wait", "0.5"];
    let ended = check(server.url(), &options).model_at(model.url()).run();
    ended.code(4);
    assert_eq!(stage(&ended, "readable")["status"], "failed");
}

// What ends a check early.

#[test]
fn no_write_stops_after_the_keys() {
    for version in VERSIONS {
        let sandbox = sandbox(version);
        let server = with(&sandbox, TRACES, Reply::Close);
        let ended = check(server.url(), &["--no-write"]).run();
        ended.code(0);
        let statuses = statuses(&ended);
        for (stage, status) in statuses {
            let is_run = ["settings", "connect", "health", "auth"].contains(&stage.as_str());
            assert_eq!(status, if is_run { "ok" } else { "skipped" }, "{stage}");
        }
        assert!(words(&ended, "export").contains("--no-write"), "{ended:#?}");
        assert!(
            words(&ended, "readable").contains("--no-write"),
            "{ended:#?}"
        );
        assert!(ended.json()["trace"].is_null(), "{ended:#?}");
        assert!(
            server
                .requests()
                .iter()
                .all(|request| request.method == "GET")
        );
    }
}

#[test]
fn no_write_stops_before_the_model() {
    let (sandbox, model) = (Sandbox::start(), Scripted::model("ok"));
    let call = check(sandbox.url(), &["--no-write", "--with-model"]).model_at(model.url());
    let ended = call.run();
    ended.code(0);
    assert_eq!(stage(&ended, "model")["status"], "skipped", "{ended:#?}");
    assert_eq!(model.requests().len(), 0);
}

#[test]
fn the_overall_timeout_ends_a_stage() {
    let sandbox = sandbox("v4");
    for (failed, path) in [("auth", PROJECTS), ("export", TRACES)] {
        let server = with(&sandbox, path, Reply::Hang);
        let ended = check(server.url(), &["--timeout", "1"]).run();
        assert_fails_at(&ended, failed, 5);
        assert!(words(&ended, failed).contains("--timeout"), "{ended:#?}");
    }
}

#[test]
fn without_time_left_the_later_stages_name_the_timeout() {
    let (sandbox, model) = (sandbox("v4"), Scripted::always(Reply::Hang));
    let ended = with_model_at(&sandbox, model.url(), &["--timeout", "1"]);
    assert_fails_at(&ended, "model", 4);
    for name in ["export", "readable"] {
        let words = words(&ended, name);
        assert!(words.contains("--timeout"), "{name}: {words}");
    }
}

#[test]
fn the_overall_timeout_ends_the_wait_for_the_trace() {
    let sandbox = sandbox("v4");
    let server = with(&sandbox, TRACES, Reply::json(200, &json!({})));
    let ended = check(server.url(), &["--timeout", "1", "--wait", "600"]).run();
    assert_fails_at(&ended, "readable", 7);
}

// A server that is still starting.

#[test]
fn a_server_that_is_still_starting_is_waited_for_before_the_keys_are_tried() {
    for starting in [message(503, "starting"), html(502), Reply::Close] {
        let sandbox = sandbox("v4");
        let server = Scripted::in_front_of(&sandbox, move |request, count| {
            (request.path == HEALTH && count < 3).then(|| starting.clone())
        });
        let ended = check(server.url(), &["--wait-for-server", "60"]).run();
        assert_whole(&ended, false);
        let requests = server.requests();
        let with_keys = |request: &crate::support::harness::Request| {
            !request.header("authorization").is_empty()
        };
        let first = requests.iter().position(with_keys).unwrap();
        let asked = requests[..first]
            .iter()
            .filter(|request| request.path == HEALTH);
        assert!(asked.count() > 3, "{requests:#?}");
    }
}

#[test]
fn a_server_that_stays_unhealthy_never_sees_the_keys() {
    let server = Scripted::always(message(503, "starting"));
    let ended = check(server.url(), &["--wait-for-server", "1"]).run();
    assert_fails_at(&ended, "health", 5);
    assert!(server.requests().len() > 1);
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.path == HEALTH)
    );
}

#[test]
fn the_overall_timeout_bounds_the_wait_for_the_server() {
    let server = Scripted::always(message(503, "starting"));
    let options = ["--wait-for-server", "600", "--timeout", "1"];
    check(server.url(), &options).run().code(5);
}

#[test]
fn the_overall_timeout_bounds_a_silent_server() {
    let server = Scripted::always(Reply::Hang);
    let options = ["--wait-for-server", "600", "--timeout", "1"];
    let start = Instant::now();
    check(server.url(), &options).run().code(5);
    // Far from what one question may take.
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
}

// Other destinations.

#[test]
fn a_plain_otlp_backend_is_only_connected_to() {
    let backend = Scripted::always(html(404));
    let call =
        Langspan::new(&["check", "-o", "json"]).env("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url());
    let ended = call.run();
    ended.code(3);
    assert_eq!(stage(&ended, "settings")["status"], "ok");
    assert_eq!(stage(&ended, "connect")["status"], "ok");
    for name in ["export", "readable"] {
        assert_eq!(stage(&ended, name)["status"], "skipped");
    }
    assert!(
        backend
            .requests()
            .iter()
            .all(|request| request.method == "GET")
    );
}

#[test]
fn a_plain_otlp_backend_is_named_once() {
    let backend = Scripted::always(html(404));
    let call = Langspan::new(&["check", "-o", "json", "--otlp-endpoint", backend.url()]);
    let expected = format!("spans to {}/v1/traces (--otlp-endpoint)", backend.url());
    assert_eq!(stage(&call.run(), "settings")["detail"], expected);
}

#[test]
fn a_plain_otlp_backend_that_is_not_there_fails_connect() {
    let call =
        Langspan::new(&["check", "-o", "json"]).env("OTEL_EXPORTER_OTLP_ENDPOINT", &dead_url());
    assert_fails_at(&call.run(), "connect", 5);
}

#[test]
fn a_collector_takes_the_canary_and_langfuse_shows_it() {
    let sandbox = sandbox("v4");
    // The server's threads outlive the test; the sandbox must not.
    let behind = Arc::downgrade(&sandbox);
    let collector = Scripted::start(move |request, _| {
        let mut passed = request.clone();
        passed.path = TRACES.to_owned();
        behind
            .upgrade()
            .map_or(Reply::Close, |behind| forward(&behind, &passed))
    });
    let ended = check(sandbox.url(), &["--otlp-endpoint", collector.url()]).run();
    assert_whole(&ended, false);
    assert!(words(&ended, "export").contains("collector"), "{ended:#?}");
    let exports = collector.requests();
    assert_eq!(exports.len(), 1, "{exports:#?}");
    assert_eq!(exports[0].path, "/v1/traces");
    assert_eq!(exports[0].header("authorization"), "");
    let endpoint = format!("{}/v1/traces", collector.url());
    assert_eq!(ended.json()["trace"]["endpoint"], endpoint);
}

#[test]
fn a_collector_that_forwards_nothing_is_detected() {
    let (sandbox, collector) = (
        Sandbox::start(),
        Scripted::always(Reply::json(200, &json!({}))),
    );
    let options = ["--otlp-endpoint", collector.url(), "--wait", "0.5"];
    assert_fails_at(&check(sandbox.url(), &options).run(), "readable", 7);
}

#[test]
fn an_unreachable_collector_is_reported() {
    let sandbox = Sandbox::start();
    let ended = check(sandbox.url(), &["--otlp-endpoint", &dead_url()]).run();
    ended.code(5);
    assert_eq!(stage(&ended, "readable")["status"], "skipped");
    assert_eq!(sandbox.get(OBSERVATIONS).json()["data"], json!([]));
}

#[test]
fn the_embedded_sandbox_needs_neither_key_nor_network() {
    let untouched = Untouched::start();
    for options in [&["--sandbox"][..], &["--sandbox", "--with-model"]] {
        let call = Langspan::new(&[&["check", "-o", "json"], options].concat())
            .env("LANGFUSE_BASE_URL", untouched.url())
            .env("OPENAI_BASE_URL", untouched.url())
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", untouched.url())
            .env("HTTP_PROXY", untouched.url());
        assert_whole(&call.run(), options.len() == 2);
    }
    untouched.assert_untouched();
}

#[test]
fn the_embedded_sandbox_excludes_other_servers() {
    for option in [
        "--openai-base-url",
        "--langfuse-base-url",
        "--otlp-endpoint",
    ] {
        let call = Langspan::new(&["check", "--sandbox", option, "http://127.0.0.1:9"]);
        call.run().code(2).stdout("");
    }
}

#[test]
fn a_model_that_answers_is_named() {
    let sandbox = Sandbox::start();
    let model = Scripted::always(Reply::json(200, &completion("ok")));
    let ended = with_model_at(&sandbox, model.url(), &[]);
    assert_whole(&ended, true);
    assert!(words(&ended, "model").contains("gpt-4o-mini"), "{ended:#?}");
    assert_eq!(model.requests().len(), 1);
}
