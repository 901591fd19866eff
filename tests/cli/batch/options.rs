//! Options of a batch: `--strict`, `--limit`, `--dry-run`, `--record`, `--summary` and the like.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::batch::output::{by_number, content, lines, only};
use crate::support::batch::servers::echo;
use crate::support::batch::{id_of, id_of_line, named_batch, prompt, run_batch};
use crate::support::harness::{Ended, Langspan, Reply, Scripted, completion, wait_until};
use crate::support::otlp::{Servers, traces_at};
use crate::support::untouched::Untouched;

/// Two lines that can be asked, and two that cannot.
const MIXED: &str =
    "{\"custom_id\":\"a\",\"prompt\":\"one\"}\n\nnope\n{\"prompt\":\"two\"}\n{\"prompt\":7}\n";

/// A call with servers that must not be contacted, and its result.
#[track_caller]
fn unsent(arguments: &[&str], input: &str, code: i32) -> Ended {
    let server = Untouched::start();
    let call = Langspan::new(arguments)
        .model_at(server.url())
        .langfuse_at(server.url())
        .stdin(input);
    call.file("in.jsonl", input);
    let ended = call.run();
    ended.code(code);
    server.assert_untouched();
    ended
}

#[test]
fn strict_names_the_wrong_lines_before_anything_is_sent() {
    for file in ["in.jsonl", "-"] {
        let name = if file == "-" { "stdin" } else { file };
        let ended = unsent(&["batch", file, "--strict", "-O", "out.jsonl"], MIXED, 2);
        ended
            .stdout("")
            .stderr_has(&format!("{name}, line 3: expected a JSON object\n"))
            .stderr_has(&format!("{name}, line 5: `prompt` must be a string\n"))
            .stderr_has(&format!("error: {name} has 2 invalid lines\nhint: "));
        assert!(!ended.home().join("out.jsonl").exists());
    }
}

#[test]
fn strict_refuses_a_custom_id_that_occurs_twice() {
    let lines = "{\"custom_id\":\"a\",\"prompt\":\"one\"}\n{\"prompt\":\"x\"}\n{\"prompt\":\"x\"}\n{\"custom_id\":\"a\",\"prompt\":\"two\"}\n";
    unsent(&["batch", "in.jsonl", "--strict"], lines, 2)
        .stderr_has("in.jsonl, line 4: custom_id `a` is already used by an earlier line\n")
        .stderr_has(
            "in.jsonl has 1 line with a repeated custom_id\nhint: give each line its own custom_id",
        );
    let lines = format!("{lines}nope\n");
    unsent(&["batch", "in.jsonl", "--strict"], &lines, 2)
        .stderr_has("in.jsonl has 1 invalid line and 1 line with a repeated custom_id\n");
}

#[test]
fn strict_names_only_the_first_of_many_wrong_lines() {
    let ended = unsent(
        &["batch", "in.jsonl", "--strict"],
        &"nope\n".repeat(1000),
        2,
    );
    ended.stderr_has("has 1000 invalid lines");
    assert!(ended.stderr.lines().count() <= 8, "{ended:#?}");
}

#[test]
fn strict_asks_when_every_line_is_right() {
    for file in ["in.jsonl", "-"] {
        let servers = echo();
        let call = servers
            .call(&["batch", file, "--strict"])
            .stdin(prompt("a"));
        call.file("in.jsonl", prompt("a"));
        let ended = call.run();
        ended.code(0);
        assert_eq!(content(&only(&ended.stdout)), "a");
    }
    // Only the lines of the run count.
    let servers = echo();
    run_batch(&servers, MIXED, &["--strict", "--limit", "1"]).code(0);
}

#[test]
fn limit_counts_only_lines_that_are_not_blank() {
    let servers = echo();
    let ended = run_batch(&servers, MIXED, &["--limit", "3", "--allow-errors", "1"]);
    ended.code(0).stderr_has("3 lines: 2 answered, 1 failed");
    assert_eq!(
        by_number(&ended.stdout)
            .keys()
            .copied()
            .collect::<Vec<u64>>(),
        [1, 3, 4]
    );

    let servers = echo();
    run_batch(&servers, MIXED, &["--limit", "0"])
        .code(0)
        .stdout("");
    assert!(servers.asked().is_empty());
}

#[test]
fn limit_does_not_wait_for_the_line_after_the_last() {
    let servers = echo();
    let call = servers.call(&["batch", "-", "--limit", "1"]);
    let mut child = call.spawn();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(prompt("a").as_bytes()).unwrap();
    // Stdin stays open.
    wait_until("the run ended", || child.try_wait().unwrap().is_some());
    let ended = call.ended(&child.wait_with_output().unwrap());
    ended.code(0);
    assert_eq!(content(&only(&ended.stdout)), "a");
    drop(stdin);
}

