//! One line of the output: OpenAI's Batch output format, plus a `langspan` object with the facts of the call and its
//! trace. `--resume` reads these lines back.

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use crate::app::model_call;
use crate::batch::costs::CallCost;
use crate::batch::input;
use crate::expect::{Expected, Finding};
use crate::json::lenient;
use crate::model::dialect::{self, ModelDialect};
use crate::model::failed_attempt::FailedAttempt;
use crate::model::{Progress, Request, RetriedAttempt};
use crate::settings::ModelSettings;
use crate::trace::{Exchange, ExchangeError, ItemContext, Trace, TraceContext, ids};

/// A line after its call, whether that succeeded or failed.
#[derive(Debug)]
pub struct CompletedCall {
    pub line: u64,
    pub custom_id: Option<String>,
    /// The digest of the input line.
    pub digest: String,
    /// The number of earlier attempts that `--retry-errors` replaced.
    pub redo: u32,
    pub exchange: Exchange,
    pub trace: Trace,
    pub context: TraceContext,
    pub progress: Progress,
    /// The answer that the line expects.
    pub expected: Option<Expected>,
    /// What became of the expectations.
    pub findings: Vec<Finding>,
}

impl CompletedCall {
    /// The output line; `url` is the link to the trace, `cost` what is known of the cost, `session` that of the run.
    ///
    /// # Errors
    /// Not expected: the body was parsed as JSON before.
    pub fn to_line(
        &self,
        url: Option<&str>,
        cost: Option<CallCost>,
        session: Option<&str>,
    ) -> anyhow::Result<String> {
        let exchange = &self.exchange;
        let span = self.context.span_ids(exchange.start).generation;
        let refusal = self.progress.error_response();
        let (status, body) = match (&exchange.response, refusal) {
            (_, Some(refusal)) => (refusal.status, Some(Cow::Owned(as_json(&refusal.body)?))),
            (body, None) => (200, body.as_deref().map(Cow::Borrowed)),
        };
        let body = body.map(on_one_line).transpose()?;
        let error = exchange.error.as_ref().filter(|_| refusal.is_none());
        let own_session = self.trace.session.as_deref();
        let own_session = own_session.filter(|own| Some(*own) != session);
        let answer = OutputLine {
            id: Some(format!("batch_req_{span}").into()),
            custom_id: self.custom_id.as_deref().map(Cow::from),
            response: body.as_deref().map(|body| HttpAnswer {
                status_code: status,
                request_id: self.progress.request_id.as_deref().map(Cow::from),
                body,
            }),
            error: error.map(|error| LineError {
                code: self.code().to_owned(),
                message: error.message.clone(),
            }),
            langspan: LineMetadata {
                line: self.line,
                trace_id: Some(self.context.trace_id.to_string().into()),
                trace_url: url.map(Cow::from),
                session: own_session.map(Cow::from),
                start_time: Some(exchange.start),
                end_time: Some(exchange.end),
                time_to_first_token_ms: exchange.time_to_first_token_ms(),
                attempts: exchange.attempts,
                attempt_statuses: exchange.attempt_statuses(),
                attempt_waits_ms: exchange.attempt_waits_ms(),
                completion_start_time: exchange.completion_start,
                cost: cost.map(|cost| cost.amount),
                cost_computed: cost.is_some_and(|cost| cost.is_computed),
                redo: (self.redo > 0).then_some(self.redo),
                input_digest: Some(self.digest.as_str().into()),
                api: Some(exchange.request.dialect())
                    .filter(|dialect| *dialect != dialect::CHAT)
                    .map(|dialect| dialect.name().into()),
                expectations: self.findings.clone(),
                experiment: self.trace.item.as_deref().map(LineExperiment::of),
            },
        };
        let length = body.as_deref().map_or(0, |body| body.get().len());
        let mut line = Vec::with_capacity(length + AROUND_BODY);
        serde_json::to_writer(&mut line, &answer)?;
        Ok(String::from_utf8(line)?)
    }

    /// The error as a code.
    fn code(&self) -> &'static str {
        self.progress
            .error_kind
            .map_or("error", |fault| fault.code())
    }

    /// The cause that a failed line is counted under.
    pub fn cause(&self) -> Option<String> {
        self.exchange.error.as_ref()?;
        Some(match self.progress.error_response() {
            Some(refusal) => format!("HTTP {}", refusal.status),
            None => self.code().to_owned(),
        })
    }
}

/// Enough for what an output line holds beside the body, in bytes.
const AROUND_BODY: usize = 768;

/// An output line.
#[derive(Debug, Serialize, Deserialize)]
pub struct OutputLine<'a> {
    #[serde(default, borrow)]
    pub id: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    pub custom_id: Option<Cow<'a, str>>,
    /// The answer of the endpoint, HTTP errors included; for an interrupted stream, the part that arrived.
    #[serde(default, borrow)]
    pub response: Option<HttpAnswer<'a>>,
    /// Why there is no complete answer, unless `response` is an HTTP error.
    #[serde(default)]
    pub error: Option<LineError>,
    #[serde(borrow)]
    pub langspan: LineMetadata<'a>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct HttpAnswer<'a> {
    pub status_code: u16,
    #[serde(default, borrow)]
    pub request_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub body: &'a RawValue,
}

/// The error of a line without an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineError {
    pub code: String,
    pub message: String,
}

