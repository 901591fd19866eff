//! Spans of the child: taken in every form, one tree, one trace id, an identity on each.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde_json::{Value, json};

use crate::support::exec::{OTHER_TRACE, Session, TRACE, exchange, request, row, span};
use crate::support::harness::{Langspan, Scripted};
use crate::support::memory::Memory;
use crate::support::stand_in::Sandbox;

fn session(options: &[&str]) -> (Session, Sandbox) {
    let sandbox = Sandbox::start();
    let call = options
        .iter()
        .fold(Langspan::new(&["exec"]), |call, option| call.arg(option));
    (Session::start(call.at(&sandbox)), sandbox)
}

fn rows(session: Session, sandbox: &Sandbox, trace: &str) -> Vec<Value> {
    let ended = session.finish();
    ended.code(0);
    assert_eq!(ended.trace_id(), trace);
    sandbox.observations(trace)
}

#[test]
fn spans_are_taken_in_every_form_and_on_every_path() {
    let (session, sandbox) = session(&[]);
    let root = session.variable("OTEL_EXPORTER_OTLP_ENDPOINT").to_owned();
    let export = |id| {
        request(
            "s",
            &[span(TRACE, id, None, &format!("span-{id}"), &json!({}))],
        )
    };
    let protobuf = |id| {
        let decoded: ExportTraceServiceRequest = serde_json::from_value(export(id)).unwrap();
        decoded.encode_to_vec()
    };
    let gzip = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let json_type = ("content-type", "application/json; charset=utf-8");
    let proto_type = ("content-type", "application/x-protobuf");
    let gzipped = ("content-encoding", "gzip");
    for (path, headers, body) in [
        (
            "/v1/traces",
            vec![json_type],
            export(1).to_string().into_bytes(),
        ),
        ("/api/public/otel/v1/traces", vec![proto_type], protobuf(2)),
        (
            "/api/public/otel",
            vec![proto_type, gzipped],
            gzip(&protobuf(3)),
        ),
        (
            "/some/where/v1/traces",
            vec![json_type, gzipped],
            gzip(export(4).to_string().as_bytes()),
        ),
    ] {
        let answer = exchange("POST", &format!("{root}{path}"), &headers, &body);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    let rows = rows(session, &sandbox, TRACE);
    for id in 1..5 {
        row(&rows, &format!("span-{id}"));
    }
}

#[test]
fn malformed_requests_are_refused_and_do_no_harm() {
    let (session, sandbox) = session(&[]);
    let url = session
        .variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        .to_owned();
    for (kind, body) in [
        ("application/json", "{"),
        (
            "application/json",
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"zz","spanId":"1"}]}]}]}"#,
        ),
        ("application/x-protobuf", "nonsense"),
    ] {
        let answer = exchange("POST", &url, &[("content-type", kind)], body.as_bytes());
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    session.send(&[span(TRACE, 1, None, "good", &json!({}))]);
    assert_eq!(rows(session, &sandbox, TRACE).len(), 2);
}

#[test]
fn two_traces_orphans_and_roots_become_one_tree() {
    let (session, sandbox) = session(&[]);
    let root = json!({"langfuse.internal.is_app_root": true});
    session.send(&[span(TRACE, 2, Some(1), "child", &json!({}))]);
    session.send(&[
        span(TRACE, 1, None, "root", &root),
        span(TRACE, 3, Some(99), "orphan", &json!({})),
        span(OTHER_TRACE, 4, None, "other-root", &json!({})),
    ]);
    // The same span by another exporter.
    session.send(&[span(TRACE, 1, None, "root", &root)]);
    let rows = rows(session, &sandbox, TRACE);
    assert_eq!(rows.len(), 5, "{rows:#?}");
    let command = row(&rows, "sh");
    assert_eq!(command["parentObservationId"], Value::Null);
    for name in ["root", "orphan", "other-root"] {
        assert_eq!(
            row(&rows, name)["parentObservationId"],
            command["id"],
            "{name}"
        );
    }
    assert_eq!(
        row(&rows, "child")["parentObservationId"],
        row(&rows, "root")["id"]
    );
    let roots = rows
        .iter()
        .filter(|row| row["isRootObservation"] == true)
        .count();
    assert_eq!(roots, 1, "{rows:#?}");
}

