//! `langspan chat`: one prompt, one answer, one trace.

use std::io::{self, IsTerminal};

use crate::app::prompt::Prompt;
use crate::app::run::Run;
use crate::cli;
use crate::console::Console;
use crate::failure::{Failure, Verdict};
use crate::settings::Sources;

/// # Errors
/// When something is wrong before anything was sent.
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
    model.check_key()?;
    let stream = model.stream.unwrap_or_else(|| io::stdout().is_terminal());
    let request = model.chat(&prompt.read(console)?, stream);
    let trace = run.settings().trace.of_call();
    run.ask(request, trace).await?;
    Ok(run.finish())
}
