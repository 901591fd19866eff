//! `langspan help`, `--help`, `-h`, and what is said of a wrong command line; the man pages.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use unicode_width::UnicodeWidthStr as _;

use crate::support::harness::{Ended, Langspan, files_below};
use crate::support::terminal;

const COMMANDS: &[&str] = &[
    "chat",
    "replay",
    "batch",
    "merge",
    "compare",
    "exec",
    "check",
    "show",
    "prompt",
    "score",
    "resend",
    "models",
    "config",
    "sandbox",
    "completions",
    "help",
];
const TOPICS: &[&str] = &[
    "batch",
    "ci",
    "cluster",
    "compare",
    "config",
    "conversations",
    "destinations",
    "environment",
    "exec",
    "exit-codes",
    "expectations",
    "experiments",
    "failures",
    "import",
    "mapping",
    "privacy",
    "prompts",
    "replay",
    "sandbox",
    "scores",
];

fn langspan(arguments: &[&str]) -> Ended {
    Langspan::new(arguments).env("COLUMNS", "80").run()
}

fn topic(name: &str) -> String {
    let path = format!("{}/src/cli/help/{name}.md", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).unwrap()
}

/// What `call` writes to a terminal of 80 columns and `rows` lines.
fn on_a_terminal(call: &Langspan, rows: u16) -> String {
    let screen = terminal::on_a_terminal(call, 80, rows, false);
    assert_eq!(screen.code, Some(0));
    screen.text
}

#[test]
fn help_without_a_name_lists_commands_and_topics() {
    let ended = langspan(&["help"]);
    ended.code(0).stdout(&langspan(&["--help"]).stdout);
    for name in COMMANDS.iter().chain(TOPICS).chain(&["json"]) {
        let listed = ended
            .stdout
            .lines()
            .any(|line| line.starts_with(&format!("  {name} ")));
        assert!(listed, "{name}: {ended:#?}");
    }
}

#[test]
fn a_topic_in_a_pipe_is_its_markdown() {
    for name in TOPICS {
        langspan(&["help", name]).code(0).stdout(&topic(name));
    }
}

#[test]
fn help_of_a_command_that_is_not_a_topic_is_its_help() {
    for name in COMMANDS.iter().filter(|name| !TOPICS.contains(name)) {
        let help = langspan(&[name, "--help"]);
        langspan(&["help", name]).code(0).stdout(&help.stdout);
    }
    for name in ["batch", "sandbox"] {
        let last = format!("Options: langspan {name} --help\n");
        assert!(langspan(&["help", name]).stdout.ends_with(&last), "{name}");
    }
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest_known_one() {
    for (typed, hint) in [
        ("batsh", "did you mean batch?"),
        ("exitcodes", "did you mean exit-codes?"),
        ("env", "did you mean environment?"),
        ("weather", "see langspan help"),
    ] {
        let ended = langspan(&["help", typed]);
        ended.code(2).stdout("");
        let said = format!("error: unknown command or topic '{typed}'\nhint: {hint}\n");
        assert_eq!(ended.stderr, said);
    }
}

#[test]
fn a_topic_on_a_terminal_is_formatted() {
    let call = Langspan::new(&["help", "exit-codes"]).env("TERM", "xterm");
    let shown = on_a_terminal(&call, 100);
    assert!(
        shown.starts_with("\u{1b}[1mexit-codes: every exit code\u{1b}[0m\n"),
        "{shown}"
    );
    assert!(
        shown.contains("\n2              wrong command line"),
        "{shown}"
    );
    assert!(!shown.contains('`') && !shown.contains("|--"), "{shown}");
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let call = Langspan::new(&["help", "exit-codes"])
            .env("TERM", "xterm")
            .env(name, value);
        let plain = on_a_terminal(&call, 100);
        assert!(!plain.contains('\u{1b}'), "{name}: {plain}");
        assert!(
            plain.starts_with("exit-codes: every exit code\n"),
            "{name}: {plain}"
        );
    }
}

#[test]
fn no_line_of_a_topic_is_wider_than_the_terminal_but_for_what_cannot_be_broken() {
    for name in TOPICS {
        let call = Langspan::new(&["help", name]).env("TERM", "dumb");
        for columns in [40, 80] {
            let screen = terminal::on_a_terminal(&call, columns, 1000, false);
            for line in screen.text.lines() {
                // Code is shown as it is; its lines begin with the indent of a block.
                let is_code = line.starts_with("    ");
                let words = line.split_whitespace().count();
                let fits = line.width() <= usize::from(columns);
                assert!(fits || is_code || words < 3, "{name}, {columns}: {line}");
            }
        }
    }
}

#[test]
fn a_topic_that_is_longer_than_the_screen_goes_through_the_pager() {
    const PAGER: &str = "sed s/^/paged:/";
    let call = Langspan::new(&["help", "batch"])
        .env("TERM", "dumb")
        .env("PATH", "/usr/bin:/bin");
    let paged = on_a_terminal(&call.env("PAGER", PAGER), 24);
    assert!(paged.lines().count() > 24, "{paged}");
    assert!(
        paged.lines().all(|line| line.starts_with("paged:")),
        "{paged}"
    );
    for (pager, rows) in [("", 24), ("no-such-program", 24), (PAGER, 1000)] {
        let call = Langspan::new(&["help", "batch"])
            .env("TERM", "dumb")
            .env("PATH", "/usr/bin:/bin")
            .env("PAGER", pager);
        let shown = on_a_terminal(&call, rows);
        assert!(
            shown.starts_with("batch: many requests"),
            "{pager}: {shown}"
        );
    }
}

