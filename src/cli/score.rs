//! The options of `langspan score`.

use clap::{Arg, Args, ValueEnum};

use crate::cli::output::text_or_json;
use crate::cli::values::named;
use crate::cli::{DestinationArgs, OutputArgs, WaitArgs};

const EXAMPLES: &str = "\
Examples:
  langspan score 266d80c3a721e2b8d05643ae6c165d0c helpful=true
  langspan score \"$url\" quality=0.8 tone=friendly --comment \"read by Ada\"
  langspan score \"$url\" grade=2 --type categorical";

#[derive(Debug, Args)]
#[command(mut_arg("output", text_or_json), mut_arg("seconds", wait_15_seconds), after_long_help = EXAMPLES)]
pub struct ScoreArgs {
    /// Id of the trace, or its URL
    #[arg(value_name = "TRACE_ID|URL")]
    pub trace: String,
    /// Scores: a number, true, false or a word
    #[arg(value_name = "NAME=VALUE", value_parser = named, required = true)]
    pub scores: Vec<(String, String)>,
    /// Comment on each score
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Type of the values [default: by the value]
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<ScoreTypeArg>,
    /// Wait until the scores can be read
    #[arg(long)]
    pub verify: bool,
    #[command(flatten)]
    pub wait: WaitArgs,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub destination: DestinationArgs,
}

/// The type of a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScoreTypeArg {
    Numeric,
    Categorical,
    Boolean,
}

fn wait_15_seconds(option: Arg) -> Arg {
    option.help("Time to wait until the trace, and with --verify its scores, can be read, in seconds [default: 15]")
}
