//! Continuing after a kill.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{ACKS, OUT, again, begun, cut_to_lines, failing_once, resume};
use crate::support::batch::output::{by_number_in, text, trace_ids_in};
use crate::support::batch::servers::{answer, asked, assert_once, langfuse, line_of, model, once};
use crate::support::batch::{batch, id_of, prompts};
use crate::support::harness::{Langspan, Scripted};
use crate::support::memory::Memory;
use crate::support::untouched::Untouched;

/// Cuts the end of a file off.
fn cut_by(path: &Path, bytes: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - bytes)
        .unwrap();
}

#[test]
fn half_a_last_line_of_the_output_is_repaired() {
    for name in ["out.jsonl", "out.jsonl.gz", "out.jsonl.zst"] {
        let (memory, model) = (Memory::default(), model());
        let langfuse = langfuse(&memory);
        let call = batch(
            &prompts(6),
            &model,
            &langfuse,
            &["--out", name, "--resume", "--run", "r", "-j", "1"],
        );
        call.run().code(0);
        let out = call.home().join(name);
        let whole = trace_ids_in(&out);
        cut_by(&out, 60);
        call.run().code(0);
        assert_eq!(trace_ids_in(&out), whole, "{name}");
        let asked = asked(&model);
        let again: Vec<u64> = (1..=6).filter(|line| asked[line] == 2).collect();
        // A packed file may have held several lines in the piece that was cut.
        assert_eq!(again.last(), Some(&6), "{name}: {asked:?}");
        assert!(asked.values().sum::<usize>() <= 8, "{name}: {asked:?}");
        if name == OUT {
            assert_eq!(again, [6]);
        }
    }
}

/// A machine that crashes leaves NUL bytes where the file system had no time to write.
#[test]
fn nul_bytes_behind_the_last_line_are_repaired() {
    for begun_line in ["", "{\"id\":\"batch_req_1"] {
        let (memory, model) = (Memory::default(), model());
        let langfuse = langfuse(&memory);
        let call = begun(3, &model, &langfuse);
        call.run().code(0);
        let [out, acks] = [OUT, ACKS].map(|name| call.home().join(name));
        let whole = [&out, &acks].map(|path| fs::read(path).unwrap());
        for (path, line) in [(&out, begun_line), (&acks, "")] {
            let mut text = fs::read(path).unwrap();
            text.extend_from_slice(line.as_bytes());
            text.extend_from_slice(&[0; 5000]);
            fs::write(path, text).unwrap();
        }
        call.run().code(0);
        assert_eq!([&out, &acks].map(|path| fs::read(path).unwrap()), whole);
        assert_eq!(asked(&model), once(1..=3));
        assert_once(&memory, trace_ids_in(&out).values());
    }
}

#[test]
fn half_a_last_line_of_the_acks_is_dropped() {
    let (memory, model) = (Memory::default(), model());
    let langfuse = langfuse(&memory);
    let call = begun(6, &model, &langfuse);
    call.run().code(0);
    let acks = call.home().join(ACKS);
    cut_by(&acks, 3);
    for _ in 0..2 {
        call.run().code(0);
        assert_eq!(asked(&model), once(1..=6));
        assert_once(&memory, trace_ids_in(&call.home().join(OUT)).values());
        let text = fs::read_to_string(&acks).unwrap();
        for line in text.lines() {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {text}"));
        }
    }
}

/// Sets the last change of a file back.
fn age(path: &Path, hours: u64) {
    let file = File::options().write(true).open(path).unwrap();
    let time = SystemTime::now() - Duration::from_hours(hours);
    file.set_modified(time).unwrap();
}

#[test]
fn only_temporary_files_of_the_same_output_that_a_kill_left_behind_are_removed() {
    let (memory, model) = (Memory::default(), model());
    let langfuse = langfuse(&memory);
    let call = begun(1, &model, &langfuse);
    call.file(OUT, "");
    let file = |name: &str, hours| {
        let path = call.file(name, "x");
        age(&path, hours);
        path
    };
    let left_behind = file(".out.jsonl.langspan-aB3x", 2);
    let kept = [
        file(".out.jsonl.langspan-aB3y", 0),
        file(".out.jsonl.langspan-aB3xy", 2),
        file(".out.jsonl.langspan-aB.x", 2),
        file(".other.jsonl.langspan-aB3x", 2),
        file("out.jsonl.langspan-aB3x", 2),
        file(".tmpaB3xyz", 2),
    ];
    let locked = file(".out.jsonl.langspan-lock", 2);
    let lock = File::open(&locked).unwrap();
    lock.lock().unwrap();
    call.run().code(0);
    assert!(!left_behind.exists());
    assert!(kept.iter().all(|path| path.exists()) && locked.exists());
    drop(lock);
    call.run().code(0);
    assert!(!locked.exists());
}

