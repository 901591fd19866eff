//! How an export ended, and what the answer of an OTLP endpoint means.
//!
//! An answer is an acceptance if its status is 2xx, and its body is empty, a JSON object (Langfuse answers JSON to
//! protobuf) or a protobuf response, without rejected spans. Everything else is not, such as an HTML page with status
//! 200, or a body that is too long to be read to its end.

use std::time::Duration;

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use serde_json::Value;

use crate::delivery::partial_success::{PartialSuccess, Rejected};
use crate::http::url::shown_reference;
use crate::http::{FailedPhase, TransportError, retry_after};
use crate::json;
use crate::langfuse::ApiError;

/// The most bytes of an answer. OTLP answers are short.
pub const MAX_ANSWER_BYTES: usize = 4 << 20;

/// How an export ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The endpoint accepted every span.
    Accepted { status: u16 },
    /// The endpoint accepted some spans and rejected the others. It does not say which; `rejected` is their number, if
    /// that can be read.
    Partial {
        status: u16,
        rejected: Option<i64>,
        message: String,
    },
    /// The endpoint refused the whole request.
    Rejected {
        status: u16,
        message: String,
        wait: Option<Duration>,
        repeat: Repeat,
    },
    /// The endpoint redirects to another URL.
    Redirected { status: u16, location: String },
    /// A 2xx answer with a body that an OTLP endpoint does not send.
    NotOtlp { status: u16, what: String },
    /// No answer came.
    Unreachable(TransportError),
    /// No answer came, but Langfuse can read every span.
    Confirmed,
    /// Nothing was sent, because Langfuse has every span from an earlier run.
    Present,
    /// The delivery was interrupted: the request may have left.
    Interrupted,
    /// Nothing was sent now, but spans of an earlier attempt may have arrived, and Langfuse did not say.
    Unproven,
    /// Nothing was sent, because Langfuse did not say whether it has the spans from an earlier run.
    Unasked(ApiError),
    /// Nothing was sent, for this reason.
    Unsent(String),
}

/// Whether a refused request is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    Never,
    /// The endpoint did not take it.
    Yes,
    /// The answer is one that a gateway gives after the server took the request: only the server knows.
    IfAbsent,
}

/// Who answers an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answerer {
    /// Langfuse, or a gateway before it. It can be asked for the spans.
    Langfuse,
    /// A collector or another OTLP backend.
    Otlp,
}

impl Answerer {
    /// Whether a request is sent again after this status.
    fn repeat(self, status: u16) -> Repeat {
        match (self, status) {
            (Self::Langfuse, 408 | 500 | 502 | 504 | 520..=524) => Repeat::IfAbsent,
            // With OTLP, 502 and 504 may be repeated as well.
            (_, 429 | 503) | (Self::Otlp, 502 | 504) => Repeat::Yes,
            _ => Repeat::Never,
        }
    }
}

