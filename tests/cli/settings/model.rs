//! The model endpoint and its keys.

use serde_json::{Value, json};

use super::{INGEST, accept, asked, dry_run, with};
use crate::support::harness::{Langspan, Scripted, completion};
use crate::support::untouched::Untouched;

#[test]
fn the_first_rule_that_applies_chooses_the_model_endpoint() {
    let flag: &[&str] = &["--openai-base-url", "https://flag.example/v1"];
    let base = ("OPENAI_BASE_URL", "https://base.example/v1");
    let azure = ("AZURE_OPENAI_ENDPOINT", "https://res.openai.azure.com");
    let keys = [
        ("OPENAI_API_KEY", "sk-of-openai"),
        ("AZURE_OPENAI_API_KEY", "key-of-azure"),
    ];
    for (arguments, variables, url) in [
        (
            flag,
            vec![base, azure],
            "https://flag.example/v1/chat/completions",
        ),
        (
            &[],
            vec![base, azure],
            "https://base.example/v1/chat/completions",
        ),
        (&[], vec![azure], "https://res.openai.azure.com/openai/"),
        (&[], vec![], "https://api.openai.com/v1/chat/completions"),
    ] {
        let variables = [variables, keys.to_vec()].concat();
        dry_run(arguments, &variables)
            .code(0)
            .stderr_lacks("error:");
        let ended = dry_run(arguments, &variables);
        assert!(ended.stdout.contains(url), "{url}: {ended:#?}");
    }
}

#[test]
fn openai_variables_become_headers() {
    let request = asked(
        &["-H", "X-Team: blue"],
        &[
            ("OPENAI_API_KEY", "sk-of-openai"),
            ("OPENAI_ORG_ID", "org-1"),
            ("OPENAI_PROJECT_ID", "proj-1"),
        ],
    );
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("POST", "/chat/completions")
    );
    let seen = [
        "authorization",
        "openai-organization",
        "openai-project",
        "x-team",
        "api-key",
    ]
    .map(|name| request.header(name));
    assert_eq!(seen, ["Bearer sk-of-openai", "org-1", "proj-1", "blue", ""]);
}

#[test]
fn a_base_url_is_completed() {
    for (given, path) in [
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/openai/v1", "/openai/v1/chat/completions"),
    ] {
        let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
        let call = Langspan::new(&["chat", "Hello"]).langfuse_at(langfuse.url());
        call.model_at(&format!("{}{given}", model.url()))
            .run()
            .code(0);
        assert_eq!(model.requests()[0].path, path);
    }
}

#[test]
fn without_a_key_no_authorization_is_sent_to_other_endpoints() {
    assert!(!asked(&[], &[]).headers.contains_key("authorization"));
}

#[test]
fn openai_and_azure_want_a_key_before_anything_is_sent() {
    let langfuse = Untouched::start();
    for (variables, missing) in [
        (vec![], "OPENAI_API_KEY"),
        (
            vec![("OPENAI_BASE_URL", "https://api.openai.com/v1")],
            "OPENAI_API_KEY",
        ),
        (
            vec![("AZURE_OPENAI_ENDPOINT", "https://res.openai.azure.com")],
            "AZURE_OPENAI_API_KEY",
        ),
    ] {
        let call = Langspan::new(&["chat", "Hello"]).langfuse_at(langfuse.url());
        with(call, &variables)
            .run()
            .code(3)
            .stdout("")
            .stderr_has(missing);
    }
    langfuse.assert_untouched();
}

#[test]
fn a_recording_needs_no_model_key() {
    let langfuse = Scripted::langfuse(accept);
    let call = Langspan::new(&["replay", "recording.json"]).langfuse_at(langfuse.url());
    let recording = json!({
        "request": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]},
        "response": completion("hi"),
        "start_time": "2026-01-02T03:04:05Z",
        "end_time": "2026-01-02T03:04:06Z",
    });
    call.file("recording.json", recording.to_string());
    call.run().code(0).stdout("hi\n");
    assert_eq!(langfuse.requests_to(INGEST).len(), 1);
}

#[test]
fn azure_is_asked_in_its_own_way() {
    let langfuse = Scripted::langfuse(accept);
    for (version, path) in [
        (
            vec![("OPENAI_API_VERSION", "2024-10-21")],
            "/openai/deployments/my-model/chat/completions?api-version=2024-10-21",
        ),
        (vec![], "/openai/v1/chat/completions"),
    ] {
        let model = Scripted::model("hi");
        let call = Langspan::new(&["chat", "-m", "my-model", "--max-tokens", "9", "Hello"])
            .langfuse_at(langfuse.url())
            .env("AZURE_OPENAI_ENDPOINT", &format!("{}/", model.url()))
            .env("AZURE_OPENAI_API_KEY", "key-of-azure")
            .env("OPENAI_API_KEY", "sk-of-openai");
        with(call, &version).run().code(0).stdout("hi\n");
        let [request] = model.requests().try_into().unwrap();
        assert_eq!(request.path, path);
        assert_eq!(
            (request.header("api-key"), request.header("authorization")),
            ("key-of-azure", "")
        );
        let body = request.json();
        assert_eq!(
            (&body["max_completion_tokens"], &body["max_tokens"]),
            (&json!(9), &Value::Null)
        );
    }
}

#[test]
fn max_tokens_has_the_name_that_the_endpoint_knows() {
    let body = asked(&["--max-tokens", "9"], &[]).json();
    assert_eq!(
        (&body["max_tokens"], &body["max_completion_tokens"]),
        (&json!(9), &Value::Null)
    );
    let ended = dry_run(
        &["--max-tokens", "9", "-o", "json"],
        &[("OPENAI_API_KEY", "sk-of-openai")],
    );
    ended.code(0);
    let text = ended.stdout.clone();
    assert!(text.contains("\"max_completion_tokens\":9"), "{text}");
    assert!(!text.contains("\"max_tokens\""), "{text}");
}
