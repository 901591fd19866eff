//! `langspan`: runs or replays a chat completion inside a Langfuse trace, and knows that the trace arrived.
//!
//! Data flows one way and imports point down: commands · compare · batch · app · output · settings · cli · delivery ·
//! langfuse · expect · trace · model · http · sandbox · console · failure · `content_type` · embedded · stdio ·
//! json · secret.

// A table of schemas is long.
#![cfg_attr(test, recursion_limit = "256")]

mod app;
mod batch;
mod cli;
mod commands;
mod compare;
mod compression;
mod console;
mod content_type;
mod delivery;
mod embedded;
mod exec;
mod expect;
mod failure;
mod http;
mod json;
mod langfuse;
mod model;
mod output;
mod prices;
mod sandbox;
mod secret;
mod settings;
mod stdio;
mod trace;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

/// Takes a fifth off the CPU time of each line of a batch.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let verdict = match cli::Cli::try_parse() {
        Ok(cli) => commands::run(cli),
        Err(error) => commands::say_usage(&error),
    };
    commands::wait_for_readers(verdict).into()
}
