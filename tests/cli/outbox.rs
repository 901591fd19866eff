//! The outbox for spans that were not accepted: its location, format and permissions, and that a killed process loses
//! nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::harness::{
    Ended, Langspan, OBSERVATIONS, Reply, Scripted, TRACES, files_below, forward, wait_until,
};
use crate::support::stand_in::Sandbox;

const DEFAULT: &str = ".local/state/langspan/outbox";

fn refusing() -> Scripted {
    Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "Invalid credentials."})))
}

fn accepting() -> Scripted {
    Scripted::langfuse(|_, _| Reply::json(200, &json!({})))
}

/// A chat whose spans `langfuse` gets; the model behind it lives as long as the second value.
fn chat(langfuse: &Scripted) -> (Langspan, Scripted) {
    let model = Scripted::model("hi");
    let call = Langspan::new(&["chat", "-u", "u1", "Hello"])
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    (call, model)
}

/// A chat that ends with its spans in the outbox.
fn kept() -> Ended {
    let ended = chat(&refusing()).0.run();
    ended.code(5);
    ended
}

fn is_spans(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "jsonl")
}

/// The file of spans, and the one beside it.
fn entry(ended: &Ended) -> (PathBuf, PathBuf) {
    let files = files_below(&ended.outbox());
    assert_eq!(files.len(), 2, "{files:?}");
    let spans = files.iter().find(|path| is_spans(path)).unwrap();
    let id = spans.file_stem().unwrap().to_str().unwrap();
    let meta = spans.with_file_name(format!("{id}.meta.json"));
    assert!(meta.exists(), "{files:?}");
    (spans.clone(), meta)
}

/// The spans of every export request in a folder, whatever its files are called.
fn spans_in(folder: &Path) -> Vec<Value> {
    let files = files_below(folder);
    let texts = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    let requests: Vec<Value> = texts
        .flat_map(|text| {
            text.lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect::<Vec<Value>>()
        })
        .collect();
    requests.iter().flat_map(spans_of).collect()
}

fn spans_of(request: &Value) -> Vec<Value> {
    let resources = request["resourceSpans"].as_array().into_iter().flatten();
    let scopes = resources.flat_map(|resource| resource["scopeSpans"].as_array().unwrap());
    scopes
        .flat_map(|scope| scope["spans"].as_array().unwrap().clone())
        .collect()
}

#[test]
fn the_place_follows_the_environment() {
    let langfuse = refusing();
    for (variables, place) in [
        (&[][..], DEFAULT),
        (&[("XDG_STATE_HOME", "state")], "state/langspan/outbox"),
        (&[("LANGSPAN_OUTBOX", "kept/here")], "kept/here"),
        (
            &[("LANGSPAN_OUTBOX", "kept"), ("XDG_STATE_HOME", "state")],
            "kept",
        ),
        (&[("XDG_STATE_HOME", "")], DEFAULT),
    ] {
        let (mut call, _model) = chat(&langfuse);
        for (name, value) in variables {
            let value = match *value {
                "" => String::new(),
                below => call.home().join(below).display().to_string(),
            };
            call = call.env(name, &value);
        }
        let folder = call.home().join(place);
        let ended = call.run();
        ended.code(5).stderr_has(&folder.display().to_string());
        assert_eq!(
            spans_in(&folder).len(),
            2,
            "{variables:?}: {:?}",
            files_below(ended.home())
        );
        assert_eq!(files_below(ended.home()).len(), 2, "{variables:?}");
    }
}

