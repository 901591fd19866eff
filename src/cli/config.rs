//! The options of `langspan config`.

use clap::{Args, Subcommand};

use crate::cli::RunArgs;
use crate::cli::output::text_or_json;
use crate::cli::typed::Typed;

const EXAMPLES: &str = "\
Examples:
  langspan config
  langspan config --profile work -m gpt-4o
  langspan config init";

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    mut_args(|option| option.hide_short_help(true)),
    mut_arg("output", text_or_json),
    after_long_help = EXAMPLES
)]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub action: Option<ConfigAction>,
    #[command(flatten)]
    pub run: ConfigRunArgs,
}

/// The options of a run, with the texts that were typed.
pub type ConfigRunArgs = Typed<RunArgs>;

#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Print the path of the settings file
    Path,
    /// Print the names of the profiles
    Profiles,
    /// Ask for URLs, keys and model, test them, and write the settings file
    Init,
}
