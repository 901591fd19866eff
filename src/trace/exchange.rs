//! One request, what became of it, and when.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::json::lenient;
use crate::model::{Completion, Provider, Request, Retried};

/// One chat completion that was asked for, answered or not.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub request: Request,
    /// The body of the answer, whole or as far as it came.
    pub response: Option<Box<RawValue>>,
    /// What the body says.
    pub completion: Completion,
    pub error: Option<ExchangeError>,
    pub start: Timestamp,
    pub end: Timestamp,
    /// When the first chunk of a streamed answer arrived.
    pub completion_start: Option<Timestamp>,
    /// How many requests it took; unknown of a recording.
    pub attempts: Option<u32>,
    /// The attempts before the last one, in their order.
    pub retried: Vec<Retried>,
    /// The HTTP status of a whole answer; unknown of a recording.
    pub status: Option<u16>,
    /// US dollars, when the provider stated them beside the body.
    pub cost: Option<f64>,
    /// Who was asked; unknown of a recording.
    pub server: Option<Server>,
}

/// Why an exchange has no whole answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeError {
    /// `model` or `interrupted`.
    #[serde(default)]
    pub kind: String,
    #[serde(default)]
    pub message: String,
    /// The HTTP status, when the endpoint answered.
    #[serde(default)]
    pub status: Option<u16>,
}

/// The model endpoint as a span names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub provider: Provider,
    pub address: String,
    pub port: Option<u16>,
}

impl Exchange {
    /// An exchange of which nothing more is known yet.
    pub fn new(request: Request, start: Timestamp, end: Timestamp) -> Self {
        Self {
            request,
            response: None,
            completion: Completion::default(),
            error: None,
            start,
            end,
            completion_start: None,
            attempts: None,
            retried: Vec::new(),
            status: None,
            cost: None,
            server: None,
        }
    }

    /// The model that answered, else the one that was asked.
    pub fn model(&self) -> String {
        self.completion
            .model
            .clone()
            .or_else(|| self.request.model())
            .unwrap_or_default()
    }

    /// The model that was asked.
    pub fn asked_model(&self) -> String {
        self.request
            .model()
            .or_else(|| self.completion.model.clone())
            .unwrap_or_default()
    }

    /// From the first request to the last byte of the answer, in milliseconds.
    pub fn latency_ms(&self) -> i64 {
        self.end.as_millisecond() - self.start.as_millisecond()
    }

    /// From the first request to the first chunk of a streamed answer, in milliseconds.
    pub fn time_to_first_token_ms(&self) -> Option<i64> {
        self.completion_start
            .map(|first| first.as_millisecond() - self.start.as_millisecond())
    }

    /// The HTTP status of each attempt in its order, none where there was no answer; empty when there was only one.
    pub fn attempt_statuses(&self) -> Vec<Option<u16>> {
        if self.retried.is_empty() {
            return Vec::new();
        }
        let last = match &self.error {
            Some(error) => error.status,
            None => self.status,
        };
        let statuses = self.retried.iter().map(|attempt| attempt.status);
        statuses.chain([last]).collect()
    }

    /// How long it was waited before each further attempt, in milliseconds.
    pub fn attempt_waits_ms(&self) -> Vec<u64> {
        let waits = self.retried.iter().map(|attempt| attempt.wait.as_millis());
        waits
            .map(|wait| u64::try_from(wait).unwrap_or(u64::MAX))
            .collect()
    }

    /// Takes `body` as the answer, and what it says.
    pub fn set_body(&mut self, body: impl Into<String>) {
        let body = body.into();
        let parsed = lenient::parse(&body).unwrap_or_default();
        self.set_response(body, Completion::from_body(parsed));
    }

    /// Takes `body`, which says `completion`, as the answer.
    pub fn set_response(&mut self, body: impl Into<String>, completion: Completion) {
        self.completion = completion;
        self.response = RawValue::from_string(body.into()).ok();
    }
}