#[test]
fn a_dry_run_counts_and_shows_the_first_line() {
    let id = id_of("r1/a");
    let options = ["batch", "in.jsonl", "--run", "r1", "--dry-run", "-u", "u1"];
    let ended = unsent(&[&options[..], &["-O", "out.jsonl"]].concat(), MIXED, 0);
    for text in [
        "2 requests, 2 invalid lines\ninvalid line 3: expected a JSON object\n",
        "line 1:\n",
        "/chat/completions\n",
        &id,
        "langfuse.user.id = u1\n",
        "one",
    ] {
        assert!(ended.stdout.contains(text), "no {text:?}: {}", ended.stdout);
    }
    assert!(!ended.stdout.contains("two"));
    assert!(!ended.home().join("out.jsonl").exists());

    for file in ["in.jsonl", "-"] {
        let options = ["batch", file, "--run", "r1", "--dry-run", "-o", "json"];
        let shown = unsent(&options, MIXED, 0).json();
        assert_eq!(
            (&shown["ok"], &shown["command"]),
            (&json!(true), &json!("batch"))
        );
        assert_eq!(
            shown["lines"],
            json!({
                "requests": 2, "invalid": 2,
                "first_invalid": {"line": 3, "message": "expected a JSON object"},
            })
        );
        assert_eq!(shown["trace"]["id"], id);
        assert_eq!(shown["request"]["body"]["messages"][0]["content"], "one");
    }
    unsent(&["batch", "in.jsonl", "--dry-run"], "", 0).stdout("0 requests, 0 invalid lines\n");
}

#[test]
fn a_dry_run_of_no_request_says_why() {
    let input = "\n{\"prompt\":7}\nnope\n";
    let options = ["batch", "in.jsonl", "--dry-run"];
    unsent(&options, input, 0)
        .stdout("0 requests, 2 invalid lines\ninvalid line 2: `prompt` must be a string\n");

    let options = [&options[..], &["-o", "json"]].concat();
    let shown = unsent(&options, input, 0).json();
    assert_eq!(
        shown["lines"],
        json!({
            "requests": 0, "invalid": 2,
            "first_invalid": {"line": 2, "message": "`prompt` must be a string"},
        })
    );
    assert_eq!(
        (&shown["dry_run"], &shown["request"], &shown["trace"]),
        (&json!(true), &Value::Null, &Value::Null)
    );
    let shown = unsent(&options, "", 0).json();
    assert_eq!(
        shown["lines"],
        json!({"requests": 0, "invalid": 0, "first_invalid": null})
    );
}

#[test]
fn options_that_name_one_trace_are_refused() {
    let id = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{id}-b7ad6b7169203331-01");
    let rows: [&[&str]; 4] = [
        &["--trace-id", id],
        &["--trace-seed", "s"],
        &["--traceparent", &parent],
        &["--join"],
    ];
    for options in rows {
        let server = Untouched::start();
        let call = Langspan::new(&[&["batch", "in.jsonl"], options].concat())
            .model_at(server.url())
            .langfuse_at(server.url())
            .env("TRACEPARENT", &parent);
        call.file("in.jsonl", prompt("a"));
        call.run()
            .code(2)
            .stdout("")
            .stderr_has(options[0])
            .stderr_has("--run");
        server.assert_untouched();
    }
    // Unasked, the variable says nothing.
    let servers = echo();
    named_batch(&servers, prompt("a"), &[])
        .env("TRACEPARENT", &parent)
        .run()
        .code(0);
    assert_eq!(servers.trace().id(), id_of_line("r1", 1, &prompt("a")));
}

#[test]
fn stdout_has_one_form_for_answers() {
    for form in ["json", "raw", "url"] {
        unsent(&["batch", "in.jsonl", "-o", form], &prompt("a"), 2)
            .stdout("")
            .stderr_has("hint: ");
    }
    for form in ["raw", "url"] {
        unsent(
            &["batch", "in.jsonl", "-o", form, "-O", "out.jsonl"],
            &prompt("a"),
            2,
        )
        .stdout("");
    }
    unsent(&["batch", "in.jsonl", "--json"], &prompt("a"), 2).stdout("");
    let servers = echo();
    let ended = run_batch(&servers, prompt("a"), &["-o", "text"]);
    assert_eq!(content(&only(&ended.code(0).stdout)), "a");
    // What scripts set for other commands leaves the answers alone.
    let servers = echo();
    let ended = named_batch(&servers, prompt("a"), &[])
        .env("LANGSPAN_OUTPUT", "json")
        .run();
    assert_eq!(content(&only(&ended.code(0).stdout)), "a");
}

