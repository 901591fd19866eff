//! Input that is refused before anything is sent, with a cause, a remedy and the right exit code.

use serde_json::json;

use crate::support::harness::{Ended, Langspan, Scripted, dead_url};
use crate::support::untouched::Untouched;

const ID: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Asserts that a call ended before anything was sent, with a short cause and remedy.
#[track_caller]
fn assert_refused(call: &Langspan, code: i32) -> Ended {
    let server = Untouched::start();
    let ended = call
        .clone()
        .model_at(server.url())
        .langfuse_at(server.url())
        .run();
    assert_short(&ended, code);
    server.assert_untouched();
    ended
}

#[track_caller]
fn assert_short(ended: &Ended, code: i32) {
    ended.code(code).stdout("").stderr_lacks("backtrace");
    let lines: Vec<&str> = ended
        .stderr
        .lines()
        .filter(|line| !line.is_empty())
        .collect();
    let causes = lines
        .iter()
        .filter(|line| line.starts_with("error: "))
        .count();
    assert_eq!(causes, 1, "one line of cause is wanted: {ended:#?}");
    assert!(lines.len() > 1, "a line of remedy is wanted: {ended:#?}");
    assert!(ended.stderr.lines().count() <= 8, "{ended:#?}");
    assert!(ended.outbox_files().is_empty(), "{ended:#?}");
}

fn chat(arguments: &[&str]) -> Langspan {
    Langspan::new(&[&["chat"], arguments, &["Hello"]].concat())
}

#[test]
fn options_that_do_not_exist_or_do_not_fit_are_refused() {
    for (arguments, named) in [
        (vec!["--nope"], "--nope"),
        (vec!["--langfuse-secret-key", "x"], "--langfuse-secret-key"),
        (vec!["--trace-id", ID, "--trace-seed", "s"], "--trace-seed"),
        (vec!["--temperature", "hot"], "hot"),
        (vec!["--max-tokens", "many"], "many"),
        (vec!["--retries", "many"], "many"),
        (vec!["--timeout", "0"], "--timeout"),
        (vec!["--timeout", "soon"], "soon"),
        (vec!["--export-timeout", "soon"], "soon"),
        (vec!["--wait", "soon"], "soon"),
        (vec!["--metadata", "no-value"], "--metadata"),
        (vec!["--metadata", "=no-key"], "--metadata"),
        (vec!["--param", "no-value"], "--param"),
        (vec!["--param", "seed:={"], "--param"),
        (vec!["--header", "no-value"], "--header"),
        (
            vec!["--sandbox", "--openai-base-url", "http://127.0.0.1:1"],
            "--openai-base-url",
        ),
        (
            vec!["--sandbox", "--langfuse-base-url", "http://127.0.0.1:1"],
            "--langfuse-base-url",
        ),
        (
            vec!["--sandbox", "--otlp-endpoint", "http://127.0.0.1:1"],
            "--otlp-endpoint",
        ),
    ] {
        assert_refused(&chat(&arguments), 2).stderr_has(named);
    }
}

#[test]
fn a_command_that_does_not_exist_is_refused() {
    assert_refused(&Langspan::new(&["chatt", "Hello"]), 2).stderr_has("chatt");
}

#[test]
fn a_usage_error_is_text_even_where_json_is_wanted() {
    for arguments in [["-o", "json", "--nope"], ["--json", "--trace-id", "x"]] {
        assert_refused(&chat(&arguments), 2);
    }
}

#[test]
fn an_output_format_that_looks_like_a_file_name_is_refused_with_a_hint() {
    for arguments in [["-o", "answer.txt"], ["--output", "answer.txt"]] {
        assert_refused(&chat(&arguments), 2).stderr_has("> answer.txt");
    }
}

#[test]
fn a_trace_id_has_32_hexadecimal_digits_that_are_not_all_zero() {
    for wrong in [
        "",
        "x",
        "0af7651916cd43dd8448eb211c80319",
        "0af7651916cd43dd8448eb211c80319c0",
        "0af7651916cd43dd8448eb211c80319g",
        "+af7651916cd43dd8448eb211c80319c",
        "0af76519-16cd-43dd-8448-eb211c80319c",
        "00000000000000000000000000000000",
    ] {
        assert_refused(&chat(&["--trace-id", wrong]), 2).stderr_has("--trace-id");
    }
}

