//! SIGHUP, SIGINT and SIGTERM: finished calls are accepted or in the outbox, and the exit code tells the signal.

use std::io::Read as _;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::harness::{Langspan, OBSERVATIONS, Reply, Scripted, completion, wait_until};
use crate::support::stand_in::Sandbox;

const SIGNALS: [(&str, i32); 3] = [("HUP", 129), ("INT", 130), ("TERM", 143)];

fn send(signal: &str, child: &Child) {
    let status = Command::new("kill")
        .args(["-s", signal, &child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
}

fn thinking() -> Scripted {
    Scripted::always(Reply::Hang)
}

/// Starts `call`, and sends `signal` once the model has been asked.
fn interrupted(call: &Langspan, model: &Scripted, signal: &str) -> Output {
    let child = call.spawn();
    wait_until("the model is asked", || !model.requests().is_empty());
    send(signal, &child);
    child.wait_with_output().unwrap()
}

fn generation(rows: &[Value]) -> &Value {
    rows.iter().find(|row| row["type"] == "GENERATION").unwrap()
}

#[test]
fn a_signal_during_the_model_call_leaves_a_trace_that_says_so() {
    for (signal, code) in SIGNALS {
        let (model, sandbox) = (thinking(), Sandbox::start());
        let call = Langspan::new(&["chat", "--no-stdin", "Hello"])
            .langfuse_at(sandbox.url())
            .model_at(model.url());
        let ended = call.ended(&interrupted(&call, &model, signal));
        ended.code(code).stdout("");
        let rows = sandbox.observations(&ended.trace_id());
        assert_eq!(rows.len(), 2, "{signal}");
        for row in &rows {
            assert_eq!(row["level"], "ERROR", "{signal}: {row}");
            assert_eq!(row["statusMessage"], "interrupted", "{signal}: {row}");
        }
        assert!(ended.outbox_files().is_empty(), "{signal}");
    }
}

#[test]
fn json_reports_the_signal() {
    for (signal, code) in SIGNALS {
        let (model, sandbox) = (thinking(), Sandbox::start());
        let call = Langspan::new(&["chat", "--no-stdin", "-o", "json", "Hello"])
            .langfuse_at(sandbox.url())
            .model_at(model.url());
        let ended = call.ended(&interrupted(&call, &model, signal));
        let document = ended.code(code).json();
        assert_eq!(document["ok"], false);
        assert_eq!(document["error"]["kind"], "interrupted");
        assert_eq!(document["error"]["exit_code"], code);
        assert_eq!(document["trace"]["delivery"], "accepted");
    }
}

#[test]
fn text_streamed_before_a_signal_is_in_the_trace() {
    let chunk = json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hel"}, "finish_reason": null}],
    });
    let begun = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\ndata: {chunk}\n\n"
    );
    let model = Scripted::always(Reply::Stall(begun.into_bytes()));
    let sandbox = Sandbox::start();
    let call = Langspan::new(&["chat", "--no-stdin", "--stream", "Hello"])
        .langfuse_at(sandbox.url())
        .model_at(model.url());
    let mut child = call.spawn();
    let mut printed = [0; 3];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut printed)
        .unwrap();
    assert_eq!(&printed, b"Hel");
    send("INT", &child);
    let ended = call.ended(&child.wait_with_output().unwrap());
    ended.code(130);
    let rows = sandbox.observations(&ended.trace_id());
    let row = generation(&rows);
    assert!(row["output"].to_string().contains("Hel"), "{row}");
    assert_eq!(row["level"], "ERROR");
}

#[test]
fn a_trace_that_is_not_accepted_after_a_signal_is_kept() {
    for (signal, code) in SIGNALS {
        let model = thinking();
        let langfuse = Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "No."})));
        let call = Langspan::new(&["chat", "--no-stdin", "Hello"])
            .langfuse_at(langfuse.url())
            .model_at(model.url());
        let ended = call.ended(&interrupted(&call, &model, signal));
        ended
            .code(code)
            .stderr_has("401")
            .stderr_has(&ended.outbox().display().to_string());
        assert_eq!(ended.kept().len(), 1);
    }
}

#[test]
fn a_second_signal_does_not_wait_for_the_delivery() {
    let (model, langfuse) = (thinking(), Scripted::langfuse(|_, _| Reply::Hang));
    let call = Langspan::new(&["chat", "--no-stdin", "Hello"])
        .langfuse_at(langfuse.url())
        .model_at(model.url());
    let child = call.spawn();
    wait_until("the model is asked", || !model.requests().is_empty());
    send("INT", &child);
    wait_until("the spans are sent", || !langfuse.exports().is_empty());
    send("INT", &child);
    let ended = call.ended(&child.wait_with_output().unwrap());
    ended.code(130);
    assert_eq!(ended.kept().len(), 1);
    let meta = ended.outbox().join(&ended.outbox_files()[1]);
    let meta = std::fs::read_to_string(meta).unwrap();
    // It was the signal that ended the delivery, not the time that it may take.
    assert!(meta.contains("interrupted"), "{meta}");
}

