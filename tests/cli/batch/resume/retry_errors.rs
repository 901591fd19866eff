//! Failed lines are asked again with `--retry-errors`.

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;

use super::{
    ACKS, OUT, RESUME, RETRY, again, assert_answered, cut_to_lines, failing, failing_once,
};
use crate::support::batch::output::{by_number_in, lines_in, trace_ids_in};
use crate::support::batch::servers::{asked, assert_once, langfuse, model, once};
use crate::support::batch::{batch, id_of, prompts};
use crate::support::harness::{Langspan, OBSERVATIONS, Reply, Scripted, wait_until};
use crate::support::memory::Memory;

#[test]
fn only_failed_lines_are_asked_again_each_with_a_trace_of_its_own() {
    for input in [
        prompts(5),
        prompts(5).replace("\"line 4\"", "\"line 4\",\"custom_id\":\"four\""),
    ] {
        let (memory, model) = (Memory::default(), failing(&[2, 4], 2));
        let langfuse = langfuse(&memory);
        let call = batch(&input, &model, &langfuse, &["--out", OUT, "--run", "r"]);
        call.run().code(8);
        let out = call.home().join(OUT);
        let first = trace_ids_in(&out);
        let retry = again(&call, model.url(), langfuse.url(), &RETRY);
        retry.run().code(8);
        let second = trace_ids_in(&out);
        retry.run().code(0);
        let third = trace_ids_in(&out);
        assert_answered(&out, 5);

        let mut expected = once(1..=5);
        expected.extend([(2, 3), (4, 3)]);
        assert_eq!(asked(&model), expected);
        let four = if input.contains("four") {
            "four"
        } else {
            "line-4"
        };
        let name = |line: u64| {
            if line == 4 {
                four.to_owned()
            } else {
                format!("line-{line}")
            }
        };
        for line in 1..=5 {
            let id = |redo: usize| match (line, redo) {
                (2 | 4, 1..) => id_of(&format!("r/{}/retry-{redo}", name(line))),
                _ => id_of(&format!("r/{}", name(line))),
            };
            assert_eq!(
                [&first[&line], &second[&line], &third[&line]],
                [&id(0), &id(1), &id(2)]
            );
        }
        let all: BTreeSet<&String> = first
            .values()
            .chain(second.values())
            .chain(third.values())
            .collect();
        assert_eq!(all.len(), 9);
        assert_once(&memory, all);
        // Nothing is left to be asked again.
        retry.run().code(0);
        assert_eq!(asked(&model), expected);
    }
}

#[test]
fn a_redo_that_was_killed_keeps_its_number() {
    let (memory, model) = (Memory::default(), failing_once(&[2]));
    let langfuse = langfuse(&memory);
    let call = batch(
        &prompts(3),
        &model,
        &langfuse,
        &["--out", OUT, "--run", "r"],
    );
    call.run().code(8);
    let hanging = Scripted::always(Reply::Hang);
    let mut child = again(&call, hanging.url(), langfuse.url(), &RETRY).spawn();
    wait_until("the failed line is asked again", || {
        !hanging.requests().is_empty()
    });
    child.kill().unwrap();
    child.wait_with_output().unwrap();
    let out = call.home().join(OUT);
    assert_eq!(lines_in(&out).len(), 2, "the failed line is taken out");
    // The line is unanswered now: it is asked with or without being told to redo the failed ones.
    let arguments = &RETRY[..4];
    again(&call, model.url(), langfuse.url(), arguments)
        .run()
        .code(0);
    assert_answered(&out, 3);
    assert_eq!(trace_ids_in(&out)[&2], id_of("r/line-2/retry-1"));
    let mut all: Vec<String> = trace_ids_in(&out).into_values().collect();
    all.push(id_of("r/line-2"));
    assert_once(&memory, &all);
}

#[test]
fn a_kill_before_the_failed_lines_are_taken_out_changes_nothing() {
    for arguments in [&RETRY[..4], &RETRY] {
        let (memory, model) = (Memory::default(), failing_once(&[2]));
        let langfuse = langfuse(&memory);
        let call = batch(
            &prompts(3),
            &model,
            &langfuse,
            &["--out", OUT, "--run", "r"],
        );
        call.run().code(8);
        let (out, acks) = (call.home().join(OUT), call.home().join(ACKS));
        let before = fs::read(&out).unwrap();
        let hanging = Scripted::always(Reply::Hang);
        let mut child = again(&call, hanging.url(), langfuse.url(), &RETRY).spawn();
        wait_until("the failed line is asked again", || {
            !hanging.requests().is_empty()
        });
        child.kill().unwrap();
        child.wait_with_output().unwrap();
        // The redo was noted, but the output is what it was.
        assert!(fs::read_to_string(&acks).unwrap().contains("redone"));
        fs::write(&out, before).unwrap();

        let ended = again(&call, model.url(), langfuse.url(), arguments).run();
        let ids = trace_ids_in(&out);
        if arguments.contains(&"--retry-errors") {
            ended.code(0);
            assert_answered(&out, 3);
            assert_eq!(ids[&2], id_of("r/line-2/retry-1"));
        } else {
            ended.code(8);
            assert_eq!(ids[&2], id_of("r/line-2"));
        }
        let mut all: BTreeSet<String> = ids.into_values().collect();
        all.insert(id_of("r/line-2"));
        assert_once(&memory, &all);
    }
}

