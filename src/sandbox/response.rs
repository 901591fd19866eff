//! The answers that handlers share: JSON, pages, and the error of a store that cannot be read or written.

use std::io;

use axum::body::Body;
use axum::response::{Html, IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::{Value, json};

pub fn json_response(status: StatusCode, body: &Value) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json; charset=utf-8")],
        Body::from(body.to_string()),
    )
        .into_response()
}

/// A page. It runs no script and loads only media of this server, whatever the traces contain.
pub fn html_response(status: StatusCode, page: String) -> Response {
    let headers = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; media-src 'self'; form-action 'self'",
        ),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, Html(page)).into_response()
}

/// The store could not be read or written.
#[derive(Debug)]
pub struct StoreError(io::Error);

impl IntoResponse for StoreError {
    fn into_response(self) -> Response {
        let body = json!({"message": "Internal Server Error", "error": self.0.to_string()});
        json_response(StatusCode::INTERNAL_SERVER_ERROR, &body)
    }
}

/// Runs disk work off the threads that answer requests.
pub async fn disk<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    // Boxed, so that the runtime's part is compiled once for each result, not for each piece of work.
    let work: Box<dyn FnOnce() -> io::Result<T> + Send> = Box::new(work);
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other).flatten().map_err(StoreError)
}
