//! `langspan batch`: a file of requests, one trace for each.

use crate::app::managed_prompt::RunPrompt;
use crate::app::setup::Setup;
use crate::app::signals::SignalListener;
use crate::batch::Batch;
use crate::batch::dry_run;
use crate::batch::input::Input;
use crate::batch::plan::Plan;
use crate::cli;
use crate::console::Console;
use crate::failure::{Failure, Verdict};
use crate::settings::{CommandDefaults, Sources};

/// # Errors
/// When the run cannot start. No call was made then.
pub async fn run(
    args: &cli::BatchArgs,
    sources: &Sources,
    console: &Console,
) -> Result<Verdict, Failure> {
    let input = Input::open(&args.file)?;
    input.refuse_foreign()?;
    let mut setup = Setup::open(&args.run, &CommandDefaults::BATCH, sources, console).await?;
    let mut plan = Plan::new(args, &input, &setup.settings, sources)?;
    for warning in plan.warnings() {
        console.warn(&warning);
    }
    plan.prompt = RunPrompt::open(&args.managed, &setup, sources, console).await?;
    if let Some(prompt) = &plan.prompt {
        prompt.warn_of_unused(prompt.unused(), console);
    }
    if args.run.dry_run {
        return dry_run::show(&input.rewindable()?, &plan, &setup);
    }
    let mut batch = Batch::open(input, &mut plan, &mut setup, console)?;
    let mut signals = SignalListener::listen().map_err(anyhow::Error::from)?;
    batch.catch_up(&mut signals).await?;
    let report = batch.work(&mut signals).await?;
    Ok(report.publish(&mut signals).await)
}
