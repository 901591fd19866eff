//! Expectations about answers: exit code 9, the findings in JSON, and the scores that they become.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::harness::{Ended, Langspan, Reply, Scripted, completion};
use crate::support::otlp::{attributes, traces_at};
use crate::support::stand_in::Sandbox;

fn chat(model: &Scripted, sandbox: &Sandbox, arguments: &[&str]) -> Ended {
    let arguments = [&["chat", "--no-stdin", "Hi", "-o", "json"], arguments].concat();
    Langspan::new(&arguments)
        .model_at(model.url())
        .langfuse_at(sandbox.url())
        .run()
}

/// The scores of a trace, by name: their values and comments.
fn scores(sandbox: &Sandbox, trace_id: &str) -> BTreeMap<String, (Value, Value)> {
    let answer = sandbox.get(&format!(
        "/api/public/v3/scores?traceId={trace_id}&fields=core,details,subject&limit=100"
    ));
    let rows = answer.json()["data"].as_array().unwrap().clone();
    let of = |row: &Value| {
        let name = row["name"].as_str().unwrap().to_owned();
        (name, (row["value"].clone(), row["comment"].clone()))
    };
    rows.iter().map(of).collect()
}

#[test]
fn expectations_that_are_met_exit_0_and_become_scores() {
    let (sandbox, model) = (Sandbox::start(), Scripted::model("{\"city\": \"Paris\"}"));
    let arguments = [
        "--expect",
        "Paris",
        "--expect",
        "city",
        "--expect-regex",
        "P[a-z]+s",
        "--expect-not",
        "Rome",
        "--expect-not-regex",
        "R[a-z]+e",
        "--expect-json",
        "--max-latency",
        "60000",
        "--verify",
    ];
    let ended = chat(&model, &sandbox, &arguments);
    ended.code(0).stderr_has("verified: the scores can be read");
    let document = ended.json();
    let findings = document["expectations"].as_array().unwrap();
    let names: Vec<&str> = findings
        .iter()
        .map(|finding| finding["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "contains",
            "contains-2",
            "regex",
            "not-contains",
            "not-regex",
            "json",
            "latency"
        ]
    );
    assert!(
        findings
            .iter()
            .all(|finding| finding["met"] == true && finding["detail"].is_null())
    );
    let trace_id = document["trace"]["id"].as_str().unwrap();
    let scores = scores(&sandbox, trace_id);
    assert_eq!(scores.len(), 7);
    assert!(
        scores
            .values()
            .all(|score| *score == (json!(true), Value::Null))
    );
    // On the root observation.
    let rows = sandbox.observations(trace_id);
    let root = rows
        .iter()
        .find(|row| row["isRootObservation"] == true)
        .unwrap();
    let read = sandbox.get(&format!(
        "/api/public/v3/scores?traceId={trace_id}&observationId={}",
        root["id"].as_str().unwrap()
    ));
    assert_eq!(read.json()["data"].as_array().unwrap().len(), 7);
}

#[test]
fn each_kind_that_is_not_met_exits_9_and_says_what_was_missing() {
    let (sandbox, model) = (Sandbox::start(), Scripted::model("It is Paris."));
    for (arguments, name, detail) in [
        (
            &["--expect", "paris"][..],
            "contains",
            "the answer lacks \"paris\"",
        ),
        (
            &["--expect-regex", "^Paris"],
            "regex",
            "nothing in the answer matches ^Paris",
        ),
        (
            &["--expect-not", "Paris"],
            "not-contains",
            "the answer has \"Paris\"",
        ),
        (
            &["--expect-not-regex", "P[a-z]+"],
            "not-regex",
            "\"Paris\" in the answer matches P[a-z]+",
        ),
        (
            &["--expect-json"],
            "json",
            "the answer is not JSON: expected value at line 1 column 1",
        ),
        (&["--max-call-cost", "0"], "cost", "the cost is not known"),
    ] {
        let ended = chat(&model, &sandbox, arguments);
        ended
            .code(9)
            .stderr_has("error: an expectation was not met: ")
            .stderr_has(detail);
        let document = ended.json();
        assert_eq!(
            (&document["ok"], &document["error"]["kind"]),
            (&json!(false), &json!("expectation"))
        );
        assert_eq!(document["response"]["text"], "It is Paris.");
        assert_eq!(document["trace"]["delivery"], "accepted");
        let finding = &document["expectations"][0];
        assert_eq!(
            (&finding["name"], &finding["met"]),
            (&json!(name), &json!(false))
        );
        let scores = scores(&sandbox, document["trace"]["id"].as_str().unwrap());
        let (value, comment) = &scores[name];
        assert_eq!((value, comment), (&json!(false), &finding["detail"]));
    }
}

