//! What passes the proxy: bytes as they are and when they come, in both directions.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::exec::{Session, TRACE, exchange, open, row, span};
use crate::support::harness::{Ended, Langspan, Reply, Scripted, completion};
use crate::support::stand_in::Sandbox;

fn question() -> Value {
    json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0.5})
}

/// An endpoint that the test plays itself.
fn endpoint() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    (listener, url)
}

/// A run with this model, and the sandbox that gets its trace.
fn session(model: &str, options: &[&str]) -> (Session, Sandbox) {
    let sandbox = Sandbox::start();
    let call = options
        .iter()
        .fold(Langspan::new(&["exec"]), |call, option| call.arg(option));
    let call = call.model_at(model).langfuse_at(sandbox.url());
    (Session::start(call), sandbox)
}

/// The rows of a run that has ended.
fn rows(session: Session, sandbox: &Sandbox) -> Vec<Value> {
    let ended = session.finish();
    ended.code(0);
    sandbox.observations(&ended.trace_id())
}

#[test]
fn a_stream_comes_chunk_by_chunk() {
    // The model sends its second half only when the first was seen.
    let (listener, url) = endpoint();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        let _ = stream.read(&mut head).unwrap();
        let first = r#"{"id":"c1","model":"m-1","choices":[{"index":0,"delta":{"role":"assistant","content":"Hel"}}]}"#;
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\ndata: {first}\n\n").unwrap();
        wait.recv().unwrap();
        let second = r#"{"choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":"stop"}]}"#;
        let usage = r#"{"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":17,"total_tokens":29}}"#;
        write!(
            stream,
            "data: {second}\n\ndata: {usage}\n\ndata: [DONE]\n\n"
        )
        .unwrap();
    });
    let (session, sandbox) = session(&url, &[]);
    let chat = format!("{}/chat/completions", session.variable("OPENAI_BASE_URL"));
    let mut stream = open("POST", &chat, &[], question().to_string().as_bytes());
    let mut seen = String::new();
    while !seen.contains("Hel") {
        let mut bytes = [0; 1024];
        let read = stream.read(&mut bytes).unwrap();
        assert!(read > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    go.send(()).unwrap();
    stream.read_to_string(&mut seen).unwrap();
    assert!(seen.contains("[DONE]"), "{seen}");
    let rows = rows(session, &sandbox);
    let generation = row(&rows, "chat gpt-4o-mini");
    assert!(
        generation["output"].as_str().unwrap().contains("Hello"),
        "{generation}"
    );
    assert_eq!(generation["usageDetails"]["total"], 29);
    assert!(generation["completionStartTime"].is_string());
}

#[test]
fn a_client_that_leaves_is_seen_and_what_came_is_kept() {
    let (listener, url) = endpoint();
    let (saw_end, end) = std::sync::mpsc::channel::<()>();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 4096];
        let _ = stream.read(&mut bytes).unwrap();
        let first = r#"{"id":"c1","choices":[{"index":0,"delta":{"content":"Hel"}}]}"#;
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {first}\n\n"
        )
        .unwrap();
        while stream.read(&mut bytes).is_ok_and(|read| read > 0) {}
        saw_end.send(()).unwrap();
    });
    let (session, sandbox) = session(&url, &[]);
    let chat = format!("{}/chat/completions", session.variable("OPENAI_BASE_URL"));
    let mut stream = open("POST", &chat, &[], question().to_string().as_bytes());
    let mut seen = String::new();
    while !seen.contains("Hel") {
        let mut bytes = [0; 1024];
        let read = stream.read(&mut bytes).unwrap();
        seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    drop(stream);
    end.recv_timeout(Duration::from_secs(20))
        .expect("the endpoint's connection is closed");
    let rows = rows(session, &sandbox);
    let generation = row(&rows, "chat gpt-4o-mini");
    assert_eq!(generation["level"], "DEFAULT");
    assert_eq!(generation["statusMessage"], "cancelled by the client");
    assert_eq!(generation["output"], "Hel");
}

#[test]
fn a_body_of_thirty_megabytes_passes() {
    let model = Scripted::model("Hello");
    let (session, sandbox) = session(&format!("{}/v1", model.url()), &["--no-media"]);
    let picture = format!("data:image/png;base64,{}", "A".repeat(30 << 20));
    let body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": picture}}]}]});
    assert_eq!(session.ask(&[], &body).status, 200);
    assert!(model.requests()[0].body.len() > 30 << 20);
    let rows = rows(session, &sandbox);
    let input = row(&rows, "chat gpt-4o-mini")["input"].to_string();
    assert!(
        input.contains("image/png") && input.len() < 1000,
        "{}",
        input.len()
    );
}

/// Sends the head of a request; the body is up to the test.
fn begin(url: &str, headers: &str) -> TcpStream {
    let rest = url.strip_prefix("http://").unwrap();
    let (place, path) = rest.split_at(rest.find('/').unwrap());
    let mut stream = TcpStream::connect(place).unwrap();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: {place}\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[test]
fn a_client_that_asks_before_it_sends_is_told_to_go_on() {
    let model = Scripted::model("Hello");
    let (session, sandbox) = session(&format!("{}/v1", model.url()), &[]);
    let chat = format!("{}/chat/completions", session.variable("OPENAI_BASE_URL"));
    let body = question().to_string();
    let head = format!("content-length: {}\r\nexpect: 100-continue\r\n", body.len());
    let mut stream = begin(&chat, &head);
    let mut seen = [0; 25];
    stream.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("Hello"),
        "{answer}"
    );
    row(&rows(session, &sandbox), "chat gpt-4o-mini");
}