#[test]
fn only_its_owner_can_read_it() {
    let ended = kept();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&ended.outbox()), 0o700);
    for file in files_below(&ended.outbox()) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn the_spans_are_kept_as_compact_otlp_json_one_request_a_line() {
    let ended = kept();
    let (file, _) = entry(&ended);
    let text = fs::read_to_string(file).unwrap();
    assert!(text.ends_with('\n') && text.lines().count() == 1, "{text}");
    let request: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        format!("{request}\n"),
        text,
        "the line holds no needless space"
    );
    let spans = spans_of(&request);
    assert_eq!(spans.len(), 2);
    let is_hex = |value: &Value, digits: usize| {
        let text = value.as_str().unwrap();
        text.len() == digits
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    for span in &spans {
        assert!(
            is_hex(&span["traceId"], 32) && is_hex(&span["spanId"], 16),
            "{span}"
        );
        for time in ["startTimeUnixNano", "endTimeUnixNano"] {
            let nanos: u64 = span[time].as_str().unwrap().parse().unwrap();
            assert!(nanos > 1_700_000_000_000_000_000, "{span}");
        }
        assert!(span["kind"].is_u64(), "{span}");
        for attribute in span["attributes"].as_array().unwrap() {
            let value = attribute["value"].as_object().unwrap();
            assert_eq!(value.len(), 1, "{attribute}");
            if let Some(int) = value.get("intValue") {
                assert!(int.is_string(), "64-bit integers are strings: {attribute}");
            }
        }
    }
    let child = spans.iter().find(|span| span["kind"] == 3).unwrap();
    assert!(is_hex(&child["parentSpanId"], 16), "{child}");
}

#[test]
fn a_kept_entry_can_be_posted_unchanged() {
    let ended = kept();
    let sandbox = Sandbox::start();
    let body = ended.kept()[0].to_string();
    let answer = sandbox.post(TRACES, &[("content-type", "application/json")], body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let trace_id = spans_in(&ended.outbox())[0]["traceId"]
        .as_str()
        .unwrap()
        .to_owned();
    let rows = sandbox.observations(&trace_id);
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["userId"] == "u1"), "{rows:?}");
}

#[test]
fn the_metadata_says_where_to_for_whom_why_and_when_but_no_secret() {
    let langfuse = refusing();
    let ended = chat(&langfuse).0.run();
    let (_, file) = entry(&ended);
    let text = fs::read_to_string(file).unwrap();
    let meta: Value = serde_json::from_str(&text).unwrap();
    for part in [
        &format!("{}{TRACES}", langfuse.url()),
        "pk-lf-sandbox",
        "401",
        "Invalid credentials.",
    ] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    let is_time = |value: &Value| {
        value
            .as_str()
            .is_some_and(|text| text.parse::<Timestamp>().is_ok())
    };
    assert!(
        meta.as_object().unwrap().values().any(is_time),
        "no time: {text}"
    );
    for file in files_below(&ended.outbox()) {
        let text = fs::read_to_string(&file).unwrap();
        let basic = STANDARD.encode("pk-lf-sandbox:sk-lf-sandbox");
        for secret in ["sk-lf-sandbox", basic.as_str(), "Basic "] {
            assert!(!text.contains(secret), "{}: {text}", file.display());
        }
    }
}

#[test]
fn after_success_nothing_remains() {
    let langfuse = accepting();
    let ended = chat(&langfuse).0.run();
    ended.code(0);
    assert!(ended.outbox().is_dir(), "made before the first export");
    assert!(ended.outbox_files().is_empty());
}

#[test]
fn the_spans_are_there_before_the_request_arrives() {
    let model = Scripted::model("hi");
    let call = Langspan::new(&["chat", "Hello"]).model_at(model.url());
    let folder = call.home().join(DEFAULT);
    let seen = Arc::new(Mutex::new(0));
    let seen_by_server = Arc::clone(&seen);
    let langfuse = Scripted::langfuse(move |_, _| {
        *seen_by_server.lock().unwrap() = spans_in(&folder).len();
        Reply::json(200, &json!({}))
    });
    call.langfuse_at(langfuse.url()).run().code(0);
    assert_eq!(*seen.lock().unwrap(), 2);
}

/// Without a home; and with a folder that cannot be made, whoever runs the test.
fn without_a_place(langfuse: &Scripted) -> Vec<(Langspan, Scripted)> {
    let (homeless, model) = chat(langfuse);
    let (blocked, other) = chat(langfuse);
    let file = blocked.file("file", "");
    let place = file.join("outbox").display().to_string();
    vec![
        (homeless.without("HOME"), model),
        (blocked.env("LANGSPAN_OUTBOX", &place), other),
    ]
}

#[test]
fn a_good_run_needs_no_outbox() {
    let langfuse = accepting();
    for (call, _model) in without_a_place(&langfuse) {
        let ended = call.run();
        ended.code(0).stdout("hi\n").stderr_lacks("error:");
        ended.stderr_has("warning: ");
    }
}

