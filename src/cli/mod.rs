//! What may be typed: commands and options, as clap reads them. No behaviour; `settings` says what they mean.
//!
//! House rules: no option takes a secret; a setting that has an environment variable names it in its help; options
//! stand under the heading of what they are about.

#![expect(
    clippy::doc_markdown,
    reason = "the texts are help for terminals, not Markdown"
)]

mod deferred;
mod values;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use deferred::Deferred;
pub use values::{Allowance, Shard, form, rate};
use values::{
    Parameter, allowance, capture, concurrency, duration, pair, parameter, seconds, shard,
    temperature,
};

use crate::console::OutputFormat;
use crate::trace::privacy::Capture;

/// Runs or replays a chat completion inside a Langfuse trace, and knows that the trace arrived.
///
/// Exit 0 means that the endpoint accepted every span; with --verify, that the trace can be read there.
#[derive(Debug, Parser)]
#[command(
    name = "langspan",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
#[command(after_help = "Try it without any key: langspan chat --sandbox \"Why trace LLM calls?\"")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask for one chat completion inside a trace
    ///
    /// The arguments are the instruction; what stands on stdin follows it after a blank line.
    Chat(Deferred<ChatArgs>),
    /// Send a recorded JSON request, or emit a recording again
    ///
    /// FILE holds one JSON document, or one a line: chat-completions bodies, OpenAI Batch lines, or recordings made by
    /// --record. A recording becomes a trace with its own times and no model call.
    Replay(Deferred<ReplayArgs>),
    /// Ask for many chat completions, one a line, each inside a trace of its own
    ///
    /// A line of FILE is a chat-completions body, an OpenAI Batch line or {"prompt": "…"}; a field `trace` of it (user,
    /// session, tags, name, metadata) comes before the options. Each gives one output line as soon as it is answered.
    /// Files that end in .gz or .zst are read and written compressed.
    Batch(Deferred<BatchArgs>),
    /// Prove, stage by stage, that settings, endpoint, keys, export and read-back work
    ///
    /// Sends a small trace (name, user, session, tag and environment `langspan-check` unless told otherwise) and reads it
    /// back.
    Check(Deferred<CheckArgs>),
    /// Read a trace back and draw it
    Show(Deferred<ShowArgs>),
    /// Deliver the spans that wait in the outbox
    Resend(Deferred<ResendArgs>),
    /// Serve a chat model and a Langfuse stand-in on this machine
    ///
    /// Both are stand-ins for trying things out and for tests: the model's answers are canned, and the traces lie in a
    /// folder. It listens on 127.0.0.1 only.
    Sandbox(Deferred<SandboxArgs>),
    /// Print the completion script of a shell
    Completions(Deferred<CompletionsArgs>),
}

