//! The routes: which handler answers which path, and with which status. The content of the answers is decided in other
//! modules.

mod pages;

use std::io;
use std::iter;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::middleware;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{HeaderMap, StatusCode, Uri, header};
use serde_json::{Value, json};

use crate::sandbox::auth::Authorized;
use crate::sandbox::datasets::DatasetStore;
use crate::sandbox::model::ModelAnswer;
use crate::sandbox::observation::Observation;
use crate::sandbox::reading::{MetricsQuery, ObservationsQuery, ReadQuery, TracesQuery, legacy};
use crate::sandbox::response::{StoreError, disk, html_response, json_response};
use crate::sandbox::routes::Routes;
use crate::sandbox::scores::{ScoreStore, StoredScore};
use crate::sandbox::store::TraceStore;
use crate::sandbox::time::Millis;
use crate::sandbox::{
    Config, LangfuseVersion, MOST_BODY, PROJECT_ID, datasets, experiments, guard, ingest, media,
    model, page, prices, prompts, scores, time,
};

/// The parameters of a query.
type Parameters = Vec<(String, String)>;

/// The state of every handler.
#[derive(Debug, Clone)]
struct Sandbox {
    config: Arc<Config>,
    store: TraceStore,
    scores: ScoreStore,
    datasets: DatasetStore,
}

pub fn router(config: Config) -> Router {
    let version = config.langfuse;
    let store = TraceStore::new(config.store.clone());
    let media = media::routes(store.media());
    let prompts = prompts::routes(store.prompts());
    let scores = ScoreStore::new(store.scores());
    let datasets = DatasetStore::new(store.datasets());
    let delay = i64::try_from(config.visible_after.as_millis()).unwrap_or(i64::MAX);
    let has_v3 = version == LangfuseVersion::V4;
    let mut files = media
        .merge(prompts)
        .merge(datasets::routes(datasets.clone()))
        .merge(scores::routes(scores.clone(), delay, has_v3));
    if has_v3 {
        let experiments = experiments::routes(store.clone(), scores.clone(), delay);
        files = files.merge(experiments);
    }
    let sandbox = Sandbox {
        store,
        scores,
        datasets,
        config: Arc::new(config),
    };
    Router::new()
        .merge(models(sandbox.clone()))
        .merge(langfuse(sandbox.clone(), version, files))
        .merge(pages::routes(sandbox))
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(middleware::from_fn(guard::check))
}

fn models(sandbox: Sandbox) -> Router {
    let list = async |headers: HeaderMap| json_response(StatusCode::OK, &model::list(&headers));
    let routes = Routes::new(sandbox).get("/v1/models", list);
    let dialects = model::DIALECTS.into_iter();
    let routes = dialects.fold(routes, |routes, (path, answer)| {
        let ask = async move |State(sandbox): State<Sandbox>, headers: HeaderMap, body: Bytes| {
            ask_model(&sandbox, answer(&headers, &body)).await
        };
        routes.post(path, ask)
    });
    routes.into_router()
}

/// `stores` are the interfaces that keep files of their own.
fn langfuse(sandbox: Sandbox, version: LangfuseVersion, stores: Router) -> Router {
    let both = Routes::new(sandbox)
        .post("/api/public/otel/v1/traces", ingest_traces)
        .post("/api/public/otel/v1/metrics", ignore_metrics)
        .get("/api/public/health", health)
        .get("/api/public/ready", health)
        .get("/api/public/projects", projects)
        .get("/api/public/models", list_models);
    let routes = match version {
        LangfuseVersion::V3 => both
            .get("/api/public/traces", list_traces)
            .get("/api/public/traces/{id}", legacy_trace)
            .get("/api/public/metrics", measure),
        LangfuseVersion::V4 => LEGACY_PATHS
            .iter()
            .fold(both, |routes, path| routes.get(path, gone_in_v4))
            .get("/api/public/datasets/{name}/runs/{run}", gone_in_v4)
            .delete("/api/public/datasets/{name}/runs/{run}", gone_in_v4)
            .get("/api/public/v2/observations", list_observations)
            .get("/api/public/v2/metrics", measure),
    };
    let routes = routes.into_router().merge(stores);
    routes.method_not_allowed_fallback(async || {
        let body = json!({"message": "Method not allowed", "error": "MethodNotAllowedError"});
        json_response(StatusCode::METHOD_NOT_ALLOWED, &body)
    })
}

