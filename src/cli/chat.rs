//! The options of `langspan chat`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::{ExpectArgs, ManagedPromptArgs, RunArgs};

const EXAMPLES: &str = "\
Examples:
  langspan chat --sandbox \"Why trace LLM calls?\"
  git diff | langspan chat -S \"$PWD\" -t review \"Review this change\"
  url=$(langspan chat --no-stdin --verify -o url \"One word for joy?\")";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ChatArgs {
    /// Instruction; `-` reads it from stdin
    pub prompt: Vec<String>,
    /// Ignore stdin
    #[arg(long, hide_short_help = true)]
    pub no_stdin: bool,
    /// Messages that precede the prompt: a JSON array in FILE
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Model",
        hide_short_help = true
    )]
    pub messages: Option<PathBuf>,
    /// Continue the conversation in FILE; prompt and answer are added to it
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Model",
        conflicts_with = "messages",
        hide_short_help = true
    )]
    pub thread: Option<PathBuf>,
    /// Print the cost, by the price table of the project
    #[arg(long, hide_short_help = true)]
    pub cost: bool,
    #[command(flatten)]
    pub run: RunArgs,
    // Last, because their headings would go on for what follows.
    #[command(flatten)]
    pub managed: ManagedPromptArgs,
    #[command(flatten)]
    pub expect: ExpectArgs,
}