#[test]
fn with_out_the_json_form_is_the_summary() {
    let servers = echo();
    let options = ["-O", "out.jsonl", "-o", "json", "--summary", "s.json"];
    let ended = run_batch(&servers, prompt("a"), &options);
    let shown = ended.code(0).json();
    let kept = fs::read_to_string(ended.home().join("s.json")).unwrap();
    assert_eq!(shown, serde_json::from_str::<Value>(&kept).unwrap());
    assert_eq!(
        (&shown["ok"], &shown["error"]),
        (&json!(true), &Value::Null)
    );

    // A refusal is a document as well.
    let refused = unsent(&["batch", "missing.jsonl", "-O", "o", "-o", "json"], "", 6).json();
    assert_eq!(
        (&refused["ok"], &refused["error"]["exit_code"]),
        (&json!(false), &json!(6))
    );
}

#[test]
fn the_summary_counts_what_happened() {
    let servers =
        Servers::with(Scripted::start(
            |request, _| match request.json()["messages"][0]["content"].as_str().unwrap() {
                "400" => Reply::json(400, &json!({"error": {"message": "no"}})),
                "close" => Reply::Close,
                text => Reply::json(200, &completion(text)),
            },
        ));
    let input = ["a", "b", "400", "400", "close"].map(prompt).concat() + "nope\n\n";
    let ended = run_batch(&servers, input, &["--retries", "0", "--summary", "s.json"]);
    ended.code(8);
    let text = fs::read_to_string(ended.home().join("s.json")).unwrap();
    let [summary] = &lines(&text)[..] else {
        panic!("{text}")
    };
    assert_eq!(
        summary["lines"],
        json!({
            "done": 6, "failed": 4, "skipped": 0,
            "causes": {"HTTP 400": 2, "broken_off": 1, "invalid_line": 1},
        })
    );
    // Of each answer: 23 tokens in, 35 out.
    assert_eq!(summary["tokens"], json!({"input": 46, "output": 70}));
    assert_eq!(summary["traces"]["accepted"], 5);
    for unknown in ["spooled", "lost", "sampled_out"] {
        assert_eq!(summary["traces"][unknown], 0);
    }
    assert_eq!(
        (&summary["run"], &summary["ok"]),
        (&json!("r1"), &json!(false))
    );
    assert_eq!(summary["error"]["exit_code"], 8);
    let session = format!("{}/project/p1/sessions/r1", servers.langfuse.url());
    assert_eq!(summary["session_url"], session);
    let times =
        ["p50", "p95", "p99", "max"].map(|name| summary["latency_ms"][name].as_u64().unwrap());
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(summary["time_to_first_token_ms"], Value::Null);
    ended
        .stderr_has("6 lines: 2 answered, 4 failed (HTTP 400: 2, broken_off: 1, invalid_line: 1)\n")
        .stderr_has("tokens: 46 in, 70 out\n")
        .stderr_has("traces: 5 accepted\n")
        .stderr_has(&format!("session: {session}\n"))
        .stderr_has("error: 4 of 6 lines failed; line ");
    assert_eq!(traces_at(&servers.langfuse).len(), 5);
}

#[test]
fn the_summary_counts_answers_that_need_a_second_look() {
    let answering = |reason: &str, message: &Value| {
        let mut body = completion("");
        body["choices"][0]["finish_reason"] = json!(reason);
        body["choices"][0]["message"] = message.clone();
        Reply::json(200, &body)
    };
    let servers = Servers::with(Scripted::start(move |request, _| {
        let text = |text: &str| json!({"role": "assistant", "content": text});
        match request.json()["messages"][0]["content"].as_str().unwrap() {
            "long" => answering("length", &text("and so")),
            "bad" => answering("content_filter", &text("")),
            "no" => answering(
                "stop",
                &json!({"role": "assistant", "refusal": "I cannot."}),
            ),
            "empty" => answering("stop", &text(" ")),
            _ => answering("stop", &text("hi")),
        }
    }));
    let input = ["a", "long", "long", "bad", "no", "empty"]
        .map(prompt)
        .concat();
    let ended = run_batch(&servers, input, &["--summary", "s.json"]);
    ended.code(0).stderr_has(
        "answers: 2 cut off (length), 1 filtered (content_filter), 2 empty,\n  1 refused by the model\n",
    );
    let text = fs::read_to_string(ended.home().join("s.json")).unwrap();
    assert_eq!(
        only(&text)["answers"],
        json!({
            "finish_reasons": {"content_filter": 1, "length": 2, "stop": 3},
            "empty": 2, "refused": 1,
        })
    );
}

