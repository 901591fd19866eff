//! Reads both runs: a file once, an experiment until the server has all of it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::app::langfuse_server::LangfuseServer;
use crate::cli;
use crate::compare::comparison::RunComparison;
use crate::compare::experiment::{ExperimentReader, ExperimentRun};
use crate::compare::run::ComparedRun;
use crate::compare::{output_file, trace_usage};
use crate::console::Console;
use crate::failure::{Failure, Kind};
use crate::settings::{self, Sources};

/// How long an experiment is waited for by default: a person waits here, and may have mistyped the name.
const DEFAULT_WAIT: Duration = Duration::from_secs(15);
/// The wait before experiments are read again.
const PAUSE: Duration = Duration::from_secs(1);
/// The name of stdin.
pub const STDIN: &str = "-";

/// One of the two runs, as it was named and as far as it was read.
struct Side<'a> {
    letter: char,
    name: &'a str,
    read: Option<ReadRun>,
}

enum ReadRun {
    File(ComparedRun),
    Experiment(ExperimentRun),
}

/// The file that an argument names, if there is one.
pub fn path_of(name: &str) -> Option<&Path> {
    if name == STDIN {
        return Some(Path::new("/dev/stdin"));
    }
    let path = Path::new(name);
    fs::metadata(path)
        .is_ok_and(|metadata| !metadata.is_dir())
        .then_some(path)
}

/// Reads both runs.
///
/// # Errors
/// When one cannot be read, or experiments cannot be compared before the time is up.
pub async fn read(
    options: &cli::CompareArgs,
    sources: &Sources,
    console: &Console,
) -> Result<[ComparedRun; 2], Failure> {
    let wait = settings::wait(&options.wait, DEFAULT_WAIT, sources)?;
    let side = |letter, name| Side {
        letter,
        name,
        read: None,
    };
    let mut sides = [side('A', options.a.as_str()), side('B', options.b.as_str())];
    for side in &mut sides {
        side.read_file().await?;
    }
    if let Some(side) = sides.iter().find(|side| side.read.is_none()) {
        let reader = reader(options, sources, console).await;
        let reader = reader.map_err(|failure| mention_file(failure, side.name))?;
        wait_for(&reader, &mut sides, Instant::now() + wait).await?;
        for side in &mut sides {
            side.add_usage(&reader, console).await;
        }
    }
    let [a, b] = sides;
    Ok([a.into_run()?, b.into_run()?])
}

/// Reads the experiments until they can be compared.
async fn wait_for(
    reader: &ExperimentReader,
    sides: &mut [Side<'_>; 2],
    deadline: Instant,
) -> Result<(), Failure> {
    loop {
        match read_experiments(reader, sides).await {
            Err(failure) if failure.retryable && Instant::now() + PAUSE <= deadline => {
                sleep(PAUSE).await;
            }
            ended => return ended,
        }
    }
}

async fn read_experiments(
    reader: &ExperimentReader,
    sides: &mut [Side<'_>; 2],
) -> Result<(), Failure> {
    for side in sides.iter_mut() {
        if !matches!(side.read, Some(ReadRun::File(_))) {
            let experiment = reader.read(side.letter, side.name).await?;
            side.read = Some(ReadRun::Experiment(experiment));
        }
    }
    match (sides[0].run(), sides[1].run()) {
        (Some(a), Some(b)) => RunComparison::new(a, b).map(drop),
        _ => Ok(()),
    }
}

impl Side<'_> {
    async fn read_file(&mut self) -> Result<(), Failure> {
        if let Some(path) = path_of(self.name) {
            let (letter, path) = (self.letter, path.to_owned());
            // A pipe may have no writer, and a signal must end the run nevertheless.
            let read = spawn_blocking(move || output_file::read(letter, &path)).await;
            self.read = Some(ReadRun::File(read.map_err(anyhow::Error::from)??));
        }
        Ok(())
    }

    /// Adds what the items of an experiment took; without it, the rest can still be compared.
    async fn add_usage(&mut self, reader: &ExperimentReader, console: &Console) {
        if let Some(ReadRun::Experiment(experiment)) = &mut self.read
            && let Err(error) = trace_usage::add(&reader.server.api, experiment).await
        {
            let label = experiment.run.label();
            let why = error.message;
            console.warn(&format!(
                "tokens and cost of {label} are not all known: {why}"
            ));
        }
    }

    fn run(&self) -> Option<&ComparedRun> {
        self.read.as_ref().map(|read| match read {
            ReadRun::File(run) | ReadRun::Experiment(ExperimentRun { run, .. }) => run,
        })
    }

    fn into_run(self) -> anyhow::Result<ComparedRun> {
        match self.read {
            Some(ReadRun::File(run) | ReadRun::Experiment(ExperimentRun { run, .. })) => Ok(run),
            None => Err(anyhow::anyhow!("{} was not read", self.letter)),
        }
    }
}

/// The Langfuse of the settings.
async fn reader(
    options: &cli::CompareArgs,
    sources: &Sources,
    console: &Console,
) -> Result<ExperimentReader, Failure> {
    let lacking = "a plain OTLP backend has no experiments";
    let server = LangfuseServer::open(&options.destination, sources, console, lacking)?;
    let project = server.api.project().await;
    let project = project.map_err(|error| server.reader().failure(error))?.id;
    Ok(ExperimentReader { server, project })
}

/// Adds that there is no such file to a failure about missing settings: the name may be a mistyped path.
fn mention_file(mut failure: Failure, name: &str) -> Failure {
    if failure.kind == Kind::Config && failure.status.is_none() {
        let why = &failure.message;
        failure.message = format!("there is no file {name}, and to find an experiment: {why}");
    }
    failure
}
