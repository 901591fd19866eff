//! The question which project the keys belong to: asked once a run, beside the first model call.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::langfuse::api::Project;
use crate::langfuse::{Api, ApiError};

/// The look-up of a run.
#[derive(Debug, Default)]
pub enum ProjectLookup {
    #[default]
    NotAsked,
    Asked(JoinHandle<Result<Project, ApiError>>),
    Answered(Result<Project, String>),
}

impl ProjectLookup {
    /// Asks, unless it has been asked.
    pub fn start(&mut self, api: &Api) {
        if matches!(self, Self::NotAsked) {
            let api = api.clone();
            *self = Self::Asked(tokio::spawn(async move { api.project().await }));
        }
    }

    /// The project, waited for at most `grace` from now; otherwise one line with the reason.
    pub async fn project(&mut self, grace: Duration) -> Result<&Project, &str> {
        if let Self::Asked(asked) = self {
            let answer = match timeout(grace, asked).await {
                Ok(Ok(answer)) => answer.map_err(|error| error.message),
                Ok(Err(_)) => Err("the project look-up was lost".to_owned()),
                Err(_) => Err("the project look-up took too long".to_owned()),
            };
            *self = Self::Answered(answer);
        }
        match self {
            Self::Answered(answer) => answer.as_ref().map_err(String::as_str),
            _ => Err("the project was not looked up"),
        }
    }
}
