//! Why a model call failed: its class, and a message with a hint.

use crate::failure::{Failure, Kind};

/// The class of a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelErrorKind {
    NoConnection,
    BrokenOff,
    Timeout,
    /// An HTTP error status.
    HttpError,
    /// The account has no credit left, so every request would fail.
    NoQuota,
    /// The key is invalid, so every request with it would fail.
    BadKey,
    /// The endpoint asked for a pause longer than the timeout of a call.
    LongPause,
    /// A success status with a body that is not a chat completion.
    NoCompletion,
    /// A success status with an error object in the body.
    ErrorInAnswer,
    CutStream,
    /// A stream with a chunk that is not JSON.
    GarbledStream,
}

impl ModelErrorKind {
    /// Its name in JSON output.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoConnection => "no_connection",
            Self::BrokenOff => "broken_off",
            Self::Timeout => "timeout",
            Self::HttpError => "refused",
            Self::NoQuota => "insufficient_quota",
            Self::BadKey => "bad_key",
            Self::LongPause => "rate_limited",
            Self::NoCompletion => "no_completion",
            Self::ErrorInAnswer => "error_in_answer",
            Self::CutStream => "cut_stream",
            Self::GarbledStream => "garbled_stream",
        }
    }

    /// Whether the endpoint answered with an HTTP error status.
    pub fn is_http_error(self) -> bool {
        matches!(
            self,
            Self::HttpError | Self::NoQuota | Self::BadKey | Self::LongPause
        )
    }

    /// Whether every other call to the endpoint would end the same way.
    pub fn concerns_all(self) -> bool {
        matches!(self, Self::NoQuota | Self::BadKey | Self::LongPause)
    }
}

/// Why there is no complete response.
#[derive(Clone, Debug)]
pub struct ModelError {
    pub kind: ModelErrorKind,
    /// One line, with the HTTP status and the server's own words.
    pub message: String,
    pub hint: String,
    pub status: Option<u16>,
    pub retryable: bool,
}

impl ModelError {
    /// Whether the endpoint could not be reached, or its gateway had no server that takes the request.
    pub fn is_outage(&self) -> bool {
        // Of this process; the endpoint may be well.
        let is_own_limit = self.message.contains("Too many open files");
        match self.kind {
            ModelErrorKind::NoConnection => !is_own_limit,
            kind => kind.is_http_error() && self.status.is_some_and(is_status_of_outage),
        }
    }
}

/// Whether a gateway answers like this when it has no server that takes a request.
pub fn is_status_of_outage(status: u16) -> bool {
    matches!(status, 502..=504)
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        Self::new(Kind::Model, error.message)
            .hint(error.hint)
            .status(error.status)
            .retryable(error.retryable)
    }
}
