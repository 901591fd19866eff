//! Why an attempt brought no answer, in the server's own words and with what to do about it.

use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderMap, LOCATION};
use serde_json::Value;

use super::endpoint::Endpoint;
use super::rate_limiter::rate_limit_reset;
use crate::failure::{Failure, Kind};
use crate::http::{FailedPhase, LONGEST_WAIT, TransportError, retry_after};

/// What kind of trouble there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelErrorKind {
    NoConnection,
    BrokenOff,
    Timeout,
    /// An HTTP status that is no success.
    Refused,
    /// The account has nothing left: no request of it will be answered.
    NoQuota,
    /// The key is not valid: no request with it will be answered.
    BadKey,
    /// The endpoint wants to be left alone for longer than the call may take.
    LongPause,
    /// A success that is no chat completion.
    NoCompletion,
    /// An error object in an answer whose status was a success.
    ErrorInAnswer,
    CutStream,
    /// A stream of which a chunk cannot be read.
    GarbledStream,
}

impl ModelErrorKind {
    /// Its name in documents.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoConnection => "no_connection",
            Self::BrokenOff => "broken_off",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::NoQuota => "insufficient_quota",
            Self::BadKey => "bad_key",
            Self::LongPause => "rate_limited",
            Self::NoCompletion => "no_completion",
            Self::ErrorInAnswer => "error_in_answer",
            Self::CutStream => "cut_stream",
            Self::GarbledStream => "garbled_stream",
        }
    }

    /// Whether the endpoint answered with a status that is no success.
    pub fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::Refused | Self::NoQuota | Self::BadKey | Self::LongPause
        )
    }

    /// Whether every other call to the endpoint would end the same way.
    pub fn concerns_all(self) -> bool {
        matches!(self, Self::NoQuota | Self::BadKey | Self::LongPause)
    }
}

/// Why there is no whole answer.
#[derive(Clone, Debug)]
pub struct ModelError {
    pub fault: ModelErrorKind,
    /// One line, with the HTTP status and the server's own words.
    pub message: String,
    pub hint: String,
    pub status: Option<u16>,
    pub retryable: bool,
}

/// One attempt that failed.
#[derive(Clone, Debug)]
pub struct FailedAttempt {
    pub error: ModelError,
    /// How long the server asked to wait before the next.
    pub wait: Option<Duration>,
    /// How long the server wants to be left alone by everyone: it said so with a wait or by its limits.
    pub pause: Option<Duration>,
    /// Whether the refusal names `stream_options`, a field that older servers do not know.
    pub names_stream_options: bool,
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        Self::new(Kind::Model, error.message)
            .hint(error.hint)
            .status(error.status)
            .retryable(error.retryable)
    }
}

impl From<ModelError> for FailedAttempt {
    fn from(error: ModelError) -> Self {
        Self {
            error,
            wait: None,
            pause: None,
            names_stream_options: false,
        }
    }
}

impl FailedAttempt {
    /// No answer came, or not all of it.
    pub fn no_answer(endpoint: &Endpoint, error: &TransportError) -> Self {
        let place = endpoint.place();
        let (fault, what, hint) = match error.breakdown {
            FailedPhase::Connect => (
                ModelErrorKind::NoConnection,
                format!("no connection to the model endpoint {place}"),
                "is it running, and is --openai-base-url or OPENAI_BASE_URL right?",
            ),
            FailedPhase::AfterSending => (
                ModelErrorKind::BrokenOff,
                format!("the answer of the model endpoint {place} broke off"),
                "run the command again; --retries N makes more attempts",
            ),
        };
        ModelError {
            fault,
            message: format!("{what}: {}", error.message),
            hint: error.remedy().unwrap_or(hint).to_owned(),
            status: None,
            retryable: true,
        }
        .into()
    }

