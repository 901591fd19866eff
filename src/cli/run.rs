//! The options that `chat`, `replay` and `batch` share.

use std::path::PathBuf;

use clap::Args;

use crate::cli::{
    DeliveryArgs, DestinationArgs, ModelArgs, OutputArgs, PrivacyArgs, StandInArgs, TraceArgs,
};

// Here and in the other shared groups: no doc comment, since clap would take it for the description of the command.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub stand_in: StandInArgs,
    #[command(flatten)]
    pub output: OutputArgs,
    /// Append the exchange to FILE; `replay` reads it
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub record: Option<PathBuf>,
    /// Show request, spans and destination; send nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub trace: TraceArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub destination: DestinationArgs,
    #[command(flatten)]
    pub delivery: DeliveryArgs,
    #[command(flatten)]
    pub privacy: PrivacyArgs,
}