#[derive(Debug, Args)]
pub struct ChatArgs {
    /// The instruction; `-` reads it from stdin
    pub prompt: Vec<String>,
    /// Ignore stdin
    #[arg(long)]
    pub no_stdin: bool,
    #[command(flatten)]
    pub run: RunArgs,
}

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The file to read; `-` is stdin
    pub file: PathBuf,
    /// Call the model for recordings too
    #[arg(long)]
    pub send: bool,
    #[command(flatten)]
    pub run: RunArgs,
}

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub struct BatchArgs {
    /// The file to read; `-` is stdin
    pub file: PathBuf,
    /// Write the answers to FILE instead of stdout
    #[arg(short = 'O', long, value_name = "FILE", help_heading = "Batch")]
    pub out: Option<PathBuf>,
    /// Write over an output file that holds something
    #[arg(long, help_heading = "Batch", conflicts_with = "resume")]
    pub overwrite: bool,
    /// Continue an earlier run: ask only for what --out does not hold yet
    #[arg(long, help_heading = "Batch")]
    pub resume: bool,
    /// Ask again for the lines that failed
    #[arg(long, help_heading = "Batch", requires = "resume")]
    pub retry_errors: bool,
    /// How many calls are under way at once
    #[arg(short = 'j', long, value_name = "N", default_value = "16", value_parser = concurrency, help_heading = "Batch")]
    pub concurrency: usize,
    /// At most this many requests a minute
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Batch")]
    pub rpm: Option<u32>,
    /// Use only the first N lines
    #[arg(long, value_name = "N", help_heading = "Batch")]
    pub limit: Option<u64>,
    /// Only the K-th of N shares of the lines; auto/N or auto take K from the job runner
    #[arg(long, value_name = "K/N", value_parser = shard, help_heading = "Batch")]
    pub shard: Option<Shard>,
    /// Write the answers in the order of the lines
    #[arg(long, help_heading = "Batch")]
    pub ordered: bool,
    /// Check every line before anything is sent
    #[arg(long, help_heading = "Batch")]
    pub strict: bool,
    /// Stop early when this many lines or traces have failed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Batch")]
    pub max_errors: Option<u64>,
    /// How many lines may fail, or how many of a hundred, for exit code 0
    #[arg(long, value_name = "N|P%", default_value = "0", value_parser = allowance, help_heading = "Batch")]
    pub allow_errors: Allowance,
    /// The run's name: its session, and what its trace ids derive from [default: file and start time]
    #[arg(long = "run", value_name = "NAME", help_heading = "Batch")]
    pub run_name: Option<String>,
    /// Write the summary to FILE as JSON
    #[arg(long, value_name = "FILE", help_heading = "Batch")]
    pub summary: Option<PathBuf>,
    #[command(flatten)]
    pub run: RunArgs,
}

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub struct CheckArgs {
    /// Call the model as well: a real completion
    #[arg(long, help_heading = "Check")]
    pub with_model: bool,
    /// Stop after the keys: send no trace
    #[arg(long, help_heading = "Check")]
    pub no_write: bool,
    /// How long to wait until the trace can be read, in seconds
    #[arg(long, value_name = "SECS", value_parser = seconds, default_value = "60", help_heading = "Check")]
    pub wait: f64,
    /// Time for everything, in seconds
    #[arg(long, value_name = "SECS", value_parser = seconds, default_value = "120", help_heading = "Check")]
    pub timeout: f64,
    /// Wait this long for a server that is still starting, in seconds
    #[arg(long, value_name = "SECS", value_parser = seconds, help_heading = "Check")]
    pub wait_for_server: Option<f64>,
    /// Do not ask the other regions of Langfuse Cloud whether a refused key is theirs
    #[arg(long, help_heading = "Check")]
    pub no_region_probe: bool,
    /// Write the stages to FILE as JUnit XML
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub junit: Option<PathBuf>,
    /// Use the embedded model and Langfuse stand-in: no key, no network
    #[arg(long, help_heading = "Destination", conflicts_with_all = ["openai_base_url", "langfuse_base_url", "otlp_endpoint"])]
    pub sandbox: bool,
    #[command(flatten)]
    pub trace: TraceArgs,
    #[command(flatten)]
    pub endpoint: EndpointArgs,
    #[command(flatten)]
    pub destination: DestinationArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The trace's id, or its URL
    #[arg(value_name = "TRACE_ID|URL")]
    pub trace: String,
    /// How long to wait until the trace can be read, in seconds
    #[arg(long, value_name = "SECS", value_parser = seconds, default_value = "60")]
    pub wait: f64,
    #[command(flatten)]
    pub destination: DestinationArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
pub struct ResendArgs {
    /// Only list what waits
    #[arg(long, conflicts_with = "discard")]
    pub list: bool,
    /// Only what has waited longer: 90s, 15m, 12h, 7d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub older_than: Option<std::time::Duration>,
    /// Delete what waits instead of delivering it
    #[arg(long)]
    pub discard: bool,
    /// Do not ask before deleting
    #[arg(long, requires = "discard")]
    pub yes: bool,
    #[command(flatten)]
    pub destination: DestinationArgs,
    /// Time for one export request with its retries, in seconds
    #[arg(long, value_name = "SECS", value_parser = seconds, default_value = "30")]
    pub export_timeout: f64,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// The port to listen on; 0 takes any free one
    #[arg(long, value_name = "N", default_value_t = crate::sandbox::PORT)]
    pub port: u16,
    /// How long the model thinks, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub delay: u64,
    /// The Langfuse version whose API is served
    #[arg(long, value_name = "VERSION", default_value = "v4")]
    pub langfuse: LangfuseVersionArg,
    /// How long a trace stays unreadable after it was accepted, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub visible_after: u64,
    /// Print nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LangfuseVersionArg {
    V3,
    V4,
}

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    pub shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
    Elvish,
}

