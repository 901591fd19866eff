//! The state of a call.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::model::error::{ModelErrorKind, is_status_of_outage};
use crate::model::rate_limiter::Stopped;
use crate::model::stream::StreamReader;

/// A failed attempt that was followed by another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetriedAttempt {
    /// The HTTP status; `None` if there was no response.
    pub status: Option<u16>,
    /// The wait before the next attempt.
    pub wait: Duration,
}

/// The state of a call, kept outside of it so that an interrupted call can be traced too.
#[derive(Debug, Default)]
pub struct Progress {
    /// Requests sent, including the current one.
    pub attempts: u32,
    /// The attempts that were followed by another, in order.
    pub retried: Vec<RetriedAttempt>,
    /// When the first chunk of a streamed answer arrived.
    pub first_token: Option<Timestamp>,
    /// The provider's id of the last request that it answered (`x-request-id`).
    pub request_id: Option<String>,
    /// The last response with an error status.
    pub(super) error_response: Option<ErrorResponse>,
    /// Why there is no complete response.
    pub error_kind: Option<ModelErrorKind>,
    /// Why a due attempt was not made. The call then has no outcome.
    pub stopped: Option<Stopped>,
    /// Whether an event of an unknown type was noted.
    pub(super) is_unknown_noted: bool,
    /// The stream of the current attempt.
    pub(super) stream: Option<StreamReader>,
    /// The body of a complete response that is not an answer: its choices have an error or no message.
    pub(super) failed_body: Option<Value>,
}

/// A response with an HTTP error status.
#[derive(Clone, Debug)]
pub struct ErrorResponse {
    pub status: u16,
    /// The body as received, without the credentials of the call.
    pub body: String,
}

impl Progress {
    /// The response that ended the call, if it has an error status.
    pub fn error_response(&self) -> Option<&ErrorResponse> {
        let is_last = self.error_kind.is_some_and(ModelErrorKind::is_http_error);
        self.error_response.as_ref().filter(|_| is_last)
    }

    /// Whether the call ended as calls do while the endpoint is down.
    pub fn met_outage(&self) -> bool {
        match self.error_kind {
            Some(ModelErrorKind::NoConnection) => true,
            Some(ModelErrorKind::HttpError) => self
                .error_response()
                .is_some_and(|response| is_status_of_outage(response.status)),
            _ => false,
        }
    }

    /// The received part of an incomplete response, as a body.
    pub fn take_partial(&mut self) -> Option<Value> {
        let streamed = self.stream.take().filter(StreamReader::has_content);
        self.failed_body
            .take()
            .or_else(|| streamed.map(StreamReader::into_body))
    }

    /// Whether any part of an answer has been received as a stream.
    pub(super) fn has_content(&self) -> bool {
        self.stream.as_ref().is_some_and(StreamReader::has_content)
    }

    /// Whether the stream is a complete answer if it ends here.
    pub(super) fn is_whole(&self) -> bool {
        self.stream.as_ref().is_some_and(StreamReader::is_whole)
    }
}
