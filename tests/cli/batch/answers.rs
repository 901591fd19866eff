//! The output: one line for each input line, and its content.

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::batch::output::{by_number, content, lines, only};
use crate::support::batch::servers::echo;
use crate::support::batch::{RUN, id_of, named_batch, prompt, run_batch};
use crate::support::dice::Dice;
use crate::support::harness::{Reply, Scripted, completion, dead_url};
use crate::support::memory::Memory;
use crate::support::otlp::{Servers, Trace, attribute, traces_at};

/// The keys of an object, sorted.
#[track_caller]
fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

#[track_caller]
fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn an_answered_line_has_the_shape_of_openais_batch() {
    let body = r#"{"id":"c","zeta":1.0,"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"big":12345678901234567890123}"#;
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("x-request-id", "req-7".to_owned()),
    ];
    let servers = Servers::replying(Reply::With(200, headers, body.to_owned()));
    let before = Timestamp::now();
    let ended = run_batch(&servers, r#"{"custom_id":"a","prompt":"q"}"#, &[]);
    ended.code(0);
    let line = only(&ended.stdout);
    assert_eq!(
        keys(&line),
        ["custom_id", "error", "id", "langspan", "response"]
    );
    assert_eq!(
        (&line["custom_id"], &line["error"]),
        (&json!("a"), &Value::Null)
    );
    assert!(line["id"].as_str().unwrap().starts_with("batch_req_"));
    assert_eq!(
        keys(&line["response"]),
        ["body", "request_id", "status_code"]
    );
    assert_eq!(line["response"]["status_code"], 200);
    assert_eq!(line["response"]["request_id"], "req-7");
    // The text of its numbers and the order of its fields are the endpoint's.
    assert!(
        ended.stdout.contains(&format!("\"body\":{body}}}")),
        "{}",
        ended.stdout
    );

    let facts = &line["langspan"];
    let id = id_of(&format!("{RUN}/a"));
    assert_eq!(
        (&facts["line"], &facts["trace_id"]),
        (&json!(1), &json!(id))
    );
    let page = format!("{}/project/p1/traces/{id}", servers.langfuse.url());
    assert_eq!(facts["trace_url"], page);
    let (start, end) = (time(&facts["start_time"]), time(&facts["end_time"]));
    assert!(before <= start && start <= end && end <= Timestamp::now());
    assert_eq!(
        (&facts["time_to_first_token_ms"], &facts["attempts"]),
        (&Value::Null, &json!(1))
    );
    let generation = &servers.trace().generation;
    assert_eq!(
        u128::from(generation.start_time_unix_nano),
        start.as_nanosecond().unsigned_abs()
    );
    assert_eq!(
        u128::from(generation.end_time_unix_nano),
        end.as_nanosecond().unsigned_abs()
    );
}