#[test]
fn a_signal_during_the_delivery_keeps_the_answer_and_the_spans() {
    for (signal, code) in SIGNALS {
        let model = Scripted::model("hi");
        let langfuse = Scripted::langfuse(|_, _| Reply::Hang);
        let call = Langspan::new(&["chat", "--no-stdin", "Hello"])
            .langfuse_at(langfuse.url())
            .model_at(model.url());
        let child = call.spawn();
        wait_until("the spans are sent", || !langfuse.exports().is_empty());
        send(signal, &child);
        let ended = call.ended(&child.wait_with_output().unwrap());
        ended.code(code).stdout("hi\n");
        assert_eq!(ended.kept().len(), 1);
    }
}

#[test]
fn a_signal_while_waiting_for_readability_ends_the_wait() {
    let model = Scripted::model("hi");
    let sandbox = Sandbox::start_with(&["--visible-after", "3600000"]);
    let langfuse = Scripted::start({
        let (url, authorization) = (sandbox.url().to_owned(), sandbox.authorization());
        move |request, _| {
            let asked = ureq::get(format!("{url}{}", request.path))
                .header("authorization", &authorization)
                .call();
            match (request.method.as_str(), asked) {
                ("GET", Ok(mut answer)) => {
                    let body = answer.body_mut().read_to_string().unwrap();
                    Reply::Answer(200, "application/json", body)
                }
                _ => Reply::json(200, &json!({})),
            }
        }
    });
    let call = Langspan::new(&["chat", "--no-stdin", "--verify", "--wait", "600", "Hello"])
        .langfuse_at(langfuse.url())
        .model_at(model.url());
    let child = call.spawn();
    wait_until("the trace is looked for", || {
        !langfuse.requests_to(OBSERVATIONS).is_empty()
    });
    send("INT", &child);
    let ended = call.ended(&child.wait_with_output().unwrap());
    ended.code(130).stdout("hi\n");
    assert!(ended.outbox_files().is_empty());
}

#[test]
fn a_signal_delivers_finished_documents_and_starts_no_other() {
    let model = Scripted::start(|_, count| match count {
        0 => Reply::json(200, &completion("hi")),
        _ => Reply::Hang,
    });
    let sandbox = Sandbox::start();
    let call = Langspan::new(&["replay", "three.jsonl"])
        .langfuse_at(sandbox.url())
        .model_at(model.url());
    let body = r#"{"model":"m","messages":[{"role":"user","content":"Hello"}]}"#;
    call.file("three.jsonl", format!("{body}\n").repeat(3));
    let child = call.spawn();
    wait_until("the second is asked", || model.requests().len() == 2);
    send("TERM", &child);
    let ended = call.ended(&child.wait_with_output().unwrap());
    ended.code(143).stdout("hi\n");
    assert_eq!(model.requests().len(), 2);
    let traces: Vec<&str> = ended
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("trace: "))
        .filter_map(|url| url.rsplit('/').next())
        .collect();
    assert_eq!(traces.len(), 2, "{ended:#?}");
    for trace in traces {
        assert_eq!(sandbox.observations(trace).len(), 2);
    }
}

#[test]
fn an_interrupted_resend_loses_nothing() {
    let model = Scripted::model("hi");
    let refusing = Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "No."})));
    let earlier = Langspan::new(&["chat", "--no-stdin", "Hello"])
        .model_at(model.url())
        .langfuse_at(refusing.url())
        .run();
    let silent = Scripted::always(Reply::Hang);
    for (signal, code) in SIGNALS {
        let before = silent.requests().len();
        let call = Langspan::new(&["resend"])
            .langfuse_at(silent.url())
            .after(&earlier);
        let child = call.spawn();
        // After the first signal the entry is ambiguous: the question comes before the export.
        wait_until("it is at work", || silent.requests().len() > before);
        send(signal, &child);
        let ended = call.ended(&child.wait_with_output().unwrap());
        ended.code(code);
        assert_eq!(ended.kept().len(), 1);
    }
}

