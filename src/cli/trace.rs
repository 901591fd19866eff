//! Options of the trace: whose it is, and which one.

use clap::Args;

use crate::cli::values::pair;

#[derive(Debug, Args)]
#[command(next_help_heading = "Trace")]
pub struct TraceArgs {
    /// User of the trace [env: LANGSPAN_USER]
    #[arg(short, long, value_name = "ID")]
    pub user: Option<String>,
    /// Session that groups traces [env: LANGSPAN_SESSION]
    #[arg(short = 'S', long, value_name = "ID")]
    pub session: Option<String>,
    /// Tag (repeatable) [env: LANGSPAN_TAGS, comma separated]
    #[arg(short, long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Name of the trace [default: chat-completion]
    #[arg(short, long, hide_short_help = true)]
    pub name: Option<String>,
    /// Metadata of the trace (repeatable)
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, hide_short_help = true)]
    pub metadata: Vec<(String, String)>,
    /// Environment, of [a-z0-9-_] [env: LANGFUSE_TRACING_ENVIRONMENT]
    #[arg(long, value_name = "ENV", hide_short_help = true)]
    pub environment: Option<String>,
    /// Release [env: LANGFUSE_RELEASE, then the commit variable of the CI]
    #[arg(long, value_name = "REL", hide_short_help = true)]
    pub release: Option<String>,
    /// Version of the traced application (langfuse.version)
    #[arg(long, value_name = "V", hide_short_help = true)]
    pub trace_version: Option<String>,
    /// Let anyone who has the link read the trace
    #[arg(long, hide_short_help = true)]
    pub public: bool,
    /// Derive the trace id from SEED; the same seed gives the same trace
    #[arg(long, value_name = "SEED", group = "one_trace", hide_short_help = true)]
    pub trace_seed: Option<String>,
    /// Trace id, 32 hexadecimal digits
    #[arg(
        long,
        value_name = "HEX32",
        group = "one_trace",
        hide_short_help = true
    )]
    pub trace_id: Option<String>,
    /// Continue the trace of a W3C traceparent
    #[arg(long, value_name = "W3C", group = "one_trace", hide_short_help = true)]
    pub traceparent: Option<String>,
    /// Continue the trace of the variable TRACEPARENT
    #[arg(long, group = "one_trace", hide_short_help = true)]
    pub join: bool,
    /// Add commit, branch, job URL and actor of the CI job as metadata
    #[arg(long, hide_short_help = true)]
    pub ci: bool,
}
