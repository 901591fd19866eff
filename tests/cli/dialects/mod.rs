//! The dialects that models speak: Responses, Messages and embeddings beside chat completions.

// Which dialect a call uses, and what contradicts what.
mod choice;
// OpenAI's Responses API.
mod responses;
// Anthropic's Messages API.
mod messages;
// Embeddings.
mod embeddings;
// Files that mix dialects.
mod batch;

use serde_json::{Value, json};

use crate::support::harness::{Langspan, Reply, Request};
use crate::support::otlp::Servers;

const KEY: &str = "sk-ant-REDACTED-0123456789";

/// A call that reaches both vendors at the scripted model.
fn call(servers: &Servers, arguments: &[&str]) -> Langspan {
    servers
        .call(arguments)
        .env("ANTHROPIC_BASE_URL", servers.model.url())
        .env("ANTHROPIC_API_KEY", KEY)
}

/// The only request to the model.
#[track_caller]
fn asked(servers: &Servers) -> Request {
    let mut asked = servers.model.requests();
    assert_eq!(asked.len(), 1, "{asked:#?}");
    asked.remove(0)
}

/// Events with their types.
fn stream(events: &[Value]) -> Reply {
    let events = events.iter().map(|event| {
        let kind = event["type"].as_str().unwrap();
        format!("event: {kind}\ndata: {event}\n\n")
    });
    let body: Vec<String> = events.collect();
    Reply::Answer(200, "text/event-stream", body.concat())
}

/// A whole answer of the Responses API.
fn response(text: &str) -> Value {
    json!({
        "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "error": null,
        "incomplete_details": null, "model": "gpt-5-2026", "service_tier": "default",
        "output": [
            {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
            {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": text, "annotations": []}]},
        ],
        "usage": {"input_tokens": 23, "input_tokens_details": {"cached_tokens": 3}, "output_tokens": 35,
            "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 58},
    })
}

/// The events of the same answer.
fn response_events(text: &str) -> Vec<Value> {
    let mut created = response("");
    created["status"] = "in_progress".into();
    created["output"] = json!([]);
    let (first, second) = text.split_at(text.len() / 2);
    let delta = |piece: &str| json!({"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": piece});
    vec![
        json!({"type": "response.created", "response": created}),
        json!({"type": "response.output_item.added", "output_index": 1,
            "item": {"id": "msg_1", "type": "message", "role": "assistant", "content": []}}),
        delta(first),
        delta(second),
        json!({"type": "response.completed", "response": response(text)}),
    ]
}

/// A whole answer of the Messages API.
fn message(text: &str) -> Value {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-1-2026", "stop_reason": "end_turn",
        "stop_sequence": null,
        "content": [{"type": "thinking", "thinking": "Hm.", "signature": "sig"}, {"type": "text", "text": text}],
        "usage": {"input_tokens": 10, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 5, "output_tokens": 17},
    })
}

/// The events of the same answer.
fn message_events(text: &str) -> Vec<Value> {
    let mut start = message("");
    start["content"] = json!([]);
    start["stop_reason"] = Value::Null;
    start["usage"]["output_tokens"] = 1.into();
    let (first, second) = text.split_at(text.len() / 2);
    let begin = |index: u64, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let delta = |index: u64, kind: &str, field: &str, piece: &str| json!({"type": "content_block_delta", "index": index, "delta": {"type": kind, field: piece}});
    vec![
        json!({"type": "message_start", "message": start}),
        begin(
            0,
            json!({"type": "thinking", "thinking": "", "signature": ""}),
        ),
        delta(0, "thinking_delta", "thinking", "Hm."),
        delta(0, "signature_delta", "signature", "sig"),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "ping"}),
        begin(1, json!({"type": "text", "text": ""})),
        delta(1, "text_delta", "text", first),
        delta(1, "text_delta", "text", second),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 17}}),
        json!({"type": "message_stop"}),
    ]
}

fn vectors() -> Value {
    json!({"object": "list", "model": "text-embedding-3-small", "data": [
        {"object": "embedding", "index": 0, "embedding": [0.125, 0.25, 0.5]},
        {"object": "embedding", "index": 1, "embedding": [0.625, 0.75, 0.875]},
    ], "usage": {"prompt_tokens": 7, "total_tokens": 7}})
}

/// Answers each path in its dialect.
fn polyglot(request: &Request) -> Reply {
    let body = match request.path.as_str() {
        "/v1/responses" => response("from responses"),
        "/v1/messages" => message("from messages"),
        "/v1/embeddings" => vectors(),
        "/v1/chat/completions" => crate::support::harness::completion("from chat"),
        path => {
            return Reply::json(
                404,
                &json!({"error": {"message": format!("no {path} here")}}),
            );
        }
    };
    Reply::json(200, &body)
}
