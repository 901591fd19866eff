//! Request bodies and batch lines.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::{BODY, TRACE, replay, sent};
use crate::support::dice::Dice;
use crate::support::harness::{Reply, completion};
use crate::support::otlp::{Servers, Trace, traces_at};

/// Past 100 MB, however they are counted.
const TOO_LARGE: u64 = 110_000_000;

fn batch_line(body: &str) -> String {
    format!(r#"{{"custom_id":"r1","method":"POST","url":"/v1/chat/completions","body":{body}}}"#)
}

/// A JSON value of any kind and depth, as other programs write them.
fn any_value(dice: &Dice, depth: u64) -> String {
    const LEAVES: [&str; 18] = [
        "null",
        "true",
        "0",
        "-0",
        "-0.0",
        "1.0",
        "1.10",
        "1E+2",
        "1e-7",
        "12345678901234567890123",
        "0.1000000000000000055",
        r#""""#,
        r#""é 😀""#,
        r#""\u00e9\/\u002f\n""#,
        r#""\ud83d\ude00""#,
        r#""\ud83d""#,
        r#""\u0000\u001b""#,
        r#""a \" b \\""#,
    ];
    let space = dice.pick(&["", "", " ", "\t"]);
    let items = || (0..dice.roll(4)).map(|_| any_value(dice, depth - 1));
    match dice.roll(if depth == 0 { 3 } else { 5 }) {
        3 => format!("[{space}{}]", items().collect::<Vec<_>>().join(",")),
        4 => {
            let fields = items().map(|value| format!("\"{}\":{space}{value}", dice.roll(3)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        _ => dice.pick(&LEAVES).to_owned(),
    }
}

#[test]
fn any_body_is_sent_as_it_was_written() {
    let dice = Dice::new(7);
    let bodies: Vec<String> = (0..300)
        .map(|_| {
            let fields = (0..dice.roll(8)).map(|_| {
                // Few names, so that some are repeated.
                let name = dice.pick(&["user", "x", "é", "stream_options", "tools", "seed"]);
                format!(r#""{name}":{}"#, any_value(&dice, 4))
            });
            let mut fields: Vec<String> = fields.collect();
            let message = format!(r#"{{"role":"user","content":{}}}"#, any_value(&dice, 2));
            let place = dice.below(fields.len() + 1);
            fields.insert(place, format!(r#""messages":[{message}],"model":"m""#));
            format!("{{{}}}", fields.join(","))
        })
        .collect();
    let servers = Servers::answering("hi");
    let call = servers.call(&["replay", "bodies.jsonl"]);
    call.file("bodies.jsonl", bodies.join("\n"));
    call.env("LANGFUSE_TRACING_ENABLED", "false").run().code(0);
    let sent = sent(&servers);
    assert_eq!(sent.len(), bodies.len());
    for (written, sent) in bodies.iter().zip(&sent) {
        assert_eq!(written, sent);
    }
}

#[test]
fn a_body_is_sent_as_it_is() {
    let servers = Servers::answering("hi");
    replay(&servers, BODY, &[])
        .code(0)
        .stdout("hi\n")
        .stderr_has("trace: http");
    assert_eq!(sent(&servers), [BODY]);
}

#[test]
fn a_body_is_read_from_stdin_too() {
    let servers = Servers::answering("hi");
    servers.call(&["replay", "-"]).stdin(BODY).run().code(0);
    assert_eq!(sent(&servers), [BODY]);
}

#[test]
fn a_batch_line_sends_its_body() {
    let servers = Servers::answering("hi");
    replay(&servers, &batch_line(BODY), &[]).code(0);
    assert_eq!(sent(&servers), [BODY]);
}

#[test]
fn every_line_of_jsonl_is_sent_in_order_as_a_trace_of_its_own() {
    let servers = Servers::answering("hi");
    let other = r#"{"model":"m","messages":[]}"#;
    let lines = format!("{BODY}\n\n{}\r\n{other}", batch_line(other));
    replay(&servers, &lines, &[]).code(0);
    assert_eq!(sent(&servers), [BODY, other, other]);
    let mut ids: Vec<_> = traces_at(&servers.langfuse).iter().map(Trace::id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[test]
fn one_document_may_spread_over_lines() {
    let servers = Servers::answering("hi");
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "Hello"}]});
    replay(&servers, &format!("{body:#}\n"), &[]).code(0);
    assert_eq!(servers.body(), body);
}

#[test]
fn stream_is_taken_from_the_body() {
    let events = [
        r#"{"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}"#,
        "[DONE]",
    ];
    let servers = Servers::replying(Reply::events(&events));
    let body = r#"{"messages":[],"stream":true,"model":"m"}"#;
    replay(&servers, body, &[]).code(0).stdout("hi\n");
    assert_eq!(sent(&servers), [body]);
}

#[test]
fn a_missing_model_is_filled_in_last() {
    for (options, model) in [(&[][..], "gpt-4o-mini"), (&["-m", "llama"], "llama")] {
        let servers = Servers::answering("hi");
        replay(&servers, r#"{"messages":[],"seed":1.0}"#, options).code(0);
        assert_eq!(
            sent(&servers),
            [format!(r#"{{"messages":[],"seed":1.0,"model":"{model}"}}"#)]
        );
    }
}

#[test]
fn options_override_fields_only_when_given() {
    let body = r#"{"model":"m","messages":[],"temperature":0.70,"seed":7.0}"#;
    for (options, changed) in [
        (&[][..], json!({})),
        (&["-m", "llama"], json!({"model": "llama"})),
        (&["--temperature", "0.5"], json!({"temperature": 0.5})),
        (&["-p", "seed:=8"], json!({"seed": 8})),
        (&["-p", "user=u"], json!({"user": "u"})),
    ] {
        let servers = Servers::answering("hi");
        replay(&servers, body, options).code(0);
        let mut expected: Value = serde_json::from_str(body).unwrap();
        for (field, value) in changed.as_object().unwrap() {
            expected[field] = value.clone();
        }
        assert_eq!(servers.body(), expected, "{options:?}");
        if changed.get("temperature").is_none() {
            assert!(sent(&servers)[0].contains(r#""temperature":0.70"#));
        }
    }
}

#[test]
fn the_model_of_the_environment_does_not_override() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["replay", "-"]).stdin(BODY);
    call.env("LANGSPAN_MODEL", "of-the-environment")
        .run()
        .code(0);
    assert_eq!(sent(&servers), [BODY]);
}

#[test]
fn malformed_json_is_named_by_line_and_column() {
    let body = r#"{"model":"m","messages":[]}"#;
    for (document, line, column) in [
        (r#"{"messages": [}"#.to_owned(), "line 1", "column 15"),
        ("{\n  \"messages\": [}\n}".to_owned(), "line 2", "column 16"),
        (
            format!("{body}\n{body}\n{{\"messages\": [}}\n"),
            "line 3",
            "column 15",
        ),
    ] {
        let servers = Servers::answering("hi");
        let ended = replay(&servers, &document, &[]);
        ended.code(2).stdout("").stderr_has(line).stderr_has(column);
        assert!(servers.model.requests().is_empty() && servers.langfuse.requests().is_empty());
    }
}

#[test]
fn a_document_that_is_no_request_is_found_before_anything_is_sent() {
    let good = r#"{"model":"m","messages":[]}"#;
    for document in [
        r#"{"model":"m"}"#,
        r#"{"model":"m","messages":"Hello"}"#,
        r#"{"model":"m","messages":{}}"#,
        r"[1]",
        r#""Hello""#,
        "null",
        r#"{"custom_id":"a","method":"POST","url":"/v1/chat/completions"}"#,
        r#"{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{}}"#,
        r#"{"request":{"model":"m"}}"#,
    ] {
        let servers = Servers::answering("hi");
        let ended = replay(&servers, document, &[]);
        assert_eq!(ended.code, Some(2), "{document}: {ended:#?}");
        let ended = replay(&servers, &format!("{good}\n{document}\n"), &[]);
        ended.code(2).stdout("").stderr_has("line 2");
        assert!(servers.model.requests().is_empty());
        assert!(traces_at(&servers.langfuse).is_empty());
    }
}

#[test]
fn a_file_that_cannot_be_read_is_a_file_problem() {
    let servers = Servers::answering("hi");
    // Opening the memory of a process works; reading its first page does not, even for root.
    for file in ["missing.json", ".", "/proc/self/mem"] {
        let ended = servers.call(&["replay", file]).run();
        ended.code(6).stdout("").stderr_has(file);
    }
    let call = servers.call(&["replay", "secret.json"]);
    let file = call.file("secret.json", BODY);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read it all the same.
    if fs::read(&file).is_err() {
        call.run().code(6);
    }
    assert!(servers.model.requests().is_empty());
}

#[test]
fn an_empty_file_is_invalid_input() {
    let servers = Servers::answering("hi");
    for document in ["", "\n \n"] {
        replay(&servers, document, &[]).code(2).stdout("");
    }
    servers.call(&["replay", "-"]).run().code(2);
    assert!(servers.model.requests().is_empty());
}

#[test]
fn a_file_that_is_not_utf_8_is_invalid_input() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["replay", "latin1.json"]);
    call.file(
        "latin1.json",
        b"{\"model\":\"m\",\"messages\":[\"caf\xe9\"]}",
    );
    call.run().code(2).stderr_has("UTF-8");
    assert!(servers.model.requests().is_empty());
}

#[test]
fn a_file_over_100_mb_is_invalid_input() {
    let servers = Servers::answering("hi");
    let call = servers.call(&["replay", "large.json"]);
    let large = fs::File::create(call.home().join("large.json")).unwrap();
    large.set_len(TOO_LARGE).unwrap();
    call.run().code(2).stdout("").stderr_has("100 MB");
}

#[test]
fn options_for_one_trace_are_refused_for_several_documents() {
    let documents = format!("{BODY}\n{BODY}\n");
    for options in [
        &["--trace-id", TRACE][..],
        &["--trace-seed", "my-seed"],
        &[
            "--traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ],
        &["--join"],
    ] {
        let servers = Servers::answering("hi");
        let call = servers
            .call(&[&["replay", "-"], options].concat())
            .stdin(documents.as_bytes());
        let ended = call
            .env(
                "TRACEPARENT",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            )
            .run();
        assert_eq!(ended.code, Some(2), "{options:?}: {ended:#?}");
        assert!(servers.model.requests().is_empty());
    }
}

#[test]
fn a_document_that_fails_does_not_stop_the_others() {
    let failure = Reply::json(400, &json!({"error": {"message": "no such field"}}));
    let good = Reply::json(200, &completion("hi"));
    let servers = Servers::replying_in_turn(vec![good.clone(), failure, good]);
    let ended = replay(&servers, &[BODY; 3].join("\n"), &["-o", "json"]);
    ended.code(4).stderr_has("no such field");
    let outcomes: Vec<_> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["ok"].take())
        .collect();
    assert_eq!(outcomes, [true, false, true]);
    assert_eq!(traces_at(&servers.langfuse).len(), 3);
}
