//! How fast, how often and for how long a batch asks, as the model's server sees it; and what ends it early.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::batch::gate::{
    Arrivals, Crowd, Gate, lines, lines_in, numbers, prompts, send, settled, summary,
};
use crate::support::batch::runs::langfuse;
use crate::support::harness::{Ended, Langspan, Reply, Request, Scripted, completion, wait_until};
use crate::support::memory::Memory;
use crate::support::otlp::{Servers, traces_at};

/// A batch over `count` prompts that goes to these servers.
fn batch(servers: &Servers, count: usize, arguments: &[&str]) -> Langspan {
    let call = servers.call(&[&["batch", "in.jsonl"], arguments].concat());
    call.file("in.jsonl", prompts(count));
    call
}

fn servers(model: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Servers {
    Servers::with(Scripted::start(model))
}

fn answer() -> Reply {
    Reply::json(200, &completion("hi"))
}

fn refusal(status: u16, message: &str) -> Reply {
    Reply::json(status, &json!({"error": {"message": message}}))
}

/// What a request asks the model to say.
fn asked(request: &Request) -> String {
    let body = request.json();
    body["messages"][0]["content"].as_str().unwrap().to_owned()
}

/// A model that refuses these prompts.
fn refusing(prompts: &'static [&'static str]) -> Servers {
    servers(move |request, _| {
        if prompts.contains(&asked(request).as_str()) {
            refusal(400, "no")
        } else {
            answer()
        }
    })
}

#[test]
fn so_many_calls_are_under_way_at_once_and_never_more() {
    for (arguments, ceiling) in [
        (&[][..], 16),
        (&["-j", "3"], 3),
        (&["--concurrency", "50"], 50),
    ] {
        let crowd = Crowd::default();
        let servers = servers({
            let crowd = crowd.clone();
            move |_, _| {
                crowd.enter(ceiling);
                answer()
            }
        });
        let ended = batch(&servers, 4 * ceiling, arguments).run();
        ended.code(0);
        assert_eq!(crowd.most(), ceiling);
        assert_eq!(servers.asked().len(), 4 * ceiling);
    }
}

#[test]
fn a_line_that_is_always_told_to_wait_fails_alone() {
    let servers = servers(|request, _| {
        if asked(request) == "say 2" {
            Reply::With(
                429,
                vec![("retry-after-ms", "400".to_owned())],
                String::new(),
            )
        } else {
            answer()
        }
    });
    let options = ["--timeout", "1", "--allow-errors", "1"];
    let ended = batch(&servers, 6, &options).run();
    ended.code(0).stderr_has("6 lines: 5 answered, 1 failed");
}

#[test]
fn requests_of_a_limited_run_are_spread_evenly() {
    let arrivals = Arrivals::default();
    let servers = servers({
        let arrivals = arrivals.clone();
        move |_, _| {
            arrivals.add();
            answer()
        }
    });
    let call = batch(&servers, 12, &["--rpm", "1200"]);
    let start = Instant::now();
    call.run().code(0);
    let times = arrivals.since(start);
    assert_eq!(times.len(), 12);
    for (place, time) in (0..).zip(&times) {
        assert!(
            *time >= Duration::from_millis(50) * place,
            "{place}: {times:?}"
        );
    }
}

