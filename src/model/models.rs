//! The models of an endpoint: their list, and whether another base URL has one.

use std::time::Duration;

use reqwest::{StatusCode, Url};
use serde_json::Value;

use super::endpoint::Endpoint;
use super::error::{ModelError, ModelErrorKind};
use super::failed_attempt::FailedAttempt;
use crate::console::Console;
use crate::http::read_body;

/// The most that is read of a list, in bytes.
const MOST_BYTES: usize = 16 << 20;
/// What the question about another base URL may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// A list of models.
#[derive(Clone, Debug)]
pub struct ModelList {
    /// Sorted, each once.
    pub ids: Vec<String>,
    /// The body as received.
    pub body: String,
}

/// Asks an endpoint for its models.
///
/// # Errors
/// If there is no answer within `timeout`, or it is not a list of models.
pub async fn list(
    http: &reqwest::Client,
    endpoint: &Endpoint,
    timeout: Duration,
    console: &Console,
) -> Result<ModelList, ModelError> {
    let url = endpoint.models_url();
    console.detail(1, || format!("> GET {url}"));
    let request = http.get(url.clone()).headers(endpoint.headers());
    let no_answer =
        |error: reqwest::Error| FailedAttempt::no_response(endpoint, &error.into()).error;
    let response = request.timeout(timeout).send().await.map_err(no_answer)?;
    let (status, headers) = (response.status(), response.headers().clone());
    console.detail(1, || format!("< {status}"));
    let bytes = read_body(response, MOST_BYTES).await.map_err(no_answer)?;
    let body = String::from_utf8_lossy(&bytes).into_owned();
    console.detail(2, || format!("< {body}"));
    if !status.is_success() {
        let mut error = FailedAttempt::http_error(endpoint, status, &headers, &body).error;
        if matches!(
            status,
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
        ) {
            error.message = format!("{} ({url})", error.message);
            error.hint = format!(
                "the server does not list its models, or the base URL {} is wrong: most end in /v1",
                endpoint.base
            );
        }
        return Err(error);
    }
    match ids(&body) {
        Some(ids) => Ok(ModelList { ids, body }),
        None => Err(not_a_list(endpoint, status, &body)),
    }
}

/// The ids of a list in the shape of OpenAI, or of an array without more around it.
fn ids(body: &str) -> Option<Vec<String>> {
    let body: Value = serde_json::from_str(body).ok()?;
    let models = body["data"].as_array().or_else(|| body.as_array())?;
    let ids = models.iter().filter_map(|model| model["id"].as_str());
    let mut ids: Vec<String> = ids.map(str::to_owned).collect();
    ids.sort_unstable();
    ids.dedup();
    Some(ids)
}

fn not_a_list(endpoint: &Endpoint, status: StatusCode, body: &str) -> ModelError {
    let start: String = endpoint.scrub(body).trim().chars().take(80).collect();
    ModelError {
        kind: ModelErrorKind::NoCompletion,
        message: format!(
            "{} answered {status} with `{start}`, which is not a list of models",
            endpoint.models_url()
        ),
        hint: format!("check the base URL {}; most end in /v1", endpoint.base),
        status: Some(status.as_u16()),
        retryable: false,
    }
}

/// Adds to the hint about a 404 the base URL that would be right, and whether its list of models answers: it is asked
/// once. Nothing is added where the present URL looks right.
pub async fn with_proposal(
    hint: String,
    http: &reqwest::Client,
    endpoint: &Endpoint,
    console: &Console,
) -> String {
    let Some(base) = endpoint.proposed_base() else {
        return hint;
    };
    let proposed = Endpoint {
        base: base.clone(),
        ..endpoint.clone()
    };
    let listed = list(http, &proposed, PROBE_TIMEOUT, console).await;
    let url = shown(&base);
    match listed {
        Ok(_) => format!("set the base URL to {url}: {url}/models answers"),
        Err(_) => format!("{hint}; {url} may be meant, but {url}/models does not list models"),
    }
}

fn shown(base: &Url) -> &str {
    base.as_str().trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_sorted_and_each_is_listed_once() {
        let list = r#"{"object":"list","data":[{"id":"b"},{"id":"a"},{"id":"b"},{}]}"#;
        assert_eq!(ids(list).unwrap(), ["a", "b"]);
        assert_eq!(ids(r#"[{"id":"a"}]"#).unwrap(), ["a"]);
        for other in ["{}", "1", "<html>", r#"{"data":{}}"#] {
            assert!(ids(other).is_none(), "{other}");
        }
    }
}
