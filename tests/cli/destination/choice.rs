//! How the destination is chosen, and its URLs.

use serde_json::json;

use super::{INGEST, KEYS, accept, authorization, chat, with};
use crate::support::export::Export;
use crate::support::harness::{Ended, Langspan, Reply, Scripted, dead_url};
use crate::support::untouched::Untouched;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

fn dry_run(arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let call = Langspan::new(&["chat", "--dry-run", "Hello"]).model_at(&dead_url());
    let call = arguments
        .iter()
        .fold(call, |call, argument| call.arg(argument));
    with(call, variables).run()
}

#[track_caller]
fn assert_aimed_at(ended: &Ended, endpoint: &str) {
    ended.code(0);
    let is_there = ended.stdout.split([' ', '\n']).any(|word| word == endpoint);
    assert!(is_there, "not aimed at {endpoint}: {ended:#?}");
}

#[test]
fn the_first_rule_that_applies_chooses_the_destination() {
    let variables = |word: &str| match word {
        "base" => vec![("LANGFUSE_BASE_URL", "https://base.example")],
        "host" => vec![("LANGFUSE_HOST", "https://host.example")],
        "traces" => vec![(
            TRACES_ENDPOINT,
            "https://traces.example/api/public/otel/v1/traces",
        )],
        "general" => vec![(ENDPOINT, "https://general.example/api/public/otel")],
        "plain-traces" => vec![(TRACES_ENDPOINT, "https://traces.example/v1/traces")],
        "plain-general" => vec![(ENDPOINT, "https://general.example")],
        "keys" => KEYS.to_vec(),
        _ => vec![],
    };
    for (set, endpoint) in [
        (
            "flag base host traces keys",
            "https://flag.example/api/public/otel/v1/traces",
        ),
        (
            "base host traces keys",
            "https://base.example/api/public/otel/v1/traces",
        ),
        (
            "host traces keys",
            "https://host.example/api/public/otel/v1/traces",
        ),
        (
            "traces general keys",
            "https://traces.example/api/public/otel/v1/traces",
        ),
        (
            "general keys",
            "https://general.example/api/public/otel/v1/traces",
        ),
        (
            "keys plain-traces",
            "https://cloud.langfuse.com/api/public/otel/v1/traces",
        ),
        (
            "keys plain-general",
            "https://cloud.langfuse.com/api/public/otel/v1/traces",
        ),
        (
            "plain-traces plain-general",
            "https://traces.example/v1/traces",
        ),
        ("plain-general", "https://general.example/v1/traces"),
        (
            "keys",
            "https://cloud.langfuse.com/api/public/otel/v1/traces",
        ),
    ] {
        let flag: &[&str] = if set.starts_with("flag") {
            &["--langfuse-base-url", "https://flag.example"]
        } else {
            &[]
        };
        let variables: Vec<_> = set.split(' ').flat_map(variables).collect();
        assert_aimed_at(&dry_run(flag, &variables), endpoint);
    }
}

#[test]
fn with_nothing_set_the_destination_is_the_cloud_whose_keys_are_missing() {
    let ended = Langspan::new(&["chat", "Hello"])
        .model_at(&dead_url())
        .run();
    ended
        .code(3)
        .stdout("")
        .stderr_has("https://cloud.langfuse.com")
        .stderr_has("LANGFUSE_PUBLIC_KEY")
        .stderr_has("LANGFUSE_SECRET_KEY");
}

