//! Model calls of the child: passed on as they are, streamed as they come, and in the trace once.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::exec::{Session, TRACE, exchange, open, request, row, span};
use crate::support::harness::{Langspan, Reply, Scripted, completion, dead_url, wait_until};
use crate::support::stand_in::Sandbox;

fn question() -> Value {
    json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0.5})
}

/// A run with this model, and the sandbox that gets its trace.
fn session(model: &str) -> (Session, Sandbox) {
    let sandbox = Sandbox::start();
    let call = Langspan::new(&["exec", "-u", "ada"])
        .model_at(model)
        .langfuse_at(sandbox.url());
    (Session::start(call), sandbox)
}

/// The rows of a run that has ended.
fn rows(session: Session, sandbox: &Sandbox) -> Vec<Value> {
    let ended = session.finish();
    ended.code(0);
    sandbox.observations(&ended.trace_id())
}

#[test]
fn a_call_is_passed_on_unchanged_and_becomes_a_generation() {
    let model = Scripted::model("Hello");
    let (session, sandbox) = session(&format!("{}/v1", model.url()));
    let headers = [
        ("authorization", "Bearer the-childs-own"),
        ("content-type", "application/json"),
        ("x-own", "1"),
        ("accept-encoding", "br"),
        ("expect", "100-continue"),
    ];
    let body = question().to_string();
    let url = format!(
        "{}/chat/completions?a=1",
        session.variable("OPENAI_BASE_URL")
    );
    let answer = exchange("POST", &url, &headers[..4], body.as_bytes());
    assert_eq!(
        (answer.status, answer.body),
        (200, completion("Hello").to_string())
    );
    let asked = &model.requests()[0];
    assert_eq!(asked.path, "/v1/chat/completions?a=1");
    assert_eq!(asked.body, body.as_bytes());
    assert_eq!(asked.header("authorization"), "Bearer the-childs-own");
    assert_eq!(
        (asked.header("x-own"), asked.header("accept-encoding")),
        ("1", "identity")
    );
    assert_eq!(asked.header("traceparent"), "", "requests are not changed");
    let rows = rows(session, &sandbox);
    assert_eq!(rows.len(), 2, "{rows:#?}");
    let generation = row(&rows, "chat gpt-4o-mini");
    assert_eq!(generation["type"], "GENERATION");
    assert_eq!(generation["model"], "gpt-4o-mini-2024-07-18");
    assert_eq!(generation["userId"], "ada");
    assert_eq!(generation["parentObservationId"], row(&rows, "sh")["id"]);
    assert_eq!(generation["usageDetails"]["total"], 58);
    assert_eq!(generation["modelParameters"]["temperature"], 0.5);
    assert!(generation["output"].as_str().unwrap().contains("Hello"));
}

#[test]
fn what_is_no_model_call_passes_through_untraced() {
    let model = Scripted::start(|request, _| match request.path.as_str() {
        "/v1/models" => Reply::json(200, &json!({"data": []})),
        _ => Reply::With(
            302,
            vec![("location", "http://elsewhere/".to_owned())],
            String::new(),
        ),
    });
    let (session, sandbox) = session(&format!("{}/v1", model.url()));
    let base = session.variable("OPENAI_BASE_URL").to_owned();
    assert_eq!(
        exchange("GET", &format!("{base}/models"), &[], b"").body,
        r#"{"data":[]}"#
    );
    let redirect = exchange("GET", &format!("{base}/files"), &[], b"");
    assert_eq!(redirect.status, 302, "{redirect:?}");
    assert!(redirect.head.contains("location: http://elsewhere/"));
    assert_eq!(rows(session, &sandbox).len(), 1);
}

#[test]
fn a_call_is_in_the_journal_before_its_last_byte() {
    let model = Scripted::model("Hello");
    let sandbox = Sandbox::start();
    let call = Langspan::new(&["exec"])
        .model_at(&format!("{}/v1", model.url()))
        .langfuse_at(sandbox.url());
    let session = Session::start(call);
    assert_eq!(session.ask(&[], &question()).status, 200);
    let killed = session.kill();
    Langspan::new(&["resend"])
        .langfuse_at(sandbox.url())
        .beside(&killed)
        .run()
        .code(0);
    let traces = sandbox
        .get("/api/public/v2/observations?fields=core,basic,io&limit=100")
        .json();
    let found = traces["data"].as_array().unwrap();
    assert!(
        found.iter().any(|row| row["type"] == "GENERATION"),
        "{found:#?}"
    );
}

