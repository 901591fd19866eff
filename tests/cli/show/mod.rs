//! `langspan show`: a trace read back by id or URL, shown as rows or as a tree.

mod texts;
mod whole;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::certificates::{Authority, Flaw};
use crate::support::harness::{
    Ended, Langspan, OBSERVATIONS, Reply, Scripted, TRACES, dead_url, wait_until,
};
use crate::support::readers::changing;
use crate::support::stand_in::Sandbox;
use crate::support::untouched::Untouched;

const ID: &str = "2de564082ca19a9b24fd35f84866aae6";
const VERSIONS: [&str; 2] = ["v3", "v4"];

fn show(url: &str, arguments: &[&str]) -> Langspan {
    Langspan::new(&[&["show"], arguments].concat()).langfuse_at(url)
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// A span that begins and ends at these milliseconds after a fixed time.
fn span(id: &str, parent: &str, name: &str, times: (u64, u64), attributes: &[Value]) -> Value {
    let nanos = |millis: u64| ((1_790_000_000_000 + millis) * 1_000_000).to_string();
    json!({
        "traceId": ID, "spanId": id, "parentSpanId": parent, "name": name, "kind": 1,
        "startTimeUnixNano": nanos(times.0), "endTimeUnixNano": nanos(times.1), "attributes": attributes,
    })
}

fn who(user: &str) -> Vec<Value> {
    vec![
        text("langfuse.user.id", user),
        text("langfuse.session.id", "morning"),
        json!({"key": "langfuse.tags", "value": {"arrayValue": {"values": [{"stringValue": "one"}, {"stringValue": "two"}]}}}),
    ]
}

/// A trace of four spans: a call that failed beside one that was answered, below a parent, with a tool below that.
fn spans(user: &str, question: &str) -> Vec<Value> {
    let answered = [
        text("langfuse.observation.type", "generation"),
        text("langfuse.observation.model.name", "gpt-4o-mini-2024-07-18"),
        text(
            "langfuse.observation.usage_details",
            r#"{"input":1234,"output":56,"total":1290}"#,
        ),
        text("langfuse.observation.cost_details", r#"{"total":0.0125}"#),
        text(
            "langfuse.observation.completion_start_time",
            "2026-09-21T14:13:20.750Z",
        ),
    ];
    let failed = [
        text("langfuse.observation.type", "generation"),
        text("langfuse.observation.model.name", "gpt-4o"),
    ];
    let mut failed = span(
        "00000000000000c1",
        "00000000000000a1",
        "chat gpt-4o",
        (1000, 1500),
        &[who(user), failed.to_vec()].concat(),
    );
    failed["status"] =
        json!({"code": 2, "message": "the key was refused by the model's server, status 401"});
    vec![
        span("00000000000000a1", "", question, (0, 2000), &who(user)),
        span(
            "00000000000000b1",
            "00000000000000a1",
            "chat gpt-4o-mini",
            (250, 1000),
            &[who(user), answered.to_vec()].concat(),
        ),
        failed,
        span(
            "00000000000000d1",
            "00000000000000c1",
            "look-up",
            (1100, 1200),
            &who(user),
        ),
    ]
}

/// A sandbox that holds these spans.
fn holding(version: &str, spans: &[Value]) -> Sandbox {
    let sandbox = Sandbox::start_with(&["--langfuse", version]);
    let export =
        json!({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "test"}, "spans": spans}]}]});
    let answer = sandbox.post(
        TRACES,
        &[("content-type", "application/json")],
        export.to_string(),
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    sandbox
}

fn sandbox(version: &str) -> Sandbox {
    holding(version, &spans("ada", "a question"))
}

#[test]
fn a_trace_is_found_by_its_id_and_by_its_url() {
    for version in VERSIONS {
        let sandbox = sandbox(version);
        let url = sandbox.url();
        for trace in [
            ID.to_owned(),
            format!("{url}/project/sandbox/traces/{ID}"),
            format!(
                "{url}/project/sandbox/traces/{ID}?observation=00000000000000b1&timestamp=2026"
            ),
            format!("{url}/project/another-project/traces/{ID}"),
            format!("{url}/trace/{ID}"),
        ] {
            let ended = show(url, &[&trace]).run();
            ended.code(0);
            assert!(
                ended.stdout.contains("a question"),
                "{version} {trace}: {ended:#?}"
            );
        }
    }
}

