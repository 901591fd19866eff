//! What cannot be replayed, with the reason; and options that make no sense together.

use serde_json::json;

use super::{ID, Place, VERSIONS, generation, question, span, text};
use crate::support::harness::{Langspan, dead_url};

#[test]
fn one_of_several_generations_is_chosen() {
    let (root, left, right) = ("00000000000000a1", "00000000000000b1", "00000000000000c1");
    let name = [text("langfuse.observation.type", "agent")];
    for version in VERSIONS {
        let place = Place::holding(
            version,
            "test",
            &[
                span(root, "", 0, &[]),
                generation(left, root, 1, &question("one")),
                span("00000000000000d1", root, 2, &name),
                generation(right, "00000000000000d1", 3, &question("two")),
            ],
        );
        let page = format!("{}/project/sandbox/traces/{ID}", place.langfuse.url());
        for from in [ID, page.as_str(), &format!("{page}?observation={root}")] {
            let ended = place.replay(from, &[]);
            ended.code(2).stdout("").stderr_has("has 2 generations");
            for id in [left, right, "call", "“one”", "“two”"] {
                ended.stderr_has(id);
            }
            ended.stderr_has(&format!("--from '{ID}?observation={left}'"));
        }
        for (observation, expected) in [
            (left, "one"),
            (right, "two"),
            // The only one below.
            ("00000000000000d1", "two"),
        ] {
            for from in [
                format!("{page}?timestamp=2026&observation={observation}"),
                format!("{ID}?observation={observation}"),
            ] {
                place.replay(&from, &[]).code(0);
                assert_eq!(place.last().1["messages"], question(expected));
            }
        }
        place
            .replay(&format!("{page}?observation=00000000000000ff"), &[])
            .code(2)
            .stderr_has("has no observation 00000000000000ff");
    }
}

#[test]
fn a_trace_without_a_generation_is_refused() {
    let place = Place::holding("v4", "test", &[span("00000000000000a1", "", 0, &[])]);
    place
        .replay(ID, &[])
        .code(2)
        .stderr_has("has no generation: no model was called");
}

#[test]
fn content_that_was_not_kept_is_not_asked() {
    for version in VERSIONS {
        let place = Place::start(version);
        let chat = ["chat", "--no-stdin", "-s", "short", "a longer question"];
        let traced = |options: &[&str]| place.traced(&[&chat[..], options].concat());
        for (options, why) in [
            (
                &["--capture", "none"][..],
                "it was traced with --capture none",
            ),
            (
                &["--capture", "truncate=8"],
                "its texts were cut when traced (--capture truncate=8)",
            ),
        ] {
            let old = traced(options);
            for row in place.rows(&old) {
                assert_eq!(row["metadata"]["capture"], options[1], "{row:#}");
            }
            let asked = place.model.count();
            let ended = place.replay(&old, &[]);
            ended.code(2).stdout("").stderr_has(why).stderr_has(&old);
            let lines = place.replay(&old, &["-o", "jsonl"]);
            lines.code(2).stdout("").stderr_has(why);
            assert_eq!(place.model.count(), asked, "nothing is sent");
        }
        // Nothing was cut.
        let old = traced(&["--capture", "truncate=17"]);
        place.replay(&old, &[]).code(0);
        assert_eq!(
            place.last().1["messages"][1]["content"],
            "a longer question"
        );
        // The ellipsis is the user's own.
        let old = place.traced(&["chat", "--no-stdin", "and so…"]);
        assert_eq!(place.rows(&old)[0]["metadata"].get("capture"), None);
        place.replay(&old, &[]).code(0);
        assert_eq!(place.last().1["messages"], question("and so…"));
    }
}

#[test]
fn redacted_text_is_asked_as_it_stands_with_a_warning() {
    let place = Place::start("v4");
    let old = place.traced(&[
        "chat",
        "--no-stdin",
        "--redact",
        "[a-z]+@[a-z.]+",
        "Write to ada@example.com",
    ]);
    let ended = place.replay(&old, &[]);
    ended
        .code(0)
        .stderr_has("1 passage of a generation was redacted when traced, and asked as [redacted]");
    assert_eq!(place.last().1["messages"], question("Write to [redacted]"));
}

#[test]
fn inputs_without_messages_are_refused_with_the_reason() {
    for (input, why) in [
        (
            json!({"contents": [{"parts": []}]}),
            "it used Gemini's own API, which is not supported",
        ),
        (
            json!({"prompt": "once upon"}),
            "it used the older completions, which is not supported",
        ),
        (
            json!({"question": "q", "context": 1}),
            "its input is an object without messages: question, context",
        ),
        (json!([]), "its list of messages is empty"),
        (json!([1, 2]), "its input is a list, but not of messages"),
        (json!({"messages": []}), "its list of messages is empty"),
    ] {
        let place = Place::holding(
            "v4",
            "test",
            &[generation("00000000000000a1", "", 0, &input)],
        );
        let ended = place.replay(ID, &[]);
        ended
            .code(2)
            .stdout("")
            .stderr_has(why)
            .stderr_has("00000000000000a1");
        assert_eq!(place.model.count(), 0);
    }
    let mut completions = generation("00000000000000a1", "", 0, &question("once upon"));
    completions["name"] = "text_completion gpt-3".into();
    let place = Place::holding("v4", "test", &[completions]);
    place
        .replay(ID, &[])
        .code(2)
        .stderr_has("the older completions");
    place.replay(ID, &["--api", "chat"]).code(0);
}

