//! The JSON document of a run: one for success and failure. Fields are only ever added within a
//! schema version.

use serde::Serialize;
use serde_json::Value;

use crate::console::Console;
use crate::expect::Finding;
use crate::failure::Failure;
use crate::model::UsageDetails;
use crate::trace::Exchange;

/// The version of every JSON document's shape. Fields are only ever added within one.
pub const SCHEMA_VERSION: u32 = 1;

/// The JSON document about one exchange and its trace.
#[derive(Debug, Serialize)]
pub struct Report {
    schema_version: u32,
    ok: bool,
    command: &'static str,
    response: Option<Response>,
    /// Only if anything was expected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    expectations: Vec<Finding>,
    pub trace: Option<TraceReport>,
    error: Option<ErrorReport>,
}

#[derive(Debug, Serialize)]
struct Response {
    text: Option<String>,
    model: Option<String>,
    id: Option<String>,
    finish_reason: Option<String>,
    tool_calls: Vec<Value>,
    usage: Option<UsageDetails>,
    latency_ms: i64,
    time_to_first_token_ms: Option<i64>,
    attempts: Option<u32>,
    /// US dollars, null if not known; only if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Value>,
}

/// What became of a trace.
#[derive(Clone, Debug, Serialize)]
pub struct TraceReport {
    pub id: String,
    /// The page of the trace, where there is one.
    pub url: Option<String>,
    pub spans: usize,
    /// Where the spans were sent.
    pub endpoint: Option<String>,
    pub delivery: DeliveryState,
    /// The HTTP status of the last answer to the export.
    pub status: Option<u16>,
    /// Whether the trace was read back; none without `--verify`.
    pub verified: Option<bool>,
    /// How many passages were redacted in the trace and the recording.
    pub redactions: usize,
}

/// How the delivery of a trace ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    Accepted,
    /// The server has every span from an earlier run; nothing was sent.
    Present,
    /// Not accepted; the spans wait in the outbox.
    Spooled,
    /// Not accepted, and not kept.
    Failed,
    /// Tracing is turned off.
    Disabled,
    /// `--sample` left the trace out.
    SampledOut,
}

impl DeliveryState {
    /// Whether the server has every span.
    pub fn is_delivered(self) -> bool {
        matches!(self, Self::Accepted | Self::Present)
    }
}

/// A failure in a JSON document.
#[derive(Debug, Serialize)]
pub struct ErrorReport {
    kind: &'static str,
    message: String,
    hint: Option<String>,
    status: Option<u16>,
    retryable: bool,
    exit_code: u8,
}

impl Report {
    pub fn new(
        command: &'static str,
        exchange: Option<&Exchange>,
        trace: Option<TraceReport>,
        failure: Option<&Failure>,
        console: &Console,
    ) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            ok: failure.is_none(),
            command,
            response: exchange.and_then(response),
            expectations: Vec::new(),
            trace,
            error: failure.map(|failure| ErrorReport::new(failure, console)),
        }
    }

    /// With what became of the expectations.
    #[must_use]
    pub fn with_expectations(mut self, findings: &[Finding]) -> Self {
        self.expectations = findings.to_vec();
        self
    }

    /// With the cost in US dollars, or null if it is not known; `None` if it was not asked for.
    #[must_use]
    pub fn with_cost(mut self, cost: Option<Value>) -> Self {
        if let Some(response) = &mut self.response {
            response.cost = cost;
        }
        self
    }
}

/// The known parts of the answer; none when nothing of it arrived.
fn response(exchange: &Exchange) -> Option<Response> {
    exchange.response.as_ref()?;
    let completion = &exchange.completion;
    Some(Response {
        text: completion.text(),
        model: completion.model.clone(),
        id: completion.id.clone(),
        finish_reason: completion.finish_reasons.first().cloned().flatten(),
        tool_calls: completion.tool_calls(),
        usage: completion.usage.map(|usage| usage.buckets()),
        latency_ms: exchange.latency_ms(),
        time_to_first_token_ms: exchange.time_to_first_token_ms(),
        attempts: exchange.attempts,
        cost: None,
    })
}

impl ErrorReport {
    pub fn new(failure: &Failure, console: &Console) -> Self {
        Self {
            kind: failure.kind.name(),
            message: console.clean(&failure.message),
            hint: console.remedy(failure),
            status: failure.status,
            retryable: failure.retryable,
            exit_code: failure.kind.exit_code(),
        }
    }
}
