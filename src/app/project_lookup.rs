//! Asks which project the keys belong to: once in a run, during the first model call.

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
    Answered(Result<Project, ApiError>),
}

impl ProjectLookup {
    /// Asks, unless that was done.
    pub fn start(&mut self, api: &Api) {
        if matches!(self, Self::NotAsked) {
            let api = api.clone();
            *self = Self::Asked(tokio::spawn(async move { api.project().await }));
        }
    }

    /// The project, waited for at most `grace` from now; otherwise why it is not known.
    pub async fn project(&mut self, grace: Duration) -> Result<&Project, ApiError> {
        if let Self::Asked(asked) = self {
            let answer = match timeout(grace, asked).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(unanswered("the project look-up ended unexpectedly")),
                Err(_) => Err(unanswered("the project look-up took too long")),
            };
            *self = Self::Answered(answer);
        }
        match self {
            Self::Answered(answer) => answer.as_ref().map_err(ApiError::clone),
            _ => Err(unanswered("the project was not looked up")),
        }
    }
}

fn unanswered(why: &str) -> ApiError {
    ApiError::unanswered(why.to_owned())
}
