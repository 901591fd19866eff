//! What a batch prints and writes at its end: the command that continues it, the summary, the remedies.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use serde_json::json;

use crate::support::batch::gate::Gate;
use crate::support::batch::output::by_number_in;
use crate::support::batch::servers::{answer, langfuse, line_of, model};
use crate::support::batch::{batch, prompts};
use crate::support::harness::{Ended, Langspan, Reply, Request, Scripted, TRACES};
use crate::support::memory::Memory;

const OUT: &str = "out.jsonl";

/// A Langfuse that refuses every trace.
fn refusing() -> Scripted {
    Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "No."})))
}

/// A model that refuses the first request for the last line.
fn failing_once(last: u64) -> Scripted {
    let has_failed = Mutex::new(false);
    Scripted::start(move |request, _| {
        let line = line_of(request);
        if line == last && !std::mem::replace(&mut *has_failed.lock().unwrap(), true) {
            return Reply::json(400, &json!({"error": {"message": "not this time"}}));
        }
        answer(line)
    })
}

/// The same call with other arguments and servers, in the same home.
fn again(call: &Langspan, model: &Scripted, langfuse: &Scripted, arguments: &[&str]) -> Langspan {
    Langspan::new(&[&["batch"], arguments].concat())
        .model_at(model.url())
        .langfuse_at(langfuse.url())
        .beside(call)
}

/// The command behind `words` on stderr.
#[track_caller]
fn named<'a>(ended: &'a Ended, words: &str) -> &'a str {
    let line = ended.stderr.lines().find_map(|line| line.split_once(words));
    line.unwrap_or_else(|| panic!("stderr lacks {words:?}: {ended:#?}"))
        .1
}

/// Runs a command as bash does, in the environment of a call.
fn in_bash(call: &Langspan, command: &str) -> Ended {
    let binary = call.command();
    let folder = Path::new(binary.get_program()).parent().unwrap();
    let mut bash = Command::new("bash");
    bash.args(["-c", command])
        .env_clear()
        .current_dir(call.home())
        .stdin(Stdio::null());
    for (name, value) in binary.get_envs() {
        bash.env(name, value.unwrap());
    }
    let path = format!("{}:/usr/bin:/bin", folder.display());
    call.ended(&bash.env("PATH", path).output().unwrap())
}

/// What the model was told beside the line.
fn system(request: &Request) -> String {
    let message = &request.json()["messages"][0];
    assert_eq!(message["role"], "system");
    message["content"].as_str().unwrap().to_owned()
}