#[test]
fn short_help_fits_a_screen_and_long_help_shows_examples() {
    const ROWS: usize = 24;
    assert!(langspan(&["-h"]).stdout.lines().count() < ROWS);
    for command in COMMANDS {
        let short = langspan(&[command, "-h"]);
        short.code(0);
        assert!(
            short.stdout.lines().count() < ROWS,
            "{command}: {}",
            short.stdout
        );
        let long = langspan(&[command, "--help"]);
        let (_, examples) = long.stdout.split_once("\nExamples:\n").unwrap();
        assert_eq!(
            examples.trim_end().lines().count(),
            3,
            "{command}: {examples}"
        );
    }
}

#[test]
fn help_shows_the_values_that_an_option_takes() {
    for (command, values) in [
        ("chat", "text, json, raw, url"),
        ("replay", "text, json, raw, url"),
        ("batch", "text, json"),
        ("check", "text, json"),
        ("show", "text, json"),
        ("resend", "text, json"),
        ("sandbox", "v3, v4"),
        ("completions", "bash, zsh, fish, powershell, elvish"),
    ] {
        let shown = format!("[possible values: {values}]");
        assert!(
            langspan(&[command, "--help"]).stdout.contains(&shown),
            "{command}"
        );
    }
    let check = langspan(&["check", "--help"]).stdout.clone();
    assert!(
        check.contains("Name of the trace [default: langspan-check]"),
        "{check}"
    );
}

/// Wrong command lines, with the cause and the remedy that are reported.
const WRONG: [(&[&str], &str, &str); 17] = [
    (
        &["answers"],
        "unknown command 'answers'",
        "see langspan --help",
    ),
    (&["btach"], "unknown command 'btach'", "did you mean batch?"),
    (
        &["What is a span?"],
        "unknown command 'What is a span?'",
        "a prompt follows the command chat, as in: langspan chat \"Hello\"",
    ),
    (
        &["--sandbox", "chat"],
        "unexpected argument '--sandbox' found",
        "options follow the command, as in: langspan chat --sandbox \"Hello\"",
    ),
    (
        &["config", "paths"],
        "unknown command 'paths'",
        "did you mean path?",
    ),
    (
        &["config", "batch"],
        "unknown command 'batch'",
        "see langspan config --help",
    ),
    (
        &["chat", "--score", "tone", "x"],
        "invalid value 'tone' for '--score <NAME=VALUE>': expected NAME=VALUE",
        "see langspan chat --help",
    ),
    (
        &["chat", "--answers", "x"],
        "unexpected argument '--answers' found",
        "see langspan chat --help",
    ),
    (
        &["chat", "--verfiy", "x"],
        "unexpected argument '--verfiy' found",
        "did you mean --verify?",
    ),
    (
        &["chat", "--max-tokens", "-1", "x"],
        "invalid value '-1' for '--max-tokens <N>': expected a whole number, 0 or greater",
        "see langspan chat --help",
    ),
    (
        &["completions", "tcsh"],
        "invalid value 'tcsh' for '<SHELL>': expected bash, zsh, fish, powershell or elvish",
        "see langspan completions --help",
    ),
    (
        &["chat", "-o", "answer.txt", "x"],
        "invalid value 'answer.txt' for '--output <FORMAT>': expected text, json, raw or url",
        "to write to a file, use > answer.txt",
    ),
    (
        &["batch", "-o", "answers.jsonl", "x"],
        "invalid value 'answers.jsonl' for '--output <FORMAT>': expected text or json",
        "to write the answers to a file, use --out answers.jsonl",
    ),
    (
        &["check", "-o", "url"],
        "invalid value 'url' for '--output <FORMAT>': expected text or json",
        "see langspan check --help",
    ),
    (
        &["chat", "--metadata", "x", "y"],
        "invalid value 'x' for '--metadata <KEY=VALUE>': expected KEY=VALUE",
        "see langspan chat --help",
    ),
    (
        &["sandbox", "--port", "65536"],
        "invalid value '65536' for '--port <N>': expected a number from 0 to 65535",
        "see langspan sandbox --help",
    ),
    (
        &["batch", "-j", "0", "x"],
        "invalid value '0' for '--concurrency <N>': expected a number from 1 to 10000",
        "see langspan batch --help",
    ),
];

#[test]
fn a_wrong_command_line_is_explained_and_nothing_misleads() {
    for (arguments, cause, hint) in WRONG {
        let ended = langspan(arguments);
        ended.code(2).stdout("");
        assert_eq!(
            ended.stderr,
            format!("error: {cause}\nhint: {hint}\n"),
            "{arguments:?}"
        );
    }
}

#[test]
fn man_pages_have_their_sections_and_man_warns_of_nothing() {
    let pages = files_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("completions"));
    let pages: Vec<_> = pages
        .iter()
        .filter(|page| page.extension().is_some_and(|extension| extension == "1"))
        .collect();
    assert_eq!(pages.len(), COMMANDS.len() + 1);
    for page in pages {
        let text = fs::read_to_string(page).unwrap();
        // `completions` reads no variable, and `help` no file.
        let is_of = |command: &str| page.ends_with(format!("langspan-{command}.1"));
        for (section, is_needed) in [
            ("\"EXIT STATUS\"", true),
            ("ENVIRONMENT", !is_of("completions")),
            ("FILES", !is_of("help")),
            ("EXAMPLES", true),
        ] {
            let is_there = text.contains(&format!(".SH {section}\n"));
            assert_eq!(is_there, is_needed, "{page:?}: {section}");
        }
        let man = Command::new("man")
            .args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"])
            .arg(page)
            .stdout(Stdio::null())
            .output();
        // Not every machine has man-db.
        if let Ok(man) = man {
            assert_eq!(String::from_utf8_lossy(&man.stderr), "", "{page:?}");
        }
    }
}