#[test]
fn one_generation_that_cannot_be_asked_stops_its_session_before_anything_is_sent() {
    let place = Place::start("v4");
    for capture in ["full", "none"] {
        place.traced(&[
            "chat",
            "--no-stdin",
            "-S",
            "talk",
            "--capture",
            capture,
            "q",
        ]);
    }
    let asked = place.model.count();
    let ended = place.call(&["replay", "--from-session", "talk"]).run();
    ended.code(2).stdout("").stderr_has("--capture none");
    assert_eq!(place.model.count(), asked);
}

#[test]
fn a_trace_that_cannot_be_read_is_told_as_show_tells_it() {
    for version in VERSIONS {
        let place = Place::start(version);
        let wait = ["--wait", "0.5"];
        place
            .replay(ID, &wait)
            .code(7)
            .stderr_has(&format!("trace {ID} was not found"));
        place.replay("nonsense", &wait).code(2);
        place
            .replay(
                &format!("https://cloud.langfuse.com/project/p/traces/{ID}"),
                &wait,
            )
            .code(3)
            .stderr_has("the trace is on cloud.langfuse.com");
        let call = place.call(&["replay", "--from", ID, "--wait", "0.5"]);
        let wrong = call
            .clone()
            .env("LANGFUSE_SECRET_KEY", "sk-lf-wrong-0123456789");
        wrong.run().code(3);
        let dead = call.env("LANGFUSE_BASE_URL", &dead_url());
        dead.run().code(5);
        assert_eq!(place.model.count(), 0);
    }
    let backend = Langspan::new(&["replay", "--from", ID])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &dead_url())
        .env("OPENAI_BASE_URL", &dead_url());
    backend
        .run()
        .code(3)
        .stderr_has("a plain OTLP backend cannot be asked for a trace");
}

#[test]
fn options_that_make_no_sense_together_are_usage_errors() {
    for (arguments, why) in [
        (&["--from", ID, "file.json"][..], "cannot be used with"),
        (
            &["--from", ID, "--from-session", "s"],
            "cannot be used with",
        ),
        (&["--from", ID, "--send"], "cannot be used with"),
        (&["--from-session", "s", "--again"], "cannot be used with"),
        (&["--from", ID, "--limit", "2"], "--from-session"),
        (
            &["--from", ID, "--batch-input", "a", "--batch-output", "b"],
            "cannot be used with",
        ),
        (
            &["--from", ID, "--dry-run"],
            "--dry-run opens no connection",
        ),
        (
            &["file.json", "-o", "jsonl"],
            "-o jsonl needs requests from Langfuse",
        ),
        (
            &["--from", ID, "-o", "jsonl", "--verify"],
            "--verify has no effect on the lines of -o jsonl",
        ),
        (
            &["--from", ID, "-o", "jsonl", "--record", "r"],
            "--record has no effect",
        ),
        (
            &["--from-session", "s", "-o", "jsonl", "--environment", "e"],
            "--environment has no effect",
        ),
        (
            &["--from", ID, "-o", "jsonl", "--trace-id", ID],
            "--trace-id has no effect",
        ),
    ] {
        let call = Langspan::new(&[&["replay"], arguments].concat())
            .model_at(&dead_url())
            .langfuse_at(&dead_url());
        let ended = call.run();
        ended.code(2).stdout("").stderr_has(why);
    }
    Langspan::new(&["chat", "-o", "jsonl", "Hi"]).run().code(2);
    Langspan::new(&["replay", "--from", ID])
        .langfuse_at(&dead_url())
        .env("LANGSPAN_OUTPUT", "jsonl")
        .run()
        .code(3);
}

#[test]
fn every_span_of_a_program_tells_how_much_of_it_was_kept() {
    let place = Place::start("v4");
    let program = [env!("CARGO_BIN_EXE_langspan"), "chat", "--no-stdin", "q"];
    let exec = ["exec", "--capture", "none", "--verify", "--"];
    let ended = place.call(&[&exec[..], &program].concat()).run();
    ended.code(0);
    let (_, id) = ended.stderr.split_once("/traces/").unwrap();
    let id = id.split_whitespace().next().unwrap();
    let rows = place.rows(id);
    assert!(rows.len() > 1, "{rows:#?}");
    for row in &rows {
        assert_eq!(row["metadata"]["capture"], "none", "{row:#}");
    }
    place
        .replay(id, &[])
        .code(2)
        .stderr_has("it was traced with --capture none");
}
