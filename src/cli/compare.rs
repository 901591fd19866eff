//! The options of `langspan compare`.

use std::path::PathBuf;

use clap::{Arg, Args, ValueHint};

use crate::cli::output::text_or_json;
use crate::cli::values::allowance;
use crate::cli::{Allowance, DestinationArgs, OutputArgs, WaitArgs};

const EXAMPLES: &str = "\
Examples:
  langspan compare main.jsonl run.jsonl
  langspan compare main.jsonl run.jsonl --junit compare.xml
  langspan compare \"main, Monday\" pr-217 --allow-regressions 1% -o json";

#[derive(Debug, Args)]
#[command(mut_arg("output", text_or_json), mut_arg("seconds", wait_15_seconds), after_long_help = EXAMPLES)]
pub struct CompareArgs {
    /// The earlier run: an output file of batch, or an experiment's name or URL
    #[arg(value_name = "A", value_hint = ValueHint::FilePath)]
    pub a: String,
    /// The run that must not be worse
    #[arg(value_name = "B", value_hint = ValueHint::FilePath)]
    pub b: String,
    /// Exit 0 if no more than N items (or P%) regressed
    #[arg(long, value_name = "N|P%", default_value = "0", value_parser = allowance)]
    pub allow_regressions: Allowance,
    /// Write the items to FILE as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    #[command(flatten)]
    pub wait: WaitArgs,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub destination: DestinationArgs,
}

fn wait_15_seconds(option: Arg) -> Arg {
    option.help("Time to wait until an experiment can be read, in seconds [default: 15]")
}
