//! Asking a Langfuse: which project the keys belong to, and which spans of a trace can be read.

use std::collections::HashSet;
use std::time::Duration;

use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::time::Instant;

use super::base::Base;
use super::keys::{Keys, sensitive};
use crate::console::Console;
use crate::http::{TransportError, until_date};

/// How long one question may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A read-back looks this far around the times of the spans, since servers store milliseconds.
const WINDOW_MARGIN: SignedDuration = SignedDuration::from_mins(5);
/// The waits between two looks for a trace, the last one repeated: well inside the 30 requests a minute of Langfuse
/// Cloud's smallest plan.
const POLL_WAITS_MS: [u64; 6] = [250, 500, 1000, 2000, 3000, 5000];

/// A client of a Langfuse's public API.
#[derive(Clone, Debug)]
pub struct Api {
    http: reqwest::Client,
    base: Base,
    authorization: Option<HeaderValue>,
    console: Console,
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
    /// How long the server asked to wait.
    pub wait: Option<Duration>,
}

impl ApiError {
    /// Whether the server refused the keys, which no repetition heals.
    pub fn is_refusal(&self) -> bool {
        matches!(self.status, Some(401 | 403))
    }
}

/// Spans of one trace, and the times to look around.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub trace_id: String,
    pub span_ids: HashSet<String>,
    pub from: Timestamp,
    pub to: Timestamp,
}

/// What a read-back found.
#[derive(Clone, Debug)]
pub enum Readback {
    /// Every span is there.
    Readable,
    /// Not every span was there when the time was up.
    Missing { found: usize },
    /// The server does not let these keys read.
    Refused(ApiError),
}

impl Api {
    pub fn new(http: reqwest::Client, base: Base, keys: &Keys, console: Console) -> Self {
        let authorization = sensitive(&keys.authorization());
        Self {
            http,
            base,
            authorization,
            console,
        }
    }

    /// The project of the keys.
    ///
    /// # Errors
    /// When the server refuses the keys, cannot be reached, or answers something else.
    pub async fn project(&self) -> Result<Project, ApiError> {
        let body = self.get("/api/public/projects", &[]).await?;
        let project = &body["data"][0];
        match (project["id"].as_str(), project["name"].as_str()) {
            (Some(id), name) => Ok(Project {
                id: id.to_owned(),
                name: name.unwrap_or_default().to_owned(),
            }),
            (None, _) => Err(ApiError {
                status: Some(200),
                message: "the project look-up named no project".to_owned(),
                wait: None,
            }),
        }
    }

    /// Looks for spans until all can be read or `deadline` has come.
    pub async fn wait_until_readable(&self, wanted: &Wanted, deadline: Instant) -> Readback {
        let mut waits = POLL_WAITS_MS.iter().copied().map(Duration::from_millis);
        let mut wait = Duration::ZERO;
        let mut found = 0;
        loop {
            let asked = match self.spans_of(wanted).await {
                Ok(ids) => {
                    found = ids.intersection(&wanted.span_ids).count();
                    if found == wanted.span_ids.len() {
                        return Readback::Readable;
                    }
                    None
                }
                Err(error) if error.is_refusal() => return Readback::Refused(error),
                Err(error) => {
                    self.console
                        .detail(1, || format!("read-back: {}", error.message));
                    error.wait
                }
            };
            wait = waits.next().unwrap_or(wait);
            let pause = asked.map_or(wait, |asked| asked.max(wait));
            if Instant::now() + pause >= deadline {
                return Readback::Missing { found };
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Whether every span can be read now.
    ///
    /// # Errors
    /// When the question was not answered.
    pub async fn knows(&self, wanted: &Wanted) -> Result<bool, ApiError> {
        Ok(self.spans_of(wanted).await?.is_superset(&wanted.span_ids))
    }

    /// The ids of the spans of a trace that can be read: v2 observations, and where that path is unknown (v3) the
    /// trace itself.
    async fn spans_of(&self, wanted: &Wanted) -> Result<HashSet<String>, ApiError> {
        match self.observations(wanted).await {
            Err(error) if error.status == Some(404) => self.legacy_trace(&wanted.trace_id).await,
            answer => answer,
        }
    }

    async fn observations(&self, wanted: &Wanted) -> Result<HashSet<String>, ApiError> {
        let from = (wanted.from - WINDOW_MARGIN).to_string();
        let to = (wanted.to + WINDOW_MARGIN).to_string();
        let mut ids = HashSet::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = vec![
                ("traceId", wanted.trace_id.as_str()),
                ("fields", "core"),
                ("limit", "1000"),
                ("fromStartTime", &from),
                ("toStartTime", &to),
            ];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let body = self.get("/api/public/v2/observations", &query).await?;
            ids.extend(ids_of(&body["data"]));
            match body["meta"]["cursor"].as_str() {
                Some(next) if cursor.as_deref() != Some(next) => cursor = Some(next.to_owned()),
                _ => return Ok(ids),
            }
        }
    }

    async fn legacy_trace(&self, trace_id: &str) -> Result<HashSet<String>, ApiError> {
        match self
            .get(&format!("/api/public/traces/{trace_id}"), &[])
            .await
        {
            Ok(body) => Ok(ids_of(&body["observations"]).collect()),
            Err(error) if error.status == Some(404) => Ok(HashSet::new()),
            Err(error) => Err(error),
        }
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, ApiError> {
        let mut url = self.base.below(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.console.detail(1, || format!("> GET {url}"));
        let mut request = self.http.get(url).timeout(REQUEST_TIMEOUT);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let unreachable = |error: reqwest::Error| ApiError {
            status: None,
            message: format!(
                "no answer from {}: {}",
                self.base,
                TransportError::from(error).message
            ),
            wait: None,
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| {
            let value = value.to_str().ok()?;
            value
                .parse()
                .ok()
                .map(Duration::from_secs)
                .or_else(|| until_date(value))
        });
        let body = response.bytes().await.map_err(unreachable)?;
        self.console.detail(1, || format!("< {status}"));
        self.console
            .detail(2, || format!("< {}", String::from_utf8_lossy(&body)));
        let json: Option<Value> = serde_json::from_slice(&body).ok();
        match json {
            Some(json) if status.is_success() => Ok(json),
            json => Err(ApiError {
                status: Some(status.as_u16()),
                message: self.refusal(path, status, json.as_ref()),
                wait,
            }),
        }
    }

    fn refusal(&self, path: &str, status: StatusCode, body: Option<&Value>) -> String {
        let words = body
            .and_then(|body| body["message"].as_str())
            .unwrap_or("no JSON answer");
        format!("{}{path} answered {status}: {words}", self.base)
    }
}

fn ids_of(rows: &Value) -> impl Iterator<Item = String> {
    rows.as_array()
        .into_iter()
        .flatten()
        .filter_map(|row| row["id"].as_str().map(str::to_owned))
}
