//! Why an attempt failed, in the server's own words, and a hint to fix it.

use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderMap, LOCATION};

use super::dialect::{self, ModelDialect};
use super::endpoint::{Endpoint, Surface};
use super::error::{ModelError, ModelErrorKind};
use super::rate_limit_headers::rate_limit_reset;
use super::server_error::{ServerError, is_html};
use crate::http::url::{shown, shown_reference};
use crate::http::{FailedPhase, LONGEST_WAIT, TransportError, proxy, retry_after};
use crate::json::lenient;

/// The status of an overloaded server of Anthropic.
const OVERLOADED: u16 = 529;

/// One attempt that failed.
#[derive(Clone, Debug)]
pub struct FailedAttempt {
    pub error: ModelError,
    /// The wait before the next attempt that the server asked for.
    pub wait: Option<Duration>,
    /// How long all calls to the server should pause, from its `retry-after` or its rate-limit headers.
    pub pause: Option<Duration>,
    /// Whether the error names `stream_options`, a field that older servers do not know.
    pub rejects_stream_options: bool,
    /// Whether the server had closed an idle connection that the attempt was sent on.
    pub is_closed_reused: bool,
}

impl From<ModelError> for FailedAttempt {
    fn from(error: ModelError) -> Self {
        Self {
            error,
            wait: None,
            pause: None,
            rejects_stream_options: false,
            is_closed_reused: false,
        }
    }
}

impl FailedAttempt {
    /// A transport failure: no response, or an incomplete one.
    pub fn no_response(endpoint: &Endpoint, error: &TransportError) -> Self {
        let place = endpoint.place();
        let (kind, what, hint) = match error.phase {
            FailedPhase::Connect => (
                ModelErrorKind::NoConnection,
                format!("no connection to the model endpoint {place}"),
                unconnected_hint(
                    endpoint.url_option(),
                    endpoint.url_variable(),
                    &error.message,
                ),
            ),
            FailedPhase::AfterSending => (
                ModelErrorKind::BrokenOff,
                format!("the response of the model endpoint {place} was cut off"),
                "run the command again; --retries N makes more attempts".to_owned(),
            ),
        };
        ModelError {
            kind,
            message: format!("{what}: {}", error.message),
            hint: if error.message.contains("Too many open files") {
                "raise the limit of open files: ulimit -n 4096".to_owned()
            } else {
                error.hint().unwrap_or(hint)
            },
            status: None,
            retryable: true,
        }
        .into()
    }

    /// An HTTP error status.
    pub fn http_error(
        endpoint: &Endpoint,
        status: StatusCode,
        headers: &HeaderMap,
        body: &str,
    ) -> Self {
        // Scrub before truncating: a truncated secret is no longer recognised.
        let body = &endpoint.scrub(body);
        let error = lenient::parse(body)
            .ok()
            .and_then(|body| ServerError::of(&body));
        let detail = match &error {
            Some(error) => error.message().to_owned(),
            None if is_html(body) => "an HTML page".to_owned(),
            None => body.trim().chars().take(300).collect(),
        };
        let is_quota = error.as_ref().is_some_and(ServerError::is_quota);
        let colon = if detail.is_empty() { "" } else { ": " };
        let should_retry = headers
            .get("x-should-retry")
            .and_then(|value| value.to_str().ok());
        let retryable = match should_retry {
            _ if is_quota => false,
            Some("true") => true,
            Some("false") => false,
            _ => matches!(status.as_u16(), 408 | 409 | 429 | 500..),
        };
        let kind = match status.as_u16() {
            _ if is_quota => ModelErrorKind::NoQuota,
            401 => ModelErrorKind::BadKey,
            _ => ModelErrorKind::HttpError,
        };
        let wait = requested_wait(headers);
        let is_busy = retryable && matches!(status.as_u16(), 429 | 503 | OVERLOADED);
        let error = ModelError {
            kind,
            message: format!(
                "the model endpoint answered {}{colon}{detail}",
                status_line(status)
            ),
            hint: if error.as_ref().is_some_and(ServerError::is_unknown_model)
                && endpoint.surface != Surface::Anthropic
            {
                format!(
                    "check the model name: langspan models lists those of {}",
                    endpoint.place()
                )
            } else {
                hint(endpoint, status, is_quota, headers)
            },
            status: Some(status.as_u16()),
            retryable,
        };
        Self {
            error,
            pause: wait
                .or_else(|| rate_limit_reset(headers))
                .filter(|_| is_busy),
            wait,
            rejects_stream_options: matches!(status.as_u16(), 400 | 422)
                && body.contains("stream_options"),
            is_closed_reused: false,
        }
    }

