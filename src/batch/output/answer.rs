//! One line of the output: the shape of OpenAI's Batch output, and beside it what is known of the call and its
//! trace. It is read back when a run is continued.

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use crate::app::model_call;
use crate::batch::input;
use crate::json::lenient;
use crate::model::failed::FailedAttempt;
use crate::model::{Progress, Request, RetriedAttempt};
use crate::settings::ModelSettings;
use crate::trace::ids::SpanIds;
use crate::trace::{Exchange, ExchangeError, Trace, TraceContext, ids};

/// A line that was asked, and what came of it.
#[derive(Debug)]
pub struct Called {
    pub line: u64,
    pub custom_id: Option<String>,
    /// Of the input line.
    pub digest: String,
    /// How often the line had been asked before.
    pub redo: u32,
    pub exchange: Exchange,
    pub trace: Trace,
    pub context: TraceContext,
    pub progress: Progress,
}

impl Called {
    /// The output line; `url` is the page of the trace.
    ///
    /// # Errors
    /// Never for what was read as JSON; the serialiser's signature allows one.
    pub fn to_line(&self, url: Option<&str>) -> anyhow::Result<String> {
        let exchange = &self.exchange;
        let start = exchange.start.as_nanosecond();
        let span = SpanIds::derive(self.context.trace_id, start).generation;
        let refusal = self.progress.error_response();
        let (status, body) = match (&exchange.response, refusal) {
            (_, Some(refusal)) => (refusal.status, Some(as_json(&refusal.body)?)),
            (body, None) => (200, body.clone()),
        };
        let body = body.map(on_one_line).transpose()?;
        let error = exchange.error.as_ref().filter(|_| refusal.is_none());
        let answer = OutputLine {
            id: Some(format!("batch_req_{span}").into()),
            custom_id: self.custom_id.as_deref().map(Cow::from),
            response: body.as_deref().map(|body| HttpAnswer {
                status_code: status,
                request_id: self.progress.request_id.as_deref().map(Cow::from),
                body,
            }),
            error: error.map(|error| Trouble {
                code: self.code().to_owned(),
                message: error.message.clone(),
            }),
            langspan: Facts {
                line: self.line,
                trace_id: Some(self.context.trace_id.to_string().into()),
                trace_url: url.map(Cow::from),
                start_time: Some(exchange.start),
                end_time: Some(exchange.end),
                time_to_first_token_ms: exchange.time_to_first_token_ms(),
                attempts: exchange.attempts,
                attempt_statuses: exchange.attempt_statuses(),
                attempt_waits_ms: exchange.attempt_waits_ms(),
                completion_start_time: exchange.completion_start,
                cost: exchange.cost,
                redo: (self.redo > 0).then_some(self.redo),
                input_digest: Some(self.digest.as_str().into()),
            },
        };
        Ok(serde_json::to_string(&answer)?)
    }

    /// What went wrong, as one word.
    fn code(&self) -> &'static str {
        self.progress
            .error_kind
            .map_or("error", |fault| fault.code())
    }

    /// What to count a failed line under.
    pub fn cause(&self) -> Option<String> {
        self.exchange.error.as_ref()?;
        Some(match self.progress.error_response() {
            Some(refusal) => format!("HTTP {}", refusal.status),
            None => self.code().to_owned(),
        })
    }
}

/// An output line.
#[derive(Debug, Serialize, Deserialize)]
pub struct OutputLine<'a> {
    #[serde(default, borrow)]
    pub id: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    pub custom_id: Option<Cow<'a, str>>,
    /// What the endpoint answered, an HTTP error too; of a stream that was cut, what came of it.
    #[serde(default, borrow)]
    pub response: Option<HttpAnswer<'a>>,
    /// Why there is no whole answer, unless `response` says so itself.
    #[serde(default)]
    pub error: Option<Trouble>,
    #[serde(borrow)]
    pub langspan: Facts<'a>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct HttpAnswer<'a> {
    pub status_code: u16,
    #[serde(default, borrow)]
    pub request_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub body: &'a RawValue,
}

/// Why a line has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub code: String,
    pub message: String,
}

