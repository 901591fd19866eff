//! Langfuse's public API for the child: requests go on with the child's keys, or with the run's in place of the stand-in
//! pair. Spans do not come here.

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, EXPECT, HOST, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::exec::answer;
use crate::exec::busy::Underway;
use crate::exec::environment::{STAND_IN_PUBLIC, STAND_IN_SECRET};
use crate::exec::proxy::strip_hop_by_hop;
use crate::exec::recorder::Recorder;
use crate::http::TransportError;
use crate::json;
use crate::langfuse::keys::sensitive;
use crate::langfuse::{Base, Keys};

/// The largest body of a request, in bytes.
const LARGEST_BODY: usize = 64 << 20;
/// Requests whose bodies name traces.
const NAMING_TRACES: [&str; 4] = [
    "/api/public/scores",
    "/api/public/media",
    "/api/public/dataset-run-items",
    "/api/public/ingestion",
];
const PUBLIC_KEY: &str = "x-langfuse-public-key";

/// The Langfuse of the run.
#[derive(Debug)]
pub struct PassThrough {
    pub http: reqwest::Client,
    /// `None` for a plain OTLP backend, and without keys.
    pub langfuse: Option<ApiTarget>,
}

/// A Langfuse, and the keys of the run.
#[derive(Debug)]
pub struct ApiTarget {
    pub base: Base,
    pub keys: Keys,
    /// The base of links for people.
    pub ui: Base,
}

impl PassThrough {
    /// Passes a request on, and its answer back.
    pub async fn forward(
        &self,
        recorder: &Recorder,
        path: &str,
        request: Request<Incoming>,
        underway: Underway,
    ) -> Response<Body> {
        let Some(langfuse) = &self.langfuse else {
            return failed(StatusCode::NOT_FOUND, "the run has no Langfuse");
        };
        if !path.starts_with("/api/public/") {
            return langfuse.page(path, request.method());
        }
        let Some(url) = langfuse.url(path, request.uri().query()) else {
            return answer::status(StatusCode::NOT_FOUND);
        };
        let (mut parts, body) = request.into_parts();
        let Ok(body) = axum::body::to_bytes(Body::new(body), LARGEST_BODY).await else {
            return answer::status(StatusCode::PAYLOAD_TOO_LARGE);
        };
        strip_hop_by_hop(&mut parts.headers);
        for name in [HOST, EXPECT, ACCEPT_ENCODING, CONTENT_LENGTH] {
            parts.headers.remove(name);
        }
        langfuse.replace_stand_ins(&mut parts.headers);
        let names_traces = NAMING_TRACES.iter().any(|named| path.starts_with(named));
        let body = if names_traces && parts.method == Method::POST {
            mapped(recorder, &body).map_or(body, Into::into)
        } else {
            body
        };
        let request = self.http.request(parts.method, url).headers(parts.headers);
        match request.body(body).send().await {
            Ok(response) => passed_on(response, underway),
            Err(error) => {
                let why = TransportError::from(error).message;
                failed(
                    StatusCode::BAD_GATEWAY,
                    &format!("Langfuse gave no answer: {why}"),
                )
            }
        }
    }
}

impl ApiTarget {
    /// The URL of a path of the API, which stays below it.
    fn url(&self, path: &str, query: Option<&str>) -> Option<reqwest::Url> {
        let mut url: reqwest::Url = format!("{}{path}", self.base).parse().ok()?;
        url.set_query(query);
        let api = format!("{}/api/public/", self.base);
        url.as_str().starts_with(&api).then_some(url)
    }

    /// A page that the child printed a link to.
    fn page(&self, path: &str, method: &Method) -> Response<Body> {
        let mut response = answer::status(StatusCode::NOT_FOUND);
        let target = format!("{}{path}", self.ui);
        if method == Method::GET
            && let Ok(target) = HeaderValue::from_str(&target)
        {
            *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
            response.headers_mut().insert(LOCATION, target);
        }
        response
    }

    /// Puts the keys of the run in the place of the stand-in pair.
    fn replace_stand_ins(&self, headers: &mut HeaderMap) {
        let given = headers.get(AUTHORIZATION);
        let given = given
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let basic = STANDARD.encode(format!("{STAND_IN_PUBLIC}:{STAND_IN_SECRET}"));
        let own = match given.split_once(' ') {
            Some(("Basic", pair)) if pair.trim() == basic => sensitive(&self.keys.authorization()),
            Some(("Bearer", key)) if key.trim() == STAND_IN_PUBLIC => {
                HeaderValue::from_str(&format!("Bearer {}", self.keys.public)).ok()
            }
            _ => None,
        };
        if let Some(own) = own {
            headers.insert(AUTHORIZATION, own);
        }
        if headers
            .get(PUBLIC_KEY)
            .is_some_and(|key| key == STAND_IN_PUBLIC)
            && let Ok(own) = HeaderValue::from_str(&self.keys.public)
        {
            headers.insert(PUBLIC_KEY, own);
        }
    }
}

/// The body with the run's trace id in place of those of the child that are not kept; `None` if it stays as it is.
fn mapped(recorder: &Recorder, body: &[u8]) -> Option<Vec<u8>> {
    let mut document: Value = json::from_slice(body).ok()?;
    let mut is_changed = false;
    map_traces(recorder, &mut document, &mut is_changed);
    is_changed.then(|| document.to_string().into_bytes())
}

fn map_traces(recorder: &Recorder, value: &mut Value, is_changed: &mut bool) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let id = value.as_str().filter(|_| key == "traceId");
                match id.and_then(|id| recorder.mapped_trace(id)) {
                    Some(run) => {
                        *value = run.into();
                        *is_changed = true;
                    }
                    None => map_traces(recorder, value, is_changed),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                map_traces(recorder, item, is_changed);
            }
        }
        _ => {}
    }
}

fn passed_on(response: reqwest::Response, underway: Underway) -> Response<Body> {
    let status = response.status();
    let mut headers = response.headers().clone();
    strip_hop_by_hop(&mut headers);
    let body = stream::unfold(
        (response, underway),
        |(mut response, underway)| async move {
            let chunk = response.chunk().await.transpose()?;
            Some((chunk, (response, underway)))
        },
    );
    let mut answer = Response::new(Body::from_stream(body));
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}

fn failed(status: StatusCode, why: &str) -> Response<Body> {
    answer::json(status, &json!({"message": why, "error": "langspan exec"}))
}
