//! Input and output that break off or are full, and what is printed.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::thread;
use std::time::Duration;

use super::{answer, refusing, servers};
use crate::support::batch::gate::{Gate, settled};
use crate::support::batch::output::{lines, numbers, out};
use crate::support::batch::servers::langfuse;
use crate::support::batch::{batch_of, prompts};
use crate::support::harness::{Ended, Langspan, Reply, completion, wait_until};
use crate::support::memory::Memory;
use crate::support::otlp::traces_at;

/// A run with an output too small for all lines.
fn cramped(call: &Langspan, blocks: u32) -> Ended {
    let mut command = std::process::Command::new("sh");
    let inner = call.command();
    // With the signal ignored, a write beyond the limit is an error.
    command
        .args([
            "-c",
            &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""),
        ])
        .arg(inner.get_program())
        .args(inner.get_args())
        .env_clear()
        .envs(
            inner
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .env("PATH", "/usr/bin:/bin")
        .current_dir(call.home());
    call.ended(&command.output().unwrap())
}

#[test]
fn a_full_output_file_ends_the_run_which_can_be_continued() {
    const COUNT: usize = 300;
    let text = "x".repeat(2000);
    let mut servers = servers(move |_, _| Reply::json(200, &completion(&text)));
    // It knows which traces of the last lines have arrived.
    servers.langfuse = langfuse(&Memory::default());
    let call = batch_of(
        &servers,
        COUNT,
        &["-j", "2", "-O", "out.jsonl", "--run", "r"],
    );
    let ended = cramped(&call, 64);
    ended
        .code(6)
        .stderr_has("the output cannot be written")
        .stderr_has("--resume");
    let asked = servers.asked().len();
    assert!(
        asked < 60,
        "nothing is paid for that cannot be written: {asked}"
    );

    let ended = call.clone().arg("--resume").run();
    ended.code(0);
    let expected: Vec<u64> = (1..=COUNT as u64).collect();
    assert_eq!(numbers(&out(&ended)), expected);
    let again = servers.asked().len() - COUNT;
    assert!(
        again <= 6,
        "only what was in flight is paid for twice: {again}"
    );
}

#[test]
fn a_full_device_ends_the_run_at_once() {
    let servers = servers(|_, _| {
        thread::sleep(Duration::from_millis(20));
        answer()
    });
    let ended = batch_of(&servers, 500, &["-j", "2", "-O", "/dev/full"]).run();
    ended.code(6).stderr_has("the output cannot be written");
    let asked = servers.asked().len();
    assert!(asked <= 20, "{asked}");
}

#[test]
fn a_summary_on_a_full_device_is_6() {
    let servers = servers(|_, _| answer());
    let ended = batch_of(&servers, 3, &["--summary", "/dev/full"]).run();
    ended.code(6).stderr_has("summary");
    assert_eq!(lines(&ended.stdout).len(), 3);
}

#[test]
fn a_truncated_input_leaves_the_lines_before_done() {
    let servers = servers(|_, _| answer());
    let call = servers.call(&["batch", "in.jsonl.gz", "-O", "out.jsonl"]);
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    packer.write_all(prompts(1000).as_bytes()).unwrap();
    let whole = packer.finish().unwrap();
    call.file("in.jsonl.gz", &whole[..whole.len() / 2]);
    let ended = call.run();
    ended.code(6).stderr_has("cannot be read");
    let done = out(&ended).len();
    assert_eq!(done, servers.asked().len());
    assert_eq!(done, traces_at(&servers.langfuse).len());
    // The half of it that is whole can be read.
    assert!(done > 300, "{done}");
}

#[test]
fn a_folder_is_neither_input_nor_output() {
    let servers = servers(|_, _| answer());
    let call = batch_of(&servers, 1, &["-O", "."]);
    call.run().code(6).stderr_has("directory");
    let call = servers.call(&["batch", "."]);
    call.run().code(6).stderr_has("directory");
    let call = servers.call(&["batch", "none.jsonl"]);
    call.run().code(6).stderr_has("none.jsonl");
    assert_eq!(servers.model.count(), 0);
}

