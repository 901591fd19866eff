//! The options of `langspan batch`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::output::text_or_json;
use crate::cli::values::{
    allowance, at_least_one, concurrency, count, match_mode, rpm, seconds, shard, some_dollars, tpm,
};
use crate::cli::{Allowance, ExpectArgs, ExperimentArgs, ManagedPromptArgs, RunArgs, ShardArg};
use crate::expect::MatchMode;

const EXAMPLES: &str = "\
Options override the body of a line.

Examples:
  langspan batch in.jsonl -j 64 --out out.jsonl --verify
  langspan batch in.jsonl -j 64 --out out.jsonl --resume --retry-errors
  langspan batch --dataset faq --experiment pr-7 --match-expected contains";

#[derive(Debug, Args)]
#[command(
    mut_arg("output", text_or_json),
    mut_arg("output", |option| option.hide_short_help(true)),
    mut_arg("retries", |option| option.help("Further attempts after a failed one [default: 5]")),
    mut_arg("export_timeout", |option| {
        option.help("Time for one export request with its retries, in seconds [default: 30]")
    }),
    mut_arg("user", |option| option.hide_short_help(true)),
    mut_arg("tags", |option| option.hide_short_help(true)),
    mut_arg("session", |option| option.hide_short_help(true)),
    after_long_help = EXAMPLES
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub struct BatchArgs {
    /// File to read; `-` is stdin
    #[arg(required_unless_present = "dataset")]
    pub file: Option<PathBuf>,
    /// Write the answers to FILE instead of stdout
    #[arg(short = 'O', long, value_name = "FILE", help_heading = "Batch")]
    pub out: Option<PathBuf>,
    /// Overwrite a non-empty output file
    #[arg(
        long,
        help_heading = "Batch",
        conflicts_with = "resume",
        hide_short_help = true
    )]
    pub overwrite: bool,
    /// Continue an earlier run: only ask for what --out lacks
    #[arg(long, help_heading = "Batch")]
    pub resume: bool,
    /// Ask again for the lines that failed
    #[arg(
        long,
        help_heading = "Batch",
        requires = "resume",
        hide_short_help = true
    )]
    pub retry_errors: bool,
    /// Maximum number of calls at once
    #[arg(short = 'j', long, value_name = "N", default_value = "16", value_parser = concurrency, allow_negative_numbers = true, help_heading = "Batch")]
    pub concurrency: usize,
    /// Maximum number of requests per minute
    #[arg(long, value_name = "N", value_parser = rpm, allow_negative_numbers = true, help_heading = "Batch", hide_short_help = true)]
    pub rpm: Option<u32>,
    /// Maximum number of tokens per minute
    #[arg(long, value_name = "N", value_parser = tpm, allow_negative_numbers = true, help_heading = "Batch", hide_short_help = true)]
    pub tpm: Option<u32>,
    /// Stop early when the model endpoint has been down for SECS seconds
    #[arg(long, value_name = "SECS", default_value = "300", value_parser = seconds, allow_negative_numbers = true, help_heading = "Batch", hide_short_help = true)]
    pub give_up: f64,
    /// Process only the first N lines of the input, counted before --shard
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true, help_heading = "Batch", hide_short_help = true)]
    pub limit: Option<u64>,
    /// Process only shard K of N; `auto` reads K and N from the CI or job runner, `auto/N` only K
    #[arg(long, value_name = "K/N", value_parser = shard, help_heading = "Batch", hide_short_help = true)]
    pub shard: Option<ShardArg>,
    /// Write the answers in the order of the lines
    #[arg(long, help_heading = "Batch", hide_short_help = true)]
    pub ordered: bool,
    /// Validate every line before anything is sent
    #[arg(long, help_heading = "Batch", hide_short_help = true)]
    pub strict: bool,
    /// Stop early after N failed lines or traces
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true, help_heading = "Batch", hide_short_help = true)]
    pub max_errors: Option<u64>,
    /// Stop early when the run has cost USD or more
    #[arg(long, value_name = "USD", value_parser = some_dollars, allow_negative_numbers = true, help_heading = "Batch", hide_short_help = true)]
    pub max_cost: Option<f64>,
    /// Exit 0 if no more than N lines (or P%) failed
    #[arg(long, value_name = "N|P%", default_value = "0", value_parser = allowance, help_heading = "Batch", hide_short_help = true)]
    pub allow_errors: Allowance,
    /// Name of the run: its session, and the seed of its trace ids [default: that of --experiment, else from file, start time and a random part]
    #[arg(
        long = "run",
        value_name = "NAME",
        help_heading = "Batch",
        hide_short_help = true
    )]
    pub run_name: Option<String>,
    /// Write the summary to FILE as JSON
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Batch",
        hide_short_help = true
    )]
    pub summary: Option<PathBuf>,
    /// How to compare an answer with the `expected` of its line [default: contains], or with the expected output of its dataset item [default: not at all]
    #[arg(long, value_name = "HOW", value_parser = match_mode(), help_heading = "Expectations", hide_short_help = true)]
    pub match_expected: Option<MatchMode>,
    /// Exit 0 if no more than N lines (or P%) missed an expectation
    #[arg(long, value_name = "N|P%", default_value = "0", value_parser = allowance, help_heading = "Expectations", hide_short_help = true)]
    pub allow_misses: Allowance,
    #[command(flatten)]
    pub run: RunArgs,
    // Last, because their headings would go on for what follows.
    #[command(flatten)]
    pub experiment: ExperimentArgs,
    #[command(flatten)]
    pub managed: ManagedPromptArgs,
    #[command(flatten)]
    pub expect: ExpectArgs,
}
