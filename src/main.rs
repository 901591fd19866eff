//! `langspan`: runs or replays a chat completion inside a Langfuse trace, and knows that the trace arrived.
//!
//! Data flows one way and imports point down: commands · batch · app · output · settings · cli · delivery · langfuse ·
//! trace · model · http · sandbox · console · failure · `content_type` · json · secret.

mod app;
mod batch;
mod cli;
mod commands;
mod console;
mod content_type;
mod delivery;
mod failure;
mod http;
mod json;
mod langfuse;
mod model;
mod output;
mod sandbox;
mod secret;
mod settings;
mod trace;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::try_parse() {
        Ok(cli) => commands::run(cli).into(),
        Err(error) => commands::say_usage(&error).into(),
    }
}