#[test]
fn an_http_error_keeps_its_status_and_body() {
    let rows = [
        (
            400,
            r#"{"error":{"message":"no such model","code":1.0}}"#,
            r#"{"error":{"message":"no such model","code":1.0}}"#,
        ),
        (500, "<html>\noops</html>", r#""<html>\noops</html>""#),
        (503, "", "\"\""),
        (302, "moved", "\"moved\""),
        (
            404,
            "{\n  \"detail\": \"none\"\n}",
            r#"{   "detail": "none" }"#,
        ),
    ];
    for (status, body, expected) in rows {
        let servers = Servers::replying(Reply::Answer(status, "application/json", body.to_owned()));
        let ended = run_batch(&servers, prompt("q"), &["--retries", "0"]);
        ended.code(8).stderr_has(&format!("(HTTP {status}: 1)"));
        let line = only(&ended.stdout);
        assert_eq!(line["response"]["status_code"], status);
        assert_eq!(line["error"], Value::Null, "{status}");
        assert!(
            ended.stdout.contains(&format!("\"body\":{expected}}}")),
            "{}",
            ended.stdout
        );
        // A failure is a trace as well.
        assert_eq!(
            servers.trace().id(),
            line["langspan"]["trace_id"].as_str().unwrap()
        );
    }
}

#[test]
fn without_an_answer_there_is_an_error_in_its_place() {
    let rows = [
        (Reply::Close, "broken_off"),
        (
            Reply::Answer(200, "text/html", "<html></html>".to_owned()),
            "no_completion",
        ),
        (
            Reply::json(200, &json!({"error": {"message": "overloaded"}})),
            "error_in_answer",
        ),
    ];
    for (reply, code) in rows {
        let servers = Servers::replying(reply);
        let ended = run_batch(&servers, prompt("q"), &["--retries", "0"]);
        let line = only(&ended.code(8).stdout);
        assert_eq!(line["response"], Value::Null, "{line}");
        assert_eq!(keys(&line["error"]), ["code", "message"]);
        assert_eq!(line["error"]["code"], code, "{line}");
        assert_eq!(
            servers.trace().id(),
            line["langspan"]["trace_id"].as_str().unwrap()
        );
    }
    let servers = echo();
    let call = named_batch(&servers, prompt("q"), &["--retries", "0"]).model_at(&dead_url());
    let line = only(&call.run().code(8).stdout);
    assert_eq!(
        (&line["response"], &line["error"]["code"]),
        (&Value::Null, &json!("no_connection"))
    );
}

#[test]
fn a_multi_line_body_is_written_on_one_line() {
    for end in ["\n", "\r\n"] {
        let body = format!("{:#}\n", completion("two\nlines")).replace('\n', end);
        let servers = Servers::replying(Reply::Answer(200, "application/json", body));
        let ended = run_batch(&servers, prompt("q"), &[]);
        let line = only(&ended.code(0).stdout);
        assert_eq!(ended.stdout.matches(['\n', '\r']).count(), 1);
        assert_eq!(line["response"]["body"], completion("two\nlines"));
    }
}

#[test]
fn a_streamed_line_is_written_whole_with_the_time_of_its_first_token() {
    let servers = Servers::replying(Reply::events(&[
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"he"}}]}"#,
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"llo"},"finish_reason":"stop"}]}"#,
        "[DONE]",
    ]));
    let line = only(
        &run_batch(&servers, prompt("q"), &["--stream"])
            .code(0)
            .stdout,
    );
    assert_eq!(content(&line), "hello");
    assert_eq!(line["response"]["status_code"], 200);
    assert!(
        line["langspan"]["time_to_first_token_ms"].is_u64(),
        "{line}"
    );
}

#[test]
fn every_attempt_is_counted() {
    let fails = Reply::json(500, &json!({"error": {"message": "not now"}}));
    let servers = Servers::replying_in_turn(vec![fails, Reply::json(200, &completion("hi"))]);
    let line = only(&run_batch(&servers, prompt("q"), &[]).code(0).stdout);
    assert_eq!(
        (content(&line), &line["langspan"]["attempts"]),
        ("hi", &json!(2))
    );
}

#[test]
fn a_key_that_the_endpoint_repeats_is_not_written() {
    let servers = Servers::with(Scripted::start(|request, _| {
        let key = request.header("authorization").to_owned();
        Reply::json(400, &json!({"error": {"message": key}}))
    }));
    let call = named_batch(&servers, prompt("q"), &[]).env("OPENAI_API_KEY", "sk-0123456789abcdef");
    // The harness looks for the key in everything that the call wrote.
    let line = only(&call.run().code(8).stdout);
    assert!(
        line["response"]["body"]["error"]["message"].is_string(),
        "{line}"
    );
}

#[test]
fn untraced_calls_have_no_page() {
    let servers = echo();
    let call = named_batch(&servers, prompt("q"), &[]).env("LANGFUSE_TRACING_ENABLED", "false");
    let line = only(&call.run().code(0).stdout);
    assert_eq!(
        (content(&line), &line["langspan"]["trace_url"]),
        ("q", &Value::Null)
    );
    assert!(servers.langfuse.requests().is_empty());
}