#[test]
fn any_form_of_the_url_is_completed_and_shown() {
    let root = "https://lf.example/api/public/otel/v1/traces";
    let below = "https://lf.example/base/path/api/public/otel/v1/traces";
    for (form, endpoint) in [
        ("https://lf.example", root),
        ("https://lf.example/", root),
        ("https://lf.example///", root),
        ("https://lf.example/api/public/otel", root),
        ("https://lf.example/api/public/otel/", root),
        ("https://lf.example/api/public/otel/v1/traces", root),
        ("https://lf.example/api/public/otel/v1/traces/", root),
        (
            "https://lf.example/project/p1/traces/0af7651916cd43dd8448eb211c80319c",
            root,
        ),
        (
            "https://lf.example/project/p1/traces/0af7651916cd43dd8448eb211c80319c?observation=b7ad6b7169203331",
            root,
        ),
        (
            "https://lf.example/trace/0af7651916cd43dd8448eb211c80319c",
            root,
        ),
        ("https://lf.example/base/path", below),
        ("https://lf.example/base/path/", below),
        ("https://lf.example/base/path/api/public/otel/", below),
        (
            "https://lf.example/base/path/api/public/otel/v1/traces",
            below,
        ),
        (
            "https://lf.example/base/path/project/p1/traces/0af7651916cd43dd8448eb211c80319c",
            below,
        ),
        (
            "http://localhost:3000/",
            "http://localhost:3000/api/public/otel/v1/traces",
        ),
        (
            "http://[::1]:3000",
            "http://[::1]:3000/api/public/otel/v1/traces",
        ),
    ] {
        assert_aimed_at(&dry_run(&["--langfuse-base-url", form], &KEYS), endpoint);
        for name in ["LANGFUSE_BASE_URL", "LANGFUSE_HOST"] {
            let [public, secret] = KEYS;
            assert_aimed_at(&dry_run(&[], &[(name, form), public, secret]), endpoint);
        }
    }
}

#[test]
fn a_deployment_base_path_is_part_of_every_url() {
    let model = Scripted::model("hi");
    let langfuse = Scripted::start(|request, _| match request.path.as_str() {
        "/lf/api/public/projects" => {
            Reply::json(200, &json!({"data": [{"id": "p1", "name": "P"}]}))
        }
        "/lf/api/public/otel/v1/traces" => Reply::json(200, &json!({})),
        _ => Reply::json(404, &json!({"message": "not found"})),
    });
    let ended = chat(&model, &KEYS)
        .env("LANGFUSE_BASE_URL", &format!("{}/lf/", langfuse.url()))
        .run();
    ended
        .code(0)
        .stderr_has(&format!("trace: {}/lf/project/p1/traces/", langfuse.url()));
}

#[test]
fn an_invalid_url_is_refused_before_anything_is_sent() {
    let model = Untouched::start();
    for wrong in [
        "not a url",
        "langfuse",
        "ftp://langfuse.example",
        "https://",
        "http://",
    ] {
        for name in ["LANGFUSE_BASE_URL", "LANGFUSE_HOST"] {
            let call = with(
                Langspan::new(&["chat", "Hello"]).model_at(model.url()),
                &KEYS,
            );
            call.env(name, wrong)
                .run()
                .code(3)
                .stdout("")
                .stderr_has(name);
        }
        for name in [
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        ] {
            let call = Langspan::new(&["chat", "Hello"]).model_at(model.url());
            call.env(name, wrong)
                .run()
                .code(3)
                .stdout("")
                .stderr_has(name);
        }
    }
    model.assert_untouched();
}

#[test]
fn a_langfuse_gets_its_keys_and_the_version_header() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    chat(&model, &KEYS)
        .env("LANGFUSE_BASE_URL", langfuse.url())
        .run()
        .code(0);
    let requests = langfuse.requests();
    assert!(!requests.is_empty());
    for request in &requests {
        assert_eq!(
            request.header("authorization"),
            authorization(),
            "{}",
            request.path
        );
    }
    let [export] = langfuse.requests_to(INGEST).try_into().unwrap();
    assert_eq!(export.method, "POST");
    assert_eq!(export.header("x-langfuse-ingestion-version"), "4");
    assert_eq!(export.header("content-type"), "application/x-protobuf");
    assert_eq!(Export::of(&export).spans().len(), 2);
}

#[test]
fn the_ui_url_replaces_the_base_of_printed_links() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    let link = |call: Langspan| {
        let ended = call
            .env("LANGFUSE_BASE_URL", langfuse.url())
            .arg("-o")
            .arg("url")
            .run();
        ended.code(0);
        ended.stdout.split("/traces/").next().unwrap().to_owned()
    };
    assert_eq!(
        link(chat(&model, &KEYS)),
        format!("{}/project/p1", langfuse.url())
    );
    let variable = || chat(&model, &KEYS).env("LANGSPAN_UI_URL", "https://people.example/lf/");
    assert_eq!(link(variable()), "https://people.example/lf/project/p1");
    let flag = variable().arg("--ui-url").arg("https://flag.example");
    assert_eq!(link(flag), "https://flag.example/project/p1");
    // The link is replaced, not the destination.
    assert_eq!(langfuse.requests_to(INGEST).len(), 3);
}