#[test]
fn a_trace_that_chat_printed_is_shown() {
    for version in VERSIONS {
        let sandbox = Sandbox::start_with(&["--langfuse", version]);
        let chat = Langspan::new(&["chat", "-o", "url", "-n", "greeting", "Hello"])
            .at(&sandbox)
            .run();
        let ended = show(sandbox.url(), &[chat.stdout.trim()]).run();
        ended.code(0);
        for wanted in ["greeting", "chat gpt-4o-mini"] {
            assert!(ended.stdout.contains(wanted), "{ended:#?}");
        }
    }
}

#[test]
fn a_parent_that_is_not_there_yet_is_waited_for() {
    for version in VERSIONS {
        let sandbox = Arc::new(sandbox(version));
        let reads = AtomicUsize::new(0);
        let server = changing(&sandbox, move |answer| {
            if reads.fetch_add(1, Ordering::SeqCst) < 2 {
                for rows in ["data", "observations"] {
                    if let Some(Value::Array(rows)) = answer.get_mut(rows) {
                        rows.retain(|row| row["id"] != "00000000000000a1");
                    }
                }
            }
        });
        let ended = show(server.url(), &[ID]).run();
        ended.code(0).stderr_lacks("warning");
        assert!(ended.stdout.contains("a question"), "{ended:#?}");
    }
}

#[test]
fn a_trace_without_its_parent_is_shown_after_the_wait() {
    for version in VERSIONS {
        let sandbox = holding(version, &spans("ada", "a question")[1..]);
        let ended = show(sandbox.url(), &[ID, "--wait", "1"]).run();
        ended.code(0).stderr_has("warning: ");
        assert!(ended.stdout.contains("look-up"), "{ended:#?}");
    }
}

#[test]
fn a_url_of_another_host_is_refused_before_any_request() {
    let untouched = Untouched::start();
    let url = format!("https://cloud.langfuse.com/project/p1/traces/{ID}");
    let ended = show(untouched.url(), &[&url]).run();
    ended.code(3).stdout("").stderr_has("cloud.langfuse.com");
    untouched.assert_untouched();
}

#[test]
fn a_url_of_the_ui_host_is_accepted() {
    let sandbox = sandbox("v4");
    let page = format!("https://traces.example.org/project/sandbox/traces/{ID}");
    show(
        sandbox.url(),
        &[&page, "--ui-url", "https://traces.example.org"],
    )
    .run()
    .code(0);
    let call = show(sandbox.url(), &[&page]).env("LANGSPAN_UI_URL", "https://traces.example.org");
    call.run().code(0);
}

#[test]
fn an_argument_that_names_no_trace_is_refused() {
    let untouched = Untouched::start();
    for wrong in [
        "hello",
        "",
        "2de56408",
        &format!("{}/project/p1/traces", untouched.url()),
    ] {
        show(untouched.url(), &[wrong]).run().code(2).stdout("");
    }
    show(untouched.url(), &[]).run().code(2).stdout("");
    untouched.assert_untouched();
}

#[test]
fn a_missing_trace_is_not_readable() {
    for version in VERSIONS {
        let sandbox = sandbox(version);
        let ended = show(
            sandbox.url(),
            &["0123456789abcdef0123456789abcdef", "--wait", "0.5"],
        )
        .run();
        ended
            .code(7)
            .stdout("")
            .stderr_has("0123456789abcdef0123456789abcdef");
        ended.stderr_has("--wait");
    }
}

