//! The options of `langspan check`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::output::text_or_json;
use crate::cli::values::seconds;
use crate::cli::{DestinationArgs, EndpointArgs, OutputArgs, StandInArgs, TraceArgs, WaitArgs};

const EXAMPLES: &str = "\
Examples:
  langspan check
  langspan check -q && echo \"tracing works\"
  langspan check --with-model --wait-for-server 60 --junit check.xml";

#[derive(Debug, Args)]
#[command(
    mut_arg("output", text_or_json),
    mut_arg("user", |option| option.help("User of the trace [default: langspan-check]").hide_short_help(true)),
    mut_arg("session", |option| option.help("Session of the trace [default: langspan-check]").hide_short_help(true)),
    mut_arg("tags", |option| option.help("Tag (repeatable) [default: langspan-check]").hide_short_help(true)),
    mut_arg("name", |option| option.help("Name of the trace [default: langspan-check]")),
    mut_arg("environment", |option| {
        option.help("Environment, of [a-z0-9-_] [default: langspan-check]")
    }),
    mut_arg("ci", |option| option.help("Always on: add commit, branch, job URL and actor of the CI job")),
    after_long_help = EXAMPLES
)]
pub struct CheckArgs {
    /// Write the stages to FILE as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    #[command(flatten)]
    pub stand_in: StandInArgs,
    #[command(flatten)]
    pub output: OutputArgs,
    /// Also run a real completion
    #[arg(long, help_heading = "Check")]
    pub with_model: bool,
    /// Stop after the keys; send no trace
    #[arg(long, help_heading = "Check")]
    pub no_write: bool,
    /// Time for the whole check, in seconds
    #[arg(long, value_name = "SECS", value_parser = seconds, allow_negative_numbers = true, default_value = "120", help_heading = "Check")]
    pub timeout: f64,
    /// Wait up to SECS for a server that is starting
    #[arg(long, value_name = "SECS", value_parser = seconds, allow_negative_numbers = true, help_heading = "Check")]
    pub wait_for_server: Option<f64>,
    /// Do not look up a refused key in the other regions of Langfuse Cloud
    #[arg(long, help_heading = "Check", hide_short_help = true)]
    pub no_region_probe: bool,
    #[command(flatten, next_help_heading = "Check")]
    pub wait: WaitArgs,
    #[command(flatten)]
    pub trace: TraceArgs,
    #[command(flatten)]
    pub endpoint: EndpointArgs,
    #[command(flatten)]
    pub destination: DestinationArgs,
}
