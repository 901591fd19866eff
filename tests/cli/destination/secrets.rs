//! Keys reach no other host and are not shown.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{INGEST, KEYS, PROJECTS, accept, authorization, backend, basic, chat, not_loopback};
use crate::support::harness::{Langspan, Reply, Request, Scripted, files_below};
use crate::support::untouched::Untouched;

/// Whether anything in the request, a Basic header included, holds a text.
fn holds(request: &Request, text: &str) -> bool {
    let header = request.header("authorization").replace("Basic ", "");
    let decoded = STANDARD.decode(header).unwrap_or_default();
    let places = [
        format!("{} {:?}", request.path, request.headers),
        String::from_utf8_lossy(&decoded).into_owned(),
        String::from_utf8_lossy(&request.body).into_owned(),
    ];
    places.iter().any(|place| place.contains(text))
}

#[test]
fn a_collector_gets_the_spans_and_langfuse_the_keys() {
    let (model, langfuse, collector) =
        (Scripted::model("hi"), Scripted::langfuse(accept), backend());
    let ended = chat(&model, &KEYS)
        .env("LANGFUSE_BASE_URL", langfuse.url())
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue")
        .arg("--otlp-endpoint")
        .arg(collector.url())
        .run();
    ended
        .code(0)
        .stderr_has("collector")
        .stderr_has(&format!("trace: {}/project/p1/traces/", langfuse.url()));
    let [export] = collector.requests().try_into().unwrap();
    assert_eq!(export.path, "/v1/traces");
    assert_eq!(
        (export.header("x-tenant"), export.header("authorization")),
        ("blue", "")
    );
    assert!(!holds(&export, "lf-destination"), "{export:?}");
    assert!(langfuse.requests_to(INGEST).is_empty());
    for look_up in langfuse.requests_to(PROJECTS) {
        assert_eq!(
            (look_up.header("authorization"), look_up.header("x-tenant")),
            (authorization().as_str(), "")
        );
    }
}

#[test]
fn the_option_beats_an_endpoint_variable() {
    let (model, collector, other) = (Scripted::model("hi"), backend(), Untouched::start());
    chat(&model, &[("OTEL_EXPORTER_OTLP_ENDPOINT", other.url())])
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue")
        .arg("--otlp-endpoint")
        .arg(collector.url())
        .run()
        .code(0);
    let [export] = collector.requests().try_into().unwrap();
    assert_eq!(export.header("x-tenant"), "blue");
    other.assert_untouched();
}

#[test]
fn only_an_empty_path_of_a_collector_is_completed() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    for (given, path) in [
        ("", "/v1/traces"),
        ("/", "/v1/traces"),
        ("/v1/traces", "/v1/traces"),
        ("/own/path", "/own/path"),
        ("/own/", "/own/"),
    ] {
        let collector = backend();
        chat(&model, &KEYS)
            .env("LANGFUSE_BASE_URL", langfuse.url())
            .arg("--otlp-endpoint")
            .arg(&format!("{}{given}", collector.url()))
            .run()
            .code(0);
        let paths: Vec<String> = collector
            .requests()
            .into_iter()
            .map(|request| request.path)
            .collect();
        assert_eq!(paths, [path], "{given:?}");
    }
}

#[test]
fn langfuse_keys_of_a_header_variable_do_not_reach_a_collector() {
    for (public, secret) in [
        KEYS.map(|(_, value)| value).into(),
        ("unusual-public", "unusual-secret"),
    ] {
        let (model, langfuse, collector) =
            (Scripted::model("hi"), Scripted::langfuse(accept), backend());
        let header = format!("Authorization={}", basic(public, secret));
        let ended = chat(&model, &[("OTEL_EXPORTER_OTLP_TRACES_HEADERS", &header)])
            .env(
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                &format!("{}{INGEST}", langfuse.url()),
            )
            .arg("--otlp-endpoint")
            .arg(collector.url())
            .run();
        ended.code(0);
        let [export] = collector.requests().try_into().unwrap();
        assert_eq!(export.header("authorization"), "", "{public}");
        let look_ups = langfuse.requests_to(PROJECTS);
        assert_eq!(look_ups[0].header("authorization"), basic(public, secret));
    }
}