#[test]
fn a_signal_ends_the_wait_for_the_traces_that_langfuse_has() {
    let langfuse = Scripted::always(Reply::Hang);
    let recording = json!({
        "request": {"model": "m", "messages": [{"role": "user", "content": "Hello"}]},
        "response": completion("hi"), "trace": {"id": TRACE_ID},
        "start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:01Z",
    });
    for (signal, code) in SIGNALS {
        let before = langfuse.requests_to(OBSERVATIONS).len();
        let call = Langspan::new(&["replay", "recording.json"]).langfuse_at(langfuse.url());
        call.file("recording.json", recording.to_string());
        let child = call.spawn();
        wait_until("it has asked", || {
            langfuse.requests_to(OBSERVATIONS).len() > before
        });
        // The first leaves a few seconds for the delivery.
        send(signal, &child);
        send(signal, &child);
        let ended = call.ended(&child.wait_with_output().unwrap());
        ended.code(code).stdout("hi\n");
        assert_eq!(ended.kept().len(), 1, "{signal}");
    }
    assert!(langfuse.exports().is_empty());
}

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

/// More than a pipe holds.
fn long_answer() -> String {
    "All work and no play. ".repeat(20_000)
}

#[test]
fn a_stdout_that_is_not_read_does_not_hold_up_the_delivery_and_a_signal_ends_the_wait() {
    for (signal, code) in SIGNALS {
        let (model, sandbox) = (Scripted::model(&long_answer()), Sandbox::start());
        let call = Langspan::new(&["chat", "--no-stdin", "--trace-id", TRACE_ID, "Hello"])
            .langfuse_at(sandbox.url())
            .model_at(model.url());
        let mut child = call.spawn();
        wait_until("the trace has arrived", || {
            sandbox.observations(TRACE_ID).len() == 2
        });
        assert!(
            child.try_wait().unwrap().is_none(),
            "it waits for its reader"
        );
        send(signal, &child);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}");
    }
}

#[test]
fn a_late_reader_of_stdout_gets_the_whole_answer() {
    let (model, sandbox) = (Scripted::model(&long_answer()), Sandbox::start());
    let call = Langspan::new(&["chat", "--no-stdin", "--trace-id", TRACE_ID, "Hello"])
        .langfuse_at(sandbox.url())
        .model_at(model.url());
    let child = call.spawn();
    wait_until("the trace has arrived", || {
        sandbox.observations(TRACE_ID).len() == 2
    });
    let ended = call.ended(&child.wait_with_output().unwrap());
    ended.code(0);
    assert_eq!(ended.stdout, format!("{}\n", long_answer()));
}

#[test]
fn a_stderr_that_is_not_read_does_not_hold_up_the_delivery() {
    let (model, sandbox) = (Scripted::model(&long_answer()), Sandbox::start());
    let call = Langspan::new(&[
        "chat",
        "--no-stdin",
        "--trace-id",
        TRACE_ID,
        "-vvv",
        "Hello",
    ])
    .langfuse_at(sandbox.url())
    .model_at(model.url());
    let mut child = call
        .command()
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the trace has arrived", || {
        sandbox.observations(TRACE_ID).len() == 2
    });
    send("TERM", &child);
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn a_hangup_that_was_ignored_at_the_start_stays_ignored() {
    let gate = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let opened = std::sync::Arc::clone(&gate);
    let model = Scripted::start(move |_, _| {
        wait_until("the hangup was sent", || {
            opened.load(std::sync::atomic::Ordering::SeqCst)
        });
        Reply::json(200, &completion("hi"))
    });
    let sandbox = Sandbox::start();
    let call = Langspan::new(&["chat", "--no-stdin", "--trace-id", TRACE_ID, "Hello"])
        .langfuse_at(sandbox.url())
        .model_at(model.url());
    let langspan = call.command();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "trap '' HUP; exec \"$0\" \"$@\""])
        .arg(langspan.get_program())
        .args(langspan.get_args())
        .env_clear()
        .envs(
            langspan
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(call.home())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = shell.spawn().unwrap();
    wait_until("the model is asked", || model.count() > 0);
    send("HUP", &child);
    gate.store(true, std::sync::atomic::Ordering::SeqCst);
    call.ended(&child.wait_with_output().unwrap())
        .code(0)
        .stdout("hi\n");
}

#[test]
fn a_file_beyond_its_size_limit_is_a_file_problem() {
    let (model, sandbox) = (Scripted::model(&long_answer()), Sandbox::start());
    let call = Langspan::new(&["chat", "--no-stdin", "--record", "calls.jsonl", "Hello"])
        .langfuse_at(sandbox.url())
        .model_at(model.url());
    let ended = call.run_with_file_limit(16);
    ended.code(6).stderr_has("the recording cannot be written");
}
