//! What was acknowledged is delivered, once, whatever happens to langspan.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::dice::Dice;
use crate::support::exec::{Session, TRACE, outbox_files, row, span};
use crate::support::harness::{Langspan, Reply, Scripted, completion, dead_url};
use crate::support::memory::Memory;
use crate::support::stand_in::Sandbox;

fn resend(sandbox: &Sandbox, killed: &Langspan) {
    let resend = Langspan::new(&["resend"])
        .langfuse_at(sandbox.url())
        .beside(killed);
    let ended = resend.run();
    ended.code(0);
    assert!(
        ended.outbox_files().is_empty(),
        "{:?}",
        ended.outbox_files()
    );
}

#[test]
fn a_killed_run_is_put_together_by_resend_as_exec_would_have() {
    let (model, sandbox) = (Scripted::model("Hello"), Sandbox::start());
    let call = Langspan::new(&["exec", "-u", "ada", "-t", "ci"])
        .model_at(&format!("{}/v1", model.url()))
        .langfuse_at(sandbox.url());
    let session = Session::start(call);
    let question = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]});
    session.ask(&[], &question);
    session.ask(&[], &question);
    session.send(&[
        span(
            TRACE,
            1,
            None,
            "reported",
            &json!({"gen_ai.operation.name": "chat", "gen_ai.response.id": "chatcmpl-1"}),
        ),
        span(TRACE, 2, Some(9), "orphan", &json!({})),
    ]);
    let journals = outbox_files(session.home(), ".exec.jsonl");
    assert_eq!(journals.len(), 1);
    assert_eq!(
        fs::metadata(&journals[0]).unwrap().permissions().mode() & 0o777,
        0o600
    );
    // While exec runs, resend leaves its journal alone.
    let beside = Langspan::new(&["exec"]).env("HOME", &session.home().display().to_string());
    let home = session.home().to_owned();
    let early = Langspan::new(&["resend"])
        .langfuse_at(sandbox.url())
        .env("HOME", &home.display().to_string())
        .run();
    early.code(0).stderr_has("another process is working on it");
    drop(beside);
    let killed = session.kill();
    resend(&sandbox, &killed);
    let rows = sandbox.observations(TRACE);
    assert_eq!(rows.len(), 4, "{rows:#?}");
    let command = row(&rows, "sh");
    assert_eq!(command["metadata"]["exit"], "unknown");
    assert_eq!(command["level"], "DEFAULT");
    let ends = rows.iter().filter(|row| row["name"] != "sh");
    let last = ends.filter_map(|row| row["endTime"].as_str()).max();
    assert_eq!(command["endTime"].as_str(), last, "with its last span");
    assert!(
        row(&rows, "reported")["output"]
            .as_str()
            .unwrap()
            .contains("Hello"),
        "filled in"
    );
    row(&rows, "chat gpt-4o-mini");
    for row in &rows {
        assert_eq!(
            (&row["userId"], &row["tags"]),
            (&json!("ada"), &json!(["ci"])),
            "{row}"
        );
    }
}

#[test]
fn what_is_not_accepted_waits_for_resend() {
    let call = Langspan::new(&["exec", "--export-timeout", "1"]).langfuse_at(&dead_url());
    let session = Session::start(call.clone());
    session.send(&[span(TRACE, 1, None, "one", &json!({}))]);
    let ended = session.finish();
    ended.code(5).stderr_has("to deliver them: langspan resend");
    assert!(outbox_files(call.home(), ".exec.jsonl").is_empty());
    assert_eq!(ended.kept().len(), 1, "an ordinary entry");
    let sandbox = Sandbox::start();
    resend(&sandbox, &call);
    assert_eq!(sandbox.observations(TRACE).len(), 2);
}

#[test]
fn without_an_outbox_the_run_is_delivered_all_the_same() {
    let sandbox = Sandbox::start();
    for prepare in [
        |call: Langspan| call.arg("--no-outbox"),
        |call: Langspan| {
            let blocked = call.file("blocked", "");
            call.env(
                "LANGSPAN_OUTBOX",
                &blocked.join("outbox").display().to_string(),
            )
        },
        |call: Langspan| call.env("LANGSPAN_OUTBOX_MAX", "1"),
    ] {
        let session = Session::start(prepare(Langspan::new(&["exec"]).at(&sandbox)));
        session.send(&[span(TRACE, 1, None, "one", &json!({}))]);
        let ended = session.finish();
        ended.code(0);
        assert!(sandbox.observations(TRACE).len() >= 2);
        assert!(
            ended.outbox_files().is_empty(),
            "{:?}",
            ended.outbox_files()
        );
    }
}

