//! Every attribute that Langfuse receives.

use opentelemetry_proto::tonic::trace::v1::Status;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Value, json};

use super::{COMPLETION_START, answer, assert_table};
use crate::support::harness::{Reply, completion};
use crate::support::otlp::{Servers, Trace, attribute, attribute_json, attributes};

#[test]
fn a_plain_chat_gives_a_bare_parent_and_a_full_generation() {
    let servers = Servers::answering("Hi there");
    servers.call(&["chat", "Hello"]).run().code(0);
    let trace = servers.trace();
    assert_table(
        &trace.parent,
        &servers.model,
        "chat-completion SPAN_KIND_INTERNAL
        input.value = Hello
        langfuse.observation.type = span
        langfuse.trace.name = chat-completion
        output.value = Hi there",
    );
    assert_table(
        &trace.generation,
        &servers.model,
        r#"chat gpt-4o-mini SPAN_KIND_CLIENT
        langfuse.observation.input = [{"role":"user","content":"Hello"}]
        langfuse.observation.metadata.finish_reason = stop
        langfuse.observation.metadata.reasoning_tokens = (int) 5
        langfuse.observation.metadata.response_id = chatcmpl-1
        langfuse.observation.metadata.server = THE MODEL'S
        langfuse.observation.model.name = gpt-4o-mini-2024-07-18
        langfuse.observation.output = {"role":"assistant","content":"Hi there"}
        langfuse.observation.type = generation
        langfuse.observation.usage_details = {"input":20,"input_cached_tokens":3,"output":35,"total":58}
        langfuse.trace.name = chat-completion"#,
    );
}

#[test]
fn identity_and_metadata_are_on_both_spans() {
    let servers = Servers::answering("Hi there");
    let call = servers.call(&[
        "chat",
        "-uu1",
        "-Ss1",
        "-ta",
        "-tb",
        "-nmy run",
        "--metadata",
        "k=v",
    ]);
    let call = call.arg("--trace-version").arg("v1").arg("--public");
    let call = call.arg("--system").arg("Be brief.");
    call.arg("--temperature").arg("0.2").arg("Hello").run();
    let trace = servers.trace();
    assert_table(
        &trace.parent,
        &servers.model,
        "my run SPAN_KIND_INTERNAL
        input.value = Hello
        langfuse.observation.type = span
        langfuse.session.id = s1
        langfuse.tags = [a, b]
        langfuse.trace.metadata.k = v
        langfuse.trace.name = my run
        langfuse.trace.public = (bool) true
        langfuse.user.id = u1
        langfuse.version = v1
        output.value = Hi there",
    );
    assert_table(
        &trace.generation,
        &servers.model,
        r#"chat gpt-4o-mini SPAN_KIND_CLIENT
        langfuse.observation.input = [{"role":"system","content":"Be brief."},{"role":"user","content":"Hello"}]
        langfuse.observation.metadata.finish_reason = stop
        langfuse.observation.metadata.reasoning_tokens = (int) 5
        langfuse.observation.metadata.response_id = chatcmpl-1
        langfuse.observation.metadata.server = THE MODEL'S
        langfuse.observation.model.name = gpt-4o-mini-2024-07-18
        langfuse.observation.model.parameters = {"temperature":0.2}
        langfuse.observation.output = {"role":"assistant","content":"Hi there"}
        langfuse.observation.type = generation
        langfuse.observation.usage_details = {"input":20,"input_cached_tokens":3,"output":35,"total":58}
        langfuse.session.id = s1
        langfuse.tags = [a, b]
        langfuse.trace.metadata.k = v
        langfuse.trace.name = my run
        langfuse.trace.public = (bool) true
        langfuse.user.id = u1
        langfuse.version = v1"#,
    );
}

#[test]
fn empty_values_are_not_sent() {
    let servers = Servers::answering("Hi there");
    let call = servers.call(&["chat", "Hello"]).env("LANGSPAN_TAGS", "");
    call.env("LANGSPAN_USER", "")
        .env("LANGSPAN_SESSION", "")
        .env("LANGFUSE_TRACING_ENVIRONMENT", "")
        .env("LANGFUSE_RELEASE", "")
        .run()
        .code(0);
    let trace = servers.trace();
    assert_table(
        &trace.parent,
        &servers.model,
        "chat-completion SPAN_KIND_INTERNAL
        input.value = Hello
        langfuse.observation.type = span
        langfuse.trace.name = chat-completion
        output.value = Hi there",
    );
    for key in ["langfuse.environment", "langfuse.release"] {
        assert!(!trace.resource.contains_key(key), "{:?}", trace.resource);
    }
}

