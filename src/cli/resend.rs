//! The options of `langspan resend`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::output::text_or_json;
use crate::cli::values::{duration, seconds};
use crate::cli::{DestinationArgs, OutputArgs};

const EXAMPLES: &str = "\
Examples:
  langspan resend
  langspan resend traces.jsonl traces-*.jsonl.gz
  langspan resend --discard --yes --older-than 30d";

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
#[derive(Debug, Args)]
#[command(mut_arg("output", text_or_json), after_long_help = EXAMPLES)]
pub struct ResendArgs {
    /// Files of OTLP/JSON lines to send instead of the outbox
    ///
    /// The file exporter of the OpenTelemetry Collector writes such files. The spans are sent as they are, and stay in FILE.
    /// FILE.sent notes what was accepted, so that nothing is sent twice. Files that end in .gz or .zst are decompressed.
    #[arg(value_name = "FILE", conflicts_with_all = ["list", "discard", "older_than", "yes"])]
    pub files: Vec<PathBuf>,
    /// List what waits; send nothing
    #[arg(long, conflicts_with = "discard")]
    pub list: bool,
    /// Only entries that have waited longer, as in 90s, 15m, 12h or 7d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub older_than: Option<Duration>,
    /// Delete what waits instead of sending it
    #[arg(long)]
    pub discard: bool,
    /// Also send spans that may have arrived already: a second copy doubles their cost
    #[arg(long, conflicts_with_all = ["list", "discard"])]
    pub again: bool,
    /// Do not ask before deleting
    #[arg(long, requires = "discard")]
    pub yes: bool,
    /// Time for one export request with its retries, in seconds
    #[arg(long, value_name = "SECS", value_parser = seconds, allow_negative_numbers = true, default_value = "30")]
    pub export_timeout: f64,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub destination: DestinationArgs,
}
