//! `langspan compare`: two runs of the same items, side by side.

// Experiments in Langfuse.
mod experiments;
// Output files: what is shown of them, and how the run ends.
mod files;
// Runs that cannot be compared.
mod refused;
// Reports for CI services, and widths of the table.
mod reports;

use serde_json::{Value, json};

use crate::support::harness::{Ended, Langspan};

/// A line of an output file: answered in 100 ms by 10 and 5 tokens for $0.001.
fn line(number: u64, id: &str, findings: &[(&str, bool)]) -> Value {
    let expectations: Vec<Value> = findings
        .iter()
        .map(|(name, is_met)| json!({"name": name, "met": is_met, "detail": null}))
        .collect();
    let trace_id = format!("{number:032x}");
    json!({
        "id": "batch_req_1",
        "custom_id": id,
        "response": {"status_code": 200, "request_id": null, "body": {
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        }},
        "error": null,
        "langspan": {
            "line": number,
            "trace_id": trace_id,
            "trace_url": format!("https://langfuse.test/project/p/traces/{trace_id}"),
            "start_time": "2026-01-01T00:00:00Z",
            "end_time": "2026-01-01T00:00:00.1Z",
            "attempts": 1,
            "cost": 0.001,
            "input_digest": format!("{number:016x}"),
            "expectations": expectations,
        },
    })
}

/// The same line without an answer.
fn failed(mut line: Value) -> Value {
    line["response"] = Value::Null;
    line["error"] = json!({"code": "timeout", "message": "no answer"});
    line["langspan"]["expectations"] = json!([]);
    line
}

fn text(lines: &[Value]) -> String {
    let mut lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    lines.push(String::new());
    lines.join("\n")
}

/// A home with the runs `a.jsonl` and `b.jsonl`.
fn runs(a: &[Value], b: &[Value]) -> Langspan {
    let home = Langspan::new(&[]);
    home.file("a.jsonl", text(a));
    home.file("b.jsonl", text(b));
    home
}

fn compare(home: &Langspan, options: &[&str]) -> Ended {
    let arguments = [&["compare", "a.jsonl", "b.jsonl"], options].concat();
    Langspan::new(&arguments)
        .env("COLUMNS", "80")
        .beside(home)
        .run()
}

/// The document of a comparison; the schema describes all of it.
fn document(ended: &Ended) -> Value {
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    crate::support::schema::assert_described(&document, "compare");
    document
}