#[test]
fn further_attempts_count_for_the_limit_too() {
    let arrivals = Arrivals::default();
    let servers = servers({
        let arrivals = arrivals.clone();
        move |request, _| {
            match arrivals.add() {
            _ if request.json()["stream_options"].is_object() => {
                refusal(400, "stream_options is unknown")
            }
            count if count < 9 => Reply::With(
                500,
                vec![("retry-after-ms", "1".to_owned())],
                String::new(),
            ),
            _ => Reply::events(&[
                &json!({"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]})
                    .to_string(),
                "[DONE]",
            ]),
        }
        }
    });
    let call = batch(&servers, 4, &["--rpm", "1200", "--stream"]);
    let start = Instant::now();
    call.run().code(0);
    let times = arrivals.since(start);
    assert!(times.len() > 12, "{times:?}");
    for (place, time) in (0..).zip(&times) {
        assert!(
            *time >= Duration::from_millis(50) * place,
            "{place}: {times:?}"
        );
    }
}

#[test]
fn what_a_pause_held_up_does_not_come_in_a_burst() {
    const PAUSE: Duration = Duration::from_millis(1500);
    let arrivals = Arrivals::default();
    let told: Arc<Mutex<Option<Instant>>> = Arc::default();
    let servers = servers({
        let (arrivals, told) = (arrivals.clone(), Arc::clone(&told));
        move |_, _| {
            if arrivals.add() > 0 {
                return answer();
            }
            *told.lock().unwrap() = Some(Instant::now());
            let wait = PAUSE.as_millis().to_string();
            Reply::With(429, vec![("retry-after-ms", wait)], String::new())
        }
    });
    batch(&servers, 12, &["--rpm", "600"]).run().code(0);
    let end = told.lock().unwrap().unwrap() + PAUSE;
    let times = arrivals.since(end);
    assert!(times.len() > 8, "{times:?}");
    for (place, time) in (0..).zip(&times) {
        assert!(
            *time >= Duration::from_millis(100) * place,
            "{place}: {times:?}"
        );
    }
}

/// How an endpoint asks for a pause.
type Asking = (u16, Headers);
type Headers = &'static [(&'static str, &'static str)];

/// Of four calls under way the first is answered so, and the others while the pause lasts; asserts that none comes in
/// the pause, and that it is no attempt.
fn pauses_all((status, headers): Asking, pause: Duration) {
    let (arrivals, crowd) = (Arrivals::default(), Crowd::default());
    let told: Arc<Mutex<Option<Instant>>> = Arc::default();
    let servers = servers({
        let (arrivals, told) = (arrivals.clone(), Arc::clone(&told));
        move |_, _| {
            let place = arrivals.add();
            crowd.enter(4);
            if place == 0 {
                *told.lock().unwrap() = Some(Instant::now());
                let headers = headers
                    .iter()
                    .map(|(name, value)| (*name, (*value).to_owned()));
                return Reply::With(status, headers.collect(), completion("hi").to_string());
            }
            if place < 4 {
                // By now the first answer is known.
                thread::sleep(Duration::from_millis(1200));
            }
            answer()
        }
    });
    let ended = batch(&servers, 12, &["-j", "4", "--retries", "0"]).run();
    ended.code(0);
    let told = told.lock().unwrap().unwrap();
    let later = arrivals.since(told);
    let expected = if status == 200 { 8 } else { 9 };
    assert_eq!(later.len(), expected, "{headers:?}: {later:?}");
    assert!(
        later.iter().all(|time| *time >= pause),
        "{headers:?}: {later:?}"
    );
    let answers = lines(&ended.stdout);
    assert_eq!(answers.len(), 12, "{headers:?}");
    for line in answers {
        assert_eq!(line["langspan"]["attempts"], 1, "{headers:?}: {line}");
    }
    for trace in traces_at(&servers.langfuse) {
        let attempts = crate::support::otlp::attribute(
            &trace.generation,
            "langfuse.observation.metadata.attempts",
        );
        assert_eq!(attempts.as_deref(), Some("(int) 1"));
    }
}

#[test]
fn an_endpoint_that_wants_a_pause_gets_it_from_all_calls_and_it_is_no_attempt() {
    let askings: [(Asking, u64); 7] = [
        ((429, &[("retry-after", "2")]), 2000),
        ((503, &[("retry-after", "2")]), 2000),
        ((429, &[("retry-after-ms", "1700")]), 1700),
        (
            (
                429,
                &[
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-reset-requests", "1.8s"),
                ],
            ),
            1800,
        ),
        (
            (
                429,
                &[
                    ("x-ratelimit-remaining-tokens", "0"),
                    ("x-ratelimit-reset-tokens", "1700ms"),
                ],
            ),
            1700,
        ),
        (
            (
                200,
                &[
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-reset-requests", "1700ms"),
                ],
            ),
            1700,
        ),
        (
            (
                200,
                &[
                    ("x-ratelimit-remaining-tokens", "0"),
                    ("x-ratelimit-reset-tokens", "0m2s"),
                ],
            ),
            2000,
        ),
    ];
    thread::scope(|scope| {
        for (asking, pause) in askings {
            scope.spawn(move || pauses_all(asking, Duration::from_millis(pause)));
        }
    });
}

#[test]
fn a_line_gets_so_many_further_attempts() {
    for (arguments, attempts) in [
        (&[][..], 6),
        (&["--retries", "2"], 3),
        (&["--retries", "0"], 1),
    ] {
        let servers = servers(|_, _| {
            let headers = vec![("retry-after-ms", "1".to_owned())];
            Reply::With(500, headers, r#"{"error":{"message":"boom"}}"#.to_owned())
        });
        let ended = batch(&servers, 1, arguments).run();
        ended.code(8);
        assert_eq!(servers.asked().len(), attempts);
        let line = &lines(&ended.stdout)[0];
        assert_eq!(line["langspan"]["attempts"], attempts);
        assert_eq!(line["response"]["status_code"], 500);
    }
}

/// A file of answers, and what the run says about going on.
fn out(ended: &Ended) -> Vec<Value> {
    lines_in(&ended.home().join("out.jsonl"))
}

#[test]
fn a_pause_that_no_line_can_outwait_ends_the_run_early() {
    const RESETS: Headers = &[
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "1h0m0s"),
    ];
    // No clock can hold it.
    const ABSURD: &[(&str, &str)] = &[
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "1e19"),
    ];
    let cases: [Asking; 7] = [
        (429, &[("retry-after-ms", "1e19")]),
        (429, ABSURD),
        (200, ABSURD),
        (429, &[("retry-after", "3600")]),
        (503, &[("retry-after-ms", "3600000")]),
        (429, RESETS),
        (200, RESETS),
    ];
    for (status, headers) in cases {
        let servers = servers(move |_, count| {
            if count < 3 {
                return answer();
            }
            let headers = headers
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()));
            Reply::With(status, headers.collect(), completion("hi").to_string())
        });
        let ended = batch(&servers, 50, &["-j", "1", "-O", "out.jsonl"]).run();
        ended
            .code(8)
            .stderr_has("stopped early")
            .stderr_has("--resume");
        assert_eq!(servers.asked().len(), 4, "{status} {headers:?}");
        let lines = out(&ended);
        assert_eq!(numbers(&lines), [1, 2, 3, 4]);
        assert_eq!(lines[3]["response"]["status_code"], status);
        assert_eq!(traces_at(&servers.langfuse).len(), 4);
    }
}

