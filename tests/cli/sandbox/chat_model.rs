//! The stand-in for a chat model.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::stand_in::{Answer, Sandbox};

const COMPLETIONS: &str = "/v1/chat/completions";

fn ask(sandbox: &Sandbox, body: &Value) -> Answer {
    sandbox.send(
        "POST",
        COMPLETIONS,
        &[("content-type", "application/json")],
        body.to_string().into_bytes(),
    )
}

fn question() -> Value {
    json!({"model": "some-model", "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Why trace LLM calls?"}]},
    ]})
}

fn with(mut body: Value, more: &Value) -> Value {
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    body
}

/// The JSON of each event, and whether `[DONE]` closed them.
fn events(answer: &Answer) -> (Vec<Value>, bool) {
    assert_eq!(
        (answer.status, answer.content_type.as_str()),
        (200, "text/event-stream")
    );
    let data: Vec<&str> = answer
        .body
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("data: "))
        .collect();
    let done = data.last() == Some(&"[DONE]");
    (
        data.iter()
            .filter_map(|data| serde_json::from_str(data).ok())
            .collect(),
        done,
    )
}

#[test]
fn the_answer_says_what_it_is_and_repeats_the_question() {
    let sandbox = Sandbox::start();
    let answer = ask(&sandbox, &question()).json();
    let message = &answer["choices"][0]["message"];
    let content = message["content"].as_str().unwrap();
    assert!(
        content.contains("stand-in") && content.contains("Why trace LLM calls?"),
        "{content}"
    );
    assert_eq!(message["role"], "assistant");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(
        (&answer["object"], &answer["model"]),
        (&json!("chat.completion"), &json!("some-model"))
    );
    // Four characters to a token: 9 and 20 are 3 and 5.
    let usage = &answer["usage"];
    let completion = content.chars().count().div_ceil(4);
    assert_eq!(usage["prompt_tokens"], 8);
    assert_eq!(usage["completion_tokens"], completion);
    assert_eq!(usage["total_tokens"], 8 + completion);
}

#[test]
fn the_same_request_gets_the_same_answer_with_any_key() {
    let sandbox = Sandbox::start();
    let first = ask(&sandbox, &question()).json();
    let bearer = ("authorization", "Bearer anything");
    let again = sandbox
        .send(
            "POST",
            COMPLETIONS,
            &[bearer],
            question().to_string().into_bytes(),
        )
        .json();
    assert_eq!(first, again);
    let other = ask(&sandbox, &with(question(), &json!({"temperature": 1}))).json();
    assert_ne!(first["id"], other["id"]);
}

#[test]
fn a_long_prompt_is_repeated_in_part() {
    let sandbox = Sandbox::start();
    let body =
        json!({"model": "m", "messages": [{"role": "user", "content": "é ".repeat(3_000_000)}]});
    let content = ask(&sandbox, &body).json()["choices"][0]["message"]["content"].take();
    let content = content.as_str().unwrap();
    assert!(
        content.contains("é é") && content.contains('…') && content.chars().count() < 300,
        "{content}"
    );
}

#[test]
fn a_stream_carries_the_same_text_in_pieces() {
    let sandbox = Sandbox::start();
    let plain = ask(&sandbox, &question()).json();
    let (chunks, done) = events(&ask(&sandbox, &with(question(), &json!({"stream": true}))));
    assert!(done);
    let choice = |chunk: &Value| chunk["choices"][0].clone();
    let pieces: Vec<&str> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert!(pieces.len() > 3, "{pieces:?}");
    assert_eq!(
        pieces.concat(),
        plain["choices"][0]["message"]["content"].as_str().unwrap()
    );
    assert_eq!(choice(&chunks[0])["delta"]["role"], "assistant");
    assert_eq!(choice(chunks.last().unwrap())["finish_reason"], "stop");
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk["object"] == "chat.completion.chunk")
    );
    assert!(
        chunks.iter().all(|chunk| chunk.get("usage").is_none()),
        "nobody asked for the usage"
    );
}

#[test]
fn a_stream_ends_with_the_usage_when_asked() {
    let sandbox = Sandbox::start();
    let asked = json!({"stream": true, "stream_options": {"include_usage": true}});
    let (chunks, _) = events(&ask(&sandbox, &with(question(), &asked)));
    let (last, others) = chunks.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"], ask(&sandbox, &question()).json()["usage"]);
    assert!(
        others
            .iter()
            .all(|chunk| chunk["usage"] == Value::Null && !chunk["choices"][0].is_null())
    );
}