/// Newer servers that still write as older ones did know the path, and say so in the words of a missing trace.
#[test]
fn an_interface_that_is_switched_off_is_passed_over() {
    let sandbox = Arc::new(sandbox("v3"));
    let server = Scripted::in_front_of(&sandbox, |request, _| {
        let message = "The observations v2 API is only available in a Langfuse v4 write mode.";
        let body = json!({"message": message, "error": "LangfuseNotFoundError"});
        (request.path.starts_with(OBSERVATIONS)).then(|| Reply::json(404, &body))
    });
    show(server.url(), &[ID]).run().code(0);
}

#[test]
fn a_late_trace_is_waited_for() {
    let sandbox = Arc::new(sandbox("v4"));
    let server = Scripted::in_front_of(&sandbox, |request, _| {
        let is_early = request.path.starts_with(OBSERVATIONS);
        is_early.then(|| Reply::json(200, &json!({"data": [], "meta": {}})))
    });
    show(server.url(), &[ID, "--wait", "0.5"]).run().code(7);
    for version in VERSIONS {
        let late = Sandbox::start_with(&["--langfuse", version, "--visible-after", "1500"]);
        let chat = Langspan::new(&["chat", "-o", "url", "Hello"])
            .at(&late)
            .run();
        show(late.url(), &[chat.stdout.trim()]).run().code(0);
    }
}

#[test]
fn missing_read_permission_is_reported_at_once() {
    for (status, words, hint) in [
        (401, "Invalid credentials", "LANGFUSE_SECRET_KEY"),
        (403, "Access denied", "an organization's key"),
    ] {
        let server = Scripted::always(Reply::json(status, &json!({"message": words})));
        let ended = show(server.url(), &[ID]).run();
        ended.code(3).stdout("").stderr_has(words).stderr_has(hint);
        assert_eq!(server.requests().len(), 1);
        let document = show(server.url(), &["-o", "json", ID]).run().json();
        assert_eq!(document["error"]["kind"], "config");
        assert_eq!(document["error"]["status"], status);
    }
    let sandbox = sandbox("v4");
    let call = show(sandbox.url(), &[ID]).env("LANGFUSE_SECRET_KEY", "sk-lf-another");
    call.run().code(3).stderr_has("401");
}

#[test]
fn the_names_of_this_machine_are_one_host() {
    let sandbox = sandbox("v4");
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        let page = format!("http://{host}:4390/project/sandbox/traces/{ID}");
        show(sandbox.url(), &[&page]).run().code(0);
    }
    let page = format!("http://localhost.example.org/project/sandbox/traces/{ID}");
    show(sandbox.url(), &[&page]).run().code(3);
}

#[test]
fn an_unreachable_server_is_reported() {
    show(&dead_url(), &[ID, "--wait", "0.5"])
        .run()
        .code(5)
        .stdout("")
        .stderr_has("hint:");
    let broken = Scripted::always(Reply::json(500, &json!({"message": "oops"})));
    let ended = show(broken.url(), &[ID, "--wait", "0.5"]).run();
    ended.code(5).stdout("").stderr_has("oops");
}

#[test]
fn the_remedy_follows_from_the_servers_answer() {
    let html = |status| Reply::Answer(status, "text/html", "<html>hello</html>".to_owned());
    let elsewhere = "https://langfuse.example.org/";
    let moved = Reply::With(308, vec![("location", elsewhere.to_owned())], String::new());
    for (reply, wanted, is_retryable) in [
        (html(200), &["LANGFUSE_BASE_URL", "login page"][..], false),
        (html(404), &["LANGFUSE_BASE_URL", "login page"], false),
        (moved, &["redirects are not followed", elsewhere], false),
        (html(503), &["try again later"], true),
        (Reply::Close, &["LANGFUSE_BASE_URL", "running"], true),
    ] {
        let server = Scripted::always(reply);
        let ended = show(server.url(), &["-o", "json", ID, "--wait", "0.2"]).run();
        let error = ended.code(5).json()["error"].take();
        assert_eq!(error["retryable"], is_retryable, "{error}");
        for words in wanted {
            ended.stderr_has(words);
        }
    }
}

