//! The pages of traces and sessions, whose links need the project's id.

use std::time::Duration;

use opentelemetry::trace::TraceId;

use crate::app::project_lookup::ProjectLookup;
use crate::langfuse::{Api, Base};
use crate::settings::{Destination, Tracing};

/// The look-up may hold up the first call for this long, so that all links have one form.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Links into Langfuse.
#[derive(Debug)]
pub struct Links {
    /// None of a backend without pages.
    ui: Option<Base>,
    lookup: ProjectLookup,
    project: Option<String>,
}

impl Links {
    /// Begins to ask for the project.
    pub fn begin(tracing: &Tracing, api: Option<&Api>) -> Self {
        let langfuse = match tracing {
            Tracing::On(destination) => {
                let Destination { langfuse, .. } = &**destination;
                langfuse.as_ref()
            }
            _ => None,
        };
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

    /// Waits a moment for the project; what is said when it is not known.
    ///
    /// # Errors
    /// One line that says why the project is not known.
    pub async fn settle(&mut self) -> Result<(), String> {
        if self.ui.is_none() {
            return Ok(());
        }
        let project = self.lookup.project(LONGEST_WAIT).await;
        let project = project.map_err(|error| error.message)?;
        self.project = Some(project.id.clone());
        Ok(())
    }

    /// The page of a trace.
    pub fn trace(&self, id: TraceId) -> Option<String> {
        let ui = self.ui.as_ref()?;
        Some(ui.trace_page(self.project.as_deref(), &id.to_string()))
    }

    /// The page of a session, once the project is known.
    pub fn session(&self, session: &str) -> Option<String> {
        let (ui, project) = (self.ui.as_ref()?, self.project.as_ref()?);
        Some(ui.session_page(project, session))
    }
}
