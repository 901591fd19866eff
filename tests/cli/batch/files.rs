//! Input and output files: their formats, and files that are refused.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::Value;

use crate::support::batch::output::{by_number, content, lines, only};
use crate::support::batch::servers::echo;
use crate::support::batch::{named_batch, prompt, run_batch};
use crate::support::harness::{Ended, Langspan, wait_until};
use crate::support::otlp::{Servers, traces_at};
use crate::support::untouched::Untouched;

/// A call with servers that must not be contacted, and its result.
#[track_caller]
fn unsent(call: &Langspan, code: i32) -> Ended {
    let server = Untouched::start();
    let call = call
        .clone()
        .model_at(server.url())
        .langfuse_at(server.url());
    let ended = call.run();
    ended.code(code);
    server.assert_untouched();
    ended
}

fn texts(text: &str) -> Vec<(u64, String)> {
    let found = by_number(text);
    found
        .iter()
        .map(|(number, line)| (*number, content(line).to_owned()))
        .collect()
}

fn two_lines() -> String {
    prompt("a") + &prompt("b")
}

fn two_answers() -> Vec<(u64, String)> {
    vec![(1, "a".to_owned()), (2, "b".to_owned())]
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &str) -> Vec<u8> {
    compress_to_vec(text.as_bytes(), CompressionLevel::Fastest)
}

