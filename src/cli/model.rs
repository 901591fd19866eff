//! Options of the model call: which model, where, and with what request.

use std::path::PathBuf;

use clap::Args;
use serde_json::Number;

use crate::cli::values::{Parameter, api, attempts, count, parameter, seconds, temperature};
use crate::model::dialect::ModelDialect;

#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    #[command(flatten)]
    pub endpoint: EndpointArgs,
    /// System message
    #[arg(short, long, value_name = "TEXT", hide_short_help = true)]
    pub system: Option<String>,
    /// System message, from a file
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "system",
        hide_short_help = true
    )]
    pub system_file: Option<PathBuf>,
    /// Sampling temperature
    #[arg(long, value_name = "F", value_parser = temperature, allow_negative_numbers = true, hide_short_help = true)]
    pub temperature: Option<Number>,
    /// Maximum number of tokens in the answer
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true, hide_short_help = true)]
    pub max_tokens: Option<u64>,
    /// Field of the request body: KEY=TEXT or KEY:=JSON; @FILE as the value reads a file (repeatable)
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = parameter, hide_short_help = true)]
    pub param: Vec<Parameter>,
    /// Require an answer that fits the JSON Schema in FILE
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub schema: Option<PathBuf>,
    /// Attach an image, from a file or a URL (repeatable)
    #[arg(long = "image", value_name = "FILE|URL", hide_short_help = true)]
    pub images: Vec<String>,
    /// Attach a file: text, PDF, audio … (repeatable)
    #[arg(long = "file", value_name = "FILE", hide_short_help = true)]
    pub files: Vec<PathBuf>,
    /// Stream the answer [default: if stdout is a terminal]
    #[arg(long, overrides_with = "no_stream", hide_short_help = true)]
    pub stream: bool,
    /// Wait for the whole answer
    #[arg(long, hide_short_help = true)]
    pub no_stream: bool,
    /// Further attempts after a failed one [default: 2]
    #[arg(long, value_name = "N", value_parser = attempts, allow_negative_numbers = true, hide_short_help = true)]
    pub retries: Option<u32>,
    /// Time for all attempts and the whole answer, in seconds [default: 600]
    #[arg(long, value_name = "SECS", value_parser = seconds, allow_negative_numbers = true, hide_short_help = true)]
    pub timeout: Option<f64>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct EndpointArgs {
    /// Model [env: LANGSPAN_MODEL] [default: gpt-4o-mini]
    #[arg(short, long)]
    pub model: Option<String>,
    /// Dialect: chat, responses, messages or embeddings [env: LANGSPAN_API] [default: as the body shows, else chat]
    #[arg(long, value_name = "NAME", value_parser = api, hide_short_help = true)]
    pub api: Option<&'static dyn ModelDialect>,
    /// OpenAI-compatible endpoint [env: OPENAI_BASE_URL]
    #[arg(long, value_name = "URL", hide_short_help = true)]
    pub openai_base_url: Option<String>,
    /// Endpoint of --api messages [env: ANTHROPIC_BASE_URL]
    #[arg(long, value_name = "URL", hide_short_help = true)]
    pub anthropic_base_url: Option<String>,
    /// HTTP header for the model endpoint (repeatable)
    #[arg(
        short = 'H',
        long = "header",
        value_name = "NAME:VALUE",
        hide_short_help = true
    )]
    pub headers: Vec<String>,
}
