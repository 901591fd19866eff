//! The media API: content is announced, uploaded to a signed URL of the sandbox itself, reported, and read again.
//! Refusals have the text of a Langfuse 4.16; those of an upload have the text of an S3 store.

mod announcement;
mod store;

use std::path::PathBuf;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::auth::Authorized;
use super::hex::hex;
use super::response::{StoreError, disk, json_response};
use super::{PROJECT_ID, SECRET_KEY, time};
use crate::json;
use crate::sandbox::routes::Routes;
use announcement::{Announcement, refused};
use store::{MediaRecord, MediaStore};

/// The largest content, in bytes: a tenth of Langfuse's limit.
const MOST_BYTES: u64 = 100_000_000;
/// The largest announcement or report, in bytes.
const MOST_JSON: usize = 64 << 10;
/// The stated lifetime of a URL, in milliseconds; the sandbox's do not expire.
const HOUR: i64 = 3_600_000;

/// The API and the content itself; both are stored in `folder`.
pub fn routes(folder: PathBuf) -> Router {
    Routes::new(MediaStore::new(folder))
        .post("/api/public/media", announce)
        .get("/api/public/media/{id}", describe)
        .patch("/api/public/media/{id}", report)
        .get("/media/{id}", content)
        .put("/media/{id}", upload)
        .into_router()
        .layer(DefaultBodyLimit::max(MOST_JSON))
}

/// The path of the content with this id.
pub fn path(id: &str) -> String {
    format!("/media/{id}")
}

