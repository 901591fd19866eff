//! The model endpoint: what it is asked, which of its answers are answers, and what is asked again.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Value, json};

use crate::support::harness::{Ended, Langspan, Reply, Scripted, completion, dead_url, wait_until};
use crate::support::otlp::{Servers, Trace, attribute, attribute_json, traces_at};

/// A chunk of a stream that brings `text`.
fn piece(text: &str) -> String {
    json!({"id": "c1", "model": "m-1", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]})
        .to_string()
}

const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const DONE: &str = "[DONE]";

/// An answer that a retry may follow at once.
fn again(status: u16) -> Reply {
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("retry-after-ms", "1".to_owned()),
    ];
    let body = json!({"error": {"message": "try later", "type": "server_error", "param": null, "code": null}});
    Reply::With(status, headers, body.to_string())
}

fn good() -> Reply {
    Reply::json(200, &completion("hi"))
}

/// The trace of a failed call: on both spans the error and on the generation zeros, or the server would invent tokens.
#[track_caller]
fn assert_failed(servers: &Servers, message: &str) -> Trace {
    let trace = servers.trace();
    for span in trace.spans() {
        let status = span.status.as_ref().unwrap();
        assert_eq!(status.code(), StatusCode::Error);
        assert!(status.message.contains(message), "{status:?}");
    }
    let usage = attribute_json(&trace.generation, "langfuse.observation.usage_details");
    let usage = usage.as_object().unwrap();
    assert!(
        !usage.is_empty() && usage.values().all(|tokens| *tokens == 0),
        "{usage:?}"
    );
    trace
}

/// At least a cause and a remedy, at most 8 lines.
#[track_caller]
fn assert_said_in_short(ended: &Ended) {
    let lines = ended.stderr.lines().count();
    assert!((2..=8).contains(&lines), "{lines} lines: {ended:#?}");
}

#[test]
fn a_stream_asks_for_its_usage() {
    let servers = Servers::replying(Reply::events(&[&piece("hi"), STOP, DONE]));
    servers
        .call(&["chat", "--stream", "Hello"])
        .run()
        .code(0)
        .stdout("hi\n");
    let body = servers.body();
    assert_eq!(
        (&body["stream"], &body["stream_options"]),
        (&json!(true), &json!({"include_usage": true}))
    );
}

#[test]
fn a_call_into_a_pipe_does_not_stream() {
    let servers = Servers::answering("hi");
    servers.call(&["chat", "Hello"]).run().code(0);
    let body = servers.body();
    assert!(
        body.get("stream_options").is_none() && body["stream"] != true,
        "{body}"
    );
}

