//! The stand-in in the dialects other than chat completions. `tests/model_sdks.sh` has the providers' own SDKs check
//! the shapes; here is what it says in them.

use serde_json::{Value, json};

use crate::support::stand_in::{Answer, Sandbox};

const QUESTION: &str = "Why trace LLM calls?";
const ANTHROPIC_VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");

fn ask(sandbox: &Sandbox, path: &str, body: &Value) -> Answer {
    let headers = [("content-type", "application/json"), ANTHROPIC_VERSION];
    sandbox.send("POST", path, &headers, body.to_string().into_bytes())
}

fn with(mut body: Value, more: &Value) -> Value {
    let fields = body.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    body
}

fn response() -> Value {
    json!({"model": "some-model", "input": QUESTION, "instructions": "Be brief."})
}

fn message() -> Value {
    let question = [json!({"role": "user", "content": QUESTION})];
    json!({"model": "some-model", "max_tokens": 100, "messages": question})
}

/// The data of the events, each of which is named for its type.
fn events(answer: &Answer) -> Vec<Value> {
    let kind = (answer.status, answer.content_type.as_str());
    assert_eq!(kind, (200, "text/event-stream"));
    let event = |text: &str| {
        let (name, data) = text.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        let name = name.strip_prefix("event: ").unwrap();
        assert_eq!(data["type"], name);
        data
    };
    answer.body.trim().split("\n\n").map(event).collect()
}

/// The texts at `field` in the events of this type, joined.
fn joined(events: &[Value], kind: &str, field: &str) -> String {
    let events = events.iter().filter(|event| event["type"] == kind);
    let texts = events.map(|event| event.pointer(field).unwrap().as_str().unwrap());
    texts.collect()
}

#[test]
fn a_response_is_the_same_streamed() {
    let sandbox = Sandbox::start();
    let whole = ask(&sandbox, "/v1/responses", &response()).json();
    let text = &whole["output"][0]["content"][0]["text"];
    assert!(text.as_str().unwrap().contains(QUESTION), "{whole}");
    assert_eq!(
        (&whole["status"], &whole["model"]),
        (&json!("completed"), &json!("some-model"))
    );
    // Four characters to a token: 9 and 20 are 3 and 5.
    assert_eq!(whole["usage"]["input_tokens"], 8);

    let streamed = with(response(), &json!({"stream": true}));
    let events = events(&ask(&sandbox, "/v1/responses", &streamed));
    assert_eq!(
        &joined(&events, "response.output_text.delta", "/delta"),
        text
    );
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.completed");
    assert_eq!(last["response"]["usage"], whole["usage"]);
    assert_eq!(&last["response"]["output"][0]["content"][0]["text"], text);
}

#[test]
fn a_message_is_the_same_streamed() {
    let sandbox = Sandbox::start();
    let whole = ask(&sandbox, "/v1/messages", &message()).json();
    let text = &whole["content"][0]["text"];
    assert!(text.as_str().unwrap().contains(QUESTION), "{whole}");
    assert_eq!(
        (&whole["stop_reason"], &whole["type"]),
        (&json!("end_turn"), &json!("message"))
    );
    assert_eq!(whole["usage"]["input_tokens"], 5);

    let streamed = with(message(), &json!({"stream": true}));
    let events = events(&ask(&sandbox, "/v1/messages", &streamed));
    assert_eq!(&joined(&events, "content_block_delta", "/delta/text"), text);
    let [.., delta, stop] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(
        (&delta["type"], &stop["type"]),
        (&json!("message_delta"), &json!("message_stop"))
    );
    assert_eq!(delta["delta"]["stop_reason"], "end_turn");
    assert_eq!(
        delta["usage"]["output_tokens"],
        whole["usage"]["output_tokens"]
    );
}

