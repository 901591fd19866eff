//! Asks an endpoint for a completion: attempts, waits, streams. What fails is a value, since a failed call is
//! traced as well.

use std::time::Duration;

use anyhow::Context;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use jiff::Timestamp;
use reqwest::Response;
use serde_json::Value;
use tokio::time::Instant;

use super::completion::Completion;
use super::endpoint::{Endpoint, Surface};
use super::request::Request;
use super::sse::Decoder;
use super::stream::Assembly;
use crate::console::Console;
use crate::failure::{Failure, Kind};
use crate::http::{Breakdown, TransportError};
use crate::secret::{Secret, scrub};

/// Where an answer goes while it arrives.
pub trait Sink {
    /// More text of the first choice of a stream.
    fn text(&mut self, text: &str);
    /// The provider's bytes, of a stream as they arrive.
    fn raw(&mut self, bytes: &[u8]);
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The body as received; of a stream, the body that it amounts to.
    pub body: String,
    pub completion: Completion,
}

/// Why there is no whole answer.
#[derive(Clone, Debug)]
pub struct ModelError {
    /// One line, with the HTTP status and the server's own words.
    pub message: String,
    pub hint: Option<String>,
    pub status: Option<u16>,
    pub retryable: bool,
}

/// What is known of a call at any moment, so that an interrupted one can be traced too.
#[derive(Debug, Default)]
pub struct Progress {
    /// Requests made, the present one included.
    pub attempts: u32,
    /// When the first chunk of a streamed answer arrived.
    pub first_token: Option<Timestamp>,
    assembly: Assembly,
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        let ModelError {
            message,
            hint,
            status,
            retryable,
        } = error;
        Self {
            kind: Kind::Model,
            message,
            hint,
            status,
            retryable,
        }
    }
}

impl Progress {
    /// What was received of a stream, as a body.
    pub fn into_partial(self) -> Option<Value> {
        self.assembly
            .has_content()
            .then(|| self.assembly.into_body())
    }
}

/// A client of one endpoint.
#[derive(Debug)]
pub struct Client<'a> {
    pub http: &'a reqwest::Client,
    pub endpoint: &'a Endpoint,
    /// Further attempts after the first.
    pub retries: u32,
    /// Bounds all attempts and the whole stream.
    pub timeout: Duration,
    pub console: &'a Console,
}

/// One attempt that failed, and whether another may follow.
struct Attempt {
    error: ModelError,
    /// How long the server asked to wait.
    wait: Option<Duration>,
}

/// The longest wait that a server may ask for; beyond it the call fails at once, as in the official SDK.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(8);

