//! Which server gets the spans: the rules in their order, the forms of a URL, the keys that never reach another host,
//! and the OTLP variables.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::export::Export;
use crate::support::harness::{Ended, Langspan, Reply, Request, Scripted, dead_url, files_below};
use crate::support::stand_in::Sandbox;
use crate::support::untouched::Untouched;

const KEYS: [(&str, &str); 2] = [
    ("LANGFUSE_PUBLIC_KEY", "pk-lf-destination"),
    ("LANGFUSE_SECRET_KEY", "sk-lf-destination"),
];
const INGEST: &str = "/api/public/otel/v1/traces";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const PROJECTS: &str = "/api/public/projects";

fn basic(public: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{public}:{secret}")))
}

/// The `Authorization` that the keys of [`KEYS`] make.
fn authorization() -> String {
    basic(KEYS[0].1, KEYS[1].1)
}

fn accept(_: &Request, _: usize) -> Reply {
    Reply::json(200, &json!({}))
}

/// A collector, or any other OTLP backend: it accepts whatever comes.
fn backend() -> Scripted {
    Scripted::start(accept)
}

/// A call of a model that answers `hi`, with these variables.
fn chat(model: &Scripted, variables: &[(&str, &str)]) -> Langspan {
    with(
        Langspan::new(&["chat", "Hello"]).model_at(model.url()),
        variables,
    )
}

fn with(call: Langspan, variables: &[(&str, &str)]) -> Langspan {
    variables
        .iter()
        .fold(call, |call, (name, value)| call.env(name, value))
}

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
fn what_is_no_url_is_refused_before_anything_is_sent() {
    let model = Untouched::start();
    for wrong in [
        "not a url",
        "langfuse.example",
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

// Keys that never reach another host

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
fn the_basic_header_of_another_backend_is_no_key_pair_for_langfuse() {
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
fn a_token_is_hidden_without_the_scheme_before_it_too() {
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
fn a_key_in_what_is_no_url_is_not_shown() {
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

// The cookbook's shell

#[test]
fn the_cookbooks_environment_works_as_it_stands() {
    let sandbox = Sandbox::start();
    let encoded = sandbox
        .authorization()
        .trim_start_matches("Basic ")
        .to_owned();
    for header in [
        format!("Authorization=Basic {encoded}"),
        format!("Authorization=Basic%20{encoded}"),
        format!("authorization=Basic%20{}", encoded.replace('=', "%3D")),
    ] {
        let ended = Langspan::new(&["chat", "-u", "user-123", "-S", "s", "-t", "a", "Hello"])
            .model_at(&format!("{}/v1", sandbox.url()))
            .env("OPENAI_API_KEY", "sk-of-the-cookbook")
            .env(
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                &format!("{}{INGEST}", sandbox.url()),
            )
            .env("OTEL_EXPORTER_OTLP_TRACES_HEADERS", &header)
            .env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
            .run();
        ended
            .code(0)
            .stderr_has(&format!("trace: {}/project/sandbox/traces/", sandbox.url()));
        let rows = sandbox.observations(&ended.trace_id());
        assert_eq!(rows.len(), 2, "{header}");
        assert!(
            rows.iter().all(|row| row["userId"] == "user-123"),
            "{rows:?}"
        );
    }
}

#[test]
fn the_general_variables_serve_as_well_and_padding_survives() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    // 34 and 35 bytes: one and two signs of padding.
    for (public, secret) in [
        ("pk-lf-1234567890", "sk-lf-12345678901"),
        ("pk-lf-1234567890", "sk-lf-123456789012"),
    ] {
        let expected = basic(public, secret);
        assert!(expected.ends_with('='));
        let ended = chat(&model, &[])
            .env(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                &format!("{}/api/public/otel", langfuse.url()),
            )
            .env(
                "OTEL_EXPORTER_OTLP_HEADERS",
                &format!("x-team=blue,Authorization={}", expected.replace(' ', "%20")),
            )
            .run();
        ended.code(0);
        let export = langfuse.requests_to(INGEST).pop().unwrap();
        assert_eq!(
            (export.header("authorization"), export.header("x-team")),
            (expected.as_str(), "blue")
        );
        let look_up = langfuse.requests_to(PROJECTS).pop().unwrap();
        assert_eq!(look_up.header("authorization"), expected);
    }
}

#[test]
fn a_header_without_a_sound_key_pair_is_none() {
    let server = Untouched::start();
    let encode = |text: &str| format!("Basic {}", STANDARD.encode(text));
    let mut taken = Vec::new();
    for value in [
        encode("pk-lf-1234567890"),
        encode("pk-lf-1234567890:"),
        encode(":sk-lf-1234567890"),
        encode("sk-lf-1234567890:pk-lf-1234567890"),
        "Basic this-is-not-base64".to_owned(),
        "Bearer sk-lf-1234567890".to_owned(),
    ] {
        let ended = Langspan::new(&["chat", "Hello"])
            .model_at(server.url())
            .env(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                &format!("{}/api/public/otel", server.url()),
            )
            .env(
                "OTEL_EXPORTER_OTLP_HEADERS",
                &format!("Authorization={value}"),
            )
            .run();
        ended.stderr_lacks("1234567890");
        if ended.code != Some(3) {
            taken.push(value);
        }
    }
    assert!(taken.is_empty(), "taken for a pair: {taken:?}");
    server.assert_untouched();
}

#[test]
fn no_variable_changes_the_version_header() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    chat(&model, &KEYS)
        .env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            &format!("{}/api/public/otel", langfuse.url()),
        )
        .env(
            "OTEL_EXPORTER_OTLP_HEADERS",
            "x-langfuse-ingestion-version=3",
        )
        .run()
        .code(0);
    let [export] = langfuse.requests_to(INGEST).try_into().unwrap();
    assert_eq!(export.header("x-langfuse-ingestion-version"), "4");
}

#[test]
fn langfuse_variables_win_over_the_header() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    let header = format!(
        "Authorization={}",
        basic("pk-lf-of-header", "sk-lf-of-header")
    );
    chat(&model, &KEYS)
        .env(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            &format!("{}{INGEST}", langfuse.url()),
        )
        .env("OTEL_EXPORTER_OTLP_TRACES_HEADERS", &header)
        .run()
        .code(0);
    for request in langfuse.requests() {
        assert_eq!(request.header("authorization"), authorization());
    }
}

#[test]
fn the_headers_for_traces_replace_the_general_ones() {
    let (model, backend) = (Scripted::model("hi"), backend());
    chat(&model, &[])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url())
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-general=1,x-both=general")
        .env("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-own=1,x-both=own")
        .run()
        .code(0);
    let [export] = backend.requests().try_into().unwrap();
    let seen = ["x-general", "x-both", "x-own"].map(|name| export.header(name));
    assert_eq!(seen, ["", "own", "1"]);
}

