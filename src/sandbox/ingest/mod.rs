//! An export request (headers and body) becomes spans, or a refusal in Langfuse's words. Pure functions; the meaning of
//! attributes is decided in the observation module.

mod json;
mod protobuf;
mod span;

use std::io::Read as _;

use flate2::read::GzDecoder;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

pub use span::{Attributes, Span, double};

use super::hex::uuid_of;
use super::{MOST_BODY, PROJECT_ID, PUBLIC_KEY, time};

const INGESTION_VERSION: &str = "x-langfuse-ingestion-version";
const NEWEST_INGESTION_VERSION: i64 = 4;

/// A refused export: the status and the text of the answer.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidExport {
    pub status: StatusCode,
    pub message: String,
}

impl InvalidExport {
    fn new(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
        }
    }
}

/// The spans of an export request; `None` when it holds no resource spans at all.
pub fn spans(headers: &HeaderMap, body: &[u8]) -> Result<Option<Vec<Span>>, InvalidExport> {
    let body = decompressed(headers, body)?;
    let content_type = text(headers, header::CONTENT_TYPE.as_str()).to_ascii_lowercase();
    let spans = if content_type.contains("application/x-protobuf") {
        protobuf::decode(&body)?
    } else if content_type.contains("application/json") {
        json::decode(&body)?
    } else {
        return Err(InvalidExport::new("Invalid content type"));
    };
    if spans.is_some() {
        check_version(headers)?;
    }
    Ok(spans)
}

/// The decompressed body. A body with any coding but gzip is read unchanged, as in Langfuse.
fn decompressed<'a>(
    headers: &HeaderMap,
    body: &'a [u8],
) -> Result<std::borrow::Cow<'a, [u8]>, InvalidExport> {
    if !text(headers, header::CONTENT_ENCODING.as_str()).contains("gzip") {
        return Ok(body.into());
    }
    let mut plain = Vec::new();
    // One byte more than the limit, so that a longer body is noticed.
    let mut reader = GzDecoder::new(body).take(MOST_BODY as u64 + 1);
    match reader.read_to_end(&mut plain) {
        Ok(length) if length <= MOST_BODY => Ok(plain.into()),
        Ok(_) => Err(InvalidExport {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            message: format!("The decompressed body is larger than {MOST_BODY} bytes"),
        }),
        Err(_) => Err(InvalidExport::new("Failed to decompress request body")),
    }
}

fn check_version(headers: &HeaderMap) -> Result<(), InvalidExport> {
    let version = text(headers, INGESTION_VERSION);
    let supported = version
        .parse()
        .is_ok_and(|version: i64| version <= NEWEST_INGESTION_VERSION);
    if headers.contains_key(INGESTION_VERSION) && !supported {
        return Err(InvalidExport::new(format!(
            "Unsupported {INGESTION_VERSION}: \"{version}\". Maximum supported: \"{NEWEST_INGESTION_VERSION}\"."
        )));
    }
    Ok(())
}

/// Langfuse's answer to an accepted export: the queued job as JSON, not OTLP's response message.
pub fn job(headers: &HeaderMap, body: &[u8]) -> Value {
    let id = uuid_of(body);
    let name = "otel-ingestion-job";
    let or_unknown = |header| match text(headers, header) {
        "" => "unknown",
        value => value,
    };
    json!({
        "name": name,
        "data": {
            "id": id,
            "timestamp": time::iso(time::now()),
            "name": name,
            "payload": {
                "data": {"fileKey": format!("events/otel/{PROJECT_ID}/{id}.json"), "publicKey": PUBLIC_KEY},
                "authCheck": {
                    "validKey": true,
                    "scope": {"projectId": PROJECT_ID, "accessLevel": "project", "orgId": PROJECT_ID},
                },
                "sdkName": or_unknown("x-langfuse-sdk-name"),
                "sdkVersion": or_unknown("x-langfuse-sdk-version"),
                "ingestionVersion": text(headers, INGESTION_VERSION),
            },
        },
        "opts": {"attempts": 6},
        "id": id,
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}