fn gunzip(path: &Path) -> String {
    let mut text = String::new();
    MultiGzDecoder::new(File::open(path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    text
}

/// What all frames of a file hold.
fn unzstd(path: &Path) -> String {
    let bytes = fs::read(path).unwrap();
    let (mut rest, mut text) = (bytes.as_slice(), String::new());
    while !rest.is_empty() {
        StreamingDecoder::new(&mut rest)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
    }
    text
}

#[test]
fn a_dash_is_stdin_and_stdout() {
    let servers = echo();
    let call = servers
        .call(&["batch", "-", "--out", "-", "--ordered"])
        .stdin(two_lines());
    let ended = call.run();
    ended.code(0);
    assert_eq!(texts(&ended.stdout), two_answers());
    assert!(!ended.home().join("-").exists() && !ended.home().join("-.acks").exists());
}

#[test]
fn answers_go_to_the_file_of_out_and_nothing_to_stdout() {
    let servers = echo();
    let ended = run_batch(&servers, two_lines(), &["-O", "out.jsonl"]);
    ended.code(0).stdout("");
    let text = fs::read_to_string(ended.home().join("out.jsonl")).unwrap();
    assert_eq!(texts(&text), two_answers());
}

#[test]
fn a_gzip_file_is_read_member_by_member_and_written() {
    let servers = echo();
    let call = servers.call(&["batch", "in.jsonl.gz", "-O", "out.gz"]);
    // A line may begin in one member and end in the next.
    let lines = two_lines();
    let (first, second) = lines.split_at(20);
    call.file("in.jsonl.gz", [gzip(first), gzip(second)].concat());
    let ended = call.run();
    ended.code(0);
    assert_eq!(texts(&gunzip(&ended.home().join("out.gz"))), two_answers());
}

#[test]
fn a_zstd_file_is_read_frame_by_frame_and_written() {
    let servers = echo();
    let call = servers.call(&["batch", "in.zst", "-O", "out.jsonl.zst"]);
    let lines = two_lines();
    let (first, second) = lines.split_at(20);
    // Before each frame is one that readers skip.
    let skipped = [
        &0x184d_2a53_u32.to_le_bytes()[..],
        &3_u32.to_le_bytes(),
        b"abc",
    ]
    .concat();
    let frames = [&skipped, &zstd(first), &skipped, &zstd(second)];
    call.file("in.zst", frames.map(Vec::as_slice).concat());
    let ended = call.run();
    ended.code(0);
    assert_eq!(
        texts(&unzstd(&ended.home().join("out.jsonl.zst"))),
        two_answers()
    );
}

#[test]
fn a_zstd_file_of_the_usual_tool_is_read() {
    // `printf '{"prompt":"a"}\n{"prompt":"b"}\n' | zstd --check`
    const FILE: &[u8] =
        b"(\xb5/\xfd\x04X\xcd\x00\x00\x98{\"prompt\":\"a\"}\nb\"}\n\x01\x00b\xcc:\xee\x83\xbc\x80";
    let servers = echo();
    let call = servers.call(&["batch", "in.zst"]);
    call.file("in.zst", FILE);
    let ended = call.run();
    ended.code(0);
    assert_eq!(texts(&ended.stdout), two_answers());

    // Another letter within: the checksum at the end is of what was there.
    let damaged: Vec<u8> = FILE
        .iter()
        .map(|byte| if *byte == b'a' { b'x' } else { *byte })
        .collect();
    let call = servers.call(&["batch", "in.zst", "--strict"]);
    call.file("in.zst", damaged);
    call.run().code(6).stderr_has("damaged");
}

#[test]
fn a_truncated_compressed_file_is_an_error_after_its_whole_lines() {
    let lines: String = (0..2000)
        .map(|number| prompt(&format!("question {number}")))
        .collect();
    for (name, format, bytes) in [
        ("in.gz", "gzip", gzip(&lines)),
        ("in.zst", "Zstandard", zstd(&lines)),
    ] {
        let servers = echo();
        let call = servers.call(&["batch", name, "-q"]);
        call.file(name, &bytes[..bytes.len() - 4]);
        let ended = call.run();
        ended.code(6).stderr_has(&format!(
            "error: the input cannot be read: the file is truncated or not {format}: "
        ));
        let found = by_number(&ended.stdout);
        assert!(found.values().all(|line| line["error"].is_null()));
        assert_eq!(found.len(), servers.asked().len());
    }
}

#[test]
fn a_file_compressed_otherwise_than_its_name_says_is_refused_first() {
    for (name, format) in [("in.gz", "gzip"), ("in.zst", "Zstandard")] {
        for content in [two_lines(), "a".to_owned()] {
            let call = Langspan::new(&["batch", name, "-O", "out.jsonl"]);
            call.file(name, content);
            let ended = unsent(&call, 6);
            ended
                .stdout("")
                .stderr_has(&format!("error: {name} is not a {format} file\nhint: "));
            assert!(!ended.home().join("out.jsonl").exists());
        }
    }
    // A pipe is not looked into beforehand.
    for (name, format) in [("pipe.gz", "gzip"), ("pipe.zst", "Zstandard")] {
        let servers = echo();
        let call = servers.call(&["batch", name]);
        let pipe = mkfifo(&call, name);
        let writer = thread::spawn(move || fs::write(pipe, two_lines()).unwrap());
        let ended = call.run();
        writer.join().unwrap();
        ended.code(6).stdout("").stderr_has(&format!(
            "error: the input cannot be read: the file is truncated or not {format}: "
        ));
        assert!(servers.asked().is_empty());
    }
}

#[test]
fn a_non_empty_file_is_overwritten_only_when_asked() {
    for (name, content) in [
        ("out.jsonl", b"precious".to_vec()),
        ("out.gz", gzip("precious")),
    ] {
        let call = Langspan::new(&["batch", "in.jsonl", "-O", name]);
        call.file("in.jsonl", two_lines());
        call.file(name, &content);
        let ended = unsent(&call, 6);
        ended
            .stdout("")
            .stderr_has(&format!("error: {name} already exists and is not empty\n"))
            .stderr_has("--resume");
        assert_eq!(fs::read(ended.home().join(name)).unwrap(), content);
    }
    let servers = echo();
    let call = named_batch(&servers, two_lines(), &["-O", "out.jsonl", "--overwrite"]);
    call.file("out.jsonl", "precious");
    let ended = call.run();
    ended.code(0);
    let text = fs::read_to_string(ended.home().join("out.jsonl")).unwrap();
    assert_eq!(texts(&text), two_answers());

    let servers = echo();
    let call = named_batch(&servers, two_lines(), &["-O", "out.jsonl"]);
    call.file("out.jsonl", "");
    call.run().code(0);
}

#[test]
fn files_that_cannot_be_used_are_named_before_anything_is_sent() {
    let rows: [(&[&str], &str); 9] = [
        (&["batch", "missing.jsonl"], "missing.jsonl cannot be read"),
        (&["batch", "folder"], "folder is a directory"),
        (
            &["batch", "in.jsonl", "-O", "folder"],
            "folder is a directory",
        ),
        (
            &["batch", "in.jsonl", "-O", "missing/out.jsonl"],
            "missing/out.jsonl cannot be written",
        ),
        (
            &["batch", "in.jsonl", "-O", "in.jsonl/out"],
            "in.jsonl/out cannot be written",
        ),
        (
            &["batch", "in.jsonl", "--summary", "folder"],
            "folder cannot be written",
        ),
        (
            &["batch", "in.jsonl", "--summary", "missing/s.json"],
            "missing/s.json cannot be written",
        ),
        (
            &["batch", "in.jsonl", "--record", "folder"],
            "folder cannot be written",
        ),
        (
            &["batch", "in.jsonl", "--record", "missing/r.jsonl"],
            "missing/r.jsonl cannot be written",
        ),
    ];
    for (arguments, message) in rows {
        let call = Langspan::new(arguments);
        call.file("in.jsonl", two_lines());
        fs::create_dir(call.home().join("folder")).unwrap();
        unsent(&call, 6)
            .stdout("")
            .stderr_has(&format!("error: {message}"))
            .stderr_has("hint: ");
    }
}

#[test]
fn no_file_is_written_over_another_of_the_same_run() {
    let rows: [(&[&str], &str); 9] = [
        (
            &["-O", "in.jsonl"],
            "--out names the same file as the input",
        ),
        (
            &["-O", "in.jsonl", "--overwrite"],
            "--out names the same file as the input",
        ),
        (
            &["-O", "link.jsonl", "--overwrite"],
            "--out names the same file as the input",
        ),
        (
            &["-O", "hard.jsonl", "--overwrite"],
            "--out names the same file as the input",
        ),
        (
            &["--summary", "in.jsonl"],
            "--summary names the same file as the input",
        ),
        (
            &["--record", "link.jsonl"],
            "--record names the same file as the input",
        ),
        (
            &["-O", "x", "--summary", "x"],
            "--summary names the same file as --out",
        ),
        (
            &["-O", "x", "--record", "x"],
            "--record names the same file as --out",
        ),
        (
            &["--summary", "x", "--record", "x"],
            "--record names the same file as --summary",
        ),
    ];
    for (options, message) in rows {
        let call = Langspan::new(&[&["batch", "in.jsonl"], options].concat());
        let input = call.file("in.jsonl", two_lines());
        symlink("in.jsonl", call.home().join("link.jsonl")).unwrap();
        fs::hard_link(&input, call.home().join("hard.jsonl")).unwrap();
        let ended = unsent(&call, 2);
        ended.stdout("").stderr_has(&format!("error: {message}\n"));
        assert_eq!(fs::read_to_string(input).unwrap(), two_lines());
    }
}

#[test]
fn a_file_that_does_not_exist_yet_is_recognized_under_any_path() {
    let (of_out, of_acks) = ("--out", "the ack file of --out");
    let rows: [(&[&str], &str, &str); 9] = [
        (&["--summary", "./x"], "--summary", of_out),
        (&["--summary", "folder/../x"], "--summary", of_out),
        (&["--summary", "here/x"], "--summary", of_out),
        (&["--summary", "to-x"], "--summary", of_out),
        (&["--record", "./x"], "--record", of_out),
        (&["--record", "here/x"], "--record", of_out),
        (&["--summary", "x.acks"], "--summary", of_acks),
        (&["--record", "here/x.acks"], "--record", of_acks),
        (
            &["--summary", "here/y", "--record", "y"],
            "--record",
            "--summary",
        ),
    ];
    for (options, what, earlier) in rows {
        let call = Langspan::new(&[&["batch", "in.jsonl", "-O", "x"], options].concat());
        call.file("in.jsonl", two_lines());
        fs::create_dir(call.home().join("folder")).unwrap();
        symlink(".", call.home().join("here")).unwrap();
        symlink("here/x", call.home().join("to-x")).unwrap();
        unsent(&call, 2)
            .stdout("")
            .stderr_has(&format!("error: {what} names the same file as {earlier}\n"));
    }

    let call = Langspan::new(&["batch", "x.acks", "-O", "here/x", "--overwrite"]);
    let input = call.file("x.acks", two_lines());
    symlink(".", call.home().join("here")).unwrap();
    let message = "error: the ack file of --out names the same file as the input\n";
    unsent(&call, 2).stderr_has(message);
    assert_eq!(fs::read_to_string(input).unwrap(), two_lines());

    // Other names are other files.
    let servers = echo();
    let options = ["-O", "x", "--summary", "folder/x", "--record", "y"];
    let call = named_batch(&servers, two_lines(), &options);
    fs::create_dir(call.home().join("folder")).unwrap();
    call.run().code(0);
}

#[test]
fn special_files_are_written_directly() {
    let servers = echo();
    let options = ["-O", "/dev/null", "--summary", "/dev/null"];
    let ended = run_batch(&servers, two_lines(), &options);
    ended.code(0).stdout("").stderr_has("2 lines: 2 answered");
    assert!(!Path::new("/dev/null.acks").exists());

    // A named pipe, with a suffix that is ignored.
    let servers = echo();
    let call = named_batch(&servers, two_lines(), &["-O", "pipe.gz"]);
    let pipe = mkfifo(&call, "pipe.gz");
    let reader = thread::spawn(move || fs::read_to_string(pipe).unwrap());
    let ended = call.run();
    ended.code(0);
    assert_eq!(texts(&reader.join().unwrap()), two_answers());
    assert!(!ended.home().join("pipe.gz.acks").exists());
}

#[test]
fn stdout_may_be_named_as_a_file_wherever_it_goes() {
    for name in ["/dev/stdout", "/dev/fd/1"] {
        let servers = echo();
        let call = named_batch(&servers, two_lines(), &["-O", name]);
        let path = call.file("stdout.jsonl", "");
        let stdout = File::options().append(true).open(&path).unwrap();
        let output = call.command().stdout(stdout).output().unwrap();
        call.ended(&output).code(0).stderr_has("2 answered");
        assert_eq!(texts(&fs::read_to_string(path).unwrap()), two_answers());
        assert!(!Path::new(&format!("{name}.acks")).exists());
    }
}

fn mkfifo(call: &Langspan, name: &str) -> std::path::PathBuf {
    let path = call.home().join(name);
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    path
}

#[test]
fn a_named_pipe_can_be_input_even_with_strict() {
    for options in [&["batch", "pipe.gz"][..], &["batch", "pipe.gz", "--strict"]] {
        let servers = echo();
        let call = servers.call(options);
        let pipe = mkfifo(&call, "pipe.gz");
        let writer = thread::spawn(move || fs::write(pipe, gzip(&two_lines())).unwrap());
        let ended = call.run();
        ended.code(0);
        writer.join().unwrap();
        assert_eq!(texts(&ended.stdout), two_answers());
    }
}

#[test]
fn nothing_more_is_asked_once_the_disk_is_full() {
    let servers = echo();
    let lines: String = (0..500).map(|number| prompt(&number.to_string())).collect();
    let ended = run_batch(&servers, lines, &["-j", "1", "-O", "/dev/full"]);
    ended
        .code(6)
        .stderr_has("error: the output cannot be written: ")
        .stderr_has("hint: ");
    let asked = servers.asked().len();
    assert!(asked < 50, "{asked} calls were paid for");
}

#[test]
fn every_call_is_traced_where_the_run_cannot_be_continued() {
    let options: [&[&str]; 4] = [&[], &["--ordered"], &["-O", "/dev/full"], &["-O", "-"]];
    for options in options {
        let servers = echo();
        let lines: String = (0..40).map(|number| prompt(&number.to_string())).collect();
        let call = named_batch(&servers, lines, options).arg("-j").arg("4");
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = call.command().stdout(full).output().unwrap();
        call.ended(&output)
            .code(6)
            .stderr_has("error: the output cannot be written: ")
            .stderr_has("hint: ")
            .stderr_lacks("--resume");
        let asked = servers.asked().len();
        assert_eq!(traces_at(&servers.langfuse).len(), asked, "{options:?}");
    }
}

#[test]
fn an_answer_is_written_before_the_input_ends() {
    let servers = echo();
    let call = servers.call(&["batch", "-", "-q"]);
    let mut child = call
        .command()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(prompt("a").as_bytes()).unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = vec![0; 1 << 16];
    let count = stdout.read(&mut first).unwrap();
    assert_eq!(
        content(&only(str::from_utf8(&first[..count]).unwrap())),
        "a"
    );
    // Its trace does not wait for the end either.
    wait_until("the trace arrived", || {
        !servers.langfuse.exports().is_empty()
    });
    stdin.write_all(prompt("b").as_bytes()).unwrap();
    drop(stdin);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(content(&only(&rest)), "b");
    assert!(child.wait().unwrap().success());
}

#[test]
fn every_call_is_recorded() {
    let servers = echo();
    let input = two_lines() + "nope\n";
    let ended = run_batch(
        &servers,
        input,
        &["--record", "record.jsonl", "--allow-errors", "1"],
    );
    ended.code(0);
    let answers = lines(&ended.stdout);
    let record = ended.home().join("record.jsonl");
    let recorded = lines(&fs::read_to_string(&record).unwrap());
    let ids = |lines: &[Value], at: &str| {
        let mut ids: Vec<String> = lines
            .iter()
            .filter_map(|line| line.pointer(at)?.as_str().map(str::to_owned))
            .collect();
        ids.sort();
        ids
    };
    assert_eq!(recorded.len(), 2);
    assert_eq!(
        ids(&recorded, "/trace/id"),
        ids(&answers, "/langspan/trace_id")
    );
    // What was recorded can be emitted again.
    let again = Servers::answering("not asked");
    again
        .call(&["replay", record.to_str().unwrap()])
        .run()
        .code(0);
    assert!(again.asked().is_empty());
    assert_eq!(again.langfuse.exports().len(), 2);
}

#[test]
fn an_array_and_csv_are_refused_with_the_command_that_converts_them() {
    let array = "[\n  {\"prompt\": \"a\"}\n]\n";
    let csv = "id,prompt\n1,hello\n";
    for (name, text, command) in [
        ("in.json", array, "jq -c '.[]' < in.json > lines.jsonl"),
        ("-", array, "jq -c '.[]' > lines.jsonl"),
        ("in.csv", csv, "< in.csv > lines.jsonl"),
        ("-", csv, "csv.DictReader(sys.stdin)]' > lines.jsonl"),
    ] {
        let call = Langspan::new(&["batch", name, "-O", "out.jsonl"]).stdin(text);
        call.file("in.json", text);
        call.file("in.csv", text);
        let ended = unsent(&call, 2);
        ended
            .stderr_has(", not JSON lines\nhint: convert it")
            .stderr_has(command);
        assert!(!ended.home().join("out.jsonl").exists());
    }
}
