//! Reads the secrets that the settings file names: in it, in another file, or printed by a program. A secret is read
//! only when it is needed, and shown nowhere.

use std::fs;
use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::secret::{Secret, scrub};
use crate::settings::Origin;
use crate::settings::file::SecretPlace;

/// What a command may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The most that is read of its output, in bytes.
const MOST_BYTES: u64 = 1 << 20;
/// The wait between two looks at a command that has not ended.
const POLL: Duration = Duration::from_millis(5);

/// Reads a secret; `origin` is the line that names its place.
///
/// # Errors
/// If there is none in that place, the file cannot be read, or the command fails or does not end.
pub fn read(place: &SecretPlace, origin: &Origin) -> Result<Secret, Failure> {
    let secret = match place {
        SecretPlace::Here(secret) => secret.clone(),
        SecretPlace::File(path) => {
            let text = fs::read_to_string(path).map_err(|error| {
                let what = format!("{origin}: {}", path.display());
                Failure::unreadable(what, &error).hint("check the path of the key's file")
            })?;
            Secret::new(first_line(&text))
        }
        SecretPlace::Command(command) => of_command(command, origin)?,
    };
    if secret.expose().is_empty() {
        let what = match place {
            SecretPlace::Here(_) => "the key is empty",
            SecretPlace::File(_) => "the first line of the key's file is empty",
            SecretPlace::Command(_) => "the command printed no key",
        };
        return Err(Failure::config(format!("{origin}: {what}"))
            .hint("the first line must hold the key, and nothing else"));
    }
    Ok(secret)
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim()
}

/// The first line that a program prints. No shell reads the command.
fn of_command(command: &[String], origin: &Origin) -> Result<Secret, Failure> {
    let name = command.first().map_or("", String::as_str);
    let failed = |what: String| Failure::config(format!("{origin}: the command `{name}` {what}"));
    let mut child = start(command).map_err(|error| {
        failed(format!("cannot be started: {error}"))
            .hint("check the program's name and PATH; no shell runs the command")
    })?;
    let deadline = Instant::now() + TIMEOUT;
    let output = collect(child.stdout.take());
    let errors = collect(child.stderr.take());
    let Some(status) = wait(&mut child, deadline) else {
        return Err(
            failed(format!("did not end within {} s", TIMEOUT.as_secs()))
                .hint("it must answer without a question: unlock the key store first"),
        );
    };
    let text = |collected: &Receiver<Vec<u8>>| {
        let left = deadline.saturating_duration_since(Instant::now());
        let bytes = collected.recv_timeout(left.max(POLL)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let output = text(&output);
    let secret = Secret::new(first_line(&output));
    if status.success() {
        return Ok(secret);
    }
    let words = text(&errors);
    let words = words.lines().map(str::trim).find(|line| !line.is_empty());
    let words = words.map_or_else(String::new, |words| format!(": {words}"));
    let words = scrub(&words, &[secret]);
    Err(failed(format!("failed ({status}){words}")).hint("run the command in a shell to see why"))
}

fn start(command: &[String]) -> io::Result<Child> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| io::Error::other("no program"))?;
    Command::new(program)
        .args(arguments)
        // What is on our stdin is the prompt.
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Reads a pipe to its end, on a thread of its own: what the program starts may keep it open.
fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            let mut pipe = pipe.take(MOST_BYTES);
            // What was read before an error counts.
            let _ = pipe.read_to_end(&mut bytes);
        }
        // After the deadline the receiver is gone.
        let _ = sender.send(bytes);
    });
    receiver
}

/// How a program ended; none when it did not before the deadline, and was killed.
fn wait(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) => thread::sleep(POLL),
            Err(_) => break,
        }
    }
    // It may have ended just now.
    let _ = child.kill();
    let _ = child.wait();
    None
}
