//! URLs with keys in them: requests use them, and nothing shows or stores them.

use std::fs;

use serde_json::json;

use crate::support::harness::{Ended, Langspan, Reply, Scripted, completion, files_below};

const MODEL_KEY: &str = "query-secret-of-the-model";
const OTLP_TOKEN: &str = "query/secret of the backend";
/// The token as a URL writes it.
const OTLP_WRITTEN: &str = "query%2Fsecret+of+the+backend";

/// A call to a model and an OTLP backend that take their keys in the query.
fn call(arguments: &[&str], model: &Scripted, backend: &Scripted) -> Langspan {
    Langspan::new(arguments)
        .model_at(&format!("{}/v1?api_key={MODEL_KEY}", model.url()))
        .env(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            &format!("{}/v1/traces?token={OTLP_WRITTEN}", backend.url()),
        )
}

/// Asserts that no key is in what the call printed, nor in a file of its home.
#[track_caller]
fn assert_hidden(ended: &Ended) {
    let mut texts = vec![ended.stdout.clone(), ended.stderr.clone()];
    for file in files_below(ended.home()) {
        texts.push(String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned());
    }
    for text in texts {
        for key in [MODEL_KEY, OTLP_TOKEN, OTLP_WRITTEN] {
            assert!(!text.contains(key), "{key}: {text}");
        }
    }
}

#[test]
fn keys_in_queries_are_sent_and_not_shown() {
    let model = Scripted::model("hi");
    let backend = Scripted::always(Reply::json(200, &json!({})));
    for form in ["text", "json"] {
        let arguments = ["chat", "--no-stdin", "-vvv", "-o", form, "Hello"];
        let ended = call(&arguments, &model, &backend).run();
        ended.code(0).stderr_has("api_key=[redacted]");
        assert_hidden(&ended);
    }
    for request in model.requests() {
        let path = format!("/v1/chat/completions?api_key={MODEL_KEY}");
        assert_eq!(request.path, path);
    }
    for request in backend.requests() {
        assert_eq!(request.path, format!("/v1/traces?token={OTLP_WRITTEN}"));
        let spans = String::from_utf8_lossy(&request.body).into_owned();
        assert!(!spans.contains(MODEL_KEY) && !spans.contains(OTLP_TOKEN));
    }
    assert_eq!((model.count(), backend.count()), (2, 2));
}

#[test]
fn servers_that_repeat_a_url_do_not_give_its_keys_away() {
    let echo = |status: u16, key: &'static str| {
        Scripted::start(move |request, _| {
            let message = format!("no: {} ({key})", request.path);
            let headers = vec![("location", format!("http://127.0.0.1:9{}", request.path))];
            let body = json!({"error": {"message": message}}).to_string();
            Reply::With(status, headers, body)
        })
    };
    for status in [307, 400, 401] {
        let (model, backend) = (echo(status, MODEL_KEY), echo(status, OTLP_TOKEN));
        let arguments = ["chat", "--no-stdin", "-vvv", "--retries", "0", "Hello"];
        let ended = call(&arguments, &model, &backend).run();
        ended.code(5);
        assert_eq!(ended.kept().len(), 1, "{status}");
        assert_hidden(&ended);
        for options in [&["resend", "--list"][..], &["resend", "-vvv"]] {
            let resend = call(options, &model, &backend).after(&ended).run();
            assert_hidden(&resend);
        }
    }
}

#[test]
fn a_dry_run_shows_urls_without_their_keys() {
    let untouched = Scripted::always(Reply::json(200, &completion("hi")));
    for form in ["text", "json"] {
        let arguments = ["chat", "--no-stdin", "--dry-run", "-o", form, "Hello"];
        let ended = call(&arguments, &untouched, &untouched).run();
        ended.code(0);
        assert_hidden(&ended);
        for shown in ["?api_key=[redacted]", "?token=[redacted]"] {
            assert!(ended.stdout.contains(shown), "{ended:#?}");
        }
        let arguments = ["batch", "-", "--dry-run", "-o", form];
        let batch = call(&arguments, &untouched, &untouched).stdin("{\"prompt\": \"Hello\"}\n");
        let ended = batch.run();
        ended.code(0);
        assert_hidden(&ended);
    }
    assert_eq!(untouched.count(), 0);
}

#[test]
fn a_value_that_does_not_look_like_a_key_is_not_shown_either() {
    // Too short to be found in a message: it must not get there.
    const VALUE: &str = "v-1-2";
    let recording = json!({
        "request": {"model": "m", "messages": [{"role": "user", "content": "Hello"}]},
        "response": completion("hi"),
        "start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:01Z",
    });
    for reply in [
        Reply::json(200, &completion("hi")),
        Reply::Answer(200, "text/html", "<html></html>".to_owned()),
        Reply::json(404, &json!({})),
        Reply::json(503, &json!({})),
    ] {
        let server = Scripted::always(reply);
        for arguments in [
            &["chat", "--no-stdin", "-v", "--retries", "0", "Hello"][..],
            &["chat", "--no-stdin", "--dry-run", "Hello"],
            &["replay", "recording.json", "-v"],
            &["batch", "lines.jsonl", "--retries", "0"],
            &["check"],
        ] {
            let collector = format!("{}/v1/traces?k={VALUE}", server.url());
            let call = Langspan::new(arguments)
                .model_at(&format!("{}/v1?k={VALUE}", server.url()))
                .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &collector);
            let call = if arguments.contains(&"check") {
                call
            } else {
                call.arg("--export-timeout").arg("0.5")
            };
            call.file("recording.json", recording.to_string());
            call.file("lines.jsonl", "{\"prompt\": \"Hello\"}\n");
            let ended = call.run();
            for text in [&ended.stdout, &ended.stderr] {
                assert!(!text.contains(VALUE), "{arguments:?}: {ended:#?}");
            }
            for file in files_below(&ended.home().join(".local")) {
                let text = fs::read_to_string(&file).unwrap_or_default();
                assert!(!text.contains(VALUE), "{arguments:?}: {text}");
            }
        }
    }
}

#[test]
fn user_info_is_refused_and_not_shown() {
    let sandbox = Scripted::langfuse(|_, _| Reply::json(200, &json!({})));
    let url = "http://anna:pass-word-1@127.0.0.1:9";
    for variable in ["OPENAI_BASE_URL", "LANGFUSE_BASE_URL", "LANGSPAN_UI_URL"] {
        let call = Langspan::new(&["chat", "--no-stdin", "-vvv", "Hello"])
            .model_at(sandbox.url())
            .langfuse_at(sandbox.url());
        let ended = call.env(variable, url).run();
        ended
            .code(3)
            .stderr_has(variable)
            .stderr_lacks("pass-word-1");
    }
    assert_eq!(sandbox.count(), 0);
}
