//! `langspan resend`: waiting spans are delivered once, to the destination of the current settings, and undelivered
//! spans are kept.

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::harness::{
    Ended, Langspan, OBSERVATIONS, Reply, Scripted, TRACES, dead_url, files_below, forward,
    wait_until,
};
use crate::support::stand_in::Sandbox;
use crate::support::untouched::Untouched;

fn refusing() -> Scripted {
    Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "Invalid credentials."})))
}

fn accepting() -> Scripted {
    Scripted::langfuse(|_, _| Reply::json(200, &json!({})))
}

/// A home with `count` entries in its outbox.
fn kept(count: usize) -> Ended {
    let (model, langfuse) = (Scripted::model("hi"), refusing());
    let body = r#"{"model":"m","messages":[{"role":"user","content":"Hello"}]}"#;
    let ended = Langspan::new(&["replay", "-"])
        .model_at(model.url())
        .langfuse_at(langfuse.url())
        .stdin(format!("{body}\n").repeat(count))
        .run();
    ended.code(5);
    assert_eq!(ended.kept().len(), count);
    ended
}

/// One entry whose export went unanswered, so that it may have arrived.
fn ambiguous(langfuse: &Scripted) -> Ended {
    let model = Scripted::model("hi");
    let ended = Langspan::new(&["chat", "--export-timeout", "1", "Hello"])
        .model_at(model.url())
        .langfuse_at(langfuse.url())
        .run();
    ended.code(5);
    ended
}

/// `resend` in the home of `earlier`.
fn resend(arguments: &[&str], earlier: &Ended, url: &str) -> Langspan {
    Langspan::new(&[&["resend"], arguments].concat())
        .langfuse_at(url)
        .after(earlier)
}

fn trace_ids(ended: &Ended) -> Vec<String> {
    let span = |request: &Value| {
        request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"].clone()
    };
    ended
        .kept()
        .iter()
        .map(|request| span(request).as_str().unwrap().to_owned())
        .collect()
}

fn spans_files(ended: &Ended) -> Vec<PathBuf> {
    let mut files = files_below(&ended.outbox());
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "jsonl")
    });
    files
}

/// The name under which an entry is known.
fn id(file: &Path) -> String {
    file.file_stem().unwrap().to_str().unwrap().to_owned()
}

/// The file beside the spans of an entry.
fn metadata(file: &Path) -> PathBuf {
    file.with_file_name(format!("{}.meta.json", id(file)))
}

#[test]
fn waiting_spans_are_delivered_and_their_entries_removed() {
    let earlier = kept(2);
    let ids = trace_ids(&earlier);
    let sandbox = Sandbox::start();
    let ended = resend(&[], &earlier, sandbox.url()).run();
    ended.code(0);
    for id in ids {
        assert_eq!(sandbox.observations(&id).len(), 2);
    }
    assert!(
        ended.outbox_files().is_empty(),
        "{:?}",
        ended.outbox_files()
    );
}

#[test]
fn the_spans_arrive_as_they_were_sent_at_first() {
    let refusing = refusing();
    let earlier = ambiguous(&refusing);
    let accepting = accepting();
    resend(&[], &earlier, accepting.url()).run().code(0);
    assert_eq!(refusing.exports()[0].body, accepting.exports()[0].body);
}

#[test]
fn nothing_to_do_is_success() {
    let url = dead_url();
    for arguments in [
        &[][..],
        &["--list"],
        &["--discard", "--yes"],
        &["-o", "json"],
    ] {
        let call = Langspan::new(&[&["resend"], arguments].concat()).langfuse_at(&url);
        call.run().code(0).stderr_has("the outbox is empty");
    }
    let earlier = kept(1);
    let ended = resend(&["--older-than", "1h"], &earlier, &url).run();
    ended
        .code(0)
        .stderr_has("passed over 1 entry")
        .stderr_lacks("is empty");
}

#[test]
fn a_refusal_is_5_and_the_entry_stays() {
    let earlier = kept(1);
    let before = earlier.kept();
    let langfuse = Scripted::langfuse(|_, _| Reply::json(403, &json!({"message": "Suspended."})));
    let ended = resend(&[], &earlier, langfuse.url()).run();
    let path = spans_files(&earlier)[0].display().to_string();
    ended
        .code(5)
        .stderr_has("403")
        .stderr_has("Suspended.")
        .stderr_has(&path);
    assert!(ended.stderr.lines().count() <= 8, "{ended:#?}");
    assert_eq!(ended.kept(), before);
    assert_eq!(langfuse.exports().len(), 1);
    let meta = metadata(&spans_files(&ended)[0]);
    let meta = fs::read_to_string(meta).unwrap();
    assert!(meta.contains("Suspended."), "the newer cause: {meta}");
    resend(&[], &earlier, accepting().url()).run().code(0);
}

