//! The options of `langspan exec`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args};

use crate::cli::values::seconds;
use crate::cli::{DeliveryArgs, DestinationArgs, PrivacyArgs, TraceArgs};

const EXAMPLES: &str = "\
Examples:
  langspan exec -u ada -S nightly -t ci -- python cookbook.py
  langspan exec --expect-calls -- ./smoke-test.sh
  langspan exec --sandbox -- python cookbook.py";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, mut_arg("name", |name| name.help("Name of the trace and of the command's span [default: the command's file name]")))]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub struct ExecArgs {
    /// Command to run, with its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
    /// Exit with 9 if the run had no generation
    #[arg(long, help_heading = "Exec")]
    pub expect_calls: bool,
    /// Time for requests under way when the command has ended, in seconds
    #[arg(long, value_name = "SECS", value_parser = grace, allow_negative_numbers = true, default_value = "2", help_heading = "Exec", hide_short_help = true)]
    pub grace: f64,
    /// Leave the model endpoints of the command alone
    #[arg(long, help_heading = "Exec", hide_short_help = true)]
    pub no_proxy: bool,
    /// Leave the telemetry of the command alone
    #[arg(long, help_heading = "Exec", hide_short_help = true)]
    pub no_receiver: bool,
    /// Ask for the token counts of streams; the command does not see them
    #[arg(
        long,
        help_heading = "Exec",
        hide_short_help = true,
        conflicts_with = "no_proxy"
    )]
    pub stream_usage: bool,
    /// Use the embedded model and Langfuse: no key, no network
    #[arg(long, help_heading = "Exec", conflicts_with_all = ["langfuse_base_url", "otlp_endpoint"])]
    pub sandbox: bool,
    /// Write a report of the run to FILE as JSON
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Exec",
        hide_short_help = true
    )]
    pub report: Option<PathBuf>,
    /// Show the variables that the command would get; start nothing
    #[arg(long, help_heading = "Exec")]
    pub dry_run: bool,
    #[command(flatten)]
    pub trace: TraceArgs,
    #[command(flatten)]
    pub destination: DestinationArgs,
    #[command(flatten)]
    pub delivery: DeliveryArgs,
    #[command(flatten)]
    pub privacy: PrivacyArgs,
    /// Suppress notes, hints and warnings; errors are still printed
    #[arg(short, long, help_heading = "Output", hide_short_help = true)]
    pub quiet: bool,
    /// Show the requests of the delivery, with secrets removed (repeatable)
    #[arg(short, long, action = ArgAction::Count, help_heading = "Output", hide_short_help = true)]
    pub verbose: u8,
}

/// Zero is a time too: nothing is waited for.
fn grace(text: &str) -> Result<f64, String> {
    match text {
        "0" => Ok(0.0),
        text => seconds(text),
    }
}
