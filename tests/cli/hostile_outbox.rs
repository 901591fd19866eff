//! An outbox where others can write, where files cannot be locked or changed, and where killed processes left files.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::support::harness::{Ended, Langspan, Reply, Scripted, dead_url, files_below};

fn refusing() -> Scripted {
    Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "Invalid credentials."})))
}

fn accepting() -> Scripted {
    Scripted::langfuse(|_, _| Reply::json(200, &json!({})))
}

/// A chat that is answered `hi`; the model lives as long as the second value.
fn chat(langfuse: &Scripted) -> (Langspan, Scripted) {
    let model = Scripted::model("hi");
    let call = Langspan::new(&["chat", "--no-stdin", "Hello"])
        .model_at(model.url())
        .langfuse_at(langfuse.url());
    (call, model)
}

/// A home with one entry in its outbox.
fn kept() -> Ended {
    let ended = chat(&refusing()).0.run();
    ended.code(5);
    ended
}

fn resend(arguments: &[&str], earlier: &Ended, url: &str) -> Langspan {
    Langspan::new(&[&["resend"], arguments].concat())
        .langfuse_at(url)
        .after(earlier)
}

/// The file of spans of the only entry, and its metadata.
fn entry(ended: &Ended) -> (PathBuf, PathBuf) {
    let files = files_below(&ended.outbox());
    let mut spans = files
        .iter()
        .filter(|path| path.extension() == Some("jsonl".as_ref()));
    let spans = spans.next().unwrap().clone();
    let id = spans.file_stem().unwrap().to_str().unwrap();
    let metadata = spans.with_file_name(format!("{id}.meta.json"));
    (spans, metadata)
}

#[test]
fn an_entry_that_cannot_be_noted_as_waiting_is_not_called_lost() {
    let model = Scripted::model("hi");
    let call = Langspan::new(&["chat", "--no-stdin", "Hello"]).model_at(model.url());
    let outbox = call.home().join(".local/state/langspan/outbox");
    // A folder in its place keeps the new metadata from being written, as a disk without inodes does.
    let langfuse = Scripted::langfuse(move |_, _| {
        let files = files_below(&outbox);
        let is_pending = |path: &&PathBuf| path.extension() == Some("pending".as_ref());
        let pending = files.iter().find(is_pending).unwrap();
        fs::create_dir(pending.with_extension("meta.tmp")).unwrap();
        Reply::json(401, &json!({"message": "Invalid credentials."}))
    });
    let ended = call.langfuse_at(langfuse.url()).run();
    ended
        .code(5)
        .stderr_lacks("LOST")
        .stderr_has("langspan resend");
    let spans = files_below(&ended.outbox());
    let spans = spans
        .iter()
        .find(|path| path.extension() == Some("pending".as_ref()));
    let spans = spans.unwrap();
    ended.stderr_has(&spans.display().to_string());
    assert_eq!(fs::read_to_string(spans).unwrap().lines().count(), 1);
    fs::remove_dir(spans.with_extension("meta.tmp")).unwrap();

    let memory = crate::support::memory::Memory::default();
    let healthy = Scripted::start(move |request, _| memory.answer(request));
    resend(&[], &ended, healthy.url()).run().code(0);
    assert_eq!(healthy.exports().len(), 1);
}

#[test]
fn entries_that_are_passed_over_are_counted() {
    let earlier = kept();
    let (spans, _) = entry(&earlier);
    let held = File::open(spans).unwrap();
    held.lock().unwrap();
    for arguments in [&[][..], &["--list"], &["--discard", "--yes"]] {
        let ended = resend(arguments, &earlier, accepting().url()).run();
        ended
            .code(0)
            .stderr_has("passed over 1 entry: another process is working on it")
            .stderr_lacks("nothing to do")
            .stderr_lacks("is empty");
    }
    drop(held);
    let arguments = ["--list", "--older-than", "1h"];
    resend(&arguments, &earlier, accepting().url())
        .run()
        .code(0)
        .stderr_has("passed over 1 entry: more recent than --older-than")
        .stderr_lacks("nothing to do");
    assert_eq!(earlier.kept().len(), 1);
}

