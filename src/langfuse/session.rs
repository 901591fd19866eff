//! What Langfuse knows of a whole session: the numbers of its traces and spans, and their ids.
//!
//! A session may have a million traces, so nothing is collected here.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::langfuse::api::{Api, Interface};
use crate::langfuse::api_error::ApiError;
use crate::langfuse::pages::PAGE_RETRIES;
use crate::langfuse::trace_rows::{OBSERVATIONS, widened};

/// The most traces that are counted at once: Langfuse's database estimates distinct values above 65,536, and below
/// that mistakes two for the same once in four billion pairs.
const COUNTED_AT_ONCE: u64 = 16_384;
/// A trace id has 32 hex digits.
const LONGEST_PREFIX: usize = 32;
/// The largest page of v2 observations, in rows.
const PAGE_ROWS: &str = "1000";
/// The path of the list of traces.
pub(super) const LEGACY_TRACES: &str = "/api/public/traces";
/// The largest page of the legacy list, in traces.
pub(super) const LEGACY_PAGE_TRACES: &str = "100";

/// A session, and the times between which its spans start.
#[derive(Clone, Copy, Debug)]
struct Session<'a> {
    id: &'a str,
    from: &'a str,
    to: &'a str,
}

/// How much Langfuse knows of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCount {
    /// Distinct traces.
    pub traces: u64,
    /// Rows of spans. A span that was sent twice may count twice, and the server may add a row of its own to a trace.
    pub spans: u64,
}

