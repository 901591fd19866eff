//! The README: its blocks run, and its options are those of the program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::harness::Langspan;
use crate::support::stand_in::Sandbox;

/// A fenced block: its info string and its text.
struct Block {
    info: String,
    text: String,
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

fn blocks() -> Vec<Block> {
    let readme = fs::read_to_string(path()).unwrap();
    let fenced = readme.split("\n```").skip(1).step_by(2);
    fenced
        .map(|block| {
            let (info, text) = block.split_once('\n').unwrap_or((block, ""));
            Block {
                info: info.to_owned(),
                text: text.to_owned(),
            }
        })
        .collect()
}

#[test]
fn every_block_that_needs_no_outside_server_runs() {
    let blocks: Vec<Block> = blocks()
        .into_iter()
        .filter(|block| block.info == "sh")
        .collect();
    assert!(blocks.len() >= 5, "only {} blocks", blocks.len());
    let sandbox = Sandbox::start();
    for block in blocks {
        let call = Langspan::new(&[]).at(&sandbox);
        let binary = Path::new(env!("CARGO_BIN_EXE_langspan"));
        let path = format!("{}:/usr/bin:/bin", binary.parent().unwrap().display());
        // The sandbox of the first block serves until it is stopped; the test has one running.
        let script = block.text.replace("cargo run --release --", "langspan");
        let script: Vec<&str> = script
            .lines()
            .filter(|line| !line.starts_with("langspan sandbox"))
            .collect();
        let script = script.join(
            "
",
        );
        let prepare = "git init -q . 2>/dev/null; printf '%s' '{}' > x; printf '\\x89PNG\\r\\n\\x1a\\n' > photo.png; \
                       printf '%%PDF-1.7' > report.pdf; set -e\n";
        let command = call.command();
        let environment = command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?)));
        let output = Command::new("bash")
            .args(["-c", &format!("{prepare}{script}")])
            .env_clear()
            .envs(environment)
            .env("PATH", path)
            .current_dir(call.home())
            .output()
            .unwrap();
        call.ended(&output).code(0).stderr_lacks("error:");
    }
}

#[test]
fn the_options_are_up_to_date() {
    let help = Langspan::new(&["chat", "-h"]).env("COLUMNS", "100").run();
    let readme = fs::read_to_string(path()).unwrap();
    let (before, rest) = readme.split_once("```text help\n").unwrap();
    let (shown, after) = rest.split_once("```\n").unwrap();
    if std::env::var_os("LANGSPAN_UPDATE").is_some() {
        fs::write(
            path(),
            format!("{before}```text help\n{}```\n{after}", help.stdout),
        )
        .unwrap();
        return;
    }
    assert_eq!(
        shown, help.stdout,
        "run LANGSPAN_UPDATE=1 cargo test up_to_date"
    );
}
