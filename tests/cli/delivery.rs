//! Proof of delivery: which answers to an export count as acceptance, how the others are handled, and the
//! effect of `--verify`, `--best-effort` and `--no-outbox`.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::harness::{
    Ended, Langspan, OBSERVATIONS, Reply, Scripted, TRACES, completion, dead_url, forward,
};
use crate::support::stand_in::Sandbox;

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";
const INVALID: &str = "Invalid credentials. Confirm that you've configured the correct host.";

/// A chat that is answered `hi`, with its spans going to `langfuse`.
fn chat(arguments: &[&str], langfuse: &str) -> Ended {
    let model = Scripted::model("hi");
    Langspan::new(&[&["chat", "Hello"], arguments].concat())
        .model_at(model.url())
        .langfuse_at(langfuse)
        .run()
}

fn answering(reply: Reply) -> Scripted {
    Scripted::langfuse(move |_, _| reply.clone())
}

fn unauthorized() -> Scripted {
    answering(Reply::json(401, &json!({"message": INVALID})))
}

/// A Langfuse that takes every export and answers `observations` when asked for it.
fn reading(observations: Reply) -> Scripted {
    Scripted::start(move |request, _| match request.path.split('?').next() {
        Some(OBSERVATIONS) => observations.clone(),
        Some("/api/public/projects") => Reply::json(200, &json!({"data": [{"id": "p1"}]})),
        _ => Reply::json(200, &json!({})),
    })
}