async fn announce(
    State(store): State<MediaStore>,
    _: Authorized,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, StoreError> {
    let announced = match Announcement::read(&body) {
        Err(refusal) => return Ok(json_response(StatusCode::BAD_REQUEST, &refusal)),
        Ok(announced) => announced,
    };
    if announced.content_length > MOST_BYTES {
        let message = format!("File size must be less than {MOST_BYTES} bytes");
        let body = json!({"message": message, "error": "InvalidRequestError"});
        return Ok(json_response(StatusCode::BAD_REQUEST, &body));
    }
    let id = announced.id();
    let record = MediaRecord::of(&announced);
    let is_there = {
        let (store, id, record) = (store, id.clone(), record.clone());
        disk(move || store.announce(&id, &record)).await?
    };
    let url = format!("{}?{}", url(&headers, &id), signed(&id, &record));
    let url = if is_there { Value::Null } else { url.into() };
    let answer = json!({"mediaId": id, "uploadUrl": url});
    Ok(json_response(StatusCode::CREATED, &answer))
}

/// Accepts content as an S3 store does: authorized by the URL's signature alone, and only as announced.
async fn upload(
    State(store): State<MediaStore>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, StoreError> {
    let record = {
        let (store, id) = (store.clone(), id.clone());
        disk(move || store.record(&id)).await?
    };
    let query = request.uri().query().unwrap_or_default();
    let is_signed = |record: &MediaRecord| query == signed(&id, record);
    let Some(record) = record.filter(is_signed) else {
        return Ok(store_error(StatusCode::FORBIDDEN, "SignatureDoesNotMatch"));
    };
    let (parts, body) = request.into_parts();
    if let Err((status, code)) = fits(&parts.headers, &record) {
        return Ok(store_error(status, code));
    }
    let most = usize::try_from(record.content_length).unwrap_or(usize::MAX);
    let Ok(bytes) = to_bytes(body, most).await else {
        return Ok(store_error(StatusCode::BAD_REQUEST, "EntityTooLarge"));
    };
    if STANDARD.encode(Sha256::digest(&bytes)) != record.sha256_hash {
        return Ok(store_error(StatusCode::BAD_REQUEST, "BadDigest"));
    }
    disk(move || store.put(&id, &bytes)).await?;
    Ok(StatusCode::OK.into_response())
}

/// Checks that the headers are the signed ones, and that there are no other credentials.
fn fits(headers: &HeaderMap, record: &MediaRecord) -> Result<(), (StatusCode, &'static str)> {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if value("authorization").is_some() {
        // Only one way to authenticate is allowed.
        return Err((StatusCode::BAD_REQUEST, "InvalidArgument"));
    }
    if value("content-type") != Some(&record.content_type) {
        return Err((StatusCode::FORBIDDEN, "SignatureDoesNotMatch"));
    }
    if value("x-amz-checksum-sha256").is_some_and(|hash| hash != record.sha256_hash) {
        return Err((StatusCode::BAD_REQUEST, "BadDigest"));
    }
    Ok(())
}

async fn report(
    State(store): State<MediaStore>,
    _: Authorized,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, StoreError> {
    let report: Value = json::from_slice(&body).unwrap_or_default();
    let uploaded_at = report["uploadedAt"].as_str().and_then(time::parse);
    let status = report["uploadHttpStatus"]
        .as_u64()
        .filter(|status| *status > 0);
    let (Some(uploaded_at), Some(status)) = (uploaded_at, status) else {
        let path = if uploaded_at.is_none() {
            "uploadedAt"
        } else {
            "uploadHttpStatus"
        };
        let cause = json!({"code": "invalid_type", "path": [path], "message": "Invalid input"});
        return Ok(json_response(StatusCode::BAD_REQUEST, &refused(&cause)));
    };
    let error = report["uploadHttpError"].as_str().map(ToOwned::to_owned);
    let message = format!("Media asset {id} not found in project {PROJECT_ID}");
    let is_known = disk(move || {
        store.change(&id, |record| {
            record.uploaded_at = Some(uploaded_at);
            record.upload_http_status = Some(status);
            record.upload_http_error = error;
        })
    });
    Ok(if is_known.await? {
        json_response(StatusCode::OK, &json!({"message": "OK"}))
    } else {
        absent(&message)
    })
}

async fn describe(
    State(store): State<MediaStore>,
    _: Authorized,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, StoreError> {
    let record = {
        let id = id.clone();
        disk(move || store.record(&id)).await?
    };
    let Some(record) = record else {
        return Ok(absent("Media asset not found"));
    };
    Ok(match record.upload_http_status {
        None => absent("Media not yet uploaded"),
        Some(200 | 201) => {
            let answer = json!({
                "mediaId": id,
                "contentType": record.content_type,
                "contentLength": record.content_length,
                "uploadedAt": record.uploaded_at.map(time::iso),
                "url": url(&headers, &id),
                "urlExpiry": time::iso(time::now() + HOUR),
            });
            json_response(StatusCode::OK, &answer)
        }
        Some(status) => {
            let error = record.upload_http_error.unwrap_or_default();
            absent(&format!(
                "Media upload failed with status {status}: \n {error}"
            ))
        }
    })
}

/// The content itself. It may come from anyone, so nothing in it may run: a browser shows images, audio and video, and
/// downloads everything else.
async fn content(
    State(store): State<MediaStore>,
    Path(id): Path<String>,
) -> Result<Response, StoreError> {
    let Some((record, bytes)) = disk(move || store.content(&id)).await? else {
        return Ok(store_error(StatusCode::NOT_FOUND, "NoSuchKey"));
    };
    let kind = record.content_type.split('/').next().unwrap_or_default();
    let is_shown =
        matches!(kind, "image" | "audio" | "video") && record.content_type != "image/svg+xml";
    let disposition = if is_shown { "inline" } else { "attachment" };
    let headers = [
        (header::CONTENT_TYPE, record.content_type.as_str()),
        (header::CONTENT_DISPOSITION, disposition),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let isolation = [("cross-origin-resource-policy", "same-origin")];
    Ok((headers, isolation, Body::from(bytes)).into_response())
}

/// The signature of a URL, for this announcement.
fn signed(id: &str, record: &MediaRecord) -> String {
    let MediaRecord {
        content_type,
        content_length,
        sha256_hash,
        ..
    } = record;
    let announced = format!("{SECRET_KEY}/{id}/{content_type}/{content_length}/{sha256_hash}");
    format!("signature={}", hex(&Sha256::digest(announced)))
}

/// The content's URL, with the host name that the client used.
fn url(headers: &HeaderMap, id: &str) -> String {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    format!("http://{}{}", host.unwrap_or("127.0.0.1"), path(id))
}

fn absent(message: &str) -> Response {
    let body = json!({"message": message, "error": "LangfuseNotFoundError"});
    json_response(StatusCode::NOT_FOUND, &body)
}

fn store_error(status: StatusCode, code: &str) -> Response {
    let xml =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code></Error>");
    (status, [(header::CONTENT_TYPE, "application/xml")], xml).into_response()
}
