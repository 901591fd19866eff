//! `replay --from` and `--from-session`: takes the requests of generations out of Langfuse, and asks again or prints them
//! as lines of a batch.
//!
//! [`input`] and [`forms`] read what a trace shows of a request, whichever tool made it; [`parameters`] its parameters;
//! [`restored`] makes a request of both, after [`content`] has checked that the texts are whole and has fetched images
//! and files. Everything is read and checked before anything is sent.

mod choice;
mod content;
mod forms;
mod input;
mod lines;
mod parameters;
mod restored;

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::app::langfuse_server::LangfuseServer;
use crate::app::run::Run;
use crate::app::trace_reader::{DEFAULT_WAIT, TraceReader, patiently};
use crate::app::trace_reference::{observation, trace_id};
use crate::cli;
use crate::console::{Console, OutputFormat, counted};
use crate::failure::{Failure, Kind, Verdict};
use crate::langfuse::Row;
use crate::langfuse::trace_rows::TraceQuery;
use crate::model::Request;
use crate::output::Printer;
use crate::settings::{self, Sources};
use crate::trace::{PromptLink, Trace};
use content::Contents;

/// The metadata of the new trace that names the old one, and its generation.
const REPLAYED_FROM: &str = "replayed_from";
const REPLAYED_OBSERVATION: &str = "replayed_observation";
/// The wait between two looks for a session.
const POLL: Duration = Duration::from_secs(2);

/// A request that a trace in Langfuse shows.
#[derive(Debug)]
struct TracedRequest {
    request: Request,
    trace_id: String,
    observation_id: String,
    prompt: Option<PromptLink>,
}

impl TracedRequest {
    fn origin(&self) -> [(String, String); 2] {
        [
            (REPLAYED_FROM.to_owned(), self.trace_id.clone()),
            (REPLAYED_OBSERVATION.to_owned(), self.observation_id.clone()),
        ]
    }

    /// What the new call belongs to.
    fn trace(&self, mut trace: Trace) -> Trace {
        let origin = self.origin();
        trace
            .metadata
            .retain(|(key, _)| origin.iter().all(|(own, _)| own != key));
        trace.metadata.extend(origin);
        trace.prompt.clone_from(&self.prompt);
        trace
    }
}

/// # Errors
/// When something is wrong before anything was sent.
pub async fn run(
    options: &cli::ReplayArgs,
    sources: &Sources,
    console: &Console,
) -> Result<Verdict, Failure> {
    let prints_lines = options.run.output.output == Some(OutputFormat::Jsonl);
    refuse(options, prints_lines)?;
    let mut run = Run::open(&options.run, "replay", sources, console).await?;
    let taken = take(options, &run, sources, console).await?;
    if prints_lines {
        return Ok(print(&taken, &options.run.trace, console));
    }
    for taken in &taken {
        run.settings().model.check_key_of(taken.request.dialect())?;
    }
    if let Some(named) = &run.settings().trace.named
        && taken.len() > 1
    {
        let count = counted(taken.len() as u64, "generation");
        return Err(Failure::usage(format!(
            "{} names one trace, but there are {count}",
            named.origin
        ))
        .hint("leave it out: each generation gets a trace of its own"));
    }
    if options.cost {
        run.show_costs(sources);
    }
    // The time in which Langfuse was read is not part of the call.
    run.command_start = None;
    for taken in taken {
        let trace = taken.trace(run.settings().trace.of_call());
        run.ask(taken.request, trace).await?;
        if run.is_interrupted() {
            break;
        }
    }
    Ok(run.finish())
}

/// Refuses options that make no sense together.
fn refuse(options: &cli::ReplayArgs, prints_lines: bool) -> Result<(), Failure> {
    if options.run.dry_run {
        return Err(
            Failure::usage("--dry-run opens no connection, and --from reads Langfuse")
                .hint("-o jsonl prints the request, and calls no model"),
        );
    }
    if !prints_lines {
        return Ok(());
    }
    let (run, trace, delivery) = (&options.run, &options.run.trace, &options.run.delivery);
    let without_lines = [
        (options.cost, "--cost"),
        (run.record.is_some(), "--record"),
        (run.privacy.capture.is_some(), "--capture"),
        (!run.privacy.redact.is_empty(), "--redact"),
        (run.privacy.no_media, "--no-media"),
        (delivery.verify, "--verify"),
        (delivery.best_effort, "--best-effort"),
        (delivery.export_timeout.is_some(), "--export-timeout"),
        (delivery.no_outbox, "--no-outbox"),
        (delivery.sample.is_some(), "--sample"),
        (run.model.retries.is_some(), "--retries"),
        (run.model.timeout.is_some(), "--timeout"),
        (trace.environment.is_some(), "--environment"),
        (trace.release.is_some(), "--release"),
        (trace.trace_version.is_some(), "--trace-version"),
        (trace.public, "--public"),
        (trace.ci, "--ci"),
        (trace.trace_seed.is_some(), "--trace-seed"),
        (trace.trace_id.is_some(), "--trace-id"),
        (trace.traceparent.is_some(), "--traceparent"),
        (trace.join, "--join"),
    ];
    match without_lines.iter().find(|(is_given, _)| *is_given) {
        None => Ok(()),
        Some((_, option)) => Err(Failure::usage(format!(
            "{option} has no effect on the lines of -o jsonl"
        ))
        .hint("give it to the command that sends them, such as langspan batch")),
    }
}