/// Read interfaces that v4 does not have.
const LEGACY_PATHS: &[&str] = &[
    "/api/public/traces",
    "/api/public/traces/{id}",
    "/api/public/observations",
    "/api/public/observations/{id}",
    "/api/public/sessions",
    "/api/public/sessions/{id}",
    "/api/public/scores",
    "/api/public/scores/{id}",
    "/api/public/v2/scores",
    "/api/public/v2/scores/{id}",
    "/api/public/metrics",
    "/api/public/dataset-run-items",
    "/api/public/datasets/{name}/runs",
];

/// Sends an answer of the model, or the body of its refusal, after the time that the model takes.
async fn ask_model(sandbox: &Sandbox, answer: Result<ModelAnswer, Value>) -> Response {
    tokio::time::sleep(sandbox.config.model_delay).await;
    match answer {
        Err(refusal) => json_response(StatusCode::BAD_REQUEST, &refusal),
        Ok(ModelAnswer::Document(document)) => json_response(StatusCode::OK, &document),
        Ok(ModelAnswer::Events(events)) => {
            let events = events.into_iter().map(|event| {
                let named = event
                    .name
                    .map_or_else(Event::default, |name| Event::default().event(name));
                Ok::<_, io::Error>(named.data(event.data))
            });
            Sse::new(stream::iter(events)).into_response()
        }
    }
}