#[test]
fn the_acks_file_is_started_before_the_first_request() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let home: Arc<Mutex<Option<PathBuf>>> = Arc::default();
    let model = Scripted::start({
        let (seen, home) = (Arc::clone(&seen), Arc::clone(&home));
        move |request, _| {
            let home = home.lock().unwrap().clone().unwrap();
            let acks = fs::read_to_string(home.join(ACKS)).unwrap_or_default();
            seen.lock().unwrap().push(acks);
            answer(line_of(request))
        }
    });
    let langfuse = langfuse(&Memory::default());
    let arguments = [
        "--out", OUT, "--run", "r", "-m", "m1", "--shard", "1/2", "-j", "1",
    ];
    let call = batch(&prompts(2), &model, &langfuse, &arguments);
    *home.lock().unwrap() = Some(call.home().to_owned());
    call.run().code(0);
    let first = seen.lock().unwrap()[0].clone();
    let first = first
        .lines()
        .next()
        .unwrap_or_else(|| panic!("the acks are empty"));
    let run: Value = serde_json::from_str(first).unwrap();
    assert_eq!(run["run"], "r");
    assert_eq!(run["model"], "m1");
    assert_eq!(run["shard"], "1/2");
}

#[test]
fn the_name_of_the_run_is_taken_from_the_acks() {
    let (memory, model) = (Memory::default(), model());
    let langfuse = langfuse(&memory);
    // Named by its file and the time, and named by hand.
    for further in [&[][..], &["--run", "nightly"]] {
        let call = batch(
            &prompts(4),
            &model,
            &langfuse,
            &[&["--out", OUT], further].concat(),
        );
        call.run().code(0);
        let out = call.home().join(OUT);
        let before = trace_ids_in(&out);
        cut_to_lines(&out, 2);
        resume(&call, &model, &langfuse, &[]).run().code(0);
        assert_eq!(trace_ids_in(&out), before);
    }
}

#[test]
fn without_acks_the_run_must_be_named() {
    let (memory, model) = (Memory::default(), model());
    let langfuse = langfuse(&memory);
    let call = begun(4, &model, &langfuse);
    call.run().code(0);
    let (out, acks) = (call.home().join(OUT), call.home().join(ACKS));
    fs::remove_file(&acks).unwrap();

    let silent = Untouched::start();
    let nameless = ["in.jsonl", "--out", OUT, "--resume"];
    again(&call, silent.url(), silent.url(), &nameless)
        .run()
        .code(2)
        .stderr_has(ACKS)
        .stderr_has("--run");
    let misnamed = [&nameless[..], &["--run", "other"]].concat();
    again(&call, silent.url(), silent.url(), &misnamed)
        .run()
        .code(2)
        .stderr_has("other");
    silent.assert_untouched();

    // That refusal must not have left a file that makes the right name look wrong.
    let named = [&nameless[..], &["--run", "r"]].concat();
    again(&call, model.url(), langfuse.url(), &named)
        .run()
        .code(0);
    assert_eq!(asked(&model), once(1..=4));
    assert_once(&memory, trace_ids_in(&out).values());
    assert!(acks.exists());
}

/// The share that the test below begins with.
const SAME: &[&str] = &["--shard", "1/1"];

#[test]
fn a_run_with_other_settings_or_input_is_not_continued() {
    let (memory, model) = (Memory::default(), model());
    let langfuse = langfuse(&memory);
    let begun = ["--out", OUT, "--run", "r", "-m", "m1", "--shard", "1/1"];
    let call = batch(&prompts(4), &model, &langfuse, &begun);
    call.run().code(0);
    let of = |run: &'static str, model: &'static str, shard: &'static [&'static str]| {
        let given = [
            "in.jsonl", "--out", OUT, "--resume", "--run", run, "-m", model,
        ];
        [&given, shard].concat()
    };
    let silent = Untouched::start();
    let kept = || {
        let read = |name: &str| fs::read_to_string(call.home().join(name)).unwrap();
        (read(OUT), read(ACKS))
    };
    let before = kept();
    let refused = |arguments: &[&str], says: &[&str]| {
        let ended = again(&call, silent.url(), silent.url(), arguments).run();
        ended.code(2);
        for words in says {
            ended.stderr_has(words);
        }
        assert_eq!(kept(), before);
    };
    refused(&of("other", "m1", SAME), &["run", "r ", "other"]);
    refused(&of("r", "m2", SAME), &["model", "m1", "m2"]);
    refused(
        &of("r", "m1", &["--shard", "2/2"]),
        &["shard", "1/1", "2/2"],
    );
    refused(&of("r", "m1", &[]), &["shard", "1/1"]);
    let moved = &["--shard", "1/1", "-S", "B"];
    refused(&of("r", "m1", moved), &["session", "session r, not B"]);

    let changed = prompts(4).replace("line 3", "line three");
    call.file("in.jsonl", changed);
    refused(&of("r", "m1", SAME), &["line 3 of in.jsonl has changed"]);
    call.file("in.jsonl", format!("\n{}", prompts(4)));
    refused(&of("r", "m1", SAME), &["line"]);
    call.file("in.jsonl", prompts(3));
    refused(&of("r", "m1", SAME), &["in.jsonl lacks 1 answered line"]);
    silent.assert_untouched();

    // Appended lines are asked, also after a last line without a newline.
    call.file("in.jsonl", prompts(6));
    again(&call, model.url(), langfuse.url(), &of("r", "m1", SAME))
        .run()
        .code(0);
    assert_eq!(asked(&model), once(1..=6));
    assert_once(&memory, trace_ids_in(&call.home().join(OUT)).values());
}

