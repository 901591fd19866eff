//! `--shard`: parts of one input that cover all of it, each a run of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::process::Child;

use serde_json::{Value, json};

use crate::support::batch::output::{by_number_in, trace_ids_in};
use crate::support::batch::servers::{asked, langfuse, model, once};
use crate::support::batch::{batch, id_of_line, prompts};
use crate::support::harness::{Langspan, Reply, Scripted, TRACES};
use crate::support::memory::Memory;
use crate::support::stand_in::Sandbox;
use crate::support::untouched::Untouched;

const KUBERNETES: &str = "JOB_COMPLETION_INDEX";
const GITLAB: [&str; 2] = ["CI_NODE_INDEX", "CI_NODE_TOTAL"];
const SLURM: [&str; 4] = [
    "SLURM_ARRAY_TASK_ID",
    "SLURM_ARRAY_TASK_MIN",
    "SLURM_ARRAY_TASK_STEP",
    "SLURM_ARRAY_TASK_COUNT",
];
const BUILDKITE: [&str; 2] = ["BUILDKITE_PARALLEL_JOB", "BUILDKITE_PARALLEL_JOB_COUNT"];

/// The variables of a task in a Slurm array of `count` tasks from `first` on, `step` apart.
fn slurm(task: u64, first: u64, step: u64, count: u64) -> Vec<(&'static str, String)> {
    SLURM
        .into_iter()
        .zip([task, first, step, count].map(|number| number.to_string()))
        .collect()
}

/// The lines that a share of 10 holds.
fn share(index: u64, count: u64) -> Vec<u64> {
    (1..=10)
        .filter(|line| (line - 1) % count == index - 1)
        .collect()
}

/// What each of three shares writes, in one home, at the same time.
#[track_caller]
fn three_at_once(call: impl Fn(u64) -> Langspan) -> Vec<BTreeMap<u64, Value>> {
    let calls: Vec<Langspan> = (1..=3).map(call).collect();
    let processes: Vec<Child> = calls.iter().map(Langspan::spawn).collect();
    let ended = calls.iter().zip(processes).map(|(call, process)| {
        let output = process.wait_with_output().unwrap();
        call.ended(&output).code(0);
        by_number_in(&call.home().join("out.jsonl"))
    });
    ended.collect()
}

#[test]
fn the_shards_cover_every_line_once() {
    let (memory, model) = (Memory::default(), model());
    let langfuse = langfuse(&memory);
    // A blank line counts, and one line is not a request.
    let input = prompts(10).replace(&prompts(10).lines().nth(4).unwrap().to_owned(), "");
    let lines: Vec<u64> = (1..=10).filter(|line| *line != 5).collect();
    let parts = three_at_once(|index| {
        let shard = format!("{index}/3");
        batch(
            &input,
            &model,
            &langfuse,
            &["--out", "out.jsonl", "--run", "r", "--shard", &shard],
        )
    });
    assert_eq!(asked(&model), once(lines.clone()));
    for (index, part) in (1..).zip(&parts) {
        let expected: Vec<u64> = share(index, 3)
            .into_iter()
            .filter(|line| *line != 5)
            .collect();
        assert_eq!(part.keys().copied().collect::<Vec<_>>(), expected);
    }
    let union: BTreeMap<u64, Value> = parts.into_iter().flatten().collect();
    assert_eq!(union.keys().copied().collect::<Vec<_>>(), lines);

    // The same traces as of one run of that name.
    let whole = batch(
        &input,
        &model,
        &langfuse,
        &["--out", "out.jsonl", "--run", "r"],
    );
    whole.run().code(0);
    for (line, id) in trace_ids_in(&whole.home().join("out.jsonl")) {
        assert_eq!(union[&line]["langspan"]["trace_id"], id);
        assert_eq!(
            id,
            id_of_line("r", line, &format!("{{\"prompt\":\"line {line}\"}}"))
        );
    }
}

