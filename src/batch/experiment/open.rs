//! Makes a run an experiment: looks the project and the dataset up, reads the items, and refuses what cannot become one.

use std::sync::Arc;

use jiff::Timestamp;

use crate::app::delayed_note::DelayedNote;
use crate::app::managed_prompt::RunPrompt;
use crate::app::setup::Setup;
use crate::app::unread;
use crate::batch::experiment::dataset;
use crate::batch::experiment::items::{self, OwnItems};
use crate::batch::experiment::run::{ExperimentIdentity, RunExperiment};
use crate::batch::input::Input;
use crate::batch::plan::{Plan, Start, acks_path};
use crate::batch::resume::acks::AckFile;
use crate::cli;
use crate::console::Console;
use crate::failure::Failure;
use crate::langfuse::experiments::experiment_id;
use crate::langfuse::{Api, Base, Dataset, DatasetReference, Experiment};
use crate::settings::{Settings, Tracing};
use crate::trace::ExperimentContext;

/// Refuses options that only an experiment has, if the run is none. Nothing is read or sent.
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
    let server = Server::of(setup)?;
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

/// What the run that is resumed says of its experiment.
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

fn identity(name: &str, dataset: Option<&(Dataset, Timestamp)>) -> ExperimentIdentity {
    ExperimentIdentity {
        name: name.to_owned(),
        dataset: dataset.map(|(dataset, _)| dataset.name.clone()),
        version: dataset.map(|(_, version)| *version),
    }
}

/// The Langfuse of an experiment.
struct Server<'a> {
    api: &'a Api,
    /// Where its pages are.
    ui: &'a Base,
}

/// What the server knows of an experiment before the run.
struct Found {
    project_id: String,
    id: String,
    /// The experiment, if it has items.
    existing: Option<Experiment>,
    /// The dataset, and the time as which it is read.
    dataset: Option<(Dataset, Timestamp)>,
}

impl<'a> Server<'a> {
    /// # Errors
    /// If there is no Langfuse.
    fn of(setup: &'a Setup) -> Result<Self, Failure> {
        let tracing = &setup.settings.tracing;
        let langfuse = tracing
            .destination()
            .and_then(|destination| destination.langfuse.as_ref());
        if let (Some(api), Some(langfuse)) = (&setup.clients.api, langfuse) {
            return Ok(Self {
                api,
                ui: &langfuse.ui,
            });
        }
        let why = match tracing {
            Tracing::Off(switch) => format!("tracing is off: {switch}"),
            Tracing::On(_) => "a plain OTLP backend has none".to_owned(),
            Tracing::Unreachable(failure) => failure.message.clone(),
        };
        Err(
            Failure::config(format!("an experiment needs a Langfuse: {why}"))
                .hint("set LANGFUSE_BASE_URL and the keys"),
        )
    }

    /// Looks up the project, the experiments of this name and the dataset.
    ///
    /// # Errors
    /// If one of them cannot be read, or the server has no experiments.
    async fn find(
        &self,
        name: &str,
        reference: Option<&DatasetReference>,
        earlier: Option<&ExperimentIdentity>,
    ) -> Result<Found, Failure> {
        let project = self.api.project().await;
        let project = project.map_err(|error| unread::experiment("the project", &error))?;
        let known = match self.api.experiments_named(name).await {
            Ok(known) => known,
            Err(error) if error.is_unserved() => {
                return Err(unread::no_experiments(self.api, &error).await);
            }
            Err(error) => return Err(unread::experiment("the experiment", &error)),
        };
        let dataset = match reference {
            None => None,
            Some(reference) => Some(self.dataset(reference, earlier).await?),
        };
        let dataset_id = dataset.as_ref().map(|(dataset, _)| dataset.id.as_str());
        let id = experiment_id(&project.id, dataset_id.unwrap_or_default(), name);
        Ok(Found {
            existing: known.into_iter().find(|experiment| experiment.id == id),
            project_id: project.id,
            id,
            dataset,
        })
    }

    /// A dataset, and the version that is read: the one that is named, else that of the earlier run, else the newest.
    async fn dataset(
        &self,
        reference: &DatasetReference,
        earlier: Option<&ExperimentIdentity>,
    ) -> Result<(Dataset, Timestamp), Failure> {
        let name = &reference.name;
        let unread = |error| unread::experiment(&format!("the dataset `{name}`"), &error);
        let dataset = self.api.dataset(name).await.map_err(unread)?;
        let earlier = earlier.filter(|earlier| earlier.dataset.as_ref() == Some(name));
        let known = reference.version.or_else(|| earlier?.version);
        let version = match known {
            Some(version) => version,
            None => newest(self.api.dataset_changed(name).await.map_err(unread)?),
        };
        Ok((dataset, version))
    }
}

/// The time as which the newest version is read: now, in milliseconds as servers count them; or just after the last change,
/// if the clock of this machine is behind that of the server.
fn newest(changed: Option<Timestamp>) -> Timestamp {
    let now = Timestamp::now();
    let last = changed.map_or(now, |changed| now.max(changed));
    Timestamp::from_millisecond(last.as_millisecond() + 1).unwrap_or(last)
}

impl Found {
    /// The experiment of the run; `context` is what was known before.
    fn experiment(&self, context: ExperimentContext, ui: &Base, is_shared: bool) -> RunExperiment {
        let dataset = self.dataset.as_ref();
        RunExperiment {
            identity: identity(&context.name, dataset),
            context: Arc::new(ExperimentContext {
                id: Some(self.id.clone()),
                dataset_id: dataset.map(|(dataset, _)| dataset.id.clone()),
                // In milliseconds, as the server has it.
                version: dataset.map(|(_, version)| format!("{version:.3}")),
                ..context
            }),
            page: Some(ui.experiment_page(&self.project_id, &self.id)),
            is_shared,
        }
    }
}
