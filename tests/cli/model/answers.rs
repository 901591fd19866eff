//! Costs, and answers that are not completions.

use serde_json::{Value, json};

use super::{DONE, STOP, assert_failed, good, piece};
use crate::support::harness::{Ended, Reply, Scripted, completion, dead_url};
use crate::support::otlp::{Servers, attribute, attribute_json, traces_at};

/// At least a cause and a remedy, at most 8 lines.
#[track_caller]
fn assert_said_in_short(ended: &Ended) {
    let lines = ended.stderr.lines().count();
    assert!((2..=8).contains(&lines), "{lines} lines: {ended:#?}");
}

#[test]
fn a_cost_stated_by_a_gateway_is_used() {
    let stated = |cost: &str, body: &Value| {
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("x-litellm-response-cost", cost.to_owned()),
        ];
        Reply::With(200, headers, body.to_string())
    };
    let mut in_body = completion("hi");
    in_body["usage"]["cost"] = json!(0.25);
    for (reply, cost) in [
        (
            stated("4.8e-06", &completion("hi")),
            Some(json!({"total": 4.8e-6})),
        ),
        (
            stated("0.0", &completion("hi")),
            Some(json!({"total": 0.0})),
        ),
        (stated("0.5", &in_body), Some(json!({"total": 0.25}))),
        (stated("None", &completion("hi")), None),
        (stated("-1", &completion("hi")), None),
        (stated("nan", &completion("hi")), None),
        (good(), None),
    ] {
        let servers = Servers::replying(reply.clone());
        let call = servers.call(&["chat", "--record", "record.jsonl", "Hello"]);
        let ended = call.run();
        ended.code(0);
        let again = servers.call(&["replay", "record.jsonl"]).after(&ended);
        again.run().code(0);
        for trace in traces_at(&servers.langfuse) {
            let found = attribute(&trace.generation, "langfuse.observation.cost_details");
            let found = found.map(|text| serde_json::from_str::<Value>(&text).unwrap());
            assert_eq!(found, cost, "{reply:?}");
        }
    }
}

#[test]
fn a_header_before_a_stream_cannot_know_its_cost() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-litellm-response-cost: 0.0\r\n\r\n";
    let events = [&piece("hi"), STOP, DONE].map(|event| format!("data: {event}\n\n"));
    let bytes = [head.to_owned(), events.concat()].concat();
    let servers = Servers::replying(Reply::Bytes(bytes.into_bytes()));
    servers.call(&["chat", "--stream", "Hello"]).run().code(0);
    let generation = servers.trace().generation;
    assert_eq!(
        attribute(&generation, "langfuse.observation.cost_details"),
        None
    );
}

#[test]
fn an_error_answer_is_reported_with_the_servers_message() {
    let replies = [
        (
            Reply::json(
                401,
                &json!({"error": {"message": "Incorrect API key provided", "type": "invalid_request_error", "param": null, "code": "invalid_api_key"}}),
            ),
            ["401", "Incorrect API key provided"],
        ),
        (
            Reply::json(
                404,
                &json!({"error": {"message": "The model `gpt-x` does not exist", "type": "invalid_request_error", "param": null, "code": "model_not_found"}}),
            ),
            ["404", "The model `gpt-x` does not exist"],
        ),
        (
            Reply::json(
                400,
                &json!({"error": {"message": "bad input", "code": 400}}),
            ),
            ["400", "bad input"],
        ),
        (
            Reply::json(422, &json!({"detail": "messages: field required"})),
            ["422", "messages: field required"],
        ),
        (
            Reply::json(400, &json!({"error": "just words"})),
            ["400", "just words"],
        ),
        (
            Reply::Answer(
                403,
                "text/html",
                "<html><title>Blocked by proxy</title></html>".to_owned(),
            ),
            ["403", "HTML"],
        ),
        (
            Reply::Answer(404, "text/plain", "404 page not found".to_owned()),
            ["404", "404 page not found"],
        ),
    ];
    for (reply, words) in replies {
        let servers = Servers::replying(reply);
        let ended = servers.call(&["chat", "Hello"]).run();
        ended
            .code(4)
            .stdout("")
            .stderr_has(words[0])
            .stderr_has(words[1])
            .stderr_has("trace: ");
        assert_said_in_short(&ended);
        assert_failed(&servers, words[1]);
    }
}

#[test]
fn a_200_that_is_no_completion_is_a_failure() {
    for reply in [
        Reply::Answer(
            200,
            "text/html",
            "<html><title>Sign in</title></html>".to_owned(),
        ),
        Reply::Answer(200, "application/json", "{\"choices\": [".to_owned()),
        Reply::json(200, &json!({"error": {"message": "upstream broke"}})),
        Reply::json(200, &json!({"hello": "world"})),
        Reply::Answer(200, "application/json", String::new()),
    ] {
        let servers = Servers::replying(reply.clone());
        let ended = servers.call(&["chat", "--retries", "0", "Hello"]).run();
        assert_eq!(ended.code, Some(4), "{reply:?}: {ended:#?}");
        assert_eq!(ended.stdout, "");
        assert_said_in_short(&ended);
        assert_failed(&servers, "");
    }
}

