//! Links to traces and sessions in Langfuse. They contain the project id, which has to be looked up.

use std::time::Duration;

use opentelemetry::trace::TraceId;

use crate::app::project_lookup::{ProjectAnswer, ProjectLookup};
use crate::langfuse::{Api, Base};
use crate::settings::Tracing;

/// The look-up delays the first call by at most this, so that all links have the same form.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Links into Langfuse.
#[derive(Debug)]
pub struct Links {
    /// `None` for a backend without pages.
    ui: Option<Base>,
    lookup: ProjectLookup,
    project: Option<String>,
}

impl Links {
    /// Starts the look-up of the project.
    pub fn start(tracing: &Tracing, api: Option<&Api>) -> Self {
        let destination = tracing.destination();
        let langfuse = destination.and_then(|destination| destination.langfuse.as_ref());
        let mut lookup = ProjectLookup::default();
        if let Some(api) = api {
            lookup.start(api);
        }
        Self {
            ui: langfuse.map(|langfuse| langfuse.ui.clone()),
            lookup,
            project: None,
        }
    }

    /// The project, for something that waits for it in the background.
    pub fn project(&self) -> ProjectAnswer {
        self.lookup.answer()
    }

    /// Waits up to [`LONGEST_WAIT`] for the project.
    ///
    /// # Errors
    /// One line that says why the project is not known.
    pub async fn wait_for_project(&mut self) -> Result<(), String> {
        if self.ui.is_none() {
            return Ok(());
        }
        let project = self.lookup.project(LONGEST_WAIT).await;
        let project = project.map_err(|error| error.message)?;
        self.project = Some(project.id.clone());
        Ok(())
    }

    /// The link to a trace.
    pub fn trace(&self, id: TraceId) -> Option<String> {
        let ui = self.ui.as_ref()?;
        Some(ui.trace_page(self.project.as_deref(), &id.to_string()))
    }

    /// The link to a session; `None` while the project is not known.
    pub fn session(&self, session: &str) -> Option<String> {
        let (ui, project) = (self.ui.as_ref()?, self.project.as_ref()?);
        Some(ui.session_page(project, session))
    }
}
