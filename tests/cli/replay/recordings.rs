//! Recordings that are replayed.

use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{BODY, TRACE, recording, replay, sent};
use crate::support::otlp::{Servers, Trace, attribute, attribute_json, hex, traces_at};

/// 2026-01-02T01:04:05.123456789Z in nanoseconds.
const START: u64 = 1_767_315_845_123_456_789;

/// Without some of its fields.
fn recording_without(fields: &[&str]) -> String {
    let mut recording = recording();
    for field in fields {
        recording.as_object_mut().unwrap().remove(*field);
    }
    recording.to_string()
}

#[test]
fn a_recording_becomes_its_trace_without_a_model_call() {
    let servers = Servers::answering("not asked");
    let ended = replay(&servers, &recording().to_string(), &[]);
    ended.code(0).stdout("Recorded\n");
    assert!(servers.model.requests().is_empty());
    let trace = servers.trace();
    assert_eq!(trace.id(), TRACE);
    assert_eq!(ended.trace_id(), TRACE);
    assert_eq!(trace.generation.start_time_unix_nano, START);
    for span in trace.spans() {
        assert_eq!(span.end_time_unix_nano, 1_767_315_846_987_654_321);
        for (key, value) in [
            ("langfuse.user.id", "u1"),
            ("langfuse.session.id", "s1"),
            ("langfuse.tags", "[a, b]"),
            ("langfuse.trace.name", "nightly"),
            ("langfuse.trace.metadata.k", "v"),
        ] {
            assert_eq!(attribute(span, key).as_deref(), Some(value), "{key}");
        }
    }
    assert_eq!(trace.parent.name, "nightly");
    assert_eq!(
        attribute(&trace.parent, "output.value").unwrap(),
        "Recorded"
    );
    assert_eq!(
        attribute_json(&trace.generation, "langfuse.observation.usage_details")["total"],
        58
    );
}

/// The first 8 bytes of SHA-256.
fn span_id(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes())[..8])
}

#[test]
fn a_recording_emitted_twice_has_the_same_ids() {
    let servers = Servers::answering("not asked");
    for _ in 0..2 {
        replay(&servers, &recording().to_string(), &[]).code(0);
    }
    let traces = traces_at(&servers.langfuse);
    assert_eq!(traces.len(), 2);
    for trace in traces {
        let ids = trace.spans().map(|span| hex(&span.span_id));
        assert_eq!(
            ids,
            [
                span_id(&format!("{TRACE}/{START}/parent")),
                span_id(&format!("{TRACE}/{START}/generation"))
            ]
        );
        assert_eq!(trace.generation.parent_span_id, trace.parent.span_id);
    }
}

#[test]
fn the_completion_start_of_a_recorded_stream_is_kept() {
    let mut streamed = recording();
    streamed["completion_start_time"] = "2026-01-02T01:04:05.5Z".into();
    let servers = Servers::answering("not asked");
    replay(&servers, &streamed.to_string(), &[]).code(0);
    let text = attribute(
        &servers.trace().generation,
        "langfuse.observation.completion_start_time",
    );
    let time: jiff::Timestamp = text.unwrap().trim_matches('"').parse().unwrap();
    assert_eq!(time.as_millisecond(), 1_767_315_845_500);
}

#[test]
fn a_recorded_failure_becomes_a_trace_with_error() {
    let mut failed = recording();
    failed["response"] = Value::Null;
    failed["error"] =
        json!({"kind": "model", "message": "the engine is overloaded", "status": 503});
    let servers = Servers::answering("not asked");
    replay(&servers, &failed.to_string(), &[]);
    assert!(servers.model.requests().is_empty());
    for span in servers.trace().spans() {
        let status = span.status.as_ref().unwrap();
        assert_eq!(status.code(), StatusCode::Error);
        assert_eq!(status.message, "the engine is overloaded");
    }
}

#[test]
fn a_recording_needs_times_and_an_outcome_unless_it_is_sent() {
    for fields in [
        &["start_time"][..],
        &["end_time"],
        &["start_time", "end_time"],
        &["response", "error"],
        &["response"],
        &[
            "response",
            "error",
            "start_time",
            "end_time",
            "trace",
            "completion_start_time",
        ],
    ] {
        let document = recording_without(fields);
        let servers = Servers::answering("hi");
        let ended = replay(&servers, &document, &[]);
        assert_eq!(ended.code, Some(2), "{fields:?}: {ended:#?}");
        ended.stdout("");
        assert!(servers.model.requests().is_empty() && traces_at(&servers.langfuse).is_empty());
        replay(&servers, &document, &["--send"])
            .code(0)
            .stdout("hi\n");
        assert_eq!(servers.asked().len(), 1);
    }
}