/// The `langspan` object: the facts of a call and its trace.
#[derive(Debug, Serialize, Deserialize)]
pub struct LineMetadata<'a> {
    pub line: u64,
    #[serde(default, borrow)]
    pub trace_id: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    pub trace_url: Option<Cow<'a, str>>,
    /// The session of the trace, if it is not that of the run.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub session: Option<Cow<'a, str>>,
    #[serde(default)]
    pub start_time: Option<Timestamp>,
    #[serde(default)]
    pub end_time: Option<Timestamp>,
    #[serde(default)]
    pub time_to_first_token_ms: Option<i64>,
    #[serde(default)]
    pub attempts: Option<u32>,
    /// HTTP status of each attempt, null without an answer; only when there was more than one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempt_statuses: Vec<Option<u16>>,
    /// The waits between attempts, in milliseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempt_waits_ms: Vec<u64>,
    /// When the first chunk of a stream arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_start_time: Option<Timestamp>,
    /// In US dollars, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// Whether `cost` comes from the price table, and not from the endpoint.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cost_computed: bool,
    /// Counts the times that `--retry-errors` sent this line again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redo: Option<u32>,
    /// Digest of the input line: `--resume` detects a changed line by it.
    #[serde(default, borrow)]
    pub input_digest: Option<Cow<'a, str>>,
    /// The dialect; absent for chat completions.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub api: Option<Cow<'a, str>>,
    /// What became of the expectations, if there were any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expectations: Vec<Finding>,
    /// The item of an experiment that the line is.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<LineExperiment<'a>>,
}

/// The item of an experiment that a line is.
#[derive(Debug, Serialize, Deserialize)]
pub struct LineExperiment<'a> {
    #[serde(borrow)]
    pub id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// `None` for local lines.
    #[serde(borrow)]
    pub dataset_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub item_id: Cow<'a, str>,
}

impl<'a> LineExperiment<'a> {
    fn of(item: &'a ItemContext) -> Self {
        let experiment = &*item.experiment;
        Self {
            id: experiment.id.as_deref().map(Cow::from),
            name: experiment.name.as_str().into(),
            dataset_id: experiment.dataset_id.as_deref().map(Cow::from),
            item_id: item.id.as_str().into(),
        }
    }
}

/// The error code of an input line that is not a valid request.
pub const INVALID: &str = "invalid_line";

/// Identifies the content of an input line: 16 hex digits.
pub fn digest(line: &input::RawLine) -> String {
    format!("{:016x}", ids::digest64(&line.text))
}

/// The output line of an input line that is not a valid request.
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
    /// Whether `bytes` can be the beginning of an output line that a kill cut off.
    pub fn may_begin(bytes: &[u8]) -> bool {
        let beginnings = [&br#"{"id":"batch_req_"#[..], br#"{"custom_id":null,"#];
        let fits = |beginning: &&[u8]| bytes.starts_with(beginning) || beginning.starts_with(bytes);
        beginnings.iter().any(fits)
    }

    /// Whether the line has no complete answer.
    pub fn is_failed(&self) -> bool {
        let is_success = |response: &HttpAnswer<'_>| (200..300).contains(&response.status_code);
        self.error.is_some() || !self.response.as_ref().is_some_and(is_success)
    }

    /// The cause that a failed line is counted under, as [`CompletedCall::cause`] names it.
    pub fn cause(&self) -> String {
        match (&self.error, &self.response) {
            (Some(error), _) => error.code.clone(),
            (None, Some(response)) => format!("HTTP {}", response.status_code),
            (None, None) => "error".to_owned(),
        }
    }

    /// The times and the answer of a line, without its request.
    pub fn bare_exchange(&self) -> Exchange {
        let metadata = &self.langspan;
        let start = metadata.start_time.unwrap_or_default();
        let end = metadata.end_time.unwrap_or(start);
        let request = Request::default().in_dialect(self.langspan.dialect());
        let mut exchange = Exchange::new(request, start, end);
        exchange.completion_start = metadata.completion_start_time;
        if let Some(response) = &self.response {
            exchange.set_body(response.body.get());
        }
        exchange.error = self.is_failed().then(|| ExchangeError {
            kind: "model".to_owned(),
            message: self.cause(),
            status: None,
        });
        exchange
    }

    /// The exchange of the line, rebuilt for its trace; `None` for a line without a call.
    pub fn exchange(&self, request: Request, model: &ModelSettings) -> Option<Exchange> {
        let metadata = &self.langspan;
        let dialect = metadata.dialect();
        let request = request.in_dialect(dialect);
        let mut exchange = model_call::begin(model, request, metadata.start_time?);
        exchange.end = metadata.end_time?;
        exchange.attempts = metadata.attempts;
        exchange.completion_start = metadata.completion_start_time;
        exchange.cost = metadata.cost.filter(|_| !metadata.cost_computed);
        exchange.retried = metadata.retried();
        // Of the last attempt; none without an answer.
        let status = metadata.attempt_statuses.last().copied().flatten();
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
                let refused =
                    FailedAttempt::http_error(model.endpoint_of(dialect), status, &headers, text);
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

impl LineMetadata<'_> {
    /// The dialect of the request and the answer.
    fn dialect(&self) -> &'static dyn ModelDialect {
        let named = self.api.as_deref().and_then(dialect::named);
        named.unwrap_or(dialect::CHAT)
    }

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

/// The body as JSON; a non-JSON body becomes a JSON string.
fn as_json(body: &str) -> serde_json::Result<Box<RawValue>> {
    RawValue::from_string(body.trim().to_owned()).or_else(|_| serde_json::value::to_raw_value(body))
}

/// JSON without line breaks, which can only occur between its tokens.
fn on_one_line(body: Cow<'_, RawValue>) -> serde_json::Result<Cow<'_, RawValue>> {
    // Two searches for one character each are faster than one for both.
    if !body.get().contains('\n') && !body.get().contains('\r') {
        return Ok(body);
    }
    RawValue::from_string(body.get().replace(['\n', '\r'], " ")).map(Cow::Owned)
}