async fn ingest_traces(
    State(sandbox): State<Sandbox>,
    _: Authorized,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, StoreError> {
    let spans = match ingest::spans(&headers, &body) {
        Err(refusal) => {
            let body = json!({"error": refusal.message});
            return Ok(json_response(refusal.status, &body));
        }
        Ok(None) => return Ok(json_response(StatusCode::OK, &json!({}))),
        Ok(Some(spans)) => spans,
    };
    let arrived = time::now();
    let observations: Vec<Observation> = spans
        .iter()
        .map(|span| Observation::from_span(span, arrived))
        .collect();
    sandbox
        .with_store(move |store| store.append(&observations))
        .await?;
    Ok(json_response(StatusCode::OK, &ingest::job(&headers, &body)))
}

async fn ignore_metrics(_: Authorized) -> Response {
    json_response(StatusCode::OK, &json!({"message": "OK"}))
}

async fn health(State(sandbox): State<Sandbox>) -> Response {
    let version = match sandbox.config.langfuse {
        LangfuseVersion::V4 => "4.16.0",
        LangfuseVersion::V3 => "3.150.0",
    };
    json_response(StatusCode::OK, &json!({"status": "OK", "version": version}))
}

async fn projects(_: Authorized) -> Response {
    let organization = json!({"id": PROJECT_ID, "name": "Sandbox"});
    let project =
        json!({"id": PROJECT_ID, "name": "Sandbox", "organization": organization, "metadata": {}});
    json_response(StatusCode::OK, &json!({"data": [project]}))
}

async fn list_models(_: Authorized, Query(parameters): Query<Parameters>) -> Response {
    match prices::page(&parameters) {
        Err(body) => json_response(StatusCode::BAD_REQUEST, &body),
        Ok(page) => json_response(StatusCode::OK, &page),
    }
}

async fn list_observations(
    State(sandbox): State<Sandbox>,
    _: Authorized,
    Query(parameters): Query<Parameters>,
) -> Result<Response, StoreError> {
    sandbox.answer(ObservationsQuery::read(parameters)).await
}

/// Metrics, under the path of either version.
async fn measure(
    State(sandbox): State<Sandbox>,
    _: Authorized,
    Query(parameters): Query<Parameters>,
) -> Result<Response, StoreError> {
    let query = MetricsQuery::read(&parameters, sandbox.config.langfuse);
    sandbox.answer(query).await
}

async fn list_traces(
    State(sandbox): State<Sandbox>,
    _: Authorized,
    Query(parameters): Query<Parameters>,
) -> Result<Response, StoreError> {
    sandbox.answer(TracesQuery::read(parameters)).await
}

async fn legacy_trace(
    State(sandbox): State<Sandbox>,
    _: Authorized,
    Path(id): Path<String>,
) -> Result<Response, StoreError> {
    let message = format!("Trace {id} not found within authorized project");
    let wanted = id.clone();
    let mut observations = sandbox
        .with_store(move |store| store.trace(&wanted))
        .await?;
    observations.retain(sandbox.visible());
    let scores = sandbox.scores(id, sandbox.latest_visible()).await?;
    Ok(match legacy::trace(observations) {
        Some(mut trace) => {
            trace["scores"] = scores.iter().map(StoredScore::legacy_document).collect();
            json_response(StatusCode::OK, &trace)
        }
        None => json_response(
            StatusCode::NOT_FOUND,
            &json!({"message": message, "error": "LangfuseNotFoundError"}),
        ),
    })
}

async fn gone_in_v4() -> Response {
    let message = "This endpoint is not available on deployments running in Langfuse v4 events_only mode. Learn more \
                   about Langfuse v4 at: https://langfuse.com/docs/v4";
    json_response(StatusCode::NOT_FOUND, &json!({"message": message}))
}

/// Langfuse's web server redirects to the path without a trailing slash, and answers an unknown path with a page.
async fn not_found(uri: Uri) -> Response {
    let path = uri.path();
    let Some(plain) = path
        .strip_suffix('/')
        .filter(|plain| !plain.is_empty() && !plain.starts_with("//"))
    else {
        return html_response(StatusCode::NOT_FOUND, page::no_such_page());
    };
    let target = uri
        .query()
        .map_or_else(|| plain.to_owned(), |query| format!("{plain}?{query}"));
    (
        StatusCode::PERMANENT_REDIRECT,
        [(header::LOCATION, target.clone())],
        target,
    )
        .into_response()
}

impl Sandbox {
    /// Whether the read interfaces return an observation yet.
    fn visible(&self) -> impl Fn(&Observation) -> bool + Send + use<> {
        let latest = self.latest_visible();
        move |observation| observation.arrived <= latest
    }

    /// What arrived later cannot be read yet.
    fn latest_visible(&self) -> Millis {
        let delay = i64::try_from(self.config.visible_after.as_millis()).unwrap_or(i64::MAX);
        time::now().saturating_sub(delay)
    }

    /// The scores of a trace that arrived by `until`.
    async fn scores(
        &self,
        trace_id: String,
        until: Millis,
    ) -> Result<Vec<StoredScore>, StoreError> {
        let scores = self.scores.clone();
        disk(move || scores.of_trace(&trace_id, until)).await
    }

    /// The answer to a query, or the refusal of one that cannot be answered.
    async fn answer(
        &self,
        query: Result<impl ReadQuery + Send + 'static, Value>,
    ) -> Result<Response, StoreError> {
        let query = match query {
            Err(body) => return Ok(json_response(StatusCode::BAD_REQUEST, &body)),
            Ok(query) => query,
        };
        let visible = self.visible();
        let readable = move |mut trace: Vec<Observation>| {
            trace.retain(&visible);
            trace
        };
        let answer = self.with_store(move |store| {
            Ok(match query.trace_id() {
                Some(id) => query.answer(iter::once(store.trace(id)?).map(readable)),
                None => query.answer(store.traces()?.map(readable)),
            })
        });
        Ok(json_response(StatusCode::OK, &answer.await?))
    }

    async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&TraceStore) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.store.clone();
        disk(move || work(&store)).await
    }
}