#[test]
fn a_closed_stdout_ends_the_run_and_every_call_is_traced() {
    let gate = Gate::default();
    let servers = servers({
        let gate = gate.clone();
        move |_, count| {
            if count > 0 {
                gate.wait();
            }
            answer()
        }
    });
    let call = batch_of(&servers, 500, &["-j", "3"]);
    let mut child = call.spawn();
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut first).unwrap();
    drop(stdout);
    gate.open();
    let ended = call.ended(&child.wait_with_output().unwrap());
    ended.code(0);
    let asked = servers.asked().len();
    assert!(asked < 500, "{asked}");
    assert_eq!(traces_at(&servers.langfuse).len(), asked);
}

#[test]
fn a_summary_fits_a_narrow_terminal() {
    let servers = refusing(&[3, 4]);
    let call = batch_of(&servers, 200, &["-j", "2", "--run", "r"]).env("COLUMNS", "40");
    let ended = call.run();
    ended
        .code(8)
        .stderr_has("traces: 200 accepted")
        .stderr_has("HTTP 400: 2");
    let summary = ended
        .stderr
        .lines()
        .take_while(|line| !line.starts_with("error:"));
    for line in summary.filter(|line| !line.contains("://")) {
        assert!(line.chars().count() <= 40, "{line:?}");
    }
}

#[test]
fn quiet_says_errors_only() {
    let servers = refusing(&[2]);
    batch_of(&servers, 3, &["-q", "--allow-errors", "1"])
        .run()
        .code(0);
    let ended = batch_of(&servers, 3, &["-q"]).run();
    ended.code(8);
    ended.stderr_has("error: 1 of 3 lines failed; line 2: ");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:#?}");
}

#[test]
fn an_unread_stdout_holds_up_new_calls() {
    const COUNT: usize = 600;
    let text = "x".repeat(32 << 10);
    let servers = servers(move |_, _| Reply::json(200, &completion(&text)));
    let call = batch_of(&servers, COUNT, &[]);
    let child = call.spawn();
    wait_until("the run is at work", || servers.model.count() > 3);
    let asked = settled(&servers.model);
    assert!(asked < 200, "{asked}");
    let ended = call.ended(&child.wait_with_output().unwrap());
    ended.code(0);
    assert_eq!(lines(&ended.stdout).len(), COUNT);
    assert_eq!(servers.model.count(), COUNT);
}

#[test]
fn progress_is_drawn_on_a_terminal_and_taken_away() {
    let gate = Gate::default();
    let servers = servers({
        let gate = gate.clone();
        move |_, count| {
            if count >= 3 {
                gate.wait();
            }
            answer()
        }
    });
    let call = batch_of(&servers, 6, &["-O", "out.jsonl"]).env("TERM", "xterm");
    let size = nix::pty::Winsize {
        ws_row: 24,
        ws_col: 100,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let terminal = nix::pty::openpty(&size, None).unwrap();
    let mut child = call
        .command()
        .stdin(std::process::Stdio::null())
        .stderr(terminal.slave)
        .spawn()
        .unwrap();
    let mut screen = std::fs::File::from(terminal.master);
    let mut shown = String::new();
    let mut piece = [0; 4096];
    // A terminal that its last writer has left ends in an error.
    while let Ok(count) = screen.read(&mut piece) {
        shown.push_str(&String::from_utf8_lossy(&piece[..count]));
        if shown.contains("3 / 6 (50%) · ") {
            gate.open();
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let (drawn, said) = shown.rsplit_once("\u{1b}[2K").unwrap();
    assert!(
        drawn.contains("3 / 6 (50%) · ") && drawn.contains("/s · "),
        "{shown:?}"
    );
    assert!(said.contains("6 lines: 6 answered, 0 failed"), "{shown:?}");
    assert!(!said.contains("6 / 6"), "{shown:?}");
}
