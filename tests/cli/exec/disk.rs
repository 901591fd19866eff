//! A disk that is full: while spans arrive, while the journal is written, and at the end. A limit of the size of files
//! acts as one.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::support::exec::{Session, TRACE, span};
use crate::support::harness::{Ended, Langspan, Reply, Scripted, dead_url};
use crate::support::memory::Memory;
use crate::support::stand_in::Sandbox;

/// A run whose files end at `kibibytes`.
fn limited(kibibytes: u32, langfuse: &str) -> Session {
    let call = Langspan::new(&["exec", "--trace-id", TRACE, "--export-timeout", "5"]);
    Session::start_limited(call.langfuse_at(langfuse), kibibytes)
}

fn big(id: u64, bytes: usize) -> Value {
    let text = "x".repeat(bytes);
    span(TRACE, id, None, "s", &json!({"input.value": text}))
}

#[test]
fn spans_that_the_disk_does_not_take_are_kept_in_memory_and_delivered() {
    let memory = Memory::default();
    let known = memory.clone();
    let langfuse = Scripted::start(move |request, _| known.answer(request));
    let session = limited(32, langfuse.url());
    for id in 1..=40 {
        session.send(&[big(id, 4000)]);
    }
    let ended = session.finish();
    ended
        .code(0)
        .stderr_has("warning: the outbox takes nothing")
        .stderr_has("40 spans received");
    for id in 1..=40 {
        assert_eq!(memory.count(TRACE, &format!("{id:016x}")), 1, "{id}");
    }
    assert!(
        ended.outbox_files().is_empty(),
        "{:?}",
        ended.outbox_files()
    );
}

#[test]
fn what_neither_disk_nor_memory_takes_is_not_acknowledged() {
    let memory = Memory::default();
    let known = memory.clone();
    let langfuse = Scripted::start(move |request, _| known.answer(request));
    let session = limited(16, langfuse.url());
    let mut taken = BTreeSet::new();
    let mut refused = 0;
    for id in 1..=24 {
        let answer = session.export(&crate::support::exec::request("t", &[big(id, 1 << 20)]));
        match answer.status {
            200 => drop(taken.insert(id)),
            503 => {
                assert!(answer.head.contains("retry-after"), "{answer:?}");
                refused += 1;
            }
            _ => panic!("{answer:?}"),
        }
    }
    assert!(refused > 0 && taken.len() > 10, "{refused} refused");
    session.finish().code(0);
    for id in 1..=24 {
        let count = memory.count(TRACE, &format!("{id:016x}"));
        assert_eq!(count, usize::from(taken.contains(&id)), "{id}");
    }
}

#[test]
fn where_the_end_finds_no_room_the_journal_is_delivered_and_else_waits() {
    // The journal fits; what it is put together to does not, beside it.
    let fill = |session: &Session| {
        for id in 1..=10 {
            session.send(&[big(id, 3000)]);
        }
    };
    let outbox_of = |call: &Langspan| call.home().join(".local/state/langspan/outbox");
    let block = |session: &Session| {
        // A folder in the place of the file that the run would be written to.
        let journal = &crate::support::exec::outbox_files(session.home(), ".exec.jsonl")[0];
        let name = journal.file_name().unwrap().to_string_lossy().into_owned();
        let id = name.trim_end_matches(".exec.jsonl");
        fs::create_dir(journal.with_file_name(format!("{id}.tmp"))).unwrap();
        id.to_owned()
    };
    let sandbox = Sandbox::start();
    let call = Langspan::new(&["exec", "--trace-id", TRACE]).at(&sandbox);
    let session = Session::start(call.clone());
    fill(&session);
    let id = block(&session);
    session.finish().code(0);
    assert_eq!(sandbox.observations(TRACE).len(), 11);
    assert!(!outbox_of(&call).join(format!("{id}.exec.jsonl")).exists());

    let call = Langspan::new(&["exec", "--trace-id", TRACE, "--export-timeout", "1"])
        .langfuse_at(&dead_url());
    let session = Session::start(call.clone());
    fill(&session);
    let id = block(&session);
    let journal = outbox_of(&call).join(format!("{id}.exec.jsonl"));
    session
        .finish()
        .code(5)
        .stderr_has(&format!("the spans are kept in {}", journal.display()));
    fs::remove_dir(outbox_of(&call).join(format!("{id}.tmp"))).unwrap();
    let memory = Memory::default();
    let known = memory.clone();
    let langfuse = Scripted::start(move |request, _| known.answer(request));
    let resend = Langspan::new(&["resend"]).langfuse_at(langfuse.url());
    resend.beside(&call).run().code(0);
    for id in 1..=10 {
        assert_eq!(memory.count(TRACE, &format!("{id:016x}")), 1);
    }
}

