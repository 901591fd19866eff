//! The command line: commands and options as clap parses them, one file for each command, and the help topics.
//!
//! No behaviour: `settings` resolves what was typed. No option takes a secret. An option that has an environment
//! variable names it in its help.

#![expect(
    clippy::doc_markdown,
    reason = "the texts are help for terminals, not Markdown"
)]

mod batch;
mod chat;
mod check;
mod compare;
mod completions;
mod config;
mod deferred;
mod delivery;
mod destination;
mod exec;
mod expect;
mod experiment;
#[cfg(test)]
mod generated;
mod help;
mod managed_prompt;
mod merge;
mod model;
mod models;
mod output;
mod privacy;
mod prompt;
mod replay;
mod resend;
mod run;
mod sandbox;
mod score;
mod show;
pub mod topics;
mod trace;
mod typed;
mod values;

use clap::{Parser, Subcommand};

pub use batch::BatchArgs;
pub use chat::ChatArgs;
pub use check::CheckArgs;
pub use compare::CompareArgs;
pub use completions::{CompletionsArgs, Shell};
pub use config::{ConfigAction, ConfigArgs, ConfigRunArgs};
use deferred::Deferred;
pub use delivery::{DeliveryArgs, WaitArgs};
pub use destination::{DestinationArgs, SourceArgs, StandInArgs};
pub use exec::ExecArgs;
pub use expect::ExpectArgs;
pub use experiment::ExperimentArgs;
pub use help::HelpArgs;
pub use managed_prompt::ManagedPromptArgs;
pub use merge::MergeArgs;
pub use model::{EndpointArgs, ModelArgs};
pub use models::ModelsArgs;
pub use output::OutputArgs;
pub use privacy::PrivacyArgs;
pub use prompt::PromptArgs;
pub use replay::ReplayArgs;
pub use resend::ResendArgs;
pub use run::RunArgs;
pub use sandbox::{LangfuseVersionArg, SandboxArgs};
pub use score::{ScoreArgs, ScoreTypeArg};
pub use show::ShowArgs;
pub use trace::TraceArgs;
pub use values::{
    Allowance, Parameter, ParameterValue, ShardArg, api, capture, form, pair, parameter, rate,
    seconds, temperature,
};

/// Run or replay a chat completion inside a Langfuse trace, with proof of delivery
///
/// Exit code 0 means that the server accepted every span; with --verify, that the trace can be read there. Otherwise the
/// exit code is not 0, the answer is still printed, and the spans wait in the outbox for `langspan resend`.
#[derive(Debug, Parser)]
#[command(
    name = "langspan",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    // Without the blank line before the usage the short help fits a screen.
    help_template = "{about}\n{usage-heading} {usage}\n\nCommands:\n{subcommands}{after-help}",
    after_help = topics::BRIEFLY,
    after_long_help = topics::LISTED
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one chat completion inside a trace
    ///
    /// The arguments are the instruction. Text on stdin follows it after a blank line.
    Chat(Deferred<ChatArgs>),
    /// Send recorded JSON requests, or emit recordings again
    ///
    /// FILE holds one JSON document, or one on each line: chat-completions bodies, OpenAI Batch lines, or recordings made
    /// with --record. A recording becomes a trace with its own ids and times, without a model call.
    Replay(Deferred<ReplayArgs>),
    /// Run every line of a JSONL file, each inside its own trace
    ///
    /// A line of FILE is a chat-completions body, an OpenAI Batch line or {"prompt": "…"}. Its field `trace` (user, session,
    /// tags, name, metadata) overrides the options. Each line gives one output line as soon as it is answered. Files that
    /// end in .gz or .zst are read and written compressed.
    Batch(Deferred<BatchArgs>),
    /// Join the outputs of a batch's shards into one
    ///
    /// Checks that all shards of one run and one input are there, and that no line is missing or occurs twice. Writes the
    /// lines in the order of the input, and the totals of the run. It needs no Langfuse, except for --verify.
    Merge(Deferred<MergeArgs>),
    /// Compare two runs of the same items
    ///
    /// Shows what share of the items met each expectation in A and in B, which items changed, and latency, tokens and
    /// cost. A and B are output files of batch, or experiments in Langfuse. Exits 9 if an item that met an expectation in A
    /// misses it in B, or has no answer there.
    Compare(Deferred<CompareArgs>),
    /// Run any program inside one trace, with all its model calls
    ///
    /// The program runs unchanged: environment variables direct its telemetry and its model calls to a listener on
    /// 127.0.0.1, which passes the calls on. Its spans and calls become one trace, which is delivered when the program has
    /// ended. The exit code is the program's, unless that is 0. The program cannot read its own trace back before the run
    /// ends, and must not start daemons.
    Exec(Deferred<ExecArgs>),
    /// Test settings, keys, export and read-back, stage by stage
    ///
    /// Sends a small trace and reads it back. Its name, user, session, tag and environment are `langspan-check` unless
    /// options set others.
    Check(Deferred<CheckArgs>),
    /// Read a trace back and draw it
    ///
    /// Draws the tree of observations with time bars, model, tokens, cost and errors, and below each generation its last
    /// user message and its answer. Waits until the trace is there and no parent is missing.
    Show(Deferred<ShowArgs>),
    /// Print a prompt that Langfuse manages, or list them
    ///
    /// A text prompt is printed as it is, a chat prompt message by message. `--prompt` of chat and batch uses one.
    Prompt(Deferred<PromptArgs>),
    /// Set scores on a trace
    ///
    /// The scores belong to the first observation of the trace. A score of the same name is replaced. Waits until the trace
    /// can be read.
    Score(Deferred<ScoreArgs>),
    /// Deliver the spans and scores that wait in the outbox
    ///
    /// Sends them to the destination of the current settings. Entries of another public key are named and left alone.
    /// With FILE, sends the OTLP/JSON lines of files that other programs wrote, with the same proof.
    Resend(Deferred<ResendArgs>),
    /// List the models of the model endpoint
    ///
    /// Prints their ids, sorted. It needs no Langfuse.
    Models(Deferred<ModelsArgs>),
    /// Show the settings in force, or write a settings file
    ///
    /// Lists every setting with its value and its origin: an option, a variable, a line of the settings file, or the
    /// default. Options of `chat` may be given as well. Keys are shown in part.
    Config(Deferred<ConfigArgs>),
    /// Serve a stand-in for model and Langfuse on this machine
    ///
    /// For trials and tests: the model's answers are canned, and the traces are kept in a folder. It listens on 127.0.0.1
    /// only.
    Sandbox(Deferred<SandboxArgs>),
    /// Print the completion script for a shell
    ///
    /// The same scripts are in the folder `completions` of the source code, together with the man pages.
    Completions(Deferred<CompletionsArgs>),
    /// Show a help topic, or the help of a command
    Help(Deferred<HelpArgs>),
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
