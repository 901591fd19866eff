//! What to say when Langfuse does not answer a question.

use crate::app::hints;
use crate::failure::{Failure, Kind};
use crate::langfuse::{Api, ApiError};

/// The remedy when nothing better is known.
pub const IS_IT_RUNNING: &str = "check LANGFUSE_BASE_URL: is the server running and reachable?";

/// What helps against a failed question, by its cause.
#[derive(Clone, Copy, Debug)]
pub struct Remedies {
    /// The object does not exist.
    pub absent: &'static str,
    /// The server does not have this interface.
    pub unserved: &'static str,
    /// The server cannot be reached, or is busy.
    pub otherwise: &'static str,
}

/// The failure of something that cannot be read; `what` names it.
pub fn failure(what: &str, error: &ApiError, remedies: &Remedies) -> Failure {
    let kind = match error.status {
        Some(404) if error.is_absence => Kind::Input,
        Some(400) => Kind::Input,
        Some(401 | 403 | 404) => Kind::Config,
        _ => Kind::Delivery,
    };
    let hint = match error.status {
        Some(401) => hints::OTHER_KEYS,
        Some(403) => hints::PROJECT_KEYS,
        Some(404) if error.is_absence => remedies.absent,
        Some(404) => remedies.unserved,
        _ => error.hint.as_deref().unwrap_or(remedies.otherwise),
    };
    Failure::new(kind, format!("{what} cannot be read: {}", error.message))
        .status(error.status)
        .retryable(error.is_passing())
        .hint(hint)
}

/// The failure of a dataset, an experiment or their project that cannot be read; `what` names it.
pub fn experiment(what: &str, error: &ApiError) -> Failure {
    let remedies = Remedies {
        absent: "check the name; Langfuse lists those of the project under Datasets",
        unserved: "check LANGFUSE_BASE_URL",
        otherwise: IS_IT_RUNNING,
    };
    failure(what, error, &remedies)
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