#[test]
fn an_unreachable_model_is_a_failed_call_with_a_trace() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["chat", "--retries", "0", "Hello"]);
    let ended = call.model_at(&dead_url()).run();
    ended.code(4).stdout("").stderr_has("trace: ");
    assert_said_in_short(&ended);
    assert_failed(&servers, "");
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Scripted::model("not asked");
    let location = vec![(
        "location",
        format!("{}/v1/chat/completions", elsewhere.url()),
    )];
    let servers = Servers::replying(Reply::With(307, location, String::new()));
    servers
        .call(&["chat", "--retries", "0", "Hello"])
        .run()
        .code(4);
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn numbers_that_json_does_not_have_are_read_as_null() {
    for number in ["NaN", "Infinity", "-Infinity"] {
        let mut answer = completion("hi NaN");
        answer["choices"][0]["logprobs"] = json!("number");
        answer["usage"]["cost"] = json!("number");
        let body = answer.to_string().replace("\"number\"", number);
        for content_type in ["application/json", "text/event-stream"] {
            let servers = Servers::replying(Reply::Answer(200, content_type, body.clone()));
            let ended = servers
                .call(&["chat", "--record", "r.jsonl", "Hello"])
                .run();
            ended.code(0).stdout("hi NaN\n");
            let generation = servers.trace().generation;
            let output = attribute_json(&generation, "langfuse.observation.output");
            assert_eq!(output["content"], "hi NaN");
            let usage = attribute_json(&generation, "langfuse.observation.usage_details");
            assert_eq!(usage["total"], 58);
            let again = servers
                .call(&["replay", "r.jsonl", "-o", "json"])
                .after(&ended);
            assert_eq!(again.run().code(0).json()["response"]["text"], "hi NaN");
        }
    }
}

#[test]
fn an_answer_without_a_message_is_a_failure() {
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7});
    for choices in [
        json!([]),
        json!([null]),
        json!([{"index": 0, "message": null, "finish_reason": "stop"}]),
        json!([{"index": 0, "finish_reason": "stop"}]),
    ] {
        let body = json!({"id": "c", "model": "m", "choices": choices, "usage": usage});
        let stream = format!("data: {body}\n\ndata: [DONE]\n\n");
        for reply in [
            Reply::json(200, &body),
            Reply::Answer(200, "text/event-stream", stream),
        ] {
            let servers = Servers::replying(reply.clone());
            let ended = servers.call(&["chat", "--stream", "Hello"]).run();
            assert_eq!(ended.code, Some(4), "{reply:?}: {ended:#?}");
            ended.stdout("").stderr_has("no choice has a message");
            assert_said_in_short(&ended);
            assert_eq!(servers.asked().len(), 1);
            // The tokens were paid for.
            let generation = servers.trace().generation;
            let usage = attribute_json(&generation, "langfuse.observation.usage_details");
            assert_eq!(usage["total"], 7);
        }
    }
    let servers = Servers::replying(Reply::events(&[DONE]));
    let ended = servers.call(&["chat", "--stream", "Hello"]).run();
    ended
        .code(4)
        .stdout("")
        .stderr_has("no choice has a message");
}

#[test]
fn an_answer_that_is_no_full_one_gives_one_warning() {
    let answer = |message: Value, reason: &str| {
        let mut body = completion("");
        body["choices"][0]["message"] = message;
        body["choices"][0]["finish_reason"] = reason.into();
        body
    };
    for (body, warning) in [
        (
            answer(json!({"role": "assistant", "content": ""}), "stop"),
            "the answer is empty",
        ),
        (
            answer(json!({"role": "assistant", "content": null}), "stop"),
            "the answer is empty",
        ),
        (
            answer(json!({"role": "assistant", "content": "a"}), "length"),
            "token limit",
        ),
        (
            answer(json!({"role": "assistant", "content": ""}), "length"),
            "token limit",
        ),
        (
            answer(
                json!({"role": "assistant", "content": ""}),
                "content_filter",
            ),
            "content filter",
        ),
        (
            answer(
                json!({"role": "assistant", "content": null, "refusal": "I cannot"}),
                "stop",
            ),
            "refused",
        ),
    ] {
        let servers = Servers::replying(Reply::json(200, &body));
        let ended = servers.call(&["chat", "Hello"]).run();
        ended.code(0).stderr_has(warning);
        assert_eq!(ended.stderr.matches("warning:").count(), 1, "{ended:#?}");
        let quiet = servers.call(&["chat", "-q", "Hello"]).run();
        assert_eq!(quiet.code(0).stderr, "");
    }
    let servers = Servers::answering("hi");
    servers
        .call(&["chat", "Hello"])
        .run()
        .code(0)
        .stderr_lacks("warning:");
}

#[test]
fn an_empty_text_is_not_null() {
    for (content, text) in [(json!(""), json!("")), (Value::Null, Value::Null)] {
        let mut body = completion("");
        body["choices"][0]["message"]["content"] = content;
        let servers = Servers::replying(Reply::json(200, &body));
        let ended = servers.call(&["chat", "--json", "Hello"]).run();
        assert_eq!(ended.code(0).json()["response"]["text"], text);
    }
}