impl Client<'_> {
    /// Asks for a completion of `request`. `progress` tells afterwards what happened on the way.
    ///
    /// # Errors
    /// When no attempt brought a whole answer.
    pub async fn complete(
        &self,
        request: &Request,
        traceparent: Option<&str>,
        sink: &mut dyn Sink,
        progress: &mut Progress,
    ) -> Result<Answer, ModelError> {
        let deadline = Instant::now() + self.timeout;
        let attempts = self.attempts(request, traceparent, sink, progress, deadline);
        match tokio::time::timeout_at(deadline, attempts).await {
            Ok(result) => result,
            Err(_) => Err(ModelError {
                message: format!(
                    "the model gave no whole answer within {} s",
                    self.timeout.as_secs_f64()
                ),
                hint: Some("raise --timeout, or ask for less".to_owned()),
                status: None,
                retryable: true,
            }),
        }
    }

    async fn attempts(
        &self,
        request: &Request,
        traceparent: Option<&str>,
        sink: &mut dyn Sink,
        progress: &mut Progress,
        deadline: Instant,
    ) -> Result<Answer, ModelError> {
        let mut request = request.clone();
        let mut retries = 0;
        loop {
            progress.attempts += 1;
            let Attempt { error, wait } =
                match self.attempt(&request, traceparent, sink, progress).await {
                    Ok(answer) => return Ok(answer),
                    Err(attempt) => attempt,
                };
            if refuses_stream_options(&error) && request.raw("stream_options").is_some() {
                self.console.detail(1, || {
                    "the endpoint knows no stream_options: asking without".to_owned()
                });
                request.remove("stream_options");
                progress.attempts -= 1;
                continue;
            }
            let wait = wait.unwrap_or_else(|| backoff(retries));
            let may_retry =
                error.retryable && !progress.assembly.has_content() && retries < self.retries;
            if !may_retry || wait > LONGEST_WAIT || Instant::now() + wait >= deadline {
                return Err(error);
            }
            self.console.detail(1, || {
                format!("retrying in {} ms: {}", wait.as_millis(), error.message)
            });
            tokio::time::sleep(wait).await;
            retries += 1;
        }
    }

    async fn attempt(
        &self,
        request: &Request,
        traceparent: Option<&str>,
        sink: &mut dyn Sink,
        progress: &mut Progress,
    ) -> Result<Answer, Attempt> {
        let url = self.endpoint.url(&request.model().unwrap_or_default());
        let mut headers = self.endpoint.headers();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(Ok(value)) = traceparent.map(HeaderValue::from_str) {
            headers.insert("traceparent", value);
        }
        let body = request.to_json();
        self.console
            .detail(1, || format!("> POST {url} ({} bytes)", body.len()));
        self.console
            .detail(2, || format!("> {headers:?}\n> {body}"));
        let response = self.http.post(url).headers(headers).body(body).send().await;
        let response = response.map_err(|error| self.no_answer(&error.into()))?;
        self.console
            .detail(1, || format!("< {}", response.status()));
        self.console
            .detail(2, || format!("< {:?}", response.headers()));
        if !response.status().is_success() {
            return Err(self.refused(response).await);
        }
        let content_type = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        if content_type.is_some_and(|value| value.starts_with("text/event-stream")) {
            self.read_stream(response, sink, progress).await
        } else {
            self.read_body(response, sink).await
        }
    }

    async fn read_body(&self, response: Response, sink: &mut dyn Sink) -> Result<Answer, Attempt> {
        let status = response.status();
        let bytes = response
            .bytes()
            .await
            .map_err(|error| self.no_answer(&error.into()))?;
        self.console
            .detail(2, || format!("< {}", String::from_utf8_lossy(&bytes)));
        let text = String::from_utf8_lossy(&bytes);
        let body: Value = match serde_json::from_str(&text) {
            Ok(body @ Value::Object(_)) => body,
            _ => return Err(self.no_completion(status, &text)),
        };
        if let Some(error) = error_of(&body) {
            return Err(self.error_in_answer(&error, status));
        }
        if !body["choices"].is_array() {
            return Err(self.no_completion(status, &text));
        }
        sink.raw(&bytes);
        Ok(Answer {
            completion: Completion::from_body(&body),
            body: text.into_owned(),
        })
    }

    async fn read_stream(
        &self,
        mut response: Response,
        sink: &mut dyn Sink,
        progress: &mut Progress,
    ) -> Result<Answer, Attempt> {
        let status = response.status();
        let mut decoder = Decoder::default();
        let mut done = false;
        while let Some(bytes) = response
            .chunk()
            .await
            .map_err(|error| self.no_answer(&error.into()))?
        {
            self.console
                .detail(3, || format!("< {}", String::from_utf8_lossy(&bytes)));
            sink.raw(&bytes);
            for event in decoder.push(&bytes) {
                if event.starts_with("[DONE]") {
                    done = true;
                    continue;
                }
                // A line that is no JSON is a server's private notice; the rest of the stream tells what counts.
                let Ok(chunk) = serde_json::from_str::<Value>(&event) else {
                    continue;
                };
                if let Some(error) = error_of(&chunk) {
                    return Err(self.error_in_answer(&error, status));
                }
                let text = progress.assembly.push(chunk);
                if progress.assembly.has_content() {
                    progress.first_token.get_or_insert_with(Timestamp::now);
                }
                if let Some(text) = text {
                    sink.text(&text);
                }
            }
        }
        if !done && !progress.assembly.has_finished() {
            return Err(Attempt {
                error: ModelError {
                    message: "the model's stream ended before the answer was complete".to_owned(),
                    hint: Some(
                        "what was received is in the trace; run the command again".to_owned(),
                    ),
                    status: Some(status.as_u16()),
                    retryable: true,
                },
                wait: None,
            });
        }
        let body = std::mem::take(&mut progress.assembly).into_body();
        Ok(Answer {
            completion: Completion::from_body(&body),
            body: body.to_string(),
        })
    }

    /// No answer came, or not all of it.
    fn no_answer(&self, error: &TransportError) -> Attempt {
        let place = place(&self.endpoint.base);
        let (message, hint) = match (error.breakdown, error.timed_out) {
            (Breakdown::Connect, _) => (
                format!(
                    "no connection to the model endpoint {place}: {}",
                    error.message
                ),
                "is it running, and is --openai-base-url or OPENAI_BASE_URL right?",
            ),
            (Breakdown::AfterSending, _) => (
                format!(
                    "the answer of the model endpoint {place} broke off: {}",
                    error.message
                ),
                "run the command again; --retries N makes more attempts",
            ),
        };
        let error = ModelError {
            message,
            hint: Some(hint.to_owned()),
            status: None,
            retryable: true,
        };
        Attempt { error, wait: None }
    }

    /// An HTTP status that is no success.
    async fn refused(&self, response: Response) -> Attempt {
        let status = response.status();
        let headers = response.headers().clone();
        let body = response.bytes().await.unwrap_or_default();
        self.console
            .detail(2, || format!("< {}", String::from_utf8_lossy(&body)));
        let text = String::from_utf8_lossy(&body);
        let error = serde_json::from_str(&text)
            .ok()
            .and_then(|body: Value| error_of(&body));
        let words = match &error {
            Some(error) => error.message.clone(),
            None if text.trim_start().starts_with('<') => "an HTML page".to_owned(),
            None => text.trim().chars().take(300).collect(),
        };
        let code = error.and_then(|error| error.code).unwrap_or_default();
        let colon = if words.is_empty() { "" } else { ": " };
        let message = format!("the model endpoint answered {status}{colon}{words}");
        let asked_to = headers
            .get("x-should-retry")
            .and_then(|value| value.to_str().ok());
        let retryable = match asked_to {
            _ if code == "insufficient_quota" => false,
            Some("true") => true,
            Some("false") => false,
            _ => matches!(status.as_u16(), 408 | 409 | 429 | 500..),
        };
        let error = ModelError {
            message: self.scrub(&message),
            hint: Some(self.hint(status, &code, &headers)),
            status: Some(status.as_u16()),
            retryable,
        };
        Attempt {
            error,
            wait: wait_asked_for(&headers),
        }
    }

    /// What to do about a status.
    fn hint(&self, status: StatusCode, code: &str, headers: &HeaderMap) -> String {
        let place = place(&self.endpoint.base);
        let key = match self.endpoint.surface {
            Surface::OpenAi => "OPENAI_API_KEY",
            _ => "AZURE_OPENAI_API_KEY",
        };
        match status.as_u16() {
            300..=399 => format!(
                "redirects are not followed; set OPENAI_BASE_URL to where it points: {}",
                headers
                    .get("location")
                    .and_then(|value| value.to_str().ok())
                    .unwrap_or("(no location)")
            ),
            401 | 403 if self.endpoint.key.is_none() => format!("set {key} to a key of {place}"),
            401 | 403 => format!("check that {key} is a valid key of {place}"),
            404 => format!(
                "check the model's name, and the base URL {}",
                self.endpoint.base
            ),
            405 => format!(
                "check the base URL {}: the path must end where /chat/completions follows",
                self.endpoint.base
            ),
            429 if code == "insufficient_quota" => {
                "the account has no quota left: add credit, or use another key".to_owned()
            }
            408 | 429 | 500.. => {
                "wait and run it again; --retries N makes more attempts".to_owned()
            }
            _ => "change the request as the endpoint says; --dry-run shows it".to_owned(),
        }
    }

    /// A success that is no chat completion.
    fn no_completion(&self, status: StatusCode, body: &str) -> Attempt {
        let what = if body.trim().is_empty() {
            "an empty body".to_owned()
        } else if body.trim_start().starts_with('<') {
            "an HTML page".to_owned()
        } else {
            format!("`{}`", body.chars().take(80).collect::<String>())
        };
        Attempt {
            error: ModelError {
                message: self.scrub(&format!(
                    "the model endpoint answered {status} with {what}, which is no chat completion"
                )),
                hint: Some(format!(
                    "check the base URL {}; most end in /v1",
                    self.endpoint.base
                )),
                status: Some(status.as_u16()),
                retryable: false,
            },
            wait: None,
        }
    }

    /// An error object in an answer or a stream whose status was a success.
    fn error_in_answer(&self, error: &ServerError, status: StatusCode) -> Attempt {
        Attempt {
            error: ModelError {
                message: self.scrub(&format!(
                    "the model endpoint reported an error: {}",
                    error.message
                )),
                hint: Some("change the request as the endpoint says, or run it again".to_owned()),
                status: Some(status.as_u16()),
                retryable: false,
            },
            wait: None,
        }
    }

    /// Servers quote keys; traces and messages must not.
    fn scrub(&self, text: &str) -> String {
        let headers = self
            .endpoint
            .headers
            .values()
            .filter_map(|value| value.to_str().ok().map(Secret::new));
        let secrets: Vec<Secret> = self.endpoint.key.iter().cloned().chain(headers).collect();
        scrub(text, &secrets)
    }
}

