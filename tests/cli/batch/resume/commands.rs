//! Two runs of one output, and the commands that a run prints.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{ACKS, OUT, RESUME, RETRY, again, assert_answered, begun, failing_once, named, resume};
use crate::support::batch::output::{by_number_in, trace_ids_in};
use crate::support::batch::servers::{answer, asked, assert_once, langfuse, line_of, model, once};
use crate::support::batch::{batch, prompts};
use crate::support::harness::{Ended, Langspan, Reply, Scripted, TRACES, wait_until};
use crate::support::memory::Memory;
use crate::support::stand_in::Sandbox;
use crate::support::untouched::Untouched;

#[test]
fn two_runs_do_not_share_an_output() {
    let hanging = Scripted::always(Reply::Hang);
    let langfuse = langfuse(&Memory::default());
    let call = batch(
        &prompts(3),
        &hanging,
        &langfuse,
        &[&RESUME[..], &["--run", "r"]].concat(),
    );
    let mut first = call.spawn();
    wait_until("the first run asks", || !hanging.requests().is_empty());
    let before = fs::read(call.home().join(ACKS)).unwrap();
    let silent = Untouched::start();
    for other in ["--resume", "--overwrite", "--ordered"] {
        let arguments = ["in.jsonl", "--out", OUT, "--run", "r", other];
        again(&call, silent.url(), silent.url(), &arguments)
            .run()
            .code(6)
            .stderr_has("another run")
            .stderr_has(OUT);
        assert_eq!(fs::read(call.home().join(ACKS)).unwrap(), before);
    }
    silent.assert_untouched();
    first.kill().unwrap();
    first.wait_with_output().unwrap();
    // A killed run holds nothing.
    let model = model();
    resume(&call, &model, &langfuse, &[]).run().code(0);
    assert_eq!(by_number_in(&call.home().join(OUT)).len(), 3);
}