#[test]
fn each_share_is_verified_by_its_own_traces() {
    let (model, sandbox) = (model(), Sandbox::start());
    let share_of = |index: u64| {
        let shard = format!("{index}/3");
        let call = Langspan::new(&[
            "batch",
            "in.jsonl",
            "--out",
            "out.jsonl",
            "--run",
            "r",
            "--shard",
            &shard,
            "--verify",
            "--summary",
            "summary.json",
        ])
        .model_at(model.url())
        .langfuse_at(sandbox.url());
        call.file("in.jsonl", prompts(10));
        call
    };
    let calls = RefCell::new(Vec::new());
    three_at_once(|index| {
        let call = share_of(index);
        calls.borrow_mut().push(call.clone());
        call
    });
    for (index, call) in (1..).zip(calls.into_inner()) {
        let summary = fs::read_to_string(call.home().join("summary.json")).unwrap();
        let summary: Value = serde_json::from_str(&summary).unwrap();
        assert_eq!(summary["traces"]["verified"], share(index, 3).len());
    }
}

/// A dead share is noticed although the others' traces lie in the same session.
#[test]
fn a_shard_is_not_verified_by_the_traces_of_others() {
    let (memory, model) = (Memory::default(), model());
    let healthy = langfuse(&memory);
    batch(
        &prompts(10),
        &model,
        &healthy,
        &["--run", "r", "--shard", "1/2"],
    )
    .run()
    .code(0);
    // It takes everything, and keeps nothing.
    let forgetful = Scripted::start({
        let memory = memory.clone();
        move |request, _| match request.path.as_str() {
            TRACES => Reply::json(200, &json!({})),
            _ => memory.answer(request),
        }
    });
    let arguments = ["--run", "r", "--shard", "2/2", "--verify", "--wait", "1"];
    batch(&prompts(10), &model, &forgetful, &arguments)
        .run()
        .code(7)
        .stderr_has("0 of 5 traces");
}

#[test]
fn the_shard_is_read_from_the_job_runner() {
    let (model, langfuse) = (model(), langfuse(&Memory::default()));
    let cases = [
        ("auto/3", &[(KUBERNETES, "0")][..], (1, 3)),
        ("auto/3", &[(KUBERNETES, "2")], (3, 3)),
        ("auto/1", &[(KUBERNETES, "0")], (1, 1)),
        ("auto", &[(GITLAB[0], "1"), (GITLAB[1], "4")], (1, 4)),
        ("auto", &[(GITLAB[0], "4"), (GITLAB[1], "4")], (4, 4)),
        ("auto", &[(BUILDKITE[0], "0"), (BUILDKITE[1], "2")], (1, 2)),
        ("auto", &[(BUILDKITE[0], "1"), (BUILDKITE[1], "2")], (2, 2)),
    ];
    for (shard, variables, (index, count)) in cases {
        let arguments = ["--out", "out.jsonl", "--shard", shard];
        let call = batch(&prompts(10), &model, &langfuse, &arguments);
        let call = variables
            .iter()
            .fold(call, |call, (name, value)| call.env(name, value));
        call.run().code(0);
        let found: Vec<u64> = by_number_in(&call.home().join("out.jsonl"))
            .into_keys()
            .collect();
        assert_eq!(found, share(index, count), "{shard} {variables:?}");
        // A continued shard is the same, in whichever way it is given.
        let said = format!("{index}/{count}");
        let resumed = Langspan::new(&[
            "batch",
            "in.jsonl",
            "--out",
            "out.jsonl",
            "--resume",
            "--shard",
            &said,
        ])
        .model_at(model.url())
        .langfuse_at(langfuse.url())
        .after(&call.run());
        resumed.run().code(0);
    }
}

#[test]
fn the_shard_is_read_from_a_slurm_array() {
    let (model, langfuse) = (model(), langfuse(&Memory::default()));
    // --array=1-4, 0-3, 0-6:2 and 10-30:10.
    for (variables, (index, count)) in [
        (slurm(1, 1, 1, 4), (1, 4)),
        (slurm(4, 1, 1, 4), (4, 4)),
        (slurm(0, 0, 1, 4), (1, 4)),
        (slurm(3, 0, 1, 4), (4, 4)),
        (slurm(4, 0, 2, 4), (3, 4)),
        (slurm(30, 10, 10, 3), (3, 3)),
        (slurm(7, 7, 1, 1), (1, 1)),
    ] {
        // A CI job that submits an array hands its own variables down.
        let call = batch(
            &prompts(10),
            &model,
            &langfuse,
            &["-O", "out.jsonl", "--shard", "auto"],
        )
        .env(GITLAB[0], "1")
        .env(GITLAB[1], "2");
        let call = variables
            .iter()
            .fold(call, |call, (name, value)| call.env(name, value));
        call.run().code(0);
        let found: Vec<u64> = by_number_in(&call.home().join("out.jsonl"))
            .into_keys()
            .collect();
        assert_eq!(found, share(index, count), "{variables:?}");
    }
}

