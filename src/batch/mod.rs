//! `langspan batch`: many requests, one trace each.

pub mod compression;
pub mod input;
pub mod links;
pub mod output;
pub mod plan;
pub mod pool;
pub mod progress;
pub mod report;
pub mod resume;
pub mod resume_command;
pub mod stats;
pub mod summary;
pub mod verify;

use std::fs::File;

use crate::app::redeliver::Redelivery;
use crate::app::setup::Setup;
use crate::app::signals::SignalListener;
use crate::batch::input::Input;
use crate::batch::input::validate;
use crate::batch::links::Links;
use crate::batch::output::writer::Writer;
use crate::batch::plan::{Out, Plan};
use crate::batch::pool::span_queue::SpanQueue;
use crate::batch::pool::{Channels, Pool, PoolContext};
use crate::batch::report::RunReport;
use crate::batch::resume::compare::{self, Again, Compared};
use crate::batch::resume::redeliver_failed::Owed;
use crate::batch::resume::state::ResumeState;
use crate::batch::stats::Traces;
use crate::cli;
use crate::console::Console;
use crate::delivery::{Delivery, Outbox};
use crate::failure::{Failure, Kind, Signal, Verdict};
use crate::model::RateLimiter;
use crate::settings::{CommandDefaults, OutboxPlace, Sources, Tracing};
use crate::trace::spans::Dialect;

/// # Errors
/// When something is wrong before anything was sent.
pub async fn run(
    options: &cli::BatchArgs,
    sources: &Sources,
    console: &Console,
) -> Result<Verdict, Failure> {
    let input = Input::open(&options.file)?;
    let setup = Setup::open(&options.run, &CommandDefaults::BATCH, sources, console).await?;
    let mut plan = Plan::new(options, &input, &setup.settings, sources)?;
    if let Some(warning) = plan.warning() {
        console.warn(&warning);
    }
    if options.run.dry_run {
        let uploads = &setup.clients.uploads;
        return validate::show(&input.rewindable()?, &plan, &setup.settings, uploads);
    }
    let opened = open(options, input, &mut plan, &setup, console)?;
    go(options, opened, &plan, setup, console).await
}

/// The files of a run.
struct Opened {
    input: Input,
    /// The file of `--summary`.
    summary: Option<File>,
    history: ResumeState,
    compared: Compared,
}

/// Checks and opens everything that a run needs, before anything is sent.
fn open(
    options: &cli::BatchArgs,
    mut input: Input,
    plan: &mut Plan,
    setup: &Setup,
    console: &Console,
) -> Result<Opened, Failure> {
    let settings = &setup.settings;
    settings.model.check_key()?;
    if options.resume || options.strict {
        input = input.rewindable()?;
    }
    if options.strict {
        validate::check(&input, plan, settings, console)?;
    }
    let summary = options.summary.as_deref().map(report::open_summary);
    let summary = summary.transpose()?;
    let mut history = ResumeState::new(plan.ledger(options, settings)?);
    let compared = compare::compare(&input, plan, &history, settings)?;
    history.begin_notes()?;
    Ok(Opened {
        input,
        summary,
        history,
        compared,
    })
}

/// Asks, writes and delivers.
async fn go(
    options: &cli::BatchArgs,
    opened: Opened,
    plan: &Plan,
    mut setup: Setup,
    console: &Console,
) -> Result<Verdict, Failure> {
    let record = setup.record.take();
    let Opened {
        input,
        summary,
        mut history,
        mut compared,
    } = opened;
    let (settings, clients) = (&setup.settings, &setup.clients);
    let pace = RateLimiter::new(options.rpm, settings.model.timeout);
    let mut interrupt = SignalListener::listen().map_err(anyhow::Error::from)?;
    let (traces, trouble) = tokio::select! {
        caught_up = catch_up(options, plan, &setup, &input, &mut history, &compared, console) => caught_up?,
        signal = interrupt.wait() => return Err(interrupted(signal)),
    };
    let own_session = plan.own_session().filter(|_| !history.has_redone());
    compared.trace_count.own_session = own_session.map(str::to_owned);
    let tools = PoolContext {
        plan,
        settings,
        http: &clients.http,
        uploads: &clients.uploads,
        console,
        pace: &pace,
        dialect: dialect(&settings.tracing),
        is_traced: clients.exporter.is_some(),
        concurrency: options.concurrency,
        max_errors: options.max_errors,
    };
    let pages = pages(&setup, console).await;
    let ends = Channels {
        lines: input.stream().map_err(anyhow::Error::from)?,
        writer: Writer::start(plan.sink()?).map_err(anyhow::Error::from)?,
        tracer: tracer(&setup, plan),
        history,
        record,
        pages,
    };
    let mut pool = Pool::new(tools, ends, options.ordered, compared.trace_count);
    pool.tally.traces = traces;
    pool.trouble = trouble;
    pool.run(&mut interrupt, || input.part()).await;
    let ending = RunReport {
        options,
        settings,
        plan,
        api: clients.api.as_ref(),
        console,
        summary,
    };
    Ok(ending.conclude(pool.finish(), &mut interrupt).await)
}

