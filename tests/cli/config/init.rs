//! `langspan config init`: questions at a terminal, a check, and a private file.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

use nix::pty::openpty;
use nix::unistd::ttyname;

use super::{call, write};
use crate::support::harness::{Langspan, wait_until};
use crate::support::stand_in::Sandbox;

/// A call at a terminal of its own.
struct Terminal {
    controller: File,
    shown: JoinHandle<String>,
    child: std::process::Child,
}

impl Terminal {
    fn start(call: &Langspan) -> Self {
        let pair = openpty(None, None).unwrap();
        let name = ttyname(&pair.slave).unwrap();
        let mut command = call.command();
        let open = || {
            let options = OpenOptions::new().read(true).write(true).open(&name);
            Stdio::from(OwnedFd::from(options.unwrap()))
        };
        command.stdin(open()).stderr(open()).stdout(open());
        let child = command.spawn().unwrap();
        drop(command);
        drop(pair.slave);
        let controller = File::from(pair.master);
        let mut reader = controller.try_clone().unwrap();
        let shown = thread::spawn(move || {
            let (mut shown, mut buffer) = (Vec::new(), [0; 1024]);
            // Reading fails once the last program has closed the terminal.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                shown.extend_from_slice(&buffer[..count]);
            }
            String::from_utf8_lossy(&shown).into_owned()
        });
        Self {
            controller,
            shown,
            child,
        }
    }

    /// Types all answers, each with a line end; returns exit code and everything shown.
    fn answer(mut self, answers: &[&str]) -> (Option<i32>, String) {
        for answer in answers {
            // Typed keys must meet a terminal that hides them.
            thread::sleep(std::time::Duration::from_millis(100));
            self.controller
                .write_all(format!("{answer}\n").as_bytes())
                .unwrap();
        }
        let code = self.child.wait().unwrap().code();
        drop(self.controller);
        (code, self.shown.join().unwrap())
    }
}

fn answers(sandbox: &Sandbox) -> [String; 6] {
    [
        sandbox.url().replace("http://", ""),
        "pk-lf-sandbox".to_owned(),
        "sk-lf-sandbox".to_owned(),
        format!("{}/v1", sandbox.url()),
        String::new(),
        "my-model".to_owned(),
    ]
}

#[test]
fn a_checked_file_is_written_for_its_owner_alone() {
    let sandbox = Sandbox::start();
    let call = Langspan::new(&["config", "init"]);
    let answers = answers(&sandbox);
    let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
    let (code, shown) = Terminal::start(&call).answer(&answers);
    assert_eq!(code, Some(0), "{shown}");
    for stage in ["settings", "connect", "health", "auth"] {
        assert!(shown.contains(&format!("ok      {stage}")), "{shown}");
    }
    assert!(!shown.contains("sk-lf-sandbox"), "a key is shown: {shown}");
    let path = call.home().join(".config/langspan/config.toml");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("model = \"my-model\""), "{text}");
    let ended = Langspan::new(&["chat", "Hello"]).beside(&call).run();
    ended.code(0).stderr_has("trace: ");
}

#[test]
fn an_endpoint_without_a_version_is_asked_for_again() {
    let sandbox = Sandbox::start();
    let call = Langspan::new(&["config", "init"]);
    let mut answers: Vec<String> = answers(&sandbox).to_vec();
    answers[3] = sandbox.url().to_owned();
    // Enter takes the proposal.
    answers.insert(4, String::new());
    let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
    let (code, shown) = Terminal::start(&call).answer(&answers);
    assert_eq!(code, Some(0), "{shown}");
    let ended = Langspan::new(&["models"]).beside(&call).run();
    ended.code(0).stdout("langspan-stand-in\n");
}

#[test]
fn nothing_is_written_when_the_keys_do_not_work() {
    let sandbox = Sandbox::start();
    let call = Langspan::new(&["config", "init"]);
    let mut answers = answers(&sandbox);
    answers[2] = "sk-lf-wrong".to_owned();
    let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
    let (code, shown) = Terminal::start(&call).answer(&answers);
    assert_eq!(code, Some(3), "{shown}");
    assert!(shown.contains("failed  auth"), "{shown}");
    assert!(shown.contains("nothing was written"), "{shown}");
    assert!(!call.home().join(".config").exists());
}

#[test]
fn a_place_that_cannot_be_written_is_noticed_before_the_questions() {
    for folder in ["/proc/none", "/dev/null/none"] {
        let call = Langspan::new(&["config", "init"])
            .env("XDG_CONFIG_HOME", folder)
            .env("NO_COLOR", "1");
        let (code, shown) = Terminal::start(&call).answer(&[]);
        assert_eq!(code, Some(6), "{shown}");
        let said = format!("error: {folder}/langspan/config.toml cannot be written: ");
        assert!(shown.starts_with(&said), "{shown}");
        assert!(!shown.contains("tmp"), "{shown}");
    }
}

#[test]
fn the_answers_are_checked_not_the_environment() {
    let sandbox = Sandbox::start();
    let call = Langspan::new(&["config", "init"]).langfuse_at("http://127.0.0.1:9");
    let answers = answers(&sandbox);
    let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
    let (code, shown) = Terminal::start(&call).answer(&answers);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("override the file"), "{shown}");
}

#[test]
fn a_file_is_replaced_only_after_a_yes() {
    let call = call(&["config", "init"], "user = 'u1'\n");
    let (code, shown) = Terminal::start(&call).answer(&["n"]);
    assert_eq!(code, Some(2), "{shown}");
    assert!(shown.contains("Replace it? [y/N]"), "{shown}");
    let path = call.home().join(".config/langspan/config.toml");
    assert_eq!(fs::read_to_string(path).unwrap(), "user = 'u1'\n");
}

#[test]
fn an_interrupt_leaves_no_file() {
    let call = Langspan::new(&["config", "init"]);
    let mut terminal = Terminal::start(&call);
    let id = terminal.child.id().to_string();
    // It listens for signals before it asks.
    terminal.controller.write_all(b"\n").unwrap();
    wait_until("it has ended", || {
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        terminal.child.try_wait().unwrap().is_some()
    });
    drop(terminal.controller);
    let _ = terminal.shown.join();
    assert!(!call.home().join(".config").exists());
}

#[test]
fn without_a_terminal_it_prints_what_to_write() {
    let call = Langspan::new(&["config", "init"]);
    let ended = call.run();
    ended.code(2).stderr_has("stdin is not a terminal");
    ended.stderr_has(".config/langspan/config.toml");
    let template = Langspan::new(&["config"]);
    write(&template, &ended.stdout);
    // The template is a settings file that only lacks real keys.
    template.run().stderr_lacks("config.toml:1:");
    assert!(ended.stdout.contains("secret_key_command"), "{ended:#?}");
}
