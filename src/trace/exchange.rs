//! One request, its outcome, and its times.
//!
//! Values only: `model` makes the call, `recording` has the JSON form.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::json::lenient;
use crate::model::{Completion, Provider, Request, RetriedAttempt};

/// One requested chat completion, answered or not.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub request: Request,
    /// The body of the response, complete or as far as it was received.
    pub response: Option<Box<RawValue>>,
    /// The parsed body.
    pub completion: Completion,
    pub error: Option<ExchangeError>,
    /// When the command began. `None` if the parent span starts exactly 1 ms before the generation.
    pub command_start: Option<Timestamp>,
    /// The start of the generation: of the first request.
    pub start: Timestamp,
    pub end: Timestamp,
    /// When the first chunk of a streamed response arrived.
    pub completion_start: Option<Timestamp>,
    /// The number of requests; `None` for a recording.
    pub attempts: Option<u32>,
    /// The attempts before the last one, in order.
    pub retried: Vec<RetriedAttempt>,
    /// The HTTP status of a complete response; `None` for a recording.
    pub status: Option<u16>,
    /// US dollars, if the provider stated them outside of the body.
    pub cost: Option<f64>,
    /// US dollars for each usage type and their total, where the trace states them because no price table does.
    pub cost_details: Option<Map<String, Value>>,
    /// The model endpoint; `None` for a recording.
    pub server: Option<Server>,
}

/// The least time from the start of the parent span to that of the generation. Langfuse orders spans by their start in
/// milliseconds, so spans with the same start come in random order.
const PARENT_LEAD: SignedDuration = SignedDuration::from_millis(1);

/// Why an exchange has no complete response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeError {
    /// `model` or `interrupted`.
    #[serde(default)]
    pub kind: String,
    #[serde(default)]
    pub message: String,
    /// The HTTP status, if the endpoint answered.
    #[serde(default)]
    pub status: Option<u16>,
}

/// The model endpoint, for span attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub provider: Provider,
    pub address: String,
    pub port: Option<u16>,
}

impl Server {
    /// `HOST:PORT`, with brackets around an IPv6 address; the host alone if the port is unknown.
    pub fn host_and_port(&self) -> String {
        let host = match &self.address {
            ipv6 if ipv6.contains(':') => format!("[{ipv6}]"),
            host => host.clone(),
        };
        match self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }
}

impl Exchange {
    /// An exchange without an outcome.
    pub fn new(request: Request, start: Timestamp, end: Timestamp) -> Self {
        Self {
            request,
            response: None,
            completion: Completion::default(),
            error: None,
            command_start: None,
            start,
            end,
            completion_start: None,
            attempts: None,
            retried: Vec::new(),
            status: None,
            cost: None,
            cost_details: None,
            server: None,
        }
    }

    /// The model that answered, else the requested one.
    pub fn model(&self) -> String {
        self.completion
            .model
            .clone()
            .or_else(|| self.request.model())
            .unwrap_or_default()
    }

    /// The requested model.
    pub fn requested_model(&self) -> String {
        self.request
            .model()
            .or_else(|| self.completion.model.clone())
            .unwrap_or_default()
    }

    /// When the parent span starts: with the command, but always at least 1 ms before the generation.
    pub fn parent_start(&self) -> Timestamp {
        let latest = self.start.saturating_sub(PARENT_LEAD);
        let latest = latest.unwrap_or(self.start).max(Timestamp::UNIX_EPOCH);
        self.command_start.map_or(latest, |start| start.min(latest))
    }

    /// Milliseconds from the first request to the last byte of the response.
    pub fn latency_ms(&self) -> i64 {
        milliseconds(self.start, self.end)
    }

    /// Milliseconds from the first request to the first chunk of a streamed response.
    pub fn time_to_first_token_ms(&self) -> Option<i64> {
        let first = self.completion_start?;
        Some(milliseconds(self.start, first))
    }

    /// The HTTP status of each attempt in order, `None` if it had no response. Empty if there was only one attempt.
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

    /// Milliseconds waited before each further attempt.
    pub fn attempt_waits_ms(&self) -> Vec<u64> {
        let waits = self.retried.iter().map(|attempt| attempt.wait.as_millis());
        waits
            .map(|wait| u64::try_from(wait).unwrap_or(u64::MAX))
            .collect()
    }

    /// Sets the response body and parses it.
    pub fn set_body(&mut self, body: impl Into<String>) {
        let body = body.into();
        if let Some(completion) = self.request.dialect().usual_completion(&body) {
            self.set_response(body, completion);
        } else {
            let parsed = lenient::parse(&body).unwrap_or_default();
            self.set_parsed(body, parsed);
        }
    }

    /// Sets the response body, which parses to `parsed`.
    pub fn set_parsed(&mut self, body: impl Into<String>, parsed: Value) {
        let completion = self.request.dialect().completion(parsed);
        self.set_response(body, completion);
    }

    /// Sets the response body, which says `completion`.
    pub fn set_response(&mut self, body: impl Into<String>, completion: Completion) {
        self.completion = completion;
        self.response = RawValue::from_string(body.into()).ok();
    }
}

/// The whole milliseconds from one time to another, rounded.
pub fn milliseconds(start: Timestamp, end: Timestamp) -> i64 {
    let nanoseconds = end.as_nanosecond() - start.as_nanosecond();
    let rounded = (nanoseconds + 500_000).div_euclid(1_000_000);
    i64::try_from(rounded).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_to_milliseconds() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let start = time("2026-01-01T00:00:00.0009Z");
        for (end, expected) in [
            ("2026-01-01T00:00:00.0013Z", 0),
            ("2026-01-01T00:00:00.0014Z", 1),
            ("2026-01-01T00:00:00.0702Z", 69),
            ("2026-01-01T00:00:00.0001Z", -1),
        ] {
            assert_eq!(milliseconds(start, time(end)), expected, "{end}");
        }
    }
}