#[test]
fn an_endpoint_that_will_answer_no_line_ends_the_run_early_and_what_was_done_is_kept() {
    let quota = json!({"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}});
    let key = json!({"error": {"message": "Incorrect API key provided"}});
    for (status, body, words) in [(429, quota, "quota"), (401, key, "API key")] {
        let servers = servers(move |_, count| {
            if count < 10 {
                answer()
            } else {
                Reply::json(status, &body)
            }
        });
        let ended = batch(&servers, 500, &["-j", "4", "-O", "out.jsonl"]).run();
        ended
            .code(8)
            .stderr_has("stopped early")
            .stderr_has(words)
            .stderr_has("langspan batch in.jsonl -j 4 -O out.jsonl --resume");
        let asked = servers.asked().len();
        assert!((11..=14).contains(&asked), "{asked}");
        let lines = out(&ended);
        assert_eq!(lines.len(), asked, "every call that was made has its line");
        let answered = lines
            .iter()
            .filter(|line| line["response"]["status_code"] == 200);
        assert_eq!(answered.count(), 10);
        assert_eq!(traces_at(&servers.langfuse).len(), asked);
    }
}

#[test]
fn a_run_that_ends_early_sends_nothing_that_still_waits_for_its_turn() {
    let servers = servers(|_, _| refusal(401, "Incorrect API key provided"));
    let call = batch(&servers, 50, &["--rpm", "30", "-O", "out.jsonl"]);
    let ended = call.run();
    ended.code(8).stderr_has("stopped early");
    assert_eq!(servers.asked().len(), 1);
    assert_eq!(numbers(&out(&ended)), [1]);
}

#[test]
fn a_signal_does_not_send_what_still_waits_for_its_turn() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let servers = servers(|_, _| answer());
        let call = batch(&servers, 50, &["--rpm", "6", "-O", "out.jsonl"]);
        let child = call.spawn();
        let path = call.home().join("out.jsonl");
        wait_until("the first line is answered", || {
            path.metadata().is_ok_and(|found| found.len() > 0)
        });
        send(signal, &child);
        let ended = call.ended(&child.wait_with_output().unwrap());
        ended.code(code);
        assert_eq!(servers.asked().len(), 1);
        assert_eq!(numbers(&out(&ended)), [1]);
        assert_eq!(traces_at(&servers.langfuse).len(), 1);
    }
}

