//! Options of privacy: what traces, recordings and the outbox hold.

use clap::Args;

use crate::cli::values::capture;
use crate::trace::privacy::Capture;

#[derive(Debug, Args)]
#[command(next_help_heading = "Privacy")]
pub struct PrivacyArgs {
    /// Content to trace and record: `full`, `truncate=N` (the first N characters of each text) or `none` [default: full]
    #[arg(long, value_name = "MODE", value_parser = capture, hide_short_help = true)]
    pub capture: Option<Capture>,
    /// Redact text matching REGEX from traces and recordings (repeatable)
    #[arg(long, value_name = "REGEX", hide_short_help = true)]
    pub redact: Vec<String>,
    /// Trace images and files as type and size; upload nothing [env: LANGFUSE_MEDIA_UPLOAD_ENABLED=false]
    #[arg(long, hide_short_help = true)]
    pub no_media: bool,
}
