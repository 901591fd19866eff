//! The verbs. They never import each other; what they share is in `app`.

mod batch;
mod chat;
mod check;
mod completions;
mod help;
mod replay;
mod resend;
mod sandbox;
mod show;

pub use crate::app::signals::wait_for_readers;
pub use crate::app::usage_error::say as say_usage;

use std::fs::File;
use std::io;
use std::panic::{self, AssertUnwindSafe};

use crate::app::env_file;
use crate::cli::{Cli, Command, DestinationArgs, OutputArgs};
use crate::console::Console;
use crate::console::OutputFormat;
use crate::failure::{Failure, Kind, Verdict};
use crate::output::{Printer, Report};
use crate::settings::{self, Sources};

/// Runs a command to its end. A panic is reported like any other error, and unwinds first, so that spans under way are
/// kept in the outbox.
pub fn run(cli: Cli) -> Verdict {
    panic::set_hook(Box::new(|panic| {
        let failure = Failure::from(anyhow::anyhow!("{panic}"));
        Console::new(false, 0).error(&failure);
    }));
    let ended = panic::catch_unwind(AssertUnwindSafe(|| dispatch(cli)));
    ended.unwrap_or_else(|_| Kind::Internal.into())
}

fn dispatch(cli: Cli) -> Verdict {
    match cli.command {
        Command::Chat(args) => {
            let run = async |sources: &_, console: &_| chat::run(&args, sources, console).await;
            verb("chat", &args.run.destination, &args.run.output, run)
        }
        Command::Replay(args) => {
            let run = async |sources: &_, console: &_| replay::run(&args, sources, console).await;
            verb("replay", &args.run.destination, &args.run.output, run)
        }
        Command::Batch(args) => {
            let run = async |sources: &_, console: &_| {
                Box::pin(batch::run(&args, sources, console)).await
            };
            verb("batch", &args.run.destination, &args.run.output, run)
        }
        Command::Show(args) => {
            let run = async |sources: &_, console: &_| show::run(&args, sources, console).await;
            verb("show", &args.destination, &args.output, run)
        }
        Command::Resend(args) => {
            let run = async |sources: &_, console: &_| resend::run(&args, sources, console).await;
            verb("resend", &args.destination, &args.output, run)
        }
        // Its document holds a failure of the settings as a failed stage.
        Command::Check(args) => {
            let console = Console::new(args.output.quiet, args.output.verbose);
            let sources = env_file::sources(args.destination.env_file.as_deref());
            report(block_on(check::run(&args, sources, &console)), &console)
        }
        Command::Sandbox(args) => {
            let sources = Sources::default();
            let console = Console::new(args.quiet, 0);
            let ended = block_on(sandbox::run(&args, &sources, &console));
            report(ended, &console)
        }
        Command::Completions(args) => report(completions::run(&args), &Console::new(false, 0)),
        Command::Help(args) => report(help::run(&args), &Console::new(false, 0)),
    }
}

/// Runs a verb, and reports why it could not begin: as a document too where one is asked for. A wrong command line is
/// reported as text alone, since the output format is part of it.
fn verb(
    name: &'static str,
    destination: &DestinationArgs,
    output: &OutputArgs,
    run: impl AsyncFnOnce(&Sources, &Console) -> Result<Verdict, Failure>,
) -> Verdict {
    let console = Console::new(output.quiet, output.verbose);
    let env_file = destination.env_file.as_deref();
    let sources = env_file::sources(env_file);
    let known = sources.as_ref().cloned().unwrap_or_default();
    let ended = sources
        .and_then(|sources| block_on(run(&sources, &console)))
        .map_err(|failure| env_file::mention_unread(failure, env_file));
    if let Err(failure) = &ended
        && failure.kind != Kind::Usage
    {
        let form = settings::form(output, &known).unwrap_or_default();
        if form == OutputFormat::Json {
            let document = Report::new(name, None, None, Some(failure), &console);
            Printer::new(form).document(&document);
        }
    }
    report(ended, &console)
}

/// On one thread: a chat waits for the network, and starting threads would cost more than they save.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    check_file_descriptors()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| anyhow::Error::new(error).context("the runtime could not be started"))?;
    let ended = runtime.block_on(work);
    // A name look-up may hold its thread for as long as the resolver likes; its result is not needed any more.
    runtime.shutdown_background();
    ended
}

/// Checks that a run can open the files and sockets of a single call: the runtime panics where it has too few.
fn check_file_descriptors() -> Result<(), Failure> {
    const NEEDED: usize = 16;
    let opened: io::Result<Vec<File>> = (0..NEEDED).map(|_| File::open("/dev/null")).collect();
    match opened {
        // A system without the device.
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let failure = Failure::file(format!("a run needs {NEEDED} file descriptors: {error}"));
            Err(failure.hint("raise the limit: ulimit -n 1024"))
        }
        _ => Ok(()),
    }
}

fn report(ended: Result<Verdict, Failure>, console: &Console) -> Verdict {
    ended.unwrap_or_else(|failure| {
        console.error(&failure);
        failure.kind.into()
    })
}