// A plain OTLP backend

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

// Protocol, compression, timeout

#[test]
fn grpc_is_an_error_where_an_otlp_variable_chose_the_destination() {
    let server = Untouched::start();
    for path in ["", "/api/public/otel"] {
        for name in [
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        ] {
            let header = format!("Authorization={}", authorization());
            let call = Langspan::new(&["chat", "Hello"])
                .model_at(server.url())
                .env(
                    "OTEL_EXPORTER_OTLP_ENDPOINT",
                    &format!("{}{path}", server.url()),
                )
                .env("OTEL_EXPORTER_OTLP_HEADERS", &header)
                .env(name, "grpc");
            call.run()
                .code(3)
                .stdout("")
                .stderr_has("grpc")
                .stderr_has(name);
        }
    }
    server.assert_untouched();
}

#[test]
fn grpc_for_another_backend_is_ignored_with_one_warning() {
    let (model, langfuse) = (Scripted::model("hi"), Scripted::langfuse(accept));
    let ended = chat(&model, &KEYS)
        .env("LANGFUSE_BASE_URL", langfuse.url())
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .run();
    ended.code(0).stdout("hi\n");
    let warnings: Vec<&str> = ended
        .stderr
        .lines()
        .filter(|line| line.contains("warning:"))
        .collect();
    assert!(
        matches!(warnings[..], [warning] if warning.contains("grpc")),
        "{ended:#?}"
    );
    let [export] = langfuse.requests_to(INGEST).try_into().unwrap();
    assert_eq!(export.header("content-type"), "application/x-protobuf");
}