    /// An HTTP status that is no success.
    pub fn refused(
        endpoint: &Endpoint,
        status: StatusCode,
        headers: &HeaderMap,
        body: &str,
    ) -> Self {
        // Scrubbed before it is cut: a secret that is cut is no longer recognised.
        let body = &endpoint.scrub(body);
        let error = serde_json::from_str(body)
            .ok()
            .and_then(|body: Value| ServerError::of(&body));
        let words = match &error {
            Some(error) => error.message.clone(),
            None if is_html(body) => "an HTML page".to_owned(),
            None => body.trim().chars().take(300).collect(),
        };
        let is_quota = error.as_ref().is_some_and(ServerError::is_quota);
        let colon = if words.is_empty() { "" } else { ": " };
        let asked_to = headers
            .get("x-should-retry")
            .and_then(|value| value.to_str().ok());
        let retryable = match asked_to {
            _ if is_quota => false,
            Some("true") => true,
            Some("false") => false,
            _ => matches!(status.as_u16(), 408 | 409 | 429 | 500..),
        };
        let fault = match status.as_u16() {
            _ if is_quota => ModelErrorKind::NoQuota,
            401 => ModelErrorKind::BadKey,
            _ => ModelErrorKind::Refused,
        };
        let wait = wait_asked_for(headers);
        let is_busy = retryable && matches!(status.as_u16(), 429 | 503);
        let error = ModelError {
            fault,
            message: format!("the model endpoint answered {status}{colon}{words}"),
            hint: hint(endpoint, status, is_quota, headers),
            status: Some(status.as_u16()),
            retryable,
        };
        Self {
            error,
            pause: wait
                .or_else(|| rate_limit_reset(headers))
                .filter(|wait| is_busy && !wait.is_zero()),
            wait,
            names_stream_options: matches!(status.as_u16(), 400 | 422)
                && body.contains("stream_options"),
        }
    }

    /// A success that is no chat completion.
    pub fn no_completion(endpoint: &Endpoint, status: StatusCode, body: &str) -> Self {
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
        let message = format!(
            "the model endpoint answered {status} with {what}, which is no chat completion"
        );
        ModelError {
            fault: ModelErrorKind::NoCompletion,
            message,
            hint: format!("check the base URL {}; most end in /v1", endpoint.base),
            status: Some(status.as_u16()),
            retryable: false,
        }
        .into()
    }

    /// An error object in an answer or a stream whose status was a success.
    pub fn error_in_answer(endpoint: &Endpoint, error: &ServerError, status: StatusCode) -> Self {
        ModelError {
            fault: ModelErrorKind::ErrorInAnswer,
            message: endpoint.scrub(&format!(
                "the model endpoint reported an error: {}",
                error.message
            )),
            hint: "change the request as the endpoint says, or run it again".to_owned(),
            status: Some(status.as_u16()),
            retryable: false,
        }
        .into()
    }

    /// A stream of which a chunk cannot be read, so that a piece of the answer is missing.
    pub fn garbled_stream(status: StatusCode) -> Self {
        ModelError {
            fault: ModelErrorKind::GarbledStream,
            message: "a chunk of the model's stream is no JSON".to_owned(),
            hint: "what was received is in the trace; -vvv shows the stream".to_owned(),
            status: Some(status.as_u16()),
            retryable: false,
        }
        .into()
    }

    /// A stream that ended before its answer did.
    pub fn cut_stream(status: StatusCode) -> Self {
        ModelError {
            fault: ModelErrorKind::CutStream,
            message: "the model's stream ended before the answer was complete".to_owned(),
            hint: "what was received is in the trace; run the command again".to_owned(),
            status: Some(status.as_u16()),
            retryable: true,
        }
        .into()
    }
}

/// What to do about a status.
fn hint(endpoint: &Endpoint, status: StatusCode, is_quota: bool, headers: &HeaderMap) -> String {
    let (key, place, base) = (endpoint.key_variable(), endpoint.place(), &endpoint.base);
    match status.as_u16() {
        300..=399 => {
            let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
            let location = location.unwrap_or("(it does not say where)");
            format!(
                "redirects are not followed; set OPENAI_BASE_URL to where it points: {location}"
            )
        }
        401 | 403 if endpoint.key.is_none() => format!("set {key} to a key of {place}"),
        401 | 403 => format!("check that {key} is a valid key of {place}"),
        404 => format!("check the model's name, and the base URL {base}"),
        405 => {
            format!("check the base URL {base}: the path must end where /chat/completions follows")
        }
        429 if is_quota => {
            "the account has no quota left: add credit, or use another key".to_owned()
        }
        408 | 429 | 500.. => "wait and run it again; --retries N makes more attempts".to_owned(),
        _ => "change the request as the endpoint says; --dry-run shows it".to_owned(),
    }
}

