//! The options of `langspan replay`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::RunArgs;
use crate::cli::output::with_lines;
use crate::cli::values::count;

const EXAMPLES: &str = "\
Examples:
  langspan replay calls.jsonl --verify
  langspan replay --batch-input in --batch-output out --batch-object batch
  langspan replay --from TRACE_ID -m gpt-4.1-mini";

#[derive(Debug, Args)]
#[command(
    mut_arg("tags", |option| option.hide_short_help(true)),
    mut_arg("output", with_lines),
    after_long_help = EXAMPLES
)]
pub struct ReplayArgs {
    /// File to read; `-` is stdin
    #[arg(required_unless_present_any = ["batch_input", "from", "from_session"])]
    pub file: Option<PathBuf>,
    /// Repeat the request of a Langfuse trace (id or URL)
    ///
    /// Append `?observation=ID` to choose one of several generations. `-o jsonl` prints a line for `batch` instead.
    #[arg(
        long,
        value_name = "TRACE",
        conflicts_with_all = ["file", "from_session", "batch_input", "send", "again"]
    )]
    pub from: Option<String>,
    /// Repeat the requests of a session's generations, in order
    ///
    /// `-o jsonl` prints lines for `batch` instead.
    #[arg(
        long,
        value_name = "ID",
        conflicts_with_all = ["file", "batch_input", "send", "again"],
        hide_short_help = true
    )]
    pub from_session: Option<String>,
    /// Use only the first N generations of the session
    #[arg(
        long,
        value_name = "N",
        value_parser = count,
        allow_negative_numbers = true,
        hide_short_help = true
    )]
    pub limit: Option<u64>,
    /// Input file of a provider's Batch API: each request becomes a trace with its output, without a model call
    ///
    /// Requests and outputs are joined by their custom_id. Repeatable.
    #[arg(
        long,
        value_name = "IN",
        requires = "batch_output",
        conflicts_with_all = ["file", "send", "cost", "record"],
        hide_short_help = true
    )]
    pub batch_input: Vec<PathBuf>,
    /// Output or error file of the same batch
    ///
    /// OUT.sent beside it notes what was sent, so that a second run sends nothing twice. Repeatable.
    #[arg(
        long,
        value_name = "OUT",
        requires = "batch_input",
        hide_short_help = true
    )]
    pub batch_output: Vec<PathBuf>,
    /// The batch as the provider's API returns it, for its id and times
    ///
    /// Without it, the times are those of the answers, in whole seconds.
    #[arg(
        long,
        value_name = "FILE",
        requires = "batch_output",
        hide_short_help = true
    )]
    pub batch_object: Option<PathBuf>,
    /// Call the model for recordings too
    #[arg(long, hide_short_help = true)]
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
