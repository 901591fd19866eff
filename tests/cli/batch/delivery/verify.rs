//! What `--verify` counts.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{accepted, at_sandbox, before, remembering, sizes};
use crate::support::batch::batch_of;
use crate::support::batch::output::{lines, summary, trace_ids};
use crate::support::harness::{OBSERVATIONS, Reply, Scripted, forward};
use crate::support::memory::Memory;
use crate::support::stand_in::Sandbox;

#[test]
fn verified_means_that_the_server_knows_every_trace() {
    for arguments in [&[][..], &["--langfuse", "v3"], &["--visible-after", "1500"]] {
        let sandbox = Sandbox::start_with(arguments);
        let call = at_sandbox(
            &sandbox,
            sandbox.url(),
            50,
            &[
                "--verify",
                "--wait",
                "30",
                "--summary",
                "summary.json",
                "-t",
                "nightly",
            ],
        );
        let ended = call.run();
        ended.code(0).stderr_has("50 accepted, 50 readable");
        assert_eq!(summary(&ended)["traces"]["verified"], 50, "{arguments:?}");
        let session = summary(&ended)["session_url"].as_str().unwrap().to_owned();
        assert!(
            session.starts_with(&format!("{}/project/sandbox/sessions/in-", sandbox.url())),
            "{session}"
        );
        ended.stderr_has(&session);
    }
}

#[test]
fn lines_of_one_custom_id_are_one_trace() {
    let sandbox = Sandbox::start();
    let call = at_sandbox(
        &sandbox,
        sandbox.url(),
        1,
        &["--verify", "--wait", "20", "--summary", "summary.json"],
    );
    let input =
        [1, 2, 3, 1, 2].map(|id| format!("{{\"custom_id\":\"c{id}\",\"prompt\":\"hi\"}}\n"));
    call.file("in.jsonl", input.concat());
    let ended = call.run();
    ended.code(0);
    assert_eq!(summary(&ended)["traces"]["verified"], 3);
    let ids = trace_ids(&lines(&ended.stdout));
    assert_eq!(ids.len(), 5);
    let ids: BTreeSet<String> = ids.into_values().collect();
    assert_eq!(ids.len(), 3);
    let spans = ids.iter().map(|id| sandbox.observations(id).len());
    assert_eq!(spans.sum::<usize>(), 10);
}

#[test]
fn accepted_traces_that_langfuse_loses_are_detected() {
    let sandbox = Arc::new(Sandbox::start());
    let langfuse = Scripted::before(&sandbox, |sandbox, request, count| match count {
        0 => accepted(),
        _ => forward(sandbox, request),
    });
    let model = Scripted::model("hi");
    let call = at_sandbox(
        &sandbox,
        langfuse.url(),
        400,
        &[
            "--verify",
            "--wait",
            "8",
            "--summary",
            "summary.json",
            "-O",
            "out.jsonl",
        ],
    )
    .model_at(model.url());
    let ended = call.run();
    ended.code(7);
    let lost = sizes(&langfuse)[0] / 2;
    assert!((1..400).contains(&lost), "{lost}");
    ended.stderr_has(&format!("{} of 400 traces can be read", 400 - lost));
    let summary = summary(&ended);
    assert_eq!(summary["traces"]["accepted"], 400);
    assert_eq!(summary["error"]["kind"], "not_readable");
}

#[test]
fn a_langfuse_that_refuses_reads_is_7_with_its_message() {
    let sandbox = Arc::new(Sandbox::start());
    let langfuse = Scripted::in_front_of(&sandbox, |request, _| {
        let is_question = request.path.starts_with("/api/public/v2/metrics")
            || request.path.starts_with(OBSERVATIONS)
            || request.path.starts_with("/api/public/traces");
        is_question.then(|| Reply::json(403, &json!({"message": "Access denied."})))
    });
    let ended = at_sandbox(&sandbox, langfuse.url(), 3, &["--verify", "--wait", "20"]).run();
    ended.code(7).stderr_has("403").stderr_has("Access denied.");
    assert_eq!(lines(&ended.stdout).len(), 3);
}

#[test]
fn traces_that_cannot_be_counted_in_time_are_reported() {
    for session in [&[][..], &["--session", "shared"]] {
        let memory = Memory::default();
        let known = memory.clone();
        // It counts one too few; the list that tells which has a second page, which never comes.
        let langfuse = Scripted::start(move |request, _| match known.answer(request) {
            _ if request.path.starts_with("/api/public/v2/metrics") => Reply::json(
                200,
                &json!({"data": [{"uniq_traceId": 2, "count_count": 4}]}),
            ),
            _ if request.path.contains("cursor=") => Reply::Hang,
            Reply::Answer(200, _, body) if request.path.starts_with(OBSERVATIONS) => {
                let mut page: Value = serde_json::from_str(&body).unwrap();
                page["data"].as_array_mut().unwrap().truncate(1);
                page["meta"] = json!({"cursor": "second"});
                Reply::json(200, &page)
            }
            reply => reply,
        });
        let call = batch_of(&before(langfuse), 3, &["--verify", "--wait", "0.5"]);
        let call = session.iter().fold(call, |call, word| call.arg(word));
        call.run()
            .code(7)
            .stderr_has(
                "error: the traces could not be counted: found 1 of 3 traces in time\nhint: ",
            )
            .stderr_has("--wait");
    }
}

#[test]
fn a_trace_with_a_missing_span_is_detected() {
    for session in [&[][..], &["--session", "shared"]] {
        let memory = Memory::default();
        let known = memory.clone();
        let langfuse = remembering(&memory, move |request, _| {
            known.take_one(request);
            Some(accepted())
        });
        let call = batch_of(&before(langfuse), 1, &["--verify", "--wait", "0.5"]);
        let call = session.iter().fold(call, |call, word| call.arg(word));
        call.run()
            .code(7)
            .stderr_has("error: 1 of 1 traces can be read, and 1 of 2 spans\nhint: ");
    }
}
