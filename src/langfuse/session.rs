//! What Langfuse knows of a whole session: the numbers of its traces and spans, and their ids.
//!
//! A session may have a million traces, so nothing is collected here, and a page that fails is asked for again
//! instead of starting over.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::http::Backoff;
use crate::langfuse::api::{Api, Credentials, Interface, retried};
use crate::langfuse::api_error::ApiError;
use crate::langfuse::trace_rows::widened;

/// How often a failed request is repeated.
const RETRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(4);
/// The most traces that are counted at once: Langfuse's database estimates distinct values above 65,536, and below
/// that mistakes two for the same once in four billion pairs.
const COUNTED_AT_ONCE: u64 = 16_384;
/// A trace id has 32 hex digits.
const LONGEST_PREFIX: usize = 32;
/// The largest page of v2 observations, in rows.
const PAGE_ROWS: &str = "1000";
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
        let body = self.get_repeatedly(path, &[("query", &query)]).await?;
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
        let path = "/api/public/v2/observations";
        let mut cursor: Option<String> = None;
        loop {
            let mut query = vec![
                ("sessionId", session.id),
                ("fromStartTime", session.from),
                ("toStartTime", session.to),
                ("fields", "core"),
                ("limit", PAGE_ROWS),
            ];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let body = self.get_repeatedly(path, &query).await?;
            for row in rows(path, &body)? {
                report(found, &row["traceId"], &row["id"]);
            }
            match body["meta"]["cursor"].as_str() {
                None => return Ok(()),
                Some(next) if cursor.as_deref() == Some(next) => {
                    let message = format!("{path} answered with the same page again");
                    return Err(ApiError::foreign(message));
                }
                next => cursor = next.map(str::to_owned),
            }
        }
    }

    async fn legacy_spans(
        &self,
        session: Session<'_>,
        found: &mut impl FnMut(&str, &str),
    ) -> Result<(), ApiError> {
        let path = "/api/public/traces";
        for page in 1_u64.. {
            let number = page.to_string();
            let query = [
                ("sessionId", session.id),
                ("fromTimestamp", session.from),
                ("toTimestamp", session.to),
                ("fields", "core,observations"),
                // Oldest first, so that new traces do not move the pages.
                ("orderBy", "timestamp.asc"),
                ("limit", LEGACY_PAGE_TRACES),
                ("page", &number),
            ];
            let body = self.get_repeatedly(path, &query).await?;
            let traces = rows(path, &body)?;
            for trace in traces {
                for span in trace["observations"].as_array().into_iter().flatten() {
                    report(found, &trace["id"], span);
                }
            }
            let pages = body["meta"]["totalPages"].as_u64().unwrap_or(u64::MAX);
            if traces.is_empty() || page >= pages {
                break;
            }
        }
        Ok(())
    }

    /// Asks until there is an answer, or it is clear that there will be none.
    pub(super) async fn get_repeatedly(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Value, ApiError> {
        let backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        retried(RETRIES, backoff, || {
            self.get(path, query, Credentials::Keys)
        })
        .await
    }
}

impl Session<'_> {
    fn filter(&self) -> Value {
        json!({"column": "sessionId", "operator": "=", "value": self.id, "type": "string"})
    }
}

/// The rows of a page.
pub(super) fn rows<'a>(path: &str, body: &'a Value) -> Result<&'a [Value], ApiError> {
    let rows = body["data"].as_array().map(Vec::as_slice);
    rows.ok_or_else(|| ApiError::foreign(format!("{path} answered with no rows")))
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
