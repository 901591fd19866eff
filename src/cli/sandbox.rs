//! The options of `langspan sandbox`.

use clap::{Args, ValueEnum};

use crate::cli::values::{count, port};

const EXAMPLES: &str = "\
Examples:
  langspan sandbox
  langspan sandbox --port 0 --delay 200
  langspan sandbox --langfuse v3 --visible-after 1500";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct SandboxArgs {
    /// Port to listen on; 0 takes any free one
    #[arg(long, value_name = "N", value_parser = port, allow_negative_numbers = true, default_value_t = crate::sandbox::PORT)]
    pub port: u16,
    /// Delay of the model's answer, in milliseconds
    #[arg(long, value_name = "MS", value_parser = count, allow_negative_numbers = true, default_value_t = 0)]
    pub delay: u64,
    /// Langfuse version to imitate
    #[arg(long, value_name = "VERSION", default_value = "v4")]
    pub langfuse: LangfuseVersionArg,
    /// Time until an accepted trace can be read, in milliseconds
    #[arg(long, value_name = "MS", value_parser = count, allow_negative_numbers = true, default_value_t = 0)]
    pub visible_after: u64,
    /// Delete all stored traces and media, then exit
    #[arg(long, conflicts_with_all = ["port", "delay", "langfuse", "visible_after"])]
    pub clear: bool,
    /// Do not ask before deleting
    #[arg(long, requires = "clear")]
    pub yes: bool,
    /// Print nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
}

/// The version of the Langfuse that the sandbox imitates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LangfuseVersionArg {
    V3,
    V4,
}