#[test]
fn a_full_disk_does_not_fail_a_good_run() {
    let sandbox = Sandbox::start();
    // The limit of file sizes acts as a full disk does; the child must not have it.
    let call = Langspan::new(&["exec"]).at(&sandbox);
    let script = "ulimit -f 0 2>/dev/null; exec \"$@\"";
    let binary = env!("CARGO_BIN_EXE_langspan");
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", script, "sh", binary, "exec", "--", "true"]);
    let inner = call.command();
    limited.env_clear().current_dir(call.home());
    for (name, value) in inner.get_envs() {
        limited.env(name, value.unwrap_or_default());
    }
    let output = limited.output().unwrap();
    let ended = call.ended(&output);
    ended.code(0);
    assert_eq!(sandbox.observations(&ended.trace_id()).len(), 1);
}

/// Spans are sent one after the other while langspan is killed at a random moment; what was acknowledged is at the
/// server once after `resend`.
#[test]
fn a_kill_at_any_moment_loses_and_doubles_nothing() {
    const KILLS: u64 = 50;
    let dice = Arc::new(Dice::new(16));
    let workers: Vec<_> = (0..2)
        .map(|worker| {
            let dice = Arc::clone(&dice);
            thread::spawn(move || {
                for kill in 0..KILLS / 2 {
                    killed_once(&dice, worker * KILLS + kill);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
}

fn killed_once(dice: &Dice, number: u64) {
    let memory = Memory::default();
    let known = memory.clone();
    let langfuse = Scripted::start(move |request, _| known.answer(request));
    let model = Scripted::always(Reply::json(200, &completion("Hello")));
    let call = Langspan::new(&["exec"])
        .model_at(&format!("{}/v1", model.url()))
        .langfuse_at(langfuse.url());
    let session = Session::start(call);
    let kill_after = Duration::from_micros(dice.roll(60_000));
    let id = session.id().to_string();
    let has_ended = dice.roll(3) == 0;
    if has_ended {
        // The kill then falls into the delivery.
        fs::write(session.home().join("go"), "").unwrap();
    }
    let shot = thread::spawn(move || {
        thread::sleep(kill_after);
        let _ = std::process::Command::new("kill")
            .args(["-s", "KILL", &id])
            .status();
    });
    let (acknowledged, answered) = send_until_killed(&session, number);
    shot.join().unwrap();
    let killed = session.kill();
    let resend = Langspan::new(&["resend"])
        .langfuse_at(langfuse.url())
        .beside(&killed);
    resend.run().code(0);
    // Beside the spans: the command, the calls, and what was stored without being acknowledged.
    let others = memory.total(TRACE).saturating_sub(acknowledged.len() + 1);
    if !acknowledged.is_empty() {
        assert!(
            (answered..=answered + 1).contains(&others),
            "{others}, {answered} calls"
        );
    }
    for id in &acknowledged {
        assert_eq!(
            memory.count(TRACE, id),
            1,
            "span {id} of {}",
            acknowledged.len()
        );
    }
}

/// Sends a span and a call in turn. Returns the ids of the acknowledged spans, and how many calls were answered.
fn send_until_killed(session: &Session, number: u64) -> (Vec<String>, usize) {
    let mut acknowledged = Vec::new();
    let mut answered = 0;
    let question = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
    for id in 1..200 {
        let asked =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| session.ask(&[], &question)));
        match asked {
            Ok(answer) if serde_json::from_str::<Value>(&answer.body).is_ok() => answered += 1,
            _ => break,
        }
        let spans = [span(TRACE, number * 1000 + id, None, "s", &json!({}))];
        let sent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            session.export(&crate::support::exec::request("t", &spans))
        }));
        match sent {
            Ok(answer) if answer.status == 200 => {
                acknowledged.push(format!("{:016x}", number * 1000 + id));
            }
            _ => break,
        }
    }
    (acknowledged, answered)
}

#[test]
fn ten_thousand_spans_and_a_thousand_calls_need_little_memory() {
    let sandbox = Sandbox::start();
    let model = Scripted::model("Hello");
    let call = Langspan::new(&["exec", "--trace-id", TRACE])
        .model_at(&format!("{}/v1", model.url()))
        .langfuse_at(sandbox.url());
    let session = Session::start(call);
    let text = "x".repeat(1000);
    for request in 0..100 {
        let spans: Vec<Value> = (0..100)
            .map(|place| {
                span(
                    TRACE,
                    request * 100 + place + 1,
                    None,
                    "s",
                    &json!({"input.value": text, "output.value": text}),
                )
            })
            .collect();
        session.send(&spans);
    }
    let question = json!({"model": "m", "messages": [{"role": "user", "content": text}]});
    for _ in 0..1000 {
        session.ask(&[], &question);
    }
    let peak = || {
        let status =
            fs::read_to_string(format!("/proc/{}/status", session.id())).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .map(str::to_owned);
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or(0)
    };
    fs::write(session.home().join("go"), "").unwrap();
    let mut highest = 0;
    while session.is_running() {
        highest = highest.max(peak());
        thread::sleep(Duration::from_millis(5));
    }
    let ended = session.finish();
    ended
        .code(0)
        .stderr_has("10000 spans received, 1000 calls seen, 1000 generations");
    assert!(highest > 0 && highest < 64 * 1024, "{highest} KiB");
}
