//! The options of `langspan merge`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::output::text_or_json;
use crate::cli::{DestinationArgs, OutputArgs, WaitArgs};

const EXAMPLES: &str = "\
Examples:
  langspan merge out-*.jsonl --out out.jsonl
  langspan merge out-*.jsonl --out out.jsonl.zst --verify --summary summary.json
  langspan merge out-1.jsonl out-3.jsonl --out some.jsonl --partial";

#[derive(Debug, Args)]
#[command(mut_arg("output", text_or_json), after_long_help = EXAMPLES)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub struct MergeArgs {
    /// Outputs of all shards of one run; FILE.acks lies beside each
    #[arg(value_name = "OUT", required = true)]
    pub parts: Vec<PathBuf>,
    /// Write the lines of all outputs to FILE, in the order of the input
    #[arg(short = 'O', long, value_name = "FILE")]
    pub out: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    pub overwrite: bool,
    /// Merge even if shards or lines are missing, occur twice or do not fit
    #[arg(long)]
    pub partial: bool,
    /// Write the totals of the run to FILE as JSON
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// Count the run's traces and spans in Langfuse
    #[arg(long)]
    pub verify: bool,
    /// Set the means of the expectations as scores of the experiment: a shard knows only its own items
    #[arg(long)]
    pub score_experiment: bool,
    #[command(flatten)]
    pub wait: WaitArgs,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub destination: DestinationArgs,
}