/// A program that runs another one for which flock(2) fails as on a file system without locks.
const SHIM: &str = r"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int count, char **arguments) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_flock, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | FAILURE),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        return 99;
    execv(arguments[1], arguments + 1);
    return 98;
}
";

/// Compiles the program for one of the errors; the linker driver that built this test does it.
fn shim(folder: &Path, errno: &str) -> PathBuf {
    let (source, program) = (folder.join("shim.c"), folder.join(errno));
    fs::write(&source, SHIM).unwrap();
    let compiled = Command::new("cc")
        .arg(format!("-DFAILURE={errno}"))
        .args([&source, Path::new("-o"), &program])
        .status();
    assert!(compiled.unwrap().success());
    program
}

/// Runs a command under the program.
fn without_locks(shim: &Path, call: &Langspan) -> Ended {
    let command = call.command();
    let mut wrapped = Command::new(shim);
    wrapped
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            wrapped.env(name, value);
        }
    }
    call.ended(&wrapped.output().unwrap())
}

#[test]
fn where_files_cannot_be_locked_entries_are_worked_on_with_a_warning() {
    const WARNING: &str = "cannot be locked: do not run two processes at once";
    for errno in ["ENOLCK", "ENOSYS", "EOPNOTSUPP"] {
        let (call, _model) = chat(&refusing());
        let shim = shim(call.home(), errno);
        let earlier = without_locks(&shim, &call);
        earlier
            .code(5)
            .stderr_lacks("LOST")
            .stderr_has(WARNING)
            .stderr_has("langspan resend");
        assert_eq!(earlier.kept().len(), 1, "{errno}");

        let listed = without_locks(&shim, &resend(&["--list"], &earlier, &dead_url()));
        listed.code(0).stderr_has(WARNING);
        assert_eq!(listed.stdout.lines().count(), 1, "{errno}: {listed:#?}");

        let langfuse = accepting();
        let sent = without_locks(&shim, &resend(&[], &earlier, langfuse.url()));
        sent.code(0).stderr_has(WARNING);
        assert_eq!(langfuse.exports().len(), 1, "{errno}");

        let (again, _model) = chat(&refusing());
        let earlier = without_locks(&shim, &again);
        let discarded = resend(&["--discard", "--yes"], &earlier, &dead_url());
        without_locks(&shim, &discarded).code(0);
        assert!(earlier.kept().is_empty(), "{errno}");
    }
}

#[test]
fn what_is_not_a_file_is_named_and_passed_over() {
    type Make = fn(&Path);
    let make: [(&str, Make); 3] = [
        ("FIFO", |path| {
            let made = Command::new("mkfifo").arg(path).status().unwrap();
            assert!(made.success());
        }),
        ("symbolic link", |path| {
            symlink("/etc/passwd", path).unwrap();
        }),
        ("folder", |path| fs::create_dir(path).unwrap()),
    ];
    for (what, make) in make {
        for extension in ["jsonl", "pending"] {
            let earlier = kept();
            let (spans, _) = entry(&earlier);
            let path = earlier.outbox().join(format!("20260101T0.{extension}"));
            make(&path);
            for arguments in [&["--list"][..], &[], &["--discard", "--yes"]] {
                let langfuse = accepting();
                let ended = resend(arguments, &earlier, langfuse.url()).run();
                ended
                    .code(0)
                    .stderr_has(&path.display().to_string())
                    .stderr_has(what);
                assert!(path.symlink_metadata().is_ok(), "{what} stays");
            }
            assert!(!spans.exists(), "{what}: the entry was sent");
        }
        let earlier = kept();
        let (_, metadata) = entry(&earlier);
        fs::remove_file(&metadata).unwrap();
        make(&metadata);
        let ended = resend(&[], &earlier, accepting().url()).run();
        ended.code(0).stderr_has(what);
        assert_eq!(earlier.kept().len(), 1, "{what}: the entry stays");
    }
}

