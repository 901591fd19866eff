//! Asks which project the keys belong to: once in a run, during the first model call.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::timeout;

use crate::langfuse::api::Project;
use crate::langfuse::{Api, ApiError};

/// An answer that several may wait for.
pub type ProjectAnswer = Shared<BoxFuture<'static, Result<Project, ApiError>>>;

/// The look-up of a run.
#[derive(Debug, Default)]
pub enum ProjectLookup {
    #[default]
    NotAsked,
    Asked(ProjectAnswer),
    Answered(Result<Project, ApiError>),
}

impl ProjectLookup {
    /// Asks, unless that was done.
    pub fn start(&mut self, api: &Api) {
        if matches!(self, Self::NotAsked) {
            let api = api.clone();
            let asked = tokio::spawn(async move { api.project().await });
            let answer = asked.map(|ended| {
                ended.unwrap_or_else(|_| Err(unanswered("the project look-up ended unexpectedly")))
            });
            *self = Self::Asked(answer.boxed().shared());
        }
    }

    /// The answer, for something that waits for it in the background.
    pub fn answer(&self) -> ProjectAnswer {
        match self {
            Self::Asked(answer) => answer.clone(),
            Self::Answered(answer) => std::future::ready(answer.clone()).boxed().shared(),
            Self::NotAsked => std::future::ready(not_asked()).boxed().shared(),
        }
    }

    /// The project, waited for at most `grace` from now; otherwise why it is not known.
    pub async fn project(&mut self, grace: Duration) -> Result<&Project, ApiError> {
        if let Self::Asked(asked) = self {
            let answer = match timeout(grace, asked).await {
                Ok(answer) => answer,
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

fn not_asked() -> Result<Project, ApiError> {
    Err(unanswered("the project was not looked up"))
}

fn unanswered(why: &str) -> ApiError {
    ApiError::unanswered(why.to_owned())
}