#[test]
fn a_server_that_refuses_stream_options_is_asked_again_without_them() {
    let refusals = [
        (
            400,
            json!({"error": {"message": "Unrecognized request argument supplied: stream_options", "type": "invalid_request_error", "param": null, "code": null}}),
        ),
        (
            400,
            json!({"error": {"message": "Unknown parameter", "type": "invalid_request_error", "param": "stream_options", "code": "unknown_parameter"}}),
        ),
        (
            422,
            json!({"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]}),
        ),
    ];
    for (status, body) in refusals {
        let servers = Servers::replying_in_turn(vec![
            Reply::json(status, &body),
            Reply::events(&[&piece("hi"), STOP, DONE]),
        ]);
        let ended = servers
            .call(&["chat", "--stream", "--retries", "0", "--json", "Hello"])
            .run();
        ended.code(0);
        // The repeat is no attempt.
        assert_eq!(ended.json()["response"]["attempts"], 1);
        let asked = servers.asked();
        assert_eq!(asked.len(), 2);
        let repeat = asked[1].json();
        assert!(
            repeat.get("stream_options").is_none() && repeat["stream"] == true,
            "{repeat}"
        );
        let attempts = attribute(
            &servers.trace().generation,
            "langfuse.observation.metadata.attempts",
        );
        assert_eq!(attempts.unwrap(), "(int) 1");
    }
}

#[test]
fn json_in_answer_to_a_stream_is_an_answer() {
    let servers = Servers::answering("hi");
    servers
        .call(&["chat", "--stream", "Hello"])
        .run()
        .code(0)
        .stdout("hi\n");
    assert_eq!(
        attribute(&servers.trace().parent, "output.value").unwrap(),
        "hi"
    );
}

#[test]
fn a_stream_may_be_cut_anywhere_and_hold_comments() {
    let body = format!(
        ": PROCESSING\r\n\r\nevent: x\r\ndata:{}\r\n\r\ndata: {}\n\ndata: {STOP}\n\ndata: [DONE]\n\n",
        piece("hé"),
        piece("llo")
    );
    let mut reply = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    // A chunk for every byte, so that lines and letters are cut.
    for byte in body.bytes() {
        reply.extend([b"1\r\n", &[byte][..], b"\r\n"].concat());
    }
    reply.extend(b"0\r\n\r\n");
    let servers = Servers::replying(Reply::Bytes(reply));
    let call = servers.call(&["chat", "--stream", "Hello"]);
    call.run().code(0).stdout("héllo\n");
}

#[test]
fn a_stream_that_has_said_done_is_whole_however_the_connection_ends() {
    const HEAD: &str =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    for events in [
        format!("data: {}\n\ndata: [DONE]\n\n", piece("hi")),
        format!("data: {}\n\ndata: {STOP}\n\n", piece("hi")),
    ] {
        // The chunk that ends the response never comes.
        let bytes = format!("{HEAD}{:x}\r\n{events}\r\n", events.len()).into_bytes();
        let mut replies = vec![Reply::Bytes(bytes.clone())];
        if events.contains("[DONE]") {
            replies.push(Reply::Stall(bytes));
        }
        for reply in replies {
            let servers = Servers::replying(reply);
            let call = servers.call(&["chat", "--stream", "Hello"]);
            call.run().code(0).stdout("hi\n");
            assert_eq!(servers.asked().len(), 1);
        }
    }
}

#[test]
fn an_error_within_a_stream_fails_the_call_and_keeps_what_came_before() {
    let error =
        r#"{"error":{"message":"the engine is overloaded","type":"server_error","code":null}}"#;
    let servers = Servers::replying(Reply::events(&[&piece("par"), &piece("tial"), error, DONE]));
    let ended = servers.call(&["chat", "--stream", "Hello"]).run();
    ended.code(4).stderr_has("the engine is overloaded");
    // No retry once content was received.
    assert_eq!(servers.asked().len(), 1);
    let trace = assert_failed(&servers, "the engine is overloaded");
    assert_partial(&trace);
}

#[track_caller]
fn assert_partial(trace: &Trace) {
    assert_eq!(attribute(&trace.parent, "output.value").unwrap(), "partial");
    let output = attribute_json(&trace.generation, "langfuse.observation.output");
    assert_eq!(output["content"], "partial");
}

#[test]
fn a_cut_stream_fails_the_call_and_keeps_what_came_before() {
    let events = format!("data: {}\n\n", piece("partial"));
    let cut = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n{events}",
        events.len() + 100
    );
    let servers = Servers::replying(Reply::Bytes(cut.into_bytes()));
    servers.call(&["chat", "--stream", "Hello"]).run().code(4);
    assert_eq!(servers.asked().len(), 1);
    assert_partial(&assert_failed(&servers, ""));
}

#[test]
fn a_stream_without_an_end_is_a_failure() {
    let servers = Servers::replying(Reply::events(&[&piece("partial")]));
    servers.call(&["chat", "--stream", "Hello"]).run().code(4);
    assert_partial(&assert_failed(&servers, ""));
}

#[test]
fn a_stream_that_gave_its_finish_reason_need_not_say_done() {
    let servers = Servers::replying(Reply::events(&[&piece("hi"), STOP]));
    servers
        .call(&["chat", "--stream", "Hello"])
        .run()
        .code(0)
        .stdout("hi\n");
}

#[test]
fn what_may_heal_is_asked_again() {
    for first in [
        again(408),
        again(409),
        again(429),
        again(500),
        again(503),
        Reply::Close,
    ] {
        let servers = Servers::replying_in_turn(vec![first.clone(), good()]);
        let ended = servers.call(&["chat", "--json", "Hello"]).run();
        assert_eq!(ended.code, Some(0), "{first:?}: {ended:#?}");
        assert_eq!(ended.json()["response"]["attempts"], 2);
        assert_eq!(servers.asked().len(), 2);
        let generation = servers.trace().generation;
        let attempts = attribute(&generation, "langfuse.observation.metadata.attempts");
        assert_eq!(attempts.unwrap(), "(int) 2");
    }
}

#[test]
fn every_attempt_sends_the_same() {
    let servers = Servers::replying_in_turn(vec![again(503), good()]);
    servers.call(&["chat", "Hello"]).run().code(0);
    let [first, second]: [_; 2] = servers.asked().try_into().unwrap();
    assert_eq!(first.body, second.body);
    assert_eq!(first.header("traceparent"), second.header("traceparent"));
}

#[test]
fn retries_are_further_attempts() {
    for (arguments, attempts) in [
        (&["chat", "Hello"][..], 3),
        (&["chat", "--retries", "0", "Hello"], 1),
        (&["chat", "--retries", "4", "Hello"], 5),
    ] {
        let servers = Servers::replying(again(503));
        servers
            .call(arguments)
            .run()
            .code(4)
            .stderr_has("503")
            .stderr_has("try later");
        assert_eq!(servers.asked().len(), attempts, "{arguments:?}");
        assert_failed(&servers, "try later");
    }
}

#[test]
fn what_cannot_heal_is_not_asked_again() {
    let error = |status, code: &str| {
        Reply::json(
            status,
            &json!({"error": {"message": "no", "type": "t", "param": null, "code": code}}),
        )
    };
    let forbidden = vec![
        ("x-should-retry", "false".to_owned()),
        ("retry-after-ms", "1".to_owned()),
    ];
    for reply in [
        error(400, "invalid_value"),
        error(401, "invalid_api_key"),
        error(403, "unsupported_country"),
        error(404, "model_not_found"),
        error(422, "x"),
        error(429, "insufficient_quota"),
        Reply::With(503, forbidden, "{}".to_owned()),
        // Nobody waits an hour; to ask earlier would be in vain.
        Reply::With(
            429,
            vec![("retry-after", "3600".to_owned())],
            "{}".to_owned(),
        ),
    ] {
        let servers = Servers::replying(reply.clone());
        let ended = servers.call(&["chat", "Hello"]).run();
        assert_eq!(ended.code, Some(4), "{reply:?}: {ended:#?}");
        assert_eq!(servers.asked().len(), 1, "{reply:?}");
    }
}

#[test]
fn what_an_endpoint_asks_to_repeat_is_repeated_whatever_its_status() {
    let asking = vec![
        ("x-should-retry", "true".to_owned()),
        ("retry-after-ms", "1".to_owned()),
    ];
    let reply = Reply::With(400, asking, "{}".to_owned());
    let servers = Servers::replying_in_turn(vec![reply, good()]);
    servers.call(&["chat", "Hello"]).run().code(0);
    assert_eq!(servers.asked().len(), 2);
}

/// Statuses and waits of the attempts, as the generation has them.
fn attempts(servers: &Servers) -> (Option<Value>, Option<Vec<u64>>) {
    let generation = servers.trace().generation;
    let json = |name: &str| {
        let key = format!("langfuse.observation.metadata.{name}");
        attribute(&generation, &key).map(|text| serde_json::from_str(&text).unwrap())
    };
    let waits = json("attempt_waits_ms").map(|waits| serde_json::from_value(waits).unwrap());
    (json("attempt_statuses"), waits)
}

#[test]
fn the_trace_tells_what_became_of_each_attempt() {
    let limited = Reply::With(
        429,
        vec![("retry-after-ms", "20".to_owned())],
        "{}".to_owned(),
    );
    let replies = vec![again(503), limited, Reply::Close, good()];
    let servers = Servers::replying_in_turn(replies);
    let call = servers.call(&["chat", "--retries", "3", "Hello"]);
    call.run().code(0);
    let (statuses, waits) = attempts(&servers);
    assert_eq!(statuses, Some(json!([503, 429, null, 200])));
    let waits = waits.unwrap();
    assert_eq!(waits[..2], [1, 20]);
    // Where nobody asked for a wait it is half a second, less up to a quarter.
    assert!(
        waits.len() == 3 && (1500..=2000).contains(&waits[2]),
        "{waits:?}"
    );
}

#[test]
fn the_trace_of_a_failed_call_tells_of_its_attempts_too() {
    let servers = Servers::replying(again(503));
    servers.call(&["chat", "Hello"]).run().code(4);
    let (statuses, waits) = attempts(&servers);
    assert_eq!(statuses, Some(json!([503, 503, 503])));
    assert_eq!(waits, Some(vec![1, 1]));
}

#[test]
fn of_a_single_attempt_nothing_more_is_told() {
    let servers = Servers::replying_in_turn(vec![
        Reply::json(
            400,
            &json!({"error": {"message": "no stream_options here"}}),
        ),
        Reply::events(&[&piece("hi"), STOP, DONE]),
    ]);
    servers.call(&["chat", "--stream", "Hello"]).run().code(0);
    assert_eq!(attempts(&servers), (None, None));
}

#[test]
fn a_wait_beyond_the_deadline_is_not_begun() {
    let later = Reply::With(429, vec![("retry-after", "60".to_owned())], "{}".to_owned());
    let servers = Servers::replying(later);
    let begin = Instant::now();
    servers
        .call(&["chat", "--timeout", "30", "Hello"])
        .run()
        .code(4)
        .stderr_has("429");
    assert!(begin.elapsed() < Duration::from_secs(30));
    assert_eq!(servers.asked().len(), 1);
}

#[test]
fn what_a_gateway_says_that_the_call_cost_is_its_cost() {
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
fn the_timeout_bounds_all_attempts() {
    let servers = Servers::replying(Reply::Hang);
    let call = servers.call(&["chat", "--timeout", "1", "--retries", "5", "Hello"]);
    call.run().code(4);
    assert_eq!(servers.asked().len(), 1);
    assert_failed(&servers, "");
}

#[test]
fn the_timeout_bounds_the_whole_stream() {
    let servers = Servers::answering("not asked");
    let arguments = ["chat", "--stream", "--timeout", "1", "Hello"];
    let call = servers
        .call(&arguments)
        .model_at(&stalling_stream(&piece("partial")));
    call.run().code(4);
    assert_partial(&assert_failed(&servers, ""));
}

/// The URL of a model that begins to stream and then says nothing more.
fn stalling_stream(event: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let begun =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {event}\n\n");
    thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in listener.incoming().flatten() {
            // An answer before the question would be none.
            let head = BufReader::new(&stream).lines().map_while(Result::ok);
            head.take_while(|line| !line.is_empty()).for_each(drop);
            let _ = stream.write_all(begun.as_bytes());
            open.push(stream);
        }
    });
    url
}

