//! The completion scripts in real shells: fixed values, files only where a file is meant, names of profiles.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// What a shell proposes for a command line.
struct Shell {
    name: &'static str,
    home: TempDir,
}

impl Shell {
    /// A shell with the script of this version and a home with two profiles and a file; none where it is not installed.
    fn start(name: &'static str) -> Option<Self> {
        let is_there = Command::new(name)
            .arg("-c")
            .arg("true")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !is_there.is_ok_and(|status| status.success()) {
            let skipped =
                format!("SKIPPED {name}: it is not installed, its completions are not tried\n");
            fs::write("/dev/stderr", skipped).unwrap_or_default();
            return None;
        }
        let home = TempDir::new().unwrap();
        let config = home.path().join(".config/langspan");
        fs::create_dir_all(&config).unwrap();
        fs::write(
            config.join("config.toml"),
            "[profile.work]\n[profile.local]\n",
        )
        .unwrap();
        fs::write(home.path().join("a-file.txt"), "").unwrap();
        Some(Self { name, home })
    }

    /// The proposals for the last word of `line`, sorted.
    fn complete(&self, line: &str) -> Vec<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions");
        let root = root.display();
        let script = match self.name {
            "bash" => format!(
                "source {root}/langspan.bash; COMP_WORDS=({line}{last}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; \
                 cur=\"${{COMP_WORDS[COMP_CWORD]}}\"; prev=\"${{COMP_WORDS[COMP_CWORD-1]}}\"; _langspan langspan \"$cur\" \"$prev\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
                last = if line.ends_with(' ') { " ''" } else { "" },
            ),
            "zsh" => format!(
                // Outside of an interactive shell, what would be added is printed.
                "autoload -U compinit; compinit -u -D; source {root}/_langspan 2>/dev/null; \
                 zmodload zsh/zpty; {}",
                zsh(&root.to_string(), line)
            ),
            _ => format!("source {root}/langspan.fish; complete -C '{line}'"),
        };
        let output = Command::new(self.name)
            .args(if self.name == "bash" {
                &["--norc", "-c"][..]
            } else {
                &["-c"]
            })
            .arg(script)
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", path())
            .env("TERM", "dumb")
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let first = |line: &str| {
            line.split(['\t', '\r'])
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        let mut found: Vec<String> = text
            .lines()
            .map(first)
            .filter(|word| !word.is_empty())
            .collect();
        found.sort();
        found.dedup();
        found
    }
}

/// The built binary's folder before the system's.
fn path() -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_langspan"));
    format!("{}:/usr/bin:/bin", binary.parent().unwrap().display())
}

/// A script that types a line at an interactive zsh, asks for all proposals, and prints them.
fn zsh(root: &str, line: &str) -> String {
    format!(
        "zpty shell zsh -f -i; \
         send() {{ zpty -w shell \"$1\" }}; \
         send 'PROMPT=; stty -echo; fpath=({root} $fpath); autoload -U compinit; compinit -u -D; zstyle \":completion:*\" list-separator \"\"; \
         shown() {{ print -r -- \"BEGIN\"; print -rl -- $compadded; print -r -- \"END\" }}; \
         compadded=(); compadd() {{ if [[ ${{@[1,(i)(-|--)]}} == *-(O|A|D)* ]]; then builtin compadd \"$@\"; return $?; fi; local -a all; builtin compadd -O all \"$@\"; compadded+=($all); builtin compadd \"$@\" }}; \
         list() {{ zle complete-word; shown; zle send-break }}; zle -C probe complete-word _probe; _probe() {{ _main_complete; shown; compstate[insert]=; compstate[list]= }}; bindkey \"^P\" probe'; \
         zpty -w -n shell '{line}'$'\\x10'; \
         local chunk all=; repeat 100 {{ zpty -r -t shell chunk && all+=$chunk || sleep 0.05; [[ $all == *$'\\n'END* ]] && break }}; \
         print -r -- ${{${{all##*BEGIN}}%%END*}}; zpty -d shell"
    )
}

fn all() -> impl Iterator<Item = Shell> {
    ["bash", "zsh", "fish"].into_iter().filter_map(Shell::start)
}

#[test]
fn fixed_values_are_proposed() {
    for shell in all() {
        for (line, expected) in [
            (
                "langspan chat --output ",
                &["json", "raw", "text", "url"][..],
            ),
            ("langspan check --output ", &["json", "text"]),
            ("langspan sandbox --langfuse ", &["v3", "v4"]),
            ("langspan chat --capture ", &["full", "none", "truncate="]),
            ("langspan help ex", &["exec", "exit-codes", "expectations"]),
            ("langspan completions z", &["zsh"]),
        ] {
            assert_eq!(shell.complete(line), expected, "{}: {line}", shell.name);
        }
    }
}

#[test]
fn names_of_profiles_are_proposed() {
    for shell in all() {
        for command in [
            "chat", "batch", "check", "show", "resend", "models", "config",
        ] {
            let line = format!("langspan {command} --profile ");
            assert_eq!(
                shell.complete(&line),
                ["local", "work"],
                "{}: {line}",
                shell.name
            );
        }
    }
}

#[test]
fn files_are_proposed_only_where_a_file_is_meant() {
    for shell in all() {
        for command in ["chat", "show", "models", "help", "completions"] {
            let line = format!("langspan {command} a-f");
            assert!(shell.complete(&line).is_empty(), "{}: {line}", shell.name);
        }
        for option in ["user", "model", "system", "timeout", "langfuse-base-url"] {
            let line = format!("langspan chat --{option} a-f");
            let found = shell.complete(&line);
            assert!(
                !found.contains(&"a-file.txt".to_owned()),
                "{}: {line}: {found:?}",
                shell.name
            );
        }
        for line in [
            "langspan chat --system-file a-f",
            "langspan chat --thread a-f",
            "langspan chat --messages a-f",
            "langspan chat --image a-f",
            "langspan batch --out a-f",
        ] {
            assert_eq!(
                shell.complete(line),
                ["a-file.txt"],
                "{}: {line}",
                shell.name
            );
        }
    }
}

#[test]
fn commands_are_proposed() {
    for shell in all() {
        let found = shell.complete("langspan conf");
        assert_eq!(found, ["config"], "{}", shell.name);
        let found = shell.complete("langspan config p");
        let expected = ["path".to_owned(), "profiles".to_owned()];
        assert!(
            expected.iter().all(|name| found.contains(name)),
            "{}: {found:?}",
            shell.name
        );
    }
}