/// A server's own words.
struct ServerError {
    message: String,
    code: Option<String>,
}

/// The error object of a body, in any of the shapes that compatible servers use.
fn error_of(body: &Value) -> Option<ServerError> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let error = &body["error"];
    match error {
        Value::Object(object) if !object.is_empty() => Some(ServerError {
            message: text(&error["message"]).unwrap_or_else(|| error.to_string()),
            code: text(&error["code"]),
        }),
        Value::String(message) if !message.is_empty() => Some(ServerError {
            message: message.clone(),
            code: None,
        }),
        _ if body["choices"].is_null() => {
            let detail = [&body["detail"], &body["message"]]
                .into_iter()
                .find(|value| !value.is_null())?;
            Some(ServerError {
                message: text(detail).unwrap_or_else(|| detail.to_string()),
                code: None,
            })
        }
        _ => None,
    }
}

/// Whether the endpoint refused the request because of `stream_options`, which older servers do not know.
fn refuses_stream_options(error: &ModelError) -> bool {
    matches!(error.status, Some(400 | 422)) && error.message.contains("stream_options")
}

/// The wait that the server asks for: `retry-after-ms`, else `retry-after` in seconds or as a date.
fn wait_asked_for(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
    };
    let seconds = |text: &str, unit: f64| {
        let number = text
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite() && *number >= 0.0)?;
        Duration::try_from_secs_f64(number / unit).ok()
    };
    text("retry-after-ms")
        .and_then(|value| seconds(value, 1000.0))
        .or_else(|| {
            let value = text(RETRY_AFTER.as_str())?;
            seconds(value, 1.0).or_else(|| crate::http::until_date(value))
        })
}

