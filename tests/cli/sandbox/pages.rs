//! The web pages: their content, that nothing in them can run, and how a browser shows them.

use std::collections::HashSet;
use std::env;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::read::ZlibDecoder;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{send, span, text};
use crate::support::stand_in::Sandbox;

const TRACE: &str = "5b8efff798038103d269b633813fc60c";

fn conversation() -> Vec<Value> {
    let mut child = span(
        TRACE,
        "00000000000000a2",
        1,
        &[
            text("langfuse.observation.type", "generation"),
            text("langfuse.observation.model.name", "gpt-4o-mini"),
            text(
                "langfuse.observation.model.parameters",
                r#"{"temperature":0.25}"#,
            ),
            text(
                "langfuse.observation.usage_details",
                r#"{"input":1234,"output":8}"#,
            ),
            text(
                "langfuse.observation.completion_start_time",
                "2026-09-21T14:13:21.500Z",
            ),
            text(
                "langfuse.observation.input",
                r#"[{"role":"user","content":"Why trace?"}]"#,
            ),
            text(
                "langfuse.observation.output",
                r#"{"role":"assistant","content":"Because."}"#,
            ),
        ],
    );
    child["parentSpanId"] = "00000000000000a1".into();
    child["status"] = json!({"code": 2, "message": "the model hung up"});
    let mut parent = span(
        TRACE,
        "00000000000000a1",
        0,
        &[
            text("langfuse.trace.name", "nightly review"),
            text("langfuse.user.id", "user-123"),
            text("langfuse.session.id", "demo"),
            text("langfuse.tags", "smoke"),
            text("langfuse.trace.metadata.build", "4711"),
        ],
    );
    parent["endTimeUnixNano"] = "1790000004000000000".into();
    vec![parent, child]
}

#[test]
fn an_empty_sandbox_shows_how_to_make_a_trace() {
    let page = Sandbox::start().send("GET", "/", &[], Vec::new());
    assert_eq!(
        (page.status, page.content_type.as_str()),
        (200, "text/html; charset=utf-8")
    );
    assert!(
        page.body
            .contains("langspan chat --sandbox &quot;Hello&quot;"),
        "{}",
        page.body
    );
}

#[test]
fn the_list_shows_the_newest_trace_first() {
    let sandbox = Sandbox::start();
    let newer = span("b", "1", 100, &[text("langfuse.trace.name", "newer trace")]);
    send(&sandbox, &[newer]);
    send(&sandbox, &conversation());
    for path in ["/", "/project/sandbox/traces"] {
        let page = sandbox.get(path).body;
        let newer = page.find("newer trace").unwrap();
        let older = page.find("nightly review").unwrap();
        assert!(newer < older, "{page}");
        for part in [
            "user-123",
            "demo",
            "smoke",
            "Why trace?",
            "4.00 s",
            "1242",
            "ERROR",
            "2026-09-21 14:13:20",
        ] {
            assert!(page.contains(part), "{part} is missing in {page}");
        }
    }
}

