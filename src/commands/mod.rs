//! The verbs. They never import each other; what `chat` and `replay` share is `run`.

mod batch;
mod chat;
mod check;
mod completions;
mod help;
mod replay;
mod resend;
mod sandbox;
mod show;

pub use crate::app::usage_error::say as say_usage;

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use crate::cli::{Cli, Command, DestinationArgs, OutputArgs};
use crate::console::Console;
use crate::console::OutputFormat;
use crate::failure::{Failure, Kind, Verdict};
use crate::output::{Printer, Report};
use crate::settings::{self, Sources};

/// Runs a command to its end. A panic is said as any other error, and unwinds first, so that what was under way is
/// kept in the outbox.
pub fn run(cli: Cli) -> Verdict {
    panic::set_hook(Box::new(|panic| {
        let failure = Failure::from(anyhow::anyhow!("{panic}"));
        Console::new(false, 0).error(&failure);
    }));
    panic::catch_unwind(AssertUnwindSafe(|| dispatch(cli)))
        .unwrap_or_else(|_| Kind::Internal.into())
}

fn dispatch(cli: Cli) -> Verdict {
    match cli.command {
        Command::Chat(options) => {
            let console = console(&options.run.output);
            let ended = block_on(chat::run(&options, &console));
            let ended = ended.map_err(|failure| with_env_file(failure, &options.run.destination));
            conclude("chat", ended, &options.run.output, &console)
        }
        Command::Replay(options) => {
            let console = console(&options.run.output);
            let ended = block_on(replay::run(&options, &console));
            let ended = ended.map_err(|failure| with_env_file(failure, &options.run.destination));
            conclude("replay", ended, &options.run.output, &console)
        }
        Command::Batch(options) => {
            let console = console(&options.run.output);
            let ended = block_on(batch::run(&options, &console));
            let ended = ended.map_err(|failure| with_env_file(failure, &options.run.destination));
            conclude("batch", ended, &options.run.output, &console)
        }
        Command::Check(options) => {
            let console = console(&options.output);
            let ended = block_on(check::run(&options, &console));
            let ended = ended.map_err(|failure| with_env_file(failure, &options.destination));
            said(ended, &console)
        }
        Command::Show(options) => {
            let console = console(&options.output);
            let ended = block_on(show::run(&options, &console));
            let ended = ended.map_err(|failure| with_env_file(failure, &options.destination));
            conclude("show", ended, &options.output, &console)
        }
        Command::Resend(options) => {
            let console = console(&options.output);
            let ended = block_on(resend::run(&options, &console));
            let ended = ended.map_err(|failure| with_env_file(failure, &options.destination));
            conclude("resend", ended, &options.output, &console)
        }
        Command::Sandbox(options) => {
            let console = Console::new(options.quiet, 0);
            said(block_on(sandbox::run(&options)), &console)
        }
        Command::Completions(options) => said(completions::run(&options), &Console::new(false, 0)),
        Command::Help(options) => said(help::run(&options), &Console::new(false, 0)),
    }
}

/// One thread does all: a chat waits on the network, and starting more threads costs more than they give.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| anyhow::Error::new(error).context("the runtime could not be started"))?;
    let ended = runtime.block_on(work);
    // A name that is still looked up holds a thread for as long as the resolver likes; nobody waits for it any more.
    runtime.shutdown_background();
    ended
}

fn console(output: &OutputArgs) -> Console {
    Console::new(output.quiet, output.verbose)
}

/// Mentions the `.env` that lies here: it was not read, and may hold what is missing.
fn with_env_file(mut failure: Failure, options: &DestinationArgs) -> Failure {
    if failure.kind == Kind::Config && options.env_file.is_none() && Path::new(".env").is_file() {
        let hint = failure.hint.take().unwrap_or_default();
        failure.hint = Some(format!(
            "{hint}; ./.env is not read unless you say --env-file .env"
        ));
    }
    failure
}

/// Says why a command could not begin, as a document too where one was asked for. A wrong command line is said as
/// text alone, since the form of the output is part of it.
fn conclude(
    command: &'static str,
    ended: Result<Verdict, Failure>,
    output: &OutputArgs,
    console: &Console,
) -> Verdict {
    if let Err(failure) = &ended
        && failure.kind != Kind::Usage
    {
        let form = settings::form(output, &Sources::default()).unwrap_or_default();
        if form == OutputFormat::Json {
            Printer::new(form).document(&Report::new(command, None, None, Some(failure), console));
        }
    }
    said(ended, console)
}

fn said(ended: Result<Verdict, Failure>, console: &Console) -> Verdict {
    ended.unwrap_or_else(|failure| {
        console.error(&failure);
        failure.kind.into()
    })
}