/// The way of the traces; none when tracing is off.
fn tracer<'a>(setup: &'a Setup, plan: &Plan) -> Option<SpanQueue<'a>> {
    let budget = setup.settings.delivery.export_timeout;
    let exporter = setup.clients.exporter.as_ref();
    exporter.map(|exporter| SpanQueue::new(exporter, budget, plan.out.keep()))
}

/// Delivers the traces of failed lines that are asked again; tells what became of the first that were not accepted.
async fn deliver_failures(
    setup: &Setup,
    plan: &Plan,
    input: &Input,
    history: &mut ResumeState,
    traces: &mut Traces,
) -> Result<Option<Delivery>, Failure> {
    let Some(exports) = tracer(setup, plan) else {
        return Ok(None);
    };
    let owed = Owed {
        plan,
        settings: &setup.settings,
        dialect: dialect(&setup.settings.tracing),
        tracer: exports,
    };
    owed.deliver(input, history, traces).await
}

/// The pages of traces and sessions, with the project where it is known.
async fn pages(setup: &Setup, console: &Console) -> Links {
    let mut pages = Links::begin(&setup.settings.tracing, setup.clients.api.as_ref());
    if let Err(why) = pages.settle().await {
        console.warn(&format!(
            "the project is not known, links may ask you to log in: {why}"
        ));
    }
    pages
}

fn interrupted(signal: Signal) -> Failure {
    let message = "interrupted while the earlier run was settled";
    Failure::new(Kind::Interrupted(signal), message).hint("run it again: no line was asked")
}

/// Settles what an earlier run left, and takes out the failed lines that are asked again; tells what became of the
/// first traces that were not accepted.
async fn catch_up(
    options: &cli::BatchArgs,
    plan: &Plan,
    setup: &Setup,
    input: &Input,
    history: &mut ResumeState,
    compared: &Compared,
    console: &Console,
) -> Result<(Traces, Option<Delivery>), Failure> {
    let mut traces = settle_the_past(setup, compared, history, console).await?;
    let mut trouble = None;
    if let (true, Out::Regular(path)) = (options.retry_errors, &plan.out) {
        trouble = deliver_failures(setup, plan, input, history, &mut traces).await?;
        history.redo_failed(path, compared.last)?;
    }
    Ok((traces, trouble))
}

/// Delivers what an earlier run left in the outbox, and finds out what else of it has arrived.
async fn settle_the_past(
    setup: &Setup,
    compared: &Compared,
    history: &mut ResumeState,
    console: &Console,
) -> Result<Traces, Failure> {
    let mut traces = Traces::default();
    history.forget_unwritten()?;
    let place = setup.settings.delivery.outbox.as_ref();
    let outbox = place.and_then(|place| match place {
        OutboxPlace {
            dir: Ok(dir),
            max_bytes,
        } => Outbox::open(dir, *max_bytes).ok(),
        _ => None,
    });
    if let Some(outbox) = &outbox {
        history.find_entries(outbox);
    }
    compared
        .ask(history, setup.clients.api.as_ref(), console)
        .await;
    if let (Some(client), Tracing::On(destination)) = (&setup.clients.otlp, &setup.settings.tracing)
    {
        let redelivery = Redelivery {
            client,
            destination,
            budget: setup.settings.delivery.export_timeout,
            console,
        };
        match &outbox {
            Some(outbox) => {
                let again = Again { outbox, redelivery };
                again.deliver(history, &mut traces).await?;
            }
            // They wait where this run may not look.
            None => traces.spooled += history.spooled(),
        }
    }
    Ok(traces)
}

fn dialect(tracing: &Tracing) -> Dialect {
    match tracing {
        Tracing::On(destination) => destination.dialect,
        _ => Dialect::Langfuse,
    }
}
