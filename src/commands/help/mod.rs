//! `langspan help [NAME]`: a help topic, the help of a command, or the list of both; `json` is the schemas of what is
//! printed, as they are.
//!
//! In a pipe a topic is its Markdown. On a terminal it is lightly formatted, and shown by `$PAGER` if it is longer than the
//! screen.

mod markdown;

use std::env;
use std::io::{self, IsTerminal, Write};
use std::process::{Command, Stdio};

use clap::Parser;

use crate::cli::{Cli, HelpArgs, topics};
use crate::console::{self, OutputFormat};
use crate::failure::{Failure, Verdict};
use crate::output::{Printer, schema};

/// # Errors
/// If stdout cannot be written.
pub fn run(options: &HelpArgs) -> Result<Verdict, Failure> {
    let stdout = io::stdout();
    let text = match options.name.as_deref() {
        Some(topics::SCHEMAS) => schema::bundle(),
        Some(name) => match topics::find(name) {
            Some(topic) if stdout.is_terminal() => markdown::render(
                &topic.text.read(),
                console::columns(),
                console::wants_colour(&stdout),
            ),
            Some(topic) => topic.text.read(),
            None => of_clap(&["langspan", name, "--help"]),
        },
        None => of_clap(&["langspan", "--help"]),
    };
    if stdout.is_terminal() && is_longer_than_the_screen(&text) && page(&text) {
        return Ok(Verdict::default());
    }
    let mut printer = Printer::new(OutputFormat::Text);
    printer.text(&text);
    printer
        .take_failure()
        .map_or_else(|| Ok(Verdict::default()), Err)
}

/// The help that clap prints for this command line.
fn of_clap(arguments: &[&str]) -> String {
    Cli::try_parse_from(arguments)
        .err()
        .map(|help| help.render().to_string())
        .unwrap_or_default()
}

fn is_longer_than_the_screen(text: &str) -> bool {
    terminal_size::terminal_size()
        .is_some_and(|(_, rows)| text.lines().count() >= usize::from(rows.0))
}

/// Shows `text` by the program that `PAGER` names; false if there is none or it does not start.
fn page(text: &str) -> bool {
    let Some(pager) = env::var_os("PAGER").filter(|pager| !pager.is_empty()) else {
        return false;
    };
    let mut command = Command::new("sh");
    // PAGER may hold arguments, so a shell reads it. LESS: pass colours through, and leave the text on the screen.
    command.arg("-c").arg(pager).stdin(Stdio::piped());
    if env::var_os("LESS").is_none() {
        command.env("LESS", "FRX");
    }
    let Ok(mut pager) = command.spawn() else {
        return false;
    };
    if let Some(mut stdin) = pager.stdin.take() {
        // A reader who leaves the pager early closes the pipe.
        let _ = stdin.write_all(text.as_bytes());
    }
    pager
        .wait()
        .is_ok_and(|status| status.code() != Some(NOT_FOUND))
}

/// The exit code of a shell that does not find the program.
const NOT_FOUND: i32 = 127;