#[test]
fn an_identity_is_the_spans_own_then_the_ancestors_then_the_options() {
    let (session, sandbox) = session(&["-u", "ada", "-S", "nightly", "-t", "ci"]);
    session.send(&[
        span(
            TRACE,
            1,
            None,
            "parent",
            &json!({"langfuse.user.id": "user-123", "langfuse.tags": ["demo"]}),
        ),
        span(TRACE, 2, Some(1), "child", &json!({"session.id": "own"})),
        span(
            TRACE,
            3,
            None,
            "bare",
            &json!({"gen_ai.conversation.id": "made-up"}),
        ),
    ]);
    let rows = rows(session, &sandbox, TRACE);
    for (name, user, session, tags) in [
        ("parent", "user-123", "nightly", json!(["demo", "ci"])),
        ("child", "user-123", "own", json!(["demo", "ci"])),
        ("bare", "ada", "nightly", json!(["ci"])),
        ("sh", "ada", "nightly", json!(["ci"])),
    ] {
        let row = row(&rows, name);
        assert_eq!(
            (&row["userId"], &row["sessionId"]),
            (&json!(user), &json!(session)),
            "{name}"
        );
        let sorted = |tags: &Value| {
            let mut tags: Vec<String> = tags
                .as_array()
                .unwrap()
                .iter()
                .map(Value::to_string)
                .collect();
            tags.sort();
            tags
        };
        assert_eq!(sorted(&row["tags"]), sorted(&tags), "{name}");
        assert_eq!(row["traceName"], "sh", "{name}");
    }
}

#[test]
fn the_only_value_of_a_run_is_everyones() {
    let (session, sandbox) = session(&[]);
    session.send(&[
        span(TRACE, 1, None, "one", &json!({"langfuse.user.id": "u", "langfuse.session.id": "s", "langfuse.tags": ["a", "b"]})),
        span(OTHER_TRACE, 2, None, "two", &json!({"langfuse.session.id": "t"})),
    ]);
    let rows = rows(session, &sandbox, TRACE);
    for name in ["one", "two", "sh"] {
        assert_eq!(row(&rows, name)["userId"], "u", "{name}");
        assert_eq!(
            row(&rows, name)["tags"].as_array().unwrap().len(),
            2,
            "{name}"
        );
    }
    assert!(
        row(&rows, "sh")["sessionId"]
            .as_str()
            .unwrap_or_default()
            .is_empty(),
        "there are two sessions"
    );
}

#[test]
fn the_trace_id_is_that_of_the_option() {
    let named = "22222222222222222222222222222222";
    let (session, sandbox) = session(&["--trace-id", named, "-n", "my run"]);
    assert!(session.variable("TRACEPARENT").contains(named));
    session.send(&[span(TRACE, 1, None, "one", &json!({}))]);
    let rows = rows(session, &sandbox, named);
    assert_eq!(rows.len(), 2);
    assert_eq!(row(&rows, "my run")["traceName"], "my run");
}

#[test]
fn a_joined_trace_hangs_below_its_remote_parent() {
    let sandbox = Sandbox::start();
    let call = Langspan::new(&["exec", "--join"])
        .at(&sandbox)
        .env("TRACEPARENT", &format!("00-{TRACE}-b7ad6b7169203331-01"));
    let session = Session::start(call);
    assert!(!session.variable("TRACEPARENT").contains("b7ad6b7169203331"));
    let rows = rows(session, &sandbox, TRACE);
    assert_eq!(rows[0]["parentObservationId"], "b7ad6b7169203331");
    assert_eq!(rows[0]["isRootObservation"], true);
}

