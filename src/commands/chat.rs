//! `langspan chat`: one prompt, one answer, one trace.

use std::io::{self, IsTerminal};
use std::path::Path;

use serde_json::Map;
use serde_json::value::RawValue;

use crate::app::hints;
use crate::app::judge::Judge;
use crate::app::managed_prompt::RunPrompt;
use crate::app::prompt::Prompt;
use crate::app::run::Run;
use crate::app::text_files::{messages, warn_of_at};
use crate::app::thread::Thread;
use crate::cli;
use crate::console::Console;
use crate::failure::{Failure, Verdict};
use crate::model::Request;
use crate::model::dialect::Feature;
use crate::settings::Sources;

/// # Errors
/// If something is wrong before anything was sent.
pub async fn run(
    options: &cli::ChatArgs,
    sources: &Sources,
    console: &Console,
) -> Result<Verdict, Failure> {
    let prompt = plan(options)?;
    let mut run = Run::open(&options.run, "chat", sources, console).await?;
    if options.cost {
        run.show_costs(sources);
    }
    let judge = Judge::new(&options.expect, run.settings().model.schema.as_ref())?;
    run.judge_answers(judge, sources);
    check(options, &run)?;
    let stream = run.settings().model.stream.as_ref();
    let stream = stream.map_or_else(|| io::stdout().is_terminal(), |stream| stream.value);
    let messages = options.messages.as_deref().map(messages).transpose()?;
    let mut earlier = messages.unwrap_or_default();
    let is_managed = options.managed.reference.is_some();
    let prompt = match prompt {
        Some(prompt) if is_managed => prompt.read_addition(console)?,
        Some(prompt) => Some(prompt.read(console)?),
        None => None,
    };
    let system = options.run.model.system.as_ref();
    for (text, what, option) in [
        (prompt.as_ref(), "prompt", "--file"),
        (system, "system message", "--system-file"),
    ] {
        if let Some(text) = text {
            warn_of_at(text, what, option, console);
        }
    }
    let managed = run.managed_prompt(&options.managed, sources).await?;
    if let Some(managed) = managed.as_ref().filter(|managed| managed.is_chat()) {
        refuse_messages_beside(managed, options, &run)?;
    }
    let thread = match &options.thread {
        Some(path) => Some(thread(path, &mut run, console).await?),
        None => None,
    };
    if let Some(thread) = &thread {
        earlier.extend(thread.messages().iter().cloned());
    }
    let mut trace = run.settings().trace.of_call();
    trace.prompt = managed.as_ref().map(RunPrompt::link);
    let text = prompt.as_deref();
    let request = if let Some(managed) = &managed {
        filled(managed, &earlier, text, stream, &run, console)?
    } else {
        let text = text.unwrap_or_default();
        let request = run.settings().model.continued(&earlier, text, stream);
        request.map_err(refused)?
    };
    // It may be megabytes long, and the request holds it too.
    drop(prompt);
    run.thread = thread;
    run.ask(request, trace).await?;
    Ok(run.finish())
}

/// Checks what can be checked before stdin is read.
fn check(options: &cli::ChatArgs, run: &Run) -> Result<(), Failure> {
    let model = &run.settings().model;
    if model.dialect().lacks(Feature::Prompt) {
        return Err(Failure::usage(format!(
            "chat has a prompt, and the dialect {} takes none",
            model.dialect().name()
        ))
        .hint("use replay or batch with a body that has `input`"));
    }
    model.check_endpoint_option()?;
    model.check_key()?;
    let field_messages = model.field_messages().map_err(refused)?;
    if options.thread.is_some() && !field_messages.is_empty() {
        return Err(
            Failure::usage("--thread and `messages` both give earlier messages")
                .hint("omit one of them"),
        );
    }
    Ok(())
}

/// What is typed or piped; with a managed prompt, that may be nothing.
fn plan(options: &cli::ChatArgs) -> Result<Option<Prompt>, Failure> {
    if options.managed.reference.is_some() {
        return Prompt::plan_addition(&options.prompt, options.no_stdin);
    }
    Prompt::plan(&options.prompt, options.no_stdin).map(Some)
}

/// A request that cannot be made as the options ask.
fn refused(why: String) -> Failure {
    Failure::usage(why).hint(hints::DIALECTS)
}

/// The request of a managed prompt. Warns of variables that it does not have.
fn filled(
    managed: &RunPrompt,
    earlier: &[Box<RawValue>],
    typed: Option<&str>,
    stream: bool,
    run: &Run,
    console: &Console,
) -> Result<Request, Failure> {
    let filled = managed.fill(&Map::new(), typed).map_err(|why| {
        Failure::input(why)
            .hint("--var KEY=TEXT gives a text, --var KEY:=JSON messages, --vars FILE all of them")
    })?;
    managed.warn_of_unused(managed.unused(), console);
    let model = &run.settings().model;
    let request = model.managed(earlier, &filled.messages, &managed.parameters);
    let request = request.and_then(|request| model.with_options(request, stream));
    request.map_err(refused)
}

/// A chat prompt is a list of messages itself.
fn refuse_messages_beside(
    managed: &RunPrompt,
    options: &cli::ChatArgs,
    run: &Run,
) -> Result<(), Failure> {
    let given = [
        (options.messages.is_some(), "--messages"),
        (options.thread.is_some(), "--thread"),
        (
            run.settings()
                .model
                .field_messages()
                .is_ok_and(|messages| !messages.is_empty()),
            "`messages`",
        ),
    ];
    match given.iter().find(|(is_given, _)| *is_given) {
        None => Ok(()),
        Some((_, other)) => Err(Failure::usage(format!(
            "the chat prompt `{}` and {other} both give messages",
            managed.link().name
        ))
        .hint("omit one of them; a placeholder of the prompt takes earlier messages")),
    }
}

/// Opens the conversation that is continued; the trace joins its session.
async fn thread(path: &Path, run: &mut Run, console: &Console) -> Result<Thread, Failure> {
    let is_dry = run.is_dry();
    let settings = run.settings_mut();
    let mut thread = if is_dry {
        Thread::peek(path)?
    } else {
        Thread::open(path, settings.model.timeout, console).await?
    };
    let system = settings.model.system.as_ref();
    if let Some(system) = system.filter(|system| system.is_flag()) {
        thread.check_system(&system.value)?;
    }
    match settings.trace.given_session() {
        Some(session) => thread.begin_session(session),
        None => settings.trace.join_session(thread.session()),
    }
    Ok(thread)
}