#[test]
fn a_slurm_array_with_gaps_is_refused() {
    let silent = Untouched::start();
    let run = |variables: &[(&str, String)]| {
        let call = Langspan::new(&["batch", "in.jsonl", "--shard", "auto"])
            .model_at(silent.url())
            .langfuse_at(silent.url());
        call.file("in.jsonl", prompts(2));
        let call = variables
            .iter()
            .fold(call, |call, (name, value)| call.env(name, value));
        call.run()
    };
    for variables in [
        // --array=1,2,5 has three tasks.
        slurm(5, 1, 1, 3),
        slurm(3, 0, 2, 4),
        slurm(1, 2, 1, 4),
        slurm(1, 1, 0, 4),
    ] {
        run(&variables)
            .code(3)
            .stderr_has(SLURM[0])
            .stderr_has("--array=1-8");
    }
    for missing in [1, 2] {
        let mut variables = slurm(1, 1, 1, 4);
        variables.remove(missing);
        run(&variables).code(3).stderr_has(SLURM[missing]);
    }
    silent.assert_untouched();
}

#[test]
fn an_impossible_shard_is_refused() {
    let silent = Untouched::start();
    let run = |shard: &str, variables: &[(&str, &str)]| {
        let call = Langspan::new(&["batch", "in.jsonl", "--shard", shard])
            .model_at(silent.url())
            .langfuse_at(silent.url());
        call.file("in.jsonl", prompts(2));
        let call = variables
            .iter()
            .fold(call, |call, (name, value)| call.env(name, value));
        call.run()
    };
    for wrong in [
        "0/3", "4/3", "3", "a/b", "1/0", "auto/0", "auto/x", "1/2/3", "", "1/",
    ] {
        run(wrong, &[]).code(2).stderr_has("K/N");
    }
    for (shard, variables, says) in [
        ("auto/3", &[][..], KUBERNETES),
        ("auto/3", &[(KUBERNETES, "3")], KUBERNETES),
        ("auto/3", &[(KUBERNETES, "x")], KUBERNETES),
        ("auto/3", &[(KUBERNETES, "-1")], KUBERNETES),
        ("auto", &[], GITLAB[0]),
        ("auto", &[(GITLAB[0], "1")], GITLAB[1]),
        ("auto", &[(GITLAB[0], "0"), (GITLAB[1], "4")], GITLAB[0]),
        ("auto", &[(GITLAB[0], "5"), (GITLAB[1], "4")], GITLAB[0]),
        ("auto", &[(GITLAB[0], "1"), (GITLAB[1], "0")], GITLAB[0]),
        (
            "auto",
            &[(BUILDKITE[0], "2"), (BUILDKITE[1], "2")],
            BUILDKITE[0],
        ),
    ] {
        run(shard, variables).code(3).stderr_has(says);
    }
    silent.assert_untouched();
}

#[test]
fn shards_without_a_name_are_warned_about() {
    const WARNING: &str = "without --run, each shard is a run of its own";
    let (memory, model) = (Memory::default(), model());
    let langfuse = langfuse(&memory);
    let call = batch(&prompts(2), &model, &langfuse, &["--shard", "1/2"]);
    call.run().code(0).stderr_has(WARNING);
    call.arg("--run")
        .arg("r")
        .run()
        .code(0)
        .stderr_lacks(WARNING);
}

/// The limit belongs to the input, so that the shards of it make up its beginning.
#[test]
fn a_limit_counts_lines_of_the_input() {
    let (memory, model) = (Memory::default(), model());
    let langfuse = langfuse(&memory);
    let parts = three_at_once(|index| {
        let shard = format!("{index}/3");
        let options = [
            "--out",
            "out.jsonl",
            "--run",
            "r",
            "--shard",
            &shard,
            "--limit",
            "5",
        ];
        batch(&prompts(10), &model, &langfuse, &options)
    });
    let lines: Vec<u64> = parts.iter().flat_map(|part| part.keys().copied()).collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(asked(&model), once(1..=5));
}