#[test]
fn an_authority_that_is_not_trusted_can_be_named() {
    let authority = Authority::new();
    let server = Scripted::start_tls(authority.server(Flaw::None).serving(), |_, _| Reply::Close);
    let ended = show(server.url(), &[ID, "--wait", "0.2"]).run();
    ended.code(5).stderr_has("--ca-file");
    assert_eq!(server.count(), 0);
}

#[test]
fn the_wait_also_bounds_a_silent_server() {
    let server = Scripted::always(Reply::Hang);
    let start = Instant::now();
    show(server.url(), &[ID, "--wait", "1"]).run().code(5);
    // Far from what one question may take.
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn unusable_settings_are_named() {
    let untouched = Untouched::start();
    let plain = Langspan::new(&["show", ID]).env("OTEL_EXPORTER_OTLP_ENDPOINT", untouched.url());
    plain
        .run()
        .code(3)
        .stdout("")
        .stderr_has("LANGFUSE_BASE_URL");
    let without_keys = show(untouched.url(), &[ID]).without("LANGFUSE_SECRET_KEY");
    without_keys
        .run()
        .code(3)
        .stdout("")
        .stderr_has("LANGFUSE_SECRET_KEY");
    untouched.assert_untouched();
}

#[test]
fn json_gives_the_rows() {
    for version in VERSIONS {
        let sandbox = sandbox(version);
        let document = show(sandbox.url(), &["-o", "json", ID])
            .run()
            .code(0)
            .json();
        assert_eq!(document["schema_version"], 1);
        assert_eq!(document["ok"], true);
        let rows = document["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 4);
        let row = rows
            .iter()
            .find(|row| row["id"] == "00000000000000b1")
            .unwrap();
        assert_eq!(row["name"], "chat gpt-4o-mini");
        assert_eq!(row["type"], "GENERATION");
        assert_eq!(row["parentObservationId"], "00000000000000a1");
        assert_eq!(row["userId"], "ada");
        assert_eq!(row["usageDetails"]["input"], 1234);
        assert_eq!(row["startTime"], "2026-09-21T14:13:20.250Z");
    }
}

#[test]
fn json_reports_a_failure() {
    let sandbox = sandbox("v4");
    let missing = "0123456789abcdef0123456789abcdef";
    let other = format!("https://cloud.langfuse.com/project/p1/traces/{ID}");
    for (call, code, kind) in [
        (
            show(sandbox.url(), &["-o", "json", missing, "--wait", "0.5"]),
            7,
            "not_readable",
        ),
        (
            show(&dead_url(), &["-o", "json", ID, "--wait", "0.5"]),
            5,
            "delivery",
        ),
        (show(sandbox.url(), &["-o", "json", &other]), 3, "config"),
    ] {
        let document = call.run().code(code).json();
        assert_eq!(document["ok"], false);
        assert_eq!(document["error"]["kind"], kind, "{document:#}");
        assert_eq!(document["error"]["exit_code"], code, "{document:#}");
    }
}

#[test]
fn the_id_of_a_missing_trace_is_printed() {
    let sandbox = sandbox("v4");
    let missing = "0123456789abcdef0123456789abcdef";
    let call = show(sandbox.url(), &["-o", "json", missing, "--wait", "0.5"]);
    let document = call.run().code(7).json();
    assert_eq!(document["command"], "show");
    assert_eq!(document["trace"]["id"], missing);
    assert_eq!(document["rows"], json!([]));
}

/// A `show` that gets `signal` once it has asked a server that gives no answer.
fn interrupted(options: &[&str], signal: &str) -> Ended {
    let server = Scripted::always(Reply::Hang);
    let call = show(server.url(), &[&[ID], options].concat());
    let child = call.spawn();
    wait_until("the server is asked", || server.count() > 0);
    let kill = Command::new("kill")
        .args(["-s", signal, &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    call.ended(&child.wait_with_output().unwrap())
}

#[test]
fn a_signal_is_reported_like_other_failures() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let ended = interrupted(&[], signal);
        ended.code(code).stdout("");
        ended.stderr_has("error: interrupted").stderr_has("hint: ");
        let document = interrupted(&["-o", "json"], signal).code(code).json();
        assert_eq!(document["ok"], false);
        assert_eq!(document["trace"]["id"], ID);
        assert_eq!(document["error"]["kind"], "interrupted");
        assert_eq!(document["error"]["exit_code"], code);
    }
}

// The drawing.

fn drawn(sandbox: &Sandbox, columns: &str) -> Ended {
    let ended = show(sandbox.url(), &[ID]).env("COLUMNS", columns).run();
    ended.code(0);
    assert_eq!(ended.stderr, "");
    ended
}

/// How many columns a terminal needs for a line: East Asian characters and emoji take two.
fn width(line: &str) -> usize {
    let is_wide = |c: char| matches!(u32::from(c), 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0x1f300..=0x1faff);
    line.chars().map(|c| if is_wide(c) { 2 } else { 1 }).sum()
}

#[track_caller]
fn assert_fits(drawing: &str, columns: usize) {
    for line in drawing.lines() {
        assert!(
            width(line) <= columns,
            "{} columns: {line}\n{drawing}",
            width(line)
        );
    }
}

#[track_caller]
fn line<'a>(drawing: &'a str, name: &str) -> &'a str {
    let found = drawing.lines().find(|line| line.contains(name));
    found.unwrap_or_else(|| panic!("no line with {name:?}:\n{drawing}"))
}

