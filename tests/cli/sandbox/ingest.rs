//! Accepted exports: the attribute mapping, in both encodings.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use prost::Message as _;
use serde_json::{Value, json};

use super::{JSON, PROTOBUF, TRACES, assert_accepted, export, span, text};
use crate::support::stand_in::{ALL_FIELDS, Sandbox};

pub const GZIP: (&str, &str) = ("content-encoding", "gzip");

fn fixture() -> (Value, Vec<Value>) {
    let fixture: Value =
        serde_json::from_str(include_str!("../../fixtures/langfuse-mapping.json")).unwrap();
    let cases = fixture["cases"].as_array().unwrap().clone();
    assert_eq!(cases.len(), 61);
    let spans: Vec<Value> = cases.iter().map(|case| case["span"].clone()).collect();
    let request = json!({"resourceSpans": [{
        "resource": fixture["resource"],
        "scopeSpans": [{"scope": fixture["scope"], "spans": spans}],
    }]});
    (request, cases)
}

fn protobuf(request: &Value) -> Vec<u8> {
    serde_json::from_value::<ExportTraceServiceRequest>(request.clone())
        .unwrap()
        .encode_to_vec()
}

pub fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// Every field that the real server's row has is in the sandbox's, with the same value.
fn assert_rows(sandbox: &Sandbox, cases: &[Value]) {
    let mut differences = Vec::new();
    for case in cases {
        let expected = case["row"].as_object().unwrap();
        // The fixture's rows were read with nothing cut off.
        let keys: Vec<&str> = expected["metadata"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let path = format!(
            "/api/public/v2/observations?traceId={}&fields={ALL_FIELDS}&expandMetadata={}",
            expected["traceId"].as_str().unwrap(),
            keys.join(","),
        );
        let rows = sandbox.get(&path).json()["data"].take();
        assert_eq!(rows.as_array().unwrap().len(), 1, "{}", case["case"]);
        for (field, value) in expected {
            if rows[0][field] != *value {
                let got = &rows[0][field];
                differences.push(format!(
                    "{}: {field}: {got} instead of {value}",
                    case["case"]
                ));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn rows_from_json_are_those_of_the_real_server() {
    let sandbox = Sandbox::start();
    let (request, cases) = fixture();
    assert_accepted(&sandbox.post(TRACES, &[JSON], request.to_string()));
    assert_rows(&sandbox, &cases);
}

#[test]
fn rows_from_protobuf_are_those_of_the_real_server() {
    let sandbox = Sandbox::start();
    let (request, cases) = fixture();
    assert_accepted(&sandbox.post(TRACES, &[PROTOBUF], protobuf(&request)));
    assert_rows(&sandbox, &cases);
}

#[test]
fn rows_from_gzip_are_those_of_the_real_server() {
    let sandbox = Sandbox::start();
    let (request, cases) = fixture();
    assert_accepted(&sandbox.post(TRACES, &[PROTOBUF, GZIP], gzip(&protobuf(&request))));
    assert_rows(&sandbox, &cases);
    let json = Sandbox::start();
    assert_accepted(&json.post(TRACES, &[JSON, GZIP], gzip(request.to_string().as_bytes())));
    assert_rows(&json, &cases);
}

const TYPE: &str = "langfuse.observation.type";
const LEVEL: &str = "langfuse.observation.level";
const USAGE: (&str, &str) = ("langfuse.observation.usage_details", r#"{"input":1}"#);
const FIRST_TOKEN: &str = "langfuse.observation.completion_start_time";

/// Attributes, and a field of the row that they make with its JSON.
type Rule = (
    &'static [(&'static str, &'static str)],
    &'static str,
    &'static str,
);

/// Rules that the fixture has no case for.
const FURTHER_RULES: &[Rule] = &[
    (
        &[("gen_ai.operation.name", "invoke_agent"), ("model", "m")],
        "model",
        r#""""#,
    ),
    (
        &[("gen_ai.operation.name", "agent_step"), USAGE],
        "usageDetails",
        "{}",
    ),
    (
        &[("gen_ai.operation.name", "chat"), USAGE],
        "usageDetails",
        r#"{"input":1,"total":1}"#,
    ),
    (&[(LEVEL, "Fatal")], "level", r#""ERROR""#),
    (&[(LEVEL, "loud")], "level", r#""DEFAULT""#),
    (&[("langfuse.trace.public", "true")], "public", "true"),
    (
        &[("langfuse.observation.prompt.name", "p")],
        "promptName",
        r#""""#,
    ),
    (
        &[
            ("langfuse.observation.prompt.name", "p"),
            (TYPE, "generation"),
        ],
        "promptName",
        r#""p""#,
    ),
    (
        &[("langfuse.environment", "langfuse-langfuse_ci")],
        "environment",
        r#""ci""#,
    ),
    (
        &[("langfuse.environment", "ci/github")],
        "environment",
        r#""default""#,
    ),
    (
        &[(FIRST_TOKEN, r#""2026-09-21T14:13:20.5Z""#)],
        "timeToFirstToken",
        "0.5",
    ),
    (&[(FIRST_TOKEN, "soon")], "timeToFirstToken", "null"),
];

#[test]
fn further_rules_of_the_mapping_hold() {
    let sandbox = Sandbox::start();
    for (number, (attributes, field, expected)) in FURTHER_RULES.iter().enumerate() {
        let trace_id = format!("{number:032x}");
        let attributes: Vec<Value> = attributes
            .iter()
            .map(|(key, value)| text(key, value))
            .collect();
        super::send(&sandbox, &[span(&trace_id, "1", 0, &attributes)]);
        let row = &sandbox.observations(&trace_id)[0];
        assert_eq!(row[field].to_string(), *expected, "{attributes:?}: {field}");
    }
}

#[test]
fn a_span_below_a_remote_parent_is_a_root_when_it_says_so() {
    let sandbox = Sandbox::start();
    let root = json!({"key": "langfuse.internal.is_app_root", "value": {"boolValue": true}});
    for (trace_id, attributes, is_root, trace_name) in [
        ("a", vec![root], true, json!("span 1")),
        ("b", vec![], false, Value::Null),
    ] {
        let mut below = span(trace_id, "1", 0, &attributes);
        below["parentSpanId"] = "00f067aa0ba902b7".into();
        super::send(&sandbox, &[below]);
        let row = &sandbox.observations(trace_id)[0];
        assert_eq!(
            (&row["isRootObservation"], &row["traceName"]),
            (&json!(is_root), &trace_name)
        );
    }
}

#[test]
fn resource_attributes_apply_to_all_spans() {
    let sandbox = Sandbox::start();
    let mut request = export(&[span(
        "a",
        "1",
        0,
        &[text("deployment.environment.name", "span")],
    )]);
    request["resourceSpans"][0]["resource"]["attributes"] = json!([
        text("langfuse.environment", "resource"),
        text("langfuse.release", "r1"),
        text("service.version", "1.2.3"),
        text("langfuse.user.id", "not read here"),
    ]);
    assert_accepted(&sandbox.post(TRACES, &[JSON], request.to_string()));
    let row = &sandbox.observations("a")[0];
    assert_eq!(row["environment"], "resource");
    assert_eq!(
        (&row["release"], &row["version"]),
        (&json!("r1"), &json!("1.2.3"))
    );
    assert_eq!(row["userId"], "");
}

#[test]
fn missing_times_are_taken_from_the_other_times() {
    let sandbox = Sandbox::start();
    let mut spans = [
        span("a", "1", 0, &[]),
        span("b", "2", 0, &[]),
        span("c", "3", 0, &[]),
    ];
    spans[0]["startTimeUnixNano"] = Value::Null;
    spans[1]["endTimeUnixNano"] = "0".into();
    spans[2]["startTimeUnixNano"] = 1_790_000_000_000_000_000_u64.into();
    super::send(&sandbox, &spans);
    let times = |trace| {
        let row = sandbox.observations(trace).remove(0);
        (
            row["startTime"].as_str().unwrap().to_owned(),
            row["endTime"].as_str().unwrap().to_owned(),
        )
    };
    let (start, end) = (
        "2026-09-21T14:13:20.000Z".to_owned(),
        "2026-09-21T14:13:21.000Z".to_owned(),
    );
    assert_eq!(times("a"), (end.clone(), end.clone()));
    assert_eq!(times("b"), (start.clone(), start.clone()));
    assert_eq!(times("c"), (start, end));
}

#[test]
fn messages_in_a_span_event_are_input_and_output() {
    let sandbox = Sandbox::start();
    let mut with_event = span("e1", "1", 0, &[]);
    with_event["events"] = json!([{
        "name": "gen_ai.client.inference.operation.details",
        "attributes": [text("gen_ai.input.messages", "[1]"), text("gen_ai.output.messages", "[2]")],
    }]);
    super::send(&sandbox, &[with_event]);
    let row = &sandbox.observations("e1")[0];
    assert_eq!(
        (&row["input"], &row["output"]),
        (&json!("[1]"), &json!("[2]"))
    );
}

/// A real server takes `input.value` out of the metadata even where Langfuse's own attributes win.
#[test]
fn the_openinference_family_is_not_metadata_where_another_family_wins() {
    let sandbox = Sandbox::start();
    let attributes = [
        text("langfuse.observation.input", "own"),
        text("input.value", "iv"),
        text("output.value", "ov"),
        text("mlflow.spanInputs", "kept"),
    ];
    super::send(&sandbox, &[span("a", "1", 0, &attributes)]);
    let row = &sandbox.observations("a")[0];
    // Families are never mixed: the output of another family is not used.
    assert_eq!(
        (&row["input"], &row["output"]),
        (&json!("own"), &Value::Null)
    );
    let metadata = row["metadata"].as_object().unwrap();
    let attributes: Vec<&String> = metadata
        .keys()
        .filter(|key| key.starts_with("attributes."))
        .collect();
    assert_eq!(attributes, ["attributes.mlflow.spanInputs"]);
}

#[test]
fn an_empty_list_stays_one_in_json_and_is_an_odd_tag_in_protobuf() {
    let sandbox = Sandbox::start();
    let tags = json!({"key": "langfuse.tags", "value": {"arrayValue": {"values": []}}});
    let of = |trace| {
        export(&[span(
            trace,
            "0000000000000001",
            0,
            std::slice::from_ref(&tags),
        )])
    };
    let (json, binary) = (
        "0000000000000000000000000000000a",
        "0000000000000000000000000000000b",
    );
    assert_accepted(&sandbox.post(TRACES, &[JSON], of(json).to_string()));
    assert_accepted(&sandbox.post(TRACES, &[PROTOBUF], protobuf(&of(binary))));
    assert_eq!(sandbox.observations(json)[0]["tags"], json!([]));
    assert_eq!(
        sandbox.observations(binary)[0]["tags"],
        json!([r#"{"arrayValue":{}}"#])
    );
}

#[test]
fn nothing_to_ingest_is_answered_by_an_empty_object() {
    let sandbox = Sandbox::start();
    let empty = |headers: &[(&str, &str)], body: &[u8]| {
        let answer = sandbox.post(TRACES, headers, body);
        assert_eq!((answer.status, answer.json()), (200, json!({})), "{body:?}");
    };
    empty(&[JSON], b"{}");
    empty(&[JSON], br#"{"resourceSpans":[]}"#);
    empty(&[JSON], br#"{"resourceLogs":[{}]}"#);
    empty(&[PROTOBUF], b"");
    empty(&[PROTOBUF, GZIP], &gzip(b""));
}

#[test]
fn content_types_with_parameters_and_unknown_encodings_are_accepted() {
    let sandbox = Sandbox::start();
    let good = export(&[span("a", "1", 0, &[])]).to_string();
    let with_charset = ("content-type", "Application/JSON; charset=utf-8");
    assert_accepted(&sandbox.post(TRACES, &[with_charset], good.as_str()));
    assert_accepted(&sandbox.post(
        TRACES,
        &[JSON, ("content-encoding", "deflate")],
        good.as_str(),
    ));
}

#[test]
fn ids_are_kept_as_they_were_sent() {
    let sandbox = Sandbox::start();
    for id in [
        "",
        "5b8efff7",
        "5B8EFFF7",
        "W47/9w==",
        "../../../tmp/x",
        "a b/c?d#é",
    ] {
        send_one(&sandbox, id);
        let escaped = utf8_percent_encode(id, NON_ALPHANUMERIC).to_string();
        let rows = sandbox.observations(&escaped);
        assert_eq!(rows.len(), 1, "{id:?}");
        assert_eq!(rows[0]["traceId"], id);
    }
}

fn send_one(sandbox: &Sandbox, trace_id: &str) {
    super::send(sandbox, &[span(trace_id, "1", 0, &[])]);
}

#[test]
fn a_large_body_is_accepted() {
    let sandbox = Sandbox::start();
    let input = "x".repeat(10_000_000);
    super::send(
        &sandbox,
        &[span(
            "a",
            "1",
            0,
            &[text("langfuse.observation.input", &input)],
        )],
    );
    assert_eq!(sandbox.observations("a")[0]["input"], input);
}
