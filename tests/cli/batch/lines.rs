//! Input lines: the request and the trace fields of each.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::batch::output::{by_number, content, lines, only};
use crate::support::batch::servers::echo;
use crate::support::batch::{RUN, id_of, id_of_line, named_batch, prompt, run_batch};
use crate::support::harness::{Ended, Langspan};
use crate::support::otlp::{Servers, Trace, attribute, traces_at};

/// Unknown fields, an order of its own, and numbers that no parser would print again.
const BODY: &str = r#"{"zeta":1.0,"top_p":1e0,"messages":[{"role":"user","content":"Hello","extra":0.10}],"model":"m-9","big":12345678901234567890123,"a":{"z":null,"b":-0}}"#;

/// The bodies that the model was asked with, as they were sent.
fn sent(servers: &Servers) -> Vec<String> {
    let asked = servers.asked().into_iter();
    asked
        .map(|request| String::from_utf8(request.body).unwrap())
        .collect()
}

/// What one line is sent as.
#[track_caller]
fn sent_for(line: &str, options: &[&str]) -> String {
    let servers = Servers::answering("hi");
    run_batch(&servers, line, options).code(0);
    let mut sent = sent(&servers);
    assert_eq!(sent.len(), 1, "{sent:?}");
    sent.remove(0)
}

fn ended_with(line: &str) -> (Servers, Ended) {
    let servers = Servers::answering("hi");
    let ended = run_batch(
        &servers,
        line,
        &["-u", "u1", "-S", "s1", "-t", "t1", "-n", "n1"],
    );
    (servers, ended)
}

fn traces_by_prompt(servers: &Servers, text: &str) -> Vec<Trace> {
    let traces = traces_at(&servers.langfuse).into_iter();
    traces
        .filter(|trace| attribute(&trace.parent, "input.value").as_deref() == Some(text))
        .collect()
}

#[test]
fn a_body_is_sent_as_it_is_bare_or_in_a_batch_line() {
    assert_eq!(sent_for(BODY, &[]), BODY);
    let line = format!(
        r#"{{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{BODY},"trace":{{"user":"u"}}}}"#
    );
    assert_eq!(sent_for(&line, &[]), BODY);
    // The order of a line's own fields does not matter.
    let line = format!(r#"{{"body":{BODY},"custom_id":"a"}}"#);
    assert_eq!(sent_for(&line, &[]), BODY);
}

#[test]
fn trace_fields_of_a_bare_body_are_not_sent() {
    let line =
        r#"{"trace":{"user":"u"},"messages":[],"custom_id":"a","model":"m","metadata":{"k":"v"}}"#;
    assert_eq!(
        sent_for(line, &[]),
        r#"{"messages":[],"model":"m","metadata":{"k":"v"}}"#
    );
}

#[test]
fn a_prompt_is_asked_with_the_fields_beside_it() {
    let line = r#"{"prompt":"Why?","temperature":0.50,"custom_id":"a","trace":{"user":"u"}}"#;
    assert_eq!(
        sent_for(line, &["-s", "Be brief."]),
        r#"{"model":"gpt-4o-mini","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Why?"}],"temperature":0.50}"#
    );
    let line = r#"{"prompt":"Why?","model":"m-9"}"#;
    assert_eq!(
        sent_for(line, &[]),
        r#"{"model":"m-9","messages":[{"role":"user","content":"Why?"}]}"#
    );
}

#[test]
fn a_missing_model_is_filled_in_last() {
    let line = r#"{"messages":[],"seed":1}"#;
    assert_eq!(
        sent_for(line, &[]),
        r#"{"messages":[],"seed":1,"model":"gpt-4o-mini"}"#
    );
    let servers = Servers::answering("hi");
    let lines = format!("{line}\n{BODY}\n");
    let call = named_batch(&servers, lines, &["-j", "1"]).env("LANGSPAN_MODEL", "m-env");
    call.run().code(0);
    assert_eq!(
        sent(&servers),
        [r#"{"messages":[],"seed":1,"model":"m-env"}"#, BODY]
    );
}

#[test]
fn options_override_the_fields_of_every_line() {
    let options = [
        "-m",
        "m-1",
        "--temperature",
        "0.3",
        "-p",
        "seed:=7",
        "-p",
        "user=x",
        "--stream",
    ];
    let sent: Value = serde_json::from_str(&sent_for_any(
        r#"{"temperature":1,"messages":[],"model":"m-9","stream":false}"#,
        &options,
    ))
    .unwrap();
    assert_eq!(
        sent,
        json!({"temperature": 0.3, "messages": [], "model": "m-1", "stream": true, "seed": 7, "user": "x",
               "stream_options": {"include_usage": true}})
    );
    assert_eq!(
        sent_for(
            r#"{"prompt":"q","temperature":1}"#,
            &["--temperature", "0.3"]
        ),
        r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"q"}],"temperature":0.3}"#
    );
}