#[test]
fn one_refusal_does_not_stop_the_other_entries() {
    let earlier = kept(3);
    let langfuse = Scripted::langfuse(|_, count| match count {
        0 => Reply::json(400, &json!({"error": "Invalid OTLP trace export"})),
        _ => Reply::json(200, &json!({})),
    });
    let ended = resend(&[], &earlier, langfuse.url()).run();
    ended.code(5);
    assert_eq!(langfuse.exports().len(), 3);
    assert_eq!(ended.kept().len(), 1);
}

#[test]
fn without_keys_resend_is_3_and_the_entry_stays() {
    let earlier = kept(1);
    let ended = Langspan::new(&["resend"]).after(&earlier).run();
    ended.code(3).stderr_has("LANGFUSE_PUBLIC_KEY");
    assert_eq!(ended.kept().len(), 1);
}

#[test]
fn entries_of_another_project_are_left_and_named() {
    let model = Scripted::model("hi");
    let other = Langspan::new(&["chat", "Hello"])
        .model_at(model.url())
        .langfuse_at(refusing().url())
        .env("LANGFUSE_PUBLIC_KEY", "pk-lf-other-project")
        .run();
    other.code(5);
    let left = spans_files(&other);
    let own = Langspan::new(&["chat", "Hello"])
        .model_at(model.url())
        .langfuse_at(refusing().url())
        .after(&other)
        .run();
    own.code(5);
    let langfuse = accepting();
    let ended = resend(&[], &own, langfuse.url()).run();
    ended.code(0).stderr_has("pk-lf-other-project");
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(said.contains(&id(&left[0])), "{ended:#?}");
    assert_eq!(langfuse.exports().len(), 1);
    assert_eq!(spans_files(&ended), left);
}

#[test]
fn two_resends_at_once_deliver_every_entry_once() {
    for _ in 0..5 {
        let earlier = kept(4);
        let langfuse = accepting();
        let calls = [(); 2].map(|()| resend(&[], &earlier, langfuse.url()));
        let children = calls.each_ref().map(Langspan::spawn);
        for (call, child) in calls.iter().zip(children) {
            call.ended(&child.wait_with_output().unwrap()).code(0);
        }
        let bodies: HashSet<Vec<u8>> = langfuse
            .exports()
            .into_iter()
            .map(|export| export.body)
            .collect();
        assert_eq!((langfuse.exports().len(), bodies.len()), (4, 4));
        assert!(earlier.outbox_files().is_empty());
    }
}

#[test]
fn entries_of_another_resend_are_skipped() {
    let earlier = kept(1);
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let langfuse = Scripted::langfuse(move |_, _| {
        released.lock().unwrap().recv().unwrap();
        Reply::json(200, &json!({}))
    });
    let first = resend(&[], &earlier, langfuse.url());
    let child = first.spawn();
    wait_until("the first has begun", || !langfuse.exports().is_empty());
    resend(&[], &earlier, langfuse.url()).run().code(0);
    assert_eq!(langfuse.exports().len(), 1);
    release.send(()).unwrap();
    first.ended(&child.wait_with_output().unwrap()).code(0);
    assert!(earlier.outbox_files().is_empty());
}

#[test]
fn entries_of_a_running_chat_are_skipped_and_not_listed() {
    let earlier = kept(1);
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let busy = Scripted::langfuse(move |_, _| {
        released.lock().unwrap().recv().unwrap();
        Reply::json(200, &json!({}))
    });
    let model = Scripted::model("hi");
    let chat = Langspan::new(&["chat", "--no-stdin", "--export-timeout", "60", "Hello"])
        .model_at(model.url())
        .langfuse_at(busy.url())
        .after(&earlier);
    let child = chat.spawn();
    wait_until("the chat exports", || !busy.exports().is_empty());

    let waiting = spans_files(&earlier).iter().map(|file| id(file)).min();
    let listed = resend(&["--list"], &earlier, &dead_url()).run();
    listed.code(0);
    assert_eq!(listed.stdout.lines().count(), 1, "{listed:#?}");
    assert!(listed.stdout.contains(&waiting.unwrap()), "{listed:#?}");
    let langfuse = accepting();
    resend(&[], &earlier, langfuse.url()).run().code(0);
    assert_eq!(langfuse.exports().len(), 1, "the waiting one, not the held");

    release.send(()).unwrap();
    chat.ended(&child.wait_with_output().unwrap()).code(0);
    assert!(earlier.outbox_files().is_empty());
}