#[test]
fn each_call_sends_the_traceparent_of_its_trace() {
    let servers = echo();
    run_batch(&servers, format!("{}{}", prompt("a"), prompt("b")), &[]).code(0);
    let traces: HashMap<String, Trace> = traces_at(&servers.langfuse)
        .into_iter()
        .map(|trace| (trace.id(), trace))
        .collect();
    for asked in servers.asked() {
        let parts: Vec<&str> = asked.header("traceparent").split('-').collect();
        let generation = &traces[parts[1]].generation;
        assert_eq!(parts[2], crate::support::otlp::hex(&generation.span_id));
    }
    assert_eq!(traces.len(), 2);
}

#[test]
fn lines_are_written_as_they_are_answered_or_in_their_order_when_asked() {
    // The first line's answer waits for those of the others that may begin: two at once, until more than eight wait.
    const J: usize = 2;
    const BEFORE: usize = 4 * J + 1;
    let input: String = (1..=30).map(|number| prompt(&number.to_string())).collect();
    for (options, is_ordered) in [
        (vec!["-j", "2"], false),
        (vec!["-j", "2", "--ordered"], true),
    ] {
        let asked = AtomicUsize::new(0);
        let model = Scripted::start(move |request, _| {
            let text = request.json()["messages"][0]["content"]
                .as_str()
                .unwrap()
                .to_owned();
            asked.fetch_add(1, Ordering::SeqCst);
            if text != "1" {
                return Reply::json(200, &completion(&text));
            }
            let most = if is_ordered { BEFORE + 1 } else { 30 };
            let begun = Instant::now();
            while asked.load(Ordering::SeqCst) < most && begun.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(2));
            }
            // What would be asked beyond has a moment to come.
            std::thread::sleep(Duration::from_millis(if is_ordered { 100 } else { 0 }));
            let others = asked.load(Ordering::SeqCst) - 1;
            Reply::json(200, &completion(&format!("{others} before")))
        });
        let servers = Servers::with(model);
        let ended = run_batch(&servers, &input, &options);
        let numbers: Vec<u64> = lines(&ended.code(0).stdout)
            .iter()
            .map(|line| line["langspan"]["line"].as_u64().unwrap())
            .collect();
        let found = by_number(&ended.stdout);
        if is_ordered {
            assert_eq!(numbers, (1..=30).collect::<Vec<u64>>());
            assert_eq!(content(&found[&1]), format!("{BEFORE} before"));
        } else {
            assert_eq!(content(&found[&1]), "29 before");
            assert_eq!(numbers.last(), Some(&1));
        }
    }
}

#[test]
fn redacted_text_is_still_sent_and_printed() {
    let servers = echo();
    let line = "{\"custom_id\":\"mine\",\"prompt\":\"call 555-1234 now\"}\n";
    let options = ["--redact", "[0-9]{3}-[0-9]{4}", "--record", "record.jsonl"];
    let ended = run_batch(&servers, line, &options);
    assert_eq!(content(&only(&ended.code(0).stdout)), "call 555-1234 now");
    assert_eq!(servers.prompt(), "call 555-1234 now");
    let trace = servers.trace();
    assert!(!format!("{trace:?}").contains("555-1234"));
    assert!(
        attribute(&trace.parent, "input.value")
            .unwrap()
            .contains("now")
    );
    let record = fs::read_to_string(ended.home().join("record.jsonl")).unwrap();
    assert!(
        !record.contains("555-1234") && record.contains("now"),
        "{record}"
    );

    // The prompt and its echo: each is counted once, recorded or traced or both.
    for options in [
        &["--redact", "[0-9]{3}-[0-9]{4}"][..],
        &["--redact", "[0-9]{3}-[0-9]{4}", "--record", "r.jsonl"],
        &[
            "--redact",
            "[0-9]{3}-[0-9]{4}",
            "--record",
            "r.jsonl",
            "--sample",
            "0",
        ],
    ] {
        let ended = run_batch(&echo(), line, options);
        ended.code(0).stderr_has("redacted: 2 passages\n");
    }

    let servers = echo();
    let ended = run_batch(&servers, line, &["--capture", "none"]);
    assert_eq!(content(&only(&ended.code(0).stdout)), "call 555-1234 now");
    let trace = servers.trace();
    assert_eq!(attribute(&trace.parent, "input.value"), None);
    assert_eq!(attribute(&trace.parent, "output.value"), None);
}

