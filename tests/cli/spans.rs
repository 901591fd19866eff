//! The two spans as an endpoint receives them: every attribute, ids, kinds, times and status.
//!
//! The tables are whole: an attribute more is as wrong as one less.

use sha2::{Digest as _, Sha256};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use serde_json::{Value, json};

use crate::support::harness::{Langspan, Reply, Scripted, completion};
use crate::support::otlp::{Servers, Trace, attribute, attribute_json, attributes, hex, traces_at};

const COMPLETION_START: &str = "langfuse.observation.completion_start_time";

/// Name and kind, then every attribute, sorted; what differs from run to run replaced.
fn table(span: &Span, model: &Scripted) -> Vec<String> {
    let port = format!("(int) {}", model.url().rsplit(':').next().unwrap());
    let mut lines = vec![format!("{} {}", span.name, span.kind().as_str_name())];
    for (key, value) in attributes(&span.attributes) {
        let value = match key.as_str() {
            "server.port" if value == port => "THE MODEL'S".to_owned(),
            COMPLETION_START => "A TIME".to_owned(),
            _ => value,
        };
        lines.push(format!("{key} = {value}"));
    }
    lines
}

/// Compares line by line, so that a failure names the line.
#[track_caller]
fn assert_table(span: &Span, model: &Scripted, expected: &str) {
    let found = table(span, model);
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    let expected: Vec<&str> = expected.lines().map(str::trim_start).collect();
    let missing: Vec<_> = expected
        .iter()
        .filter(|line| !found.contains(line))
        .collect();
    let surplus: Vec<_> = found
        .iter()
        .filter(|line| !expected.contains(line))
        .collect();
    assert_eq!(
        found, expected,
        "missing: {missing:#?}, surplus: {surplus:#?}"
    );
}

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
        output.value = Hi there",
    );
    assert_table(
        &trace.generation,
        &servers.model,
        r#"chat gpt-4o-mini SPAN_KIND_CLIENT
        gen_ai.operation.name = chat
        gen_ai.provider.name = openai
        gen_ai.request.model = gpt-4o-mini
        gen_ai.response.finish_reasons = [stop]
        gen_ai.response.id = chatcmpl-1
        gen_ai.response.model = gpt-4o-mini-2024-07-18
        langfuse.observation.input = [{"role":"user","content":"Hello"}]
        langfuse.observation.metadata.attempts = (int) 1
        langfuse.observation.model.name = gpt-4o-mini-2024-07-18
        langfuse.observation.output = {"role":"assistant","content":"Hi there"}
        langfuse.observation.type = generation
        langfuse.observation.usage_details = {"input":20,"input_cached_tokens":3,"output":30,"output_reasoning_tokens":5,"total":58}
        server.address = 127.0.0.1
        server.port = THE MODEL'S"#,
    );
}

#[test]
fn who_and_what_for_stands_on_both_spans() {
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
        gen_ai.operation.name = chat
        gen_ai.provider.name = openai
        gen_ai.request.model = gpt-4o-mini
        gen_ai.response.finish_reasons = [stop]
        gen_ai.response.id = chatcmpl-1
        gen_ai.response.model = gpt-4o-mini-2024-07-18
        langfuse.observation.input = [{"role":"system","content":"Be brief."},{"role":"user","content":"Hello"}]
        langfuse.observation.metadata.attempts = (int) 1
        langfuse.observation.model.name = gpt-4o-mini-2024-07-18
        langfuse.observation.model.parameters = {"temperature":0.2}
        langfuse.observation.output = {"role":"assistant","content":"Hi there"}
        langfuse.observation.type = generation
        langfuse.observation.usage_details = {"input":20,"input_cached_tokens":3,"output":30,"output_reasoning_tokens":5,"total":58}
        langfuse.session.id = s1
        langfuse.tags = [a, b]
        langfuse.trace.metadata.k = v
        langfuse.trace.name = my run
        langfuse.trace.public = (bool) true
        langfuse.user.id = u1
        langfuse.version = v1
        server.address = 127.0.0.1
        server.port = THE MODEL'S"#,
    );
}