#[test]
fn the_cost_comes_from_the_price_table_and_an_unknown_one_is_not_met() {
    let sandbox = Sandbox::start();
    let answering_as = |model: &'static str| {
        Scripted::start(move |_, _| {
            let mut body = completion("Hi");
            body["model"] = model.into();
            Reply::json(200, &body)
        })
    };
    let priced = answering_as("gpt-4o-mini");
    let met = chat(&priced, &sandbox, &["--max-call-cost", "0.5"]);
    met.code(0);
    assert_eq!(met.json()["response"]["cost"], Value::Null);
    let missed = chat(
        &priced,
        &sandbox,
        &["--max-call-cost", "0.000001", "--cost"],
    );
    missed
        .code(9)
        .stderr_has("cost: $0.0000")
        .stderr_has(", more than $0.000001");
    let unpriced = answering_as("no-such-model");
    let unknown = chat(&unpriced, &sandbox, &["--max-call-cost", "0.5"]);
    unknown.code(9).stderr_has("cost: the cost is not known: ");
}

#[test]
fn the_answer_is_checked_against_the_schema() {
    let sandbox = Sandbox::start();
    let schema = json!({
        "type": "object", "properties": {"people": {"type": "array", "items": {"required": ["age"], "properties": {"age": {"type": "integer"}}}}},
    });
    let call = |answer: &str, schema: &str| {
        let model = Scripted::model(answer);
        let call = Langspan::new(&[
            "chat",
            "--no-stdin",
            "Hi",
            "--schema",
            "s.json",
            "-o",
            "json",
        ])
        .model_at(model.url())
        .langfuse_at(sandbox.url());
        call.file("s.json", schema);
        call.run()
    };
    let schema = schema.to_string();
    call("{\"people\": [{\"age\": 7}]}", &schema).code(0);
    let wrong = call("{\"people\": [{\"age\": 7}, {\"age\": \"old\"}]}", &schema);
    wrong
        .code(9)
        .stderr_has("schema: at /people/1/age: \"old\" is not of type integer");
    call("no JSON", &schema)
        .code(9)
        .stderr_has("schema: the answer is not JSON");
    let wrapped = format!("{{\"name\": \"s\", \"schema\": {schema}}}");
    call("{\"people\": 7}", &wrapped)
        .code(9)
        .stderr_has("at /people: 7 is not of type array");
    let unsound = call("{}", "{\"properties\": {\"a\": {\"type\": \"int\"}}}");
    unsound
        .code(2)
        .stderr_has("/properties/a/type")
        .stderr_has("draft 7 or 2020-12");
}

#[test]
fn wrong_expectations_are_refused_before_anything_is_sent() {
    let (sandbox, model) = (Sandbox::start(), Scripted::model("Hi"));
    for (arguments, why) in [
        (
            &["--expect-regex", "("][..],
            "not a valid regular expression",
        ),
        (
            &["--expect-not-regex", "[z-a]"],
            "not a valid regular expression",
        ),
        (&["--expect", ""], "expected a text"),
        (&["--max-latency", "-1"], "expected a whole number"),
        (&["--max-call-cost", "cheap"], "US dollars"),
        (&["--score", "x"], "NAME=VALUE"),
        (&["--score", "x="], "has no value"),
        (
            &["--score", "x=1", "--score", "x=2"],
            "two scores have the name `x`",
        ),
        (
            &["--expect", "a", "--score", "contains=1"],
            "two scores have the name `contains`",
        ),
    ] {
        let arguments = [&["chat", "--no-stdin", "Hi"], arguments].concat();
        let ended = Langspan::new(&arguments)
            .model_at(model.url())
            .langfuse_at(sandbox.url())
            .run();
        ended.code(2).stdout("").stderr_has(why);
    }
    assert_eq!(model.count(), 0);
}