/// Runs a command as a shell does, in the home of an earlier call.
fn shell(call: &Langspan, command: &str, model: &str, langfuse: &str) -> Ended {
    let binary = Path::new(env!("CARGO_BIN_EXE_langspan"));
    let path = format!("{}:/usr/bin:/bin", binary.parent().unwrap().display());
    let env = again(call, model, langfuse, &[]);
    let output = Command::new("sh")
        .args(["-c", command])
        .env_clear()
        .envs(
            env.command()
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .env("PATH", path)
        .current_dir(call.home())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    call.ended(&output)
}

#[test]
fn the_command_that_is_printed_after_a_signal_continues() {
    for (arguments, input) in [
        (
            &[
                "batch",
                "in put's.jsonl",
                "--out",
                OUT,
                "--overwrite",
                "-j",
                "2",
            ][..],
            "in put's.jsonl",
        ),
        (
            &["batch", "--out", OUT, "-j", "2", "--", "-in.jsonl"],
            "-in.jsonl",
        ),
    ] {
        let (memory, model) = (Memory::default(), model());
        let langfuse = langfuse(&memory);
        // Two lines are answered once the signal was sent; what follows never is.
        let gate = Arc::new(Mutex::new(()));
        let first = Scripted::start({
            let gate = Arc::clone(&gate);
            move |request, _| {
                drop(gate.lock().unwrap());
                answer(line_of(request))
            }
        });
        let held = gate.lock().unwrap();
        let call = Langspan::new(arguments)
            .model_at(first.url())
            .langfuse_at(langfuse.url());
        call.file(input, prompts(5));
        let mut child = call.spawn();
        wait_until("two lines are asked", || first.requests().len() == 2);
        let sent = Command::new("kill")
            .args(["-s", "INT", &child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        // The run says so once it has the signal.
        let mut said = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        while !said.contains("stopping") {
            assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
        }
        drop(held);
        stderr.read_to_string(&mut said).unwrap();
        let mut ended = call.ended(&child.wait_with_output().unwrap());
        ended.stderr = said;
        ended.stderr_has("stopping: finishing 2 calls; press Ctrl-C again to quit now\n");
        ended.code(130);
        assert_eq!(first.requests().len(), 2);
        let out = call.home().join(OUT);
        assert_once(&memory, trace_ids_in(&out).values());
        assert_eq!(by_number_in(&out).len(), 2);

        let command = named(&ended, "continue with: ");
        shell(&call, &command, model.url(), langfuse.url()).code(0);
        assert_eq!(asked(&model), once(3..=5), "{command}");
        assert_eq!(by_number_in(&out).len(), 5);
        assert_once(&memory, trace_ids_in(&out).values());
    }
}

#[test]
fn the_command_that_is_printed_after_failures_redoes_them() {
    let (memory, model) = (Memory::default(), failing_once(&[2]));
    let langfuse = langfuse(&memory);
    let call = batch(&prompts(3), &model, &langfuse, &["--out", OUT]);
    let ended = call.run();
    ended.code(8);
    let command = named(&ended, "to retry them: ");
    shell(&call, &command, model.url(), langfuse.url()).code(0);
    assert_answered(&call.home().join(OUT), 3);
}

#[test]
fn overwrite_starts_a_new_run() {
    let (memory, model) = (Memory::default(), model());
    let langfuse = langfuse(&memory);
    let call = batch(
        &prompts(3),
        &model,
        &langfuse,
        &["--out", OUT, "--run", "r", "--overwrite"],
    );
    call.run().code(0);
    call.file("in.jsonl", prompts(1));
    call.run().code(0);
    assert_eq!(by_number_in(&call.home().join(OUT)).len(), 1);
    let acks = fs::read_to_string(call.home().join(ACKS)).unwrap();
    assert_eq!(acks.lines().count(), 5, "{acks}");
}

#[test]
fn verify_does_not_count_other_traces_of_the_session() {
    let (memory, model) = (Memory::default(), failing_once(&[2]));
    let healthy = langfuse(&memory);
    let call = begun(3, &model, &healthy);
    call.run().code(8);
    // The failure's trace stays; that of the redo does not arrive.
    let forgetful = Scripted::start({
        let memory = memory.clone();
        move |request, _| match request.path.as_str() {
            TRACES => Reply::json(200, &json!({})),
            _ => memory.answer(request),
        }
    });
    let verified = ["--verify", "--wait", "1"];
    resume(&call, &model, &forgetful, &[RETRY, &verified].concat())
        .run()
        .code(7)
        .stderr_has("3 of 4 traces");
    resume(&call, &model, &forgetful, &verified)
        .run()
        .code(7)
        .stderr_has("2 of 3 traces");

    // Nor do the traces of others who use the same session.
    let shared = ["in.jsonl", "--session", "r", "--verify", "--wait", "1"];
    again(&call, model.url(), forgetful.url(), &shared)
        .run()
        .code(7)
        .stderr_has("0 of 3 traces");
}

#[test]
fn verify_counts_the_traces_of_every_part_of_a_run() {
    let (model, sandbox) = (model(), Sandbox::start());
    let call = Langspan::new(&["batch", "in.jsonl", "--out", OUT, "--resume", "--verify"])
        .model_at(model.url())
        .langfuse_at(sandbox.url());
    call.file("in.jsonl", prompts(3));
    call.run().code(0);
    call.file("in.jsonl", prompts(5));
    let ended = call.clone().arg("-o").arg("json").run();
    ended.code(0);
    assert_eq!(ended.json()["traces"]["verified"], 5);
    for id in trace_ids_in(&call.home().join(OUT)).values() {
        assert_eq!(sandbox.observations(id).len(), 2);
    }
}

/// A run in three stretches: a kill, and two failed lines of which one is answered at last.
#[test]
fn the_summary_covers_the_whole_run() {
    let (memory, model) = (Memory::default(), failing_once(&[2, 5]));
    let langfuse = langfuse(&memory);
    let call = begun(6, &model, &langfuse);
    call.clone().arg("--limit").arg("3").run().code(8);
    let summary = |options: &[&str], code: i32| {
        let options = [options, &["--summary", "s.json"]].concat();
        let ended = resume(&call, &model, &langfuse, &options).run();
        ended.code(code);
        let text = fs::read_to_string(call.home().join("s.json")).unwrap();
        (ended, serde_json::from_str::<Value>(&text).unwrap())
    };
    let (_, second) = summary(&[], 8);
    assert_eq!(
        second["lines"],
        json!({"done": 6, "failed": 2, "skipped": 3, "causes": {"HTTP 400": 2}})
    );
    assert_eq!(second["traces"]["accepted"], 6);
    assert_eq!(second["tokens"], json!({"input": 4 * 23, "output": 4 * 35}));
    let (ended, third) = summary(RETRY, 0);
    assert_eq!(
        third["lines"],
        json!({"done": 6, "failed": 0, "skipped": 4, "causes": {}})
    );
    assert_eq!(third["traces"]["accepted"], 6);
    assert_eq!(third["answers"]["finish_reasons"]["stop"], 6);
    ended.stderr_has("6 lines: 6 answered, 0 failed; 4 of them completed earlier\n");
    // Nothing is left to do, and the numbers stay.
    let (ended, fourth) = summary(&[], 0);
    for field in ["tokens", "traces", "answers", "latency_ms"] {
        assert_eq!(fourth[field], third[field], "{field}");
    }
    assert!(fourth["seconds"].as_f64() >= Some(0.001) || third["seconds"] == fourth["seconds"]);
    ended.stderr_has("6 lines: 6 answered, 0 failed; 6 of them completed earlier\n");
}
