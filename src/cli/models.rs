//! The options of `langspan models`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::output::text_or_json;
use crate::cli::values::seconds;
use crate::cli::{OutputArgs, SourceArgs};

const EXAMPLES: &str = "\
Examples:
  langspan models
  langspan models mini
  langspan models --openai-base-url http://localhost:11434/v1 -o json";

#[derive(Debug, Args)]
#[command(mut_arg("output", text_or_json), after_long_help = EXAMPLES)]
pub struct ModelsArgs {
    /// Only models with FILTER in their id, in upper or lower case
    pub filter: Option<String>,
    #[command(flatten)]
    pub output: OutputArgs,
    /// OpenAI-compatible endpoint [env: OPENAI_BASE_URL]
    #[arg(long, value_name = "URL")]
    pub openai_base_url: Option<String>,
    /// HTTP header for the model endpoint (repeatable)
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE")]
    pub headers: Vec<String>,
    /// Time for the answer, in seconds
    #[arg(long, value_name = "SECS", value_parser = seconds, allow_negative_numbers = true, default_value = "30", hide_short_help = true)]
    pub timeout: f64,
    /// Also trust the certificate authorities in FILE
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub ca_file: Option<PathBuf>,
    #[command(flatten)]
    pub sources: SourceArgs,
}