#[test]
fn a_signal_in_a_pause_leaves_the_paused_lines_to_be_asked_later() {
    let servers = servers(|_, count| {
        let headers = vec![("retry-after", "300".to_owned())];
        match count {
            1 => Reply::With(429, headers, String::new()),
            _ => answer(),
        }
    });
    let call = batch(&servers, 5, &["-j", "1", "-O", "out.jsonl", "-v"]);
    let mut child = call.spawn();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("all wait") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0);
    }
    send("INT", &child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(numbers(&lines_in(&call.home().join("out.jsonl"))), [1]);
    let ended = call.clone().arg("--resume").run();
    ended.code(0);
    assert_eq!(numbers(&out(&ended)), [1, 2, 3, 4, 5]);
    assert_eq!(servers.asked().len(), 6);
}

#[test]
fn so_many_failed_lines_end_the_run() {
    let servers = servers(|_, _| refusal(400, "no"));
    let ended = batch(
        &servers,
        100,
        &["-j", "1", "--max-errors", "3", "-O", "out.jsonl"],
    )
    .run();
    ended
        .code(8)
        .stderr_has("--max-errors 3")
        .stderr_has("--resume");
    assert_eq!(servers.asked().len(), 3);
    assert_eq!(numbers(&out(&ended)), [1, 2, 3]);
    assert_eq!(traces_at(&servers.langfuse).len(), 3);
}

#[test]
fn invalid_lines_count_as_errors() {
    let servers = servers(|_, _| answer());
    let call = servers.call(&["batch", "in.jsonl", "-j", "1", "--max-errors", "2"]);
    call.file(
        "in.jsonl",
        format!("{}no\nnor this\n{}", prompts(1), prompts(100)),
    );
    let ended = call.run();
    ended.code(8).stderr_has("--max-errors 2");
    assert!(servers.asked().len() <= 2);
    let lines = lines(&ended.stdout);
    let invalid = lines
        .iter()
        .filter(|line| line["error"]["code"] == "invalid_line");
    assert_eq!(invalid.count(), 2);
}

#[test]
fn traces_that_are_not_delivered_count_as_errors() {
    let model = Scripted::model("hi");
    let langfuse = Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "No."})));
    let servers = Servers { model, langfuse };
    let ended = batch(
        &servers,
        20_000,
        &["-j", "1", "--max-errors", "2", "-O", "out.jsonl"],
    )
    .run();
    ended
        .code(5)
        .stderr_has("--max-errors 2")
        .stderr_has("--resume");
    let asked = servers.asked().len();
    assert!(asked < 20_000, "{asked}");
    assert_eq!(out(&ended).len(), asked);
}

#[test]
fn failed_lines_are_forgiven_up_to_a_number_or_a_share_but_never_all() {
    const TWO: &[&str] = &["say 3", "say 7"];
    const ALL: &[&str] = &[
        "say 1", "say 2", "say 3", "say 4", "say 5", "say 6", "say 7", "say 8", "say 9", "say 10",
    ];
    for (failing, allowed, code) in [
        (TWO, None, 8),
        (TWO, Some("0"), 8),
        (TWO, Some("1"), 8),
        (TWO, Some("2"), 0),
        (TWO, Some("19%"), 8),
        (TWO, Some("19.9%"), 8),
        (TWO, Some("20%"), 0),
        (TWO, Some("100%"), 0),
        (&[], Some("0%"), 0),
        (ALL, Some("10"), 8),
        (ALL, Some("100%"), 8),
    ] {
        let servers = refusing(failing);
        let mut call = batch(&servers, 10, &["--summary", "summary.json"]);
        if let Some(allowed) = allowed {
            call = call.arg("--allow-errors").arg(allowed);
        }
        let ended = call.run();
        assert_eq!(ended.code, Some(code), "{allowed:?}: {ended:#?}");
        assert_eq!(lines(&ended.stdout).len(), 10);
        let summary = summary(&ended);
        assert_eq!(summary["ok"], code == 0, "{allowed:?}: {summary}");
        assert_eq!(summary["lines"]["failed"], failing.len());
        if code == 8 {
            let said = format!("{} of 10 lines failed", failing.len());
            ended.stderr_has(&said);
            assert_eq!(summary["error"]["exit_code"], 8);
            assert_eq!(summary["error"]["kind"], "model");
        } else {
            ended.stderr_lacks("error:");
        }
    }
}