#[test]
fn a_file_of_another_program_is_not_touched() {
    let silent = Untouched::start();
    for content in [
        "a note\nwithout an end",
        "{\"a\":1}\n{\"b\":2}",
        "no line at all",
    ] {
        let call = Langspan::new(&["batch", "in.jsonl", "--out", OUT, "--resume", "--run", "r"])
            .model_at(silent.url())
            .langfuse_at(silent.url());
        call.file("in.jsonl", prompts(1));
        let out = call.file(OUT, content);
        call.run().code(2).stderr_has(OUT);
        assert_eq!(fs::read_to_string(out).unwrap(), content);
    }
    silent.assert_untouched();
}

#[test]
fn resume_needs_a_regular_file() {
    let silent = Untouched::start();
    for out in [&[][..], &["--out", "-"], &["--out", "/dev/null"]] {
        let call = Langspan::new(&[&["batch", "in.jsonl", "--resume"], out].concat())
            .model_at(silent.url())
            .langfuse_at(silent.url());
        call.file("in.jsonl", prompts(1));
        call.run().code(2).stderr_has("--out");
    }
    silent.assert_untouched();
}

#[test]
fn a_finished_run_asks_nothing() {
    let (memory, model) = (Memory::default(), failing_once(&[2]));
    let langfuse = langfuse(&memory);
    let call = batch(&prompts(3), &model, &langfuse, &["--out", OUT, "--resume"]);
    call.run().code(8);
    let before = text(&call.home().join(OUT));
    let requests = model.requests().len();
    for (allowed, code) in [("0", 8), ("1", 0), ("40%", 0), ("30%", 8)] {
        let resumed = [
            "in.jsonl",
            "--out",
            OUT,
            "--resume",
            "--allow-errors",
            allowed,
        ];
        again(&call, model.url(), langfuse.url(), &resumed)
            .run()
            .code(code);
        assert_eq!(model.requests().len(), requests);
        assert_eq!(text(&call.home().join(OUT)), before);
    }
    assert_once(&memory, trace_ids_in(&call.home().join(OUT)).values());
}

#[test]
fn stdin_can_be_continued() {
    let (memory, model) = (Memory::default(), model());
    let langfuse = langfuse(&memory);
    let call = Langspan::new(&["batch", "-", "--out", OUT, "--resume", "-j", "1"])
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    call.clone().stdin(prompts(3)).run().code(0);
    let out = call.home().join(OUT);
    cut_to_lines(&out, 2);
    call.clone().stdin(prompts(5)).run().code(0);
    let mut expected = once(1..=5);
    expected.insert(3, 2);
    assert_eq!(asked(&model), expected);
    assert_eq!(by_number_in(&out).len(), 5);
    call.stdin(prompts(5).replace("line 1", "line one"))
        .run()
        .code(2)
        .stderr_has("line 1 of stdin");
}

/// Version 0.1 derived the trace id of a line without a `custom_id` from its number alone, and noted no begun exports.
#[test]
fn an_output_of_an_older_version_keeps_its_trace_ids() {
    let (memory, model) = (Memory::default(), model());
    let langfuse = langfuse(&memory);
    let call = begun(3, &model, &langfuse)
        .arg("--verify")
        .arg("--wait")
        .arg("0.5");
    call.run().code(0);
    let [out, acks] = [OUT, ACKS].map(|name| call.home().join(name));
    let now = trace_ids_in(&out);
    let mut text = fs::read_to_string(&out).unwrap();
    for (line, id) in &now {
        text = text.replace(id, &id_of(&format!("r/line-{line}")));
    }
    fs::write(&out, &text).unwrap();
    let header = r#"{"run":"r","model":"gpt-4o-mini","shard":null,"session":"r"}"#;
    fs::write(&acks, format!("{header}\n")).unwrap();
    call.run().code(0);
    assert_eq!(fs::read_to_string(&out).unwrap(), text);
    assert_eq!(asked(&model), once(1..=3));
    let ids = trace_ids_in(&out);
    assert!(ids.values().all(|id| memory.counts(id) == [1, 1]));
}
