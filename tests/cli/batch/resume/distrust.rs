//! State of the acks and the outbox that does not match the output.

use std::collections::BTreeMap;
use std::fs::{self, File};

use serde_json::{Value, json};

use super::{
    ACKS, OUT, RESUME, RETRY, assert_answered, cut_to_lines, failing, failing_once, refusing,
    resend, resume, spooled, unacknowledged,
};
use crate::support::batch::output::{by_number_in, trace_ids_in};
use crate::support::batch::servers::{asked, assert_once, langfuse, model};
use crate::support::batch::{batch, id_of, prompts};
use crate::support::harness::files_below;
use crate::support::memory::Memory;

#[test]
fn failed_lines_after_the_limit_stay_in_the_output() {
    let (memory, model) = (Memory::default(), failing(&[1, 2, 3, 4, 5], 9));
    let langfuse = langfuse(&memory);
    let call = batch(&prompts(5), &model, &langfuse, &RESUME);
    call.run().code(8);
    resume(
        &call,
        &model,
        &langfuse,
        &["--retry-errors", "--limit", "2"],
    )
    .run()
    .code(8);
    assert_eq!(by_number_in(&call.home().join(OUT)).len(), 5);
    let asked_twice: BTreeMap<u64, usize> = [(1, 2), (2, 2), (3, 1), (4, 1), (5, 1)].into();
    assert_eq!(asked(&model), asked_twice);
}

#[test]
fn acks_of_lines_missing_in_the_output_are_ignored() {
    let (memory, model) = (Memory::default(), model());
    let langfuse = langfuse(&memory);
    let call = batch(&prompts(3), &model, &langfuse, &RESUME);
    call.run().code(0);
    fs::remove_file(call.home().join(OUT)).unwrap();

    // Asked again, answered, but not delivered: nowhere, since there is no outbox either.
    let refusing = refusing();
    resume(&call, &model, &refusing, &["--no-outbox"])
        .run()
        .code(5);
    let before = langfuse.exports().len();
    resume(&call, &model, &langfuse, &[]).run().code(0);
    assert!(langfuse.exports().len() > before, "they are delivered now");
}

#[test]
fn a_run_without_tracing_leaves_undelivered_traces_for_later() {
    let (memory, model) = (Memory::default(), model());
    let call = unacknowledged(&Memory::default(), &model, 3);
    let langfuse = langfuse(&memory);
    resume(&call, &model, &langfuse, &[])
        .env("LANGFUSE_TRACING_ENABLED", "false")
        .run()
        .code(0);
    assert!(memory.all_counts().is_empty());
    resume(&call, &model, &langfuse, &[]).run().code(0);
    assert_once(&memory, trace_ids_in(&call.home().join(OUT)).values());
}

#[test]
fn an_outbox_entry_missing_in_the_acks_is_not_sent_twice() {
    let (memory, model) = (Memory::default(), model());
    let (call, ended) = spooled(&model);
    cut_to_lines(&call.home().join(ACKS), 1);
    let langfuse = langfuse(&memory);
    resume(&call, &model, &langfuse, &[]).run().code(0);
    resend(&ended, &langfuse);
    assert_once(&memory, trace_ids_in(&call.home().join(OUT)).values());
}

#[test]
fn lines_that_share_a_trace_are_each_delivered_once() {
    for in_entry in [2, 1] {
        let (memory, model) = (Memory::default(), model());
        let refusing = refusing();
        let input = prompts(2).replace("{\"prompt", "{\"custom_id\":\"twice\",\"prompt");
        let arguments = [&RESUME[..], &["--run", "r"]].concat();
        let call = batch(&input, &model, &refusing, &arguments);
        let ended = call.run();
        ended.code(5);
        // A kill came before the entry was noted, and before the spans of all lines were in it.
        cut_to_lines(&call.home().join(ACKS), 1);
        let mut entries = files_below(&ended.outbox());
        entries.retain(|file| file.extension().is_some_and(|suffix| suffix == "jsonl"));
        // The lines went together or each by itself: one entry is made of what there is.
        let kept = ended.kept();
        let spans = |request: &Value| {
            let spans = &request["resourceSpans"][0]["scopeSpans"][0]["spans"];
            spans.as_array().unwrap().clone()
        };
        let mut spans: Vec<Value> = kept.iter().flat_map(spans).collect();
        assert_eq!(spans.len(), 4);
        spans.truncate(2 * in_entry);
        let mut request = kept[0].clone();
        request["resourceSpans"][0]["scopeSpans"][0]["spans"] = json!(spans);
        for entry in &entries[1..] {
            fs::remove_file(entry).unwrap();
        }

        let langfuse = langfuse(&memory);
        resume(&call, &model, &langfuse, &[]).run().code(0);
        resend(&ended, &langfuse);
        assert_eq!(memory.counts(&id_of("r/twice")), [1; 4], "{in_entry}");
    }
}

#[test]
fn an_output_behind_a_link_is_rewritten_where_it_is() {
    let (memory, model) = (Memory::default(), failing_once(&[2]));
    let langfuse = langfuse(&memory);
    let call = batch(&prompts(3), &model, &langfuse, &RESUME);
    fs::create_dir(call.home().join("real")).unwrap();
    let real = call.home().join("real/out");
    File::create(&real).unwrap();
    std::os::unix::fs::symlink(&real, call.home().join(OUT)).unwrap();
    call.run().code(8);
    resume(&call, &model, &langfuse, RETRY).run().code(0);
    assert!(call.home().join(OUT).is_symlink());
    assert_answered(&real, 3);
}
