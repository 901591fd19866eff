//! The prompts API: versions, labels, prompts inside prompts. Answers and refusals are those of a Langfuse 4.16.

mod dependencies;
mod prompt;
mod store;

use std::path::PathBuf;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::auth::AuthorizedForPrompts;
use super::reading::bounded;
use super::response::{StoreError, disk, json_response};
use crate::sandbox::routes::Routes;
use prompt::{NewVersion, StoredPrompt, WantedVersion, new_labels};
pub use store::PromptStore;

/// The largest body of a new version, in bytes.
const MOST_BODY: usize = 1 << 20;
/// Prompts on a page of the list, unless the query says otherwise, and at most.
const DEFAULT_PAGE: usize = 10;
const MOST_PAGE: usize = 100;

type Parameters = Vec<(String, String)>;

/// The API, with prompts stored in `folder`.
pub fn routes(folder: PathBuf) -> Router {
    Routes::new(PromptStore::new(folder))
        .get("/api/public/v2/prompts", list)
        .post("/api/public/v2/prompts", create)
        .get("/api/public/v2/prompts/{name}", read)
        .delete("/api/public/v2/prompts/{name}", remove)
        .patch("/api/public/v2/prompts/{name}/versions/{version}", relabel)
        .into_router()
}

async fn create(
    State(store): State<PromptStore>,
    _: AuthorizedForPrompts,
    body: Bytes,
) -> Result<Response, StoreError> {
    if body.len() > MOST_BODY {
        let message = "Body exceeded 1mb limit";
        return Ok((StatusCode::PAYLOAD_TOO_LARGE, message).into_response());
    }
    let new = match NewVersion::read(&body) {
        Err(refusal) => return Ok(json_response(StatusCode::BAD_REQUEST, &refusal)),
        Ok(new) => new,
    };
    let name = new.name.clone();
    let added = disk(move || store.change(&name, |prompt| prompt.add(new))).await?;
    Ok(match added {
        Ok(document) => json_response(StatusCode::CREATED, &document),
        Err(refusal) => json_response(StatusCode::BAD_REQUEST, &refusal),
    })
}

async fn read(
    State(store): State<PromptStore>,
    _: AuthorizedForPrompts,
    Path(name): Path<String>,
    Query(parameters): Query<Parameters>,
) -> Result<Response, StoreError> {
    let wanted = match WantedVersion::read(&parameters) {
        Err(refusal) => return Ok(json_response(StatusCode::BAD_REQUEST, &refusal)),
        Ok(wanted) => wanted,
    };
    let is_plain = parameters
        .iter()
        .any(|(name, value)| name == "resolve" && value == "false");
    let missing = not_found(&wanted.missing(&name));
    let found = disk(move || {
        let prompt = store.prompt(&name)?;
        let document = prompt
            .version(&wanted)
            .map(|version| prompt.readable(version));
        Ok(match document {
            Some(document) if !is_plain => Some(with_dependencies(document, &store)),
            document => document,
        })
    });
    Ok(match found.await? {
        Some(document) => json_response(StatusCode::OK, &document),
        None => missing,
    })
}

/// The document with the texts of other prompts in place of the references to them.
fn with_dependencies(mut document: Value, store: &PromptStore) -> Value {
    let text_of = |name: &str, wanted: &WantedVersion| -> Option<String> {
        let prompt = store.prompt(name).ok()?;
        let text = prompt.version(wanted)?.prompt.as_str()?.to_owned();
        Some(text)
    };
    document["prompt"] = dependencies::resolved(&document["prompt"], &text_of);
    document
}

async fn list(
    State(store): State<PromptStore>,
    _: AuthorizedForPrompts,
    Query(parameters): Query<Parameters>,
) -> Result<Response, StoreError> {
    let page = match ListQuery::read(&parameters) {
        Err(refusal) => return Ok(json_response(StatusCode::BAD_REQUEST, &refusal)),
        Ok(query) => disk(move || Ok(query.answer(&store.prompts()?))).await?,
    };
    Ok(json_response(StatusCode::OK, &page))
}