fn is_html(body: &str) -> bool {
    body.trim_start().starts_with('<')
}

/// A server's own words.
#[derive(Clone, Debug)]
pub struct ServerError {
    message: String,
    codes: Vec<String>,
}

impl ServerError {
    /// The error of a body, in any of the shapes that compatible servers use.
    pub fn of(body: &Value) -> Option<Self> {
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        // Gemini puts its error into a list; a router may name the choice that an error befell.
        let body = body.get(0).unwrap_or(body);
        let of_choice = || {
            let choices = body["choices"].as_array().into_iter().flatten();
            choices
                .map(|choice| &choice["error"])
                .find(|error| error.is_object())
        };
        let error = Some(&body["error"]).filter(|error| !error.is_null());
        let error = error.or_else(of_choice).unwrap_or(&Value::Null);
        match error {
            Value::Object(object) if !object.is_empty() => Some(Self {
                message: text(&error["message"]).map_or_else(
                    || error.to_string(),
                    |message| message + &upstream_words(error),
                ),
                codes: [&error["code"], &error["type"]]
                    .into_iter()
                    .filter_map(text)
                    .collect(),
            }),
            Value::String(message) if !message.is_empty() => Some(Self {
                message: message.clone(),
                codes: Vec::new(),
            }),
            _ if body["choices"].is_null() => {
                let detail = [&body["detail"], &body["message"]]
                    .into_iter()
                    .find(|value| !value.is_null())?;
                let message = text(detail).unwrap_or_else(|| detail.to_string());
                Some(Self {
                    message,
                    codes: Vec::new(),
                })
            }
            _ => None,
        }
    }

    /// A 429 that no waiting heals.
    fn is_quota(&self) -> bool {
        self.codes.iter().any(|code| code == "insufficient_quota")
    }
}

/// What the provider behind a router said; the router's own message only says that it said something.
fn upstream_words(error: &Value) -> String {
    let raw = error["metadata"]["raw"].as_str().unwrap_or_default();
    if raw.is_empty() || is_html(raw) {
        return String::new();
    }
    format!(": {}", raw.chars().take(300).collect::<String>())
}

/// The wait that the server asks for: `retry-after-ms`, else `retry-after`.
fn wait_asked_for(headers: &HeaderMap) -> Option<Duration> {
    let milliseconds = headers
        .get("retry-after-ms")
        .and_then(|value| value.to_str().ok()?.trim().parse::<f64>().ok());
    let wait = milliseconds
        .and_then(|milliseconds| Duration::try_from_secs_f64(milliseconds / 1000.0).ok());
    wait.map(|wait| wait.min(LONGEST_WAIT))
        .or_else(|| retry_after(headers))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_are_read_in_every_shape() {
        let message = |body: Value| ServerError::of(&body).map(|error| error.message);
        assert_eq!(
            message(json!({"error": {"message": "m", "code": 400}})).as_deref(),
            Some("m")
        );
        assert_eq!(message(json!({"error": "m"})).as_deref(), Some("m"));
        assert_eq!(
            message(json!({"detail": [{"msg": "m"}]})).as_deref(),
            Some(r#"[{"msg":"m"}]"#)
        );
        assert_eq!(
            message(json!([{"error": {"message": "m", "status": "INVALID_ARGUMENT"}}])).as_deref(),
            Some("m")
        );
        assert_eq!(
            message(json!({"choices": [{"message": {}}, {"error": {"message": "m"}}]})).as_deref(),
            Some("m")
        );
        assert_eq!(message(json!({"choices": [], "error": null})), None);
        assert_eq!(message(json!({"choices": [{"error": null}]})), None);
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
            wait_asked_for(&headers(&[("retry-after-ms", "30"), ("retry-after", "9")])),
            Some(Duration::from_millis(30))
        );
        assert_eq!(
            wait_asked_for(&headers(&[("retry-after", "1.5")])),
            Some(Duration::from_millis(1500))
        );
        assert_eq!(wait_asked_for(&headers(&[("retry-after", "-1")])), None);
        assert_eq!(
            wait_asked_for(&headers(&[(
                "retry-after",
                "Thu, 01 Jan 1970 00:00:00 GMT"
            )])),
            Some(Duration::ZERO)
        );
    }
}
