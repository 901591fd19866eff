//! `langspan completions SHELL`: the scripts of the folder `completions`, embedded in the binary.

use crate::cli::{self, Shell};
use crate::console::OutputFormat;
use crate::failure::{Failure, Verdict};
use crate::output::Printer;

/// # Errors
/// If stdout cannot be written.
pub fn run(options: &cli::CompletionsArgs) -> Result<Verdict, Failure> {
    let mut printer = Printer::new(OutputFormat::Text);
    printer.text(script(options.shell));
    printer
        .take_failure()
        .map_or_else(|| Ok(Verdict::default()), Err)
}

fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("../../completions/langspan.bash"),
        Shell::Zsh => include_str!("../../completions/_langspan"),
        Shell::Fish => include_str!("../../completions/langspan.fish"),
        Shell::Powershell => include_str!("../../completions/_langspan.ps1"),
        Shell::Elvish => include_str!("../../completions/langspan.elv"),
    }
}
