//! Failed lines are asked again with `--retry-errors`.

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;

use super::{
    ACKS, OUT, RETRY, assert_answered, assert_once_with, begun, cut_to_lines, failing,
    failing_once, kill_while_retrying, refusing, resend, resume,
};
use crate::support::batch::output::{by_number_in, lines_in, trace_ids_in};
use crate::support::batch::servers::{asked, assert_once, langfuse, model, once};
use crate::support::batch::{batch, digest_of, id_of, prompt, prompts};
use crate::support::harness::{Langspan, OBSERVATIONS, Reply, Scripted};
use crate::support::memory::Memory;

/// What the trace id of one of the [`prompts`] is made of, beside the run's name.
fn name_of(line: u64) -> String {
    format!(
        "line-{line}/{}",
        digest_of(&prompt(&format!("line {line}")))
    )
}

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
        let retry = resume(&call, &model, &langfuse, RETRY);
        retry.run().code(8);
        let second = trace_ids_in(&out);
        retry.run().code(0);
        let third = trace_ids_in(&out);
        assert_answered(&out, 5);

        let mut expected = once(1..=5);
        expected.extend([(2, 3), (4, 3)]);
        assert_eq!(asked(&model), expected);
        let name = |line: u64| match line {
            4 if input.contains("four") => "four".to_owned(),
            _ => name_of(line),
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
    let call = begun(3, &model, &langfuse);
    call.run().code(8);
    kill_while_retrying(&call, &langfuse);
    let out = call.home().join(OUT);
    assert_eq!(lines_in(&out).len(), 2, "the failed line is taken out");
    // The line is unanswered now: it is asked with or without being told to redo the failed ones.
    resume(&call, &model, &langfuse, &[]).run().code(0);
    assert_answered(&out, 3);
    assert_eq!(
        trace_ids_in(&out)[&2],
        id_of(&format!("r/{}/retry-1", name_of(2)))
    );
    assert_once_with(&memory, &out, id_of(&format!("r/{}", name_of(2))));
}

#[test]
fn a_kill_before_the_failed_lines_are_taken_out_changes_nothing() {
    for options in [&[], RETRY] {
        let (memory, model) = (Memory::default(), failing_once(&[2]));
        let langfuse = langfuse(&memory);
        let call = begun(3, &model, &langfuse);
        call.run().code(8);
        let (out, acks) = (call.home().join(OUT), call.home().join(ACKS));
        let before = fs::read(&out).unwrap();
        kill_while_retrying(&call, &langfuse);
        // The redo was noted, but the output is what it was.
        assert!(fs::read_to_string(&acks).unwrap().contains("redone"));
        fs::write(&out, before).unwrap();

        let ended = resume(&call, &model, &langfuse, options).run();
        let ids = trace_ids_in(&out);
        if options == RETRY {
            ended.code(0);
            assert_answered(&out, 3);
            assert_eq!(ids[&2], id_of(&format!("r/{}/retry-1", name_of(2))));
        } else {
            ended.code(8);
            assert_eq!(ids[&2], id_of(&format!("r/{}", name_of(2))));
        }
        let mut all: BTreeSet<String> = ids.into_values().collect();
        all.insert(id_of(&format!("r/{}", name_of(2))));
        assert_once(&memory, &all);
    }
}

#[test]
fn the_trace_of_a_failure_arrives_although_its_line_is_asked_again() {
    let (memory, model) = (Memory::default(), failing_once(&[2]));
    let nowhere = langfuse(&Memory::default());
    let call = begun(3, &model, &nowhere);
    call.run().code(8);
    cut_to_lines(&call.home().join(ACKS), 1);
    let langfuse = langfuse(&memory);
    // Killed while the line is under way again.
    kill_while_retrying(&call, &langfuse);
    let ended = resume(&call, &model, &langfuse, RETRY).run();
    ended.code(0);
    resend(&ended, &langfuse);
    assert_once_with(
        &memory,
        &call.home().join(OUT),
        id_of(&format!("r/{}", name_of(2))),
    );
}

#[test]
fn a_failed_line_is_not_asked_again_while_its_trace_may_be_missing() {
    let (memory, model) = (Memory::default(), failing_once(&[2]));
    let nowhere = langfuse(&Memory::default());
    let call = begun(3, &model, &nowhere);
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
    resume(&call, &model, &mute, RETRY).run().code(5);
    assert_eq!(by_number_in(&call.home().join(OUT)), before);
    assert_eq!(asked(&model), once(1..=3));

    let langfuse = langfuse(&memory);
    resume(&call, &model, &langfuse, RETRY).run().code(0);
    assert_once_with(
        &memory,
        &call.home().join(OUT),
        id_of(&format!("r/{}", name_of(2))),
    );
}

#[test]
fn a_failed_line_is_not_asked_again_while_its_trace_waits_in_the_outbox() {
    let (memory, model) = (Memory::default(), failing_once(&[2]));
    let refusing = refusing();
    let call = begun(3, &model, &refusing);
    call.run().code(5);
    resume(&call, &model, &refusing, RETRY).run().code(5);
    assert_eq!(asked(&model), once(1..=3));

    let langfuse = langfuse(&memory);
    let ended = resume(&call, &model, &langfuse, RETRY).run();
    ended.code(0);
    assert_eq!(ended.outbox_files(), Vec::<String>::new());
    assert_once_with(
        &memory,
        &call.home().join(OUT),
        id_of(&format!("r/{}", name_of(2))),
    );
}

#[test]
fn delivery_from_the_outbox_is_noted_in_the_acks() {
    let (memory, model) = (Memory::default(), model());
    let refusing = refusing();
    let call = begun(3, &model, &refusing);
    call.run().code(5);
    let langfuse = langfuse(&memory);
    resume(&call, &model, &langfuse, &[]).run().code(0);
    let acks = fs::read_to_string(call.home().join(ACKS)).unwrap();
    let ended = resume(&call, &model, &langfuse, &["--no-outbox"]).run();
    ended.code(0).stderr_has("traces: 3 accepted");
    assert_eq!(fs::read_to_string(call.home().join(ACKS)).unwrap(), acks);
}

#[test]
fn retry_errors_needs_resume() {
    let call = Langspan::new(&["batch", "in.jsonl", "--out", OUT, "--retry-errors"]);
    call.file("in.jsonl", prompts(1));
    call.run().code(2).stderr_has("--resume");
}
