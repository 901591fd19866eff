//! The options of `langspan replay`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::RunArgs;

const EXAMPLES: &str = "\
Examples:
  langspan replay calls.jsonl --verify
  langspan replay request.json --sandbox -p seed:=7
  jq -c .request calls.jsonl | langspan replay - -m gpt-4o";

#[derive(Debug, Args)]
#[command(mut_arg("tags", |option| option.hide_short_help(true)), after_long_help = EXAMPLES)]
pub struct ReplayArgs {
    /// File to read; `-` is stdin
    pub file: PathBuf,
    /// Call the model for recordings too
    #[arg(long)]
    pub send: bool,
    /// Emit recordings even if Langfuse has their traces already
    ///
    /// A second copy of a trace doubles its cost until the server merges the copies.
    #[arg(long, hide_short_help = true)]
    pub again: bool,
    /// Print the cost, by the price table of the project
    #[arg(long, hide_short_help = true)]
    pub cost: bool,
    #[command(flatten)]
    pub run: RunArgs,
}