#[test]
fn what_no_number_of_lines_can_be_is_refused() {
    for (option, value) in [
        ("--allow-errors", "some"),
        ("--allow-errors", "-1"),
        ("--allow-errors", "101%"),
        ("--allow-errors", "NaN%"),
        ("--max-errors", "0"),
        ("--rpm", "0"),
        ("--concurrency", "0"),
    ] {
        let servers = servers(|_, _| answer());
        batch(&servers, 3, &[&format!("{option}={value}")])
            .run()
            .code(2);
        assert_eq!(
            servers.model.count() + servers.langfuse.count(),
            0,
            "{option} {value}"
        );
    }
}

/// What befalls a run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    /// A line fails.
    Line,
    /// Langfuse refuses the spans.
    Refused,
    /// The recording cannot be written.
    Recording,
    /// Traces that were accepted cannot be read.
    Unreadable,
}

fn befallen(troubles: &'static [Trouble]) -> Ended {
    use Trouble::{Line, Recording, Refused, Unreadable};
    let model = Scripted::start(move |request, _| {
        if troubles.contains(&Line) && asked(request) == "say 1" {
            refusal(400, "no")
        } else {
            answer()
        }
    });
    let langfuse = Scripted::start(move |request, _| match request.path.split('?').next() {
        Some("/api/public/projects") => Reply::json(200, &json!({"data": [{"id": "p1"}]})),
        Some("/api/public/v2/metrics") => {
            Reply::json(200, &json!({"data": [{"uniq_traceId": "0"}]}))
        }
        Some(path) if path.starts_with("/api/public/v2") => {
            Reply::json(200, &json!({"data": [], "meta": {}}))
        }
        _ if troubles.contains(&Refused) => {
            Reply::json(401, &json!({"message": "Invalid credentials."}))
        }
        _ => Reply::json(200, &json!({})),
    });
    let servers = Servers { model, langfuse };
    let mut call = batch(&servers, 4, &["-O", "out.jsonl", "-o", "json"]);
    if troubles.contains(&Recording) {
        call = call.arg("--record").arg("/dev/full");
    }
    if troubles.contains(&Unreadable) {
        call = call.arg("--verify").arg("--wait").arg("0.5");
    }
    call.run()
}

#[test]
fn the_heaviest_of_several_troubles_decides_the_code() {
    use Trouble::{Line, Recording, Refused, Unreadable};
    for (troubles, code, kind) in [
        (&[][..], 0, None),
        (&[Line], 8, Some("model")),
        (&[Refused], 5, Some("delivery")),
        (&[Recording], 6, Some("file")),
        (&[Unreadable], 7, Some("not_readable")),
        (&[Line, Refused], 5, Some("delivery")),
        (&[Recording, Refused], 5, Some("delivery")),
        (&[Unreadable, Refused], 5, Some("delivery")),
        (&[Line, Recording], 6, Some("file")),
        (&[Recording, Unreadable], 6, Some("file")),
        (&[Line, Unreadable], 8, Some("model")),
        (&[Line, Recording, Refused, Unreadable], 5, Some("delivery")),
    ] {
        let ended = befallen(troubles);
        assert_eq!(ended.code, Some(code), "{troubles:?}: {ended:#?}");
        let summary = ended.json();
        assert_eq!(summary["ok"], troubles.is_empty(), "{troubles:?}");
        assert_eq!(summary["error"]["kind"], json!(kind), "{troubles:?}");
        if kind.is_some() {
            assert_eq!(summary["error"]["exit_code"], code, "{troubles:?}");
        }
    }
}

