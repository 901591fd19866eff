//! The exit codes, row by row, and which one applies when several things fail.

use std::fs::File;
use std::process::Stdio;

use serde_json::json;

use crate::support::harness::{Ended, Langspan, Reply, Scripted, dead_url, wait_until};
use crate::support::stand_in::Sandbox;

/// What goes wrong in a run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// The model refuses the call.
    Model,
    /// The endpoint refuses the spans.
    Delivery,
    /// The recording cannot be written: the disk is full.
    File,
    /// The accepted trace cannot be read.
    Reading,
}
use Fault::{Delivery, File as FullDisk, Model, Reading};

fn model(faults: &[Fault]) -> Scripted {
    if faults.contains(&Model) {
        Scripted::always(Reply::json(
            400,
            &json!({"error": {"message": "no such model"}}),
        ))
    } else {
        Scripted::model("hi")
    }
}

fn langfuse(faults: &[Fault]) -> Scripted {
    let refuses = faults.contains(&Delivery);
    Scripted::start(move |request, _| match request.path.split('?').next() {
        Some("/api/public/projects") => Reply::json(200, &json!({"data": [{"id": "p1"}]})),
        Some("/api/public/v2/observations") => Reply::json(200, &json!({"data": [], "meta": {}})),
        _ if refuses => Reply::json(401, &json!({"message": "Invalid credentials."})),
        _ => Reply::json(200, &json!({})),
    })
}

/// A chat that meets these faults.
fn chat_with(faults: &[Fault], arguments: &[&str]) -> Ended {
    let (model, langfuse) = (model(faults), langfuse(faults));
    let mut call = Langspan::new(&[&["chat", "Hello"], arguments].concat())
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    if faults.contains(&FullDisk) {
        call = call.arg("--record").arg("/dev/full");
    }
    if faults.contains(&Reading) {
        call = call.arg("--verify").arg("--wait").arg("0.5");
    }
    call.run()
}

#[test]
fn each_failure_has_its_exit_code_and_the_most_severe_decides() {
    for (faults, code, kind) in [
        (&[][..], 0, None),
        (&[Model], 4, Some("model")),
        (&[Delivery], 5, Some("delivery")),
        (&[FullDisk], 6, Some("file")),
        (&[Reading], 7, Some("not_readable")),
        (&[Model, Delivery], 5, Some("delivery")),
        (&[FullDisk, Delivery], 5, Some("delivery")),
        (&[Reading, Delivery], 5, Some("delivery")),
        (&[Model, FullDisk], 6, Some("file")),
        (&[FullDisk, Reading], 6, Some("file")),
        (&[Model, Reading], 4, Some("model")),
        (&[Model, FullDisk, Delivery, Reading], 5, Some("delivery")),
    ] {
        let ended = chat_with(faults, &[]);
        assert_eq!(ended.code, Some(code), "{faults:?}: {ended:#?}");
        let answer = if faults.contains(&Model) { "" } else { "hi\n" };
        ended.stdout(answer);
        assert!(ended.stderr.lines().count() <= 8, "{faults:?}: {ended:#?}");

        let document = chat_with(faults, &["-o", "json"]);
        document.code(code);
        let document = document.json();
        assert_eq!(document["ok"], faults.is_empty(), "{faults:?}");
        assert_eq!(document["error"]["kind"], json!(kind), "{faults:?}");
        if kind.is_some() {
            assert_eq!(document["error"]["exit_code"], code, "{faults:?}");
        }
    }
}

#[test]
fn a_signal_outranks_every_failure() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let (model, langfuse) = (Scripted::always(Reply::Hang), langfuse(&[Delivery]));
        let call = Langspan::new(&["chat", "--no-stdin", "--record", "/dev/full", "Hello"])
            .model_at(model.url())
            .langfuse_at(langfuse.url());
        let child = call.spawn();
        wait_until("the model is asked", || !model.requests().is_empty());
        let kill = std::process::Command::new("kill")
            .args(["-s", signal, &child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        let ended = call.ended(&child.wait_with_output().unwrap());
        ended.code(code);
        assert_eq!(ended.kept().len(), 1);
    }
}

