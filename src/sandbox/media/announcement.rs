//! `POST /api/public/media`: the announcement of an upload, and its refusals. Pure functions.

use serde_json::{Value, json};

use crate::json;

/// The types that a Langfuse 4.16 accepts.
const CONTENT_TYPES: &[&str] = &[
    "image/png",
    "image/jpeg",
    "image/jpg",
    "image/webp",
    "image/gif",
    "image/svg+xml",
    "image/tiff",
    "image/bmp",
    "image/avif",
    "image/heic",
    "audio/mpeg",
    "audio/mp3",
    "audio/wav",
    "audio/ogg",
    "audio/oga",
    "audio/aac",
    "audio/mp4",
    "audio/flac",
    "audio/opus",
    "audio/webm",
    "video/mp4",
    "video/webm",
    "video/ogg",
    "video/mpeg",
    "video/quicktime",
    "video/x-msvideo",
    "video/x-matroska",
    "text/plain",
    "text/html",
    "text/css",
    "text/csv",
    "text/markdown",
    "text/x-python",
    "application/javascript",
    "text/x-typescript",
    "application/x-yaml",
    "application/pdf",
    "application/msword",
    "application/vnd.ms-excel",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/zip",
    "application/json",
    "application/xml",
    "application/octet-stream",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/rtf",
    "application/x-ndjson",
    "application/vnd.apache.parquet",
    "application/gzip",
    "application/x-tar",
    "application/x-7z-compressed",
];
const FIELDS: &[&str] = &["input", "output", "metadata"];
/// Characters of a SHA-256 in base64.
const HASH_LENGTH: usize = 44;
/// Characters of an id: 132 bits of the hash.
const ID_LENGTH: usize = 22;

/// Content that a client is about to upload.
#[derive(Debug)]
pub struct Announcement {
    pub content_type: String,
    pub content_length: u64,
    pub sha256_hash: String,
}

impl Announcement {
    /// Reads a body; the error is the body of a 400 answer.
    pub fn read(body: &[u8]) -> Result<Self, Value> {
        let body: Value = json::from_slice(body).unwrap_or_default();
        if !body["datasetId"].is_null() {
            // To accept it would promise a dataset, which the sandbox does not have.
            return Err(refused(
                &json!({"path": ["datasetId"], "message": "Not supported by the sandbox"}),
            ));
        }
        if !body["traceId"].is_string() {
            return Err(refused(&json!({
                "expected": "string", "code": "invalid_type", "path": ["traceId"], "message": "Invalid input: expected string",
            })));
        }
        one_of(&body, "field", "field", FIELDS)?;
        let content_type = one_of(&body, "contentType", "content type", CONTENT_TYPES)?;
        let content_length = body["contentLength"].as_u64().filter(|length| *length > 0);
        let content_length = content_length.ok_or_else(|| {
            refused(&json!({
                "origin": "number", "code": "too_small", "path": ["contentLength"],
                "message": "Invalid input: expected a positive whole number",
            }))
        })?;
        let sha256_hash = body["sha256Hash"].as_str().filter(|hash| is_hash(hash));
        let sha256_hash = sha256_hash.ok_or_else(|| {
            refused(&json!({
                "origin": "string", "code": "invalid_format", "format": "regex", "path": ["sha256Hash"],
                "message": "Must be a 44 character base64 encoded SHA-256 hash",
            }))
        })?;
        Ok(Self {
            content_type,
            content_length,
            sha256_hash: sha256_hash.to_owned(),
        })
    }

    /// The id of the content: the beginning of its hash, safe in a URL.
    pub fn id(&self) -> String {
        let safe = self.sha256_hash.replace('+', "-").replace('/', "_");
        safe[..ID_LENGTH].to_owned()
    }
}

/// Whether a text has the form of an id.
pub fn is_id(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte);
    text.len() == ID_LENGTH && text.bytes().all(fits)
}

fn is_hash(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    text.len() == HASH_LENGTH && text.bytes().all(fits)
}

fn one_of(body: &Value, name: &str, words: &str, known: &[&str]) -> Result<String, Value> {
    let value = body[name].as_str().filter(|value| known.contains(value));
    value.map(ToOwned::to_owned).ok_or_else(|| {
        let message = format!("Invalid {words}. Only supporting {}", known.join(", "));
        refused(
            &json!({"code": "invalid_value", "values": known, "path": [name], "message": message}),
        )
    })
}

/// The body of a 400 answer.
pub fn refused(cause: &Value) -> Value {
    json!({"message": "Invalid request data", "error": [cause]})
}