#[test]
fn what_is_empty_is_not_sent() {
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
        output.value = Hi there",
    );
    for key in ["langfuse.environment", "langfuse.release"] {
        assert!(!trace.resource.contains_key(key), "{:?}", trace.resource);
    }
}

#[test]
fn environment_and_release_stand_on_the_resource() {
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

/// The reply of a model whose answer is this message.
fn answer(message: &Value, finish_reason: &str) -> Value {
    let mut body = completion("");
    body["choices"][0]["message"] = message.clone();
    body["choices"][0]["finish_reason"] = finish_reason.into();
    body
}

#[test]
fn tools_stand_beside_the_messages_and_tool_calls_are_the_answer() {
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
    assert_eq!(
        attribute(&generation, "gen_ai.response.finish_reasons").unwrap(),
        "[tool_calls]"
    );
}

#[test]
fn several_choices_are_an_array_of_messages() {
    let mut body = completion("one");
    body["choices"].as_array_mut().unwrap().push(json!(
        {"index": 1, "message": {"role": "assistant", "content": "two"}, "finish_reason": "length"}
    ));
    let servers = Servers::replying(Reply::json(200, &body));
    servers.call(&["chat", "-p", "n:=2", "Hello"]).run().code(0);
    let generation = servers.trace().generation;
    assert_eq!(
        attribute_json(&generation, "langfuse.observation.output"),
        json!([{"role": "assistant", "content": "one"}, {"role": "assistant", "content": "two"}])
    );
    assert_eq!(
        attribute_json(&generation, "langfuse.observation.model.parameters"),
        json!({"n": 2})
    );
    assert_eq!(
        attribute(&generation, "gen_ai.response.finish_reasons").unwrap(),
        "[stop, length]"
    );
}

#[test]
fn a_refusal_is_kept_as_it_was_received() {
    let message = json!({"role": "assistant", "content": null, "refusal": "I cannot."});
    let servers = Servers::replying(Reply::json(200, &answer(&message, "stop")));
    servers.call(&["chat", "Hello"]).run().code(0);
    let generation = servers.trace().generation;
    assert_eq!(
        attribute_json(&generation, "langfuse.observation.output"),
        message
    );
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
        langfuse.user.id = u1",
    );
    assert_table(
        &trace.generation,
        &servers.model,
        r#"chat gpt-4o-mini SPAN_KIND_CLIENT
        gen_ai.operation.name = chat
        gen_ai.provider.name = openai
        gen_ai.request.model = gpt-4o-mini
        langfuse.observation.input = [{"role":"user","content":"Hello"}]
        langfuse.observation.metadata.attempts = (int) 1
        langfuse.observation.model.name = gpt-4o-mini
        langfuse.observation.type = generation
        langfuse.observation.usage_details = {"input":0,"output":0,"total":0}
        langfuse.user.id = u1
        server.address = 127.0.0.1
        server.port = THE MODEL'S"#,
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
fn a_streamed_answer_gives_the_same_generation_and_its_first_moment() {
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
        gen_ai.operation.name = chat
        gen_ai.provider.name = openai
        gen_ai.request.model = gpt-4o-mini
        gen_ai.response.finish_reasons = [stop]
        gen_ai.response.id = chatcmpl-1
        gen_ai.response.model = gpt-4o-mini-2024-07-18
        langfuse.observation.completion_start_time = A TIME
        langfuse.observation.input = [{"role":"user","content":"Hello"}]
        langfuse.observation.metadata.attempts = (int) 1
        langfuse.observation.model.name = gpt-4o-mini-2024-07-18
        langfuse.observation.output = {"role":"assistant","content":"Hi there"}
        langfuse.observation.type = generation
        langfuse.observation.usage_details = {"input":20,"input_cached_tokens":3,"output":30,"output_reasoning_tokens":5,"total":58}
        server.address = 127.0.0.1
        server.port = THE MODEL'S"#,
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
fn usage_is_split_into_exclusive_buckets_without_zeros() {
    let cases = [
        (
            json!({"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}),
            json!({"input": 7, "output": 2, "total": 9}),
        ),
        (
            json!({"prompt_tokens": 7, "completion_tokens": 0, "total_tokens": 7,
                   "prompt_tokens_details": null, "completion_tokens_details": {"reasoning_tokens": null}}),
            json!({"input": 7, "total": 7}),
        ),
        (
            json!({"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12,
                   "prompt_tokens_details": {"cached_tokens": 7}, "completion_tokens_details": {"reasoning_tokens": 5}}),
            json!({"input_cached_tokens": 7, "output_reasoning_tokens": 5, "total": 12}),
        ),
    ];
    for (usage, expected) in cases {
        let mut body = completion("hi");
        body["usage"] = usage;
        let servers = Servers::replying(Reply::json(200, &body));
        servers.call(&["chat", "Hello"]).run().code(0);
        let generation = servers.trace().generation;
        assert_eq!(
            attribute_json(&generation, "langfuse.observation.usage_details"),
            expected
        );
    }
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
        (&usage["input"], &usage["output"], &usage["total"]),
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
fn an_answer_without_usage_gives_no_usage() {
    let mut body = completion("hi");
    body.as_object_mut().unwrap().remove("usage");
    let servers = Servers::replying(Reply::json(200, &body));
    servers.call(&["chat", "Hello"]).run().code(0);
    let generation = servers.trace().generation;
    assert_eq!(
        attribute(&generation, "langfuse.observation.usage_details"),
        None
    );
}

#[test]
fn a_cost_is_sent_only_when_the_provider_states_it() {
    let mut body = completion("hi");
    body["usage"]["cost"] = json!(0.00125);
    let servers = Servers::replying(Reply::json(200, &body));
    servers.call(&["chat", "Hello"]).run().code(0);
    let generation = servers.trace().generation;
    assert_eq!(
        attribute_json(&generation, "langfuse.observation.cost_details"),
        json!({"total": 0.00125})
    );
}

#[test]
fn the_service_tier_of_the_answer_is_a_model_parameter() {
    let mut body = completion("hi");
    body["service_tier"] = "priority".into();
    let servers = Servers::replying(Reply::json(200, &body));
    servers
        .call(&["chat", "-p", "service_tier=auto", "-p", "seed:=7", "Hello"])
        .run();
    let generation = servers.trace().generation;
    assert_eq!(
        attribute_json(&generation, "langfuse.observation.model.parameters"),
        json!({"service_tier": "priority", "seed": 7})
    );
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
fn a_model_that_does_not_name_itself_is_the_asked_one() {
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
        gen_ai.operation.name = chat
        gen_ai.provider.name = openai
        gen_ai.request.model = llama
        langfuse.observation.input = [{"role":"user","content":"Hello"}]
        langfuse.observation.metadata.attempts = (int) 1
        langfuse.observation.model.name = llama
        langfuse.observation.output = {"role":"assistant","content":"hi"}
        langfuse.observation.type = generation
        server.address = 127.0.0.1
        server.port = THE MODEL'S"#,
    );
}

/// The first 8 bytes of SHA-256(`TRACE_ID/START_NANOS/which`).
fn span_id(span: &Span, which: &str) -> String {
    let text = format!(
        "{}/{}/{which}",
        hex(&span.trace_id),
        span.start_time_unix_nano
    );
    hex(&Sha256::digest(text.as_bytes())[..8])
}

#[test]
fn span_ids_follow_from_trace_id_and_start() {
    let servers = Servers::answering("hi");
    servers
        .call(&["chat", "--trace-seed", "my-seed", "Hello"])
        .run()
        .code(0);
    let Trace {
        parent, generation, ..
    } = servers.trace();
    // The first 16 bytes of SHA-256("my-seed").
    assert_eq!(hex(&parent.trace_id), "e47b450a58ba3f9ba4a36ec20b7f7c18");
    assert_eq!(parent.trace_id, generation.trace_id);
    assert_eq!(parent.start_time_unix_nano, generation.start_time_unix_nano);
    assert_eq!(hex(&parent.span_id), span_id(&parent, "parent"));
    assert_eq!(hex(&generation.span_id), span_id(&generation, "generation"));
    assert_eq!(generation.parent_span_id, parent.span_id);
    assert!(parent.parent_span_id.is_empty());
}

#[test]
fn two_runs_are_two_traces() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["chat", "Hello"]);
    call.run();
    call.run();
    let traces = traces_at(&servers.langfuse);
    assert_ne!(traces[0].id(), traces[1].id());
    assert_ne!(traces[0].parent.span_id, traces[1].parent.span_id);
}

#[test]
fn the_model_gets_the_traceparent_of_the_generation() {
    let servers = Servers::answering("hi");
    servers.call(&["chat", "Hello"]).run();
    let span = servers.trace().generation;
    assert_eq!(
        servers.asked()[0].header("traceparent"),
        format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id))
    );
}

#[test]
fn under_a_remote_parent_ours_says_that_it_is_the_root_of_the_application() {
    let servers = Servers::answering("hi");
    let remote = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let call = servers.call(&["chat", "--traceparent", remote, "Hello"]);
    call.run().code(0);
    let Trace {
        parent, generation, ..
    } = servers.trace();
    assert_eq!(hex(&parent.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&parent.parent_span_id), "b7ad6b7169203331");
    assert_table(
        &parent,
        &servers.model,
        "chat-completion SPAN_KIND_INTERNAL
        input.value = Hello
        langfuse.internal.is_app_root = (bool) true
        langfuse.observation.type = span
        output.value = hi",
    );
    assert_eq!(
        attribute(&generation, "langfuse.internal.is_app_root"),
        None
    );
}

#[test]
fn the_model_of_a_joined_trace_is_told_of_our_span_in_it() {
    let servers = Servers::answering("hi");
    let remote = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let call = servers.call(&["chat", "--join", "Hello"]);
    call.env("TRACEPARENT", remote).run().code(0);
    let Trace {
        parent, generation, ..
    } = servers.trace();
    assert_eq!(generation.parent_span_id, parent.span_id);
    assert_eq!(
        servers.asked()[0].header("traceparent"),
        format!(
            "00-0af7651916cd43dd8448eb211c80319c-{}-01",
            hex(&generation.span_id)
        )
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
fn a_traceparent_of_the_environment_is_followed_only_when_asked() {
    let servers = Servers::answering("hi");
    let remote = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (arguments, joins) in [
        (&["chat", "Hello"][..], false),
        (&["chat", "--join", "Hello"], true),
    ] {
        servers
            .call(arguments)
            .env("TRACEPARENT", remote)
            .run()
            .code(0);
        let trace = traces_at(&servers.langfuse).pop().unwrap();
        assert_eq!(
            trace.id() == "0af7651916cd43dd8448eb211c80319c",
            joins,
            "{arguments:?}"
        );
    }
}

/// A call whose spans go to a collector that is no Langfuse.
fn call_to_a_collector(model: &Scripted, collector: &Scripted, arguments: &[&str]) -> Langspan {
    Langspan::new(arguments)
        .model_at(&format!("{}/v1", model.url()))
        .env(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            &format!("{}/v1/traces", collector.url()),
        )
}

#[test]
fn a_plain_otlp_backend_gets_the_general_conventions() {
    let model = Scripted::model("Hi there");
    let collector = Scripted::always(Reply::json(200, &json!({})));
    let arguments = [
        "chat",
        "-uu1",
        "-Ss1",
        "-ta",
        "--system",
        "Be brief.",
        "--temperature",
        "0.5",
        "-p",
        "seed:=7",
        "Hello",
    ];
    call_to_a_collector(&model, &collector, &arguments)
        .run()
        .code(0);
    let trace = traces_at(&collector).pop().unwrap();
    let parent = attributes(&trace.parent.attributes);
    for (key, value) in [
        ("user.id", "u1"),
        ("session.id", "s1"),
        ("input.value", "Hello"),
        ("output.value", "Hi there"),
    ] {
        assert_eq!(
            parent.get(key).map(String::as_str),
            Some(value),
            "{parent:#?}"
        );
    }
    let generation = attributes(&trace.generation.attributes);
    for (key, value) in [
        ("user.id", "u1"),
        ("session.id", "s1"),
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", "gpt-4o-mini"),
        ("gen_ai.request.seed", "(int) 7"),
        ("gen_ai.request.temperature", "(double) 0.5"),
        ("gen_ai.response.finish_reasons", "[stop]"),
        ("gen_ai.response.id", "chatcmpl-1"),
        ("gen_ai.response.model", "gpt-4o-mini-2024-07-18"),
        // Inclusive here, as the conventions want them.
        ("gen_ai.usage.input_tokens", "(int) 23"),
        ("gen_ai.usage.output_tokens", "(int) 35"),
    ] {
        assert_eq!(
            generation.get(key).map(String::as_str),
            Some(value),
            "{generation:#?}"
        );
    }
}

#[test]
fn a_plain_otlp_backend_gets_the_messages_in_parts() {
    let model = Scripted::model("Hi there");
    let collector = Scripted::always(Reply::json(200, &json!({})));
    let arguments = ["chat", "--system", "Be brief.", "Hello"];
    call_to_a_collector(&model, &collector, &arguments)
        .run()
        .code(0);
    let trace = traces_at(&collector).pop().unwrap();
    let generation = attributes(&trace.generation.attributes);
    for key in ["langfuse.observation.input", "langfuse.observation.output"] {
        assert!(!generation.contains_key(key), "{generation:#?}");
    }
    assert_eq!(
        attribute_json(&trace.generation, "gen_ai.input.messages"),
        json!([{"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
               {"role": "user", "parts": [{"type": "text", "content": "Hello"}]}])
    );
    assert_eq!(
        attribute_json(&trace.generation, "gen_ai.output.messages"),
        json!([{"role": "assistant", "parts": [{"type": "text", "content": "Hi there"}], "finish_reason": "stop"}])
    );
}

#[test]
fn a_plain_otlp_backend_gets_tools_and_tool_calls() {
    let call = json!({"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\":\"Paris\"}"}});
    let message = json!({"role": "assistant", "content": null, "tool_calls": [call]});
    let model = Scripted::always(Reply::json(200, &answer(&message, "tool_calls")));
    let collector = Scripted::always(Reply::json(200, &json!({})));
    let tools = json!([{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]);
    let tools = format!("tools:={tools}");
    let arguments = ["chat", "--no-stream", "-p", tools.as_str(), "Weather?"];
    call_to_a_collector(&model, &collector, &arguments)
        .run()
        .code(0);
    let trace = traces_at(&collector).pop().unwrap();
    assert_eq!(
        attribute_json(&trace.generation, "gen_ai.tool.definitions"),
        json!([{"type": "function", "name": "get_weather", "parameters": {"type": "object"}}])
    );
    assert_eq!(
        attribute_json(&trace.generation, "gen_ai.output.messages"),
        json!([{"role": "assistant", "finish_reason": "tool_call",
                "parts": [{"type": "tool_call", "id": "c1", "name": "get_weather", "arguments": {"city": "Paris"}}]}])
    );
    let generation = attributes(&trace.generation.attributes);
    assert!(!generation.contains_key("error.type"));
}

#[test]
fn a_plain_otlp_backend_is_told_why_a_call_failed() {
    let collector = Scripted::always(Reply::json(200, &json!({})));
    let refused = json!({"error": {"message": "No credit", "code": "insufficient_quota"}});
    for (reply, name, value) in [
        (Reply::json(429, &refused), "error.type", "429"),
        (Reply::Close, "error.type", "_OTHER"),
    ] {
        let model = Scripted::always(reply);
        let arguments = ["chat", "--stream", "--retries", "0", "Hello"];
        call_to_a_collector(&model, &collector, &arguments).run();
        let trace = traces_at(&collector).pop().unwrap();
        let generation = attributes(&trace.generation.attributes);
        assert_eq!(
            generation.get(name).map(String::as_str),
            Some(value),
            "{generation:#?}"
        );
    }
}

#[test]
fn langfuse_does_not_get_the_messages_twice() {
    let servers = Servers::answering("hi");
    servers.call(&["chat", "-uu1", "-Ss1", "Hello"]).run();
    for span in servers.trace().spans() {
        for (key, _) in attributes(&span.attributes) {
            let is_plain = ["user.id", "session.id"].contains(&key.as_str())
                || key.starts_with("gen_ai.usage.")
                || key.ends_with(".messages");
            assert!(!is_plain, "{key} is for plain backends");
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