/// Reads the generations, and makes requests of them as the options ask.
async fn take(
    options: &cli::ReplayArgs,
    run: &Run,
    sources: &Sources,
    console: &Console,
) -> Result<Vec<TracedRequest>, Failure> {
    let wait = settings::wait(&options.run.delivery.wait, DEFAULT_WAIT, sources)?;
    let settings = run.settings();
    // Where tracing is off, there is still something to read.
    let opened = match (run.langfuse(), settings.tracing.destination()) {
        (Some(_), Some(_)) => None,
        _ => Some(LangfuseServer::open(
            &options.run.destination,
            sources,
            console,
            "a plain OTLP backend cannot be asked for a trace",
        )?),
    };
    let reader = match (&opened, run.langfuse(), settings.tracing.destination()) {
        (None, Some(api), Some(destination)) => TraceReader {
            api,
            settings: (destination, &settings.notes),
        },
        (Some(server), ..) => server.reader(),
        (None, ..) => return Ok(Vec::new()),
    };
    let taking = async {
        let rows = rows(options, reader, wait, console).await?;
        let mut contents = Contents::new(reader);
        let mut taken = Vec::new();
        for row in &rows {
            let refused = |failure| refused(row, failure);
            let mut input = input::of_row(row).map_err(refused)?;
            let completed = contents.complete(row, &mut input.content).await;
            completed.map_err(refused)?;
            let restored = restored::request(row, input, &settings.model).map_err(refused)?;
            for warning in restored.warnings {
                console.warn(&warning);
            }
            let mut request = restored.request;
            super::amend(&mut request, settings)?;
            taken.push(TracedRequest {
                request,
                trace_id: row.text("traceId").unwrap_or_default().to_owned(),
                observation_id: row.id().to_owned(),
                prompt: prompt(row),
            });
        }
        contents.warn(console);
        Ok(taken)
    };
    patiently(taking, wait, console).await
}

/// The generations that the options name.
async fn rows(
    options: &cli::ReplayArgs,
    reader: TraceReader<'_>,
    wait: Duration,
    console: &Console,
) -> Result<Vec<Row>, Failure> {
    if let Some(session) = &options.from_session {
        let most = options
            .limit
            .map(|most| usize::try_from(most).unwrap_or(usize::MAX));
        return session_rows(session, most, reader, wait).await;
    }
    let from = options.from.as_deref().unwrap_or_default();
    let (destination, _) = reader.settings;
    let query = TraceQuery {
        trace_id: trace_id(from, destination)?,
        window: None,
        with_metadata: true,
    };
    let rows = reader.whole(&query, wait).await?;
    let chosen = choice::choose(
        &rows,
        observation(from).as_deref(),
        &query.trace_id,
        console,
    )?;
    Ok(vec![chosen.clone()])
}

/// The generations of a session, waited for until there are any.
async fn session_rows(
    session: &str,
    most: Option<usize>,
    reader: TraceReader<'_>,
    wait: Duration,
) -> Result<Vec<Row>, Failure> {
    let deadline = Instant::now() + wait;
    loop {
        let asked = reader.api.session_generations(session, most).await;
        let rows = asked.map_err(|error| reader.failure(error))?;
        if !rows.is_empty() {
            return Ok(rows);
        }
        let next = Instant::now() + POLL;
        if next > deadline {
            let message = format!("no generation of the session `{session}` was found");
            return Err(Failure::new(Kind::NotReadable, message)
                .retryable(true)
                .hint("check its id; a new trace takes some seconds to appear: --wait SECS"));
        }
        sleep_until(next).await;
    }
}

/// The managed prompt that the generation was linked to.
fn prompt(row: &Row) -> Option<PromptLink> {
    let version = row.field("promptVersion");
    let version = version
        .as_u64()
        .or_else(|| version.as_str()?.parse().ok())?;
    let name = row.text("promptName")?.to_owned();
    Some(PromptLink { name, version })
}

/// The failure of a generation that cannot be asked again.
fn refused(row: &Row, mut failure: Failure) -> Failure {
    let trace = row.text("traceId").unwrap_or_default();
    failure.message = format!(
        "the generation {} of trace {trace} cannot be replayed: {}",
        row.id(),
        failure.message
    );
    failure
}

/// Prints the requests as lines of a batch.
fn print(taken: &[TracedRequest], trace: &cli::TraceArgs, console: &Console) -> Verdict {
    let mut printer = Printer::new(OutputFormat::Jsonl);
    for taken in taken {
        printer.document(&lines::line(taken, trace));
    }
    let mut verdict = Verdict::default();
    if let Some(failure) = printer.take_failure() {
        console.error(&failure);
        verdict.add(failure.kind);
    }
    verdict
}
