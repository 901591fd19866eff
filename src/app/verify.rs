//! The verdict of a read-back: whether the trace can be read, as it was sent.

use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;

use crate::failure::{Failure, Kind};
use crate::langfuse::readback::differences;
use crate::langfuse::{Readback, Row, Wanted};
use crate::trace::Exchange;

/// The spans that a read-back looks for.
pub fn wanted(spans: &[SpanData], exchange: &Exchange) -> Wanted {
    let ids = spans.iter().map(|span| &span.span_context);
    Wanted {
        trace_id: ids
            .clone()
            .next()
            .map_or_else(String::new, |context| context.trace_id().to_string()),
        span_ids: ids.map(|context| context.span_id().to_string()).collect(),
        from: exchange.parent_start(),
        to: exchange.end,
    }
}

/// The rows of the trace, if all spans are there and equal those that were sent with `resource`.
///
/// # Errors
/// If a span is missing after `wait`, came back different, or the keys do not permit reading.
pub fn verdict(
    readback: Readback,
    spans: &[SpanData],
    resource: &Resource,
    wait: Duration,
) -> Result<Vec<Row>, Failure> {
    let rows = whole(readback, spans.len(), wait)?;
    match different(spans, resource, &rows) {
        Some(failure) => Err(failure),
        None => Ok(rows),
    }
}

/// The rows of the trace, if all of its `spans` are there.
///
/// # Errors
/// If a span is missing after `wait`, or the keys do not permit reading.
pub fn whole(readback: Readback, spans: usize, wait: Duration) -> Result<Vec<Row>, Failure> {
    match readback {
        Readback::Readable(rows) => Ok(rows),
        Readback::Missing { found, error } => {
            let seconds = wait.as_secs_f64();
            let message = format!(
                "the trace was accepted, but only {found} of its {spans} spans could be read within {seconds} s"
            );
            let failure = match error {
                Some(error) => unproven(format!("{message}: {}", error.message))
                    .status(error.status)
                    .hint("the server cannot be asked: see its message"),
                None => unproven(message).hint(
                    "the server may be slow: wait longer with --wait SECS; if that does not help, its worker is not running",
                ),
            };
            Err(failure.retryable(true))
        }
        Readback::Failed(error) if error.is_refusal() => Err(unproven(format!(
            "the trace was accepted, but the keys do not permit reading it: {}",
            error.message
        ))
        .status(error.status)
        .hint("use a project's own key pair")),
        Readback::Failed(error) => Err(unproven(format!(
            "the trace was accepted, but it cannot be read: {}",
            error.message
        ))
        .status(error.status)
        .hint("the server cannot be asked: see its message")),
    }
}

fn different(spans: &[SpanData], resource: &Resource, rows: &[Row]) -> Option<Failure> {
    let differences = differences(spans, resource, rows);
    let first = differences.first()?;
    let more = match differences.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let failure = unproven(format!("the trace came back different: {first}{more}"));
    Some(failure.hint(
        "something between here and the server changes spans: a collector, a masking rule, an older server",
    ))
}

fn unproven(message: String) -> Failure {
    Failure::new(Kind::NotReadable, message)
}
