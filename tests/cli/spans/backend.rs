//! What a plain OTLP backend receives, and what a collector in front of Langfuse.

use serde_json::json;

use super::answer;
use crate::support::harness::{Langspan, Reply, Scripted, completion};
use crate::support::otlp::{Servers, attribute_json, attributes, traces_at};

/// A call that sends its spans to a collector other than Langfuse.
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
        ("gen_ai.conversation.id", "s1"),
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
fn a_collector_gets_both_conventions() {
    let collector = Scripted::always(Reply::json(200, &json!({})));
    let servers = Servers::answering("Hi there");
    let arguments = ["chat", "--session", "s1", "Hello"];
    servers.call(&arguments).run().code(0);
    let direct = attributes(&servers.trace().generation.attributes);
    servers
        .call(&arguments)
        .arg("--otlp-endpoint")
        .arg(collector.url())
        .run()
        .code(0);
    let mut both = attributes(&traces_at(&collector).pop().unwrap().generation.attributes);
    let port = servers.model.url().rsplit(':').next().unwrap().to_owned();
    for (key, value) in [
        ("gen_ai.conversation.id", "s1"),
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", "gpt-4o-mini"),
        ("gen_ai.response.finish_reasons", "[stop]"),
        ("gen_ai.response.id", "chatcmpl-1"),
        ("gen_ai.response.model", "gpt-4o-mini-2024-07-18"),
        // Langfuse reads its own `usage_details` first, which has them in buckets.
        ("gen_ai.usage.input_tokens", "(int) 23"),
        ("gen_ai.usage.cache_read.input_tokens", "(int) 3"),
        ("gen_ai.usage.output_tokens", "(int) 35"),
        ("gen_ai.usage.reasoning.output_tokens", "(int) 5"),
        ("server.address", "127.0.0.1"),
        ("server.port", &format!("(int) {port}")),
    ] {
        assert_eq!(both.remove(key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(both, direct);
}

#[test]
fn a_stream_says_so_and_when_it_began() {
    let chunk =
        json!({"choices": [{"index": 0, "delta": {"content": "{}"}, "finish_reason": "stop"}]});
    let servers = Servers::replying(Reply::events(&[&chunk.to_string(), "[DONE]"]));
    let collector = Scripted::always(Reply::json(200, &json!({})));
    let arguments = [
        "chat",
        "--stream",
        "-p",
        "response_format:={\"type\":\"json_object\"}",
        "Hello",
    ];
    let call = servers.call(&arguments).arg("--otlp-endpoint");
    call.arg(collector.url()).run().code(0);
    let generation = traces_at(&collector).pop().unwrap().generation;
    let generation = attributes(&generation.attributes);
    assert_eq!(
        generation.get("gen_ai.request.stream").map(String::as_str),
        Some("(bool) true")
    );
    assert_eq!(
        generation.get("gen_ai.output.type").map(String::as_str),
        Some("json")
    );
    let seconds = generation["gen_ai.response.time_to_first_chunk"].strip_prefix("(double) ");
    let seconds: f64 = seconds.unwrap().parse().unwrap();
    assert!(seconds > 0.0 && seconds < 60.0, "{seconds}");
}

#[test]
fn cache_writes_are_counted_by_the_conventions() {
    let mut body = completion("hi");
    body["usage"] = json!({"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107,
        "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 50}});
    let model = Scripted::always(Reply::json(200, &body));
    let collector = Scripted::always(Reply::json(200, &json!({})));
    call_to_a_collector(&model, &collector, &["chat", "Hello"])
        .run()
        .code(0);
    let generation = traces_at(&collector).pop().unwrap().generation;
    let generation = attributes(&generation.attributes);
    for (key, value) in [
        ("gen_ai.usage.input_tokens", "(int) 100"),
        ("gen_ai.usage.cache_read.input_tokens", "(int) 30"),
        ("gen_ai.usage.cache_write.input_tokens", "(int) 50"),
    ] {
        assert_eq!(generation.get(key).map(String::as_str), Some(value));
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
fn a_plain_otlp_backend_gets_the_error_type() {
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