#[test]
fn accepted_answers() {
    let job = json!({"name": "otel-ingestion-job", "data": {"id": "1"}}).to_string();
    let none_rejected = r#"{"partialSuccess":{"rejectedSpans":0}}"#.to_owned();
    let a_warning =
        r#"{"partialSuccess":{"rejectedSpans":"0","errorMessage":"slow down"}}"#.to_owned();
    for (status, content_type, body) in [
        (200, "application/json; charset=utf-8", job),
        (200, JSON, "{}".to_owned()),
        (202, JSON, "{}".to_owned()),
        (200, JSON, r#"{"partialSuccess":{}}"#.to_owned()),
        (200, JSON, r#"{"partialSuccess":null}"#.to_owned()),
        (200, JSON, none_rejected),
        (
            200,
            JSON,
            r#"{"partial_success":{"rejected_spans":"0"}}"#.to_owned(),
        ),
        (
            200,
            JSON,
            r#"{"partialSuccess":{"rejectedSpans":null}}"#.to_owned(),
        ),
        (200, JSON, a_warning),
        (200, JSON, String::new()),
        (200, PROTOBUF, String::new()),
        // partial_success without rejected spans, with the message `hi`.
        (200, PROTOBUF, "\x0a\x04\x12\x02hi".to_owned()),
        (200, "text/html", String::new()),
        (204, "text/plain", String::new()),
    ] {
        let langfuse = answering(Reply::Answer(status, content_type, body.clone()));
        let ended = chat(&[], langfuse.url());
        assert_eq!(
            ended.code,
            Some(0),
            "{status} {content_type} {body:?}: {ended:#?}"
        );
        ended
            .stdout("hi\n")
            .stderr_has("/project/p1/traces/")
            .stderr_lacks("warning");
        assert_eq!(langfuse.exports().len(), 1, "{status} {body:?}");
        assert!(ended.outbox_files().is_empty(), "{status} {body:?}");
    }
}

/// An answer that is none of acceptance: the words of it that stderr must have, and its status if it has one.
type Refusal = (Reply, &'static [&'static str], Option<u16>);

fn refusals() -> Vec<Refusal> {
    let html = "<!doctype html><html><body>Log in to the Wi-Fi</body></html>";
    let json = |status, body: Value| Reply::json(status, &body);
    let answer =
        |status, content_type, body: &str| Reply::Answer(status, content_type, body.into());
    let partial = |rejected: Value| json!({"partialSuccess": {"rejectedSpans": rejected, "errorMessage": "too old"}});
    vec![
        (json(200, partial(json!(1))), &["1", "too old"], Some(200)),
        (json(200, partial(json!("2"))), &["2", "too old"], Some(200)),
        (
            answer(200, PROTOBUF, "\x0a\x06\x08\x01\x12\x02no"),
            &["1", "no"],
            Some(200),
        ),
        (answer(200, PROTOBUF, "{}"), &["200"], Some(200)),
        (answer(200, "text/html", html), &["200", "HTML"], Some(200)),
        (answer(200, JSON, html), &["200", "HTML"], Some(200)),
        (answer(200, JSON, "[]"), &["200"], Some(200)),
        (answer(200, JSON, r#"{"name":"otel"#), &["200"], Some(200)),
        (
            answer(200, "text/plain", "It works!"),
            &["200", "It works!"],
            Some(200),
        ),
        (
            json(400, json!({"error": "Failed to parse OTel Protobuf Trace"})),
            &["400", "Failed to parse OTel Protobuf Trace"],
            Some(400),
        ),
        (
            json(401, json!({"message": INVALID})),
            &["401", INVALID],
            Some(401),
        ),
        (
            json(
                403,
                json!({"message": "Access denied", "error": "ForbiddenError"}),
            ),
            &["403", "Access denied"],
            Some(403),
        ),
        (answer(404, "text/html", html), &["404"], Some(404)),
        (
            json(405, json!({"message": "Method not allowed"})),
            &["405", "Method not allowed"],
            Some(405),
        ),
        (
            answer(
                413,
                "text/html",
                "<html>413 Request Entity Too Large</html>",
            ),
            &["413"],
            Some(413),
        ),
    ]
}

#[test]
fn a_permanently_refused_export_is_sent_once_and_kept() {
    for (reply, words, status) in refusals() {
        let langfuse = answering(reply.clone());
        let ended = chat(&[], langfuse.url());
        assert_refused(&ended, &format!("{reply:?}"), words);
        // A request that is too large is tried in smaller pieces: the trace, then each of its spans.
        let sent = if status == Some(413) { 3 } else { 1 };
        assert_eq!(langfuse.exports().len(), sent, "{reply:?}");
        let document = chat(&["-o", "json"], langfuse.url()).json();
        assert_refusal_document(&document, status);
    }
}

#[test]
fn a_rejection_in_any_spelling_is_not_an_acceptance() {
    let long = format!(
        "{}{}",
        " ".repeat(5 << 20),
        r#"{"partialSuccess":{"rejectedSpans":2}}"#
    );
    for body in [
        r#"{"partial_success":{"rejected_spans":2}}"#,
        r#"{"partialSuccess":{"rejected_spans":"2"}}"#,
        r#"{"partialSuccess":{"rejectedSpans":2.0}}"#,
        r#"{"partialSuccess":{"rejectedSpans":2e0}}"#,
        r#"{"partialSuccess":{"rejectedSpans":"2.0"}}"#,
        r#"{"partialSuccess":{"rejectedSpans":" 2 "}}"#,
        r#"{"partialSuccess":{"rejectedSpans":"two"}}"#,
        r#"{"partialSuccess":{"rejectedSpans":18446744073709551616}}"#,
        r#"{"partialSuccess":{"rejectedSpans":[2]}}"#,
        r#"{"partialSuccess":{"rejectedSpans":-2}}"#,
        r#"{"partialSuccess":[{"rejectedSpans":2}]}"#,
        r#"{"partialSuccess":{"rejectedSpans":2,"rejectedSpans":0}}"#,
        r#"{"partialSuccess":{"rejectedSpans":2},"partial_success":{}}"#,
        &long,
    ] {
        let shown = &body[..body.len().min(80)];
        let langfuse = answering(Reply::Answer(200, JSON, body.to_owned()));
        let ended = chat(&[], langfuse.url());
        assert_refused(&ended, shown, &["rejected"]);
        assert_eq!(langfuse.exports().len(), 1, "{shown}");
    }
}

#[test]
fn unanswered_and_failing_exports_are_kept() {
    let cut =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{\"na";
    let busy = Reply::With(
        429,
        vec![("retry-after", "60".to_owned())],
        json!({"message": "Rate limit exceeded"}).to_string(),
    );
    let broken = Reply::json(500, &json!({"message": "Internal Server Error"}));
    let down = Reply::json(503, &json!({"message": "Service Unavailable"}));
    let cases: [(Reply, &[&str], Option<u16>); 6] = [
        (busy, &["429", "Rate limit exceeded"], Some(429)),
        (broken, &["500", "Internal Server Error"], Some(500)),
        (down, &["503", "Service Unavailable"], Some(503)),
        (Reply::Close, &["connection"], None),
        (Reply::Bytes(cut.into()), &[], None),
        (Reply::Hang, &["no answer"], None),
    ];
    for (reply, words, status) in cases {
        let langfuse = answering(reply.clone());
        let ended = chat(&["--export-timeout", "1"], langfuse.url());
        assert_refused(&ended, &format!("{reply:?}"), words);
        let document = chat(&["--export-timeout", "1", "-o", "json"], langfuse.url()).json();
        assert_refusal_document(&document, status);
        assert_eq!(document["error"]["retryable"], true, "{reply:?}");
    }
}

#[test]
fn an_unreachable_server_is_named_and_the_spans_are_kept() {
    for url in [dead_url(), "http://langfuse.invalid:3000".to_owned()] {
        let ended = chat(&["--export-timeout", "1"], &url);
        assert_refused(&ended, &url, &[&url]);
        let document = chat(&["--export-timeout", "1", "-o", "json"], &url).json();
        assert_refusal_document(&document, None);
    }
}

/// The spans of an export request.
fn spans(request: &Value) -> Vec<Value> {
    let spans = &request["resourceSpans"][0]["scopeSpans"][0]["spans"];
    spans.as_array().unwrap().clone()
}

/// The answer is printed, the cause named, and the spans wait in a file that is named.
#[track_caller]
fn assert_refused(ended: &Ended, case: &str, words: &[&str]) {
    assert_eq!(ended.code, Some(5), "{case}: {ended:#?}");
    ended.stdout("hi\n").stderr_lacks("trace: http");
    for word in words {
        ended.stderr_has(word);
    }
    assert!(ended.stderr.lines().count() <= 8, "{ended:#?}");
    assert_eq!(ended.kept().len(), 1, "{case}: {ended:#?}");
    ended.stderr_has(&ended.outbox().display().to_string());
}

#[track_caller]
fn assert_refusal_document(document: &Value, status: Option<u16>) {
    let (error, trace) = (&document["error"], &document["trace"]);
    assert_eq!(document["ok"], false, "{document}");
    assert_eq!(document["response"]["text"], "hi", "{document}");
    assert_eq!(trace["delivery"], "spooled", "{document}");
    assert_eq!(trace["status"], json!(status), "{document}");
    assert_eq!(
        (&error["kind"], &error["exit_code"], &error["status"]),
        (&json!("delivery"), &json!(5), &json!(status)),
        "{document}"
    );
    for text in ["message", "hint"] {
        assert!(!error[text].as_str().unwrap().is_empty(), "{document}");
    }
}

#[test]
fn transient_errors_are_retried_with_the_same_bytes() {
    let busy = || Reply::With(429, vec![("retry-after", "1".to_owned())], String::new());
    for (name, first) in [
        ("429", busy()),
        (
            "503",
            Reply::json(503, &json!({"message": "Service Unavailable"})),
        ),
    ] {
        let langfuse = Scripted::langfuse(move |_, count| match count {
            0 => first.clone(),
            _ => Reply::json(200, &json!({})),
        });
        let ended = chat(&[], langfuse.url());
        assert_eq!(ended.code, Some(0), "{name}: {ended:#?}");
        let exports = langfuse.exports();
        assert_eq!(exports.len(), 2, "{name}");
        assert_eq!(exports[0].body, exports[1].body, "{name}");
        assert!(ended.outbox_files().is_empty(), "{name}");
    }
}

#[test]
fn a_retry_after_of_zero_still_waits() {
    for wait in ["0", "Thu, 01 Jan 2026 00:00:00 GMT"] {
        let langfuse = answering(Reply::With(
            503,
            vec![("retry-after", wait.to_owned())],
            String::new(),
        ));
        let ended = chat(&["--export-timeout", "1"], langfuse.url());
        assert_refused(&ended, wait, &["503"]);
        let sent = langfuse.exports().len();
        assert!((1..20).contains(&sent), "{wait}: {sent}");
    }
}

#[test]
fn a_request_of_any_size_is_sent_and_kept() {
    const LIMIT: usize = 64 << 20;
    let recording = json!({
        "request": {"model": "m", "messages": [{"role": "user", "content": "x".repeat(LIMIT / 2 + 1)}]},
        "response": completion("hi"),
        "start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:01Z",
    });
    let langfuse = answering(Reply::json(401, &json!({"message": INVALID})));
    let call = Langspan::new(&["replay", "--export-timeout", "60", "-"])
        .langfuse_at(langfuse.url())
        .stdin(recording.to_string());
    let ended = call.run();
    ended.code(5).stderr_has(INVALID);
    assert!(langfuse.exports()[0].body.len() > LIMIT);
    assert_eq!(spans(&ended.kept()[0]).len(), 2);
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Scripted::always(Reply::json(200, &json!({})));
    for status in [301, 302, 307, 308] {
        let location = format!("{}{TRACES}", elsewhere.url());
        let langfuse = answering(Reply::With(
            status,
            vec![("location", location.clone())],
            String::new(),
        ));
        let ended = chat(&[], langfuse.url());
        assert_refused(
            &ended,
            &status.to_string(),
            &[&status.to_string(), &location],
        );
    }
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn an_export_that_arrived_without_an_answer_is_found_and_not_sent_again() {
    let sandbox = Arc::new(Sandbox::start());
    let langfuse = Scripted::before(&sandbox, |sandbox, request, _| {
        forward(sandbox, request);
        Reply::Close
    });
    let ended = chat(&[], langfuse.url());
    ended.code(0).stdout("hi\n");
    assert_eq!(langfuse.exports().len(), 1);
    assert!(!langfuse.requests_to(OBSERVATIONS).is_empty());
    assert_eq!(sandbox.observations(&ended.trace_id()).len(), 2);
    assert!(ended.outbox_files().is_empty());
}

#[test]
fn an_export_that_was_lost_is_sent_again() {
    let sandbox = Arc::new(Sandbox::start());
    let langfuse = Scripted::before(&sandbox, |sandbox, request, count| match count {
        0 => Reply::Close,
        _ => forward(sandbox, request),
    });
    let ended = chat(&[], langfuse.url());
    ended.code(0);
    let asked: Vec<String> = langfuse
        .requests()
        .iter()
        .filter_map(|request| request.path.split('?').next().map(str::to_owned))
        .filter(|path| path != "/api/public/projects")
        .collect();
    assert_eq!(
        asked,
        [TRACES, OBSERVATIONS, TRACES],
        "asked in between, once it proves something"
    );
    let exports = langfuse.exports();
    assert_eq!(exports[0].body, exports[1].body);
    assert_eq!(sandbox.observations(&ended.trace_id()).len(), 2);
}

#[test]
fn spans_that_arrived_unanswered_are_neither_sent_again_nor_kept() {
    let sandbox = Arc::new(Sandbox::start());
    let langfuse = Scripted::in_front_of(&sandbox, {
        let behind = Arc::downgrade(&sandbox);
        move |request, count| match request.path.split('?').next() {
            Some(TRACES) if count == 0 => {
                forward(&*behind.upgrade()?, request);
                Some(Reply::Close)
            }
            Some(TRACES) => Some(Reply::json(503, &json!({"message": "Down."}))),
            Some(OBSERVATIONS) => {
                let Reply::Answer(200, _, body) = forward(&*behind.upgrade()?, request) else {
                    return None;
                };
                let mut body: Value = serde_json::from_str(&body).unwrap();
                body["data"].as_array_mut().unwrap().truncate(1);
                Some(Reply::json(200, &body))
            }
            _ => None,
        }
    });
    let ended = chat(&["--export-timeout", "5"], langfuse.url());
    assert_refused(&ended, "503", &["503", "Down."]);
    let exports = langfuse.exports();
    assert!(exports[1].body.len() < exports[0].body.len());
    assert_eq!(spans(&ended.kept()[0]).len(), 1, "{ended:#?}");

    let accepting = answering(Reply::json(200, &json!({})));
    let resent = Langspan::new(&["resend"])
        .langfuse_at(accepting.url())
        .after(&ended)
        .run();
    resent.code(0);
    assert_eq!(accepting.exports()[0].body, exports[1].body);
}

#[test]
fn without_proof_of_absence_nothing_is_sent_again() {
    let unsaid = Reply::json(500, &json!({"message": "Internal Server Error"}));
    let absent = Reply::json(200, &json!({"data": [], "meta": {}}));
    for (name, answer, budget) in [
        ("the question fails", unsaid, "8"),
        ("the budget ends before absence counts", absent, "2"),
    ] {
        let langfuse = Scripted::start(move |request, _| match request.path.split('?').next() {
            Some(OBSERVATIONS) => answer.clone(),
            Some(TRACES) => Reply::Close,
            _ => Reply::json(200, &json!({"data": [{"id": "p1"}]})),
        });
        let ended = chat(&["--export-timeout", budget], langfuse.url());
        assert_refused(&ended, name, &[]);
        assert_eq!(langfuse.exports().len(), 1, "{name}");
    }
}

#[test]
fn a_look_up_that_answers_after_the_export_still_gives_the_link() {
    let (export_ended, export_has_ended) = channel();
    let (export_ended, export_has_ended) = (Mutex::new(export_ended), Mutex::new(export_has_ended));
    let langfuse = Scripted::start(move |request, _| {
        if request.path == TRACES {
            export_ended.lock().unwrap().send(()).unwrap();
            return Reply::json(200, &json!({}));
        }
        export_has_ended.lock().unwrap().recv().unwrap();
        Reply::json(200, &json!({"data": [{"id": "p1", "name": "P"}]}))
    });
    let ended = chat(&[], langfuse.url());
    ended.code(0).stderr_has("/project/p1/traces/");
}

#[test]
fn without_the_project_the_link_is_one_that_finds_it() {
    for look_up in [
        Reply::Hang,
        Reply::Close,
        Reply::json(500, &json!({"message": "Internal Server Error"})),
        Reply::Answer(404, "text/html", "<html></html>".into()),
    ] {
        let langfuse = Scripted::start(move |request, _| match request.path.as_str() {
            TRACES => Reply::json(200, &json!({})),
            _ => look_up.clone(),
        });
        let ended = chat(&[], langfuse.url());
        ended.code(0).stdout("hi\n").stderr_has("warning");
        let link = format!("trace: {}/trace/{}", langfuse.url(), ended.trace_id());
        ended.stderr_has(&link);
    }
}

#[test]
fn a_refused_look_up_does_not_keep_the_answer_back() {
    for status in [401, 403] {
        let langfuse = Scripted::always(Reply::json(status, &json!({"message": "No."})));
        let ended = chat(&[], langfuse.url());
        assert_refused(&ended, &status.to_string(), &["No."]);
    }
}

#[test]
fn verify_waits_until_the_trace_is_readable() {
    for arguments in [
        &["--langfuse", "v4"][..],
        &["--langfuse", "v4", "--visible-after", "1000"],
        &["--langfuse", "v3"],
    ] {
        let sandbox = Sandbox::start_with(arguments);
        let document = Langspan::new(&["chat", "--verify", "-o", "json", "Hello"])
            .at(&sandbox)
            .run();
        document.code(0);
        assert_eq!(document.json()["trace"]["verified"], true, "{arguments:?}");
    }
}

#[test]
fn an_older_langfuse_is_asked_for_the_trace_itself() {
    let sandbox = Arc::new(Sandbox::start_with(&["--langfuse", "v3"]));
    let langfuse = Scripted::before(&sandbox, |sandbox, request, _| forward(sandbox, request));
    let ended = chat(&["--verify"], langfuse.url());
    ended.code(0);
    assert!(!langfuse.requests_to(OBSERVATIONS).is_empty());
    let trace = format!("/api/public/traces/{}", ended.trace_id());
    assert!(!langfuse.requests_to(&trace).is_empty());
}

#[test]
fn accepted_but_not_readable_in_time_is_7() {
    let empty = || Reply::json(200, &json!({"data": [], "meta": {}}));
    let hidden = Reply::json(403, &json!({"message": "No reading."}));
    for observations in [empty(), hidden, Reply::json(500, &json!({}))] {
        let langfuse = reading(observations);
        let arguments = ["--verify", "--wait", "1"];
        let ended = chat(&arguments, langfuse.url());
        ended
            .code(7)
            .stdout("hi\n")
            .stderr_has("/project/p1/traces/");
        assert!(ended.outbox_files().is_empty());
        let document = chat(&[&arguments[..], &["-o", "json"]].concat(), langfuse.url()).json();
        assert_eq!(document["ok"], false);
        assert_eq!(document["error"]["kind"], "not_readable");
        assert_eq!(document["error"]["exit_code"], 7);
        assert_eq!(document["trace"]["delivery"], "accepted");
        assert_eq!(document["trace"]["verified"], false);
    }
}

#[test]
fn a_trace_with_one_of_two_spans_is_not_readable() {
    let sandbox = Arc::new(Sandbox::start());
    let behind = Arc::downgrade(&sandbox);
    let forgetful = Scripted::start(move |request, _| {
        let Some(sandbox) = behind.upgrade() else {
            return Reply::Close;
        };
        match forward(&sandbox, request) {
            Reply::Answer(200, _, body) if request.path.starts_with(OBSERVATIONS) => {
                let mut body: Value = serde_json::from_str(&body).unwrap();
                body["data"].as_array_mut().unwrap().truncate(1);
                Reply::json(200, &body)
            }
            reply => reply,
        }
    });
    chat(&["--verify", "--wait", "1"], forgetful.url()).code(7);
}

#[test]
fn verify_can_be_asked_for_by_the_environment() {
    let langfuse = reading(Reply::json(200, &json!({"data": [], "meta": {}})));
    let model = Scripted::model("hi");
    let ended = Langspan::new(&["chat", "--wait", "1", "Hello"])
        .env("LANGSPAN_VERIFY", "1")
        .model_at(model.url())
        .langfuse_at(langfuse.url())
        .run();
    ended.code(7);
}

#[test]
fn best_effort_makes_a_refusal_a_warning() {
    let langfuse = unauthorized();
    let ended = chat(&["--best-effort"], langfuse.url());
    ended
        .code(0)
        .stdout("hi\n")
        .stderr_has("warning")
        .stderr_has(INVALID);
    assert_eq!(ended.kept().len(), 1);
    let document = chat(&["--best-effort", "-o", "json"], langfuse.url());
    document.code(0);
    assert_eq!(document.json()["trace"]["delivery"], "spooled");
}

#[test]
fn the_remedy_of_a_forgiven_failure_looks_like_any_other() {
    let langfuse = unauthorized();
    let call = Langspan::new(&["chat", "--no-stdin", "Hello"]).env("FORCE_COLOR", "1");
    let model = Scripted::model("hi");
    let call = call.model_at(model.url()).langfuse_at(langfuse.url());
    for call in [call.clone(), call.arg("--best-effort")] {
        call.run().stderr_has("\u{1b}[36mhint:\u{1b}[0m check that");
    }
}

#[test]
fn best_effort_can_be_asked_for_by_the_environment() {
    let (model, langfuse) = (Scripted::model("hi"), unauthorized());
    let ended = Langspan::new(&["chat", "Hello"])
        .env("LANGSPAN_BEST_EFFORT", "1")
        .model_at(model.url())
        .langfuse_at(langfuse.url())
        .run();
    ended.code(0).stderr_has("warning");
    assert_eq!(ended.kept().len(), 1);
}

#[test]
fn best_effort_makes_an_unreadable_trace_a_warning() {
    let langfuse = reading(Reply::json(200, &json!({"data": [], "meta": {}})));
    let ended = chat(
        &["--best-effort", "--verify", "--wait", "1"],
        langfuse.url(),
    );
    ended.code(0).stdout("hi\n").stderr_has("warning");
}

#[test]
fn best_effort_keeps_spans_without_keys_in_the_outbox() {
    let model = Scripted::model("hi");
    let ended = Langspan::new(&["chat", "--best-effort", "Hello"])
        .model_at(model.url())
        .run();
    ended
        .code(0)
        .stdout("hi\n")
        .stderr_has("warning")
        .stderr_has("LANGFUSE_PUBLIC_KEY");
    assert_eq!(ended.kept().len(), 1);
    let sandbox = Sandbox::start();
    let resent = Langspan::new(&["resend"]).at(&sandbox).after(&ended).run();
    resent.code(0);
    assert!(resent.outbox_files().is_empty());
}

#[test]
fn best_effort_does_not_hide_a_failed_model() {
    let model = Scripted::always(Reply::json(400, &json!({"error": {"message": "no such"}})));
    let ended = Langspan::new(&["chat", "--best-effort", "Hello"])
        .model_at(model.url())
        .langfuse_at(unauthorized().url())
        .run();
    ended.code(4);
    assert_eq!(ended.kept().len(), 1);
}

#[test]
fn best_effort_does_not_hide_swapped_keys() {
    let (model, langfuse) = (Scripted::model("hi"), unauthorized());
    let ended = Langspan::new(&["chat", "--best-effort", "Hello"])
        .model_at(model.url())
        .env("LANGFUSE_BASE_URL", langfuse.url())
        .env("LANGFUSE_PUBLIC_KEY", "sk-lf-1234567890")
        .env("LANGFUSE_SECRET_KEY", "pk-lf-1234567890")
        .run();
    ended.code(3).stdout("");
    assert!(model.requests().is_empty() && langfuse.requests().is_empty());
}

#[test]
fn without_an_outbox_nothing_is_kept() {
    let langfuse = unauthorized();
    let ended = chat(&["--no-outbox"], langfuse.url());
    ended.code(5).stdout("hi\n").stderr_has(INVALID);
    assert!(ended.outbox_files().is_empty());
    let document = chat(&["--no-outbox", "-o", "json"], langfuse.url()).json();
    assert_eq!(document["trace"]["delivery"], "failed");
    chat(&["--no-outbox", "--best-effort"], langfuse.url()).code(0);
}

#[test]
fn no_url_is_printed_for_a_trace_that_was_not_accepted() {
    let langfuse = unauthorized();
    chat(&["-o", "url"], langfuse.url()).code(5).stdout("");
    let langfuse = answering(Reply::json(200, &json!({})));
    let ended = chat(&["-o", "url"], langfuse.url());
    ended.code(0);
    let page = format!("{}/project/p1/traces/", langfuse.url());
    assert!(ended.stdout.starts_with(&page), "{ended:#?}");
}

#[test]
fn quiet_silences_warnings_but_no_error() {
    let langfuse = unauthorized();
    let ended = chat(&["-q", "--best-effort"], langfuse.url());
    ended.code(0).stdout("hi\n");
    assert_eq!(ended.stderr, "");
    chat(&["-q"], langfuse.url())
        .code(5)
        .stdout("hi\n")
        .stderr_has(INVALID);
}

#[test]
fn a_replayed_request_is_verified_too() {
    let (model, langfuse) = (Scripted::model("hi"), unauthorized());
    let call = Langspan::new(&["replay", "request.json"])
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    call.file(
        "request.json",
        r#"{"model":"m","messages":[{"role":"user","content":"Hello"}]}"#,
    );
    let ended = call.run();
    assert_refused(&ended, "replay", &["401", INVALID]);
    let recording = json!({
        "request": {"model": "m", "messages": [{"role": "user", "content": "Hello"}]},
        "response": completion("hi"),
        "start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:01Z",
    });
    let call = Langspan::new(&["replay", "-"])
        .langfuse_at(langfuse.url())
        .stdin(recording.to_string());
    assert_refused(&call.run(), "recording", &["401", INVALID]);
}