/// Half a second, doubling up to eight, less up to a quarter.
fn backoff(retries: u32) -> Duration {
    let full = (FIRST_WAIT * 2_u32.saturating_pow(retries.min(8))).min(LONGEST_BACKOFF);
    full.mul_f64(1.0 - fastrand::f64() * 0.25)
}

/// A URL's host and port, for people.
fn place(url: &reqwest::Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Checks that `key` can be sent as a header at all.
///
/// # Errors
/// When it holds what no header may hold.
pub fn check_key(key: &Secret) -> anyhow::Result<()> {
    HeaderValue::from_str(key.expose())
        .map(|_| ())
        .context("the key holds characters that no HTTP header may hold")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_are_read_in_every_shape() {
        let message = |body: Value| error_of(&body).map(|error| error.message);
        assert_eq!(
            message(json!({"error": {"message": "m", "code": 400}})).as_deref(),
            Some("m")
        );
        assert_eq!(message(json!({"error": "m"})).as_deref(), Some("m"));
        assert_eq!(
            message(json!({"detail": [{"msg": "m"}]})).as_deref(),
            Some(r#"[{"msg":"m"}]"#)
        );
        assert_eq!(message(json!({"choices": [], "error": null})), None);
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

    #[test]
    fn waits_double_up_to_eight_seconds() {
        for retries in 0..12 {
            let full = 0.5 * f64::from(2_u32.pow(retries.min(4)));
            let wait = backoff(retries).as_secs_f64();
            assert!((full * 0.74..=full).contains(&wait), "{retries}: {wait}");
        }
    }
}