#[test]
fn invalid_times_are_invalid_input() {
    for (field, value) in [
        ("start_time", "yesterday"),
        ("end_time", "2026-13-40T00:00:00Z"),
        ("start_time", "2026-01-02T03:04:05"),
    ] {
        let mut wrong = recording();
        wrong[field] = value.into();
        let servers = Servers::answering("hi");
        let ended = replay(&servers, &wrong.to_string(), &[]);
        assert_eq!(ended.code, Some(2), "{value}: {ended:#?}");
        assert!(traces_at(&servers.langfuse).is_empty());
    }
}

#[test]
fn send_asks_the_model_with_the_recorded_request() {
    let servers = Servers::answering("Fresh");
    let document = format!(r#"{{"request":{BODY},"trace":{{"user":"u1"}}}}"#);
    replay(&servers, &document, &["--send"])
        .code(0)
        .stdout("Fresh\n");
    assert_eq!(sent(&servers), [BODY]);
    let trace = servers.trace();
    assert_eq!(attribute(&trace.parent, "langfuse.user.id").unwrap(), "u1");
    assert!(trace.parent.start_time_unix_nano > START);
}

#[test]
fn an_option_wins_over_the_recording_and_the_recording_over_the_environment() {
    let options = ["-u", "u2", "-S", "s2", "-t", "z", "-n", "other"];
    let own = recording().to_string();
    let bare = {
        let mut bare = recording();
        bare["trace"] = json!({"id": TRACE});
        bare.to_string()
    };
    for (document, options, expected) in [
        (&own, &options[..], ["u2", "s2", "[z]", "other"]),
        (&own, &[], ["u1", "s1", "[a, b]", "nightly"]),
        (&bare, &[], ["u3", "s3", "[x, y]", "chat-completion"]),
    ] {
        let servers = Servers::answering("not asked");
        let call = servers.call(&[&["replay", "-"], options].concat());
        let call = call
            .env("LANGSPAN_USER", "u3")
            .env("LANGSPAN_SESSION", "s3");
        let call = call.env("LANGSPAN_TAGS", "x,y").stdin(document.as_bytes());
        call.run().code(0);
        for span in servers.trace().spans() {
            let found = ["langfuse.user.id", "langfuse.session.id", "langfuse.tags"];
            let found = found.map(|key| attribute(span, key).unwrap());
            assert_eq!(found, expected[..3], "{options:?}");
        }
        assert_eq!(servers.trace().parent.name, expected[3]);
    }
}

#[test]
fn a_given_trace_id_wins_over_the_recorded_one() {
    let given = "11111111111111111111111111111111";
    for (options, id) in [
        (["--trace-id", given], given),
        // The first 16 bytes of SHA-256("my-seed").
        (
            ["--trace-seed", "my-seed"],
            "e47b450a58ba3f9ba4a36ec20b7f7c18",
        ),
    ] {
        let servers = Servers::answering("not asked");
        replay(&servers, &recording().to_string(), &options).code(0);
        let trace = servers.trace();
        assert_eq!(trace.id(), id);
        assert_eq!(
            hex(&trace.parent.span_id),
            span_id(&format!("{id}/{START}/parent"))
        );
    }
}

#[test]
fn a_recorded_value_that_looks_like_a_langfuse_key_is_refused() {
    for (field, value) in [
        ("user", json!("sk-lf-0123456789")),
        ("session", json!("pk-lf-0123456789:sk-lf-0123456789")),
        ("tags", json!(["sk-lf-0123456789"])),
        ("metadata", json!({"k": "sk-lf-0123456789"})),
    ] {
        let mut leaking = recording();
        leaking["trace"][field] = value;
        let servers = Servers::answering("not asked");
        let ended = replay(&servers, &leaking.to_string(), &[]);
        assert_eq!(ended.code, Some(2), "{field}: {ended:#?}");
        ended.stderr_lacks("0123456789");
        assert!(traces_at(&servers.langfuse).is_empty());
    }
}

#[test]
fn several_recordings_are_several_traces() {
    let mut other = recording();
    other["trace"]["id"] = "22222222222222222222222222222222".into();
    let servers = Servers::answering("not asked");
    replay(&servers, &format!("{}\n{other}\n", recording()), &[]).code(0);
    let ids: Vec<_> = traces_at(&servers.langfuse).iter().map(Trace::id).collect();
    assert_eq!(ids, [TRACE, "22222222222222222222222222222222"]);
}
