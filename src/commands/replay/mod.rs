//! `langspan replay`: requests are sent as they are, recordings and a provider's batches become traces, and what a trace
//! in Langfuse asked is asked again.

mod from_trace;
mod input;
mod provider_batch;

use crate::app::hints;
use crate::app::run::{Copies, Run};
use crate::cli;
use crate::console::{Console, OutputFormat};
use crate::failure::{Failure, Verdict};
use crate::http::url::shown;
use crate::model::Request;
use crate::settings::trace::refuse_keys;
use crate::settings::{self, Settings, Sources, Tracing};
use input::Document;

/// # Errors
/// When something is wrong before anything was sent.
pub async fn run(
    options: &cli::ReplayArgs,
    sources: &Sources,
    console: &Console,
) -> Result<Verdict, Failure> {
    if options.limit.is_some() && options.from_session.is_none() {
        return Err(Failure::usage("--limit needs --from-session")
            .hint("give --from-session ID, or omit --limit"));
    }
    if options.from.is_some() || options.from_session.is_some() {
        return Box::pin(from_trace::run(options, sources, console)).await;
    }
    if options.run.output.output == Some(OutputFormat::Jsonl) {
        return Err(Failure::usage("-o jsonl needs requests from Langfuse")
            .hint("give --from TRACE_ID or --from-session ID, or omit it"));
    }
    let Some(file) = &options.file else {
        return provider_batch::run(options, sources, console).await;
    };
    let api = settings::model::api(options.run.model.endpoint.api, sources)?;
    let documents = input::read(file, api.as_ref().map(settings::model::preference))?;
    let mut run = Run::open(&options.run, "replay", sources, console).await?;
    check(&documents, options.send, run.settings())?;
    if options.cost {
        run.show_costs(sources);
    }
    if documents.len() > 1 {
        run.command_start = None;
    }
    let copies = copies(&documents, options, run.settings(), console);
    for document in documents {
        match document {
            Document::Request(mut request) => {
                amend(&mut request, run.settings())?;
                let trace = run.settings().trace.of_call();
                run.ask(request, trace).await?;
            }
            Document::Recording(recording) if options.send => {
                let mut request = recording.request.clone();
                amend(&mut request, run.settings())?;
                let trace = run.settings().trace.of_recording(&recording);
                run.ask(request, trace).await?;
            }
            Document::Recording(recording) => run.emit(&recording, copies).await?,
        }
        if run.is_interrupted() {
            break;
        }
    }
    Ok(run.finish())
}

/// Changes a request as the options ask.
fn amend(request: &mut Request, settings: &Settings) -> Result<(), Failure> {
    let amended = settings.model.amend(request);
    amended.map_err(|why| Failure::usage(why).hint(hints::DIALECTS))
}

/// What becomes of recordings that were emitted before. Only a Langfuse that gets the spans itself can be asked for them.
fn copies(
    documents: &[Document],
    options: &cli::ReplayArgs,
    settings: &Settings,
    console: &Console,
) -> Copies {
    let destination = settings.tracing.destination();
    match destination {
        _ if options.again => Copies::Sent,
        Some(destination) if destination.langfuse.is_none() || destination.is_collector => {
            let mut recordings = documents.iter();
            if !options.send
                && !options.run.dry_run
                && recordings.any(|document| matches!(document, Document::Recording(_)))
            {
                console.warn(&format!(
                    "{} cannot be asked for earlier copies: a recording that was emitted before counts twice",
                    shown(&destination.target.url)
                ));
            }
            Copies::Sent
        }
        _ => Copies::LeftOut,
    }
}

/// Checks everything that can be known before the first document is used.
fn check(documents: &[Document], send: bool, settings: &Settings) -> Result<(), Failure> {
    if let Some(named) = settings
        .trace
        .named
        .as_ref()
        .filter(|_| documents.len() > 1)
    {
        return Err(Failure::usage(format!(
            "{} names one trace, but there are {} documents",
            named.origin,
            documents.len()
        ))
        .hint("leave it out: each document gets a trace of its own"));
    }
    let asks_model = |document: &Document| send || matches!(document, Document::Request(_));
    for document in documents {
        if asks_model(document) {
            let request = document.request();
            settings.model.check_key_of(request.dialect())?;
            amend(&mut request.clone(), settings)?;
        }
        check_attachments(document, send, settings)?;
        if let Document::Recording(recording) = document {
            refuse_keys(&settings.trace.of_recording(recording))?;
        }
        if let (Document::Recording(recording), false) = (document, send) {
            recording.exchange().map_err(|why| {
                Failure::input(why).hint("--send calls the model with its request")
            })?;
        }
    }
    if let Tracing::Off(switch) = &settings.tracing
        && !documents.iter().any(asks_model)
    {
        return Err(Failure::config(format!(
            "tracing is off ({switch}): a recording has nothing else to do"
        ))
        .hint("unset it to emit recordings, or call the model with --send"));
    }
    Ok(())
}

/// Attachments need a request that is sent, with a user message.
fn check_attachments(document: &Document, send: bool, settings: &Settings) -> Result<(), Failure> {
    if settings.model.attachments.is_empty() {
        return Ok(());
    }
    let request = match document {
        Document::Recording(_) if !send => {
            return Err(Failure::usage(
                "--image and --file attach to a request, and a recording is emitted as it is",
            )
            .hint("leave them out, or call the model with --send"));
        }
        document => document.request(),
    };
    if request.has_user_message() {
        Ok(())
    } else {
        Err(
            Failure::input("a request has no user message for --image and --file")
                .hint("leave them out, or add a message with the role user"),
        )
    }
}