#[test]
fn failed_attempts_are_one_generation_where_the_sdk_counts_them() {
    let model = Scripted::start(|_, count| match count {
        0 | 1 => Reply::json(429, &json!({"error": {"message": "slow down"}})),
        2 => Reply::json(200, &completion("Hello")),
        _ => Reply::json(400, &json!({"error": {"message": "bad request"}})),
    });
    let (session, sandbox) = session(&format!("{}/v1", model.url()));
    for attempt in ["0", "1", "2"] {
        session.ask(&[("x-stainless-retry-count", attempt)], &question());
    }
    let other = json!({"model": "other", "messages": []});
    for _ in 0..2 {
        assert_eq!(session.ask(&[], &other).status, 400);
    }
    let rows = rows(session, &sandbox);
    let generation = row(&rows, "chat gpt-4o-mini");
    assert_eq!(generation["metadata"]["attempts"], 3, "{generation}");
    assert_eq!(generation["level"], "DEFAULT");
    let failed: Vec<&Value> = rows
        .iter()
        .filter(|row| row["name"] == "chat other")
        .collect();
    assert_eq!(failed.len(), 2, "one each without a counter");
    for row in failed {
        assert_eq!(row["level"], "ERROR");
        assert!(
            row["statusMessage"]
                .as_str()
                .unwrap()
                .contains("bad request"),
            "{row}"
        );
    }
}

#[test]
fn an_endpoint_that_cannot_be_reached_is_an_error_in_the_trace() {
    let (session, sandbox) = session(&format!("{}/v1", dead_url()));
    let answer = session.ask(&[], &question());
    assert_eq!(answer.status, 502, "{answer:?}");
    let rows = rows(session, &sandbox);
    let generation = row(&rows, "chat gpt-4o-mini");
    assert_eq!(generation["level"], "ERROR");
    assert!(
        generation["statusMessage"]
            .as_str()
            .unwrap()
            .contains("gave no answer")
    );
}

#[test]
fn a_call_that_the_child_reports_is_there_once_and_filled_in() {
    let model = Scripted::model("Hello");
    let (session, sandbox) = session(&format!("{}/v1", model.url()));
    session.ask(&[], &question());
    // openai-v2 writes model and usage, and no content.
    let attributes = json!({
        "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o-mini", "gen_ai.response.id": "chatcmpl-1",
        "server.address": "127.0.0.1",
    });
    session.send(&[span(TRACE, 1, None, "chat gpt-4o-mini", &attributes)]);
    let rows = rows(session, &sandbox);
    assert_eq!(rows.len(), 2, "{rows:#?}");
    let generation = row(&rows, "chat gpt-4o-mini");
    assert_eq!(generation["id"], "0000000000000001");
    assert!(
        generation["input"].as_str().unwrap().contains("Hi"),
        "{generation}"
    );
    assert!(generation["output"].as_str().unwrap().contains("Hello"));
    assert_eq!(generation["usageDetails"]["total"], 58);
}

#[test]
fn an_unreported_call_hangs_below_the_span_that_its_traceparent_names() {
    let model = Scripted::model("Hello");
    let (session, sandbox) = session(&format!("{}/v1", model.url()));
    let traceparent = format!("00-{TRACE}-{:016x}-01", 7);
    session.ask(&[("traceparent", &traceparent)], &question());
    session.send(&[span(
        TRACE,
        7,
        None,
        "POST",
        &json!({"http.method": "POST"}),
    )]);
    let rows = rows(session, &sandbox);
    assert_eq!(rows.len(), 3, "the HTTP span is no generation: {rows:#?}");
    assert_eq!(
        row(&rows, "chat gpt-4o-mini")["parentObservationId"],
        row(&rows, "POST")["id"]
    );
}

/// A model that speaks three other APIs.
fn of_other_apis() -> Scripted {
    let responses = json!({
        "id": "resp_1", "model": "gpt-4o-mini", "status": "completed",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}],
        "usage": {"input_tokens": 12, "output_tokens": 17, "total_tokens": 29}});
    let embeddings = json!({
        "model": "text-embedding-3-small", "data": [{"embedding": [0.125, 0.2]}],
        "usage": {"prompt_tokens": 5, "total_tokens": 5}});
    let messages = json!({
        "id": "msg_1", "model": "claude-1", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "Salut"}], "usage": {"input_tokens": 3, "output_tokens": 4}});
    Scripted::start(move |request, _| match request.path.as_str() {
        "/v1/responses" => Reply::json(200, &responses),
        "/v1/embeddings" => Reply::json(200, &embeddings),
        "/v1/messages" => Reply::json(200, &messages),
        _ => Reply::Close,
    })
}