#[test]
fn the_trace_of_a_failure_arrives_although_its_line_is_asked_again() {
    let (memory, model) = (Memory::default(), failing_once(&[2]));
    let nowhere = langfuse(&Memory::default());
    let call = batch(&prompts(3), &model, &nowhere, &["--out", OUT, "--run", "r"]);
    call.run().code(8);
    cut_to_lines(&call.home().join(ACKS), 1);
    let langfuse = langfuse(&memory);
    // Killed while the line is under way again.
    let hanging = Scripted::always(Reply::Hang);
    let mut child = again(&call, hanging.url(), langfuse.url(), &RETRY).spawn();
    wait_until("the failed line is asked again", || {
        !hanging.requests().is_empty()
    });
    child.kill().unwrap();
    child.wait_with_output().unwrap();
    let ended = again(&call, model.url(), langfuse.url(), &RETRY).run();
    ended.code(0);
    Langspan::new(&["resend"])
        .langfuse_at(langfuse.url())
        .after(&ended)
        .run()
        .code(0);
    let mut all: Vec<String> = trace_ids_in(&call.home().join(OUT)).into_values().collect();
    all.push(id_of("r/line-2"));
    assert_once(&memory, &all);
}

#[test]
fn a_failed_line_is_not_asked_again_while_its_trace_may_be_missing() {
    let (memory, model) = (Memory::default(), failing_once(&[2]));
    let nowhere = langfuse(&Memory::default());
    let call = batch(&prompts(3), &model, &nowhere, &["--out", OUT, "--run", "r"]);
    call.run().code(8);
    cut_to_lines(&call.home().join(ACKS), 1);
    let before = by_number_in(&call.home().join(OUT));
    let mute = Scripted::start({
        let memory = memory.clone();
        move |request, _| match request.path.split('?').next() {
            Some(OBSERVATIONS) => Reply::json(403, &json!({"message": "Forbidden"})),
            _ => memory.answer(request),
        }
    });
    again(&call, model.url(), mute.url(), &RETRY).run().code(5);
    assert_eq!(by_number_in(&call.home().join(OUT)), before);
    assert_eq!(asked(&model), once(1..=3));

    let langfuse = langfuse(&memory);
    again(&call, model.url(), langfuse.url(), &RETRY)
        .run()
        .code(0);
    let mut all: Vec<String> = trace_ids_in(&call.home().join(OUT)).into_values().collect();
    all.push(id_of("r/line-2"));
    assert_once(&memory, &all);
}

#[test]
fn a_failed_line_is_not_asked_again_while_its_trace_waits_in_the_outbox() {
    let (memory, model) = (Memory::default(), failing_once(&[2]));
    let refusing = Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "No."})));
    let call = batch(
        &prompts(3),
        &model,
        &refusing,
        &["--out", OUT, "--run", "r"],
    );
    call.run().code(5);
    again(&call, model.url(), refusing.url(), &RETRY)
        .run()
        .code(5);
    assert_eq!(asked(&model), once(1..=3));

    let langfuse = langfuse(&memory);
    let ended = again(&call, model.url(), langfuse.url(), &RETRY).run();
    ended.code(0);
    assert_eq!(ended.outbox_files(), Vec::<String>::new());
    let mut all: Vec<String> = trace_ids_in(&call.home().join(OUT)).into_values().collect();
    all.push(id_of("r/line-2"));
    assert_once(&memory, &all);
}

#[test]
fn what_was_delivered_from_the_outbox_waits_there_no_more() {
    let (memory, model) = (Memory::default(), model());
    let refusing = Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "No."})));
    let call = batch(
        &prompts(3),
        &model,
        &refusing,
        &["--out", OUT, "--run", "r"],
    );
    call.run().code(5);
    let langfuse = langfuse(&memory);
    let arguments = [&["in.jsonl"], &RESUME[..]].concat();
    again(&call, model.url(), langfuse.url(), &arguments)
        .run()
        .code(0);
    let acks = fs::read_to_string(call.home().join(ACKS)).unwrap();
    let without = [&arguments[..], &["--no-outbox"]].concat();
    let ended = again(&call, model.url(), langfuse.url(), &without).run();
    ended.code(0).stderr_has("traces: 0 accepted");
    assert_eq!(fs::read_to_string(call.home().join(ACKS)).unwrap(), acks);
}

#[test]
fn retry_errors_needs_resume() {
    let call = Langspan::new(&["batch", "in.jsonl", "--out", OUT, "--retry-errors"]);
    call.file("in.jsonl", prompts(1));
    call.run().code(2).stderr_has("--resume");
}