#[test]
fn an_interrupted_run_says_so_whatever_else_befell_it() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let model = Scripted::start(|_, count| match count {
            0 => refusal(400, "no"),
            _ => Reply::Hang,
        });
        let langfuse = Scripted::langfuse(|_, _| Reply::json(401, &json!({"message": "No."})));
        let servers = Servers { model, langfuse };
        let call = batch(
            &servers,
            9,
            &["-j", "1", "-O", "out.jsonl", "--summary", "summary.json"],
        );
        let child = call.spawn();
        wait_until("the second line is asked", || servers.asked().len() == 2);
        send(signal, &child);
        send(signal, &child);
        let ended = call.ended(&child.wait_with_output().unwrap());
        ended.code(code);
        let summary = summary(&ended);
        assert_eq!(summary["error"]["kind"], "interrupted");
        assert_eq!(summary["error"]["exit_code"], code);
    }
}

/// A run whose output cannot hold all lines.
fn cramped(call: &Langspan, blocks: u32) -> Ended {
    let mut command = std::process::Command::new("sh");
    let inner = call.command();
    // A file that would grow beyond the limit is an error to whoever ignores the signal.
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
fn an_output_file_that_takes_no_more_ends_the_run_and_it_can_be_continued() {
    const COUNT: usize = 300;
    let text = "x".repeat(2000);
    let mut servers = servers(move |_, _| Reply::json(200, &completion(&text)));
    // It tells which traces have arrived of the lines that were written last.
    servers.langfuse = langfuse(&Memory::default());
    let call = batch(
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
    let ended = batch(&servers, 500, &["-j", "2", "-O", "/dev/full"]).run();
    ended.code(6).stderr_has("the output cannot be written");
    let asked = servers.asked().len();
    assert!(asked <= 20, "{asked}");
}

#[test]
fn a_summary_on_a_full_device_is_6() {
    let servers = servers(|_, _| answer());
    let ended = batch(&servers, 3, &["--summary", "/dev/full"]).run();
    ended.code(6).stderr_has("summary");
    assert_eq!(lines(&ended.stdout).len(), 3);
}

#[test]
fn an_input_that_breaks_off_leaves_what_was_read_done() {
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
fn a_folder_is_no_input_and_no_output() {
    let servers = servers(|_, _| answer());
    let call = batch(&servers, 1, &["-O", "."]);
    call.run().code(6).stderr_has("directory");
    let call = servers.call(&["batch", "."]);
    call.run().code(6).stderr_has("directory");
    let call = servers.call(&["batch", "none.jsonl"]);
    call.run().code(6).stderr_has("none.jsonl");
    assert_eq!(servers.model.count(), 0);
}

#[test]
fn a_reader_that_leaves_ends_the_run_and_what_was_paid_for_is_traced() {
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
    let call = batch(&servers, 500, &["-j", "3"]);
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
    let servers = refusing(&["say 3", "say 4"]);
    let call = batch(&servers, 200, &["-j", "2", "--run", "r"]).env("COLUMNS", "40");
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
    let servers = refusing(&["say 2"]);
    batch(&servers, 3, &["-q", "--allow-errors", "1"])
        .run()
        .code(0);
    let ended = batch(&servers, 3, &["-q"]).run();
    ended.code(8);
    assert!(
        ended.stderr.starts_with("error: 1 of 3 lines failed"),
        "{ended:#?}"
    );
    assert_eq!(ended.stderr.lines().count(), 2, "{ended:#?}");
}

#[test]
fn an_output_that_nobody_reads_holds_up_new_calls() {
    const COUNT: usize = 600;
    let text = "x".repeat(32 << 10);
    let servers = servers(move |_, _| Reply::json(200, &completion(&text)));
    let call = batch(&servers, COUNT, &[]);
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
    let call = batch(&servers, 6, &["-O", "out.jsonl"]).env("TERM", "xterm");
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
        if shown.contains("3 done, ") {
            gate.open();
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let (drawn, said) = shown.rsplit_once("\u{1b}[2K").unwrap();
    assert!(
        drawn.contains("3 done, ") && drawn.contains("tokens"),
        "{shown:?}"
    );
    assert!(said.contains("6 lines: 6 answered, 0 failed"), "{shown:?}");
    assert!(!said.contains("6 done, "), "{shown:?}");
}
