//! Asking a Langfuse: its version, which project the keys belong to, and what it knows of a trace.

use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use reqwest::RequestBuilder;
use serde_json::Value;

use super::base::Base;
use super::keys::{Keys, sensitive};
use super::row::Row;
use crate::console::Console;
use crate::http::{TransportError, read_body, retry_after};

/// How long one question may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The most that is read of an answer.
const MOST_BYTES: usize = 256 << 20;
/// A read-back looks this far around the times of the spans, since servers store milliseconds.
const WINDOW_MARGIN: SignedDuration = SignedDuration::from_mins(5);
/// The fields that a read-back compares and a drawing shows.
const FIELDS: &str = "core,basic,time,io,model,usage,metrics,trace_context";

/// A client of a Langfuse's public API.
#[derive(Clone, Debug)]
pub struct Api {
    pub(super) http: reqwest::Client,
    base: Base,
    authorization: Option<HeaderValue>,
    /// Whether the server is older than the v2 observations, as far as is known.
    pub(super) is_legacy: bool,
    pub(super) console: Console,
}

/// A project, as `GET /api/public/projects` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    pub id: String,
    pub name: String,
}

/// Why a question was not answered.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// The HTTP status, when there was an answer.
    pub status: Option<u16>,
    pub message: String,
    /// What to do when TLS or a proxy kept the server from being asked.
    pub remedy: Option<&'static str>,
    /// How long the server asked to wait.
    pub wait: Option<Duration>,
    /// Whether it is a Langfuse's own word that what was asked for is not there, and not just a path that nobody
    /// serves.
    pub is_absence: bool,
}

impl ApiError {
    /// No answer came.
    pub fn unanswered(message: String) -> Self {
        Self {
            status: None,
            message,
            remedy: None,
            wait: None,
            is_absence: false,
        }
    }

    /// An answer that is none of a Langfuse.
    pub(super) fn foreign(message: String) -> Self {
        Self {
            status: Some(200),
            ..Self::unanswered(message)
        }
    }

    /// Whether the server does not serve what was asked, so that another interface may tell.
    pub(super) fn is_unserved(&self) -> bool {
        self.status == Some(404) && !self.is_absence
    }

    /// Whether the same question may be answered later.
    pub fn is_passing(&self) -> bool {
        self.remedy.is_none() && matches!(self.status, None | Some(408 | 429 | 500..))
    }

    /// Whether the server refused the keys, which no repetition heals.
    pub fn is_refusal(&self) -> bool {
        matches!(self.status, Some(401 | 403))
    }
}

/// Where a trace is looked for.
#[derive(Clone, Debug)]
pub struct Place {
    pub trace_id: String,
    /// The times of its spans, when they are known.
    pub window: Option<(Timestamp, Timestamp)>,
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

    /// The same, knowing which version the server said it has; answers correct a wrong guess.
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

    /// The server that is asked.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// The server's version; asks without keys.
    ///
    /// # Errors
    /// When the server cannot be reached, or is not healthy.
    pub async fn health(&self) -> Result<String, ApiError> {
        let body = self
            .get("/api/public/health", &[], Credentials::None)
            .await?;
        Ok(body["version"].as_str().unwrap_or("unknown").to_owned())
    }