/// What one line is sent as, whatever the answer is worth.
fn sent_for_any(line: &str, options: &[&str]) -> String {
    let servers = Servers::answering("hi");
    run_batch(&servers, line, options);
    sent(&servers).remove(0)
}

#[test]
fn a_batch_line_is_sent_where_its_url_says_or_refused() {
    for url in [
        r#""/v1/chat/completions""#,
        r#""/chat/completions""#,
        r#""https://api.openai.com/v1/chat/completions""#,
        "null",
    ] {
        let line = format!(r#"{{"url":{url},"body":{BODY}}}"#);
        assert_eq!(sent_for(&line, &[]), BODY, "{url}");
    }
    for (url, words) in [
        (r#""/v1/embeddings""#, "not a body for embeddings"),
        (r#""/v1/responses""#, "not a body of the Responses API"),
        (r#""/v1/chat/completions/x""#, "not for any of"),
        (r#""/v1/completions""#, "not for any of"),
        ("7", "not for any of"),
    ] {
        let (servers, ended) = ended_with(&format!(r#"{{"url":{url},"body":{BODY}}}"#));
        ended.code(8);
        let line = only(&ended.stdout);
        assert_eq!(line["error"]["code"], "invalid_line", "{line}");
        let message = line["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{message}");
        assert!(servers.asked().is_empty());
    }
}

#[test]
fn a_line_sets_the_fields_of_its_trace() {
    let servers = Servers::answering("hi");
    let lines = [
        r#"{"prompt":"plain"}"#,
        r#"{"prompt":"all","trace":{"user":"u2","session":"s2","tags":["a","b"],"name":"n2","metadata":{"k":"2","l":"3"}}}"#,
        r#"{"body":{"messages":[{"role":"user","content":"some"}]},"trace":{"user":"u3","tags":[]}}"#,
        r#"{"messages":[{"role":"user","content":"bare"}],"trace":{"session":"s4"}}"#,
        r#"{"prompt":"null","trace":{"user":null,"session":null,"tags":null,"name":null,"metadata":null}}"#,
    ];
    let options = [
        "-u",
        "u1",
        "-S",
        "s1",
        "-t",
        "t1",
        "-n",
        "n1",
        "--metadata",
        "k=1",
        "--metadata",
        "m=1",
    ];
    run_batch(&servers, lines.join("\n"), &options).code(0);
    let rows = [
        ("plain", "u1", "s1", Some("[t1]"), "n1", "1"),
        ("all", "u2", "s2", Some("[a, b]"), "n2", "2"),
        ("some", "u3", "s1", None, "n1", "1"),
        ("bare", "u1", "s4", Some("[t1]"), "n1", "1"),
        ("null", "u1", "s1", Some("[t1]"), "n1", "1"),
    ];
    for (text, user, session, tags, name, metadata) in rows {
        let found = traces_by_prompt(&servers, text);
        assert_eq!(found.len(), 1, "{text}");
        let expected = [
            ("langfuse.user.id", Some(user)),
            ("langfuse.session.id", Some(session)),
            ("langfuse.tags", tags),
            ("langfuse.trace.name", Some(name)),
            ("langfuse.trace.metadata.k", Some(metadata)),
            ("langfuse.trace.metadata.m", Some("1")),
        ];
        for (key, value) in expected {
            for span in found[0].spans() {
                assert_eq!(attribute(span, key).as_deref(), value, "{text}: {key}");
            }
        }
        assert_eq!(found[0].parent.name, name);
    }
    let all = &traces_by_prompt(&servers, "all")[0];
    assert_eq!(
        attribute(&all.generation, "langfuse.trace.metadata.l").as_deref(),
        Some("3")
    );
}

/// Lines that are not requests, and words of their errors.
const INVALID: [(&str, &str); 19] = [
    ("nope", "JSON object"),
    ("[]", "JSON object"),
    ("\"text\"", "JSON object"),
    (r#"{"prompt":"x""#, "column 13"),
    (
        r#"{"prompt":"x"} {"prompt":"y"}"#,
        "trailing characters at column 16",
    ),
    ("{}", "`messages` is missing"),
    (
        r#"{"messages":"x"}"#,
        "`messages` is a string, not an array",
    ),
    (r#"{"prompt":7}"#, "`prompt` must be a string"),
    (r#"{"body":{}}"#, "`messages` is missing"),
    (r#"{"body":7}"#, ""),
    (
        r#"{"custom_id":7,"prompt":"x"}"#,
        "`custom_id` must be a string",
    ),
    (
        r#"{"custom_id":"a","prompt":"x","trace":{"usr":"u"}}"#,
        "unknown field `usr`",
    ),
    (r#"{"prompt":"x","trace":{"user":7}}"#, "expected a string"),
    (
        r#"{"prompt":"x","trace":{"tags":"a"}}"#,
        "expected a sequence",
    ),
    (
        r#"{"prompt":"x","trace":{"tags":[1]}}"#,
        "expected a string",
    ),
    (
        r#"{"prompt":"x","trace":{"metadata":[]}}"#,
        "expected a map",
    ),
    (r#"{"prompt":"x","trace":"u"}"#, ""),
    (
        r#"{"prompt":"x","trace":{"user":"sk-lf-0123456789"}}"#,
        "looks like a Langfuse key",
    ),
    (
        r#"{"prompt":"x","trace":{"metadata":{"k":"sk-lf-0123456789"}}}"#,
        "looks like a Langfuse key",
    ),
];

#[test]
fn an_invalid_line_becomes_only_an_error_line() {
    for (text, words) in INVALID {
        let (servers, ended) = ended_with(text);
        ended.code(8).stderr_has("1 of 1 line failed");
        let line = only(&ended.stdout);
        let message = line["error"]["message"].as_str().unwrap().to_owned();
        let expected = json!({
            "custom_id": null, "response": null,
            "error": {"code": "invalid_line", "message": message},
            "langspan": {"line": 1},
        });
        assert_eq!(line, expected, "{text}");
        assert!(
            message.contains(words) && !message.is_empty(),
            "{text}: {message}"
        );
        // The line number is beside the message; a second one would mislead.
        assert!(!message.contains("line 1"), "{text}: {message}");
        assert!(!ended.stdout.contains("0123456789"));
        assert!(
            servers.asked().is_empty() && servers.langfuse.exports().is_empty(),
            "{text}"
        );
    }
}

#[test]
fn an_invalid_line_does_not_stop_the_others() {
    let servers = echo();
    let lines = format!("nope\n{}[1]\n{}", prompt("a"), prompt("b"));
    let ended = run_batch(&servers, lines, &["--allow-errors", "2"]);
    ended.code(0).stderr_lacks("error:");
    let found = by_number(&ended.stdout);
    assert_eq!(found.len(), 4);
    assert_eq!((content(&found[&2]), content(&found[&4])), ("a", "b"));
    assert_eq!(found[&3]["error"]["code"], "invalid_line");
    assert_eq!(traces_at(&servers.langfuse).len(), 2);
}

#[test]
fn blank_lines_are_skipped_but_counted_with_any_line_ending() {
    let servers = echo();
    let lines = "\u{feff}{\"prompt\":\"one\"}\r\n\r\n   \n\t{\"prompt\":\"four\"} \r\n\n{\"prompt\":\"six\"}";
    let ended = run_batch(&servers, lines, &[]);
    ended.code(0).stderr_has("3 lines: 3 answered, 0 failed");
    let found = by_number(&ended.stdout);
    let texts: Vec<(u64, &str)> = found
        .iter()
        .map(|(line, found)| (*line, content(found)))
        .collect();
    assert_eq!(texts, [(1, "one"), (4, "four"), (6, "six")]);
}

#[test]
fn an_input_without_lines_asks_nothing() {
    for input in ["", "\n", "\u{feff}\r\n \n"] {
        let servers = echo();
        let ended = run_batch(&servers, input, &[]);
        ended
            .code(0)
            .stdout("")
            .stderr_has("0 lines: 0 answered, 0 failed");
        assert!(servers.asked().is_empty());
    }
}

#[test]
fn a_line_that_is_not_utf_8_becomes_an_error_line() {
    let servers = echo();
    let mut lines = b"{\"prompt\":\"caf\xe9\"}\n".to_vec();
    lines.extend(prompt("b").bytes());
    lines.extend(b"\xff\xfe\n");
    let found = by_number(
        &run_batch(&servers, lines, &["--allow-errors", "2"])
            .code(0)
            .stdout,
    );
    assert_eq!(found[&1]["error"]["message"], "invalid UTF-8 at byte 14");
    assert_eq!(content(&found[&2]), "b");
    assert_eq!(found[&3]["error"]["code"], "invalid_line");
}

#[test]
fn a_line_that_is_too_long_becomes_an_error_line() {
    let servers = echo();
    let call = named_batch(&servers, "", &["--allow-errors", "1"]);
    // Zeros that take no room on the disk.
    let mut input = File::options()
        .append(true)
        .open(call.home().join("in.jsonl"))
        .unwrap();
    input.set_len(110_000_000).unwrap();
    input
        .write_all(format!("\n{}", prompt("b")).as_bytes())
        .unwrap();
    let found = by_number(&call.run().code(0).stdout);
    assert_eq!(
        found[&1]["error"]["message"],
        "the line is longer than 100 MB"
    );
    assert_eq!(content(&found[&2]), "b");
}

#[test]
fn a_line_of_ten_megabytes_is_answered() {
    let servers = echo();
    let long = "0123456789".repeat(1_000_000);
    let lines = format!("{}{}{}", prompt("a"), prompt(&long), prompt("c"));
    let ended = run_batch(&servers, lines, &[]);
    let found = by_number(&ended.stdout);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!((content(&found[&1]), content(&found[&3])), ("a", "c"));
    assert!(content(&found[&2]) == long, "another answer");
    assert_eq!(traces_by_prompt(&servers, &long).len(), 1);
    assert_eq!(traces_at(&servers.langfuse).len(), 3);
}

#[test]
fn a_trace_id_follows_from_the_run_and_the_line() {
    let servers = echo();
    let lines = [
        r#"{"custom_id":"a/1","prompt":"one"}"#,
        "",
        r#"{"prompt":"three"}"#,
        r#"{"custom_id":"ü","body":{"messages":[{"role":"user","content":"four"}]}}"#,
        r#"{"custom_id":null,"messages":[{"role":"user","content":"five"}]}"#,
    ];
    let ended = run_batch(&servers, lines.join("\n"), &[]);
    ended.code(0);
    let found = by_number(&ended.stdout);
    let rows = [
        (1, "one", json!("a/1"), id_of(&format!("{RUN}/a/1"))),
        (3, "three", Value::Null, id_of_line(RUN, 3, lines[2])),
        (4, "four", json!("ü"), id_of(&format!("{RUN}/ü"))),
        (5, "five", Value::Null, id_of_line(RUN, 5, lines[4])),
    ];
    for (number, text, custom_id, id) in rows {
        assert_eq!(found[&number]["langspan"]["trace_id"], *id, "{text}");
        assert_eq!(found[&number]["custom_id"], custom_id);
        assert_eq!(traces_by_prompt(&servers, text)[0].id(), id);
    }
}

#[test]
fn a_custom_id_that_occurs_twice_is_one_trace_of_both_calls() {
    let servers = echo();
    let lines =
        "{\"custom_id\":\"a\",\"prompt\":\"one\"}\n{\"custom_id\":\"a\",\"prompt\":\"two\"}\n";
    let ended = run_batch(&servers, lines, &[]);
    ended.code(0);
    assert_eq!(by_number(&ended.stdout).len(), 2);
    let traces = traces_at(&servers.langfuse);
    let ids: Vec<String> = traces.iter().map(Trace::id).collect();
    assert_eq!(ids, [id_of("r1/a"), id_of("r1/a")]);
    assert_ne!(traces[0].parent.span_id, traces[1].parent.span_id);
    assert_ne!(traces[0].generation.span_id, traces[1].generation.span_id);
}

#[test]
fn the_session_defaults_to_the_run() {
    let session = |servers: &Servers, text: &str| {
        attribute(
            &traces_by_prompt(servers, text)[0].generation,
            "langfuse.session.id",
        )
        .unwrap()
    };
    let lines = "{\"prompt\":\"a\"}\n{\"prompt\":\"b\",\"trace\":{\"session\":\"s-line\"}}";
    let servers = echo();
    run_batch(&servers, lines, &[])
        .code(0)
        .stderr_has("/project/p1/sessions/r1\n");
    assert_eq!(
        (session(&servers, "a"), session(&servers, "b")),
        ("r1".into(), "s-line".into())
    );

    let servers = echo();
    run_batch(&servers, lines, &["-S", "s-given"]).code(0);
    assert_eq!(
        (session(&servers, "a"), session(&servers, "b")),
        ("s-given".into(), "s-line".into())
    );

    let servers = echo();
    named_batch(&servers, lines, &[])
        .env("LANGSPAN_SESSION", "s-env")
        .run()
        .code(0);
    assert_eq!(session(&servers, "a"), "s-env");
}

/// The session of the first trace, which is the run's name.
fn run_name(call: &Langspan, servers: &Servers) -> String {
    let ended = call.run();
    ended.code(0);
    let trace = traces_at(&servers.langfuse).remove(0);
    let name = attribute(&trace.parent, "langfuse.session.id").unwrap();
    let id = lines(&ended.stdout)[0]["langspan"]["trace_id"].clone();
    assert_eq!(id, *id_of_line(&name, 1, &prompt("a")));
    name
}

#[test]
fn a_run_is_named_after_its_file_and_its_start() {
    for (file, stem) in [
        ("folder/questions.v2.jsonl", "questions.v2"),
        ("-", "stdin"),
    ] {
        let servers = echo();
        let call = servers.call(&["batch", file]).stdin(prompt("a"));
        fs::create_dir(call.home().join("folder")).unwrap();
        call.file("folder/questions.v2.jsonl", prompt("a"));
        let second = |time: Timestamp| time.strftime("%Y%m%dT%H%M%SZ").to_string();
        let before = second(Timestamp::now());
        let name = run_name(&call.env("TZ", "Asia/Tokyo"), &servers);
        let started = name.strip_prefix(&format!("{stem}-")).unwrap();
        assert!(
            *before <= *started && *started <= *format!("{}-g", second(Timestamp::now())),
            "{name}"
        );
    }
}

#[test]
fn id_and_system_of_a_prompt_are_its_custom_id_and_system_message() {
    let servers = echo();
    let lines = [
        r#"{"id":"q1","system":"be brief","prompt":"one"}"#,
        r#"{"id":7,"prompt":"two"}"#,
        r#"{"id":"q3","custom_id":"c3","prompt":"three"}"#,
    ];
    let ended = run_batch(&servers, lines.join("\n"), &["-j", "1"]);
    ended.code(0);
    let found = by_number(&ended.stdout);
    let ids = [1, 2, 3].map(|number| found[&number]["custom_id"].clone());
    assert_eq!(ids, ["q1", "7", "c3"]);
    assert_eq!(found[&1]["langspan"]["trace_id"], *id_of("r1/q1"));
    let asked = servers.asked();
    assert_eq!(
        asked[0].json()["messages"],
        json!([{"role": "system", "content": "be brief"}, {"role": "user", "content": "one"}])
    );
    for request in asked {
        let body = request.json();
        assert!(
            body.get("id").is_none() && body.get("system").is_none(),
            "{body}"
        );
    }
}

#[test]
fn an_option_overrides_the_body_of_a_line() {
    let servers = echo();
    let line = r#"{"system":"be brief","prompt":"one","temperature":1,"model":"m"}"#;
    let options = ["--system", "be kind", "--temperature", "0", "-m", "other"];
    run_batch(&servers, line, &options).code(0);
    let body = servers.body();
    assert_eq!(body["messages"][0]["content"], "be kind");
    assert_eq!(
        (&body["temperature"], &body["model"]),
        (&json!(0), &json!("other"))
    );
}

#[test]
fn runs_that_start_in_the_same_second_share_no_trace() {
    let servers = echo();
    let names: BTreeSet<String> = (0..3)
        .map(|_| {
            let call = servers.call(&["batch", "-"]).stdin(prompt("a"));
            let ended = call.run();
            ended.code(0);
            let line = &lines(&ended.stdout)[0];
            line["langspan"]["trace_id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(names.len(), 3);
}

#[test]
fn another_file_under_the_same_name_shares_no_trace() {
    let id = |text: &str| {
        let servers = echo();
        let ended = run_batch(&servers, prompt(text), &[]);
        lines(&ended.stdout)[0]["langspan"]["trace_id"].clone()
    };
    assert_ne!(id("a"), id("b"));
    assert_eq!(id("a"), id("a"));
}

#[test]
fn a_body_with_a_field_named_body_is_sent_without_our_fields() {
    let line = r#"{"messages":[{"role":"user","content":"x"}],"body":{"a":1},"trace":{"user":"u"},"custom_id":"c"}"#;
    let (servers, ended) = ended_with(line);
    ended.code(0);
    let sent = servers.body();
    assert!(
        sent.get("trace").is_none() && sent.get("custom_id").is_none(),
        "{sent}"
    );
    assert_eq!(sent["body"], json!({"a": 1}));
}