    /// A success status with a body that is not an answer in the dialect.
    pub fn no_completion(
        endpoint: &Endpoint,
        dialect: &dyn ModelDialect,
        status: StatusCode,
        body: &str,
    ) -> Self {
        let what = if body.trim().is_empty() {
            "an empty body".to_owned()
        } else if is_html(body) {
            "an HTML page".to_owned()
        } else {
            format!(
                "`{}`",
                endpoint.scrub(body).chars().take(80).collect::<String>()
            )
        };
        let expected = dialect.answer_name();
        let message =
            format!("the model endpoint answered {status} with {what}, which is not {expected}");
        ModelError {
            kind: ModelErrorKind::NoCompletion,
            message,
            hint: format!(
                "check the base URL {}; most end in /v1",
                shown(&endpoint.base)
            ),
            status: Some(status.as_u16()),
            retryable: false,
        }
        .into()
    }

    /// A response of the right form without a message.
    pub fn no_message(dialect: &dyn ModelDialect, status: StatusCode) -> Self {
        let what = if dialect == dialect::CHAT {
            "no choice has a message"
        } else {
            "it holds no answer"
        };
        ModelError {
            kind: ModelErrorKind::NoCompletion,
            message: format!("the model endpoint answered {status}, but {what}"),
            hint: "run the command again; -vvv shows the response".to_owned(),
            status: Some(status.as_u16()),
            retryable: false,
        }
        .into()
    }

    /// A response of more than `limit` bytes. The rest is not read.
    pub fn too_large(status: StatusCode, limit: usize) -> Self {
        ModelError {
            kind: ModelErrorKind::CutStream,
            message: format!(
                "the model's answer was cut off at {} MiB, the most that is read",
                limit >> 20
            ),
            hint: "request less output; the part received is in the trace".to_owned(),
            status: Some(status.as_u16()),
            retryable: false,
        }
        .into()
    }

    /// An error object in a response or stream with a success status.
    pub fn error_in_answer(endpoint: &Endpoint, error: &ServerError, status: StatusCode) -> Self {
        let is_overloaded = error.is_overloaded();
        ModelError {
            kind: ModelErrorKind::ErrorInAnswer,
            message: endpoint.scrub(&format!(
                "the model endpoint reported an error: {}",
                error.message()
            )),
            hint: "change the request as the endpoint says, or run the command again".to_owned(),
            status: Some(status.as_u16()),
            retryable: is_overloaded,
        }
        .into()
    }

    /// A stream with a chunk that is not JSON, so that a part of the response is missing.
    pub fn garbled_stream(status: StatusCode) -> Self {
        ModelError {
            kind: ModelErrorKind::GarbledStream,
            message: "a chunk of the model's stream is not JSON".to_owned(),
            hint: "the part received is in the trace; -vvv shows the stream".to_owned(),
            status: Some(status.as_u16()),
            retryable: false,
        }
        .into()
    }

    /// A stream that ended before its response was complete.
    pub fn cut_stream(status: StatusCode) -> Self {
        ModelError {
            kind: ModelErrorKind::CutStream,
            message: "the model's stream ended before the answer was complete".to_owned(),
            hint: "the part received is in the trace; run the command again".to_owned(),
            status: Some(status.as_u16()),
            retryable: true,
        }
        .into()
    }
}

