//! What the request holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::good;
use crate::support::harness::{Langspan, Reply, Scripted, dead_url, wait_until};
use crate::support::otlp::Servers;

#[test]
fn options_become_fields_of_the_request() {
    let cases: [(&[&str], &str, Value); 10] = [
        (&["-m", "llama"], "/model", json!("llama")),
        (&[], "/model", json!("gpt-4o-mini")),
        (&["--temperature", "0.2"], "/temperature", json!(0.2)),
        (&["--max-tokens", "9"], "/max_tokens", json!(9)),
        (
            &["--system", "Be brief."],
            "/messages/0",
            json!({"role": "system", "content": "Be brief."}),
        ),
        (
            &["--system", "Be brief."],
            "/messages/1",
            json!({"role": "user", "content": "Hello"}),
        ),
        (&["-p", "seed:=7"], "/seed", json!(7)),
        (&["-p", "user=7"], "/user", json!("7")),
        (&["-p", "stop:=[\"a\", \"b\"]"], "/stop", json!(["a", "b"])),
        (&["-p", "note=a:=b"], "/note", json!("a:=b")),
    ];
    for (options, field, value) in cases {
        let servers = Servers::answering("hi");
        let arguments = [&["chat"], options, &["Hello"]].concat();
        servers.call(&arguments).run().code(0);
        assert_eq!(servers.body().pointer(field), Some(&value), "{options:?}");
    }
}

#[test]
fn fields_that_are_not_given_are_not_sent() {
    let servers = Servers::answering("hi");
    servers.call(&["chat", "Hello"]).run();
    assert_eq!(
        servers.body(),
        json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]})
    );
}

#[test]
fn the_model_is_the_options_then_the_environments() {
    for (arguments, model) in [
        (&["chat", "Hello"][..], "of-the-environment"),
        (&["chat", "-m", "of-the-option", "Hello"], "of-the-option"),
    ] {
        let servers = Servers::answering("hi");
        servers
            .call(arguments)
            .env("LANGSPAN_MODEL", "of-the-environment")
            .run();
        assert_eq!(servers.body()["model"], model);
    }
}

#[test]
fn openai_takes_the_most_tokens_under_its_newer_name() {
    let call = Langspan::new(&["chat", "--dry-run", "--max-tokens", "9", "Hello"])
        .env("OPENAI_API_KEY", "sk-0123456789");
    let ended = call.langfuse_at(&dead_url()).run();
    ended.code(0);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(
        said.contains("max_completion_tokens") && !said.contains("max_tokens"),
        "{said}"
    );
}

#[test]
fn azure_is_asked_in_its_own_way() {
    let servers = Servers::answering("hi");
    let call = Langspan::new(&["chat", "-m", "my-deployment", "--max-tokens", "9", "Hello"])
        .langfuse_at(servers.langfuse.url())
        .env("AZURE_OPENAI_ENDPOINT", servers.model.url())
        .env("AZURE_OPENAI_API_KEY", "azure-0123456789")
        .env("OPENAI_API_VERSION", "2024-10-21");
    call.run().code(0).stdout("hi\n");
    let request = servers.model.requests().remove(0);
    assert_eq!(
        request.path,
        "/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21"
    );
    assert_eq!(request.header("api-key"), "azure-0123456789");
    assert_eq!(request.header("authorization"), "");
    assert_eq!(request.json()["max_completion_tokens"], 9);
}

#[test]
fn a_schema_becomes_the_response_format() {
    let schema = json!({"type": "object", "properties": {"x": {"type": "number"}}});
    let servers = Servers::answering("{}");
    let call = servers.call(&["chat", "--schema", "schema.json", "Hello"]);
    call.file("schema.json", schema.to_string());
    call.run().code(0);
    let format = &servers.body()["response_format"];
    assert_eq!(
        (&format["type"], &format["json_schema"]["schema"]),
        (&json!("json_schema"), &schema)
    );
    assert!(format["json_schema"]["name"].is_string(), "{format}");
}

#[test]
fn a_wrong_schema_or_parameter_is_found_before_anything_is_sent() {
    let servers = Servers::answering("hi");
    let cases: [(&[&str], i32); 7] = [
        (&["--schema", "missing.json"], 6),
        (&["--schema", "."], 6),
        (&["--schema", "broken.json"], 2),
        (&["-p", "seed:=[1"], 2),
        (&["-p", "no-value"], 2),
        (&["--temperature", "warm"], 2),
        (&["--max-tokens", "-1"], 2),
    ];
    for (options, code) in cases {
        let call = servers.call(&[&["chat"], options, &["Hello"]].concat());
        call.file("broken.json", "{");
        let ended = call.run();
        assert_eq!(ended.code, Some(code), "{options:?}: {ended:#?}");
    }
    assert!(servers.model.requests().is_empty());
}

#[test]
fn headers_are_sent_and_without_a_key_no_authorization() {
    let servers = Servers::answering("hi");
    servers
        .call(&["chat", "-H", "X-Title: demo", "-H", "x-two:2", "Hello"])
        .run()
        .code(0);
    let request = servers.asked().remove(0);
    assert_eq!(
        (request.header("x-title"), request.header("x-two")),
        ("demo", "2")
    );
    assert_eq!(request.header("authorization"), "");
    assert_eq!(request.header("content-type"), "application/json");
}

#[test]
fn key_organisation_and_project_are_sent_to_the_model_alone() {
    let servers = Servers::answering("hi");
    let call = servers
        .call(&["chat", "Hello"])
        .env("OPENAI_API_KEY", "sk-0123456789");
    call.env("OPENAI_ORG_ID", "org-1")
        .env("OPENAI_PROJECT_ID", "proj-1")
        .run()
        .code(0);
    let request = servers.asked().remove(0);
    assert_eq!(request.header("authorization"), "Bearer sk-0123456789");
    assert_eq!(request.header("openai-organization"), "org-1");
    assert_eq!(request.header("openai-project"), "proj-1");
    for request in servers.langfuse.requests() {
        assert!(
            request.header("authorization").starts_with("Basic "),
            "{request:#?}"
        );
        assert_eq!(request.header("openai-organization"), "");
    }
}

#[test]
fn the_look_up_runs_while_the_model_works() {
    // The model answers only when the look-up has been seen.
    let seen = Arc::new(AtomicUsize::new(0));
    let at_model = Arc::clone(&seen);
    let model = Scripted::start(move |_, _| {
        wait_until("the look-up came", || at_model.load(Ordering::SeqCst) > 0);
        good()
    });
    let langfuse = Scripted::start(move |request, _| {
        if request.path == "/api/public/projects" {
            seen.fetch_add(1, Ordering::SeqCst);
            return Reply::json(200, &json!({"data": [{"id": "p1", "name": "P"}]}));
        }
        Reply::json(200, &json!({}))
    });
    let servers = Servers { model, langfuse };
    servers
        .call(&["chat", "Hello"])
        .run()
        .code(0)
        .stderr_has("/project/p1/traces/");
}