#[test]
fn an_entry_that_arrived_unanswered_is_not_sent_again() {
    let sandbox = Arc::new(Sandbox::start());
    let silent = Scripted::before(&sandbox, |sandbox, request, _| {
        forward(sandbox, request);
        Reply::Close
    });
    let earlier = ambiguous(&silent);
    let trace_id = trace_ids(&earlier).remove(0);
    let langfuse = Scripted::before(&sandbox, |sandbox, request, _| forward(sandbox, request));
    let ended = resend(&[], &earlier, langfuse.url()).run();
    ended.code(0);
    assert!(langfuse.exports().is_empty());
    assert_eq!(sandbox.observations(&trace_id).len(), 2);
    assert!(ended.outbox_files().is_empty());
}

#[test]
fn an_unanswered_entry_that_was_lost_is_sent_again() {
    let sandbox = Arc::new(Sandbox::start());
    let silent = Scripted::before(&sandbox, |_, _, _| Reply::Close);
    let earlier = ambiguous(&silent);
    let trace_id = trace_ids(&earlier).remove(0);
    let langfuse = Scripted::before(&sandbox, |sandbox, request, _| forward(sandbox, request));
    resend(&[], &earlier, langfuse.url()).run().code(0);
    let paths: Vec<String> = langfuse
        .requests()
        .iter()
        .filter_map(|request| request.path.split('?').next().map(str::to_owned))
        .collect();
    assert_eq!(paths, [OBSERVATIONS, TRACES]);
    assert_eq!(sandbox.observations(&trace_id).len(), 2);
}

/// A resend whose export arrives and is never answered.
fn unanswered(sandbox: &Arc<Sandbox>, reply: Reply) -> Scripted {
    Scripted::before(sandbox, move |sandbox, request, _| {
        forward(sandbox, request);
        reply.clone()
    })
}

#[test]
fn an_export_of_resend_without_an_answer_is_not_sent_again() {
    let earlier = kept(1);
    let sandbox = Arc::new(Sandbox::start());
    let silent = unanswered(&sandbox, Reply::Close);
    resend(&["--export-timeout", "1"], &earlier, silent.url())
        .run()
        .code(5);
    let langfuse = Scripted::before(&sandbox, |sandbox, request, _| forward(sandbox, request));
    let ended = resend(&[], &earlier, langfuse.url()).run();
    ended.code(0);
    assert!(langfuse.exports().is_empty(), "it was there");
    assert!(ended.outbox_files().is_empty());
}

