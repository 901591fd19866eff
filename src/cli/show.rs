//! The options of `langspan show`.

use clap::{Arg, Args};

use crate::cli::output::text_or_json;
use crate::cli::{DestinationArgs, OutputArgs, WaitArgs};

const EXAMPLES: &str = "\
Examples:
  langspan show 266d80c3a721e2b8d05643ae6c165d0c
  langspan show https://cloud.langfuse.com/project/ID/traces/TRACE_ID
  langspan show -o json --wait 30 \"$(langspan chat --no-stdin -o url Hello)\"";

#[derive(Debug, Args)]
#[command(mut_arg("output", text_or_json), mut_arg("seconds", wait_15_seconds), after_long_help = EXAMPLES)]
pub struct ShowArgs {
    /// Id of the trace, or its URL
    #[arg(value_name = "TRACE_ID|URL")]
    pub trace: String,
    /// Show the texts of generations in full
    #[arg(long)]
    pub full: bool,
    #[command(flatten)]
    pub wait: WaitArgs,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub destination: DestinationArgs,
}

fn wait_15_seconds(option: Arg) -> Arg {
    option.help("Time to wait until the trace can be read, in seconds [default: 15]")
}