#[test]
fn a_request_of_unknown_length_passes_as_it_comes() {
    // The endpoint says so when it has the first half; only then comes the second.
    let (listener, url) = endpoint();
    let (has_half, half) = std::sync::mpsc::channel::<()>();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut seen, mut bytes) = (String::new(), [0; 4096]);
        while !seen.contains("0\r\n\r\n") {
            let read = stream.read(&mut bytes).unwrap();
            assert!(read > 0, "{seen}");
            seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
            if seen.contains("gpt-4o-mini") {
                let _ = has_half.send(());
            }
        }
        let body = completion("Hello").to_string();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
        write!(stream, "{head}: {}\r\n\r\n{body}", body.len()).unwrap();
    });
    let (session, sandbox) = session(&url, &[]);
    let chat = format!("{}/chat/completions", session.variable("OPENAI_BASE_URL"));
    let mut stream = begin(&chat, "transfer-encoding: chunked\r\n");
    let body = question().to_string();
    let (first, second) = body.split_at(body.find("\"messages\"").unwrap());
    write!(stream, "{:x}\r\n{first}\r\n", first.len()).unwrap();
    half.recv_timeout(Duration::from_secs(20)).unwrap();
    write!(stream, "{:x}\r\n{second}\r\n0\r\n\r\n", second.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("Hello"), "{answer}");
    let rows = rows(session, &sandbox);
    let input = row(&rows, "chat gpt-4o-mini")["input"].to_string();
    assert!(input.contains("Hi"), "{input}");
}

#[test]
fn an_azure_program_reaches_its_deployment() {
    let model = Scripted::model("Hello");
    let sandbox = Sandbox::start();
    let call = Langspan::new(&["exec"])
        .env("AZURE_OPENAI_ENDPOINT", model.url())
        .langfuse_at(sandbox.url());
    let session = Session::start(call);
    assert!(!session.has_variable("OPENAI_BASE_URL"));
    let path = "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21";
    let url = format!("{}{path}", session.variable("AZURE_OPENAI_ENDPOINT"));
    let body = json!({"messages": [{"role": "user", "content": "Hi"}]}).to_string();
    let answer = exchange(
        "POST",
        &url,
        &[("api-key", "the-childs-own")],
        body.as_bytes(),
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    let asked = &model.requests()[0];
    assert_eq!(asked.path, path);
    assert_eq!(asked.header("api-key"), "the-childs-own");
    let rows = rows(session, &sandbox);
    row(&rows, "chat my-gpt");
}

/// The events of a stream, with or without counts.
fn events(with_counts: bool) -> Reply {
    let text = r#"{"id":"chatcmpl-1","model":"m-1","choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":"stop"}]}"#;
    let counts = r#"{"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":12,"completion_tokens":17,"total_tokens":29}}"#;
    if with_counts {
        Reply::events(&[text, counts, "[DONE]"])
    } else {
        Reply::events(&[text, "[DONE]"])
    }
}

#[test]
fn counts_that_a_stream_is_asked_for_are_traced_and_not_passed_on() {
    let streaming = || json!({"model": "gpt-4o-mini", "stream": true, "messages": [{"role": "user", "content": "Hi"}]});
    for refuses in [false, true] {
        let model = Scripted::start(move |request, _| {
            let asks = request.json()["stream_options"]["include_usage"] == true;
            if asks && refuses {
                return Reply::json(400, &json!({"error": {"message": "unknown field"}}));
            }
            events(asks)
        });
        let (session, sandbox) = session(&format!("{}/v1", model.url()), &["--stream-usage"]);
        let answer = session.ask(&[("content-type", "application/json")], &streaming());
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.contains("Hello") && answer.body.contains("[DONE]"));
        assert!(!answer.body.contains("\"usage\""), "{answer:?}");
        assert_eq!(model.count(), 1 + usize::from(refuses));
        let rows = rows(session, &sandbox);
        let generation = row(&rows, "chat gpt-4o-mini");
        let total = &generation["usageDetails"]["total"];
        assert_eq!(*total == 29, !refuses, "{generation}");
    }
    let model = Scripted::start(|request, _| events(request.json()["stream_options"].is_object()));
    let (session, sandbox) = session(&format!("{}/v1", model.url()), &[]);
    session.ask(&[], &streaming());
    assert_eq!(model.requests()[0].json(), streaming(), "unchanged unasked");
    let rows = rows(session, &sandbox);
    // What Langfuse would count is the text alone.
    assert_eq!(row(&rows, "chat gpt-4o-mini")["output"], "Hello");
}

#[test]
fn a_reported_stream_without_counts_has_its_answer_as_text() {
    let model = Scripted::always(events(false));
    let (session, sandbox) = session(&format!("{}/v1", model.url()), &[]);
    let mut streaming = question();
    streaming["stream"] = true.into();
    session.ask(&[], &streaming);
    let output = json!({"id": "chatcmpl-1", "choices": [{"message": {"content": "Hello"}}]});
    session.send(&[span(
        TRACE,
        1,
        None,
        "ChatCompletion",
        &json!({"openinference.span.kind": "LLM", "llm.model_name": "m-1", "input.value": "Hi", "output.value": output.to_string()}),
    )]);
    let ended: Ended = session.finish();
    ended.code(0);
    let rows = sandbox.observations(TRACE);
    let generation = row(&rows, "ChatCompletion");
    assert_eq!(
        (&generation["input"], &generation["output"]),
        (&json!("Hi"), &json!("Hello"))
    );
}