#[test]
fn spans_sent_by_a_killed_resend_are_not_sent_again() {
    let earlier = kept(1);
    let trace_id = trace_ids(&earlier).remove(0);
    let sandbox = Arc::new(Sandbox::start());
    let silent = unanswered(&sandbox, Reply::Hang);
    let mut child = resend(&[], &earlier, silent.url()).spawn();
    wait_until("it has arrived", || {
        sandbox.observations(&trace_id).len() == 2
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let langfuse = Scripted::before(&sandbox, |sandbox, request, _| forward(sandbox, request));
    let ended = resend(&[], &earlier, langfuse.url()).run();
    ended.code(0);
    assert!(langfuse.exports().is_empty(), "it was there");
    assert!(ended.outbox_files().is_empty());
}

#[test]
fn an_unanswered_entry_stays_when_its_arrival_cannot_be_determined() {
    let earlier = ambiguous(&Scripted::langfuse(|_, _| Reply::Close));
    let langfuse = Scripted::start(|request, _| match request.path.split('?').next() {
        Some(OBSERVATIONS) => Reply::json(500, &json!({"message": "Internal Server Error"})),
        _ => Reply::json(200, &json!({})),
    });
    for _ in 0..2 {
        let ended = resend(&[], &earlier, langfuse.url()).run();
        ended.code(5);
        assert!(langfuse.exports().is_empty());
        assert_eq!(ended.kept().len(), 1);
    }
}

#[test]
fn list_shows_the_outbox_and_sends_nothing() {
    let earlier = kept(2);
    let langfuse = accepting();
    let listed = resend(&["--list"], &earlier, langfuse.url()).run();
    listed.code(0);
    for file in spans_files(&earlier) {
        assert!(listed.stdout.contains(&id(&file)), "{listed:#?}");
    }
    let document = resend(&["--list", "-o", "json"], &earlier, langfuse.url()).run();
    document.code(0);
    for file in spans_files(&earlier) {
        assert!(document.json().to_string().contains(&id(&file)));
    }
    assert!(langfuse.requests().is_empty());
    assert_eq!(listed.kept().len(), 2);
}

/// Moves every time in an entry's metadata into the past.
fn age(file: &Path) {
    let path = metadata(file);
    let mut meta: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    for value in meta.as_object_mut().unwrap().values_mut() {
        if value
            .as_str()
            .is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok())
        {
            *value = json!("2026-01-01T00:00:00Z");
        }
    }
    fs::write(&path, meta.to_string()).unwrap();
}

#[test]
fn older_than_keeps_newer_entries() {
    let earlier = kept(2);
    let files = spans_files(&earlier);
    age(&files[1]);
    let langfuse = accepting();
    let listed = resend(&["--list", "--older-than", "1h"], &earlier, langfuse.url()).run();
    listed.code(0);
    assert!(listed.stdout.contains(&id(&files[1])), "{listed:#?}");
    assert!(!listed.stdout.contains(&id(&files[0])), "{listed:#?}");
    let ended = resend(&["--older-than", "1h"], &earlier, langfuse.url()).run();
    ended.code(0);
    assert_eq!(langfuse.exports().len(), 1);
    assert_eq!(spans_files(&ended), files[..1]);
}

#[test]
fn a_malformed_age_is_a_usage_error() {
    for age in ["soon", "5", "-1h", ""] {
        let earlier = Langspan::new(&["resend", "--older-than", age]);
        earlier.run().code(2).stdout("");
    }
}

#[test]
fn discard_with_yes_deletes_without_asking_or_sending() {
    let earlier = kept(2);
    let langfuse = accepting();
    let ended = resend(&["--discard", "--yes"], &earlier, langfuse.url()).run();
    ended.code(0);
    assert!(ended.outbox_files().is_empty());
    assert!(langfuse.requests().is_empty());
}

#[test]
fn discard_deletes_nothing_without_a_terminal_to_ask() {
    let earlier = kept(1);
    let ended = resend(&["--discard"], &earlier, &dead_url()).run();
    assert_ne!(ended.code, Some(0), "{ended:#?}");
    ended.stderr_has("--yes");
    assert_eq!(ended.kept().len(), 1);
}

#[test]
fn discard_asks_on_a_terminal() {
    for (answer, remaining) in [("n\n", 1), ("\n", 1), ("y\n", 0)] {
        let earlier = kept(1);
        let call = resend(&["--discard"], &earlier, &dead_url());
        // `script` of util-linux gives the command a terminal.
        let mut command = std::process::Command::new("script");
        command
            .args([
                "-qec",
                &format!("{} resend --discard", env!("CARGO_BIN_EXE_langspan")),
            ])
            .arg("/dev/null")
            .env("HOME", call.home())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(answer.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{answer:?}: {output:?}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!said.contains("the outbox is empty"), "{answer:?}: {said}");
        assert_eq!(earlier.kept().len(), remaining, "{answer:?}: {output:?}");
    }
}

#[test]
fn json_reports_success_and_failure() {
    let earlier = kept(1);
    let name = id(&spans_files(&earlier)[0]);
    let failed = resend(&["-o", "json"], &earlier, refusing().url()).run();
    failed.code(5);
    let document = failed.json();
    let error = &document["error"];
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["ok"], false);
    assert_eq!(document["command"], "resend");
    assert!(document.to_string().contains(&name));
    assert_eq!(error["kind"], "delivery");
    assert_eq!(error["exit_code"], 5);
    assert_eq!(error["status"], 401);
    assert_eq!(error["retryable"], false);
    let message = error["message"].as_str();
    assert!(
        message.is_some_and(|message| message.contains("Invalid credentials.")),
        "{document}"
    );
    assert!(error["hint"].is_string(), "{document}");

    let delivered = resend(&["-o", "json"], &earlier, accepting().url()).run();
    delivered.code(0);
    let document = delivered.json();
    assert_eq!(document["ok"], true);
    assert_eq!(document["error"], Value::Null);
    assert!(document.to_string().contains(&name));
}