#[test]
fn the_list_shows_the_beginning_of_the_input() {
    let sandbox = Sandbox::start();
    let messages = |messages: Value| text("langfuse.observation.input", &messages.to_string());
    let history = messages(json!([
        {"role": "system", "content": "Be terse."}, {"role": "user", "content": "first question"},
        {"role": "assistant", "content": "first answer"},
        {"role": "user", "content": [{"type": "text", "text": "second\n question"}, {"type": "image_url"}]},
    ]));
    let long = text("langfuse.observation.input", &"word ".repeat(1000));
    let object = text("langfuse.observation.input", r#"{"question": "which"}"#);
    send(
        &sandbox,
        &[
            span("a", "1", 0, &[history]),
            span("b", "2", 1, &[long]),
            span("c", "3", 2, &[object]),
            span("d", "4", 3, &[]),
        ],
    );
    let page = sandbox.get("/").body;
    let inputs: Vec<&str> = page
        .split("<span class=\"input\">")
        .skip(1)
        .map(|rest| rest.split("</span><span").next().unwrap())
        .collect();
    let long = format!("{}…", "word ".repeat(32));
    assert_eq!(
        inputs,
        [
            "<span class=\"soft\">–</span>",
            "{&quot;question&quot;: &quot;which&quot;}",
            &long,
            "second question",
        ]
    );
}

/// Four traces: users, sessions, tags and texts that the fields of the search tell apart.
fn searchable() -> Sandbox {
    let sandbox = Sandbox::start();
    let of = |trace: &str, second, user: &str, session: &str, tag: &str, input: &str| {
        let attributes = [
            text("langfuse.user.id", user),
            text("langfuse.session.id", session),
            text("langfuse.tags", tag),
            text("langfuse.observation.input", input),
        ];
        span(trace, &format!("{trace}1"), second, &attributes)
    };
    send(
        &sandbox,
        &[
            of("a", 0, "ada", "one", "smoke", "Why trace?"),
            of("b", 1, "ada", "two", "nightly", "Why not?"),
            of("c", 2, "Grace", "two", "smoke", "100% sure & <done>"),
            of("d", 3, "", "", "", "Why?"),
        ],
    );
    sandbox
}

/// The traces that a list links to, in its order.
fn listed(sandbox: &Sandbox, parameters: &str) -> String {
    let page = sandbox.get(&format!("/project/sandbox/traces{parameters}"));
    assert_eq!(page.status, 200, "{parameters}");
    let links = page
        .body
        .split("class=\"whole\" href=\"/project/sandbox/traces/");
    let ids: Vec<&str> = links.skip(1).map(|rest| &rest[..1]).collect();
    ids.concat()
}

#[test]
fn the_search_finds_traces_by_user_session_tag_and_text() {
    let sandbox = searchable();
    for (parameters, expected) in [
        ("", "dcba"),
        ("?text=&user=&session=&tag=", "dcba"),
        ("?user=ada", "ba"),
        ("?user=GRACE", "c"),
        ("?session=two", "cb"),
        ("?tag=smoke", "ca"),
        ("?text=why", "dba"),
        ("?text=span+b1", "b"),
        ("?text=100%25+sure+%26+%3C", "c"),
        ("?user=ada&session=two", "b"),
        ("?user=ada&text=trace", "a"),
        ("?user=nobody", ""),
        ("?colour=red", "dcba"),
    ] {
        assert_eq!(listed(&sandbox, parameters), expected, "{parameters}");
    }
    assert!(
        sandbox
            .get("/?user=nobody")
            .body
            .contains("No trace matches.")
    );
}

#[test]
fn the_search_is_a_form_that_keeps_what_was_typed() {
    let sandbox = searchable();
    let page = sandbox
        .get("/?text=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&tag=smoke")
        .body;
    for part in [
        r#"<form class="search" method="get" action="/project/sandbox/traces""#,
        r#"<input type="search" name="text" value="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;">"#,
        r#"<input type="search" name="user" value="">"#,
        r#"<input type="search" name="session" value="">"#,
        r#"<input type="search" name="tag" value="smoke">"#,
    ] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    assert!(!page.contains("<script"), "{page}");
}

/// A program that sends its history: every trace has its content twice, and all earlier turns again.
fn session() -> Vec<Value> {
    let turns = [
        ("first question", "first answer"),
        ("second question", "second answer"),
    ];
    let mut spans = Vec::new();
    let mut history = vec![json!({"role": "system", "content": "be terse"})];
    for (number, (question, answer)) in turns.iter().enumerate() {
        let trace = ["a", "b"][number];
        let second = 10 * number as u64;
        history.push(json!({"role": "user", "content": question}));
        let shared = [
            text("langfuse.session.id", "s 1"),
            text("langfuse.user.id", "ada"),
        ];
        let own = [text("input.value", question), text("output.value", answer)];
        let root = span(
            trace,
            &format!("{trace}1"),
            second,
            &[&shared[..], &own].concat(),
        );
        let answered = json!({"role": "assistant", "content": answer});
        let own = [
            text("langfuse.observation.type", "generation"),
            text("langfuse.observation.input", &json!(history).to_string()),
            text("langfuse.observation.output", &answered.to_string()),
        ];
        let mut child = span(
            trace,
            &format!("{trace}2"),
            second,
            &[&shared[..], &own].concat(),
        );
        child["parentSpanId"] = format!("{trace}1").into();
        history.push(answered);
        spans.extend([child, root]);
    }
    let other = [
        text("langfuse.session.id", "other"),
        text("langfuse.observation.input", "of another session"),
    ];
    let plain = [
        text("langfuse.session.id", "s 1"),
        text("langfuse.observation.input", "no generation here"),
    ];
    spans.extend([span("c", "c1", 5, &other), span("d", "d1", 15, &plain)]);
    // The later trace is written first.
    spans.rotate_left(2);
    spans
}

#[test]
fn a_session_page_shows_each_exchange_once_in_order() {
    let sandbox = Sandbox::start();
    for span in session() {
        send(&sandbox, &[span]);
    }
    let page = sandbox.get("/project/sandbox/sessions/s%201");
    assert_eq!(page.status, 200);
    let places: Vec<usize> = [
        "first question",
        "first answer",
        "second question",
        "second answer",
        "no generation here",
    ]
    .map(|text| {
        let found: Vec<_> = page.body.match_indices(text).collect();
        assert_eq!(found.len(), 1, "{text} in {}", page.body);
        found[0].0
    })
    .to_vec();
    assert!(places.is_sorted(), "{places:?} in {}", page.body);
    for absent in ["be terse", "of another session"] {
        assert!(!page.body.contains(absent), "{absent} in {}", page.body);
    }
    for part in [
        "<h1>s 1</h1>",
        "/project/sandbox/traces/a",
        "/project/sandbox/traces/b",
    ] {
        assert!(
            page.body.contains(part),
            "{part} is missing in {}",
            page.body
        );
    }
    // The list and the trace link to it.
    for path in ["/", "/project/sandbox/traces/a"] {
        let body = sandbox.get(path).body;
        assert!(
            body.contains("href=\"/project/sandbox/sessions/s%201\""),
            "{body}"
        );
    }
}

#[test]
fn an_unknown_session_has_a_page_that_says_so() {
    let page = Sandbox::start().get("/project/sandbox/sessions/%3Cnope%3E");
    assert_eq!(page.status, 404);
    assert!(
        page.body.contains("no session") && page.body.contains("&lt;nope&gt;"),
        "{}",
        page.body
    );
}

#[test]
fn a_trace_page_shows_everything_that_was_sent() {
    let sandbox = Sandbox::start();
    send(&sandbox, &conversation());
    let page = sandbox
        .get(&format!("/project/sandbox/traces/{TRACE}"))
        .body;
    for part in [
        "nightly review",
        "user-123",
        "demo",
        "smoke",
        "default",
        "build",
        "4711",
        "gpt-4o-mini",
        "temperature",
        "0.25",
        "1234",
        "Why trace?",
        "Because.",
        "the model hung up",
        "GENERATION",
        // The generation runs from 1 s to 2 s of 4 s, its first token came after half a second.
        "left:25.000%;width:25.000%",
        "left:37.500%",
        "First token after",
    ] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    let redirect = sandbox.get(&format!("/trace/{TRACE}"));
    assert_eq!(
        (redirect.status, redirect.location),
        (303, format!("/project/sandbox/traces/{TRACE}"))
    );
}

#[test]
fn an_unknown_trace_has_a_page_that_says_so() {
    let page = Sandbox::start().get("/project/sandbox/traces/%3Cnope%3E");
    assert_eq!(page.status, 404);
    assert!(
        page.body.contains("no trace") && page.body.contains("&lt;nope&gt;"),
        "{}",
        page.body
    );
}

#[test]
fn observations_without_or_in_a_circle_of_parents_are_drawn() {
    let sandbox = Sandbox::start();
    let child = |id: &str, parent: &str| {
        let mut child = span("a", id, 0, &[]);
        child["parentSpanId"] = parent.into();
        child
    };
    send(
        &sandbox,
        &[
            child("lost", "nowhere"),
            child("x", "y"),
            child("y", "x"),
            child("self", "self"),
        ],
    );
    let page = sandbox.get("/project/sandbox/traces/a").body;
    for id in ["lost", "x", "y", "self"] {
        let drawn = page.matches(&format!("<span>span {id}</span>")).count();
        assert_eq!(drawn, 1, "{id} in {page}");
    }
}

#[test]
fn no_field_can_bring_a_script_into_a_page() {
    let sandbox = Sandbox::start();
    let evil = r#""'></style><script>alert(1)</script>"#;
    let parameters = json!({evil: evil}).to_string();
    let messages = json!([{
        "role": evil, "name": evil, "content": [{"type": "text", "text": evil}, {"type": evil}], "refusal": evil,
        "tool_calls": [{"function": {"name": evil, "arguments": evil}}],
    }]);
    let keys = [
        "langfuse.trace.name",
        "langfuse.user.id",
        "langfuse.session.id",
        "langfuse.tags",
        "langfuse.release",
        "langfuse.version",
        "langfuse.environment",
        "langfuse.observation.status_message",
        "langfuse.observation.model.name",
        "langfuse.observation.prompt.name",
        "langfuse.observation.output",
        "langfuse.trace.metadata.evil",
        evil,
    ];
    let mut attributes: Vec<Value> = keys.iter().map(|key| text(key, evil)).collect();
    attributes.push(text("langfuse.observation.type", "generation"));
    attributes.push(text("langfuse.observation.model.parameters", &parameters));
    attributes.push(text(
        "langfuse.observation.usage_details",
        &json!({evil: 7}).to_string(),
    ));
    attributes.push(text("langfuse.observation.input", &messages.to_string()));
    attributes.push(text(&format!("langfuse.trace.metadata.{evil}"), evil));
    let mut span = span(evil, evil, 0, &attributes);
    span["name"] = evil.into();
    send(&sandbox, &[span]);

    let escaped = utf8_percent_encode(evil, NON_ALPHANUMERIC);
    for path in [
        "/".to_owned(),
        format!("/?text={escaped}"),
        format!("/project/sandbox/traces/{escaped}"),
        format!("/project/sandbox/sessions/{escaped}"),
    ] {
        let page = sandbox.get(&path);
        assert_eq!(page.status, 200);
        assert!(
            page.body.contains("&lt;script&gt;"),
            "the field is not shown at all: {}",
            page.body
        );
        assert!(!page.body.contains("<script"), "{}", page.body);
        assert_eq!(page.body.matches("</style>").count(), 1);
        assert!(
            !page.body.contains(r#""'>"#),
            "an attribute was left: {}",
            page.body
        );
    }
}

#[test]
fn a_browser_draws_the_trace() {
    let Some(browser) = browser() else {
        // Written directly: the output of a passing test is not shown.
        let line = "SKIPPED a_browser_draws_the_trace: no chromium on this machine";
        writeln!(io::stderr(), "{line}").unwrap();
        return;
    };
    let sandbox = Sandbox::start();
    send(&sandbox, &conversation());
    let url = format!("{}/project/sandbox/traces/{TRACE}", sandbox.url());

    let dom = run(&browser, &["--dump-dom", &url]);
    assert!(dom.contains("<h1>nightly review"), "{dom}");
    // Anything but two lanes, two cards and a bar each would be another page.
    for (part, count) in [
        ("class=\"lane\"", 2),
        ("class=\"bar ", 2),
        ("id=\"observation-", 2),
    ] {
        assert_eq!(dom.matches(part).count(), count, "{part} in {dom}");
    }

    let pictures = TempDir::new().unwrap();
    for (width, page, drawn) in [
        ("1280", url.as_str(), true),
        ("400", &url, true),
        ("400", "about:blank", false),
    ] {
        let picture = pictures.path().join("page.png");
        let target = format!("--screenshot={}", picture.display());
        run(
            &browser,
            &[&target, &format!("--window-size={width},900"), page],
        );
        let lines = different_lines(&picture);
        assert_eq!(
            lines > 50,
            drawn,
            "{page} at {width}: {lines} different lines"
        );
    }
}

fn browser() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|file| file.is_file())
}

fn run(browser: &Path, arguments: &[&str]) -> String {
    let profile = TempDir::new().unwrap();
    let quiet = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--hide-scrollbars",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ];
    let output = Command::new(browser)
        .args(quiet)
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// How many lines of a PNG differ from each other: a blank page has only a few.
fn different_lines(file: &Path) -> usize {
    let png = fs::read(file).unwrap();
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap()) as usize;
    let (width, depth) = (number(16), [1, 0, 3, 1, 2, 0, 4][usize::from(png[25])]);
    let mut packed = Vec::new();
    let mut at = 8;
    while at < png.len() {
        let length = number(at);
        if &png[at + 4..at + 8] == b"IDAT" {
            packed.extend_from_slice(&png[at + 8..at + 8 + length]);
        }
        at += length + 12;
    }
    let mut pixels = Vec::new();
    ZlibDecoder::new(packed.as_slice())
        .read_to_end(&mut pixels)
        .unwrap();
    pixels
        .chunks(1 + width * depth)
        .collect::<HashSet<_>>()
        .len()
}
