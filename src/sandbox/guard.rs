//! Requests that are refused before any handler sees them: for another host, or with too large a body.
//!
//! Any web page can make a browser send requests to a loopback port. Under the name of that page's own server (DNS
//! rebinding) it could even read the answers; the `Host` header gives such requests away.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::uri::Authority;
use http::{StatusCode, header};
use serde_json::json;

use super::MOST_BODY;
use super::response::json_response;

const HOSTS: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// Passes the request on, or answers 403 or 413.
pub async fn check(request: Request, next: Next) -> Response {
    if !names_loopback(&request) {
        let message = format!("The sandbox only answers to {}", HOSTS.join(", "));
        return json_response(StatusCode::FORBIDDEN, &json!({"message": message}));
    }
    // A body without a stated length is bounded while it is read.
    if stated_length(&request).is_some_and(|length| length > MOST_BODY as u64) {
        let message = format!("The body is larger than {MOST_BODY} bytes");
        return json_response(StatusCode::PAYLOAD_TOO_LARGE, &json!({"message": message}));
    }
    next.run(request).await
}

/// Whether every host name in the request (its `Host` headers, the authority of its URI) is a loopback one.
fn names_loopback(request: &Request) -> bool {
    let headers = request.headers().get_all(header::HOST).iter();
    let mut names: Vec<Option<Authority>> = headers
        .map(|host| host.to_str().ok()?.parse().ok())
        .collect();
    names.extend(request.uri().authority().cloned().map(Some));
    let is_loopback = |name: &Option<Authority>| {
        let host = name.as_ref().map_or("", Authority::host);
        HOSTS.iter().any(|known| known.eq_ignore_ascii_case(host))
    };
    !names.is_empty() && names.iter().all(is_loopback)
}

fn stated_length(request: &Request) -> Option<u64> {
    let length = request.headers().get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}