#[test]
fn no_text_of_the_answer_leaves_with_capture_none_and_redactions_hold() {
    let (sandbox, model) = (Sandbox::start(), Scripted::model("my secret word"));
    let arguments = [
        "--expect-not-regex",
        "s[a-z]+t",
        "--expect",
        "4711-x",
        "--capture",
        "none",
        "--redact",
        "47[0-9]+",
    ];
    let ended = chat(&model, &sandbox, &arguments);
    ended.code(9);
    let document = ended.json();
    let scores = scores(&sandbox, document["trace"]["id"].as_str().unwrap());
    assert_eq!(
        scores["not-regex"].1,
        "something in the answer matches s[a-z]+t"
    );
    let comment = scores["contains"].1.as_str().unwrap();
    assert!(
        !comment.contains("4711") && comment.ends_with("-x\""),
        "{comment}"
    );
    // Stdout is the user's own.
    assert_eq!(
        document["expectations"][1]["detail"],
        "\"secret\" in the answer matches s[a-z]+t"
    );
}

#[test]
fn a_failed_call_is_not_judged_and_a_refused_trace_weighs_more() {
    let sandbox = Sandbox::start();
    let failing = Scripted::always(Reply::json(400, &json!({"error": {"message": "no"}})));
    let ended = chat(&failing, &sandbox, &["--expect", "x"]);
    ended.code(4).stderr_lacks("expectation");
    assert_eq!(ended.json()["expectations"], Value::Null);
    let model = Scripted::model("Hi");
    let refused = Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "no"})));
    let call = Langspan::new(&["chat", "--no-stdin", "Hi", "--expect", "x"])
        .model_at(model.url())
        .langfuse_at(refused.url());
    call.run().code(5).stderr_has("an expectation was not met");
}

#[test]
fn a_plain_backend_gets_metadata() {
    let model = Scripted::model("It is Paris.");
    let backend = Scripted::always(Reply::json(200, &json!({})));
    let call = Langspan::new(&[
        "chat",
        "--no-stdin",
        "Hi",
        "--expect",
        "Rome",
        "--expect",
        "Paris",
        "--score",
        "tone=kind",
    ])
    .model_at(model.url())
    .env(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        &format!("{}/v1/traces", backend.url()),
    );
    call.run().code(9);
    assert!(
        backend
            .requests()
            .iter()
            .all(|request| request.path == "/v1/traces")
    );
    let trace = traces_at(&backend).pop().unwrap();
    for span in trace.spans() {
        let attributes = attributes(&span.attributes);
        let metadata =
            |key: &str| attributes[&format!("langfuse.trace.metadata.score.{key}")].clone();
        assert_eq!(metadata("contains"), "false");
        assert_eq!(metadata("contains.comment"), "the answer lacks \"Rome\"");
        assert_eq!(metadata("contains-2"), "true");
        assert_eq!(metadata("tone"), "kind");
    }
}

/// A batch of these lines at the stand-in, which repeats the question.
fn batch(sandbox: &Sandbox, lines: &str, arguments: &[&str]) -> (Ended, Vec<Value>) {
    let arguments = [
        &["batch", "in.jsonl", "--out", "out.jsonl", "--ordered"],
        arguments,
    ]
    .concat();
    let call = Langspan::new(&arguments).at(sandbox);
    call.file("in.jsonl", lines);
    let ended = call.run();
    let out = std::fs::read_to_string(ended.home().join("out.jsonl")).unwrap_or_default();
    let lines = out.lines().map(|line| serde_json::from_str(line).unwrap());
    (ended, lines.collect())
}

const LINES: &str = "{\"prompt\":\"one\",\"expected\":\"one\"}\n{\"prompt\":\"two\",\"expected\":[\"2\",\"two\"]}\n\
                     {\"prompt\":\"three\",\"expected\":\"3\"}\n{\"prompt\":\"four\"}\n";