#[test]
fn an_answer_that_is_none_says_so_in_the_servers_words() {
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
fn a_model_that_nobody_serves_is_a_failed_call_with_a_trace() {
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
fn options_become_fields_of_the_request() {
    let cases: [(&[&str], &str, Value); 10] = [
        (&["-m", "llama"], "/model", json!("llama")),
        (&[], "/model", json!("gpt-4o-mini")),
        (&["--temperature", "0.2"], "/temperature", json!(0.2)),
        (&["--max-tokens", "9"], "/max_tokens", json!(9)),
        (
            &["--system", "Be brief."],
            "/messages/0",
            json!({"role": "system", "content": "Be brief."}),
        ),
        (
            &["--system", "Be brief."],
            "/messages/1",
            json!({"role": "user", "content": "Hello"}),
        ),
        (&["-p", "seed:=7"], "/seed", json!(7)),
        (&["-p", "user=7"], "/user", json!("7")),
        (&["-p", "stop:=[\"a\", \"b\"]"], "/stop", json!(["a", "b"])),
        (&["-p", "note=a:=b"], "/note", json!("a:=b")),
    ];
    for (options, field, value) in cases {
        let servers = Servers::answering("hi");
        let arguments = [&["chat"], options, &["Hello"]].concat();
        servers.call(&arguments).run().code(0);
        assert_eq!(servers.body().pointer(field), Some(&value), "{options:?}");
    }
}

#[test]
fn what_is_not_given_is_not_sent() {
    let servers = Servers::answering("hi");
    servers.call(&["chat", "Hello"]).run();
    assert_eq!(
        servers.body(),
        json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]})
    );
}