impl Outcome {
    /// Judges an answer.
    pub fn of_answer(
        answerer: Answerer,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Self {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let code = status.as_u16();
        if status.is_success() {
            return Self::of_success(code, text(CONTENT_TYPE), body);
        }
        if status.is_redirection() {
            return Self::Redirected {
                status: code,
                location: shown_reference(text(LOCATION)),
            };
        }
        Self::Rejected {
            status: code,
            message: words(body),
            wait: retry_after(headers),
            repeat: answerer.repeat(code),
        }
    }

    fn of_success(status: u16, content_type: &str, body: &[u8]) -> Self {
        if body.len() > MAX_ANSWER_BYTES {
            // What follows may say that spans were rejected.
            return Self::Partial {
                status,
                rejected: None,
                message: format!("the answer is longer than {} MiB", MAX_ANSWER_BYTES >> 20),
            };
        }
        if body.iter().all(u8::is_ascii_whitespace) {
            return Self::Accepted { status };
        }
        let content_type = content_type.to_ascii_lowercase();
        let partial = if content_type.contains("application/x-protobuf") {
            of_protobuf(body).ok_or("a body that is not a protobuf response".to_owned())
        } else {
            PartialSuccess::of_json(body).ok_or_else(|| {
                if looks_like_html(body) {
                    "an HTML page".to_owned()
                } else {
                    format!("`{}`", words(body))
                }
            })
        };
        match partial {
            Ok(partial) => Self::of_partial(status, partial),
            Err(what) => Self::NotOtlp { status, what },
        }
    }

    fn of_partial(status: u16, partial: PartialSuccess) -> Self {
        let rejected = match partial.rejected {
            Rejected::None => return Self::Accepted { status },
            Rejected::Some(count) => Some(count),
            Rejected::Unreadable => None,
        };
        Self::Partial {
            status,
            rejected,
            message: partial.message,
        }
    }

    pub fn is_accepted(&self) -> bool {
        matches!(
            self,
            Self::Accepted { .. } | Self::Confirmed | Self::Present
        )
    }

    /// The HTTP status of the answer, if one came.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Accepted { status }
            | Self::Partial { status, .. }
            | Self::Rejected { status, .. }
            | Self::Redirected { status, .. }
            | Self::NotOtlp { status, .. } => Some(*status),
            Self::Unasked(error) => error.status,
            Self::Unreachable(_)
            | Self::Confirmed
            | Self::Present
            | Self::Interrupted
            | Self::Unproven
            | Self::Unsent(_) => None,
        }
    }

    /// Whether the same request may be accepted later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Rejected { repeat, .. } => *repeat != Repeat::Never,
            Self::Unreachable(_) => true,
            Self::Unasked(error) => error.is_passing(),
            _ => false,
        }
    }

    /// Whether spans may have arrived that are not known to be accepted.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Unreachable(error) => error.phase == FailedPhase::AfterSending,
            Self::Rejected { repeat, .. } => *repeat == Repeat::IfAbsent,
            Self::Partial { .. } | Self::Interrupted | Self::Unproven | Self::Unasked(_) => true,
            _ => false,
        }
    }

    /// Whether time ran out before an answer came.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Unreachable(error) if error.timed_out)
    }

    /// The wait that the endpoint asked for.
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::Rejected { wait, .. } => *wait,
            _ => None,
        }
    }

    /// One line: what happened.
    pub fn describe(&self) -> String {
        match self {
            Self::Accepted { status } => format!("accepted ({status})"),
            Self::Partial {
                rejected, message, ..
            } => {
                let rejected = match rejected {
                    Some(count) if message.is_empty() => {
                        format!("{count} span(s) were rejected, the others accepted")
                    }
                    Some(count) => format!("{count} span(s) were rejected"),
                    None => "it is not clear how many spans were rejected".to_owned(),
                };
                if message.is_empty() {
                    rejected
                } else {
                    format!("{rejected}: {message}")
                }
            }
            Self::Rejected {
                status, message, ..
            } if message.is_empty() => format!("answered {}", reason(*status)),
            Self::Rejected {
                status, message, ..
            } => format!("answered {}: {message}", reason(*status)),
            Self::Redirected { status, location } => {
                format!("answered {} to {location}", reason(*status))
            }
            Self::NotOtlp { status, what } => {
                format!("answered {status} with {what}, which is not an OTLP answer")
            }
            Self::Confirmed => {
                "accepted (there was no answer, but Langfuse has the spans)".to_owned()
            }
            Self::Present => "Langfuse has the spans already".to_owned(),
            Self::Unasked(error) => format!(
                "Langfuse did not say whether it has the spans already: {}",
                error.message
            ),
            Self::Interrupted => "the delivery was interrupted".to_owned(),
            Self::Unproven => "it may have arrived before; whether it did is unproven".to_owned(),
            Self::Unsent(why) => why.clone(),
            Self::Unreachable(error) if error.phase == FailedPhase::Connect => {
                format!("no connection: {}", error.message)
            }
            Self::Unreachable(error) if error.timed_out => "gave no answer in time".to_owned(),
            Self::Unreachable(error) => format!("broke off: {}", error.message),
        }
    }
}

fn reason(status: u16) -> String {
    StatusCode::from_u16(status).map_or_else(|_| status.to_string(), |status| status.to_string())
}

fn of_protobuf(body: &[u8]) -> Option<PartialSuccess> {
    let response = ExportTraceServiceResponse::decode(body).ok()?;
    let partial = response.partial_success.unwrap_or_default();
    Some(PartialSuccess {
        rejected: Rejected::of_count(partial.rejected_spans),
        message: partial.error_message,
    })
}

fn looks_like_html(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'<')
}

/// The server's own words: the message of a JSON error, else the text. Not shortened, because secrets must be found
/// before that is done.
fn words(body: &[u8]) -> String {
    if looks_like_html(body) {
        return "an HTML page".to_owned();
    }
    let json: Value = json::from_slice(body).unwrap_or(Value::Null);
    let message = [
        &json["message"],
        &json["error"],
        &json["error"]["message"],
        &json["detail"],
    ]
    .into_iter()
    .find_map(Value::as_str)
    .map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned);
    message.trim().to_owned()
}

#[cfg(test)]
mod tests;