#[test]
fn a_half_written_file_is_named_and_stays_and_the_others_go() {
    let earlier = kept(2);
    let files = spans_files(&earlier);
    let text = fs::read_to_string(&files[0]).unwrap();
    fs::write(&files[0], &text[..text.len() / 2]).unwrap();
    let langfuse = accepting();
    let ended = resend(&[], &earlier, langfuse.url()).run();
    ended.code(5);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(said.contains(&id(&files[0])), "{ended:#?}");
    assert_eq!(langfuse.exports().len(), 1);
    assert_eq!(spans_files(&ended), files[..1]);
}

#[test]
fn an_entry_that_cannot_be_rewritten_does_not_stop_the_others() {
    // Where the new state of an entry is written first, and what was sent by then of the first of two entries.
    for (temporary, sent) in [("meta.tmp", 0), ("tmp", 3)] {
        let earlier = kept(2);
        let files = spans_files(&earlier);
        let blocked = id(&files[0]);
        fs::create_dir(files[0].with_file_name(format!("{blocked}.{temporary}"))).unwrap();
        let langfuse = Scripted::langfuse(move |_, count| match count {
            0 if sent > 0 => Reply::json(413, &json!({"message": "Too large."})),
            1 if sent > 0 => Reply::json(401, &json!({"message": "No."})),
            _ => Reply::json(200, &json!({})),
        });
        let ended = resend(&["-o", "json"], &earlier, langfuse.url()).run();
        ended
            .code(6)
            .stderr_has(&files[0].display().to_string())
            .stderr_has("Is a directory")
            .stderr_lacks("--discard")
            .stderr_lacks("cannot be read");
        assert_eq!(ended.json()["error"]["kind"], "file", "{ended:#?}");
        assert_eq!(langfuse.exports().len(), sent + 1);
        assert_eq!(spans_files(&ended), files[..1]);
    }
}

#[test]
fn spans_with_the_same_id_are_split_like_others() {
    let earlier = kept(1);
    let file = spans_files(&earlier).remove(0);
    let mut request = earlier.kept().remove(0);
    let spans = &mut request["resourceSpans"][0]["scopeSpans"][0]["spans"];
    spans[1]["spanId"] = spans[0]["spanId"].clone();
    fs::write(&file, format!("{request}\n")).unwrap();
    let langfuse = Scripted::langfuse(|_, _| Reply::json(413, &json!({"message": "Too large."})));
    let ended = resend(&[], &earlier, langfuse.url()).run();
    ended.code(5).stderr_has("413");
    assert_eq!(
        langfuse.exports().len(),
        3,
        "the trace, then each of its spans"
    );
    assert_eq!(ended.kept(), [request]);
}

#[test]
fn files_that_are_not_entries_are_left_alone() {
    let earlier = kept(1);
    let stranger = earlier.outbox().join("README");
    fs::write(&stranger, "keep me").unwrap();
    resend(&[], &earlier, accepting().url()).run().code(0);
    assert_eq!(earlier.outbox_files(), ["README"]);
}

#[test]
fn an_outbox_with_more_entries_than_open_files_allowed_is_delivered() {
    let earlier = kept(150);
    let langfuse = accepting();
    let call = resend(&[], &earlier, langfuse.url());
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 100; exec \"$0\" resend"])
        .arg(env!("CARGO_BIN_EXE_langspan"))
        .envs(
            call.command()
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .output()
        .unwrap();
    call.ended(&output).code(0);
    assert_eq!(langfuse.exports().len(), 150);
    assert!(earlier.outbox_files().is_empty());
}

#[test]
fn trace_ids_are_printed_only_with_v() {
    let earlier = kept(2);
    let ids = trace_ids(&earlier);
    let untouched = Untouched::start();
    let list = |options: &[&str]| {
        let ended = resend(&[&["--list"], options].concat(), &earlier, untouched.url()).run();
        ended.code(0);
        ended.stdout
    };
    let listed = list(&[]);
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 2, "{listed}");
    for line in lines {
        assert!(line.starts_with("waiting  "), "{listed}");
        assert!(line.contains("  2 spans of 1 trace  "), "{listed}");
    }
    let verbose = list(&["-v"]);
    for id in ids {
        assert!(!listed.contains(&id), "{listed}");
        assert!(verbose.lines().any(|line| line.trim() == id), "{verbose}");
    }
    untouched.assert_untouched();
}
