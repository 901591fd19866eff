//! The client of Langfuse's public API: its requests, the server's version, and the project of the keys.

use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use reqwest::RequestBuilder;
use serde_json::Value;

use crate::console::Console;
use crate::http::url::shown_reference;
use crate::http::{Backoff, BodyError, TransportError, proxy, read_whole_body, retry_after};
use crate::json;
use crate::langfuse::api_error::ApiError;
use crate::langfuse::base::Base;
use crate::langfuse::keys::{Keys, sensitive};

/// The time for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of an answer to a look-up.
const MAX_LOOKUP_BYTES: usize = 1 << 20;
/// The most bytes of a page of rows.
const MAX_PAGE_BYTES: usize = 64 << 20;
/// The paths below which answers hold rows.
const ROWS: [&str; 5] = [
    "/api/public/v2/observations",
    "/api/public/traces",
    "/api/public/dataset-items",
    "/api/public/experiments",
    "/api/public/experiment-items",
];
/// A request is not repeated if the server asks for a longer wait.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// A client of a Langfuse's public API.
#[derive(Clone, Debug)]
pub struct Api {
    pub(super) http: reqwest::Client,
    base: Base,
    authorization: Option<HeaderValue>,
    /// Whether the server is too old for v2 observations, as far as is known.
    pub(super) is_legacy: bool,
    pub(super) console: Console,
}

/// A project, from `GET /api/public/projects`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    pub id: String,
    pub name: String,
}

impl Api {
    pub fn new(http: reqwest::Client, base: Base, keys: &Keys, console: Console) -> Self {
        let authorization = sensitive(&keys.authorization());
        Self {
            http,
            base,
            authorization,
            is_legacy: false,
            console,
        }
    }

    /// The same client for a server of this version. If the guess is wrong, answers correct it.
    #[must_use]
    pub fn for_version(mut self, version: &str) -> Self {
        let major = version
            .trim_start_matches('v')
            .split('.')
            .next()
            .and_then(|major| major.parse::<u32>().ok());
        self.is_legacy = major.is_some_and(|major| major < 4);
        self
    }

    /// The server.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// The server's version; asked for without keys.
    ///
    /// # Errors
    /// If the server cannot be reached, or is not healthy.
    pub async fn health(&self) -> Result<String, ApiError> {
        let body = self
            .get("/api/public/health", &[], Credentials::None)
            .await?;
        Ok(body["version"].as_str().unwrap_or("unknown").to_owned())
    }

    /// The project of the keys.
    ///
    /// # Errors
    /// If the server refuses the keys, cannot be reached, or gives another answer.
    pub async fn project(&self) -> Result<Project, ApiError> {
        let body = self
            .get("/api/public/projects", &[], Credentials::Keys)
            .await?;
        let project = &body["data"][0];
        match (project["id"].as_str(), project["name"].as_str()) {
            (Some(id), name) => Ok(Project {
                id: id.to_owned(),
                name: name.unwrap_or_default().to_owned(),
            }),
            (None, _) => Err(ApiError::foreign(
                "the answer to the project look-up has no project".to_owned(),
            )),
        }
    }

    /// Asks the interface that the server is believed to have, and the other one if it does not have it.
    pub(super) async fn ask_either<T>(
        &self,
        mut ask: impl AsyncFnMut(Interface) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let (first, second) = if self.is_legacy {
            (Interface::Legacy, Interface::V2)
        } else {
            (Interface::V2, Interface::Legacy)
        };
        match ask(first).await {
            Err(error) if error.is_unserved() => ask(second).await,
            answer => answer,
        }
    }

    pub(super) async fn get(
        &self,
        path: &str,
        query: &[(&str, &str)],
        credentials: Credentials,
    ) -> Result<Value, ApiError> {
        let mut url = self.base.below(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.console.detail(1, || format!("> GET {url}"));
        self.ask(path, self.http.get(url), credentials).await
    }

    /// Sends a JSON document, with the keys.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        document: &Value,
    ) -> Result<Value, ApiError> {
        let url = self.base.below(path);
        self.console
            .detail(1, || format!("> {method} {url} {document}"));
        let request = self.http.request(method, url);
        let request = request
            .header(CONTENT_TYPE, "application/json")
            .body(document.to_string());
        self.ask(path, request, Credentials::Keys).await
    }

