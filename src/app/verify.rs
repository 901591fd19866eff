//! What a read-back proves, or why it does not.

use std::time::Duration;

use opentelemetry_sdk::trace::SpanData;

use crate::failure::{Failure, Kind};
use crate::langfuse::readback::differences;
use crate::langfuse::{Readback, Row, Wanted};
use crate::trace::Exchange;

/// What a read-back looks for.
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

/// The rows of the trace, when all spans are there and are what was sent.
///
/// # Errors
/// When a span is missing after `wait`, came back as another, or may not be read.
pub fn of(
    readback: Readback,
    spans: &[SpanData],
    environment: Option<&str>,
    wait: Duration,
) -> Result<Vec<Row>, Failure> {
    let unproven = |message: String| Failure::new(Kind::NotReadable, message);
    match readback {
        Readback::Readable(rows) => {
            let differences = differences(spans, environment, &rows);
            let Some(first) = differences.first() else {
                return Ok(rows);
            };
            let more = match differences.len() {
                1 => String::new(),
                count => format!(" (and {} more)", count - 1),
            };
            Err(unproven(format!("the trace came back different: {first}{more}"))
                .hint("something between here and the server changes spans: a collector, a masking rule, an older server"))
        }
        Readback::Missing { found, error } => {
            let seconds = wait.as_secs_f64();
            let message = format!(
                "the trace was accepted, but {found} of its {} spans could be read within {seconds} s",
                spans.len()
            );
            Err(match error {
                Some(error) => unproven(format!("{message}: {}", error.message)).status(error.status).hint("the server cannot be asked: see its words"),
                None => unproven(message).hint(
                    "the server may be behind: wait longer with --wait SECS; if it stays so, its worker is not running",
                ),
            }
            .retryable(true))
        }
        Readback::Refused(error) => Err(unproven(format!(
            "the trace was accepted, but may not be read: {}",
            error.message
        ))
        .status(error.status)
        .hint("the keys must be a project's own pair")),
    }
}
