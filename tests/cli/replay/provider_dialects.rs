//! Batches in every dialect: `responses`, `embeddings` and Anthropic's messages become traces like chat completions.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::harness::{Ended, Langspan, Reply, Scripted};
use crate::support::memory::Memory;
use crate::support::otlp::{Trace, attribute, attribute_json, hex, traces_at};

const PRICES: &str = "/api/public/models";

/// A Langfuse with a price of one cent for each token of every model, and of half a cent for cached ones.
fn langfuse() -> Scripted {
    let memory = Memory::default();
    Scripted::start(move |request, _| match request.path.split('?').next() {
        Some(PRICES) => Reply::json(
            200,
            &json!({
                "data": [
                    {"modelName": "embedding", "matchPattern": "^text-embedding", "prices": {"total": {"price": 0.01}}},
                    {"modelName": "all", "matchPattern": ".*", "prices": {
                        "input": {"price": 0.01}, "input_cached_tokens": {"price": 0.005}, "output": {"price": 0.01},
                    }},
                ],
                "meta": {"page": 1, "limit": 100, "totalItems": 2, "totalPages": 1},
            }),
        ),
        _ => memory.answer(request),
    })
}

fn replay(langfuse: &Scripted, request: &Value, output: &Value, object: Option<&Value>) -> Ended {
    let mut arguments = vec![
        "replay",
        "--batch-input",
        "in.jsonl",
        "--batch-output",
        "out.jsonl",
    ];
    arguments.extend(
        object
            .map(|_| ["--batch-object", "batch.json"])
            .into_iter()
            .flatten(),
    );
    let call = Langspan::new(&arguments).langfuse_at(langfuse.url());
    call.file("in.jsonl", format!("{request}\n"));
    call.file("out.jsonl", format!("{output}\n"));
    if let Some(object) = object {
        call.file("batch.json", object.to_string());
    }
    call.run()
}

/// The trace of a batch of one line.
#[track_caller]
fn trace(request: &Value, output: &Value, object: Option<&Value>) -> Trace {
    let langfuse = langfuse();
    let ended = replay(&langfuse, request, output, object);
    ended.code(0).stderr_lacks("warning");
    let mut traces = traces_at(&langfuse);
    assert_eq!(traces.len(), 1);
    traces.remove(0)
}

fn asked(url: &str, body: &Value) -> Value {
    json!({"custom_id": "a", "method": "POST", "url": url, "body": body})
}

fn answered(body: &Value) -> Value {
    json!({"id": "batch_req_1", "custom_id": "a", "response": {"status_code": 200, "body": body}, "error": null})
}

fn message_batch() -> Value {
    json!({
        "id": "msgbatch_1", "type": "message_batch", "processing_status": "ended",
        "created_at": "2026-01-02T03:04:05Z", "ended_at": "2026-01-02T04:04:05Z",
    })
}

#[test]
fn an_answer_of_the_responses_api_has_its_own_time() {
    let request = asked(
        "/v1/responses",
        &json!({"model": "gpt-5", "instructions": "Be brief.", "input": "Joy?"}),
    );
    let output = answered(&json!({
        "id": "resp_1", "object": "response", "created_at": 1_760_000_000, "status": "completed", "model": "gpt-5",
        "output": [{"type": "message", "id": "m", "status": "completed", "role": "assistant",
                    "content": [{"type": "output_text", "text": "Delight.", "annotations": []}]}],
        "usage": {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 5,
                  "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 15},
    }));
    let trace = trace(&request, &output, None);
    assert_eq!(
        trace.generation.start_time_unix_nano,
        1_760_000_000_000_000_000
    );
    assert_eq!(attribute(&trace.parent, "input.value").unwrap(), "Joy?");
    assert_eq!(
        attribute(&trace.parent, "output.value").unwrap(),
        "Delight."
    );
    assert_eq!(
        attribute_json(&trace.generation, "langfuse.observation.usage_details"),
        json!({"input": 6, "input_cached_tokens": 4, "output": 5, "total": 15})
    );
    assert_eq!(
        attribute_json(&trace.generation, "langfuse.observation.cost_details"),
        json!({"input": 0.03, "input_cached_tokens": 0.01, "output": 0.025, "total": 0.065})
    );
}

#[test]
fn embeddings_need_the_object_and_cost_half_of_the_total() {
    let request = asked(
        "/v1/embeddings",
        &json!({"model": "text-embedding-3-small", "input": ["a", "b"]}),
    );
    let output = answered(&json!({
        "object": "list", "model": "text-embedding-3-small",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}, {"object": "embedding", "index": 1, "embedding": [0.3, 0.4]}],
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    }));
    let silent = langfuse();
    replay(&silent, &request, &output, None)
        .code(2)
        .stderr_has("--batch-object");
    assert_eq!(silent.count(), 0);
    let object =
        json!({"id": "batch_1", "in_progress_at": 1_760_000_000, "completed_at": 1_760_000_060});
    let trace = trace(&request, &output, Some(&object));
    let generation = &trace.generation;
    assert_eq!(
        attribute(generation, "langfuse.observation.type").unwrap(),
        "embedding"
    );
    assert_eq!(
        attribute_json(generation, "langfuse.observation.cost_details"),
        json!({"total": 0.04})
    );
}

#[test]
fn anthropics_messages_take_id_and_times_of_their_batch() {
    let request = json!({
        "custom_id": "a",
        "params": {"model": "claude-sonnet-4-5", "max_tokens": 64, "system": "Be brief.",
                   "messages": [{"role": "user", "content": "Joy?"}]},
    });
    let output = json!({"custom_id": "a", "result": {"type": "succeeded", "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
        "content": [{"type": "text", "text": "Delight."}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 0, "output_tokens": 5},
    }}});
    let langfuse = langfuse();
    replay(&langfuse, &request, &output, None)
        .code(2)
        .stderr_has("--batch-object");
    assert_eq!(langfuse.count(), 0);
    let trace = trace(&request, &output, Some(&message_batch()));
    let id = hex(&Sha256::digest("msgbatch_1/a")[..16]);
    assert_eq!(trace.id(), id);
    assert_eq!(attribute(&trace.parent, "input.value").unwrap(), "Joy?");
    assert_eq!(
        attribute(&trace.parent, "output.value").unwrap(),
        "Delight."
    );
    assert_eq!(
        attribute_json(&trace.generation, "langfuse.observation.usage_details"),
        json!({"input": 10, "input_cached_tokens": 4, "output": 5, "total": 19})
    );
    assert_eq!(
        attribute_json(&trace.generation, "langfuse.observation.cost_details"),
        json!({"input": 0.05, "input_cached_tokens": 0.01, "output": 0.025, "total": 0.085})
    );
    let start = trace.generation.start_time_unix_nano;
    assert_eq!(
        trace.generation.end_time_unix_nano - start,
        3_600_000_000_000
    );
}

#[test]
fn an_anthropic_line_that_failed_is_an_error_trace() {
    let request = json!({
        "custom_id": "a",
        "params": {"model": "claude-sonnet-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": "Joy?"}]},
    });
    let error = json!({"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens: too large"}});
    let output = json!({"custom_id": "a", "result": {"type": "errored", "error": error}});
    let trace = trace(&request, &output, Some(&message_batch()));
    for span in trace.spans() {
        let status = span.status.clone().unwrap();
        assert_eq!(
            (status.code, status.message.as_str()),
            (2, "invalid_request_error: max_tokens: too large")
        );
    }
}
