//! The options of `langspan completions`.

use clap::{Args, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  langspan completions bash | sudo tee /etc/bash_completion.d/langspan
  langspan completions fish > ~/.config/fish/completions/langspan.fish
  langspan completions zsh > ~/.zfunc/_langspan";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct CompletionsArgs {
    /// Shell to complete for
    pub shell: Shell,
}

/// A shell that has a completion script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
    Elvish,
}
