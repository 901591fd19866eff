//! A model call as the proxy saw it, and its record in the journal.

use jiff::Timestamp;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::json::lenient;
use crate::model::dialect::{self, ModelDialect};
use crate::model::{Completion, Provider, Request};
use crate::trace::exchange::Server;
use crate::trace::{Exchange, ExchangeError};

/// A model call, filtered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallRecord {
    /// Its number in the run, by which spans refer to it.
    pub number: usize,
    #[serde(with = "dialect")]
    pub api: &'static dyn ModelDialect,
    /// The endpoint that was asked, without credentials.
    pub endpoint: String,
    pub start_time: Timestamp,
    /// When the response began, or the request failed.
    pub first_byte_time: Timestamp,
    /// When the first chunk of a streamed answer arrived.
    pub completion_start_time: Option<Timestamp>,
    pub end_time: Timestamp,
    pub status: Option<u16>,
    pub error: Option<ExchangeError>,
    /// Whether the client left before the answer was whole.
    pub is_cancelled: bool,
    /// The `traceparent` of the request.
    pub traceparent: Option<String>,
    /// How many attempts the SDK had made before this one.
    pub retry: Option<u32>,
    pub user_agent: Option<String>,
    /// Fingerprints: of the request, equal for each attempt, and of what a span that reports the call holds.
    pub request_print: u64,
    pub text_prints: Vec<u64>,
    pub request: Request,
    pub response: Option<Box<RawValue>>,
}

impl CallRecord {
    pub fn is_failed(&self) -> bool {
        self.error.is_some()
    }

    /// The model that was asked, and the one that answered.
    pub fn models(&self) -> Vec<String> {
        let response: Value = self
            .response
            .as_ref()
            .and_then(|response| lenient::parse(response.get()).ok())
            .unwrap_or_default();
        let answered = response["model"].as_str().map(str::to_owned);
        let mut models: Vec<String> = self.request.model().into_iter().chain(answered).collect();
        models.dedup();
        models
    }

    /// The call as an exchange, from which spans are made.
    pub fn exchange(&self) -> Exchange {
        let mut exchange = Exchange::new(
            self.request.clone().in_dialect(self.api),
            self.start_time,
            self.end_time,
        );
        exchange.error.clone_from(&self.error);
        exchange.completion_start = self.completion_start_time;
        exchange.status = self.status;
        exchange.server = server(&self.endpoint);
        if let Some(response) = &self.response {
            let body = lenient::parse(response.get()).unwrap_or_default();
            exchange.set_parsed(response.get(), body);
        }
        exchange
    }
}

/// The endpoint as spans name it.
pub fn server(endpoint: &str) -> Option<Server> {
    let url = Url::parse(endpoint).ok()?;
    Some(Server {
        provider: Provider::of(&url),
        address: url.host_str()?.to_owned(),
        port: url.port_or_known_default(),
    })
}

/// What a call says by which a span that reports it is known: the texts of its answer and its tool calls, of embeddings
/// the texts of its input.
pub fn telling_texts(request: &Request, completion: &Completion) -> Vec<String> {
    if request.dialect() == dialect::EMBEDDINGS {
        let inputs = request.messages();
        let input = inputs.first().map(|message| message["content"].clone());
        return match input {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(texts)) => texts
                .into_iter()
                .filter_map(|text| text.as_str().map(str::to_owned))
                .collect(),
            _ => Vec::new(),
        };
    }
    let texts = completion
        .messages
        .iter()
        .filter_map(crate::model::completion::text_of_message);
    let calls = completion.tool_calls();
    let ids = calls.iter().filter_map(|call| call["id"].as_str());
    texts
        .chain(ids.map(str::to_owned))
        .filter(|text| !text.trim().is_empty())
        .collect()
}

/// The message of a failed request: the server's own words.
pub fn http_error(status: u16, body: &[u8]) -> ExchangeError {
    const LONGEST: usize = 500;
    let reason = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason());
    let text = String::from_utf8_lossy(body);
    let parsed = lenient::parse(&text).unwrap_or_default();
    let words = match crate::model::server_error::ServerError::of(&parsed) {
        Some(error) => error.message().to_owned(),
        None if text.trim_start().starts_with('<') => "an HTML page".to_owned(),
        None => text.trim().chars().take(LONGEST).collect(),
    };
    let status_line =
        reason.map_or_else(|| status.to_string(), |reason| format!("{status} {reason}"));
    let message = if words.is_empty() {
        format!("the model endpoint answered {status_line}")
    } else {
        format!("the model endpoint answered {status_line}: {words}")
    };
    ExchangeError {
        kind: "model".to_owned(),
        message,
        status: Some(status),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_has_the_servers_words() {
        let body = json!({"error": {"message": "slow down"}}).to_string();
        assert_eq!(
            http_error(429, body.as_bytes()).message,
            "the model endpoint answered 429 Too Many Requests: slow down"
        );
        assert_eq!(
            http_error(502, b"<html>").message,
            "the model endpoint answered 502 Bad Gateway: an HTML page"
        );
    }

    #[test]
    fn embeddings_are_known_by_their_input() {
        let request: Request = serde_json::from_str(r#"{"model":"e","input":["a","b"]}"#).unwrap();
        let request = request.in_dialect(dialect::EMBEDDINGS);
        let texts = telling_texts(&request, &Completion::default());
        assert_eq!(texts, ["a", "b"]);
    }
}
