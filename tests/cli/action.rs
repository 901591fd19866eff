//! The GitHub action: its steps, run in bash as a runner does.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::stand_in::Sandbox;

/// A `run` step of `action.yml`.
#[derive(Debug, Default)]
struct Step {
    id: String,
    environment: Vec<(String, String)>,
    script: String,
}

/// A runner: a folder, and the outputs of the steps so far.
struct Runner {
    folder: TempDir,
    outputs: BTreeMap<String, String>,
}

fn action() -> String {
    let path = format!("{}/action.yml", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).unwrap()
}

/// The steps, read by their indentation.
fn steps() -> Vec<Step> {
    let action = action();
    let (_, steps) = action.split_once("  steps:\n").unwrap();
    let steps = steps.split("    - name: ").skip(1);
    steps.map(step).collect()
}

fn step(text: &str) -> Step {
    let mut step = Step::default();
    let mut section = "";
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        match (indent, line.trim().split_once(':')) {
            (6, Some((name, value))) => {
                section = name;
                if name == "id" {
                    value.trim().clone_into(&mut step.id);
                }
            }
            (8.., Some((name, value))) if section == "env" => {
                let pair = (name.to_owned(), value.trim().to_owned());
                step.environment.push(pair);
            }
            (8.., _) if section == "run" => {
                step.script.push_str(&line[8..]);
                step.script.push('\n');
            }
            _ => {}
        }
    }
    step
}

/// The default of an input.
fn default_of(input: &str) -> String {
    let action = action();
    let (_, rest) = action.split_once(&format!("\n  {input}:\n")).unwrap();
    let line = rest
        .lines()
        .find_map(|line| line.trim().strip_prefix("default: "));
    line.unwrap().trim_matches('"').to_owned()
}

impl Runner {
    fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            outputs: BTreeMap::new(),
        }
    }

    /// The value of an expression such as `${{ inputs.wait }}`.
    fn value(&self, expression: &str, inputs: &[(&str, &str)]) -> String {
        let inner = expression.strip_prefix("${{ ").unwrap();
        let inner = inner.strip_suffix(" }}").unwrap();
        match inner.split('.').collect::<Vec<_>>()[..] {
            ["inputs", name] => {
                let given = inputs.iter().find(|(given, _)| *given == name);
                given.map_or_else(|| default_of(name), |(_, value)| (*value).to_owned())
            }
            ["steps", step, "outputs", name] => {
                let known = self.outputs.get(&format!("{step}.{name}"));
                known.cloned().unwrap_or_default()
            }
            ["github", "action_path"] => env!("CARGO_MANIFEST_DIR").to_owned(),
            _ => panic!("{expression}"),
        }
    }

    /// Runs the steps until one fails; returns the last.
    fn run(&mut self, inputs: &[(&str, &str)], path: &str) -> Output {
        let mut last = None;
        for step in steps() {
            let file = self.folder.path().join(&step.id);
            fs::write(&file, "").unwrap();
            let script = self.folder.path().join("step.sh");
            fs::write(&script, &step.script).unwrap();
            let values = step
                .environment
                .iter()
                .map(|(name, expression)| (name, self.value(expression, inputs)));
            let output = Command::new("/bin/bash")
                .args(["--noprofile", "--norc", "-eo", "pipefail"])
                .arg(script)
                .env_clear()
                .envs(values)
                .env("PATH", path)
                .env("HOME", self.folder.path())
                .env("RUNNER_TEMP", self.folder.path())
                .env("GITHUB_ACTIONS", "true")
                // The job may set it for its own scripts.
                .env("LANGSPAN_OUTPUT", "json")
                .env("GITHUB_OUTPUT", &file)
                .current_dir(self.folder.path())
                .output()
                .unwrap();
            for line in fs::read_to_string(file).unwrap().lines() {
                let (name, value) = line.split_once('=').unwrap();
                let name = format!("{}.{name}", step.id);
                self.outputs.insert(name, value.to_owned());
            }
            let has_failed = !output.status.success();
            last = Some(output);
            if has_failed {
                break;
            }
        }
        last.unwrap()
    }

    fn output(&self, name: &str) -> &str {
        let value = self.outputs.get(&format!("check.{name}"));
        value.map_or("", String::as_str)
    }
}