#[test]
fn a_token_limit_ends_the_answer_in_the_words_of_each_dialect() {
    let sandbox = Sandbox::start();
    let chat =
        json!({"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2});
    let chat = ask(&sandbox, "/v1/chat/completions", &chat).json();
    assert_eq!(chat["choices"][0]["finish_reason"], "length");
    assert_eq!(chat["choices"][0]["message"]["content"], "I am lan");

    let limited = with(response(), &json!({"max_output_tokens": 2}));
    let response = ask(&sandbox, "/v1/responses", &limited).json();
    assert_eq!(response["status"], "incomplete");
    assert_eq!(
        response["incomplete_details"],
        json!({"reason": "max_output_tokens"})
    );
    let streamed = with(limited, &json!({"stream": true}));
    let events = events(&ask(&sandbox, "/v1/responses", &streamed));
    assert_eq!(events.last().unwrap()["type"], "response.incomplete");

    let limited = with(message(), &json!({"max_tokens": 2}));
    let message = ask(&sandbox, "/v1/messages", &limited).json();
    assert_eq!(message["stop_reason"], "max_tokens");
    assert_eq!(message["usage"]["output_tokens"], 2);
}

#[test]
fn a_required_tool_is_called_in_each_dialect() {
    let sandbox = Sandbox::start();
    let schema =
        json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let tool = json!({"type": "function", "name": "weather", "parameters": schema});
    let asked = with(
        response(),
        &json!({"tools": [tool], "tool_choice": "required"}),
    );
    let call = ask(&sandbox, "/v1/responses", &asked).json()["output"][0].take();
    assert_eq!(
        (&call["type"], &call["name"]),
        (&json!("function_call"), &json!("weather"))
    );
    assert_eq!(call["arguments"], r#"{"city":"example"}"#);
    let streamed = ask(
        &sandbox,
        "/v1/responses",
        &with(asked, &json!({"stream": true})),
    );
    let arguments = joined(
        &events(&streamed),
        "response.function_call_arguments.delta",
        "/delta",
    );
    assert_eq!(arguments, r#"{"city":"example"}"#);

    let tool = json!({"name": "weather", "input_schema": schema});
    let choice = json!({"type": "tool", "name": "weather"});
    let asked = with(message(), &json!({"tools": [tool], "tool_choice": choice}));
    let answer = ask(&sandbox, "/v1/messages", &asked).json();
    let call = &answer["content"][0];
    assert_eq!(
        (&call["type"], &call["input"]),
        (&json!("tool_use"), &json!({"city": "example"}))
    );
    assert_eq!(answer["stop_reason"], "tool_use");
    let streamed = ask(
        &sandbox,
        "/v1/messages",
        &with(asked, &json!({"stream": true})),
    );
    let arguments = joined(
        &events(&streamed),
        "content_block_delta",
        "/delta/partial_json",
    );
    assert_eq!(arguments, r#"{"city":"example"}"#);
}

#[test]
fn a_model_that_is_asked_to_reason_shows_its_thoughts() {
    let sandbox = Sandbox::start();
    let asked = with(
        response(),
        &json!({"reasoning": {"effort": "low", "summary": "auto"}}),
    );
    let answer = ask(&sandbox, "/v1/responses", &asked).json();
    assert_eq!(answer["output"][0]["type"], "reasoning");
    assert!(answer["output"][0]["summary"][0]["text"].is_string());
    let details = &answer["usage"]["output_tokens_details"];
    assert!(details["reasoning_tokens"].as_u64() > Some(0), "{answer}");

    let asked = with(
        message(),
        &json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}),
    );
    let answer = ask(&sandbox, "/v1/messages", &asked).json();
    let kinds = [&answer["content"][0]["type"], &answer["content"][1]["type"]];
    assert_eq!(kinds, ["thinking", "text"]);
}

#[test]
fn embeddings_come_as_numbers_or_as_their_bytes() {
    let sandbox = Sandbox::start();
    let ask = |more: Value| {
        let body = with(
            json!({"model": "m", "input": ["one", "two"], "dimensions": 4}),
            &more,
        );
        ask(&sandbox, "/v1/embeddings", &body).json()
    };
    let plain = ask(json!({}));
    assert_eq!(
        plain["usage"],
        json!({"prompt_tokens": 2, "total_tokens": 2})
    );
    assert_ne!(plain["data"][0]["embedding"], plain["data"][1]["embedding"]);
    let encoded = ask(json!({"encoding_format": "base64"}));
    let base64 = encoded["data"][0]["embedding"].as_str().unwrap();
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, base64).unwrap();
    let numbers = bytes
        .chunks(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
    assert_eq!(
        json!(numbers.collect::<Vec<_>>()),
        plain["data"][0]["embedding"]
    );
}

#[test]
fn each_dialect_refuses_in_its_own_shape() {
    let sandbox = Sandbox::start();
    for (path, body, parameter) in [
        ("/v1/responses", json!({"input": "x"}), "model"),
        ("/v1/responses", json!({"model": "m"}), "input"),
        (
            "/v1/responses",
            json!({"model": "m", "messages": []}),
            "messages",
        ),
        ("/v1/embeddings", json!({"model": "m"}), "input"),
        (
            "/v1/embeddings",
            json!({"model": "m", "input": ["x", ""]}),
            "input",
        ),
    ] {
        let answer = ask(&sandbox, path, &body);
        let error = answer.json()["error"].take();
        assert_eq!(answer.status, 400, "{path} {body}");
        assert_eq!(error["param"], parameter, "{path} {body}");
        assert_eq!(error["type"], "invalid_request_error");
    }
    let system = json!({"role": "system", "content": "Be brief."});
    for (body, word) in [
        (json!({"model": "m", "messages": [{}]}), "max_tokens"),
        (json!({"model": "m", "max_tokens": 9}), "messages"),
        (
            json!({"model": "m", "max_tokens": 9, "messages": [system]}),
            "system",
        ),
    ] {
        let answer = ask(&sandbox, "/v1/messages", &body);
        let refusal = answer.json();
        assert_eq!((answer.status, &refusal["type"]), (400, &json!("error")));
        assert_eq!(refusal["error"]["type"], "invalid_request_error");
        let message = refusal["error"]["message"].as_str().unwrap();
        assert!(message.contains(word), "{body}: {message}");
    }
    let body = message().to_string().into_bytes();
    let answer = sandbox.send("POST", "/v1/messages", &[], body);
    assert!(
        answer.status == 400 && answer.body.contains("anthropic-version"),
        "{}",
        answer.body
    );
}