    async fn ask(
        &self,
        path: &str,
        request: RequestBuilder,
        credentials: Credentials,
    ) -> Result<Value, ApiError> {
        let mut request = request.timeout(REQUEST_TIMEOUT);
        if let (Credentials::Keys, Some(authorization)) = (credentials, &self.authorization) {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let response = request
            .send()
            .await
            .map_err(|error| self.unreachable(error))?;
        let status = response.status();
        let wait = retry_after(response.headers());
        let location = response.headers().get(LOCATION).cloned();
        let body = match read_whole_body(response, most_bytes(path)).await {
            Ok(body) => body,
            Err(BodyError::Transport(error)) => return Err(self.unreachable(error)),
            Err(error @ BodyError::TooLong(_)) if status.is_success() => {
                return Err(ApiError {
                    is_too_long: true,
                    ..ApiError::foreign(format!("{}{path}: {error}", self.base))
                });
            }
            // The status says enough.
            Err(BodyError::TooLong(_)) => Vec::new(),
        };
        self.console.detail(1, || format!("< {status}"));
        self.console.detail(2, || {
            let text = String::from_utf8_lossy(&body);
            // Anyone who has such a URL may use it.
            if text.contains("\"uploadUrl\":\"") {
                "< (a signed URL)".to_owned()
            } else {
                format!("< {text}")
            }
        });
        let json: Option<Value> = json::from_slice(&body).ok();
        match json {
            Some(json) if status.is_success() => Ok(json),
            json => Err(ApiError {
                status: Some(status.as_u16()),
                message: self.refusal(path, status, json.as_ref(), location.as_ref()),
                // Other answers of a proxy may change by themselves.
                hint: (status == StatusCode::PROXY_AUTHENTICATION_REQUIRED)
                    .then(|| proxy::hint(status.as_u16(), &self.base.below(path)))
                    .flatten(),
                wait,
                is_absence: status == StatusCode::NOT_FOUND
                    && json.as_ref().is_some_and(says_absence),
                is_too_long: false,
            }),
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> ApiError {
        let error = TransportError::from(error);
        ApiError {
            hint: error.hint(),
            ..ApiError::unanswered(format!("no answer from {}: {}", self.base, error.message))
        }
    }

    fn refusal(
        &self,
        path: &str,
        status: StatusCode,
        body: Option<&Value>,
        location: Option<&HeaderValue>,
    ) -> String {
        let words = match location {
            Some(location) if status.is_redirection() => {
                let location = String::from_utf8_lossy(location.as_bytes());
                format!("go to {}", shown_reference(&location))
            }
            _ => body
                .and_then(|body| body["message"].as_str())
                .unwrap_or("no JSON answer")
                .to_owned(),
        };
        format!("{}{path} answered {status}: {words}", self.base)
    }
}

/// The two generations of the API for reading traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interface {
    /// v2 observations and metrics, of servers from version 4 on.
    V2,
    /// Traces and metrics of older servers.
    Legacy,
}

/// Whether a request is sent with the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credentials {
    Keys,
    None,
}

/// Repeats a request up to `retries` times while it may succeed later, with the waits of `backoff` or those that the
/// server asks for, whichever are longer.
pub(super) async fn retried<T, F>(
    retries: u32,
    mut backoff: Backoff,
    attempt: impl Fn() -> F,
) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, ApiError>>,
{
    for _ in 0..retries {
        let error = match attempt().await {
            Err(error) if error.is_passing() => error,
            answer => return answer,
        };
        let wait = error.wait.unwrap_or_default().max(backoff.next_wait());
        if wait > LONGEST_WAIT {
            return Err(error);
        }
        tokio::time::sleep(wait).await;
    }
    attempt().await
}

fn most_bytes(path: &str) -> usize {
    if ROWS.iter().any(|rows| path.starts_with(rows)) {
        MAX_PAGE_BYTES
    } else {
        MAX_LOOKUP_BYTES
    }
}

/// Whether a 404 is about the trace, the prompt or the dataset, and not about the path. The name of the error does not
/// distinguish them: an interface that is switched off has the same one.
fn says_absence(body: &Value) -> bool {
    body["message"].as_str().is_some_and(|message| {
        message.contains("not found within")
            || message.starts_with("Prompt not found")
            || message.starts_with("Dataset not found")
    })
}
