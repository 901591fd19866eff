//! Why a request to Langfuse failed, and what that means.

use std::time::Duration;

/// Why a request failed.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    pub message: String,
    /// What to do when TLS or a proxy refused the connection.
    pub hint: Option<String>,
    /// The wait that the server asked for.
    pub wait: Option<Duration>,
    /// Whether Langfuse itself says that the object does not exist. Any other 404 means that the path is not served.
    pub is_absence: bool,
    /// Whether the answer is longer than what is read.
    pub is_too_long: bool,
}

impl ApiError {
    /// There was no answer.
    pub fn unanswered(message: String) -> Self {
        Self {
            status: None,
            message,
            hint: None,
            wait: None,
            is_absence: false,
            is_too_long: false,
        }
    }

    /// Time ran out before there was an answer.
    pub fn timeout() -> Self {
        Self::unanswered("the server gave no answer in time".to_owned())
    }

    /// An answer that Langfuse does not give.
    pub(super) fn foreign(message: String) -> Self {
        Self {
            status: Some(200),
            ..Self::unanswered(message)
        }
    }

    /// Whether the server does not have this interface, so that the other one must be asked.
    pub fn is_unserved(&self) -> bool {
        self.status == Some(404) && !self.is_absence
    }

    /// Whether the same request may succeed later.
    pub fn is_passing(&self) -> bool {
        self.hint.is_none() && matches!(self.status, None | Some(408 | 429 | 500..))
    }

    /// Whether asking again is pointless.
    pub fn is_final(&self) -> bool {
        self.is_refusal() || self.is_too_long
    }

    /// Whether the server refused the keys.
    pub fn is_refusal(&self) -> bool {
        matches!(self.status, Some(401 | 403))
    }
}
