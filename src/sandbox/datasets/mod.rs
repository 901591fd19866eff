//! The datasets API: datasets, their items and versions of these, and the answer to run items. Answers and refusals are
//! those of a Langfuse 4.16.

mod dataset;
mod query;
mod run_item;
mod store;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::PROJECT_ID;
use super::auth::Authorized;
use super::reading::invalid;
use super::response::{StoreError, disk, json_response};
use super::time;
use crate::sandbox::routes::Routes;
use dataset::{NewDataset, NewItem};
pub use dataset::{StoredDataset, StoredItem};
use query::{ItemsQuery, Paging};
use run_item::NewRunItem;
pub use store::DatasetStore;
use store::ItemError;

/// The largest body of an item, in bytes.
const MOST_ITEM: usize = 4_500_000;

type Parameters = Vec<(String, String)>;

/// The API.
pub fn routes(store: DatasetStore) -> Router {
    Routes::new(store)
        .get("/api/public/v2/datasets", list)
        .post("/api/public/v2/datasets", create)
        .get("/api/public/v2/datasets/{name}", read)
        .get("/api/public/datasets/{name}", read_with_items)
        .get("/api/public/dataset-items", list_items)
        .post("/api/public/dataset-items", create_item)
        .get("/api/public/dataset-items/{id}", read_item)
        .delete("/api/public/dataset-items/{id}", remove_item)
        .post("/api/public/dataset-run-items", create_run_item)
        .into_router()
}

async fn create(
    State(store): State<DatasetStore>,
    _: Authorized,
    body: Bytes,
) -> Result<Response, StoreError> {
    let new = match NewDataset::read(&body) {
        Err(refusal) => return Ok(refuse(&refusal)),
        Ok(new) => new,
    };
    let dataset = disk(move || store.put_dataset(new)).await?;
    Ok(json_response(StatusCode::OK, &dataset.document()))
}

async fn list(
    State(store): State<DatasetStore>,
    _: Authorized,
    Query(parameters): Query<Parameters>,
) -> Result<Response, StoreError> {
    let paging = match Paging::read(&parameters) {
        Err(refusal) => return Ok(refuse(&refusal)),
        Ok(paging) => paging,
    };
    let datasets = disk(move || store.datasets()).await?;
    let page = paging.answer(datasets.iter().map(StoredDataset::document));
    Ok(json_response(StatusCode::OK, &page))
}

async fn read(
    State(store): State<DatasetStore>,
    _: Authorized,
    Path(name): Path<String>,
) -> Result<Response, StoreError> {
    let found = disk(move || store.dataset(&name)).await?;
    Ok(found.map_or_else(no_dataset, |dataset| {
        json_response(StatusCode::OK, &dataset.document())
    }))
}

/// The older interface: all items at once, and no runs.
async fn read_with_items(
    State(store): State<DatasetStore>,
    _: Authorized,
    Path(name): Path<String>,
) -> Result<Response, StoreError> {
    let found = disk(move || {
        let Some(dataset) = store.dataset(&name)? else {
            return Ok(None);
        };
        let mut document = dataset.document();
        let items = store.items(Some(&dataset.id), None)?;
        document["items"] = items
            .iter()
            .map(|(item, name)| item.document(name))
            .collect();
        document["runs"] = json!([]);
        Ok(Some(document))
    });
    Ok(found.await?.map_or_else(no_dataset, |document| {
        json_response(StatusCode::OK, &document)
    }))
}

async fn create_item(
    State(store): State<DatasetStore>,
    _: Authorized,
    body: Bytes,
) -> Result<Response, StoreError> {
    if body.len() > MOST_ITEM {
        let message = "Body exceeded 4.5mb limit";
        return Ok((StatusCode::PAYLOAD_TOO_LARGE, message).into_response());
    }
    let new = match NewItem::read(&body) {
        Err(refusal) => return Ok(refuse(&refusal)),
        Ok(new) => new,
    };
    let name = new.dataset_name.clone();
    Ok(match disk(move || store.put_item(new)).await? {
        Ok((item, name)) => json_response(StatusCode::OK, &item.document(&name)),
        Err(ItemError::NoSuchDataset) => not_found(&format!(
            "Dataset {name} not found for project {PROJECT_ID}"
        )),
        Err(ItemError::Conflict(id)) => {
            let message =
                format!("Dataset item {id} was modified concurrently. Please retry the request.");
            let body = json!({"message": message, "error": "LangfuseConflictError"});
            json_response(StatusCode::CONFLICT, &body)
        }
        Err(ItemError::NoInput) => refuse(&invalid("The input of a dataset item is required")),
    })
}

async fn list_items(
    State(store): State<DatasetStore>,
    _: Authorized,
    Query(parameters): Query<Parameters>,
) -> Result<Response, StoreError> {
    let query = match ItemsQuery::read(&parameters) {
        Err(refusal) => return Ok(refuse(&refusal)),
        Ok(query) => query,
    };
    let page = disk(move || {
        let dataset = match &query.dataset_name {
            None => None,
            Some(name) => match store.dataset(name)? {
                None => return Ok(None),
                found => found,
            },
        };
        let id = dataset.as_ref().map(|dataset| dataset.id.as_str());
        let mut items = store.items(id, query.version)?;
        let is =
            |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        items.retain(|(item, _)| {
            is(&query.source_trace_id, &item.source_trace_id)
                && is(&query.source_observation_id, &item.source_observation_id)
        });
        let documents = items.iter().map(|(item, name)| item.document(name));
        Ok(Some(query.paging.answer(documents)))
    });
    Ok(page
        .await?
        .map_or_else(no_dataset, |page| json_response(StatusCode::OK, &page)))
}

async fn read_item(
    State(store): State<DatasetStore>,
    _: Authorized,
    Path(id): Path<String>,
) -> Result<Response, StoreError> {
    let found = disk(move || store.item(&id)).await?;
    Ok(found.map_or_else(no_item, |(item, name)| {
        json_response(StatusCode::OK, &item.document(&name))
    }))
}

async fn remove_item(
    State(store): State<DatasetStore>,
    _: Authorized,
    Path(id): Path<String>,
) -> Result<Response, StoreError> {
    if !disk(move || store.remove_item(&id)).await? {
        return Ok(no_item());
    }
    let body = json!({"message": "Dataset item successfully deleted"});
    Ok(json_response(StatusCode::OK, &body))
}

async fn create_run_item(
    State(store): State<DatasetStore>,
    _: Authorized,
    body: Bytes,
) -> Result<Response, StoreError> {
    let new = match NewRunItem::read(&body) {
        Err(refusal) => return Ok(refuse(&refusal)),
        Ok(new) => new,
    };
    let id = new.item_id.clone();
    let version = new.version;
    let found = disk(move || store.active_item(&id, version)).await?;
    Ok(found.map_or_else(no_item, |item| {
        json_response(StatusCode::OK, &new.answer(&item.dataset_id, time::now()))
    }))
}

fn refuse(body: &Value) -> Response {
    json_response(StatusCode::BAD_REQUEST, body)
}

fn no_dataset() -> Response {
    not_found("Dataset not found")
}

fn no_item() -> Response {
    not_found("Dataset item not found")
}

fn not_found(message: &str) -> Response {
    let body = json!({"message": message, "error": "LangfuseNotFoundError"});
    json_response(StatusCode::NOT_FOUND, &body)
}
