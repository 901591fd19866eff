//! README and help topics: their blocks run, and their tables are those of the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use crate::support::harness::{Langspan, files_below};
use crate::support::stand_in::Sandbox;

/// The README of a project that explains itself fits a few screens; everything longer is a topic.
const MOST_LINES: usize = 250;
/// More than that slows the page down.
const MOST_BYTES: u64 = 200_000;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

fn topics() -> Vec<PathBuf> {
    let topics = files_below(&root().join("src/cli/help"));
    assert!(topics.len() >= 9, "{topics:?}");
    topics
}

fn topic(name: &str) -> String {
    fs::read_to_string(root().join(format!("src/cli/help/{name}.md"))).unwrap()
}

/// The fenced blocks of a text that are marked `sh`.
fn scripts(text: &str) -> Vec<String> {
    let fenced = text.split("\n```").skip(1).step_by(2);
    fenced
        .filter_map(|block| block.strip_prefix("sh\n"))
        .map(str::to_owned)
        .collect()
}

/// The first table of a text, without its head.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let lines = text.lines().skip_while(|line| !line.starts_with('|'));
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// Runs a script with everything that it names, against `sandbox`.
fn run(script: &str, sandbox: &Sandbox) {
    const PREPARED: &str = "git init -q . 2>/dev/null; printf '%s' '{}' > x; printf '\\x89PNG\\r\\n\\x1a\\n' > photo.png; \
                            printf '%%PDF-1.7' > report.pdf; set -e\n";
    let call = Langspan::new(&[]).at(sandbox);
    let binary = Path::new(env!("CARGO_BIN_EXE_langspan"));
    let path = format!("{}:/usr/bin:/bin", binary.parent().unwrap().display());
    // `langspan sandbox` serves until it is stopped; the test has one running.
    let lines = script
        .lines()
        .filter(|line| !line.starts_with("langspan sandbox"));
    let lines: Vec<&str> = lines.collect();
    let command = call.command();
    let environment = command
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    let output = Command::new("bash")
        .args(["-c", &format!("{PREPARED}{}", lines.join("\n"))])
        .env_clear()
        .envs(environment)
        .env("PATH", path)
        .current_dir(call.home())
        .output()
        .unwrap();
    call.ended(&output).code(0).stderr_lacks("error:");
}

#[test]
fn every_block_that_needs_no_outside_server_runs() {
    let mut all = scripts(&readme());
    assert!(all.len() >= 4, "only {} blocks", all.len());
    for topic in topics() {
        all.extend(scripts(&fs::read_to_string(topic).unwrap()));
    }
    assert!(all.len() >= 10, "only {} blocks", all.len());
    let sandbox = Sandbox::start();
    for script in all {
        run(&script, &sandbox);
    }
}

/// The output with its ids, times and the home folder replaced by what stands for them.
fn without_ids(text: &str, home: &str) -> String {
    let words = text.split_inclusive([' ', '\n', '/', ';']).map(|word| {
        let id = word.trim_end_matches([' ', '\n', '/', ';']);
        let is_trace = id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit());
        match id {
            _ if is_trace => word.replace(id, "TRACE"),
            _ if id.contains("Z-") => word.replace(id, "ENTRY.jsonl"),
            _ => word.to_owned(),
        }
    });
    words.collect::<String>().replace(home, "/home/me")
}

#[test]
fn the_session_at_the_top_of_the_readme_is_what_a_reader_sees() {
    let readme = readme();
    let (_, rest) = readme.split_once("```console\n").unwrap();
    let (session, _) = rest.split_once("```").unwrap();
    let sandbox = Sandbox::start();
    let call = Langspan::new(&[]);
    let home = call.home().to_str().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_langspan"));
    let mut seen = String::new();
    // Exports last for the session. The sandbox of the test is on another port, and runs already.
    let mut exports = String::new();
    for command in session.lines().filter_map(|line| line.strip_prefix("$ ")) {
        seen.extend(["$ ", command, "\n"]);
        if command.starts_with("langspan sandbox") {
            continue;
        }
        let own = command.replace("http://127.0.0.1:4390", sandbox.url());
        if own.starts_with("export ") {
            exports.extend([own.as_str(), "\n"]);
            continue;
        }
        let output = Command::new("bash")
            .args(["-c", &format!("exec 2>&1\n{exports}{own}")])
            .env_clear()
            .env("HOME", home)
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", binary.parent().unwrap().display()),
            )
            .current_dir(home)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        seen += &String::from_utf8(output.stdout).unwrap();
    }
    let seen = seen.replace(sandbox.url(), "http://127.0.0.1:4390");
    assert_eq!(without_ids(&seen, home), without_ids(session, "/home/me"));
}