const LANGSPAN: &str = env!("CARGO_BIN_EXE_langspan");
const SYSTEM: &str = "/usr/bin:/bin";

#[test]
fn a_check_that_succeeds_has_a_report_and_the_url_of_its_trace() {
    let sandbox = Sandbox::start();
    let mut runner = Runner::new();
    let inputs = [
        ("public-key", "pk-lf-sandbox"),
        ("secret-key", "sk-lf-sandbox"),
        ("base-url", sandbox.url()),
        ("junit", "a report.xml"),
        // As a variable of the repository that is not set.
        ("wait", ""),
        ("binary", LANGSPAN),
    ];
    let output = runner.run(&inputs, SYSTEM);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(runner.output("exit-code"), "0");
    let page = format!("{}/project/sandbox/traces/", sandbox.url());
    let url = runner.output("trace-url");
    assert!(url.starts_with(&page), "{url}");
    let stages = String::from_utf8(output.stdout).unwrap();
    assert!(stages.contains("ok      export"), "{stages}");
    assert!(runner.folder.path().join("a report.xml").exists());
}

#[test]
fn a_check_that_fails_fails_the_step_with_its_exit_code() {
    let sandbox = Sandbox::start();
    let mut runner = Runner::new();
    let inputs = [
        ("public-key", "pk-lf-sandbox"),
        ("secret-key", "sk-lf-other"),
        ("base-url", sandbox.url()),
        ("binary", LANGSPAN),
    ];
    let output = runner.run(&inputs, SYSTEM);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(runner.output("exit-code"), "3");
    assert_eq!(runner.output("trace-url"), "");
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(
        notes.contains("::error title=langspan check: auth::"),
        "{notes}"
    );
}

#[test]
fn the_binary_on_path_comes_before_one_that_is_built() {
    let runner = || {
        let runner = Runner::new();
        let tools = runner.folder.path().join("tools");
        fs::create_dir(&tools).unwrap();
        (runner, tools)
    };
    let path = |tools: &Path| format!("{}:{SYSTEM}", tools.display());
    let (mut on_path, tools) = runner();
    std::os::unix::fs::symlink(LANGSPAN, tools.join("langspan")).unwrap();
    on_path.run(&[("public-key", "pk-lf-1")], &path(&tools));
    let found = tools.join("langspan").display().to_string();
    assert_eq!(on_path.outputs["binary.path"], found);
    assert_eq!(on_path.output("exit-code"), "3");

    // A cargo that notes what it is asked for, and puts the binary where it should.
    let (mut built, tools) = runner();
    let script = format!(
        "#!/bin/sh\necho \"$@\" > \"$RUNNER_TEMP/asked\"\nmkdir -p \"$6/bin\"\nln -s {LANGSPAN} \"$6/bin/langspan\"\n"
    );
    let cargo = tools.join("cargo");
    fs::write(&cargo, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&cargo, mode).unwrap();
    built.run(&[("public-key", "pk-lf-1")], &path(&tools));
    let asked = fs::read_to_string(built.folder.path().join("asked")).unwrap();
    let root = built.folder.path().join("langspan");
    assert_eq!(
        asked.trim(),
        format!(
            "install --locked --path {} --root {}",
            env!("CARGO_MANIFEST_DIR"),
            root.display()
        )
    );
    assert_eq!(built.output("exit-code"), "3");
}

#[test]
fn outputs_come_from_the_step_that_sets_them() {
    let action = action();
    for name in ["exit-code", "trace-url"] {
        let value = format!("value: ${{{{ steps.check.outputs.{name} }}}}");
        assert!(action.contains(&value), "{name}");
    }
    assert_eq!(steps().len(), 2);
}
