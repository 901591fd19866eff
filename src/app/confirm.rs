//! A question before something is deleted. Only a person at a terminal can answer it.

use std::io::{self, IsTerminal as _};

use crate::console::Console;
use crate::failure::Failure;

/// Asks whether `deed` ("Delete 3 entries permanently") is meant. `option` is the option that would do it.
///
/// # Errors
/// If stdin is not a terminal, or cannot be read.
pub fn is_confirmed(option: &str, deed: &str, console: &Console) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        let message = format!("{option}: stdin is not a terminal: cannot ask before deleting");
        return Err(Failure::usage(message).hint("add --yes"));
    }
    console.ask(&format!("{deed}? [y/N] "));
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Failure::unreadable("stdin", &error).hint("use --yes"))?;
    let answer = answer.trim().to_ascii_lowercase();
    Ok(["y", "yes"].contains(&answer.as_str()))
}
