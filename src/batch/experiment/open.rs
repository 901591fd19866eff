//! Makes a run an experiment: reads the items, and refuses what cannot become one.

use std::sync::Arc;

use crate::app::delayed_note::DelayedNote;
use crate::app::managed_prompt::RunPrompt;
use crate::app::setup::Setup;
use crate::batch::experiment::dataset;
use crate::batch::experiment::items::{self, OwnItems};
use crate::batch::experiment::lookup::{ExperimentServer, identity};
use crate::batch::experiment::run::{ExperimentIdentity, RunExperiment};
use crate::batch::input::Input;
use crate::batch::plan::{Plan, Start, acks_path};
use crate::batch::resume::acks::AckFile;
use crate::cli;
use crate::console::Console;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::trace::ExperimentContext;

/// Refuses options that only an experiment has, unless the run is one. Nothing is read or sent.
///
/// # Errors
/// If there are any, or a dataset cannot be read because no connection may be opened.
pub fn check_options(args: &cli::BatchArgs) -> Result<(), Failure> {
    let options = &args.experiment;
    if options.dataset.is_some() && args.run.dry_run {
        return Err(Failure::usage(
            "--dry-run opens no connection, and the items of a dataset are read from Langfuse",
        )
        .hint("omit --dry-run: --limit 1 asks for one item only"));
    }
    if is_experiment(args) {
        return Ok(());
    }
    let given = [
        (
            "--experiment-description",
            options.experiment_description.is_some(),
        ),
        ("--again", options.again),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => Err(Failure::usage(format!("{option} needs an experiment"))
            .hint("add --experiment NAME or --dataset NAME")),
        None => Ok(()),
    }
}

/// Whether a run is an experiment.
pub fn is_experiment(args: &cli::BatchArgs) -> bool {
    args.experiment.dataset.is_some() || args.experiment.experiment.is_some()
}

/// Makes the run of `plan` an experiment, if it is one, and returns its input: `file`, or the items of the dataset.
///
/// # Errors
/// If there is no Langfuse with experiments, no such dataset or no item in it, or the experiment has items already.
pub async fn open(
    args: &cli::BatchArgs,
    file: Option<Input>,
    plan: &mut Plan,
    setup: &Setup,
    console: &Console,
) -> Result<Input, Failure> {
    if !is_experiment(args) {
        return file_input(file);
    }
    let earlier = earlier(plan);
    let context = context(args, earlier.as_ref(), plan, &setup.settings);
    if args.run.dry_run {
        plan.experiment = Some(RunExperiment {
            identity: identity(&context.name, None),
            context: Arc::new(context),
            page: None,
            is_shared: args.experiment.again,
        });
        return file_input(file);
    }
    let server = ExperimentServer::of(setup)?;
    warn_of_shards(args, plan, console);
    let _note = DelayedNote::new(console, "reading the dataset and the experiment …");
    let reference = args.experiment.dataset.as_ref();
    let found = server
        .find(&context.name, reference, earlier.as_ref())
        .await?;
    let experiment = found.experiment(context, server.ui, args.experiment.again);
    let is_refused = !experiment.is_shared && !matches!(plan.start, Start::Resume { .. });
    let existing = found
        .existing
        .as_ref()
        .filter(|existing| is_refused && existing.item_count > 0);
    plan.experiment = Some(experiment);
    if let (Some(existing), None) = (existing, plan.shard) {
        return Err(items::has_items(existing));
    }
    let input = match &found.dataset {
        Some((dataset, version)) => {
            dataset::read(server.api, &dataset.name, *version, plan.limit).await?
        }
        None => file_input(file)?.rewindable()?,
    };
    // Those of a dataset were compared when it was read.
    if existing.is_some() || found.dataset.is_none() {
        let own = OwnItems::read(&input, plan, &setup.settings)?;
        if let Some(existing) = existing {
            own.refuse_existing(server.api, existing).await?;
        }
    }
    Ok(input)
}

/// Warns of shards that may read different versions of the dataset.
fn warn_of_shards(args: &cli::BatchArgs, plan: &Plan, console: &Console) {
    let dataset = args.experiment.dataset.as_ref();
    let is_new = !matches!(plan.start, Start::Resume { .. });
    if let Some(dataset) = dataset.filter(|dataset| dataset.version.is_none())
        && plan.shard.is_some()
        && is_new
    {
        let name = &dataset.name;
        console.warn(&format!(
            "each shard reads the dataset as it is then: give all of them the same --dataset {name}@VERSION"
        ));
    }
}

/// The file of a run without a dataset.
fn file_input(file: Option<Input>) -> Result<Input, Failure> {
    file.ok_or_else(|| Failure::usage("there is no input").hint("name a file, or --dataset NAME"))
}

/// The experiment of the run that is resumed.
fn earlier(plan: &Plan) -> Option<ExperimentIdentity> {
    let Start::Resume { .. } = plan.start else {
        return None;
    };
    let path = acks_path(plan.out.resumable()?);
    // A file that cannot be read is reported when it is opened.
    let (run, _) = AckFile::inspect(&path).ok()??;
    run.experiment
}

/// What is known before the server is asked.
fn context(
    args: &cli::BatchArgs,
    earlier: Option<&ExperimentIdentity>,
    plan: &Plan,
    settings: &Settings,
) -> ExperimentContext {
    let given = args.experiment.experiment.as_ref();
    let name = given.or_else(|| Some(&earlier?.name)).unwrap_or(&plan.name);
    let redacted = |text: &String| settings.privacy.redact(text).into_owned();
    let prompt = plan.prompt.as_ref().map(RunPrompt::link);
    let metadata = [
        ("model", Some(settings.model.name.value.clone())),
        (
            "prompt",
            prompt.map(|link| format!("{}:{}", link.name, link.version)),
        ),
        ("commit", settings.trace.release.clone()),
    ];
    let metadata = metadata
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), redacted(&value?))));
    ExperimentContext {
        id: None,
        name: redacted(name),
        description: args
            .experiment
            .experiment_description
            .as_ref()
            .map(redacted),
        dataset_id: None,
        version: None,
        metadata: metadata.collect(),
    }
}