#[test]
fn a_traceparent_is_what_the_w3c_says() {
    let [trace, span] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];
    for (wrong, what) in [
        (String::new(), "VERSION-TRACE_ID-SPAN_ID-FLAGS"),
        ("x".to_owned(), "VERSION-TRACE_ID-SPAN_ID-FLAGS"),
        (
            format!("00-{trace}-{span}"),
            "VERSION-TRACE_ID-SPAN_ID-FLAGS",
        ),
        (format!("00-{trace}-{span}-01-more"), "four parts"),
        (format!("00-{trace}-{span}-0"), "flags"),
        (format!("00-{trace}-{span}-0g"), "flags"),
        (format!("00-{}-{span}-01", &trace[2..]), "trace id"),
        (format!("00-{trace}-{}-01", &span[2..]), "span id"),
        (format!("00-{}g-{span}-01", &trace[1..]), "trace id"),
        (
            format!("00-{}-{span}-01", trace.to_uppercase()),
            "lower-case",
        ),
        (
            format!("00-{}-{span}-01", "0".repeat(32)),
            "trace id is all zeros",
        ),
        (
            format!("00-{trace}-{}-01", "0".repeat(16)),
            "span id is all zeros",
        ),
        (format!("ff-{trace}-{span}-01"), "version"),
        (format!("0-{trace}-{span}-01"), "version"),
    ] {
        let refusals = [
            chat(&["--traceparent", &wrong]),
            chat(&["--join"]).env("TRACEPARENT", &wrong),
        ];
        for call in refusals {
            let ended = assert_refused(&call, 2);
            // An empty variable is one that is not set.
            let is_unset = wrong.is_empty() && !ended.stderr.contains("not a traceparent");
            ended.stderr_has(if is_unset {
                "TRACEPARENT is not set"
            } else {
                what
            });
        }
    }
}

#[test]
fn a_traceparent_of_a_later_version_may_be_longer() {
    let later = format!("01{}-more", &PARENT[2..]);
    let call = chat(&["--dry-run", "--traceparent", &later]).langfuse_at(&dead_url());
    let ended = call.model_at(&dead_url()).run();
    assert!(ended.code(0).stdout.contains(ID), "{ended:#?}");
}

#[test]
fn joining_needs_a_traceparent_in_the_environment() {
    for call in [chat(&["--join"]), chat(&["--join"]).env("TRACEPARENT", "x")] {
        assert_refused(&call, 2);
    }
}

#[test]
fn a_traceparent_variable_is_not_joined_by_default() {
    let model = Scripted::model("hi");
    let call = |arguments: &[&str], value: &str| {
        chat(arguments)
            .arg("--dry-run")
            .model_at(model.url())
            .langfuse_at(model.url())
            .env("TRACEPARENT", value)
            .run()
    };
    let has_id = |ended: &Ended| ended.code(0).stdout.contains(ID);
    assert!(!has_id(&call(&[], PARENT)));
    assert!(has_id(&call(&["--join"], PARENT)));
    // An unused setting may be malformed.
    call(&[], "x").code(0);
}

#[test]
fn a_langfuse_key_is_refused_as_a_trace_value() {
    for key in ["sk-lf-1234567890", "pk-lf-1234567890:sk-lf-1234567890"] {
        let metadata = format!("k={key}");
        for arguments in [
            ["-u", key],
            ["-S", key],
            ["-t", key],
            ["-n", key],
            ["--metadata", &metadata],
            ["--release", key],
            ["--trace-version", key],
        ] {
            let ended = assert_refused(&chat(&arguments), 2);
            // Not even the error repeats it.
            ended.stderr_lacks("sk-lf-1234567890");
        }
        for name in ["LANGSPAN_USER", "LANGSPAN_SESSION", "LANGSPAN_TAGS"] {
            let ended = assert_refused(&chat(&[]).env(name, key), 2);
            ended.stderr_lacks("sk-lf-1234567890");
        }
    }
    assert_refused(&chat(&["--environment", "sk-lf-1234567890"]), 2);
}

#[test]
fn a_call_without_a_prompt_is_refused() {
    assert_refused(&Langspan::new(&["chat"]), 2);
    assert_refused(&Langspan::new(&["chat", "--no-stdin"]), 2);
    assert_refused(&Langspan::new(&["chat"]).stdin(""), 2);
    assert_refused(&Langspan::new(&["chat", "-"]).stdin(""), 2);
    assert_refused(&Langspan::new(&["replay"]), 2);
}

