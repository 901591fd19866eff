//! `langspan batch`: a file of requests, or the items of a dataset, one trace for each.

use crate::app::managed_prompt::RunPrompt;
use crate::app::setup::Setup;
use crate::app::signals::SignalListener;
use crate::batch::Batch;
use crate::batch::dry_run;
use crate::batch::experiment::open as experiment;
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
    experiment::check_options(args)?;
    let file = args.file.as_deref().map(Input::open).transpose()?;
    if let Some(file) = &file {
        file.refuse_foreign()?;
    }
    let defaults = if experiment::is_experiment(args) {
        CommandDefaults::EXPERIMENT
    } else {
        CommandDefaults::BATCH
    };
    let mut setup = Setup::open(&args.run, &defaults, sources, console).await?;
    let dataset = args.experiment.dataset.as_ref();
    let stem = dataset.map(|dataset| dataset.name.as_str());
    let stem = stem.or(file.as_ref().map(|file| file.stem.as_str()));
    let mut plan = Plan::new(args, stem.unwrap_or_default(), &setup.settings, sources)?;
    for warning in plan.warnings() {
        console.warn(&warning);
    }
    plan.prompt = RunPrompt::open(&args.managed, &setup, sources, console).await?;
    if let Some(prompt) = &plan.prompt {
        prompt.warn_of_unused(prompt.unused(), console);
    }
    let input = experiment::open(args, file, &mut plan, &setup, console).await?;
    if args.run.dry_run {
        return dry_run::show(&input.rewindable()?, &plan, &setup);
    }
    let mut batch = Batch::open(input, &mut plan, &mut setup, console)?;
    let mut signals = SignalListener::listen().map_err(anyhow::Error::from)?;
    batch.catch_up(&mut signals).await?;
    let report = batch.work(&mut signals).await?;
    Ok(report.publish(&mut signals).await)
}