#[test]
fn a_port_in_use_is_1() {
    let sandbox = Sandbox::start();
    let port = sandbox.url().rsplit(':').next().unwrap();
    let ended = Langspan::new(&["sandbox", "--port", port]).run();
    ended.code(1).stderr_has(port);
}

#[test]
fn usage_and_input_errors_are_2_and_nothing_is_sent() {
    let (model, langfuse) = (Scripted::model("hi"), langfuse(&[]));
    for (arguments, stdin) in [
        (&["chat", "--no-such-option", "Hello"][..], ""),
        (&["no-such-command"], ""),
        (&["chat", "-o", "answer.txt", "Hello"], ""),
        (&["chat", "--temperature", "warm", "Hello"], ""),
        (&["chat", "--export-timeout", "0", "Hello"], ""),
        (&["chat", "--environment", "Prod EU", "Hello"], ""),
        (&["chat", "--trace-id", "xyz", "Hello"], ""),
        (
            &[
                "chat",
                "--sandbox",
                "--otlp-endpoint",
                "http://127.0.0.1:1",
                "Hello",
            ],
            "",
        ),
        (&["replay"], ""),
        (&["replay", "-"], ""),
        (&["replay", "-"], "{\"messages\":"),
        (&["replay", "-"], "{\"model\":\"m\"}"),
        (&["replay", "-"], "[1]"),
        (&["resend", "--no-such-option"], ""),
        (&["resend", "--list", "--discard"], ""),
    ] {
        let ended = Langspan::new(arguments)
            .model_at(model.url())
            .langfuse_at(langfuse.url())
            .stdin(stdin)
            .run();
        assert_eq!(ended.code, Some(2), "{arguments:?} {stdin:?}: {ended:#?}");
        ended.stdout("");
        assert!(!ended.stderr.is_empty(), "{arguments:?}");
    }
    assert!(model.requests().is_empty() && langfuse.requests().is_empty());
}

#[test]
fn settings_that_are_missing_or_malformed_are_3_before_a_socket_is_opened() {
    let (model, langfuse) = (Scripted::model("hi"), langfuse(&[]));
    let url = langfuse.url();
    for variables in [
        &[("LANGFUSE_BASE_URL", url)][..],
        &[
            ("LANGFUSE_BASE_URL", url),
            ("LANGFUSE_PUBLIC_KEY", "pk-lf-1"),
        ],
        &[
            ("LANGFUSE_BASE_URL", url),
            ("LANGFUSE_SECRET_KEY", "sk-lf-12345678"),
        ],
        &[
            ("LANGFUSE_BASE_URL", url),
            ("LANGFUSE_PUBLIC_KEY", "sk-lf-12345678"),
            ("LANGFUSE_SECRET_KEY", "pk-lf-12345678"),
        ],
        &[
            ("LANGFUSE_BASE_URL", "ftp://langfuse"),
            ("LANGFUSE_PUBLIC_KEY", "pk-lf-1"),
            ("LANGFUSE_SECRET_KEY", "sk-lf-12345678"),
        ],
        &[
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
        ],
    ] {
        let mut call = Langspan::new(&["chat", "Hello"]).model_at(model.url());
        for (name, value) in variables {
            call = call.env(name, value);
        }
        let ended = call.run();
        assert_eq!(ended.code, Some(3), "{variables:?}: {ended:#?}");
        ended.stdout("");
        assert!(ended.stderr.lines().count() <= 8, "{ended:#?}");
        let document = call.arg("-o").arg("json").run();
        assert_eq!(document.json()["error"]["kind"], "config", "{variables:?}");
        assert_eq!(document.json()["error"]["exit_code"], 3, "{variables:?}");
    }
    assert!(model.requests().is_empty() && langfuse.requests().is_empty());
}