#[test]
fn environment_and_release_are_on_the_resource() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["chat", "--environment", "test", "--release", "r1", "Hello"]);
    call.env("OTEL_SERVICE_NAME", "nightly")
        .env("OTEL_RESOURCE_ATTRIBUTES", "team=search")
        .run();
    let resource: Vec<_> = servers.trace().resource.into_iter().collect();
    let pairs = [
        ("langfuse.environment", "test"),
        ("langfuse.release", "r1"),
        ("service.name", "nightly"),
        ("team", "search"),
    ];
    assert_eq!(
        resource,
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
}

#[test]
fn tools_are_in_the_input_and_tool_calls_in_the_output() {
    let calls = json!([{"id": "c1", "type": "function", "function": {"name": "clock", "arguments": "{\"zone\":\"UTC\"}"}}]);
    let message = json!({"role": "assistant", "content": null, "tool_calls": calls, "extra": [1]});
    let servers = Servers::replying(Reply::json(200, &answer(&message, "tool_calls")));
    let tools = r#"[{"type":"function","function":{"name":"clock","parameters":{}}}]"#;
    let call = servers.call(&["chat", "-p", &format!("tools:={tools}"), "Time?"]);
    call.run().code(0);
    let Trace {
        parent, generation, ..
    } = servers.trace();
    assert_eq!(attribute_json(&parent, "output.value"), calls);
    let input = attribute(&generation, "langfuse.observation.input").unwrap();
    assert_eq!(
        input,
        format!(r#"{{"tools":{tools},"messages":[{{"role":"user","content":"Time?"}}]}}"#)
    );
    let output = attribute(&generation, "langfuse.observation.output").unwrap();
    assert_eq!(output, message.to_string());
    let reason = attribute(&generation, "langfuse.observation.metadata.finish_reason");
    assert_eq!(reason.unwrap(), "tool_calls");
}

/// Further options; a field of the answer with its value, which may be none; and the attribute that follows.
type Row = (Words, &'static str, Json, &'static str, Json);
type Words = &'static [&'static str];
type Json = Option<&'static str>;

