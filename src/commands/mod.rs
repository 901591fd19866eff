//! The verbs. They never import each other; what they share is in `app`.

mod batch;
mod chat;
mod check;
mod compare;
mod completions;
mod config;
mod exec;
mod help;
mod merge;
mod models;
mod prompt;
mod replay;
mod resend;
mod sandbox;
mod score;
mod show;

pub use crate::app::signals::wait_for_readers;
pub use crate::app::usage_error::say as say_usage;

use std::fs::File;
use std::io;
use std::panic::{self, PanicHookInfo};
use std::process;

use clap::Parser as _;
use futures_util::future::LocalBoxFuture;

use crate::app::env_file;
use crate::cli::{
    Cli, Command, ConfigAction, ConfigArgs, ExecArgs, OutputArgs, SandboxArgs, SourceArgs,
};
use crate::console::Console;
use crate::console::OutputFormat;
use crate::failure::{Failure, Kind, Verdict};
use crate::output::{Printer, Report};
use crate::settings::{self, Sources};

/// Runs a command to its end.
pub fn run(cli: Cli) -> Verdict {
    panic::set_hook(Box::new(end_after_panic));
    dispatch(cli)
}

/// Reports a panic like any other error, and ends the process. Nothing unwinds, because the code and tables for it would
/// make the binary a seventh larger. Spans under way stay in the outbox, as they do when the process is killed.
#[expect(
    clippy::exit,
    reason = "after the hook the process would abort by a signal"
)]
fn end_after_panic(panic: &PanicHookInfo<'_>) {
    let failure = Failure::from(anyhow::anyhow!("{panic}"));
    Console::new(false, 0).error(&failure);
    process::exit(Kind::Internal.exit_code().into());
}

fn dispatch(cli: Cli) -> Verdict {
    match cli.command {
        Command::Chat(args) => {
            let run =
                async |sources: &_, console: &_| Box::pin(chat::run(&args, sources, console)).await;
            verb("chat", &args.run.destination.sources, &args.run.output, run)
        }
        Command::Replay(args) => {
            let run = async |sources: &_, console: &_| {
                Box::pin(replay::run(&args, sources, console)).await
            };
            let (options, output) = (&args.run.destination.sources, &args.run.output);
            verb("replay", options, output, run)
        }
        Command::Batch(args) => {
            let run = async |sources: &_, console: &_| {
                Box::pin(batch::run(&args, sources, console)).await
            };
            let (options, output) = (&args.run.destination.sources, &args.run.output);
            verb("batch", options, output, run)
        }
        Command::Merge(args) => {
            let run = async |sources: &_, console: &_| merge::run(&args, sources, console).await;
            verb("merge", &args.destination.sources, &args.output, run)
        }
        Command::Compare(args) => {
            let run = async |sources: &_, console: &_| compare::run(&args, sources, console).await;
            verb("compare", &args.destination.sources, &args.output, run)
        }
        Command::Show(args) => {
            let run = async |sources: &_, console: &_| show::run(&args, sources, console).await;
            verb("show", &args.destination.sources, &args.output, run)
        }
        Command::Prompt(args) => {
            let run = async |sources: &_, console: &_| prompt::run(&args, sources, console).await;
            verb("prompt", &args.destination.sources, &args.output, run)
        }
        Command::Score(args) => {
            let run = async |sources: &_, console: &_| score::run(&args, sources, console).await;
            verb("score", &args.destination.sources, &args.output, run)
        }
        Command::Resend(args) => {
            let run = async |sources: &_, console: &_| resend::run(&args, sources, console).await;
            verb("resend", &args.destination.sources, &args.output, run)
        }
        Command::Exec(args) => execute(&args),
        // Its document holds a failure of the settings as a failed stage.
        Command::Check(args) => {
            let sources = env_file::sources(&args.destination.sources);
            let console = console(&args.output, sources.as_ref().ok());
            report(block_on(check::run(&args, sources, &console)), &console)
        }
        Command::Models(args) => {
            let run = async |sources: &_, console: &_| models::run(&args, sources, console).await;
            verb("models", &args.sources, &args.output, run)
        }
        Command::Config(args) => configure(&args),
        Command::Sandbox(args) => serve(&args),
        Command::Completions(args) => report(completions::run(&args), &Console::new(false, 0)),
        Command::Help(args) => report(help::run(&args), &Console::new(false, 0)),
    }
}

