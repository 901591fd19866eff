//! Protocol, compression and timeout.

use serde_json::json;

use super::{INGEST, KEYS, PROJECTS, accept, authorization, backend, chat, not_loopback, with};
use crate::support::export::Export;
use crate::support::harness::{Langspan, Reply, Scripted, dead_url};
use crate::support::untouched::Untouched;

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
