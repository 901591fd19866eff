//! `langspan completions SHELL`: the scripts of the folder `completions`, embedded in the binary.

use crate::cli::{self, Shell};
use crate::console::OutputFormat;
use crate::embedded::{EmbeddedText, embedded};
use crate::failure::{Failure, Verdict};
use crate::output::Printer;

/// # Errors
/// If stdout cannot be written.
pub fn run(options: &cli::CompletionsArgs) -> Result<Verdict, Failure> {
    let mut printer = Printer::new(OutputFormat::Text);
    printer.text(&script(options.shell).read());
    printer
        .take_failure()
        .map_or_else(|| Ok(Verdict::default()), Err)
}

fn script(shell: Shell) -> EmbeddedText {
    match shell {
        Shell::Bash => embedded!("completions/langspan.bash"),
        Shell::Zsh => embedded!("completions/_langspan"),
        Shell::Fish => embedded!("completions/langspan.fish"),
        Shell::Powershell => embedded!("completions/_langspan.ps1"),
        Shell::Elvish => embedded!("completions/langspan.elv"),
    }
}
