//! The scores API: written one at a time or as events of the ingestion API, read by v3. Answers and refusals are those of
//! a Langfuse 4.16.

mod query;
mod score;
mod store;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::auth::{Authorized, AuthorizedToScore};
use super::reading::invalid;
use super::response::{StoreError, disk, json_response};
use super::time::{self, Millis};
use crate::json;
use crate::sandbox::routes::Routes;
use query::ScoresQuery;
use score::NewScore;
pub use score::{DataType, StoredScore};
pub use store::ScoreStore;

/// The largest body of events, in bytes.
const MOST_EVENTS: usize = 4_500_000;

/// What the handlers use.
#[derive(Debug, Clone)]
struct Scores {
    store: ScoreStore,
    /// How long a score stays invisible to the read interface.
    delay: Millis,
}

/// The API; scores become readable `delay` milliseconds after they arrived. Only newer servers have the `v3` interface.
pub fn routes(store: ScoreStore, delay: Millis, has_v3: bool) -> Router {
    let mut routes = Routes::new(Scores { store, delay })
        .post("/api/public/scores", create)
        .delete("/api/public/scores/{id}", remove)
        .post("/api/public/ingestion", ingest);
    if has_v3 {
        routes = routes.get("/api/public/v3/scores", list);
    }
    routes.into_router()
}

async fn create(
    State(scores): State<Scores>,
    _: AuthorizedToScore,
    body: Bytes,
) -> Result<Response, StoreError> {
    let read = json::from_slice(&body)
        .map_err(|_| invalid("Invalid JSON"))
        .and_then(|body: Value| NewScore::read(&body, None));
    let new = match read {
        Err(refusal) => return Ok(json_response(StatusCode::BAD_REQUEST, &refusal)),
        Ok(new) => new,
    };
    let answer = json!({"id": new.score.id});
    if !new.is_dropped {
        disk(move || scores.store.append(&[new.score])).await?;
    }
    Ok(json_response(StatusCode::OK, &answer))
}

async fn remove(
    State(scores): State<Scores>,
    _: Authorized,
    Path(id): Path<String>,
) -> Result<Response, StoreError> {
    disk(move || scores.store.remove(&id, time::now())).await?;
    let body = json!({"message": "Score deletion queued successfully"});
    Ok(json_response(StatusCode::ACCEPTED, &body))
}

async fn list(
    State(scores): State<Scores>,
    _: Authorized,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Response, StoreError> {
    let query = match ScoresQuery::read(parameters) {
        Err(refusal) => return Ok(json_response(StatusCode::BAD_REQUEST, &refusal)),
        Ok(query) => query,
    };
    let answer = disk(move || {
        let until = time::now().saturating_sub(scores.delay);
        let found = match (&query.id, &query.trace_id) {
            (Some(id), _) => scores.store.of_id(id, until)?.into_iter().collect(),
            (None, Some(trace_id)) => scores.store.of_trace(trace_id, until)?,
            (None, None) => scores.store.all(until)?,
        };
        Ok(query.answer(&found))
    });
    Ok(json_response(StatusCode::OK, &answer.await?))
}

/// Events of SDKs: scores are kept, logs ignored, and all else is refused one by one.
async fn ingest(
    State(scores): State<Scores>,
    _: AuthorizedToScore,
    body: Bytes,
) -> Result<Response, StoreError> {
    if body.len() > MOST_EVENTS {
        let body = json!({"message": "Request body is too large"});
        return Ok(json_response(StatusCode::PAYLOAD_TOO_LARGE, &body));
    }
    let body: Value = json::from_slice(&body).unwrap_or_default();
    let Some(events) = body["batch"].as_array() else {
        let body = invalid("Invalid request data");
        return Ok(json_response(StatusCode::BAD_REQUEST, &body));
    };
    let (mut kept, mut successes, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for event in events {
        match read_event(event) {
            Ok(score) => {
                kept.extend(score);
                successes.push(json!({"id": event["id"], "status": 201}));
            }
            Err((message, error)) => errors.push(json!({
                "id": event["id"], "status": 400, "message": message, "error": error,
            })),
        }
    }
    if !kept.is_empty() {
        disk(move || scores.store.append(&kept)).await?;
    }
    let answer = json!({"successes": successes, "errors": errors});
    Ok(json_response(StatusCode::MULTI_STATUS, &answer))
}

/// The score of an event, if it has one that is kept; or the message and the error of its refusal.
#[expect(
    clippy::result_large_err,
    reason = "an answer of the sandbox, once a request"
)]
fn read_event(event: &Value) -> Result<Option<StoredScore>, (Value, Value)> {
    match event["type"].as_str() {
        Some("score-create") => {
            let timestamp = event["timestamp"].as_str().and_then(time::parse);
            let new = NewScore::read(&event["body"], timestamp).map_err(|refusal| {
                let issues = refusal["error"].to_string();
                (refusal["message"].clone(), issues.into())
            })?;
            Ok(Some(new.score).filter(|_| !new.is_dropped))
        }
        Some("sdk-log") => Ok(None),
        kind => {
            let error = format!(
                "Event type \"{}\" is not accepted by /api/public/ingestion when LANGFUSE_MIGRATION_V4_WRITE_MODE is \
                 events_only. This endpoint only accepts score and log events.",
                kind.unwrap_or_default()
            );
            Err(("Event type not accepted".into(), error.into()))
        }
    }
}