/// Serves the sandbox, which reads no settings.
fn serve(args: &SandboxArgs) -> Verdict {
    let console = Console::new(args.quiet, 0);
    let ended = block_on(sandbox::run(args, &Sources::default(), &console));
    report(ended, &console)
}

/// Runs a command of the user's. It prints no document: stdout is the command's.
fn execute(args: &ExecArgs) -> Verdict {
    let console = Console::new(args.quiet, args.verbose);
    let options = &args.destination.sources;
    let ended = env_file::sources(options)
        .and_then(|sources| block_on(exec::run(args, &sources, &console)))
        .map_err(|failure| env_file::mention_unread(failure, options.env_file.as_deref()));
    report(ended, &console)
}

/// What `config` does without a settings file being read, and the list of the settings in force.
fn configure(args: &ConfigArgs) -> Verdict {
    let run = &args.run.options;
    let console = Console::new(run.output.quiet, run.output.verbose);
    match &args.action {
        None => {
            let show = async |sources: &_, console: &_| config::show(&args.run, sources, console);
            verb("config", &run.destination.sources, &run.output, show)
        }
        Some(ConfigAction::Path) => report(config::path(&console), &console),
        Some(ConfigAction::Profiles) => report(config::profiles(&console), &console),
        Some(ConfigAction::Init) => report(block_on(initialise(&console)), &console),
    }
}

/// Asks for settings, checks them, and writes them if they work.
async fn initialise(console: &Console) -> Result<Verdict, Failure> {
    let answers = config::init::ask(console).await?;
    let sources = answers.sources()?;
    let check = Cli::try_parse_from(["langspan", "check", "--no-write"]);
    let Ok(Command::Check(options)) = check.map(|cli| cli.command) else {
        return Err(anyhow::anyhow!("the check of the settings cannot be started").into());
    };
    let verdict = Box::pin(check::run(&options, Ok(sources), console)).await?;
    if verdict.kind().is_some() {
        console.note("nothing was written");
        return Ok(verdict);
    }
    answers.write(console)?;
    Ok(verdict)
}

/// Runs a verb, and reports why it could not begin: as a document too where one is asked for. A wrong command line is
/// reported as text alone, since the output format is part of it.
fn verb(
    name: &'static str,
    options: &SourceArgs,
    output: &OutputArgs,
    run: impl AsyncFnOnce(&Sources, &Console) -> Result<Verdict, Failure>,
) -> Verdict {
    let env_file = options.env_file.as_deref();
    let sources = env_file::sources(options);
    let console = console(output, sources.as_ref().ok());
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

/// The console that options and settings ask for. Says which variables a profile overrides.
fn console(output: &OutputArgs, sources: Option<&Sources>) -> Console {
    let (quiet, verbosity) = sources.map_or((output.quiet, output.verbose), |sources| {
        settings::loudness(output, sources)
    });
    let console = Console::new(quiet, verbosity);
    let overridden = sources.map(Sources::overridden).unwrap_or_default();
    if let Some(profile) = sources.and_then(Sources::profile)
        && !overridden.is_empty()
    {
        let names = overridden.join(", ");
        console.note(&format!("--profile {} overrides {names}", profile.value));
    }
    console
}

/// On one thread: a chat waits for the network, and starting threads would cost more than they save.
fn block_on(work: impl Future<Output = Result<Verdict, Failure>>) -> Result<Verdict, Failure> {
    run_to_end(Box::pin(work))
}

/// Boxed, so that the runtime's part is compiled once, not for each verb.
fn run_to_end(work: LocalBoxFuture<'_, Result<Verdict, Failure>>) -> Result<Verdict, Failure> {
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