#[test]
fn the_http_protocols_always_count_and_the_one_for_traces_first() {
    let model = Scripted::model("hi");
    let own = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";
    let general = "OTEL_EXPORTER_OTLP_PROTOCOL";
    let (json, protobuf) = ("application/json", "application/x-protobuf");
    for (variables, content_type) in [
        (vec![], protobuf),
        (vec![(general, "http/json")], json),
        (vec![(own, "http/json")], json),
        (vec![(own, "http/json"), (general, "http/protobuf")], json),
        (
            vec![(own, "http/protobuf"), (general, "http/json")],
            protobuf,
        ),
        (vec![(own, "http/protobuf"), (general, "grpc")], protobuf),
    ] {
        let (langfuse, backend) = (Scripted::langfuse(accept), backend());
        let to_langfuse =
            with(chat(&model, &KEYS), &variables).env("LANGFUSE_BASE_URL", langfuse.url());
        let to_backend =
            with(chat(&model, &[]), &variables).env("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url());
        for (call, server, path) in [
            (to_langfuse, &langfuse, INGEST),
            (to_backend, &backend, "/v1/traces"),
        ] {
            let call = call
                .arg("--trace-id")
                .arg("0af7651916cd43dd8448eb211c80319c");
            call.run().code(0).stderr_lacks("warning:");
            let [export] = server.requests_to(path).try_into().unwrap();
            assert_eq!(export.header("content-type"), content_type, "{variables:?}");
            // In OTLP/JSON ids are hexadecimal, not base64.
            assert_eq!(
                Export::of(&export).trace_id(),
                "0af7651916cd43dd8448eb211c80319c"
            );
        }
    }
}

#[test]
fn bodies_are_compressed_unless_they_stay_on_this_machine() {
    let model = Scripted::model("hi");
    let own = "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION";
    let general = "OTEL_EXPORTER_OTLP_COMPRESSION";
    for (elsewhere, variables, encoding) in [
        (false, vec![], ""),
        (false, vec![(general, "gzip")], "gzip"),
        (false, vec![(own, "gzip"), (general, "none")], "gzip"),
        (true, vec![], "gzip"),
        (true, vec![(own, "none")], ""),
        (true, vec![(own, "none"), (general, "gzip")], ""),
    ] {
        let langfuse = Scripted::langfuse(accept);
        let url = if elsewhere {
            not_loopback(&langfuse)
        } else {
            langfuse.url().to_owned()
        };
        with(chat(&model, &KEYS), &variables)
            .env("LANGFUSE_BASE_URL", &url)
            .run()
            .code(0);
        let [export] = langfuse.requests_to(INGEST).try_into().unwrap();
        assert_eq!(export.header("content-encoding"), encoding, "{variables:?}");
        assert_eq!(Export::of(&export).spans().len(), 2);
    }
}

/// An address that reaches a server of this machine, and yet is none of 127.0.0.0/8.
fn not_loopback(server: &Scripted) -> String {
    server.url().replace("127.0.0.1", "0.0.0.0")
}

#[test]
fn the_timeout_variable_bounds_one_attempt() {
    let model = Scripted::model("hi");
    for name in [
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    ] {
        let langfuse = Scripted::start(|request, count| match request.path.split('?').next() {
            Some(PROJECTS) => Reply::json(200, &json!({"data": [{"id": "p1", "name": "P"}]})),
            Some(INGEST) if count == 0 => Reply::Hang,
            Some(INGEST) => Reply::json(200, &json!({})),
            // The first attempt did not arrive.
            Some("/api/public/v2/observations") => {
                Reply::json(200, &json!({"data": [], "meta": {}}))
            }
            _ => Reply::json(404, &json!({"message": "not found"})),
        });
        chat(&model, &KEYS)
            .env("LANGFUSE_BASE_URL", langfuse.url())
            .env(name, "200")
            .arg("--export-timeout")
            .arg("60")
            .run()
            .code(0);
        let [first, second] = langfuse.requests_to(INGEST).try_into().unwrap();
        assert_eq!(first.body, second.body);
    }
}

#[test]
fn a_timeout_that_is_no_number_is_refused() {
    for value in ["soon", "-1", "1.5s"] {
        for name in [
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        ] {
            let call = with(Langspan::new(&["chat", "Hello"]), &KEYS);
            let call = call
                .model_at(&dead_url())
                .env("LANGFUSE_BASE_URL", &dead_url());
            call.env(name, value)
                .run()
                .code(3)
                .stdout("")
                .stderr_has(name);
        }
    }
}

// Links and warnings

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