#[test]
fn the_readme_is_short_and_names_every_topic_and_command() {
    let readme = readme();
    assert!(readme.lines().count() <= MOST_LINES);
    for topic in topics() {
        let name = topic.file_stem().unwrap().to_str().unwrap();
        let link = format!("[{name}](src/cli/help/{name}.md)");
        assert!(readme.contains(&link), "{link}");
    }
    for page in fs::read_dir(root().join("completions")).unwrap() {
        let page = page.unwrap().file_name().into_string().unwrap();
        if let Some(command) = page
            .strip_prefix("langspan-")
            .and_then(|p| p.strip_suffix(".1"))
        {
            assert!(
                readme.contains(&format!("| `langspan {command}")),
                "{command}"
            );
        }
    }
}

#[test]
fn the_picture_of_the_readme_is_there_and_small() {
    let readme = readme();
    let (_, rest) = readme.split_once("](tests/readme/").unwrap();
    let picture = root()
        .join("tests/readme")
        .join(rest.split_once(')').unwrap().0);
    let size = fs::metadata(picture).unwrap().len();
    assert!((1..MOST_BYTES).contains(&size), "{size}");
}

#[test]
fn the_exit_codes_of_readme_and_topic_are_those_of_the_program() {
    let topic = topic("exit-codes");
    let readme = readme();
    let (_, section) = readme.split_once("## Exit codes\n").unwrap();
    assert_eq!(rows(section), rows(&topic));
    let source = fs::read_to_string(root().join("src/failure.rs")).unwrap();
    let (_, body) = source.split_once("fn exit_code(").unwrap();
    let (body, _) = body.split_once("\n    }\n").unwrap();
    let codes = body
        .split("=> ")
        .skip(1)
        .filter_map(|arm| arm.split(',').next());
    let codes: BTreeSet<&str> = codes.chain(["0"]).collect();
    let table = rows(&topic);
    let listed: BTreeSet<&str> = table.iter().flat_map(|row| row[0].split(", ")).collect();
    assert_eq!(listed, codes);
}

/// The variables that a text names: words of capitals that begin like one of langspan's.
fn variables(text: &str) -> BTreeSet<String> {
    const BEGINNINGS: [&str; 5] = [
        "LANGSPAN_",
        "LANGFUSE_",
        "OPENAI_",
        "AZURE_OPENAI_",
        "OTEL_",
    ];
    let words = text.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
    words
        .filter(|word| !word.ends_with('_'))
        .filter(|word| {
            BEGINNINGS
                .iter()
                .any(|beginning| word.starts_with(beginning))
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_topic_names_every_environment_variable_and_no_other() {
    /// Read by the tests alone.
    const OF_TESTS: &str = "LANGSPAN_UPDATE";
    let topic = topic("environment");
    // The variables of OTLP stand once for traces and for all signals.
    let written = topic.replace("[TRACES_]", "TRACES_") + &topic.replace("[TRACES_]", "");
    let listed = variables(&written);
    let mut read = BTreeSet::new();
    for file in files_below(&root().join("src")) {
        if file.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&file).unwrap();
            let (code, _) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
            for literal in code.split('"').skip(1).step_by(2) {
                let found = variables(literal);
                read.extend(found.into_iter().filter(|name| name == literal));
            }
            // `what("CERTIFICATE")` reads OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE or the general variable.
            for name in ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"] {
                if code.contains(&format!("\"{name}\"")) {
                    read.insert(format!("OTEL_EXPORTER_OTLP_{name}"));
                    read.insert(format!("OTEL_EXPORTER_OTLP_TRACES_{name}"));
                }
            }
        }
    }
    read.remove(OF_TESTS);
    assert_eq!(listed, read);
}

#[test]
fn every_option_of_a_text_exists() {
    let help: Vec<String> = thread::scope(|scope| {
        let commands = [
            "chat", "replay", "batch", "merge", "compare", "exec", "check", "show", "prompt",
            "score", "resend", "sandbox",
        ];
        let calls = commands.map(|command| {
            scope.spawn(move || Langspan::new(&[command, "--help"]).run().stdout.clone())
        });
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let mut known = options(&help.concat());
    // Of GNU parallel and Slurm.
    known.extend(["--sshlogin", "--array"].map(str::to_owned));
    let mut texts = vec![readme()];
    texts.extend(
        topics()
            .iter()
            .map(|topic| fs::read_to_string(topic).unwrap()),
    );
    for text in texts {
        // Code alone: spans and lines that begin with langspan.
        let spans = text
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|span| span.starts_with("--"));
        for option in spans.flat_map(options) {
            assert!(known.contains(&option), "{option} is not an option");
        }
    }
}

/// The long options that a text names.
fn options(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words
        .filter(|word| {
            word.strip_prefix("--")
                .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
        })
        .map(str::to_owned)
        .collect()
}