#[test]
fn the_command_that_continues_is_the_one_that_was_typed() {
    let long = "x".repeat(1000);
    for told in ["one  two\n\tthree\\ it's", &long] {
        for further in [&[][..], &["-v"]] {
            let (model, langfuse) = (failing_once(3), langfuse(&Memory::default()));
            let arguments = [&["-O", OUT, "-s", told], further].concat();
            let call = batch(&prompts(3), &model, &langfuse, &arguments);
            let ended = call.run();
            ended.code(8);
            let command = named(
                &ended,
                "hint: see the failed lines in out.jsonl; to retry them: ",
            );
            in_bash(&call, command).code(0);
            assert_eq!(by_number_in(&call.home().join(OUT)).len(), 3, "{command}");
            let requests = model.requests();
            assert_eq!(requests.len(), 4);
            assert!(requests.iter().all(|request| system(request) == told));
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_name_that_is_not_utf_8_appears_in_the_command() {
    use std::os::unix::ffi::OsStringExt as _;
    let (model, langfuse) = (failing_once(3), langfuse(&Memory::default()));
    let call = batch("", &model, &langfuse, &["-O", OUT]);
    let name = OsString::from_vec(b"in\xff7'.jsonl".to_vec());
    fs::write(call.home().join(&name), prompts(3)).unwrap();
    let output = again(&call, &model, &langfuse, &["-O", OUT])
        .command()
        .arg(&name)
        .stdin(Stdio::null())
        .output();
    let ended = call.ended(&output.unwrap());
    ended.code(8);
    in_bash(&call, named(&ended, "to retry them: ")).code(0);
    assert_eq!(model.count(), 4);
}

#[test]
fn a_summary_that_cannot_be_written_is_6() {
    let (model, langfuse) = (model(), langfuse(&Memory::default()));
    let call = batch(
        &prompts(1),
        &model,
        &langfuse,
        &["-O", OUT, "-o", "json", "--summary", "s.json"],
    );
    let ended = with_a_full_stdout(&call);
    ended.code(6).stderr_has("stdout cannot be written");
    assert!(call.home().join("s.json").metadata().unwrap().len() > 0);

    let arguments = ["in.jsonl", "-O", "other", "-o", "json"];
    let call = again(&call, &model, &langfuse, &arguments);
    with_a_full_stdout(&call)
        .code(6)
        .stderr_has("stdout cannot be written");
}

/// Runs it with a stdout that takes nothing.
fn with_a_full_stdout(call: &Langspan) -> Ended {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = call.command();
    command.stdin(Stdio::null()).stdout(full);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    call.ended(&child.wait_with_output().unwrap())
}

#[test]
fn a_summary_stays_until_there_is_another() {
    let (model, langfuse) = (model(), langfuse(&Memory::default()));
    let options = ["-O", OUT, "--summary", "s.json"];
    let call = batch(&prompts(1), &model, &langfuse, &options);
    call.file(OUT, "something\n");
    let earlier = "an earlier summary\n".repeat(1000);
    let file = call.file("s.json", &earlier);
    call.run()
        .code(6)
        .stderr_has("already exists and is not empty");
    assert_eq!(fs::read_to_string(&file).unwrap(), earlier);

    call.clone().arg("--overwrite").run().code(0);
    let text = fs::read_to_string(&file).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(summary["lines"]["done"], 1);

    // What has no length is written straight.
    let arguments = ["in.jsonl", "--summary", "/dev/stderr", "-q"];
    again(&call, &model, &langfuse, &arguments)
        .run()
        .code(0)
        .stderr_has("\"done\":1");
}

#[test]
fn waiting_traces_are_counted_apart_from_unknown_ones() {
    for (count, waiting) in [
        (1, "1 trace of the earlier run is still"),
        (2, "2 traces of the earlier run are still"),
    ] {
        let (model, refusing, memory) = (model(), refusing(), Memory::default());
        let options = ["-O", OUT, "--resume", "--run", "r"];
        let call = batch(&prompts(count), &model, &refusing, &options);
        let first = call.run();
        first.code(5).stderr_has(&format!(
            "error: {} not accepted by",
            ["1 trace was", "2 traces were"][count - 1]
        ));
        call.run()
            .code(5)
            .stderr_has(&format!(
                "error: {waiting} in the outbox {}\nhint: to send them: langspan resend; or resume the run: langspan batch in.jsonl ",
                first.outbox().display()
            ))
            .stderr_lacks("not known to have arrived");

        // Without an outbox the command would end the same way each time.
        let ended = call.clone().arg("--no-outbox").run();
        ended.code(5).stderr_has(waiting);
        let command = named(&ended, "or resume the run: ");
        assert!(!command.contains("--no-outbox"), "{command}");
        let langfuse = langfuse(&memory);
        in_bash(&again(&call, &model, &langfuse, &[]), command).code(0);
        assert_eq!(memory.all_counts().len(), count);
        assert_eq!(model.count(), count);
    }
}

#[test]
fn one_line_is_counted_in_the_singular() {
    let (model, langfuse) = (model(), langfuse(&Memory::default()));
    batch("nope\n", &model, &langfuse, &[])
        .run()
        .code(8)
        .stderr_has("1 line: 0 answered, 1 failed")
        .stderr_has("error: 1 of 1 line failed; line 1: expected a JSON object\n");
}

#[test]
fn invalid_lines_have_to_be_corrected_before_they_are_asked_again() {
    let (model, langfuse) = (model(), langfuse(&Memory::default()));
    let call = batch("nope\n", &model, &langfuse, &["--out", OUT]);
    let ended = call.run();
    ended.code(8).stderr_has(
        "hint: see the failed lines in out.jsonl; correct them in the input, then: langspan batch in.jsonl ",
    );
    call.file("in.jsonl", prompts(1));
    let command = named(&ended, "in the input, then: ");
    in_bash(&again(&call, &model, &langfuse, &[]), command)
        .code(0)
        .stderr_has("1 line: 1 answered, 0 failed");
}

#[test]
fn the_first_failed_line_is_named_with_the_words_of_the_server() {
    let model = Scripted::start(|request, _| match line_of(request) {
        1 => answer(1),
        line => {
            let message = format!("no room for {line}");
            Reply::json(400, &json!({"error": {"message": message}}))
        }
    });
    let langfuse = langfuse(&Memory::default());
    batch(&prompts(3), &model, &langfuse, &["--out", OUT])
        .run()
        .code(8)
        .stderr_has(
            "error: 2 of 3 lines failed; line 2: the model endpoint answered 400 Bad Request: no room for 2\n",
        );
}

#[test]
fn traces_that_a_resumed_run_sends_are_not_called_lost() {
    let (model, refusing) = (model(), refusing());
    let call = batch(&prompts(2), &model, &refusing, &["--no-outbox"]);
    call.run()
        .code(5)
        .stderr_has("traces: 0 accepted, 2 LOST\n");
    let call = call.arg("--out").arg(OUT);
    call.run()
        .code(5)
        .stderr_has("traces: 0 accepted, 2 left for --resume\n")
        .stderr_lacks("LOST");
    let langfuse = langfuse(&Memory::default());
    let call = call.langfuse_at(langfuse.url()).arg("--resume");
    call.run().code(0).stderr_has("traces: 2 accepted\n");
}

#[test]
fn a_full_disk_leaves_the_command_that_continues() {
    let (model, langfuse) = (model(), langfuse(&Memory::default()));
    let options = ["--out", OUT, "-j", "1"];
    let call = batch(&prompts(50), &model, &langfuse, &options);
    let ended = call.run_with_file_limit(8);
    ended.code(6).stderr_has(" must be asked for again\n").stderr_has(
        "hint: free some disk space, then continue with: langspan batch in.jsonl --out out.jsonl -j 1 --resume\n",
    );
    let command = named(&ended, "continue with: ");
    in_bash(&again(&call, &model, &langfuse, &[]), command).code(0);
}

#[test]
fn an_error_without_a_remedy_has_no_hint() {
    // The trace may have arrived, and the server does not say.
    let silent = Scripted::start(|request, _| match request.path.as_str() {
        TRACES => Reply::Hang,
        _ => Reply::json(403, &json!({"message": "Forbidden"})),
    });
    let model = model();
    let options = [
        "-O",
        OUT,
        "--resume",
        "--run",
        "r",
        "--export-timeout",
        "0.5",
    ];
    let call = batch(&prompts(1), &model, &silent, &options);
    call.run().code(5);
    let ended = call.run();
    ended
        .code(5)
        .stderr_has("it may have arrived before")
        .stderr_has("1 trace of the earlier run is still in the outbox");
    let mut lines = ended.stderr.lines();
    assert!(lines.all(|line| line.trim_end() != "hint:"), "{ended:#?}");
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn the_time_left_counts_only_the_lines_of_a_limit() {
    // The third line is held until the time left is shown; all of the input is read by then.
    let gate = Gate::default();
    let model = Scripted::start({
        let gate = gate.clone();
        move |request, _| {
            let line = line_of(request);
            if line == 3 {
                gate.wait();
            }
            answer(line)
        }
    });
    let langfuse = langfuse(&Memory::default());
    let call = batch(&prompts(9), &model, &langfuse, &[]);
    let binary = call.command();
    let program = binary.get_program().to_str().unwrap();
    let mut script = Command::new("script");
    let batch = format!("'{program}' batch in.jsonl -O {OUT} -j 1 --limit 4 2>&1");
    script
        .args(["-qec", &batch, "/dev/null"])
        .current_dir(call.home())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    for (name, value) in binary.get_envs() {
        script.env(name, value.unwrap());
    }
    let Ok(mut child) = script.env("TERM", "xterm").spawn() else {
        eprintln!("skipped: this machine has no `script` to make a terminal with");
        return;
    };
    let mut shown = Vec::new();
    let mut terminal = child.stdout.take().unwrap();
    let mut piece = [0; 4096];
    while !String::from_utf8_lossy(&shown).contains(" s left") {
        let count = terminal.read(&mut piece).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&shown));
        shown.extend(&piece[..count]);
    }
    let progress = String::from_utf8_lossy(&shown).into_owned();
    assert!(progress.contains("2 / 4 (50%) · "), "{progress:.200}");
    gate.open();
    terminal.read_to_end(&mut shown).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(by_number_in(&call.home().join(OUT)).len(), 4);
}