#[test]
fn the_other_apis_become_generations_as_well() {
    let (model, sandbox) = (of_other_apis(), Sandbox::start());
    let call = Langspan::new(&["exec"])
        .model_at(&format!("{}/v1", model.url()))
        .env("ANTHROPIC_BASE_URL", model.url())
        .langfuse_at(sandbox.url());
    let session = Session::start(call);
    let ask = |variable: &str, path: &str, body: &Value| {
        let url = format!("{}{path}", session.variable(variable));
        let answer = exchange("POST", &url, &[], body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{path}");
    };
    let question = json!([{"role": "user", "content": "Hi"}]);
    let openai = "OPENAI_BASE_URL";
    ask(
        openai,
        "/responses",
        &json!({"model": "gpt-4o-mini", "input": "Hi"}),
    );
    ask(
        openai,
        "/embeddings",
        &json!({"model": "text-embedding-3-small", "input": "Hi"}),
    );
    ask(
        "ANTHROPIC_BASE_URL",
        "/v1/messages",
        &json!({"model": "claude-1", "max_tokens": 9, "messages": question}),
    );
    let rows = rows(session, &sandbox);
    assert_eq!(rows.len(), 4, "{rows:#?}");
    for (name, kind, total, text) in [
        ("chat gpt-4o-mini", "GENERATION", 29, "Hello"),
        ("embeddings text-embedding-3-small", "EMBEDDING", 5, ""),
        ("chat claude-1", "GENERATION", 7, "Salut"),
    ] {
        let row = row(&rows, name);
        assert_eq!(row["type"], kind);
        assert_eq!(row["usageDetails"]["total"], total, "{row}");
        assert!(row["input"].as_str().unwrap().contains("Hi"), "{row}");
        assert!(
            row["output"].as_str().unwrap_or_default().contains(text),
            "{row}"
        );
        assert!(!row.to_string().contains("0.125"), "no vectors: {row}");
    }
}

#[test]
fn a_request_within_the_grace_is_served_and_a_later_one_refused() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let model = Scripted::start(move |request, _| {
        if request.path.ends_with("/chat/completions") {
            let _ = held.lock().unwrap().recv_timeout(Duration::from_secs(20));
        }
        Reply::json(200, &completion("Hello"))
    });
    let sandbox = Sandbox::start();
    let call = Langspan::new(&["exec", "--grace", "20"])
        .model_at(&format!("{}/v1", model.url()))
        .langfuse_at(sandbox.url());
    let session = Session::start(call);
    let base = session.variable("OPENAI_BASE_URL").to_owned();
    let slow = open(
        "POST",
        &format!("{base}/chat/completions"),
        &[],
        question().to_string().as_bytes(),
    );
    wait_until("the model is asked", || model.count() == 1);
    std::fs::write(session.home().join("go"), "").unwrap();
    let models = format!("{base}/models");
    assert_eq!(
        exchange("GET", &models, &[], b"").status,
        200,
        "within the grace"
    );
    release.send(()).unwrap();
    let rows = rows(session, &sandbox);
    assert!(
        row(&rows, "chat gpt-4o-mini")["output"]
            .to_string()
            .contains("Hello")
    );
    drop(slow);
    let place = base
        .strip_prefix("http://")
        .unwrap()
        .split('/')
        .next()
        .unwrap();
    assert!(
        std::net::TcpStream::connect(place).is_err(),
        "the port is closed"
    );
}

#[test]
fn content_is_left_out_and_redacted_as_everywhere() {
    let model = Scripted::model("Hello Ada");
    let sandbox = Sandbox::start();
    let run = |options: &[&str]| {
        let call = options
            .iter()
            .fold(Langspan::new(&["exec"]), |call, option| call.arg(option));
        let call = call
            .model_at(&format!("{}/v1", model.url()))
            .langfuse_at(sandbox.url());
        let session = Session::start(call);
        session.ask(&[], &question());
        let attributes = json!({"openinference.span.kind": "LLM", "input.value": "Hi", "output.value": "{\"id\":\"chatcmpl-1\",\"x\":\"Hello Ada\"}"});
        session.send(&[span(TRACE, 1, None, "reported", &attributes)]);
        let ended = session.finish();
        ended.code(0);
        sandbox.observations(&ended.trace_id())
    };
    let rows_none = run(&[
        "--capture",
        "none",
        "--trace-id",
        "11111111111111111111111111111111",
    ]);
    assert_eq!(rows_none.len(), 2, "matched all the same: {rows_none:#?}");
    let text = json!(rows_none).to_string();
    assert!(
        !text.contains("Hello Ada") && !text.contains("\"Hi\""),
        "{text}"
    );
    let rows_redacted = run(&[
        "--redact",
        "Ada",
        "--trace-id",
        "22222222222222222222222222222222",
    ]);
    let text = json!(rows_redacted).to_string();
    assert!(
        !text.contains("Hello Ada") && text.contains("Hello [redacted]"),
        "{text}"
    );
}

#[test]
fn metrics_and_logs_are_taken_and_dropped() {
    let sandbox = Sandbox::start();
    let session = Session::start(Langspan::new(&["exec", "-v"]).at(&sandbox));
    let root = session.variable("OTEL_EXPORTER_OTLP_ENDPOINT").to_owned();
    for path in ["/v1/metrics", "/v1/logs", "/v1/logs"] {
        assert_eq!(
            exchange("POST", &format!("{root}{path}"), &[], b"x").status,
            200
        );
    }
    let ended = session.finish();
    assert_eq!(
        ended.stderr.matches("metrics or logs").count(),
        1,
        "{ended:#?}"
    );
    let _ = request("x", &[]);
}