#[rustfmt::skip]
const ROWS: [Row; 9] = [
    (&[], "usage", Some(r#"{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}"#),
        "usage_details", Some(r#"{"input":7,"output":2,"total":9}"#)),
    (&[], "usage", Some(r#"{"prompt_tokens":7,"completion_tokens":0,"total_tokens":7,
            "prompt_tokens_details":null,"completion_tokens_details":{"reasoning_tokens":null}}"#),
        "usage_details", Some(r#"{"input":7,"total":7}"#)),
    (&[], "usage", Some(r#"{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12,
            "prompt_tokens_details":{"cached_tokens":7},"completion_tokens_details":{"reasoning_tokens":5}}"#),
        "usage_details", Some(r#"{"input_cached_tokens":7,"output":5,"total":12}"#)),
    (&[], "usage", None, "usage_details", None),
    (&[], "usage", Some(r#"{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2,"cost":0.00125}"#),
        "cost_details", Some(r#"{"total":0.00125}"#)),
    (&["-p", "service_tier=auto", "-p", "seed:=7"], "service_tier", Some(r#""priority""#),
        "model.parameters", Some(r#"{"service_tier":"priority","seed":7}"#)),
    (&["-p", "n:=2"], "choices", Some(r#"[{"message":{"role":"assistant","content":"one"}},
            {"message":{"role":"assistant","content":"two"}}]"#),
        "output", Some(r#"[{"role":"assistant","content":"one"},{"role":"assistant","content":"two"}]"#)),
    (&["-p", "n:=2"], "choices", Some(r#"[{"message":{"content":"one"},"finish_reason":"stop"},
            {"message":{"content":"two"},"finish_reason":"length"}]"#),
        "metadata.finish_reason", Some(r#"["stop","length"]"#)),
    (&[], "choices", Some(r#"[{"message":{"role":"assistant","content":null,"refusal":"I cannot."}}]"#),
        "output", Some(r#"{"role":"assistant","content":null,"refusal":"I cannot."}"#)),
];

#[test]
fn attributes_follow_from_the_answer() {
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    for (options, field, value, key, expected) in ROWS {
        let mut body = completion("hi");
        match value {
            Some(value) => body[field] = json(value),
            None => drop(body.as_object_mut().unwrap().remove(field)),
        }
        let servers = Servers::replying(Reply::json(200, &body));
        let arguments = [&["chat", "Hello"], options].concat();
        servers.call(&arguments).run().code(0);
        let generation = servers.trace().generation;
        let found = attribute(&generation, &format!("langfuse.observation.{key}"));
        assert_eq!(found.as_deref().map(json), expected.map(json), "{body}");
    }
}

#[test]
fn a_failed_call_is_a_trace_with_error_and_explicit_zeros() {
    let servers = Servers::replying(Reply::json(
        400,
        &json!({"error": {"message": "no such field: foo", "type": "invalid_request_error", "param": null, "code": null}}),
    ));
    let call = servers.call(&["chat", "-u", "u1", "Hello"]);
    call.run().code(4);
    let trace = servers.trace();
    for span in trace.spans() {
        let status = span.status.as_ref().unwrap();
        assert_eq!(status.code(), StatusCode::Error);
        assert!(status.message.contains("no such field: foo"), "{status:?}");
    }
    assert_table(
        &trace.parent,
        &servers.model,
        "chat-completion SPAN_KIND_INTERNAL
        input.value = Hello
        langfuse.observation.type = span
        langfuse.trace.name = chat-completion
        langfuse.user.id = u1",
    );
    assert_table(
        &trace.generation,
        &servers.model,
        r#"chat gpt-4o-mini SPAN_KIND_CLIENT
        langfuse.observation.input = [{"role":"user","content":"Hello"}]
        langfuse.observation.metadata.server = THE MODEL'S
        langfuse.observation.model.name = gpt-4o-mini
        langfuse.observation.type = generation
        langfuse.observation.usage_details = {"input":0,"output":0,"total":0}
        langfuse.trace.name = chat-completion
        langfuse.user.id = u1"#,
    );
}

#[test]
fn a_call_that_went_well_has_no_status() {
    let servers = Servers::answering("hi");
    servers.call(&["chat", "Hello"]).run();
    for span in servers.trace().spans() {
        let code = span.status.as_ref().map_or(StatusCode::Unset, Status::code);
        assert_eq!(code, StatusCode::Unset);
    }
}

/// What [`completion`] answers, in pieces.
fn streamed_answer() -> Reply {
    let chunk = |delta: &str, rest: &str| {
        format!(
            r#"{{"id":"chatcmpl-1","object":"chat.completion.chunk","model":"gpt-4o-mini-2024-07-18","choices":[{{"index":0,"delta":{delta},{rest}}}],"usage":null}}"#
        )
    };
    let usage = completion("")["usage"].to_string();
    Reply::events(&[
        &chunk(
            r#"{"role":"assistant","content":""}"#,
            r#""finish_reason":null"#,
        ),
        &chunk(r#"{"content":"Hi "}"#, r#""finish_reason":null"#),
        &chunk(r#"{"content":"there"}"#, r#""finish_reason":null"#),
        &chunk("{}", r#""finish_reason":"stop""#),
        &format!(
            r#"{{"id":"chatcmpl-1","model":"gpt-4o-mini-2024-07-18","choices":[],"usage":{usage}}}"#
        ),
        "[DONE]",
    ])
}

#[test]
fn a_streamed_answer_gives_the_same_generation_and_its_start() {
    let servers = Servers::replying(streamed_answer());
    servers
        .call(&["chat", "--stream", "Hello"])
        .run()
        .code(0)
        .stdout("Hi there\n");
    let trace = servers.trace();
    assert_eq!(
        attribute(&trace.parent, "output.value").unwrap(),
        "Hi there"
    );
    let mut generation = trace.generation;
    // Whether `stream` is a model parameter is not promised.
    generation
        .attributes
        .retain(|pair| pair.key != "langfuse.observation.model.parameters");
    assert_table(
        &generation,
        &servers.model,
        r#"chat gpt-4o-mini SPAN_KIND_CLIENT
        langfuse.observation.completion_start_time = A TIME
        langfuse.observation.input = [{"role":"user","content":"Hello"}]
        langfuse.observation.metadata.finish_reason = stop
        langfuse.observation.metadata.reasoning_tokens = (int) 5
        langfuse.observation.metadata.response_id = chatcmpl-1
        langfuse.observation.metadata.server = THE MODEL'S
        langfuse.observation.model.name = gpt-4o-mini-2024-07-18
        langfuse.observation.output = {"role":"assistant","content":"Hi there"}
        langfuse.observation.type = generation
        langfuse.observation.usage_details = {"input":20,"input_cached_tokens":3,"output":35,"total":58}
        langfuse.trace.name = chat-completion"#,
    );
    let start = attribute(&generation, COMPLETION_START).unwrap();
    let start: jiff::Timestamp = start.trim_matches('"').parse().unwrap();
    let start = u64::try_from(start.as_nanosecond()).unwrap();
    // Langfuse keeps milliseconds; whether more is sent is not promised.
    assert!(
        start / 1_000_000 >= generation.start_time_unix_nano / 1_000_000
            && start <= generation.end_time_unix_nano,
        "{start} lies outside of {generation:?}"
    );
}

#[test]
fn streamed_tool_calls_are_put_together() {
    let chunk = |delta: &str| format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#);
    let servers = Servers::replying(Reply::events(&[
        &chunk(
            r#"{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"clock","arguments":""}}]}"#,
        ),
        &chunk(r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"zone\":"}}]}"#),
        &chunk(
            r#"{"tool_calls":[{"index":1,"id":"c2","type":"function","function":{"name":"date","arguments":"{}"}}]}"#,
        ),
        &chunk(r#"{"tool_calls":[{"index":0,"function":{"arguments":"\"UTC\"}"}}]}"#),
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
        "[DONE]",
    ]));
    servers.call(&["chat", "--stream", "Time?"]).run().code(0);
    let output = attribute_json(&servers.trace().generation, "langfuse.observation.output");
    assert_eq!(output["role"], "assistant");
    let calls: Vec<_> = output["tool_calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| {
            (
                &call["id"],
                &call["function"]["name"],
                &call["function"]["arguments"],
            )
        })
        .collect();
    assert_eq!(
        calls,
        [
            (&json!("c1"), &json!("clock"), &json!("{\"zone\":\"UTC\"}")),
            (&json!("c2"), &json!("date"), &json!("{}"))
        ]
    );
}

#[test]
fn audio_tokens_have_buckets_of_their_own() {
    let mut body = completion("hi");
    body["usage"] = json!({"prompt_tokens": 30, "completion_tokens": 20, "total_tokens": 50,
        "prompt_tokens_details": {"audio_tokens": 10, "text_tokens": 20},
        "completion_tokens_details": {"audio_tokens": 5, "text_tokens": 15}});
    let servers = Servers::replying(Reply::json(200, &body));
    servers.call(&["chat", "Hello"]).run().code(0);
    let generation = servers.trace().generation;
    let usage = attribute_json(&generation, "langfuse.observation.usage_details");
    assert_eq!(
        (
            &usage["input_text_tokens"],
            &usage["output_text_tokens"],
            &usage["total"]
        ),
        (&json!(20), &json!(15), &json!(50))
    );
    let buckets: i64 = usage
        .as_object()
        .unwrap()
        .iter()
        .filter(|(bucket, _)| *bucket != "total")
        .map(|(_, tokens)| tokens.as_i64().unwrap())
        .sum();
    assert_eq!(buckets, 50, "{usage}");
}

#[test]
fn the_parents_input_is_the_last_user_messages_text() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["replay", "body.json"]);
    let body = json!({"model": "m", "messages": [
        {"role": "user", "content": "earlier"},
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "image_url", "image_url": {"url": "http://127.0.0.1/i.png"}}, {"type": "text", "text": "two"}]},
        {"role": "assistant", "content": "so far"},
    ]});
    call.file("body.json", body.to_string());
    call.run().code(0);
    let trace = servers.trace();
    assert_eq!(attribute(&trace.parent, "input.value").unwrap(), "one\ntwo");
    assert_eq!(
        attribute_json(&trace.generation, "langfuse.observation.input"),
        body["messages"]
    );
    assert_eq!(trace.generation.name, "chat m");
}

#[test]
fn an_answer_without_a_model_name_gets_the_requested_one() {
    let servers = Servers::replying(Reply::json(
        200,
        &json!({"choices": [{"message": {"role": "assistant", "content": "hi"}}]}),
    ));
    servers
        .call(&["chat", "-m", "llama", "Hello"])
        .run()
        .code(0);
    assert_table(
        &servers.trace().generation,
        &servers.model,
        r#"chat llama SPAN_KIND_CLIENT
        langfuse.observation.input = [{"role":"user","content":"Hello"}]
        langfuse.observation.metadata.server = THE MODEL'S
        langfuse.observation.model.name = llama
        langfuse.observation.output = {"role":"assistant","content":"hi"}
        langfuse.observation.type = generation
        langfuse.trace.name = chat-completion"#,
    );
}

#[test]
fn metadata_may_hold_anything_and_a_key_counts_once() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["chat", "--metadata", "k=first", "--metadata", "k=last"]);
    let call = call.arg("--metadata").arg("a.b==x, \"y\"\n=z");
    call.arg("--metadata").arg("empty=").arg("Hello").run();
    for span in servers.trace().spans() {
        let value = |key: &str| attribute(span, &format!("langfuse.trace.metadata.{key}"));
        assert_eq!(value("k").unwrap(), "last");
        assert_eq!(value("a.b").unwrap(), "=x, \"y\"\n=z");
        assert_eq!(value("empty").unwrap(), "");
    }
}

#[test]
fn gemini_has_a_price_for_input_also_beside_audio() {
    let mut body = completion("hi");
    body["model"] = "gemini-2.5-flash".into();
    body["usage"] = json!({"prompt_tokens": 30, "completion_tokens": 20, "total_tokens": 50,
        "prompt_tokens_details": {"audio_tokens": 10}});
    let servers = Servers::replying(Reply::json(200, &body));
    servers.call(&["chat", "Hello"]).run().code(0);
    assert_eq!(
        attribute_json(
            &servers.trace().generation,
            "langfuse.observation.usage_details"
        ),
        json!({"input": 20, "input_audio_tokens": 10, "output": 20, "total": 50})
    );
}

#[test]
fn the_json_document_keeps_reasoning_tokens_apart() {
    let servers = Servers::answering("hi");
    let ended = servers.call(&["chat", "--json", "Hello"]).run();
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        document["response"]["usage"],
        json!({"input": 20, "input_cached_tokens": 3, "output": 30, "output_reasoning_tokens": 5, "total": 58})
    );
}

#[test]
fn several_attempts_are_metadata() {
    let soon = vec![("retry-after-ms", "1".to_owned())];
    let busy = Reply::With(503, soon, "busy".to_owned());
    let servers = Servers::replying_in_turn(vec![busy, Reply::json(200, &completion("hi"))]);
    servers.call(&["chat", "Hello"]).run().code(0);
    let generation = servers.trace().generation;
    let metadata = |key: &str| {
        let key = format!("langfuse.observation.metadata.{key}");
        attribute(&generation, &key).unwrap()
    };
    assert_eq!(metadata("attempts"), "(int) 2");
    assert_eq!(metadata("attempt_statuses"), "[503,200]");
}

#[test]
fn langfuse_gets_no_attribute_that_it_does_not_map() {
    let servers = Servers::answering("hi");
    servers.call(&["chat", "-uu1", "-Ss1", "Hello"]).run();
    for span in servers.trace().spans() {
        for (key, _) in attributes(&span.attributes) {
            let is_mapped = key.starts_with("langfuse.")
                || ["input.value", "output.value"].contains(&key.as_str());
            assert!(is_mapped, "{key} is for other backends");
        }
    }
}

#[test]
fn the_parent_has_neither_model_nor_usage() {
    let servers = Servers::answering("hi");
    servers.call(&["chat", "Hello"]).run();
    let parent = servers.trace().parent;
    assert_eq!(parent.kind(), SpanKind::Internal);
    for (key, _) in attributes(&parent.attributes) {
        assert!(!key.contains("model") && !key.contains("usage"), "{key}");
    }
}