#[test]
fn several_choices_differ_and_are_all_counted() {
    let sandbox = Sandbox::start();
    let three = with(question(), &json!({"n": 3}));
    let answer = ask(&sandbox, &three).json();
    let choices = answer["choices"].as_array().unwrap();
    assert_eq!(
        choices
            .iter()
            .map(|choice| choice["index"].as_u64().unwrap())
            .collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert_ne!(choices[0]["message"], choices[1]["message"]);
    let one = ask(&sandbox, &question()).json();
    assert!(
        answer["usage"]["completion_tokens"].as_u64() > one["usage"]["completion_tokens"].as_u64()
    );

    let (chunks, _) = events(&ask(&sandbox, &with(three, &json!({"stream": true}))));
    let finished = chunks
        .iter()
        .filter(|chunk| chunk["choices"][0]["finish_reason"] == "stop")
        .count();
    assert_eq!(finished, 3);
}

fn tools(choice: &Value) -> Value {
    let function = |name: &str| {
        json!({"type": "function", "function": {"name": name, "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}, "unit": {"enum": ["c"]}},
            "required": ["city", "days"],
        }}})
    };
    json!({"tools": [function("first"), function("second")], "tool_choice": choice})
}

#[test]
fn a_required_tool_is_called_with_what_its_schema_requires() {
    let sandbox = Sandbox::start();
    for (choice, name) in [
        (json!("required"), "first"),
        (
            json!({"type": "function", "function": {"name": "second"}}),
            "second",
        ),
    ] {
        let body = with(question(), &tools(&choice));
        let answer = ask(&sandbox, &body).json();
        let message = &answer["choices"][0]["message"];
        let call = &message["tool_calls"][0];
        assert_eq!(
            (&message["content"], &call["function"]["name"]),
            (&Value::Null, &json!(name))
        );
        let arguments: Value =
            serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
        assert!(
            arguments["city"].is_string()
                && arguments["days"] == 1
                && arguments.get("unit").is_none()
        );
        assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");

        let (chunks, _) = events(&ask(&sandbox, &with(body, &json!({"stream": true}))));
        let parts = chunks
            .iter()
            .map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0]["function"]);
        let streamed: String = parts
            .clone()
            .filter_map(|function| function["arguments"].as_str())
            .collect();
        assert_eq!(serde_json::from_str::<Value>(&streamed).unwrap(), arguments);
        assert_eq!(
            parts
                .filter_map(|function| function["name"].as_str())
                .collect::<Vec<_>>(),
            [name]
        );
        assert_eq!(
            chunks.last().unwrap()["choices"][0]["finish_reason"],
            "tool_calls"
        );
    }
    let free = ask(&sandbox, &with(question(), &tools(&json!("auto")))).json();
    assert_eq!(free["choices"][0]["finish_reason"], "stop");
}

#[test]
fn a_response_format_gets_a_fitting_object() {
    let sandbox = Sandbox::start();
    let schema =
        json!({"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]});
    let format = json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}});
    let answer = ask(&sandbox, &with(question(), &format)).json();
    assert_eq!(
        answer["choices"][0]["message"]["content"],
        r#"{"ok":false}"#
    );
}

#[test]
fn errors_have_the_shape_that_clients_expect() {
    let sandbox = Sandbox::start();
    let unknown = json!({"type": "function", "function": {"name": "third"}});
    for (body, parameter) in [
        ("{".to_owned(), None),
        (json!({"messages": [{}]}).to_string(), Some("model")),
        (json!({"model": "m"}).to_string(), Some("messages")),
        (
            json!({"model": "m", "messages": "hello"}).to_string(),
            Some("messages"),
        ),
        (
            json!({"model": "m", "messages": []}).to_string(),
            Some("messages"),
        ),
        (with(question(), &json!({"n": 0})).to_string(), Some("n")),
        (
            with(question(), &tools(&unknown)).to_string(),
            Some("tool_choice"),
        ),
    ] {
        let answer = sandbox.send("POST", COMPLETIONS, &[], body.clone().into_bytes());
        let error = answer.json()["error"].take();
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(
            (&error["type"], &error["param"]),
            (&json!("invalid_request_error"), &json!(parameter)),
            "{body}"
        );
        let message = error["message"].as_str().unwrap();
        let beginnings = [
            "The body is not valid JSON: ",
            "Missing required parameter: '",
            "Invalid value for '",
        ];
        assert!(
            beginnings.iter().any(|words| message.starts_with(words)),
            "{body}: {message}"
        );
        assert!(error.get("code").is_some(), "{body}");
    }
}

#[test]
fn one_model_is_listed() {
    let list = Sandbox::start().get("/v1/models").json();
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    assert!(list["data"][0]["id"].is_string());
}

#[test]
fn the_delay_comes_before_the_answer() {
    let sandbox = Sandbox::start_with(&["--delay", "300"]);
    for body in [question(), with(question(), &json!({"stream": true}))] {
        let asked = Instant::now();
        assert_eq!(ask(&sandbox, &body).status, 200);
        assert!(asked.elapsed() >= Duration::from_millis(300));
    }
}
