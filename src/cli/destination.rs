//! Options of the destination: which server gets the spans.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(next_help_heading = "Destination")]
pub struct DestinationArgs {
    /// Langfuse server; any form of its URL is accepted [env: LANGFUSE_BASE_URL]
    #[arg(long, value_name = "URL", hide_short_help = true)]
    pub langfuse_base_url: Option<String>,
    /// Send the spans to an OpenTelemetry collector instead
    #[arg(long, value_name = "URL", hide_short_help = true)]
    pub otlp_endpoint: Option<String>,
    /// Base of printed links, if the server has another public name [env: LANGSPAN_UI_URL]
    #[arg(long, value_name = "URL", hide_short_help = true)]
    pub ui_url: Option<String>,
    /// Also trust the certificate authorities in FILE
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub ca_file: Option<PathBuf>,
    #[command(flatten)]
    pub sources: SourceArgs,
}

#[derive(Debug, Args)]
pub struct SourceArgs {
    /// Read variables from FILE; environment variables take precedence
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub env_file: Option<PathBuf>,
    /// Profile of the settings file; it overrides environment variables [env: LANGSPAN_PROFILE]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub profile: Option<String>,
}

#[derive(Debug, Args)]
pub struct StandInArgs {
    /// Use the embedded model and Langfuse: no key, no network
    #[arg(long, conflicts_with_all = ["openai_base_url", "anthropic_base_url", "langfuse_base_url", "otlp_endpoint"])]
    pub sandbox: bool,
}
