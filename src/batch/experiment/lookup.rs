//! Looks up what the server knows of an experiment: the project, earlier items and the dataset.

use std::sync::Arc;

use jiff::Timestamp;

use crate::app::setup::Setup;
use crate::app::unread;
use crate::batch::experiment::run::{ExperimentIdentity, RunExperiment};
use crate::failure::Failure;
use crate::langfuse::experiments::experiment_id;
use crate::langfuse::{Api, Base, Dataset, DatasetReference, Experiment};
use crate::settings::Tracing;
use crate::trace::ExperimentContext;

/// The Langfuse of an experiment.
#[derive(Clone, Copy, Debug)]
pub struct ExperimentServer<'a> {
    pub api: &'a Api,
    /// Where its pages are.
    pub ui: &'a Base,
}

/// What the server knows of an experiment before the run.
#[derive(Debug)]
pub struct FoundExperiment {
    project_id: String,
    id: String,
    /// The experiment, if it has items.
    pub existing: Option<Experiment>,
    /// The dataset, and the version that is read.
    pub dataset: Option<(Dataset, Timestamp)>,
}

impl<'a> ExperimentServer<'a> {
    /// # Errors
    /// If there is no Langfuse.
    pub fn of(setup: &'a Setup) -> Result<Self, Failure> {
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
    pub async fn find(
        &self,
        name: &str,
        reference: Option<&DatasetReference>,
        earlier: Option<&ExperimentIdentity>,
    ) -> Result<FoundExperiment, Failure> {
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
        Ok(FoundExperiment {
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
        let dataset = self.api.dataset(name).await;
        let dataset = dataset.map_err(|error| match name.rsplit_once('@') {
            Some((_, version)) if error.is_absence => unread(error).hint(format!(
                "check the name; `{version}` is taken for a part of it: a version is a time, as in NAME@2026-11-28T22:50:03Z"
            )),
            _ => unread(error),
        })?;
        let earlier = earlier.filter(|earlier| earlier.dataset.as_ref() == Some(name));
        let known = reference.version.or_else(|| earlier?.version);
        let version = match known {
            Some(version) => version,
            None => newest(self.api.dataset_changed(name).await.map_err(unread)?),
        };
        Ok((dataset, version))
    }
}

/// The time that names the newest version: now, in milliseconds as servers count them; or just after the last change, if
/// the clock of this machine is behind that of the server.
fn newest(changed: Option<Timestamp>) -> Timestamp {
    let now = Timestamp::now();
    let last = changed.map_or(now, |changed| now.max(changed));
    Timestamp::from_millisecond(last.as_millisecond() + 1).unwrap_or(last)
}

impl FoundExperiment {
    /// The experiment of the run; `context` is what was known before.
    pub fn experiment(
        &self,
        context: ExperimentContext,
        ui: &Base,
        is_shared: bool,
    ) -> RunExperiment {
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

/// What identifies the experiment when the run is resumed.
pub fn identity(name: &str, dataset: Option<&(Dataset, Timestamp)>) -> ExperimentIdentity {
    ExperimentIdentity {
        name: name.to_owned(),
        dataset: dataset.map(|(dataset, _)| dataset.name.clone()),
        version: dataset.map(|(_, version)| *version),
    }
}