#[test]
fn a_recording_holds_the_image_that_the_trace_leaves_out() {
    let servers = Servers::answering("hi");
    let image = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let parts = json!([
        {"type": "text", "text": "call 555-1234 now"},
        {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{image}")}},
    ]);
    let line = json!({"messages": [{"role": "user", "content": parts}]}).to_string();
    let redact = ["--redact", "[0-9]{3}-[0-9]{4}", "--no-media"];
    let options = [&redact[..], &["--record", "record.jsonl"]].concat();
    let ended = run_batch(&servers, line + "\n", &options);
    ended.code(0);
    let trace = format!("{:?}", servers.trace());
    let record = fs::read_to_string(ended.home().join("record.jsonl")).unwrap();
    assert!(record.contains(image) && !trace.contains(image));
    for text in [record, trace] {
        assert!(!text.contains("555-1234") && text.contains("now"), "{text}");
    }
}

/// How a model fails that fails at random; no way to fail is the commonest.
fn moody(text: &str, roll: u64) -> Reply {
    let fails = |status| Reply::json(status, &json!({"error": {"message": "no luck"}}));
    match roll {
        0 | 1 => fails(500),
        2 => fails(400),
        3 => Reply::Close,
        4 => Reply::Reset,
        5 => Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"id\":".to_vec()),
        6 => Reply::Answer(200, "text/html", "<html></html>".to_owned()),
        _ => Reply::json(200, &completion(text)),
    }
}

#[test]
fn every_input_line_gives_one_output_line_whatever_the_model_does() {
    const LINES: u64 = 2000;
    let dice = Dice::new(11);
    let model = Scripted::start(move |request, _| {
        let text = request.json()["messages"][0]["content"]
            .as_str()
            .unwrap()
            .to_owned();
        moody(&text, dice.roll(20))
    });
    let memory = Memory::default();
    let known = memory.clone();
    let langfuse = Scripted::start(move |request, _| known.answer(request));
    let servers = Servers { model, langfuse };
    let lines: String = (1..=LINES)
        .map(|number| prompt(&format!("q{number}")))
        .collect();
    let options = [
        "-j",
        "32",
        "--retries",
        "1",
        "--allow-errors",
        "50%",
        "-O",
        "out.jsonl",
    ];
    let ended = run_batch(&servers, lines, &options);
    ended.code(0).stdout("");

    let found = by_number(&fs::read_to_string(ended.home().join("out.jsonl")).unwrap());
    assert_eq!(
        found.keys().copied().collect::<Vec<u64>>(),
        (1..=LINES).collect::<Vec<u64>>()
    );
    let mut failed = 0;
    for (number, line) in &found {
        let is_answered = line["response"]["status_code"] == 200 && line["error"].is_null();
        if is_answered {
            assert_eq!(content(line), format!("q{number}"));
        } else {
            failed += 1;
            assert!(
                line["error"].is_object() != line["response"].is_object(),
                "{line}"
            );
        }
    }
    assert!(
        failed > 0 && failed < LINES / 2,
        "{failed} of {LINES} failed"
    );
    ended.stderr_has(&format!(
        "{LINES} lines: {} answered, {failed} failed",
        LINES - failed
    ));
    let counts = memory.all_counts();
    assert_eq!(counts.len() as u64, LINES);
    assert!(counts.values().all(|spans| *spans == [1, 1]));
}
