//! `langspan chat`: one prompt, one answer, one trace.

use std::io::{self, IsTerminal};
use std::path::Path;

use crate::app::prompt::Prompt;
use crate::app::run::Run;
use crate::app::text_files::{messages, warn_of_at};
use crate::app::thread::Thread;
use crate::cli;
use crate::console::Console;
use crate::failure::{Failure, Verdict};
use crate::model::dialect::Feature;
use crate::settings::Sources;

/// # Errors
/// If something is wrong before anything was sent.
pub async fn run(
    options: &cli::ChatArgs,
    sources: &Sources,
    console: &Console,
) -> Result<Verdict, Failure> {
    let prompt = Prompt::plan(&options.prompt, options.no_stdin)?;
    let mut run = Run::open(&options.run, "chat", sources, console).await?;
    if options.cost {
        run.show_costs(sources);
    }
    let model = &run.settings().model;
    if model.dialect().lacks(Feature::Prompt) {
        return Err(Failure::usage(format!(
            "chat has a prompt answered, and {} answers none",
            model.dialect().title()
        ))
        .hint("use replay or batch with a body that has `input`"));
    }
    model.check_endpoint_option()?;
    model.check_key()?;
    let stream = run.settings().model.stream.as_ref();
    let stream = stream.map_or_else(|| io::stdout().is_terminal(), |stream| stream.value);
    let messages = options.messages.as_deref().map(messages).transpose()?;
    let mut earlier = messages.unwrap_or_default();
    let field_messages = run.settings().model.field_messages();
    let field_messages = field_messages.map_err(refused)?;
    if options.thread.is_some() && !field_messages.is_empty() {
        return Err(
            Failure::usage("--thread and `messages` both give earlier messages")
                .hint("omit one of them"),
        );
    }
    let prompt = prompt.read(console)?;
    warn_of_at(&prompt, "prompt", "--file", console);
    if let Some(system) = &options.run.model.system {
        warn_of_at(system, "system message", "--system-file", console);
    }
    let thread = match &options.thread {
        Some(path) => Some(thread(path, &mut run, console).await?),
        None => None,
    };
    if let Some(thread) = &thread {
        earlier.extend(thread.messages().iter().cloned());
    }
    let request = run.settings().model.continued(&earlier, &prompt, stream);
    let request = request.map_err(refused)?;
    let trace = run.settings().trace.of_call();
    run.thread = thread;
    run.ask(request, trace).await?;
    Ok(run.finish())
}

/// A request that cannot be made as the options ask.
fn refused(why: String) -> Failure {
    Failure::usage(why).hint("langspan help dialects tells what each dialect has")
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
