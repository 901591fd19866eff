//! The options of `langspan prompt`.

use clap::Args;

use crate::cli::output::text_or_json;
use crate::cli::{DestinationArgs, OutputArgs};
use crate::langfuse::PromptReference;

const EXAMPLES: &str = "\
Examples:
  langspan prompt
  langspan prompt answer@staging
  langspan prompt answer:3 -o json | jq .config";

#[derive(Debug, Args)]
#[command(mut_arg("output", text_or_json), after_long_help = EXAMPLES)]
pub struct PromptArgs {
    /// Prompt to print [default: list all]
    #[arg(value_name = "NAME[@LABEL|:VERSION]", value_parser = PromptReference::parse)]
    pub reference: Option<PromptReference>,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub destination: DestinationArgs,
}