    /// The project of the keys.
    ///
    /// # Errors
    /// When the server refuses the keys, cannot be reached, or answers something else.
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
                "the project look-up named no project".to_owned(),
            )),
        }
    }

    /// What can be read of a trace now; nothing when the trace is not known.
    ///
    /// # Errors
    /// When the question was not answered.
    pub async fn rows(&self, place: &Place) -> Result<Vec<Row>, ApiError> {
        let first = if self.is_legacy {
            self.legacy_trace(place).await
        } else {
            self.observations(place).await
        };
        let mut rows = match first {
            Err(error) if error.is_unserved() => {
                let second = if self.is_legacy {
                    self.observations(place).await
                } else {
                    self.legacy_trace(place).await
                };
                match second {
                    Err(error) if error.is_absence => Vec::new(),
                    answer => answer?,
                }
            }
            Err(error) if error.is_absence => Vec::new(),
            answer => answer?,
        };
        // A server that copies traces between its tables shows a made-up root of its own.
        rows.retain(|row| !row.is_synthetic());
        Ok(rows)
    }

    async fn observations(&self, place: &Place) -> Result<Vec<Row>, ApiError> {
        let window = place.window.map(|(from, to)| widened(from, to));
        let mut rows = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = vec![
                ("traceId", place.trace_id.as_str()),
                ("fields", FIELDS),
                ("limit", "1000"),
            ];
            if let Some((from, to)) = &window {
                query.extend([
                    ("fromStartTime", from.as_str()),
                    ("toStartTime", to.as_str()),
                ]);
            }
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let mut body = self
                .get("/api/public/v2/observations", &query, Credentials::Keys)
                .await?;
            if !body["data"].is_array() {
                return Err(ApiError::foreign(format!(
                    "{} answered with no observations",
                    self.base
                )));
            }
            rows.extend(Row::of_observations(&mut body["data"]));
            match body["meta"]["cursor"].as_str() {
                Some(next) if cursor.as_deref() != Some(next) => cursor = Some(next.to_owned()),
                _ => return Ok(rows),
            }
        }
    }

    async fn legacy_trace(&self, place: &Place) -> Result<Vec<Row>, ApiError> {
        let path = format!("/api/public/traces/{}", place.trace_id);
        let mut trace = self.get(&path, &[], Credentials::Keys).await?;
        Ok(Row::of_legacy_trace(&mut trace))
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
        let unreachable = |error: reqwest::Error| {
            let error = TransportError::from(error);
            ApiError {
                remedy: error.remedy(),
                ..ApiError::unanswered(format!("no answer from {}: {}", self.base, error.message))
            }
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let wait = retry_after(response.headers());
        let location = response.headers().get(LOCATION).cloned();
        let body = read_body(response, MOST_BYTES).await.map_err(unreachable)?;
        self.console.detail(1, || format!("< {status}"));
        self.console.detail(2, || {
            let text = String::from_utf8_lossy(&body);
            // Who has such a URL may use it.
            if text.contains("\"uploadUrl\":\"") {
                "< (a signed URL)".to_owned()
            } else {
                format!("< {text}")
            }
        });
        let json: Option<Value> = serde_json::from_slice(&body).ok();
        match json {
            Some(json) if status.is_success() => Ok(json),
            json => Err(ApiError {
                status: Some(status.as_u16()),
                message: self.refusal(path, status, json.as_ref(), location.as_ref()),
                remedy: None,
                wait,
                is_absence: status == StatusCode::NOT_FOUND
                    && json.as_ref().is_some_and(says_absence),
            }),
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
                format!("go to {}", String::from_utf8_lossy(location.as_bytes()))
            }
            _ => body
                .and_then(|body| body["message"].as_str())
                .unwrap_or("no JSON answer")
                .to_owned(),
        };
        format!("{}{path} answered {status}: {words}", self.base)
    }
}

/// Whether a question is asked with the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credentials {
    Keys,
    None,
}

/// A window as queries name it, with the margin on both sides.
pub(super) fn widened(from: Timestamp, to: Timestamp) -> (String, String) {
    // Beyond what a clock can hold, the margin is of no use.
    let from = from.checked_sub(WINDOW_MARGIN).unwrap_or(from);
    let to = to.checked_add(WINDOW_MARGIN).unwrap_or(to);
    (from.to_string(), to.to_string())
}

/// Whether a 404 is about the trace that was asked for. Its error name does not tell: an interface that is switched
/// off has the same one.
fn says_absence(body: &Value) -> bool {
    body["message"]
        .as_str()
        .is_some_and(|message| message.contains("not found within"))
}