#[test]
fn a_model_key_is_required_only_where_needed() {
    let langfuse = langfuse(&[]);
    let ended = Langspan::new(&["chat", "Hello"])
        .langfuse_at(langfuse.url())
        .run();
    ended.code(3).stderr_has("OPENAI_API_KEY");
    assert!(langfuse.requests().is_empty());
}

#[test]
fn a_failed_call_has_a_trace_that_was_accepted() {
    let sandbox = Sandbox::start();
    for url in [model(&[Model]).url().to_owned(), dead_url()] {
        let ended = Langspan::new(&["chat", "--retries", "0", "Hello"])
            .langfuse_at(sandbox.url())
            .model_at(&url)
            .run();
        ended.code(4).stdout("");
        let rows = sandbox.observations(&ended.trace_id());
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|row| row["level"] == "ERROR"), "{rows:?}");
    }
}

#[test]
fn files_are_opened_before_the_model_is_called() {
    let (model, langfuse) = (Scripted::model("hi"), langfuse(&[]));
    let call = |arguments: &[&str]| {
        Langspan::new(arguments)
            .model_at(model.url())
            .langfuse_at(langfuse.url())
    };
    for arguments in [
        &["chat", "--record", "no/such/folder/x.jsonl", "Hello"][..],
        &["chat", "--record", ".", "Hello"],
        &["chat", "--schema", "missing.json", "Hello"],
        &["replay", "missing.json"],
        &["replay", "."],
    ] {
        let ended = call(arguments).run();
        assert_eq!(ended.code, Some(6), "{arguments:?}: {ended:#?}");
        ended.stdout("");
    }
    assert!(model.requests().is_empty() && langfuse.requests().is_empty());
}

#[test]
fn an_answer_that_cannot_be_written_is_6_and_its_trace_is_delivered() {
    let (model, sandbox) = (Scripted::model("hi"), Sandbox::start());
    let call = Langspan::new(&["chat", "Hello"])
        .model_at(model.url())
        .langfuse_at(sandbox.url());
    let full = File::options().write(true).open("/dev/full").unwrap();
    let child = call
        .command()
        .stdin(Stdio::null())
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let ended = call.ended(&child.wait_with_output().unwrap());
    ended.code(6);
    assert_eq!(sandbox.observations(&ended.trace_id()).len(), 2);
}

#[test]
fn the_most_severe_failure_of_several_documents_decides() {
    let model = Scripted::start(|request, _| {
        if request.json()["model"] == "bad" {
            Reply::json(400, &json!({"error": {"message": "no such model"}}))
        } else {
            Reply::json(200, &crate::support::harness::completion("hi"))
        }
    });
    // The second trace is refused.
    let langfuse = Scripted::langfuse(|_, count| match count {
        1 => Reply::json(401, &json!({"message": "No."})),
        _ => Reply::json(200, &json!({})),
    });
    let line = |model: &str| {
        format!(
            "{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"x\"}}]}}\n"
        )
    };
    let ended = Langspan::new(&["replay", "-"])
        .model_at(model.url())
        .langfuse_at(langfuse.url())
        .stdin([line("bad"), line("good"), line("good")].concat())
        .run();
    ended.code(5).stdout("hi\nhi\n");
    assert_eq!(langfuse.exports().len(), 3);
    assert_eq!(ended.kept().len(), 1);
}

#[test]
fn resend_has_its_rows_too() {
    let (model, refusing) = (Scripted::model("hi"), langfuse(&[Delivery]));
    let earlier = Langspan::new(&["chat", "Hello"])
        .model_at(model.url())
        .langfuse_at(refusing.url())
        .run();
    let resend = || Langspan::new(&["resend"]).after(&earlier);
    resend().run().code(3);
    resend().langfuse_at(refusing.url()).run().code(5);
    resend().langfuse_at(langfuse(&[]).url()).run().code(0);
    let blocked = resend().langfuse_at(refusing.url());
    let file = blocked.file("file", "").display().to_string();
    blocked.env("LANGSPAN_OUTBOX", &file).run().code(6);
}