#[test]
fn the_wait_of_verify_does_not_count_as_run_time() {
    let sandbox = crate::support::stand_in::Sandbox::start_with(&["--visible-after", "3000"]);
    let call = Langspan::new(&["batch", "-", "--verify", "--summary", "s.json"]).at(&sandbox);
    let ended = call.stdin(prompt("a")).run();
    ended.code(0).stderr_has("traces: 1 accepted, 1 readable\n");
    let text = fs::read_to_string(ended.home().join("s.json")).unwrap();
    let summary = only(&text);
    let latency = summary["latency_ms"]["max"].as_f64().unwrap() / 1000.0;
    // The run ends with its trace accepted, which was before it could be read.
    assert!(
        summary["seconds"].as_f64().unwrap() < latency + 1.5,
        "{summary}"
    );
}

#[test]
fn quiet_leaves_errors_and_answers() {
    let servers = echo();
    let ended = run_batch(&servers, prompt("a"), &["-q"]);
    assert_eq!(content(&only(&ended.code(0).stdout)), "a");
    assert_eq!(ended.stderr, "");
    let ended = run_batch(&servers, "nope\n", &["-q"]);
    ended
        .code(8)
        .stderr_has("error: 1 of 1 line failed; line 1: expected a JSON object\n");
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}

#[test]
fn lines_that_share_a_trace_are_not_missing() {
    let line = "{\"custom_id\":\"q1\",\"prompt\":\"a\"}\n";
    let call = Langspan::new(&["batch", "-", "--sandbox", "--verify"]);
    let ended = call.stdin(line.repeat(2)).run();
    ended
        .code(0)
        .stderr_has("traces: 2 accepted, 1 readable (lines of one custom_id share a trace)\n");
}

#[test]
fn the_embedded_stand_in_needs_no_key_and_no_network() {
    let server = Untouched::start();
    let call = Langspan::new(&["batch", "-", "--sandbox", "--verify"])
        .model_at(server.url())
        .langfuse_at(server.url())
        .stdin(prompt("a") + &prompt("b"));
    let ended = call.run();
    ended
        .code(0)
        .stderr_has("traces: 2 accepted, 2 readable\n")
        .stderr_has("\nopen it: langspan sandbox\n");
    for line in lines(&ended.stdout) {
        let id = line["langspan"]["trace_id"].as_str().unwrap();
        let page = format!("http://127.0.0.1:4390/project/sandbox/traces/{id}");
        assert_eq!(line["langspan"]["trace_url"], page);
    }
    server.assert_untouched();
}

#[test]
fn missing_keys_are_named_before_anything_is_sent() {
    let server = Untouched::start();
    let call = Langspan::new(&["batch", "in.jsonl", "-O", "out.jsonl"]).langfuse_at(server.url());
    call.file("in.jsonl", prompt("a"));
    let ended = call.run();
    ended
        .code(3)
        .stdout("")
        .stderr_has("OPENAI_API_KEY is not set");
    assert!(!ended.home().join("out.jsonl").exists());
    // Not needed where the model is not called.
    call.clone().arg("--dry-run").run().code(0);

    let call = Langspan::new(&["batch", "in.jsonl", "-O", "out.jsonl"]).model_at(server.url());
    call.file("in.jsonl", prompt("a"));
    let ended = call.run();
    ended.code(3).stdout("").stderr_has("LANGFUSE_PUBLIC_KEY");
    assert!(!ended.home().join("out.jsonl").exists());
    server.assert_untouched();
}

#[test]
fn a_terminal_or_an_empty_stdin_does_not_hang() {
    let servers = echo();
    let call = servers.call(&["batch", "-"]);
    let output = call.command().stdin(Stdio::null()).output().unwrap();
    call.ended(&output).code(0).stdout("");
}

#[test]
fn options_without_meaning_for_a_batch_are_refused() {
    let rows: [&[&str]; 7] = [
        &["--resume", "--overwrite", "-O", "out.jsonl"],
        &["--resume"],
        &["--resume", "-O", "-"],
        &["--resume", "-O", "/dev/null"],
        &["--retry-errors", "-O", "out.jsonl"],
        &["--run", ""],
        &["--run", "sk-lf-0123456789"],
    ];
    for options in rows {
        let arguments = [&["batch", "in.jsonl"], options].concat();
        unsent(&arguments, &prompt("a"), 2).stdout("");
    }
}

#[test]
fn a_run_whose_name_is_too_long_for_a_session_is_warned_of() {
    let long = "r".repeat(201);
    for (name, options, is_warned) in [
        (long.as_str(), &[][..], true),
        (&long[1..], &[], false),
        (&long, &["-S", "s"], false),
    ] {
        let servers = echo();
        let arguments = [&["batch", "-", "--run", name], options].concat();
        let ended = servers.call(&arguments).stdin(prompt("a")).run();
        ended.code(0);
        let has_warning = ended
            .stderr
            .contains("warning: the run's name is longer than 200 characters");
        assert_eq!(has_warning, is_warned, "{}", ended.stderr);
    }
}
