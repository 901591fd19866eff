//! The model: the answer to a request body, in each dialect that models speak. Pure functions, so that the same request
//! always gets the same answer, which says that it does not come from a real model.
//!
//! `stand_in` decides what is said; a module for each dialect reads the request and writes the answer. One token is four
//! characters of text, rounded up.

mod chat;
mod embeddings;
mod messages;
mod responses;
mod schema;
mod stand_in;

use http::HeaderMap;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::hex::hex;
use crate::json;

/// The one model of the list; a request may name any model.
const NAME: &str = "langspan-stand-in";
/// All answers have the same date, so that the same request gets the same answer.
const CREATED: u64 = 1_767_225_600;
/// The same date, as Anthropic writes it.
const CREATED_TEXT: &str = "2026-01-01T00:00:00Z";
/// Anthropic requires this header, and a request with it is one to Anthropic's interface.
const ANTHROPIC_VERSION: &str = "anthropic-version";

/// Reads headers and body of a request and answers it; the error is the body of a 400.
pub type Answering = fn(&HeaderMap, &[u8]) -> Result<ModelAnswer, Value>;

/// The path of each dialect.
pub const DIALECTS: [(&str, Answering); 4] = [
    ("/v1/chat/completions", chat::answer),
    ("/v1/responses", responses::answer),
    ("/v1/messages", messages::answer),
    ("/v1/embeddings", embeddings::answer),
];

/// An answer, as one document or as server-sent events.
#[derive(Debug)]
pub enum ModelAnswer {
    Document(Value),
    Events(Vec<ModelEvent>),
}

/// A server-sent event.
#[derive(Debug)]
pub struct ModelEvent {
    /// Its `event` field; chat completions have none.
    pub name: Option<String>,
    pub data: String,
}

impl ModelEvent {
    /// An event that is named for the `type` in its data.
    fn typed(data: &Value) -> Self {
        Self {
            name: data["type"].as_str().map(str::to_owned),
            data: data.to_string(),
        }
    }
}

/// The answer of `GET /v1/models`: OpenAI's, or Anthropic's if the request is meant for it.
pub fn list(headers: &HeaderMap) -> Value {
    if headers.contains_key(ANTHROPIC_VERSION) {
        let model = json!({
            "type": "model", "id": NAME, "display_name": NAME, "created_at": CREATED_TEXT, "lifecycle": "active",
        });
        return json!({"data": [model], "first_id": NAME, "last_id": NAME, "has_more": false});
    }
    json!({
        "object": "list",
        "data": [{"id": NAME, "object": "model", "created": CREATED, "owned_by": "langspan"}],
    })
}

/// A request that cannot be answered.
#[derive(Debug)]
enum InvalidRequest {
    NotJson(String),
    Missing(&'static str),
    Value {
        parameter: &'static str,
        rule: String,
    },
    /// A parameter that another dialect has in place of this one's.
    Foreign {
        parameter: &'static str,
        instead: &'static str,
    },
    UnknownResponse(String),
    MissingHeader(&'static str),
}

impl InvalidRequest {
    fn value(parameter: &'static str, rule: impl Into<String>) -> Self {
        let rule = rule.into();
        Self::Value { parameter, rule }
    }

    /// The error as OpenAI writes it.
    fn openai(&self) -> Value {
        let (message, parameter, code) = match self {
            Self::NotJson(error) => (format!("The body is not valid JSON: {error}"), None, None),
            Self::Missing(parameter) => (
                format!("Missing required parameter: '{parameter}'."),
                Some(*parameter),
                Some("missing_required_parameter"),
            ),
            Self::Value { parameter, rule } => (
                format!("Invalid value for '{parameter}': {rule}."),
                Some(*parameter),
                Some("invalid_value"),
            ),
            Self::Foreign { parameter, instead } => (
                format!("Unsupported parameter: '{parameter}'. This endpoint expects '{instead}'."),
                Some(*parameter),
                Some("unsupported_parameter"),
            ),
            Self::UnknownResponse(id) => (
                format!("Previous response with id '{id}' not found."),
                Some("previous_response_id"),
                Some("previous_response_not_found"),
            ),
            Self::MissingHeader(name) => {
                (format!("Missing required header: '{name}'."), None, None)
            }
        };
        json!({"error": {"message": message, "type": "invalid_request_error", "param": parameter, "code": code}})
    }

    /// The error as Anthropic writes it.
    fn anthropic(&self, digest: &str) -> Value {
        let message = match self {
            Self::NotJson(error) => format!("The body is not valid JSON: {error}"),
            Self::Missing(parameter) => format!("{parameter}: Field required"),
            Self::Value { parameter, rule } => format!("{parameter}: {rule}"),
            Self::Foreign { parameter, .. } => {
                format!("{parameter}: Extra inputs are not permitted")
            }
            Self::UnknownResponse(id) => format!("previous_response_id: {id} not found"),
            Self::MissingHeader(name) => format!("{name}: header is required"),
        };
        let error = json!({"type": "invalid_request_error", "message": message});
        json!({"type": "error", "error": error, "request_id": format!("req_{digest}")})
    }
}

fn parse(body: &[u8]) -> Result<Value, InvalidRequest> {
    json::from_slice(body).map_err(|error| InvalidRequest::NotJson(error.to_string()))
}

/// The model that the request names.
fn named_model(request: &Value) -> Result<&str, InvalidRequest> {
    request["model"]
        .as_str()
        .filter(|model| !model.is_empty())
        .ok_or(InvalidRequest::Missing("model"))
}

/// A whole number above zero; `None` without the parameter.
fn positive(request: &Value, parameter: &'static str) -> Result<Option<u64>, InvalidRequest> {
    match &request[parameter] {
        Value::Null => Ok(None),
        number => number
            .as_u64()
            .filter(|number| *number > 0)
            .map(Some)
            .ok_or_else(|| InvalidRequest::value(parameter, "expected a whole number above 0")),
    }
}

/// What the ids of an answer are made of: the same for the same body.
fn digest(body: &[u8]) -> String {
    hex(&Sha256::digest(body)[..12])
}