#[test]
fn a_failure_without_an_outbox_folder_reports_that_nothing_was_kept() {
    let langfuse = refusing();
    for (call, _model) in without_a_place(&langfuse) {
        let ended = call.run();
        ended
            .code(5)
            .stdout("hi\n")
            .stderr_has("401")
            .stderr_has("outbox")
            .stderr_lacks("resend");
        assert!(ended.stderr.lines().count() <= 8, "{ended:#?}");
        let json = call.arg("-o").arg("json").run();
        json.code(5);
        assert_eq!(json.json()["trace"]["delivery"], "failed");
    }
}

#[test]
fn a_full_outbox_takes_no_more_and_loses_nothing() {
    let earlier = kept();
    let before = earlier.outbox_files();
    let ended = chat(&refusing())
        .0
        .after(&earlier)
        .env("LANGSPAN_OUTBOX_MAX", "1000")
        .run();
    ended.code(5).stdout("hi\n").stderr_has("full");
    assert_eq!(
        ended.outbox_files(),
        before,
        "the oldest stays, the newest is not kept"
    );
    let roomy = chat(&refusing())
        .0
        .after(&earlier)
        .env("LANGSPAN_OUTBOX_MAX", "1000000")
        .run();
    roomy.code(5);
    assert_eq!(roomy.kept().len(), 2);
}

#[test]
fn a_limit_that_is_not_a_number_is_a_malformed_setting() {
    let langfuse = refusing();
    let (call, model) = chat(&langfuse);
    call.env("LANGSPAN_OUTBOX_MAX", "plenty")
        .run()
        .code(3)
        .stderr_has("LANGSPAN_OUTBOX_MAX");
    assert!(model.requests().is_empty() && langfuse.requests().is_empty());
}

#[test]
fn several_documents_are_several_entries() {
    let (model, langfuse) = (Scripted::model("hi"), refusing());
    let body = r#"{"model":"m","messages":[{"role":"user","content":"Hello"}]}"#;
    let ended = Langspan::new(&["replay", "-"])
        .model_at(model.url())
        .langfuse_at(langfuse.url())
        .stdin(format!("{body}\n{body}\n"))
        .run();
    ended.code(5).stdout("hi\nhi\n");
    assert_eq!(spans_in(&ended.outbox()).len(), 4);
}

/// A chat that is killed while its export waits for an answer; what arrived is for `traces` to say.
fn killed(sandbox: &Arc<Sandbox>, arrives: bool) -> Ended {
    let langfuse = Scripted::before(sandbox, move |sandbox, request, _| {
        if arrives {
            forward(sandbox, request);
        }
        Reply::Hang
    });
    let (call, _model) = chat(&langfuse);
    let call = call.arg("--no-stdin");
    let mut child = call.spawn();
    wait_until("the export has arrived", || !langfuse.exports().is_empty());
    if arrives {
        wait_until("it is stored", || {
            let id = spans_in(&call.home().join(DEFAULT))[0]["traceId"].clone();
            sandbox.observations(id.as_str().unwrap()).len() == 2
        });
    }
    child.kill().unwrap();
    call.ended(&child.wait_with_output().unwrap())
}

#[test]
fn a_killed_process_leaves_its_spans_and_resend_asks_before_it_sends_them() {
    for arrived in [true, false] {
        let sandbox = Arc::new(Sandbox::start());
        let ended = killed(&sandbox, arrived);
        let spans = spans_in(&ended.outbox());
        assert_eq!(spans.len(), 2, "{:?}", ended.outbox_files());

        let langfuse = Scripted::before(&sandbox, |sandbox, request, _| forward(sandbox, request));
        let resent = Langspan::new(&["resend"])
            .langfuse_at(langfuse.url())
            .after(&ended)
            .run();
        resent.code(0);
        let asked: Vec<String> = langfuse
            .requests()
            .iter()
            .filter_map(|request| request.path.split('?').next().map(str::to_owned))
            .collect();
        let expected: &[&str] = if arrived {
            &[OBSERVATIONS]
        } else {
            &[OBSERVATIONS, TRACES]
        };
        assert_eq!(asked, expected, "it arrived: {arrived}");
        let trace_id = spans[0]["traceId"].as_str().unwrap();
        assert_eq!(sandbox.observations(trace_id).len(), 2);
        assert!(resent.outbox_files().is_empty());
    }
}