/// Where the bar of a span begins and ends, in columns, and whether a mark is in it.
#[track_caller]
fn bar(drawing: &str, name: &str) -> (usize, usize, bool) {
    let columns: Vec<char> = line(drawing, name).chars().collect();
    let is_bar =
        |c: &char| ('\u{2501}'..='\u{259f}').contains(c) && *c != '└' && *c != '├' && *c != '│';
    let from = columns
        .iter()
        .position(is_bar)
        .unwrap_or_else(|| panic!("no bar: {name}\n{drawing}"));
    let to = columns.iter().rposition(is_bar).unwrap();
    let inside = &columns[from..=to];
    (
        from,
        to,
        inside.iter().any(|c| *c != inside[inside.len() - 1]),
    )
}

#[test]
fn the_drawing_is_a_tree_with_a_bar_for_each_span() {
    for version in VERSIONS {
        let ended = drawn(&sandbox(version), "100");
        let drawing = &ended.stdout;
        assert!(drawing.contains(ID));
        let names = ["a question", "chat gpt-4o-mini", "chat gpt-4o ", "look-up"];
        let places = names.map(|name| {
            drawing
                .lines()
                .position(|line| line.contains(name))
                .unwrap_or_else(|| panic!("{name}\n{drawing}"))
        });
        assert!(places.is_sorted(), "{places:?}\n{drawing}");
        let depths = names.map(|name| line(drawing, name).find(name).unwrap());
        assert!(depths[0] < depths[1] && depths[2] < depths[3], "{drawing}");
        assert!(line(drawing, "chat gpt-4o-mini").contains('├'), "{drawing}");
        assert!(line(drawing, "look-up").contains('└'), "{drawing}");
        let (whole, first) = (bar(drawing, "a question"), bar(drawing, "chat gpt-4o-mini"));
        let (second, inner) = (bar(drawing, "chat gpt-4o "), bar(drawing, "look-up"));
        assert!(
            whole.0 < first.0 && first.1 <= second.0 + 1 && second.1 < whole.1,
            "{drawing}"
        );
        assert!(second.0 <= inner.0 && inner.1 <= second.1, "{drawing}");
        assert!(first.2, "no mark of the first token:\n{drawing}");
        assert!(!whole.2 && !inner.2, "{drawing}");
    }
}

#[test]
fn the_drawing_shows_identity_model_tokens_cost_and_level() {
    for version in VERSIONS {
        for columns in ["100", "40"] {
            let ended = drawn(&sandbox(version), columns);
            let words: String = ended
                .stdout
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            for wanted in [
                "ada",
                "morning",
                "one",
                "two",
                "gpt-4o-mini-2024-07-18",
                "1234",
                "56",
                "0.0125",
                "ERROR",
                "401",
                "750 ms",
                "500 ms",
                "2000 ms",
            ] {
                assert!(
                    words.contains(wanted),
                    "{version} {columns}: {wanted} is missing\n{}",
                    ended.stdout
                );
            }
        }
    }
}

