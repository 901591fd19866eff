//! What is said of a run: on stderr, and in the file of `--report`.

use std::fs;

use serde_json::{Value, json};

use crate::support::exec::{Session, TRACE, span};
use crate::support::harness::{Langspan, Reply, Scripted};
use crate::support::stand_in::Sandbox;

#[test]
fn a_report_tells_how_it_ended_and_what_was_seen() {
    let (model, sandbox) = (Scripted::model("Hello"), Sandbox::start());
    let run = |code, langfuse: &str| {
        let call = Langspan::new(&["exec", "--report", "report.json"])
            .model_at(&format!("{}/v1", model.url()))
            .langfuse_at(langfuse);
        let session = Session::start_ending(call.clone(), code);
        session.ask(&[], &json!({"model": "m", "messages": []}));
        session.send(&[span(TRACE, 1, None, "one", &json!({}))]);
        let ended = session.finish();
        let report: Value =
            serde_json::from_slice(&fs::read(call.home().join("report.json")).unwrap()).unwrap();
        (ended, report)
    };
    let (ended, report) = run(0, sandbox.url());
    ended
        .code(0)
        .stdout("")
        .stderr_has("1 span received, 1 call seen, 1 generation, 58 tokens");
    assert_eq!(report["schema_version"], 1);
    assert_eq!(
        (&report["ok"], &report["command"], &report["error"]),
        (&json!(true), &json!("exec"), &Value::Null)
    );
    assert_eq!(report["child"], json!({"exit_code": 0, "signal": null}));
    assert_eq!(
        report["counts"],
        json!({"spans": 1, "calls": 1, "generations": 1, "tokens": 58, "cost": null})
    );
    assert_eq!(
        (
            &report["trace"]["id"],
            &report["trace"]["delivery"],
            &report["trace"]["spans"]
        ),
        (&json!(TRACE), &json!("accepted"), &json!(3))
    );
    let (ended, report) = run(3, sandbox.url());
    ended.code(3);
    assert_eq!(
        (
            &report["ok"],
            &report["error"],
            &report["child"]["exit_code"]
        ),
        (&json!(false), &Value::Null, &json!(3))
    );
    let refusing = Scripted::langfuse(|_, _| Reply::json(400, &json!({"message": "no"})));
    let (ended, report) = run(0, refusing.url());
    ended.code(5);
    assert_eq!(
        (&report["error"]["kind"], &report["error"]["exit_code"]),
        (&json!("delivery"), &json!(5))
    );
    assert_eq!(report["trace"]["delivery"], "spooled");
}

#[test]
fn a_report_that_cannot_be_written_stops_the_run_before_it_begins() {
    let sandbox = Sandbox::start();
    let call =
        Langspan::new(&["exec", "--report", "no/such/folder", "touch", "started"]).at(&sandbox);
    call.run().code(6).stderr_has("--report");
    assert!(!call.home().join("started").exists());
}

#[test]
fn a_run_in_which_nothing_was_seen_says_why_that_may_be() {
    let sandbox = Sandbox::start();
    let run = |options: &[&str]| {
        let call = options
            .iter()
            .fold(Langspan::new(&["exec"]), |call, option| call.arg(option));
        call.at(&sandbox).run()
    };
    run(&["true"])
        .code(0)
        .stderr_has("warning: nothing was seen")
        .stderr_has("gRPC");
    run(&["--expect-calls", "true"])
        .code(9)
        .stderr_has("no generation");
    run(&["--expect-calls", "false"])
        .code(1)
        .stderr_has("no generation");
    let quiet = run(&["-q", "true"]);
    quiet.code(0);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn the_help_shows_programs_and_says_what_they_cannot_do() {
    let help = Langspan::new(&["help", "exec"]).run();
    help.code(0);
    for text in [
        "langspan exec -- python cookbook.py",
        "-- llm -m gpt-4o-mini",
        "curl -s",
        "- run: langspan exec --ci",
        "cannot read its own trace back before the run ends",
        "must not start daemons",
        "--stream-usage",
    ] {
        assert!(help.stdout.contains(text), "{text}: {}", help.stdout);
    }
}

#[test]
fn verified_means_readable() {
    let sandbox = Sandbox::start_with(&["--visible-after", "300"]);
    let session =
        Session::start(Langspan::new(&["exec", "--verify", "-t", "a", "-t", "b"]).at(&sandbox));
    session.send(&[span(TRACE, 1, None, "one", &json!({}))]);
    session
        .finish()
        .code(0)
        .stderr_has("verified: the trace can be read");
    let never = Sandbox::start_with(&["--visible-after", "600000"]);
    let call = Langspan::new(&["exec", "--verify", "--wait", "1", "true"]).at(&never);
    call.run().code(7).stderr_has("only 0 of its 1 spans");
}

#[test]
fn a_run_outside_of_the_sample_is_not_delivered_unless_it_failed() {
    let sandbox = Sandbox::start();
    let run = |command: &str| {
        Langspan::new(&["exec", "--sample", "0", command])
            .at(&sandbox)
            .run()
    };
    let ended = run("true");
    ended.code(0).stderr_has("left out by the sample rate");
    assert!(ended.outbox_files().is_empty());
    run("false").code(1).stderr_has("trace: ");
}

#[test]
fn the_sandbox_needs_neither_key_nor_network() {
    let call = Langspan::new(&["exec", "--sandbox"])
        .env("OPENAI_BASE_URL", "http://192.0.2.1/v1")
        .env("LANGFUSE_BASE_URL", "http://192.0.2.1");
    let session = Session::start(call);
    assert!(session.has_variable("OPENAI_API_KEY") && session.has_variable("ANTHROPIC_API_KEY"));
    assert_eq!(
        session
            .ask(
                &[],
                &json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]})
            )
            .status,
        200
    );
    session
        .finish()
        .code(0)
        .stderr_has("open it: langspan sandbox")
        .stderr_has("1 generation");
    Langspan::new(&[
        "exec",
        "--sandbox",
        "--langfuse-base-url",
        "http://x",
        "true",
    ])
    .run()
    .code(2);
}