#[test]
fn the_model_is_the_options_then_the_environments() {
    for (arguments, model) in [
        (&["chat", "Hello"][..], "of-the-environment"),
        (&["chat", "-m", "of-the-option", "Hello"], "of-the-option"),
    ] {
        let servers = Servers::answering("hi");
        servers
            .call(arguments)
            .env("LANGSPAN_MODEL", "of-the-environment")
            .run();
        assert_eq!(servers.body()["model"], model);
    }
}

#[test]
fn openai_takes_the_most_tokens_under_its_newer_name() {
    let call = Langspan::new(&["chat", "--dry-run", "--max-tokens", "9", "Hello"])
        .env("OPENAI_API_KEY", "sk-0123456789");
    let ended = call.langfuse_at(&dead_url()).run();
    ended.code(0);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(
        said.contains("max_completion_tokens") && !said.contains("max_tokens"),
        "{said}"
    );
}

#[test]
fn azure_is_asked_in_its_own_way() {
    let servers = Servers::answering("hi");
    let call = Langspan::new(&["chat", "-m", "my-deployment", "--max-tokens", "9", "Hello"])
        .langfuse_at(servers.langfuse.url())
        .env("AZURE_OPENAI_ENDPOINT", servers.model.url())
        .env("AZURE_OPENAI_API_KEY", "azure-0123456789")
        .env("OPENAI_API_VERSION", "2024-10-21");
    call.run().code(0).stdout("hi\n");
    let request = servers.model.requests().remove(0);
    assert_eq!(
        request.path,
        "/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21"
    );
    assert_eq!(request.header("api-key"), "azure-0123456789");
    assert_eq!(request.header("authorization"), "");
    assert_eq!(request.json()["max_completion_tokens"], 9);
    let generation = servers.trace().generation;
    assert_eq!(
        attribute(&generation, "gen_ai.provider.name").unwrap(),
        "azure.ai.openai"
    );
}

