//! What to say when Langfuse does not answer a question about a dataset or an experiment.

use crate::app::hints;
use crate::failure::{Failure, Kind};
use crate::langfuse::{Api, ApiError};

/// The failure of something that cannot be read; `what` names it.
pub fn failure(what: &str, error: &ApiError) -> Failure {
    let kind = match error.status {
        Some(404) if error.is_absence => Kind::Input,
        Some(400) => Kind::Input,
        Some(401 | 403 | 404) => Kind::Config,
        _ => Kind::Delivery,
    };
    let hint = match error.status {
        Some(404) if error.is_absence => {
            Some("check the name; Langfuse lists those of the project under Datasets".to_owned())
        }
        Some(401) => Some(
            "check that LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY are of this server's project"
                .to_owned(),
        ),
        Some(403) => Some(hints::PROJECT_KEYS.to_owned()),
        Some(404) => Some("check LANGFUSE_BASE_URL".to_owned()),
        _ => error.hint.clone().or_else(|| {
            Some("check LANGFUSE_BASE_URL: is the server running and reachable?".to_owned())
        }),
    };
    let is_passing = error.is_passing();
    Failure::new(kind, format!("{what} cannot be read: {}", error.message))
        .status(error.status)
        .retryable(is_passing)
        .hints([hint])
}

/// The failure of a server that has no experiments.
pub async fn no_experiments(api: &Api, error: &ApiError) -> Failure {
    let server = match api.health().await {
        Ok(version) => format!("Langfuse {version}"),
        Err(_) => api.base().to_string(),
    };
    let message = format!(
        "{server} has no experiments, which need version 4: {}",
        error.message
    );
    Failure::config(message)
        .status(error.status)
        .hint("upgrade the server; without an experiment, batch FILE sends traces and scores to it")
}