#[test]
fn lines_have_expected_answers_and_the_summary_counts_each() {
    let sandbox = Sandbox::start();
    let (ended, lines) = batch(
        &sandbox,
        LINES,
        &[
            "--expect",
            "repeat",
            "--expect",
            "e",
            "--summary",
            "s.json",
            "--verify",
        ],
    );
    ended
        .code(9)
        .stderr_has("error: 1 of 4 lines missed an expectation; line 3: expected: ");
    ended.stderr_has("expectations: 3 lines met them, 1 missed (expected: 1)");
    ended.stderr_has("scores: 11 accepted");
    let summary: Value =
        serde_json::from_str(&std::fs::read_to_string(ended.home().join("s.json")).unwrap())
            .unwrap();
    assert_eq!(
        summary["expectations"],
        json!({"lines": 4, "missed_lines": 1, "met": {"contains": 4, "contains-2": 4, "expected": 2}, "missed": {"expected": 1}})
    );
    assert_eq!(
        summary["scores"],
        json!({"accepted": 11, "spooled": 0, "lost": 0})
    );
    assert_eq!(summary["error"]["kind"], "expectation");
    let third = &lines[2]["langspan"];
    let finding = &third["expectations"][2];
    assert_eq!(
        (&finding["name"], &finding["met"]),
        (&json!("expected"), &json!(false))
    );
    assert!(
        finding["detail"]
            .as_str()
            .unwrap()
            .starts_with("expected \"3\", found \"I am langspan")
    );
    let scores = scores(&sandbox, third["trace_id"].as_str().unwrap());
    assert_eq!(scores["expected"].0, false);
    assert_eq!(
        lines[3]["langspan"]["expectations"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn misses_may_be_allowed() {
    let sandbox = Sandbox::start();
    for (allowed, code) in [("0", 9), ("1", 0), ("34%", 0), ("33%", 9)] {
        let (ended, _) = batch(&sandbox, LINES, &["--allow-misses", allowed]);
        ended.code(code).stderr_has("1 missed");
    }
    // A failed line weighs more.
    let (ended, _) = batch(&sandbox, &format!("{LINES}{{}}\n"), &[]);
    ended.code(8);
}

#[test]
fn the_comparison_can_be_chosen() {
    let sandbox = Sandbox::start();
    let model = Scripted::model(" {\"a\": 1.0} ");
    let run = |expected: &str, mode: &str| {
        let call = Langspan::new(&[
            "batch",
            "in.jsonl",
            "--out",
            "out.jsonl",
            "--match-expected",
            mode,
        ])
        .model_at(model.url())
        .langfuse_at(sandbox.url());
        call.file(
            "in.jsonl",
            format!("{{\"prompt\":\"q\",\"expected\":{expected}}}\n"),
        );
        call.run()
    };
    run("\"1.0\"", "contains").code(0);
    run("\"1.0\"", "exact").code(9);
    run("\"{\\\"a\\\": 1.0}\"", "exact").code(0);
    run("{\"a\": 1}", "json").code(0);
    run("[1]", "json").code(9);
    run("null", "json").code(9);
}

#[test]
fn an_expected_answer_of_a_wrong_shape_is_an_invalid_line() {
    let sandbox = Sandbox::start();
    let lines = "{\"prompt\":\"a\",\"expected\":1}\n{\"prompt\":\"b\",\"expected\":[]}\n{\"prompt\":\"c\",\"expected\":[\"c\",2]}\n\
                 {\"prompt\":\"d\",\"expected\":null}\n{\"prompt\":\"e\",\"expected\":\"e\"}\n";
    let (ended, out) = batch(&sandbox, lines, &[]);
    ended.code(8);
    for (line, number) in out[..4].iter().zip(1..) {
        assert_eq!(
            (&line["error"]["code"], &line["langspan"]["line"]),
            (&json!("invalid_line"), &json!(number))
        );
        let message = line["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("`expected` must be a string or an array of strings"),
            "{message}"
        );
    }
    let (strict, _) = batch(&sandbox, lines, &["--strict"]);
    strict.code(2).stderr_has("line 1: `expected` must be");
}

#[test]
fn the_model_does_not_see_what_is_expected() {
    let sandbox = Sandbox::start();
    let model = Scripted::model("Hi");
    let call = Langspan::new(&["batch", "in.jsonl", "--out", "out.jsonl"])
        .model_at(model.url())
        .langfuse_at(sandbox.url());
    call.file(
        "in.jsonl",
        "{\"prompt\":\"a\",\"expected\":\"Hi\"}\n{\"messages\":[{\"role\":\"user\",\"content\":\"b\"}],\"expected\":\"Hi\"}\n\
         {\"custom_id\":\"c\",\"url\":\"/v1/chat/completions\",\"body\":{\"messages\":[]},\"expected\":\"Hi\"}\n",
    );
    call.run().code(0).stderr_has("3 lines met them");
    assert!(
        model
            .requests()
            .iter()
            .all(|request| request.json()["expected"].is_null())
    );
}

#[test]
fn a_resumed_run_counts_the_expectations_of_earlier_lines() {
    let sandbox = Sandbox::start();
    let call = Langspan::new(&["batch", "in.jsonl", "--out", "out.jsonl"]).at(&sandbox);
    call.file("in.jsonl", LINES);
    call.clone().arg("--limit").arg("3").run().code(9);
    let resumed = call.arg("--resume").run();
    resumed
        .code(9)
        .stderr_has("expectations: 2 lines met them, 1 missed (expected: 1)");
}