#[test]
fn files_that_options_name_must_be_there() {
    for option in ["--env-file", "--schema", "--ca-file"] {
        let call = chat(&[option, "missing.file"]);
        assert_refused(&call, 6).stderr_has("missing.file");
    }
}

#[test]
fn a_folder_is_not_accepted_as_a_file() {
    for option in ["--env-file", "--schema", "--record"] {
        assert_refused(&chat(&[option, "."]), 6);
    }
}

#[test]
fn a_malformed_env_file_is_refused_without_showing_its_content() {
    for content in [
        "LANGFUSE_SECRET_KEY sk-lf-1234567890\n",
        "LANGFUSE_SECRET_KEY='sk-lf-1234567890\n",
    ] {
        let call = chat(&["--env-file", "my.env"]);
        call.file("my.env", content);
        let ended = assert_refused(&call, 3);
        ended.stderr_has("my.env").stderr_lacks("sk-lf-1234567890");
    }
}

#[test]
fn several_documents_cannot_be_one_trace() {
    let line = json!({"messages": [{"role": "user", "content": "Hello"}]});
    for arguments in [
        ["--trace-id", ID],
        ["--trace-seed", "s"],
        ["--traceparent", PARENT],
    ] {
        let call = Langspan::new(&["replay", "two.jsonl"])
            .arg(arguments[0])
            .arg(arguments[1]);
        call.file("two.jsonl", format!("{line}\n{line}\n"));
        assert_refused(&call, 2).stderr_has(arguments[0]);
    }
    let call = Langspan::new(&["replay", "--join", "two.jsonl"]).env("TRACEPARENT", PARENT);
    call.file("two.jsonl", format!("{line}\n{line}\n"));
    assert_refused(&call, 2).stderr_has("--join");
}

#[test]
fn an_invalid_model_url_is_refused() {
    let langfuse = Untouched::start();
    for name in ["OPENAI_BASE_URL", "AZURE_OPENAI_ENDPOINT"] {
        for wrong in ["not a url", "api/v1", "ftp://api.example"] {
            let call = chat(&[])
                .langfuse_at(langfuse.url())
                .env("AZURE_OPENAI_API_KEY", "key-of-azure");
            let ended = call.env(name, wrong).run();
            assert_short(&ended, 3);
            ended.stderr_has(name);
        }
    }
    langfuse.assert_untouched();
}

#[test]
fn missing_settings_are_reported_in_json() {
    let document = |call: Langspan, code: i32| {
        let ended = call.arg("-o").arg("json").run();
        ended.code(code);
        assert!(ended.outbox_files().is_empty());
        ended.json()
    };
    let server = Untouched::start();
    for (call, code, kind) in [
        (chat(&[]).model_at(server.url()), 3, "config"),
        (chat(&[]).langfuse_at(server.url()), 3, "config"),
        (
            chat(&["--env-file", "missing.env"]).model_at(server.url()),
            6,
            "file",
        ),
    ] {
        let document = document(call, code);
        assert_eq!(
            (&document["schema_version"], &document["ok"]),
            (&json!(1), &json!(false))
        );
        let error = &document["error"];
        assert_eq!(
            (&error["kind"], &error["exit_code"]),
            (&json!(kind), &json!(code))
        );
        for field in ["message", "hint"] {
            assert!(
                error[field].as_str().is_some_and(|text| !text.is_empty()),
                "{field}: {error}"
            );
        }
    }
    server.assert_untouched();
}

#[test]
fn quiet_does_not_silence_an_error() {
    for (arguments, code) in [(&["-q"][..], 3), (&["-q", "--trace-id", "x"], 2)] {
        let ended = chat(arguments).run();
        ended.code(code).stdout("").stderr_has("error: ");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:#?}");
    }
}

#[test]
fn an_object_that_is_not_a_request_is_refused_with_the_reason() {
    let body = r#"{"messages":[{"role":"user","content":"x"}],"messages":[]}"#;
    let ended = Langspan::new(&["replay", "-"]).stdin(body).run();
    ended.code(2).stderr_has("duplicate field `messages`");
}