// The options of a run: everything that chat, replay and batch share. (No doc comment: clap would take it for the
// description of the command whose options these are.)
#[derive(Debug, Args)]
pub struct RunArgs {
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
    #[command(flatten)]
    pub output: OutputArgs,
    /// Append the exchange to FILE, as replay reads it
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub record: Option<PathBuf>,
    /// Show request, spans and destination; open no connection
    #[arg(long, help_heading = "Output")]
    pub dry_run: bool,
    /// Use the embedded model and Langfuse stand-in: no key, no network
    #[arg(long, help_heading = "Destination", conflicts_with_all = ["openai_base_url", "langfuse_base_url", "otlp_endpoint"])]
    pub sandbox: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Trace")]
pub struct TraceArgs {
    /// The user that the call is for [env: LANGSPAN_USER]
    #[arg(short, long, value_name = "ID")]
    pub user: Option<String>,
    /// The session that groups traces; carries no history [env: LANGSPAN_SESSION]
    #[arg(short = 'S', long, value_name = "ID")]
    pub session: Option<String>,
    /// A tag; may be repeated [env: LANGSPAN_TAGS, comma separated]
    #[arg(short, long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// The trace's name [default: chat-completion]
    #[arg(short, long)]
    pub name: Option<String>,
    /// Metadata of the trace; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub metadata: Vec<(String, String)>,
    /// The environment, of [a-z0-9-_] [env: LANGFUSE_TRACING_ENVIRONMENT]
    #[arg(long, value_name = "ENV")]
    pub environment: Option<String>,
    /// The release [env: LANGFUSE_RELEASE, then the commit variable of the CI]
    #[arg(long, value_name = "REL")]
    pub release: Option<String>,
    /// The version of what is traced
    #[arg(long, value_name = "V")]
    pub trace_version: Option<String>,
    /// Let anyone with the link read the trace
    #[arg(long)]
    pub public: bool,
    /// Derive the trace id from SEED: the same seed is the same trace
    #[arg(long, value_name = "SEED", group = "one_trace")]
    pub trace_seed: Option<String>,
    /// The trace id, 32 hexadecimal digits
    #[arg(long, value_name = "HEX32", group = "one_trace")]
    pub trace_id: Option<String>,
    /// Continue a trace: a W3C traceparent
    #[arg(long, value_name = "W3C", group = "one_trace")]
    pub traceparent: Option<String>,
    /// Continue the trace of the TRACEPARENT variable
    #[arg(long, group = "one_trace")]
    pub join: bool,
    /// Add commit, branch, job URL and actor of the CI job as metadata
    #[arg(long)]
    pub ci: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    #[command(flatten)]
    pub endpoint: EndpointArgs,
    /// The system message
    #[arg(short, long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Sampling temperature
    #[arg(long, value_name = "F", value_parser = temperature, allow_negative_numbers = true)]
    pub temperature: Option<serde_json::Number>,
    /// The most tokens that the answer may have
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<u64>,
    /// Any field of the request body: a string, or JSON after `:=`; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = parameter)]
    pub param: Vec<Parameter>,
    /// A file with the JSON Schema that the answer must fit
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// Attach an image to the user message: a file, or a URL; may be repeated
    #[arg(long = "image", value_name = "FILE|URL")]
    pub images: Vec<String>,
    /// Attach a file to the user message: text, PDF, audio …; may be repeated
    #[arg(long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Stream the answer [default: when stdout is a terminal]
    #[arg(long, overrides_with = "no_stream")]
    pub stream: bool,
    /// Wait for the whole answer
    #[arg(long)]
    pub no_stream: bool,
    /// Further attempts after the first [default: 2; of batch: 5]
    #[arg(long, value_name = "N")]
    pub retries: Option<u32>,
    /// Time for all attempts and the whole answer, in seconds
    #[arg(long, value_name = "SECS", value_parser = seconds, default_value = "600")]
    pub timeout: f64,
}

// Which model is asked, and where.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct EndpointArgs {
    /// The model to ask [env: LANGSPAN_MODEL] [default: gpt-4o-mini]
    #[arg(short, long)]
    pub model: Option<String>,
    /// The OpenAI-compatible endpoint [env: OPENAI_BASE_URL]
    #[arg(long, value_name = "URL")]
    pub openai_base_url: Option<String>,
    /// A header for the model endpoint; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE")]
    pub headers: Vec<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Destination")]
pub struct DestinationArgs {
    /// The Langfuse, in any form of its URL [env: LANGFUSE_BASE_URL]
    #[arg(long, value_name = "URL")]
    pub langfuse_base_url: Option<String>,
    /// Send the spans to an OpenTelemetry collector instead
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// The base of printed links, when people reach the server by another name [env: LANGSPAN_UI_URL]
    #[arg(long, value_name = "URL")]
    pub ui_url: Option<String>,
    /// Trust the certificate authorities in FILE too
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Read settings from FILE; variables of the environment win
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Delivery")]
pub struct DeliveryArgs {
    /// Wait until the trace can be read [env: LANGSPAN_VERIFY]
    #[arg(long)]
    pub verify: bool,
    /// How long --verify waits, in seconds
    #[arg(long, value_name = "SECS", value_parser = seconds, default_value = "60")]
    pub wait: f64,
    /// Failures of tracing are warnings, not exit codes [env: LANGSPAN_BEST_EFFORT]
    #[arg(long)]
    pub best_effort: bool,
    /// Time for one export request with its retries, in seconds [default: 10; of batch: 30]
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    pub export_timeout: Option<f64>,
    /// Do not keep what cannot be delivered
    #[arg(long)]
    pub no_outbox: bool,
    /// Trace this share of calls, from 0 to 1; failures always [env: LANGFUSE_SAMPLE_RATE]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub sample: Option<f64>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Privacy")]
pub struct PrivacyArgs {
    /// The content to trace and record: full, truncate=N (characters of each text) or none
    #[arg(long, value_name = "WHAT", value_parser = capture, default_value = "full")]
    pub capture: Capture,
    /// Leave what matches out of what is traced and recorded; may be repeated
    #[arg(long, value_name = "REGEX")]
    pub redact: Vec<String>,
    /// Trace images and files as type and size; upload nothing [env: LANGFUSE_MEDIA_UPLOAD_ENABLED=false]
    #[arg(long)]
    pub no_media: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// What stdout carries: text, json, raw or url [env: LANGSPAN_OUTPUT]
    #[arg(short, long, value_name = "FORM", value_parser = form, overrides_with_all = ["output", "json"])]
    pub output: Option<OutputFormat>,
    /// The same as -o json
    #[arg(long, overrides_with = "output")]
    pub json: bool,
    /// No notes, hints and warnings; errors are still said
    #[arg(short, long)]
    pub quiet: bool,
    /// Show the requests, secrets removed; may be repeated
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }
}
