//! Options of delivery: proof, time, and what a failure means.

use clap::Args;

use crate::cli::values::{rate, seconds};

#[derive(Debug, Args)]
#[command(next_help_heading = "Delivery")]
pub struct DeliveryArgs {
    /// Wait until the trace can be read [env: LANGSPAN_VERIFY]
    #[arg(long)]
    pub verify: bool,
    #[command(flatten)]
    pub wait: WaitArgs,
    /// Report tracing failures as warnings, not as exit codes [env: LANGSPAN_BEST_EFFORT]
    #[arg(long, hide_short_help = true)]
    pub best_effort: bool,
    /// Time for one export request with its retries, in seconds [default: 10]
    #[arg(long, value_name = "SECS", value_parser = seconds, allow_negative_numbers = true, hide_short_help = true)]
    pub export_timeout: Option<f64>,
    /// Do not keep spans that cannot be delivered
    #[arg(long, hide_short_help = true)]
    pub no_outbox: bool,
    /// Fraction of calls to trace, from 0 to 1; failed calls are always traced [env: LANGFUSE_SAMPLE_RATE]
    #[arg(long, value_name = "RATE", value_parser = rate, allow_negative_numbers = true, hide_short_help = true)]
    pub sample: Option<f64>,
}

#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Time to wait until the trace can be read, in seconds [default: 60]
    #[arg(long = "wait", value_name = "SECS", value_parser = seconds, allow_negative_numbers = true, hide_short_help = true)]
    pub seconds: Option<f64>,
}
