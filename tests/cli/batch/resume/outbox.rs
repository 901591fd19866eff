//! Traces that wait in the outbox.

use serde_json::json;

use super::{ACKS, OUT, RESUME, again, cut_to_lines, resume, spooled};
use crate::support::batch::output::trace_ids_in;
use crate::support::batch::servers::{asked, assert_once, langfuse, model, once};
use crate::support::batch::{batch, prompts};
use crate::support::harness::{Langspan, Reply, Scripted};
use crate::support::memory::Memory;

#[test]
fn a_spooled_trace_is_delivered_from_its_entry() {
    let (memory, model) = (Memory::default(), model());
    let (call, ended) = spooled(&model);
    let langfuse = langfuse(&memory);
    for _ in 0..2 {
        resume(&call, &model, &langfuse, &[]).run().code(0);
        assert!(
            ended.outbox_files().is_empty(),
            "{:?}",
            ended.outbox_files()
        );
        assert_once(&memory, trace_ids_in(&call.home().join(OUT)).values());
        assert_eq!(asked(&model), once(1..=4));
    }
}

#[test]
fn a_spooled_trace_whose_entry_is_gone_was_delivered() {
    let (memory, model) = (Memory::default(), model());
    let (call, ended) = spooled(&model);
    let langfuse = langfuse(&memory);
    let resend = Langspan::new(&["resend"])
        .langfuse_at(langfuse.url())
        .after(&ended);
    resend.run().code(0);
    let exports = langfuse.exports().len();
    resume(&call, &model, &langfuse, &[]).run().code(0);
    assert_eq!(langfuse.exports().len(), exports);
    assert_once(&memory, trace_ids_in(&call.home().join(OUT)).values());
}

#[test]
fn a_spooled_trace_of_another_project_stays() {
    let (memory, model) = (Memory::default(), model());
    let (call, ended) = spooled(&model);
    let waiting = ended.outbox_files();
    let langfuse = langfuse(&memory);
    resume(&call, &model, &langfuse, &[])
        .env("LANGFUSE_PUBLIC_KEY", "pk-lf-another")
        .run()
        .code(5)
        .stderr_has("pk-lf-sandbox");
    assert_eq!(ended.outbox_files(), waiting);
    assert!(memory.all_counts().is_empty());
}

#[test]
fn a_spooled_trace_is_not_forgotten_by_a_run_without_an_outbox() {
    let (memory, model) = (Memory::default(), model());
    let (call, ended) = spooled(&model);
    let waiting = ended.outbox_files();
    let langfuse = langfuse(&memory);
    resume(&call, &model, &langfuse, &["--no-outbox"])
        .run()
        .code(5)
        .stderr_has("4 traces");
    assert_eq!(ended.outbox_files(), waiting);
}

#[test]
fn unsampled_traces_are_not_reported_missing() {
    let (memory, model) = (Memory::default(), model());
    let langfuse = langfuse(&memory);
    let given = [&["in.jsonl"][..], &RESUME, &["--run", "r", "--sample", "0"]].concat();
    let call = batch(&prompts(3), &model, &langfuse, &given[1..]);
    call.run().code(0);
    cut_to_lines(&call.home().join(ACKS), 1);
    let mute = Scripted::always(Reply::json(403, &json!({"message": "Forbidden"})));
    again(&call, model.url(), mute.url(), &given).run().code(0);
    assert!(memory.all_counts().is_empty());
    assert_eq!(asked(&model), once(1..=3));
}

#[test]
fn a_spooled_trace_that_is_refused_again_stays() {
    let model = model();
    let (call, ended) = spooled(&model);
    let waiting = ended.outbox_files();
    let refusing = Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "Still no."})));
    resume(&call, &model, &refusing, &[])
        .run()
        .code(5)
        .stderr_has("Still no.");
    assert_eq!(ended.outbox_files(), waiting);
    assert_eq!(asked(&model), once(1..=4));
}
