//! Options of a prompt that Langfuse manages.

use std::path::PathBuf;

use clap::Args;

use crate::cli::values::{Parameter, parameter};
use crate::langfuse::PromptReference;

#[derive(Debug, Args)]
#[command(next_help_heading = "Managed prompt")]
pub struct ManagedPromptArgs {
    /// Use a prompt of Langfuse; the label is `production` unless another one is given
    #[arg(long = "prompt", id = "managed_prompt", value_name = "NAME[@LABEL|:VERSION]", value_parser = PromptReference::parse, hide_short_help = true)]
    pub reference: Option<PromptReference>,
    /// Fill a variable: KEY=TEXT, KEY=@FILE, or KEY:=JSON for a placeholder (repeatable)
    #[arg(long = "var", value_name = "KEY=VALUE", value_parser = parameter, requires = "managed_prompt", hide_short_help = true)]
    pub variables: Vec<Parameter>,
    /// Fill variables from a JSON object in FILE; --var overrides them
    #[arg(
        long = "vars",
        value_name = "FILE",
        requires = "managed_prompt",
        hide_short_help = true
    )]
    pub variables_file: Option<PathBuf>,
    /// Do not use the kept copy when Langfuse cannot be reached
    #[arg(long, hide_short_help = true)]
    pub no_prompt_cache: bool,
}