#[test]
fn a_plain_backend_gets_its_own_headers_and_no_langfuse_key() {
    let (model, backend) = (Scripted::model("hi"), backend());
    // Half a pair is none, so the OTLP variable chooses.
    for half in KEYS {
        chat(&model, &[half])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url())
            .env(
                "OTEL_EXPORTER_OTLP_HEADERS",
                "Authorization=Bearer%20of-the-backend",
            )
            .run()
            .code(0);
    }
    let requests = backend.requests();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert_eq!(request.path, "/v1/traces");
        assert_eq!(request.header("authorization"), "Bearer of-the-backend");
        assert!(!holds(request, "lf-destination"), "{request:?}");
    }
}

#[test]
fn headers_meant_for_another_backend_do_not_reach_langfuse() {
    let (model, langfuse, other) = (
        Scripted::model("hi"),
        Scripted::langfuse(accept),
        Untouched::start(),
    );
    for name in [
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    ] {
        chat(&model, &KEYS)
            .env("LANGFUSE_BASE_URL", langfuse.url())
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", other.url())
            .env(
                name,
                "Authorization=Basic%20b3RoZXI6YmFja2VuZA==,x-team=blue",
            )
            .run()
            .code(0);
    }
    let exports = langfuse.requests_to(INGEST);
    assert_eq!(exports.len(), 2);
    for request in langfuse.requests() {
        assert_eq!(
            (request.header("authorization"), request.header("x-team")),
            (authorization().as_str(), "")
        );
    }
    other.assert_untouched();
}

#[test]
fn the_basic_header_of_another_backend_is_not_used_for_langfuse() {
    let langfuse = Untouched::start();
    let ended = Langspan::new(&["chat", "Hello"])
        .model_at(langfuse.url())
        .env("LANGFUSE_BASE_URL", langfuse.url())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://other.example")
        .env(
            "OTEL_EXPORTER_OTLP_HEADERS",
            "Authorization=Basic%20b3RoZXI6YmFja2VuZA==",
        )
        .run();
    ended.code(3).stdout("").stderr_has("LANGFUSE_PUBLIC_KEY");
    langfuse.assert_untouched();
}

#[test]
fn a_redirect_takes_the_keys_nowhere() {
    let (model, other) = (Scripted::model("hi"), Untouched::start());
    let target = other.url().to_owned();
    let langfuse = Scripted::start(move |request, _| {
        Reply::With(
            307,
            vec![("location", format!("{target}{}", request.path))],
            String::new(),
        )
    });
    let ended = chat(&model, &KEYS)
        .env("LANGFUSE_BASE_URL", langfuse.url())
        .run();
    ended.code(5).stdout("hi\n").stderr_has("307");
    other.assert_untouched();
}

#[test]
fn the_model_gets_no_langfuse_key_and_langfuse_no_model_key() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    chat(&model, &KEYS)
        .env("LANGFUSE_BASE_URL", langfuse.url())
        .env("OPENAI_API_KEY", "sk-of-the-model")
        .run()
        .code(0);
    let [asked] = model.requests().try_into().unwrap();
    assert!(!holds(&asked, "lf-destination"), "{asked:?}");
    for request in langfuse.requests() {
        assert!(!holds(&request, "sk-of-the-model"), "{request:?}");
    }
}