/// What is known of a call and its trace.
#[derive(Debug, Serialize, Deserialize)]
pub struct Facts<'a> {
    pub line: u64,
    #[serde(default, borrow)]
    pub trace_id: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    pub trace_url: Option<Cow<'a, str>>,
    #[serde(default)]
    pub start_time: Option<Timestamp>,
    #[serde(default)]
    pub end_time: Option<Timestamp>,
    #[serde(default)]
    pub time_to_first_token_ms: Option<i64>,
    #[serde(default)]
    pub attempts: Option<u32>,
    /// Of a call that took more than one attempt: what became of each, null where there was no answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempt_statuses: Vec<Option<u16>>,
    /// How long it was waited between them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempt_waits_ms: Vec<u64>,
    /// Of a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_start_time: Option<Timestamp>,
    /// US dollars, where the endpoint stated them beside the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// Which redo this is, of a line that had failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redo: Option<u32>,
    /// Of the input line, so that a changed one is noticed when the run is continued.
    #[serde(default, borrow)]
    pub input_digest: Option<Cow<'a, str>>,
}

/// The code of a line that is no request.
pub const INVALID: &str = "invalid_line";

/// Tells an input line from any other.
pub fn digest(line: &input::RawLine) -> String {
    format!("{:016x}", u64::from_be_bytes(ids::first_bytes(&line.text)))
}

/// The output line of an input line that is no request.
pub fn invalid(line: u64, message: &str) -> String {
    json!({
        "custom_id": null,
        "response": null,
        "error": {"code": INVALID, "message": message},
        "langspan": {"line": line},
    })
    .to_string()
}

impl OutputLine<'_> {
    /// Whether an output line, perhaps a half one, may begin with `bytes`.
    pub fn may_begin(bytes: &[u8]) -> bool {
        let beginnings = [&br#"{"id":"batch_req_"#[..], br#"{"custom_id":null,"#];
        let fits = |beginning: &&[u8]| bytes.starts_with(beginning) || beginning.starts_with(bytes);
        beginnings.iter().any(fits)
    }

    /// Whether the line has no whole answer.
    pub fn is_failed(&self) -> bool {
        let is_success = |response: &HttpAnswer<'_>| (200..300).contains(&response.status_code);
        self.error.is_some() || !self.response.as_ref().is_some_and(is_success)
    }

    /// The exchange that the line tells of, to be traced as it was; none of a line that asked nothing.
    pub fn exchange(&self, request: Request, model: &ModelSettings) -> Option<Exchange> {
        let facts = &self.langspan;
        let mut exchange = model_call::begin(model, request, facts.start_time?);
        exchange.end = facts.end_time?;
        exchange.attempts = facts.attempts;
        exchange.completion_start = facts.completion_start_time;
        exchange.cost = facts.cost;
        exchange.retried = facts.retried();
        // That of the last attempt, with or without an answer.
        let status = facts.attempt_statuses.last().copied().flatten();
        exchange.status = status;
        let mut message = self.error.as_ref().map(|error| error.message.clone());
        let mut refusal = None;
        if let Some(response) = &self.response {
            let body = response.body.get();
            let status = StatusCode::from_u16(response.status_code).unwrap_or_default();
            if status.is_success() {
                exchange.set_body(body);
            } else {
                let quoted = lenient::parse(body).unwrap_or_default();
                let text = quoted.as_str().unwrap_or(body);
                let headers = HeaderMap::new();
                let refused = FailedAttempt::http_error(&model.endpoint, status, &headers, text);
                message = Some(refused.error.message);
                refusal = refused.error.status;
            }
        }
        exchange.error = message.map(|message| ExchangeError {
            kind: "model".to_owned(),
            message,
            status: refusal.or(status),
        });
        Some(exchange)
    }
}

impl Facts<'_> {
    /// The attempts before the last one.
    fn retried(&self) -> Vec<RetriedAttempt> {
        let statuses = self.attempt_statuses.iter();
        let waits = self.attempt_waits_ms.iter();
        statuses
            .zip(waits)
            .map(|(status, wait)| RetriedAttempt {
                status: *status,
                wait: Duration::from_millis(*wait),
            })
            .collect()
    }
}

/// A body as JSON: itself, or a string of what is none.
fn as_json(body: &str) -> serde_json::Result<Box<RawValue>> {
    RawValue::from_string(body.trim().to_owned()).or_else(|_| serde_json::value::to_raw_value(body))
}

/// JSON without line ends, which can only stand between its tokens.
fn on_one_line(body: Box<RawValue>) -> serde_json::Result<Box<RawValue>> {
    if !body.get().contains(['\n', '\r']) {
        return Ok(body);
    }
    RawValue::from_string(body.get().replace(['\n', '\r'], " "))
}