#[test]
fn a_schema_becomes_the_response_format() {
    let schema = json!({"type": "object", "properties": {"x": {"type": "number"}}});
    let servers = Servers::answering("{}");
    let call = servers.call(&["chat", "--schema", "schema.json", "Hello"]);
    call.file("schema.json", schema.to_string());
    call.run().code(0);
    let format = &servers.body()["response_format"];
    assert_eq!(
        (&format["type"], &format["json_schema"]["schema"]),
        (&json!("json_schema"), &schema)
    );
    assert!(format["json_schema"]["name"].is_string(), "{format}");
}

#[test]
fn a_wrong_schema_or_parameter_is_found_before_anything_is_sent() {
    let servers = Servers::answering("hi");
    let cases: [(&[&str], i32); 7] = [
        (&["--schema", "missing.json"], 6),
        (&["--schema", "."], 6),
        (&["--schema", "broken.json"], 2),
        (&["-p", "seed:=[1"], 2),
        (&["-p", "no-value"], 2),
        (&["--temperature", "warm"], 2),
        (&["--max-tokens", "-1"], 2),
    ];
    for (options, code) in cases {
        let call = servers.call(&[&["chat"], options, &["Hello"]].concat());
        call.file("broken.json", "{");
        let ended = call.run();
        assert_eq!(ended.code, Some(code), "{options:?}: {ended:#?}");
    }
    assert!(servers.model.requests().is_empty());
}

#[test]
fn headers_are_sent_and_without_a_key_no_authorization() {
    let servers = Servers::answering("hi");
    servers
        .call(&["chat", "-H", "X-Title: demo", "-H", "x-two:2", "Hello"])
        .run()
        .code(0);
    let request = servers.asked().remove(0);
    assert_eq!(
        (request.header("x-title"), request.header("x-two")),
        ("demo", "2")
    );
    assert_eq!(request.header("authorization"), "");
    assert_eq!(request.header("content-type"), "application/json");
}

#[test]
fn key_organisation_and_project_are_sent_to_the_model_alone() {
    let servers = Servers::answering("hi");
    let call = servers
        .call(&["chat", "Hello"])
        .env("OPENAI_API_KEY", "sk-0123456789");
    call.env("OPENAI_ORG_ID", "org-1")
        .env("OPENAI_PROJECT_ID", "proj-1")
        .run()
        .code(0);
    let request = servers.asked().remove(0);
    assert_eq!(request.header("authorization"), "Bearer sk-0123456789");
    assert_eq!(request.header("openai-organization"), "org-1");
    assert_eq!(request.header("openai-project"), "proj-1");
    for request in servers.langfuse.requests() {
        assert!(
            request.header("authorization").starts_with("Basic "),
            "{request:#?}"
        );
        assert_eq!(request.header("openai-organization"), "");
    }
}

#[test]
fn the_look_up_runs_while_the_model_works() {
    // The model answers only when the look-up has been seen.
    let seen = Arc::new(AtomicUsize::new(0));
    let at_model = Arc::clone(&seen);
    let model = Scripted::start(move |_, _| {
        wait_until("the look-up came", || at_model.load(Ordering::SeqCst) > 0);
        good()
    });
    let langfuse = Scripted::start(move |request, _| {
        if request.path == "/api/public/projects" {
            seen.fetch_add(1, Ordering::SeqCst);
            return Reply::json(200, &json!({"data": [{"id": "p1", "name": "P"}]}));
        }
        Reply::json(200, &json!({}))
    });
    let servers = Servers { model, langfuse };
    servers
        .call(&["chat", "Hello"])
        .run()
        .code(0)
        .stderr_has("/project/p1/traces/");
}