/// A status with its reason.
fn status_line(status: StatusCode) -> String {
    match status.as_u16() {
        OVERLOADED => format!("{OVERLOADED} Overloaded"),
        _ => status.to_string(),
    }
}

/// A hint for an HTTP status.
fn hint(endpoint: &Endpoint, status: StatusCode, is_quota: bool, headers: &HeaderMap) -> String {
    if let Some(hint) = proxy::hint(status.as_u16(), &endpoint.base) {
        return hint;
    }
    let (key, place, base) = (
        endpoint.key_place(),
        endpoint.place(),
        shown(&endpoint.base),
    );
    match status.as_u16() {
        300..=399 => {
            let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
            let location = location.map_or("(no Location header)".to_owned(), shown_reference);
            let variable = endpoint.url_variable();
            format!("redirects are not followed; set {variable} to the target: {location}")
        }
        401 | 403 if endpoint.key.is_none() => format!("set {key} to a key for {place}"),
        401 | 403 => format!("check that {key} is a valid key for {place}"),
        404 if endpoint.surface == Surface::Anthropic => {
            format!("check the model name and the base URL {base}")
        }
        404 => {
            format!("check the model name (langspan models lists them) and the base URL {base}")
        }
        405 => {
            format!(
                "check the base URL {base}: the path of the API, as /chat/completions, is added to its path"
            )
        }
        429 if is_quota => {
            "the account has no quota left: add credit, or use another key".to_owned()
        }
        408 | 429 | 500.. => {
            "wait, then run the command again; --retries N makes more attempts".to_owned()
        }
        _ => "change the request as the endpoint says; --dry-run shows it".to_owned(),
    }
}

/// The wait that the server asked for: `retry-after-ms`, else `retry-after`.
fn requested_wait(headers: &HeaderMap) -> Option<Duration> {
    let milliseconds = headers
        .get("retry-after-ms")
        .and_then(|value| value.to_str().ok()?.trim().parse::<f64>().ok());
    let wait = milliseconds
        .and_then(|milliseconds| Duration::try_from_secs_f64(milliseconds / 1000.0).ok());
    wait.map(|wait| wait.min(LONGEST_WAIT))
        .or_else(|| retry_after(headers))
}

/// What to do where there is no connection to the endpoint that `option` or `variable` names.
fn unconnected_hint(option: &str, variable: &str, message: &str) -> String {
    // The words of the standard library before those of the resolver.
    if message.contains("failed to lookup address") {
        format!("check the network connection, and the host in {option} or {variable}")
    } else {
        format!("is it running, and is {option} or {variable} right?")
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_hint_tells_a_name_that_is_not_found_from_a_server_that_does_not_run() {
        let hint = |message| unconnected_hint("--url", "URL", message);
        assert_eq!(
            hint("failed to lookup address information: Name or service not known"),
            "check the network connection, and the host in --url or URL"
        );
        assert_eq!(
            hint("Connection refused (os error 111)"),
            "is it running, and is --url or URL right?"
        );
    }

    #[test]
    fn a_wait_is_read_in_milliseconds_before_seconds() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
                .collect()
        };
        assert_eq!(
            requested_wait(&headers(&[("retry-after-ms", "30"), ("retry-after", "9")])),
            Some(Duration::from_millis(30))
        );
        assert_eq!(
            requested_wait(&headers(&[("retry-after", "1.5")])),
            Some(Duration::from_millis(1500))
        );
        assert_eq!(requested_wait(&headers(&[("retry-after", "-1")])), None);
        assert_eq!(
            requested_wait(&headers(&[(
                "retry-after",
                "Thu, 01 Jan 1970 00:00:00 GMT"
            )])),
            Some(Duration::ZERO)
        );
    }
}