#[test]
fn instrumentations_are_put_right() {
    let (session, sandbox) = session(&[]);
    let vector = vec![0.5; 40];
    let output = json!({"data": [{"embedding": vector}], "model": "e"}).to_string();
    session.send(&[
        span(TRACE, 1, None, "Completions", &json!({
            "mlflow.spanType": "\"CHAT_MODEL\"", "mlflow.llm.model": "\"gpt-4o-mini\"", "model": "\"gpt-4o-mini\"",
            "mlflow.chat.tokenUsage": "{\"input_tokens\": 12, \"output_tokens\": 17, \"total_tokens\": 29}"})),
        span(TRACE, 2, None, "CreateEmbeddings", &json!({
            "openinference.span.kind": "EMBEDDING", "embedding.model_name": "e", "output.value": output,
            "embedding.embeddings.0.embedding.vector": vector})),
    ]);
    let rows = rows(session, &sandbox, TRACE);
    let mlflow = row(&rows, "Completions");
    assert_eq!(
        (&mlflow["type"], &mlflow["model"]),
        (&json!("GENERATION"), &json!("gpt-4o-mini"))
    );
    assert_eq!(mlflow["usageDetails"]["total"], 29);
    let embeddings = row(&rows, "CreateEmbeddings");
    assert_eq!(
        (&embeddings["type"], &embeddings["model"]),
        (&json!("EMBEDDING"), &json!("e"))
    );
    assert!(!embeddings.to_string().contains("0.5"), "{embeddings}");
}

#[test]
fn an_export_of_thirty_megabytes_is_taken_and_delivered() {
    let memory = Memory::default();
    let known = memory.clone();
    let langfuse = Scripted::start(move |request, _| known.answer(request));
    let session = Session::start(Langspan::new(&["exec"]).langfuse_at(langfuse.url()));
    let text = "x".repeat(1 << 20);
    let spans: Vec<Value> = (1..=30)
        .map(|id| span(TRACE, id, None, "s", &json!({"input.value": text})))
        .collect();
    session.send(&spans);
    session.finish().code(0);
    assert_eq!(memory.total(TRACE), 31);
}

#[test]
fn only_this_machine_can_reach_the_port() {
    let (session, sandbox) = session(&[]);
    let root = session.variable("OTEL_EXPORTER_OTLP_ENDPOINT");
    let place = root.strip_prefix("http://127.0.0.1:").unwrap();
    let port: u16 = place.split('/').next().unwrap().parse().unwrap();
    let wanted = format!(":{port:04X}");
    let listening: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|table| {
            std::fs::read_to_string(table)
                .unwrap_or_default()
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (local, _, state) = (fields.next()?, fields.next()?, fields.next()?);
            (state == "0A" && local.ends_with(&wanted)).then(|| local.to_owned())
        })
        .collect();
    assert_eq!(listening, [format!("0100007F{wanted}")]);
    session.finish().code(0);
    drop(sandbox);
}

#[test]
fn a_token_that_is_wrong_opens_nothing() {
    let (session, sandbox) = session(&[]);
    let root = session.variable("OTEL_EXPORTER_OTLP_ENDPOINT").to_owned();
    let (place, token) = root.rsplit_once('/').unwrap();
    for wrong in [
        "",
        "x",
        &token[..token.len() - 1],
        &format!("{token}x"),
        &"0".repeat(token.len()),
    ] {
        for path in ["/v1/traces", "/openai/v1/models", "/api/public/projects"] {
            let answer = exchange(
                "POST",
                &format!("{place}/{wrong}{path}"),
                &[("content-type", "application/json")],
                b"{}",
            );
            assert_eq!(answer.status, 404, "{wrong}{path}");
        }
    }
    session.finish().code(0);
    drop(sandbox);
}