impl Api {
    /// The numbers of traces and spans of `session`, of spans that start between `from` and `to`, or up to five minutes
    /// around.
    ///
    /// A count of many thousands may, rarely, be one too small. A count that is too large to be taken at once includes
    /// only traces with lower-case hex ids. [`session_spans`](Self::session_spans) is exact: ask it before anything is
    /// reported as missing.
    ///
    /// # Errors
    /// If the server refuses the keys, or the request still fails after the retries.
    pub async fn session_count(
        &self,
        session: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<SessionCount, ApiError> {
        let (from, to) = &widened(from, to);
        let session = Session {
            id: session,
            from,
            to,
        };
        self.ask_either(async |interface| match interface {
            Interface::V2 => self.observed_count(session).await,
            Interface::Legacy => self.legacy_count(session).await,
        })
        .await
    }

    /// Calls `found` with the trace id and the span id of every span of `session` that the server knows and that starts
    /// between `from` and `to`, or up to five minutes around. The order is not defined, and a span that was sent twice
    /// may be reported twice. Only one page is in memory at a time.
    ///
    /// # Errors
    /// If the server refuses the keys, or a page still fails after the retries: the spans reported until then are not
    /// all.
    pub async fn session_spans(
        &self,
        session: &str,
        from: Timestamp,
        to: Timestamp,
        mut found: impl FnMut(&str, &str),
    ) -> Result<(), ApiError> {
        let (from, to) = &widened(from, to);
        let session = Session {
            id: session,
            from,
            to,
        };
        self.ask_either(async |interface| match interface {
            Interface::V2 => self.observed_spans(session, &mut found).await,
            Interface::Legacy => self.legacy_spans(session, &mut found).await,
        })
        .await
    }

    /// By v2 metrics: in one request, or, if there are too many for one, in parts by the first digits of the trace ids.
    async fn observed_count(&self, session: Session<'_>) -> Result<SessionCount, ApiError> {
        let mut parts = vec![String::new()];
        let mut total = SessionCount::default();
        while let Some(prefix) = parts.pop() {
            let count = self.observed_count_below(session, &prefix).await?;
            if count.traces > COUNTED_AT_ONCE && prefix.len() < LONGEST_PREFIX {
                parts.extend((0..16).map(|digit| format!("{prefix}{digit:x}")));
            } else {
                total.traces += count.traces;
                total.spans += count.spans;
            }
        }
        Ok(total)
    }

    async fn observed_count_below(
        &self,
        session: Session<'_>,
        prefix: &str,
    ) -> Result<SessionCount, ApiError> {
        let mut filters = vec![session.filter()];
        if !prefix.is_empty() {
            filters.push(
                json!({"column": "traceId", "operator": "starts with", "value": prefix, "type": "string"}),
            );
        }
        let query = json!({
            "view": "observations",
            "metrics": [
                {"measure": "traceId", "aggregation": "uniq"},
                {"measure": "count", "aggregation": "count"},
            ],
            "filters": filters,
            "fromTimestamp": session.from,
            "toTimestamp": session.to,
        });
        let path = "/api/public/v2/metrics";
        let [traces, spans] = self
            .measure(path, &query, ["uniq_traceId", "count_count"])
            .await?;
        Ok(SessionCount { traces, spans })
    }

    async fn legacy_count(&self, session: Session<'_>) -> Result<SessionCount, ApiError> {
        let counted = async |view: &str| {
            let query = json!({
                "view": view,
                "metrics": [{"measure": "count", "aggregation": "count"}],
                "filters": [session.filter()],
                "fromTimestamp": session.from,
                "toTimestamp": session.to,
            });
            let path = "/api/public/metrics";
            let [count] = self.measure(path, &query, ["count_count"]).await?;
            Ok::<u64, ApiError>(count)
        };
        Ok(SessionCount {
            traces: counted("traces").await?,
            spans: counted("observations").await?,
        })
    }

    /// The numbers that a metrics query without dimensions returns.
    async fn measure<const N: usize>(
        &self,
        path: &str,
        query: &Value,
        names: [&str; N],
    ) -> Result<[u64; N], ApiError> {
        let query = query.to_string();
        let body = self
            .get_repeatedly(PAGE_RETRIES, path, &[("query", &query)])
            .await?;
        let mut counts = [0; N];
        if body["data"].as_array().is_some_and(Vec::is_empty) {
            return Ok(counts);
        }
        for (found, name) in counts.iter_mut().zip(names) {
            *found = count(&body["data"][0][name])
                .ok_or_else(|| ApiError::foreign(format!("{path} answered without {name}")))?;
        }
        Ok(counts)
    }

    async fn observed_spans(
        &self,
        session: Session<'_>,
        found: &mut impl FnMut(&str, &str),
    ) -> Result<(), ApiError> {
        let query = vec![
            ("sessionId", session.id.to_owned()),
            ("fromStartTime", session.from.to_owned()),
            ("toStartTime", session.to.to_owned()),
            ("fields", "core".to_owned()),
            ("limit", PAGE_ROWS.to_owned()),
        ];
        let mut pages = self.cursor_pages(OBSERVATIONS, query, Some);
        while let Some(rows) = pages.next().await? {
            for row in &rows {
                report(found, &row["traceId"], &row["id"]);
            }
        }
        Ok(())
    }

    async fn legacy_spans(
        &self,
        session: Session<'_>,
        found: &mut impl FnMut(&str, &str),
    ) -> Result<(), ApiError> {
        let query = vec![
            ("sessionId", session.id.to_owned()),
            ("fromTimestamp", session.from.to_owned()),
            ("toTimestamp", session.to.to_owned()),
            ("fields", "core,observations".to_owned()),
            // Oldest first, so that new traces do not move the pages.
            ("orderBy", "timestamp.asc".to_owned()),
            ("limit", LEGACY_PAGE_TRACES.to_owned()),
        ];
        let mut pages = self.numbered_pages(LEGACY_TRACES, query);
        while let Some(traces) = pages.next().await? {
            for trace in &traces {
                for span in trace["observations"].as_array().into_iter().flatten() {
                    report(found, &trace["id"], span);
                }
            }
        }
        Ok(())
    }
}

impl Session<'_> {
    fn filter(&self) -> Value {
        json!({"column": "sessionId", "operator": "=", "value": self.id, "type": "string"})
    }
}

/// Reports a span, unless the server added it itself.
fn report(found: &mut impl FnMut(&str, &str), trace: &Value, span: &Value) {
    match (trace.as_str(), span.as_str()) {
        (Some(trace), Some(span)) if !span.starts_with("t-") => found(trace, span),
        _ => {}
    }
}

/// A count, which older servers return as text.
fn count(value: &Value) -> Option<u64> {
    value
        .as_u64()
        .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

#[cfg(test)]
mod tests;