#[test]
fn no_secret_is_shown_though_every_server_repeats_what_it_got() {
    let echo = || {
        Scripted::start(|request, _| {
            let message = format!("refused: {:?}", request.headers);
            let body = json!({"message": message, "error": {"message": message}});
            Reply::json(401, &body)
        })
    };
    for form in ["text", "json"] {
        let (model, langfuse) = (echo(), echo());
        let ended = chat(&model, &KEYS)
            .env("LANGFUSE_BASE_URL", langfuse.url())
            .env("OPENAI_API_KEY", "sk-of-the-model-1234567890")
            .arg("-vv")
            .arg("-o")
            .arg(form)
            .arg("-H")
            .arg("x-api-key: header-secret-1234567890")
            .run();
        ended.code(5);
        let encoded = authorization().replace("Basic ", "");
        let files = files_below(&ended.outbox());
        assert!(!files.is_empty());
        let kept: String = files
            .iter()
            .map(|file| fs::read_to_string(file).unwrap())
            .collect();
        // Those in variables are looked for by the harness.
        for secret in ["header-secret-1234567890", &encoded] {
            for (place, text) in [
                ("stdout", &ended.stdout),
                ("stderr", &ended.stderr),
                ("outbox", &kept),
            ] {
                assert!(!text.contains(secret), "{place} holds {secret}: {text}");
            }
        }
    }
}

#[test]
fn a_token_is_hidden_even_without_its_scheme() {
    let token = "gateway-token-1234567890";
    let message = format!("bad token {token}");
    let refusal = Reply::json(401, &json!({"error": {"message": message}}));
    let servers = Scripted::always(refusal);
    let header = format!("Authorization: Bearer {token}");
    let options = [
        "chat",
        "--record",
        "record.jsonl",
        "-vv",
        "-H",
        &header,
        "hi",
    ];
    let ended = Langspan::new(&options)
        .model_at(servers.url())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", servers.url())
        .env(
            "OTEL_EXPORTER_OTLP_HEADERS",
            &format!("Authorization=Bearer {token}"),
        )
        .run();
    ended
        .code(5)
        .stderr_has("bad token [redacted]")
        .stderr_lacks(token);
    let kept = files_below(ended.home());
    assert!(!kept.is_empty());
    for file in kept {
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains(token), "{}: {text}", file.display());
    }
}

#[test]
fn a_key_in_an_invalid_url_is_not_shown() {
    for variable in ["LANGFUSE_BASE_URL", "OPENAI_BASE_URL"] {
        let ended = Langspan::new(&["chat", "hi"])
            .env("LANGFUSE_PUBLIC_KEY", "pk-lf-1")
            .env("LANGFUSE_SECRET_KEY", "sk-lf-1")
            .env(
                variable,
                "https://pk-lf-abc:sk-lf-verysecret@localhost:99999",
            )
            .run();
        ended
            .code(3)
            .stderr_has(variable)
            .stderr_lacks("verysecret");
    }
}

#[test]
fn a_long_message_is_not_cut_in_the_middle_of_a_secret() {
    let model = Scripted::model("hi");
    let secret = "sk-lf-0a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r8s9t0u1v2w3x";
    // Wherever a message is cut, one of these has a key there.
    for padding in [0, 18, 36] {
        let message = format!(
            "{}{}",
            "x".repeat(padding),
            format!("{secret} ").repeat(500)
        );
        let langfuse =
            Scripted::langfuse(move |_, _| Reply::json(401, &json!({"message": message})));
        let ended = chat(&model, &KEYS)
            .env("LANGFUSE_BASE_URL", langfuse.url())
            .env("LANGFUSE_SECRET_KEY", secret)
            .arg("--no-outbox")
            .arg("-vv")
            .run();
        ended.code(5).stderr_lacks(&secret[..14]);
    }
}

#[test]
fn keys_over_http_to_another_host_are_warned_of() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    let at = |url: &str| chat(&model, &KEYS).env("LANGFUSE_BASE_URL", url);
    let ended = at(&not_loopback(&langfuse)).run();
    ended.code(0).stdout("hi\n");
    let warning = ended.stderr.lines().find(|line| line.contains("warning:"));
    assert!(
        warning.is_some_and(|line| line.contains("0.0.0.0") && line.contains("https")),
        "{ended:#?}"
    );
    at(&not_loopback(&langfuse))
        .arg("-q")
        .run()
        .code(0)
        .stderr_lacks("warning:");
    for url in [
        langfuse.url().to_owned(),
        langfuse.url().replace("127.0.0.1", "localhost"),
    ] {
        at(&url).run().code(0).stderr_lacks("warning:");
    }
}