#[test]
fn nothing_is_written_through_a_link() {
    let earlier = kept();
    let (_, metadata) = entry(&earlier);
    let victim = earlier.home().join("victim");
    fs::write(&victim, "mine").unwrap();
    symlink(&victim, metadata.with_extension("tmp")).unwrap();
    resend(&[], &earlier, refusing().url()).run().code(5);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    assert_eq!(earlier.kept().len(), 1);
}

#[test]
fn a_folder_that_others_can_write_is_a_warning() {
    let earlier = kept();
    let outbox = earlier.outbox();
    for (mode, warns) in [(0o777, true), (0o770, true), (0o755, false), (0o700, false)] {
        fs::set_permissions(&outbox, Permissions::from_mode(mode)).unwrap();
        let langfuse = accepting();
        let (call, _model) = chat(&langfuse);
        let sent = call.after(&earlier).run();
        let listed = resend(&["--list"], &earlier, langfuse.url()).run();
        for ended in [sent, listed] {
            ended.code(0);
            let found = ended.stderr.contains("others can write to the outbox");
            assert_eq!(found, warns, "{mode:o}: {ended:#?}");
        }
    }
}

#[test]
fn text_of_the_outbox_is_printed_without_terminal_escapes() {
    let earlier = kept();
    let (spans, metadata) = entry(&earlier);
    let text = fs::read_to_string(&metadata).unwrap();
    let mut meta: Value = serde_json::from_str(&text).unwrap();
    let evil = "x\u{1b}]0;owned\u{7}\u{9b}2Jy";
    meta["cause"] = json!(evil);
    meta["trace_ids"] = json!([evil]);
    meta["endpoint"] = json!(evil);
    fs::write(&metadata, meta.to_string()).unwrap();
    let is_clean = |ended: &Ended| {
        let said = format!("{}{}", ended.stdout, ended.stderr);
        let controls: Vec<char> = said
            .chars()
            .filter(|c| c.is_control() && *c != '\n')
            .collect();
        assert!(controls.is_empty(), "{controls:?}: {ended:#?}");
    };
    for arguments in [&["--list"][..], &["--list", "-o", "json"]] {
        is_clean(&resend(arguments, &earlier, &dead_url()).run());
    }
    meta["public_key"] = json!(evil);
    fs::write(&metadata, meta.to_string()).unwrap();
    is_clean(&resend(&[], &earlier, accepting().url()).run());
    let renamed = spans.with_file_name("a\u{1b}[31m.jsonl");
    fs::rename(&spans, &renamed).unwrap();
    fs::write(&renamed, "not json \u{1b}[31m").unwrap();
    is_clean(&resend(&["--list"], &earlier, &dead_url()).run());
    is_clean(&resend(&[], &earlier, accepting().url()).run());
}

#[test]
fn leftovers_of_a_kill_are_removed_when_they_are_old_and_unlocked() {
    let earlier = kept();
    let outbox = earlier.outbox();
    let make = |name: &str, age: u64| {
        let path = outbox.join(name);
        fs::write(&path, "{}").unwrap();
        let file = File::options().write(true).open(path).unwrap();
        let at = SystemTime::now() - Duration::from_mins(age);
        file.set_modified(at).unwrap();
        file
    };
    for name in [
        "20260101T0.tmp",
        "20260101T0.meta.tmp",
        "20260102T0.meta.json",
    ] {
        make(name, 61);
    }
    let recent = ["20260103T0.tmp", "20260104T0.meta.json"];
    for name in recent {
        make(name, 50);
    }
    make("README", 61);
    let locked = make("20260105T0.tmp", 61);
    locked.lock().unwrap();
    let (spans, metadata) = entry(&earlier);
    for path in [&spans, &metadata] {
        let file = File::options().write(true).open(path).unwrap();
        let at = SystemTime::now() - Duration::from_hours(2);
        file.set_modified(at).unwrap();
    }
    let (call, _model) = chat(&accepting());
    call.after(&earlier).run();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut expected = vec![
        recent[0].to_owned(),
        recent[1].to_owned(),
        "20260105T0.tmp".to_owned(),
        "README".to_owned(),
        name(&spans),
        name(&metadata),
    ];
    expected.sort();
    let mut found = earlier.outbox_files();
    found.sort();
    assert_eq!(found, expected);
}