async fn relabel(
    State(store): State<PromptStore>,
    _: AuthorizedForPrompts,
    Path((name, version)): Path<(String, u64)>,
    body: Bytes,
) -> Result<Response, StoreError> {
    let labels = match new_labels(&body) {
        Err(refusal) => return Ok(json_response(StatusCode::BAD_REQUEST, &refusal)),
        Ok(labels) => labels,
    };
    let missing = not_found(&WantedVersion::Version(version).missing(&name));
    let change = move |prompt: &mut StoredPrompt| prompt.label(version, &labels).ok_or(());
    let changed = disk(move || store.change(&name, change)).await?;
    Ok(changed.map_or(missing, |document| json_response(StatusCode::OK, &document)))
}

/// Deletes a prompt, or those of its versions that the query names.
async fn remove(
    State(store): State<PromptStore>,
    _: AuthorizedForPrompts,
    Path(name): Path<String>,
    Query(parameters): Query<Parameters>,
) -> Result<Response, StoreError> {
    let names_version = parameters
        .iter()
        .any(|(name, _)| name == "version" || name == "label");
    let wanted = match WantedVersion::read(&parameters) {
        Err(refusal) => return Ok(json_response(StatusCode::BAD_REQUEST, &refusal)),
        Ok(wanted) => names_version.then_some(wanted),
    };
    let message = wanted.as_ref().map_or_else(
        || format!("Prompt not found: '{name}'"),
        |wanted| wanted.missing(&name),
    );
    let change = move |prompt: &mut StoredPrompt| -> Result<(), ()> {
        let meant: Vec<u64> = match &wanted {
            Some(wanted) => prompt
                .version(wanted)
                .map(|found| found.version)
                .into_iter()
                .collect(),
            None => prompt.versions.iter().map(|found| found.version).collect(),
        };
        prompt.remove(|version| meant.contains(&version.version));
        if meant.is_empty() { Err(()) } else { Ok(()) }
    };
    let removed = disk(move || store.change(&name, change)).await?;
    Ok(match removed {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(()) => not_found(&message),
    })
}

fn not_found(message: &str) -> Response {
    let body = json!({"message": message, "error": "LangfuseNotFoundError"});
    json_response(StatusCode::NOT_FOUND, &body)
}

/// A query of the list.
#[derive(Debug)]
struct ListQuery {
    page: usize,
    limit: usize,
    name: Option<String>,
    label: Option<String>,
    tag: Option<String>,
}

impl ListQuery {
    /// Reads the parameters; the error is the body of a 400 answer.
    fn read(parameters: &[(String, String)]) -> Result<Self, Value> {
        let named = |name: &str| {
            let found = parameters.iter().find(|(given, _)| given == name);
            found.map(|(_, value)| value.clone())
        };
        let number = |name: &str, default: usize, most: usize| {
            named(name).map_or(Ok(default), |value| bounded(name, &value, most))
        };
        Ok(Self {
            page: number("page", 1, usize::MAX)?,
            limit: number("limit", DEFAULT_PAGE, MOST_PAGE)?,
            name: named("name"),
            label: named("label"),
            tag: named("tag"),
        })
    }

    fn answer(&self, prompts: &[StoredPrompt]) -> Value {
        let is = |wanted: &Option<String>, test: &dyn Fn(&String) -> bool| {
            wanted.as_ref().is_none_or(test)
        };
        let found: Vec<Value> = prompts
            .iter()
            .filter(|prompt| is(&self.name, &|name| prompt.name == *name))
            .filter(|prompt| {
                is(&self.label, &|label| {
                    prompt.labels().any(|known| known == label)
                })
            })
            .filter(|prompt| is(&self.tag, &|tag| prompt.tags.contains(tag)))
            .filter_map(StoredPrompt::listed)
            .collect();
        let total = found.len();
        let start = (self.page - 1).saturating_mul(self.limit);
        let meta = json!({
            "page": self.page, "limit": self.limit, "totalPages": total.div_ceil(self.limit), "totalItems": total,
        });
        json!({
            "data": found.into_iter().skip(start).take(self.limit).collect::<Value>(),
            "meta": meta,
            "pagination": meta,
        })
    }
}