#[test]
fn the_drawing_fits_the_terminal() {
    let long_word = "x".repeat(120);
    let nested: Vec<Value> = (0_u64..30)
        .map(|depth| {
            let parent = if depth == 0 {
                String::new()
            } else {
                format!("{depth:016x}")
            };
            span(
                &format!("{:016x}", depth + 1),
                &parent,
                "a step of many",
                (depth, 100),
                &who("ada"),
            )
        })
        .collect();
    let mut too_wide = Vec::new();
    for (what, spans) in [
        ("usual", spans("ada", "a question")),
        ("long words", spans(&long_word, &long_word)),
        (
            "wide characters",
            spans(&"日本語".repeat(20), &"日本語の質問🚀".repeat(10)),
        ),
        ("deep", nested),
    ] {
        let sandbox = holding("v4", &spans);
        for columns in [100, 40] {
            let ended = drawn(&sandbox, &columns.to_string());
            let widest = ended.stdout.lines().map(width).max().unwrap();
            if widest > columns {
                too_wide.push(format!("{what}: {widest} of {columns} columns"));
            }
        }
    }
    assert!(too_wide.is_empty(), "{too_wide:#?}");
}

#[test]
fn control_characters_in_names_do_not_reach_the_terminal() {
    let sandbox = holding(
        "v4",
        &spans("a\u{1b}[31md\u{7}a\nb", "a\u{1b}]0;title\u{7}\nquestion"),
    );
    let ended = drawn(&sandbox, "100");
    assert!(!ended.stdout.contains(['\u{1b}', '\u{7}']), "{ended:#?}");
    assert_fits(&ended.stdout, 100);
}

#[test]
fn colour_is_for_terminals_or_when_forced() {
    let sandbox = sandbox("v4");
    let call = || show(sandbox.url(), &[ID]);
    assert!(!call().run().stdout.contains('\u{1b}'));
    assert!(
        call()
            .env("FORCE_COLOR", "1")
            .run()
            .stdout
            .contains('\u{1b}')
    );
    let both = call().env("FORCE_COLOR", "1").env("NO_COLOR", "1").run();
    assert!(!both.stdout.contains('\u{1b}'));
}

#[test]
fn invented_and_duplicate_rows_are_not_drawn() {
    let sandbox = Arc::new(sandbox("v4"));
    let behind = Arc::downgrade(&sandbox);
    let server = Scripted::in_front_of(&sandbox, move |request, _| {
        if !request.path.starts_with(OBSERVATIONS) {
            return None;
        }
        let mut body = behind.upgrade()?.get(&request.path).json();
        let rows = body["data"].as_array_mut()?;
        let mut made_up = rows[0].clone();
        made_up["id"] = json!(format!("t-{ID}"));
        made_up["name"] = json!("made up");
        let copy = rows[0].clone();
        rows.extend([made_up, copy]);
        Some(Reply::json(200, &body))
    });
    let drawing = show(server.url(), &[ID]).run().stdout;
    assert!(!drawing.contains("made up"), "{drawing}");
    assert_eq!(drawing.matches("look-up").count(), 1, "{drawing}");
}

#[test]
fn after_a_verbose_chat_the_same_drawing_appears() {
    let sandbox = Sandbox::start();
    let chat = Langspan::new(&["chat", "-v", "--verify", "-n", "greeting", "Hello"])
        .at(&sandbox)
        .run();
    chat.code(0);
    assert!(!chat.stdout.contains("greeting"), "{chat:#?}");
    let parent = chat
        .stderr
        .lines()
        .find(|line| line.starts_with("greeting"));
    assert!(parent.is_some_and(|line| line.contains(" ms")), "{chat:#?}");
    chat.stderr_has("└─ chat gpt-4o-mini");
}