#[test]
fn what_is_lost_on_a_full_disk_is_said_and_the_childs_code_wins() {
    let lost = |code| -> Ended {
        let call = Langspan::new(&["exec", "--export-timeout", "1", "--report", "report.json"]);
        let session = Session::start_limited_ending(call.langfuse_at(&dead_url()), 8, code);
        session.send(&[big(1, 3000)]);
        session.send(&[big(2, 9000)]);
        session.finish()
    };
    let ended = lost(0);
    ended
        .code(5)
        .stderr_has("the spans are LOST: the outbox")
        .stderr_has("File too large");
    lost(3).code(3);
}

#[test]
fn a_part_that_was_accepted_is_not_sent_twice() {
    let memory = Memory::default();
    let known = memory.clone();
    // The first export is taken; of the others nothing, until later.
    let langfuse = Scripted::start(move |request, count| {
        let is_export = request.path == crate::support::harness::TRACES;
        if is_export && (1..3).contains(&count) {
            return Reply::json(400, &json!({"message": "not now"}));
        }
        known.answer(request)
    });
    let call = Langspan::new(&["exec", "--trace-id", TRACE]).langfuse_at(langfuse.url());
    let session = Session::start(call.clone());
    for id in 1..=5 {
        // Requests of several megabytes, so that the run needs more than one.
        session.send(&[big(id, 2 << 20)]);
    }
    let journal = &crate::support::exec::outbox_files(session.home(), ".exec.jsonl")[0];
    let name = journal.file_name().unwrap().to_string_lossy().into_owned();
    let id = name.trim_end_matches(".exec.jsonl");
    let blocked = journal.with_file_name(format!("{id}.tmp"));
    fs::create_dir(&blocked).unwrap();
    session.finish().code(5).stderr_has("not now");
    fs::remove_dir(&blocked).unwrap();
    let resend = Langspan::new(&["resend"]).langfuse_at(langfuse.url());
    let resend = resend.beside(&call);
    for _ in 0..3 {
        if resend.run().code == Some(0) {
            break;
        }
    }
    for id in 1..=5 {
        assert_eq!(memory.count(TRACE, &format!("{id:016x}")), 1, "{id}");
    }
}

#[test]
fn a_journal_that_was_emptied_fails_the_run_and_not_the_child() {
    for (code, expected) in [(0, 1), (3, 3)] {
        let sandbox = Sandbox::start();
        let call = Langspan::new(&["exec", "--report", "report.json"]).at(&sandbox);
        let session = Session::start_ending(call.clone(), code);
        session.send(&[big(1, 10)]);
        fs::write(
            &crate::support::exec::outbox_files(session.home(), ".exec.jsonl")[0],
            "",
        )
        .unwrap();
        session
            .finish()
            .code(expected)
            .stderr_has("the journal has no first line")
            .stderr_lacks("nothing was seen");
        let report = fs::read(call.home().join("report.json")).unwrap();
        let report: Value = serde_json::from_slice(&report).unwrap();
        assert_eq!(
            (&report["ok"], &report["trace"]),
            (&json!(false), &Value::Null)
        );
        assert_eq!(report["child"]["exit_code"], code);
    }
}
