//! A plain OTLP backend.

use serde_json::{Value, json};

use super::{backend, chat};
use crate::support::harness::{Langspan, Scripted};
use crate::support::untouched::Untouched;

#[test]
fn endpoint_variables_are_used_as_the_specification_says() {
    let model = Scripted::model("hi");
    let [general, traces] = [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    ];
    for (name, given, path) in [
        (general, "", "/v1/traces"),
        (general, "/", "/v1/traces"),
        (general, "/otlp", "/otlp/v1/traces"),
        (general, "/otlp/", "/otlp/v1/traces"),
        (traces, "/v1/traces", "/v1/traces"),
        (traces, "/own/path", "/own/path"),
        (traces, "/own?tenant=a", "/own?tenant=a"),
        (traces, "", "/"),
    ] {
        let backend = backend();
        chat(&model, &[(name, &format!("{}{given}", backend.url()))])
            .run()
            .code(0);
        let paths: Vec<String> = backend
            .requests()
            .into_iter()
            .map(|request| request.path)
            .collect();
        assert_eq!(paths, [path], "{name}={given:?}");
    }
}

#[test]
fn a_plain_backend_has_an_id_and_no_page() {
    let (model, backend) = (Scripted::model("hi"), backend());
    let call = |form: &str| {
        chat(&model, &[("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url())])
            .arg("-o")
            .arg(form)
            .arg("--trace-id")
            .arg("0af7651916cd43dd8448eb211c80319c")
            .run()
    };
    let text = call("text");
    text.code(0).stdout("hi\n");
    assert!(
        text.stderr
            .lines()
            .any(|line| line == "trace: 0af7651916cd43dd8448eb211c80319c"),
        "{text:#?}"
    );
    call("url").code(0).stdout("").stderr_has("warning:");
    let json = call("json");
    json.code(0);
    let trace = &json.json()["trace"];
    assert_eq!(
        (&trace["url"], &trace["delivery"]),
        (&Value::Null, &json!("accepted"))
    );
    assert_eq!(trace["endpoint"], format!("{}/v1/traces", backend.url()));
}

#[test]
fn a_plain_backend_cannot_be_asked_for_a_trace() {
    let (model, backend) = (Untouched::start(), Untouched::start());
    let call = Langspan::new(&["chat", "--verify", "Hello"])
        .model_at(model.url())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url());
    call.run().code(3).stdout("").stderr_has("--verify");
    model.assert_untouched();
    backend.assert_untouched();
}
